"""What was sent to a peer and received from it, and what that pays for."""

from p2ptui.core.accounts import Purse
from p2ptui.core.timers import NEVER


class Traffic(Purse):
    """The purse of a peer, extended by counters: each of its datagrams changes both."""

    __slots__ = ("data_at", "last_sent", "messages_in", "messages_out")

    def __init__(self) -> None:
        super().__init__()
        self.messages_in = 0
        self.messages_out = 0
        self.last_sent = NEVER
        """When a message was last sent to it."""
        self.data_at = NEVER
        """When Data was last exchanged with it: heartbeats alone do not mean that a session is in
        use."""
