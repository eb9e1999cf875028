"""The pace of new flows: no slower than it must be, and not taken in by loss."""

import random

import pytest

from p2ptui.nat.flow_pace import LEAST_PER_S, SURPLUS, WINDOW, FlowPace
from p2ptui.nat.guessing import Guesses


class Line:
    """A way through a NAT that lets so many new flows a second pass, and loses some packets."""

    def __init__(self, limit_per_s: float | None, loss: float = 0.0, seed: int = 1) -> None:
        self._limit = limit_per_s
        self._loss = loss
        self._rng = random.Random(seed)
        self._tokens = 5.0
        self._now = 0.0
        self.begun = 0
        self.passed = 0

    def run(self, pace: FlowPace, seconds: float) -> None:
        """Begin flows for so long, with the probes that are due."""
        until = self._now + seconds
        while self._now < until:
            before, self._now = self._now, max(self._now, pace.free_at)
            if self._limit is not None:
                self._tokens = min(5.0, self._tokens + (self._now - before) * self._limit)
            passes = self._passes()
            self.passed += passes
            self.begun += 1
            if pace.begin_flow(self._now):
                pace.observe(fresh=passes and self._returns(), old=self._returns())

    def _passes(self) -> bool:
        if self._limit is None:
            return True
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _returns(self) -> bool:
        return self._rng.random() < (1 - self._loss) ** 2


@pytest.mark.parametrize("loss", [0.0, 0.1, 0.2])
@pytest.mark.parametrize("limit", [30, 50, 100, 200])
def test_a_limit_is_seen_and_nothing_much_is_begun_in_vain(limit: float, loss: float) -> None:
    line, pace = Line(limit, loss), FlowPace(0.001, random.Random(2))
    line.run(pace, 3.0)
    assert pace.limit_per_s is not None

    begun, passed = line.begun, line.passed
    line.run(pace, 20.0)

    assert (line.passed - passed) / 20 >= 0.7 * limit
    assert line.begun - begun <= 4 * (line.passed - passed)


@pytest.mark.parametrize("loss", [0.0, 0.05, 0.1, 0.15])
def test_loss_alone_is_no_limit(loss: float) -> None:
    mistaken = 0
    for seed in range(100):
        pace = FlowPace(0.001, random.Random(2))
        Line(None, loss, seed).run(pace, 1.3)
        mistaken += pace.limit_per_s is not None
    assert mistaken <= 2


def test_without_a_limit_the_pace_is_the_least() -> None:
    pace = FlowPace(0.002, random.Random(2))
    Line(None).run(pace, 1.0)
    assert pace.pace_s == 0.002


def test_where_nothing_passes_at_all_that_is_no_limit() -> None:
    pace = FlowPace(0.001, random.Random(2))
    for number in range(10 * WINDOW):
        pace.begin_flow(number / 1000)
        assert not pace.observe(fresh=False, old=False)
    assert pace.limit_per_s is None


def test_no_limit_is_taken_for_so_low_that_guessing_ends() -> None:
    pace = FlowPace(0.001, random.Random(2))
    for _ in range(20 * WINDOW):
        pace.begin_flow(max(pace.free_at, 0.0))
        pace.observe(fresh=False, old=True)
    assert pace.limit_per_s == LEAST_PER_S
    assert pace.pace_s == pytest.approx(1 / (SURPLUS * LEAST_PER_S))


def test_the_first_flow_is_probed() -> None:
    assert FlowPace(0.001, random.Random(2)).begin_flow(0.0)


def test_what_was_no_limit_is_forgotten_again() -> None:
    pace = FlowPace(0.001, random.Random(2))
    Line(50).run(pace, 3.0)
    assert pace.limit_per_s is not None

    Line(None).run(pace, 20.0)

    assert pace.limit_per_s is None


def test_all_who_begin_flows_share_the_pace() -> None:
    pace = FlowPace(0.001, random.Random(2))
    begun = 0
    for tick in range(10_000):
        now = tick / 10_000
        for _ in range(4):
            if pace.free_at <= now:
                pace.begin_flow(now)
                begun += 1
    assert 900 <= begun <= 1100


def test_searches_that_share_a_pace_take_turns() -> None:
    pace = FlowPace(0.01, random.Random(2), probes=False)
    searches = [
        Guesses("198.51.100.1", iter(range(1, 9999)), 1000, quick=1000, begin=0, end=3, pace=pace)
        for _ in range(3)
    ]
    counts = [0, 0, 0]
    for tick in range(20_000):
        # Whose timer fires first is chance.
        for number in random.Random(tick).sample(range(3), 3):
            counts[number] += searches[number].take_due(tick / 20_000) is not None
    assert min(counts) >= 25
    assert 95 <= sum(counts) <= 115


def test_without_probes_there_are_none() -> None:
    pace = FlowPace(0.001, random.Random(2), probes=False)
    assert not any(pace.begin_flow(number / 1000) for number in range(1000))
