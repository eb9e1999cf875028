"""What pays for a datagram: the credit of its address, or a grant with a reason and a bound.

An address that has not proved itself may be sent three times the bytes that came from it (RFC 9000,
section 8.1), and a limited number of datagrams for each that came. Whatever else this node sends
there of its own accord needs a grant: for a reason of the table below, and within its bound.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

from p2ptui.bounded import TokenBucket
from p2ptui.wire.address import Address

AMPLIFICATION_LIMIT: Final = 3
"""Bytes sent for each byte received, until an address has proved itself (RFC 9000, section 8.1)."""

DATAGRAMS_EACH: Final = 3
"""And datagrams sent for each one received, so that small answers cost no more than large ones."""

DATAGRAMS_OF_HANDSHAKE: Final = 6
"""Further datagrams for each handshake: the answer, the first list, Acks, and lost Pings."""

PING_BYTES: Final = 168
"""The most bytes of a Ping with `null`."""

PINGS_KEPT: Final = 2

KEPT_FOR_PINGS: Final = PINGS_KEPT * PING_BYTES
"""What a newcomer's credit pays for before anything but the response: a client that loses its first
Ping must still be asked whether it is there."""

PINGS_EARNED: Final = 6
"""Pings reserved for a peer that has answered two, ahead of news: it is pinged until it would count
as lost. If every fifth datagram is lost, one peer in five hundred answers none of this many."""


class Purse:
    """What an address has earned by its own datagrams and may still be sent.

    A new purse is empty; only the gate fills it, with what really arrived.
    """

    __slots__ = (
        "at",
        "bytes_in",
        "bytes_out",
        "counted_in",
        "credit",
        "datagrams",
        "has_answered",
        "kept",
        "proved",
        "reserved",
        "unvouched",
    )

    def __init__(self, at: Address | None = None) -> None:
        self.at = at
        """The one address that it pays for, if a stranger's datagram earned it; None for a peer's
        purse, which pays for the path to that peer, wherever it leads."""
        self.counted_in: Purse | None = None
        """The purse of a peer in which the same datagram is counted, if it came from a peer's
        address: it earns only once."""
        self.proved = False
        """Whether the address has proved that somebody receives there: then nothing is charged."""
        self.credit = 0
        """Bytes that it may still be sent before that. Negative if its request paid for an answer
        that the purse could not pay for."""
        self.datagrams = 0
        """Datagrams that it may still be sent before that."""
        self.kept = 0
        """The part of the bytes that only Pings may use."""
        self.reserved = 0
        """The part of the bytes that Pings may use ahead of news."""
        self.has_answered = False
        """Whether a Ping was answered."""
        self.bytes_in = 0
        self.bytes_out = 0
        self.unvouched: TokenBucket | None = None
        """What a proved address may still be sent for requests that nothing vouches for."""

    def earn_bytes(self, size: int) -> None:
        """A datagram of `size` bytes has come from the address, which earns until it is proved."""
        self.bytes_in += size
        if not self.proved:
            self.credit += AMPLIFICATION_LIMIT * size
            self.datagrams += DATAGRAMS_EACH

    def earn_handshake(self) -> None:
        """A handshake with the address is complete, and the session's first messages follow."""
        self.datagrams += DATAGRAMS_OF_HANDSHAKE

    def absorb(self, other: "Purse") -> None:
        """Take over everything that another purse holds, and empty it. What was also counted in a
        further purse comes from there, and is no more than is left there: this purse takes over
        what that one owes."""
        first = other.counted_in
        if first is not None and not first.proved and first is not self:
            other.credit = min(other.credit, first.credit)
            other.datagrams = min(other.datagrams, first.datagrams)
            first.credit -= other.credit
            first.datagrams -= other.datagrams
        elif first is self:
            other.credit = other.datagrams = 0
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.credit += other.credit
        self.datagrams += other.datagrams
        other.bytes_in = other.bytes_out = other.credit = other.datagrams = 0

    @property
    def owes(self) -> bool:
        """Whether more was sent than its address has paid for."""
        return not self.proved and (self.credit < 0 or self.datagrams < 0)

    def forget_proof(self) -> None:
        """The address must be proved anew; what was sent there meanwhile is forgotten."""
        self.proved = False
        self.credit = self.datagrams = 0

    @property
    def allowance(self) -> float:
        """Bytes that may be sent now: infinite once the address has proved itself."""
        if self.proved:
            return math.inf
        first = self.counted_in
        return self.credit if first is None else min(self.credit, first.allowance)

    @property
    def spendable(self) -> float:
        """The part of these bytes that is not kept for Pings, if a datagram is left to carry
        them."""
        return self._beyond(self.kept)

    @property
    def spare(self) -> float:
        """The part of these bytes for unrequested news: what is not reserved for Pings either."""
        return self._beyond(max(self.kept, self.reserved))

    def _beyond(self, kept: int) -> float:
        if self.proved:
            return math.inf
        return self.credit - kept if self.datagrams > -(-kept // PING_BYTES) else 0

    def may_receive(self, size: int) -> bool:
        """Whether a datagram of `size` bytes is paid for, also from what is kept for Pings."""
        if self.counted_in is not None and not self.counted_in.may_receive(size):
            return False
        return self.proved or (size <= self.credit and self.datagrams > 0)

    def has_room(self, size: int) -> bool:
        """Whether a datagram of `size` bytes that is no Ping is paid for."""
        if self.counted_in is not None and not self.counted_in.may_receive(size):
            return False
        kept = self.kept
        return self.proved or (
            size <= self.credit - kept and self.datagrams > (self._datagrams_kept if kept else 0)
        )

    @property
    def _datagrams_kept(self) -> int:
        return -(-self.kept // PING_BYTES)  # one for each Ping

    def covers(self, to: Address) -> bool:
        """Whether it may pay for datagrams to an address."""
        return to == self.at

    def pay(self, size: int, _now: float = 0.0) -> bool:
        """Pay for a datagram of `size` bytes, if the purse holds enough."""
        if not self.has_room(size):
            return False
        if self.counted_in is not None:
            self.counted_in.charge(size)
        # As in `charge`, without a further call: each answer to a stranger is paid for here.
        self.bytes_out += size
        self.credit -= size
        self.datagrams -= 1
        return True

    def charge(self, size: int) -> None:
        """Charge for a datagram of `size` bytes that leaves."""
        self.bytes_out += size
        self.credit -= size
        self.datagrams -= 1

    def note_committed(self, size: int, datagrams: int) -> None:
        """Charge for bytes that others send to the address on this node's word."""
        self.credit -= size
        self.datagrams -= datagrams

    def keep_for_pings(self) -> None:
        """From now on keep what Pings will need, or everything if there is less."""
        self.kept = max(min(self.credit, KEPT_FOR_PINGS), 0)

    def note_answered_ping(self) -> None:
        """A Ping was answered. The first answer pays for the node list; from the second one on,
        credit goes to further Pings before news."""
        self.kept = max(min(self.credit, KEPT_FOR_PINGS), 0)
        if self.has_answered:
            self.reserved = PINGS_EARNED * PING_BYTES
        self.has_answered = True

    def keep_for_doubt(self, pings: int) -> None:
        """Somebody said goodbye in its name: credit that arrives from now on pays for this many
        Pings first."""
        self.kept = pings * PING_BYTES

    def end_doubt(self) -> None:
        """It is there after all: keep no more than before."""
        self.kept = max(min(self.credit, self.kept, KEPT_FOR_PINGS), 0)

    def keep_nothing(self) -> None:
        """No Pings will be needed: all of it may be spent."""
        self.kept = 0

    def note_detour(self, size: int) -> None:
        """A datagram of `size` bytes goes to the peer on a path that another purse pays for."""
        self.bytes_out += size

    def note_ping(self, size: int) -> None:
        """A Ping of `size` bytes was sent: keep that much less for Pings."""
        self.kept = max(self.kept - size, 0)
        self.reserved = max(self.reserved - size, 0)


class Payee(Protocol):
    """A peer, as seen by the accounts."""

    purse: Purse

    @property
    def sends_to(self) -> Address:
        """Where its datagrams go at present."""

    def has_room(self, size: int) -> bool:
        """Whether its purse pays for this many bytes: the gate will decide the same."""


class Reason(Enum):
    """Why this node sends something that the other side has not paid for."""

    USER_ASKED = "user asked"
    """The user of this node, or its program, asked for it."""
    OWN_SESSION = "own session"
    """Messages and frames of a session that this node itself asked for."""
    HANDSHAKE = "handshake"
    """Requests of this node."""
    ANSWER = "answer"
    """The answer to one datagram, which pays for it by itself."""
    PING = "ping"
    """To see whether somebody is there: what the purse holds, including what it keeps for this."""
    OWNER_CHECK = "owner check"
    """A newcomer claims a peer's id: is the peer still there?"""
    STUN_ANSWER = "STUN answer"
    """What RFC 5780 requires in an answer, which the shortest requests do not pay for."""
    OWN_SEARCH = "own search"
    """Offers and checks towards a node that is searched for."""
    CONSENT = "consent"
    """Checks on a direct path that is in use (RFC 7675): nothing else may spend them."""
    INTRODUCTION = "introduction"
    """Pings to an address that a server has named, once the server has proved that it is that
    server."""
    OWN_PLAN = "own plan"
    """Keepalives, server lists, probes for neighbours, sessions being resumed."""
    GOODBYE = "goodbye"
    """A session is over, or one that only the other side believes in."""
    PROBE_FOR_PEER = "probe for peer"
    """A peer asks for one datagram to a third address, to learn about its NAT."""
    DIAGNOSIS = "diagnosis"
    """Requests to STUN servers and to addresses that do not answer."""

    # Members are compared by identity; the hash of an Enum is that of its name, at a call each.
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Bound:
    """The limits of a grant for one reason.

    Attributes:
        size: Bytes to one address.
        datagrams: Datagrams to it.
        lifetime_s: How long the grant is valid, seconds from the first; zero: only for the datagram
            being handled, and stored nowhere.
        of_host: Whether all ports of a host share it.
        hourly: Most datagrams to one host in an hour, over all grants; 0: no further bound.
    """

    size: int
    datagrams: int
    lifetime_s: float
    of_host: bool = False
    hourly: int = 0


KIB: Final = 1024
MIB: Final = KIB * KIB

LIFETIME_S: Final = 10.0

SEARCHES_AT_ONCE: Final = 16
"""Nodes behind one address that can be searched for at the same time, each at full cost."""

ROUNDS_AT_ONCE: Final = 4
"""Rounds of one search that begin within the lifetime of a grant."""

SEARCH_PACE: Final = (2000, 0.001)
"""Checks of one round, and seconds between two, with the default options."""

CHECK_BYTES: Final = 128
"""The most bytes of a check; offers, which are longer, are few."""

HOUR_S: Final = 3600.0

SEARCHED_IN_HOUR: Final = 300_000
"""Offers and checks to one host in an hour, over all searches. A hundred nodes behind one carrier's
address take 270,000 if each is met in the second round of many guesses (measured with 90 met at
once: 3,300, since they share open ports)."""


def bound_of_search(checks: int, pace_s: float) -> Bound:
    """What searches for nodes at one host may send there, given the options.

    Args:
        checks: Most checks of one round.
        pace_s: Between two known addresses and between two guesses, seconds.
    """
    in_time = 2 * math.ceil(LIFETIME_S / pace_s)
    datagrams = SEARCHES_AT_ONCE * max(min(ROUNDS_AT_ONCE * checks, in_time), 1000)
    size = CHECK_BYTES * datagrams
    return Bound(size, datagrams, LIFETIME_S, of_host=True, hourly=SEARCHED_IN_HOUR)


BOUNDS: Final[Mapping[Reason, Bound]] = MappingProxyType(
    {
        Reason.USER_ASKED: Bound(512 * MIB, 524_288, LIFETIME_S),
        Reason.OWN_SESSION: Bound(4 * MIB, 8192, LIFETIME_S),
        Reason.HANDSHAKE: Bound(128 * KIB, 128, LIFETIME_S),
        Reason.ANSWER: Bound(4 * KIB, 1, 0.0),
        Reason.PING: Bound(512, 1, 0.0),
        Reason.OWNER_CHECK: Bound(4 * KIB, 16, LIFETIME_S),
        Reason.STUN_ANSWER: Bound(124, 1, 0.0),
        Reason.OWN_SEARCH: bound_of_search(*SEARCH_PACE),
        Reason.CONSENT: Bound(64 * KIB, 256, LIFETIME_S),
        Reason.INTRODUCTION: Bound(512 * KIB, 2048, LIFETIME_S, of_host=True),
        Reason.OWN_PLAN: Bound(64 * KIB, 128, LIFETIME_S),
        Reason.GOODBYE: Bound(8 * KIB, 32, LIFETIME_S),
        Reason.PROBE_FOR_PEER: Bound(128 * KIB, 1024, LIFETIME_S),
        Reason.DIAGNOSIS: Bound(256 * KIB, 1024, LIFETIME_S),
    }
)
"""The bound of each reason for one address: above what this node's own plans need, and below what
would make it a weapon. That of a search is for the default options."""


@dataclass(slots=True)
class GrantUse:
    """What became of the grants for one reason."""

    granted: int = 0
    datagrams: int = 0
    bytes: int = 0
    refused: int = 0
    """Datagrams that exceeded the bound."""

    def note_paid(self, size: int) -> None:
        """Count a datagram of `size` bytes that was let out."""
        self.datagrams += 1
        self.bytes += size


@dataclass(slots=True)
class Hour:
    """What a host may still be sent within an hour for one reason."""

    left: int
    """Datagrams."""


class Grant:
    """What may be sent to one address for a reason: made by the gate, bounded, and of limited
    lifetime.

    Args:
        use: Where its use is counted.
        at: The address or host that it is for.
        size: Bytes.
        datagrams: Number of datagrams.
        expires: When it ceases to be valid, seconds.
        purse: The purse of the address, if it has one.
        is_own: Whether that purse pays, and everything in it is granted.
        hour: What the host may be sent within an hour, if that is bounded.
    """

    __slots__ = ("_is_own", "_use", "at", "datagrams", "expires", "hour", "purse", "size")

    def __init__(
        self,
        use: GrantUse,
        at: Address | str,
        size: int,
        datagrams: int,
        expires: float,
        purse: Purse | None,
        *,
        is_own: bool = False,
        hour: Hour | None = None,
    ) -> None:
        self.hour = hour
        self._use = use
        self._is_own = is_own
        self.at = at
        self.size = size
        self.datagrams = datagrams
        self.expires = expires
        self.purse = purse
        use.granted += 1

    def covers(self, to: Address) -> bool:
        """Whether it may pay for datagrams to an address."""
        return self.at in (to, to[0])

    def has_room(self, size: int) -> bool:
        """Whether it pays for one datagram of `size` bytes."""
        return size <= self.size and self.datagrams > 0

    def pay(self, size: int, now: float) -> bool:
        """Pay for a datagram of `size` bytes, if enough is left and the grant has not expired."""
        hour, is_over = self.hour, now > self.expires
        if size > self.size or self.datagrams < 1 or is_over or (hour and hour.left < 1):
            self._use.refused += 1
            return False
        if hour is not None:
            hour.left -= 1
        self.size -= size
        self.datagrams -= 1
        self._use.note_paid(size)
        if self._is_own and self.purse is not None:
            self.purse.charge(size)
        elif self.purse is not None:
            self.purse.bytes_out += size  # it is no answer, and costs none
        return True


Account: TypeAlias = Purse | Grant
"""What must be held to send anything."""
