"""What the core counts: every datagram, and every reason for which one was dropped."""

from collections import Counter
from dataclasses import dataclass, field

from p2ptui.core.accounts import GrantUse, Reason


@dataclass(slots=True)
class Counters:
    """Totals since the start."""

    datagrams_in: int = 0
    datagrams_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    messages_in: int = 0
    """Accepted messages of authenticated peers, Acks among them."""
    messages_out: int = 0
    duplicates: int = 0
    acks_without_message: int = 0
    retransmissions: int = 0
    handshakes_accepted: int = 0
    handshakes_refused: int = 0
    delivered: int = 0
    """Data handed to this node's user."""
    forwarded: int = 0
    relayed: int = 0
    stun_replies: int = 0
    """Answers to STUN requests, those sent for a partner among them."""
    drops: Counter[str] = field(default_factory=Counter)
    """What was not processed or not sent, by cause."""
    grants: dict[str, GrantUse] = field(default_factory=dict)
    """What was sent without being paid for by its address, by reason; see `core.accounts`."""

    def use_of(self, reason: Reason) -> GrantUse:
        """What became of the grants for one reason, which is counted from now on."""
        use = self.grants.get(reason._value_)  # as `value`, which is a call
        if use is None:
            use = self.grants[reason.value] = GrantUse()
        return use

    def drop(self, cause: str) -> None:
        """Count one datagram, message or entry that was dropped because of `cause`."""
        self.drops[cause] += 1
