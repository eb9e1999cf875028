"""This machine's own networks, looked up from time to time, for the search for neighbours."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from p2ptui.core.mesh.neighbours import Neighbours
from p2ptui.core.traversal.own_networks import OwnNetworks
from p2ptui.io.interfaces import (
    attached,
    broadcast_addresses,
    local_addresses,
    local_networks,
    source_host,
)
from p2ptui.wire.address import SOMEWHERE, Address, bare_ip, ip_version, is_wildcard

NETWORKS_REFRESH_S: Final = 30.0
"""A machine's networks are looked up this often: cables and radios come and go."""

_LOOPBACK: Final = ("127.0.0.1",)
_LOOPBACK_V6: Final = ("::1",)


async def watch_networks(
    neighbours: Neighbours,
    local: Address,
    clock: Callable[[], float],
    flush: Callable[[], None],
    note_hosts: Callable[[tuple[Address, ...]], None],
    *,
    searching: bool,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Start the search, and keep it informed about the networks until cancelled.

    Args:
        neighbours: The search.
        local: Where the node's socket is bound.
        clock: The time on the endpoint's clock, seconds.
        flush: Carries out what was asked of the endpoint.
        note_hosts: Called with the addresses at which other machines may reach this node.
        searching: Whether this node looks for others, or can only be found.
        pause: Waits this many seconds, or until something may have changed.
    """
    note_hosts(own_addresses(local))
    networks, hosts = look_around(local[0])
    neighbours.start(networks, hosts, local[1], clock(), searching=searching)
    flush()
    while True:
        await pause(NETWORKS_REFRESH_S)
        note_hosts(own_addresses(local))
        neighbours.update_networks(*look_around(local[0]))


def look_around(host: str) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """The attached networks, and the hosts that a search asks.

    Args:
        host: Where the socket is bound: a loopback socket reaches no network, and IPv6 has no
            broadcast.
    """
    networks = tuple(local_networks())
    if host.startswith("127."):
        return networks, _LOOPBACK
    if host == "::":
        return networks, (*_LOOPBACK, *_LOOPBACK_V6, *broadcast_addresses())
    if ":" in host:
        return networks, _LOOPBACK_V6
    return networks, (*_LOOPBACK, *broadcast_addresses())


def own_networks(local: Address, others: Iterable[Address] = ()) -> OwnNetworks:
    """The networks in which other machines may reach a socket, the best first.

    Args:
        local: Where the socket is bound.
        others: Addresses that it talks to: routes to these are preferred.
    """
    anywhere = [(host, 9) for host in SOMEWHERE.values()]
    facing = [source_host(*address) for address in (*others, *anywhere)]
    found = attached([host for host in facing if host is not None])
    everywhere = is_wildcard(local[0])
    return OwnNetworks(tuple(one for one in found if everywhere or one.host == local[0]))


def own_addresses(local: Address) -> tuple[Address, ...]:
    """The addresses at which other machines on the same networks may reach a socket.

    Args:
        local: Where it is bound.
    """
    host, port = local
    if not is_wildcard(host):
        return (local,)
    usable = []
    for text in local_addresses():
        own = bare_ip(text)
        # A link-local address is only meaningful together with the other machine's interface.
        if (
            not own.is_loopback
            and not own.is_link_local
            and (ip_version(host) == 6 or own.version == 4)
        ):
            usable.append((text, port))
    return tuple(usable)
