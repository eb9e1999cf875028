"""What the nodes of a cluster and their servers say to each other: whole nodes, on virtual time.

    python -m tests.cluster_clients

Three servers and a broker in memory, and nodes with keys that join one server each, by turns.
Counted are the datagrams between nodes and servers, what UDP and IP add not.
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from p2ptui.io.memory_bus import MemoryBroker
from p2ptui.wire.address import Address, format_address
from tests.simulation import Host, World

SERVERS = 3
NODES = 30
QUIET_S = 120.0
LISTED_S = 20.0
"""A list that is looked at is asked for once in this time, at its beginning."""
NEWCOMERS = 6
STEP_S = 0.1


@dataclass
class Clients:
    """What one node and its server say, both ways."""

    join_datagrams: float = 0.0
    """From the first datagram of a node until it is known to all, and knows of other servers."""
    join_bytes: float = 0.0
    quiet_datagrams: float = 0.0
    """Of a node that says nothing, a minute."""
    quiet_bytes: float = 0.0
    listed_bytes: float = 0.0
    """Of each node on a list, each time that somebody asks for it."""
    news_bytes: float = 0.0
    """Of each node that comes or goes, to each that follows who does."""


class Town:
    """The servers, their broker, and nodes."""

    def __init__(self) -> None:
        self.world = World(secured=True)
        self.world.network.translate = self._count
        self.said: dict[Address, list[int]] = {}
        """Of each node, the datagrams to and from it, and their bytes."""
        self.broker = MemoryBroker()
        self.servers = [self.world.host(name=f"server-{number}") for number in range(SERVERS)]
        self._rooms = [
            server.endpoint.open_cluster(
                server.endpoint.identity.name, format_address(server.address), self.world.now
            )
            for server in self.servers
        ]
        self._buses = [
            self.broker.attach(server.id, room, self.world.now)
            for server, room in zip(self.servers, self._rooms, strict=True)
        ]
        self.nodes: list[Host] = []
        self.run_for(4)

    def _count(
        self, data: bytes, source: Address, to: Address, _now: float
    ) -> tuple[Address, Address]:
        for end in (source, to):
            said = self.said.setdefault(end, [0, 0])
            said[0] += 1
            said[1] += len(data)
        return source, to

    def run_for(self, seconds: float) -> None:
        """Let it all go on."""
        end = self.world.now + seconds
        while self.world.now < end:
            self.world.run_for(STEP_S)
            self.broker.run(self.world.now)
            for room, bus in zip(self._rooms, self._buses, strict=True):
                for order in room.orders():
                    bus.do(order)
            for server in self.servers:
                server.settle()

    def join(self) -> Host:
        """One more node, at the next server."""
        node = self.world.host()
        node.outcome(node.connect(self.servers[len(self.nodes) % SERVERS]))
        self.nodes.append(node)
        return node

    def said_by(self, nodes: list[Host]) -> tuple[float, float]:
        """Datagrams and bytes that nodes said and heard so far, on average."""
        said = [self.said[node.address] for node in nodes]
        return sum(count for count, _ in said) / len(said), sum(b for _, b in said) / len(said)

    def known(self) -> bool:
        """Whether all servers know all nodes."""
        return all(
            room.holder(node.id) is not None or server.peer(node) is not None
            for node in self.nodes
            for server, room in zip(self.servers, self._rooms, strict=True)
        )


def measure(nodes: int = NODES) -> Clients:
    """What each of so many nodes says and hears."""
    town, figures = Town(), Clients()
    for _ in range(nodes):
        town.join()
    town.run_for(60)
    if not town.known():
        raise SystemExit("not all servers know all nodes")

    quiet_s, before = QUIET_S, town.said_by(town.nodes)
    town.run_for(quiet_s)
    datagrams, size = (
        (then - now) * 60 / quiet_s
        for now, then in zip(before, town.said_by(town.nodes), strict=True)
    )
    figures.quiet_datagrams, figures.quiet_bytes = datagrams, size

    before = town.said_by(town.nodes)
    late = [town.join() for _ in range(NEWCOMERS)]
    town.run_for(5)
    heard = town.said_by(town.nodes[:nodes])[1] - before[1]
    figures.news_bytes = (heard - size * 5 / 60) / NEWCOMERS
    figures.join_datagrams, figures.join_bytes = town.said_by(late[-1:])

    watcher = town.nodes[:1]
    watcher[0].endpoint.watching.set_watched(town.world.now, enabled=True)
    before = town.said_by(watcher)
    town.run_for(LISTED_S)
    heard = town.said_by(watcher)[1] - before[1]
    figures.listed_bytes = (heard - size * LISTED_S / 60) / (len(town.nodes) - 1)
    return figures


def main() -> None:
    """The command line."""
    for name, value in asdict(measure()).items():
        print(f"{name}: {value:,.0f}")


if __name__ == "__main__":
    main()
