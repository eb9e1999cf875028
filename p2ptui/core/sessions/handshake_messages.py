"""Messages from addresses with which a handshake is in progress, or was thought to be."""

from p2ptui.core.accounts import Purse
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.codec import MalformedError, decode_payload
from p2ptui.wire.message import Envelope, ErrorPayload


class HandshakeMessages:
    """Takes HandshakeResponses, and Acks and Errors that arrive before there is a session.

    Args:
        state: The shared state.
        handshake: The handshakes that wait for them.
    """

    def __init__(self, state: NodeState, handshake: Handshake) -> None:
        self._state = state
        self._handshake = handshake

    def take_response(self, peer: Peer, message: Envelope, _earned: Purse, now: float) -> bool:
        """The answer to a request of this node."""
        self._handshake.handle_response(peer.address, message, now)
        return True

    def refuse_response(
        self, _address: Address, _message: Envelope, _earned: Purse, _now: float
    ) -> bool:
        """An answer from an address that was not asked, or not recently."""
        self._state.counters.drop("unsolicited_handshake_response")
        return True

    def take_ack(self, peer: Peer, message: Envelope, _earned: Purse, now: float) -> bool:
        """An Ack of a handshake message, in either role."""
        key = message.ack_for
        if key is not None and not self._handshake.handle_ack(peer, key, now):
            self._state.counters.acks_without_message += 1
        return True

    def take_error(self, peer: Peer, message: Envelope, _earned: Purse, now: float) -> bool:
        """A handshake is refused, in the words of the reference."""
        try:
            payload = decode_payload(message.payload, ErrorPayload)
        except MalformedError:
            self._state.counters.drop("malformed")
        else:
            self._handshake.handle_error(peer.address, payload, now)
        return True
