"""Everything that must happen later, in one heap: one timer of the outside world drives it."""

import heapq
import math
import sys
from collections.abc import Callable
from itertools import count
from typing import Final, TypeAlias, TypeVar

SubjectT = TypeVar("SubjectT")

Action: TypeAlias = Callable[[float], None]
"""Called with the time, in seconds, at which it is run."""

NEVER: Final = -math.inf
"""A time before all others: one object for all who keep it."""

_COMPACT_ABOVE: Final = 64
"""Cancelled entries are swept out once they are more than this and more than half."""


class Timer:
    """One planned action; `cancel()` makes it never happen."""

    __slots__ = ("_timers", "action", "subject", "when")

    def __init__(
        self, when: float, action: Callable[..., None], timers: "Timers", subject: object = None
    ) -> None:
        self.when = when
        self.action: Callable[..., None] | None = action
        self.subject = subject
        """What it is about, which the action is called with first; None: about nothing."""
        self._timers = timers

    def cancel(self) -> None:
        """Take the action back; harmless when it has run or was cancelled."""
        if self.action is not None:
            self.action = self.subject = None
            self._timers.forget_one()


class Timers:
    """A heap of planned actions on the clock that the caller passes in."""

    __slots__ = ("_heap", "_live", "_order", "_upkeep")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._live = 0
        self._upkeep = 0

    def __len__(self) -> int:
        return self._live

    def schedule(self, when: float, action: Action) -> Timer:
        """Plan `action` for the time `when` (seconds, same clock as `run`)."""
        return self._enter(Timer(when, action, self))

    def schedule_about(
        self, when: float, action: Callable[[SubjectT, float], None], subject: SubjectT
    ) -> Timer:
        """The same of an action that is the same for many: it is called with what it is about,
        and the time. That takes a third of the memory of a function of its own."""
        return self._enter(Timer(when, action, self, subject))

    def _enter(self, timer: Timer) -> Timer:
        when = timer.when
        heapq.heappush(self._heap, (when, next(self._order), timer))
        self._live += 1
        return timer

    def schedule_upkeep(self, when: float, action: Action) -> None:
        """Plan what gives memory back: `sizes` tells of what others cause, and not of this."""

        def run(now: float) -> None:
            self._upkeep -= 1
            action(now)

        self._upkeep += 1
        self.schedule(when, run)

    def next_timeout(self) -> float | None:
        """When the next action is due, or None."""
        heap = self._heap
        while heap and heap[0][2].action is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def run(self, now: float, most: int = sys.maxsize) -> None:
        """Run all that is due; what these actions plan for now or earlier waits for the next call.

        Actions run in the order of their times. If one raises, those after it are still due.

        Args:
            now: The time, seconds.
            most: How many at most; the others are still due.
        """
        due: list[tuple[float, int, Timer]] = []
        while self._heap and self._heap[0][0] <= now and len(due) < most:
            due.append(heapq.heappop(self._heap))
        remaining = iter(due)
        try:
            for _, _, timer in remaining:
                action, subject = timer.action, timer.subject
                if action is not None:  # else it was taken back, perhaps by an earlier one
                    timer.action = timer.subject = None
                    self._live -= 1
                    if subject is None:
                        action(now)
                    else:
                        action(subject, now)
        finally:
            for entry in remaining:
                heapq.heappush(self._heap, entry)

    def sizes(self) -> dict[str, int]:
        """How many are planned for others."""
        return {"timers": len(self) - self._upkeep}

    def forget_one(self) -> None:
        """Account for one cancelled timer (called by `Timer.cancel`)."""
        self._live -= 1
        cancelled = len(self._heap) - self._live
        if cancelled > _COMPACT_ABOVE and cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].action is not None]
            heapq.heapify(self._heap)
