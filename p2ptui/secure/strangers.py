"""Known nodes that came by themselves: this node's user has neither named nor trusted them.

Anybody can come, as often and under as many ids as they like. So these have the room that the
others leave them, each address and prefix has a share of it as of any table, and who has come once
makes room before who was met over a longer time.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from p2ptui.bounded import BoundedTable, Shares
from p2ptui.secure.met import KnownNode

REGULAR_AFTER_S: Final = 86_400.0
"""Who is seen so long after the first time is a regular: nobody who comes for the first time takes
its place."""

REGULARS_PART: Final = 0.75
"""Of the room for strangers, at most: the rest is left for those who come for the first time."""

Stay: TypeAlias = tuple[str, str]
"""An id, and the host that it came from; empty where that is not known."""


class Strangers:
    """Which of them stay, by id; the one seen longest ago first.

    Args:
        limit: How many there is room for.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self.is_here: Callable[[str], bool] = _nobody
        """Whether a node is connected now: it does not make room."""
        self._stays: BoundedTable[str, Stay] = BoundedTable(
            limit, shares=Shares(), in_use=self._is_in_use, on_evicted=self._note_evicted
        )
        """The regulars are taken for proved."""
        self._regulars: set[str] = set()
        self._evicted: list[str] = []

    def __len__(self) -> int:
        return len(self._stays)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._stays

    def __iter__(self) -> Iterator[str]:
        return iter(self._stays)

    def host_of(self, node_id: str) -> str:
        """The host that a node came from; empty if that is not known."""
        stay = self._stays.get(node_id)
        return "" if stay is None else stay[1]

    def put(self, node: KnownNode, host: str) -> bool:
        """A node was seen; False if there is no room for it.

        Args:
            node: Which.
            host: Where it came from; empty if that is not known.
        """
        was_regular = node.id in self._regulars
        self.discard(node.id)
        is_regular = is_met_for_long(node) and (was_regular or self._has_room_for_regulars)
        address = (host, 0) if host else None
        is_in = self._stays.put(node.id, (node.id, host), address=address, proved=is_regular)
        if is_in and is_regular:
            self._regulars.add(node.id)
        return is_in

    @property
    def _has_room_for_regulars(self) -> bool:
        return len(self._regulars) < REGULARS_PART * self._limit()

    def discard(self, node_id: str) -> None:
        """A node is no stranger any more, or forgotten; nothing if it was none."""
        self._stays.pop(node_id)
        self._regulars.discard(node_id)

    def gone(self) -> list[str]:
        """Those who made room since this was asked last."""
        gone, self._evicted = self._evicted, []
        return gone

    def weakest(self) -> str | None:
        """Who makes room for one that the user has named; None if there is nobody."""
        passing = next(iter(self._stays.unproved()), None)
        return passing if passing is not None else next(iter(self._stays), None)

    def copy_to(self, other: "Strangers") -> None:
        """Have an empty one know the same."""
        passing = set(self._stays.unproved())
        for node_id, stay in self._stays.items():
            address = (stay[1], 0) if stay[1] else None
            other._stays.put(node_id, stay, address=address, proved=node_id not in passing)
        other._regulars = set(self._regulars)

    def _is_in_use(self, stay: Stay) -> bool:
        return self.is_here(stay[0])

    def _note_evicted(self, node_id: str, _: Stay) -> None:
        self._regulars.discard(node_id)
        self._evicted.append(node_id)


def is_met_for_long(node: KnownNode) -> bool:
    """Whether a node was met over so long a time that it is a regular."""
    return not node.disputed and node.last_seen - node.first_seen >= REGULAR_AFTER_S


def _nobody(_: str) -> bool:
    return False
