"""The JSON messages as typed values: the envelope, and one payload class a message type.

Classes that are only received are lenient where deployed programs differ (`id` or `node_id`).
"""

from typing import Annotated, Any, Final, TypeAlias

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from p2ptui.wire.offer import TraversalOffer

MAX_ID_LENGTH: Final = 64
"""A message id is an opaque key of at most this many characters."""

MAX_SEQUENCE_NUMBER: Final = 2**32 - 1

NULL: Final = Raw(b"null")

DEFAULT_NETWORK_ID: Final = "p2p_default"
"""The network of a peer that names none."""

DEFAULT_MAX_HOPS: Final = 8
"""Of a routed message that names no limit."""

MessageId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
SequenceNumber: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_SEQUENCE_NUMBER)]
UnixSeconds: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
Byte: TypeAlias = Annotated[int, Meta(ge=0, le=255)]


class MessageType:
    """The names that `message_type` may have; a plain string on the wire."""

    HANDSHAKE_REQUEST: Final = "HandshakeRequest"
    HANDSHAKE_RESPONSE: Final = "HandshakeResponse"
    PING: Final = "Ping"
    PONG: Final = "Pong"
    DISCOVERY_REQUEST: Final = "DiscoveryRequest"
    DISCOVERY_RESPONSE: Final = "DiscoveryResponse"
    DATA: Final = "Data"
    ERROR: Final = "Error"
    DISCONNECT: Final = "Disconnect"
    ACK: Final = "Ack"
    RETRANSMIT: Final = "Retransmit"
    LIST_NODES_REQUEST: Final = "ListNodesRequest"
    LIST_NODES_RESPONSE: Final = "ListNodesResponse"
    P2P_CONNECT: Final = "P2PConnect"
    RELAY_REQUEST: Final = "RelayRequest"
    RELAY_RESPONSE: Final = "RelayResponse"
    RELAY_DATA: Final = "RelayData"
    DISCOVERY_UPDATE: Final = "DiscoveryUpdate"
    """Extension: who joined and who left, for peers that announced `peer_updates`."""
    STUN_PARTNER: Final = "StunPartner"
    """Extension, for peers that announced `stun`, as the next two: its STUN ports."""
    STUN_DELEGATION: Final = "StunDelegation"
    STUN_DELEGATED: Final = "StunDelegated"
    NAT_PROBE_REQUEST: Final = "NatProbeRequest"
    """Extension, for peers that announced `nat_probe`, as the next three."""
    NAT_PROBE_REPORT: Final = "NatProbeReport"
    NAT_PROBE: Final = "NatProbe"
    NAT_PROBE_SENT: Final = "NatProbeSent"
    RECEIVE_WINDOW: Final = "ReceiveWindow"
    """Extension, for peers that announced `receive_window`: what the readers have room for."""
    SEQUENCE_SKIP: Final = "SequenceSkip"
    """Extension, for peers that announced `sequence_skip`: numbers that will not come."""
    RELAY_CHECK: Final = "RelayCheck"
    """Extension, for peers that announced `relay_check`: is the other end behind it too?"""
    PRESENCE: Final = "Presence"
    """Extension, for servers that announced `cluster`: this one holds my session, signed."""
    SERVERS: Final = "Servers"
    """Extension, for who has sent a `Presence`: the other servers of the network."""


class Capability:
    """What a node announces in its handshake; an extension goes only to those that named it."""

    HANDSHAKE: Final = "handshake"
    DISCOVERY: Final = "discovery"
    DATA_TRANSFER: Final = "data_transfer"
    ROUTING: Final = "routing"
    """Looks at `destination_node` of routed messages, forwards them and answers inside them."""
    FRAGMENTS: Final = "fragments"
    """Reassembles binary fragments and reports them selectively."""
    RETRANSMIT: Final = "retransmit"
    """Numbers what needs an Ack without holes, asks for gaps and serves such requests."""
    PEER_UPDATES: Final = "peer_updates"
    """Understands DiscoveryUpdate."""
    RELAY_FRAMES: Final = "relay_frames"
    """Understands relayed datagrams; where it is a server, passes traversal offers on."""
    RELAY: Final = "relay"
    """A server that relays datagrams between its peers."""
    RELAY_SEALED: Final = "relay_sealed"
    """Relays the frames of secured sessions between two others, too."""
    NAT_PROBE: Final = "nat_probe"
    """Arranges and sends probes that show another node what its NAT lets in."""
    RECEIVE_WINDOW: Final = "receive_window"
    """Says when its readers have no room, and waits when it is told so."""
    SEQUENCE_SKIP: Final = "sequence_skip"
    """Takes no number far beyond the last one, unless it is told that those between are skipped."""
    RELAY_CHECK: Final = "relay_check"
    """Lets its relayed sessions go by way of any server that both ends have joined."""
    PATH_PROBE: Final = "path_probe"
    """Answers probes of the path's size, and takes messages whose fragments are cut anew."""
    NO_ECHO: Final = "no_echo"
    """Expects no echo of its Data, and sends none to its like: an Ack tells as much."""
    STUN: Final = "stun"
    """Answers STUN on the socket of its messages, and can be another node's STUN partner."""
    KEEPALIVE: Final = "keepalive"
    """Answers keepalives, at once and once more later."""
    FILES: Final = "files"
    """Keeps files that are sent to it, and tells their sender what became of them."""
    CLUSTER: Final = "cluster"
    """A server that shares its network with others, and wants to know whose home it is."""


