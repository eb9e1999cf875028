"""Routed messages between the nodes of two servers: one hop, from one server to the other.

The receiver's server gives it to the receiver alone. Nothing is handed over twice or flooded
further, so no message loops, whatever the servers believe about where nodes are.
"""

from typing import Final

from p2ptui.core.identity import canonical_id
from p2ptui.core.mesh.evidence import Evidence
from p2ptui.core.mesh.routing import MAX_HOPS, Refusal, Routing, source_named
from p2ptui.core.peers import Handed, NotHanded, Peer
from p2ptui.core.state import NodeState
from p2ptui.wire.codec import MalformedError, decode_payload, encode_payload
from p2ptui.wire.message import ErrorCode, ReceivedRoutedPayload, RoutedPayload

_GONE: Final = frozenset({NotHanded.UNKNOWN, NotHanded.SERVER_GONE})


class Passages:
    """Takes routed messages from other servers; `Routing` hands over those for them.

    Args:
        state: The shared state.
        routing: Sends them, and refuses them.
    """

    def __init__(self, state: NodeState, routing: Routing) -> None:
        self._state = state
        self._routing = routing

    def take_handed(self, target: Peer, handed: Handed, now: float) -> NotHanded | None:
        """Give a node here a message from a node elsewhere, or from one behind it."""
        counters, routing = self._state.counters, self._routing
        routed = decode_payload(handed.body, ReceivedRoutedPayload)
        source = source_named(routed)
        hops = routed.hop_count
        destination = canonical_id(routed.destination_node)
        if source is None or destination is None:
            raise MalformedError("it names no node")
        if destination != target.node_id and not self._is_behind(destination, target):
            return NotHanded.UNKNOWN
        if not 0 < hops <= min(routed.max_hops, MAX_HOPS):
            raise MalformedError("its hops do not count the one between the servers")
        if source != handed.source_id and not self._may_speak(source):
            counters.drop("routed_false_source")
            return NotHanded.UNKNOWN
        # It counts for the share of the node that brings it, as with a peer.
        by = self._state.elsewhere.holder(handed.source_id)
        if not routing.seen.is_first(source, routed.route_id, by.address if by else None, now):
            counters.drop("routed_seen")
            return None
        onward = RoutedPayload(
            routed.original_message,
            source,
            destination,
            hops,
            routed.max_hops,
            routed.route_id,
        )
        refusal = routing.hand_on(target, encode_payload(onward), handed.on_lost, now)
        if refusal is None:
            counters.forwarded += 1
            self._learn(source, handed, hops, now)
            return None
        counters.drop(f"routed_{refusal.code}")
        routing.seen.forget(source, routed.route_id)
        return NotHanded.TOO_LARGE if refusal.code == ErrorCode.TOO_LARGE else NotHanded.UNSENDABLE

    def handle_not_handed(self, source: Peer, handed: Handed, why: NotHanded, now: float) -> None:
        """A message for a node elsewhere has not arrived: its writer is told, if that is the peer
        that it came from."""
        if not handed.ref:
            return
        self._routing.seen.forget(source.node_id, handed.ref)
        words = f"message for node {handed.target_id}"
        refusal = Refusal(ErrorCode.NO_ROOM, f"{words}: its server could not send it; try again")
        if why in _GONE:
            refusal = Refusal(ErrorCode.NO_ROUTE, f"no route to node {handed.target_id}")
        elif why is NotHanded.TOO_LARGE:
            refusal = Refusal(ErrorCode.TOO_LARGE, f"{words}: it is too large for that node")
        self._state.counters.drop(f"routed_{refusal.code}")
        self._routing.refuse(source, handed.target_id, handed.ref, refusal, now)

    def _is_behind(self, destination: str, target: Peer) -> bool:
        """Whether a peer may lead to a node that no server holds."""
        own_id = self._state.identity.id
        return target.is_routing and destination != own_id and self._state.find(destination) is None

    def _learn(self, source: str, handed: Handed, hops: int, now: float) -> None:
        """A message from behind a node elsewhere shows the route back, on the word of a server."""
        if source != handed.source_id and self._state.find(source) is None:
            self._routing.table.learn(
                source, handed.source_id, hops + 1, now, evidence=Evidence.LISTED
            )

    def _may_speak(self, source: str) -> bool:
        """Whether a node elsewhere may bring a message written by a node behind it."""
        return source != self._state.identity.id and not self._routing.sources.has_session(source)
