"""What the core tells the outside: frozen values, with docstrings for fields that need them."""

import enum
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self, TypeAlias

from p2ptui.core.acquaintance import TrustChanged as TrustChanged
from p2ptui.core.encoded import Encoded as Encoded
from p2ptui.core.listed import NodeList as NodeList
from p2ptui.core.listed import ServerList as ServerList
from p2ptui.core.peer_status import GOES_ON_AT as GOES_ON_AT
from p2ptui.core.peer_status import REACHED_AT as REACHED_AT
from p2ptui.core.peer_status import PeerStatus as PeerStatus
from p2ptui.core.peer_status import PeerStatusChanged as PeerStatusChanged
from p2ptui.core.policy import PeerRefused as PeerRefused
from p2ptui.core.traced import Direction as Direction
from p2ptui.core.traced import MessageTraced as MessageTraced
from p2ptui.errors import P2PError
from p2ptui.interpreted import interpreted
from p2ptui.nat.stun_server import Place
from p2ptui.wire.address import Address
from p2ptui.wire.message import PeerInfo, RouteEntry


class Path(enum.Enum):
    """How datagrams reach a node."""

    DIRECT = "direct"
    """Straight to it."""
    RELAY = "relay"
    """Through another node, which forwards them."""


class SendStatus(enum.Enum):
    """What became of a message."""

    DELIVERED = "delivered"
    """The receiver acknowledged it: it waits in the queue of each reader there, or has reached the
    node if nobody reads."""
    SENT = "sent"
    """It was sent; no acknowledgement was requested."""
    UNCONFIRMED = "unconfirmed"
    """It was sent once, to a receiver of a kind that never acknowledges. If it was routed, the
    next node has it."""
    FAILED = "failed"
    """It cannot be delivered: the peer is gone or refuses it."""
    TIMED_OUT = "timed out"
    """No acknowledgement came, however often it was sent: it is lost, or the receiver had no
    room."""


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one message."""

    status: SendStatus
    """The outcome."""
    attempts: int
    """How often it was sent; for a message in fragments, how often its progress stalled, plus 1. A
    message that is sent again because the path has changed counts, too."""
    rtt_s: float | None
    """Seconds from sending to acknowledgement; None if it was sent more than once."""
    size_bytes: int
    """Bytes of the message on the wire, without the headers of fragments."""
    reason: str | None = None
    """Why it was not delivered, in one line."""
    may_have_arrived: bool = False
    """For a message that is not acknowledged: whether all of it has left. If you send it again, it
    may arrive twice. Of a routed message it is False, too, if the next nodes say that they did not
    forward it."""

    def failure_words(self, name: str) -> str:
        """Say in one line that it was not delivered to the node of this name, or that this is not
        known."""
        if self.may_have_arrived:
            return (
                f"not known whether it arrived at {name}: {self.reason};"
                " sent again it may arrive twice"
            )
        return f"not delivered to {name}: {self.reason}"

    @property
    def delivered(self) -> bool:
        """Whether the status is DELIVERED."""
        return self.status is SendStatus.DELIVERED


@dataclass(frozen=True, slots=True)
class PingResult:
    """One answered Ping."""

    rtt_s: float
    """The round trip."""
    path: Path
    """The path that the answer took."""
    address: Address
    """Where the answer came from: the peer itself, or the node that relayed it."""


@dataclass(frozen=True, slots=True)
class ConnectResult:
    """A completed handshake."""

    node_id: str
    address: Address
    public_address: Address | None
    """This node's address as the other side saw it."""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a server says of a probe by one of its peers."""

    has_helper: bool
    """Whether there is a peer that can send one."""
    sent: int
    """How many it has sent."""
    helper: Address | None = field(default=None, compare=False)
    """Where the server sees that peer; None if it does not say."""


Outcome: TypeAlias = (
    SendResult | PingResult | ConnectResult | NodeList | ServerList | ProbeReport | P2PError
)


class CallFinished(NamedTuple):
    """A call made on the endpoint has come to its end."""

    token: int
    """What the call returned."""
    outcome: Outcome
    """Its result, or the error to raise."""


