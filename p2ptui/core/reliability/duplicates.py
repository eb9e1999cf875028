"""What a peer has already sent: recognised by message id; numbers show what has been forgotten.

A number alone proves nothing: anybody can write one into a forged datagram. So a message is a
duplicate only if its id has been seen before, and a number outside the window of its session is
neither new nor a duplicate: nothing is known about it, and it is not acknowledged.
"""

import enum
from typing import Final

from p2ptui.core.reliability.gaps import Gaps
from p2ptui.wire.message import MAX_SEQUENCE_NUMBER

SEQUENCE_WINDOW: Final = 1024
"""How far numbers may lie apart. Our sender goes no further than this beyond the last acknowledged
number, nor beyond the oldest message that it still tries to deliver; a receiver accepts nothing
further ahead of the latest accepted number, nor further behind."""

RELIABLE_IDS: Final = 2 * SEQUENCE_WINDOW
"""Ids remembered of messages that asked for an Ack: as many as there are acceptable numbers."""

UNRELIABLE_IDS: Final = 256
"""Ids remembered of other messages: only the network duplicates those, and soon."""

_MODULUS: Final = MAX_SEQUENCE_NUMBER + 1
_HALF: Final = _MODULUS // 2


def sequence_distance(later: int, earlier: int) -> int:
    """How far `later` is after `earlier` (RFC 1982, serial numbers); may be negative."""
    return (later - earlier + _HALF) % _MODULUS - _HALF


class Verdict(enum.Enum):
    """What is known about a message."""

    NEW = "new"
    DUPLICATE = "duplicate"
    """It has been received before: its id is remembered."""
    UNKNOWN = "unknown"
    """Its number belongs to no remembered session, or to a forgotten part of one: it may have been
    received before or not."""


_FEW: Final = 4


class RecentIds:
    """The last ids seen, in bounded memory."""

    __slots__ = ("_limit", "_next", "_ring", "marks")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Once there are that many, the oldest is dropped. Until then only `marks` is touched:
        # with many peers, no other object of this one is in the CPU's cache.
        self._ring: list[int] | None = None
        self._next = 0
        self.marks: dict[int, None] | tuple[int, ...] = ()
        """Their hashes, the oldest first until there are as many as may be. A tuple while there are
        few: most peers send nothing that is remembered, and this takes the least memory."""

    def __contains__(self, key: str) -> bool:
        return hash(key) in self.marks

    def add(self, key: str) -> bool:
        """Remember `key`; returns whether it is new."""
        # The hash alone is kept, a fifth of the memory of the text; it is salted for
        # each process, so nobody can build two ids that collide.
        mark = hash(key)
        if mark in self.marks:
            return False
        self.add_mark(mark)
        return True

    def add_mark(self, mark: int) -> None:
        """Remember an id that is not in `marks`, by its hash."""
        marks, ring = self.marks, self._ring
        if isinstance(marks, tuple):
            if len(marks) < _FEW and len(marks) < self._limit:
                self.marks = (*marks, mark)
                return
            marks = self.marks = dict.fromkeys(marks)
        if ring is None:
            if len(marks) < self._limit:
                marks[mark] = None
                return
            ring = self._ring = list(marks)
        at = self._next
        del marks[ring[at]]
        marks[mark] = None
        ring[at] = mark
        self._next = at + 1 if at + 1 < self._limit else 0

    def merged_into(self, earlier: "RecentIds") -> "RecentIds":
        """Merge two into one that knows what both did: a copy for each session of a node would add
        up."""
        if earlier is self:
            return self
        missing = [mark for mark in self._oldest_first() if mark not in earlier.marks]
        if len(missing) <= _FEW:
            for mark in missing:
                earlier.add_mark(mark)
            return earlier
        if not all(mark in self.marks for mark in earlier.marks):
            order = [*earlier._oldest_first(), *missing][-self._limit :]
            self.marks, self._ring, self._next = dict.fromkeys(order), None, 0
        return self

    def copy(self) -> "RecentIds":
        """A copy that knows the same ids."""
        copied = RecentIds(self._limit)
        copied._next = self._next
        copied._ring = None if self._ring is None else list(self._ring)
        copied.marks = self.marks if isinstance(self.marks, tuple) else dict(self.marks)
        return copied

    def _oldest_first(self) -> list[int]:
        ring = self._ring
        if ring is None:
            return list(self.marks)
        return [*ring[self._next :], *ring[: self._next]]

    def __len__(self) -> int:
        return len(self.marks)


