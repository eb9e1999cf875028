"""A peer as seen from outside: a snapshot that does not change."""

from dataclasses import dataclass

from p2ptui.core.addresses import path_at, visible_address
from p2ptui.core.connection import Connection, Method
from p2ptui.core.events import Path, PeerStatus
from p2ptui.core.peers import Peer, PeerTable
from p2ptui.secure.known_nodes import Trust
from p2ptui.wire.address import Address
from p2ptui.wire.message import NodeInfo


@dataclass(frozen=True, slots=True)
class PeerView:
    """A snapshot of one peer."""

    node_id: str
    """A UUID in its canonical form; empty until the handshake."""
    name: str
    """Its own name. Remote text: neutralise it (`p2ptui.text.printable`) to show it."""
    address: Address
    """Where datagrams to it go; while it is relayed, the address of the server."""
    status: PeerStatus
    """How far its session is."""
    path: Path
    """Direct, or through a server."""
    connection: Connection
    """How the direct path was found, or why there is none."""
    version: str
    """The version of its program, as it says."""
    dialect: str
    """`spec`, or `reference` for clients of the Rust server."""
    capabilities: tuple[str, ...]
    """The extensions that it has announced."""
    public_address: Address | None
    """This node's own address as the peer sees it."""
    info: NodeInfo | None
    """Its description in its handshake: remote text."""
    initiated: bool
    """Whether this node asked for the session."""
    proved: bool
    """Whether the peer has shown that it receives at its address."""
    rtt_ms: float | None
    """The last measured round trip."""
    messages_in: int
    """Messages from it."""
    messages_out: int
    """Messages to it."""
    bytes_in: int
    """Bytes from it."""
    bytes_out: int
    """Bytes to it."""
    retransmissions: int
    """Datagrams to it that were sent again."""
    waiting: int
    """Messages to it that are not acknowledged yet."""
    last_received_ago_s: float
    """Seconds since its last datagram."""
    connected_for_s: float
    """Seconds since it appeared."""
    datagram_bytes: int = 0
    """The size of the largest datagram that data to it uses."""
    datagram_limit: int | None = None
    """The size above which datagrams to it were seen to vanish; None if none were."""
    via_name: str = ""
    """While it is relayed, the name of the server: remote text."""
    secured: bool = False
    """Whether it has shown the keys of its id, and everything is encrypted."""
    trust: Trust | None = None
    """How far its identity is known; None until the handshake."""
    advice: str = ""
    """What has changed and what to do about it, in a sentence; empty if there is nothing to do."""
    ephemeral: bool = False
    """Whether it says that its keys last only while it runs."""
    signer_id: str = ""
    """For an ephemeral node that has proved whose it is: the id of that user's lasting identity."""


def trust_in(peer: Peer) -> Trust | None:
    """The trust in a peer as a word, without a snapshot."""
    judged = peer.facts.judged_now
    return judged.judgement.trust if judged is not None else None


def view(peer: Peer, now: float, peers: PeerTable | None = None) -> PeerView:
    """Take a snapshot of `peer` at `now` (seconds); `peers` knows the name of the node that relays
    it.
    """
    rtt_s = peer.channel.rtt.latest
    info = peer.info
    datagram_bytes, datagram_limit = peer.channel.size_on_wire
    relayed = path_at(peer.sends_to) is Path.RELAY
    judged = peer.facts.judged_now
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
