"""What other servers hand over is judged here, before the room of its kind delivers it.

A server of the cluster is believed like a joined server: it may speak for any node without a
session here, whichever server holds that node. Answers go to the holder. For a node whose session
here is more than a claim it may not speak, unless that node has signed that another server holds
it: then the node may act through any of them, and what it sends is sealed end to end.
"""

from collections.abc import Mapping

from p2ptui.core.delivery import Delivery
from p2ptui.core.identity import canonical_id
from p2ptui.core.peers import Handed, Handing, NotHanded, Peer, Taker
from p2ptui.core.state import NodeState
from p2ptui.wire.codec import MalformedError, read_payload


class HandedOver:
    """The `Taker` of everything that is handed over.

    Args:
        state: The shared state.
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
        """Give something to a peer; returns why it was not sent, or None."""
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
        """Whether an unproved peer is given something although it may never answer a Ping: its own
        bytes pay for that, as for what nodes of this server send. A p2ptui peer must prove itself
        first."""
        return handed.kind is not Handing.FRAME and target.proves_by_timing

    def handle_not_handed(self, source: Peer, handed: Handed, why: NotHanded, now: float) -> None:
        """Tell a peer that something has not arrived. If the server that holds the target is known,
        only that server or this one may say so."""
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
