"""Who takes the frames that two nodes send each other under seal only."""

from p2ptui.core.accounts import Purse
from p2ptui.core.peers import Peer
from p2ptui.core.secure.frame_kinds import kind_of
from p2ptui.core.secure.inner import MOVED, PATH_CHALLENGE, PATH_RESPONSE, SEEN
from p2ptui.core.secure.own_moves import OwnMoves
from p2ptui.core.secure.rekeying import Rekeying
from p2ptui.core.secure.roaming import Roaming
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address


class Inside:
    """Hands each to its part.

    Args:
        state: The shared ground.
        roaming: Follows peers to other addresses.
        own_moves: Has told peers that this node has moved.
        rekeying: Makes new keys.
    """

    def __init__(
        self, state: NodeState, roaming: Roaming, own_moves: OwnMoves, rekeying: Rekeying
    ) -> None:
        self._state = state
        self._roaming = roaming
        self._own_moves = own_moves
        self.rekeying = rekeying
        """Makes new keys."""

    def note_place(
        self, inner: bytes, owner: Peer, address: Address, earned: Purse, now: float
    ) -> None:
        """The newest frame of a peer came from another address than the one in use.

        Args:
            inner: What was in it.
            owner: Whose it is, beyond doubt.
            address: Where it came from.
            earned: What the datagram pays for.
            now: The time, seconds.
        """
        self._roaming.note(owner, inner, address, earned, now)

    def note_in_use(self, owner: Peer) -> None:
        """A frame that says more than where a peer is came from the address in use."""
        self._roaming.note_in_use(owner)

    def note_copy(self, owner: Peer, address: Address, size: int, now: float) -> None:
        """A frame with a peer's number came a second time.

        Args:
            owner: Whose number.
            address: Where it came from.
            size: Its bytes.
            now: The time, seconds.
        """
        self._roaming.note_copy(owner, address, size, now)

    def take(self, inner: bytes, owner: Peer, address: Address, earned: Purse, now: float) -> None:
        """Take one of the frames in `inner`.

        Args:
            inner: The frame.
            owner: Whose it is, beyond doubt.
            address: Where it came from.
            earned: What its datagram pays for.
            now: The time, seconds.
        """
        kind = inner[0]
        self._state.trace_from(address, owner.node_id, kind_of(inner), inner, is_sealed=True)
        if kind in (MOVED, PATH_CHALLENGE):
            self._roaming.answer(owner, inner, address, earned)
        elif kind == SEEN:
            self._own_moves.take_seen(owner, inner, now)
        elif kind == PATH_RESPONSE:
            if not self._own_moves.take_answer(owner, inner, now):
                self._roaming.take_answer(owner, inner, now)
        else:
            self.rekeying.take(owner, inner, now)
