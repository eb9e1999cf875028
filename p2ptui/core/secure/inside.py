"""The handlers of frames that are sent only under seal."""

from p2ptui.core.accounts import Purse
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.sealing import Seals
from p2ptui.core.secure.frame_kinds import kind_of
from p2ptui.core.secure.inner import MOVED, PATH_CHALLENGE, PATH_RESPONSE, SEEN
from p2ptui.core.secure.own_moves import OwnMoves
from p2ptui.core.secure.rekeying import Rekeying
from p2ptui.core.secure.roaming import Roaming
from p2ptui.core.secure.unheard import Unheard
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address


class Inside:
    """Passes each frame to its handler.

    Args:
        state: The shared state.
        seals: The secured sessions.
        delivery: Sends messages.
        lifecycle: Reports peers that come and go.
        rekeying: Makes new keys.
    """

    def __init__(
        self,
        state: NodeState,
        seals: Seals,
        delivery: Delivery,
        lifecycle: Lifecycle,
        rekeying: Rekeying,
    ) -> None:
        self._state = state
        self.roaming = Roaming(state, seals, lifecycle)
        """Follows peers to other addresses."""
        Unheard(state, delivery, self.roaming, lifecycle)
        self.own_moves = OwnMoves(state, lifecycle)
        """Has told peers that this node has moved."""
        self.rekeying = rekeying
        """Makes new keys."""

    def note_place(
        self, inner: bytes, owner: Peer, address: Address, earned: Purse, now: float
    ) -> None:
        """The newest frame of a peer came from another address than the one in use.

        Args:
            inner: The content of the frame.
            owner: The peer that sealed it, without doubt.
            address: Where it came from.
            earned: What the datagram pays for.
            now: The time, seconds.
        """
        self.roaming.note(owner, inner, address, earned, now)

    def note_copy(self, owner: Peer, address: Address, size: int, now: float) -> None:
        """A frame with a peer's number came a second time.

        Args:
            owner: The peer with that number.
            address: Where it came from.
            size: Its bytes.
            now: The time, seconds.
        """
        self.roaming.note_copy(owner, address, size, now)

    def take(self, inner: bytes, owner: Peer, address: Address, earned: Purse, now: float) -> None:
        """Handle one of the frames in `inner`.

        Args:
            inner: The frame.
            owner: The peer that sealed it, without doubt.
            address: Where it came from.
            earned: What its datagram pays for.
            now: The time, seconds.
        """
        kind = inner[0]
        self._state.trace_from(address, owner.node_id, kind_of(inner), inner, is_sealed=True)
        if kind in (MOVED, PATH_CHALLENGE):
            self.roaming.answer(owner, inner, address, earned)
        elif kind == SEEN:
            self.own_moves.take_seen(owner, inner, now)
        elif kind == PATH_RESPONSE:
            if not self.own_moves.take_answer(owner, inner, now):
                self.roaming.take_answer(owner, inner, now)
        else:
            self.rekeying.take(owner, inner, now)
