"""Reports a number in place of what there is no room to report one by one."""

from collections.abc import Callable
from typing import Protocol


class _Planned(Protocol):
    """A planned action, such as an event loop's timer handle."""

    def cancel(self) -> None: ...


class LeftOut:
    """Counts what was left out, and reports the number a while after the first.

    Args:
        tell: Called with the number, if anything was left out.
        later: Plans an action for the end of that while.
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
        """Report the number now, and start counting anew."""
        if self._planned is None:
            return  # nothing was left out
        self._planned.cancel()
        self._planned = None
        count, self._count = self._count, 0
        self._tell(count)
