"""All the nodes that a node knows, in an order, without a snapshot of each: for tables of
thousands.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import PeerStatus
from p2ptui.core.identity import canonical_id
from p2ptui.core.peers import Peer
from p2ptui.errors import UnknownPeerError
from p2ptui.node.lookup import SeveralFitError, find_named, find_node, may_mean
from p2ptui.node.others import Known, NodesElsewhere, OtherNode, find_others
from p2ptui.node.refused import Refused, rank_of, view_of
from p2ptui.node.view import PeerView, trust_in, view
from p2ptui.node.ways import shell_target
from p2ptui.secure.known_nodes import Trust
from p2ptui.text import whole_number
from p2ptui.wire.address import MAX_PORT, Address, format_address

_STATUSES: Final = list(PeerStatus)
_FAR: Final = math.inf

_TRUSTS: Final = (Trust.CHANGED, Trust.OPEN, Trust.NEW, Trust.KNOWN, Trust.VERIFIED, None)
"""What needs attention goes first."""

TRUST_KEY: Final = "trust:"
"""Prefix of a search for nodes by their trust."""

RANKS: Final[Mapping[str, tuple[Callable[[Peer], Any], Callable[[OtherNode], Any]]]] = {
    "status": (lambda peer: _STATUSES.index(peer.status), lambda _: len(_STATUSES)),
    "name": (
        lambda peer: (peer.info.name if peer.info is not None else peer.name).lower(),
        lambda other: other.name.lower() or other.node_id,
    ),
    "node_id": (lambda peer: peer.node_id, lambda other: other.node_id),
    "address": (lambda peer: peer.address, lambda other: other.address or ("", 0)),
    "path": (
        lambda _: 0,
        lambda other: 3 if other.is_elsewhere else 1 if other.introduced else 2,
    ),
    "rtt_ms": (
        lambda peer: peer.channel.rtt.latest or _FAR,
        lambda other: _FAR if other.rtt_ms is None else other.rtt_ms / 1000,
    ),
    "loss": (
        lambda peer: (
            peer.channel.retransmissions / ((peer.messages_out + peer.channel.retransmissions) or 1)
        ),
        lambda _: 0.0,
    ),
    "messages_in": (lambda peer: peer.messages_in, lambda other: other.messages_in),
    "messages_out": (lambda peer: peer.messages_out, lambda other: other.messages_out),
    "last_received": (
        lambda peer: -peer.last_received,
        lambda other: _FAR if other.last_received is None else -other.last_received,
    ),
    "proved": (lambda peer: peer.proved, lambda _: False),
    "trust": (lambda peer: _TRUSTS.index(trust_in(peer)), lambda _: len(_TRUSTS)),
}
"""Sort keys, for peers and for other nodes."""

NAMES_HOLD_S: Final = 0.2
"""Names are wanted at every keystroke: for thousands of nodes they take milliseconds."""

PART: Final = 500
"""Peers processed in one go: about half a millisecond."""


class Roster:
    """Peers and other nodes by a key that stays the same as long as they are there.

    Args:
        endpoint: The node's protocol.
        clock: Its clock, seconds.
        refused: The servers that are to be joined and are refused, by their addresses.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Callable[[], float],
        refused: Callable[[], Mapping[str, Refused]] = dict,
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._refused = refused
        self._elsewhere = NodesElsewhere(endpoint)
        self._others: dict[str, OtherNode] = {}
        self._noted_at = -math.inf

    def __len__(self) -> int:
        peers = self._endpoint.peers
        refused = sum(peers.at(one.address) is None for one in self._refused().values())
        return len(peers) + refused + len(self._others)

    def order(
        self, by: str = "name", *, descending: bool = False, containing: str = ""
    ) -> list[str]:
        """The keys of all nodes, sorted; equal ranks by key, in either direction.

        Args:
            by: One of `RANKS`.
            descending: Whether the highest rank comes first.
            containing: Only nodes with this in their name, id or address; or `trust:WORD` for nodes
                of this trust, or one that begins with it.
        """
        parts = self.order_in_parts(by, descending=descending, containing=containing)
        return list(parts)[-1]

    def order_in_parts(
        self, by: str = "name", *, descending: bool = False, containing: str = ""
    ) -> Iterator[list[str]]:
        """Do what `order` does, but let other tasks run in between: for thousands it takes 20 ms.

        Args:
            by: One of `RANKS`.
            descending: Whether the highest rank comes first.
            containing: As for `order`.

        Yields:
            An empty list after each part of the work, and finally the keys.
        """
        self._note_others()
        others = list(self._others.values())
        of_peer, of_other = RANKS[by]
        with_id = self._endpoint.peers.with_id
        # Not a tuple for each: ten thousand tuples are new work for the garbage collector.
        ranks: dict[str, Any] = {}
        for number, peer in enumerate(list(self._endpoint.peers)):
            if number % PART == PART - 1:
                yield []
            if containing and not _fits(peer, containing):
                continue
            info = peer.info
            # While an id is being taken over, two peers have it: the address tells them apart.
            known = info is not None and with_id(info.id) is peer
            ranks[info.id if info is not None and known else format_address(peer.address)] = (
                of_peer(peer)
            )
        ranks |= {other.node_id: of_other(other) for other in others if _fits(other, containing)}
        for key, refused in self._refused().items():
            # Even while it is being asked once more: the request will be refused.
            ranks.pop(key, None)
            if _fits(view_of(refused, 0.0), containing):
                ranks[key] = rank_of(refused, by)
        yield []
        keys = sorted(ranks)
        yield []
        keys.sort(key=ranks.__getitem__, reverse=descending)
        yield keys

    def look(self, key: str) -> Known | None:
        """A snapshot of the node with this key, if it is still there."""
        peer = self._endpoint.peers.with_id(key)
        if peer is not None:
            return self._view(peer)
        refused = self._refused().get(key)
        if refused is not None:
            return view_of(refused, self._clock())
        if key in self._others:
            return self._others[key]
        host, _, port = key.rpartition(":")
        number = whole_number(port, MAX_PORT)
        if number is not None:
            peer = self._endpoint.peers.at((host.strip("[]"), number))
        return self._view(peer) if peer is not None else None

    def rtt_ms(self, key: str) -> float | None:
        """The last round trip to a node by its id, without a snapshot of it."""
        peer = self._endpoint.peers.with_id(key)
        contact = self._endpoint.naming.contact_with(key)
        if peer is None and contact is not None:
            return None if contact.rtt_s is None else contact.rtt_s * 1000
        rtt_s = peer.channel.rtt.latest if peer is not None else None
        return None if rtt_s is None else rtt_s * 1000

    @property
    def searched_ports(self) -> tuple[int, int] | None:
        """The first and last port on which nearby nodes are searched for; None if there is no
        search.
        """
        server = self._endpoint.config.server
        return server.discovery_port_range if server.enable_discovery else None

    @property
    def connected(self) -> int:
        """Peers with a session."""
        return self._endpoint.peers.statuses.get(PeerStatus.AUTHENTICATED, 0)

    @property
    def changed(self) -> int:
        """The number of peers whose identity has changed, and of servers refused for that."""
        return len(self._refused()) + sum(
            judged.judgement.trust is Trust.CHANGED and trust_in(peer) is Trust.CHANGED
            for peer in self._endpoint.peers
            if (judged := peer.facts.judged) is not None
        )

    def servers(self) -> list[PeerView]:
        """The peers that this node asked for a session by address, and has one with."""
        now = self._clock()
        asked = self._endpoint.peers.initiated
        return [view(peer, now) for peer in asked if peer.is_joined_server]

    def name_at(self, address: Address) -> str:
        """The name of the peer at an address: remote text; empty without one."""
        peer = self._endpoint.peers.at(address)
        return peer.name if peer is not None and peer.info is not None else ""

    def name_with(self, node_id: str) -> str:
        """The name of a peer, or of a node behind one: remote text; empty if unknown."""
        return self._endpoint.naming.name_of(node_id, self._clock())

    def names(self) -> Iterator[str]:
        """Ids and names of all nodes: words that refer to one of them. Remote text."""
        if self._clock() - self._noted_at > NAMES_HOLD_S:
            self._note_others()
        for peer in self._endpoint.peers:
            if peer.info is not None:
                yield peer.node_id
                yield peer.name
        for refused in self._refused().values():
            yield refused.node_id
            if refused.name:
                yield refused.name
        for other in self._others.values():
            yield other.node_id
            if other.name:
                yield other.name

    def find(self, text: str) -> Known:
        """The node meant by an id, the beginning of one, a name or an address.

        Raises:
            UnknownPeerError: None fits, or several do.
        """
        try:
            found = find_node(self._endpoint, text, self._clock())
        except SeveralFitError:
            raise
        except UnknownPeerError:
            refused = [
                one
                for key, one in self._refused().items()
                if text in (key, one.name) or (text and one.node_id.startswith(text.lower()))
            ]
            if len(refused) == 1:
                return view_of(refused[0], self._clock())
            if refused:
                raise
            now, node_id = self._clock(), canonical_id(text)
            if node_id is not None and (exact := self._elsewhere.with_id(node_id, now)) is not None:
                return exact
            fitting = self._elsewhere.those(text, partial(may_mean, text), now)
            if not fitting:
                raise
            return find_named(text, fitting)
        return self._view(found) if isinstance(found, Peer) else found

    def shell_target(self, node: Known) -> tuple[str, ...]:
        """The arguments with which a one-shot command reaches a node; empty if none are known."""
        return shell_target(self._endpoint, node)

    def _view(self, peer: Peer) -> PeerView:
        return view(peer, self._clock(), self._endpoint.peers)

    def _note_others(self) -> None:
        now = self._clock()
        self._others = dict(self._elsewhere.look(now))
        for other in find_others(self._endpoint, now):
            self._others.setdefault(other.node_id, other)
        self._noted_at = now


def _fits(node: Peer | Known, text: str) -> bool:
    if not text:
        return True
    if text.lower().startswith(TRUST_KEY):
        trust = trust_in(node) if isinstance(node, Peer) else None
        if isinstance(node, PeerView):
            trust = node.trust
        return trust is not None and trust.startswith(text.lower().removeprefix(TRUST_KEY))
    address = format_address(node.address) if node.address is not None else ""
    return text.lower() in f"{node.name} {node.node_id} {address}".lower()
