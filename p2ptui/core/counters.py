"""What the core counts: every datagram, and every drop by its reason."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from p2ptui.core.accounts import GrantUse, Reason

ROUND_TRIP_BOUNDS_S: Final[tuple[float, ...]] = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
"""Within a rack, a town, a continent, around the world; beyond that the path is broken."""


@dataclass(slots=True)
class RoundTrips:
    """A histogram of the round trips of Pings."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(ROUND_TRIP_BOUNDS_S) + 1))
    """One count for each bound, of round trips up to it and above the previous bound; one for the
    rest."""
    total_s: float = 0.0

    def note(self, rtt_s: float) -> None:
        """A Ping was answered after this many seconds."""
        self.counts[bisect_left(ROUND_TRIP_BOUNDS_S, rtt_s)] += 1
        self.total_s += rtt_s


@dataclass(slots=True)
class Counters:
    """Totals since the start."""

    datagrams_in: int = 0
    datagrams_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    messages_in: int = 0
    """Accepted messages from authenticated peers, including Acks."""
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
    """Answers to STUN requests, including those sent for a partner."""
    connects: Counter[str] = field(default_factory=Counter)
    """Handshakes that this node asked for: how many have `begun`, and how the others ended."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Refused handshakes, by rule; those without a rule under `other`."""
    rounds: Counter[str] = field(default_factory=Counter)
    """Rounds of checks for a direct path, by the planned method."""
    paths_won: Counter[str] = field(default_factory=Counter)
    """Direct paths that were found, by the method that found them."""
    paths_lost: int = 0
    """Direct paths that fell silent."""
    predictions: Counter[str] = field(default_factory=Counter)
    """Ports of this node's NAT that were predicted for the next sample request and then observed:
    `right` or `wrong`."""
    round_trips: RoundTrips = field(default_factory=RoundTrips)
    """Round trips of Pings to peers."""
    drops: Counter[str] = field(default_factory=Counter)
    """Datagrams, messages and entries that were not processed or not sent, by cause."""
    grants: dict[str, GrantUse] = field(default_factory=dict)
    """Datagrams sent without being paid for by their address, by reason; see `core.accounts`."""

    def use_of(self, reason: Reason) -> GrantUse:
        """The usage of the grants for one reason, counted from now on."""
        use = self.grants.get(reason._value_)  # as `value`, which is a call
        if use is None:
            use = self.grants[reason.value] = GrantUse()
        return use

    def refuse(self, rule: str = "other") -> None:
        """Count one handshake that was refused by a rule."""
        self.handshakes_refused += 1
        self.refusals[rule] += 1

    def drop(self, cause: str) -> None:
        """Count one datagram, message or entry that was dropped because of `cause`."""
        self.drops[cause] += 1
