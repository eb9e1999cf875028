"""The JSON messages as typed values: the envelope, and one payload class per message type.

Classes for messages that are only received are lenient where deployed programs differ (`id` or
`node_id`).
"""

from typing import Annotated, Any, Final, TypeAlias

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from p2ptui.wire.offer import TraversalOffer

MAX_ID_LENGTH: Final = 64
"""A message id is an opaque key of at most this many characters."""

MAX_SEQUENCE_NUMBER: Final = 2**32 - 1

NULL: Final = Raw(b"null")

DEFAULT_NETWORK_ID: Final = "p2p_default"
"""The network of a peer that does not name one."""

DEFAULT_MAX_HOPS: Final = 8
"""For a routed message that sets no limit."""

MessageId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
SequenceNumber: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_SEQUENCE_NUMBER)]
UnixSeconds: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
Byte: TypeAlias = Annotated[int, Meta(ge=0, le=255)]


class MessageType:
    """The values of `message_type`; a plain string on the wire."""

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
    """Extension, for peers that announced `stun`, as are the next two: the sender's STUN ports."""
    STUN_DELEGATION: Final = "StunDelegation"
    STUN_DELEGATED: Final = "StunDelegated"
    NAT_PROBE_REQUEST: Final = "NatProbeRequest"
    """Extension, for peers that announced `nat_probe`, as are the next three."""
    NAT_PROBE_REPORT: Final = "NatProbeReport"
    NAT_PROBE: Final = "NatProbe"
    NAT_PROBE_SENT: Final = "NatProbeSent"
    RECEIVE_WINDOW: Final = "ReceiveWindow"
    """Extension, for peers that announced `receive_window`: how much room the readers have."""
    SEQUENCE_SKIP: Final = "SequenceSkip"
    """Extension, for peers that announced `sequence_skip`: numbers that will not come."""
    RELAY_CHECK: Final = "RelayCheck"
    """Extension, for peers that announced `relay_check`: is the other end behind this server too?
    """
    PRESENCE: Final = "Presence"
    """Extension, for servers that announced `cluster`: a signed statement that this one holds my
    session.
    """
    SERVERS: Final = "Servers"
    """Extension, for nodes that sent a `Presence`: the other servers of the network."""


class Capability:
    """What a node announces in its handshake; an extension goes only to peers that announced it."""

    HANDSHAKE: Final = "handshake"
    DISCOVERY: Final = "discovery"
    DATA_TRANSFER: Final = "data_transfer"
    ROUTING: Final = "routing"
    """Looks at `destination_node` of routed messages, forwards them and answers inside them."""
    FRAGMENTS: Final = "fragments"
    """Reassembles binary fragments and reports them selectively."""
    RETRANSMIT: Final = "retransmit"
    """Numbers messages that need an Ack without gaps, asks for missing ones and serves such
    requests.
    """
    PEER_UPDATES: Final = "peer_updates"
    """Understands DiscoveryUpdate."""
    RELAY_FRAMES: Final = "relay_frames"
    """Understands relayed datagrams; a server with it passes traversal offers on."""
    RELAY: Final = "relay"
    """A server that relays datagrams between its peers."""
    RELAY_SEALED: Final = "relay_sealed"
    """Also relays the frames of secured sessions between two other nodes."""
    NAT_PROBE: Final = "nat_probe"
    """Arranges and sends probes that show another node what its NAT lets in."""
    RECEIVE_WINDOW: Final = "receive_window"
    """Says when its readers have no room, and waits when a peer says so."""
    SEQUENCE_SKIP: Final = "sequence_skip"
    """Accepts a number far beyond the last one only if it is told that those between are skipped.
    """
    RELAY_CHECK: Final = "relay_check"
    """Lets its relayed sessions go through any server that both ends have joined."""
    PATH_PROBE: Final = "path_probe"
    """Answers path size probes, and accepts messages whose fragments are cut anew."""
    NO_ECHO: Final = "no_echo"
    """Expects no echo of its Data, and sends none to peers that announce the same: an Ack says as
    much.
    """
    STUN: Final = "stun"
    """Answers STUN on its message socket, and can be another node's STUN partner."""
    KEEPALIVE: Final = "keepalive"
    """Answers keepalives, at once and once more later."""
    FILES: Final = "files"
    """Keeps files that are sent to it, and tells their sender what became of them."""
    CLUSTER: Final = "cluster"
    """A server that shares its network with other servers, and wants to know which nodes call it
    home.
    """


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

    `sender_addr` is UNSET when the key is absent: its presence tells the reference's dialect from
    the spec's.
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
    """Who a peer says it is, in either form; `core.sessions.handshake` decides what is accepted."""

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
    """Its id; repeated as `node_id` for programs that look there."""
    node_id: str
    """The same as `id`."""
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
    """A node in the list of a server of a cluster, for a requester that asked for holders."""

    server: str
    """Id of the other server that holds it; absent for the sender's own nodes."""


