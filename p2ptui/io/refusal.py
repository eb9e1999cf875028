"""Whether a machine says itself that nothing listens at a UDP port (ICMP port unreachable).

An unconnected socket is not told of it; so a connected one of its own asks. A firewall on the way
may send the same message: only Linux says who sent it.
"""

import asyncio
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from p2ptui.io.resolve import sockaddr_of
from p2ptui.wire.address import Address

PAUSE_S: Final = 0.3
PAUSES_S: Final = (PAUSE_S,) * 3
"""After each datagram that asks."""

PATIENT_PAUSES_S: Final = (0.2,) * 10 + (0.5,) * 16
"""For somebody who waits for nothing else. A machine tells of few refused datagrams a second
(RFC 1812, section 4.3.2.8; Linux of one, after the first six), and others are told of as well, the
requests of the handshake among them."""

_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_ERROR_BYTES: Final = 16
"""Of `struct sock_extended_err` (linux/errqueue.h); the sender's socket address follows."""


async def find_refusal(
    address: Address,
    is_over: Callable[[], bool] = lambda: False,
    *,
    pauses_s: Sequence[float] = PAUSES_S,
) -> str | None:
    """Who says that an address is not served: the host itself, or a firewall on the way.

    Args:
        address: A literal IP address and a port.
        is_over: Whether nobody waits for it any more: then nothing more is sent.
        pauses_s: How long the answer to each datagram is awaited, seconds.

    Returns:
        The IP address of the sender; the host asked where the system does not tell it; None if
        nobody says so.
    """
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    loop = asyncio.get_running_loop()
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            if sys.platform == "linux":
                level, option = _option(family)
                sock.setsockopt(level, option, 1)
            sock.connect(sockaddr_of(address, family))
            for pause_s in pauses_s:
                if is_over():
                    break
                try:
                    # An empty datagram answers nothing, and asks nothing of whoever is there.
                    sock.send(b"")
                    async with asyncio.timeout(pause_s):
                        await loop.sock_recv(sock, 1)
                except TimeoutError:
                    continue
                except ConnectionRefusedError:
                    return _sender(sock, family) or address[0]
    except (OSError, NotImplementedError):
        pass
    return None


def _option(family: int) -> tuple[int, int]:
    if family == socket.AF_INET6:
        return socket.IPPROTO_IPV6, _IPV6_RECVERR
    return socket.IPPROTO_IP, _IP_RECVERR


def _sender(sock: socket.socket, family: int) -> str | None:
    if sys.platform != "linux":
        return None
    try:
        _, ancillary, _, _ = sock.recvmsg(1, 512, socket.MSG_ERRQUEUE)
    except OSError:
        return None
    return next((host for item in ancillary if (host := _host_in(item, family))), None)


def _host_in(item: tuple[int, int, Any], family: int) -> str | None:
    level, option, data = item
    if (level, option) != _option(family):
        return None
    at = data[_ERROR_BYTES:]
    if len(at) < 2 or struct.unpack_from("=H", at)[0] != family:
        return None
    raw = at[8:24] if family == socket.AF_INET6 else at[4:8]
    return socket.inet_ntop(family, raw)
