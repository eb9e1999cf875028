"""Which node a user means: by an id, the beginning of one, a name, or an address.

There is one look-up for the screen, the shell and the library. It knows peers and the nodes behind
them by all their names; a reference that fits several is reported, never guessed.
"""

import math
import re
from collections.abc import Iterable
from typing import Final, TypeAlias, TypeVar

from p2ptui.core.endpoint import Endpoint
from p2ptui.core.identity import SHORT_ID, canonical_id, told_name
from p2ptui.core.peers import Peer
from p2ptui.errors import LocalError, UnknownPeerError
from p2ptui.node.arguments import require_pair, single_host
from p2ptui.node.others import OtherNode, find_others
from p2ptui.node.view import PeerView
from p2ptui.node.ways import way_words
from p2ptui.text import printable, shown
from p2ptui.wire.address import Address, format_address, parse_address, with_port
from p2ptui.wire.joined import JoinedAddress
from p2ptui.wire.message import ListedServer, NodeInfo

PeerRef: TypeAlias = str | Address | PeerView | OtherNode
"""A node by id, prefix of an id, name, `host:port`, address, or an earlier view of it."""

SHOWS_ITSELF_S: Final = 0.4
"""A node that has just come shows within a round trip that it receives at its address."""

NAMED_AT_MOST: Final = 4
"""If many nodes fit, this many are named."""

_HOST: Final = re.compile(r"localhost|(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{1,63}\.?")


class SeveralFitError(UnknownPeerError):
    """A reference fits more than one node; the text names them."""


class OtherServerError(UnknownPeerError):
    """The reference means another server of the network, not a node that a server could introduce.

    Args:
        server: That server.
        address: Its address, with the id that it must have.
    """

    def __init__(self, server: ListedServer, address: JoinedAddress) -> None:
        super().__init__(
            f"{server_words(server)} is another server of the network; connect to it first, at"
            f" {format_address(address)}"
        )
        self.server, self.address = server, address


_Named = TypeVar("_Named", bound=Peer | NodeInfo | OtherNode)
_Known = TypeVar("_Known", bound=Peer | OtherNode)


def node_id_of(peer: PeerRef) -> str | None:
    """The id in a reference, if it holds a whole one."""
    if isinstance(peer, PeerView | OtherNode):
        return peer.node_id or None
    return canonical_id(peer) if isinstance(peer, str) else None


def find_node(endpoint: Endpoint, ref: PeerRef, now: float) -> Peer | OtherNode:
    """The peer that is meant, or the node behind one.

    Args:
        endpoint: The node's protocol.
        ref: The reference.
        now: The time on the endpoint's clock, seconds.

    Raises:
        UnknownPeerError: None fits, or several do.
    """
    found = _find_exact(endpoint, ref)
    if found is not None and _has_session(found):
        return found
    others = list(find_others(endpoint, now))
    node_id = node_id_of(ref) or (found.node_id if found is not None else None)
    if node_id is not None:
        fitting = [other for other in others if other.node_id == node_id]
    elif (address := _address_in(ref)) is not None:
        fitting = [other for other in others if other.address == address]
    else:
        assert isinstance(ref, str)
        known: list[Peer | OtherNode] = [*_identified(endpoint), *others]
        return find_named(ref, _each_once(known), now)
    if not fitting and found is not None:
        return found  # a session is under way
    if not fitting:
        raise UnknownPeerError(f"no peer {_words(ref)}; connect to it first")
    return fitting[0]


def find_peer(endpoint: Endpoint, ref: PeerRef, now: float | None = None) -> Peer:
    """The peer that is meant: a node with a session, or one under way.

    Args:
        endpoint: The node's protocol.
        ref: The reference.
        now: The time on the endpoint's clock, seconds: then a name that also fits a node behind a
            peer is ambiguous. None: only peers are considered.

    Raises:
        UnknownPeerError: None fits, or several do.
    """
    if now is not None:
        return with_session(find_node(endpoint, ref, now))
    found = _find_exact(endpoint, ref)
    if found is None and isinstance(ref, str) and is_name(ref):
        found = find_named(ref, _each_once(_identified(endpoint)))
    if found is None:
        raise UnknownPeerError(f"no peer {_words(ref)}; connect to it first")
    return found


def with_session(found: Peer | OtherNode) -> Peer:
    """The found node, if it is a peer.

    Raises:
        UnknownPeerError: It has no session.
    """
    if isinstance(found, Peer):
        return found
    raise UnknownPeerError(
        f"there is no session with {printable(found.name, 64) or 'node'} ({found.node_id});"
        " connect to it first"
    )


def is_name(text: str) -> bool:
    """Whether a text can only be a name or the beginning of an id."""
    return canonical_id(text) is None and _address_in(text) is None


def is_node_ref(text: str) -> bool:
    """Whether a text names a node, rather than an address to connect to."""
    return canonical_id(text) is not None or (bool(text) and ":" not in text)


def _find_exact(endpoint: Endpoint, ref: PeerRef) -> Peer | None:
    """The peer with this id, or at this address."""
    node_id = node_id_of(ref)
    if node_id is not None:
        found = endpoint.peers.with_id(node_id)
        if found is None or _has_session(found):
            return found
        return _each_once(peer for peer in _identified(endpoint) if peer.node_id == node_id)[0]
    if isinstance(ref, PeerView):
        return endpoint.peers.at(ref.address)
    address = _address_in(ref)
    return endpoint.peers.at(address) if address is not None else None