class _Data(NamedTuple):
    node_id: str
    """The sender."""
    address: Address
    """Where the datagram came from: the sender, or the node that relayed it."""
    held: Any
    """The payload as it is kept: as values, or `Encoded`."""
    message_id: str
    """The id of the message."""
    path: Path
    """The path that it took."""
    is_echo: bool
    """Whether it is an echo of something that this node sent."""
    size_bytes: int = 0
    """The size of the payload as JSON."""
    carrier_id: str = ""
    """The peer that brought it, if that is not the sender: such a peer can invent a sender."""


@interpreted
class DataReceived(_Data):
    """Data for this node, delivered once."""

    __slots__ = ()
    __match_args__ = ("node_id", "address", "payload", *_Data.__match_args__[3:])

    def __new__(
        cls,
        node_id: str,
        address: Address,
        payload: Any,
        message_id: str,
        path: Path,
        is_echo: bool,
        size_bytes: int = 0,
        carrier_id: str = "",
    ) -> Self:
        """The payload as values, or `Encoded`."""
        told = (node_id, address, payload, message_id, path, is_echo, size_bytes, carrier_id)
        return tuple.__new__(cls, told)

    @property
    def payload(self) -> Any:
        """The payload as plain JSON values, decoded anew each time: keep it to use it twice."""
        held = self.held
        return held.decoded() if type(held) is Encoded else held

    def may_have(self, key: str) -> bool:
        """Whether the payload may be an object with this key; decides without decoding it."""
        held = self.held
        return held.may_have(key) if type(held) is Encoded else True


@dataclass(frozen=True, slots=True)
class DataDropped:
    """Data that asked for no acknowledgement came when a reader had no room for it, and is lost."""

    node_id: str
    """The sender."""
    count: int
    """The number of messages."""


@dataclass(frozen=True, slots=True)
class FileReceived:
    """A node that keeps files received one, and kept it or not."""

    node_id: str
    """The sender."""
    sender: str
    """The name of the sender, as it says; empty if it is not known."""
    name: str
    """The name of the file, as the sender wrote it. The file itself is at `path`."""
    size_bytes: int | None
    """None if the content could not be read."""
    sha256: str | None
    """The hash of the content, in hexadecimal."""
    path: str | None
    """Where the file is; None if it was not kept."""
    reason: str | None = None
    """Why it was not kept."""
    signer_id: str = ""
    """For an ephemeral node, such as a command's, that has proved whose it is: the id of that
    user's lasting identity."""
    signer_name: str = ""
    """What the node with that id is called, as far as is known. Remote text: neutralise it to show
    it."""


@dataclass(frozen=True, slots=True)
class FilesNotTold:
    """Files were not kept; there were too many to report each in a FileReceived."""

    count: int
    """How many since the previous event of this kind."""


@dataclass(frozen=True, slots=True)
class PeersDiscovered:
    """Another node has reported the nodes that it knows, or nodes that came and left."""

    server_id: str
    """The reporting node."""
    joined: tuple[PeerInfo, ...]
    """The nodes that are connected to it, or have joined it."""
    left: tuple[str, ...] = ()
    """The ids of the nodes that have left."""


@dataclass(frozen=True, slots=True)
class PeerIntroduced:
    """A joined server has given this node the address of another one."""

    node_id: str
    """The other node."""
    address: Address
    """Where the server sees it."""
    server_id: str
    """The server."""


@dataclass(frozen=True, slots=True)
class RoutesReceived:
    """A page of an answer to `{"cmd": "get_routes"}`."""

    node_id: str
    """The node that answers."""
    routes: tuple[RouteEntry, ...]
    """Its routes."""


@dataclass(frozen=True, slots=True)
class RelayDataReceived:
    """A server has relayed bytes from another of its peers."""

    node_id: str
    """The sender."""
    server_id: str
    """The server."""
    data: bytes
    """The bytes."""