class ReceivedNumbers:
    """The window of received numbers of one session, and the gaps in it.

    Args:
        first: The number of the message that began the session.
        reorder_wait_s: How long a gap is taken for mere reordering, seconds.
        requests: How often a missing number is requested.
    """

    __slots__ = ("_gaps", "_highest", "_reorder_wait_s", "_requests", "is_used")

    def __init__(self, first: int, reorder_wait_s: float, requests: int) -> None:
        # Not wrapped: it keeps counting, and its low 32 bits are the number on the wire.
        self._highest = first
        self.is_used = False
        """Whether a message in it was accepted: anybody can begin a session in a peer's name."""
        self._reorder_wait_s = reorder_wait_s
        self._requests = requests
        # Made for the first gap: most numbers arrive in order.
        self._gaps: Gaps | None = None

    @property
    def gaps(self) -> Gaps:
        """The missing numbers, on a count that does not wrap."""
        if self._gaps is None:
            self._gaps = Gaps(self._reorder_wait_s, self._requests)
        return self._gaps

    @property
    def has_gaps(self) -> bool:
        """Whether a number is missing."""
        gaps = self._gaps
        return gaps is not None and gaps.are_there

    @property
    def highest(self) -> int:
        """The latest number accepted, as on the wire."""
        return self._highest % _MODULUS

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers that have not arrived, oldest first, as on the wire."""
        return tuple(number % _MODULUS for number in self.gaps.missing)

    def _ahead(self, number: int) -> int:
        # As `sequence_distance`, without another call: this is done for each message.
        return (number - self._highest + _HALF) % _MODULUS - _HALF

    def covers(self, number: int) -> bool:
        """Whether `number` lies in the window."""
        ahead = (number - self._highest + _HALF) % _MODULUS - _HALF
        return -SEQUENCE_WINDOW <= ahead <= SEQUENCE_WINDOW

    def take(self, number: int, now: float) -> bool:
        """Accept a message with this number; False, and no change, if the window does not cover
        it."""
        ahead = (number - self._highest + _HALF) % _MODULUS - _HALF
        if ahead == 1 and not self.has_gaps:  # as nearly always
            self.is_used = True
            self._highest += 1
            return True
        if not -SEQUENCE_WINDOW <= ahead <= SEQUENCE_WINDOW:
            return False
        self.add(number, now)
        return True

    def add(self, number: int, now: float) -> None:
        """Accept a message with this number, which the window covers."""
        self.is_used = True
        ahead = self._ahead(number)
        if ahead <= 0:
            if self._gaps:
                self._gaps.close(self._highest + ahead)
            return
        if ahead > 1:
            self.gaps.open(self._highest + 1, self._highest + ahead - 1, now)
        self._highest += ahead
        gaps = self._gaps
        if gaps is not None and gaps.are_there:
            gaps.drop_below(self._highest - SEQUENCE_WINDOW)

    def skip_to(self, number: int) -> None:
        """The peer itself says that the next new message has this number."""
        self._highest += self._ahead(number) - 1
        if self._gaps is not None:
            self._gaps.clear()

    def give_up(self, number: int) -> None:
        """The peer no longer has `number`: it is not requested again."""
        if self._gaps:
            self._gaps.close(self._highest + self._ahead(number))

    def postpone(self, number: int, until: float) -> None:
        """Message `number` is arriving in fragments: it does not count as lost before `until`."""
        if self._gaps:
            self._gaps.postpone(self._highest + self._ahead(number), until)

    def to_request(self, now: float, backoff_s: float) -> list[int]:
        """The missing numbers to request now; each again after `backoff_s`, doubled each time."""
        if not self._gaps:
            return []
        return [number % _MODULUS for number in self._gaps.to_request(now, backoff_s)]

    def next_timeout(self) -> float | None:
        """When `to_request` is to be called next, or None."""
        return None if self._gaps is None else self._gaps.next_timeout()
