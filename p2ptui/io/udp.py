"""The node's UDP socket: asyncio-dgram, wrapped once behind a bounded, synchronous drain.

By itself, asyncio-dgram queues received datagrams without a limit, and raises the error of one send
at the next, which may be to another destination. Here its stream only wakes the reader: datagrams
are then read from the same non-blocking socket, and sent with its own `sendto`, which costs half as
much and says at once which destination failed. If the system has calls for many datagrams, they are
used: `batch_reader` and `batch_writer`.

A socket on every address of the machine must also know which one was asked: if the system tells,
`pktinfo` reads and sends for it; elsewhere, `own_sockets` has one socket for each address.
"""

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from itertools import repeat
from typing import Any

from asyncio_dgram import aio

from p2ptui.io.batch_reader import READ_AT_ONCE, BatchReader
from p2ptui.io.batch_writer import BatchWriter, Way
from p2ptui.io.bind import (
    RECEIVE_BUFFER_BYTES,
    SEND_BUFFER_BYTES,
    bind_udp,
    forbidden_fragments,
    limited_hops,
)
from p2ptui.io.datagrams import (
    MAX_DATAGRAM_BYTES,
    SEND_FAILURES,
    DatagramSocket,
    SendFailures,
    SocketCounters,
    Traffic,
)
from p2ptui.io.mmsg import forget_names, is_batched, packed_name
from p2ptui.io.own_sockets import SocketPerAddress
from p2ptui.io.pktinfo import HAS_PKTINFO, HeardAddress, PktinfoStream, ask_for_pktinfo
from p2ptui.io.resolve import address_of, sockaddr_of
from p2ptui.wire.address import Address
from p2ptui.wire.frames import Unfragmented

__all__ = [
    "BACKLOG_DATAGRAMS",
    "INBOX_DATAGRAMS",
    "SEND_FAILURES",
    "DatagramSocket",
    "SendFailures",
    "SocketCounters",
    "UdpSocket",
    "adopt",
    "open_udp",
]

INBOX_DATAGRAMS = 1024
"""Datagrams that the event loop may have read before `drain` takes them."""
INBOX_BYTES = 4 << 20
"""The same limit in bytes: 1024 datagrams of 64 KiB would be 64 MiB."""
AHEAD_DATAGRAMS = 64
"""While the event loop has read fewer, everything else that is there is read together with the next
one.
"""
BACKLOG_DATAGRAMS = 1024
"""Datagrams that wait because the kernel has no room."""
BACKLOG_BYTES = 4 << 20
"""Their bytes."""
DRAIN_BYTES = 256 << 10
"""A drain ends after this many bytes, however few datagrams they are: what was read is held until
it is processed.
"""
BACKLOG_RETRY_S = 0.005
"""A full send buffer empties in about this time at 100 Mbit/s and 64 KiB."""

_NO_ROOM = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})


