"""Which message is sent next: small or large ones, those for readers or those for the node."""

from typing import Final

from p2ptui.core.reliability.duplicates import SEQUENCE_WINDOW, sequence_distance
from p2ptui.core.reliability.numbering import Numbering
from p2ptui.core.reliability.outbox import Lane, Outbox
from p2ptui.core.reliability.outgoing import OutgoingMessage
from p2ptui.core.reliability.receiver_room import ReceiverRoom

MAX_OVERTAKING: Final = 32
"""Small messages that may leave before a fragment of a large one does."""


class Turns:
    """Chooses among the messages of one session.

    Args:
        outbox: All unfinished messages.
        numbering: Says how far ahead of the oldest a message would be.
        room: How much room the readers at the other end have.
    """

    __slots__ = ("_numbering", "_outbox", "_room", "overtaken")

    def __init__(self, outbox: Outbox, numbering: Numbering, room: ReceiverRoom) -> None:
        self._outbox = outbox
        self._numbering = numbering
        self._room = room
        self.overtaken = 0
        """Small messages that have left since the last fragment."""

    @property
    def may_overtake(self) -> bool:
        """Whether one more small message may leave before a fragment of a large one does."""
        return self.overtaken < MAX_OVERTAKING

    def _lanes(self) -> tuple[Lane, ...]:
        # They take turns, unless the readers at the other end have no room.
        one, other = self._outbox.for_node, self._outbox.for_readers
        if self._room.paused:
            return (one,)
        return (one, other) if self.overtaken % 2 else (other, one)

    def next_small(self) -> OutgoingMessage | None:
        """The message in one datagram that may leave next, if there is one."""
        for lane in self._lanes():
            small = lane.first_small()
            if small is None or not self._has_receiver_room(small):
                continue
            if small.attempts or self.may_begin():
                return small
        return None

    def next_large(self) -> OutgoingMessage | None:
        """The message whose fragment may leave next, if there is one."""
        if not (self._outbox.for_readers.large.count or self._outbox.for_node.large.count):
            return None
        lanes = self._lanes()
        for lane in lanes:
            if (large := lane.large.under_way()) is not None:
                return large
        for lane in lanes:
            large = lane.large.waiting()
            if large is not None and self.may_begin() and self._has_receiver_room(large):
                return large
        return None

    def _has_receiver_room(self, message: OutgoingMessage) -> bool:
        if not message.for_reader or self._room.limit_bytes is None:
            return True
        under_way = self._outbox.for_readers.unacknowledged_bytes
        return self._room.admits(message.size_bytes, under_way)

    def may_begin(self) -> bool:
        """Whether a message that has not left yet may leave."""
        # Further ahead the receiver could not recognise new messages.
        if self._numbering.is_exhausted:
            return False
        oldest = self._outbox.oldest
        return oldest is None or (
            sequence_distance(self._numbering.next, oldest.sequence) <= SEQUENCE_WINDOW
        )
