"""Floods against a node that runs, in a small form: who is honest is served, memory stays.

In full, and at ten times the rates: `python -m tests.attacks`.
"""

import sys

import pytest

from tests.attacks.flood import AFTERWARDS, KINDS, Report, can_forge, run_flood
from tests.patience import SLOWER

MOST_GROWN_BYTES = 5_000_000
NEWCOMER_S = 1.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def judge(report: Report) -> None:
    assert report.attempted >= report.rate  # of a second at least: it was a flood
    assert report.share >= 0.9
    assert min(report.newcomers_s) < NEWCOMER_S * SLOWER
    assert report.forged_ends == []
    assert report.forged_afterwards == AFTERWARDS
    assert report.grown_bytes < MOST_GROWN_BYTES


@pytest.mark.skipif(not can_forge(), reason="needs raw sockets")
def test_forged_datagrams_of_a_peer_cost_the_others_nothing() -> None:
    judge(run_flood("fragment", seconds=2.0, given_back_s=0.5))


@pytest.mark.parametrize("name", ["deep"])
def test_a_peer_that_floods_costs_the_others_nothing(name: str) -> None:
    judge(run_flood(name, seconds=2.0, given_back_s=0.5))


@pytest.mark.parametrize("name", KINDS)
def test_each_flood_can_be_written(name: str) -> None:
    texts = {KINDS[name].write(number, 7) for number in range(3)}
    assert all(0 < len(text) <= 65_507 for text in texts)
