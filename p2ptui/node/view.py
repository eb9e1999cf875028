"""A peer as the outside sees it: a snapshot that stays what it was."""

from dataclasses import dataclass

from p2ptui.core.acquaintance import Judged
from p2ptui.core.addresses import path_at, visible_address
from p2ptui.core.connection import Connection, Method
from p2ptui.core.events import Path, PeerStatus
from p2ptui.core.peers import Peer, PeerTable
from p2ptui.secure.known_nodes import Trust
from p2ptui.wire.address import Address
from p2ptui.wire.message import NodeInfo


@dataclass(frozen=True, slots=True)
class PeerView:
    """One peer at the time of asking."""

    node_id: str
    """Canonical UUID; empty while its handshake has not told it."""
    name: str
    """Remote text: neutralise it before showing it."""
    address: Address
    """Where its datagrams go; if they are relayed, to this server."""
    status: PeerStatus
    path: Path
    connection: Connection
    """How the path was won, or why there is none."""
    version: str
    dialect: str
    """`spec` or `reference`: whose habits it has."""
    capabilities: tuple[str, ...]
    public_address: Address | None
    """This node's address as the peer saw it."""
    info: NodeInfo | None
    """All that it said of itself in its handshake: remote text."""
    initiated: bool
    """Whether this node asked for the session."""
    proved: bool
    """Whether the peer has shown that it receives at its address."""
    rtt_ms: float | None
    """The last round trip that was measured."""
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    retransmissions: int
    waiting: int
    """Messages of this node that it has not acknowledged yet."""
    last_received_ago_s: float
    connected_for_s: float
    datagram_bytes: int = 0
    """The largest datagram that the way to it is known, or supposed, to carry."""
    datagram_limit: int | None = None
    """Datagrams above this size were seen to vanish on the way to it; None if none were."""
    via_name: str = ""
    """While it is relayed, the name of the server: remote text."""
    secured: bool = False
    """Whether its id is that of keys that it has shown, and all that is said is sealed."""
    trust: Trust | None = None
    """What is known of who it is; None while its handshake has not told."""
    advice: str = ""
    """What happened to that and what to do, in a sentence; empty if there is nothing to do."""
    ephemeral: bool = False
    """Whether it says that its keys last no longer than it runs."""
    signer_id: str = ""
    """Of an ephemeral node: the id of its user's identity, by a statement that was checked."""


def judged_now(peer: Peer) -> Judged | None:
    """What is known of who a peer is; None while its handshake has not told."""
    judged = peer.facts.judged
    if judged is not None and judged.met.id != peer.node_id:
        return None  # that was another node at its address
    return judged


def trust_in(peer: Peer) -> Trust | None:
    """The same in a word, without a snapshot."""
    judged = judged_now(peer)
    return judged.judgement.trust if judged is not None else None


def view(peer: Peer, now: float, peers: PeerTable | None = None) -> PeerView:
    """Take a snapshot of `peer` at `now` (seconds); `peers` knows the name of who relays it."""
    rtt_s = peer.channel.rtt.latest
    info = peer.info
    datagram_bytes, datagram_limit = peer.channel.size_on_wire
    relayed = path_at(peer.sends_to) is Path.RELAY
    judged = judged_now(peer)
    met = judged.met if judged is not None else None
    server = peers.at(visible_address(peer.sends_to)) if relayed and peers is not None else None
    return PeerView(
        node_id=peer.node_id,
        name=peer.name,
        address=visible_address(peer.sends_to),
        status=peer.status,
        path=path_at(peer.sends_to),
        connection=peer.connection or Connection(Method.PLAIN),
        version=info.version if info is not None else "",
        dialect=peer.dialect.value,
        capabilities=info.capabilities if info is not None else (),
        public_address=peer.public_address,
        info=info,
        initiated=peer.initiated,
        proved=peer.proved,
        rtt_ms=None if rtt_s is None else rtt_s * 1000,
        messages_in=peer.messages_in,
        messages_out=peer.messages_out,
        bytes_in=peer.bytes_in,
        bytes_out=peer.bytes_out,
        retransmissions=peer.channel.retransmissions,
        waiting=peer.channel.waiting,
        last_received_ago_s=now - peer.last_received,
        connected_for_s=now - peer.created_at,
        datagram_bytes=datagram_bytes,
        datagram_limit=datagram_limit,
        via_name=server.name if server is not None and server.info is not None else "",
        secured=peer.is_secured,
        trust=judged.judgement.trust if judged is not None else None,
        advice=judged.judgement.advice if judged is not None else "",
        ephemeral=met is not None and met.ephemeral,
        signer_id=met.signer.id if met is not None and met.signer is not None else "",
    )
