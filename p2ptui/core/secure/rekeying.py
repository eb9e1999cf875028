"""Fresh keys for a running session: a key exchange within it, under its seal.

The side that begins has the new keys after the second message, and can open frames with them; the
other side seals with them once it has the third message. The first frame that they open puts the
new keys into use on both sides. The previous keys open frames in flight for ten more seconds, so
nothing is lost and nothing is delivered twice.
"""

import math
from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.events import PeerStatus
from p2ptui.core.peers import Peer
from p2ptui.core.peers.seal import Seal
from p2ptui.core.sealing import Seals
from p2ptui.core.secure.beside import Beside
from p2ptui.core.secure.frame_kinds import kind_of
from p2ptui.core.secure.inner import REKEY_1, REKEY_2, REKEY_3
from p2ptui.core.sessions.asking import came_without_key
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.offering import make_offer
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.secure import Initiator, Responder, SecureError, Transport
from p2ptui.secure.exchange import is_first_to_rekey

REPEAT_S: Final = 1.0
"""How long after a message of the exchange it is repeated if nothing came back."""

TRIES: Final = 10
"""Repetitions of one message; then the exchange begins anew."""

LOOKS_S: Final = 4.0
"""How often to check, while new keys are due but not there, whether to begin anew."""

TOGETHER_S: Final = 0.25
"""Sessions due within this time are checked together: a timer for each takes memory."""

OVERDUE_S: Final = 42.0
"""New keys that have been due and requested for this long should be there: somebody may be
withholding the requests. A new session is asked for beside this one."""

LATER_S: Final = 8.0
"""How much later the side with the larger id asks, so that the requests of the two do not cross."""

REJECT_S: Final = 60.0
"""If there are no new ones by then, the keys are no longer used: the session ends. They are 15
minutes old, unless the machine slept."""

RENEWED: Final = "new keys did not come in time; it has shown its keys once more"
TOO_OLD: Final = (
    "no new keys came in 15 minutes, though it was there: something on the way holds them back"
)

PAUSE_S: Final = 5.0
"""The time after one request of a peer in which no other one is answered, since each costs a key
exchange. An honest peer asks anew only after all its tries."""

ANSWERS_READ: Final = 8
"""How many answers to one request are examined. A genuine one is right at once, unless it is late
and answers an earlier request."""

_NUMBER_BYTES: Final = 4


@dataclass(slots=True, eq=False)
class _Begun:
    """An exchange that this side has begun."""

    initiator: Initiator
    message: bytes
    """The message that is repeated until something comes back: the first or the third."""
    transport: Transport | None = None
    tries: int = 0
    read: int = 0


@dataclass(slots=True, eq=False)
class _Answered:
    """An exchange that the other side has begun."""

    request: bytes
    at: float
    """When it came, seconds."""
    answer: bytes = b""
    responder: Responder | None = None
    """None once it has ended, with or without success."""
    number: int = -1

    def end(self) -> None:
        """Nothing more will come of it."""
        self.answer, self.responder, self.number = b"", None, -1


