"""The end of tasks that run what others wrote: it may need more than one word."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

AGAIN_S: Final = 0.1
"""How long a task has, each time it is cancelled."""


async def end_tasks(tasks: "Iterable[asyncio.Future[Any]]") -> None:
    """Cancel tasks until all of them have ended, and forget what they raised.

    A cancellation can get lost: `asyncio.wait_for` of Python 3.11 drops one that comes as what it
    waits for is done, and some libraries catch it.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()
