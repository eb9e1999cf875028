"""One search for a direct path to one node: what both sides offered, and how far it is."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeVar

from p2ptui.core.addresses import relay_address
from p2ptui.core.connection import Connection, Method
from p2ptui.core.peers import Peer
from p2ptui.core.timers import Timer, Timers
from p2ptui.core.traversal.backoff import Backoff
from p2ptui.core.traversal.early_checks import EarlyChecks
from p2ptui.core.traversal.exchange import Exchange
from p2ptui.nat.allocation import AllocationKind, PortAllocation
from p2ptui.nat.allowances import Allowances
from p2ptui.nat.behavior import Dependence, NatType
from p2ptui.nat.feasibility import Side, Technique, planned_way, side_of, way_between
from p2ptui.nat.punching import Pair, Punching
from p2ptui.wire.address import Address
from p2ptui.wire.message import Capability
from p2ptui.wire.offer import TraversalOffer

MAX_LIMITED_ROUNDS: Final = 12
"""Most rounds where a NAT limits new flows, or an offer holds more addresses than `MAX_ROUNDS` can
try. They are short, each with fresh sockets, which meet everything opened before."""

MAX_ROUNDS: Final = 4
"""Offers tried before the relay is accepted for a while: one plain, and three with what was learnt
about the NATs (97.6 % of the successes of libp2p come at the first)."""

MAX_ANSWERS_AT: Final = 8
"""Addresses at which the other side has answered; its handshake comes from one of them."""

DEFAULT_RTT_S: Final = 0.05

NOT_RELAYING: Final = "the server does not relay (--relay there)"
RELAY_LATE: Final = "the server relays, but there was no time left for that"


@dataclass(frozen=True, slots=True)
class NatFacts:
    """What a side knows about its own NAT."""

    nat_type: NatType = NatType.UNKNOWN
    mapping: Dependence = Dependence.UNKNOWN
    allocation: PortAllocation = field(default_factory=PortAllocation)
    diagnosed: bool = False
    """Whether it was diagnosed, and this is all that could be seen."""

    @property
    def is_typed(self) -> bool:
        """Whether its type was found."""
        return self.nat_type is not NatType.UNKNOWN

    @property
    def is_known(self) -> bool:
        """Whether looking for it again would tell more."""
        return self.diagnosed or self.is_typed

    @property
    def side(self) -> Side:
        """Where it stands in the table of what can go direct."""
        return side_of(self.nat_type, self.allocation)


@dataclass(slots=True, eq=False)
class DirectPath:
    """A path that works, and whether the other side still agrees to be sent to (RFC 7675)."""

    pair: Pair
    address: Address
    """As the peer table knows it: with the number of the socket, unless it is the node's own."""
    confirmed_at: float
    unanswered: int = 0
    """Checks since an answer came."""
    asked_at: float = 0.0
    """When the first of them was sent."""


@dataclass(slots=True, eq=False)
class WaitingCalls:
    """Calls that wait for a direct path, and how long the relay is not used for them."""

    deadline: float = 0.0
    """When the last of them gives up."""
    holds_relay_until: float | None = None
    """Until when they wait for a direct path although the server would relay; None: they do not."""
    refusal: str = NOT_RELAYING
    """Why waiting calls cannot go through the server."""


@dataclass(slots=True, eq=False)
class Gathered:
    """What the node's machinery has provided for this attempt, and what it still owes."""

    sockets: tuple[int, ...] = ()
    """Opened for this attempt."""
    at: float = 0.0
    """When they and their predicted addresses were ready."""
    wanted: set[str] = field(default_factory=set)
    """What was requested and has not arrived yet."""

    def take(self, what: str) -> bool:
        """Something has arrived; returns whether it was requested and not given up meanwhile."""
        is_wanted = what in self.wanted
        self.wanted.discard(what)
        return is_wanted


@dataclass(slots=True, eq=False)
class Heard:
    """What came from the other side without a server in between."""

    is_checked: bool = False
    """Whether a check from the other side arrived in this search: it has this side's offer."""
    early: EarlyChecks = field(default_factory=EarlyChecks)
    """Checks that came before there was a round."""
    answers_at: deque[Address] = field(default_factory=lambda: deque(maxlen=MAX_ANSWERS_AT))
    """Where checks of this search were last answered, as the peer table knows addresses."""
    last_good: Address | None = None
    """The remote address of the latest path from a socket that still stands."""
    learnt: Allowances = field(default_factory=Allowances)
    """How much may still be sent to the addresses that checks came from, over all rounds."""

    def note_answer(self, address: Address) -> None:
        """A check was answered there."""
        if address not in self.answers_at:
            self.answers_at.append(address)

    def begin_anew(self) -> None:
        """A search begins: what was heard in the previous one says nothing about it."""
        self.is_checked = False
        self.answers_at.clear()


@dataclass(slots=True, eq=False)
class Account:
    """What all searches cost and achieved, as it is reported."""

    rounds: int = 0
    checks: int = 0
    bytes_spent: int = 0
    method: Method = Method.PLAIN
    """The method of the current round, or of the one that won."""
    guessed_blindly: bool = False
    """Whether ports were guessed although nothing shows that a NAT requires it."""
    reason: str | None = None
    """Why there is no direct path."""

    def note_check(self, size_bytes: int) -> None:
        """A check was sent."""
        self.checks += 1
        self.bytes_spent += size_bytes

    def note_answer(self, size_bytes: int) -> None:
        """A check from the other side was answered."""
        self.bytes_spent += size_bytes

    def explain(self, method: Method, won_after_s: float | None) -> Connection:
        """The explanation of the connection.

        Args:
            method: How the node is reached.
            won_after_s: From the beginning of the search to the latest direct path, seconds.
        """
        return Connection(
            method, won_after_s, self.rounds, self.checks, self.bytes_spent, self.reason
        )


