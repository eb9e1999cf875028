"""One attempt as a pure state machine: what is checked, at which pace, within which budget."""

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptui.nat.allowances import MAX_LEARNT, PROVED, Allowances
from p2ptui.nat.flow_pace import FlowPace
from p2ptui.nat.guessing import Guesses, random_ports
from p2ptui.nat.punching import (
    EXTENSIONS,
    MAX_OUTSTANDING,
    MAX_PAIRS,
    OPENER_TTL,
    Budget,
    Check,
    Kind,
    Pair,
    Punching,
)
from p2ptui.wire.address import Address
from p2ptui.wire.offer import MAX_CANDIDATES

HOST: Address = ("192.168.1.2", 5000)
OUTSIDE: Address = ("198.51.100.1", 5000)


def punching(*, controlling: bool = True, now: float = 0.0, **changes: Any) -> Punching:
    opener = changes.pop("opener_pause_s", None)
    count = changes.pop("count", lambda _: None)
    budget = Budget(**({"checks": 100, "seconds": 5.0, "pace_s": 0.002} | changes))
    return Punching(
        controlling=controlling,
        rng=random.Random(1),
        budget=budget,
        now=now,
        opener_pause_s=opener,
        count=count,
    )


def guess(
    attempt: Punching, ports: Iterator[int], count: int, *, quick: int = 0, end: float = 2.0
) -> None:
    pace = FlowPace(attempt.budget.pace_s, random.Random(2))
    guesses = Guesses(OUTSIDE[0], ports, count, quick=quick, begin=0.0, end=end, pace=pace)
    attempt.guess(guesses)


def run(attempt: Punching, until: float, now: float = 0.0) -> list[tuple[float, Check]]:
    """All checks until then, with the times at which they leave."""
    sent = []
    while not attempt.is_over(now) and now <= until:
        sent += [(now, check) for check in attempt.to_send(now)]
        due = attempt.next_timeout()
        if due is None:
            break
        now = max(due, now + 1e-6)
    return sent


def answer(attempt: Punching, check: Check, now: float) -> Any:
    return attempt.receive_response(check.transaction_id, check.remote, check.socket, now)


def test_a_pair_is_checked_again_less_and_less_often() -> None:
    attempt = punching()
    attempt.add(Kind.HOST, [HOST], 0.0)

    times = [at for at, _ in run(attempt, 4)]

    gaps = [round(b - a, 3) for a, b in itertools.pairwise(times)]
    assert gaps == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_the_controlling_side_takes_what_works_first() -> None:
    attempt = punching()
    attempt.add(Kind.HOST, [HOST], 0.0)
    attempt.add(Kind.REFLEXIVE, [OUTSIDE], 0.0)
    checks = [check for _, check in run(attempt, 0.01)]
    assert [check.remote for check in checks] == [HOST, OUTSIDE]

    pair = answer(attempt, checks[1], 0.03)

    assert attempt.selected is pair
    assert pair.rtt_s == pytest.approx(0.028)
    assert attempt.is_over(0.03)
    assert attempt.next_timeout() is None
    assert attempt.to_send(10.0) == []


def test_of_two_that_work_at_once_the_better_kind_is_taken() -> None:
    attempt = punching(controlling=False)
    attempt.add(Kind.REFLEXIVE, [OUTSIDE], 0.0)
    attempt.add(Kind.HOST, [HOST], 0.0)
    for _, check in run(attempt, 0.01):
        answer(attempt, check, 0.02)

    assert [pair.remote for pair in attempt.valid] == [HOST, OUTSIDE]


def test_the_other_side_takes_what_was_chosen_for_it() -> None:
    attempt = punching(controlling=False)
    attempt.add(Kind.HOST, [HOST], 0.0)
    ((_, check),) = run(attempt, 0.01)
    answer(attempt, check, 0.02)
    assert attempt.selected is None

    attempt.receive_request(HOST, 0, 0.04, nominated=True)

    assert attempt.selected.remote == HOST


def test_what_was_chosen_must_work_from_here_too() -> None:
    attempt = punching(controlling=False)
    attempt.receive_request(OUTSIDE, 0, 0.0, nominated=True)
    assert attempt.selected is None

    ((_, check),) = run(attempt, 0.01)
    answer(attempt, check, 0.02)

    assert attempt.selected.remote == OUTSIDE


def test_where_a_check_comes_from_is_tried_at_once_and_first() -> None:
    attempt = punching(pace_s=0.01)
    attempt.add(Kind.PREDICTED, [("198.51.100.1", 6000 + n) for n in range(50)], 0.0)
    run(attempt, 0.1)

    attempt.receive_request(OUTSIDE, 0, 0.1, nominated=False)

    assert attempt.to_send(0.1)[0].remote == OUTSIDE


