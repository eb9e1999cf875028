"""The retransmission timeout, by the numbers of RFC 6298, worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.core.reliability.rtt import RttEstimator

samples = st.lists(st.floats(0, 100), min_size=1, max_size=50)


def estimator(*seen: float) -> RttEstimator:
    made = RttEstimator(initial_rto_s=0.5, min_rto_s=0.05, max_rto_s=8.0)
    for rtt_s in seen:
        made.observe(rtt_s)
    return made


def test_before_the_first_sample_the_initial_timeout_holds() -> None:
    rtt = estimator()
    assert rtt.srtt is None
    assert rtt.rto() == 0.5


def test_the_first_sample_is_the_smoothed_round_trip_and_half_of_it_its_deviation() -> None:
    rtt = estimator(0.100)  # RFC 6298, 2.2
    assert rtt.srtt == pytest.approx(0.100)
    assert rtt.var == pytest.approx(0.050)
    assert rtt.rto() == pytest.approx(0.100 + 4 * 0.050)


def test_further_samples_weigh_an_eighth_and_their_deviation_a_quarter() -> None:
    rtt = estimator(0.100, 0.200)  # RFC 6298, 2.3: the deviation is taken from the old average
    assert rtt.var == pytest.approx(0.75 * 0.050 + 0.25 * 0.100)
    assert rtt.srtt == pytest.approx(0.875 * 0.100 + 0.125 * 0.200)
    assert rtt.rto() == pytest.approx(0.1125 + 4 * 0.0625)
    rtt.observe(0.100)
    assert rtt.var == pytest.approx(0.75 * 0.0625 + 0.25 * 0.0125)
    assert rtt.srtt == pytest.approx(0.875 * 0.1125 + 0.125 * 0.100)


def test_each_attempt_doubles_the_timeout_up_to_the_ceiling() -> None:
    rtt = estimator()
    assert [rtt.rto(attempts) for attempts in range(1, 8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert rtt.rto(10_000) == 8.0


def test_the_floor_is_doubled_like_any_other_timeout() -> None:
    rtt = estimator(*[0.001] * 50)
    assert [rtt.rto(attempts) for attempts in (1, 2, 3)] == [0.05, 0.1, 0.2]


def test_a_clock_that_went_back_counts_as_no_time() -> None:
    assert estimator(-5.0).srtt == 0.0


def test_the_latest_and_the_smallest_sample_are_known() -> None:
    rtt = estimator(0.3, 0.1, 0.2)
    assert (rtt.latest, rtt.minimum) == (0.2, 0.1)


def test_a_timeout_that_had_to_double_is_kept_until_the_next_sample() -> None:
    rtt = estimator(0.100)
    rtt.hold(2.0)
    rtt.hold(1.0)
    assert [rtt.rto(attempts) for attempts in (1, 2, 3, 4)] == [2.0, 4.0, 8.0, 8.0]
    rtt.observe(0.100)
    assert rtt.rto() == pytest.approx(0.1 + 4 * 0.0375)


@given(samples, st.integers(1, 30))
def test_average_and_timeout_stay_within_bounds(seen: list[float], attempts: int) -> None:
    rtt = estimator(*seen)
    assert rtt.srtt is not None
    assert min(seen) - 1e-9 <= rtt.srtt <= max(seen) + 1e-9
    assert rtt.var >= 0
    assert 0.05 <= rtt.rto(attempts) <= rtt.rto(attempts + 1) <= 8.0


def test_what_is_supposed_holds_until_the_first_sample():
    rtt = RttEstimator(0.5, 0.05, 8.0)
    rtt.suppose(0.4)
    assert rtt.srtt == 0.4
    assert rtt.latest is None

    rtt.observe(0.01)
    assert (rtt.srtt, rtt.var, rtt.minimum) == (0.01, 0.005, 0.01)

    rtt.suppose(0.4)
    assert rtt.srtt == 0.01