OWN_CAPABILITIES: Final = (
    Capability.HANDSHAKE,
    Capability.DISCOVERY,
    Capability.DATA_TRANSFER,
    Capability.ROUTING,
    Capability.FRAGMENTS,
    Capability.RETRANSMIT,
    Capability.PEER_UPDATES,
    Capability.NAT_PROBE,
    Capability.RELAY_FRAMES,
    Capability.RECEIVE_WINDOW,
    Capability.SEQUENCE_SKIP,
    Capability.KEEPALIVE,
    Capability.RELAY_CHECK,
    Capability.PATH_PROBE,
)


class ErrorCode:
    """Stable values of `code` in an Error."""

    UNAUTHENTICATED: Final = "unauthenticated"
    UNKNOWN_TYPE: Final = "unknown_type"
    BAD_PAYLOAD: Final = "bad_payload"
    PEER_NOT_FOUND: Final = "peer_not_found"
    NO_ROUTE: Final = "no_route"
    TOO_LARGE: Final = "too_large"
    NO_ROOM: Final = "no_room"
    GONE: Final = "gone"


class Envelope(Struct):
    """One message. The payload stays raw until its type is known.

    `sender_addr` is UNSET when the key is absent: whether it is there tells
    the reference's dialect from the spec's.
    """

    id: MessageId
    message_type: Annotated[str, Meta(min_length=1, max_length=64)]
    timestamp: UnixSeconds
    payload: Raw = NULL
    sequence_number: SequenceNumber | None = None
    requires_ack: bool = False
    ack_for: Annotated[int, Meta(ge=0)] | Annotated[str, Meta(max_length=MAX_ID_LENGTH)] | None = (
        None
    )
    sender_addr: str | UnsetType | None = UNSET

    @property
    def speaks_reference(self) -> bool:
        """Whether an Ack of this message names its id rather than its sequence number."""
        return self.sender_addr is not UNSET or self.sequence_number is None


class ReceivedNodeInfo(Struct):
    """Who a peer says it is, in either form; see `core.sessions.handshake` for what is accepted."""

    id: str | None = None
    node_id: str | None = None
    name: str | None = None
    version: str | None = None
    listen_addr: str | None = None
    capabilities: list[str] = []
    metadata: dict[str, str] = {}
    network_id: str | None = None
    continues: str | UnsetType = UNSET


class NodeInfo(Struct, frozen=True, kw_only=True, gc=False):
    """The description of a node: the union of the spec's and the reference's form."""

    id: str
    """Its id; `node_id` is the same, for programs that look there."""
    node_id: str
    """As `id`."""
    name: str
    """Its own name: remote text."""
    version: str
    """The version of its program."""
    listen_addr: str
    """Where it listens; in a list, where the server sees it: remote text."""
    capabilities: tuple[str, ...] = ()
    """The extensions that it announces."""
    metadata: dict[str, str] = {}
    """Further facts about the node: remote text."""
    network_id: str = DEFAULT_NETWORK_ID
    """Its network."""


class ListedNode(NodeInfo, frozen=True, kw_only=True):
    """A node in the list of a server of a cluster, to who asked for holders."""

    server: str
    """Id of the other server that holds it; the teller's own nodes have none."""


class HandshakeRequestPayload(NodeInfo, frozen=True, kw_only=True):
    """What opens a session: a NodeInfo, padded so that the answer fits three times its bytes."""

    continues: str | UnsetType = UNSET
    """The id of the other side's handshake message in the session that this one takes up: proof
    that it is the same node, at whatever address."""
    exchange: str | UnsetType = UNSET
    """Offers a key exchange: its pattern's name and its first message; see `core.secure`."""
    retry: str | UnsetType = UNSET
    """What the other side asked for under load: it shows that this one receives at its address."""
    padding: str = ""


