"""One search for a direct path to one node: what both sides offered, and how far it is."""

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple, TypeVar

from p2ptui.core.addresses import relay_address
from p2ptui.core.connection import Method
from p2ptui.core.peers import Peer
from p2ptui.core.timers import Timer, Timers
from p2ptui.core.traversal.early_checks import EarlyChecks
from p2ptui.nat.allocation import AllocationKind, PortAllocation
from p2ptui.nat.allowances import Allowances
from p2ptui.nat.behavior import Dependence, NatType
from p2ptui.nat.feasibility import Side, Technique, planned_way, side_of, way_between
from p2ptui.nat.punching import Pair, Punching
from p2ptui.wire.address import Address
from p2ptui.wire.offer import TraversalOffer

MAX_LIMITED_ROUNDS: Final = 12
"""So many where a NAT limits new flows: short ones, each with fresh sockets, which meet all that
was opened in the ones before. And where there are more addresses than a few rounds have."""

MAX_ROUNDS: Final = 4
"""Offers with which a path is tried before the relay is accepted for a while: one plain, and
three with what was learnt of the NATs (97.6 % of the successes of libp2p come at the first)."""

MAX_ANSWERS_AT: Final = 8
"""Addresses at which the other side has answered; its handshake comes from one of them."""

DEFAULT_RTT_S: Final = 0.05

FIRST_REST_S: Final = 2.5
LONGEST_REST_S: Final = 60.0
RETURN_REST_S: Final = 5.0
SHORTEST_REST_S: Final = 0.4
"""Of a path that died as soon as it was found the other side may not know at all: it is searched
again soon, and each time later."""
YOUNG_S: Final = 10.0
"""A path is as young as that."""
"""Pauses between two searches while the relay is used: a minute, as others have it, but short
where there was a direct path before, and growing from short where no answer came."""

SEARCHES: Final = 3
SEARCHES_S: Final = 6.0
"""The other side may begin so many searches in so long: each costs this one checks and sockets."""


NOT_RELAYING: Final = "the server does not relay (--relay there)"


@dataclass(frozen=True, slots=True)
class NatFacts:
    """What a side knows of its own NAT."""

    nat_type: NatType = NatType.UNKNOWN
    mapping: Dependence = Dependence.UNKNOWN
    allocation: PortAllocation = field(default_factory=PortAllocation)
    diagnosed: bool = False
    """Whether it was looked for, and this is all that could be seen."""

    @property
    def is_known(self) -> bool:
        """Whether looking for it again would tell more."""
        return self.diagnosed or self.nat_type is not NatType.UNKNOWN

    @property
    def side(self) -> Side:
        """Where it stands in the table of what can go direct."""
        return side_of(self.nat_type, self.allocation)


class Asked(NamedTuple):
    """An offer left, in return for which a server names the other node."""

    at: float
    resent: int
    """Datagrams that had been sent to the server again by then: of those that follow it may be
    one."""


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
    """When the first of them left."""


