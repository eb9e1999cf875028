"""The search for what a path carries: black holes at any moment, loss by chance, hostile ends."""

import random
from itertools import count
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptui.core.reliability.path_mtu import (
    FLOOR_BYTES,
    MAX_BLANKS,
    MAX_PROBES,
    RAISE_INTERVAL_S,
    STRIKES,
    SUSPICIOUS_LOSSES,
    PathMtu,
    Probe,
)
from p2ptui.core.reliability.rtt import RttEstimator

BASE: Final = 1200
CEILING: Final = 8972
RTT_S: Final = 0.04


class Path:
    """A path, and data that flows on it: a datagram of the size in use every 5 ms.

    Args:
        limit: Larger datagrams vanish.
        loss: Of datagrams in one direction.
        seed: Of what is lost by chance.
        grows: Whether the other end answers probes.
    """

    def __init__(
        self, limit: int = 65_507, loss: float = 0.0, seed: int = 0, *, grows: bool = True
    ) -> None:
        rtt = RttEstimator(0.5, 0.05, 8.0)
        rtt.observe(RTT_S)
        self.mtu = PathMtu(BASE, CEILING, rtt)
        self.mtu.grows = grows
        self.rto_s = rtt.rto()
        self.limit, self.loss = limit, loss
        self.now = 100.0
        self.probes: list[tuple[float, Probe]] = []
        self.largest = 0
        self._rng = random.Random(seed)
        self._keys = count()
        self._due: list[tuple[float, int, bool]] = []
        """When the sender learns what became of a datagram, and what."""
        self._answers: list[tuple[float, str]] = []

    def passes(self, size: int) -> bool:
        return size <= self.limit and self._rng.random() >= self.loss

    def run(self, seconds: float, *, data: bool = True, much: bool = False) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.005
            if data:
                self.send()
            if much:
                self.mtu.note_demand(self.now)
            self._settle()

    def send(self, size: int | None = None) -> None:
        """A datagram of data leaves; what became of it is known a round trip or a timeout later."""
        size = self.mtu.size_bytes if size is None else size
        self.largest = max(self.largest, size)
        passed = self.passes(size) and self.passes(50)
        self._due.append((self.now + (RTT_S if passed else self.rto_s), size, passed))

    def _settle(self) -> None:
        mtu, now = self.mtu, self.now
        for at, size, passed in [each for each in self._due if each[0] <= now]:
            if passed:
                mtu.note_passed(size, at - RTT_S)
            else:
                mtu.note_lost(size, at - self.rto_s, now)
        self._due = [each for each in self._due if each[0] > now]
        for _, key in [each for each in self._answers if each[0] <= now]:
            mtu.handle_answer(key, now)
        self._answers = [each for each in self._answers if each[0] > now]
        if (timeout := mtu.next_timeout()) is not None and timeout <= now:
            mtu.handle_timeout(now)
        for probe in mtu.take(lambda: f"{next(self._keys):016x}", now):
            self.probes.append((now, probe))
            if self.passes(probe.size_bytes) and self.passes(50):
                self._answers.append((now + RTT_S, probe.key))


@given(st.floats(0.0, 3.0), st.integers(FLOOR_BYTES, BASE - 1))
@settings(max_examples=40)
def test_a_black_hole_is_found_whenever_it_opens(after_s: float, limit: int) -> None:
    path = Path()
    path.run(after_s)
    path.limit = limit
    path.run(8)

    assert path.mtu.size_bytes == path.mtu.limit_bytes == limit
    assert path.mtu.take_news()
    assert not path.mtu.take_news()


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=60)
def test_loss_of_a_tenth_each_way_is_no_black_hole(seed: int, much: bool) -> None:
    path = Path(loss=0.1, seed=seed)
    path.run(20, much=much)

    assert path.mtu.size_bytes >= BASE
    assert path.mtu.limit_bytes is None


@given(st.integers(0, 10**6), st.integers(FLOOR_BYTES, BASE - 1))
@settings(max_examples=40)
def test_a_black_hole_is_found_in_spite_of_loss(seed: int, limit: int) -> None:
    path = Path(limit, loss=0.1, seed=seed)
    path.run(30)

    # A size that passes may have lost all its probes by chance.
    assert FLOOR_BYTES <= path.mtu.size_bytes <= limit
    assert path.mtu.limit_bytes is not None


