"""What a hangup does to a node that is only starting. Imports nothing heavy: it is needed first."""

import signal
import threading


def survive_hangups() -> None:
    """A SIGHUP that comes before the node can act on it ends nothing."""
    number = getattr(signal, "SIGHUP", None)
    if number is not None and threading.current_thread() is threading.main_thread():
        # Not SIG_IGN: that would be handed on to programs that are started.
        signal.signal(number, lambda _number, _frame: None)
