"""What the core tells the outside: frozen values, one docstring a field where it says more."""

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
    RELAY = "relay"
    """Through another node that forwards them."""


class SendStatus(enum.Enum):
    """What became of a message."""

    DELIVERED = "delivered"
    """The receiver acknowledged it: it waits for all who read there, or at the node."""
    SENT = "sent"
    """It left; no acknowledgement was asked for."""
    UNCONFIRMED = "unconfirmed"
    """It left, once; the receiver is of a kind that never acknowledges. Routed: the next node on
    the way has it."""
    FAILED = "failed"
    """It cannot be delivered: the peer is gone or refuses it."""
    TIMED_OUT = "timed out"
    """No acknowledgement came, however often it was sent: it is lost, or found no room."""


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one message."""

    status: SendStatus
    attempts: int
    """How often it was sent; in fragments: how often its progress stalled, plus 1. What
    is under way when the path to the peer changes is sent again at once, and that counts too."""
    rtt_s: float | None
    """Seconds from its transmission to its acknowledgement; None if sent more than once."""
    size_bytes: int
    """Bytes of the message on the wire, without the fragments' heads."""
    reason: str | None = None
    """Why it was not delivered, in one line."""
    may_have_arrived: bool = False
    """If it is not acknowledged: whether all of it has left. Sent again it may arrive twice."""

    def failure_words(self, name: str) -> str:
        """That it was not delivered to whom is called so, or that nobody knows; in one line."""
        if self.may_have_arrived:
            return (
                f"not known whether it arrived at {name}: {self.reason};"
                " sent again it may arrive twice"
            )
        return f"not delivered to {name}: {self.reason}"

    @property
    def delivered(self) -> bool:
        """Whether the receiver acknowledged it, as DELIVERED says."""
        return self.status is SendStatus.DELIVERED


@dataclass(frozen=True, slots=True)
class PingResult:
    """One answered Ping."""

    rtt_s: float
    path: Path
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
    """Where the server sees that peer; None where it does not tell."""


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
    """Who sent it."""
    address: Address
    """Where the datagram came from: the sender, or the node that relayed it."""
    held: Any
    """The payload as it is kept: as values, or `Encoded`."""
    message_id: str
    path: Path
    is_echo: bool
    """Whether it answers something that this node sent."""
    size_bytes: int = 0
    """Bytes of the payload as JSON."""
    carrier_id: str = ""
    """The peer that brought it, if not the sender itself: anybody can invent a sender."""


@interpreted
class DataReceived(_Data):
    """Data for this node; never twice."""

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
        """Plain JSON values, decoded anew each time: keep what is looked at more than once."""
        held = self.held
        return held.decoded() if type(held) is Encoded else held

    def may_have(self, key: str) -> bool:
        """Whether the payload may be an object with this key, as told without decoding it."""
        held = self.held
        return held.may_have(key) if type(held) is Encoded else True


@dataclass(frozen=True, slots=True)
class DataDropped:
    """Data that asked for no acknowledgement came when a reader had no room for it."""

    node_id: str
    """Who sent it."""
    count: int


@dataclass(frozen=True, slots=True)
class FileReceived:
    """A file came, to a node that keeps files, and was kept or not."""

    node_id: str
    """Who sent it."""
    sender: str
    """The name of that node, as it says; empty where it is not known."""
    name: str
    """The file's, as the sender wrote it; the end of `path` is what became of it."""
    size_bytes: int | None
    """None if the content could not be read."""
    sha256: str | None
    """Of the content, in hexadecimal."""
    path: str | None
    """Where it was kept; None if it was not."""
    reason: str | None = None
    """Why it was not."""


@dataclass(frozen=True, slots=True)
class PeersDiscovered:
    """Another node told who else is there."""

    server_id: str
    joined: tuple[PeerInfo, ...]
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerIntroduced:
    """A server that this node joined gave it the address of another node."""

    node_id: str
    address: Address
    server_id: str


@dataclass(frozen=True, slots=True)
class RoutesReceived:
    """The answer to `get_routes`, a page of it."""

    node_id: str
    routes: tuple[RouteEntry, ...]


@dataclass(frozen=True, slots=True)
class RelayDataReceived:
    """Bytes that a server relayed for another of its peers."""

    node_id: str
    server_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ErrorReceived:
    """A peer refused something."""

    node_id: str | None
    address: Address
    text: str
    """Its words: remote text, to be neutralised before it is shown."""
    code: str | None = None

    @property
    def words(self) -> str:
        """What happened, in one line."""
        return f"reports: {self.text}"


@dataclass(frozen=True, slots=True)
class PathChanged:
    """A node is reached another way from now on; its session goes on."""

    node_id: str
    path: Path
    address: Address
    """Where its datagrams go: itself, or the server that relays them."""
    method: str
    """How the path was won: plain, predicted, birthday or relay."""
    reason: str | None = None
    """Why it is relayed."""
    ends_search: bool = False
    """Whether a search for a direct path has ended here, with none for now."""


@dataclass(frozen=True, slots=True)
class PathMtuChanged:
    """Larger datagrams pass to a peer than before, or only smaller ones; messages are cut to it."""

    node_id: str
    address: Address
    """Where its datagrams go."""
    size_bytes: int
    """The largest datagram of data."""
    limit_bytes: int | None
    """Datagrams above this size were seen to vanish; None if none were."""

    @property
    def words(self) -> str:
        """What was found out, in one line."""
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
    """Answers are awaited for so long."""


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
    """A STUN request was answered; only emitted with `verbose_logging` of `[stun_server]`."""

    source: Address
    place: str
    """The socket that it came to."""
    outcome: str


@dataclass(frozen=True, slots=True)
class EventsDropped:
    """A reader was too slow, or the core had too much to say: this many events are missing."""

    count: int


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
