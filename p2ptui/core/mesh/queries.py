"""Node lists that this node asks its peers for, gathered page by page."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from msgspec import Raw

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Reason
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import NodeList
from p2ptui.core.identity import canonical_id
from p2ptui.core.mesh.evidence import Evidence, Told, note_list, of_list
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import (
    DEFAULT_NETWORK_ID,
    NULL,
    Capability,
    ListNodesPayload,
    ListNodesRequestPayload,
    MessageType,
    NodeInfo,
    ReceivedNodeInfo,
)

ASK_AGAIN_S: Final = 1.0
"""A request without any answer is repeated after this."""

MAX_QUERIES: Final = 64
MAX_CALLS: Final = 1024
"""Calls that wait for them: several may wait for one list."""
MAX_NODES: Final = 100_000
"""Nodes of one list; more than a server with every port of an address taken would name."""


@dataclass(slots=True)
class _Query:
    peer: Peer
    deadline: float
    pages: BoundedTable[int, tuple[NodeInfo, ...]] = field(
        default_factory=lambda: BoundedTable(MAX_NODES, refuses=True)
    )
    size: int = 0
    last_page: int | None = None
    timer: Timer | None = None

    @property
    def is_complete(self) -> bool:
        return self.last_page is not None and len(self.pages) == self.last_page + 1

    def result(self) -> NodeList:
        nodes = tuple(node for number in sorted(self.pages) for node in self.pages[number])
        return NodeList(nodes, self.is_complete)


def list_request(peer: Peer) -> Raw:
    """What this node asks a peer for any list with; to one of its own kind it vouches for that."""
    if Capability.RETRANSMIT not in peer.capabilities:
        return NULL
    return encode_payload(ListNodesRequestPayload(peer.handshake_heard))


class Queries:
    """Asks for node lists.

    Args:
        state: The shared ground.
        delivery: The way out.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self._queries: BoundedTable[str, _Query] = state.tables.add(
            "queries", BoundedTable(MAX_QUERIES, refuses=True, full="names_unasked")
        )
        self._calls = state.open_room(
            "lists_awaited", "node lists", limit=MAX_CALLS, limit_each=MAX_CALLS
        )
        self.on_nodes: Callable[[Peer, tuple[NodeInfo, ...], float, Evidence], None]
        self.on_nodes = lambda *_: None
        """Called with each page that a peer sent because it was asked, and what stands behind."""
        self.on_list: Callable[[Peer, ListNodesPayload, float], bool] = lambda *_: False
        """Called with each list; whether somebody else asked for it."""

    def list_nodes(self, peer: Peer, now: float, timeout_s: float) -> int:
        """Ask a peer whom it knows; the token of the NodeList.

        Raises:
            LocalError: Too many such questions wait.
        """
        known = self._queries.get(peer.node_id)
        if known is None:
            self._queries.require_room("node lists are awaited already")
        query = known or _Query(peer, now + timeout_s)
        call = self._calls.begin(peer.node_id, query, now, timeout_s, lambda _: query.result())
        if known is None:
            self._queries.put(peer.node_id, query)
            self._ask(query, now)
        return call.token

    def discover(self, peer: Peer, now: float) -> None:
        """Ask a peer for its peer list; the answers come as PeersDiscovered."""
        kind, payload = MessageType.DISCOVERY_REQUEST, list_request(peer)
        self._delivery.send(peer, kind, payload, now, reason=Reason.USER_ASKED)

    def _ask(self, query: _Query, now: float) -> None:
        if now >= query.deadline or not query.peer.is_authenticated:
            self._finish(query)
            return
        if not query.pages:
            kind, payload = MessageType.LIST_NODES_REQUEST, list_request(query.peer)
            self._delivery.send(query.peer, kind, payload, now, reason=Reason.USER_ASKED)
        when = min(now + ASK_AGAIN_S, query.deadline)
        query.timer = self._state.timers.schedule(when, lambda at: self._ask(query, at))

    def _finish(self, query: _Query) -> None:
        self._queries.pop(query.peer.node_id, None)
        if query.timer is not None:
            query.timer.cancel()
        self._calls.end_all(query.peer.node_id, query.result())

    def awaits(self, peer: Peer) -> bool:
        """Whether a peer's list is on its way: who asks for it again shares it."""
        return peer.node_id in self._queries

    def ask_names(self, peer: Peer, now: float, timeout_s: float) -> None:
        """Ask a peer whom it knows, for what `on_nodes` makes of it alone."""
        if peer.node_id in self._queries:
            return
        query = _Query(peer, now + timeout_s)
        if self._queries.put(peer.node_id, query):
            self._ask(query, now)

    def handle_response(self, peer: Peer, told: Told, now: float) -> None:
        """A page came."""
        payload: ListNodesPayload = told.content
        note_list(peer, told)
        evidence, is_doubted = of_list(peer, told)
        if is_doubted:
            self._state.counters.drop("node_list_unvouched")
            return
        is_awaited = self.on_list(peer, payload, now)
        query = self._queries.get(peer.node_id)
        if query is None and is_awaited:
            return
        if query is None or payload.page < 0 or payload.page in query.pages:
            self._state.counters.drop("node_list_unasked")
            return
        # An empty page counts as well: they could go on for ever.
        query.size += max(len(payload.nodes), 1)
        if query.size > MAX_NODES:
            self._state.counters.drop("node_list_too_long")
            return
        nodes = tuple(
            _as_node(node, node_id)
            for node in payload.nodes
            if (node_id := canonical_id(node.id or node.node_id)) is not None
        )
        query.pages.put(payload.page, nodes)
        self.on_nodes(peer, nodes, now, evidence)
        if not payload.more:
            query.last_page = payload.page
        if query.is_complete:
            self._finish(query)


def _as_node(received: ReceivedNodeInfo, node_id: str) -> NodeInfo:
    return NodeInfo(
        id=node_id,
        node_id=node_id,
        name=received.name or node_id[:8],
        version=received.version or "unknown",
        listen_addr=received.listen_addr or "",
        capabilities=tuple(received.capabilities),
        metadata=received.metadata,
        network_id=received.network_id or DEFAULT_NETWORK_ID,
    )
