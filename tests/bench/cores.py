"""What two nodes carry beside one on a machine with two cores: `python -m tests.bench.cores`.

One node has a core, and its load has the other one. Two nodes have a core each, shared with their
halves of the load: their throughput is what the machine carries together with its load; their CPU
time shows what it would carry if the load came from elsewhere. In a cluster, some of the relayed
frames are for a peer of the other node, through a broker on the same cores. Needs Linux, two cores,
a C compiler and `nats-server`.
"""

import argparse
import contextlib
import gc
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench import machine, table
from tests.bench.crowd import PLAIN, Crowd, Datagram, OpenPeer
from tests.bench.loads import OPTIONS, WINDOW, Load, Stage, relay_frames
from tests.bench.loopback import compiled
from tests.bench.secured import endpoint
from tests.cluster.brokers import PROGRAM, Broker

LOAD_S: Final = 0.4
WARM_UP_S: Final = 0.1
WARM_UP: Final = 15_000
"""Datagrams of the first load, more than any node answers in that time."""

WHOLE: Final = 0.95
"""A load that ends after less than this share of its time has run out of datagrams."""

MOST: Final = 200_000
"""Datagrams of a load."""

SPARE: Final = 2.0
"""This many times the resulting number of datagrams is written, so that a load ends by its time."""

KNOWN_S: Final = 3.0
"""How long it takes until the nodes of a cluster know each other's peers."""

ROWS: Final = ("echo", "ping", "secured", "relay")
"""Rows of nodes without a cluster, by their key in the other benchmark."""

CROSSING: Final = {"none": 0, "half": 2, "all": 1}
"""Which frames are for a peer of the other node: every n-th."""


@dataclass(frozen=True, slots=True)
class Aimed:
    """A load, and the node that it goes to.

    Args:
        load: The datagrams.
        port: The port of the node.
        core: Where the load runs.
    """

    load: Load
    port: int
    core: int


@dataclass
class Row:
    """Loads that run at the same time, and the figures of each round."""

    title: str
    nodes: Sequence[int]
    """The processes of the nodes."""
    aimed: Sequence[Aimed]
    broker: int = 0
    """The process of the broker."""
    rates: list[float] = field(default_factory=list)
    node_us: list[float] = field(default_factory=list)
    broker_us: list[float] = field(default_factory=list)
    load_us: list[float] = field(default_factory=list)
    lost: int = 0
    size: int = WARM_UP
    """Datagrams of a load."""

    def _cpu(self) -> tuple[float, float, float]:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        broker = machine.cpu_s(self.broker) if self.broker else 0.0
        nodes = sum(map(machine.cpu_s, self.nodes))
        return nodes, broker, used.ru_utime + used.ru_stime

    def play(self, seconds: float, on: "On") -> None:
        """Play one round; once more with more datagrams if they ran out, since then the loads did
        not overlap completely."""
        while not self._round(seconds, on):
            self.size *= 2

    def _round(self, seconds: float, on: "On") -> bool:
        for one in self.aimed:
            one.load.crowd.drain()
            one.load.crowd.write(one.load.make(self.size))
        gc.collect()
        before = self._cpu()
        with ExitStack() as stack:
            running: list[subprocess.Popen[str]] = []
            with on(*os.sched_getaffinity(0)):  # otherwise the first load may starve it
                for one in self.aimed:
                    driving = one.load.crowd.driving(
                        one.port, seconds=seconds, window=WINDOW, match=one.load.match
                    )
                    with on(one.core):
                        running.append(stack.enter_context(driving))
            told = [process.communicate(timeout=machine.PATIENCE_S)[0] for process in running]
        nodes, broker, load = (now - was for now, was in zip(self._cpu(), before, strict=True))
        figures = [line.split() for line in told]
        answers = sum(int(line[0]) for line in figures)
        if not answers:
            raise RuntimeError(f"{self.title}: no answer came")
        if any(float(line[1]) < WHOLE * seconds for line in figures) and self.size < MOST:
            return False
        self.rates.append(sum(int(line[0]) / float(line[1]) for line in figures))
        # Datagrams still in flight when a load ended are not lost.
        self.lost += max(sum(int(line[2]) for line in figures) - WINDOW * len(figures), 0)
        self.node_us.append(nodes / answers * 1e6)
        self.broker_us.append(broker / answers * 1e6)
        self.load_us.append(load / answers * 1e6)
        return True

    def begin(self, seconds: float) -> None:
        """The warm-up is over; from now on rounds take this many seconds."""
        self.size = int(SPARE * seconds * self.rates[0] / len(self.aimed))
        for figures in (self.rates, self.node_us, self.broker_us, self.load_us):
            figures.clear()
        self.lost = 0


class On:
    """Chooses on which core a process runs.

    Args:
        alone: Whether other programs wait for it (real-time scheduling, round-robin).
    """

    def __init__(self, *, alone: bool) -> None:
        self._alone = alone

    @contextlib.contextmanager
    def __call__(self, *cores: int) -> Iterator[None]:
        """Run processes started in this block on these cores."""
        with ExitStack() as stack:
            stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
            os.sched_setaffinity(0, cores)
            if self._alone:
                before = os.sched_getscheduler(0), os.sched_getparam(0)
                stack.callback(os.sched_setscheduler, 0, *before)
                os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(machine.PRIORITY))
            yield


