"""What is known about nodes that joined servers named, until they become peers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from msgspec import Struct

from p2ptui.bounded import INDEXED, BoundedTable
from p2ptui.core.mesh.repeats import Repeats
from p2ptui.core.peers import Peer
from p2ptui.core.pings import Pings
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.message import P2PConnectPayload, PeerInfo
from p2ptui.wire.offer import TraversalOffer

INTRODUCTION_LIFETIME_S: Final = 120.0
"""How long an introduction is valid without the server listing the node or traffic from it."""


class Origin(Struct, frozen=True):
    """Who handed a routed message to this node."""

    node_id: str
    address: Address
    peer: Peer | None
    """None for a node that a server introduced."""
    introduced_by: str = ""
    """The id of that server."""


@dataclass(slots=True)
class Introduction:
    """A node at an address that a joined server named."""

    node_id: str
    address: Address
    server_id: str
    expires: float
    capabilities: tuple[str, ...]
    name: str
    pings: Pings
    punches: Repeats = field(default_factory=Repeats)
    """How many Pings were sent to open the path."""
    traversed: bool = False
    """Whether a direct path to it is searched for with checks: then no Ping has to open it, and an
    answered Ping without a session would hide that the session is gone."""

    @property
    def origin(self) -> Origin:
        """The node, as one that hands over messages."""
        return Origin(self.node_id, self.address, None, self.server_id)


class OnIntroduced(Protocol):
    """Called when a server names a node."""

    def __call__(
        self,
        server: Peer,
        node_id: str,
        observed: Address,
        offer: TraversalOffer | None,
        now: float,
        *,
        is_genuine: bool,
    ) -> None:
        """A server names a node.

        Args:
            server: The server.
            node_id: The id of the node.
            observed: The node's address.
            offer: The node's offer, if any.
            now: The time, seconds.
            is_genuine: Whether the server has proved that it says so.
        """


ReadOffer: TypeAlias = Callable[[Peer, str, P2PConnectPayload, float], TraversalOffer | None]
"""Extracts a node's offer from a server's message: given the server, the node, the message, and the
time, seconds."""


def offer_in_the_open(
    _server: Peer, _node_id: str, payload: P2PConnectPayload, _now: float
) -> TraversalOffer | None:
    """A node's offer, if nothing is sealed."""
    return payload.peer_offer


class Introductions:
    """The valid introductions.

    Args:
        state: The shared state.
    """

    def __init__(self, state: NodeState) -> None:
        self._table: BoundedTable[Address, Introduction] = state.tables.add(
            "introductions",
            BoundedTable(
                lambda: state.config.routing.introductions_max,
                full="introductions_full",
                shares=state.tables.shares,
                peer_share=INDEXED,
                in_use=lambda introduction: bool(introduction.pings.awaited),
            ),
        )
        self.addresses = self._table.keys()
        """A live view of the addresses of introduced nodes."""

    def all(self) -> tuple[Introduction, ...]:
        """All of them, oldest first."""
        return tuple(self._table.values())

    def with_id(self, node_id: str) -> Introduction | None:
        """The introduction of a node, the newest if there are several."""
        for introduction in self._table.newest_first():
            if introduction.node_id == node_id:
                return introduction
        return None

    def holds_for(self, node_id: str, now: float) -> bool:
        """Whether a node is introduced at some address."""
        addresses = self._table.of_peer(node_id)
        if not addresses:
            return False
        known = (self._table[address] for address in addresses)
        return any(entry.node_id == node_id and entry.expires > now for entry in known)

    def at(self, address: Address, now: float) -> Introduction | None:
        """The valid introduction of an address."""
        introduction = self._table.get(address)
        if introduction is not None and introduction.expires <= now:
            del self._table[address]
            return None
        return introduction

    def take(self, address: Address) -> Introduction | None:
        """Remove the introduction of an address, perhaps to put it back as the newest."""
        return self._table.pop(address, None)

    def put(self, introduction: Introduction, now: float, server: Address | None = None) -> None:
        """Enter an introduction as the newest; an older one makes room if necessary.

        Args:
            introduction: The introduction.
            now: The time, seconds.
            server: The address of the introducing server, to whose share it counts: it may name any
                address it likes.
        """
        self._table.put(
            introduction.address,
            introduction,
            now,
            peers=tuple({introduction.server_id, introduction.node_id}),
            address=server,
        )

    @staticmethod
    def renew(introduction: Introduction, now: float) -> None:
        """An introduced node has sent something: its introduction is extended."""
        introduction.expires = now + INTRODUCTION_LIFETIME_S

    def refresh(
        self, server: Peer, entries: tuple[PeerInfo, ...], now: float, _evidence: object = None
    ) -> None:
        """The introducing server still lists these nodes."""
        listed = {entry.id for entry in entries}
        for introduction in self._by(server):
            if introduction.node_id in listed:
                introduction.expires = now + INTRODUCTION_LIFETIME_S

    def forget(self, server: Peer, left: tuple[str, ...], _now: float) -> None:
        """The introducing server says that these nodes have left."""
        for introduction in self._by(server):
            if introduction.node_id in left:
                del self._table[introduction.address]

    def shorten(self, server: Peer, until: float) -> None:
        """Limit the validity of one server's introductions to this time, seconds."""
        for introduction in self._by(server):
            introduction.expires = min(introduction.expires, until)

    def _by(self, server: Peer) -> list[Introduction]:
        """The introductions of one server, the least recently refreshed first."""
        known = (self._table[address] for address in self._table.of_peer(server.node_id))
        return [entry for entry in known if entry.server_id == server.node_id]
