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
"""An introduction holds this long without the server listing the node or traffic from it."""


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
    """How often Pings went out to open the way."""
    traversed: bool = False
    """Whether a direct path to it is searched with checks: no Ping has to open it, and one that
    is answered without a session would hide that the session is gone."""

    @property
    def origin(self) -> Origin:
        """As who hands something over."""
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
            observed: Where it is.
            offer: What it offers, if it does.
            now: The time, seconds.
            is_genuine: Whether the server has shown that it says so.
        """


ReadOffer: TypeAlias = Callable[
    [Peer, str, P2PConnectPayload, Address, float], TraversalOffer | None
]
"""Takes what a node offers out of what a server says: of which server and node, where the node is,
and the time, seconds."""


def offer_in_the_open(
    _server: Peer, _node_id: str, payload: P2PConnectPayload, _address: Address, _now: float
) -> TraversalOffer | None:
    """What a node offers, where nothing is sealed."""
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
        """Where there are introduced nodes, as they are at any time."""

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
        """The introduction that holds for an address."""
        introduction = self._table.get(address)
        if introduction is not None and introduction.expires <= now:
            del self._table[address]
            return None
        return introduction

    def take(self, address: Address) -> Introduction | None:
        """Take the one of an address out, be it to put it back as the newest."""
        return self._table.pop(address, None)

    def put(self, introduction: Introduction, now: float, server: Address | None = None) -> None:
        """Note one as the newest; an older one makes room if need be.

        Args:
            introduction: The introduction.
            now: The time, seconds.
            server: Where the server is that introduces, whose share it counts for: it may name
                whatever address it likes.
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
        """Something came from an introduced node: it holds for longer."""
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
        """The introducing server says that these nodes left."""
        for introduction in self._by(server):
            if introduction.node_id in left:
                del self._table[introduction.address]

    def shorten(self, server: Peer, until: float) -> None:
        """What one server introduced holds until then at most, seconds."""
        for introduction in self._by(server):
            introduction.expires = min(introduction.expires, until)

    def _by(self, server: Peer) -> list[Introduction]:
        """Those of one server, the one refreshed longest ago first."""
        known = (self._table[address] for address in self._table.of_peer(server.node_id))
        return [entry for entry in known if entry.server_id == server.node_id]
