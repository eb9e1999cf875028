"""A secured session follows its other end to another address (RFC 9000, section 9).

What opens is the peer's, wherever it came from, and is taken. But somebody may have passed on what
he has seen, from an address of his own. So what is sent goes on to where it went before until the
new address has answered a challenge under seal; the session moves then, and nothing is lost.
"""

from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.addresses import address_words, relayed_node
from p2ptui.core.events import GOES_ON_AT, Direction
from p2ptui.core.peers import Peer
from p2ptui.core.sealing import Seals
from p2ptui.core.secure.frame_kinds import kind_of
from p2ptui.core.secure.inner import NONCE_BYTES, PATH_CHALLENGE, PATH_RESPONSE
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address

AGAIN_S: Final = 0.2
"""Between two challenges of one address: one of them, or its answer, may be lost."""

MAX_MOVES: Final = 4096
"""Peers whose new address is being asked."""


@dataclass(slots=True)
class _Move:
    address: Address
    nonce: bytes
    asked_at: float


class Roaming:
    """Asks new addresses of secured peers, and moves their sessions.

    Args:
        state: The shared ground.
        seals: Seals what goes to addresses that are nobody's so far.
        lifecycle: Tells of sessions that moved.
    """

    def __init__(self, state: NodeState, seals: Seals, lifecycle: Lifecycle) -> None:
        self._state = state
        self._seals = seals
        self._lifecycle = lifecycle
        self._moves: BoundedTable[Peer, _Move] = state.tables.add(
            "sessions_moving", BoundedTable(MAX_MOVES, full="move_forgotten")
        )
        lifecycle.on_left.append(lambda peer, _: self._forget(peer))

    def note(self, peer: Peer, address: Address, size: int, now: float) -> None:
        """The newest frame of a peer came from an address that is not known as its own.

        Args:
            peer: Whose frame it is, beyond doubt.
            address: Where it came from.
            size: Its bytes, which pay for the challenge.
            now: The time, seconds.
        """
        if not peer.is_authenticated:
            return
        if relayed_node(address) is not None:
            # By way of which server it comes is settled elsewhere; that it does, is known here.
            if relayed_node(address) == peer.node_id and relayed_node(peer.address):
                self._state.peers.add_relay(peer, address)
            return
        move = self._moves.get(peer)
        if move is not None and move.address == address and now < move.asked_at + AGAIN_S:
            return
        if move is None or move.address != address:
            move = _Move(address, self._state.rng.randbytes(NONCE_BYTES), now)
            self._moves.put(peer, move)
        move.asked_at = now
        self._send(peer, bytes((PATH_CHALLENGE,)) + move.nonce, address, size)

    def take(self, peer: Peer, inner: bytes, address: Address, size: int, now: float) -> None:
        """A challenge, or the answer to one, came under a peer's seal.

        Args:
            peer: Whose.
            inner: The frame.
            address: Where it came from.
            size: Bytes of its datagram.
            now: The time, seconds.
        """
        nonce = inner[1:]
        if len(nonce) != NONCE_BYTES:
            self._state.counters.drop("malformed")
        elif inner[0] == PATH_CHALLENGE:
            self._send(peer, bytes((PATH_RESPONSE,)) + nonce, address, size)
        else:
            move = self._moves.get(peer)
            if move is None or move.nonce != nonce or move.address != address:
                self._state.counters.drop("path_response_unasked")
                return
            self._moves.pop(peer)
            self._move(peer, address, now)

    def _forget(self, peer: Peer) -> None:
        self._moves.pop(peer)

    def _send(self, peer: Peer, inner: bytes, address: Address, size: int) -> None:
        frame, gate = self._seals.seal_for(peer, inner), self._state.gate
        if frame and gate.send(frame, address, gate.earned_by(size, address)):
            kind = kind_of(inner)
            self._state.trace(Direction.OUT, address, peer.node_id, kind, inner, is_sealed=True)

    def _move(self, peer: Peer, address: Address, now: float) -> None:
        """It is there: from now on the session goes there."""
        state = self._state
        owner = state.peers.at(address)
        if owner is not None and owner is not peer and owner.is_authenticated and owner.proved:
            # Two sessions cannot be told apart there but by their seals; that of now stays.
            if owner.seal is None or not owner.is_silent(now):
                state.counters.drop("moved_to_another")
                return
            reason = f"replaced by node {peer.node_id} at the same address"
            self._lifecycle.give_way(owner, now, reason)
        is_plain = peer.is_plain and peer.path is None and "#" not in address[0]
        if is_plain and not peer.initiated:
            has_moved = state.peers.rehome(peer, address)
        else:
            has_moved = state.peers.take_path(peer, address)
        if has_moved:
            peer.liveness.note_answer(now)
            self._lifecycle.tell_moved(peer, now, GOES_ON_AT + address_words(address))
