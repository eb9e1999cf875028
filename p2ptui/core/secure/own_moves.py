"""This node's own machine has moved: its secured peers are told at once, and no session ends.

The notice is a challenge: its answer proves that the path works in both directions, and says where
the peer now sees this node. A peer that does not answer is asked for a new session, like any other.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Reason
from p2ptui.core.peers import Peer
from p2ptui.core.secure.inner import MOVED, MOVED_PADDING, NONCE_BYTES
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address, parse_ip_address

TOLD_AT_ONCE: Final = 64
"""Peers told at once; a server with thousands tells the others afterwards."""

GROUP: Final = 32
GROUP_PAUSE_S: Final = 0.02
"""The pause between groups of that size."""

FIRST_PAUSE_S: Final = 0.1
PAUSE_GROWTH: Final = 1.6
TRIES: Final = 5
"""Tries within a second; afterwards the pause is as long as between the last two."""


@dataclass(slots=True, eq=False)
class _Told:
    nonce: bytes
    reason: str
    pause_s: float = FIRST_PAUSE_S
    tries: int = 0


class OwnMoves:
    """Tells secured peers that this node's machine has moved.

    Args:
        state: The shared state.
        lifecycle: Reports peers that have left.
    """

    def __init__(self, state: NodeState, lifecycle: Lifecycle) -> None:
        self._state = state
        self._lifecycle = lifecycle
        self._told: BoundedTable[Peer, _Told] = state.tables.add(
            "own_moves", BoundedTable(state.most_peers)
        )
        self.on_confirmed: list[Callable[[Peer, float], None]] = []
        """Called with each peer that answers, and the time."""
        self.on_unanswered: Callable[[Peer, float, str], None] = lambda *_: None
        """Called with each peer that does not answer, the time, and why it was told."""
        lifecycle.on_left.append(lambda peer, _: self._forget(peer))

    def is_awaited(self, peer: Peer) -> bool:
        """Whether a peer was told and has not answered yet."""
        return peer in self._told

    def begin(self, peers: Iterable[Peer], now: float, reason: str) -> None:
        """Tell peers, the first ones at once.

        Args:
            peers: Peers with a secured session, each at an address of its own.
            now: The time, seconds.
            reason: Why, in one line.
        """
        for place, peer in enumerate(peers):
            told = _Told(self._state.rng.randbytes(NONCE_BYTES), reason)
            self._told.put(peer, told)
            if place < TOLD_AT_ONCE:
                self._tell(peer, told, now)
                continue
            later_s = ((place - TOLD_AT_ONCE) // GROUP + 1) * GROUP_PAUSE_S
            self._state.timers.schedule(now + later_s, partial(self._tell, peer, told))

    def _tell(self, peer: Peer, told: _Told, now: float) -> None:
        if self._told.get(peer) is not told or self._state.closing:
            return
        if told.tries == TRIES:
            self._forget(peer)
            self.on_unanswered(peer, now, told.reason)
            return
        if not told.tries:
            peer.forget_pair()
        told.tries += 1
        gate, to = self._state.gate, peer.sends_to
        frame = bytes((MOVED,)) + told.nonce + MOVED_PADDING
        gate.send_to(peer, frame, gate.grant(Reason.OWN_PLAN, to, now, peer.purse))
        if told.tries == 1:
            self._state.peers.note_own_move(peer)  # after it: so it is recognised
        self._state.timers.schedule(now + told.pause_s, partial(self._tell, peer, told))
        told.pause_s *= PAUSE_GROWTH

    def take_answer(self, peer: Peer, inner: bytes, now: float) -> bool:
        """An answer to a challenge came under a peer's seal; returns whether the challenge was one
        of these.

        Args:
            peer: The peer.
            inner: The frame.
            now: The time, seconds.
        """
        told, end = self._told.get(peer), 1 + NONCE_BYTES
        if told is None or inner[1:end] != told.nonce:
            return False
        self._forget(peer)
        seen = _read(inner[end:])
        if seen is not None and peer.is_plain:
            peer.facts.public_address = seen
        peer.liveness.hear(now)
        peer.liveness.note_answer(now)
        self._lifecycle.set_status(peer, peer.status, told.reason)
        for listener in self.on_confirmed:
            listener(peer, now)
        return True

    def take_seen(self, peer: Peer, inner: bytes, now: float) -> None:
        """A peer says where it now sees this node, which has not moved by itself.

        Args:
            peer: The peer under whose seal it came.
            inner: The frame.
            now: The time, seconds.
        """
        seen = _read(inner[1:])
        if seen is None or not peer.is_plain or peer in self._told:
            return
        if seen != peer.public_address:
            peer.facts.public_address = seen
            for listener in self.on_confirmed:
                listener(peer, now)

    def _forget(self, peer: Peer) -> None:
        self._told.pop(peer)


def _read(text: bytes) -> Address | None:
    """Where the other side sees this node, if it says so."""
    try:
        return parse_ip_address(text.decode("ascii"))
    except UnicodeDecodeError:
        return None
