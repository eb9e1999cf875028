"""What strangers may cost: rates, caps, and never more than three times their bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.config import Config
from p2ptui.core.sessions.admission import (
    ERROR_INTERVAL_S,
    MAX_TRACKED_ERRORS,
    MAX_TRACKED_HOSTS,
    REFUSALS_PER_SECOND,
    Admission,
    TokenBucket,
)

ALICE = ("192.0.2.1", 1000)
BOB = ("192.0.2.2", 1000)


def admission(**options: object) -> Admission:
    return Admission(Config().with_options(**options).security)


def admitted(gate: Admission, address: tuple[str, int], tries: int, now: float) -> int:
    return sum(gate.admits(address, now) for _ in range(tries))


# The token bucket.


def test_a_bucket_lets_one_second_pass_at_once_and_then_its_rate() -> None:
    bucket = TokenBucket(10, now=100.0)
    assert sum(bucket.take(100.0) for _ in range(50)) == 10
    assert sum(bucket.take(100.5) for _ in range(50)) == 5
    assert sum(bucket.take(200.0) for _ in range(50)) == 10


def test_what_is_refused_uses_nothing_up() -> None:
    bucket = TokenBucket(10, now=0.0)
    assert bucket.take(0.0, 8)
    assert not bucket.take(0.0, 3)
    assert bucket.take(0.0, 2)


def test_more_than_a_second_holds_never_passes_and_a_rate_of_0_lets_nothing_pass() -> None:
    assert not TokenBucket(10, 0.0).take(1000.0, 11)
    assert not TokenBucket(0, 0.0).take(1000.0)


def test_who_may_wait_is_told_how_long_and_what_is_larger_than_a_burst_passes_too() -> None:
    bucket = TokenBucket(10, now=0.0)
    assert bucket.wait_s(0.0, 25) == 0.0
    bucket.use(25)
    assert bucket.wait_s(0.0, 5) == pytest.approx(2.0)
    assert bucket.wait_s(2.0, 5) == 0.0
    bucket.set_rate(100)
    assert bucket.wait_s(2.0, 15) == pytest.approx(0.1)
    assert bucket.wait_s(3.0, 100) == 0.0


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 20)), max_size=60), st.integers(0, 30))
def test_no_pattern_gets_more_than_burst_and_rate(asks: list[tuple[float, int]], rate: int) -> None:
    bucket = TokenBucket(rate, now=0.0)
    now, passed = 0.0, 0
    for pause, amount in asks:
        now += pause
        passed += amount if bucket.take(now, amount) else 0
        assert passed <= rate + rate * now + 1e-6


# Addresses.


def test_a_flood_from_one_host_slows_neither_another_host_nor_counts_by_port() -> None:
    gate = admission(max_requests_per_ip=10)
    assert admitted(gate, ALICE, 100, now=0.0) == 10
    assert admitted(gate, (ALICE[0], 2000), 100, now=0.0) == 0
    assert admitted(gate, BOB, 100, now=0.0) == 10
    assert admitted(gate, ALICE, 100, now=0.5) == 5


def test_without_rate_limiting_everything_is_looked_at_and_nothing_remembered() -> None:
    gate = admission(max_requests_per_ip=1, enable_rate_limiting=False)
    assert admitted(gate, ALICE, 100, now=0.0) == 100
    assert len(gate) == 0


def test_the_hosts_remembered_are_capped_and_the_most_recent_stay() -> None:
    gate = admission(max_requests_per_ip=1)
    assert gate.admits(ALICE, 0.0)
    for number in range(2 * MAX_TRACKED_HOSTS):
        gate.admits((f"host-{number}", 1), 0.0)
        if number % 1000 == 0:
            assert not gate.admits(ALICE, 0.0)  # heard of again and again: it stays
    assert len(gate) == MAX_TRACKED_HOSTS
    assert gate.admits(("host-0", 1), 0.0)  # forgotten long ago


# Answers.


@pytest.mark.parametrize(("answer", "allowed"), [(299, True), (300, True), (301, False)])
def test_an_answer_has_at_most_three_times_the_bytes_of_the_question(
    answer: int, allowed: bool
) -> None:
    assert admission().may_answer(answer, 100, now=0.0) is allowed


def test_all_strangers_together_get_so_many_answers_a_second() -> None:
    gate = admission()
    asked = range(10 * REFUSALS_PER_SECOND)
    assert sum(gate.may_answer(100, 100, 5.0) for _ in asked) == REFUSALS_PER_SECOND
    assert sum(gate.may_answer(100, 100, 5.5) for _ in asked) == REFUSALS_PER_SECOND / 2


def test_an_answer_that_is_too_large_uses_nothing_up() -> None:
    gate = admission()
    for _ in range(10 * REFUSALS_PER_SECOND):
        gate.may_answer(1000, 1, 0.0)
    assert gate.may_answer(100, 100, 0.0)


def test_a_stranger_is_told_once_in_a_while() -> None:
    gate = admission()
    assert gate.may_tell(ALICE, 0.0)
    assert not gate.may_tell(ALICE, ERROR_INTERVAL_S - 0.1)
    assert gate.may_tell(BOB, 1.0)
    assert gate.may_tell((ALICE[0], 2000), 1.0)  # another client behind the same NAT
    assert gate.may_tell(ALICE, ERROR_INTERVAL_S)


def test_the_addresses_that_were_told_are_capped() -> None:
    gate = admission()
    for number in range(MAX_TRACKED_ERRORS + 100):
        gate.may_tell(("192.0.2.1", number), 0.0)
    assert len(gate) == MAX_TRACKED_ERRORS
    assert gate.may_tell(("192.0.2.1", 0), 0.0)
