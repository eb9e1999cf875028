"""Prediction of ports: each allocator found out, by a transcript; never more said than is true."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptui.nat.allocation import AllocationKind, PortAllocation
from p2ptui.nat.allocators import BLOCK, GAPS, PARITY, PRESERVED, RANDOM, STEP
from p2ptui.nat.behavior import Dependence
from p2ptui.nat.prediction import (
    HASHED,
    MAX_MAPPINGS,
    REUSED,
    UNKNOWN,
    PortPredictor,
    Prediction,
    spread,
)
from tests.bench.prediction import ALLOCATORS, RATES, cases, optimum
from tests.bench.usual_guess import constant_step_guess

SERVER = "192.0.2.1"
PEER = ("203.0.113.9", 7000)


def seen(ports: list[int], gap_s: float = 0.01, **options: object) -> PortPredictor:
    """One socket's flows to one server after another got these ports."""
    predictor = PortPredictor(**options)  # type: ignore[arg-type]
    for number, port in enumerate(ports):
        predictor.observe(number * gap_s, 40_000, (f"192.0.2.{number}", 3478), port)
    return predictor


def after(predictor: PortPredictor, delay_s: float = 0.1, k: int = 10) -> Prediction:
    now = 0.01 * (predictor.samples - 1)
    return predictor.predict(now, now + delay_s, 40_000, PEER, k)


# Transcripts.


@pytest.mark.parametrize("step", [1, 2, 3, 7, 256, 1000, -1, -3])
def test_a_constant_step_goes_on(step: int) -> None:
    first = 30_000
    prediction = after(seen([first + step * n for n in range(5)]), k=1)

    assert prediction.ports == (first + step * 5,)
    assert prediction.kind == STEP
    assert prediction.believed


@pytest.mark.parametrize(
    ("step", "ports"), [(1, [65_534, 65_535, 1024]), (-1, [1025, 1024, 65535])]
)
def test_behind_the_last_port_comes_the_first(step: int, ports: list[int]) -> None:
    predictor = seen([ports[0] - 2 * step, ports[0] - step, *ports])
    assert after(predictor, k=1).ports == (ports[-1] + step,)


def test_the_end_of_the_range_is_foreseen() -> None:
    assert after(seen([65_532, 65_533, 65_534, 65_535]), k=1).ports == (1024,)


def test_the_later_a_flow_begins_the_more_others_come_first() -> None:
    predictor = seen([5000, 5001, 5004, 5005, 5008, 5009, 5011, 5014])
    soon, late = (after(predictor, delay).ports for delay in (0.01, 0.3))

    assert after(predictor).kind == GAPS
    assert soon[0] == 5015
    assert late[0] > 5018


def test_traffic_that_ended_is_forgotten() -> None:
    predictor = seen([5000, 5003, 5008, 5012, 5015])
    busy = after(predictor, k=1).chance
    for number in range(200):
        predictor.observe(1.0 + number, 40_000, (f"198.51.100.{number}", 1), 5016 + number)
    quiet = predictor.predict(200.0, 200.1, 40_000, PEER, 1)

    assert quiet.ports == (5216,)
    assert quiet.chance > 0.9 > busy


def test_one_jump_does_not_end_a_sequence() -> None:
    prediction = after(seen([5000, 5001, 5002, 5003, 5004, 41_000, 41_001]), k=1)
    assert prediction.ports == (41_002,)
    assert prediction.believed


def test_a_preserved_port_is_that_of_the_next_socket() -> None:
    predictor = PortPredictor()
    for number, port in enumerate((41_000, 52_113, 33_909)):
        predictor.observe(number * 0.01, port, (SERVER, 3478), port)
    prediction = predictor.predict(0.03, 0.1, 45_678, PEER, 1)

    assert (prediction.ports, prediction.kind) == ((45_678,), PRESERVED)
    assert prediction.chance > 0.9


