"""A request for a new session with a peer, beside the old one, which goes on until the answer.

Whatever anybody on the path does to the request or answers, the session stays as it is: only an
answer that proves the keys of the peer's id begins the new session, where queued messages continue.
"""

import sys
from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Reason
from p2ptui.core.addresses import relayed_node
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.asking import Greeting, came_without_key, read_answer, write_request
from p2ptui.core.sessions.parts import SessionParts
from p2ptui.core.sessions.repetition import RETRY_INTERVAL_S
from p2ptui.core.state import NodeState
from p2ptui.wire.message import Envelope, MessageType

ASKED_S: Final = 10.0
"""How long a peer is asked for a new session, at most."""


@dataclass(slots=True, eq=False)
class _Asked:
    opened: int
    """How many frames had opened when the question arose."""
    deadline: float
    why: str
    joined_at: float
    """When the session that goes on meanwhile began."""
    greeting: Greeting | None = None


class Beside:
    """Asks peers for a new session while the old one goes on.

    Args:
        state: The shared state.
        delivery: Sends messages.
        sessions: Where the new session begins.
    """

    def __init__(self, state: NodeState, delivery: Delivery, sessions: SessionParts) -> None:
        self._state = state
        self._delivery = delivery
        self._handshake = sessions.handshake
        self._asked: BoundedTable[Peer, _Asked] = state.tables.add(
            "sessions_asked_beside", BoundedTable(state.most_peers)
        )
        sessions.lifecycle.on_left.append(lambda peer, _: self._forget(peer))

    def __contains__(self, peer: Peer) -> bool:
        asked = self._asked.get(peer)
        return asked is not None and not peer.has_begun_anew(asked.joined_at)

    def ask(
        self, peer: Peer, why: str, now: float, after_s: float = 0.0, *, is_overdue: bool = False
    ) -> bool:
        """Ask a peer for a new session; returns whether there is room for that.

        Args:
            peer: The peer; a secured one is no longer asked once a sealed frame opens.
            why: What the user is told when the new session begins.
            now: The time, seconds.
            after_s: How long to wait for a sealed frame first, seconds.
            is_overdue: Whether it is asked even if sealed frames open.
        """
        opened = 0 if peer.seal is None else peer.seal.session.current.opened
        if is_overdue:
            opened = sys.maxsize
        asked = _Asked(opened, now + ASKED_S, why, peer.session.joined_at)
        if not self._asked.put(peer, asked):
            return False
        if after_s:
            self._state.timers.schedule(now + after_s, lambda at: self._try(peer, asked, at))
        else:
            self._try(peer, asked, now)
        return True

    def _try(self, peer: Peer, asked: _Asked, now: float) -> None:
        if self._asked.get(peer) is not asked or self._state.closing:
            return
        if peer.has_begun_anew(asked.joined_at) and now < asked.deadline:
            # It is remembered until then, so that its answer is not taken for another one.
            self._state.timers.schedule(asked.deadline, lambda at: self._try(peer, asked, at))
            return
        has_opened = peer.seal is not None and peer.seal.session.current.opened > asked.opened
        if now >= asked.deadline or has_opened:
            self._forget(peer)
            return
        if asked.greeting is None:
            number = peer.channel.numbering.take()
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
        """An answer in the clear from a peer's address; returns whether it was requested here."""
        asked = self._asked.get(peer)
        greeting = None if asked is None else asked.greeting
        if asked is None or greeting is None or message.ack_for is None:
            return False
        if not greeting.is_named_by(message):
            return False
        if peer.has_begun_anew(asked.joined_at):
            self._state.counters.drop("late_handshake")
            return True
        where = relayed_node(peer.address)
        answer = read_answer(message, self._state.identity, where, greeting.offer)
        shown = None if answer is None else answer.shown
        if shown is None or shown.keys.id != peer.node_id:
            self._state.counters.drop("another_key" if shown else "stripped_exchange")
            return True
        self._forget(peer)
        self._handshake.resume(peer, greeting, message, now, asked.why)
        return True

    def _forget(self, peer: Peer) -> None:
        self._asked.pop(peer)
