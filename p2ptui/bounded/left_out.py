"""What there is no room to tell one by one: its number is told instead."""

from collections.abc import Callable


class LeftOut:
    """Counts what was left out, and has the number told a while after the first.

    Args:
        tell: Is told the number, if there is anything to tell.
        later: Calls an action after that while.
    """

    __slots__ = ("_count", "_later", "_tell")

    def __init__(
        self, tell: Callable[[int], None], later: Callable[[Callable[[], None]], object]
    ) -> None:
        self._tell = tell
        self._later = later
        self._count = 0

    def add(self) -> None:
        """One more was left out."""
        if not self._count:
            self._later(self.tell)
        self._count += 1

    def tell(self) -> None:
        """Tell the number now, and begin to count anew."""
        count, self._count = self._count, 0
        if count:
            self._tell(count)
