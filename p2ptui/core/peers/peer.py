"""One node at one address: what is known about it, what it may be sent, and its session."""

from dataclasses import dataclass, field
from typing import Final

from p2ptui.core.accounts import Purse
from p2ptui.core.connection import Connection
from p2ptui.core.events import PeerStatus
from p2ptui.core.peers.facts import Dialect, Facts
from p2ptui.core.peers.handshakes import Handshakes
from p2ptui.core.peers.held import Held
from p2ptui.core.peers.liveness import PeerLiveness
from p2ptui.core.peers.reach import Reach
from p2ptui.core.peers.seal import Seal
from p2ptui.core.peers.session import Session
from p2ptui.core.peers.traffic import Traffic
from p2ptui.core.pings import Pings
from p2ptui.core.reliability.channel import Channel
from p2ptui.wire.address import Address, format_address, own_host
from p2ptui.wire.message import Capability, NodeInfo

MAX_ACKS_OWED: Final = 16

# A member of an enum is looked up in Python.
_CONNECTING: Final = PeerStatus.CONNECTING
_AUTHENTICATED: Final = PeerStatus.AUTHENTICATED
_SPEC: Final = Dialect.SPEC

ANSWER_KEPT_S: Final = 20.0
"""How long after a handshake its answer may be repeated to a peer that acknowledges nothing: longer
than any program asks for it."""