@given(
    st.lists(
        st.tuples(
            st.floats(0.01, 2.0), st.integers(40, 10_000), st.floats(0.0, 0.5), st.booleans()
        ),
        max_size=12,
    ),
    st.integers(0, 10**6),
    st.booleans(),
)
@settings(max_examples=60)
def test_whatever_the_path_does_sizes_stay_within_bounds(
    stretches: list[tuple[float, int, float, bool]], seed: int, grows: bool
) -> None:
    path = Path(seed=seed, grows=grows)
    for seconds, path.limit, path.loss, much in stretches:
        path.run(seconds, much=much)
        assert FLOOR_BYTES <= path.mtu.size_bytes <= (CEILING if grows else BASE)
        assert path.mtu.limit_bytes is None or path.mtu.limit_bytes < BASE * 8
    path.limit, path.loss = 65_507, 0.0
    path.run(120, data=False)
    assert path.mtu.is_settled
    assert path.mtu.next_timeout() is None


def test_a_larger_path_is_found_by_few_probes_which_must_not_be_cut() -> None:
    path = Path(1472)
    path.run(3, much=True)

    assert path.mtu.size_bytes == 1472
    sizes = [probe.size_bytes for _, probe in path.probes]
    assert sizes == [1472, *[8972] * MAX_PROBES, *[4324] * MAX_PROBES]
    assert all(probe.unfragmented for _, probe in path.probes)
    assert path.mtu.limit_bytes is None


def test_it_is_not_tried_again_for_ten_minutes() -> None:
    path = Path(BASE)
    path.run(3, much=True)
    asked = len(path.probes)
    path.limit = 1472
    path.run(RAISE_INTERVAL_S - 10, much=True)
    assert len(path.probes) == asked

    path.run(20, much=True)
    assert path.mtu.size_bytes == 1472


def test_one_lost_datagram_is_no_reason_to_doubt() -> None:
    path = Path()
    for _ in range(SUSPICIOUS_LOSSES - 1):
        path.mtu.note_lost(BASE, path.now, path.now)
    path.run(1, data=False)
    assert not path.probes


def test_a_doubt_ends_with_the_first_probe_that_passes() -> None:
    path = Path()
    for _ in range(SUSPICIOUS_LOSSES):
        path.mtu.note_lost(BASE, path.now, path.now)
    path.run(1, data=False)

    assert [probe.size_bytes for _, probe in path.probes] == [BASE, 0]
    assert path.mtu.size_bytes == BASE


def test_where_nothing_passes_it_is_no_matter_of_size_and_probes_end() -> None:
    path = Path(limit=-1)
    for _ in range(SUSPICIOUS_LOSSES):
        path.mtu.note_lost(BASE, path.now, path.now)
    path.run(60, data=False)

    assert len(path.probes) == 2 * MAX_BLANKS
    assert path.mtu.size_bytes == BASE
    assert path.mtu.is_settled


def test_who_answers_no_large_probe_gets_small_datagrams_but_none_smaller_than_the_floor() -> None:
    path = Path(limit=60)
    path.run(30)

    assert path.mtu.size_bytes == FLOOR_BYTES
    before = len(path.probes)
    assert before <= 2 * STRIKES + 40 * MAX_PROBES
    path.run(30, data=False)
    assert len(path.probes) - before <= 2


def test_answers_that_nobody_asked_for_change_nothing() -> None:
    path = Path(1200)
    path.mtu.note_demand(path.now)
    for number in range(100):
        path.mtu.handle_answer(f"{number:x}", path.now)
    path.run(3)
    assert path.mtu.size_bytes == BASE


def test_what_the_system_refuses_ends_the_search_above_it_at_once() -> None:
    path = Path(1500)
    path.mtu.note_demand(path.now)
    path.run(0.1, data=False)
    assert path.mtu.size_bytes == 1472
    path.mtu.note_refused(8972, path.now)
    path.mtu.note_refused(4324, path.now)
    path.run(0.1, data=False)

    assert path.mtu.size_bytes == 1472
    assert path.mtu.is_settled


def test_a_slow_answer_is_still_one() -> None:
    path = Path(1472)
    path.mtu.note_demand(path.now)
    path._settle()
    key = path.probes[0][1].key
    path._answers.clear()
    path.limit = 1
    path.run(3, data=False)
    assert path.mtu.size_bytes == BASE

    path.mtu.handle_answer(key, path.now)
    assert path.mtu.size_bytes in (BASE, 1472)  # unless so many were sent since


@pytest.mark.parametrize("grows", [False, True])
def test_another_path_begins_anew(grows: bool) -> None:
    path = Path(700, grows=grows)
    path.run(8)
    assert path.mtu.size_bytes == 700

    path.mtu.reset()
    path.limit = 65_507
    assert path.mtu.size_bytes == BASE
    path.run(3)
    assert path.mtu.size_bytes == BASE
    assert path.mtu.limit_bytes is None


def test_whoever_answers_no_probes_is_never_sent_larger_ones() -> None:
    path = Path(9000, grows=False)
    path.run(3, much=True)
    assert not path.probes
    assert path.mtu.size_bytes == BASE
