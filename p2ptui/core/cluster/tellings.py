"""A server falls silent or comes back, and all its nodes with it: they are reported in batches.

There may be tens of thousands of nodes, and many servers may fall silent at once.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.cluster.others import MAX_RUNS, Others
from p2ptui.core.cluster.runs import Run
from p2ptui.core.state import NodeState

TOLD_AT_ONCE: Final = 500
TELL_TICK_S: Final = 0.05
"""After this time, the next batch of nodes is reported."""


class Tellings:
    """Nodes still to be reported, of servers that have come or gone.

    Args:
        state: The shared state.
        others: The servers.
        moved_s: How long the nodes of a silent server have to join another one, seconds.
        tell: Called with the run of a server, a node that it held, and the time.
    """

    def __init__(
        self,
        state: NodeState,
        others: Others,
        moved_s: float,
        tell: Callable[[Run, str, float], None],
    ) -> None:
        self._state = state
        self._moved_s = moved_s
        self._tell = tell
        # The last ones are reported first; for one server, only the latest change.
        self._waiting: BoundedTable[Run, list[str]] = state.tables.add(
            "cluster_tellings", BoundedTable(MAX_RUNS, full="cluster_servers_full")
        )
        self._is_planned = False
        others.on_silent.append(self._handle_silent)
        others.on_heard.append(self._handle_heard)

    def __contains__(self, run: Run) -> bool:
        return run in self._waiting

    def _handle_silent(self, run: Run, now: float) -> None:
        self._state.timers.schedule_upkeep(now + self._moved_s, partial(self._judge_silent, run))

    def _judge_silent(self, run: Run, now: float) -> None:
        if run.is_live or run.is_told_gone or now < run.heard_at + self._moved_s:
            return
        run.is_told_gone = True
        self._begin(run, now)

    def _handle_heard(self, run: Run, now: float) -> None:
        if run.is_told_gone:
            run.is_told_gone = False
            self._begin(run, now)

    def _begin(self, run: Run, now: float) -> None:
        self._waiting.pop(run)
        if run.node_ids:
            self._waiting.put(run, list(reversed(run.node_ids)))
            if not self._is_planned:
                self._tell_some(now)

    def _tell_some(self, now: float) -> None:
        self._is_planned = len(self._waiting) > 0
        if self._is_planned:
            # Also if none is left by then: a batch that begins meanwhile waits for its turn.
            self._state.timers.schedule_upkeep(now + TELL_TICK_S, self._tell_some)
        room = TOLD_AT_ONCE
        while room and (run := next(iter(self._waiting), None)) is not None:
            waiting = self._waiting[run]
            turn = waiting[-room:]
            del waiting[-room:]
            room -= len(turn)
            if not waiting:
                self._waiting.pop(run)
            for node_id in reversed(turn):
                self._tell(run, node_id, now)
