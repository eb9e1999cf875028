"""How long tests in real time wait for what must happen.

How fast something is on a quiet machine is asserted in virtual time, and measured by the
benchmarks. What is started for real shares the machine with whatever else runs there, so it is
waited for until it happens, and only what would never happen fails.
"""

import asyncio
from collections.abc import Callable

PATIENCE_S = 90.0
"""For one thing to happen, be it the start of a program."""

SLOWER = 10
"""How many times slower than on a quiet machine something may be, where it must not be slow."""


async def until(is_so: Callable[[], object], pause_s: float = 0.005) -> None:
    """Wait in real time until something is so, for as long as patience lasts."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(pause_s)
