"""The first look at sealed frames, and at the frames that belong to a seal."""

from p2ptui.core.accounts import Purse
from p2ptui.core.events import Direction
from p2ptui.core.peers import Peer
from p2ptui.core.peers.seal import Seal
from p2ptui.core.sealing import SealFrame, Seals
from p2ptui.core.secure.answering import Answering
from p2ptui.core.secure.completing import Completing
from p2ptui.core.secure.early import Early
from p2ptui.core.secure.inner import FIRST as INNER
from p2ptui.core.secure.inner import OF_PATHS
from p2ptui.core.secure.inside import Inside
from p2ptui.core.secure.restarts import Restarts
from p2ptui.core.state import NodeState
from p2ptui.secure import Reason, SecureError, Transport
from p2ptui.secure.frames import (
    MESSAGE_3,
    SECURED,
    encode_unknown_session,
    session_of,
)
from p2ptui.wire.address import Address


class Opening:
    """Opens sealed frames, each once, and passes on the frames of key exchanges.

    Args:
        state: The shared state.
        seals: The secured sessions.
        answering: Knows the pending key exchanges.
        completing: Takes their last messages.
        early: Keeps sealed frames that arrive before those.
        restarts: Learns of sessions that the other side does not know.
        inside: Takes frames that are sent only under seal.
    """

    def __init__(
        self,
        state: NodeState,
        seals: Seals,
        answering: Answering,
        completing: Completing,
        early: Early,
        restarts: Restarts,
        inside: Inside,
    ) -> None:
        self._state = state
        self._seals = seals
        self._answering = answering
        self._completing = completing
        self._restarts = restarts
        self.inside = inside
        """Takes frames that are sent under seal only."""
        self.early = early
        """Keeps frames whose session has not begun."""
        self._note_in_use = inside.roaming.note_in_use  # for nearly every frame: saves a call

    def receive(
        self, data: bytes, address: Address, peer: Peer | None, now: float
    ) -> tuple[bytes, Peer] | None:
        """Take a frame that belongs to a seal.

        Args:
            data: The datagram.
            address: Where it came from.
            peer: The peer at that address, if any.
            now: The time, seconds.

        Returns:
            What was inside, and from whom; None if there is nothing to be handled further.
        """
        if data[0] != SECURED:
            if data[0] == MESSAGE_3:
                self._completing.take_message_3(data, address, now)
            else:
                self._restarts.hear(data, peer, now)
            return None
        number = session_of(data)
        owner = self._seals.peer_of(number)
        seal = None if owner is None else owner.session.seal
        if owner is None or seal is None:
            self._tell_unknown(data, number, address, now)
            return None
        session = seal.session
        before = session.current
        try:
            if before.opened and number == before.local_number:
                inner = before.open(data)  # as nearly always: nothing else follows from it
            else:
                inner = session.open(data, now, number)
        except SecureError as error:
            self._state.counters.drop(f"seal_{error.reason}")
            if error.reason is Reason.REPLAYED:
                self.inside.note_copy(owner, address, len(data), now)
            return None
        if seal.on_first is not None or session.current is not before:
            self._note_new_keys(owner, seal, before, now)
        if peer is not owner or address != owner.sends_to:
            earned = None
            if session.is_newest(data):
                # One purse for everything that this datagram causes to be sent.
                earned = self._state.gate.earned_by(len(data), address)
                self.inside.note_place(inner, owner, address, earned, now)
            return self._pass_on(inner, len(data), owner, address, earned, now)
        if inner and inner[0] not in INNER:
            self._note_in_use(owner)
            return inner, owner
        if inner and inner[0] not in OF_PATHS:
            self._note_in_use(owner)
        return self._pass_on(inner, len(data), owner, address, None, now)

    def _note_new_keys(self, owner: Peer, seal: Seal, before: Transport, now: float) -> None:
        """The first frame with the newest keys has opened."""
        if seal.session.current is not before:
            self._seals.note_numbers(owner)
        if seal.on_first is not None:
            conclude, seal.on_first = seal.on_first, None
            conclude(now)

    def _pass_on(
        self,
        inner: bytes,
        size: int,
        owner: Peer,
        address: Address,
        earned: Purse | None,
        now: float,
    ) -> tuple[bytes, Peer] | None:
        """Pass on frames that are sent only under seal; all others are for the caller of
        `receive`."""
        if not inner or inner[0] not in INNER:
            return inner, owner
        if earned is None:
            earned = self._state.gate.earned_by(size, address)
        self.inside.take(inner, owner, address, earned, now)
        return None

    def _tell_unknown(self, data: bytes, number: int, address: Address, now: float) -> None:
        """Keep a frame for a session that is about to begin; otherwise tell its sender that this
        node no longer knows the session."""
        is_awaited = self._answering.awaits(number)
        if is_awaited and self.early.hold(number, data, address, now):
            return
        self._state.counters.drop("seal_unknown_session")
        gate = self._state.gate
        answer = encode_unknown_session(data)
        if answer is None or is_awaited:
            return
        if gate.refuse(answer, address, gate.earned_by(len(data), address), now):
            self._state.trace(Direction.OUT, address, "", SealFrame.UNKNOWN_SESSION, answer)
