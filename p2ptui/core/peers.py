"""The peer table: every node that this one talks to, by id and by address, most recent last."""

import enum
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from msgspec import UNSET, UnsetType

from p2ptui.core.aliases import Aliases, Standing
from p2ptui.core.connection import Connection
from p2ptui.core.events import PeerStatus
from p2ptui.core.pings import Pings
from p2ptui.core.relayed import Relayed
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.timers import Timer
from p2ptui.wire.address import Address, format_address, own_host
from p2ptui.wire.message import Capability, NodeInfo, PeerInfo

HANDSHAKES_REMEMBERED: Final = 4
"""Message ids of a peer's earlier handshakes: a late copy of one must not reset the session."""

AMPLIFICATION_LIMIT: Final = 3
"""Bytes sent for each byte received, until an address has proved itself (RFC 9000, section 8.1)."""

PING_BYTES: Final = 168
"""A Ping with `null`, at most."""

KEPT_FOR_PINGS: Final = 2 * PING_BYTES
"""What a newcomer may be sent pays for this before it pays for anything but the response: a client
that loses its first Ping must still be asked whether it is there."""


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
    undecided_until: float = float("-inf")
    """Until then its request may come from another of its addresses as well; seconds."""
    public_address: Address | None = None
    """This node's address as the peer saw it."""
    proved: bool = False
    """Whether it has shown that it receives at its address."""
    credit: int = 0
    """Bytes that it may still be sent before it has proved its address."""
    kept: int = 0
    """Of those, what only Pings may use."""
    bytes_in: int = 0
    bytes_out: int = 0
    messages_in: int = 0
    messages_out: int = 0
    last_received: float = 0.0
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
        return self.pings.are_ignored(self.last_received, now)

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

    def note_datagram(self, size: int) -> None:
        """Count `size` bytes that came from its address."""
        self.bytes_in += size
        self.credit += AMPLIFICATION_LIMIT * size

    @property
    def allowance(self) -> float:
        """Bytes that it may be sent now: without end once it has proved its address."""
        return math.inf if self.proved else self.credit

    def may_receive(self, size: int) -> bool:
        """Whether `size` more bytes stay within what an unproved address may be sent."""
        return self.proved or size <= self.credit

    @property
    def spendable(self) -> float:
        """Of its allowance, bytes that are not kept for Pings."""
        return math.inf if self.proved else self.credit - self.kept

    def has_room(self, size: int) -> bool:
        """Whether it may be sent a message of `size` bytes that is no Ping."""
        return self.proved or size <= self.credit - self.kept

    def keep_for_pings(self) -> None:
        """From now on keep what Pings will need, as far as there is so much."""
        self.kept = max(min(self.credit, KEPT_FOR_PINGS), 0)

    def spend(self, size: int, *, on_ping: bool = False) -> None:
        """Count `size` bytes that leave for it."""
        self.bytes_out += size
        self.credit -= size
        if on_ping:
            self.kept = max(self.kept - size, 0)

    @property
    def is_routing(self) -> bool:
        """Whether messages for other nodes may be handed to it."""
        return self.is_authenticated and Capability.ROUTING in self.capabilities

    @property
    def forwards(self) -> bool:
        """Whether it may bring messages of others: it routes, or is a server that was joined."""
        return self.initiated or Capability.ROUTING in self.capabilities


