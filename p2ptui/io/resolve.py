"""From a host as the user wrote it to what a socket takes, and back; names are looked up here.

Only `resolve_all` asks the resolver, in a thread. The socket's own calls would look a name up too,
and stop the event loop meanwhile: `sockaddr_of` lets no name through to them.
"""

import asyncio
import contextlib
import errno
import functools
import ipaddress
import itertools
import socket
from collections.abc import Iterator
from typing import Any, TypeAlias

from p2ptui.core.sessions.race import MAX_RACE_ADDRESSES
from p2ptui.errors import LocalError
from p2ptui.io.interfaces import interface_name
from p2ptui.io.threads import NoThreadError
from p2ptui.wire.address import MAX_PORT, Address, unmapped

SockAddr: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""What the socket module takes and gives: IPv6 has a flow label and a scope."""
CACHED_SOCKADDRS = 1024
"""Destinations whose form for the socket is cached; the least recently used is forgotten."""

_MAX_INDEX = 2**32 - 1

_CHECK_NAME = "check the spelling or use an IP address"
_NO_RESOLVER = "no name server answers: check the network, or use an IP address"
_SILENT = frozenset(
    getattr(socket, name) for name in ("EAI_AGAIN", "EAI_SYSTEM") if hasattr(socket, name)
)
"""The resolver's errors when it could not ask anyone."""


class NotResolvedError(LocalError):
    """A host name has no address.

    Args:
        said: What happened.
        do: What to do about it.
    """

    def __init__(self, said: str, do: str) -> None:
        super().__init__(f"{said}; {do}")
        self.said = said


async def resolve(address: Address, *, family: socket.AddressFamily = socket.AF_UNSPEC) -> Address:
    """Turn a host that may be a name into a literal IP address, for example to bind it.

    To reach a host, ask `resolve_all` and try each.

    Args:
        address: A literal IP passes untouched, without a look-up.
        family: The family of the local socket: an address of it is preferred to the
            system's first choice.

    Raises:
        NotResolvedError: The name has no address; the text names the host and the reason.
    """
    found = await resolve_all(address)
    wanted = [one for one in found if family == _family_of(one[0])]
    return (wanted or found)[0]


async def resolve_all(address: Address) -> list[Address]:
    """Every address of a host that may be a name, in the order in which to try them.

    The families alternate, beginning with that of the system's first choice (RFC 8305, section
    4); within a family the system's order holds (RFC 6724).

    Args:
        address: A literal IP passes untouched, without a look-up.

    Returns:
        At least one and at most `MAX_RACE_ADDRESSES`; a `fe80::` address has its scope.

    Raises:
        NotResolvedError: The name has no address; the text names the host and the reason.
    """
    host, port = address
    if is_literal(host):
        return [address]
    try:
        answer = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        hint = _NO_RESOLVER if error.errno in _SILENT else _CHECK_NAME
        raise _cannot_resolve(host, error.strerror or str(error), hint) from error
    except NoThreadError as error:
        raise _cannot_resolve(
            host, error.strerror or "", "raise that limit, or use an IP address"
        ) from error
    except (OSError, ValueError) as error:
        # A name with an empty or overlong label fails in the idna codec, before any look-up.
        raise _cannot_resolve(host, "not a host name") from error
    found = list(dict.fromkeys(_readable(answer)))
    if not found:
        raise _cannot_resolve(host, "it has no IP address")
    first = [one for one in found if _family_of(one[0]) == _family_of(found[0][0])]
    other = [one for one in found if one not in first]
    pairs = itertools.zip_longest(first, other)
    ordered = [one for pair in pairs for one in pair if one is not None]
    return ordered[:MAX_RACE_ADDRESSES]


def is_literal(host: str) -> bool:
    """Whether a host is an IP address, which needs no look-up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _readable(answer: Any) -> Iterator[Address]:
    """The addresses in an answer of the resolver; anything else in it is ignored."""
    for entry in answer:
        try:
            family, sockaddr = entry[0], entry[4]
            if family in (socket.AF_INET, socket.AF_INET6):
                host, port = address_of(sockaddr)
                ipaddress.ip_address(host)
                yield host, int(port)
        except (TypeError, ValueError, IndexError, AttributeError):
            continue


def _family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def literal_address(address: Address) -> Address:
    """The literal IP to bind: an empty host is every IPv4 interface, `localhost` 127.0.0.1.

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
    """Convert a source from the socket module's form to an `Address`.

    An IPv4-mapped source is plain IPv4, a link-local one keeps its interface (`fe80::1%eth0`).
    """
    host: str = sockaddr[0]
    port: int = sockaddr[1]
    if host.startswith("::ffff:") and "." in host:
        return host[7:], port
    if len(sockaddr) == 2:
        address: Address = sockaddr
        return address  # unchanged for IPv4, and for an `Address`
    if sockaddr[3] and "%" not in host:
        return f"{host}%{interface_name(sockaddr[3])}", port
    return host, port


@functools.lru_cache(maxsize=CACHED_SOCKADDRS)
def sockaddr_of(address: Address, family: socket.AddressFamily) -> SockAddr:
    """The inverse of `address_of`, for a socket of `family`; cached, as each send asks it.

    Raises:
        OSError: The host is not a literal IP or the port is invalid (`EINVAL`), not of this family
            (`EAFNOSUPPORT`), or the scope names no interface (`ENODEV`).
    """
    host, port = address
    if family == socket.AF_INET and type(address) is tuple and 0 < port <= MAX_PORT:
        # If there are more destinations than the cache holds, each is computed anew.
        with contextlib.suppress(OSError, ValueError):
            socket.inet_pton(socket.AF_INET, host)
            return address
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        raise OSError(errno.EINVAL, f"{host!r} is not an IP address") from None
    if not 0 < port <= MAX_PORT:
        raise OSError(errno.EINVAL, f"{port} is not a port to send to")
    ip = unmapped(ip)
    if family == socket.AF_INET6:
        if isinstance(ip, ipaddress.IPv4Address):
            return f"::ffff:{ip}", port, 0, 0
        return local_sockaddr(host, port)
    if isinstance(ip, ipaddress.IPv6Address):
        raise OSError(errno.EAFNOSUPPORT, f"an IPv4 socket cannot send to {host}")
    plain = str(ip)
    return address if plain == host and type(address) is tuple else (plain, port)


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


def _cannot_resolve(host: str, reason: str, hint: str = _CHECK_NAME) -> NotResolvedError:
    return NotResolvedError(f"cannot resolve host {host!r}: {reason}", hint)
