"""What the two ends of a session tell each other about it: gaps, refusals and its end."""

from collections.abc import Callable
from typing import Any, Final

from p2ptui.core.data import DataService
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import ErrorReceived
from p2ptui.core.mesh.rendezvous import Rendezvous
from p2ptui.core.peers import Peer, Suspicion
from p2ptui.core.sessions.liveness import Liveness
from p2ptui.core.state import NodeState
from p2ptui.wire.codec import decode_payload, encode_payload
from p2ptui.wire.message import (
    DisconnectPayload,
    Envelope,
    ErrorCode,
    ErrorPayload,
    MessageType,
    RetransmitPayload,
)

MAX_REASON: Final = 200
"""Characters of a goodbye that are kept."""


class SessionMessages:
    """Takes Retransmit, Error and Disconnect.

    Args:
        state: The shared state.
        delivery: Sends messages.
        liveness: Learns that a peer has left, or has forgotten this node.
        data: Learns what became of forwarded messages.
        rendezvous: Learns what became of introductions.
        note_goodbye: Called when a peer has left, with the servers that it names as alternatives.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        liveness: Liveness,
        data: DataService,
        rendezvous: Rendezvous,
        note_goodbye: Callable[[Peer, DisconnectPayload], None],
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._liveness = liveness
        self._data = data
        self._rendezvous = rendezvous
        self._note_goodbye = note_goodbye

    def handle_retransmit(self, peer: Peer, content: RetransmitPayload, now: float) -> None:
        """A gap is to be filled, or the peer has lost track of the numbers."""
        sequence = content.sequence_number
        sender = peer.channel.sender
        if content.lost_track is True and not sender.numbering.is_near(sequence):
            sender.skips.handle_foreign_number(now)
            self._delivery.flush(peer, now)
            return
        data = sender.resend(sequence, now)
        if data is None:
            text = f"message {sequence} is no longer held"
            payload = ErrorPayload(text, ErrorCode.GONE, sequence_number=sequence)
            self._delivery.send(peer, MessageType.ERROR, encode_payload(payload), now)
        elif data:
            self._delivery.transmit_frame(peer, data)

    def handle_error(self, peer: Peer, content: ErrorPayload, now: float) -> None:
        """A peer refuses something, or does not know this session."""
        if content.code == ErrorCode.GONE and content.sequence_number is not None:
            if peer.channel.numbers is not None:
                peer.channel.numbers.give_up(content.sequence_number)
            peer.channel.reassembly.withdraw(content.sequence_number)
            return
        if content.code == ErrorCode.UNAUTHENTICATED:
            reason = "it no longer knows this node"
            self._liveness.suspect(peer, Suspicion.FORGOT, now, reason)
            return
        self._data.handle_error(peer, content, now)
        self._rendezvous.handle_error(peer, content, now)
        text, code = content.error, content.code
        self._state.emit(
            ErrorReceived(peer.node_id, peer.address, text, code, is_claim=peer.is_claim)
        )

    def handle_disconnect(self, peer: Peer, content: DisconnectPayload, now: float) -> None:
        """A peer says goodbye."""
        self._note_goodbye(peer, content)
        self._liveness.handle_goodbye(peer, now, _goodbye(content))

    def doubt_disconnect(self, peer: Peer, content: DisconnectPayload, now: float) -> None:
        """Somebody says goodbye in a peer's name: the peer is asked whether it has left."""
        self._liveness.suspect(peer, Suspicion.LEFT, now, _goodbye(content))


_PAYLOAD: Any = DisconnectPayload | None


def read_disconnect(message: Envelope) -> DisconnectPayload:
    """Decode a Disconnect, which may carry nothing.

    Raises:
        MalformedError: It is malformed.
    """
    payload = decode_payload(message.payload, _PAYLOAD)
    return DisconnectPayload() if payload is None else payload


def _goodbye(content: DisconnectPayload) -> str:
    words = content.reason[:MAX_REASON]
    return f"it said goodbye: {words}" if words else "it said goodbye"
