"""Addresses of nodes that the node's own socket does not reach: relayed, or from another socket.

The peer table knows a node by one address. That of a relayed node names it and its server; that
of one that is reached from a further socket has the number of the socket behind the host.
"""

from collections.abc import Hashable
from typing import Final, Protocol

from p2ptui.bounded import owners_at
from p2ptui.core.events import Path
from p2ptui.wire.address import Address, bare_ip, format_address, like

# A member of an enum is looked up in Python.
_DIRECT: Final = Path.DIRECT
_RELAY: Final = Path.RELAY


class Route(Protocol):
    """A way by a further socket."""

    @property
    def socket(self) -> int:
        """Its number."""

    @property
    def remote(self) -> Address:
        """Where it leads."""


def relay_address(server: Address, node_id: str) -> Address:
    """Where a node is that is reached by way of the server at an address."""
    return f"{node_id}@{server[0]}", server[1]


def relayed_node(address: Address) -> str | None:
    """Whom the address of a relayed node means; None for any other."""
    node_id, at, _ = address[0].partition("@")
    return node_id if at else None


def socket_address(socket: int, remote: Address) -> Address:
    """An address as it is reached from one of the node's sockets; 0 is its own."""
    return remote if socket == 0 else like(remote, f"{remote[0]}#{socket}", remote[1])


def socket_number(address: Address) -> int:
    """From which of the node's sockets an address is reached; 0 is its own."""
    return int(address[0].partition("#")[2] or 0)


def path_at(address: Address) -> Path:
    """How datagrams reach an address."""
    return _RELAY if "@" in address[0] else _DIRECT


def visible_address(address: Address) -> Address:
    """An address as others know it: of a relayed node the server's."""
    host, port = address
    if "@" in host or "#" in host:
        host = host.rpartition("@")[2].partition("#")[0]
    return host, port


def sources_at(
    address: Address, *, is_claim: bool = False
) -> tuple[Hashable | None, Hashable | None]:
    """Who causes what comes from an address, for a rate: the machine, and the site that it is in.

    A relayed node is one by itself, and its server is its site. Unlike in `owners_at`, a loopback
    address counts as well: a rate takes nothing away from who keeps to it. A claim comes from
    nobody: its address may be forged.
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

    In another network of the same numbers somebody else has it, and would be told what proves to
    the node that was meant that this one speaks.
    """
    return bare_ip(visible_address(address)[0]).is_global


def shown_address(address: Address) -> str:
    """An address for a table or a log: a relayed node's is never shown as if it were its own."""
    where = format_address(visible_address(address))
    return where if relayed_node(address) is None else f"by way of {where}"


def address_words(address: Address) -> str:
    """An address for people, without what only this node understands."""
    node_id, where = relayed_node(address), format_address(visible_address(address))
    return where if node_id is None else f"node {node_id} by way of the server at {where}"
