"""Work that blocks, in a thread of its own that nobody waits for when the program ends."""

import asyncio
import errno
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class NoThreadError(OSError):
    """This process can start no more threads; the work has not begun."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, "no more threads can be started (see TasksMax, ulimit -u)")


def in_thread(work: Callable[[], T], name: str) -> "asyncio.Future[T]":
    """Begin work in a thread.

    A thread cannot be stopped: it keeps running when nobody waits for its result any more.

    Args:
        work: The function that blocks.
        name: The thread's name.

    Returns:
        The result, or the error that the work raised; cancelling it does not end the work.

    Raises:
        NoThreadError: In place of Python's `RuntimeError`, which also means a mistake in the
            program.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = work()
        except StopIteration as raised:  # the only error that a future refuses
            error = RuntimeError(repr(raised))
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop is closed, and nobody asks any more
            loop.call_soon_threadsafe(settle, result, error)

    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError:
        raise NoThreadError from None
    return future


async def off_loop(work: Callable[..., T], *arguments: Any) -> T:
    """The result of work in a thread; see `in_thread`."""
    return await in_thread(lambda: work(*arguments), getattr(work, "__name__", "work"))