@dataclass(slots=True, eq=False, init=False)
class Peer:
    """One node at one address: its parts, and what involves several of them.

    Its attributes that show the state of a part are for reading: changes go through the part's
    methods.
    """

    address: Address
    """Where it is; an `AskedAddress` also says by which address of this machine it knows this
    node."""
    channel: Channel
    initiated: bool
    """Whether this node asked for the session. Changed only by `PeerTable.set_initiated`, which
    keeps a list of these peers."""
    created_at: float
    status: PeerStatus
    """Its status; changed only by `Lifecycle`, which reports changes."""
    session: Session
    handshakes: Handshakes
    facts: Facts
    liveness: PeerLiveness
    traffic: Traffic
    purse: Purse = field(init=False)
    """What it has earned and may still be sent: the same object as its `traffic`, since both count
    the same datagrams."""
    # Nothing waits for most peers: an empty tuple takes no memory, and these are short.
    deferred: tuple[Held, ...] = field(init=False)
    """Messages that wait until its address is proved or it has sent enough itself."""
    acks_owed: tuple[bytes, ...] = field(init=False)
    """Acks that wait until its address is proved."""
    untold: tuple[str, ...] = field(init=False)
    """Ids of nodes that it has not been told about for the same reason, oldest news first."""
    _reach: Reach | None = field(init=False)
    _path: Address | None = field(init=False)
    _home: Address | None = field(init=False)

    def __init__(
        self,
        address: Address,
        channel: Channel,
        initiated: bool,
        created_at: float,
        status: PeerStatus = _CONNECTING,
        session: Session | None = None,
        handshakes: Handshakes | None = None,
        facts: Facts | None = None,
        liveness: PeerLiveness | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        self.address = address
        self.channel = channel
        self.initiated = initiated
        self.created_at = created_at
        self.status = status
        self.session = session or Session()
        self.handshakes = handshakes or Handshakes()
        self.facts = facts or Facts()
        self.liveness = liveness or PeerLiveness()
        self.purse = self.traffic = traffic or Traffic()
        self.deferred = ()
        self.acks_owed = ()
        self.untold = ()
        self._reach = None
        self._path = None
        self._home = None

    @property
    def seal(self) -> Seal | None:
        """The keys of its session; None: in the open."""
        return self.session.seal

    @property
    def is_secured(self) -> bool:
        """Whether it has proved the keys of its id, and everything is sealed."""
        return self.session.seal is not None

    def has_begun_anew(self, joined_at: float) -> bool:
        """Whether it has begun a new session by itself, with its keys, since the one that began at
        that time. That is the current session on both sides; an answer to a request of this
        node, which may still arrive, begins none.

        Args:
            joined_at: When the session began that was current when this node asked, seconds.
        """
        return self.is_secured and self.session.joined_at != joined_at

    def owe_ack(self, data: bytes) -> None:
        """An Ack waits until its address is proved; of too many, the oldest is dropped."""
        self.acks_owed = (*self.acks_owed[1 - MAX_ACKS_OWED :], data)

    def take_ack_owed(self) -> bytes:
        """The Ack that has waited longest; there must be one."""
        first, *rest = self.acks_owed
        self.acks_owed = tuple(rest)
        return first

    def rest(self, now: float) -> None:
        """Free what is not needed while nothing is exchanged.

        Args:
            now: The time, seconds.
        """
        self.channel.rest(now)
        # A peer that acknowledges anything in the session has the answer with which it began.
        is_old = now >= self.session.joined_at + ANSWER_KEPT_S
        if self.facts.acks or (is_old and self.purse.proved):
            self.handshakes.forget_response()

    # What it says about itself, and what it asked for.

    @property
    def accepted(self) -> bool:
        """Whether it asked for the session; with `initiated`, the requests crossed."""
        return self.session.accepted

    @accepted.setter
    def accepted(self, accepted: bool) -> None:
        """Say so; of one in a table `Responder` does."""
        self.session.accepted = accepted

    @property
    def info(self) -> NodeInfo | None:
        """Who it says it is; None until its handshake."""
        return self.facts.info

    @info.setter
    def info(self, info: NodeInfo) -> None:
        """Say who it is; of one in a table `PeerTable.identify` does."""
        self.facts.info = info

    @property
    def dialect(self) -> Dialect:
        """Which dialect it speaks."""
        return self.facts.dialect

    @property
    def capabilities(self) -> frozenset[str]:
        """What it announced, as far as that is believed."""
        return self.facts.capabilities

    @capabilities.setter
    def capabilities(self, capabilities: frozenset[str]) -> None:
        """Say what it can do; its handshake does by `Facts.describe`."""
        self.facts.capabilities = capabilities

    @property
    def public_address(self) -> Address | None:
        """This node's address as the peer saw it."""
        return self.facts.public_address

    @public_address.setter
    def public_address(self, address: Address) -> None:
        """Say where it sees this node."""
        self.facts.public_address = address

    @property
    def handshake_heard(self) -> str:
        """Id of the handshake message that came from it."""
        return self.handshakes.heard

    @property
    def handshake_said(self) -> tuple[str, ...]:
        """Ids of the handshake messages of this session that went to it."""
        return self.handshakes.said

    @property
    def handshake_keys(self) -> tuple[int | str, ...]:
        """Numbers and ids of the handshake messages sent to it."""
        return self.handshakes.keys

    # Liveness.

    @property
    def resumes(self) -> bool:
        """Whether there was a session, and a new one has been requested: messages wait for it."""
        return self.session.resumes

    @resumes.setter
    def resumes(self, resumes: bool) -> None:
        """Say so; of one in a table `Lifecycle` does."""
        self.session.resumes = resumes

    @property
    def pings(self) -> Pings:
        """The Pings sent to it."""
        return self.liveness.pings

    @property
    def last_received(self) -> float:
        """When something last came from it; seconds."""
        return self.liveness.last_received

    @property
    def answered_at(self) -> float:
        """When it last answered something from this node, seconds."""
        return self.liveness.answered_at

    @property
    def messages_in(self) -> int:
        """How many messages came from it."""
        return self.traffic.messages_in

    @property
    def messages_out(self) -> int:
        """How many messages went to it."""
        return self.traffic.messages_out

    # Addresses and paths.

    @property
    def reach(self) -> Reach:
        """What is known about the path to it; to query it only, use the properties below."""
        if self._reach is None:
            self._reach = Reach()
        return self._reach

    @property
    def connection(self) -> Connection | None:
        """How its path was found, or why there is none; None if it was addressed directly."""
        return None if self._reach is None else self._reach.connection

    @property
    def beside(self) -> Address | None:
        """See `Reach`."""
        return None if self._reach is None else self._reach.beside

    @property
    def former(self) -> Address | None:
        """See `Reach`."""
        return None if self._reach is None else self._reach.former

    @property
    def path(self) -> Address | None:
        """Where its datagrams go, if not to `address`: a better path was found. Set only by
        `PeerTable.take_path`, so that datagrams from there count as the peer's."""
        return self._path

    @property
    def home(self) -> Address:
        """Where its datagrams go without a better path; for a relayed node through a server, not
        necessarily the one in its address."""
        return self._home or self.address

    @property
    def sends_to(self) -> Address:
        """Where its datagrams currently go."""
        return self._path or self._home or self.address

    @property
    def is_stranded(self) -> bool:
        """Whether datagrams to it wait until a path is found."""
        return self._reach is not None and self._reach.stranded and self._path is None

    def is_silent(self, now: float) -> bool:
        """Whether Pings were sent, nothing has arrived since, and an answer is overdue."""
        return self.liveness.are_pings_ignored(self.hears_at, now)

    @property
    def hears_at(self) -> float:
        """When it last showed that it hears this node, as far as programs of its kind do."""
        liveness, answers = self.liveness, self.facts.dialect is _SPEC
        return liveness.answered_at if answers else liveness.last_received

    def note_asked(self, address: Address) -> None:
        """A datagram came from `address`: does it still go to the same address of this machine?"""
        known = self._path or self.address
        if address is not known and address == known and own_host(address) != own_host(known):
            self.reach.beside = address

    def note_asked_in_the_open(self, address: Address) -> None:
        """The same for an unsealed datagram: for a secured peer, anybody can have sent it."""
        if address is not (self._path or self.address) and self.session.seal is None:
            self.note_asked(address)

    def take_pair(self, address: Address) -> None:
        """Something came from `address` that nobody else could send: so it knows this node by the
        address of this machine that received it, and hears what is sent from there."""
        if own_host(address) is None or address not in (self.address, self._path):
            return
        self._forget_beside()
        if address == self.address:
            self.address = address
        if address == self._path:
            self._path = address

    def follow_pair(self, address: Address) -> None:
        """The same, if somebody else could have sent it: an answer from where this peer was known
        to hear this node reverts it."""
        former = self.sends_to
        self.take_pair(address)
        if own_host(former) not in (None, own_host(self.sends_to)):
            self.reach.former = former

    def hears_former(self, address: Address) -> bool:
        """Whether the datagram from `address` went to where this peer knows this node."""
        former = self.former
        return former is not None and address == former and own_host(address) == own_host(former)

    def _forget_beside(self) -> None:
        if self._reach is not None:
            self.reach.beside = self.reach.former = None

    def forget_pair(self) -> None:
        """The system again chooses from which address of this machine its datagrams leave."""
        self.address = self.address[0], self.address[1]
        if self._path is not None:
            self._path = self._path[0], self._path[1]
        self._forget_beside()

    @property
    def is_plain(self) -> bool:
        """Whether its address has meaning for others: it is not relayed to this node."""
        host = self.address[0]
        return "@" not in host and "#" not in host

    def is_settled(self, now: float) -> bool:
        """Whether the session goes to its node's own address, and is heard there: a server's word
        about that node does not move it."""
        goes_plainly = "@" not in self.home[0] and not self.is_stranded
        is_known = self.is_authenticated and not self.is_claim
        return is_known and goes_plainly and not self.is_silent(now)

    def enter_proved(self) -> None:
        """It is in no table yet, and has read what was sent to its address: nothing has to wait for
        a proof."""
        self.purse.proved = True

    @property
    def is_claim(self) -> bool:
        """Whether its session may be a mere claim: a forged handshake may have begun it, and
        nothing has arrived that shows otherwise. It silences nobody, and takes no name away."""
        return not (self.purse.proved or self.initiated)

    @property
    def is_joined_server(self) -> bool:
        """Whether this node asked it for the session by its address: it may serve."""
        return (
            self.initiated and self.is_authenticated and self.connection is None and self.is_plain
        )

    @property
    def names_pings(self) -> bool:
        """Whether its Pongs name their Ping, as far as programs of its kind do."""
        return self.facts.dialect is _SPEC

    @property
    def proves_by_timing(self) -> bool:
        """Whether it has not proved its address, and its Pongs may name no Ping."""
        return not self.purse.proved and Capability.RETRANSMIT not in self.facts.capabilities

    @property
    def acknowledges(self) -> bool:
        """Whether it is of our kind: it returns tokens that it is sent, and its goodbyes name the
        session."""
        facts = self.facts
        return facts.dialect is _SPEC and Capability.RETRANSMIT in facts.capabilities

    @property
    def is_ours(self) -> bool:
        """Whether it passes on traversal offers."""
        return Capability.RELAY_FRAMES in self.facts.capabilities

    @property
    def node_id(self) -> str:
        """Its id in canonical form; empty while unknown."""
        info = self.facts.info
        return info.id if info is not None else ""

    @property
    def name(self) -> str:
        """Its name, or its address while it has none: remote text."""
        info = self.facts.info
        return info.name if info is not None else format_address(self.address)

    @property
    def is_authenticated(self) -> bool:
        """Whether messages are accepted from it and sent to it."""
        return self.status is _AUTHENTICATED

    @property
    def proved(self) -> bool:
        """Whether it has proved that it receives at its address."""
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
        """Whether messages for other nodes may be passed to it."""
        return self.is_authenticated and Capability.ROUTING in self.facts.capabilities

    @property
    def forwards(self) -> bool:
        """Whether it may bring messages from others: it routes, or is a joined server."""
        return self.initiated or Capability.ROUTING in self.facts.capabilities
