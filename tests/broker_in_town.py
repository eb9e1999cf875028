"""A broker in memory for whole nodes: it takes the place of NATS in `node.cluster`.

    broker = BrokerInTown()
    monkeypatch.setattr("p2ptui.node.cluster.NatsBus", broker.bus)
    one = await town.start("one", **broker.options())

Everything but the broker and the sockets is real, on virtual time.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from p2ptui.config.cluster_section import ClusterOptions
from p2ptui.core.cluster.bus import Heard, Order
from p2ptui.io.memory_bus import MemoryBroker, MemoryBus
from p2ptui.io.nats_bus import BusStatus

URL = "nats://broker.example:4222"
AWAY = "there is no broker at broker.example:4222"


class BrokerInTown:
    """The broker; its buses are driven by the event loop."""

    def __init__(self, **options: Any) -> None:
        self.memory = MemoryBroker(**options)
        self.is_up = True
        self._buses: list[BusInTown] = []
        self._timer: asyncio.TimerHandle | None = None

    def options(self, **others: Any) -> dict[str, Any]:
        """The options of a node that is a server on this broker."""
        return {"cluster": {"servers": [URL], **others}}

    def bus(
        self,
        _options: ClusterOptions,
        _network_id: str,
        own_id: str,
        heard: Heard,
        clock: Callable[[], float],
        _rng: random.Random,
    ) -> "BusInTown":
        """What stands for a `NatsBus`."""
        bus = BusInTown(self, own_id, heard, clock)
        self._buses.append(bus)
        return bus

    def kill(self) -> None:
        """The broker is gone."""
        self.is_up = False
        self.memory.kill(self._now())
        for bus in self._buses:
            bus.since = self._now()

    def start(self) -> None:
        """It is back."""
        self.is_up = True
        self.memory.start(self._now())
        for bus in self._buses:
            bus.since = self._now()
        self.plan()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def plan(self) -> None:
        """Do what is due when it is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        when = self.memory.next_timeout()
        if when is not None:
            self._timer = asyncio.get_running_loop().call_at(when, self._run)

    def _run(self) -> None:
        self._timer = None
        self.memory.run(self._now())
        self.plan()


class BusInTown:
    """One server's way to the broker."""

    def __init__(
        self, broker: BrokerInTown, own_id: str, heard: Heard, clock: Callable[[], float]
    ) -> None:
        self._broker, self._own_id, self._heard, self._clock = broker, own_id, heard, clock
        self._bus: MemoryBus | None = None
        self.since = clock()

    async def run(self) -> None:
        """Be linked, until cancelled."""
        memory = self._broker.memory
        self.since = self._clock()
        self._bus = memory.attach(
            self._own_id, self._heard, self._clock(), is_up=self._broker.is_up
        )
        self._broker.plan()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            memory.detach(self._bus)

    def do(self, order: Order) -> None:
        """See `core.cluster.bus.Bus.do`."""
        if self._bus is not None:
            self._broker.memory.run(self._clock())
            self._bus.do(order)
            self._broker.plan()

    def status(self) -> BusStatus:
        """How it stands with the broker."""
        is_up = self._bus is not None and self._bus.is_up
        return BusStatus(is_up, self.since, URL, "" if is_up else AWAY, None, {})

    async def drain(self) -> None:
        """What it was told reaches the broker."""
        await asyncio.sleep(0.01)