def test_a_socket_that_keeps_its_port_keeps_it_for_a_peer() -> None:
    predictor = seen([20_517] * 4)
    prediction = after(predictor, k=1)
    assert (prediction.ports, prediction.kind) == ((20_517,), REUSED)
    assert prediction.chance > 0.9


def test_a_computed_port_comes_again_for_the_same_host() -> None:
    predictor = PortPredictor()
    for number, (host, port) in enumerate(
        [("192.0.2.1", 40_100), ("192.0.2.2", 40_444), ("192.0.2.1", 40_100), ("192.0.2.2", 40_444)]
    ):
        predictor.observe(number * 0.01, 40_000, (host, 3478 + number), port)
    known = predictor.predict(0.04, 0.1, 40_000, ("192.0.2.1", 9), 1)
    unknown = predictor.predict(0.04, 0.1, 40_000, PEER, 1)

    assert (known.ports, known.kind) == ((40_100,), HASHED)
    assert known.chance > 0.9
    assert unknown.chance < 0.1


def test_the_same_flow_has_its_port_while_the_mapping_lives() -> None:
    predictor = seen([5000, 23_111, 40_321])
    again = predictor.predict(0.1, 1.0, 40_000, ("192.0.2.0", 3478), 1)
    assert again.ports == (5000,)
    assert again.chance > 0.9
    assert predictor.predict(0.1, 300.0, 40_000, ("192.0.2.0", 3478), 1).chance < again.chance


def test_a_block_is_guessed_inside() -> None:
    low = 50_048
    predictor = seen([low + n for n in (3, 60, 31, 12, 44, 7, 55, 20)])
    prediction = after(predictor)

    assert prediction.kind == BLOCK
    assert all(low <= port < low + 64 for port in prediction.ports)
    assert 0.1 < prediction.chance < 0.2
    assert prediction.believed


def test_parity_halves_the_ports() -> None:
    rng = random.Random(3)
    predictor = PortPredictor()
    for number in range(20):
        local = rng.randrange(32_768, 61_000)
        predictor.observe(
            number * 0.01, local, (SERVER, 3478), rng.randrange(1024 + local % 2, 65_536, 2)
        )
    prediction = predictor.predict(0.2, 0.3, 40_001, PEER, 10)
    assert prediction.kind == PARITY
    assert all(port % 2 for port in prediction.ports)


def test_random_ports_are_not_believed() -> None:
    rng = random.Random(5)
    prediction = after(seen([rng.randrange(1024, 65_536) for _ in range(12)]))
    assert prediction.kind == RANDOM
    assert not prediction.believed
    assert prediction.chance < 0.02
    assert prediction.baseline == pytest.approx(10 / 64_512)


def test_a_nat_that_changes_its_ways_is_found_out() -> None:
    rng = random.Random(6)
    predictor = seen([rng.randrange(1024, 65_536) for _ in range(30)])
    for number in range(30, 35):
        predictor.observe(number * 0.01, 40_000, (f"198.51.100.{number}", 1), 7000 + number)
    assert after(predictor, k=1).ports == (7035,)


# The options.


def test_nothing_is_said_before_enough_was_seen() -> None:
    assert after(seen([5000, 5001])) == Prediction()
    assert after(seen([5000, 5001])).kind == UNKNOWN
    assert after(seen([5000, 5001], min_samples=2)).believed


def test_no_more_ports_than_configured_and_none_out_of_range() -> None:
    options = {"max_predictions": 4, "port_range_min": 5000, "port_range_max": 5009}
    prediction = after(seen([5006, 5007, 5008, 80], **options), k=100)
    assert len(prediction.ports) == 4
    assert prediction.ports[0] == 5009
    assert all(5000 <= port <= 5009 for port in prediction.ports)


def test_guesses_stay_within_the_window() -> None:
    predictor = seen([5000, 5020, 5041, 5063], prediction_window=3)
    steps = [port for port, chance in after(predictor).candidates if chance > 0.02]
    assert all(5063 < port <= 5066 for port in steps)


