"""The simulated NATs behave as they are named: mapping, filtering, ports, hairpin, lifetime."""

import itertools
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.nat.allocation import AllocationKind
from p2ptui.nat.behavior import Dependence
from p2ptui.wire.address import Address
from tests.simulated_nat import BLOCK, HASHED, KINDS, Behaviour, Nat, Nats

OUTSIDE = "198.51.100.1"
INSIDE, NEIGHBOUR = ("192.168.77.2", 5000), ("192.168.77.3", 5000)
ONE, ONE_OTHER_PORT, TWO = ("203.0.113.1", 80), ("203.0.113.1", 81), ("203.0.113.2", 80)
NONE, INDEPENDENT = Dependence.NONE, Dependence.ENDPOINT_INDEPENDENT
ADDRESS, ADDRESS_AND_PORT = Dependence.ADDRESS, Dependence.ADDRESS_AND_PORT


def nats(behaviour: Behaviour, seed: int = 0) -> Nats:
    return Nats(Nat(OUTSIDE, {INSIDE[0], NEIGHBOUR[0]}, behaviour, seed))


def sent(through: Nats, source: Address, to: Address, now: float = 0.0) -> Address | None:
    """Where the receiver sees it come from."""
    passed = through.translate(b"", source, to, now)
    return None if passed is None else passed[0]


def reaches(through: Nats, source: Address, to: Address | None, now: float = 0.0) -> Address | None:
    """Whom it reaches."""
    assert to is not None
    passed = through.translate(b"", source, to, now)
    return None if passed is None else passed[1]


@pytest.mark.parametrize(
    ("mapping", "by_port", "by_host"),
    [(INDEPENDENT, False, False), (ADDRESS, False, True), (ADDRESS_AND_PORT, True, True)],
)
def test_mapping(mapping: Dependence, by_port: bool, by_host: bool) -> None:
    through = nats(Behaviour(mapping=mapping, allocation=AllocationKind.RANDOM))
    first = sent(through, INSIDE, ONE)
    assert first == sent(through, INSIDE, ONE)
    assert (sent(through, INSIDE, ONE_OTHER_PORT) != first) is by_port
    assert (sent(through, INSIDE, TWO) != first) is by_host


@pytest.mark.parametrize(
    ("filtering", "other_port", "other_host"),
    [(INDEPENDENT, True, True), (ADDRESS, True, False), (ADDRESS_AND_PORT, False, False)],
)
@pytest.mark.parametrize("mapping", [INDEPENDENT, NONE])
def test_filtering(
    mapping: Dependence, filtering: Dependence, other_port: bool, other_host: bool
) -> None:
    through = nats(Behaviour(mapping=mapping, filtering=filtering))
    outside = sent(through, INSIDE, ONE)
    assert outside == ((OUTSIDE if mapping is INDEPENDENT else INSIDE[0]), INSIDE[1])
    assert reaches(through, ONE, outside) == INSIDE
    assert reaches(through, ONE_OTHER_PORT, outside) == (INSIDE if other_port else None)
    assert reaches(through, TWO, outside) == (INSIDE if other_host else None)


def test_nobody_comes_in_unasked_but_where_there_is_no_filter_at_all() -> None:
    for kind in KINDS:
        assert reaches(nats(KINDS[kind]), ONE, (OUTSIDE, 5000)) in (None, (OUTSIDE, 5000))
        passes = reaches(nats(KINDS[kind]), ONE, INSIDE) is not None
        assert passes is (kind == "open")


def test_blocked() -> None:
    assert sent(nats(KINDS["blocked"]), INSIDE, ONE) is None
    assert sent(nats(KINDS["blocked"]), INSIDE, NEIGHBOUR) == INSIDE


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_reach_each_other_without_it(kind: str) -> None:
    assert nats(KINDS[kind]).translate(b"", INSIDE, NEIGHBOUR, 0.0) == (INSIDE, NEIGHBOUR)


