"""Whom a person means: an id, the beginning of one, a name, or an address."""

from collections.abc import Iterable
from typing import Final, TypeAlias, TypeVar

from p2ptui.core.endpoint import Endpoint
from p2ptui.core.identity import canonical_id
from p2ptui.core.peers import Peer
from p2ptui.errors import LocalError, UnknownPeerError
from p2ptui.node.arguments import single_host
from p2ptui.node.view import PeerView
from p2ptui.text import printable
from p2ptui.wire.address import Address, format_address, parse_address
from p2ptui.wire.message import NodeInfo

PeerRef: TypeAlias = str | Address | PeerView
"""A peer by id, prefix of an id, name, `host:port`, address, or an earlier view of it."""

NAMED_AT_MOST: Final = 4
"""Of many nodes that fit, so many are named."""

_Named = TypeVar("_Named", Peer, NodeInfo)


def node_id_of(peer: PeerRef) -> str | None:
    """The id that a reference holds, if it holds a whole one."""
    if isinstance(peer, PeerView):
        return peer.node_id or None
    return canonical_id(peer) if isinstance(peer, str) else None


def find_peer(endpoint: Endpoint, peer: PeerRef) -> Peer:
    """The peer that is meant.

    Raises:
        UnknownPeerError: None fits, or several do.
    """
    node_id = node_id_of(peer)
    found: Peer | None
    if node_id is not None:
        found = endpoint.peers.with_id(node_id)
    elif isinstance(peer, str):
        try:
            address = parse_address(peer)
        except ValueError:
            return find_named(peer, endpoint.peers)
        found = endpoint.peers.at(_canonical(address))
    elif isinstance(peer, PeerView):
        found = endpoint.peers.at(peer.address)
    else:
        found = endpoint.peers.at(_canonical(peer))
    if found is None:
        raise UnknownPeerError(f"no peer {_words(peer)}; connect to it first")
    return found


def find_named(text: str, candidates: Iterable[_Named]) -> _Named:
    """The one of many with this name, or whose id begins so; a name that fits goes first.

    Raises:
        UnknownPeerError: None fits, or several do.
    """
    nodes = list(candidates)
    fitting = [node for node in nodes if node.name == text]
    if not fitting and text:
        fitting = [node for node in nodes if _id(node).startswith(text.lower())]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise UnknownPeerError(
            f"no node is called {printable(text, 80)!r} or has an id that begins so"
        )
    ids = ", ".join(_id(node) for node in fitting[:NAMED_AT_MOST])
    more = ", ..." if len(fitting) > NAMED_AT_MOST else ""
    raise UnknownPeerError(
        f"{printable(text, 80)!r} fits {len(fitting)} nodes: {ids}{more}; give more of the id"
    )


def _canonical(address: Address) -> Address:
    try:
        return single_host(address)
    except (ValueError, LocalError):
        return address  # no peer is there, and the complaint names it as it was written


def _id(node: Peer | NodeInfo) -> str:
    return node.node_id


def _words(peer: PeerRef) -> str:
    if isinstance(peer, str):
        return printable(peer, 80)
    return format_address(peer.address if isinstance(peer, PeerView) else peer)
