"""Addresses of nodes not reached from the node's own socket: relayed, or through another socket.

The peer table knows each node by one address. A relayed node's address names the node and its
server; the address of one reached through a further socket has that socket's number after the host.
"""

from collections.abc import Hashable
from typing import Final, Protocol

from p2ptui.bounded import owners_at
from p2ptui.core.events import Path
from p2ptui.wire.address import Address, bare_ip, format_address, like

# Bound here, since looking up an enum member runs Python code.
_DIRECT: Final = Path.DIRECT
_RELAY: Final = Path.RELAY


class Route(Protocol):
    """A path through a further socket."""

    @property
    def socket(self) -> int:
        """Its number."""

    @property
    def remote(self) -> Address:
        """Where it leads."""


def relay_address(server: Address, node_id: str) -> Address:
    """The address of a node that the server at an address relays to."""
    return f"{node_id}@{server[0]}", server[1]


def relayed_node(address: Address) -> str | None:
    """The id of the node that a relayed node's address names; None for any other address."""
    node_id, at, _ = address[0].partition("@")
    return node_id if at else None


def socket_address(socket: int, remote: Address) -> Address:
    """An address as reached from one of the node's sockets; 0 is its own."""
    return remote if socket == 0 else like(remote, f"{remote[0]}#{socket}", remote[1])


def socket_number(address: Address) -> int:
    """The number of the socket from which an address is reached; 0 is the node's own."""
    return int(address[0].partition("#")[2] or 0)


def path_at(address: Address) -> Path:
    """How datagrams reach an address."""
    return _RELAY if "@" in address[0] else _DIRECT


def visible_address(address: Address) -> Address:
    """An address as others know it: for a relayed node, its server's."""
    host, port = address
    if "@" in host or "#" in host:
        host = host.rpartition("@")[2].partition("#")[0]
    return host, port


def sources_at(
    address: Address, *, is_claim: bool = False
) -> tuple[Hashable | None, Hashable | None]:
    """The machine, and its site, that a rate charges for what comes from an address.

    A relayed node counts as a machine, and its server as its site. Unlike in `owners_at`, a
    loopback address counts too: a rate takes nothing from those who stay below it. A claim is
    charged to nobody: its address may be forged.
    """
    if is_claim:
        return None, None
    host = visible_address(address)[0]
    if relayed_node(address) is not None:
        return address[0], host
    machine, site = owners_at(host)
    return host if machine is None else machine, site


def is_one_place(address: Address) -> bool:
    """Whether an address means the same machine wherever this one is.

    In another network with the same prefix, another machine has the address, and would be sent what
    proves this node's identity to the intended one.
    """
    return bare_ip(visible_address(address)[0]).is_global


def shown_address(address: Address) -> str:
    """An address for a table or a log: a server's is never shown as the relayed node's own."""
    where = format_address(visible_address(address))
    return where if relayed_node(address) is None else f"by way of {where}"


def address_words(address: Address) -> str:
    """An address for people, without this node's internal notation."""
    node_id, where = relayed_node(address), format_address(visible_address(address))
    return where if node_id is None else f"node {node_id} by way of the server at {where}"