class HandshakeResponsePayload(Struct, kw_only=True):
    """The answer to a HandshakeRequest, and its Ack."""

    node_info: NodeInfo
    success: bool
    error_message: str | None = None
    public_addr: str | None = None


class ExchangeResponsePayload(Struct, kw_only=True):
    """The answer to a request with a key exchange: who answers is inside."""

    node_info: dict[str, str]
    """The id alone."""
    success: bool
    public_addr: str | None = None
    exchange: str
    """The second message of the exchange."""


class RetryPayload(Struct, kw_only=True):
    """Too many key exchanges are asked for: come again with this token, and cost nothing before."""

    success: bool
    error_message: str
    retry: str


class RefusedExchangePayload(Struct, kw_only=True):
    """What was inside the last message of a key exchange is refused."""

    success: bool
    error_message: str
    refuses: str
    """What was inside the second message, so that nobody else can write this."""
    reason: str | UnsetType = UNSET
    """By which rule."""


class RefusedOfferPayload(Struct, kw_only=True):
    """A key exchange is refused, by a rule that the other side knows the name of."""

    success: bool
    error_message: str
    reason: str


class ReceivedHandshakeResponse(Struct):
    """A HandshakeResponse as received."""

    success: bool
    node_info: ReceivedNodeInfo | None = None
    error_message: str | None = None
    public_addr: str | None = None
    exchange: str | UnsetType = UNSET
    refuses: str | UnsetType = UNSET
    retry: str | UnsetType = UNSET
    reason: Any = UNSET
    """By which rule a node of ours refuses, for its like; a free key to all others."""


class PeerInfo(Struct, frozen=True):
    """One entry of a peer list."""

    id: str
    addr: str
    last_seen: int = 0
    capabilities: tuple[str, ...] = ()
    name: Any = UNSET
    """Extension, to peers that announced `peer_updates`: how the node is called. A free key, so
    that anything may stand there; `told_name` reads it."""


class DiscoveryUpdatePayload(Struct):
    """Who joined and who left since the last update."""

    joined: list[PeerInfo] = []
    left: list[str] = []


class DiscoveryRequestPayload(Struct):
    """The object form of a DiscoveryRequest."""

    network_id: str | None = None
    handshake: str | UnsetType = UNSET
    """Id of a handshake message of the receiver's in this session: nobody else could know it, so
    that the list goes to who asked."""


class ListNodesRequestPayload(Struct):
    """What our own nodes ask for a node list with; deployed programs send none."""

    handshake: str | UnsetType = UNSET
    """As in a DiscoveryRequest."""
    holders: Any = UNSET
    """To servers that announced `cluster`: true has them say which other server holds a node."""
    servers: Any = UNSET
    """To the same: true asks for the servers in place of the nodes."""


class ReceivedListedNode(ReceivedNodeInfo):
    """An entry of a node list as received."""

    server: Any = UNSET
    """As `ListedNode.server`, from a server of a cluster; from others a free key."""


class ListNodesPayload(Struct):
    """A page of the node list: pages count from 0, the last one (or the only one) has no more."""

    nodes: list[ReceivedListedNode]
    page: int = 0
    more: bool = False
    servers: Raw | UnsetType = UNSET
    """Extension, to who asked for them: `ListedServer`s, and no nodes. What others write there
    means nothing, and is not looked at."""


class ListedServer(Struct, frozen=True, omit_defaults=True):
    """A server of a cluster, as one of them describes it."""

    id: Annotated[str, Meta(max_length=MAX_ID_LENGTH)]
    """Its id."""
    name: str = ""
    """Its name: remote text."""
    address: str = ""
    """Where clients reach it; empty if it does not say."""
    peers: Annotated[int, Meta(ge=0)] | None = None
    """The number of its peers; None if the server that was asked does not know."""
    draining: bool = False
    """Whether it is going down."""
    linked: bool | None = None
    """For the server that was asked: whether its link to the broker is up."""
    linked_s: float | None = None
    """For the same: since when, seconds."""
    heard_s: float | None = None
    """For the other servers: how long ago the one that was asked heard from it, seconds."""
    rtt_ms: float | None = None
    """For the other servers: the round trip through the broker."""


