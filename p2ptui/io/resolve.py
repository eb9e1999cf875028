"""From the host that a person wrote to what a socket takes, and back; names are looked up here.

Only `resolve` asks the resolver, in a thread. The socket's own calls would look a name up too,
and stop the event loop meanwhile: `sockaddr_of` lets no name through to them.
"""

import asyncio
import errno
import functools
import ipaddress
import socket
from typing import Any, TypeAlias

from p2ptui.errors import LocalError
from p2ptui.io.interfaces import interface_name
from p2ptui.wire.address import MAX_PORT, Address

SockAddr: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""What the socket module takes and gives: IPv6 has a flow label and a scope."""
CACHED_SOCKADDRS = 4096
"""Destinations whose form for the socket is remembered; the least recently used is forgotten."""

_MAX_INDEX = 2**32 - 1


async def resolve(address: Address, *, family: socket.AddressFamily = socket.AF_UNSPEC) -> Address:
    """Turn a host that may be a name into a literal IP address.

    Args:
        address: A literal IP passes untouched, without a look-up.
        family: The family of the local socket: an address of it is preferred to the
            system's first choice.

    Raises:
        LocalError: The name has no address; the text names the host and the reason.
    """
    host, port = address
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return address
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        raise _cannot_resolve(host, error.strerror or str(error)) from error
    except (OSError, ValueError) as error:
        # A name with an empty or overlong label fails in the idna codec, before any look-up.
        raise _cannot_resolve(host, "not a host name") from error
    usable = [entry for entry in found if entry[0] in (socket.AF_INET, socket.AF_INET6)]
    if not usable:
        raise _cannot_resolve(host, "it has no IP address")
    preferred = next((entry for entry in usable if entry[0] == family), usable[0])
    return address_of(preferred[4])


def literal_address(address: Address) -> Address:
    """What to bind: a literal IP; an empty host is every IPv4 interface, `localhost` 127.0.0.1.

    Raises:
        ValueError: The host is another name, or the port is out of range.
    """
    host, port = address
    host = {"": "0.0.0.0", "localhost": "127.0.0.1"}.get(host, host)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError("the host must be an IP address of this machine or localhost") from None
    if not 0 <= port <= MAX_PORT:
        raise ValueError(f"the port must be 0 to {MAX_PORT}")
    return host, port


def local_sockaddr(host: str, port: int) -> SockAddr:
    """What `bind` takes for a literal host.

    Raises:
        OSError: The scope names no interface (`ENODEV`).
    """
    if ":" not in host:
        return host, port
    bare, _, scope = host.partition("%")
    return bare, port, 0, _interface_index(scope)


def address_of(sockaddr: Any) -> Address:
    """What the socket module calls a source, as an `Address`.

    An IPv4-mapped source is plain IPv4, a link-local one keeps its interface (`fe80::1%eth0`).
    """
    host: str = sockaddr[0]
    port: int = sockaddr[1]
    if host.startswith("::ffff:") and "." in host:
        return host[7:], port
    if len(sockaddr) == 4 and sockaddr[3] and "%" not in host:
        return f"{host}%{interface_name(sockaddr[3])}", port
    return host, port


@functools.lru_cache(maxsize=CACHED_SOCKADDRS)
def sockaddr_of(address: Address, family: socket.AddressFamily) -> SockAddr:
    """The inverse of `address_of`, for a socket of `family`; cached, as each send asks it.

    Raises:
        OSError: The host is no literal IP or the port is none (`EINVAL`), not of this family
            (`EAFNOSUPPORT`), or the scope names no interface (`ENODEV`).
    """
    host, port = address
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        raise OSError(errno.EINVAL, f"{host!r} is not an IP address") from None
    if not 0 < port <= MAX_PORT:
        raise OSError(errno.EINVAL, f"{port} is not a port to send to")
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if family == socket.AF_INET6:
        if isinstance(ip, ipaddress.IPv4Address):
            return f"::ffff:{ip}", port, 0, 0
        return local_sockaddr(host, port)
    if isinstance(ip, ipaddress.IPv6Address):
        raise OSError(errno.EAFNOSUPPORT, f"an IPv4 socket cannot send to {host}")
    return str(ip), port


def _interface_index(scope: str) -> int:
    if not scope:
        return 0
    try:
        index = int(scope) if scope.isascii() and scope.isdigit() else socket.if_nametoindex(scope)
    except (OSError, ValueError):
        index = _MAX_INDEX + 1
    if index > _MAX_INDEX:
        raise OSError(errno.ENODEV, f"no interface is named {scope!r}")
    return index


def _cannot_resolve(host: str, reason: str) -> LocalError:
    return LocalError(
        f"cannot resolve host {host!r}: {reason}; check the spelling or use an IP address"
    )
