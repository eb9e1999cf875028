"""A wildcard socket that knows which of this machine's addresses was asked, and answers from there.

Linux tells it with each datagram (IP_PKTINFO, IPV6_RECVPKTINFO; ip(7), RFC 3542, section 6.1). The
transports of asyncio and uvloop do not read ancillary data, so this socket has none: the event loop
only says when there is something to read.
"""

import asyncio
import errno
import functools
import socket
import struct
import sys
from contextlib import suppress
from typing import Any, Final

from asyncio_dgram import aio

from p2ptui.io.batch_reader import BatchReader
from p2ptui.io.batch_writer import Way
from p2ptui.io.datagrams import MAX_DATAGRAM_BYTES
from p2ptui.io.kernel_choice import KernelChoice
from p2ptui.io.mmsg import NAME_ROOM, Ancillary, is_batched, packed_name
from p2ptui.io.resolve import address_of, sockaddr_of
from p2ptui.wire.address import Address, AskedAddress, own_host

HAS_PKTINFO: Final = sys.platform == "linux"
"""Whether the system tells where a datagram went, and lets each be sent from a given address."""

MAX_SOURCES: Final = 10_240
"""Senders whose address is kept, with the address that they asked. The same number that were heard
before them are kept too; those of them that are not heard again meanwhile are forgotten.
"""

_IP_PKTINFO: Final = 8
"""Linux's number; Python has no name for it."""
_IPV6_RECVPKTINFO: Final = 49
_IPV6_PKTINFO: Final = 50
_PKTINFO4: Final = struct.Struct("=I4s4s")
"""struct in_pktinfo: the interface, the local address (also of a broadcast), and the header's."""
_PKTINFO6: Final = struct.Struct("=16sI")
_ANCILLARY_BYTES: Final = 128
"""Room for one of each kind, as a dual-stack socket gets for IPv4."""
_SOURCE_REFUSED: Final = frozenset(
    {errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENETUNREACH}
)
"""Errors of Linux when an address is no longer this machine's, or no route begins there."""


def ask_for_pktinfo(sock: socket.socket) -> None:
    """Have the system tell the destination of each datagram.

    Args:
        sock: A UDP socket; bind it afterwards, so that no datagram comes without this.
    """
    # Both on a dual-stack socket: for IPv4 only the first tells the local address of a broadcast.
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    if sock.family == socket.AF_INET6:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)


class HeardAddress(AskedAddress):
    """An address that a socket has read from, also in the form that a socket of that family
    takes.
    """

    sockaddr: Any
    name: bytes = b""
    """Bytes that begin with it in the system's form; empty if it was not read in a batch."""
    reader: "PktinfoStream"
    """The reader whose socket takes that form."""
    certain: object = None
    """The period for which the system is known to choose `own_host` by itself."""


