"""A bounded queue that others fill: items that do not fit are refused and counted."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from p2ptui.bounded.shares import Limit, count_nothing, number_of

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """A queue with a limit: it refuses items that do not fit and never drops queued ones.

    Args:
        limit: Most items.
        full: The counter of refused items; empty: `append` returns False, and its caller counts.
        limit_bytes: Most bytes of all items; None: not counted.
        size_of: The bytes of an item, which must not change while it waits.
        count: Increments a counter; set by `Tables.add`.
    """

    __slots__ = ("_full", "_items", "_limit", "_limit_bytes", "_size_of", "count", "used_bytes")

    def __init__(
        self,
        limit: Limit,
        *,
        full: str = "",
        limit_bytes: Limit | None = None,
        size_of: Callable[[T], int] = lambda _: 0,
        count: Callable[[str], None] = count_nothing,
    ) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._size_of = size_of
        self._full = full
        self.count = count
        """Called with the cause when an item is refused."""
        self.used_bytes = 0
        """Bytes of all items."""
        self._items: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __getitem__(self, index: int) -> T:
        return self._items[index]

    def append(self, item: T) -> bool:
        """Append an item; returns whether there was room."""
        size_bytes = self._size_of(item)
        if len(self._items) >= number_of(self._limit) or (
            self._limit_bytes is not None
            and self.used_bytes + size_bytes > number_of(self._limit_bytes)
        ):
            if self._full:
                self.count(self._full)
            return False
        self._items.append(item)
        self.used_bytes += size_bytes
        return True

    def popleft(self) -> T:
        """Remove and return the oldest item. IndexError if there is none."""
        item = self._items.popleft()
        self.used_bytes -= self._size_of(item)
        return item

    def clear(self) -> None:
        """Remove all items."""
        self._items.clear()
        self.used_bytes = 0