class HandshakeRequestPayload(NodeInfo, frozen=True, kw_only=True):
    """What opens a session: a NodeInfo, padded so that the answer has at most three times its
    bytes.
    """

    continues: str | UnsetType = UNSET
    """The id of the other side's handshake message in the session being resumed: proof that this is
    the same node, at whatever address.
    """
    exchange: str | UnsetType = UNSET
    """Offers a key exchange: its pattern's name and its first message; see `core.secure`."""
    retry: str | UnsetType = UNSET
    """The token that the other side asked for under load: proof that this node receives at its
    address.
    """
    padding: str = ""


class HandshakeResponsePayload(Struct, kw_only=True):
    """The answer to a HandshakeRequest, and its Ack."""

    node_info: NodeInfo
    success: bool
    error_message: str | None = None
    public_addr: str | None = None


class ExchangeResponsePayload(Struct, kw_only=True):
    """The answer to a request with a key exchange: the identity of the answering node is inside."""

    node_info: dict[str, str]
    """Only the id."""
    success: bool
    public_addr: str | None = None
    exchange: str
    """The second message of the exchange."""


class RetryPayload(Struct, kw_only=True):
    """Too many key exchanges are being asked for: come again with this token; nothing is computed
    before.
    """

    success: bool
    error_message: str
    retry: str


class RefusedExchangePayload(Struct, kw_only=True):
    """What was inside the last message of a key exchange is refused."""

    success: bool
    error_message: str
    refuses: str
    """The secret from inside the second message, so that nobody else can write this."""
    reason: str | UnsetType = UNSET
    """The rule that refused it."""


class RefusedOfferPayload(Struct, kw_only=True):
    """A key exchange is refused, by a rule whose name the other side knows."""

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
    """The rule by which one of our nodes refuses, for other nodes of ours; to all others a free
    key.
    """


class PeerInfo(Struct, frozen=True):
    """One entry of a peer list."""

    id: str
    addr: str
    last_seen: int = 0
    capabilities: tuple[str, ...] = ()
    name: Any = UNSET
    """Extension, to peers that announced `peer_updates`: the node's name. A free key, so anything
    may be there; `told_name` reads it.
    """


class DiscoveryUpdatePayload(Struct):
    """Who joined and who left since the last update."""

    joined: list[PeerInfo] = []
    left: list[str] = []


class DiscoveryRequestPayload(Struct):
    """The object form of a DiscoveryRequest."""

    network_id: str | None = None
    handshake: str | UnsetType = UNSET
    """Id of a handshake message that the receiver sent in this session: nobody else can know it, so
    the list goes only to the node that asked.
    """


class ListNodesRequestPayload(Struct):
    """How our own nodes ask for a node list; deployed programs send an empty payload."""

    handshake: str | UnsetType = UNSET
    """As in a DiscoveryRequest."""
    holders: Any = UNSET
    """For servers that announced `cluster`: true asks which other server holds each node."""
    servers: Any = UNSET
    """For the same servers: true asks for the servers instead of the nodes."""


