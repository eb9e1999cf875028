"""Calls that wait for an answer: each ends once, with the answer, a refusal or a timeout."""

from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, TypeVar

from p2ptui.core.events import Outcome
from p2ptui.core.timers import Timer, Timers
from p2ptui.errors import HandshakeError, LocalError

Detail = TypeVar("Detail")


class Call(Generic[Detail]):
    """One waiting call."""

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
        """Names the call in the report of its result."""
        self.key = key
        """What its answer will name, or who gives it."""
        self.deadline = deadline
        self.detail = detail
        self.overdue = overdue
        """Returns the result of the call if nothing came by its deadline."""
        self.timer = timer


def forgotten(_call: Call[None]) -> HandshakeError:
    """The result of a call whose session the other side has forgotten."""
    return HandshakeError("nothing became of it in time")


class Calls(Generic[Detail]):
    """Waiting calls of one kind, in order.

    Args:
        timers: End overdue calls.
        finish: Called once for each call, with its token and result.
        new_token: Makes the token of a call.
        limit: Most calls waiting.
        limit_each: Most calls with one key.
        words: What they wait for, in the plural, for the message to a caller that is turned away.
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
        """A snapshot of the keys that calls wait for."""
        return iter(list(self._waiting))

    def all(self) -> tuple[Call[Detail], ...]:
        """All waiting calls, those with the same key together."""
        return tuple(call for calls in self._waiting.values() for call in calls)

    def require_room(self, key: Hashable) -> None:
        """Check that one more call may wait.

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
            detail: Information for its owner at its end.
            now: The time, seconds.
            timeout_s: How long it waits at most, seconds.
            overdue: Returns the result if nothing came by then.
            token: The token of the call, if it already has one.

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
        """The calls with one key, oldest first."""
        return tuple(self._waiting.get(key, ()))

    def move(
        self,
        call: Call[Detail],
        key: Hashable,
        deadline: float,
        overdue: Callable[[Call[Detail]], Outcome] | None = None,
    ) -> None:
        """Let a call wait for something else; does nothing if it has ended.

        Args:
            call: The call.
            key: The new key.
            deadline: The new deadline, seconds.
            overdue: As for `begin`; None: as before.
        """
        if self._remove(call):
            call.key, call.overdue = key, overdue or call.overdue
            self._waiting.setdefault(key, []).append(call)
            self._count += 1
            self.extend(call, deadline)

    def extend(self, call: Call[Detail], deadline: float) -> None:
        """Change the deadline of a waiting call, seconds."""
        if deadline != call.deadline:
            call.deadline = deadline
            call.timer.cancel()
            call.timer = self._timers.schedule(deadline, lambda _: self._expire(call))

    def hand_over(self, call: Call[Detail], begin: Callable[[int], object]) -> None:
        """Move a call to another room; if there is no place for it, it ends.

        Args:
            call: The call; nothing happens if it has ended.
            begin: Called with its token: makes it wait there.
        """
        if self.take(call):
            try:
                begin(call.token)
            except LocalError as error:
                self._finish(call.token, error)

    def take(self, call: Call[Detail]) -> bool:
        """Remove a call; returns whether it was waiting."""
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
        """End a call with a result; does nothing if it has already ended."""
        if self.take(call):
            self._finish(call.token, outcome)

    def end_all(self, key: Hashable, outcome: Outcome) -> None:
        """The same for all with one key."""
        for call in self.waiting(key):
            self.end(call, outcome)
