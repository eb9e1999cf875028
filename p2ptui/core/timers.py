"""Everything that must happen later, by time: one timer of the outside world drives it."""

import heapq
import math
import sys
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, TypeVar

SubjectT = TypeVar("SubjectT")

Action: TypeAlias = Callable[[float], None]
"""Called with the time, in seconds, at which it is run."""

NEVER: Final = -math.inf
"""A time before all others: one shared object."""

DUE_S: Final = 0.002
"""How long due actions run at a time if the caller has other work: thousands of peers that fell
silent together are given up together, at a tenth of a millisecond each."""

LOOK: Final = 8
"""How many of these run between two looks at the clock."""

_COMPACT_ABOVE: Final = 64
"""Cancelled actions are swept out once there are more than this, and they are more than half."""


class _Moment:
    """The actions planned for one time, in the order in which they were planned."""

    __slots__ = ("live", "owner", "planned", "when")

    def __init__(self, when: float, owner: "Timers") -> None:
        self.when = when
        self.owner = owner
        self.planned: list[Timer] = []
        self.live = 0
        """How many of them were not cancelled."""


class Timer:
    """One planned action; `cancel()` makes it never happen."""

    __slots__ = ("_moment", "action", "subject")

    def __init__(
        self, moment: _Moment, action: Callable[..., None], subject: object = None
    ) -> None:
        self._moment = moment
        self.action: Callable[..., None] | None = action
        self.subject = subject
        """The first argument of the action; None: it has none."""

    @property
    def when(self) -> float:
        """The time for which it is planned, seconds."""
        return self._moment.when

    def move(self, moment: _Moment) -> None:
        """It is still due, with others of the same time (called by `Timers`)."""
        self._moment = moment

    def cancel(self) -> None:
        """Cancel the action; harmless if it has run or was cancelled."""
        if self.action is not None:
            self.action = self.subject = None
            self._moment.owner.forget_one(self._moment)


