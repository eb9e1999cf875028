"""Collects what the next round needs from this side: facts about its NAT, further sockets."""

from collections.abc import Callable

from p2ptui.core.events import NatFactsWanted, SocketsDone, SocketsWanted
from p2ptui.core.state import NodeState
from p2ptui.core.traversal import check_round
from p2ptui.core.traversal.attempt import Attempt, NatFacts
from p2ptui.core.traversal.common_ground import depends_on_nats
from p2ptui.core.traversal.flow_feedback import FlowFeedback
from p2ptui.core.traversal.offers import Offers
from p2ptui.core.traversal.reasons import Reasons
from p2ptui.core.traversal.searches import Searches
from p2ptui.core.traversal.standing_sockets import StandingSockets
from p2ptui.nat.allocation import AllocationKind
from p2ptui.nat.feasibility import Technique
from p2ptui.wire.address import Address


class Gathering:
    """Asks the node's machinery for it, and then offers the round or answers an offer.

    Args:
        state: The shared state.
        offers: The attempts.
        standing: The sockets that all searches share.
        flows: What is known about the limits to new flows.
        searches: Ends searches where another round would find no more.
        reasons: Reports why.
    """

    def __init__(
        self,
        state: NodeState,
        offers: Offers,
        standing: StandingSockets,
        flows: FlowFeedback,
        searches: Searches,
        reasons: Reasons,
    ) -> None:
        self._state = state
        self._offers = offers
        self._standing = standing
        self._flows = flows
        self._searches = searches
        self._reasons = reasons
        self.on_ready: Callable[[Attempt, float], None] = lambda *_: None
        """Called when a round that the other side leads can begin."""

    def begin(self, attempt: Attempt, now: float) -> None:
        """Collect what the next round needs from this side, then send the offer or the answer."""
        if attempt.direct is not None:
            return
        facts = self._offers.facts
        if self._wants_facts(attempt) and attempt.offer.round == 0 and not attempt.gathered.wanted:
            attempt.gathered.wanted.add("facts")
            self._state.emit(NatFactsWanted())
            self._searches.wait(attempt, now, self._go_without)
            return
        way = self._standing.way(self._way(attempt), attempt.observed)
        limited = self._flows.limit(attempt) is not None
        if attempt.controlling and check_round.is_exhausted(
            attempt,
            way,
            facts,
            self._state.config,
            limited=limited,
            has_more=self._offers.has_more(attempt),
        ):
            self._searches.rest(attempt, self._reasons.why_relayed(attempt), now)
            return
        preserves = facts.allocation.kind is AllocationKind.PRESERVED
        count, predict = check_round.sockets_needed(
            way, facts.side, self._state.config, preserves=preserves
        )
        if count:
            attempt.gathered.wanted.add("sockets")
            self._state.emit(SocketsWanted(attempt.node_id, count, predict))
            self._searches.wait(attempt, now, self._go_without)
            return
        self._offer(attempt, (), now)

    def _way(self, attempt: Attempt) -> Technique:
        if not attempt.is_signed:
            return Technique.PLAIN  # no sockets are opened for an offer that may be forged
        return check_round.way_now(attempt, self._offers.facts)

    def want_facts(self, attempt: Attempt) -> None:
        """Learn the type of this node's NAT, if it matters: the other side will ask for it."""
        if self._wants_facts(attempt):
            self._state.emit(NatFactsWanted())

    def facts_ready(self, facts: NatFacts, now: float) -> None:
        """The diagnosis of this node's NAT is done."""
        self._offers.facts = facts
        for attempt in self._offers.all():
            if attempt.gathered.take("facts"):
                # Facts that could not be found out now are not requested again at once.
                (self.begin if facts.is_known else self._go_without)(attempt, now)

    def sockets_ready(
        self, node_id: str, sockets: tuple[int, ...], predicted: tuple[Address, ...], now: float
    ) -> None:
        """Further sockets are open, with the outside addresses that they will probably have."""
        attempt = self._offers.get(node_id)
        if attempt is None or not attempt.gathered.take("sockets"):
            self._state.emit(SocketsDone(sockets))
            return
        self._searches.close_sockets(attempt)
        attempt.sockets = sockets
        attempt.prepared_at = now
        self._offer(attempt, predicted, now)

    def _wants_facts(self, attempt: Attempt) -> bool:
        offers = self._offers
        if not attempt.is_signed:
            return False
        return not offers.facts.is_known and depends_on_nats(attempt, offers.own)

    def _go_without(self, attempt: Attempt, now: float) -> None:
        attempt.gathered.wanted.clear()
        if attempt.direct is None:
            self._offer(attempt, (), now)

    def _offer(self, attempt: Attempt, predicted: tuple[Address, ...], now: float) -> None:
        if attempt.controlling:
            self._offers.next_round(attempt, predicted, now)
            self._searches.wait_for_answer(attempt, now)
        else:
            self.on_ready(attempt, now)
            self._offers.answer_soon(attempt, predicted, now)
