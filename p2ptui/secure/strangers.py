"""Known nodes that came by themselves: this node's user has neither named nor trusted them.

Anybody can come, as often and under as many ids as they like. So these have the room that the
others leave them, each address and prefix has a share of it as of any table, and where it is full
newcomers make room for newcomers: who was there before stays, and who was met over a longer time is
a regular, for whom one that came once makes room.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, TypeAlias

from p2ptui.bounded import BoundedTable, Shares
from p2ptui.secure.met import KnownNode

REGULAR_AFTER_S: Final = 86_400.0
"""Who is seen so long after the first time is a regular."""

SETTLED_PART: Final = 0.75
"""Of the room for strangers: regulars and those who came while there was room stay in it. In the
rest the newcomer that came longest ago makes room for the next."""

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
        """The settled are taken for proved."""
        self._regulars: dict[str, None] = {}
        self._others: dict[str, None] = {}
        """Of the settled those that came once, the one seen longest ago first."""
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
        was_settled = node.id in self._regulars or node.id in self._others
        self.discard(node.id)
        is_regular = is_met_for_long(node)
        is_settled = was_settled or self._can_settle(is_regular=is_regular)
        address = (host, 0) if host else None
        is_in = self._stays.put(node.id, (node.id, host), address=address, proved=is_settled)
        if is_in and is_settled:
            (self._regulars if is_regular else self._others)[node.id] = None
        return is_in

    def _can_settle(self, *, is_regular: bool) -> bool:
        """Whether one more may settle; for a regular one that came once goes, if it must."""
        if len(self._regulars) + len(self._others) < SETTLED_PART * self._limit():
            return True
        other = next((each for each in self._others if not self.is_here(each)), None)
        if not is_regular or other is None:
            return False
        self.discard(other)
        self._evicted.append(other)
        return True

    def discard(self, node_id: str) -> None:
        """A node is no stranger any more, or forgotten; nothing if it was none."""
        self._stays.pop(node_id)
        self._unsettle(node_id)

    def _unsettle(self, node_id: str) -> None:
        self._regulars.pop(node_id, None)
        self._others.pop(node_id, None)

    def gone(self) -> list[str]:
        """Those who made room since this was asked last."""
        gone, self._evicted = self._evicted, []
        return gone

    def weakest(self) -> str | None:
        """Who makes room for one that the user has named; None if there is nobody."""
        for each in (self._stays.unproved(), self._others, self._stays):
            for node_id in each:
                return node_id
        return None

    def longest_unseen(self) -> Iterator[str]:
        """The regular that was seen longest ago, and of the other settled the one that was."""
        for each in (self._regulars, self._others):
            yield from islice(each, 1)

    def copy_to(self, other: "Strangers") -> None:
        """Have an empty one know the same."""
        newcomers = set(self._stays.unproved())
        for node_id, stay in self._stays.items():
            address = (stay[1], 0) if stay[1] else None
            other._stays.put(node_id, stay, address=address, proved=node_id not in newcomers)
        other._regulars, other._others = dict(self._regulars), dict(self._others)

    def _is_in_use(self, stay: Stay) -> bool:
        return self.is_here(stay[0])

    def _note_evicted(self, node_id: str, _: Stay) -> None:
        self._unsettle(node_id)
        self._evicted.append(node_id)


def is_met_for_long(node: KnownNode) -> bool:
    """Whether a node was met over so long a time that it is a regular."""
    return not node.disputed and node.last_seen - node.first_seen >= REGULAR_AFTER_S


def _nobody(_: str) -> bool:
    return False
