"""Known nodes that came by themselves: this node's user has neither named nor trusted them.

Anybody can come, as often and under as many ids as they like. So these have the room that the
others leave them, each address and prefix has a share of it as of any table, and where it is full
newcomers make room for newcomers: who was there before stays, and who was met over a longer time is
a regular, for whom one that came once makes room.
"""

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Final, TypeAlias

from p2ptui.bounded import BoundedTable, Shares

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

    def put(self, node_id: str, host: str, *, is_regular: bool) -> bool:
        """A node was seen; False if there is no room for it.

        Args:
            node_id: Which.
            host: Where it came from; empty if that is not known.
            is_regular: Whether it was met over a long time; see `REGULAR_AFTER_S`.
        """
        was_settled = node_id in self._regulars or node_id in self._others
        self.discard(node_id)
        is_settled = was_settled or self._can_settle(is_regular=is_regular)
        is_in = self._keep(node_id, host, is_settled=is_settled)
        if is_in and is_settled:
            (self._regulars if is_regular else self._others)[node_id] = None
        return is_in

    def _can_settle(self, *, is_regular: bool) -> bool:
        """Whether one more may settle; for a regular one that came once is a newcomer again."""
        if len(self._regulars) + len(self._others) < SETTLED_PART * self._limit():
            return True
        other = next((each for each in self._others if not self.is_here(each)), None)
        if not is_regular or other is None:
            return False
        host = self.host_of(other)
        self.discard(other)
        self._keep(other, host, is_settled=False)
        return True

    def _keep(self, node_id: str, host: str, *, is_settled: bool) -> bool:
        address = (host, 0) if host else None
        return self._stays.put(node_id, (node_id, host), address=address, proved=is_settled)

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
        each = chain(self._stays.unproved(), self._others, self._stays)
        return next((node_id for node_id in each if not self.is_here(node_id)), None)

    def longest_unseen(self) -> Iterator[str]:
        """The regular that was seen longest ago, and of the other settled the one that was."""
        for each in (self._regulars, self._others):
            yield from islice(each, 1)

    def copy_to(self, other: "Strangers") -> None:
        """Have an empty one know the same."""
        newcomers = set(self._stays.unproved())
        for node_id, stay in self._stays.items():
            other._keep(node_id, stay[1], is_settled=node_id not in newcomers)
        other._regulars, other._others = dict(self._regulars), dict(self._others)

    def _is_in_use(self, stay: Stay) -> bool:
        return self.is_here(stay[0])

    def _note_evicted(self, node_id: str, _: Stay) -> None:
        self._unsettle(node_id)
        self._evicted.append(node_id)


def _nobody(_: str) -> bool:
    return False
