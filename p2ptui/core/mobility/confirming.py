"""A session that this node asked for is certain once its request is acknowledged.

The answer alone says too little: at an address in use it goes to anyone who asks, and the session
there goes on until that answer is acknowledged; see `sessions.newcomers`. If the Ack is lost, or
the other side could not wait for it, this node believes in a session that nobody else knows. Pings
reveal nothing, since the previous session answers them too.

So the request is repeated, byte for byte, until its Ack comes, for a few minutes at most. If the
answer is the same as before, it is acknowledged again. If it differs, the other side has forgotten
the first one, and this node shakes hands anew.

A sealed session is certain with the first frame that opens with its keys. There the same request
gets a different answer if it comes from another address, or late: that says nothing about the
session.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Reason
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.asking import Greeting
from p2ptui.core.sessions.greetings import OUR_EXTENSIONS
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.wire.message import Capability, Envelope, MessageType

FIRST_PAUSE_S: Final = 1.0
"""The Ack leaves together with the answer: by now it was lost, or there is none."""

LONGEST_PAUSE_S: Final = 4.0
QUICKLY_REPEATED: Final = 18
"""Quick repetitions, each after twice the previous pause. An outage of a minute ends within these.
The pauses after them grow again, up to the interval of heartbeats."""

MOST_REPEATED: Final = 24
"""After this many, within a few minutes, no Ack is to be expected; the session goes on."""

FORGOTTEN: Final = "it does not know this session"


@dataclass(slots=True, eq=False)
class _Open:
    """A session whose request was answered but not acknowledged yet."""

    greeting: Greeting
    pause_s: float = FIRST_PAUSE_S
    timer: Timer | None = None
    repeated: int = 0


class Confirming:
    """Repeats answered requests until they are acknowledged.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Reports sessions that have ended.
        begin_anew: Shakes hands anew with a peer, at a given time, for a reason.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        lifecycle: Lifecycle,
        begin_anew: Callable[[Peer, float, str], None],
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._begin_anew = begin_anew
        self._open: BoundedTable[Peer, _Open] = state.tables.add(
            "sessions_to_confirm", BoundedTable(state.most_peers)
        )
        lifecycle.on_left.append(lambda peer, _: self._forget(peer))

    def begin(self, peer: Peer, greeting: Greeting, now: float) -> None:
        """A request was answered, and its session begins.

        Args:
            peer: The peer that answered.
            greeting: The request.
            now: The time, seconds.
        """
        self._forget(peer)
        is_ours = not OUR_EXTENSIONS.isdisjoint(peer.capabilities)
        if peer.facts.acks or not (is_ours and Capability.RETRANSMIT in peer.capabilities):
            return  # it is acknowledged, or there may never be an Ack: the answer is as good
        session = _Open(greeting)
        if self._open.put(peer, session):
            self._plan(peer, session, now)

    def _plan(self, peer: Peer, session: _Open, now: float) -> None:
        session.timer = self._state.timers.schedule(
            now + session.pause_s, lambda at: self._look(peer, session, at)
        )

    def _look(self, peer: Peer, session: _Open, now: float) -> None:
        if self._open.get(peer) is not session:
            return
        if _is_certain(peer) or not peer.is_authenticated or self._state.closing:
            self._forget(peer)
            return
        session.repeated += 1
        longest_s = LONGEST_PAUSE_S
        if session.repeated > QUICKLY_REPEATED:
            longest_s = max(longest_s, self._state.config.server.heartbeat_interval)
        session.pause_s = min(2 * session.pause_s, longest_s)
        self._delivery.transmit(
            peer, session.greeting.data, MessageType.HANDSHAKE_REQUEST, now, reason=Reason.HANDSHAKE
        )
        if session.repeated < MOST_REPEATED:
            self._plan(peer, session, now)

    def take_answer(self, peer: Peer, message: Envelope, now: float) -> bool:
        """A HandshakeResponse from a peer with a session; returns whether the session has ended
        because it is unknown there.

        Args:
            peer: The peer that sent it.
            message: The response.
            now: The time, seconds.
        """
        session = self._open.get(peer)
        if session is None or not session.repeated or _is_certain(peer):
            return False
        # It names the request, which nobody else can; before the repetition another path may
        # have been answered too.
        names_it = message.ack_for == session.greeting.sequence
        if not names_it or message.id == peer.handshake_heard:
            return False
        self._begin_anew(peer, now, FORGOTTEN)
        return True

    def _forget(self, peer: Peer) -> None:
        session = self._open.pop(peer)
        if session is not None and session.timer is not None:
            session.timer.cancel()


def _is_certain(peer: Peer) -> bool:
    """Whether the other side has proved that it has the session too."""
    if peer.facts.acks or peer.seal is None:
        return peer.facts.acks
    current = peer.seal.session.current
    return not current.is_initiator or current.opened > 0
