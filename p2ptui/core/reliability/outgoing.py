"""Messages that wait for their acknowledgement, and the queue of those that leave in fragments."""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2ptui.core.reliability.fragments import OutgoingTransfer

MAX_TRANSFERS: Final = 64
"""Messages in fragments under way at once: one a little over a datagram need not take a round
trip of its own."""

MAX_TRANSFER_BYTES: Final = 1 << 20
"""And their bytes together, so that a receiver has room to assemble them all."""


@dataclass(slots=True, eq=False)
class OutgoingMessage:
    """One message that waits for its acknowledgement."""

    sequence: int
    message_id: str
    data: bytes
    token: int | None
    whole: bool = False
    """Whether it leaves in one datagram, whatever its size: the peer takes no fragments."""
    transfer: OutgoingTransfer | None = None
    attempts: int = 0
    """Transmissions; of a message in fragments 1, and 1 more for each stall."""
    excused: int = 0
    """Of these, those by a way that is gone: they tell nothing of the one in use."""
    began_at: float = 0.0
    sent_at: float = 0.0
    timeout_s: float = 0.0
    deadline: float = 0.0
    in_flight: int = 0
    """Bytes under way, for a message in one datagram."""
    stalled: int = 0
    """Timeouts of a message in fragments since its last progress."""
    done: bool = False

    @property
    def tries(self) -> int:
        """Transmissions by the way in use."""
        return self.attempts - self.excused


class TransferQueue:
    """Large messages: some under way, the others in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: deque[OutgoingMessage] = deque()
        self._under_way: OrderedDict[int, OutgoingMessage] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._under_way)

    def append(self, message: OutgoingMessage) -> None:
        """Queue a message that has a transfer."""
        self._waiting.append(message)

    def next(self, may_begin: Callable[[OutgoingMessage], bool]) -> OutgoingMessage | None:
        """The message of which a fragment leaves next, or None.

        Args:
            may_begin: Whether a message that has not begun may do so now.
        """
        for message in self._under_way.values():
            if message.transfer is not None and message.transfer.has_more:
                return message
        if not self._waiting or not self._has_room(self._waiting[0]):
            return None
        if not may_begin(self._waiting[0]):
            return None
        message = self._waiting.popleft()
        self._under_way[message.sequence] = message
        self._bytes += len(message.data)
        return message

    def _has_room(self, message: OutgoingMessage) -> bool:
        if not self._under_way:
            return True  # however large it is, alone it may go
        within = self._bytes + len(message.data) <= MAX_TRANSFER_BYTES
        return within and len(self._under_way) < MAX_TRANSFERS

    def discard(self, message: OutgoingMessage) -> None:
        """A message needs no more care."""
        if self._under_way.pop(message.sequence, None) is not None:
            self._bytes -= len(message.data)
        elif message in self._waiting:
            self._waiting.remove(message)

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()
        self._under_way.clear()
        self._bytes = 0
