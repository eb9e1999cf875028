"""What Linux reports about addresses, links and routes, and which route a datagram would take.

rtnetlink(7): a socket in multicast groups becomes readable with each change, and a request on
another socket is answered by the kernel before `send` returns.
"""

import errno
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

_ROUTING: Final = 0
"""NETLINK_ROUTE, the protocol of these sockets, for which Python has no name."""
_GROUPS: Final = 0x1 | 0x10 | 0x100 | 0x40 | 0x400
"""RTMGRP_LINK, _IPV4_IFADDR, _IPV6_IFADDR, _IPV4_ROUTE, _IPV6_ROUTE."""

_RTM_NEWLINK: Final = 16
_RTM_DELLINK: Final = 17
_RTM_NEWROUTE: Final = 24
_RTM_GETROUTE: Final = 26
_REQUEST: Final = 1
_IFF_LOWER_UP: Final = 0x10000

_HEADER: Final = struct.Struct("=IHHII")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_LINK: Final = struct.Struct("=BxHiII")
_ATTRIBUTE: Final = struct.Struct("=HH")

_DESTINATION: Final = 1
_SOURCE: Final = 2
_INTERFACE: Final = 4
_GATEWAY: Final = 5

READ_BYTES: Final = 65_536
READS: Final = 64
"""Reads in a row; the loop comes back for more."""


class Route(NamedTuple):
    """The route of a datagram."""

    interface: int
    """The index of the interface."""
    gateway: str
    """The first router; empty without one."""


def open_changes() -> socket.socket:
    """A socket that is readable after each change of an address, a link or a route.

    Raises:
        OSError: The system has none.
    """
    if sys.platform != "linux":
        raise OSError(errno.EAFNOSUPPORT, "no netlink on this system")
    link = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _ROUTING
    )
    try:
        link.bind((0, _GROUPS))
    except OSError:
        link.close()
        raise
    return link


def read_changes(link: socket.socket) -> dict[int, bool]:
    """Read what has come: the indexes of the interfaces concerned, and whether they work."""
    links: dict[int, bool] = {}
    for _ in range(READS):
        try:
            data = link.recv(READ_BYTES)
        except OSError:
            break  # nothing more, or it overflowed (ENOBUFS)
        for kind, body in _messages(data):
            if kind in (_RTM_NEWLINK, _RTM_DELLINK) and len(body) >= _LINK.size:
                _, _, index, flags, _ = _LINK.unpack_from(body)
                links[index] = kind == _RTM_NEWLINK and bool(flags & _IFF_LOWER_UP)
    return links


def find_route(host: str, source: str | None = None) -> Route | None:
    """Which route a datagram to a literal IP would take; None if there is none.

    Args:
        host: The destination.
        source: Where the socket is bound, unless on all addresses.

    Raises:
        OSError: The kernel cannot be asked.
    """
    if sys.platform != "linux":
        raise OSError(errno.EAFNOSUPPORT, "no netlink on this system")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    destination = socket.inet_pton(family, host.partition("%")[0])
    body = _ROUTE.pack(family, 8 * len(destination), 0, 0, 0, 0, 0, 0, 0)
    body += _attribute(_DESTINATION, destination)
    if source is not None:
        body += _attribute(_SOURCE, socket.inet_pton(family, source.partition("%")[0]))
    size = _HEADER.size + len(body)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _ROUTING) as link:
        link.settimeout(0.5)
        link.send(_HEADER.pack(size, _RTM_GETROUTE, _REQUEST, 1, 0) + body)
        for kind, answer in _messages(link.recv(READ_BYTES)):
            if kind == _RTM_NEWROUTE:
                return _read_route(family, answer)
    return None  # an error: usually unreachable


def _read_route(family: int, answer: bytes) -> Route:
    found = dict(_attributes(answer[_ROUTE.size :]))
    interface = int.from_bytes(found.get(_INTERFACE, b""), sys.byteorder)
    gateway = found.get(_GATEWAY)
    return Route(interface, "" if gateway is None else socket.inet_ntop(family, gateway))


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data)
        if size < _ATTRIBUTE.size:
            return
        yield kind, data[_ATTRIBUTE.size : size]
        data = data[_aligned(size) :]


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        size, kind, _, _, _ = _HEADER.unpack_from(data)
        if size < _HEADER.size:
            return
        yield kind, data[_HEADER.size : size]
        data = data[_aligned(size) :]


def _aligned(size: int) -> int:
    return (size + 3) & ~3
