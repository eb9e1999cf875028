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


def test_floods_cost_the_others_nothing() -> None:
    hold_floods([name for name in SMALL if can_forge() or KINDS[name].source == "peer"])


@pytest.mark.skipif(not can_forge(), reason="needs raw sockets")
def test_floods_of_newcomers_cost_the_others_nothing() -> None:
    hold_floods(list(NEWCOMERS))


MOST_KEPT_FOR_SESSIONS = 1_000_000
"""More than after other floods: a full house of forged sessions stays until they time out."""


def hold_floods(kinds: list[str]) -> None:
    floods = [(name, (SMALL | NEWCOMERS)[name]) for name in kinds]
    faults = {}
    for report in run_floods(floods, SECONDS):
        assert report.attempted >= report.rate  # of a second at least: it was a flood
        faults[report.kind] = report.faults(slower=SLOWER), report.line()
    assert list(faults) == kinds
    assert not any(found for found, _ in faults.values()), faults


@pytest.mark.parametrize("name", KINDS)
def test_each_flood_can_be_written(name: str) -> None:
    texts = {KINDS[name].write(number, 7) for number in range(3)}
    assert all(0 < len(text) <= 65_507 for text in texts)
