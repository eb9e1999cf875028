"""A socket in a network in memory: a node runs on it unchanged, in virtual time."""

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from p2ptui.io.datagrams import SendFailures, SocketCounters, Traffic
from p2ptui.io.resolve import sockaddr_of
from p2ptui.io.udp import INBOX_DATAGRAMS
from p2ptui.wire.address import Address, AskedAddress, ip_version, is_wildcard, own_host
from p2ptui.wire.frames import Unfragmented

MAX_PAYLOAD_BYTES = 65507
"""The largest UDP payload over IPv4: 65535 less 20 of IP header and 8 of UDP (RFC 768)."""


class Network(Protocol):
    """What a socket needs of a `MemoryNetwork`, which documents arguments and errors."""

    clockwork: "Clockwork | None"

    def attach(self, address: Address) -> Address:
        """Take an address."""

    def detach(self, address: Address) -> None:
        """Give it back."""

    def send(
        self,
        data: bytes,
        source: Address,
        destination: Address,
        now: float,
        *,
        unfragmented: bool = False,
    ) -> None:
        """Put one datagram on its way."""

    def next_delivery(self) -> float | None:
        """When the next one arrives."""

    def deliver(self, now: float) -> list[tuple[bytes, Address, Address]]:
        """What has arrived: data, source, destination."""