class PktinfoStream:
    """Reads and sends for one wildcard socket, in place of asyncio-dgram's stream.

    Args:
        sock: The socket, bound and non-blocking, after `ask_for_pktinfo`; closed with this.
        inbox: Takes what woke the reader, and `(None, None)` at the end.
    """

    def __init__(
        self,
        sock: socket.socket,
        inbox: "asyncio.Queue[tuple[Any, Any]]",
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._fd = sock.fileno()
        self._family = sock.family
        # No socket of Windows has these two, and none comes here: HAS_PKTINFO.
        self._recvmsg = sock.recvmsg  # type: ignore[attr-defined, unused-ignore]
        self._sendmsg = sock.sendmsg  # type: ignore[attr-defined, unused-ignore]
        self._sendto = sock.sendto
        self._inbox = inbox
        self._choice = KernelChoice()
        self._sources: dict[Any, tuple[bytes, Address]] = {}
        self._earlier: dict[Any, tuple[bytes, Address]] = {}
        self._errors = 0
        self._batch = BatchReader(sock, self._hear, _ANCILLARY_BYTES) if is_batched(sock) else None
        self._is_reading = False
        self._is_closed = False
        self._resume()

    def _resume(self) -> None:
        if not self._is_reading and not self._is_closed:
            self._is_reading = True
            self._loop.add_reader(self._fd, self._handle_readable)

    def _pause(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._fd)

    def _handle_readable(self) -> None:
        if self._inbox.qsize():
            self._pause()  # the last one has not been taken: the rest waits in the system
            return
        received: list[tuple[bytes, Address]] = []
        self.read(received, 1)
        for item in received:
            self._inbox.put_nowait(item)

    async def recv(self) -> tuple[bytes, Address]:
        """The next datagram; it can be cancelled without loss.

        Raises:
            TransportClosed: The socket was closed.
        """
        self._resume()
        data, address = await self._inbox.get()
        if data is None:
            raise aio.TransportClosed
        return data, address

    def read(self, received: list[tuple[bytes, Address]], budget: int) -> int:
        """Read what there is.

        Args:
            received: The datagrams are appended here, each with its sender and the address of this
                machine that was asked.
            budget: Datagrams to read at most.

        Returns:
            Their size in bytes.
        """
        if self._batch is not None:
            return self._batch.read(received, budget)
        recvmsg, known_as, total = self._recvmsg, self._sources.get, 0
        size, room, append = MAX_DATAGRAM_BYTES, _ANCILLARY_BYTES, received.append
        for _ in range(budget):
            try:
                data, ancillary, _, sockaddr = recvmsg(size, room)
            except BlockingIOError:
                break
            except OSError:
                self._errors += 1
                continue
            total += len(data)
            # A few senders write from one address to several of ours; they are told apart here.
            known = known_as(sockaddr)
            if known is None or not ancillary or known[0] != ancillary[0][2]:
                known = self._learn(sockaddr, ancillary)
                known_as = self._sources.get
            append((data, known[1]))
        return total

    @property
    def receive_errors(self) -> int:
        """Errors of earlier datagrams that were read."""
        return self._errors + (self._batch.errors if self._batch is not None else 0)

    def _hear(self, sockaddr: Any, ancillary: Ancillary, name: bytes) -> Address:
        heard = _source(sockaddr, self, ancillary)
        if isinstance(heard, HeardAddress):
            heard.name = name[:NAME_ROOM]
        return heard

    def _learn(self, sockaddr: Any, ancillary: Ancillary) -> tuple[bytes, Address]:
        if len(self._sources) >= MAX_SOURCES:
            self._earlier, self._sources = self._sources, {}
        first = ancillary[0][2] if ancillary else b""
        known = self._earlier.get(sockaddr)
        if known is None or not ancillary or known[0] != first:
            known = first, _source(sockaddr, self, ancillary)
        self._sources[sockaddr] = known
        return known

    @property
    def choice(self) -> KernelChoice:
        """Which address the system would send from."""
        return self._choice

    def send(self, data: bytes, address: Address) -> None:
        """Send from the address that was asked, if it is not the one that the system chooses.

        Raises:
            OSError: As `socket.sendto`, and as `sockaddr_of`.
        """
        heard = self._heard(address)
        sockaddr = sockaddr_of(address, self._family) if heard is None else heard.sockaddr
        named = self._named(address, heard)
        if named:
            try:
                self._sendmsg([data], named, 0, sockaddr)
            except OSError as error:
                if error.errno not in _SOURCE_REFUSED:
                    raise
            else:
                return
        self._sendto(data, sockaddr)

    def names_of(self, addresses: list[Address]) -> list[bytes]:
        """Their forms as destinations; empty for each that `way_to` must be asked about."""
        period = self._choice.period
        return [
            address.name
            if isinstance(address, HeardAddress)
            and address.certain is period
            and address.reader is self
            else b""
            for address in addresses
        ]

    def way_to(self, address: Address) -> Way:
        """How to reach an address from the address that it asked.

        Raises:
            OSError: As `sockaddr_of`.
        """
        heard = self._heard(address)
        if heard is None or not heard.name:
            name = packed_name(address, self._family)
        elif heard.certain is self._choice.period:
            return heard.name, ()
        else:
            name = heard.name
        return name, self._named(address, heard)

    def _heard(self, address: Address) -> HeardAddress | None:
        if isinstance(address, HeardAddress) and address.reader is self:
            return address
        return None

    def _named(self, address: Address, heard: HeardAddress | None) -> Ancillary:
        """What names the source; nothing if the system is known to choose it by itself."""
        own = own_host(address)
        if not own:
            return ()
        if not self._choice.is_certain(address[0], own):
            return _named_source(own)
        if heard is not None:
            heard.certain = self._choice.period
        return ()

    def close(self) -> None:
        """Stop reading, release the address and wake all waiting tasks; calling it again is
        harmless.
        """
        if self._is_closed:
            return
        self._pause()
        self._is_closed = True
        self._choice.forget()
        self._sources.clear()
        self._earlier.clear()
        if self._batch is not None:
            self._batch.close()
        self._sock.close()
        self._inbox.put_nowait((None, None))


def _source(sockaddr: Any, reader: PktinfoStream, ancillary: Ancillary) -> Address:
    address = address_of(sockaddr)
    own = _asked_host(ancillary)
    if own is None:
        return address
    if "%" in address[0]:
        return AskedAddress(address, own)  # its interface may come back with another index
    heard = HeardAddress(address, own)
    heard.sockaddr, heard.reader = sockaddr, reader
    return heard


def _asked_host(ancillary: Ancillary) -> str | None:
    """The address of this machine that answers a datagram; None if the system should choose."""
    found: str | None = None
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO) and len(data) >= _PKTINFO4.size:
            local = _PKTINFO4.unpack_from(data)[1]
            return socket.inet_ntop(socket.AF_INET, local) if any(local) else None
        if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO) and len(data) >= _PKTINFO6.size:
            # A multicast group cannot answer, and an IPv4 datagram brings the other kind as well.
            host = socket.inet_ntop(socket.AF_INET6, data[:16])
            is_one_host = data[0] != 0xFF and not host.startswith("::ffff:")
            found = host if is_one_host else None
    return found


@functools.lru_cache(maxsize=1024)
def _named_source(own: str) -> Ancillary:
    if ":" in own:
        # The interface of a link-local address is the one that the destination names.
        packed = _PKTINFO6.pack(socket.inet_pton(socket.AF_INET6, own), 0)
        return [(socket.IPPROTO_IPV6, _IPV6_PKTINFO, packed)]
    packed = _PKTINFO4.pack(0, socket.inet_pton(socket.AF_INET, own), bytes(4))
    return [(socket.IPPROTO_IP, _IP_PKTINFO, packed)]
