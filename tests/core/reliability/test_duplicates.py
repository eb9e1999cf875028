"""Ids that came before, and the window of numbers in which they are looked for."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptui.core.reliability.duplicates import (
    SEQUENCE_WINDOW,
    ReceivedNumbers,
    RecentIds,
    sequence_distance,
)

MODULUS = 2**32
WAIT_S = 0.02

starts = st.integers(0, MODULUS - 1) | st.integers(-3000, 3000).map(lambda n: n % MODULUS)
"""Anywhere, and often just before the numbers wrap."""


def session(start: int = 0, requests: int = 3) -> ReceivedNumbers:
    return ReceivedNumbers(start, WAIT_S, requests)


def take(received: ReceivedNumbers, *numbers: int, now: float = 0.0) -> None:
    for number in numbers:
        assert received.covers(number % MODULUS)
        received.add(number % MODULUS, now)


# Ids.


def test_an_id_is_new_once() -> None:
    ids = RecentIds(10)
    assert [ids.add(key) for key in "aabab"] == [True, False, True, False, False]
    assert "a" in ids
    assert "c" not in ids


def test_the_oldest_id_is_forgotten_first_and_a_repetition_does_not_refresh_it() -> None:
    ids = RecentIds(2)
    for key in "aba":
        ids.add(key)
    assert ids.add("c")
    assert not ids.add("b")
    assert ids.add("a")


@given(st.lists(st.integers(0, 20)), st.integers(1, 10))
def test_ids_behave_like_the_last_few_of_a_list(keys: list[int], limit: int) -> None:
    ids, model = RecentIds(limit), []
    for key in keys:
        assert ids.add(str(key)) is (key not in model)
        if key not in model:
            model = [*model, key][-limit:]
        assert len(ids) == len(model)


# Numbers.


@given(starts, st.integers(-(2**31), 2**31 - 1))
def test_distance_counts_across_the_end_of_the_numbers(start: int, distance: int) -> None:
    assert sequence_distance((start + distance) % MODULUS, start) == distance


@given(starts, st.integers(-(2**31), 2**31 - 1))
def test_the_window_reaches_as_far_behind_the_latest_number_as_ahead(
    start: int, distance: int
) -> None:
    covered = session(start).covers((start + distance) % MODULUS)
    assert covered is (abs(distance) <= SEQUENCE_WINDOW)


def test_gaps_are_known_in_order_across_the_end_of_the_numbers() -> None:
    received = session(MODULUS - 3)
    take(received, 2)
    assert received.highest == 2
    assert received.missing == (MODULUS - 2, MODULUS - 1, 0, 1)
    take(received, -1, 1, -1)
    assert received.missing == (MODULUS - 2, 0)


@settings(max_examples=50)
@given(starts, st.integers(1, 2000), st.floats(0, 0.5), st.integers(0, 2**32).map(random.Random))
def test_what_is_missing_is_what_did_not_come(
    start: int, count: int, loss: float, rng: random.Random
) -> None:
    came = [number for number in range(1, count + 1) if rng.random() >= loss]
    received = session(start)
    in_order = sorted(came, key=lambda number: number + rng.uniform(0, 50))
    for number in in_order:
        received.add((start + number) % MODULUS, 0.0)
    lost = set(range(1, max(came, default=0))) - set(came)
    missing = {(number - start) % MODULUS for number in received.missing}
    assert missing <= lost
    oldest = max(came, default=0) - SEQUENCE_WINDOW
    if not received.gaps.forgotten:
        assert missing == {number for number in lost if number >= oldest}


def test_a_jump_costs_one_entry_however_far_it_goes() -> None:
    received = session(0)
    for step in range(1, 2000):
        take(received, step * SEQUENCE_WINDOW)
        assert len(received.gaps._stretches) <= 2


def test_a_peer_may_say_that_it_goes_on_elsewhere() -> None:
    received = session(100)
    take(received, 110)
    received.skip_to(5000)
    assert received.missing == ()
    take(received, 5001)
    assert received.missing == (5000,)


def test_a_peer_may_take_back_what_was_forged_in_its_name() -> None:
    received = session(100)
    take(received, 100 + SEQUENCE_WINDOW, 100 + 2 * SEQUENCE_WINDOW)
    assert not received.covers(101)
    received.skip_to(101)
    take(received, 101)
    assert (received.highest, received.missing) == (101, ())
