"""A broker in memory: one table, and messages, for many rooms, on any clock, repeatable by a seed.

It knows no event loop: time is an argument, as in `io.memory`. What is ordered takes its time to
the broker, and what the broker tells takes it back; a link may be down, and with all links the
broker, whose entries outlive that.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from p2ptui.core.cluster.bus import Delete, Heard, Order, Publish, Put

SERVERS = "servers"
"""The subject that all hear; any other is heard by the server with this id."""

_Step: TypeAlias = Callable[[float], None]


class _Standing(NamedTuple):
    """What stands in the table."""

    value: bytes | None
    """None: it was taken away."""
    revision: int
    put_at: float


class MemoryBus:
    """The link of one room to the broker: its `Bus`."""

    def __init__(self, broker: "MemoryBroker", server_id: str, heard: Heard) -> None:
        self._broker = broker
        self.server_id = server_id
        self.heard = heard
        self.is_up = False
        self.is_watching = False
        """Whether what is new in the table is told to it."""
        self.epoch = 0
        """What was under way when the link went down does not arrive."""
        self.latency_s: float | None = None
        """One way, seconds; None: that of the broker."""

    def do(self, order: Order) -> None:
        """See `Bus.do`."""
        if self.is_up:
            self._broker.take(self, order)


class MemoryBroker:
    """A table and messages, in virtual time.

    Args:
        ttl_s: How long an entry stands that is not put again, seconds.
        latency_s: From a server to the broker, and from there to a server, seconds.
        loss: Of messages, the probability.
        seed: Of what is lost.
    """

    def __init__(
        self, *, ttl_s: float = 90.0, latency_s: float = 0.002, loss: float = 0.0, seed: int = 0
    ) -> None:
        self.ttl_s = ttl_s
        self.latency_s = latency_s
        self.loss = loss
        self.reached_s = 0.0
        """The time of the last `run`; what is ordered is ordered then."""
        self._rng = random.Random(seed)
        self._table: dict[str, _Standing] = {}
        self._revision = 0
        self._buses: list[MemoryBus] = []
        self._steps: list[tuple[float, int, _Step]] = []
        self._count = itertools.count()
        self.puts = self.refused = self.published = self.delivered = self.bytes = 0
        """Totals: orders done and not done, messages, those that came, and bytes that all took."""

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
        """A room is brought to the broker.

        Args:
            server_id: Whose.
            heard: The room.
            now: The time, seconds.
            is_up: Whether its link is there at once.
        """
        bus = MemoryBus(self, server_id, heard)
        self._buses.append(bus)
        self.reached_s = max(self.reached_s, now)
        if is_up:
            self.mend(bus, now)
        return bus

    def detach(self, bus: MemoryBus) -> None:
        """It is gone, without a word to it: its process was killed."""
        bus.epoch += 1
        bus.is_up = bus.is_watching = False
        if bus in self._buses:
            self._buses.remove(bus)

    def cut(self, bus: MemoryBus, now: float) -> None:
        """Its link is gone."""
        if bus.is_up:
            bus.epoch += 1
            bus.is_up = bus.is_watching = False
            bus.heard.handle_link(False, now)

    def mend(self, bus: MemoryBus, now: float) -> None:
        """Its link is there: it is told all that stands in the table, and what is new from then."""
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
        """The broker is gone, and its entries are not."""
        for bus in self._buses:
            self.cut(bus, now)

    def start(self, now: float) -> None:
        """It is back, and so are all links."""
        for bus in self._buses:
            self.mend(bus, now)

    # What is ordered.

    def take(self, bus: MemoryBus, order: Order) -> None:
        """A server orders something."""

        def arrive(at: float) -> None:
            if isinstance(order, Publish):
                self.publish(order.subject, order.data, at)
            elif isinstance(order, Put):
                self._put(bus, order, at)
            else:
                self._delete(bus, order, at)

        self._tell(bus, self.reached_s, arrive)

    def publish(self, subject: str, data: bytes, now: float) -> None:
        """Send a message, as anybody can who reaches the broker."""
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
        """Set an entry whatever stands there, as anybody can who reaches the broker; its
        revision."""
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
        self.bytes += len(value or b"")
        self._tell(bus, now, lambda at: heard.receive_entry(key, value, revision, at))

    # What stands there.

    def _value_of(self, standing: _Standing, now: float) -> bytes | None:
        return None if now >= standing.put_at + self.ttl_s else standing.value

    def _revision_of(self, key: str, now: float) -> int:
        standing = self._table.get(key)
        if standing is None or self._value_of(standing, now) is None:
            return 0
        return standing.revision

    def entries(self, now: float) -> dict[str, bytes]:
        """All that stands in the table."""
        values = {key: self._value_of(one, now) for key, one in self._table.items()}
        return {key: value for key, value in values.items() if value is not None}
