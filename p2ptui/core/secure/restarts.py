"""A peer that knows nothing of a session any more: it is asked for a new one, beside the old.

Whoever has seen a frame can say that its session is unknown. So the peer is asked under seal first,
and while it answers so, nothing happens. Then a request leaves, and the session goes on until the
answer shows the same keys: only that begins the new one, in which what waits goes on.
"""

from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Reason
from p2ptui.core.addresses import relayed_node
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.sealing import SealFrame, Seals, is_of_keys
from p2ptui.core.sessions.asking import Greeting, came_without_key, read_answer, write_request
from p2ptui.core.sessions.parts import SessionParts
from p2ptui.core.sessions.repetition import RETRY_INTERVAL_S
from p2ptui.core.state import NodeState
from p2ptui.secure.frames import decode_unknown_session
from p2ptui.wire.message import Envelope, MessageType

PATIENCE_S: Final = 0.4
"""So long nothing may open from a peer that is said not to know the session."""

ASKED_S: Final = 10.0
"""So long it is asked for a new one, at most."""

REASON: Final = "it was restarted, and has shown its keys"
SECURED: Final = "it is secured from now on"


@dataclass(slots=True, eq=False)
class _Asked:
    opened: int
    """How many frames had opened when it was said."""
    deadline: float
    greeting: Greeting | None = None


class Restarts:
    """Takes sessions up again whose other end was restarted.

    Args:
        state: The shared ground.
        seals: The secured sessions.
        delivery: The way out.
        sessions: Where the new session begins.
    """

    def __init__(
        self, state: NodeState, seals: Seals, delivery: Delivery, sessions: SessionParts
    ) -> None:
        self._state = state
        self._seals = seals
        self._delivery = delivery
        self._handshake = sessions.handshake
        self._asked: BoundedTable[Peer, _Asked] = state.tables.add(
            "restarts_asked", BoundedTable(state.most_peers)
        )
        sessions.lifecycle.on_left.append(lambda peer, _: self._forget(peer))

    def hear(self, frame: bytes, peer: Peer | None, now: float) -> None:
        """Somebody says that a session is unknown where a frame of this node's went."""
        unknown = decode_unknown_session(frame)
        if unknown is None or peer is None or peer.seal is None or not peer.is_authenticated:
            self._state.counters.drop("unknown_session")
            return
        if not peer.seal.session.is_ours(unknown):
            self._state.counters.drop("unknown_session")
            return
        self._state.trace_from(peer.address, peer.node_id, SealFrame.UNKNOWN_SESSION, frame)
        if peer in self._asked:
            return
        asked = _Asked(peer.seal.session.current.opened, now + ASKED_S)
        if self._asked.put(peer, asked):
            self._delivery.ping(peer, now)
            self._state.timers.schedule(now + PATIENCE_S, lambda at: self._try(peer, asked, at))

    def secure(self, peer: Peer, now: float) -> None:
        """Ask for a secured session in the place of an open one, where a direct path is in use, or
        a server that speaks under seal: the one by way of which the two met passes on no secured
        frames. One of them asks."""
        if peer.seal is not None or not peer.is_authenticated:
            return
        may_be = peer.path is not None or self._seals.must_show(peer.sends_to)
        if not may_be or not is_of_keys(peer.node_id) or peer in self._asked:
            return
        if self._state.identity.id < peer.node_id:
            asked = _Asked(0, now + ASKED_S)
            if self._asked.put(peer, asked):
                self._try(peer, asked, now)

    def _try(self, peer: Peer, asked: _Asked, now: float) -> None:
        if self._asked.get(peer) is not asked or self._state.closing:
            return
        has_opened = peer.seal is not None and peer.seal.session.current.opened > asked.opened
        if now >= asked.deadline or has_opened:
            self._forget(peer)
            return
        if asked.greeting is None:
            number = peer.channel.sender.numbering.take()
            heard = peer.handshake_heard
            without_key = came_without_key(peer)
            asked.greeting = write_request(
                self._state, self._delivery, number, heard, now, without_key=without_key
            )
            peer.handshakes.ask_beside(asked.greeting.message_id, asked.greeting.sequence)
        kind, data = MessageType.HANDSHAKE_REQUEST, asked.greeting.data
        self._delivery.transmit(peer, data, kind, now, reason=Reason.HANDSHAKE)
        self._state.timers.schedule(now + RETRY_INTERVAL_S, lambda at: self._try(peer, asked, at))

    def take_answer(self, peer: Peer, message: Envelope, now: float) -> bool:
        """An answer in the clear from where a secured peer is; whether it was asked for here."""
        asked = self._asked.get(peer)
        greeting = None if asked is None else asked.greeting
        if greeting is None or message.ack_for is None or not greeting.is_named_by(message):
            return False
        where = relayed_node(peer.address)
        answer = read_answer(message, self._state.identity, where, greeting.offer)
        shown = None if answer is None else answer.shown
        if shown is None or shown.keys.id != peer.node_id:
            self._state.counters.drop("another_key" if shown else "stripped_exchange")
            return True
        self._forget(peer)
        why = REASON if peer.seal is not None else SECURED
        self._handshake.resume(peer, greeting, message, now, why)
        return True

    def _forget(self, peer: Peer) -> None:
        self._asked.pop(peer)
