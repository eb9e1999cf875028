"""A cluster larger than this machine holds: its rooms, a broker in memory, and virtual time.

    python -m tests.cluster_simulation
    python -m tests.cluster_simulation --nodes 1000 2000 --servers 3

Nodes are entries in the tables of their servers: what is simulated is all that servers tell each
other, and nothing that nodes say. Of each size it tells how long it takes until every server knows
every node after a storm of joins, after a server was killed, and after one was apart from the
broker; what a quiet node costs; and whether a churn of 1 % a second is held.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.core.cluster_rooms import FakeNode, Rooms, Server

STORM_S = 10.0
"""All nodes join within this time, as after a cut of the power."""
CHURN_S = 30.0
CHURN_A_SECOND = 0.01
QUIET_S = 120.0
APART_S = 60.0
NOTICED_S = (3.6, 5.0)
"""So long after its server has died a node is at another one."""
STEP_S = 0.25
SIGNED = 0.5
"""Of all nodes, those with keys."""


@dataclass
class Figures:
    """What one size costs."""

    nodes: int
    servers: int
    storm_s: float = 0.0
    """From the first join until all servers know all nodes."""
    churn_missing: float = 0.0
    """Under churn: of the nodes that a server ought to know, how many it does not, on average."""
    churn_settled_s: float = 0.0
    """From the end of the churn until all servers know all nodes."""
    killed_s: float = 0.0
    """From the death of a server until all others know all nodes."""
    apart_s: float = 0.0
    """From the end of a partition until all servers know the same."""
    puts: float = 0.0
    """By a quiet node, a minute."""
    told: float = 0.0
    """Entries that servers are told of a quiet node, all servers together, a minute."""
    bytes: float = 0.0
    """That the broker takes and tells of it, beacons of servers among them, a minute."""
    took_s: float = 0.0
    """Of real time, all in all."""


class Story:
    """One size, from the storm to the partition."""

    def __init__(self, nodes: int, servers: int, seed: int) -> None:
        self.rng = random.Random(f"{seed} {nodes} {servers}")
        self.rooms = Rooms(servers, seed=seed, latency_s=0.005)
        for server in self.rooms.servers:
            self._forget_news(server)
        self.at: dict[str, tuple[FakeNode, Server]] = {}
        self.figures = Figures(nodes, servers)
        self._order: list[str] = []

    @staticmethod
    def _forget_news(server: Server) -> None:
        server.cluster.on_joined_elsewhere.clear()
        server.cluster.on_left_elsewhere.clear()

    def join(self, node: FakeNode) -> None:
        server = self.rng.choice(
            [one for one in self.rooms.servers if node.node_id not in one.nodes]
        )
        server.join(node)
        self.at[node.node_id] = node, server

    def new_node(self) -> FakeNode:
        return self.rooms.node(keys=self.rng.random() < SIGNED)

    def missing(self) -> int:
        """How many nodes the servers do not know where they are, all servers together."""
        missing = 0
        for server in self.rooms.servers:
            view = server.cluster._view
            for node_id, (_, home) in self.at.items():
                if home is server:
                    missing += view.entry(node_id) is not None
                else:
                    entry = view.entry(node_id)
                    missing += entry is None or entry.run.server_id != home.id
            stale = len(view) - sum(home is not server for _, home in self.at.values())
            missing += max(0, stale)
        return missing

    def until_known(self, within: float) -> float:
        """Move time until all is known; how long that took, seconds."""
        began = self.rooms.now
        while self.missing():
            if self.rooms.now - began > within:
                raise SystemExit(f"{self.missing()} are not known after {within} s")
            self.rooms.run_for(STEP_S)
        return self.rooms.now - began

    def spread(self, actions: list[Callable[[], None]], seconds: float) -> Iterator[None]:
        """Do all of these evenly within a time."""
        began = self.rooms.now
        for number, action in enumerate(actions):
            due = began + seconds * number / len(actions)
            if due > self.rooms.now:
                self.rooms.run_for(due - self.rooms.now)
                yield
            action()
        self.rooms.run_for(max(0.0, began + seconds - self.rooms.now))

    def run(self) -> Figures:
        began = time.perf_counter()
        for part in (self.storm, self.quiet, self.churn, self.kill, self.part):
            part()
        self.figures.took_s = time.perf_counter() - began
        return self.figures

    def storm(self) -> None:
        began = self.rooms.now
        nodes = [self.new_node() for _ in range(self.figures.nodes)]
        for _ in self.spread([lambda node=node: self.join(node) for node in nodes], STORM_S):  # type: ignore[misc]
            pass
        self.until_known(60)
        self.figures.storm_s = self.rooms.now - began

    def quiet(self) -> None:
        self.rooms.run_for(30)
        broker = self.rooms.broker
        before = broker.puts, broker.told, broker.bytes
        self.rooms.run_for(QUIET_S)
        after = broker.puts, broker.told, broker.bytes
        each = self.figures.nodes * QUIET_S / 60
        figures = [(then - now) / each for now, then in zip(before, after, strict=True)]
        self.figures.puts, self.figures.told, self.figures.bytes = figures

    def churn(self) -> None:
        count = int(self.figures.nodes * CHURN_A_SECOND * CHURN_S)
        missing: list[float] = []
        looked = self.rooms.now

        def change() -> None:
            node, server = self.at.pop(self.some())
            server.leave(node)
            self.join(self.new_node())

        for _ in self.spread([change] * count, CHURN_S):
            if self.rooms.now >= looked + 1:
                looked = self.rooms.now
                whole = len(self.at) * len(self.rooms.servers)
                missing.append(self.missing() / whole)
        self.figures.churn_missing = sum(missing) / len(missing)
        self.figures.churn_settled_s = self.until_known(30)

    def some(self) -> str:
        """The id of a node."""
        while True:
            if not self._order:
                self._order = list(self.at)
                self.rng.shuffle(self._order)
            node_id = self._order.pop()
            if node_id in self.at:
                return node_id

    def kill(self) -> None:
        began = self.rooms.now
        dead = self.rooms.servers[-1]
        dead.kill()
        lost = [node for node, server in self.at.values() if server is dead]
        first, last = NOTICED_S
        self.rooms.run_for(first)
        moves = [lambda node=node: self.join(node) for node in lost]  # type: ignore[misc]
        for _ in self.spread(moves, last - first):
            pass
        self.until_known(60)
        self.figures.killed_s = self.rooms.now - began

    def part(self) -> None:
        apart = self.rooms.servers[0]
        self.rooms.broker.cut(apart.bus, self.rooms.now)
        self.rooms.run_for(APART_S / 2)
        for number, (node, server) in enumerate(list(self.at.values())):
            if server is apart and number % 3 == 0:
                server.forget(node)  # it is silent there, and says nothing
                self.join(node)
        self.rooms.run_for(APART_S / 2)
        self.rooms.broker.mend(apart.bus, self.rooms.now)
        self.figures.apart_s = self.until_known(60)


HEADS = {
    "nodes": "nodes",
    "servers": "servers",
    "storm_s": "all known after a storm, s",
    "churn_missing": "not known under churn, %",
    "churn_settled_s": "all known after it, s",
    "killed_s": "all known after a server died, s",
    "apart_s": "one truth after a partition, s",
    "puts": "puts of a node a minute",
    "told": "entries told",
    "bytes": "bytes",
    "took_s": "it took, s",
}


def row(figures: Figures) -> list[str]:
    """The figures of one size, as text."""
    texts = []
    for field in fields(figures):
        value = getattr(figures, field.name)
        if field.name in ("nodes", "servers", "bytes", "took_s"):
            texts.append(f"{value:,.0f}")
        elif field.name == "churn_missing":
            texts.append(f"{100 * value:.2f}")
        else:
            texts.append(f"{value:.2f}")
    return texts


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--nodes", type=int, nargs="+", default=[1_000, 3_000, 10_000])
    parser.add_argument("--servers", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("| " + " | ".join(HEADS.values()) + " |")
    print("|" + " --- |" * len(HEADS))
    for nodes in options.nodes:
        figures = Story(nodes, options.servers, options.seed).run()
        print("| " + " | ".join(row(figures)) + " |", flush=True)


if __name__ == "__main__":
    main()
