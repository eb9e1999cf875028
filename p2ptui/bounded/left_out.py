"""What there is no room to tell one by one: its number is told instead."""

from collections.abc import Callable
from typing import Protocol


class _Planned(Protocol):
    """An action that is planned, as by a loop."""

    def cancel(self) -> None: ...


class LeftOut:
    """Counts what was left out, and has the number told a while after the first.

    Args:
        tell: Is told the number, if there is anything to tell.
        later: Plans an action for after that while.
    """

    __slots__ = ("_count", "_later", "_planned", "_tell")

    def __init__(
        self, tell: Callable[[int], None], later: Callable[[Callable[[], None]], _Planned]
    ) -> None:
        self._tell = tell
        self._later = later
        self._planned: _Planned | None = None
        self._count = 0

    def add(self) -> None:
        """One more was left out."""
        if self._planned is None:
            self._planned = self._later(self.tell)
        self._count += 1

    def tell(self) -> None:
        """Tell the number now, and begin to count anew."""
        if self._planned is None:
            return  # nothing was left out
        self._planned.cancel()
        self._planned = None
        count, self._count = self._count, 0
        self._tell(count)
