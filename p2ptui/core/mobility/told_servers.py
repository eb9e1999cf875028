"""Other servers of the network, as a server names them: which are remembered and may be asked.

Its word is not an order. The servers it names are asked only when this node has no server left, one
at a time, and by a handshake that requires the keys of the named id. A server on the Internet
cannot name addresses in this node's own networks, which it has no business searching.
"""

from collections.abc import Iterable
from typing import NamedTuple

from p2ptui.core.identity import canonical_id
from p2ptui.secure.identity import is_made_of_keys
from p2ptui.wire.address import Address, bare_ip, parse_ip_address, unmapped
from p2ptui.wire.message import MAX_OTHER_SERVERS, OtherServer


class ToldServer(NamedTuple):
    """Another server of the network, as named by one of them."""

    node_id: str
    """Derived from the keys that it has to prove, in canonical text."""
    address: Address


def worth_keeping(
    entries: Iterable[OtherServer], teller: Address, own_id: str
) -> tuple[ToldServer, ...]:
    """The servers that this node could go to, in their order.

    Args:
        entries: The entries as they arrived.
        teller: The address of the server that names them.
        own_id: This node's id.
    """
    found: dict[str, ToldServer] = {}
    for entry in entries:
        node_id, address = canonical_id(entry.id), parse_ip_address(entry.address)
        if node_id is None or address is None or node_id == own_id:
            continue
        if is_made_of_keys(node_id) and _may_be_named(address, teller):
            found.setdefault(node_id, ToldServer(node_id, address))
    return tuple(found.values())[:MAX_OTHER_SERVERS]


def _may_be_named(address: Address, teller: Address) -> bool:
    ip, at = unmapped(bare_ip(address[0])), unmapped(bare_ip(teller[0]))
    if ip.is_multicast or ip.is_unspecified or ip.is_link_local or ip.is_reserved:
        return False
    if ip.is_loopback:
        return at.is_loopback
    return ip.is_global or not at.is_global
