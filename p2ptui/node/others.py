"""Nodes without a session: those that a server introduced, those behind a peer, and those that have
a session with another server of the network.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, TypeAlias

from p2ptui.core.endpoint import Endpoint
from p2ptui.core.identity import told_name
from p2ptui.core.mesh.evidence import Evidence
from p2ptui.core.peers import Foreign
from p2ptui.node.view import PeerView
from p2ptui.secure.identity import PublicKeys
from p2ptui.wire.address import Address


@dataclass(frozen=True, slots=True)
class OtherNode:
    """A node without a session: a server introduced it, a route leads to it, or it is at another
    server of the cluster."""

    node_id: str
    """A UUID in its canonical form."""
    name: str
    """Remote text; empty if it is not known."""
    address: Address | None
    """Where a server says that it is."""
    via: str
    """The id of the server that introduced it or that it is at, or of the next hop on the route."""
    hops: int
    """The number of hops to it."""
    capabilities: tuple[str, ...]
    """The extensions that it has announced, as far as they are known."""
    via_name: str = ""
    """The name of the node in `via`: remote text."""
    messages_in: int = 0
    """Messages from it, inside routed messages."""
    messages_out: int = 0
    """Messages to it, inside routed messages."""
    rtt_ms: float | None = None
    """The last measured round trip."""
    last_received: float | None = None
    """The time of its last message, seconds on the node's clock; None if there was none."""
    last_received_ago_s: float | None = None
    """Seconds since its last message; None if there was none."""
    earlier_name: str = ""
    """Its former name, if nobody vouches for the change: it can still be named so."""
    is_claim: bool = False
    """Whether it is known only from a source that may have made it up."""
    known_since: float = 0.0
    """When it became known, seconds on the node's clock."""
    keys: PublicKeys | None = None
    """The public keys that it has shown through others; its id is made from them."""

    is_elsewhere: bool = False
    """Whether it is at another server of the cluster that this node belongs to."""

    @property
    def secured(self) -> bool:
        """Whether messages to it through others are encrypted from end to end."""
        return self.keys is not None

    @property
    def introduced(self) -> bool:
        """Whether it can be tried directly; otherwise it is only reached through others."""
        return self.address is not None and not self.is_elsewhere


Known: TypeAlias = PeerView | OtherNode


def find_others(endpoint: Endpoint, now: float) -> Iterator[OtherNode]:
    """All other nodes, each once; introduced ones first, the latest before the others.

    Args:
        endpoint: The node's protocol.
        now: The time on its clock, seconds.
    """
    peers = endpoint.peers
    names: dict[str, str] = {}

    def name_of(node_id: str) -> str:
        if node_id not in names:
            peer = peers.with_id(node_id)
            names[node_id] = peer.name if peer is not None else ""
        return names[node_id]

    beyond = {
        node_id: route
        for node_id, route in endpoint.naming.beyond(now)
        if route.distance >= 2 and node_id != endpoint.identity.id
    }
    seen = {endpoint.identity.id}
    for entry in reversed(endpoint.introductions):
        if entry.expires <= now or entry.node_id in seen:
            continue
        seen.add(entry.node_id)
        if peers.authenticated(entry.node_id) is None:
            route = beyond.get(entry.node_id)
            told = route.name if route is not None else ""
            # A list may be vouched for; a node that makes introductions can write what it likes.
            is_same = not told or told_name(entry.name) == told
            node = OtherNode(
                entry.node_id,
                (entry.name or told) if is_same else told,
                entry.address,
                entry.server_id,
                1,
                entry.capabilities,
                name_of(entry.server_id),
                earlier_name=route.earlier_name if route is not None else "",
                is_claim=route is None or route.evidence is Evidence.HEARSAY,
                known_since=now if route is None else route.known_since,
            )
            yield _with_contact(endpoint, node, now)
    for node_id, route in beyond.items():
        if node_id not in seen and peers.authenticated(node_id) is None:
            node = OtherNode(
                node_id,
                route.name,
                None,
                route.next_hop,
                route.distance,
                route.capabilities,
                name_of(route.next_hop),
                earlier_name=route.earlier_name,
                is_claim=route.evidence is Evidence.HEARSAY,
                known_since=route.known_since,
            )
            yield _with_contact(endpoint, node, now)


