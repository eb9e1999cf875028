"""A broker in memory: one table, and messages, for many servers, on any clock, reproducible by a
seed.

It knows no event loop: time is an argument, as in `io.memory`. Orders take time to reach the
broker, and its news takes time to come back. A link may be down; the broker can go down together
with all links, and its entries survive that.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from p2ptui.core.cluster.bus import Delete, Heard, Order, Publish, Put

SERVERS = "servers"
"""The subject that all servers hear; any other subject is heard by the server with this id."""

_Step: TypeAlias = Callable[[float], None]


class _Standing(NamedTuple):
    """An entry of the table."""

    value: bytes | None
    """None if it was deleted."""
    revision: int
    put_at: float


class MemoryBus:
    """One server's link to the broker: its `Bus`."""

    def __init__(self, broker: "MemoryBroker", server_id: str, heard: Heard) -> None:
        self._broker = broker
        self.server_id = server_id
        self.heard = heard
        self.is_up = False
        self.is_watching = False
        """Whether it is told about changes in the table."""
        self.epoch = 0
        """Changes when the link goes down, so that what was under way then does not arrive."""
        self.latency_s: float | None = None
        """One-way latency, seconds; None: the broker's."""

    def do(self, order: Order) -> None:
        """See `Bus.do`."""
        if self.is_up:
            self._broker.take(self, order)


