"""What a round of checks is to do: one small planner for each technique of NAT traversal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from p2ptui.config import IceOptions
from p2ptui.core.connection import Method
from p2ptui.core.traversal.attempt import MAX_ROUNDS
from p2ptui.nat.feasibility import Technique

PLAIN_S: Final = 0.7
"""A round of plain checks, plus four round trips to the server: 97.6 % of those that succeed at
all do so at the first try (measured for libp2p's DCUtR)."""

OPENER_MARGIN_S: Final = 0.02

MET_MARGIN_S: Final = 0.25
"""The same where the other side's checks can arrive through what was opened: they are answered at
once, so that waiting costs nothing unless one is lost. A busy machine takes this long for its own
checks, and one that overtook them there could move the mapping that this side was told about."""

OPENED_SHARE: Final = 0.25
"""For this share of a first birthday round, the many sockets only open this node's NAT and wait to
be met: a datagram that reached the other NAT before its own host had sent there could move its
mapping. Then they reach out themselves: ports guessed too early, or lost, are open there."""

LIMITED_ROUND_S: Final = 0.7
"""The length of a birthday round if the guessing side's NAT limits new flows. Sockets that stay
would meet few guesses; fresh ones are reached by all earlier guesses."""


@dataclass(frozen=True, slots=True)
class Situation:
    """The facts on which a planner decides."""

    ice: IceOptions
    controlling: bool
    server_rtt_s: float
    round: int
    """The number of the other side's offer."""
    sockets: int
    """Further sockets of this side."""
    remote_sockets: int
    """Further sockets of the other side."""
    flow_limit: float | None = None
    """New flows a second that the guessing side's NAT lets pass; None: no limit is known."""
    can_be_met: bool = False
    """Whether this side's NAT sends to every destination from the port that the other side
    knows."""

    @property
    def opens(self) -> bool:
        """Whether this side's first datagrams only open its own NAT: the answering side begins
        earlier by two one-way delays to the server, and its datagrams would reach the other NAT
        before that NAT's own host has sent anything."""
        return not self.controlling and self.ice.opener_ttl > 0

    @property
    def opener_pause_s(self) -> float | None:
        """From such a datagram to one that travels all the way, seconds; None: the first one
        does."""
        margin_s = MET_MARGIN_S if self.can_be_met else OPENER_MARGIN_S
        return 2 * self.server_rtt_s + margin_s if self.opens else None

    @property
    def repeats(self) -> int:
        """Rounds that did not find what should have worked: because of a NAT that limits new flows,
        or loss."""
        return max(self.round - 1, 0) if self.ice.adapt_pace else 0

    def at_most(self, seconds: float) -> float:
        """How long a round may last, within the limit of the options."""
        return min(seconds, self.ice.connectivity_check_timeout / 1000)


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """What is specific to a round; the rest is common to all."""

    method: Method
    """The method recorded for a path that it finds."""
    seconds: float
    """How long it lasts."""
    sockets_pause_s: float | None
    """From the first, short-lived datagram of a further socket to the next one; None: the first
    goes all the way."""
    outside_first: bool = False
    """Whether the other side's outside addresses come before all others: whatever it will reach
    from outside is opened before it hears of it."""
    guesses: int | None = None
    """Random ports tried from the node's own socket; None: none."""
    quick: int = 0
    """How many of these are sent first, as fast as the pace allows."""


Planner: TypeAlias = Callable[[Situation], RoundPlan]


def plan_plain(here: Situation) -> RoundPlan:
    """Each side sends to where the other was seen."""
    seconds = here.at_most(PLAIN_S + 4 * here.server_rtt_s)
    return RoundPlan(Method.PLAIN, seconds, here.opener_pause_s, outside_first=here.opens)


def plan_predicted(here: Situation) -> RoundPlan:
    """Predicted ports are tried in order: a flow to elsewhere would take one of them."""
    seconds = here.at_most(PLAIN_S + 4 * here.server_rtt_s)
    return RoundPlan(Method.PREDICTED, seconds, here.opener_pause_s)


def plan_birthday(here: Situation) -> RoundPlan:
    """Many sockets wait on one side; the other guesses their ports."""
    if not here.sockets and here.remote_sockets <= 1:
        return plan_plain(here)  # neither knew in time what to prepare: waiting is useless
    seconds = here.at_most(_birthday_s(here))
    only_opens = here.round <= 1 and here.ice.opener_ttl > 0
    pause_s = OPENED_SHARE * seconds if only_opens else None
    if here.remote_sockets <= 1:
        return RoundPlan(Method.BIRTHDAY, seconds, pause_s)
    guesses = here.ice.birthday_probes
    is_quick = here.ice.adapt_pace and not here.repeats and here.flow_limit is None
    quick = guesses // 2 if is_quick else 0
    return RoundPlan(Method.BIRTHDAY, seconds, pause_s, guesses=guesses, quick=quick)


def _birthday_s(here: Situation) -> float:
    # All earlier guesses are still open, and reach fresh sockets too; so every round but the last
    # ends soon.
    if here.flow_limit is None:
        return here.ice.birthday_seconds * (2 if here.repeats >= MAX_ROUNDS - 2 else 1)
    # The controlled side keeps guessing until the next offer is here.
    return LIMITED_ROUND_S * (1 if here.controlling else 2)


PLANNERS: Final[Mapping[Technique, Planner]] = {
    Technique.PLAIN: plan_plain,
    Technique.PREDICTED: plan_predicted,
    Technique.BIRTHDAY: plan_birthday,
    # The other side leads, and may know better: follow its plan halfway.
    Technique.RELAY: plan_plain,
    Technique.UNKNOWN: plan_plain,
}
"""The planner of each technique."""
