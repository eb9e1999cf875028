"""Numbers that have not come are asked for in time, and cost little however many they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.core.reliability.duplicates import SEQUENCE_WINDOW, ReceivedNumbers
from p2ptui.core.reliability.gaps import MAX_STRETCHES, REQUESTS_AT_ONCE, Gaps

WAIT_S = 0.02


def session(requests: int = 3) -> ReceivedNumbers:
    return ReceivedNumbers(0, WAIT_S, requests)


def take(received: ReceivedNumbers, *numbers: int, now: float = 0.0) -> None:
    for number in numbers:
        received.add(number, now)


def test_a_gap_is_asked_for_after_a_while_and_again_with_doubled_patience() -> None:
    received = session()
    take(received, 3, now=10.0)
    asked: list[tuple[float, list[int]]] = []
    while (now := received.next_timeout()) is not None:
        asked.append((round(now, 3), received.to_request(now, backoff_s=0.1)))
    assert asked == [(10.02, [1, 2]), (10.12, [1, 2]), (10.32, [1, 2])]
    assert received.missing == (1, 2)


def test_what_arrives_meanwhile_is_not_asked_for() -> None:
    received = session()
    take(received, 4, now=10.0)
    take(received, 1, 3, now=10.01)
    assert received.to_request(10.02, 0.1) == [2]
    take(received, 2)
    assert received.next_timeout() is None


def test_before_its_time_nothing_is_asked_for() -> None:
    received = session()
    take(received, 2, now=10.0)
    assert received.to_request(10.019, 0.1) == []
    assert received.next_timeout() == 10.02


def test_with_no_requests_allowed_nothing_is_ever_asked_for() -> None:
    received = session(requests=0)
    take(received, 2)
    assert received.next_timeout() is None
    assert received.to_request(1000.0, 0.1) == []


def test_what_the_peer_no_longer_has_is_not_asked_for_again() -> None:
    received = session()
    take(received, 3)
    received.give_up(1)
    received.give_up(99)
    assert received.to_request(1.0, 0.1) == [2]


def test_what_is_arriving_in_fragments_is_not_asked_for() -> None:
    received = session()
    take(received, 3)
    received.postpone(1, until=30.0)
    received.postpone(99, until=30.0)
    assert received.to_request(1.0, 0.1) == [2]
    assert received.to_request(29.0, 100.0) == [2]
    assert received.to_request(30.0, 100.0) == [1]


def test_of_a_gap_that_nothing_fills_no_more_is_asked_for() -> None:
    received = session()
    take(received, SEQUENCE_WINDOW, now=0.0)
    assert received.to_request(0.02, 0.1) == list(range(1, REQUESTS_AT_ONCE + 1))
    assert received.next_timeout() is None
    assert received.to_request(100.0, 0.1) == []


def test_after_a_blackout_each_number_that_comes_lets_more_be_asked_for() -> None:
    received = session(requests=1)
    take(received, SEQUENCE_WINDOW, now=0.0)
    now, asked = 0.0, set[int]()
    while (due := received.next_timeout()) is not None:
        now = max(now, due) + 0.01
        wanted = received.to_request(now, 0.1)
        assert len(wanted) <= REQUESTS_AT_ONCE
        asked |= set(wanted)
        take(received, *wanted, now=now)
    assert asked == set(range(1, SEQUENCE_WINDOW))
    assert received.missing == ()


def test_the_memory_is_bounded_however_many_gaps_there_are() -> None:
    received = session()
    for number in range(2, 6 * MAX_STRETCHES, 2):
        take(received, number)
        assert len(received.gaps._stretches) <= MAX_STRETCHES
    assert received.gaps.forgotten == 2 * MAX_STRETCHES - 1
    # The latest are kept: what is older is sent again by its sender's own clock.
    assert received.missing[-1] == 6 * MAX_STRETCHES - 3


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=30), st.data())
def test_stretches_behave_like_a_set_of_numbers(
    opened: list[tuple[int, int]], data: st.DataObject
) -> None:
    gaps, model, highest = Gaps(WAIT_S, 1), set(), 0
    for arrived, missing in opened:
        highest += arrived
        gaps.open(highest + 1, highest + missing, 0.0)
        model |= set(range(highest + 1, highest + missing + 1))
        highest += missing
    for number in data.draw(st.lists(st.integers(0, highest + 2))):
        gaps.close(number)
        model.discard(number)
        assert gaps.missing == tuple(sorted(model))
    below = data.draw(st.integers(0, highest + 2))
    gaps.drop_below(below)
    assert gaps.missing == tuple(sorted(number for number in model if number >= below))


@given(st.lists(st.tuples(st.integers(-20, 40), st.floats(0, 0.3)), max_size=60), st.integers(0, 4))
def test_asking_always_comes_to_an_end(steps: list[tuple[int, float]], requests: int) -> None:
    received, now, highest = session(requests), 0.0, 0
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
    if sum(asked.values()) < REQUESTS_AT_ONCE and requests:
        assert all(asked.get(sequence, 0) == requests for sequence in received.missing)


@pytest.mark.parametrize("missing", [1, 10, 1000])
def test_a_message_of_a_stretch_may_be_postponed_alone(missing: int) -> None:
    gaps = Gaps(WAIT_S, 1)
    gaps.open(1, missing, 0.0)
    gaps.postpone(1, 50.0)
    assert gaps.missing == tuple(range(1, missing + 1))
    assert 1 not in gaps.to_request(1.0, 0.1)
