"""Offers that servers bring: which are taken up, how often, and which side leads from then on."""

from collections.abc import Callable
from typing import Final

from p2ptui.bounded import TokenBucket
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import MAX_LIMITED_ROUNDS, Attempt
from p2ptui.core.traversal.offers import MAX_ATTEMPTS, Offers
from p2ptui.core.traversal.server_choice import may_speak
from p2ptui.wire.address import Address
from p2ptui.wire.offer import TraversalOffer

MAX_UNASKED: Final = MAX_ATTEMPTS // 2
"""Attempts that others may cause: the user of this node finds room at any time."""

SHORTEST_ROUND_S: Final = 0.3
"""A round that follows the first one sooner is taken up later, when its offer is repeated."""

SEARCHES_PER_SECOND: Final = 20
"""Searches that others may begin, all together."""

SEARCHES_AT_ONCE: Final = 100
"""Of these at once: a node that joins a LAN is asked by everybody there."""


class OfferIntake:
    """Judges offers before anything is sent because of them.

    Args:
        state: The shared ground.
        offers: The attempts.
        stop: Ends what is under way for an attempt.
        take: Called with an offer that is taken up.
        take_news: Called when the answer to this round's offer says something more.
        check_reason: Called when a node may be elsewhere than it was.
    """

    def __init__(
        self,
        state: NodeState,
        offers: Offers,
        stop: Callable[[Attempt], None],
        take: Callable[[Attempt, TraversalOffer, float], None],
        take_news: Callable[[Attempt, float], None],
        check_reason: Callable[[Attempt], None],
    ) -> None:
        self._state = state
        self._offers = offers
        self._stop = stop
        self._take = take
        self._take_news = take_news
        self._check_reason = check_reason
        self._begun: TokenBucket | None = None

    def handle_introduction(
        self,
        server: Peer,
        node_id: str,
        observed: Address,
        offer: TraversalOffer | None,
        now: float,
    ) -> None:
        """A server names a node's address, and brings its offer if it made one."""
        if not self._state.config.ice.enable:
            return
        attempt = self._attempt_for(server, node_id, now, asked=offer is not None)
        if attempt is None:
            return
        attempt.exchange.observed = observed
        self._check_reason(attempt)
        if offer is None:
            self._offers.handle_introduced(attempt, server, now)
            return
        if offer.answer:
            self._offers.handle_answered(attempt)
        known = attempt.remote
        if known is not None and offer.ufrag == known.ufrag and offer.round <= known.round:
            self._take_again(attempt, offer, known, now)
            return
        is_new = known is None or offer.ufrag != known.ufrag
        if known is None and attempt.controlling and offer.round and not offer.answer:
            # It crossed the beginning of this side's search, which that side answers at once.
            self._state.counters.drop("offer_refused")
            return
        may = self._may_begin if is_new else _may_go_on
        if not may(attempt, offer, now):
            self._state.counters.drop("offer_refused")
            return
        if is_new:
            attempt.heard.learnt.clear()
            attempt.exchange.forget_rounds()
        if is_new and known is not None:
            self._stop(attempt)  # the other node began a new search
            attempt.heard.begin_anew()
        if not offer.answer:
            # Both asked at once: the smaller id controls, and each offer answers the other.
            both = attempt.controlling and offer.round == attempt.offer.round and known is None
            attempt.controlling = both and self._state.identity.id < node_id
        attempt.remote = offer
        attempt.exchange.offered_at = now
        self._check_reason(attempt)
        self._take(attempt, offer, now)

    def _take_again(
        self, attempt: Attempt, offer: TraversalOffer, known: TraversalOffer, now: float
    ) -> None:
        """An offer came that is here already, perhaps with news of the other side's NAT."""
        if offer.answer and offer.round == known.round and offer.flows != known.flows:
            attempt.remote = offer
            self._take_news(attempt, now)
        elif not offer.answer:
            # What answers may still be about to leave. What this side would have offered by
            # itself in its place would turn the leading side around, and nobody would lead.
            if attempt.controlling or attempt.offer.answer:
                self._offers.answer_again(attempt, now)  # or the offer that crossed was lost
            if attempt.punching is not None:
                attempt.punching.extend(now)  # so that side has not begun yet

    def _attempt_for(
        self, server: Peer, node_id: str, now: float, *, asked: bool
    ) -> Attempt | None:
        """The attempt that a server may speak of, or None."""
        attempt = self._offers.get(node_id)
        if attempt is None:
            if not asked:
                return None
            if not self._state.peers.may_be_moved(node_id, server, now):
                self._state.counters.drop("offer_for_a_peer")
                return None
            if len(self._offers) >= MAX_UNASKED:
                self._state.counters.drop("searches_full")
                return None
            return self._offers.open(server, node_id, now, controlling=False)
        if attempt.server is not server:
            if not may_speak(self._state, attempt, server, now):
                self._state.counters.drop("introduction_elsewhere")
                return None
            attempt.use(server)
        return attempt

    def _may_begin(self, attempt: Attempt, offer: TraversalOffer, now: float) -> bool:
        """Whether an offer with another ufrag is taken up."""
        if offer.answer:
            return attempt.remote is None and attempt.controlling
        if self._begun is None:
            self._begun = TokenBucket(SEARCHES_PER_SECOND, now, SEARCHES_AT_ONCE)
        return attempt.backoff.may_begin_for_other(now) and self._begun.take(now)


def _may_go_on(attempt: Attempt, offer: TraversalOffer, now: float) -> bool:
    """Whether a further round of a search is taken up: each may cost hundreds of sockets."""
    if offer.answer:
        return attempt.controlling
    is_late_enough = offer.round <= 1 or now >= attempt.exchange.offered_at + SHORTEST_ROUND_S
    return offer.round < MAX_LIMITED_ROUNDS and is_late_enough
