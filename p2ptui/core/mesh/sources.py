"""Who wrote a routed message, and whether the node that forwards it may name that writer.

At hop 0 the writer is the node that hands the message over, whatever name it uses: `Routing` knows
that before it asks here. Every other `source_node` is judged here, except for what other servers
say: see `handed`. A name in a payload is only a claim. What arrives in a session is from its peer,
whatever the payload says. Nobody may speak in the name of a third node while that node has a
session here or with another server of the network. Otherwise a joined server may, and another peer
that forwards may only while nobody better knows the node.
"""

from msgspec import Struct

from p2ptui.core.mesh.evidence import Evidence, of_peer
from p2ptui.core.mesh.introduction import Introductions, Origin
from p2ptui.core.mesh.routes import RouteTable
from p2ptui.core.peers import Peer, is_claim
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address


class Writer(Struct, frozen=True):
    """Who wrote a routed message, and who handed it over. Only `Sources` makes one, and
    `FarMessages` notes in it that the writer's keys were proved."""

    origin: Origin
    node_id: str
    evidence: Evidence
    """Why it is believed to be from that node."""
    hops: int
    """How often it was forwarded before it came to the node that handed it over."""
    is_sealed: bool = False
    """Whether it was sealed from end to end, with the keys of the writer's id."""

    @property
    def is_second_hand(self) -> bool:
        """Whether another node handed it over."""
        return self.evidence is not Evidence.SESSION


class Sources:
    """Determines the writer of a routed message.

    Args:
        state: The shared state.
        table: Knows which servers list a node.
        introductions: Nodes that a server named.
    """

    def __init__(self, state: NodeState, table: RouteTable, introductions: Introductions) -> None:
        self._state = state
        self._table = table
        self._introductions = introductions

    def writer(self, origin: Origin, claimed: str | None, hops: int, now: float) -> Writer | None:
        """The writer of a message; None if the node that handed it over may not speak for that one.

        Args:
            origin: The node that handed it over.
            claimed: The id of the claimed writer.
            hops: How often it was forwarded before.
            now: The time, seconds.
        """
        peer = origin.peer
        if peer is None:
            return self._introduced(origin, claimed, hops)
        if claimed == origin.node_id:
            return Writer(origin, claimed, Evidence.SESSION, hops)
        if claimed is None or claimed == self._state.identity.id or hops == 0:
            return None
        evidence = self._evidence(origin, peer, claimed, now)
        return None if evidence is None else Writer(origin, claimed, evidence, hops)

    def _introduced(self, origin: Origin, claimed: str | None, hops: int) -> Writer | None:
        """An introduced address speaks only for its own node, and not while that has a session."""
        if hops == 0 and claimed == origin.introduced_by:
            claimed = origin.node_id
        if claimed != origin.node_id or self.has_session(claimed):
            return None
        return Writer(origin, claimed, Evidence.SESSION, hops)

    def _evidence(self, origin: Origin, peer: Peer, node_id: str, now: float) -> Evidence | None:
        """Why a message that a peer brings in a third node's name is believed; None: it is not."""
        # A peer that does not forward can only bring its own messages, and one that has not
        # proved its address may be anybody.
        if not peer.forwards:
            return None
        if self.has_session(node_id):
            return None
        evidence = of_peer(peer)
        if evidence > Evidence.HEARSAY:
            return evidence
        is_better_known = (
            self._state.peers.authenticated(node_id) is not None
            or not peer.purse.proved
            or self._is_listed_elsewhere(node_id, origin.node_id, now)
            or self._introductions.holds_for(node_id, now)
        )
        return None if is_better_known else evidence

    def has_session(self, node_id: str) -> bool:
        """Whether a node itself is in session, here or with another server of the network: then
        nobody else speaks for it."""
        node = self._state.find(node_id)
        return node is not None and not is_claim(node)

    def _is_listed_elsewhere(self, node_id: str, by: str, now: float) -> bool:
        """Whether a joined server has the node, and the route there does not go through `by`."""
        route = self._table.peek(node_id, now)
        if route is None or route.next_hop == by or route.is_doubted:
            return False
        if route.evidence in (Evidence.LISTED, Evidence.VOUCHED):
            return True
        hop = self._state.peers.authenticated(route.next_hop)
        return route.evidence is Evidence.ANSWERED and hop is not None and hop.is_joined_server


def told_from(teller: Peer | None, address: Address) -> Address | None:
    """The address to whose share of the table a route counts: none for reports of a server that
    this node chose.

    Args:
        teller: The peer that reports it.
        address: That peer's address.
    """
    return None if teller is not None and teller.is_joined_server else address