@dataclass(slots=True, eq=False)
class Attempt:
    """The search for a path to one node."""

    node_id: str
    server: Peer
    """Brings the offers, and relays until there is a path."""
    controlling: bool
    offer: TraversalOffer
    """This side's latest."""
    began: float
    observed: Address | None = None
    """Where the server sees the other node."""
    remote: TraversalOffer | None = None
    """The other side's latest offer."""
    punching: Punching | None = None
    early: EarlyChecks = field(default_factory=EarlyChecks)
    """Checks that came before there was a round."""
    direct: DirectPath | None = None
    is_checked: bool = False
    """Whether a check of the other side came in this search: it has this side's offer."""
    answers_at: deque[Address] = field(default_factory=lambda: deque(maxlen=MAX_ANSWERS_AT))
    """Where checks of this search were answered last, as the peer table knows addresses."""
    last_good: Address | None = None
    """The remote address of the latest path from a socket that still stands."""
    sockets: tuple[int, ...] = ()
    """Opened for this attempt."""
    learnt: Allowances = field(default_factory=Allowances)
    """What addresses that checks came from may still be sent, over all rounds."""
    claimed_in: tuple[str, int] | None = None
    """The latest offer, by name and round, for which addresses that nobody vouches for were sent
    checks."""
    claimed_since: dict[Address, int] = field(default_factory=dict)
    """What the other side told that may be tried, and in which round of the search first."""
    tried: dict[Address, int] = field(default_factory=dict)
    """What was tried of that, and in which round first."""
    prepared_at: float = 0.0
    """When they, and what was predicted of them, were ready."""
    wanted: set[str] = field(default_factory=set)
    """What the node's machinery was asked for, and has not brought yet."""
    begins_again: bool = False
    """Whether a search begins as soon as the server is back: this machine has moved."""
    deadline: float = 0.0
    """When the last of the calls that wait gives up."""
    tokens: list[int] = field(default_factory=list)
    """Calls that wait for a direct path, where nothing relays."""
    begun_for_other: deque[float] = field(default_factory=lambda: deque(maxlen=SEARCHES))
    """When the other side began its latest searches."""
    unknown_at: set[Peer] = field(default_factory=set)
    """Servers that said that they do not know the node."""
    refusal: str = NOT_RELAYING
    """Why they cannot be answered by way of the server."""
    guessed_blindly: bool = False
    """Whether ports were guessed although nothing says that a NAT needs it."""
    holds_relay_until: float | None = None
    """So long calls wait for a direct path although the server would relay; None: they do not."""
    offered_at: float = -math.inf
    """When the other side's latest round was taken up."""
    sent_at: float = -math.inf
    """When this side's offer left last."""
    asked: Asked | None = None
    """The latest ask to which the server has not named the node in return; None: it need not."""
    asks_until: float = 0.0
    """So long it is sent again and again."""
    timer: Timer | None = None
    rounds: int = 0
    checks: int = 0
    bytes_spent: int = 0
    failures: int = 0
    """Searches in a row that found nothing; the pause before the next grows with it."""
    method: Method = Method.PLAIN
    """Of the round that runs, or that won."""
    young_losses: int = 0
    """Paths in a row that died young."""
    won_after_s: float | None = None
    began_direct: bool = False
    """Whether the session began at the node's own address, which fell silent."""
    reason: str | None = None
    """Why there is no direct path."""

    @property
    def server_rtt_s(self) -> float:
        """The round trip to the server, seconds; a usual one where none is measured."""
        return self.server.channel.rtt.srtt or DEFAULT_RTT_S

    @property
    def is_served(self) -> bool:
        """Whether nothing is awaited of the server: what it says by itself answers nothing."""
        return self.asked is None

    @property
    def relayed_address(self) -> Address:
        """Where the node is by way of the server, as the peer table knows it."""
        return relay_address(self.server.address, self.node_id)

    def use(self, server: Peer) -> None:
        """Another server brings the offers from now on, or the same one anew.

        What another one has said counts no more: it may see nodes elsewhere, and refuse other
        things.
        """
        if server.address != self.server.address:
            self.observed = None
            self.refusal = NOT_RELAYING
        if server is not self.server:
            self.asked = None
        self.server = server

    def plan(self, timers: Timers, when: float, action: "Callable[[Attempt, float], None]") -> None:
        """Let an action happen at the time `when` instead of what was planned before."""
        self.stop_timer()
        self.timer = timers.schedule(when, lambda at: action(self, at))

    def note_round(self, number: int, claimed: Iterable[Address], tried: Iterable[Address]) -> None:
        """A round was made ready, of what the other side told."""
        for known, addresses in ((self.claimed_since, claimed), (self.tried, tried)):
            for address in addresses:
                known.setdefault(address, number)

    @property
    def leaves_untried(self) -> bool:
        """Whether the other side told what was not tried, or may have more to tell."""
        # A round with new ones may be followed by one with others.
        latest = max(self.claimed_since.values(), default=0)
        has_news = self.remote is not None and latest == self.remote.round > 0
        return has_news or bool(self.claimed_since.keys() - self.tried.keys())

    def forget_rounds(self) -> None:
        """A search begins anew."""
        self.claimed_since.clear()
        self.tried.clear()

    def stop_timer(self) -> None:
        """Nothing happens by itself any more."""
        if self.timer is not None:
            self.timer.cancel()

    def may_begin_for_other(self, now: float) -> bool:
        """Whether the other side may begin a search, and note that it does."""
        begun = self.begun_for_other
        if len(begun) == SEARCHES and now - begun[0] < SEARCHES_S:
            return False
        begun.append(now)
        return True

    @property
    def remote_facts(self) -> NatFacts:
        """What the other side says of its NAT."""
        if self.remote is None:
            return NatFacts()
        nat_type = _member(NatType, self.remote.nat_type, NatType.UNKNOWN)
        kind = _member(AllocationKind, self.remote.allocation, AllocationKind.UNKNOWN)
        return NatFacts(nat_type, allocation=PortAllocation(kind))

    def take_rest_s(self) -> float:
        """How long to rest after a search that found nothing, seconds."""
        had_path = self.won_after_s is not None or self.began_direct
        unheard = self.remote is None
        if not had_path and not unheard:
            return LONGEST_REST_S
        # What was not answered may have been lost.
        longest = RETURN_REST_S if had_path else LONGEST_REST_S
        pause_s = min(FIRST_REST_S * 2.0**self.failures, longest)
        self.failures = min(self.failures + 1, 8)
        return pause_s

    def take_lost_rest_s(self, now: float) -> float:
        """How long to rest after a path has died, seconds.

        Both sides notice; the controlling one begins, the other only if that one does not.
        """
        is_young = self.won_after_s is not None and now < self.began + self.won_after_s + YOUNG_S
        if not is_young:
            self.young_losses = 0
            return FIRST_REST_S if self.controlling else 3 * FIRST_REST_S
        pause_s = min(SHORTEST_REST_S * 2.0**self.young_losses, FIRST_REST_S)
        self.young_losses = min(self.young_losses + 1, 8)
        return pause_s if self.controlling else 2 * pause_s

    def way(self, own: NatFacts) -> Technique:
        """How the two can come together."""
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