def test_hairpin() -> None:
    with_it, without = nats(KINDS["hairpin"]), nats(KINDS["full-cone"])
    for through in (with_it, without):
        assert sent(through, NEIGHBOUR, ONE) == (OUTSIDE, 5000)
    inside_out = with_it.translate(b"", INSIDE, (OUTSIDE, 5000), 0.0)
    assert inside_out is not None
    (host, port), receiver = inside_out
    assert (host, receiver) == (OUTSIDE, NEIGHBOUR)
    assert port != 5000  # the neighbour has that one
    assert without.translate(b"", INSIDE, (OUTSIDE, 5000), 0.0) is None


def flows(behaviour: Behaviour, count: int = 20, seed: int = 0) -> list[int]:
    through = nats(behaviour, seed)
    ports = []
    for number in range(count):
        outside = sent(through, (INSIDE[0], 5000 + number), ONE)
        assert outside is not None
        ports.append(outside[1])
    return ports


def test_allocation() -> None:
    assert flows(Behaviour()) == [*range(5000, 5020)]
    for step in (1, 2, 256):
        ports = flows(Behaviour(allocation=AllocationKind.SEQUENTIAL, step=step))
        assert {after - before for before, after in pairwise(ports)} == {step}
    for kind, expected in ((AllocationKind.BLOCK, BLOCK), (AllocationKind.HASHED, HASHED)):
        assert set(flows(Behaviour(mapping=ADDRESS, allocation=kind))) <= set(expected)
    ports = flows(Behaviour(allocation=AllocationKind.RANDOM))
    assert max(ports) - min(ports) > 10_000


def test_a_hashed_port_is_the_same_again() -> None:
    behaviour = Behaviour(mapping=ADDRESS, allocation=AllocationKind.HASHED, lifetime_s=10)
    through = nats(behaviour)
    assert sent(through, INSIDE, ONE) == sent(through, INSIDE, ONE, 100.0)


@given(st.sampled_from(list(KINDS)), st.integers(0, 1000))
def test_the_same_seed_gives_the_same_ports(kind: str, seed: int) -> None:
    if not KINDS[kind].blocks:
        assert flows(KINDS[kind], seed=seed) == flows(KINDS[kind], seed=seed)


@given(
    st.sampled_from([INDEPENDENT, ADDRESS, ADDRESS_AND_PORT]),
    st.sampled_from([kind for kind in AllocationKind if kind is not AllocationKind.UNKNOWN]),
    st.lists(
        st.tuples(st.sampled_from([INSIDE, NEIGHBOUR]), st.sampled_from([ONE, ONE_OTHER_PORT, TWO]))
    ),
)
def test_what_goes_out_can_be_answered_and_no_two_share_an_outside(
    mapping: Dependence, allocation: AllocationKind, sends: list[tuple[Address, Address]]
) -> None:
    through = nats(Behaviour(mapping=mapping, allocation=allocation))
    owners: dict[Address, Address] = {}
    for (source, to), now in zip(sends, itertools.count(), strict=False):
        outside = sent(through, source, to, float(now))
        assert reaches(through, to, outside, float(now)) == source
        assert outside is not None
        assert owners.setdefault(outside, source) == source


def test_a_mapping_lives_as_long_as_its_last_datagram_in_either_direction() -> None:
    through = nats(Behaviour(lifetime_s=30))
    outside = sent(through, INSIDE, ONE, 0.0)
    assert reaches(through, ONE, outside, 29.0) == INSIDE
    assert reaches(through, TWO, outside, 50.0) is None  # what is stopped keeps nothing alive
    assert reaches(through, ONE, outside, 58.0) == INSIDE
    assert reaches(through, ONE, outside, 88.0) is None


def test_two_in_a_row() -> None:
    through = nats(KINDS["port-restricted-cone"])
    through.add(Nat(NEIGHBOUR[0], {"10.77.0.2"}, KINDS["full-cone"]))
    host = ("10.77.0.2", 6000)
    assert sent(through, host, ONE) == (OUTSIDE, 6000)
    assert reaches(through, ONE, (OUTSIDE, 6000)) == host
    assert reaches(through, TWO, (OUTSIDE, 6000)) is None
    assert sent(through, host, INSIDE) == (NEIGHBOUR[0], 6000)  # only the inner one is between
    assert reaches(through, INSIDE, (NEIGHBOUR[0], 6000)) == host


def test_an_address_inside_means_nothing_outside() -> None:
    assert reaches(nats(KINDS["full-cone"]), ONE, INSIDE) is None
