"""Strangers are told to shake hands: once, and with no more than their message pays for."""

from collections.abc import Callable
from typing import Final

from p2ptui.core.accounts import Purse
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import Direction
from p2ptui.core.messages.rows import TOLD_TO_SHAKE_HANDS
from p2ptui.core.sessions.admission import Admission
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import ErrorCode, ErrorPayload, MessageType

_TOLD: Final = encode_payload(
    ErrorPayload("unauthenticated: shake hands first", ErrorCode.UNAUTHENTICATED)
)


class Telling:
    """Tells strangers that they have no session.

    Args:
        state: The shared state.
        delivery: Makes messages.
        admission: The limits for strangers.
        awaits_answer: Whether a request from an address still waits for its answer, which must then
            be the next datagram sent there: deployed clients believe only the first one.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        admission: Admission,
        awaits_answer: Callable[[Address], bool],
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._admission = admission
        self._awaits_answer = awaits_answer

    def refuse(self, address: Address, kind: str, earned: Purse, now: float) -> None:
        """A stranger's message has no meaning here.

        Args:
            address: Where it came from.
            kind: Its `message_type`.
            earned: What it pays for.
            now: The time, seconds.
        """
        self._state.counters.drops["unauthenticated"] += 1
        if kind not in TOLD_TO_SHAKE_HANDS or self._state.closing:
            return
        if not self._awaits_answer(address):
            self._tell(address, earned, now)

    def refuse_frame(self, address: Address, now: float) -> None:
        """A stranger's frame is to be relayed: its sender is answered as if it were a message.

        Args:
            address: Where it came from.
            now: The time, seconds.
        """
        if self._admission.admits(address, now):
            self._tell(address, self._state.gate.answer_purse, now)

    def _tell(self, address: Address, earned: Purse, now: float) -> None:
        _, data = self._delivery.build(MessageType.ERROR, _TOLD, now)
        # A message too short to be answered must not use up the one answer.
        if not earned.has_room(len(data)):
            self._state.counters.drop("untold")
        elif not self._admission.was_told(address, now) and self._state.gate.refuse(
            data, address, earned, now
        ):
            self._admission.note_told(address, now)
            if self._state.tracing:
                self._state.trace(Direction.OUT, address, "", MessageType.ERROR, data)
