"""Ending tasks that run third-party code: one cancellation may not be enough."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

AGAIN_S: Final = 0.1
"""How long a task gets each time it is cancelled."""


async def end_tasks(tasks: "Iterable[asyncio.Future[Any]]") -> None:
    """Cancel tasks until all have ended, and ignore what they raised.

    A cancellation can get lost: `asyncio.wait_for` in Python 3.11 drops one that comes just as its
    awaitable is done, and some libraries swallow it.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()