class Bench:
    """Everything that runs during the benchmark.

    Args:
        stack: Ends what was started.
        program: The compiled generator.
        folder: A folder for what a run writes.
        on: Where processes run.
    """

    def __init__(self, stack: ExitStack, program: str, folder: Path, on: On) -> None:
        self._stack, self._program, self._folder, self._on = stack, program, folder, on
        self._interpreter = machine.Interpreter(None, folder)
        self._cores = sorted(os.sched_getaffinity(0))[:2]

    def _crowd(self) -> Crowd:
        return self._stack.enter_context(closing(Crowd(self._program, self._folder)))

    def _node(self, core: int, **options: object) -> machine.Served:
        told = {"role": "serve", "options": OPTIONS | options}
        with self._on(core):
            return self._stack.enter_context(machine.served(self._interpreter, told))

    def _loads(self, node: machine.Served) -> dict[str, Load]:
        stage = Stage(node.port, self._crowd, lambda n, at: endpoint(n, at, secured=True))
        return {load.key: load for load in stage.loads(ROWS.__contains__)}

    def apart(self, wanted: Callable[[str], bool]) -> list[Row]:
        """One node, and two independent ones."""
        keys = [key for key in ROWS if wanted(key)]
        nodes = [self._node(core) for core in self._cores]
        loads = [self._loads(node) for node in nodes] if keys else []
        rows = []
        for key in keys:
            title = loads[0][key].title
            first, second = (
                [Aimed(found[key], node.port, core) for core in self._cores]
                for found, node in zip(loads, nodes, strict=True)
            )
            rows.append(Row(f"{title}: one node", [nodes[0].pid], [first[1]]))
            both = [first[0], second[1]]
            rows.append(Row(f"{title}: two nodes", [node.pid for node in nodes], both))
        return rows

    def cluster(self) -> list[Row]:
        """Two nodes in a cluster."""
        with self._on(*self._cores):
            broker = Broker(self._folder).start()
        self._stack.callback(broker.kill)
        options = {"servers": [broker.url]}
        nodes = [self._node(core, cluster=options) for core in self._cores]
        crowds = [self._crowd() for _ in nodes]
        joined = []
        for number, (crowd, node) in enumerate(zip(crowds, nodes, strict=True)):
            sender, target = (
                OpenPeer(crowd, 100 + 10 * number + part).join(node.port, (*PLAIN, "relay_frames"))
                for part in range(2)
            )
            # Peers that use the socket of this load, but have joined the other node.
            far = OpenPeer(crowd, 102 + 10 * number).join(
                nodes[1 - number].port, (*PLAIN, "relay_frames")
            )
            joined.append((sender, target, far))
        time.sleep(KNOWN_S)
        rows = []
        for name, every in CROSSING.items():
            aimed = [
                Aimed(Load(name, name, crowd, _crossing(*peers, every), '"Data"'), node.port, core)
                for crowd, peers, node, core in zip(crowds, joined, nodes, self._cores, strict=True)
            ]
            title = f"relay frame: a cluster of two, {name} cross"
            rows.append(Row(title, [node.pid for node in nodes], aimed, broker.pid))
        return rows


def _crossing(
    sender: OpenPeer, near: OpenPeer, far: OpenPeer, every: int
) -> Callable[[int], list[Datagram]]:
    def make(size: int) -> list[Datagram]:
        to_near, to_far = (relay_frames(peer.id, size) for peer in (near, far))
        return [
            (sender.host, to_far[number] if every and not number % every else to_near[number])
            for number in range(size)
        ]

    return make


def reason_to_skip() -> str:
    """Why nothing can be measured here; empty if everything can."""
    if why := table.reason_to_skip():
        return why
    if len(os.sched_getaffinity(0)) < 2:
        return "there is one core"
    return "" if PROGRAM else "there is no nats-server"


def measure(
    rounds: int, on: On, wanted: Callable[[str], bool], load_s: float = LOAD_S
) -> list[Row]:
    """Play all rows in turn."""
    with ExitStack() as stack:
        folder = stack.enter_context(machine.folder())
        program = stack.enter_context(compiled())
        assert program is not None
        bench = Bench(stack, program, folder, on)
        rows = bench.apart(wanted)
        if wanted("cluster"):
            rows += bench.cluster()
        for row in rows:
            row.play(WARM_UP_S, on)
            row.begin(load_s)
        for _ in range(rounds):
            for row in rows:
                row.play(load_s, on)
        return rows


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cores", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of each row (7)")
    choices = (*ROWS, "cluster")
    parser.add_argument("--only", choices=choices, action="append", help="some rows")
    parser.add_argument("--alone", action="store_true", help="others wait meanwhile (needs root)")
    options = parser.parse_args()
    if options.alone and not machine.may_be_alone():
        parser.error("--alone: this user may not have other programs wait; be root")
    if why := reason_to_skip():
        print(f"skipped: {why}")
        return 0
    rows = measure(options.rounds, On(alone=options.alone), (options.only or choices).__contains__)
    print("| | answers/s | CPU us, node | broker | load | room for, answers/s | lost |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        node, broker, load = map(median, (row.node_us, row.broker_us, row.load_us))
        rates = f"{median(row.rates):,.0f} ({min(row.rates):,.0f}-{max(row.rates):,.0f})"
        room = len(row.nodes) * 1e6 / (node + broker)
        figures = f"{node:.1f} | {broker:.1f} | {load:.1f} | {room:,.0f}"
        print(f"| {row.title} | {rates} | {figures} | {row.lost} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