@dataclass(frozen=True, slots=True)
class ErrorReceived:
    """A peer has refused something."""

    node_id: str | None
    """The peer; None if it has no session."""
    address: Address
    """Where the error came from."""
    text: str
    """Its words. Remote text: neutralise it to show it."""
    code: str | None = None
    """The kind of error, one of `p2ptui.wire.message.ErrorCode`, if the peer tells."""
    is_claim: bool = False
    """Whether the peer has proved nothing; see `PeerStatusChanged`."""

    @property
    def words(self) -> str:
        """The same in one line, for people."""
        return f"reports: {self.text}"


@dataclass(frozen=True, slots=True)
class PathChanged:
    """A node is reached on another path from now on; its session goes on."""

    node_id: str
    """The node."""
    path: Path
    """The new path."""
    address: Address
    """Where datagrams to it go: itself, or the server that relays them."""
    method: str
    """How the path was found: plain, predicted, birthday or relay."""
    reason: str | None = None
    """Why it is relayed."""
    ends_search: bool = False
    """Whether a search for a direct path has just ended in vain."""


@dataclass(frozen=True, slots=True)
class PathMtuChanged:
    """The size of the datagrams that reach a peer has changed; messages are cut accordingly."""

    node_id: str
    """The peer."""
    address: Address
    """Where datagrams to it go."""
    size_bytes: int
    """The size of the largest datagram that data uses."""
    limit_bytes: int | None
    """The size above which datagrams were seen to vanish; None if none were."""

    @property
    def words(self) -> str:
        """The same in one line, for people."""
        if self.limit_bytes is None:
            return f"datagrams of up to {self.size_bytes} bytes pass"
        return f"datagrams above {self.limit_bytes} bytes do not pass; larger messages are cut"


@dataclass(frozen=True, slots=True)
class DatagramDue:
    """A datagram leaves in another way than usual; the node's machinery sees it, and the next 3."""

    socket: int
    """The number of the socket; 0 is the node's own."""
    data: bytes
    to: Address
    ttl: int | None = None
    """Hops that it may travel; None: all."""


@dataclass(frozen=True, slots=True)
class NatFactsWanted:
    """A traversal needs to know this node's NAT."""


@dataclass(frozen=True, slots=True)
class SocketsWanted:
    """A traversal needs further sockets."""

    node_id: str
    count: int
    predict: int
    """Ports to predict for them; 0: none."""


@dataclass(frozen=True, slots=True)
class FlowProbeWanted:
    """A traversal wants to know whether the NAT lets a new flow pass now, besides its own."""

    node_id: str
    patience_s: float
    """How long answers are awaited, seconds."""


@dataclass(frozen=True, slots=True)
class SocketsDone:
    """These sockets are no longer needed."""

    sockets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StunReplyDue:
    """A STUN reply is to leave by one of the STUN sockets; only the node's machinery sees this."""

    place: Place
    data: bytes
    to: Address


@dataclass(frozen=True, slots=True)
class StunServed:
    """A STUN request was answered; only emitted with `verbose_logging` in `[stun_server]`."""

    source: Address
    """Where it came from."""
    place: str
    """The socket that it came to."""
    outcome: str
    """The answer."""


@dataclass(frozen=True, slots=True)
class EventsDropped:
    """A reader was too slow, or too much happened at once: events are missing."""

    count: int
    """The number of events."""


News: TypeAlias = (
    DataDropped
    | PeersDiscovered
    | PeerIntroduced
    | RoutesReceived
    | ErrorReceived
    | PathMtuChanged
    | PeerRefused
    | StunServed
    | MessageTraced
)
"""What a reader that is much too slow may miss: nobody waits for it."""

Event: TypeAlias = (
    CallFinished
    | PeerStatusChanged
    | DataReceived
    | FileReceived
    | FilesNotTold
    | RelayDataReceived
    | PathChanged
    | TrustChanged
    | DatagramDue
    | NatFactsWanted
    | SocketsWanted
    | FlowProbeWanted
    | SocketsDone
    | StunReplyDue
    | EventsDropped
    | News
)
