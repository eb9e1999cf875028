"""Deleted entries, and whether a deletion is believed at once.

Deletions are not signed, and anyone who can write to the broker can delete an entry. The server
that holds the node then puts the entry again. Once a server has done so, further deletions of its
entries for that node are believed only after a moment, since it will put them again if the node is
still there.
"""

from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.bounded.rates import TokenBucket
from p2ptui.core.cluster.runs import Run
from p2ptui.core.cluster.view import View
from p2ptui.core.state import NodeState

HELD_S: Final = 2.0
"""A server puts a deleted entry again within about a second."""

DISPUTED_S: Final = 120.0
"""How long it is remembered that entries of a node were put again."""

MAX_TAKEN_AWAY: Final = 4_096
"""Nodes whose entries were recently deleted although their servers are live."""

TIDIED_PER_S: Final = 500
"""Entries whose key is no node id are deleted: otherwise they take up room until they expire."""

LOOK_S: Final = 0.25


class _Taken:
    """What is known about deleted entries of one node."""

    __slots__ = ("held_until", "is_disputed", "revision", "run")

    def __init__(self, run: Run) -> None:
        self.run = run
        """The run that had put the entry."""
        self.revision = 0
        self.held_until = 0.0
        """When the deletion takes effect unless the entry is put again; 0: no deletion is held."""
        self.is_disputed = False
        """Whether the same run has put it again."""


class Deletions:
    """Decides whether deletions are believed.

    Args:
        state: The shared state.
        view: The nodes that the other servers hold.
    """

    def __init__(self, state: NodeState, view: View) -> None:
        self._state = state
        self._view = view
        self._taken: BoundedTable[str, _Taken] = state.tables.add(
            "cluster_taken_away", BoundedTable(MAX_TAKEN_AWAY, lifetime_s=DISPUTED_S)
        )
        self._looks = False
        self._tidied = TokenBucket(TIDIED_PER_S, 0.0)

    def may_tidy(self, now: float) -> bool:
        """Whether one more entry that belongs to no node may be deleted now."""
        return self._tidied.take(now)

    def take_out(self, node_id: str, revision: int, now: float) -> None:
        """Somebody has deleted an entry."""
        entry = self._view.entry(node_id)
        if entry is None or not entry.counter or not entry.run.is_live:
            self._view.take_out(node_id, revision, now)
            return
        if revision <= self._view.standing(node_id):
            return
        taken = self._taken.get(node_id)
        if taken is None or taken.run is not entry.run:
            taken = _Taken(entry.run)
        if self._taken.put(node_id, taken, now) and taken.is_disputed:
            if not taken.held_until:
                taken.held_until = now + HELD_S
            taken.revision = revision
            entry.revision = 0  # there is no entry
            self._plan(now)
        else:
            self._view.take_out(node_id, revision, now)

    def note_put(self, node_id: str, run: Run | None) -> None:
        """An entry was put, and is believed to be from a run."""
        taken = self._taken.get(node_id)
        if taken is not None:
            taken.held_until = 0.0
            taken.is_disputed = taken.run is run

    def _plan(self, now: float) -> None:
        if not self._looks:
            self._looks = True
            self._state.timers.schedule_upkeep(now + LOOK_S, self._look)

    def _look(self, now: float) -> None:
        self._looks = False
        is_any = False
        for node_id, taken in list(self._taken.items()):
            if taken.held_until and now >= taken.held_until:
                taken.held_until = 0.0
                self._view.take_out(node_id, taken.revision, now)
            is_any |= taken.held_until > 0
        self._taken.expire(now)
        if is_any:
            self._plan(now)

    def handle_link(self) -> None:
        """All entries are reported anew: any that are missing then are gone."""
        self._taken.clear()
