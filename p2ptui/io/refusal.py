"""Whether a machine, or a router on the way to it, says that UDP does not get there (ICMP).

An unconnected socket does not learn of it, so a connected one is opened to ask. A firewall on the
way may say about a port what the machine itself would say: only Linux tells who said it, and what
exactly.
"""

import asyncio
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Self

from p2ptui.core.gate import Gate
from p2ptui.io.exits import ask_connected, new_gate
from p2ptui.io.resolve import sockaddr_of
from p2ptui.wire.address import Address

PAUSE_S: Final = 0.3
PAUSES_S: Final = (PAUSE_S,) * 3
"""After each datagram sent."""

PATIENT_PAUSES_S: Final = (0.2,) * 10 + (0.5,) * 16
"""For a caller that waits for nothing else. A machine reports few refused datagrams a second (RFC
1812, section 4.3.2.8; Linux one, after the first six), and others share that number, including the
requests of the handshake.
"""

ENOUGH: Final = 3
"""After this many datagrams since the first passing refusal, nothing else is waited for."""

_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_ERROR: Final = struct.Struct("=IBBBxII")
"""`struct sock_extended_err` (linux/errqueue.h); the sender's socket address follows."""
_BY_ICMP: Final = (2, 3)
"""Its origins for IPv4 and IPv6."""
_ERROR_PORT_UNREACHABLE: Final = 1234
"""Of Windows (winerror.h)."""
MAX_REPORTS: Final = 64
"""Refused datagrams that are read in one go: many more than were sent."""


class Kind(NamedTuple):
    """What is said about a datagram that did not arrive."""

    words: str
    is_port: bool = False
    """Nothing listens there."""
    is_passing: bool = False
    """It may be different in a moment: of routes, and of machines that are switched on."""


PORT: Final = Kind("port unreachable", is_port=True)
PROHIBITED: Final = Kind("administratively prohibited")
HOST: Final = Kind("host unreachable", is_passing=True)
NET: Final = Kind("network unreachable", is_passing=True)

_UNREACHABLE: Final = {
    socket.AF_INET: (
        3,
        {
            0: NET,
            1: HOST,
            3: PORT,
            6: NET,
            7: HOST,
            11: NET,
            12: HOST,
            **dict.fromkeys((9, 10, 13), PROHIBITED),
        },
    ),
    socket.AF_INET6: (
        1,
        {0: NET, 3: HOST, 4: PORT, **dict.fromkeys((1, 5, 6), PROHIBITED)},
    ),
}
"""For each family the type of the message, and the meaning of its codes (RFC 1122, section 3.2.2.1,
and RFC 1812, section 5.2.7.1; RFC 4443, section 3.1).
"""


class Refusal(str):
    """The IP address of the sender of the refusal, and what it says."""

    kind: Kind

    def __new__(cls, by: str, kind: Kind = PORT) -> Self:
        """Make it with the sender's address."""
        refusal = super().__new__(cls, by)
        refusal.kind = kind
        return refusal


async def find_refusal(
    address: Address,
    is_over: Callable[[], bool] = lambda: False,
    *,
    pauses_s: Sequence[float] = PAUSES_S,
    gate: Gate | None = None,
) -> str | None:
    """Find out whether the host itself, or a router on the way, says that an address is
    unreachable.

    A passing refusal is returned if no permanent one has come within a few more datagrams.

    Args:
        address: A literal IP address and a port.
        is_over: Whether nobody waits for the result any more: then nothing more is sent.
        pauses_s: How long the answer to each datagram is awaited, seconds.
        gate: Grants the datagrams; None makes a new one.

    Returns:
        A `Refusal` with the IP address of its sender, or the host asked if the system does not tell
        it, or it is the sender. None if nobody refuses.
    """
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    gate = new_gate() if gate is None else gate
    passing: Refusal | None = None
    more = ENOUGH
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            if sys.platform == "linux":
                level, option = _option(family)
                sock.setsockopt(level, option, 1)
            sock.connect(sockaddr_of(address, family))
            for pause_s in pauses_s:
                if is_over() or more == 0:
                    break
                refusal = await _ask(sock, address, pause_s, gate)
                if refusal is not None and not refusal.kind.is_passing:
                    return refusal
                if refusal is not None:
                    passing = refusal
                    await asyncio.sleep(pause_s)
                if passing is not None:
                    more -= 1
    except (OSError, NotImplementedError):
        pass
    return passing


async def _ask(sock: socket.socket, address: Address, pause_s: float, gate: Gate) -> Refusal | None:
    """Send one datagram; return who said, within the pause, that it or an earlier one did not
    arrive.

    Raises:
        OSError: The system did not send it.
    """
    try:
        # An empty datagram answers nothing, and asks nothing of the receiver.
        if not ask_connected(sock, address, gate):
            return None
        async with asyncio.timeout(pause_s):
            await asyncio.get_running_loop().sock_recv(sock, 1)
    except TimeoutError:
        return None
    except OSError as error:
        refusals = list(_reported(sock, address[0]))
        if refusals:
            return min(refusals, key=lambda refusal: refusal.kind.is_passing)
        if not _is_refusal(error):
            raise
        return Refusal(address[0])
    return None


def _is_refusal(error: OSError) -> bool:
    """Whether a connected socket was told that nothing listens there."""
    # Windows says that the connection was reset (10054), and when the proactor loop asks,
    # ERROR_PORT_UNREACHABLE.
    told = isinstance(error, ConnectionRefusedError | ConnectionResetError)
    return told or getattr(error, "winerror", None) == _ERROR_PORT_UNREACHABLE


def _option(family: int) -> tuple[int, int]:
    if family == socket.AF_INET6:
        return socket.IPPROTO_IPV6, _IPV6_RECVERR
    return socket.IPPROTO_IP, _IP_RECVERR


def _reported(sock: socket.socket, host: str) -> Iterator[Refusal]:
    """What the system has recorded about datagrams that did not arrive."""
    if sys.platform != "linux":
        return
    for _ in range(MAX_REPORTS):
        try:
            _, ancillary, _, _ = sock.recvmsg(1, 512, socket.MSG_ERRQUEUE)
        except OSError:
            return
        for item in ancillary:
            refusal = _refusal_in(item, sock.family, host)
            if refusal is not None:
                yield refusal


def _refusal_in(item: tuple[int, int, Any], family: int, host: str) -> Refusal | None:
    level, option, data = item
    if (level, option) != _option(family) or len(data) < _ERROR.size + 2:
        return None
    _, origin, kind, code, _, _ = _ERROR.unpack_from(data)
    wanted, meanings = _UNREACHABLE[socket.AddressFamily(family)]
    at = data[_ERROR.size :]
    if origin not in _BY_ICMP or kind != wanted or code not in meanings:
        return None
    if struct.unpack_from("=H", at)[0] != family:
        return Refusal(host, meanings[code])
    raw = at[8:24] if family == socket.AF_INET6 else at[4:8]
    by = socket.inet_ntop(family, raw)
    # A host whose address needs its interface is known by both.
    return Refusal(host if by == host.partition("%")[0] else by, meanings[code])
