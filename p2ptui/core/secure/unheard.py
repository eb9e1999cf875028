"""Nothing is acknowledged where a secured session goes: the peer may be elsewhere.

Who passes on challenges and their answers, and nothing else, keeps an address answering. So where
nothing is acknowledged for a while, the other addresses from which the peer came are asked, and the
session goes to one that answers. If nothing is acknowledged there either, it goes on, but not
without end: then it is not the way.
"""

from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.secure.roaming import Roaming
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState

ASKED_AFTER_S: Final = (0.3, 0.55)
LEFT_AFTER_S: Final = 0.8
"""After the first time that something was not acknowledged in time, if nothing is until then."""

LATE_S: Final = 1.0
"""So much later an answer still moves the session."""

MOST_MOVES: Final = 4
"""From one address to another, until something is acknowledged."""


@dataclass(slots=True, eq=False)
class _Doubt:
    since: float
    moves: int = 0
    moved_at: float = 0.0


class Unheard:
    """Notices that nothing is acknowledged, and has the other addresses asked.

    Args:
        state: The shared ground.
        delivery: Notices what is not acknowledged in time.
        roaming: Asks, and moves sessions.
        lifecycle: Tells of peers that are gone.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, roaming: Roaming, lifecycle: Lifecycle
    ) -> None:
        self._state = state
        self._roaming = roaming
        self._doubts: BoundedTable[Peer, _Doubt] = state.tables.add(
            "paths_doubted", BoundedTable(state.most_peers)
        )
        roaming.is_unheard = self._is_unheard
        roaming.on_left_unheard = self._note_left
        self._and_then, delivery.on_overdue = delivery.on_overdue, self._handle_overdue
        lifecycle.on_left.append(lambda peer, _: self._forget(peer))

    def _handle_overdue(self, peer: Peer, now: float) -> None:
        """Something that was sent to a peer has not been acknowledged in time."""
        self._and_then(peer, now)
        if not peer.is_secured or not self._roaming.has_others(peer):
            return
        last, doubt = self._doubts.get(peer), _Doubt(now)
        if last is not None:
            if peer.answered_at <= last.since and now < last.since + LEFT_AFTER_S:
                return
            if peer.answered_at <= last.moved_at:
                doubt.moves, doubt.moved_at = last.moves, last.moved_at
        if doubt.moves >= MOST_MOVES:
            return
        self._doubts.put(peer, doubt)
        schedule = self._state.timers.schedule
        for later_s in ASKED_AFTER_S:
            schedule(now + later_s, lambda at: self._ask(peer, doubt, at))
        schedule(now + LEFT_AFTER_S, lambda at: self._conclude(peer, doubt, at))

    def _holds(self, peer: Peer, doubt: _Doubt) -> bool:
        is_current = self._doubts.get(peer) is doubt and peer.is_authenticated
        return is_current and peer.answered_at <= doubt.since and bool(len(peer.channel.sender))

    def _ask(self, peer: Peer, doubt: _Doubt, now: float) -> None:
        if self._holds(peer, doubt):
            self._roaming.ask_others(peer, now)

    def _conclude(self, peer: Peer, doubt: _Doubt, now: float) -> None:
        if self._holds(peer, doubt):
            self._roaming.judge_others(peer, now)

    def _is_unheard(self, peer: Peer, now: float) -> bool:
        doubt = self._doubts.get(peer)
        if doubt is None or not self._holds(peer, doubt):
            return False
        return LEFT_AFTER_S <= now - doubt.since + 1e-9 <= LEFT_AFTER_S + LATE_S

    def _note_left(self, peer: Peer, now: float) -> None:
        doubt = self._doubts.get(peer)
        if doubt is not None:
            doubt.moves, doubt.moved_at = doubt.moves + 1, now

    def _forget(self, peer: Peer) -> None:
        self._doubts.pop(peer)
