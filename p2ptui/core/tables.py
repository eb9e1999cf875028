"""All tables of one endpoint: each counts what it gives up, and all are reported together."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from p2ptui.bounded import Shares

__all__ = ["Shares", "Tables"]


class _Counting(Protocol):
    """A table or queue of `p2ptui.bounded`."""

    count: Callable[[str], None]

    def __len__(self) -> int: ...


class _Measured(Protocol):
    def sizes(self) -> Mapping[str, int]: ...


Bounded = TypeVar("Bounded", bound=_Counting)


class Tables:
    """All tables of one endpoint, and other counted things that others may fill.

    Args:
        count: Called with the cause when a table gives something up.
        shares: What one address and one prefix may hold of each of them.
    """

    def __init__(self, count: Callable[[str], None], shares: Shares | None = None) -> None:
        self._count = count
        self.shares = shares or Shares()
        """For every table that strangers or peers fill; a test lists the others."""
        self._gauges: list[tuple[str, Callable[[], int]]] = []
        self._measured: tuple[_Measured, ...] = ()

    def add(self, name: str, table: Bounded) -> Bounded:
        """Register a new table: what it gives up is counted, and its size is reported. A memory,
        which counts nothing and delays nobody, need not be added.

        Args:
            name: Its name in `sizes`; tables with the same name are added up.
            table: The table.

        Returns:
            The same.
        """
        table.count = self._count
        self._gauges.append((name, table.__len__))
        return table

    def gauge(self, name: str, measure: Callable[[], int]) -> None:
        """Report the size of something else that grows with what others do, and is limited
        elsewhere."""
        self._gauges.append((name, measure))

    def watch(self, *parts: _Measured) -> None:
        """Report parts that know by themselves how full they are."""
        self._measured += parts

    def sizes(self) -> dict[str, int]:
        """How full everything is, by name."""
        sizes: dict[str, int] = {}
        for name, measure in self._gauges:
            sizes[name] = sizes.get(name, 0) + measure()
        for part in self._measured:
            sizes |= part.sizes()
        return sizes
