"""Nothing sent in a secured session is acknowledged: the peer may be elsewhere.

An attacker that forwards challenges and their answers, and nothing else, keeps an address
answering. So if nothing is acknowledged for a while, or an acknowledged message is repeated time
and again, the other addresses from which the peer has come are probed, and the session moves to one
that answers. If nothing is acknowledged there either, this goes on, but not without end: then the
path is not the cause.
"""

import math
from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.secure.roaming import Roaming
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState

ASKED_AFTER_S: Final[tuple[float, ...]] = (0.3, 0.55)
LEFT_AFTER_S: Final = 0.8
"""How long after the first overdue message the address is left, if nothing is acknowledged until
then."""

LATE_S: Final = 1.0
"""How much later an answer still moves the session."""

REPEATS: Final = 3
"""How often a message is repeated although each copy was acknowledged: then no Ack arrives."""

REMEMBERED_S: Final = 8.0
"""How long the repetitions of the same message are counted."""

MOST_MOVES: Final = 4
"""Moves from one address to another until something is acknowledged."""


@dataclass(slots=True, eq=False)
class _Doubt:
    since: float = -math.inf
    """When a message was overdue, if nothing has been acknowledged since."""
    message_id: str = ""
    """The id of the repeated message."""
    repeats: int = 0
    began_at: float = 0.0
    repeated_at: float = -math.inf
    moves: int = 0
    moved_at: float = -math.inf


class Unheard:
    """Notices that nothing is acknowledged, and has the other addresses probed.

    Args:
        state: The shared state.
        delivery: Reports messages that are not acknowledged in time, and repeated ones.
        roaming: Probes addresses, and moves sessions.
        lifecycle: Reports peers that have left.
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
        delivery.on_repeated = self._handle_repeated
        lifecycle.on_left.append(lambda peer, _: self._forget(peer))

    def _doubt_of(self, peer: Peer) -> _Doubt | None:
        """The evidence against a peer's current address; None if the peer can be nowhere else, or
        has moved too often."""
        if not peer.is_secured or not self._roaming.has_others(peer):
            return None
        doubt = self._doubts.get(peer)
        if doubt is None:
            doubt = _Doubt()
            self._doubts.put(peer, doubt)
        if peer.answered_at > doubt.moved_at:
            doubt.moves = 0
        return doubt if doubt.moves < MOST_MOVES else None

    def _handle_overdue(self, peer: Peer, now: float) -> None:
        """A message to a peer has not been acknowledged in time."""
        self._and_then(peer, now)
        doubt = self._doubt_of(peer)
        if doubt is None:
            return
        if peer.answered_at <= doubt.since and now < doubt.since + LEFT_AFTER_S:
            return
        doubt.since, schedule = now, self._state.timers.schedule
        for later_s in ASKED_AFTER_S:
            schedule(now + later_s, lambda at: self._ask(peer, doubt, now, at))
        schedule(now + LEFT_AFTER_S, lambda at: self._conclude(peer, doubt, now, at))

    def _handle_repeated(self, peer: Peer, message_id: str, now: float) -> None:
        """A message was repeated that had been acknowledged before."""
        doubt = self._doubt_of(peer)
        if doubt is None:
            return
        if not doubt.repeats or now >= doubt.began_at + REMEMBERED_S:
            doubt.message_id, doubt.repeats, doubt.began_at = message_id, 0, now
        if message_id != doubt.message_id:
            return
        doubt.repeats, doubt.repeated_at = doubt.repeats + 1, now
        if doubt.repeats + 1 >= REPEATS:
            self._roaming.ask_others(peer, now)
            self._roaming.judge_others(peer, now)

    def _holds(self, peer: Peer, doubt: _Doubt) -> bool:
        is_current = self._doubts.get(peer) is doubt and peer.is_authenticated
        return is_current and peer.answered_at <= doubt.since and peer.channel.waiting > 0

    def _ask(self, peer: Peer, doubt: _Doubt, since: float, now: float) -> None:
        if doubt.since == since and self._holds(peer, doubt):
            self._roaming.ask_others(peer, now)

    def _conclude(self, peer: Peer, doubt: _Doubt, since: float, now: float) -> None:
        if doubt.since == since and self._holds(peer, doubt):
            self._roaming.judge_others(peer, now)

    def _is_unheard(self, peer: Peer, now: float) -> bool:
        doubt = self._doubts.get(peer)
        if doubt is None or doubt.moves >= MOST_MOVES:
            return False
        if doubt.repeats >= REPEATS and now <= doubt.repeated_at + LATE_S:
            return True
        until = doubt.since + LEFT_AFTER_S + LATE_S
        return self._holds(peer, doubt) and doubt.since + LEFT_AFTER_S <= now <= until

    def _note_left(self, peer: Peer, now: float) -> None:
        doubt = self._doubts.get(peer)
        if doubt is not None:
            doubt.moves, doubt.moved_at = doubt.moves + 1, now
            doubt.repeats = 0

    def _forget(self, peer: Peer) -> None:
        self._doubts.pop(peer)
