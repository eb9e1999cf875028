"""Signals that ask the whole program to end, handled in its own event loop."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

ENDING: Final = ("SIGTERM", "SIGHUP", "SIGBREAK")
"""Signals that ask a program to end, the last one on Windows only."""

HANGUP: Final = 1
"""The number of SIGHUP, even on systems that have no such signal."""

EXIT_BY_SIGNAL: Final = 128
"""The exit code that shells expect from a program ended by a signal: this plus its number."""


def handle_signals(act: Callable[[signal.Signals], None], *names: str) -> None:
    """Have the running loop call `act` for each signal, instead of the system's default action.

    Args:
        act: Called with the signal.
        names: Names such as `SIGTERM`; those that this system does not have are ignored.
    """
    loop = asyncio.get_running_loop()
    for name in names:
        number: signal.Signals | None = getattr(signal, name, None)
        if number is None:
            continue
        try:
            loop.add_signal_handler(number, act, number)
        except NotImplementedError:  # Windows: its loops do not handle signals
            signal.signal(
                number, lambda n, _frame: loop.call_soon_threadsafe(act, signal.Signals(n))
            )


def wanted_signals(*names: str) -> list[str]:
    """Those of these signals that the program was not started to ignore, as `nohup` does."""
    return [
        name
        for name in names
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN
    ]


async def run_until_signalled(work: Coroutine[Any, Any, int]) -> int:
    """Do some work; one of `ENDING` cancels it, so that it ends as politely as after Ctrl+C.

    A second signal ends the program at once.

    Args:
        work: What to do. It may handle these signals itself.

    Returns:
        The exit code: that of the work, or that of the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        return await work  # only the main thread gets signals
    task = asyncio.current_task()
    assert task is not None
    came: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        if came:
            os._exit(EXIT_BY_SIGNAL + number)
        came.append(number)
        task.cancel()

    handle_signals(end, *wanted_signals(*ENDING))
    try:
        return await work
    except (asyncio.CancelledError, OSError):
        # With the terminal gone, the last words of the work cannot be written either.
        if not came:
            raise
        return EXIT_BY_SIGNAL + came[0]