class MemoryBroker:
    """A table and messages, in virtual time.

    Args:
        ttl_s: How long an entry lasts unless it is put again, seconds.
        latency_s: From a server to the broker, and from there to a server, seconds.
        loss: Probability that a message is lost.
        seed: Seed of the losses.
    """

    def __init__(
        self, *, ttl_s: float = 90.0, latency_s: float = 0.002, loss: float = 0.0, seed: int = 0
    ) -> None:
        self.ttl_s = ttl_s
        self.latency_s = latency_s
        self.loss = loss
        self.reached_s = 0.0
        """The time of the last `run`; new orders are given at this time."""
        self._rng = random.Random(seed)
        self._table: dict[str, _Standing] = {}
        self._revision = 0
        self._buses: list[MemoryBus] = []
        self._steps: list[tuple[float, int, _Step]] = []
        self._count = itertools.count()
        self.puts = self.refused = self.published = self.delivered = self.told = self.bytes = 0
        """Totals: orders done and refused, messages, those that arrived, entries that servers were
        told, and the bytes of all these.
        """

    # Time.

    def next_timeout(self) -> float | None:
        """When something is due; None if nothing is."""
        return self._steps[0][0] if self._steps else None

    def run(self, now: float) -> None:
        """Do what is due."""
        self.reached_s = max(self.reached_s, now)
        while self._steps and self._steps[0][0] <= now:
            when, _, step = heapq.heappop(self._steps)
            step(max(when, now))

    def _later(self, when: float, step: _Step) -> None:
        heapq.heappush(self._steps, (when, next(self._count), step))

    def _tell(self, bus: MemoryBus, now: float, step: _Step) -> None:
        """Something travels to a server, unless its link goes down first."""
        epoch = bus.epoch

        def arrive(at: float) -> None:
            if bus.epoch == epoch:
                step(at)

        self._later(now + self._latency(bus), arrive)

    def _latency(self, bus: MemoryBus) -> float:
        return self.latency_s if bus.latency_s is None else bus.latency_s

    # Links.

    def attach(self, server_id: str, heard: Heard, now: float, *, is_up: bool = True) -> MemoryBus:
        """Connect a server to the broker.

        Args:
            server_id: Its id.
            heard: Its part of the core.
            now: The time, seconds.
            is_up: Whether its link is up at once.
        """
        bus = MemoryBus(self, server_id, heard)
        self._buses.append(bus)
        self.reached_s = max(self.reached_s, now)
        if is_up:
            self.mend(bus, now)
        return bus

    def detach(self, bus: MemoryBus) -> None:
        """It disappears without notice: its process was killed."""
        bus.epoch += 1
        bus.is_up = bus.is_watching = False
        if bus in self._buses:
            self._buses.remove(bus)

    def cut(self, bus: MemoryBus, now: float) -> None:
        """Its link goes down."""
        if bus.is_up:
            bus.epoch += 1
            bus.is_up = bus.is_watching = False
            bus.heard.handle_link(False, now)

    def mend(self, bus: MemoryBus, now: float) -> None:
        """Its link comes up: it is told all entries of the table, and changes from then on."""
        if bus.is_up:
            return
        bus.is_up = True
        bus.heard.handle_link(True, now)

        def watch(at: float) -> None:
            bus.is_watching = True
            for key, standing in list(self._table.items()):
                if self._value_of(standing, at) is not None:
                    self._tell_entry(bus, key, standing, at)
            self._tell(bus, at, bus.heard.handle_complete)

        self._tell(bus, now, watch)

    def kill(self, now: float) -> None:
        """The broker goes down, but keeps its entries."""
        for bus in self._buses:
            self.cut(bus, now)

    def start(self, now: float) -> None:
        """The broker is back, and so are all links."""
        for bus in self._buses:
            self.mend(bus, now)

    # Orders.

    def take(self, bus: MemoryBus, order: Order) -> None:
        """A server gives an order."""

        def arrive(at: float) -> None:
            if isinstance(order, Publish):
                self.publish(order.subject, order.data, at)
            elif isinstance(order, Put):
                self._put(bus, order, at)
            else:
                self._delete(bus, order, at)

        self._tell(bus, self.reached_s, arrive)

    def publish(self, subject: str, data: bytes, now: float) -> None:
        """Send a message, as anyone can who reaches the broker."""
        self.published += 1
        for bus in self._buses:
            if not bus.is_up or subject not in (SERVERS, bus.server_id):
                continue
            if self.loss and self._rng.random() < self.loss:
                continue
            self.delivered += 1
            self.bytes += len(data)
            heard = bus.heard
            self._tell(bus, now, lambda at, heard=heard: heard.receive_message(subject, data, at))  # type: ignore[misc]

    def put(self, key: str, value: bytes | None, now: float) -> int:
        """Set an entry whatever is there, as anyone can who reaches the broker; return its
        revision.
        """
        self._revision += 1
        standing = self._table[key] = _Standing(value, self._revision, now)
        self.bytes += len(value or b"")
        for bus in self._buses:
            if bus.is_watching:
                self._tell_entry(bus, key, standing, now)
        return self._revision

    def _put(self, bus: MemoryBus, order: Put, now: float) -> None:
        heard, key = bus.heard, order.key
        if self._revision_of(key, now) != order.revision:
            self.refused += 1
            self._tell(bus, now, lambda at: heard.handle_refused(key, at))
            return
        self.puts += 1
        revision = self.put(key, order.value, now)
        self._tell(bus, now, lambda at: heard.handle_put(key, revision, at))

    def _delete(self, bus: MemoryBus, order: Delete, now: float) -> None:
        heard, key = bus.heard, order.key
        if self._revision_of(key, now) != order.revision:
            self.refused += 1
            self._tell(bus, now, lambda at: heard.handle_refused(key, at))
            return
        self.put(key, None, now)

    def _tell_entry(self, bus: MemoryBus, key: str, standing: _Standing, now: float) -> None:
        heard, value, revision = bus.heard, standing.value, standing.revision
        self.told += 1
        self.bytes += len(value or b"")
        self._tell(bus, now, lambda at: heard.receive_entry(key, value, revision, at))

    # Entries.

    def _value_of(self, standing: _Standing, now: float) -> bytes | None:
        return None if now >= standing.put_at + self.ttl_s else standing.value

    def _revision_of(self, key: str, now: float) -> int:
        standing = self._table.get(key)
        if standing is None or self._value_of(standing, now) is None:
            return 0
        return standing.revision

    def entries(self, now: float) -> dict[str, bytes]:
        """All entries of the table."""
        values = {key: self._value_of(one, now) for key, one in self._table.items()}
        return {key: value for key, value in values.items() if value is not None}
