"""Messages that wait until their receivers may be sent them.

A receiver must first prove its address, or pay for more by what it sends, or show that no other
node has taken its address.
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
"""Most messages that wait for one peer, and their bytes."""

MAX_DEFERRED_OF_ALL_BYTES: Final = 1024 * 1024
"""Most bytes that wait for all peers together, with the overhead of keeping them."""

HELD_BYTES: Final = 1200
"""The memory that a message takes besides its bytes: its places in the queue and in the table, and
what is reported if it is lost."""

SHORT_BYTES: Final = 1200
"""A message of this size fits into one datagram nearly everywhere."""

PAID_WITHIN_S: Final = 60.0
"""A longer message is refused if an unproved peer would not pay for it within this time."""

SEEN_S: Final = 5.0
"""After this time, a peer has shown how much it will pay for."""

ENVELOPE_BYTES: Final = 200
"""Roughly what a message takes besides its payload."""

NO_ROOM_TEXT: Final = (
    "messages wait already for a node that has not shown that it is there; try again later"
)
TOO_DEAR_TEXT: Final = (
    "it is too large for a node that has not shown that it is there; write less, or try again later"
)


class Deferred:
    """Keeps messages in each peer's queue, within a limit for all queues together.

    Args:
        state: The shared state.
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
        """Let a message wait; returns whether there is room for it.

        Args:
            peer: The receiver.
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

        This node's own messages come first: they are short, and another node may have been told
        about them, as with an introduction. Shorter messages overtake one that exceeds a datagram.
        Otherwise they keep their order.
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
        """No other node can be at a peer's address any more: what has waited for that may be
        sent."""
        peer.facts.note_contested(None)
        if peer.deferred:  # later: the peer may be about to yield to that node
            self._state.timers.schedule_about(self._state.gate.now, self.release, peer)

    def take_all(self, peer: Peer) -> list[Held]:
        """Remove and return what waits for a peer."""
        held = list(peer.deferred)
        peer.deferred = ()
        for each in held:
            self._all.pop(each.number)
        return held

    def _lose(self, number: int, peer: Peer) -> None:
        """Others need the room of a message: the oldest of each peer goes first."""
        lost = next((held for held in peer.deferred if held.number == number), None)
        if lost is None:
            return
        peer.deferred = tuple(held for held in peer.deferred if held is not lost)
        if lost.on_lost is not None:
            reason = "too many wait for nodes that have not shown that they are there"
            on_lost = lost.on_lost  # later: not while another message is being written
            self._state.timers.schedule(self._state.gate.now, lambda now: on_lost(reason, now))


def _rank(held: Held) -> int:
    """The priority of a message; the lowest is sent first."""
    if held.on_lost is None:
        return 0
    return 1 if len(held.data) <= SHORT_BYTES else 2


def is_too_dear(peer: Peer, size: int, now: float) -> bool:
    """Whether a peer would not pay for this many bytes in time at its current rate: a third of what
    its bytes pay for answers them. One that has proved its address pays for nothing."""
    age_s = now - peer.session.joined_at
    if peer.purse.proved or size <= SHORT_BYTES or age_s < SEEN_S:
        return False
    earned = (AMPLIFICATION_LIMIT - 1) * peer.purse.bytes_in / age_s
    return size > earned * PAID_WITHIN_S


def why_not_kept(peer: Peer, payload_bytes: int, now: float) -> str:
    """Why a message may not wait for a peer, in words for its author.

    Args:
        peer: The receiver.
        payload_bytes: The size of its payload.
        now: The time, seconds.
    """
    if is_too_dear(peer, payload_bytes + ENVELOPE_BYTES, now):
        return TOO_DEAR_TEXT
    return NO_ROOM_TEXT
