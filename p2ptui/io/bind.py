"""Binding the listening address: the socket options of a node, and failures that say what to do."""

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from p2ptui.errors import BindError
from p2ptui.io.advice import bind_advice
from p2ptui.io.resolve import literal_address, local_sockaddr
from p2ptui.wire.address import Address, format_address

RECEIVE_BUFFER_BYTES = 4 << 20
"""About 2,000 full datagrams: what arrives while the event loop is busy for 20 ms at 1 Gbit/s."""
SEND_BUFFER_BYTES = 1 << 20
DEFAULT_HOPS = 64
"""RFC 1700; what systems use by default."""

_LEAST_BUFFER_BYTES = 1 << 16
_UNREACHABLE_REPORTS = (0x9800000C, 0x9800000F)
"""SIO_UDP_CONNRESET and SIO_UDP_NETRESET of Windows (mswsock.h)."""


def bind_udp(
    address: Address,
    *,
    broadcast: bool = True,
    unfragmented: bool = False,
    receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES,
    send_buffer_bytes: int = SEND_BUFFER_BYTES,
) -> socket.socket:
    """A bound, non-blocking UDP socket; `p2ptui.io.udp.open_udp` has the arguments.

    It never shares its port: neither SO_REUSEADDR nor SO_REUSEPORT.

    Raises:
        BindError: The address cannot be used; the text says what to do.
    """
    try:
        address = host, port = literal_address(address)
    except ValueError as error:
        raise BindError(f"cannot bind {format_address(address)}: {error}") from None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        if host != "::" or error.errno != errno.EAFNOSUPPORT:
            raise bind_error(address, error) from error
        # On a machine without IPv6 the wildcard is that of IPv4.
        return bind_udp(
            ("0.0.0.0", port),
            broadcast=broadcast,
            unfragmented=unfragmented,
            receive_buffer_bytes=receive_buffer_bytes,
            send_buffer_bytes=send_buffer_bytes,
        )
    try:
        sock.setblocking(False)
        _ask(sock, socket.SOL_SOCKET, socket.SO_BROADCAST, int(broadcast))
        _ask_room(sock, socket.SO_RCVBUF, receive_buffer_bytes)
        _ask_room(sock, socket.SO_SNDBUF, send_buffer_bytes)
        if unfragmented:
            for option in _whole_options(family):
                _ask(sock, *option)
        if host == "::":
            _ask(sock, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if sys.platform == "win32":
            # Without it, another program may take over the datagrams of a bound port there.
            _ask(sock, socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            _ignore_unreachable(sock)
        sock.bind(local_sockaddr(host, port))
    except OSError as error:
        sock.close()
        raise bind_error(address, error) from error
    return sock


@contextmanager
def limited_hops(sock: socket.socket, ttl: int) -> Iterator[None]:
    """Limit the hops of what is sent meanwhile; if the system refuses, there is no limit."""
    options = [(socket.IPPROTO_IP, socket.IP_TTL)]
    if sock.family == socket.AF_INET6:
        # The socket may also reach IPv4, whose datagrams obey the IPv4 option.
        options.append((socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS))
    before = []
    for level, option in options:
        hops = DEFAULT_HOPS
        with suppress(OSError):
            hops = sock.getsockopt(level, option)
        before.append((level, option, hops))
        _ask(sock, level, option, ttl)
    try:
        yield
    finally:
        for level, option, hops in before:
            _ask(sock, level, option, hops)


@contextmanager
def forbidden_fragments(sock: socket.socket) -> Iterator[None]:
    """Have what is sent meanwhile dropped rather than fragmented, if the system can do that."""
    before: list[tuple[int, int, int]] = []
    for level, option, value in _whole_options(sock.family):
        with suppress(OSError):
            before.append((level, option, sock.getsockopt(level, option)))
            sock.setsockopt(level, option, value)
    try:
        yield
    finally:
        for level, option, value in before:
            _ask(sock, level, option, value)


def bind_error(address: Address, error: OSError) -> BindError:
    """One line: which address, what the system said, and what to do."""
    return BindError(f"cannot bind {format_address(address)}: {bind_advice(error)}")


def _whole_options(family: int) -> list[tuple[int, int, int]]:
    """Level, option and value that make the system drop what does not fit the path, rather than
    fragment it.

    Python names none of these options; the numbers are those of each system's headers. An IPv6
    socket may also reach IPv4.
    """
    if sys.platform == "linux":
        # IP_MTU_DISCOVER (10) and IPV6_MTU_DISCOVER (23) = IP_PMTUDISC_PROBE (3): what an earlier
        # probe learnt about the path does not stop the next one.
        four, six = (socket.IPPROTO_IP, 10, 3), (socket.IPPROTO_IPV6, 23, 3)
    elif sys.platform == "win32":
        # IP_DONTFRAGMENT and IPV6_DONTFRAG are both 14 there.
        four, six = (socket.IPPROTO_IP, 14, 1), (socket.IPPROTO_IPV6, 14, 1)
    else:
        # IP_DONTFRAG is 28 on macOS, IPV6_DONTFRAG 62.
        four, six = (socket.IPPROTO_IP, 28, 1), (socket.IPPROTO_IPV6, 62, 1)
    return [four, six] if family == socket.AF_INET6 else [four]


def _ask(sock: socket.socket, level: int, option: int, value: int) -> None:
    # If the system refuses an option, the socket still works.
    with suppress(OSError):
        sock.setsockopt(level, option, value)


def _ask_room(sock: socket.socket, option: int, size_bytes: int) -> None:
    """Ask for a buffer size. Linux silently reduces it to its maximum; BSD and macOS refuse it."""
    while size_bytes >= _LEAST_BUFFER_BYTES:
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, size_bytes)
        except OSError:
            size_bytes //= 2
        else:
            return


def _ignore_unreachable(sock: socket.socket) -> None:
    """Windows fails a socket's next receive after a peer's port was closed (error 10054), or after
    a datagram ran out of hops on its way (10052), as the one that opens a NAT does.

    The proactor loop then stops reading for good (CPython issues 91227 and 127057).
    `socket.ioctl` does not know these codes, hence the call through ctypes.
    """
    if sys.platform == "win32":
        import ctypes

        off, returned = ctypes.c_uint32(0), ctypes.c_uint32(0)
        for code in _UNREACHABLE_REPORTS:
            with suppress(OSError, AttributeError):
                ctypes.windll.ws2_32.WSAIoctl(
                    ctypes.c_void_p(sock.fileno()),
                    ctypes.c_uint32(code),
                    ctypes.byref(off),
                    ctypes.c_uint32(ctypes.sizeof(off)),
                    None,
                    ctypes.c_uint32(0),
                    ctypes.byref(returned),
                    None,
                    None,
                )
