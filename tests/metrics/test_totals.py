"""A counter never falls: Prometheus would take that for a restart, and count it all again."""

import ast
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest

from p2ptui.core.counters import Counters
from p2ptui.io.datagrams import SocketCounters
from p2ptui.io.nats_bus import BusStatus
from p2ptui.io.nats_link import Counters as BrokerCounters
from p2ptui.metrics.families import FAMILIES, Reading
from p2ptui.node.cluster import ClusterReport
from p2ptui.node.metrics import Stats
from tests.core.cluster.test_cluster_handing import Pair
from tests.core.cluster_rooms import Server

PACKAGE = Path(__file__).parents[2] / "p2ptui"
TOTALS = {
    *(field.name for kind in (Counters, SocketCounters) for field in fields(kind)),
    *BrokerCounters.__struct_fields__,
    *("given", "returned", "taken", "failed", "puts", "refused"),
} - {"backlog"}
"""Attributes that counters are made of."""


def taken_from(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The attributes that something is subtracted from, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Sub):
            target = node.target
            if isinstance(target, ast.Subscript):
                target = target.value  # type: ignore[assignment]
            if isinstance(target, ast.Attribute):
                yield target.attr, node.lineno


def test_nothing_is_taken_from_a_total() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name, line in taken_from(ast.parse(path.read_text("utf-8")))
        if name in TOTALS
    ]
    assert found == [], "count what came back in a total of its own"


@pytest.mark.parametrize("line", ["self.puts -= 1", "a.counters.drops['x'] -= 2"])
def test_what_is_taken_from_a_total_is_found(line: str) -> None:
    ((name, _),) = taken_from(ast.parse(line))
    assert name in TOTALS


def counted(server: Server, now: float, stats: Stats) -> dict[str, float]:
    """Every series of a counter of a cluster."""
    report = ClusterReport(
        server.cluster.status(now), BusStatus(True, 0.0, "broker", "", None, {}), 0.0
    )
    reading = Reading(stats, {}, 0, "1", cluster=report)
    series: dict[str, float] = {}
    for family in FAMILIES:
        if family.kind == "counter" and "_cluster_" in family.name:
            value = family.read(reading)
            values = value if isinstance(value, dict) else {"": value}
            series |= {f"{family.name}:{label}": number for label, number in values.items()}
    return series


def test_no_counter_of_a_cluster_falls_when_its_broker_dies() -> None:
    pair = Pair()
    stats = Stats(0.0, {}, *[0] * 14, {}, None, {})  # type: ignore[call-arg, arg-type]
    read = lambda: counted(pair.one, pair.rooms.now, stats)  # noqa: E731
    history = [read()]
    for _ in range(3):
        for number in range(20):
            assert pair.hand(ref=str(number))
        history.append(read())
        pair.rooms.broker.kill(pair.rooms.now)  # before anybody has asked for orders
        history.append(read())
        pair.rooms.run_for(2)
        pair.rooms.broker.start(pair.rooms.now)
        pair.rooms.run_for(2)
        history.append(read())
    for before, after in pairwise(history):
        fallen = [name for name, number in before.items() if after[name] < number]
        assert fallen == []
    last = history[-1]
    sent = last["p2ptui_cluster_handovers_total:sent"]
    assert (sent, last["p2ptui_cluster_returned_handovers_total:"]) == (120, 60)
    assert len(pair.other.taker.taken) == 60
