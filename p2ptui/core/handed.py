"""What other servers hand over is judged in one place, before the room of its kind gives it away.

A server of the cluster is believed as one that this node has joined: in the name of nodes that
have no session here it says what it likes, whoever holds them. What is answered goes to the holder.
In the name of a node with a session here it says nothing, unless that node has signed that another
server holds it: then it acts by any of them, and what it sends is under seal from end to end.
"""

from collections.abc import Mapping

from p2ptui.core.delivery import Delivery
from p2ptui.core.identity import canonical_id
from p2ptui.core.peers import Handed, Handing, NotHanded, Peer, Taker
from p2ptui.core.state import NodeState
from p2ptui.wire.codec import MalformedError, read_payload


class HandedOver:
    """The `Taker` of whatever is handed over.

    Args:
        state: The shared ground.
        delivery: Asks for the proof of addresses.
        takers: The rooms, one for each kind.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, takers: Mapping[Handing, Taker]
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._takers = takers

    def take_handed(self, target: Peer, handed: Handed, now: float) -> NotHanded | None:
        """Give something to a peer; why it has not left, or None."""
        drop = self._state.counters.drop
        if not self._may_speak(handed, target):
            drop("handed_false_source")
            return NotHanded.UNKNOWN
        if not target.purse.proved and not self._may_wait(handed, target):
            drop("handed_unproved")
            self._delivery.challenge(target, now)
            return NotHanded.UNSENDABLE
        if len(handed.body) > self._state.config.server.max_message_size:
            drop("handed_too_large")
            return NotHanded.UNSENDABLE
        try:
            if handed.kind is not Handing.FRAME:
                read_payload(handed.body)
            return self._takers[handed.kind].take_handed(target, handed, now)
        except MalformedError:
            drop("handed_malformed")
            return NotHanded.UNSENDABLE

    @staticmethod
    def _may_wait(handed: Handed, target: Peer) -> bool:
        """Whether something is for a peer that may answer no Ping at all: its own bytes pay for
        that, as for what comes from nodes of this server. One of our kind is asked first."""
        return handed.kind is not Handing.FRAME and target.proves_by_timing

    def handle_not_handed(self, source: Peer, handed: Handed, why: NotHanded, now: float) -> None:
        """Tell a peer that something has not arrived: this server says so by itself, or the one
        that holds the target, if that is known."""
        known = self._state.elsewhere.holder(handed.target_id)
        own_id = self._state.identity.id
        if known is not None and handed.server_id not in (known.server_id, own_id):
            self._state.counters.drop("handed_false_refusal")
            return
        self._state.counters.drop("not_handed")
        self._takers[handed.kind].handle_not_handed(source, handed, why, now)

    def _may_speak(self, handed: Handed, target: Peer) -> bool:
        """Whether a server may speak in the name of a node."""
        source_id = handed.source_id
        if canonical_id(source_id) != source_id:
            return False
        if source_id in (self._state.identity.id, target.node_id):
            return False
        peer = self._state.peers.authenticated(source_id)
        if peer is None or peer.is_claim:
            return True
        known = self._state.elsewhere.holder(source_id)
        return known is not None and known.is_signed
