"""Whom a routed message is handed to when it sets out, and when it does so once more."""

from collections.abc import Callable, Sequence

from p2ptui.core.mesh.routing import Routing
from p2ptui.core.peers import Peer


class Tries:
    """Chooses.

    Args:
        routing: Knows the ways.
        doubt: Looks whether somebody is there who has brought no answer.
    """

    def __init__(self, routing: Routing, doubt: Callable[[Peer, float], None]) -> None:
        self._routing = routing
        self._doubt = doubt

    def hops(self, node_id: str, tried: Sequence[Peer], now: float) -> list[Peer]:
        """The next hops on the way to a node.

        Args:
            node_id: Its id.
            tried: Those to which the last try was handed: they brought no answer, and may be dead.
            now: The time, seconds.
        """
        for hop in tried:
            self._doubt(hop, now)
            self._routing.table.doubt(node_id, hop.node_id)
        # Others may know a way as well.
        avoid = frozenset(hop.node_id for hop in tried)
        others = self._routing.next_hops(node_id, now, avoid) if avoid else []
        return others or self._routing.next_hops(node_id, now)