class PingPayload(Struct):
    """What our own Pings carry, so that a Pong proves its way and times itself."""

    nonce: str = ""


class RoutedPayload(Struct):
    """A message on its way to another node, inside the payload of Data."""

    original_message: Raw
    source_node: str
    destination_node: str
    hop_count: Annotated[int, Meta(ge=0, le=255)]
    max_hops: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    route_id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]


ROUTED_KEY: Final = "original_message"
"""The key by which a Data payload is known as a routed message, whatever else it holds."""


class ReceivedRoutedPayload(Struct):
    """The same as received: what can be told without a key may be missing."""

    original_message: Raw
    destination_node: str
    route_id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
    source_node: Any = None
    """At hop 0 nobody looks at it: the session says who the source is."""
    hop_count: Annotated[int, Meta(ge=0, le=255)] = 0
    max_hops: Annotated[int, Meta(ge=0, le=2**32 - 1)] = DEFAULT_MAX_HOPS


class DataKeys(Struct):
    """The keys that give a Data payload a meaning; absent ones are UNSET."""

    original_message: Raw | UnsetType = UNSET
    echo: Raw | UnsetType = UNSET
    routes: Raw | UnsetType = UNSET
    cmd: Raw | UnsetType = UNSET


class RouteEntry(Struct, frozen=True):
    """One route."""

    destination: str
    """The id of the node that it leads to."""
    next_hop: str
    """The id of the peer that comes next; the same if the node is a peer itself."""
    distance: int
    """Hops."""


class RoutesPayload(Struct):
    """A page of the answer to `get_routes`."""

    routes: list[RouteEntry] = []
    page: int = 0
    more: bool = False


SealedText = Annotated[str, Meta(max_length=16_384)]
"""As long as the largest offer is when it is sealed."""


class P2PConnectPayload(Struct, omit_defaults=True):
    """With `peer_addr` an introduction, without it the request for one."""

    peer_id: str
    peer_addr: str | None = None
    nat_type: str | None = None
    predicted_ports: list[Port] | None = None
    public_addr: str | None = None
    peer_nat_type: str | None = None
    peer_predicted_ports: list[Port] | None = None
    peer_public_addr: str | None = None
    peer_name: str | None = None
    peer_capabilities: list[str] | None = None
    offer: TraversalOffer | None = None
    """Extension, to a server that announced `relay_frames`; as the next one."""
    peer_offer: TraversalOffer | None = None
    sealed_offer: SealedText | None = None
    """Extension, to a server that is spoken to under seal: an offer that only its receiver reads.
    As the next two."""
    peer_sealed_offer: SealedText | None = None
    peer_keys: Annotated[str, Meta(max_length=128)] | None = None
    """The public keys of the node that is named, X25519 and Ed25519, as base64url: its id is made
    of them."""
    peer_boot: Annotated[str, Meta(max_length=32)] | None = None
    """What that node made when it started, in hexadecimal: an offer for it names this."""
    handshake: str | UnsetType = UNSET
    """Extension, of an introduction: as in `ReceiveWindowPayload`. Only the server that this node
    has joined could know it."""


class RelayRequestPayload(Struct):
    """Bytes for another peer of the server, as the reference writes them: integers."""

    target_peer_id: str
    data: list[Byte]
    request_id: MessageId | UnsetType = UNSET
    """Extension: comes back in the response, since responses may be lost or overtake."""


class ReceivedRelayRequest(Struct):
    """The same as received, with its bytes unread."""

    target_peer_id: str
    data: Raw
    request_id: MessageId | UnsetType = UNSET


class RelayedText(Struct):
    """A RelayRequest, as far as a server needs it."""

    target_peer_id: str
    written: bytes
    """The list of integers, as JSON."""
    request_id: str | None


class RelayDataPayload(Struct):
    """Relayed bytes as they reach their target."""

    from_peer_id: str
    data: list[Byte]


def relay_data_payload(sender_id: str, written: bytes) -> bytes:
    """A RelayDataPayload as JSON.

    Args:
        sender_id: Whose bytes they are; an id in canonical form.
        written: As `RelayedText` has them.
    """
    return b'{"from_peer_id":"%b","data":%b}' % (sender_id.encode("ascii"), written)


class RelayResponsePayload(Struct, omit_defaults=True):
    """Whether a RelayRequest was taken."""

    success: bool
    error_message: str | None = None
    request_id: MessageId | UnsetType = UNSET
    target_id: MessageId | UnsetType = UNSET
    """Extension: whom a relayed datagram was for that was refused."""
    code: MessageId | UnsetType = UNSET
    """Extension: the reason in one stable word."""