class UdpSocket:
    """A bound UDP socket; make it with `open_udp`. It belongs to one event loop."""

    def __init__(
        self,
        sock: socket.socket,
        transport: Any,
        stream: aio.DatagramServer | PktinfoStream,
        inbox: "_Inbox",
        errors: "_CountedErrors",
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._family = sock.family
        self._transport = transport
        self._stream = stream
        self._inbox = inbox
        self._errors = errors
        self._reads_directly = _reads_directly(self._loop)
        self._pktinfo = stream if isinstance(stream, PktinfoStream) else None
        self._choice = self._pktinfo.choice if self._pktinfo is not None else None
        self._sendto = sock.sendto if self._reads_directly else self._send_through_transport
        self._local_address = address_of(sock.getsockname())
        self._closed = False
        # What `recv` returned when it woke `wait`: older than anything in the inbox.
        self._first: tuple[bytes, Any] | None = None
        self._backlog: deque[tuple[bytes, Address]] = deque()
        self._backlog_bytes = 0
        self._retry: asyncio.TimerHandle | None = None
        self._failures = SendFailures()
        self._traffic = Traffic()
        self._receive_errors = 0
        self._reader: BatchReader | None = None
        self._writer: BatchWriter | None = None
        if self._reads_directly and is_batched(sock):
            if self._pktinfo is None:
                self._reader = BatchReader(sock, lambda sockaddr, *_: address_of(sockaddr))
                inbox.on_put = self._read_ahead
            self._writer = BatchWriter(
                sock, self._names_of, self._way_to, self._send_alone, self._traffic
            )

    @property
    def local_address(self) -> Address:
        """Where the socket is bound: the host as text, and the port."""
        return self._local_address

    @property
    def closed(self) -> bool:
        """True after `close`, or when the event loop lost the socket."""
        return self._closed

    async def wait(self) -> None:
        """Return when a datagram may be readable, or the socket is `closed`."""
        if self._first is not None or self._closed:
            return
        try:
            self._first = await self._stream.recv()
        except aio.TransportClosed:
            self._closed = True

    def drain(self, budget: int) -> list[tuple[bytes, Address]]:
        """Take at most `budget` datagrams, oldest first; see `DatagramSocket.drain`."""
        if self._backlog:
            self._flush()
        received: list[tuple[bytes, Address]] = []
        if self._closed or budget < 1:
            return received
        size = self._take_read(received, budget)
        if self._reads_directly and not self._closed:
            size += self._read(received, budget - len(received))
        self._traffic.note_received(len(received), size)
        return received

    def _take_read(self, received: list[tuple[bytes, Address]], budget: int) -> int:
        """Take what the event loop has read; return its size in bytes."""
        size = 0
        taken: list[tuple[bytes, Any]] = []
        if self._first is not None:
            taken.append(self._first)
            self._first = None
        taken += self._inbox.take(budget - len(taken))
        if taken and taken[-1][0] is None:
            taken.pop()
            self._closed = True
        for data, source in taken:
            size += len(data)
            received.append((data, source if self._pktinfo is not None else address_of(source)))
        return size

    def _read_ahead(self) -> None:
        """The event loop has read one, and would go on one by one: what came with it is read at
        once, with one call for all, and finds its senders known.
        """
        if self._reader is not None and not self._closed:
            received: list[tuple[bytes, Address]] = []
            self._reader.read(received, READ_AT_ONCE)
            self._inbox.put_all(received)

    def send(
        self,
        data: bytes,
        address: Address,
        *,
        ttl: int | None = None,
        unfragmented: bool = False,
    ) -> None:
        """Send one datagram to a literal IP address; see `DatagramSocket.send`."""
        if self._closed:
            self._traffic.dropped_out += 1
            return
        if ttl is not None or unfragmented:
            with ExitStack() as options:
                if ttl is not None:
                    options.enter_context(limited_hops(self._sock, ttl))
                if unfragmented:
                    options.enter_context(forbidden_fragments(self._sock))
                # It cannot wait: by then the socket has its usual options again.
                if not self._transmit(data, address, unfragmented=unfragmented):
                    self._traffic.dropped_out += 1
            return
        if self._backlog:
            self._flush()
        elif (
            address.__class__ is HeardAddress
            and self._choice is not None
            and address.certain is self._choice.period
        ):
            # The usual case of sending from all addresses, without a detour; what fails is sent
            # again below, and judged there.
            try:
                self._sendto(data, address.sockaddr)
            except OSError as error:
                self._receive_errors += isinstance(error, ConnectionError)
            else:
                self._traffic.note_sent(data)
                return
        if not self._backlog and self._transmit(data, address):
            return
        if (
            len(self._backlog) >= BACKLOG_DATAGRAMS
            or self._backlog_bytes + len(data) > BACKLOG_BYTES
        ):
            self._traffic.dropped_out += 1
            return
        self._backlog.append((data, address))
        self._backlog_bytes += len(data)
        self._retry_soon()

    def send_all(self, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        """Send several datagrams; see `DatagramSocket.send_all`."""
        if self._backlog:
            self._flush()
        if self._writer is None or len(datagrams) < 2 or self._backlog or self._closed:
            for data, address in datagrams:
                self._send_alone(data, address)
            return
        self._writer.write(datagrams)

    def _names_of(self, addresses: list[Address]) -> list[bytes]:
        if self._reader is not None:
            return list(map(self._reader.names.get, addresses, repeat(b"")))
        if self._pktinfo is not None:
            return self._pktinfo.names_of(addresses)
        return [b""] * len(addresses)

    def _way_to(self, address: Address) -> Way:
        if self._pktinfo is not None:
            return self._pktinfo.way_to(address)
        name = None if self._reader is None else self._reader.names.get(address)
        return (packed_name(address, self._family) if name is None else name), ()

    def _send_alone(self, data: bytes, address: Address) -> bool:
        """Send one of several by itself; return False if what follows must wait behind it."""
        self.send(data, address, unfragmented=type(data) is Unfragmented)
        return not self._backlog

    def next_send_failure(self) -> tuple[Address, OSError] | None:
        """Take the oldest failure not yet taken; at most `SEND_FAILURES` are kept."""
        return self._failures.next()

    def counters(self) -> SocketCounters:
        """What happened so far."""
        return self._traffic.counters(
            self._failures,
            receive_errors=self._receive_errors
            + (self._errors.count if self._pktinfo is None else self._pktinfo.receive_errors)
            + (self._reader.errors if self._reader is not None else 0)
            + (self._writer.errors if self._writer is not None else 0),
            dropped_in=self._inbox.dropped,
            backlog=len(self._backlog),
        )

    def close(self) -> None:
        """Send what can still be sent, release the address and wake all waiting tasks."""
        if self._backlog and not self._closed:
            self._flush()
        self._traffic.dropped_out += len(self._backlog)
        self._backlog.clear()
        self._backlog_bytes = 0
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._closed = True
        self._first = None
        if self._reader is not None:
            self._reader.close()
        self._stream.close()

    def _read(self, received: list[tuple[bytes, Address]], budget: int) -> int:
        """Read what the system has; return its size in bytes."""
        size = 0
        most = len(received) + budget
        while size <= DRAIN_BYTES and len(received) < most:
            wanted = min(most, len(received) + READ_AT_ONCE)
            size += self._read_some(received, wanted - len(received))
            if len(received) < wanted:
                break
        return size

    def _read_some(self, received: list[tuple[bytes, Address]], budget: int) -> int:
        reader = self._reader or self._pktinfo
        if reader is not None:
            return reader.read(received, budget)
        size, recvfrom = 0, self._sock.recvfrom
        for _ in range(budget):
            try:
                data, sockaddr = recvfrom(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                break
            except OSError:
                # An ICMP refusal (10054 on Windows) ends this read, but not reading as such.
                self._receive_errors += 1
                continue
            size += len(data)
            received.append((data, address_of(sockaddr)))
        return size

    def _transmit(
        self, data: bytes, address: Address, *, unfragmented: bool = False, again: bool = True
    ) -> bool:
        """Return True when the datagram is dealt with, False when the kernel has no room for it."""
        try:
            if self._pktinfo is None:
                self._sendto(data, sockaddr_of(address, self._family))
            else:
                self._pktinfo.send(data, address)
        except OSError as error:
            if error.errno in _NO_ROOM:
                return False
            if again and isinstance(error, ConnectionError):
                # The error of an earlier datagram, reported to this one: try again, blame nobody.
                self._receive_errors += 1
                return self._transmit(data, address, unfragmented=unfragmented, again=False)
            self._failures.record(address, error, len(data), unfragmented=unfragmented)
            if "%" in address[0]:
                forget_names()
        else:
            self._traffic.note_sent(data)
        return True

    def _send_through_transport(self, data: bytes, sockaddr: Any) -> int:
        if self._transport.get_write_buffer_size() + len(data) > SEND_BUFFER_BYTES:
            raise BlockingIOError(errno.EAGAIN, "the transport's buffer is full")
        self._transport.sendto(data, sockaddr)
        return len(data)

    def _flush(self) -> None:
        while self._backlog:
            if not self._transmit(*self._backlog[0]):
                self._retry_soon()
                return
            self._backlog_bytes -= len(self._backlog.popleft()[0])

    def _retry_soon(self) -> None:
        # The loop refuses `add_writer` for a socket that a transport owns, hence a timer.
        if self._retry is None:
            self._retry = self._loop.call_later(BACKLOG_RETRY_S, self._retry_now)

    def _retry_now(self) -> None:
        self._retry = None
        self._flush()


async def open_udp(
    address: Address,
    *,
    broadcast: bool = True,
    unfragmented: bool = False,
    receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES,
    send_buffer_bytes: int = SEND_BUFFER_BYTES,
    pktinfo: bool = HAS_PKTINFO,
) -> DatagramSocket:
    """Bind a UDP socket on the running event loop; nothing is looked up.

    Args:
        address: A literal IP of this machine and a port. An empty host is every IPv4
            interface, `::` every interface of both families, `localhost` 127.0.0.1;
            port 0 takes a free one.
        broadcast: Whether it may send to broadcast addresses.
        unfragmented: Whether datagrams that do not fit the path are dropped instead of fragmented.
        receive_buffer_bytes: Asked of the kernel, which may give less.
        send_buffer_bytes: Asked of the kernel, which may give less.
        pktinfo: Whether the system tells of each datagram which address was asked; without that,
            every interface means a socket for each address.

    Raises:
        BindError: The address cannot be used; the text says what to do.
    """

    def bind(address: Address) -> socket.socket:
        return bind_udp(
            address,
            broadcast=broadcast,
            unfragmented=unfragmented,
            receive_buffer_bytes=receive_buffer_bytes,
            send_buffer_bytes=send_buffer_bytes,
        )

    def take_port(address: Address) -> int:
        with bind(address) as sock:
            return address_of(sock.getsockname())[1]

    async def open_one(address: Address) -> DatagramSocket:
        return await adopt(bind(address))

    host = address[0] or "0.0.0.0"
    if host not in ("0.0.0.0", "::"):
        return await open_one(address)
    if pktinfo:
        return read_pktinfo(bind(address))
    return await SocketPerAddress.open((host, address[1]), take_port, open_one)


async def adopt(sock: socket.socket) -> UdpSocket:
    """Take over a bound, non-blocking UDP socket; it is closed with the result, or on failure."""
    inbox, errors, drained = _Inbox(), _CountedErrors(), asyncio.Event()
    # asyncio's stubs know no write buffer of a datagram transport, asyncio-dgram's no transport.
    transport: Any
    try:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: aio.Protocol(inbox, errors, drained), sock=sock
        )
    except BaseException:
        sock.close()
        raise
    # libuv sets it when it takes a socket over; then a second program could take the port.
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return UdpSocket(
        sock, transport, aio.DatagramServer(transport, inbox, errors, drained), inbox, errors
    )


def read_pktinfo(sock: socket.socket) -> UdpSocket:
    """Take over a bound, non-blocking UDP socket on every interface, and learn which address was
    asked.
    """
    ask_for_pktinfo(sock)
    inbox = _Inbox()
    return UdpSocket(sock, None, PktinfoStream(sock, inbox), inbox, _CountedErrors())


def _reads_directly(loop: asyncio.AbstractEventLoop) -> bool:
    # Windows' proactor has an overlapped read under way, which would race with ours.
    proactor = getattr(asyncio, "ProactorEventLoop", None)
    return proactor is None or not isinstance(loop, proactor)


class _Inbox(asyncio.Queue[tuple[Any, Any]]):
    """Drops the newest when it is full; the sentinel of a closed socket always gets in."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped = 0
        self._size_bytes = 0
        self.on_put: Callable[[], None] | None = None
        """Called when the event loop has put a datagram in while few are there."""

    def put_nowait(self, item: tuple[Any, Any]) -> None:
        if item[0] is None:
            super().put_nowait(item)
        elif self._admits(item[0]):
            super().put_nowait(item)
            if self.on_put is not None and self.qsize() < AHEAD_DATAGRAMS:
                self.on_put()

    def put_all(self, items: Sequence[tuple[Any, Any]]) -> None:
        """Put as many as there is room for, behind the one that has woken the waiting task."""
        for item in items:
            if self._admits(item[0]):
                self._put(item)

    def _admits(self, data: bytes) -> bool:
        if self.qsize() >= INBOX_DATAGRAMS or self._size_bytes + len(data) > INBOX_BYTES:
            self.dropped += 1
            return False
        self._size_bytes += len(data)
        return True

    def get_nowait(self) -> tuple[Any, Any]:
        item = super().get_nowait()
        if item[0] is not None:
            self._size_bytes -= len(item[0])
        return item

    def take(self, most: int) -> list[tuple[Any, Any]]:
        """The oldest ones, up to this many; the sentinel, if among them, is the last."""
        taken: list[tuple[Any, Any]] = []
        while len(taken) < most and not self.empty():
            item = self._get()
            taken.append(item)
            if item[0] is None:
                break
            self._size_bytes -= len(item[0])
        return taken


class _CountedErrors(asyncio.Queue[Exception]):
    """Counts what the transport reports and keeps none of it: it does not say about which peer."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def put_nowait(self, item: Exception) -> None:  # noqa: ARG002
        self.count += 1