class ReceivedListedNode(ReceivedNodeInfo):
    """An entry of a node list as received."""

    server: Any = UNSET
    """As `ListedNode.server`, from a server of a cluster; from others a free key."""


class ListNodesPayload(Struct):
    """A page of the node list: pages count from 0, and the last one (or the only one) has no
    `more`.
    """

    nodes: list[ReceivedListedNode]
    page: int = 0
    more: bool = False
    servers: Raw | UnsetType = UNSET
    """Extension, for requesters that asked for them: `ListedServer`s, and no nodes. What other
    programs put there means nothing, and is not read.
    """


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
    """What our own Pings carry, so that a Pong proves its path and times itself."""

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
"""The key that marks a Data payload as a routed message, whatever else it holds."""


class ReceivedRoutedPayload(Struct):
    """A routed message as received: fields that can be inferred may be missing."""

    original_message: Raw
    destination_node: str
    route_id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
    source_node: Any = None
    """Ignored at hop 0: the session says who the source is."""
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
    """The id of the next peer on the way; the same if the node is itself a peer."""
    distance: int
    """Hops."""


class RoutesPayload(Struct):
    """A page of the answer to `get_routes`."""

    routes: list[RouteEntry] = []
    page: int = 0
    more: bool = False


SealedText = Annotated[str, Meta(max_length=16_384)]
"""The size of the largest offer once it is sealed."""


class P2PConnectPayload(Struct, omit_defaults=True):
    """An introduction if it has `peer_addr`, otherwise the request for one."""

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
    """Extension, to a server that announced `relay_frames`; so is the next one."""
    peer_offer: TraversalOffer | None = None
    sealed_offer: SealedText | None = None
    """Extension, to a server with a secured session: an offer that only its receiver can read. So
    are the next two.
    """
    peer_sealed_offer: SealedText | None = None
    peer_keys: Annotated[str, Meta(max_length=128)] | None = None
    """The public keys of the named node, X25519 and Ed25519, as base64url: its id is made of them.
    """
    peer_boot: Annotated[str, Meta(max_length=32)] | None = None
    """What that node made when it started, in hexadecimal: an offer for the node names it."""
    handshake: str | UnsetType = UNSET
    """Extension, in an introduction: as in `ReceiveWindowPayload`. Only the server that this node
    has joined can know it.
    """


class RelayRequestPayload(Struct):
    """Bytes for another peer of the server, as the reference writes them: a list of integers."""

    target_peer_id: str
    data: list[Byte]
    request_id: MessageId | UnsetType = UNSET
    """Extension: comes back in the response, since responses may be lost or reordered."""


class ReceivedRelayRequest(Struct):
    """A RelayRequest as received, with its bytes not yet decoded."""

    target_peer_id: str
    data: Raw
    request_id: MessageId | UnsetType = UNSET


class RelayedText(Struct):
    """What a server needs of a RelayRequest."""

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
        sender_id: Id of the sender of the bytes, in canonical form.
        written: As in `RelayedText`.
    """
    return b'{"from_peer_id":"%b","data":%b}' % (sender_id.encode("ascii"), written)


class RelayResponsePayload(Struct, omit_defaults=True):
    """Whether a RelayRequest was accepted."""

    success: bool
    error_message: str | None = None
    request_id: MessageId | UnsetType = UNSET
    target_id: MessageId | UnsetType = UNSET
    """Extension: the target of a relayed datagram that was refused."""
    code: MessageId | UnsetType = UNSET
    """Extension: the reason in one stable word."""


class ErrorPayload(Struct, omit_defaults=True):
    """A refusal in words and, from us, with a stable code."""

    error: str = ""
    code: str | None = None
    sequence_number: int | None = None
    target: str | None = None
    route_id: str | None = None
    """Of the refused routed message: only its sender and the nodes that handed it on know it."""


class DisconnectPayload(Struct):
    """A goodbye; ours carries the id of a handshake message, which nobody else can know."""

    reason: str = ""
    handshake: str | UnsetType = UNSET
    servers: Raw | UnsetType = UNSET
    """Extension, under seal, to a node that sent a `Presence`: where to go, as `OtherServer`s. What
    other programs put there means nothing, and is not read.
    """


MAX_OTHER_SERVERS: Final = 16
"""Most other servers that a server names: they fit two datagrams, however long their names."""


class OtherServer(Struct, frozen=True, order=True):
    """Another server of the network; a session with it must be secured, by the keys of its id."""

    id: Annotated[str, Meta(max_length=MAX_ID_LENGTH)]
    address: Annotated[str, Meta(max_length=64)]


OtherServers: TypeAlias = Annotated[list[OtherServer], Meta(max_length=MAX_OTHER_SERVERS)]


class PresencePayload(Struct):
    """A node's statement that this server holds its session, and is the one to reach it through."""

    counter: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    """Of a node's statements, the one with the highest counter is valid: see `secure.presence`."""
    signature: Annotated[str, Meta(min_length=86, max_length=86)]
    """Made with the node's Ed25519 key: 64 bytes as base64url."""