class ErrorPayload(Struct, omit_defaults=True):
    """A refusal in words and, from us, with a stable code."""

    error: str = ""
    code: str | None = None
    sequence_number: int | None = None
    target: str | None = None
    route_id: str | None = None
    """Of the routed message that is refused: only who sent it, or handed it on, knows it."""


class DisconnectPayload(Struct):
    """A goodbye; from us with the id of a handshake message, which nobody else could know."""

    reason: str = ""
    handshake: str | UnsetType = UNSET
    servers: Raw | UnsetType = UNSET
    """Extension, under seal, to who has sent a `Presence`: where to go, as `OtherServers`. What
    others write there means nothing, and is not looked at."""


MAX_OTHER_SERVERS: Final = 16
"""So many others a server names at most: they fit two datagrams, whatever they are called."""


class OtherServer(Struct, frozen=True, order=True):
    """Another server of the network; its session has to be under seal, by the keys of its id."""

    id: Annotated[str, Meta(max_length=MAX_ID_LENGTH)]
    address: Annotated[str, Meta(max_length=64)]


OtherServers: TypeAlias = Annotated[list[OtherServer], Meta(max_length=MAX_OTHER_SERVERS)]


class PresencePayload(Struct):
    """A node says that this server holds its session, and is the one to reach it by."""

    counter: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    """Of what a node has said, the highest counts: see `secure.presence`."""
    signature: Annotated[str, Meta(min_length=86, max_length=86)]
    """By its Ed25519 key: 64 bytes as base64url."""


class ServersPayload(Struct):
    """The other servers of the network, in the order in which they are to be tried."""

    servers: OtherServers
    counter: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    """Of the Presence that it answers; 0 for news."""
    signature: Annotated[str, Meta(min_length=86, max_length=86)] | UnsetType = UNSET
    """The Presence that came is older than this one, which the receiver has signed in a former run:
    it goes on from there."""


class RetransmitPayload(Struct):
    """Asks for one message again."""

    sequence_number: SequenceNumber
    lost_track: bool | UnsetType = UNSET
    """Between nodes that announced `sequence_skip`: numbers come that are far from this one, which
    is expected next."""
    handshake: str | UnsetType = UNSET
    """As in a DiscoveryRequest."""


class ReceiveWindowPayload(Struct):
    """For how many bytes of your Data there is room with the readers here."""

    handshake: str
    """Id of a handshake message of the receiver's in this session: nobody else could know it."""
    number: Annotated[int, Meta(ge=1, le=MAX_SEQUENCE_NUMBER)]
    """Counts up, so that a late one is known."""
    room: Annotated[int, Meta(ge=0, le=MAX_SEQUENCE_NUMBER)]
    """Bytes; 0 when there is none for the next message."""


class SequenceSkipPayload(Struct):
    """The numbers before this one that have not come will not come."""

    handshake: str
    """As in `ReceiveWindowPayload`."""
    number: Annotated[int, Meta(ge=1, le=MAX_SEQUENCE_NUMBER)]
    """Counts up within a session, so that an old one that is sent again moves nothing."""
    sequence_number: SequenceNumber
    """What the sender's next new message will have."""


class RelayCheckPayload(Struct, omit_defaults=True):
    """Asks, by way of one server, whether the other end of a relayed session is behind it too.

    The server could write both question and answer itself. So each names the handshake message of
    the session that came from the other end: only the two ends know both.
    """

    nonce: MessageId
    """Comes back in the answer."""
    handshake: MessageId
    """Id of the handshake message that came from the receiver."""
    answer: bool = False
    use: bool = False
    """Whether the session goes by way of this server from now on, at both ends."""


Tag: TypeAlias = Annotated[str, Meta(max_length=24)]
"""Of a probe: a STUN transaction id in hexadecimal digits."""


class NatProbeRequestPayload(Struct):
    """Have a peer send one datagram to whoever sends this tag; or how far is that?"""

    tag: Tag


class NatProbeReportPayload(Struct):
    """Whether there is a peer that can, and how many probes it has sent."""

    tag: Tag
    has_helper: bool
    sent: int = 0
    helper: str | None = None
    """Where that peer is: whoever depends on it does not want it to send unasked."""


class NatProbePayload(Struct):
    """Send one probe with this tag to this address, which has asked for it."""

    tag: Tag
    address: str


class NatProbeSentPayload(Struct):
    """It was sent."""

    tag: Tag