class Timers:
    """Planned actions on the clock that the caller passes in.

    The heap holds each time once, however many actions are planned for it: with thousands of peers
    whose heartbeats leave together it stays short, and planning one more only appends to a list.
    """

    __slots__ = ("_heap", "_later", "_live", "_moments", "_running", "_upkeep")

    def __init__(self) -> None:
        self._heap: list[float] = []
        """The keys of `_moments`, and some for which nothing is planned any more."""
        self._moments: dict[float, _Moment] = {}
        self._running = math.nan
        """Actions planned for a time up to this one wait for the next call of `run`; between calls
        NaN, which no time is below."""
        self._later: dict[float, _Moment] = {}
        """Where they wait until the current call ends."""
        self._live = 0
        self._upkeep = 0

    def __len__(self) -> int:
        return self._live

    def schedule(self, when: float, action: Action) -> Timer:
        """Plan `action` for the time `when` (seconds, same clock as `run`)."""
        return self._enter(when, action, None)

    def schedule_about(
        self, when: float, action: Callable[[SubjectT, float], None], subject: SubjectT
    ) -> Timer:
        """The same for an action shared by many: it is called with its subject and the time. That
        takes a third of the memory of a function of its own."""
        return self._enter(when, action, subject)

    def _enter(self, when: float, action: Callable[..., None], subject: object) -> Timer:
        moment = self._moments.get(when)
        if moment is None or when <= self._running:
            moment = self._at(when)
        timer = Timer(moment, action, subject)
        if moment.planned:
            moment.planned.append(timer)
        else:
            moment.planned = [timer]  # often only one: a growing list takes four
        moment.live += 1
        self._live += 1
        return timer

    def _at(self, when: float) -> _Moment:
        if when <= self._running:
            return self._later.setdefault(when, _Moment(when, self))
        moment = self._moments.get(when)
        if moment is None:
            moment = self._moments[when] = _Moment(when, self)
            heapq.heappush(self._heap, when)
        return moment

    def schedule_upkeep(self, when: float, action: Action) -> None:
        """Plan an action that frees memory: `sizes` counts what others cause, and not this."""

        def run(now: float) -> None:
            self._upkeep -= 1
            action(now)

        self._upkeep += 1
        self.schedule(when, run)

    def next_timeout(self) -> float | None:
        """When the next action is due, or None."""
        heap, moments = self._heap, self._moments
        while heap and heap[0] not in moments:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def run(self, now: float, clock: Callable[[], float] | None = None) -> None:
        """Run everything that is due; actions planned by these for now or earlier wait for the next
        call.

        Actions run in the order of their times. If one raises, those after it are still due.

        Args:
            now: The time, seconds.
            clock: Measures how long that takes: after `DUE_S` the remaining ones are left, and
                still due. Without it none are left.
        """
        most = sys.maxsize if clock is None else LOOK
        end = 0.0 if clock is None else clock() + DUE_S
        self._running = now
        try:
            while True:
                due = self._take(now, most)
                self._run_all(due, now)
                if len(due) < most or clock is None or clock() >= end:
                    return
        finally:
            self._running = math.nan
            self._enter_later()

    def _run_all(self, due: list[Timer], now: float) -> None:
        remaining = iter(due)
        try:
            for timer in remaining:
                action, subject = timer.action, timer.subject
                if action is not None:  # otherwise it was cancelled, perhaps by an earlier one
                    timer.action = timer.subject = None
                    self._live -= 1
                    if subject is None:
                        action(now)
                    else:
                        action(subject, now)
        except BaseException:
            self._running = math.nan
            self._put_back(remaining)
            raise

    def _enter_later(self) -> None:
        """Actions planned meanwhile are due after what is left of the same times."""
        if not self._later:
            return
        later, self._later = self._later, {}
        for when, new in later.items():
            if new.live:
                moment = self._at(when)
                moment.planned += new.planned
                moment.live += new.live
                for timer in new.planned:
                    timer.move(moment)

    def _take(self, now: float, most: int) -> list[Timer]:
        """Take the due actions, at most this many including cancelled ones, in their order; the
        others stay."""
        heap, moments, due = self._heap, self._moments, list[Timer]()
        while heap and heap[0] <= now and len(due) < most:
            moment = moments.get(heap[0])
            room = most - len(due)
            if moment is not None and len(moment.planned) > room:
                moment = self._split(moment, room)
            else:
                moments.pop(heapq.heappop(heap), None)
            if moment is not None:
                due += moment.planned
                moment.planned.clear()  # they refer to it: break the cycle
        return due

    def _split(self, moment: _Moment, count: int) -> _Moment:
        """Split off the first actions planned for one time."""
        first = _Moment(moment.when, self)
        first.planned = moment.planned[:count]
        del moment.planned[:count]
        for timer in first.planned:
            timer.move(first)
            first.live += timer.action is not None
        moment.live -= first.live
        return first

    def _put_back(self, timers: Iterable[Timer]) -> None:
        """Put back actions that were not run: they are due before those planned meanwhile for the
        same times."""
        earlier: dict[float, list[Timer]] = {}
        for timer in timers:
            if timer.action is not None:
                earlier.setdefault(timer.when, []).append(timer)
        for when, waiting in earlier.items():
            moment = self._at(when)
            moment.planned = waiting + moment.planned
            moment.live += len(waiting)
            for timer in waiting:
                timer.move(moment)

    def sizes(self) -> dict[str, int]:
        """How many are planned because of others."""
        return {"timers": len(self) - self._upkeep}

    def forget_one(self, moment: _Moment) -> None:
        """Account for one cancelled timer (called by `Timer.cancel`)."""
        self._live -= 1
        moment.live -= 1
        if self._moments.get(moment.when) is not moment:
            return  # it is being run
        if not moment.live:
            del self._moments[moment.when]
            moment.planned.clear()
            stale = len(self._heap) - len(self._moments)
            if stale > _COMPACT_ABOVE and stale * 2 > len(self._heap):
                self._heap = list(self._moments)
                heapq.heapify(self._heap)
            return
        cancelled = len(moment.planned) - moment.live
        if cancelled > _COMPACT_ABOVE and cancelled * 2 > len(moment.planned):
            moment.planned = [timer for timer in moment.planned if timer.action is not None]
