"""One node at one address: what is known of it, what it may be sent, and the session with it."""

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from p2ptui.core.accounts import Purse
from p2ptui.core.connection import Connection
from p2ptui.core.events import PeerStatus
from p2ptui.core.pings import Pings
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.timers import Timer
from p2ptui.wire.address import Address, format_address, own_host
from p2ptui.wire.message import Capability, NodeInfo

HANDSHAKES_REMEMBERED: Final = 4
"""Message ids of a peer's earlier handshakes: a late copy of one must not reset the session."""

MAX_ACKS_OWED: Final = 16


class Dialect(enum.Enum):
    """Whose habits a peer has: see `Envelope.speaks_reference`."""

    SPEC = "spec"
    REFERENCE = "reference"


class Suspicion(enum.Enum):
    """What is believed of a peer unless it answers a Ping."""

    LEFT = "left"
    """A Disconnect came, which anybody could have forged."""
    FORGOT = "forgot"
    """It says that it does not know this node: restarted, or forged."""


OnLost: TypeAlias = Callable[[str, float], None]
"""Called with the reason and the time when a message that was held is lost."""


class Held(NamedTuple):
    """A message that waits until it may be sent."""

    data: bytes
    on_lost: OnLost | None


@dataclass(slots=True, eq=False)
class Peer:
    """One node at one address, and the session with it."""

    address: Address
    """Where it is, and as an `AskedAddress` which address of this machine it knows this node by."""
    channel: Channel
    initiated: bool
    """Whether this node asked for the session."""
    created_at: float
    resumes: bool = False
    """Whether there was a session, and another is asked for: messages wait for that."""
    accepted: bool = False
    """Whether the peer asked for it; both are true when their requests crossed."""
    info: NodeInfo | None = None
    """Who it says it is; None until its handshake."""
    status: PeerStatus = PeerStatus.CONNECTING
    dialect: Dialect = Dialect.SPEC
    capabilities: frozenset[str] = frozenset()
    """What it announced; of our extensions none that a peer of the reference's kind claims."""
    acks: bool = False
    """Whether it has ever acknowledged anything."""
    handshake_ids: list[str] = field(default_factory=list)
    handshake_response: bytes = b""
    """What answered its handshake, for a repeated request."""
    handshake_keys: tuple[int | str, ...] = ()
    """Numbers and ids of the handshake messages sent to it: an Ack of one proves its address."""
    handshake_said: tuple[str, ...] = ()
    """Ids of the handshake messages of this session that went to it."""
    handshake_heard: str = ""
    """Id of the handshake message that came from it: a goodbye that names it is genuine."""
    joined_at: float = float("-inf")
    """When its latest handshake was complete; seconds."""
    undecided_until: float = float("-inf")
    """Until then its request may come from another of its addresses as well; seconds."""
    public_address: Address | None = None
    """This node's address as the peer saw it."""
    purse: Purse = field(default_factory=Purse)
    """What it has earned and may still be sent."""
    messages_in: int = 0
    messages_out: int = 0
    last_received: float = 0.0
    answered_at: float = 0.0
    """When it last answered something of this node's: what it sends by itself does not show that it
    hears this node."""
    last_ping_sent: float = float("-inf")
    heartbeat_due: float = float("-inf")
    """When it is pinged next if it answers the last Ping."""
    known_at: float = float("-inf")
    """When it last showed that it knows this node, as a server does by a Ping of its own."""
    pings: Pings = field(default_factory=Pings)
    deferred: deque[Held] = field(default_factory=deque)
    """Messages that wait until its address is proved or it has sent enough itself."""
    acks_owed: deque[bytes] = field(default_factory=lambda: deque(maxlen=MAX_ACKS_OWED))
    """Acks that wait until its address is proved."""
    untold: dict[str, None] = field(default_factory=dict)
    """Ids of nodes that it has not been told of for the same reason, oldest news first."""
    suspicion: Suspicion | None = None
    suspected_at: float = 0.0
    cleared_at: float = float("-inf")
    """When it last turned out that it knows this node after all."""
    timer: Timer | None = None
    """Heartbeat and expiry, or the handshake's next step."""
    channel_timer: Timer | None = None
    _path: Address | None = None
    beside: Address | None = None
    """Its address, where something came from there to another address of this machine than the one
    it is known to know. Anybody can forge that: only an answer shows that it has moved."""
    _home: Address | None = None
    stranded: bool = False
    """Whether no way to it is known for the moment: what waits is kept, and no try counts."""
    parted: bool = False
    """Whether this node itself says goodbye to it."""
    connection: Connection | None = None
    """How its path was won, or why there is none; None for a peer that was addressed directly."""
    last_sent: float = float("-inf")
    """When a message last went to it."""
    data_at: float = float("-inf")
    """When Data last went to it or came from it: heartbeats alone are no use of a session."""

    @property
    def path(self) -> Address | None:
        """Where its datagrams go, if not to `address`: a better way to it was found.

        `PeerTable.take_path` sets it, so that what comes from there counts as the peer's.
        """
        return self._path

    @property
    def home(self) -> Address:
        """Where its datagrams go without a better way: of a relayed node by way of a server, which
        need not be the one in its address."""
        return self._home or self.address

    @property
    def sends_to(self) -> Address:
        """Where its datagrams go at present."""
        return self._path or self.home

    def is_silent(self, now: float) -> bool:
        """Whether Pings were sent, nothing has come since, and an answer is overdue."""
        return self.pings.are_ignored(self.hears_at, now)

    @property
    def hears_at(self) -> float:
        """When it last showed that it hears this node, as far as programs of its kind do."""
        return self.answered_at if self.dialect is Dialect.SPEC else self.last_received

    def note_asked(self, address: Address) -> None:
        """A datagram came from `address`: does it still go to the same address of this machine?"""
        known = self._path or self.address
        if address is not known and address == known and own_host(address) != own_host(known):
            self.beside = address

    def take_pair(self, address: Address) -> None:
        """From `address` came what nobody else could send: so it knows this node by the address
        of this machine that it went to, and hears what leaves from there.
        """
        if own_host(address) is None or address not in (self.address, self._path):
            return
        self.beside = None
        if address == self.address:
            self.address = address
        if address == self._path:
            self._path = address

    def forget_pair(self) -> None:
        """From which address of this machine its datagrams leave is the system's choice again."""
        self.address = self.address[0], self.address[1]
        self.beside = None

    @property
    def is_plain(self) -> bool:
        """Whether its address means the same to others: it is not relayed to this node."""
        return "@" not in self.address[0] and "#" not in self.address[0]

    @property
    def is_joined_server(self) -> bool:
        """Whether this node asked it for the session by its address: it may serve."""
        return (
            self.initiated and self.is_authenticated and self.connection is None and self.is_plain
        )

    @property
    def is_ours(self) -> bool:
        """Whether it passes traversal offers on."""
        return Capability.RELAY_FRAMES in self.capabilities

    @property
    def node_id(self) -> str:
        """Its id in canonical form; empty while unknown."""
        return self.info.id if self.info is not None else ""

    @property
    def name(self) -> str:
        """Its name, or its address while it has none: remote text."""
        return self.info.name if self.info is not None else format_address(self.address)

    @property
    def is_authenticated(self) -> bool:
        """Whether messages are taken from it and sent to it."""
        return self.status is PeerStatus.AUTHENTICATED

    @property
    def is_expected_to_ack(self) -> bool:
        """Whether it will acknowledge; programs of the reference's kind may never do so."""
        return self.dialect is Dialect.SPEC or self.acks

    @property
    def proved(self) -> bool:
        """Whether it has shown that it receives at its address."""
        return self.purse.proved

    @proved.setter
    def proved(self, value: bool) -> None:
        """Set by who has seen the proof."""
        self.purse.proved = value

    @property
    def bytes_in(self) -> int:
        """Bytes that came from its address."""
        return self.purse.bytes_in

    @property
    def bytes_out(self) -> int:
        """Bytes that left for it."""
        return self.purse.bytes_out

    def note_datagram(self, size: int) -> None:
        """Count `size` bytes that came from its address."""
        self.purse.earn_bytes(size)

    def has_room(self, size: int) -> bool:
        """Whether it may be sent a message of `size` bytes that is no Ping."""
        return self.purse.has_room(size)

    @property
    def is_routing(self) -> bool:
        """Whether messages for other nodes may be handed to it."""
        return self.is_authenticated and Capability.ROUTING in self.capabilities

    @property
    def forwards(self) -> bool:
        """Whether it may bring messages of others: it routes, or is a server that was joined."""
        return self.initiated or Capability.ROUTING in self.capabilities
