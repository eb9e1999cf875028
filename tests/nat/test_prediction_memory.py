"""What is remembered of networks: it helps, it gives way, it expires, and it survives damage."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptui.nat.port_memory import (
    EXPIRY_S,
    MAX_ENTRIES,
    MAX_KEY_LENGTH,
    MAX_NETWORKS,
    TRUST,
    Learnt,
    PortMemory,
)
from p2ptui.nat.prediction import PortPredictor, Prediction

PEER = ("203.0.113.9", 7000)
NOW = 1_700_000_000.0


def visit(predictor: PortPredictor, ports: list[int]) -> PortPredictor:
    for number, port in enumerate(ports):
        predictor.observe(number * 0.01, 40_000, (f"192.0.2.{number}", 3478), port)
    return predictor


def after(predictor: PortPredictor, k: int = 1) -> Prediction:
    return predictor.predict(0.2, 0.21, 40_000, PEER, k)


def memory_of(ports: list[int]) -> PortMemory:
    memory = PortMemory()
    memory.remember("home", visit(PortPredictor(), ports).learnt(NOW))
    return memory


SEVENS = [5000 + 7 * n for n in range(10)]


def test_on_the_second_visit_one_observation_is_enough() -> None:
    stored = json.loads(json.dumps(memory_of(SEVENS).to_dict()))
    recalled = PortMemory.from_dict(stored, NOW + 60).recall("home", NOW + 60)
    prediction = after(visit(PortPredictor(remembered=recalled), [23_000]))

    assert prediction.ports == (23_007,)
    assert prediction.believed
    assert after(visit(PortPredictor(), [23_000])) == Prediction()


def test_what_is_seen_overrules_what_is_remembered() -> None:
    predictor = PortPredictor(remembered=memory_of(SEVENS).recall("home", NOW))
    visit(predictor, [23_000 + n for n in range(5)])
    assert after(predictor).ports == (23_005,)

    rng = random.Random(1)
    predictor = PortPredictor(remembered=memory_of(SEVENS).recall("home", NOW))
    visit(predictor, [rng.randrange(1024, 65_536) for _ in range(8)])
    assert not after(predictor, 10).believed


def test_the_rate_of_others_is_remembered_for_an_hour_or_so() -> None:
    rng = random.Random(2)
    ports = [5000]
    for _ in range(60):
        ports.append(ports[-1] + 1 + sum(rng.random() < 0.1 for _ in range(5)))
    memory = memory_of(ports)

    def ahead(later_s: float) -> float:
        predictor = PortPredictor(remembered=memory.recall("home", NOW + later_s))
        visit(predictor, [30_000])
        ranked = predictor.predict(0.0, 0.5, 40_000, PEER, 1).candidates
        return sum((port - 30_000) * chance for port, chance in ranked if 0 < port - 30_000 < 90)

    assert ahead(60) == pytest.approx(26, rel=0.35)
    assert abs(ahead(60) - 26) < abs(ahead(20 * 3600) - 26)


def test_a_socket_that_kept_its_port_will_do_so_again() -> None:
    predictor = PortPredictor(remembered=memory_of([9000] * 5).recall("home", NOW))
    prediction = after(visit(predictor, [12_345]))
    assert prediction.ports == (12_345,)
    assert prediction.chance > 0.9


def test_memory_of_too_little_saves_no_observation() -> None:
    predictor = PortPredictor(remembered=memory_of([5000]).recall("home", NOW))
    assert after(visit(predictor, [7000])) == Prediction()


def test_memories_add_up() -> None:
    again = PortPredictor(remembered=memory_of(SEVENS).recall("home", NOW))
    assert visit(again, [1, 2, 3]).learnt(NOW).samples == len(SEVENS) + 3


def test_a_memory_fades_and_ends() -> None:
    memory = memory_of(SEVENS)
    weights = [
        sum(recalled.weights.values())
        for age_s in (-50.0, 0.0, 86_400.0, EXPIRY_S)
        if (recalled := memory.recall("home", NOW + age_s))
    ]
    assert weights[0] == weights[1] == pytest.approx(TRUST, abs=0.02)
    assert weights[1] > weights[2] > weights[3]
    assert memory.recall("elsewhere", NOW) is None
    assert memory.recall("home", NOW + EXPIRY_S + 1) is None
    assert len(memory) == 0
    assert len(PortMemory.from_dict(memory_of(SEVENS).to_dict(), NOW + EXPIRY_S + 1)) == 0


def test_the_network_not_seen_for_longest_makes_room() -> None:
    memory = PortMemory()
    for number in range(MAX_NETWORKS + 3):
        memory.remember(str(number), Learnt(at=NOW + number, samples=1))
    assert len(memory) == MAX_NETWORKS
    assert memory.recall("2", NOW) is None
    assert memory.recall("3", NOW) is not None


def test_long_names_and_long_lists_are_cut() -> None:
    entry = {
        "at": NOW,
        "samples": 3,
        "weights": {f"constant-step {n}": 0.5 for n in range(1, 1000)},
    }
    memory = PortMemory.from_dict({"networks": {"n" * 1000: entry}}, NOW)
    recalled = memory.recall("n" * MAX_KEY_LENGTH, NOW)
    assert recalled is not None
    assert len(recalled.weights) == MAX_ENTRIES
    assert sum(recalled.weights.values()) <= TRUST + 1e-9
    visit(PortPredictor(remembered=recalled), SEVENS)


def test_what_makes_no_sense_is_left_out() -> None:
    good = {"at": NOW + 5e9, "samples": 4, "weights": {"random": 0.5}, "traffic": 7, "trust": None}
    stored = {
        "networks": {
            "good": good,
            "no time": {**good, "at": "noon"},
            "no number": {**good, "samples": float("nan")},
            "truth": {**good, "at": True},
            "nothing": None,
            7: good,
        }
    }
    memory = PortMemory.from_dict(stored, NOW)
    recalled = memory.recall("good", NOW)
    assert len(memory) == 1
    assert recalled is not None
    assert recalled.at == NOW
    trust = {"networks": {"x": {**good, "trust": {"socket": [9, 3], "host": [1], "flow": "ab"}}}}
    recalled = PortMemory.from_dict(trust, NOW).recall("x", NOW)
    assert recalled is not None
    assert recalled.trust == {"socket": (3.0, 3.0)}


scalars = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5)
names = st.sampled_from(
    ["networks", "home", "at", "samples", "weights", "traffic", "trust", "random", "block",
     "constant-step 1", "constant-step -99999", "step-with-gaps 3", "socket", "host old"]
)  # fmt: skip
anything = st.recursive(
    scalars | st.tuples(st.floats(), st.floats()).map(list),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=3), inner),
    max_leaves=25,
)
entries = st.fixed_dictionaries(
    {"at": st.floats(NOW - 1e5, NOW) | scalars, "samples": st.integers(0, 5) | scalars},
    optional={
        "weights": st.dictionaries(names, st.floats(0, 1) | scalars),
        "traffic": st.dictionaries(names, st.lists(st.floats(0, 1e9), min_size=2, max_size=2)),
        "trust": st.dictionaries(names, st.lists(st.floats(0, 1e9), min_size=2, max_size=2)),
    },
)


@settings(deadline=None, max_examples=150)
@given(anything | st.fixed_dictionaries({"networks": st.dictionaries(names, anything | entries)}))
def test_whatever_was_stored_can_be_read_and_used(stored: object) -> None:
    memory = PortMemory.from_dict(stored, NOW)
    json.dumps(memory.to_dict(), allow_nan=False)
    recalled = memory.recall("home", NOW)
    prediction = after(visit(PortPredictor(remembered=recalled), [5000, 5001, 5002]), 10)

    assert 0 <= prediction.chance <= 1
    assert len(prediction.ports) <= 10
