"""Servers of one network with whole nodes in a simulated town: rooms of a cluster, and a broker.

async with Town() as town:
    broker = TownBroker(town)
    one, other = await broker.server("one"), await broker.server("other")
"""

import asyncio
from collections.abc import Callable
from typing import Any

from p2ptui import Node
from p2ptui.core.cluster.room import Cluster
from p2ptui.io.memory_bus import MemoryBroker, MemoryBus
from p2ptui.wire.address import format_address
from tests.town import Town


class TownBroker:
    """A broker in memory, driven by the loop of the town."""

    def __init__(self, town: Town, **options: Any) -> None:
        self._town = town
        self._loop = asyncio.get_running_loop()
        self.broker = MemoryBroker(**options)
        self.rooms: dict[str, tuple[Cluster, MemoryBus]] = {}
        """By the ids of the servers."""
        self._flush: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        town.at_end(self._stop)

    async def server(self, name: str, **options: Any) -> Node:
        """A server that relays, brought to the broker."""
        node = await self._town.start(name, **{"allow_symmetric_nat_relay": True} | options)
        runtime = node._runtime
        room = runtime.endpoint.open_cluster(name, format_address(node.address), runtime.now)
        bus = self.broker.attach(node.id, room, runtime.now)
        self.rooms[node.id] = room, bus
        self._flush.append(runtime.flush)
        room.on_orders = self._soon
        self.run()
        return node

    def act(self, action: Callable[[float], None]) -> None:
        """Do something to the broker, at the time."""
        action(self._loop.time())
        self.run()

    def kill(self, server: Node) -> None:
        """The machine of a server is without power."""
        _, bus = self.rooms.pop(server.id)
        self.broker.detach(bus)
        self._town.crash(server)

    def _soon(self) -> None:
        self._loop.call_soon(self.run)

    def run(self) -> None:
        """Bring the rooms' orders there, and what is due back."""
        now = self._loop.time()
        self.broker.run(now)
        for room, bus in self.rooms.values():
            for order in room.orders():
                bus.do(order)
        for flush in self._flush:
            flush()
        due = self.broker.next_timeout()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self._loop.call_at(due, self.run)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