class ServersPayload(Struct):
    """The other servers of the network, in the order in which to try them."""

    servers: OtherServers
    counter: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    """Of the Presence that this answers; 0 for news."""
    signature: Annotated[str, Meta(min_length=86, max_length=86)] | UnsetType = UNSET
    """Present if the Presence that came is older than this one, which the receiver signed in a
    former run: it continues from this counter.
    """


class RetransmitPayload(Struct):
    """Asks for one message again."""

    sequence_number: SequenceNumber
    lost_track: bool | UnsetType = UNSET
    """Between nodes that announced `sequence_skip`: numbers arrive that are far from this one, the
    next that is expected.
    """
    handshake: str | UnsetType = UNSET
    """As in a DiscoveryRequest."""


class ReceiveWindowPayload(Struct):
    """How many bytes of your Data the readers here have room for."""

    handshake: str
    """Id of a handshake message that the receiver sent in this session: nobody else can know it."""
    number: Annotated[int, Meta(ge=1, le=MAX_SEQUENCE_NUMBER)]
    """Counts up, so that a late message is recognized."""
    room: Annotated[int, Meta(ge=0, le=MAX_SEQUENCE_NUMBER)]
    """Bytes; 0 if there is no room for the next message."""


class SequenceSkipPayload(Struct):
    """Numbers below this one that have not arrived will not arrive."""

    handshake: str
    """As in `ReceiveWindowPayload`."""
    number: Annotated[int, Meta(ge=1, le=MAX_SEQUENCE_NUMBER)]
    """Counts up within a session, so that a replayed message has no effect."""
    sequence_number: SequenceNumber
    """The number of the sender's next new message."""


class RelayCheckPayload(Struct, omit_defaults=True):
    """Asks, through a server, whether the other end of a relayed session is behind that server too.

    The server could forge both question and answer. So each names the handshake message that came
    from the other end of the session: only the two ends know both.
    """

    nonce: MessageId
    """Comes back in the answer."""
    handshake: MessageId
    """Id of the session's handshake message that the receiver sent."""
    answer: bool = False
    use: bool = False
    """Whether the session goes through this server from now on, at both ends."""


Tag: TypeAlias = Annotated[str, Meta(max_length=24)]
"""Of a probe: a STUN transaction id in hexadecimal digits."""


class NatProbeRequestPayload(Struct):
    """Have a peer send one datagram to the sender of this tag; or say how many were sent."""

    tag: Tag


class NatProbeReportPayload(Struct):
    """Whether there is a peer that can send probes, and how many it has sent."""

    tag: Tag
    has_helper: bool
    sent: int = 0
    helper: str | None = None
    """Address of that peer, for a node that depends on it not sending unasked."""


class NatProbePayload(Struct):
    """Send one probe with this tag to this address, which asked for it."""

    tag: Tag
    address: str


class NatProbeSentPayload(Struct):
    """The probe was sent."""

    tag: Tag
