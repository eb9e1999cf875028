"""A peer that no longer knows a session is asked for a new one, beside the old one.

Anyone who has seen a frame can claim that its session is unknown. So the peer is first asked under
seal, and as long as it answers there, nothing happens.
"""

from typing import Final

from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.sealing import SealFrame
from p2ptui.core.secure.beside import Beside
from p2ptui.core.sessions.parts import SessionParts
from p2ptui.core.state import NodeState
from p2ptui.secure.frames import decode_unknown_session

PATIENCE_S: Final = 0.4
"""How long nothing may open from a peer that is said not to know the session."""

REASON: Final = "it was restarted, and has shown its keys"


class Restarts:
    """Renews sessions whose other end was restarted.

    Args:
        state: The shared state.
        delivery: Sends messages.
        sessions: Where the new session begins.
    """

    def __init__(self, state: NodeState, delivery: Delivery, sessions: SessionParts) -> None:
        self._state = state
        self._delivery = delivery
        self.beside = Beside(state, delivery, sessions)
        """Asks for the new session."""

    def hear(self, frame: bytes, peer: Peer | None, now: float) -> None:
        """Somebody says that the session of a frame that this node sent is unknown."""
        unknown = decode_unknown_session(frame)
        if unknown is None or peer is None or peer.seal is None or not peer.is_authenticated:
            self._state.counters.drop("unknown_session")
            return
        if not peer.seal.session.is_ours(unknown):
            self._state.counters.drop("unknown_session")
            return
        self._state.trace_from(peer.address, peer.node_id, SealFrame.UNKNOWN_SESSION, frame)
        if peer not in self.beside and self.beside.ask(peer, REASON, now, PATIENCE_S):
            self._delivery.ping(peer, now)
