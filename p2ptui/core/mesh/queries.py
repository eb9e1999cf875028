"""Node lists that this node requests from its peers, collected page by page."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import UNSET, Raw

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Reason
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import NodeList, ServerList
from p2ptui.core.identity import canonical_id
from p2ptui.core.mesh.entries import held_by
from p2ptui.core.mesh.evidence import Evidence, Told, note_list, of_list
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.wire.codec import MalformedError, decode_payload, encode_payload
from p2ptui.wire.message import (
    DEFAULT_NETWORK_ID,
    NULL,
    Capability,
    ListedServer,
    ListNodesPayload,
    ListNodesRequestPayload,
    MessageType,
    NodeInfo,
    ReceivedListedNode,
)

ASK_AGAIN_S: Final = 1.0
"""A request without any answer is repeated after this time."""

MAX_QUERIES: Final = 64
MAX_CALLS: Final = 1024
"""Calls that wait for lists: several may wait for one list."""
MAX_NODES: Final = 100_000
"""Nodes of one list; more than a server with every port of an address taken would name."""


_SERVERS: Any = list[ListedServer]


@dataclass(slots=True)
class _Query:
    peer: Peer
    deadline: float
    is_of_servers: bool = False
    pages: BoundedTable[int, tuple[Any, ...]] = field(
        default_factory=lambda: BoundedTable(MAX_NODES, refuses=True)
    )
    size: int = 0
    last_page: int | None = None
    timer: Timer | None = None

    @property
    def is_complete(self) -> bool:
        return self.last_page is not None and len(self.pages) == self.last_page + 1

    @property
    def key(self) -> tuple[str, bool]:
        return self.peer.node_id, self.is_of_servers

    @property
    def payload(self) -> Raw:
        if Capability.CLUSTER not in self.peer.facts.capabilities:
            return list_request(self.peer)
        asked = ListNodesRequestPayload(self.peer.handshake_heard)
        if self.is_of_servers:
            asked.servers = True
        else:
            asked.holders = True
        return encode_payload(asked)

    def result(self) -> NodeList | ServerList:
        listed = tuple(one for number in sorted(self.pages) for one in self.pages[number])
        kind = ServerList if self.is_of_servers else NodeList
        return kind(listed, self.is_complete)


def list_request(peer: Peer) -> Raw:
    """The request for any list; one to a peer of our own kind is vouched for."""
    if Capability.RETRANSMIT not in peer.capabilities:
        return NULL
    return encode_payload(ListNodesRequestPayload(peer.handshake_heard))


class Queries:
    """Asks for node lists.

    Args:
        state: The shared state.
        delivery: Sends messages.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self._queries: BoundedTable[tuple[str, bool], _Query] = state.tables.add(
            "queries", BoundedTable(MAX_QUERIES, refuses=True, full="names_unasked")
        )
        self._calls = state.open_room(
            "lists_awaited", "node lists", limit=MAX_CALLS, limit_each=MAX_CALLS
        )
        self.on_nodes: Callable[[Peer, tuple[NodeInfo, ...], float, Evidence], None]
        self.on_nodes = lambda *_: None
        """Called with each page that a peer was asked for, and how well it is supported."""
        self.on_list: Callable[[Peer, ListNodesPayload, float], bool] = lambda *_: False
        """Called with each list; returns whether something else had asked for it."""

    def list_nodes(self, peer: Peer, now: float, timeout_s: float) -> int:
        """Ask a peer which nodes it knows; the token of the NodeList.

        Raises:
            LocalError: Too many such requests wait.
        """
        return self._begin(_Query(peer, now + timeout_s), now, timeout_s)

    def list_servers(self, peer: Peer, now: float, timeout_s: float) -> int:
        """Ask a server which other servers there are; the token of the ServerList.

        A server that has not announced any is not asked: it serves alone.

        Raises:
            LocalError: Too many such requests wait.
        """
        if Capability.CLUSTER not in peer.facts.capabilities:
            alone = ServerList((), complete=True)
            call = self._calls.begin(peer.node_id, None, now, timeout_s, lambda _: alone)
            self._calls.end(call, alone)
            return call.token
        return self._begin(_Query(peer, now + timeout_s, is_of_servers=True), now, timeout_s)

    def _begin(self, wanted: _Query, now: float, timeout_s: float) -> int:
        known = self._queries.get(wanted.key)
        if known is None:
            self._queries.require_room("node lists are awaited already")
        query = known or wanted
        call = self._calls.begin(query.key, query, now, timeout_s, lambda _: query.result())
        if known is None:
            self._queries.put(query.key, query)
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
            kind = MessageType.LIST_NODES_REQUEST
            self._delivery.send(query.peer, kind, query.payload, now, reason=Reason.USER_ASKED)
        when = min(now + ASK_AGAIN_S, query.deadline)
        query.timer = self._state.timers.schedule(when, lambda at: self._ask(query, at))

    def _finish(self, query: _Query) -> None:
        self._queries.pop(query.key, None)
        if query.timer is not None:
            query.timer.cancel()
        self._calls.end_all(query.key, query.result())

    def awaits(self, peer: Peer) -> bool:
        """Whether a peer's list is already requested: further requests share it."""
        return (peer.node_id, False) in self._queries

    def ask_names(self, peer: Peer, now: float, timeout_s: float) -> None:
        """Ask a peer which nodes it knows, only for the benefit of `on_nodes`."""
        if self.awaits(peer):
            return
        query = _Query(peer, now + timeout_s)
        if self._queries.put(query.key, query):
            self._ask(query, now)

    def handle_response(self, peer: Peer, told: Told, now: float) -> None:
        """A page came."""
        payload: ListNodesPayload = told.content
        note_list(peer, told)
        evidence, is_doubted = of_list(peer, told)
        if is_doubted:
            self._state.counters.drop("node_list_unvouched")
            return
        is_of_servers = payload.servers is not UNSET and (peer.node_id, True) in self._queries
        is_awaited = not is_of_servers and self.on_list(peer, payload, now)
        query = self._queries.get((peer.node_id, is_of_servers))
        if query is None and is_awaited:
            return
        if query is None or payload.page < 0 or payload.page in query.pages:
            self._state.counters.drop("node_list_unasked")
            return
        nodes = tuple(
            _as_node(node, node_id)
            for node in payload.nodes
            if (node_id := canonical_id(node.id or node.node_id)) is not None
        )
        listed = self._servers_in(payload) if is_of_servers else nodes
        if listed is None:
            return
        # Empty pages count too: they could go on for ever.
        query.size += max(len(listed), len(payload.nodes), 1)
        if query.size > MAX_NODES:
            self._state.counters.drop("node_list_too_long")
            return
        query.pages.put(payload.page, listed)
        if not is_of_servers:
            self.on_nodes(peer, nodes, now, evidence)
        if not payload.more:
            query.last_page = payload.page
        if query.is_complete:
            self._finish(query)

    def _servers_in(self, payload: ListNodesPayload) -> tuple[ListedServer, ...] | None:
        assert payload.servers is not UNSET
        try:
            listed: list[ListedServer] = decode_payload(payload.servers, _SERVERS)
        except MalformedError:
            self._state.counters.drop("servers_malformed")
            return None
        return tuple(one for one in listed if canonical_id(one.id) is not None)


def _as_node(received: ReceivedListedNode, node_id: str) -> NodeInfo:
    node = NodeInfo(
        id=node_id,
        node_id=node_id,
        name=received.name or node_id[:8],
        version=received.version or "unknown",
        listen_addr=received.listen_addr or "",
        capabilities=tuple(received.capabilities),
        metadata=received.metadata,
        network_id=received.network_id or DEFAULT_NETWORK_ID,
    )
    holder = canonical_id(received.server) if isinstance(received.server, str) else None
    return node if holder is None else held_by(holder, node)
