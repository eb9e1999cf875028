"""The congestion window: how it grows, when it halves, and the pace at which it is used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.core.reliability.congestion import MIN_WINDOW_DATAGRAMS, CongestionWindow
from p2ptui.core.reliability.rtt import RttEstimator

DATAGRAM = 1000


def window_of(initial: int, maximum: int = 512, srtt_s: float | None = None) -> CongestionWindow:
    rtt = RttEstimator(0.5, 0.05, 8.0)
    if srtt_s is not None:
        rtt.observe(srtt_s)
    return CongestionWindow(DATAGRAM, initial, maximum, rtt)


def fill(window: CongestionWindow, now: float = 0.0) -> int:
    """Send datagrams while there is room; how many."""
    sent = 0
    while window.has_room:
        window.handle_sent(DATAGRAM, now)
        sent += 1
    return sent


def ack_all(window: CongestionWindow) -> None:
    """A round trip: all arrives, and what makes room leaves again."""
    for _ in range(window.in_flight // DATAGRAM):
        window.handle_acked(DATAGRAM)


def test_it_starts_with_the_initial_window() -> None:
    assert fill(window_of(10)) == 10


def test_it_doubles_with_each_round_trip_until_the_first_loss() -> None:
    window = window_of(10)
    for expected in (10, 20, 40, 80):
        in_use = fill(window)
        assert window.window == expected * DATAGRAM
        for _ in range(in_use):
            window.handle_acked(DATAGRAM)
            window.handle_sent(DATAGRAM, 0.0)
        window.release(in_use * DATAGRAM)


def test_after_a_loss_it_halves_and_grows_by_one_datagram_a_round_trip() -> None:
    window = window_of(20)
    fill(window)
    window.handle_lost(DATAGRAM, sent_at=1.0, now=2.0)
    assert window.window == 10 * DATAGRAM
    window.release(9 * DATAGRAM)
    for _ in range(10):
        window.handle_acked(DATAGRAM)
        window.handle_sent(DATAGRAM, 2.0)
    assert window.window == pytest.approx(11 * DATAGRAM, rel=0.01)


def test_losses_of_one_round_trip_halve_it_once() -> None:
    window = window_of(64)
    fill(window)
    for _ in range(10):
        window.handle_lost(DATAGRAM, sent_at=1.0, now=2.0)
    assert window.window == 32 * DATAGRAM
    window.handle_lost(DATAGRAM, sent_at=2.5, now=3.0)
    assert window.window == 16 * DATAGRAM


def test_it_never_shrinks_below_its_floor_nor_grows_above_its_ceiling() -> None:
    window = window_of(10, maximum=12)
    for now in range(20):
        fill(window)
        window.handle_lost(DATAGRAM, sent_at=now + 0.5, now=now + 1.0)
    assert window.window == MIN_WINDOW_DATAGRAMS * DATAGRAM
    for _ in range(100):
        fill(window)
        ack_all(window)
    assert window.window == 12 * DATAGRAM


def test_one_datagram_may_go_however_small_the_window() -> None:
    window = window_of(1)
    assert fill(window) == 1
    window.handle_acked(DATAGRAM)
    assert window.has_room


def test_a_window_that_is_hardly_used_does_not_grow() -> None:
    window = window_of(10)
    for _ in range(1000):
        window.handle_sent(DATAGRAM, 0.0)
        window.handle_acked(DATAGRAM)
    assert window.window == 10 * DATAGRAM


def test_what_was_dropped_makes_room_without_a_verdict() -> None:
    window = window_of(10)
    fill(window)
    window.release(3 * DATAGRAM)
    assert (window.window, window.in_flight) == (10 * DATAGRAM, 7 * DATAGRAM)


def test_before_a_round_trip_was_seen_nothing_is_paced() -> None:
    window = window_of(10)
    fill(window, now=5.0)
    assert window.next_send(5.0) == 5.0


def test_with_a_round_trip_ten_datagrams_leave_at_once_and_the_others_spread_over_it() -> None:
    window = window_of(100, srtt_s=1.0)
    sent: list[float] = []
    now = 50.0
    while window.has_room:
        now = max(now, window.next_send(now))
        window.handle_sent(DATAGRAM, now)
        sent.append(now)
    assert sent.count(50.0) in (10, 11)
    assert sent[-1] - sent[0] == pytest.approx(89 / (1.25 * 100), abs=0.02)  # a gain of 1.25


def test_a_pause_earns_no_more_than_one_burst() -> None:
    window = window_of(100, srtt_s=1.0)
    fill(window, now=0.0)
    window.release(window.in_flight)
    burst = 0
    while window.next_send(1000.0) <= 1000.0:
        window.handle_sent(DATAGRAM, 1000.0)
        burst += 1
    assert burst in (10, 11)


@given(
    st.lists(
        st.tuples(st.sampled_from(["sent", "acked", "lost", "release"]), st.integers(1, 1500)),
        max_size=200,
    ),
    st.integers(1, 20),
)
def test_whatever_happens_the_bounds_hold(events: list[tuple[str, int]], initial: int) -> None:
    window = window_of(initial, maximum=20, srtt_s=0.1)
    for now, (event, size) in enumerate(events):
        match event:
            case "sent":
                window.handle_sent(size, now)
            case "acked":
                window.handle_acked(size)
            case "lost":
                window.handle_lost(size, now - 0.5, now)
            case "release":
                window.release(size)
        assert window.in_flight >= 0
        assert min(initial, MIN_WINDOW_DATAGRAMS) * DATAGRAM <= window.window <= 20 * DATAGRAM
        assert window.in_flight or window.has_room
        assert window.next_send(now) >= now


@pytest.mark.parametrize("has_lost", [True, False])
def test_a_window_of_less_than_a_larger_datagram_grows_again(has_lost: bool) -> None:
    """What is under way keeps its pieces, of which one alone has room at first."""
    window = window_of(10)
    if has_lost:
        fill(window)
        window.handle_lost(DATAGRAM, 0.0, 1.0)
        ack_all(window)
    window.resize(9 * DATAGRAM)
    for _ in range(30):
        fill(window)
        ack_all(window)
    assert window.window >= 30 * DATAGRAM


@given(
    maximum=st.integers(1, 8),
    steps=st.lists(st.sampled_from(["ack", "lose", "restart", "larger", "smaller", "resume"])),
)
def test_it_is_never_larger_than_the_option_says(maximum: int, steps: list[str]) -> None:
    window = window_of(min(4, maximum), maximum)
    for now, step in enumerate(steps):
        fill(window, float(now))
        match step:
            case "ack":
                ack_all(window)
            case "lose":
                window.handle_lost(DATAGRAM, float(now), float(now))
            case "restart":
                window.restart(float(now))
            case "larger":
                window.resize(9 * DATAGRAM)
            case "smaller":
                window.resize(DATAGRAM)
            case _:
                window.resume(DATAGRAM, (1e9, 1e9))
        assert window.window <= maximum * DATAGRAM