class PeerTable:
    """All peers, found by id and by address at once, in the order of their last message.

    Args:
        count: Called with a cause when there is no room for an alias.
    """

    def __init__(self, count: Callable[[str], None] = lambda _: None) -> None:
        self._by_address: OrderedDict[Address, Peer] = OrderedDict()
        self._by_id: dict[str, Peer] = {}
        self._aliases: Aliases[Peer] = Aliases(count)
        self._doubtful: OrderedDict[Address, Peer] = OrderedDict()
        self._initiated: dict[Address, Peer] = {}
        self.relayed: Relayed[Peer] = Relayed()
        """Where relayed peers are by way of other servers than the one in their address."""
        # Kept, not counted anew: of ten thousand peers that takes milliseconds.
        self._statuses: Counter[PeerStatus] = Counter()

    def __len__(self) -> int:
        return len(self._by_address)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._by_address.values())

    def at(self, address: Address) -> Peer | None:
        """The peer at `address`, or to which a path through it was found."""
        peer = self._by_address.get(address)
        if peer is None:
            peer = self._aliases.owner(address) or self.relayed.owner(address)
        return peer

    @property
    def aliases(self) -> int:
        """How many addresses count as some peer's besides its own."""
        return len(self._aliases)

    def aliases_of(self, peer: Peer) -> Collection[Address]:
        """From where a peer may send besides its own address."""
        return self._aliases.of(peer)

    def add_alias(self, peer: Peer, address: Address, standing: Standing) -> bool:
        """What comes from `address` is from `peer` too; whether that is so.

        Args:
            peer: The peer.
            address: Where it sends from; the own address of a peer is never another's.
            standing: How well that is known.
        """
        if address in self._by_address:
            return self._by_address[address] is peer
        holder = self._aliases.owner(address)
        owner = self._aliases.enter(peer, address, standing)
        if holder is not None and owner is peer and holder is not peer:
            self._require_alias(holder)
        return owner is peer

    def remove_aliases(self, peer: Peer) -> None:
        """The peer sends from its own address only, and its datagrams go there."""
        self._aliases.clear(peer)
        peer._path = None

    def take_path(self, peer: Peer, address: Address) -> bool:
        """Send a peer's datagrams to `address`, and count what comes from there as its own.

        Returns:
            False, and nothing is changed, if that is the own address of another peer.
        """
        if address == peer.address:
            peer._path = None
            return True
        if not self.add_alias(peer, address, Standing.CHOSEN):
            return False
        peer._path = address
        return True

    def leave_path(self, peer: Peer) -> None:
        """Send a peer's datagrams to its own address; what comes by the path is still its own."""
        peer._path = None

    def add_relay(self, peer: Peer, address: Address) -> bool:
        """A relayed peer is at `address` by way of another server, too; whether that is so."""
        if address in self._by_address:
            return self._by_address[address] is peer
        return self.relayed.enter(peer, address)

    def take_home(self, peer: Peer, address: Address) -> None:
        """Send a relayed peer's datagrams to its own address, or to one that `add_relay` took."""
        peer._home = None if address == peer.address else address

    def _require_alias(self, peer: Peer) -> None:
        if peer.path is not None and peer.path not in self._aliases.of(peer):
            peer._path = None

    def with_id(self, node_id: str) -> Peer | None:
        """The peer with this id, if its handshake has told it."""
        return self._by_id.get(node_id)

    def authenticated(self, node_id: str) -> Peer | None:
        """The peer with this id, if messages may be sent to it."""
        peer = self._by_id.get(node_id)
        return peer if peer is not None and peer.is_authenticated else None

    def recent(self) -> Iterator[Peer]:
        """All peers, the one heard of last first."""
        return reversed(self._by_address.values())

    @property
    def initiated(self) -> Iterable[Peer]:
        """Those that this node asked for a session."""
        return self._initiated.values()

    @property
    def statuses(self) -> Mapping[PeerStatus, int]:
        """How many peers have each status."""
        return self._statuses

    def add(self, peer: Peer) -> None:
        """Enter a peer by its address."""
        self._uncount(peer.address)
        self._by_address[peer.address] = peer
        self._statuses[peer.status] += 1
        if peer.initiated:
            self._initiated[peer.address] = peer
        else:
            self._doubtful[peer.address] = peer

    def set_status(self, peer: Peer, status: PeerStatus) -> None:
        """Note how far a peer is."""
        if self._by_address.get(peer.address) is peer:
            self._statuses[peer.status] -= 1
            self._statuses[status] += 1
        peer.status = status

    def set_initiated(self, peer: Peer) -> None:
        """From now on it counts as one that this node asked for a session."""
        peer.initiated = True
        if self._by_address.get(peer.address) is peer:
            self._initiated[peer.address] = peer

    def _uncount(self, address: Address) -> None:
        peer = self._by_address.get(address)
        if peer is not None:
            self._statuses[peer.status] -= 1
            self._initiated.pop(address, None)

    def identify(self, peer: Peer, info: NodeInfo) -> None:
        """Note who a peer says it is, which may be another than before."""
        self._forget_id(peer)
        peer.info = info
        self._by_id[info.id] = peer

    def _forget_id(self, peer: Peer) -> None:
        if self._by_id.get(peer.node_id) is peer:
            del self._by_id[peer.node_id]

    def touch(self, peer: Peer) -> None:
        """A message came from `peer`: it is the most recent one now."""
        self._by_address.move_to_end(peer.address)
        if not peer.proved and peer.address in self._doubtful:
            self._doubtful.move_to_end(peer.address)

    def most_doubtful(self) -> Peer | None:
        """Of the peers that came by themselves and never proved their address the most silent."""
        while self._doubtful:
            peer = next(iter(self._doubtful.values()))
            if not peer.proved and not peer.initiated:
                return peer
            del self._doubtful[peer.address]
        return None

    def remove(self, peer: Peer) -> None:
        """Take a peer out; nothing happens if another has its place by now."""
        if self._by_address.get(peer.address) is peer:
            self._uncount(peer.address)
            del self._by_address[peer.address]
            self._doubtful.pop(peer.address, None)
        self.remove_aliases(peer)
        self.relayed.clear(peer)
        self._forget_id(peer)


def peer_info(peer: Peer, now: float, unix_now: int, name: str | UnsetType = UNSET) -> PeerInfo:
    """The entry of `peer` in a peer list; its address is the one that this node sees."""
    return PeerInfo(
        id=peer.node_id,
        addr=format_address(peer.address),
        last_seen=unix_now - int(max(now - peer.last_received, 0)),
        capabilities=peer.info.capabilities if peer.info is not None else (),
        name=name,
    )