class Rekeying:
    """Agrees on new keys in time.

    Args:
        state: The shared state.
        seals: The secured sessions.
        lifecycle: Reports peers that have left.
        beside: Asks for new sessions.
    """

    def __init__(
        self, state: NodeState, seals: Seals, lifecycle: Lifecycle, beside: Beside
    ) -> None:
        self._state = state
        self._look_at = self._look  # one for all peers
        self._seals = seals
        self._lifecycle = lifecycle
        self._beside = beside
        self._begun: BoundedTable[Peer, _Begun] = state.tables.add(
            "rekeys", BoundedTable(state.most_peers)
        )
        self._answered: BoundedTable[Peer, _Answered] = state.tables.add(
            "rekeys", BoundedTable(state.most_peers)
        )
        self._looks: BoundedTable[Peer, Timer] = state.tables.add(
            "rekeys", BoundedTable(state.most_peers, refuses=True)
        )
        """When each secured peer is checked: heartbeats may be rarer than new keys."""
        lifecycle.on_joined.append(self._plan)
        lifecycle.on_left.append(lambda peer, _: self._forget(peer))

    def _plan(self, peer: Peer, now: float) -> None:
        if peer.seal is None:
            return
        self._cancel(peer)
        due = max(peer.seal.session.current.rekey_at, now + LOOKS_S)
        due = math.ceil(due / TOGETHER_S) * TOGETHER_S
        timer = self._state.timers.schedule_about(due, self._look_at, peer)
        if not self._looks.put(peer, timer):
            timer.cancel()

    def _cancel(self, peer: Peer) -> None:
        timer = self._looks.pop(peer)
        if timer is not None:
            timer.cancel()

    def _look(self, peer: Peer, now: float) -> None:
        self._looks.pop(peer)
        if not self._state.closing:
            self.check(peer, now)
            if peer.is_authenticated:
                self._plan(peer, now)

    def check(self, peer: Peer, now: float) -> None:
        """A heartbeat or timer: are new keys due, and have the previous ones expired?"""
        seal = peer.seal
        if seal is None or not peer.is_authenticated:
            return
        if seal.session.expire(now):
            self._seals.note_numbers(peer)
        answered = self._answered.get(peer)
        if answered is not None and answered.responder is None and now >= answered.at + PAUSE_S:
            self._answered.pop(peer)
        if seal.session.needs_rekey(now) and peer not in self._begun:
            self.begin(peer, now)
        self._judge_delay(peer, seal, now)

    def _judge_delay(self, peer: Peer, seal: Seal, now: float) -> None:
        if now < seal.session.current.rekey_at:
            seal.due_since = None
            return
        if seal.due_since is None:
            seal.due_since = now
        waited_s = now - seal.due_since
        is_first = self._state.identity.id < peer.node_id
        if waited_s >= REJECT_S:
            self._state.counters.drop("keys_overdue")
            self._lifecycle.remove(peer, PeerStatus.DISCONNECTED, now, TOO_OLD)
        elif waited_s >= OVERDUE_S + (0.0 if is_first else LATER_S) and peer not in self._beside:
            self._beside.ask(peer, RENEWED, now, is_overdue=True)

    def begin(self, peer: Peer, now: float) -> None:
        """Begin an exchange with a secured peer."""
        without_key = came_without_key(peer)
        initiator = make_offer(self._seals, without_key=without_key).initiator
        frame = bytes((REKEY_1,)) + f'"{initiator.placeholder}"'.encode()
        begun = _Begun(initiator, initiator.fill(frame))
        self._begun.put(peer, begun)
        self._try(peer, begun, now)

    def _try(self, peer: Peer, begun: _Begun, now: float) -> None:
        if self._begun.get(peer) is not begun:
            return
        seal = peer.seal
        if seal is None or seal.session.current is begun.transport or begun.tries >= TRIES:
            self._begun.pop(peer)
            if seal is not None:
                seal.session.give_up()
            return
        begun.tries += 1
        self._send(peer, begun.message)
        self._state.timers.schedule(now + REPEAT_S, lambda at: self._try(peer, begun, at))

    def take(self, peer: Peer, inner: bytes, now: float) -> None:
        """A message of such an exchange came under a peer's seal."""
        try:
            if inner[0] == REKEY_1:
                self._answer(peer, inner, now)
            elif inner[0] == REKEY_2:
                self._finish(peer, inner, now)
            else:
                self._complete(peer, inner, now)
        except (SecureError, UnicodeDecodeError):
            self._state.counters.drop("rekey_refused")

    def _answer(self, peer: Peer, inner: bytes, now: float) -> None:
        keys, answered, seal = self._seals.keys, self._answered.get(peer), peer.seal
        if seal is None:
            return
        begun = self._begun.get(peer)
        if begun is not None and begun.transport is None:
            if is_first_to_rekey(keys.identity.x_public, seal.keys.x_public):
                return  # both have begun: this node's exchange goes on
            self._begun.pop(peer)
        if answered is None or answered.request != inner:
            if answered is not None and now < answered.at + PAUSE_S:
                self._state.counters.drop("rekey_postponed")
                return
            answered = _Answered(inner, now)
            self._answered.put(peer, answered)
            value = inner[2:-1].decode("ascii")
            # As in the exchange that made the session: one side may not have the network key.
            psk = keys.psk if seal.by_network_key else None
            responder = Responder(inner, value, self._seals.static, psk=psk)
            number = self._seals.new_number([one.number for one in self._answered.values()])
            text = responder.answer(b"", number=number)
            answered.answer = bytes((REKEY_2,)) + text.encode()
            answered.responder, answered.number = responder, number
        if answered.answer:
            self._send(peer, answered.answer)

    def _finish(self, peer: Peer, inner: bytes, now: float) -> None:
        begun, seal = self._begun.get(peer), peer.seal
        if begun is None or begun.transport is not None or seal is None:
            return
        if begun.read >= ANSWERS_READ:
            self._state.counters.drop("rekey_refused")
            return
        begun.read += 1
        answer = begun.initiator.read_answer(inner[1:].decode("ascii"))
        if answer.remote_static != seal.keys.x_public:
            self._state.counters.drop("another_key")
            return
        finished = begun.initiator.finish(b"", now)
        begun.transport, begun.tries = finished.transport, 0
        number = finished.transport.remote_number.to_bytes(_NUMBER_BYTES, "big")
        begun.message = bytes((REKEY_3,)) + number + finished.message_3
        self._seals.keys.note_session_keys(seal.keys.id, finished.transport)
        seal.session.prepare(finished.transport)
        self._seals.note_numbers(peer)
        self._send(peer, begun.message)

    def _complete(self, peer: Peer, inner: bytes, now: float) -> None:
        answered, seal = self._answered.get(peer), peer.seal
        number = int.from_bytes(inner[1 : 1 + _NUMBER_BYTES], "big")
        if seal is None:
            return
        responder = None if answered is None else answered.responder
        if answered is None or responder is None or answered.number != number:
            if seal.session.current.local_number == number:
                self._state.gate.send_to(peer, b"")  # the frame with the new keys was lost
            return
        # It came under seal, so nobody else has altered it: there is one try.
        answered.end()
        completed = responder.complete(inner[1 + _NUMBER_BYTES :], now)
        if completed.remote_static != seal.keys.x_public:
            self._state.counters.drop("another_key")
            return
        self._seals.keys.note_session_keys(seal.keys.id, completed.transport)
        seal.session.adopt(completed.transport, now)
        self._seals.note_numbers(peer)
        self._state.gate.send_to(peer, b"")

    def _send(self, peer: Peer, inner: bytes) -> None:
        if self._state.gate.send_to(peer, inner):
            self._state.trace_to(peer, peer.sends_to, kind_of(inner), inner)

    def _forget(self, peer: Peer) -> None:
        self._begun.pop(peer)
        self._answered.pop(peer)
        self._cancel(peer)
