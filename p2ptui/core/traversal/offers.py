"""Offers of a traversal: composed, sent through a server until answered, and the answers.

The controlling side counts rounds; the other side answers with the same number.
"""

import math
from collections.abc import Callable
from typing import Final

import msgspec

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Reason
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import Attempt, NatFacts
from p2ptui.core.traversal.backoff import Backoff
from p2ptui.core.traversal.candidates import offered, told_at_once
from p2ptui.core.traversal.checklist import lead_s
from p2ptui.core.traversal.own_networks import OwnNetworks
from p2ptui.core.traversal.sealed_offers import SealedOffers
from p2ptui.core.traversal.slowness import Slowness
from p2ptui.wire.address import Address
from p2ptui.wire.message import MessageType
from p2ptui.wire.offer import TraversalOffer

MAX_ATTEMPTS: Final = 1024
"""Nodes to which a path may be searched for or watched at the same time."""

LONGEST_ASK_S: Final = 0.4
USUAL_ASK_S: Final = 0.2
SHORTEST_ASK_S: Final = 0.08
ASK_ROUND_TRIPS: Final = 3
ASK_GROWTH: Final = 1.5
"""An unanswered offer is repeated after growing pauses: the answer takes a round trip to the
server, one from there to the other node, which may be further away, and the time for what that
node opens first. At 10 % loss on each of these four paths a third of the answers is lost."""

ASKS_S: Final = 3.2
MIN_ASKS: Final = 4
"""For this long in total; and at least this often, if everything is slow."""

LONGEST_SLOW_ASK_S: Final = 4.0
"""The longest pause, if everything is slow."""

USUAL_VARIATION: Final = 2
"""A server that answers later than after this many round trips is busy."""

SAME_ASK_S: Final = SHORTEST_ASK_S / 2
"""An offer repeated this soon after its answer was sent has crossed that answer."""

ANSWERS: Final = 2
"""How often an answer to which no check comes is repeated."""

CONFIRMATIONS: Final = 3
"""How often the first offer is sent again once it is answered, while no check shows that the other
side knows that: it then names the answer, without which that side sends only a few checks."""

ASK_SHARE_S: Final = 0.06
LONGEST_SHARED_ASK_S: Final = 1.2
"""With many offers unanswered, the answers arrive one after the other: each lengthens the pause by
the first of these, up to the second."""


