"""Signals that ask a whole program to end, told to it in its own event loop."""

import asyncio
import signal
from collections.abc import Callable
from typing import Final

EXIT_BY_SIGNAL: Final = 128
"""The exit code that shells expect of a program that a signal ended: this plus its number."""


def handle_signals(act: Callable[[signal.Signals], None], *names: str) -> None:
    """Have the running loop call `act` for each signal; the system's own answer is off then.

    Args:
        act: Told which one came.
        names: As `SIGTERM`; one that this system does not have is passed over.
    """
    loop = asyncio.get_running_loop()
    for name in names:
        number: signal.Signals | None = getattr(signal, name, None)
        if number is None:
            continue
        try:
            loop.add_signal_handler(number, act, number)
        except NotImplementedError:  # Windows: its loops know no signals
            signal.signal(
                number, lambda n, _frame: loop.call_soon_threadsafe(act, signal.Signals(n))
            )
