"""Messages that wait until their receivers may be sent them.

A receiver has first to prove its address, or to pay for more by what it sends, or to show that no
other node is at its address by now.
"""

from collections.abc import Callable
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import AMPLIFICATION_LIMIT
from p2ptui.core.delivery.outlet import Outlet
from p2ptui.core.peers import Held, Peer
from p2ptui.core.state import NodeState

MAX_DEFERRED: Final = 256
MAX_DEFERRED_BYTES: Final = 64 * 1024
"""Messages that wait for one peer, and their bytes."""

MAX_DEFERRED_OF_ALL_BYTES: Final = 1024 * 1024
"""Bytes of those that wait for all peers together, with what keeping them takes."""

HELD_BYTES: Final = 1200
"""What keeping one takes, besides its bytes: its places in the queue and in the table, and what is
told if it is lost."""

SHORT_BYTES: Final = 1200
"""A message of so many bytes fits into one datagram nearly everywhere."""

PAID_WITHIN_S: Final = 60.0
"""A longer message is refused if an unproved peer would not pay for it within this time."""

SEEN_S: Final = 5.0
"""A peer that has been there for so long shows how much it will pay for."""

ENVELOPE_BYTES: Final = 200
"""What a message takes besides its payload, about."""

NO_ROOM_TEXT: Final = (
    "messages wait already for a node that has not shown that it is there; try again later"
)
TOO_DEAR_TEXT: Final = (
    "it is too large for a node that has not shown that it is there; write less, or try again later"
)


class Deferred:
    """Keeps them in each peer's queue, within what all queues together may hold.

    Args:
        state: The shared ground.
        send: Puts a datagram to a peer on the wire.
    """

    def __init__(self, state: NodeState, send: Callable[[Peer, bytes], object]) -> None:
        self._state = state
        self._send = send
        self._all: BoundedTable[int, Peer] = state.tables.add(
            "deferred",
            BoundedTable(
                MAX_DEFERRED_OF_ALL_BYTES // HELD_BYTES,
                full="unproved_budget",
                limit_bytes=MAX_DEFERRED_OF_ALL_BYTES,
                shares=state.tables.shares,
                on_evicted=self._lose,
            ),
        )
        self._so_far = 0

    def put(self, peer: Peer, held: Held, now: float) -> bool:
        """Let a message wait; whether there is room for it.

        Args:
            peer: For whom.
            held: The message.
            now: The time, seconds.
        """
        if is_too_dear(peer, len(held.data), now):
            self._state.counters.drop("unproved_budget")
            return False
        self._so_far += 1
        number, writer = self._so_far, self._state.gate.source or peer.address
        size = len(held.data) + HELD_BYTES
        if not self._all.put(number, peer, now, address=writer, size_bytes=size, proved=False):
            return False
        peer.deferred = (*peer.deferred, held._replace(number=number))
        return True

    def release(self, peer: Peer, _now: float) -> None:
        """Send a peer what waits for it, as far as it may be sent that now.

        What this node says itself comes first: it is short, and another node may have been told of
        it, as of an introduction. A message of more than a datagram is passed by those that are
        shorter. Otherwise they keep their order.
        """
        if not peer.deferred or Outlet.is_contested(peer):
            return
        sent = set[int]()
        for held in sorted(peer.deferred, key=_rank):
            if peer.has_room(len(held.data)):
                self._all.pop(held.number)
                sent.add(held.number)
                self._send(peer, held.data)
            elif held.on_lost is not None or len(held.data) <= SHORT_BYTES:
                break
        peer.deferred = tuple(held for held in peer.deferred if held.number not in sent)

    def end_contest(self, peer: Peer) -> None:
        """No other node may be at a peer's address any more: what has waited for that may leave."""
        peer.facts.note_contested(None)
        if peer.deferred:  # later: the peer may be about to give way to that node
            self._state.timers.schedule_about(self._state.gate.now, self.release, peer)

    def take_all(self, peer: Peer) -> list[Held]:
        """What waits for a peer; nothing waits any more."""
        held = list(peer.deferred)
        peer.deferred = ()
        for each in held:
            self._all.pop(each.number)
        return held

    def _lose(self, number: int, peer: Peer) -> None:
        """Others need the room of a message: of each peer the oldest goes first."""
        lost = next((held for held in peer.deferred if held.number == number), None)
        if lost is None:
            return
        peer.deferred = tuple(held for held in peer.deferred if held is not lost)
        if lost.on_lost is not None:
            reason = "too many wait for nodes that have not shown that they are there"
            on_lost = lost.on_lost  # later: whoever writes is answered by itself
            self._state.timers.schedule(self._state.gate.now, lambda now: on_lost(reason, now))


def _rank(held: Held) -> int:
    """What leaves before what."""
    if held.on_lost is None:
        return 0
    return 1 if len(held.data) <= SHORT_BYTES else 2


def is_too_dear(peer: Peer, size: int, now: float) -> bool:
    """Whether a peer would not pay for so much in time if it goes on as it did: a third of what its
    bytes pay for answers them. One that has proved its address pays for nothing."""
    age_s = now - peer.session.joined_at
    if peer.purse.proved or size <= SHORT_BYTES or age_s < SEEN_S:
        return False
    earned = (AMPLIFICATION_LIMIT - 1) * peer.purse.bytes_in / age_s
    return size > earned * PAID_WITHIN_S


def why_not_kept(peer: Peer, payload_bytes: int, now: float) -> str:
    """Why a message may not wait for a peer, in words for whoever wrote it.

    Args:
        peer: For whom.
        payload_bytes: The size of its payload.
        now: The time, seconds.
    """
    if is_too_dear(peer, payload_bytes + ENVELOPE_BYTES, now):
        return TOO_DEAR_TEXT
    return NO_ROOM_TEXT
