"""A cluster larger than this machine holds: its rooms, a broker in memory, and virtual time.

    python -m tests.cluster_simulation --nodes 1000 2000 --servers 3
    python -m tests.cluster_simulation --plots

The second command simulates all sizes that docs/cluster.md shows, and writes their figures and
plots to docs/pictures.

Nodes are entries in the tables of their servers: what is simulated is all that servers tell each
other; what nodes and servers say is counted in `tests.cluster_clients`. No time passes while a
server computes: the times are those of the ways, and of the pace that servers keep. Of each size it
tells how long it takes until every server knows every node after a storm of joins, after a server
was killed, after one was apart from the broker, and after the broker lost all that it kept; what a
quiet node costs; and whether a churn of 1 % a second is held.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import cluster_clients, cluster_plots
from tests.core.cluster_rooms import FakeNode, Rooms, Server

STORM_S = 10.0
"""All nodes join within this time, as after a cut of the power."""
CHURN_S = 30.0
CHURN_A_SECOND = 0.01
QUIET_S = 120.0
APART_S = 60.0
NOTICED_S = (3.6, 5.0)
"""So long after its server has died a node is at another one."""
STEP_S = 0.05
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
    lost_s: float = 0.0
    """From the return of a broker that has lost its entries until all servers know all nodes."""
    puts: float = 0.0
    """By a quiet node, a minute."""
    told: float = 0.0
    """Entries that servers are told of a quiet node, all servers together, a minute."""
    bytes: float = 0.0
    """That the broker takes and tells of it, beacons of servers among them, a minute."""
    messages: float = 0.0
    """As many entries and beacons."""
    churn_messages: float = 0.0
    """The same under churn."""
    churn_bytes: float = 0.0
    took_s: float = 0.0
    """Of processor time, all in all."""


class Story:
    """One size, from the storm to the partition."""

    def __init__(self, nodes: int, servers: int, seed: int) -> None:
        self.rng = random.Random(f"{seed} {nodes} {servers}")
        self.rooms = Rooms(servers, seed=seed, latency_s=0.005)
        for server in self.rooms.servers:
            self._forget_news(server)  # it is kept for tests
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
            elsewhere = sum(home is not server for _, home in self.at.values())
            missing += max(0, len(view) - elsewhere)
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
        began = time.process_time()
        for part in (self.storm, self.quiet, self.churn, self.kill, self.part, self.lose):
            part()
        self.figures.took_s = time.process_time() - began
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
        before = self.traffic()
        self.rooms.run_for(QUIET_S)
        figures = self.figures
        figures.puts, figures.told, figures.messages, figures.bytes = self.since(before, QUIET_S)

    def traffic(self) -> tuple[int, int, int, int]:
        """Puts, entries told, messages of both kinds and of beacons, and bytes, so far."""
        broker = self.rooms.broker
        messages = broker.puts + broker.told + broker.published + broker.delivered
        return broker.puts, broker.told, messages, broker.bytes

    def since(self, before: tuple[int, ...], seconds: float) -> list[float]:
        """What came since then, of a node a minute."""
        each = self.figures.nodes * seconds / 60
        return [(now - then) / each for then, now in zip(before, self.traffic(), strict=True)]

    def churn(self) -> None:
        count = int(self.figures.nodes * CHURN_A_SECOND * CHURN_S)
        missing: list[float] = []
        looked = self.rooms.now
        before = self.traffic()

        def change() -> None:
            node, server = self.at.pop(self.some())
            server.leave(node)
            self.join(self.new_node())

        for _ in self.spread([change] * count, CHURN_S):
            if self.rooms.now >= looked + 1:
                looked = self.rooms.now
                whole = len(self.at) * len(self.rooms.servers)
                missing.append(self.missing() / whole)
        *_, self.figures.churn_messages, self.figures.churn_bytes = self.since(before, CHURN_S)
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
        self._forget_news(self.rooms.server())  # in its place
        self.until_known(60)

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

    def lose(self) -> None:
        self.rooms.broker.kill(self.rooms.now)
        self.rooms.broker._table.clear()
        self.rooms.run_for(2)
        self.rooms.broker.start(self.rooms.now)
        began = self.rooms.now
        self.rooms.run_for(STEP_S)  # until then they know what they knew before
        self.until_known(60)
        self.figures.lost_s = self.rooms.now - began


def figures_of(size: tuple[int, int], seed: int = 1) -> Figures:
    """The figures of so many nodes and servers."""
    return Story(*size, seed).run()


def all_figures(sizes: Sequence[tuple[int, int]], seed: int = 1) -> Iterator[Figures]:
    """The figures of many sizes, in this order, the largest begun first, each core with one."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        futures = {size: pool.submit(figures_of, size, seed) for size in sorted(sizes)[::-1]}
        for size in sizes:
            yield futures[size].result()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--nodes", type=int, nargs="+", default=[1_000, 3_000, 10_000])
    parser.add_argument("--servers", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plots", action="store_true", help="all sizes, to docs/pictures")
    options = parser.parse_args()
    sizes = [(nodes, options.servers) for nodes in options.nodes]
    figures = []
    for one in all_figures(cluster_plots.SIZES if options.plots else sizes, options.seed):
        figures.append(one)
        print(f"{one.nodes:,} nodes, {one.servers} servers: {one.took_s:.0f} s", flush=True)
    rows = [asdict(one) for one in figures]
    print("\n\n".join(cluster_plots.tables(rows)))
    if options.plots:
        cluster_plots.store(rows, asdict(cluster_clients.measure()))
        cluster_plots.draw()


if __name__ == "__main__":
    main()
