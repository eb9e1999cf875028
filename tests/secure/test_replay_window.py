"""Each counter is taken once: against a model that remembers all of them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.secure.replay import WINDOW, ReplayWindow

LAST = 2**64 - 2


class Model:
    """Remembers every counter."""

    def __init__(self):
        self.seen = set()
        self.highest = -1

    def take(self, counter):
        if counter in self.seen or counter <= self.highest - WINDOW:
            return False
        self.seen.add(counter)
        self.highest = max(self.highest, counter)
        return True


def take(window, counter):
    if not window.check(counter):
        return False
    window.update(counter)
    return True


def test_it_is_as_wide_as_it_must_be():
    assert WINDOW >= 1_024


near = st.integers(0, 3 * WINDOW)
edges = st.sampled_from(
    [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 2**31, 2**32 - 1, 2**32, 2**63, LAST - WINDOW, LAST]
)


@given(st.lists(st.one_of(near, edges, st.integers(0, LAST)), max_size=200))
def test_any_order_is_as_the_model_says(counters):
    window, model = ReplayWindow(), Model()
    for counter in counters:
        assert take(window, counter) == model.take(counter)
        assert window.highest == model.highest
        assert not window.check(counter)


@pytest.mark.parametrize("seed", range(5))
def test_a_long_session_out_of_order_with_copies(seed):
    chance = random.Random(seed)
    window, model = ReplayWindow(), Model()
    base = 0
    for _ in range(20_000):
        base += chance.choice([0, 0, 1, 1, 2, 40]) if chance.random() < 0.999 else 2 * WINDOW
        counter = max(0, base - int(chance.expovariate(1 / 300)))
        assert take(window, counter) == model.take(counter)


def test_what_is_just_in_the_window_and_just_out_of_it():
    window = ReplayWindow()
    assert take(window, WINDOW)
    assert not window.check(0)
    assert take(window, 1)
    assert not window.check(1)
    assert take(window, WINDOW + 1)
    assert not window.check(1)
    assert take(window, 2)


def test_a_far_jump_costs_no_memory_and_leaves_no_old_counter():
    window = ReplayWindow()
    for counter in range(100):
        assert take(window, counter)
    assert take(window, LAST)
    assert not any(window.check(counter) for counter in range(100))
    assert not window.check(LAST - WINDOW)
    assert take(window, LAST - WINDOW + 1)
    assert window._seen.bit_length() <= WINDOW


def test_asking_changes_nothing():
    window = ReplayWindow()
    assert window.check(LAST)
    assert window.check(0)
    assert window.highest == -1
    window.update(WINDOW * 2)
    window.update(0)  # too old to keep: no harm
    assert window.highest == WINDOW * 2
    assert window.check(WINDOW * 2 - 1)


def test_what_comes_in_order_costs_no_memory():
    window = ReplayWindow()
    for counter in range(3 * WINDOW):
        assert take(window, counter)
    assert window._seen == 0
    assert not any(window.check(counter) for counter in range(3 * WINDOW))


@pytest.mark.parametrize("gap", [1, 2, WINDOW - 1, WINDOW, WINDOW + 1])
@pytest.mark.parametrize("run", [1, WINDOW - 1, WINDOW, WINDOW + 1])
def test_a_gap_after_a_run_without_one(run, gap):
    window, model = ReplayWindow(), Model()
    order = [*range(run), *range(run + gap, run + gap + 3), *range(run + gap + 3)]
    for counter in order:
        assert take(window, counter) == model.take(counter)