def test_an_answer_must_come_from_where_the_check_went() -> None:
    attempt = punching()
    attempt.add(Kind.HOST, [HOST], 0.0)
    ((_, check),) = run(attempt, 0.01)

    assert attempt.receive_response(check.transaction_id, OUTSIDE, 0, 0.02) is None
    assert attempt.receive_response(check.transaction_id, HOST, 0, 0.02) is None, "once only"
    assert attempt.receive_response(b"x" * 12, HOST, 0, 0.02) is None
    assert attempt.selected is None


def test_an_answer_must_come_to_the_socket_that_asked() -> None:
    attempt = punching()
    attempt.add(Kind.PREDICTED, [OUTSIDE], 0.0, socket=7)
    ((_, check),) = run(attempt, 0.01)
    assert check.socket == 7

    assert attempt.receive_response(check.transaction_id, OUTSIDE, 0, 0.02) is None


def test_an_opener_travels_no_further_than_the_own_nat() -> None:
    attempt = punching(opener_pause_s=0.1)
    attempt.add(Kind.HOST, [HOST], 0.0)
    attempt.add(Kind.REFLEXIVE, [OUTSIDE], 0.0)

    sent = [(round(at, 3), check.ttl) for at, check in run(attempt, 0.3) if check.remote == OUTSIDE]

    assert sent[0][1] == OPENER_TTL
    assert [ttl for _, ttl in sent[1:]] == [None] * len(sent[1:])
    assert sent[1][0] - sent[0][0] == pytest.approx(0.1, abs=0.005)
    assert {c.ttl for _, c in run(punching_with_host(0.1), 0.3)} == {None}


def punching_with_host(opener_pause_s: float) -> Punching:
    attempt = punching(opener_pause_s=opener_pause_s)
    attempt.add(Kind.HOST, [HOST], 0.0)
    return attempt


def test_what_heard_of_the_other_side_needs_no_opener() -> None:
    attempt = punching(opener_pause_s=1.0)
    attempt.receive_request(OUTSIDE, 0, 0.0, nominated=False)

    assert attempt.to_send(0.0)[0].ttl is None


def test_only_the_controlling_side_says_that_it_chose() -> None:
    for controlling in (True, False):
        attempt = punching(controlling=controlling)
        attempt.add(Kind.HOST, [HOST], 0.0)
        (pair,) = attempt.pairs
        assert attempt.confirm(pair, 0.0).nominate is controlling


def test_addresses_are_tried_once_each_and_not_without_end() -> None:
    attempt = punching()
    attempt.add(Kind.HOST, [HOST, HOST], 0.0)
    attempt.add(Kind.REFLEXIVE, [HOST], 0.0)
    assert len(attempt.pairs) == 1

    attempt.add(Kind.REFLEXIVE, [(OUTSIDE[0], n) for n in range(1, 1000)], 0.0)
    assert len(attempt.pairs) == MAX_PAIRS

    for port in range(2000, 3000):
        attempt.receive_request((OUTSIDE[0], port), 0, 0.0, nominated=False)
    assert len(attempt.pairs) <= MAX_PAIRS + MAX_LEARNT


def test_all_that_an_offer_may_hold_is_tried() -> None:
    drops = Counter[str]()
    attempt = punching(count=lambda cause: drops.update([cause]))
    for kind, first in ((Kind.PREDICTED, 10_000), (Kind.HOST, 20_000)):
        half = MAX_CANDIDATES // 2
        attempt.add(kind, [(OUTSIDE[0], first + n) for n in range(half)], 0.0)
    observed, last = ("198.51.100.7", 1), ("198.51.100.7", 2)
    attempt.add(Kind.REFLEXIVE, [observed, last], 0.0)

    assert {observed, last} <= {pair.remote for pair in attempt.pairs}
    assert not drops
    attempt.add(Kind.REFLEXIVE, [("198.51.100.7", 3)], 0.0)
    assert drops == {"pairs_full": 1}


def test_the_way_that_the_other_side_chose_finds_room_in_a_full_round() -> None:
    drops = Counter[str]()
    attempt = punching(controlling=False, count=lambda cause: drops.update([cause]))
    for port in range(2000, 2000 + MAX_LEARNT):
        attempt.receive_request((OUTSIDE[0], port), 0, 0.0, nominated=False)
    attempt.receive_request((OUTSIDE[0], 3000), 0, 0.0, nominated=False)
    assert drops == {"pairs_full": 1}

    chosen = (OUTSIDE[0], 4000)
    attempt.receive_request(chosen, 0, 0.0, nominated=True)
    sent = {check.remote: check for check in attempt.to_send(1.0)}
    for _, check in run(attempt, 2):
        sent.setdefault(check.remote, check)
    attempt.receive_response(sent[chosen].transaction_id, chosen, 0, 3.0)

    assert attempt.selected is not None
    assert attempt.selected.remote == chosen
    assert len(attempt.pairs) == MAX_LEARNT
    for port in range(5000, 5000 + 3 * MAX_LEARNT):
        attempt.receive_request((OUTSIDE[0], port), 0, 0.0, nominated=True)
    assert len(attempt.pairs) == MAX_LEARNT
    assert attempt.selected in attempt.pairs


