"""The next hops of a routed message, for its first try and for each further one."""

from collections.abc import Callable, Sequence

from p2ptui.core.mesh.routing import Routing
from p2ptui.core.peers import Peer


class Tries:
    """Chooses the next hops.

    Args:
        routing: Knows the routes.
        doubt: Checks whether a peer that has brought no answer is still there.
    """

    def __init__(self, routing: Routing, doubt: Callable[[Peer, float], None]) -> None:
        self._routing = routing
        self._doubt = doubt

    def hops(self, node_id: str, tried: Sequence[Peer], now: float) -> list[Peer]:
        """The next hops on the way to a node.

        Args:
            node_id: The id of the node.
            tried: The peers that were handed the last try: they brought no answer, and may be dead.
            now: The time, seconds.
        """
        for hop in tried:
            self._doubt(hop, now)
            self._routing.table.doubt(node_id, hop.node_id)
        # Others may know a route too.
        avoid = frozenset(hop.node_id for hop in tried)
        others = self._routing.next_hops(node_id, now, avoid) if avoid else []
        return others or self._routing.next_hops(node_id, now)