SHOWN_ELSEWHERE: Final = 500
"""Nodes of other servers that a table names: a server that knows 200,000 shows some of them, and
how many there are.
"""

FITTING_AT_MOST: Final = 100
"""Nodes that fit what the user typed, at most: it is ambiguous anyway."""

ELSEWHERE_HOLDS_S: Final = 1.0


class NodesElsewhere:
    """Nodes held by other servers of the network, for a table: read once a second; if there are
    many, always the same ones as long as they are there.

    Args:
        endpoint: The node's protocol.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._found: dict[str, OtherNode] = {}
        self._found_at = -math.inf

    def look(self, now: float) -> Mapping[str, OtherNode]:
        """The nodes there are now, by their ids.

        Args:
            now: The time, seconds.
        """
        if now >= self._found_at + ELSEWHERE_HOLDS_S:
            self._found_at = now
            elsewhere, before = self._endpoint.elsewhere, self._found
            names = self._server_names(now)
            self._found = {}
            if not names:
                return self._found
            for node_id in before:
                self._add(elsewhere.holder(node_id), names)
            if len(self._found) < SHOWN_ELSEWHERE:
                for foreign in elsewhere.nodes():
                    self._add(foreign, names)
                    if len(self._found) >= SHOWN_ELSEWHERE:
                        break
        return self._found

    def with_id(self, node_id: str, now: float) -> OtherNode | None:
        """The node with an id in canonical form, whether a table names it or not."""
        foreign = self._endpoint.elsewhere.holder(node_id)
        if foreign is None or not self._is_elsewhere(foreign):
            return None
        return _other(foreign, self._server_names(now))

    def those(self, text: str, fits: Callable[[str, str], bool], now: float) -> list[OtherNode]:
        """The nodes that a text may mean, for a user's request; if there are many, the first
        hundred.

        Args:
            text: A name, or the beginning of an id.
            fits: Whether an id and a name match the text.
            now: The time, seconds.
        """
        if not text:
            return []
        names = self._server_names(now)
        fitting = (
            _other(foreign, names)
            for foreign in self._endpoint.elsewhere.nodes(text)
            if fits(foreign.node_id, foreign.name) and self._is_elsewhere(foreign)
        )
        return list(islice(fitting, FITTING_AT_MOST))

    def _server_names(self, now: float) -> dict[str, str]:
        return {server.id: server.name for server in self._endpoint.elsewhere.servers_told(now)}

    def _is_elsewhere(self, foreign: Foreign) -> bool:
        return self._endpoint.peers.authenticated(foreign.node_id) is None

    def _add(self, foreign: Foreign | None, names: Mapping[str, str]) -> None:
        if foreign is not None and self._is_elsewhere(foreign):
            self._found[foreign.node_id] = _other(foreign, names)


def _other(foreign: Foreign, names: Mapping[str, str]) -> OtherNode:
    return OtherNode(
        foreign.node_id,
        foreign.name,
        foreign.address,
        foreign.server_id,
        2,
        foreign.capabilities,
        names.get(foreign.server_id, ""),
        is_elsewhere=True,
    )


def _with_contact(endpoint: Endpoint, node: OtherNode, now: float) -> OtherNode:
    """The same node with its traffic counters, if anything was exchanged with it."""
    far = endpoint.far_seals.get(node.node_id, now)
    if far is not None:
        node = replace(node, keys=far.keys)
    contact = endpoint.naming.contact_with(node.node_id)
    if contact is None:
        return node
    return replace(
        node,
        messages_in=contact.messages_in,
        messages_out=contact.messages_out,
        rtt_ms=None if contact.rtt_s is None else contact.rtt_s * 1000,
        last_received=contact.last_received,
        last_received_ago_s=None if contact.last_received is None else now - contact.last_received,
    )
