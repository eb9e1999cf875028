"""Routed messages that arrived lately: none is delivered or forwarded twice."""

from p2ptui.bounded import BoundedTable
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address


class Seen:
    """Recognises messages by their writer and `route_id`.

    Args:
        state: The shared state.
    """

    def __init__(self, state: NodeState) -> None:
        self._marks: BoundedTable[int, bool] = state.tables.add(
            "routes_seen",
            BoundedTable(
                lambda: state.config.routing.max_seen,
                full="routes_seen_full",
                shares=state.tables.shares,
                lifetime_s=lambda: state.config.routing.seen_lifetime,
            ),
        )

    def is_first(self, source: str, route_id: str, by: Address | None, now: float) -> bool:
        """Record a message; returns whether it has come for the first time, as far as known.

        Args:
            source: The id of its writer.
            route_id: The writer's id of the message.
            by: The address of the peer that brings it, to whose share it counts; None: to nobody's.
            now: The time, seconds.
        """
        mark = _mark(source, route_id)
        if self._marks.get(mark):
            self._marks.expire(now)
            if mark in self._marks:
                return False
        return self._marks.put(mark, True, now, address=by)

    def forget(self, source: str, route_id: str) -> None:
        """A message may come again."""
        self._marks.pop(_mark(source, route_id))


def _mark(source: str, route_id: str) -> int:
    """What a message is recognised by. Salted for each process, so that nobody can build two that
    collide."""
    return hash((source, route_id))
