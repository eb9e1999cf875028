"""The numbers of one side's reliable messages: assigned when a message first leaves, and never far
beyond what the other side has acknowledged."""

from p2ptui.core.reliability.duplicates import SEQUENCE_WINDOW, sequence_distance
from p2ptui.wire.message import MAX_SEQUENCE_NUMBER


class Numbering:
    """Counts up from a random start (unsigned 32 bit, wrapping).

    Args:
        first: The number before the first one.
    """

    __slots__ = ("_last", "acknowledged", "bounded")

    def __init__(self, first: int) -> None:
        self._last = first
        self.acknowledged = first
        """The latest number that the peer is known to have accepted."""
        self.bounded = False
        """Whether the peer accepts no number beyond the window, and can be told about a skip."""

    @property
    def next(self) -> int:
        """The number that the next message will have."""
        return (self._last + 1) & MAX_SEQUENCE_NUMBER

    def take(self) -> int:
        """Use up the next number."""
        self._last = self.next
        return self._last

    def begin(self) -> int:
        """Use up a number for a handshake message: a peer that answers has accepted it."""
        self.acknowledged = self.take()
        return self.acknowledged

    def begin_at(self, number: int) -> None:
        """Begin with the number of a handshake message that was written elsewhere."""
        self._last = self.acknowledged = number

    @property
    def is_exhausted(self) -> bool:
        """Whether the next number would be beyond what the peer accepts."""
        return self.bounded and sequence_distance(self.next, self.acknowledged) > SEQUENCE_WINDOW

    def handle_acknowledged(self, number: int) -> None:
        """The peer has accepted `number`."""
        if sequence_distance(number, self.acknowledged) > 0:
            self.acknowledged = number

    def join(self) -> None:
        """Share one object where both numbers are the same."""
        if self.acknowledged == self._last:
            self.acknowledged = self._last

    def was_used(self, number: int) -> bool:
        """Whether this side recently used `number`."""
        return -2 * SEQUENCE_WINDOW <= sequence_distance(number, self._last) <= 0

    def is_near(self, number: int) -> bool:
        """Whether a receiver that knows this side's position may request `number`."""
        return not self.bounded or self.was_used(number) or number == self.next

    def skip_to(self, number: int) -> None:
        """The peer knows that the next new message has `number`, which was `next` before."""
        self.acknowledged = (number - 1) & MAX_SEQUENCE_NUMBER