def test_a_check_is_known_however_many_a_round_may_send() -> None:
    attempt = punching(checks=3 * MAX_OUTSTANDING)
    pair = Pair(0, OUTSIDE, Kind.HOST, 0.0)
    checks = [attempt.confirm(pair, 0.0) for _ in range(2 * MAX_OUTSTANDING)]

    assert attempt.receive_response(checks[0].transaction_id, OUTSIDE, 0, 1.0) is pair


def test_an_address_that_answered_keeps_its_allowance() -> None:
    allowances = Allowances()
    allowances.allow((0, OUTSIDE), 2)
    allowances.prove((0, OUTSIDE))
    for port in range(3 * MAX_LEARNT):
        allowances.earn((0, ("203.0.113.9", port)), 2)

    assert len(allowances) == MAX_LEARNT
    assert allowances.left((0, OUTSIDE)) == PROVED


def test_guesses_go_to_ports_that_were_not_tried() -> None:
    attempt = punching(checks=1000)
    guess(attempt, random_ports(random.Random(3), 1024, 65535), 40, quick=20)

    sent = [check.remote for _, check in run(attempt, 5)]

    assert len(sent) == len(set(sent)) == 40
    assert {host for host, _ in sent} == {OUTSIDE[0]}


def test_a_guess_that_met_somebody_is_found() -> None:
    attempt = punching(checks=1000)
    guess(attempt, iter(range(3000, 3100)), 40, quick=20)
    sent = [check for _, check in run(attempt, 0.5)]

    pair = answer(attempt, sent[-1], 0.6)

    assert attempt.selected is pair
    assert pair.kind is Kind.GUESSED


@given(st.integers(0, 2**32), st.integers(1, 65_535), st.integers(0, 3000))
@settings(max_examples=60)
def test_random_ports_are_a_permutation_of_their_range(seed: int, low: int, size: int) -> None:
    high = min(low + size, 65_535)
    ports = list(random_ports(random.Random(seed), low, high))

    assert sorted(ports) == list(range(low, high + 1))


def test_random_ports_are_random() -> None:
    """The first thousand of all ports are spread evenly, and are others each time."""
    first = [next(random_ports(random.Random(seed), 1024, 65_535)) for seed in range(2000)]
    spread = Counter((port - 1024) // 8064 for port in first)
    assert all(150 < spread[part] < 350 for part in range(8))


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[float, str, int]]:
    steps = st.tuples(
        st.floats(0.0, 0.3),
        st.sampled_from(["send", "request", "nominate", "answer", "forge", "add"]),
        st.integers(0, 400),
    )
    return draw(st.lists(steps, max_size=120))


@given(
    scripts(),
    st.booleans(),
    st.integers(1, 60),
    st.integers(0, 40),
    st.sampled_from([0.001, 0.01, 0.1]),
    st.sampled_from([None, 0.05]),
)
@settings(max_examples=150, deadline=None)
def test_whatever_happens_the_budget_and_the_pace_are_kept(
    script: list[tuple[float, str, int]],
    controlling: bool,
    checks: int,
    guesses: int,
    pace_s: float,
    opener_pause_s: float | None,
) -> None:
    attempt = punching(
        controlling=controlling,
        checks=checks,
        pace_s=pace_s,
        seconds=4.0,
        opener_pause_s=opener_pause_s,
    )
    attempt.add(Kind.REFLEXIVE, [OUTSIDE], 0.0)
    if guesses:
        ports = random_ports(random.Random(1), 1024, 2000)
        guess(attempt, ports, guesses, quick=guesses // 2, end=3.0)
    now, sent, valid = 0.0, list[Check](), set[tuple[int, Address]]()
    for pause, action, number in script:
        now += pause
        where = (OUTSIDE[0], 4990 + number % 20)
        match action:
            case "send":
                for check in attempt.to_send(now):
                    assert (check.socket, check.remote) not in valid
                    assert now < EXTENSIONS * 4.0  # a sign of the other side puts the end off
                    sent.append(check)
            case "request" | "nominate":
                attempt.receive_request(where, 0, now, nominated=action == "nominate")
            case "answer" if sent:
                check = sent[number % len(sent)]
                pair = answer(attempt, check, now)
                if pair is not None:
                    valid.add((check.socket, check.remote))
            case "forge":
                attempt.receive_response(number.to_bytes(12, "big"), where, 0, now)
            case "add":
                attempt.add(Kind.PREDICTED, [where], now, socket=number % 3)
        due = attempt.next_timeout()
        assert (due is None) == (attempt.selected is not None)

    assert len(sent) <= checks
    assert attempt.checks_sent <= checks
    if attempt.selected is not None:
        assert attempt.selected.valid
        assert attempt.to_send(now + 1) == []
