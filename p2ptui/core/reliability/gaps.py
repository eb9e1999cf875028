"""Numbers that a peer has used but that have not arrived: kept as ranges, requested in time.

One datagram opens at most one range and splits at most one, however far its number jumps, so the
cost of a forged number does not depend on the number.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

MAX_STRETCHES: Final = 128
"""Ranges of missing numbers remembered; beyond that, the oldest is no longer requested. The sender
repeats unacknowledged messages anyway."""

REQUESTS_AT_ONCE: Final = 64
"""Most unanswered requests: each number that arrives allows two more. An invented gap costs no more
than this, and after a blackout not everything is requested at once."""


@dataclass(slots=True)
class _Stretch:
    first: int
    last: int
    ask_at: float
    asked: int = 0

    def part(self, first: int, last: int) -> "_Stretch":
        return _Stretch(first, last, self.ask_at, self.asked)


def _first(stretch: _Stretch) -> int:
    return stretch.first


class Gaps:
    """Missing numbers, oldest first.

    Numbers do not wrap here: they keep counting up.

    Args:
        reorder_wait_s: How long a gap is taken for mere reordering, seconds.
        requests: How often a missing number is requested.
    """

    __slots__ = ("_ask_at", "_credit", "_reorder_wait_s", "_requests", "_stretches", "forgotten")

    def __init__(self, reorder_wait_s: float, requests: int) -> None:
        self._reorder_wait_s = reorder_wait_s
        self._requests = requests
        self._stretches: list[_Stretch] = []
        # Nothing is due before this time. It may be too early if missing numbers have come
        # meanwhile: examining all ranges for each datagram would cost more.
        self._ask_at: float | None = None
        self._credit = REQUESTS_AT_ONCE
        self.forgotten = 0
        """Ranges given up for want of room."""

    def __bool__(self) -> bool:
        return bool(self._stretches)

    @property
    def are_there(self) -> bool:
        """Whether any number is missing; quicker than the truth value of the object."""
        return len(self._stretches) > 0

    @property
    def missing(self) -> tuple[int, ...]:
        """All missing numbers, oldest first."""
        return tuple(
            number for each in self._stretches for number in range(each.first, each.last + 1)
        )

    def open(self, first: int, last: int, now: float) -> None:
        """The numbers from `first` to `last`, above all others, are missing."""
        if not self._requests:
            return
        ask_at = now + self._reorder_wait_s
        self._stretches.append(_Stretch(first, last, ask_at))
        self._make_room()
        self._ask_at = ask_at if self._ask_at is None else min(self._ask_at, ask_at)

    def close(self, number: int) -> None:
        """`number` has arrived, or is no longer requested."""
        index = self._find(number)
        if index is None:
            return
        self._credit = min(self._credit + 2, REQUESTS_AT_ONCE)
        if self._ask_at is None:
            self._ask_at = min(each.ask_at for each in self._stretches)
        stretch = self._stretches[index]
        rest = []
        if stretch.first < number:
            rest.append(stretch.part(stretch.first, number - 1))
        if number < stretch.last:
            rest.append(stretch.part(number + 1, stretch.last))
        self._stretches[index : index + 1] = rest
        self._make_room()

    def _make_room(self) -> None:
        if len(self._stretches) > MAX_STRETCHES:
            del self._stretches[0]
            self.forgotten += 1

    def postpone(self, number: int, until: float) -> None:
        """`number` is arriving in fragments: it does not count as lost before the time `until`."""
        index = self._find(number)
        if index is None:
            return
        stretch = self._stretches[index]
        if stretch.first == stretch.last:
            stretch.ask_at = max(stretch.ask_at, until)
            return
        self.close(number)
        where = bisect_right(self._stretches, number, key=_first)
        alone = stretch.part(number, number)
        alone.ask_at = max(alone.ask_at, until)
        self._stretches.insert(where, alone)

    def drop_below(self, number: int) -> None:
        """Forget what is below `number`."""
        stretches = self._stretches
        count = 0
        while count < len(stretches) and stretches[count].last < number:
            count += 1
        del stretches[:count]
        if stretches and stretches[0].first < number:
            stretches[0].first = number

    def clear(self) -> None:
        """Forget all."""
        self._stretches.clear()
        self._ask_at = None

    def _find(self, number: int) -> int | None:
        index = bisect_right(self._stretches, number, key=_first) - 1
        return index if index >= 0 and number <= self._stretches[index].last else None

    def to_request(self, now: float, backoff_s: float) -> list[int]:
        """The missing numbers to request now; each again after `backoff_s`, doubled each time."""
        wanted: list[int] = []
        kept: list[_Stretch] = []
        later: list[float] = []
        for stretch in self._stretches:
            kept.append(stretch)
            if stretch.asked >= self._requests:
                continue
            if stretch.ask_at > now:
                later.append(stretch.ask_at)
                continue
            room = self._credit - len(wanted)
            if room <= 0:
                continue  # something must arrive first
            asked = stretch
            if stretch.last >= stretch.first + room:
                kept[-1:] = [asked, stretch] = [
                    stretch.part(stretch.first, stretch.first + room - 1),
                    stretch.part(stretch.first + room, stretch.last),
                ]
            wanted += range(asked.first, asked.last + 1)
            asked.ask_at = now + backoff_s * 2**asked.asked
            asked.asked += 1
            if asked.asked < self._requests:
                later.append(asked.ask_at)
        self._credit -= len(wanted)
        self._stretches = kept
        self._ask_at = min(later, default=None) if self._credit else None
        return wanted

    def next_timeout(self) -> float | None:
        """When `to_request` is to be called next, or None."""
        return self._ask_at if self._stretches else None
