"""What signals to a running node do to one that is only starting. Imports nothing heavy: it is
needed first."""

import signal
import threading


def survive_hangups() -> None:
    """A SIGHUP or SIGUSR1 that comes before the node can act on it ends nothing."""
    survive("SIGHUP", "SIGUSR1")


def survive(*names: str) -> None:
    """Signals that end nothing; one that this system does not have is passed over."""
    if threading.current_thread() is not threading.main_thread():
        return
    for name in names:
        if (number := getattr(signal, name, None)) is not None:
            # Not SIG_IGN: that would be handed on to programs that are started.
            signal.signal(number, lambda _number, _frame: None)