class Offers:
    """All attempts, by node and by the name in their checks, and their offers.

    Args:
        state: The shared state.
        delivery: The way to the server.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self._attempts: BoundedTable[str, Attempt] = state.tables.add(
            "traversals",
            BoundedTable(lambda: MAX_ATTEMPTS, refuses=True, shares=state.tables.shares),
        )
        self.sealed = SealedOffers(state)
        """Hides offers from the servers between, if both sides have keys."""
        self.nodes = self._attempts.keys()
        """A live view of the ids of nodes with attempts."""
        # One name for each of them.
        self._by_ufrag: BoundedTable[str, Attempt] = state.tables.add(
            "names_in_checks", BoundedTable(MAX_ATTEMPTS)
        )
        self.asking: set[str] = set()
        """Nodes whose answer is awaited."""
        self.slowness = Slowness()
        """How slow this machine and the servers are."""
        self.hosts: tuple[Address, ...] = ()
        """This node's own addresses, as others on its networks reach them, the best first."""
        self._own = OwnNetworks()
        self.on_networks_changed: Callable[[], None] = lambda: None
        """Called when this machine may be attached to other networks."""
        self.beside: tuple[Address, ...] = ()
        """The address of the socket of the other IP version, beside the node's own."""
        self.facts = NatFacts()
        """What is known about this node's NAT."""
        self.flow_limit: float | None = None
        """New flows a second that it lets pass; None: no limit was seen."""

    def __len__(self) -> int:
        return len(self._attempts)

    @property
    def own(self) -> OwnNetworks:
        """The networks of this machine."""
        return self._own

    @own.setter
    def own(self, own: OwnNetworks) -> None:
        """They were looked up anew."""
        self._own = own
        self.on_networks_changed()

    def get(self, node_id: str) -> Attempt | None:
        """The attempt to reach a node."""
        return self._attempts.get(node_id)

    def named(self, ufrag: str | None) -> Attempt | None:
        """The attempt that a check names."""
        return None if ufrag is None else self._by_ufrag.get(ufrag)

    def all(self) -> list[Attempt]:
        """All attempts."""
        return list(self._attempts.values())

    def has_room_for_other(self, address: Address, most: int) -> bool:
        """Whether a node at an address may cause one more attempt, within its share of `most`."""
        return len(self) < most and self._attempts.crowd_at(address[0], most) is None

    def open(
        self,
        server: Peer,
        node_id: str,
        now: float,
        *,
        controlling: bool,
        address: Address | None = None,
    ) -> Attempt:
        """The attempt to reach a node, a new one if necessary.

        Args:
            server: The server between.
            node_id: The id of the node.
            now: The time, seconds.
            controlling: Whether this side leads.
            address: The address of the node that causes it; None: this node wants it.

        Raises:
            LocalError: There are too many.
        """
        known = self._attempts.get(node_id)
        if known is not None:
            known.use(server)
            return known
        self._attempts.require_room("paths are searched already")
        offer = self._described(self._new_names(), server, (), 0)
        attempt = Attempt(node_id, server, controlling, offer, Backoff(now))
        self._attempts.put(node_id, attempt, address=address)
        self._by_ufrag.put(offer.ufrag, attempt)
        return attempt

    def has_more(self, attempt: Attempt) -> bool:
        """Whether a round can have addresses, of either side, that no round of the search has had.
        Which of this side's addresses the other side tries is only known for our own kind: it tries
        them all, or begins a search itself."""
        told = told_at_once(self._state.config.ice.max_candidates) * (attempt.offer.round + 1)
        is_told = len(set(self.own_addresses)) <= told
        return not is_told or attempt.exchange.leaves_untried(attempt.remote)

    def close(self, attempt: Attempt) -> None:
        """Forget an attempt."""
        if self._attempts.get(attempt.node_id) is attempt:
            del self._attempts[attempt.node_id]
            self.asking.discard(attempt.node_id)
        self._by_ufrag.pop(attempt.offer.ufrag, None)

    def _new_names(self) -> TraversalOffer:
        ids = self._state.ids
        return TraversalOffer(ids.nonce()[:12], ids.nonce() + ids.nonce())

    @property
    def own_addresses(self) -> tuple[Address, ...]:
        """All known addresses of this node, the best first."""
        return (*self.beside, *self.hosts)

    def _described(
        self,
        offer: TraversalOffer,
        server: Peer,
        predicted: tuple[Address, ...],
        sockets: int,
        number: int = 0,
    ) -> TraversalOffer:
        reflexive = [server.public_address] if server.public_address is not None else []
        limit = self._state.config.ice.max_candidates
        return msgspec.structs.replace(
            offer,
            candidates=offered(self.own_addresses, reflexive, predicted, limit, number),
            nat_type=self.facts.nat_type.value,
            allocation=self.facts.allocation.kind.value,
            sockets=sockets,
            flows=math.ceil(self.flow_limit or 0),
        )

    def begin(self, attempt: Attempt, now: float) -> None:
        """Begin a search with a new ufrag, so that rounds begin again on both sides."""
        self._by_ufrag.pop(attempt.offer.ufrag, None)
        attempt.offer = self._described(self._new_names(), attempt.server, (), 0)
        self._by_ufrag.put(attempt.offer.ufrag, attempt)
        attempt.controlling = True
        attempt.remote = None
        attempt.exchange.signs.forget()
        # This side's own search: nobody else caused its checks.
        attempt.exchange.claimed_in = None
        attempt.heard.begin_anew()
        attempt.heard.early.clear()
        attempt.backoff.began = now
        self.repeat(attempt, now)

    def next_round(self, attempt: Attempt, predicted: tuple[Address, ...], now: float) -> None:
        """Send a new offer with what was learnt meanwhile."""
        number = attempt.offer.round + 1
        described = self._described(
            attempt.offer, attempt.server, predicted, len(attempt.sockets), number
        )
        attempt.offer = msgspec.structs.replace(described, answer=False, round=number)
        self.repeat(attempt, now)

    def answer(self, attempt: Attempt, predicted: tuple[Address, ...], now: float) -> None:
        """Answer the other side's offer with one of the same round."""
        number = attempt.remote.round if attempt.remote is not None else 0
        described = self._described(
            attempt.offer, attempt.server, predicted, len(attempt.sockets), number
        )
        attempt.offer = msgspec.structs.replace(described, answer=True, round=number)
        self.send(attempt, now)

    def answer_claim(self, attempt: Attempt, offer: TraversalOffer, now: float) -> None:
        """Answer an offer that is not accepted yet: nothing changes in this side's search."""
        answer = msgspec.structs.replace(attempt.offer, answer=True, round=offer.round)
        self._send(attempt, answer.naming(offer.ufrag), now)

    def tell_flows(self, attempt: Attempt, now: float) -> None:
        """Answer again: a limit to new flows was seen."""
        flows = math.ceil(self.flow_limit or 0)
        attempt.offer = msgspec.structs.replace(attempt.offer, flows=flows)
        self.send(attempt, now)

    def answer_soon(self, attempt: Attempt, predicted: tuple[Address, ...], now: float) -> None:
        """Answer once what this side opens first is open, unless there is another offer by then."""
        remote = attempt.remote
        when = now + lead_s(attempt, self._state.config)

        def answer(now: float) -> None:
            if attempt.remote is remote and self._attempts.get(attempt.node_id) is attempt:
                self.answer(attempt, predicted, now)
                self._repeat_answer(attempt, ANSWERS, now)

        self._state.timers.schedule(when, answer)

    def _repeat_answer(self, attempt: Attempt, left: int, now: float) -> None:
        """Send an answer again if no check shows that it has arrived: the other side's offer, which
        would ask for it again, may also be lost."""
        offer = attempt.offer
        when = now + max(LONGEST_ASK_S, self._answer_s(attempt, now))

        def again(now: float) -> None:
            self._note_late(when, now)
            is_current = attempt.offer is offer and self._attempts.get(attempt.node_id) is attempt
            if is_current and not attempt.heard.is_checked:
                self.send(attempt, now)
                self._repeat_answer(attempt, left - 1, now)

        if left:
            self._state.timers.schedule(when, again)

    def answer_again(self, attempt: Attempt, now: float) -> None:
        """The other side repeats its offer: that, or the answer, was lost or late."""
        slow_s = self.slowness.delay_s(now, attempt.server.address)
        if now - attempt.exchange.sent_at >= max(SAME_ASK_S, slow_s):
            self.send(attempt, now)

    def handle_introduced(self, attempt: Attempt, server: Peer, now: float) -> None:
        """A server has named a node, in response to an offer if one is pending: after at least a
        round trip."""
        asked = attempt.exchange.take_asked()
        if attempt.exchange.awaits_keys:
            self._take_keys(attempt, now)
        rtt = server.channel.rtt
        # A server that named it unasked has answered nothing; and retransmissions may have been
        # lost.
        if asked is None or server.channel.retransmissions != asked.resent:
            return
        usual_s = rtt.srtt if rtt.minimum is None else rtt.minimum
        # Of several offers the last one counts: earlier ones may have been lost.
        took_s = now - asked.at
        if usual_s is not None and took_s > USUAL_VARIATION * usual_s:
            self.slowness.note(took_s - usual_s, now, server.address)

    def _take_keys(self, attempt: Attempt, now: float) -> None:
        """The server has named a node whose keys are awaited, and may have stated them."""
        if not self.sealed.has_keys(attempt.server, attempt.node_id):
            self._state.counters.drop("offer_without_keys")
        elif self.send(attempt, now):
            attempt.exchange.note_asked(now, attempt.server.channel.retransmissions)

    def handle_answered(self, attempt: Attempt) -> None:
        """The server has brought the other side's offer, or does not know that node: what it says
        about it later is no answer."""
        attempt.exchange.take_asked()

    def _answer_s(self, attempt: Attempt, now: float) -> float:
        return self.slowness.answer_s(now, attempt.server.address)

    def _note_late(self, when: float, now: float) -> None:
        self.slowness.note(now - when, now)

    def repeat(self, attempt: Attempt, now: float) -> None:
        """Send an offer repeatedly until the other side's offer of that round is here."""
        self._ask(attempt, attempt.offer, self._first_pause_s(attempt), 0, now)

    def _ask(
        self, attempt: Attempt, offer: TraversalOffer, pause_s: float, tries: int, now: float
    ) -> None:
        # A side that has found a path through the other side's offer must still deliver its own,
        # which was lost if no check comes.
        is_known = attempt.direct is None or attempt.heard.is_checked
        is_answered = self._is_answered(attempt, offer)
        if is_answered and not self._is_confirmed(attempt):
            attempt.exchange.signs.confirmations += 1
            is_known = False
        is_current = attempt.offer is offer and self._attempts.get(attempt.node_id) is attempt
        is_over = tries >= MIN_ASKS and now >= attempt.exchange.asks_until
        if (is_answered and is_known) or not is_current or is_over:
            if is_current:
                self.asking.discard(attempt.node_id)
                attempt.exchange.take_asked()
            return
        self.asking.add(attempt.node_id)
        if tries == 0:
            attempt.exchange.asks_until = now + ASKS_S
        if self.send(attempt, now):
            attempt.exchange.note_asked(now, attempt.server.channel.retransmissions)
        longer = min(ASK_GROWTH * pause_s, LONGEST_ASK_S)
        pause_s = max(pause_s, min(ASK_SHARE_S * len(self.asking), LONGEST_SHARED_ASK_S))
        # Longer each time: nobody knows how slow the other node is.
        slow_s = self._answer_s(attempt, now) * ASK_GROWTH**tries
        when = now + max(pause_s, min(slow_s, LONGEST_SLOW_ASK_S))

        def again(now: float) -> None:
            self._note_late(when, now)
            self._ask(attempt, offer, longer, tries + 1, now)

        self._state.timers.schedule(when, again)

    @staticmethod
    def _is_answered(attempt: Attempt, offer: TraversalOffer) -> bool:
        remote = attempt.remote
        # One that crossed the other side's own does not answer it, and may be forged.
        is_meant = remote is not None and (remote.answer or attempt.is_signed)
        return remote is not None and is_meant and remote.round >= offer.round

    def is_asked_still(self, attempt: Attempt) -> bool:
        """Whether the answer to this side's latest offer is still awaited although another one is
        here."""
        return attempt.node_id in self.asking and not self._is_answered(attempt, attempt.offer)

    @staticmethod
    def _is_confirmed(attempt: Attempt) -> bool:
        """Whether the other side, which answered the first offer, can tell that it was this side's:
        by a check that arrived, or because the offer was sent again naming the answer."""
        if attempt.direct is not None or attempt.offer.round or not attempt.is_signed:
            return True
        return attempt.heard.is_checked or attempt.exchange.signs.confirmations >= CONFIRMATIONS

    def _first_pause_s(self, attempt: Attempt) -> float:
        rtt_s = attempt.server.channel.srtt
        if not self._state.config.ice.adapt_pace:
            return LONGEST_ASK_S
        if rtt_s is None:
            return USUAL_ASK_S
        return min(max(ASK_ROUND_TRIPS * rtt_s, SHORTEST_ASK_S), LONGEST_ASK_S)

    def send(self, attempt: Attempt, now: float) -> bool:
        """Send this side's offer once; returns whether it was sent."""
        if not attempt.server.is_authenticated:
            attempt.exchange.take_asked()
            return False
        attempt.exchange.note_sent(now)
        offer, remote = attempt.offer, attempt.remote
        return self._send(attempt, offer if remote is None else offer.naming(remote.ufrag), now)

    def _send(self, attempt: Attempt, offer: TraversalOffer, now: float) -> bool:
        nat_type = self.facts.nat_type.value if self.facts.is_typed else None
        raw, is_told = self.sealed.write(attempt.server, attempt.node_id, offer, nat_type, now)
        attempt.exchange.note_written(is_told=is_told)
        return self._delivery.send(
            attempt.server, MessageType.P2P_CONNECT, raw, now, reason=Reason.OWN_SEARCH
        )