@dataclass(slots=True, eq=False)
class Attempt:
    """The search for a path to one node."""

    node_id: str
    server: Peer
    """Brings the offers, and relays until there is a path."""
    controlling: bool
    offer: TraversalOffer
    """This side's latest offer."""
    backoff: Backoff
    remote: TraversalOffer | None = None
    """The other side's latest offer."""
    punching: Punching | None = None
    direct: DirectPath | None = None
    timer: Timer | None = None
    unknown_at: set[Peer] = field(default_factory=set)
    """Servers that said that they do not know the node."""
    exchange: Exchange = field(default_factory=Exchange)
    heard: Heard = field(default_factory=Heard)
    gathered: Gathered = field(default_factory=Gathered)
    waiting: WaitingCalls = field(default_factory=WaitingCalls)
    account: Account = field(default_factory=Account)

    # Shortcuts into the parts.

    @property
    def observed(self) -> Address | None:
        """Where the server sees the other node."""
        return self.exchange.observed

    @property
    def is_signed(self) -> bool:
        """Whether the other side has shown that its latest offer is its own; see `Signs`."""
        return self.exchange.signs.stand_for(self.remote, self.exchange.observed)

    @property
    def claimed_since(self) -> dict[Address, int]:
        """The addresses from the other side that may be tried; see `Exchange`."""
        return self.exchange.claimed_since

    @property
    def tried(self) -> dict[Address, int]:
        """Those of them that were tried."""
        return self.exchange.tried

    @property
    def refusal(self) -> str:
        """Why waiting calls cannot go through the server."""
        return self.waiting.refusal

    @refusal.setter
    def refusal(self, words: str) -> None:
        """What the server said."""
        self.waiting.refusal = words

    @property
    def why_not_relayed(self) -> str:
        """The same as known when it is reported: calls may have waited too long for a path."""
        relays = Capability.RELAY in self.server.capabilities
        return RELAY_LATE if relays and self.refusal == NOT_RELAYING else self.refusal

    @property
    def sockets(self) -> tuple[int, ...]:
        """The sockets opened for this attempt."""
        return self.gathered.sockets

    @sockets.setter
    def sockets(self, sockets: tuple[int, ...]) -> None:
        """Others are open from now on."""
        self.gathered.sockets = sockets

    @property
    def prepared_at(self) -> float:
        """When they and their predicted addresses were ready."""
        return self.gathered.at

    @prepared_at.setter
    def prepared_at(self, now: float) -> None:
        """They are ready."""
        self.gathered.at = now

    @property
    def checks(self) -> int:
        """How many checks were sent, over all searches."""
        return self.account.checks

    @property
    def reason(self) -> str | None:
        """Why there is no direct path."""
        return self.account.reason

    @property
    def server_rtt_s(self) -> float:
        """The round trip to the server, seconds; a typical one if none was measured."""
        return self.server.channel.srtt or DEFAULT_RTT_S

    @property
    def is_served(self) -> bool:
        """Whether nothing is awaited from the server: what it sends unasked answers nothing."""
        return self.exchange.asked is None

    @property
    def relayed_address(self) -> Address:
        """The node's address through the server, as the peer table knows it."""
        return relay_address(self.server.address, self.node_id)

    def use(self, server: Peer) -> None:
        """Another server brings the offers from now on, or the same one anew.

        What the previous server said no longer counts: it may see nodes elsewhere, and refuse other
        things.
        """
        if server.address != self.server.address:
            self.exchange.observed = None
            self.waiting.refusal = NOT_RELAYING
        if server is not self.server:
            self.exchange.asked = None
        self.server = server

    def plan(self, timers: Timers, when: float, action: "Callable[[Attempt, float], None]") -> None:
        """Schedule an action for the time `when`, replacing what was planned before."""
        self.stop_timer()
        self.timer = timers.schedule(when, lambda at: action(self, at))

    def stop_timer(self) -> None:
        """Cancel the planned action."""
        if self.timer is not None:
            self.timer.cancel()

    @property
    def remote_facts(self) -> NatFacts:
        """What the other side says about its NAT."""
        if self.remote is None:
            return NatFacts()
        nat_type = _member(NatType, self.remote.nat_type, NatType.UNKNOWN)
        kind = _member(AllocationKind, self.remote.allocation, AllocationKind.UNKNOWN)
        return NatFacts(nat_type, allocation=PortAllocation(kind))

    def way(self, own: NatFacts) -> Technique:
        """How the two can connect."""
        there = self.remote_facts.side
        if self.remote is None or self.remote.round == 0:
            return way_between(own.side, there)  # the other side may not have looked yet
        return planned_way(own.side, there)


_EnumT = TypeVar("_EnumT", bound=Enum)


def _member(kind: type[_EnumT], text: str, default: _EnumT) -> _EnumT:
    try:
        return kind(text)
    except ValueError:
        return default
