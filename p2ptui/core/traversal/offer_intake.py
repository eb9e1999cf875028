"""Offers that servers bring: which are accepted, how often, and which side then leads."""

from collections.abc import Callable
from typing import Final

from p2ptui.bounded import TokenBucket
from p2ptui.core.accounts import Reason
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import MAX_LIMITED_ROUNDS, Attempt
from p2ptui.core.traversal.offers import MAX_ATTEMPTS, Offers
from p2ptui.core.traversal.server_choice import may_speak
from p2ptui.wire.address import Address
from p2ptui.wire.offer import TraversalOffer

MAX_UNASKED: Final = MAX_ATTEMPTS // 2
"""Attempts that others may cause: this leaves room for this node's user at any time."""

SHORTEST_ROUND_S: Final = 0.3
"""A round that follows the first one sooner is taken up later, when its offer is repeated."""

SEARCHES_PER_SECOND: Final = 20
"""Searches that others may begin, in total; and as many again where something shows that the offer
is genuine, so that forged offers cannot use those up."""

SEARCHES_AT_ONCE: Final = 100
"""How many of these at once: a node that joins a LAN is asked by every node there."""

UNUSED_S: Final = 5.0
"""An attempt that an offer opened is closed after this time, unless something else was planned."""


class OfferIntake:
    """Judges offers before anything is sent because of them.

    Args:
        state: The shared state.
        offers: The attempts.
        stop: Ends what is in progress for an attempt.
        take: Called with each accepted offer.
        take_news: Called when the answer to this round's offer says something new.
        check_reason: Called when a node may have moved.
        go_on: Called when there is a sign of the other side.
    """

    def __init__(
        self,
        state: NodeState,
        offers: Offers,
        stop: Callable[[Attempt], None],
        take: Callable[[Attempt, TraversalOffer, float], None],
        take_news: Callable[[Attempt, float], None],
        check_reason: Callable[[Attempt], None],
        go_on: Callable[[Attempt, float], None],
    ) -> None:
        self._state = state
        self._offers = offers
        self._stop = stop
        self._take = take
        self._take_news = take_news
        self._check_reason = check_reason
        self._go_on = go_on
        self._begun: TokenBucket | None = None
        self._begun_shown: TokenBucket | None = None
        self.close: Callable[[Attempt], None] = offers.close
        """Ends an attempt for good; set by the code that knows everything that belongs to one."""

    def handle_introduction(
        self,
        server: Peer,
        node_id: str,
        observed: Address,
        offer: TraversalOffer | None,
        now: float,
        *,
        is_genuine: bool = False,
    ) -> None:
        """A server names a node's address, and brings its offer if it made one.

        Args:
            server: The server.
            node_id: The id of the node.
            observed: The node's address.
            offer: Its offer.
            now: The time, seconds.
            is_genuine: Whether the server has proved that it says so.
        """
        if not self._state.config.ice.enable:
            return
        is_fresh = self._offers.get(node_id) is None
        attempt = self._attempt_for(server, node_id, observed, now, asked=offer is not None)
        if attempt is None:
            return
        if offer is None:
            self._look_at(attempt, observed)
            self._offers.handle_introduced(attempt, server, now)
            return
        if offer.answer:
            self._offers.handle_answered(attempt)
        is_shown = is_genuine or offer.names == attempt.offer.ufrag
        if not self._may_take(attempt, offer, now, is_shown=is_shown):
            self._state.counters.drop("offer_refused")
            if is_fresh:
                self._offers.close(attempt)
            return
        self._take_offer(attempt, offer, observed, now)

    def _look_at(self, attempt: Attempt, observed: Address) -> None:
        """A server says where the other node is."""
        # An unsigned offer does not change what the other side has confirmed.
        if not attempt.is_signed:
            attempt.exchange.observed = observed
        self._check_reason(attempt)

    def _may_take(
        self, attempt: Attempt, offer: TraversalOffer, now: float, *, is_shown: bool
    ) -> bool:
        """Whether an offer may change anything; if it begins a search, that is counted."""
        known = attempt.remote
        is_signed = offer.names == attempt.offer.ufrag
        if offer.names is not None and not is_signed:
            return False  # it belongs to a search that is over
        if known is not None and offer.ufrag == known.ufrag:
            return offer.round <= known.round or _may_go_on(attempt, offer, now)
        if known is None and attempt.controlling and offer.round and not offer.answer:
            # It crossed the beginning of this side's search, which that side answers at once.
            return False
        if offer.round and not is_signed:
            return False  # its sender has taken part in no round before it
        if self._is_claim(attempt, offer):
            return True
        return self._may_begin(attempt, offer, now, is_shown=is_shown)

    def _is_claim(self, attempt: Attempt, offer: TraversalOffer) -> bool:
        """Whether an unsigned offer would end a search that the other side has confirmed."""
        is_running = attempt.direct is not None or attempt.punching is not None
        is_signed = offer.names == attempt.offer.ufrag
        return not is_signed and not offer.answer and attempt.is_signed and is_running

    def _take_offer(
        self, attempt: Attempt, offer: TraversalOffer, observed: Address, now: float
    ) -> None:
        known, exchange = attempt.remote, attempt.exchange
        is_signed = offer.names == attempt.offer.ufrag
        is_new = known is None or offer.ufrag != known.ufrag
        if is_new and self._is_claim(attempt, offer):
            # A side that begins anew sends it again, with the name of this answer.
            self._offers.answer_claim(attempt, offer, now)
            return
        if is_new:
            attempt.heard.learnt.clear()
            exchange.forget_rounds()
        if is_new and known is not None:
            self._stop(attempt)  # the other node began a new search
            attempt.heard.begin_anew()
        if is_new or is_signed or not attempt.is_signed:
            attempt.exchange.observed = observed
        if known is not None and not is_new and offer.round <= known.round:
            if is_signed:
                self._note_sign(attempt, known, observed, now)
            self._check_reason(attempt)
            self._take_again(attempt, offer, known, now)
            return
        if not offer.answer:
            # Both asked at once: the smaller id controls, and each offer answers the other.
            both = attempt.controlling and offer.round == attempt.offer.round and known is None
            attempt.controlling = both and self._state.identity.id < attempt.node_id
        elif is_new and is_signed:
            attempt.controlling = True  # whatever was said meanwhile: this side's offer is answered
        attempt.remote = offer
        attempt.exchange.offered_at = now
        if is_signed:
            exchange.signs.note(offer, observed)
        elif not attempt.is_signed:
            exchange.signs.order = self._state.gate.order(Reason.OWN_SEARCH, observed)
        self._check_reason(attempt)
        self._take(attempt, offer, now)

    def _note_sign(
        self, attempt: Attempt, offer: TraversalOffer, observed: Address, now: float
    ) -> None:
        if attempt.exchange.signs.note(offer, observed):
            self._go_on(attempt, now)

    def note_check(self, attempt: Attempt, ufrag: str, now: float) -> None:
        """An authentic check came: its maker has this side's offer.

        Args:
            attempt: The attempt that it belongs to.
            ufrag: The other side's offer, as the check names it.
            now: The time, seconds.
        """
        remote, observed = attempt.remote, attempt.exchange.observed
        if remote is None or observed is None or ufrag != remote.ufrag:
            return
        if attempt.exchange.signs.note(remote, observed) and attempt.punching is not None:
            attempt.punching.release(now)  # and the way that the check came is tried first

    def _take_again(
        self, attempt: Attempt, offer: TraversalOffer, known: TraversalOffer, now: float
    ) -> None:
        """An offer came that is known already, perhaps with news about the other side's NAT."""
        if offer.answer and not known.answer and offer.round == known.round:
            attempt.remote = (
                offer  # this side's offer is answered by the side whose own offer it crossed
            )
        elif offer.answer and offer.round == known.round and offer.flows != known.flows:
            attempt.remote = offer
            self._take_news(attempt, now)
        elif not offer.answer:
            # The answer may still be about to leave. An offer of this side's own in its place would
            # reverse the roles, and nobody would lead.
            if attempt.controlling or attempt.offer.answer:
                self._offers.answer_again(attempt, now)  # or the offer that crossed was lost
            if attempt.punching is not None:
                attempt.punching.extend(now)  # so that side has not begun yet

    def _attempt_for(
        self, server: Peer, node_id: str, observed: Address, now: float, *, asked: bool
    ) -> Attempt | None:
        """The attempt that a server may speak of, or None."""
        attempt = self._offers.get(node_id)
        if attempt is None:
            if not asked:
                return None
            if not self._state.peers.may_be_moved(node_id, server, now):
                self._state.counters.drop("offer_for_a_peer")
                return None
            if not self._offers.has_room_for_other(observed, MAX_UNASKED):
                self._state.counters.drop("searches_full")
                return None
            opened = self._offers.open(server, node_id, now, controlling=False, address=observed)
            # An offer that is taken up has something else planned; one that is refused leaves
            # nothing behind.
            opened.plan(self._state.timers, now + UNUSED_S, self._close_unused)
            return opened
        if attempt.server is not server:
            if not may_speak(self._state, attempt, server, now):
                self._state.counters.drop("introduction_elsewhere")
                return None
            attempt.use(server)
        return attempt

    def _close_unused(self, attempt: Attempt, _now: float) -> None:
        if attempt.direct is None and attempt.punching is None:
            self.close(attempt)

    def _may_begin(
        self, attempt: Attempt, offer: TraversalOffer, now: float, *, is_shown: bool
    ) -> bool:
        """Whether an offer with another ufrag is accepted."""
        if offer.answer:
            # A signed answer takes the place of one that may be forged.
            is_signed = offer.names == attempt.offer.ufrag
            if is_signed and not attempt.is_signed and attempt.direct is None:
                return True
            return attempt.remote is None and attempt.controlling
        if not attempt.backoff.may_begin_for_other(now, is_shown=is_shown):
            return False
        begun = self._begun_shown if is_shown else self._begun
        if begun is None:
            begun = TokenBucket(SEARCHES_PER_SECOND, now, SEARCHES_AT_ONCE)
            if is_shown:
                self._begun_shown = begun
            else:
                self._begun = begun
        return begun.take(now)


def _may_go_on(attempt: Attempt, offer: TraversalOffer, now: float) -> bool:
    """Whether a further round of a search is accepted: each may cost hundreds of sockets."""
    if offer.answer:
        return attempt.controlling
    is_late_enough = offer.round <= 1 or now >= attempt.exchange.offered_at + SHORTEST_ROUND_S
    return offer.round < MAX_LIMITED_ROUNDS and is_late_enough
