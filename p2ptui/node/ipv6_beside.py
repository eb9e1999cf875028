"""A socket at this machine's global IPv6 address, beside the socket of a node that listens on IPv4.

Two nodes that met over IPv4 may have a path over IPv6 without any NAT. The socket carries checks
and chosen paths; it serves nobody.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from p2ptui.errors import P2PError
from p2ptui.io.interfaces import source_host
from p2ptui.io.udp import DatagramSocket
from p2ptui.node.networks import NETWORKS_REFRESH_S
from p2ptui.tagged import tagged
from p2ptui.wire.address import (
    SOMEWHERE,
    Address,
    format_address,
    ip_version,
    is_global_ipv6,
    is_wildcard,
)

log = logging.getLogger("p2ptui.nat")


def global_ipv6() -> str | None:
    """The address from which this machine reaches the IPv6 internet, or None."""
    host = source_host(SOMEWHERE[6], 9)
    return host if host is not None and is_global_ipv6(host) else None


def wants_ipv6_beside(local: Address) -> bool:
    """Whether a node's socket is open to everybody, but over IPv4 only.

    Args:
        local: Where it is bound.
    """
    return ip_version(local[0]) == 4 and is_wildcard(local[0])


async def keep_ipv6_beside(
    port: int,
    open_socket: Callable[[Address], Awaitable[DatagramSocket]],
    use: Callable[[DatagramSocket | None], None],
    look_up: Callable[[], str | None] = global_ipv6,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Keep such a socket open at the machine's current address, until cancelled.

    Args:
        port: The port of the node's own socket: the same one is used if it is free.
        open_socket: Binds one address.
        use: Called with each socket that is opened, and with None when there is no address any
            more; closes the previous one when it is no longer needed.
        look_up: Returns the address.
        pause: Waits this many seconds, or until something may have changed.
    """
    current: str | None = None
    sock: DatagramSocket | None = None
    while True:
        host = look_up()
        if host != current or (sock is not None and sock.closed):
            sock = None if host is None else await _open(host, port, open_socket)
            current = None if sock is None else host
            use(sock)
        await pause(NETWORKS_REFRESH_S)


async def _open(
    host: str, port: int, open_socket: Callable[[Address], Awaitable[DatagramSocket]]
) -> DatagramSocket | None:
    for candidate in (port, 0):
        try:
            return await open_socket((host, candidate))
        except P2PError as error:
            # The address may be too new, or the port taken; the next look-up tries again.
            log.debug(
                "no socket at %s: %s",
                format_address((host, candidate)),
                error,
                extra=tagged(
                    "socket_not_opened",
                    address=format_address((host, candidate)),
                    reason=str(error),
                ),
            )
    return None
