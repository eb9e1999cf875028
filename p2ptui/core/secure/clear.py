"""Messages that may still arrive in the clear from a secured peer's address: handshakes only."""

from collections.abc import Callable
from typing import Final

from p2ptui.core.addresses import relayed_node
from p2ptui.core.events import PeerStatus
from p2ptui.core.peers import Peer
from p2ptui.core.policy import words_there
from p2ptui.core.secure.answering import Answering
from p2ptui.core.secure.opening import Opening
from p2ptui.core.sessions.asking import refusal
from p2ptui.core.sessions.parts import SessionParts
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.codec import MalformedError, decode_payload
from p2ptui.wire.message import Envelope, MessageType
from p2ptui.wire.message import ReceivedHandshakeResponse as Response

HANDSHAKES: Final = frozenset({MessageType.HANDSHAKE_REQUEST, MessageType.HANDSHAKE_RESPONSE})


class Clear:
    """Judges messages by whether they are sealed and should be.

    Args:
        state: The shared state.
        answering: Takes requests with a key exchange.
        sessions: Ends sessions with peers that refuse this node, or asks them in another way.
        opening: Takes sealed frames.
    """

    def __init__(
        self, state: NodeState, answering: Answering, sessions: SessionParts, opening: Opening
    ) -> None:
        self.opening = opening
        """The first look at what is sealed."""
        self._state = state
        self._answering = answering
        self._lifecycle = sessions.lifecycle
        self._handshake = sessions.handshake
        self.on_answer: list[Callable[[Peer, Envelope, float], bool]] = []
        """Handlers of answers to requests sent beside a session; each returns whether it was
        one."""

    def takes(
        self,
        data: bytes,
        address: Address,
        message: Envelope,
        peer: Peer | None,
        now: float,
        *,
        is_sealed: bool,
    ) -> bool:
        """Whether a message was handled, and goes no further.

        Args:
            data: The datagram.
            address: Where it came from.
            message: The message.
            peer: The peer at that address, if any.
            now: The time, seconds.
            is_sealed: Whether it came under that peer's seal.
        """
        kind = message.message_type
        if is_sealed:
            # A handshake is bound to the bytes on the wire, and never inside a session.
            if kind in HANDSHAKES:
                self._state.counters.drop("handshake_inside")
            return kind in HANDSHAKES
        if kind == MessageType.HANDSHAKE_REQUEST:
            earned = self._state.gate.earned_by(len(data), address)
            return self._answering.take_request(data, address, message, peer, earned, now)
        if peer is None:
            peer = self._state.peers.authenticated(relayed_node(address) or "")
        if peer is None:
            return False
        if peer.seal is None:
            is_answer = kind == MessageType.HANDSHAKE_RESPONSE and peer.is_authenticated
            return is_answer and self._is_awaited(peer, message, now)
        if kind != MessageType.HANDSHAKE_RESPONSE:
            self._state.counters.drop("unsealed")
            return True
        if self._is_refused(peer, message, now):
            return True
        if not peer.is_authenticated:
            return False  # it is asked for a session anew
        if not self._is_awaited(peer, message, now):
            self._state.counters.drop("unsealed")
        return True

    def _is_awaited(self, peer: Peer, message: Envelope, now: float) -> bool:
        return any(take(peer, message, now) for take in self.on_answer)

    def _is_refused(self, peer: Peer, message: Envelope, now: float) -> bool:
        """Whether it is really the other side that refuses the last message of a key exchange."""
        seal = peer.seal
        if seal is None or not seal.refusal or seal.session.is_confirmed:
            return False
        try:
            response = decode_payload(message.payload, Response)
        except MalformedError:
            return False
        if response.success or response.refuses != seal.refusal.hex():
            return False
        if self._handshake.ask_otherwise(peer, response.reason, now):
            return True
        seal.refusal = b""
        words = words_there(response.reason, response.error_message)
        reason = refusal(peer.address, words)
        self._lifecycle.remove(peer, PeerStatus.FAILED, now, reason)
        return True
