"""Calls that wait for an answer: each ends once, with that, a refusal, or its time."""

from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, TypeVar

from p2ptui.core.events import Outcome
from p2ptui.core.timers import Timer, Timers
from p2ptui.errors import HandshakeError, LocalError

Detail = TypeVar("Detail")


class Call(Generic[Detail]):
    """One call that waits."""

    __slots__ = ("deadline", "detail", "key", "overdue", "timer", "token")

    def __init__(
        self,
        token: int,
        key: Hashable,
        deadline: float,
        detail: Detail,
        overdue: "Callable[[Call[Detail]], Outcome]",
        timer: Timer,
    ) -> None:
        self.token = token
        """By which its end is told."""
        self.key = key
        """What its answer will name, or who gives it."""
        self.deadline = deadline
        self.detail = detail
        self.overdue = overdue
        """Tells what becomes of it if nothing came by its deadline."""
        self.timer = timer


def forgotten(_call: Call[None]) -> HandshakeError:
    """What becomes of a call for a session that whatever it waited for has forgotten."""
    return HandshakeError("nothing became of it in time")


class Calls(Generic[Detail]):
    """A room where calls of one kind wait, in their order.

    Args:
        timers: End what is overdue.
        finish: Called once with each call's token and what became of it.
        new_token: Names a call.
        limit: Most calls in the room.
        limit_each: Most calls with one key.
        words: What they wait for, in the plural: for the one who is turned away.
    """

    def __init__(
        self,
        timers: Timers,
        finish: Callable[[int, Outcome], None],
        new_token: Callable[[], int],
        *,
        limit: int,
        limit_each: int,
        words: str,
    ) -> None:
        self._timers = timers
        self._finish = finish
        self._new_token = new_token
        self._limit = limit
        self._limit_each = limit_each
        self._words = words
        self._waiting: dict[Hashable, list[Call[Detail]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        """The keys that calls wait for, as they are now."""
        return iter(list(self._waiting))

    def all(self) -> tuple[Call[Detail], ...]:
        """Every call that waits, those with one key together."""
        return tuple(call for calls in self._waiting.values() for call in calls)

    def require_room(self, key: Hashable) -> None:
        """One more call wants to wait.

        Raises:
            LocalError: Too many do already.
        """
        for count, limit in (
            (self._count, self._limit),
            (len(self._waiting.get(key, ())), self._limit_each),
        ):
            if count >= limit:
                raise LocalError(f"{limit} {self._words} are awaited already; try again later")

    def begin(
        self,
        key: Hashable,
        detail: Detail,
        now: float,
        timeout_s: float,
        overdue: Callable[[Call[Detail]], Outcome],
        token: int | None = None,
    ) -> Call[Detail]:
        """Let a call wait.

        Args:
            key: See `Call.key`.
            detail: What its owner wants to know of it at its end.
            now: The time, seconds.
            timeout_s: How long it waits at most, seconds.
            overdue: Tells what becomes of it if nothing came by then.
            token: Of the call, if it has one already.

        Raises:
            LocalError: Too many wait already.
        """
        self.require_room(key)
        call: Call[Detail] = Call(
            self._new_token() if token is None else token,
            key,
            now + timeout_s,
            detail,
            overdue,
            self._timers.schedule(now + timeout_s, lambda _: self._expire(call)),
        )
        self._waiting.setdefault(key, []).append(call)
        self._count += 1
        return call

    def _expire(self, call: Call[Detail]) -> None:
        self.end(call, call.overdue(call))

    def waiting(self, key: Hashable) -> tuple[Call[Detail], ...]:
        """The calls with one key, the oldest first."""
        return tuple(self._waiting.get(key, ()))

    def move(
        self,
        call: Call[Detail],
        key: Hashable,
        deadline: float,
        overdue: Callable[[Call[Detail]], Outcome] | None = None,
    ) -> None:
        """A call waits for something else from now on; nothing if it has ended.

        Args:
            call: Which.
            key: For what.
            deadline: Until when, seconds.
            overdue: As for `begin`; None: as before.
        """
        if self._remove(call):
            call.key, call.overdue = key, overdue or call.overdue
            self._waiting.setdefault(key, []).append(call)
            self._count += 1
            self.extend(call, deadline)

    def extend(self, call: Call[Detail], deadline: float) -> None:
        """A call that waits does so until another time, seconds."""
        if deadline != call.deadline:
            call.deadline = deadline
            call.timer.cancel()
            call.timer = self._timers.schedule(deadline, lambda _: self._expire(call))

    def hand_over(self, call: Call[Detail], begin: Callable[[int], object]) -> None:
        """A call goes on in another room; where there is no place for it, that is its end.

        Args:
            call: Which; nothing happens if it has ended.
            begin: Called with its token: lets it wait there.
        """
        if self.take(call):
            try:
                begin(call.token)
            except LocalError as error:
                self._finish(call.token, error)

    def take(self, call: Call[Detail]) -> bool:
        """It waits here no longer; whether it did wait."""
        waited = self._remove(call)
        if waited:
            call.timer.cancel()
        return waited

    def _remove(self, call: Call[Detail]) -> bool:
        same = self._waiting.get(call.key, [])
        if call not in same:
            return False
        same.remove(call)
        if not same:
            del self._waiting[call.key]
        self._count -= 1
        return True

    def end(self, call: Call[Detail], outcome: Outcome) -> None:
        """Tell what became of a call; nothing if it has ended before."""
        if self.take(call):
            self._finish(call.token, outcome)

    def end_all(self, key: Hashable, outcome: Outcome) -> None:
        """The same for all with one key."""
        for call in self.waiting(key):
            self.end(call, outcome)
