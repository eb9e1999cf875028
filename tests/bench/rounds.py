"""Rounds of loads, each beside the bare C echo with the same datagrams: rates and CPU time."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from tests.bench.crowd import Driven
from tests.bench.loads import Load
from tests.bench.machine import Cores, cpu_s
from tests.bench.report import Row, spread

WARM_UP: Final = 500
"""Datagrams of the first load of each row, which determines how many a round has."""

LEAST, MOST = 400, 20_000
"""Datagrams of a row in a round."""

LONGEST_S: Final = 5.0
"""A load that takes longer ends."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server that is loaded: its process, and its port."""

    pid: int
    port: int


@dataclass
class Taken:
    """The results of the rounds of one server."""

    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    """Its share of its core while it was loaded."""
    p50_us: list[float] = field(default_factory=list)
    p99_us: list[float] = field(default_factory=list)
    lost: int = 0

    def add(self, driven: Driven, cpu: float) -> None:
        """Add the result of a round."""
        self.rates.append(driven.rate)
        self.cpu_us.append(cpu / driven.answers * 1e6)
        self.share.append(cpu / driven.seconds)
        self.p50_us.append(driven.p50_us)
        self.p99_us.append(driven.p99_us)
        self.lost += driven.lost


def drive(
    load: Load, target: Target, cores: Cores, *, any_answer: bool = False
) -> tuple[Driven, float]:
    """Send the datagrams written last; returns the result, and the CPU time of the server.

    Args:
        load: The load.
        target: The server.
        cores: The load uses one of them.
        any_answer: Whether everything that comes is an answer, for servers of another kind.
    """
    match = "" if any_answer else load.match
    if not match:
        load.crowd.drain()
    before = cpu_s(target.pid)
    with cores.of_load():
        driven = load.crowd.drive(target.port, seconds=LONGEST_S, window=load.window, match=match)
    return driven, cpu_s(target.pid) - before


@dataclass
class Match:
    """A row that is played in rounds: a load, the servers that it goes to, and the bare echo.

    Args:
        load: What is sent.
        node: The node.
        echo: The bare C echo.
        beside: Another server that gets the same load.
    """

    load: Load
    node: Target
    echo: Target
    beside: Target | None = None
    taken: dict[str, Taken] = field(default_factory=dict)
    size: int = 0
    failed: str = ""

    def prepare(self, seconds: float, cores: Cores) -> None:
        """Warm up, and choose how many datagrams fill a round of `seconds`."""
        self.load.crowd.write(self.load.make(WARM_UP))
        driven, _ = drive(self.load, self.node, cores)
        if not driven.answers:
            self.failed = f"no answer to {WARM_UP} datagrams"
            return
        for target in (self.echo, self.beside):
            if target is not None:
                drive(self.load, target, cores, any_answer=True)
        self.size = int(min(max(driven.rate * seconds, LEAST), MOST))

    def play(self, cores: Cores) -> None:
        """Play one round: the same datagrams to each server in turn."""
        if self.failed:
            return
        datagrams = self.load.make(self.size)
        self.load.crowd.write(datagrams)
        del datagrams
        gc.collect()
        targets = {"node": self.node, "echo": self.echo, "beside": self.beside}
        for name, target in targets.items():
            if target is None:
                continue
            driven, cpu = drive(self.load, target, cores, any_answer=name != "node")
            if not driven.answers:
                self.failed = f"{name}: no answer came"
                return
            self.taken.setdefault(name, Taken()).add(driven, cpu)


def play(matches: Sequence[Match], rounds: int, seconds: float, cores: Cores) -> None:
    """Play all rows in turn, round by round."""
    for match in matches:
        match.prepare(seconds, cores)
    for _ in range(rounds):
        for match in matches:
            match.play(cores)


def ratios(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    """The ratio of each to its counterpart; 0 if a period was too short for the scheduler to
    count."""
    return [one / other if other else 0.0 for one, other in zip(ones, others, strict=True)]


def _row(match: Match, name: str, title: str) -> Row:
    key = match.load.key if name == "node" else f"{match.load.key}-{name}"
    if match.failed:
        return Row(key, title, skipped=match.failed)
    one, echo = match.taken[name], match.taken["echo"]
    return Row(
        key,
        title,
        rate=spread(one.rates),
        by_clock=spread(ratios(one.rates, echo.rates)),
        cpu_us=spread(one.cpu_us),
        by_cpu=spread(ratios(echo.cpu_us, one.cpu_us)),
        echo_rate=spread(echo.rates),
        echo_cpu_us=spread(echo.cpu_us),
        share=spread(one.share),
        echo_share=spread(echo.share),
        lost=one.lost,
    )


def row_of(match: Match) -> Row:
    """The row with the results of its rounds."""
    row = _row(match, "node", match.load.title)
    if match.load.window == 1 and not match.failed:
        node, echo = match.taken["node"], match.taken["echo"]
        # With a window of 1, the rate is the inverse of the latency.
        row.rate = row.by_clock = row.echo_rate = row.echo_cpu_us = None
        row.share = row.echo_share = None
        row.figures = {
            "p50_us": median(node.p50_us),
            "p50_over_C_us": median(
                mine - its for mine, its in zip(node.p50_us, echo.p50_us, strict=True)
            ),
            "p99_us": median(node.p99_us),
            "p50_of_C_us": median(echo.p50_us),
            "p99_of_C_us": median(echo.p99_us),
        }
    return row


def row_beside(match: Match, title: str) -> Row:
    """The row of the server beside it."""
    return _row(match, "beside", title)