class MemorySocket:
    """The socket of a node in a `MemoryNetwork`; see `DatagramSocket` for its methods.

    On the wildcard it has all addresses of a machine, and says which one was asked.
    """

    def __init__(self, clockwork: "Clockwork", local_address: Address) -> None:
        self._clockwork = clockwork
        self._local_address = local_address
        self._hosts: tuple[str, ...] = (local_address[0],)
        self._family = socket.AF_INET6 if ":" in local_address[0] else socket.AF_INET
        self._inbox: deque[tuple[bytes, Address]] = deque()
        self._readable = asyncio.Event()
        self._closed = False
        self._failures = SendFailures()
        self._traffic = Traffic()
        self._dropped_in = 0

    @classmethod
    async def open(
        cls, network: "Network", address: Address, hosts: Sequence[str] = ()
    ) -> "MemorySocket":
        """Attach to the network on the running loop, whose `time()` is the network's clock.

        Args:
            network: The network.
            address: One of the machine's, or a wildcard for all of them.
            hosts: The machine's addresses, for a wildcard; by default it sends from the first of
                each IP version.

        Raises:
            BindError: See `MemoryNetwork.attach`.
        """
        clockwork = Clockwork.of(network)
        wanted = [host for host in hosts if address[0] == "::" or ip_version(host) == 4]
        if not wanted or address[0] not in ("", "0.0.0.0", "::"):
            opened = cls(clockwork, network.attach(address))
            clockwork.sockets[opened.local_address] = opened
            return opened
        first = network.attach((wanted[0], address[1]))
        network.detach(first)
        opened = cls(clockwork, (address[0] or "0.0.0.0", first[1]))
        opened._hosts = ()
        opened.set_hosts(wanted)
        return opened

    def set_hosts(self, hosts: Sequence[str]) -> None:
        """The machine's addresses change, under a socket on the wildcard.

        Raises:
            BindError: The port is taken at one of them.
        """
        port = self._local_address[1]
        for host in self._hosts:
            self._clockwork.close((host, port))
        self._hosts = ()
        for host in hosts:
            self._clockwork.attach(self, (host, port))
            self._hosts += (host,)

    @property
    def local_address(self) -> Address:
        """Where the socket is attached."""
        return self._local_address

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._closed

    async def wait(self) -> None:
        """Return when a datagram is readable, or the socket is `closed`."""
        await self._readable.wait()

    def drain(self, budget: int) -> list[tuple[bytes, Address]]:
        """Take at most `budget` datagrams, oldest first."""
        received = [self._inbox.popleft() for _ in range(min(budget, len(self._inbox)))]
        if not self._inbox and not self._closed:
            self._readable.clear()
        self._traffic.note_received(len(received), sum([len(data) for data, _ in received]))
        return received

    def send(
        self,
        data: bytes,
        address: Address,
        *,
        ttl: int | None = None,
        unfragmented: bool = False,
    ) -> None:
        """Send one datagram; with a hop limit it gets no further than through this node's NAT."""
        if self._closed:
            self._traffic.dropped_out += 1
            return
        try:
            sockaddr_of(address, self._family)
        except OSError as error:
            self._failures.record(address, error)
            return
        if len(data) > MAX_PAYLOAD_BYTES:
            too_long = OSError(errno.EMSGSIZE, "message too long")
            self._failures.record(address, too_long, len(data), unfragmented=unfragmented)
            return
        source = self._source_for(address)
        if source is None:
            unreachable = OSError(errno.ENETUNREACH, "network is unreachable")
            self._failures.record(address, unreachable)
            return
        self._traffic.note_sent(data)
        self._clockwork.send(
            data,
            source,
            address,
            expires=ttl is not None,
            unfragmented=unfragmented,
        )

    def send_all(self, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        """Send one after the other."""
        for data, address in datagrams:
            if type(data) is Unfragmented:
                self.send(data, address, unfragmented=True)
            else:
                self.send(data, address)

    def _source_for(self, address: Address) -> Address | None:
        """The source address; None if this machine has no address for it, as in a kernel."""
        (host, port), own = self._local_address, own_host(address)
        if not is_wildcard(host) or self._hosts == (host,):
            return host, port
        if own is not None and own in self._hosts:
            return own, port
        version = ip_version(address[0])
        chosen = next((each for each in self._hosts if ip_version(each) == version), None)
        return None if chosen is None else (chosen, port)

    def next_send_failure(self) -> tuple[Address, OSError] | None:
        """Take the oldest failure that was not asked for."""
        return self._failures.next()

    def counters(self) -> SocketCounters:
        """What happened so far."""
        return self._traffic.counters(self._failures, dropped_in=self._dropped_in)

    def close(self) -> None:
        """Detach from the network and wake all waiting tasks."""
        if self._closed:
            return
        self._closed = True
        self._inbox.clear()
        self._readable.set()
        for host in self._hosts:
            self._clockwork.close((host, self._local_address[1]))

    def receive(self, data: bytes, source: Address, destination: Address | None = None) -> None:
        """Queue a datagram that arrived for one of its addresses; called by the network."""
        if destination is not None and is_wildcard(self._local_address[0]):
            source = AskedAddress(source, destination[0])
        if len(self._inbox) >= INBOX_DATAGRAMS:
            self._dropped_in += 1
            return
        self._inbox.append((data, source))
        self._readable.set()


class Clockwork:
    """One timer for all sockets of a network: with a timer each, every one would wake all."""

    def __init__(self, network: "Network", loop: asyncio.AbstractEventLoop) -> None:
        self.sockets: dict[Address, MemorySocket] = {}
        self._network = network
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, network: "Network") -> "Clockwork":
        """The clockwork of a network on the running loop."""
        loop = asyncio.get_running_loop()
        if network.clockwork is None or network.clockwork._loop is not loop:
            network.clockwork = cls(network, loop)
        return network.clockwork

    def send(self, data: bytes, source: Address, destination: Address, **how: bool) -> None:
        """Put one datagram on its way."""
        self._network.send(data, source, destination, self._loop.time(), **how)
        self._arm()

    def attach(self, sock: MemorySocket, address: Address) -> None:
        """Deliver what comes to an address to this socket.

        Raises:
            BindError: See `MemoryNetwork.attach`.
        """
        self._network.attach(address)
        self.sockets[address] = sock

    def close(self, address: Address) -> None:
        """Stop delivering what comes to an address."""
        self._network.detach(address)
        del self.sockets[address]
        if not self.sockets and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        due = self._network.next_delivery()
        if due is None or (self._timer is not None and self._timer.when() <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._fire, due)

    def _fire(self, due: float) -> None:
        self._timer = None
        # The loop may fire a timer early by its clock's resolution.
        for data, source, destination in self._network.deliver(max(due, self._loop.time())):
            if destination in self.sockets:
                self.sockets[destination].receive(data, source, destination)
        self._arm()
