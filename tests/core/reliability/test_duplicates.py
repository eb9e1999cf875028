"""What has come before: each message is new exactly once, and gaps are asked for in time."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptui.core.reliability.duplicates import (
    MAX_JUMP,
    MAX_MISSING,
    REQUESTS_AT_ONCE,
    ReceivedSequences,
    RecentIds,
    sequence_distance,
)

MODULUS = 2**32
WAIT_S = 0.02

starts = st.integers(0, MODULUS - 1) | st.integers(-3000, 3000).map(lambda n: n % MODULUS)
"""Anywhere, and often just before the numbers wrap."""


def session(start: int = 0, requests: int = 3) -> ReceivedSequences:
    received = ReceivedSequences(WAIT_S, requests)
    received.start(start)
    return received


def take(received: ReceivedSequences, *sequences: int, now: float = 0.0) -> list[bool]:
    return [received.add(sequence % MODULUS, now) for sequence in sequences]


# Ids.


def test_an_id_is_new_once() -> None:
    ids = RecentIds(10)
    assert [ids.add(key) for key in "aabab"] == [True, False, True, False, False]


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


# Distance between numbers.


@given(starts, st.integers(-(2**31), 2**31 - 1))
def test_distance_counts_across_the_end_of_the_numbers(start: int, distance: int) -> None:
    assert sequence_distance((start + distance) % MODULUS, start) == distance


# Exactly once.


@settings(max_examples=50)
@given(
    starts,
    st.integers(1, 3000),
    st.integers(0, MAX_MISSING - 1),
    st.floats(0, 0.5),
    st.integers(0, 2**32).map(random.Random),
)
def test_each_number_is_new_exactly_once_however_late_and_however_often_it_comes(
    start: int, count: int, lateness: int, loss: float, rng: random.Random
) -> None:
    sent = [number for number in range(1, count + 1) if rng.random() >= loss]
    copies = sent + [number for number in sent if rng.random() < 0.3]
    # Nobody is overtaken by one that is more than the memory ahead, as the sender sees to.
    copies.sort(key=lambda number: number + rng.uniform(0, lateness))
    received = session(start)
    new = [number for number in copies if received.add((start + number) % MODULUS, 0.0)]
    assert sorted(new) == sent
    highest = max(sent, default=0)
    lost = {(start + number) % MODULUS for number in range(1, highest)} - {
        (start + number) % MODULUS for number in sent
    }
    missing = set(received.missing)
    assert missing <= lost
    # What is forgotten is the oldest, and only while too much was missing.
    assert len(missing) <= MAX_MISSING
    if len(lost) + lateness < MAX_MISSING:
        assert missing == lost


@given(starts, st.lists(st.integers(-50, 50), max_size=100))
def test_within_the_memory_it_behaves_like_a_set(start: int, offsets: list[int]) -> None:
    received, seen = session(start), set(range(-50, 1))
    for offset in offsets:
        assert take(received, start + offset) == [offset not in seen]
        seen.add(offset)


def test_the_first_number_of_the_session_and_what_came_before_are_not_new() -> None:
    received = session(10)
    assert take(received, 10, 9, 11, 11) == [False, False, True, False]


def test_a_session_begins_once() -> None:
    received = session(10)
    received.start(5)
    assert take(received, 7) == [False]


def test_gaps_are_known_in_order_across_the_end_of_the_numbers() -> None:
    received = session(MODULUS - 3)
    take(received, 2)
    assert received.missing == (MODULUS - 2, MODULUS - 1, 0, 1)
    assert take(received, -1, 1, -1) == [True, True, False]
    assert received.missing == (MODULUS - 2, 0)


@pytest.mark.parametrize("jump", [MAX_MISSING, MAX_MISSING + 1, MAX_MISSING + 2, 2**31 - 1])
def test_of_a_large_gap_the_latest_numbers_are_remembered(jump: int) -> None:
    received = session(0)
    assert take(received, jump) == [True]
    assert len(received.missing) == min(jump - 1, MAX_MISSING)
    assert take(received, jump - 1, jump, jump - 1) == [True, False, False]
    assert take(received, jump - MAX_MISSING - 1) == [False]


def test_the_memory_is_bounded_however_many_gaps_there_are() -> None:
    received = session(0)
    for number in range(2, 3 * MAX_MISSING, 2):
        take(received, number)
        assert len(received.missing) <= MAX_MISSING
    assert received.missing[0] == 3 * MAX_MISSING - 1 - 2 * MAX_MISSING
    assert take(received, 1) == [False]  # forgotten: rather lost than twice


def test_only_numbers_near_the_latest_are_of_this_session() -> None:
    received = session(100)
    near = [100, 100 - MAX_JUMP, 100 + MAX_JUMP]
    far = [101 + MAX_JUMP, 99 - MAX_JUMP, 100 + 2**31]
    assert all(received.covers(number % MODULUS) for number in near)
    assert not any(received.covers(number % MODULUS) for number in far)


def test_before_the_peer_told_its_first_number_none_is_of_the_session() -> None:
    assert not ReceivedSequences(WAIT_S, 3).covers(1)


# Asking for what is missing.


def test_a_gap_is_asked_for_after_a_while_and_again_with_doubled_patience() -> None:
    received = session(0)
    take(received, 3, now=10.0)
    asked: list[tuple[float, list[int]]] = []
    while (now := received.next_timeout()) is not None:
        asked.append((round(now, 3), received.to_request(now, backoff_s=0.1)))
    assert asked == [(10.02, [1, 2]), (10.12, [1, 2]), (10.32, [1, 2])]
    assert received.missing == (1, 2)  # still welcome
    assert take(received, 1) == [True]


def test_what_arrives_meanwhile_is_not_asked_for() -> None:
    received = session(0)
    take(received, 4, now=10.0)
    take(received, 1, 3, now=10.01)
    assert received.to_request(10.02, 0.1) == [2]
    take(received, 2)
    assert received.next_timeout() is None


def test_before_its_time_nothing_is_asked_for() -> None:
    received = session(0)
    take(received, 2, now=10.0)
    assert received.to_request(10.019, 0.1) == []
    assert received.next_timeout() == 10.02


def test_with_no_requests_allowed_nothing_is_ever_asked_for() -> None:
    received = session(0, requests=0)
    take(received, 2)
    assert received.next_timeout() is None
    assert received.to_request(1000.0, 0.1) == []


def test_what_the_peer_no_longer_has_is_not_asked_for_again_but_taken_if_it_comes() -> None:
    received = session(0)
    take(received, 3)
    received.give_up(1)
    received.give_up(99)
    assert received.to_request(1.0, 0.1) == [2]
    assert take(received, 1) == [True]


def test_what_is_arriving_in_fragments_is_not_asked_for() -> None:
    received = session(0)
    take(received, 3)
    received.postpone(1, until=30.0)
    received.postpone(99, until=30.0)
    assert received.to_request(1.0, 0.1) == [2]
    assert received.to_request(29.0, 100.0) == [2]
    assert received.to_request(30.0, 100.0) == [1]


def test_a_number_is_remembered_for_as_long_as_it_takes() -> None:
    received = session(0)
    take(received, 2, now=0.0)
    while (now := received.next_timeout()) is not None:
        received.to_request(now, 0.1)
    assert take(received, 1, now=1e6) == [True]


def test_after_a_blackout_the_requests_are_spread() -> None:
    received = session(0, requests=1)
    take(received, MAX_MISSING + 1, now=0.0)
    bursts: list[int] = []
    asked: list[int] = []
    last = 0.0
    while (now := received.next_timeout()) is not None:
        assert now > last
        last = now
        asked += (wanted := received.to_request(now, 0.1))
        bursts.append(len(wanted))
    assert bursts == [REQUESTS_AT_ONCE] * (MAX_MISSING // REQUESTS_AT_ONCE)
    assert asked == list(range(1, MAX_MISSING + 1))


@given(st.lists(st.tuples(st.integers(-20, 40), st.floats(0, 0.3)), max_size=60), st.integers(0, 4))
def test_asking_always_comes_to_an_end(steps: list[tuple[int, float]], requests: int) -> None:
    received, now, highest = session(0, requests), 0.0, 0
    asked: dict[int, int] = {}
    for offset, pause in [*steps, *[(0, 10.0)] * (requests + 1)]:
        sequence = max(highest + offset, 0)
        highest = max(highest, sequence)
        received.add(sequence, now)
        end = now + pause
        while (due := received.next_timeout()) is not None and due <= end:
            now = max(now, due)
            for sequence in received.to_request(now, 0.05):
                asked[sequence] = asked.get(sequence, 0) + 1
                assert sequence in received.missing
            later = received.next_timeout()
            assert later is None or later > now
        now = end
    assert received.next_timeout() is None
    assert all(times <= requests for times in asked.values())
    if requests:
        assert all(asked.get(sequence, 0) == requests for sequence in received.missing)
