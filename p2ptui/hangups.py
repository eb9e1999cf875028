"""Signals meant for a running node that arrive while it is only starting. Imports nothing heavy: it
is needed first.
"""

import signal
import threading


def survive_hangups() -> None:
    """Keep a SIGHUP or SIGUSR1 that comes before the node can handle it from ending the process."""
    survive("SIGHUP", "SIGUSR1")


def survive(*names: str) -> None:
    """Keep these signals from ending the process; those that this system does not have are
    ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for name in names:
        if (number := getattr(signal, name, None)) is not None:
            # Not SIG_IGN: that would be inherited by child processes.
            signal.signal(number, lambda _number, _frame: None)
