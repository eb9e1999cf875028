"""Naming an allocator from a handful of ports: the examples of the field, and what is not said."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.nat.allocation import (
    FEWEST_SAMPLES,
    AllocationKind,
    PortAllocation,
    PortSample,
    classify_allocation,
)
from p2ptui.nat.behavior import Dependence

LOCAL_PORT = 50_000
PRESERVED, SEQUENTIAL = AllocationKind.PRESERVED, AllocationKind.SEQUENTIAL
BLOCK, HASHED = AllocationKind.BLOCK, AllocationKind.HASHED
RANDOM, UNKNOWN = AllocationKind.RANDOM, AllocationKind.UNKNOWN


def flows(*mapped_ports, late=()):
    """Flows from neighbouring local ports; the first requests of the `late` ones were lost."""
    return [
        PortSample(LOCAL_PORT + number, port, number not in late)
        for number, port in enumerate(mapped_ports)
    ]


def kept(count):
    return range(LOCAL_PORT, LOCAL_PORT + count)


def verdict(samples, mapping=Dependence.ADDRESS_AND_PORT):
    found = classify_allocation(samples, mapping)
    return found.kind, found.step


@pytest.mark.parametrize(
    ("ports", "kind", "step"),
    [
        pytest.param([*kept(8)], PRESERVED, None, id="all kept"),
        pytest.param([*kept(7), 1024], PRESERVED, None, id="all kept but one that was taken"),
        pytest.param([40000, 40001, 40002, 40003], SEQUENTIAL, 1, id="one after the other"),
        pytest.param([40000, 40002, 40004, 40006], SEQUENTIAL, 2, id="every second"),
        pytest.param([*range(40000, 42048, 256)], SEQUENTIAL, 256, id="in the other byte order"),
        pytest.param([40003, 40002, 40001, 40000], SEQUENTIAL, -1, id="downwards"),
        pytest.param([40000, 40001, 40003, 40004, 40006], SEQUENTIAL, 1, id="others in between"),
        pytest.param(
            [65533, 65534, 65535, 1024, 1025, 1026], SEQUENTIAL, 1, id="from the end to the start"
        ),
        pytest.param([65534, 65535, 0, 1, 2], SEQUENTIAL, 1, id="past the end"),
        pytest.param(
            [50235, 50466, 50262, 50583, 50412, 50396, 50554, 50194], BLOCK, None, id="a block"
        ),
        pytest.param(
            [49781, 44391, 43611, 43010, 64372, 28677, 4861, 19584], RANDOM, None, id="anything"
        ),
        pytest.param([40000, 40001, 40002], UNKNOWN, None, id="too few"),
        pytest.param([], UNKNOWN, None, id="none"),
    ],
)
def test_allocators(ports, kind, step):
    assert verdict(flows(*ports)) == (kind, step)


def test_behind_an_address_dependent_mapping_what_has_no_order_is_computed():
    ports = [40012, 40301, 40077, 40500, 40122, 40209, 40003, 40444]
    assert verdict(flows(*ports), Dependence.ADDRESS) == (HASHED, None)
    assert verdict(flows(*range(40000, 40008)), Dependence.ADDRESS) == (SEQUENTIAL, 1)
    assert verdict(flows(*kept(8)), Dependence.ADDRESS) == (PRESERVED, None)


def test_what_may_have_come_later_does_not_count_for_the_order():
    ports = [40000, 40009, 40001, 40002, 40008, 40003, 40004, 40005]
    assert verdict(flows(*ports, late=(1, 4))) == (SEQUENTIAL, 1)


def test_flows_whose_first_answer_was_lost_keep_their_places():
    """Else every second one alone would make twice the step."""
    assert verdict(flows(*range(40044, 40054), late=(1, 3, 5, 7, 9))) == (SEQUENTIAL, 1)


def test_one_flow_out_of_line_does_not_break_the_line():
    """Its local port was in use a minute ago, and still has its mapping of then."""
    ports = [40098, 40099, 40100, 40101, 40102, 40103, 40046, 40104]
    assert verdict(flows(*ports)) == (SEQUENTIAL, 1)


def test_too_few_in_order_say_nothing_of_it():
    ports = [40000, 40007, 40001, 40002, 40006, 40005, 40004, 40003]
    assert verdict(flows(*ports, late=(1, 4, 5, 6, 7))) == (UNKNOWN, None)


@pytest.mark.parametrize(
    ("ports", "kept_parity"),
    [
        ([50002, 50007, 50010, 50001], True),
        ([50002, 50008, 50010, 50001], False),
        ([40001, 40002, 40003, 40004], False),
    ],
)
def test_parity(ports, kept_parity):
    assert classify_allocation(flows(*ports)).parity_preserved is kept_parity


def test_too_few_say_nothing_of_parity_either():
    assert classify_allocation(flows(50000)) == PortAllocation(
        evidence=("ports: only 1 of the flows that are needed were answered",)
    )


def test_the_evidence_shows_the_ports():
    (line,) = classify_allocation(flows(40000, 40001, 40002, 40003)).evidence
    assert line.startswith("ports: 50000 became 40000, 50001 became 40001,")


steps = st.integers(-1024, 1024).filter(bool)


@given(st.integers(20_000, 40_000), steps, st.integers(FEWEST_SAMPLES, 10))
def test_every_constant_step_is_found(first, step, count):
    ports = [first + step * number for number in range(count)]
    assert verdict(flows(*ports)) == (SEQUENTIAL, step)


@given(
    st.integers(20_000, 40_000),
    st.integers(1, 300),
    st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_a_sequence_with_lost_requests_has_its_step_or_none(first, step, late):
    """A late flow got whatever port was next then; the others keep their places."""
    ports = [first + step * (20 + n if was_late else n) for n, was_late in enumerate(late)]
    found = verdict(flows(*ports, late=[n for n, was_late in enumerate(late) if was_late]))
    if found[0] is SEQUENTIAL:
        assert found[1] is not None
        assert found[1] % step == 0


samples = st.lists(
    st.builds(PortSample, st.integers(1024, 65535), st.integers(1024, 65535), st.booleans()),
    max_size=10,
)


@given(samples, st.sampled_from(Dependence))
def test_it_never_breaks_and_never_says_much_of_little(taken, mapping):
    found = classify_allocation(taken, mapping)
    assert (found.step is None) is (found.kind is not SEQUENTIAL)
    assert (found.confidence == 0) is (found.kind is UNKNOWN)
    assert found.evidence
    if len(taken) < FEWEST_SAMPLES:
        assert found.kind is UNKNOWN
        assert found.parity_preserved is None


@pytest.mark.parametrize(
    ("allocate", "kind"),
    [
        (lambda rng: rng.sample(range(1024, 65_536), 10), RANDOM),
        (lambda rng: rng.sample(range(50_176, 50_688), 10), BLOCK),
        (lambda rng: rng.sample(range(32_768, 32_768 + 64), 10), BLOCK),
    ],
)
def test_what_is_drawn_is_not_taken_for_a_sequence(allocate, kind):
    rng = random.Random(7)
    named = [verdict(flows(*allocate(rng)))[0] for _ in range(2000)]
    assert named.count(kind) >= 1998
