"""Floods against a node that runs, in a small form: who is honest is served, memory stays.

In full, and at ten times the rates: `python -m tests.attacks`.
"""

import sys

import pytest

from tests.attacks.flood import KINDS, can_forge, run_floods
from tests.patience import SLOWER

SECONDS = 1.2

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SMALL = {"fragment": 5000, "deep": 500, "numbers": 5000}
"""One node is flooded with these, at these rates, one after the other."""

NEWCOMERS = {"in-use": 1000, "handshakes": 1000}
"""And another node with these: who comes in the first floods keeps its memory in the next ones."""

MOST_KEPT_BYTES = 4_000_000
"""After these: a full house of forged sessions stays until they time out, a megabyte of it."""


def test_floods_cost_the_others_nothing() -> None:
    hold_floods([name for name in SMALL if can_forge() or KINDS[name].source == "peer"])


@pytest.mark.skipif(not can_forge(), reason="needs raw sockets")
def test_floods_of_newcomers_cost_the_others_nothing() -> None:
    hold_floods(list(NEWCOMERS), MOST_KEPT_BYTES)


def hold_floods(kinds: list[str], most_kept: int = 0) -> None:
    floods = [(name, (SMALL | NEWCOMERS)[name]) for name in kinds]
    faults = {}
    for report in run_floods(floods, SECONDS):
        assert report.attempted >= report.rate  # of a second at least: it was a flood
        found = report.faults(slower=SLOWER)
        if report.kept_bytes <= most_kept and "memory given back" in found:
            found.remove("memory given back")
        faults[report.kind] = found, report.line()
    assert list(faults) == kinds
    assert not any(found for found, _ in faults.values()), faults


@pytest.mark.parametrize("name", KINDS)
def test_each_flood_can_be_written(name: str) -> None:
    texts = {KINDS[name].write(number, 7) for number in range(3)}
    assert all(0 < len(text) <= 65_507 for text in texts)
