"""A simulated network for days of virtual time: only who has something to do is looked at.

`World` looks at every host after every datagram, which is plain and slow. Here each host stands in
one agenda with its next timer, and a ledger is kept of what the server sends to whom.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

from p2ptui.config import Config
from p2ptui.core.events import CallFinished, DataReceived, PeerStatus, PeerStatusChanged
from p2ptui.core.peers import AMPLIFICATION_LIMIT
from p2ptui.wire.address import Address
from tests.simulation import Host, World


class DayHost(Host):
    """A node that keeps no events, and stands in the agenda of its world."""

    world: "DayWorld"

    def __init__(self, world: World, address: Address, config: Config, node_id: str) -> None:
        super().__init__(world, address, config, node_id)
        self.planned: float | None = None
        self.is_running = True
        self.on_data: Callable[[DataReceived], None] = lambda _: None
        self.on_status: Callable[[PeerStatusChanged], None] = lambda _: None
        self.on_outcome: dict[int, Callable[[Any], None]] = {}

    def settle(self) -> None:
        self._transmit()
        while (event := self.endpoint.next_event()) is not None:
            if isinstance(event, DataReceived):
                self.on_data(event)
            elif isinstance(event, PeerStatusChanged):
                self.on_status(event)
            elif isinstance(event, CallFinished):
                self.on_outcome.pop(event.token, lambda _: None)(event.outcome)
            self._transmit()
        self.world.plan(self)


class Server(DayHost):
    """The node that is watched: nobody unproved may get more than three times its bytes."""

    def __init__(self, world: World, address: Address, config: Config, node_id: str) -> None:
        super().__init__(world, address, config, node_id)
        self.bytes_from: Counter[Address] = Counter()
        self.bytes_to: Counter[Address] = Counter()
        self.last_heard: dict[Address, float] = {}
        self.pings_since: Counter[Address] = Counter()
        """Pings sent to an address since something came from it."""
        self.proved: set[Address] = set()
        """Who has answered in the session that it has."""
        self.relayed: Counter[bytes] = Counter()
        """Bytes that left in RelayData, as they stand in the datagram."""
        self.excesses: list[str] = []
        self.worst_ratio = 0.0
        """Most bytes sent for each byte received from an address that has proved nothing."""

    def receive(self, data: bytes, source: Address) -> None:
        self.bytes_from[source] += len(data)
        self.last_heard[source] = self.world.now
        self.pings_since[source] = 0
        super().receive(data, source)
        peer = self.endpoint.peers.at(source)
        if peer is not None and peer.proved:
            self.proved.add(source)

    def _transmit(self) -> None:
        now, peers = self.world.now, self.endpoint.peers
        for data, address in self.endpoint.datagrams_to_send(now):
            peer = peers.at(address)
            if peer is None or not peer.proved:
                self._note_unproved(data, address)
            if b'"message_type":"Ping"' in data:
                self.pings_since[address] += 1
            elif b'"message_type":"RelayData"' in data:
                self.relayed[data.partition(b'"data":')[2].partition(b"]")[0]] += 1
            self.world.network.send(data, self.address, address, now)

    def _note_unproved(self, data: bytes, address: Address) -> None:
        self.bytes_to[address] += len(data)
        sent, received = self.bytes_to[address], self.bytes_from[address]
        self.worst_ratio = max(self.worst_ratio, sent / max(received, 1))
        if sent > AMPLIFICATION_LIMIT * received:
            self.excesses.append(f"{sent} bytes to {address}, which sent {received}")

    def forget(self, address: Address) -> None:
        """A session is over: what comes next at this address must be proved anew."""
        del self.bytes_from[address], self.bytes_to[address]
        self.proved.discard(address)


class DayWorld(World):
    """A network with an agenda.

    Args:
        seed: Decides everything.
        link: Options of the network's links.
    """

    def __init__(self, seed: int, **link: Any) -> None:
        super().__init__(seed, **link)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.datagrams = 0

    def day_host(self, kind: type[DayHost], node_id: str | None = None, **options: Any) -> DayHost:
        """Add a node of a kind of `DayHost`."""
        address = self.network.attach(self.address())
        config = Config().with_options(**options)
        host = kind(self, address, config, node_id or self.node_id())
        self.hosts[address] = host
        return host

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something at a time, seconds."""
        heapq.heappush(self._agenda, (time, next(self._order), action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later."""
        self.at(self.now + seconds, action)

    def plan(self, host: DayHost) -> None:
        """Note when a host wants to be called next."""
        due = host.endpoint.next_timeout()
        if due is not None and (host.planned is None or due < host.planned):
            host.planned = due
            self.at(due, lambda: self._call(host, due))

    def _call(self, host: DayHost, due: float) -> None:
        if host.planned != due or not host.is_running:
            return  # it was planned anew
        host.planned = None
        host.endpoint.handle_timeout(self.now)
        host.settle()

    def run_until_time(self, end: float) -> None:
        """Move time on to `end`, seconds."""
        network, agenda, hosts = self.network, self._agenda, self.hosts
        while True:
            delivery = network.next_delivery()
            planned = agenda[0][0] if agenda else end
            due = planned if delivery is None else min(planned, delivery)
            if due >= end:
                self.now = end
                return
            self.now = max(self.now, due)
            for data, source, destination in network.deliver(self.now):
                self.datagrams += 1
                receiver = hosts.get(destination)
                if receiver is not None:
                    receiver.receive(data, source)
                    receiver.settle()
            while agenda and agenda[0][0] <= self.now:
                heapq.heappop(agenda)[2]()


GONE = (PeerStatus.DISCONNECTED, PeerStatus.FAILED)
"""Statuses after which there is no session."""