def _address_in(ref: PeerRef) -> Address | None:
    if isinstance(ref, PeerView | OtherNode):
        return ref.address
    if not isinstance(ref, str):
        return _canonical(require_pair(ref))
    try:
        return _canonical(parse_address(ref))
    except ValueError:
        return None


def _identified(endpoint: Endpoint) -> list[Peer]:
    """The peers that have said who they are."""
    return [peer for peer in endpoint.peers if peer.info is not None]


def _has_session(peer: Peer) -> bool:
    """Whether messages for it are accepted: they are sent at once, or once it has resumed."""
    return peer.is_authenticated or peer.resumes


def _each_once(known: Iterable[_Known]) -> list[_Known]:
    """Each node once, even if it is known in several ways: in the most useful one.

    A node that is being asked for a session again is a peer and still a node that a server
    introduced; and while a node moves to another address, two peers may have its id.
    """
    best: dict[str, _Known] = {}
    for node in known:
        before = best.get(node.node_id)
        if before is None or _usefulness(node) > _usefulness(before):
            best[node.node_id] = node
    return list(best.values())


def _usefulness(node: Peer | OtherNode) -> int:
    if isinstance(node, OtherNode):
        return 1
    if node.is_authenticated:
        return 3
    return 2 if node.resumes else 0


def not_met_words(endpoint: Endpoint, text: str, now: float) -> str:
    """What to say about a node that is listed but was never met, so nothing is known about it;
    empty if no such node is meant.

    Args:
        endpoint: The node's protocol.
        text: Its name, its id, or the beginning of its id.
        now: The time on its clock, seconds.
    """
    try:
        node = find_named(text, find_others(endpoint, now))
    except UnknownPeerError:
        return ""
    who = printable(node.name, 64) or node.node_id
    return f"{who} ({node.node_id}) was never met, and has shown no keys: connect to it first"


def may_mean(text: str, node_id: str, name: str) -> bool:
    """Whether a text may mean this node by its name, or by the beginning of its id."""
    return bool(text) and (name in (text, told_name(text)) or node_id.startswith(text.lower()))


def find_named(text: str, candidates: Iterable[_Named], now: float = math.inf) -> _Named:
    """The candidate with this name, or whose id begins with the text; a matching name is preferred.

    It is not preferred to another node's id as the screen shows it: anyone may choose that as a
    name. And a node that may be a mere claim does not compete with one that is better known and was
    here before: otherwise a forged handshake would make that name unusable.

    Args:
        text: The reference.
        candidates: The nodes that may be meant.
        now: The time, seconds, which decides which nodes have only just come; by default none.

    Raises:
        UnknownPeerError: None fits.
        SeveralFitError: Several do.
    """
    nodes = list(candidates)
    prefix = text.lower()
    names = {text, told_name(text)} if text else set()
    fitting = [
        node
        for node in nodes
        if node.name in names
        or _earlier_name(node) in names
        or (len(text) >= SHORT_ID and node.node_id.startswith(prefix))
    ]
    if not fitting and text:
        fitting = [node for node in nodes if node.node_id.startswith(prefix)]
    if len(fitting) > 1:
        fitting = _without_claims(fitting, now)
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise UnknownPeerError(_nobody(text))
    ids = ", ".join(node.node_id for node in fitting[:NAMED_AT_MOST])
    more = ", ..." if len(fitting) > NAMED_AT_MOST else ""
    raise SeveralFitError(
        f"{shown(text)} fits {len(fitting)} nodes: {ids}{more}; give more of the id"
    )


def _earlier_name(node: Peer | NodeInfo | OtherNode) -> str | None:
    return node.earlier_name or None if isinstance(node, OtherNode) else None


def _without_claims(fitting: list[_Named], now: float) -> list[_Named]:
    """The well-known nodes; of the others, those that were here before all of these, or have only
    just come and may soon show that they are genuine.
    """
    known = [node for node in fitting if not _is_claim(node)]
    first = min(map(_since, known), default=math.inf)
    return [
        node
        for node in fitting
        if not _is_claim(node)
        or _since(node) < first
        or (isinstance(node, Peer) and now < node.created_at + SHOWS_ITSELF_S)
    ]


def _is_claim(node: Peer | NodeInfo | OtherNode) -> bool:
    """Whether anyone may have made it up: it has not shown that it is at its address."""
    return isinstance(node, Peer | OtherNode) and node.is_claim


def _since(node: Peer | NodeInfo | OtherNode) -> float:
    if isinstance(node, Peer):
        return node.created_at
    return node.known_since if isinstance(node, OtherNode) else 0.0


def _nobody(text: str) -> str:
    if with_port(text) is not None:
        try:
            parse_address(text)
        except ValueError as error:
            return printable(str(error))
    words = f"no node is called {shown(text)} or has an id that begins so"
    if _HOST.fullmatch(text):
        words += f"; if it is a host, the port is missing: write {printable(text, 80)}:PORT"
    return words


def _canonical(address: Address) -> Address:
    try:
        return single_host(address)
    except (ValueError, LocalError):
        return address  # no peer there: the error names it as it was written


def _words(peer: PeerRef) -> str:
    if isinstance(peer, str):
        return printable(peer, 80)
    if isinstance(peer, PeerView | OtherNode):
        # While it was relayed, its address was the server's.
        return peer.node_id or way_words(peer)
    return format_address(peer)


def server_words(server: ListedServer) -> str:
    """A server's name and id: harmless text."""
    name = printable(server.name, 32)
    return f"{name} ({server.id})" if name else f"node {server.id}"