def test_a_range_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no range of ports"):
        PortPredictor(port_range_min=10, port_range_max=9)


def test_a_diagnosis_saves_observations_and_can_be_left_out() -> None:
    allocation = PortAllocation(kind=AllocationKind.SEQUENTIAL, step=3)
    told, deaf = PortPredictor(), PortPredictor(enable_nat_type_optimization=False)
    for predictor in (told, deaf):
        predictor.diagnosed(Dependence.ADDRESS_AND_PORT, allocation)
        predictor.observe(0.0, 40_000, (SERVER, 3478), 5000)

    assert told.predict(0.0, 0.05, 40_000, PEER, 1).ports == (5003,)
    assert deaf.predict(0.0, 0.05, 40_000, PEER, 1) == Prediction()


@pytest.mark.parametrize(
    "mapping", [Dependence.NONE, Dependence.ENDPOINT_INDEPENDENT, Dependence.ADDRESS]
)
def test_a_cone_gives_the_port_that_was_seen(mapping: Dependence) -> None:
    predictor = PortPredictor()
    predictor.diagnosed(mapping)
    predictor.observe(0.0, 40_000, (SERVER, 3478), 23_456)
    prediction = predictor.predict(0.0, 0.1, 40_000, (SERVER, 9), 1)
    assert prediction.ports == (23_456,)
    assert prediction.believed


@pytest.mark.parametrize(
    ("allocation", "kind"),
    [
        (PortAllocation(kind=AllocationKind.PRESERVED), PRESERVED),
        (PortAllocation(kind=AllocationKind.BLOCK), BLOCK),
        (PortAllocation(kind=AllocationKind.RANDOM), RANDOM),
        (PortAllocation(kind=AllocationKind.RANDOM, parity_preserved=True), PARITY),
    ],
)
def test_a_diagnosed_allocator_is_the_first_guess(allocation: PortAllocation, kind: str) -> None:
    predictor = PortPredictor()
    predictor.diagnosed(Dependence.ADDRESS_AND_PORT, allocation)
    predictor.observe(0.0, 40_000, (SERVER, 3478), 40_000 if kind == PRESERVED else 7000)
    assert predictor.predict(0.0, 0.1, 40_000, PEER).kind == kind


def test_a_wrong_diagnosis_is_overruled() -> None:
    predictor = PortPredictor()
    predictor.diagnosed(
        Dependence.ENDPOINT_INDEPENDENT, PortAllocation(kind=AllocationKind.PRESERVED)
    )
    for number in range(6):
        predictor.observe(number * 0.01, 40_000, (f"192.0.2.{number}", 3478), 5000 + number)
    assert 5006 in predictor.predict(0.06, 0.1, 40_000, PEER, 3).ports


# Beside the usual way, and two sides at once.


def test_the_usual_guess_goes_on_by_the_usual_step() -> None:
    assert constant_step_guess([], 3) == ()
    assert constant_step_guess([5000], 2) == (5001, 5002)
    assert constant_step_guess([5000, 5002, 5004, 5009], 2) == (5011, 5013)
    assert constant_step_guess([65_534, 65_535], 2) == (1024, 1025)
    assert constant_step_guess([3], 5, 1, 2) == (2, 1)


def test_a_spread_holds_the_most_probability() -> None:
    prediction = after(seen([5000, 5002, 5003, 5006, 5008, 5009]))
    wide, narrow = spread(prediction, 50), spread(prediction, 2)

    assert len(wide.ports) == 50
    assert wide.ports[:10] == prediction.ports
    assert narrow.chance < prediction.chance < wide.chance <= 1
    assert wide.baseline == pytest.approx(50 / 64_512)
    assert spread(prediction, 0).ports == ()
    assert spread(Prediction(), 5) == Prediction()


# What is said is true.


@pytest.mark.parametrize("name", ["preserved", "step 1", "step 2", "step 256", "step 7"])
def test_with_nobody_else_the_first_guess_is_right(name: str) -> None:
    assert all(case.hit(1)[0] for _, case in zip(range(25), cases(name, 0, 3), strict=False))


