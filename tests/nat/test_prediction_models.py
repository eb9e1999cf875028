"""The models behind a prediction: each is a probability distribution, whatever it has seen."""

import random
from collections.abc import Callable

import pytest

from p2ptui.nat.allocators import (
    BUSY,
    IDLE,
    RANDOM,
    STEP,
    Allocator,
    Block,
    PortRange,
    Preserved,
    SameParity,
    Stepped,
)
from p2ptui.nat.mixture import Mixture

RANGE = PortRange(2001, 2600)
LOCAL_PORTS = (2100, 2101, 80)

MODELS: list[Callable[[], Allocator]] = [
    lambda: Allocator(RANDOM, RANDOM, RANGE),
    lambda: SameParity(RANGE),
    lambda: Preserved(RANGE),
    lambda: Stepped(1, IDLE, RANGE),
    lambda: Stepped(-7, BUSY, RANGE),
    lambda: Stepped(1, BUSY, RANGE, parity=True),
    lambda: Block(64, RANGE, aligned=False),
    lambda: Block(64, RANGE, aligned=True),
    lambda: Block(128, RANGE, aligned=False, parity=True),
]


def test_no_port_of_the_other_parity_follows_in_even_steps() -> None:
    for step in (2, -2, 0):
        with pytest.raises(ValueError, match=f"in steps of {step}"):
            Stepped(step, IDLE, RANGE, parity=True)
    assert Stepped(3, IDLE, RANGE, parity=True).step == 3


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("local_port", LOCAL_PORTS)
def test_the_probabilities_of_all_ports_are_one(
    make: Callable[[], Allocator], local_port: int
) -> None:
    model = make()
    for number, port in enumerate((2310, 2313, 2312, 2330)):
        total = sum(
            model.likelihood(number * 0.01, local_port, other)
            for other in range(RANGE.low, RANGE.high + 1)
        )
        assert total == pytest.approx(1.0, abs=0.02)
        model.learn(number * 0.01, 2100, port)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("local_port", LOCAL_PORTS)
def test_a_forecast_says_what_the_likelihood_says(
    make: Callable[[], Allocator], local_port: int
) -> None:
    model = make()
    for number, port in enumerate((2310, 2311, 2303, 2296)):
        model.learn(number * 0.01, 2100, port)
    points = model.points(0.1, local_port, 60)
    for port in range(RANGE.low, RANGE.high + 1):
        said = points.get(port, 0.0) + model.density(local_port, port)
        assert said == pytest.approx(model.likelihood(0.1, local_port, port), abs=2e-3)


def test_learning_returns_what_was_said_before() -> None:
    model = Stepped(2, BUSY, RANGE)
    model.learn(0.0, 1, 2100)
    before = model.likelihood(0.01, 1, 2104)
    assert model.learn(0.01, 1, 2104) == before


def test_the_rate_of_others_is_counted_and_fades() -> None:
    rng = random.Random(1)
    model = Stepped(1, BUSY, PortRange(1024, 65_535))
    port = 2000
    for number in range(500):
        port += 1 + sum(rng.random() < 0.1 for _ in range(4))  # 40 a second, every 10 ms
        model.learn(number * 0.01, 1, port)
    rate, seen_s = model.traffic

    assert rate == pytest.approx(40, rel=0.2)
    assert seen_s == pytest.approx(5, rel=0.2)
    for number in range(100):
        model.learn(5.0 + number, 1, port + 1 + number)
    assert model.traffic[0] < 2


def test_a_range_holds_its_ends_and_is_a_ring() -> None:
    assert RANGE.low in RANGE
    assert RANGE.high in RANGE
    assert RANGE.low - 1 not in RANGE
    assert RANGE.wrapped(RANGE.high + 1) == RANGE.low
    assert RANGE.wrapped(RANGE.low - 1) == RANGE.high


def test_weights_stay_one_and_bounded_however_long_it_goes_on() -> None:
    rng = random.Random(2)
    mixture = Mixture(PortRange(1024, 65_535))
    for number in range(200):
        mixture.learn(number * 0.01, 40_000, rng.randrange(1024, 65_536))
    assert sum(mixture.weights.values()) == pytest.approx(1.0)
    assert len(mixture.weights) < 100


def test_a_belief_in_a_kind_or_a_model_is_taken_in() -> None:
    mixture = Mixture(PortRange(1024, 65_535))
    mixture.expect({RANDOM: 0.5, f"{STEP} 12": 0.3, f"{STEP} 0": 0.1, f"{STEP} x": 0.1})
    assert mixture.weights[RANDOM] > 0.5
    assert mixture.weights[f"{STEP} 12"] > 0.3
    assert f"{STEP} 0" not in mixture.weights
    assert sum(mixture.weights.values()) == pytest.approx(1.0)
