"""The names of nodes behind servers: listed by our own kind, asked for elsewhere.

Programs of the reference's kind list ids and addresses only; they give names only in the answer to
a ListNodesRequest, which is the whole list. So these are asked rarely: when a person names a node
that nobody here knows, and, while a person watches, once in a while when nodes without a name have
turned up.
"""

import math
from collections.abc import Iterator
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.identity import told_name
from p2ptui.core.mesh.contacts import Contact
from p2ptui.core.mesh.discovery import MAX_LISTED
from p2ptui.core.mesh.evidence import Evidence
from p2ptui.core.mesh.queries import Queries
from p2ptui.core.mesh.routes import Route
from p2ptui.core.mesh.routing import Routing
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.wire.message import NodeInfo, PeerInfo

FIRST_PAUSE_S: Final = 0.5
"""Lists come in pages: names on the next page need not be asked for."""

ASK_EVERY_S: Final = 60.0
"""Unless a person asks, a node asks one server at most this often. An answer has about 200 bytes
for each node that the server knows, however few of them are new."""

JITTER: Final = 0.5
"""Up to this fraction is added, so that nodes told about the same newcomer do not all ask at
once."""

ANSWER_S: Final = 5.0

FRESH_S: Final = 2.0
"""A server asked for a person within this time is not asked again for the next name."""


class Naming:
    """Learns names.

    Args:
        state: The shared state.
        queries: Asks for lists.
        routing: Knows which nodes are behind which servers, and keeps the names.
        lifecycle: Reports servers that have left.
    """

    def __init__(
        self, state: NodeState, queries: Queries, routing: Routing, lifecycle: Lifecycle
    ) -> None:
        self._state = state
        self._queries = queries
        self._routing = routing
        self._asked_at: BoundedTable[str, float] = state.tables.add(
            "servers_asked_for_names", BoundedTable(state.most_peers)
        )
        """When each server was last asked, or will be; only servers with a session."""
        self.watched = False
        """Whether somebody looks at names: only then are they asked for without being needed."""
        queries.on_nodes = self._learn
        lifecycle.on_left.append(self._forget)

    def __len__(self) -> int:
        return len(self._asked_at)

    def handle_listed(
        self, peer: Peer, entries: tuple[PeerInfo, ...], now: float, _evidence: object = None
    ) -> None:
        """A peer lists others; a server that lists them without names will be asked."""
        if not (self.watched and peer.is_joined_server) or all(
            told_name(entry.name) for entry in entries
        ):
            return
        last = self._asked_at.get(peer.node_id, -math.inf)
        if last > now or not self._routing.has_unnamed(peer, now):
            return  # it will be asked anyway, or all have names
        earliest = max(now + FIRST_PAUSE_S, last + ASK_EVERY_S)
        due = earliest + (earliest - now) * self._state.rng.uniform(0.0, JITTER)
        self._asked_at.put(peer.node_id, due)
        self._state.timers.schedule(due, lambda at: self._ask(peer, at))

    def _forget(self, peer: Peer, _now: float) -> None:
        self._asked_at.pop(peer.node_id, None)

    def _ask(self, peer: Peer, now: float) -> None:
        if peer.is_authenticated and self._routing.has_unnamed(peer, now):
            self._queries.ask_names(peer, now, ANSWER_S)

    def note_planned(self, peer: Peer, due: float) -> None:
        """A server will be asked with `ask` at `due`, seconds: until then it need not be asked."""
        self._asked_at.put(peer.node_id, due)

    def ask(self, peer: Peer, now: float) -> None:
        """Ask a server which nodes it knows, whether names are missing or not."""
        self._asked_at.put(peer.node_id, max(now, self._asked_at.get(peer.node_id, now)))
        self._queries.ask_names(peer, now, ANSWER_S)

    def beyond(self, now: float) -> Iterator[tuple[str, Route]]:
        """The nodes that are reached through a peer, and how."""
        return self._routing.table.items(now)

    def contact_with(self, node_id: str) -> Contact | None:
        """What was exchanged with a node through others."""
        return self._routing.contacts.get(node_id)

    def name_of(self, node_id: str, now: float) -> str:
        """The name of a peer, or of a node behind one: remote text; empty if unknown."""
        peer = self._state.peers.with_id(node_id)
        if peer is not None:
            return peer.name
        route = self._routing.table.peek(node_id, now)
        return route.name if route is not None else ""

    def servers_to_ask(self, now: float) -> list[Peer]:
        """The joined servers that may know a name that is unknown here; they count as asked."""
        found = []
        for peer in self._state.peers.initiated:
            last = self._asked_at.get(peer.node_id, -math.inf)
            if not peer.is_joined_server:
                continue
            if self._queries.awaits(peer) or not now - FRESH_S < last <= now:
                found.append(peer)
                if last <= now:
                    self._asked_at.put(peer.node_id, now)
        return found

    def _learn(
        self, peer: Peer, nodes: tuple[NodeInfo, ...], now: float, evidence: Evidence
    ) -> None:
        own_id = self._state.identity.id
        entries = tuple(
            PeerInfo(node.id, node.listen_addr, 0, node.capabilities, node.name)
            for node in nodes[:MAX_LISTED]
            if node.id != own_id
        )
        self._routing.learn_listed(peer, entries, now, evidence)