@pytest.mark.parametrize("rate", [35, 50])
def test_others_cost_little_more_than_theory_asks(rate: int) -> None:
    runs = 150
    some = [case for _, case in zip(range(runs), cases("step 1", rate, 4), strict=False)]
    ours = sum(case.hit(10)[0] for case in some) / runs
    usual = sum(case.constant_step_hit(10) for case in some) / runs

    assert ours > optimum("step 1", rate, 10) - 0.12
    assert ours > usual + 0.04


def test_what_is_said_with_80_percent_is_right_in_80_percent() -> None:
    bins: dict[int, list[tuple[float, bool]]] = {}
    for name in ("preserved", "step 1", "step 7", "step 256", "block 64, random inside"):
        for rate in RATES:
            for _, case in zip(range(40), cases(name, rate, 2), strict=False):
                for k in (1, 3, 10):
                    hit, chance = case.hit(k)
                    bins.setdefault(min(4, int(chance * 5)), []).append((chance, hit))
    for entries in bins.values():
        said = sum(chance for chance, _ in entries) / len(entries)
        right = sum(hit for _, hit in entries) / len(entries)
        assert len(entries) > 50
        assert right == pytest.approx(said, abs=0.1)


def test_no_allocator_is_said_to_be_better_than_it_is() -> None:
    for name in ALLOCATORS:
        some = [case.hit(10) for _, case in zip(range(10), cases(name, 35, 8), strict=False)]
        said = sum(chance for _, chance in some) / len(some)
        assert said < optimum(name, 35, 10) + 0.05


ports = st.integers(0, 65_535)
flows = st.lists(
    st.tuples(
        st.floats(0, 100), ports, st.sampled_from(["192.0.2.1", "192.0.2.2", "::1"]), ports, ports
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(flows, st.integers(0, 30), st.floats(-10, 1000), st.tuples(ports, ports), st.booleans())
def test_whatever_was_seen_a_prediction_is_one(
    seen_flows: list[tuple[float, int, str, int, int]],
    k: int,
    delay_s: float,
    ends: tuple[int, int],
    near: bool,
) -> None:
    low, high = min(ends), max(ends)
    predictor = PortPredictor(
        port_range_min=low, port_range_max=high, min_samples=0, max_predictions=20
    )
    now = 0.0
    for gap_s, local_port, host, port, mapped in seen_flows:
        now += gap_s
        got = low + mapped % 8 if near else mapped
        predictor.observe(now, local_port, (host, port), got)
    prediction = predictor.predict(now, now + delay_s, 40_000, PEER, k)

    assert len(prediction.ports) == len(set(prediction.ports)) <= min(k, 20)
    assert all(low <= port <= high for port in prediction.ports)
    chances = [chance for _, chance in prediction.candidates]
    assert all(0 <= chance <= 1 + 1e-9 for chance in (*chances, prediction.chance))
    assert sum(chances) <= 1 + 1e-6
    assert chances == sorted(chances, reverse=True)
    assert 0 <= prediction.baseline <= 1


def test_known_mappings_are_bounded() -> None:
    predictor = PortPredictor()
    for number in range(MAX_MAPPINGS + 300):
        predictor.observe(number * 1.0, number, (SERVER, 1), number)
    assert len(predictor._known) <= 3 * MAX_MAPPINGS


def test_one_observation_and_one_prediction_take_well_under_five_milliseconds() -> None:
    predictor = seen([5000, 5001, 5002])
    began = time.process_time()
    for number in range(50):
        predictor.observe(1.0 + number, 40_000, ("192.0.2.77", number), 5003 + 2 * number)
        predictor.predict(1.0 + number, 1.1 + number, 40_000, PEER)
    # On a busy machine a mean is no promise, but an order of magnitude would show.
    assert (time.process_time() - began) / 50 < 0.02
