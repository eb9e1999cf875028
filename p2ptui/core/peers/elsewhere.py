"""The interface to other servers of the network: who holds a node, and how to hand it something.

This is all that the rooms of the core know about a cluster. A server without one asks `ALONE`,
which knows nobody; `core.cluster` answers from what the servers tell each other through a broker,
and tests from a dictionary.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Protocol, TypeAlias

from p2ptui.core.peers.held import OnLost
from p2ptui.core.peers.peer import Peer
from p2ptui.wire.address import Address
from p2ptui.wire.message import Capability, ListedServer, NodeInfo


@dataclass(frozen=True, slots=True)
class Foreign:
    """A node that has its session with another server of the network."""

    info: NodeInfo
    """Who it is, as it told its server; the id is canonical."""
    server_id: str
    """The node id of its server."""
    address: Address
    """Where its server sees it."""
    heard_at: float
    """When its server last announced it, seconds on this node's clock."""
    proved: bool
    """Whether it has shown its server that it receives at the address."""
    keys: str = ""
    """Its public keys as sent on the wire (`PublicKeys.text`), which determine its id; empty if its
    session is in the open."""
    boot: str = ""
    """The name of its run, hexadecimal: a sealed offer for it contains this."""
    is_signed: bool = False
    """Whether the node has signed that this server holds it."""
    stands: bool = True
    """Whether its server has announced it to all others; otherwise it has only handed something
    over."""

    @property
    def node_id(self) -> str:
        """Its id."""
        return self.info.id

    @property
    def name(self) -> str:
        """Its name: remote text."""
        return self.info.name

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What it announced."""
        return self.info.capabilities

    @property
    def is_ours(self) -> bool:
        """Whether it passes traversal offers on."""
        return Capability.RELAY_FRAMES in self.info.capabilities

    @property
    def is_plain(self) -> bool:
        """Whether its address means the same to others: a server announces no other nodes."""
        return True


Listed: TypeAlias = Peer | Foreign
"""A node that a server can name: a peer of its own, or one elsewhere."""


def is_claim(node: Listed) -> bool:
    """Whether it may have been made up."""
    return node.is_claim if isinstance(node, Peer) else not node.proved


class Handing(IntEnum):
    """What is handed to the server that holds a node; the number is on the wire."""

    FRAME = 1
    """A relayed datagram: the frame that leaves for the node, or, if that must not be cut on its
    way, the same beginning with `RELAY_WHOLE`."""
    RELAY_DATA = 2
    """The payload of a RelayData for the node."""
    ROUTED = 3
    """The payload of a Data for the node: a routed message, with its hops counted."""
    INTRODUCTION = 4
    """The payload of a P2PConnect for the node: who asks for it, with its offer."""


class Elsewhere(Protocol):
    """What a server can ask of the others. It is answered from what is known: nothing waits."""

    def holder(self, node_id: str) -> Foreign | None:
        """The node, if another server holds it and can be reached; None: nobody knows it.

        Args:
            node_id: The id of the node, in canonical text.
        """

    def nodes(self, text: str = "") -> Iterator[Foreign]:
        """The nodes elsewhere, the most recently announced first; nodes may come and go meanwhile.

        Args:
            text: Of many nodes, only those that it may mean are read: all that have this name, or
                whose id begins like this, and perhaps others; empty for all of them.
        """

    def servers_told(self, now: float) -> list[ListedServer]:
        """The servers of the network, as peers are told about them: this one first."""

    def hand(
        self, target: Foreign, source: Peer, kind: Handing, body: bytes, ref: str, now: float
    ) -> bool:
        """Hand something to the server of a node, at most once, as a datagram is sent.

        It waits for the broker if that is away, within limits of size and time. If it does not
        arrive because the other server no longer holds the node, or because it waited too long, the
        `Taker` of its kind is told.

        Args:
            target: The node.
            source: The peer of this server that it comes from.
            kind: What is handed over.
            body: The bytes.
            ref: What `source` calls it, if anything: the `route_id`, the `request_id`.
            now: The time, seconds.

        Returns:
            False if there is no room for it: it is not kept.
        """


class _Alone:
    """A server that shares its network with nobody."""

    def holder(self, _node_id: str) -> Foreign | None:
        return None

    def nodes(self, _text: str = "") -> Iterator[Foreign]:
        return iter(())

    def servers_told(self, _now: float) -> list[ListedServer]:
        return []

    def hand(
        self, _target: Foreign, _source: Peer, _kind: Handing, _body: bytes, _ref: str, _now: float
    ) -> bool:
        return False


ALONE: Final[Elsewhere] = _Alone()
"""The `Elsewhere` without a cluster."""


class NotHanded(IntEnum):
    """Why something did not arrive; the number is on the wire."""

    UNKNOWN = 1
    """The other server no longer holds the node."""
    UNSENDABLE = 2
    """The other server could not send it: too much waits for the node, or it has not proved its
    address."""
    EXPIRED = 3
    """It waited too long for the broker, or for room."""
    SERVER_GONE = 4
    """The other server has fallen silent."""
    TOO_LARGE = 5
    """The node accepts nothing this large."""


@dataclass(frozen=True, slots=True)
class Handed:
    """Something that a server hands to a node of another; or what comes back undelivered."""

    kind: Handing
    server_id: str
    """The server that handed it over, or says that it has not arrived."""
    source_id: str
    """The node that it is from."""
    target_id: str
    """The node that it is for."""
    body: bytes
    ref: str
    """As for `Elsewhere.hand`."""
    on_lost: OnLost | None = field(default=None, compare=False, repr=False)
    """Called if it waits here, and the node leaves before it may be sent it."""


class Taker(Protocol):
    """A room that gives its peers what other servers hand over: one for each `Handing`."""

    def take_handed(self, target: Peer, handed: Handed, now: float) -> NotHanded | None:
        """Give it to its target, an authenticated and plain peer; returns why it was not sent, or
        None.

        Limits and permissions of relaying were checked where it came from. What protects the
        target's address (its purse, its proof, its capabilities) is checked here.
        """

    def handle_not_handed(self, source: Peer, handed: Handed, why: NotHanded, now: float) -> None:
        """What `source`, a peer of this server, sent to a node elsewhere did not arrive: it is told
        as it would be for a node here."""


class _NoTaker:
    """Nothing is taken."""

    def take_handed(self, _target: Peer, _handed: Handed, _now: float) -> NotHanded | None:
        return NotHanded.UNKNOWN

    def handle_not_handed(
        self, _source: Peer, _handed: Handed, _why: NotHanded, _now: float
    ) -> None:
        return


NO_TAKER: Final[Taker] = _NoTaker()
"""The default until somebody takes what is handed over."""
