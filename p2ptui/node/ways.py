"""How a node is reached, in one place: for tables and logs, and as arguments of a command.

A displayed command must reach the node that it names when anyone runs it later, from a new socket.
So an address stands for a node only if the node itself listens there; a node that is introduced or
relayed by a server is named by its id, with the server as the starting point.
"""

from p2ptui.core.addresses import relayed_node, visible_address
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import Path
from p2ptui.core.identity import short_id
from p2ptui.core.peers import Peer
from p2ptui.node.others import Known, OtherNode
from p2ptui.text import printable
from p2ptui.wire.address import Address, format_address, is_wildcard, parse_ip_address


def own_address(node: Known) -> Address | None:
    """A node's own address, as far as it is known and in use; None while others forward to it."""
    if isinstance(node, OtherNode):
        return None if node.is_elsewhere else node.address
    return None if node.path is Path.RELAY else node.address


def way_words(node: Known) -> str:
    """Where a node is, or through which node it is reached; harmless text."""
    address = own_address(node)
    if address is not None:
        return format_address(address)
    if isinstance(node, OtherNode) and node.is_elsewhere:
        return f"at {printable(node.via_name, 32) or short_id(node.via)}"
    if node.via_name:
        return f"by way of {printable(node.via_name, 32)}"
    if isinstance(node, OtherNode):
        return f"by way of {short_id(node.via)}"
    return f"by way of {format_address(node.address)}"


def shell_target(endpoint: Endpoint, node: Known) -> tuple[str, ...]:
    """The arguments with which a one-shot command reaches this node, and no other.

    Args:
        endpoint: The protocol of the node that knows it.
        node: The node to reach.

    Returns:
        `HOST:PORT`, or an id and `--join HOST:PORT`; empty if no such command is known.
    """
    peer = endpoint.peers.authenticated(node.node_id)
    if peer is not None and _listens(endpoint, peer):
        return (format_address(peer.address),)
    start = _start_to(endpoint, node, peer)
    return () if start is None else (node.node_id, "--join", format_address(start))


def _listens(endpoint: Endpoint, peer: Peer) -> bool:
    """Whether a stranger that sends to its address is certain to reach this node."""
    if any(entry.address == peer.address for entry in endpoint.introductions):
        return False  # its NAT is open only for this node
    if peer.is_joined_server:
        return True
    if not (peer.is_plain and peer.proved and peer.connection is None and peer.is_routing):
        return False
    listens_at = parse_ip_address(peer.info.listen_addr) if peer.info is not None else None
    return peer.sends_to == peer.address == listens_at


def _start_to(endpoint: Endpoint, node: Known, peer: Peer | None) -> Address | None:
    """The address of a node that lists this one, and introduces or forwards to it."""
    if peer is not None and relayed_node(peer.home) is not None:
        server = endpoint.peers.at(visible_address(peer.home))
        if server is not None and server.is_joined_server:
            return server.address
    for entry in reversed(endpoint.introductions):
        if entry.node_id == node.node_id:
            server = endpoint.peers.authenticated(entry.server_id)
            if server is not None and server.is_joined_server:
                return server.address
    if peer is not None:
        # A client of this node: others find it here, in this node's list.
        return _own_listening(endpoint) if peer.is_plain and not peer.initiated else None
    if isinstance(node, OtherNode) and not node.introduced and node.hops == 2:
        hop = endpoint.peers.authenticated(node.via)
        if hop is not None and _listens(endpoint, hop):
            return hop.address
    return None


def _own_listening(endpoint: Endpoint) -> Address | None:
    """Where a program on this machine reaches this node."""
    address = parse_ip_address(endpoint.identity.listen_addr)
    if address is None or not is_wildcard(address[0]):
        return address
    return ("::1" if ":" in address[0] else "127.0.0.1"), address[1]
