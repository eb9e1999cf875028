"""The order in which the entries of a table were last used, for tables in constant use.

A table keeps an order too, but moving an entry within it touches the entry's neighbours and the
newest entry. With ten thousand entries, none of them in the CPU's cache, that takes a third of the
time of a Ping.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Recency(Generic[T]):
    """An order, iterated from the least to the most recently used entry.

    It has no limit of its own: its caller enters only what a bounded table has accepted.
    """

    __slots__ = ("_order", "newest")

    def __init__(self) -> None:
        # A dict keeps its order, and finds an object by its identity, without touching the object.
        self._order: dict[T, None] = {}
        self.newest: T | None = None
        """The most recently used entry; None if it has been removed."""

    def enter(self, one: T) -> None:
        """Make an entry the newest, whether it was there or not."""
        self._order.pop(one, None)
        self._order[one] = None
        self.newest = one

    def touch(self, one: T) -> None:
        """Note that an entry was used, if it is there."""
        order = self._order
        if one in order:
            del order[one]
            order[one] = None
            self.newest = one

    def discard(self, one: T) -> None:
        """Remove an entry."""
        self._order.pop(one, None)
        if self.newest is one:
            self.newest = None

    def __iter__(self) -> Iterator[T]:
        return iter(self._order)

    def newest_first(self) -> Iterator[T]:
        """All entries, newest first."""
        return reversed(self._order)
