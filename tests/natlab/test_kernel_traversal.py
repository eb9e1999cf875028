"""Two nodes behind the kernel's NATs meet on a server: a part of tests/bench/traversal.py."""

from collections.abc import Iterator

import pytest

from tests.bench.traversal import stream
from tests.natlab.rules import Kind
from tests.natlab.traversal import Ground, meet
from tests.patience import SLOWER


@pytest.fixture(scope="module")
def ground(requires_laboratory: None) -> Iterator[Ground]:
    with Ground() as opened:
        yield opened


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Kind.OPEN, Kind.SYMMETRIC_RANDOM),
        (Kind.FULL_CONE, Kind.ADDRESS_DEPENDENT),
        (Kind.RESTRICTED, Kind.SYMMETRIC_STEP_1),
        (Kind.PORT_RESTRICTED, Kind.PORT_RESTRICTED),
    ],
)
def test_where_each_side_can_be_seen_the_path_is_direct_at_once(
    ground: Ground, one: Kind, other: Kind
) -> None:
    outcome = meet(ground.side(one), ground.side(other))

    assert (outcome["path"], outcome["there"], outcome["method"]) == ("direct", "direct", "plain")
    assert outcome["delivered"]
    assert outcome["received"] == 2


def test_the_next_port_of_a_sequential_nat_is_predicted(ground: Ground) -> None:
    outcome = meet(ground.side(Kind.PORT_RESTRICTED), ground.side(Kind.SYMMETRIC_STEP_1))

    assert (outcome["path"], outcome["method"]) == ("direct", "predicted")
    assert outcome["received"] == 2


def test_many_sockets_meet_many_guesses(ground: Ground) -> None:
    outcome = meet(ground.side(Kind.SYMMETRIC_RANDOM), ground.side(Kind.PORT_RESTRICTED))

    assert (outcome["path"], outcome["method"]) == ("direct", "birthday")
    assert outcome["received"] == 2


def test_where_neither_port_can_be_guessed_it_is_relayed_and_says_why(ground: Ground) -> None:
    outcome = meet(ground.side(Kind.SYMMETRIC_RANDOM), ground.side(Kind.ADDRESS_DEPENDENT))

    assert outcome["delivered"]
    assert outcome["received"] == 2
    assert (outcome["path"], outcome["method"]) == ("relay", "relay")
    assert "neither port can be guessed" in outcome["reason"]


def test_nodes_that_joined_over_ipv4_find_their_way_over_ipv6(ground: Ground) -> None:
    one, other = (ground.side(Kind.SYMMETRIC_RANDOM, ipv6=True) for _ in range(2))

    outcome = meet(one, other)

    assert (outcome["path"], outcome["method"]) == ("direct", "plain")
    assert outcome["received"] == 2


def test_on_one_lan_they_meet_inside_it(ground: Ground) -> None:
    nat = ground.laboratory.nat(Kind.SYMMETRIC_RANDOM)

    outcome = meet(ground.at(nat.host()), ground.at(nat.host()))

    assert (outcome["path"], outcome["method"]) == ("direct", "plain")


def test_two_nats_in_a_row_are_no_obstacle(ground: Ground) -> None:
    inner = ground.side(Kind.FULL_CONE, Kind.PORT_RESTRICTED)

    outcome = meet(inner, ground.side(Kind.PORT_RESTRICTED))

    assert (outcome["path"], outcome["method"]) == ("direct", "plain")


def test_a_nat_that_moves_a_mapping_hears_nothing_too_early(ground: Ground) -> None:
    outcome = meet(ground.side(Kind.FRAGILE), ground.side(Kind.FRAGILE))

    assert outcome["path"] == "direct"


def test_a_path_that_dies_is_replaced_by_the_relay_and_comes_back(ground: Ground) -> None:
    a, b = ground.side(Kind.PORT_RESTRICTED), ground.side(Kind.PORT_RESTRICTED)

    seen = stream(ground, a, b, count=1500, per_second=150.0)

    assert seen["delivered"] == seen["received"] == seen["distinct"] == 1500
    assert seen["fell_back_s"] <= 3.0 * SLOWER
    assert seen["returned_s"] <= 10.0 * SLOWER
