"""Known nodes that came by themselves: this node's user has neither named nor trusted them.

Anybody can come, as often and under as many ids as they like. So they get the room that other nodes
leave, with a share for each address and prefix as in any table. When it is full, newcomers make
room for newcomers and earlier ones stay; a node met over a longer time is a regular, and one that
came once makes room for it.
"""

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Final, TypeAlias

from p2ptui.bounded import BoundedTable, Shares

REGULAR_AFTER_S: Final = 86_400.0
"""A node seen again this long after the first time is a regular."""

SETTLED_PART: Final = 0.75
"""The share of the room for strangers in which regulars, and nodes that came while there was room,
stay. In the rest, the newcomer that came longest ago makes room for the next."""

Stay: TypeAlias = tuple[str, str]
"""An id, and the host that it came from; empty if unknown."""


class Strangers:
    """The strangers that stay, by id; the one seen longest ago first.

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
        """Settled nodes count as proved."""
        self._regulars: dict[str, None] = {}
        self._others: dict[str, None] = {}
        """The settled nodes that came once, the one seen longest ago first."""
        self._evicted: list[str] = []

    def __len__(self) -> int:
        return len(self._stays)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._stays

    def __iter__(self) -> Iterator[str]:
        return iter(self._stays)

    def host_of(self, node_id: str) -> str:
        """The host that a node came from; empty if unknown."""
        stay = self._stays.get(node_id)
        return "" if stay is None else stay[1]

    def put(self, node_id: str, host: str, *, is_regular: bool) -> bool:
        """A node was seen; False if there is no room for it.

        Args:
            node_id: Its id.
            host: The host that it came from; empty if unknown.
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
        """Whether one more may settle; to make room for a regular, one that came once becomes a
        newcomer again."""
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
        """A node is no longer a stranger, or was forgotten; does nothing if it was none."""
        self._stays.pop(node_id)
        self._unsettle(node_id)

    def _unsettle(self, node_id: str) -> None:
        self._regulars.pop(node_id, None)
        self._others.pop(node_id, None)

    def gone(self) -> list[str]:
        """The nodes that have made room since the last call."""
        gone, self._evicted = self._evicted, []
        return gone

    def weakest(self) -> str | None:
        """The node that makes room for one that the user has named; None if there is none."""
        each = chain(self._stays.unproved(), self._others, self._stays)
        return next((node_id for node_id in each if not self.is_here(node_id)), None)

    def longest_unseen(self) -> Iterator[str]:
        """The regular seen longest ago, and the other settled node seen longest ago."""
        for each in (self._regulars, self._others):
            yield from islice(each, 1)

    def copy_to(self, other: "Strangers") -> None:
        """Copy everything to an empty one."""
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
