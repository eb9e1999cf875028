"""In which order those that a table holds were last used, where that is noted often.

A table keeps an order, too; but to move an entry there its neighbours are looked at, and the
newest. With ten thousand entries, none of which is at hand, that takes a third of the time of a
Ping.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Recency(Generic[T]):
    """An order; iterated from what was used longest ago to what was used last.

    It has no limit of its own: who fills a table enters here what that has taken.
    """

    __slots__ = ("_order", "newest")

    def __init__(self) -> None:
        # A dict keeps its order, and finds an object by where it is, without a look at it.
        self._order: dict[T, None] = {}
        self.newest: T | None = None
        """The one that was used last; None where that has gone."""

    def enter(self, one: T) -> None:
        """It is the newest, whether it was there or not."""
        self._order.pop(one, None)
        self._order[one] = None
        self.newest = one

    def touch(self, one: T) -> None:
        """It was used, if it is there."""
        order = self._order
        if one in order:
            del order[one]
            order[one] = None
            self.newest = one

    def discard(self, one: T) -> None:
        """It is gone."""
        self._order.pop(one, None)
        if self.newest is one:
            self.newest = None

    def __iter__(self) -> Iterator[T]:
        return iter(self._order)

    def newest_first(self) -> Iterator[T]:
        """All of them, the newest first."""
        return reversed(self._order)
