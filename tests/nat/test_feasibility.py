"""The table of what can go direct: the measured one, row by row, and the words for people."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.nat.allocation import AllocationKind, PortAllocation
from p2ptui.nat.behavior import Dependence, NatType
from p2ptui.nat.feasibility import (
    CHECK_NAMES,
    Side,
    Technique,
    advice_for,
    meaning_of,
    not_asked_words,
    side_of,
    unanswered_words,
    way_between,
)

SEQUENTIAL = PortAllocation(AllocationKind.SEQUENTIAL, step=2)
RANDOM = PortAllocation(AllocationKind.RANDOM)

COLUMNS = (
    Side.LOOSE,
    Side.ADDRESS_FILTERED,
    Side.PORT_FILTERED,
    Side.PREDICTABLE,
    Side.UNPREDICTABLE,
)
PLAIN, PREDICTED, BIRTHDAY, RELAY = (
    Technique.PLAIN,
    Technique.PREDICTED,
    Technique.BIRTHDAY,
    Technique.RELAY,
)

MEASURED = {
    Side.LOOSE: (PLAIN, PLAIN, PLAIN, PLAIN, PLAIN),
    Side.ADDRESS_FILTERED: (PLAIN, PLAIN, PLAIN, PLAIN, PLAIN),
    Side.PORT_FILTERED: (PLAIN, PLAIN, PLAIN, PREDICTED, BIRTHDAY),
    Side.PREDICTABLE: (PLAIN, PLAIN, PREDICTED, PREDICTED, RELAY),
    Side.UNPREDICTABLE: (PLAIN, PLAIN, BIRTHDAY, RELAY, RELAY),
}
"""Between real kernel NATs; see "What can go direct" in the issue's facts."""


@pytest.mark.parametrize("row", MEASURED)
def test_the_measured_table(row):
    assert tuple(way_between(row, column) for column in COLUMNS) == MEASURED[row]


@pytest.mark.parametrize(("one", "other"), list(itertools.product(Side, repeat=2)))
def test_it_does_not_matter_who_is_who(one, other):
    assert way_between(one, other) is way_between(other, one)


@pytest.mark.parametrize("side", Side)
def test_where_udp_is_blocked_only_a_relay_helps(side):
    assert way_between(Side.BLOCKED, side) is RELAY


def test_what_is_unknown_is_not_guessed():
    assert way_between(Side.UNKNOWN, Side.LOOSE) is PLAIN
    for side in {*Side} - {Side.LOOSE, Side.BLOCKED}:
        assert way_between(Side.UNKNOWN, side) is Technique.UNKNOWN


@pytest.mark.parametrize(
    ("nat_type", "allocation", "side"),
    [
        (NatType.OPEN, RANDOM, Side.LOOSE),
        (NatType.FULL_CONE, RANDOM, Side.LOOSE),
        (NatType.RESTRICTED_CONE, RANDOM, Side.ADDRESS_FILTERED),
        (NatType.PORT_RESTRICTED_CONE, RANDOM, Side.PORT_FILTERED),
        (NatType.FIREWALL, RANDOM, Side.PORT_FILTERED),
        (NatType.SYMMETRIC, SEQUENTIAL, Side.PREDICTABLE),
        (NatType.SYMMETRIC, PortAllocation(AllocationKind.PRESERVED), Side.PREDICTABLE),
        (NatType.SYMMETRIC, RANDOM, Side.UNPREDICTABLE),
        (NatType.SYMMETRIC, PortAllocation(AllocationKind.HASHED), Side.UNPREDICTABLE),
        (NatType.SYMMETRIC, PortAllocation(), Side.UNPREDICTABLE),
        (NatType.SYMMETRIC, None, Side.UNPREDICTABLE),
        (NatType.BLOCKED, RANDOM, Side.BLOCKED),
        (NatType.UNKNOWN, RANDOM, Side.UNKNOWN),
    ],
)
def test_where_a_nat_stands_in_it(nat_type, allocation, side):
    assert side_of(nat_type, allocation) is side


def test_the_meaning_names_whom_and_how():
    assert meaning_of(NatType.SYMMETRIC, SEQUENTIAL) == (
        "The NAT uses another outside port for every destination."
        " The ports follow each other in steps of 2."
        " Direct works with: open or full cone; restricted cone."
        " Needs port prediction with: port-restricted cone or firewall;"
        " symmetric with ports in sequence."
        " Needs a relay with: symmetric with random ports."
    )
    assert meaning_of(NatType.FULL_CONE, RANDOM).endswith("Direct works with every kind of NAT.")
    assert meaning_of(NatType.BLOCKED, RANDOM).endswith("Nobody can be reached directly.")
    assert meaning_of(NatType.UNKNOWN, RANDOM) == "Too little was seen to tell the type."


def test_what_is_not_known_decides_whom_to_ask():
    def advice(mapping: Dependence, filtering: Dependence) -> str:
        return advice_for(NatType.UNKNOWN, mapping, filtering)

    known, unknown = Dependence.ENDPOINT_INDEPENDENT, Dependence.UNKNOWN
    assert "p2ptui nat --join HOST:PORT" in advice(unknown, unknown)
    assert "what is let in" in advice(known, unknown)
    assert "how the NAT maps" in advice(unknown, known)


def test_where_nothing_listens_the_advice_is_to_ask_one_that_does():
    meaning, advice = unanswered_words([], ["192.0.2.1:3478"])
    assert meaning.startswith("No STUN server is running at 192.0.2.1:3478: UDP passes")
    assert advice == unanswered_words(["192.0.2.1:8080"])[1]


def test_no_advice_asks_for_what_this_program_does_not_use():
    assert not any("UPnP" in advice_for(nat_type) for nat_type in NatType)


def test_where_nobody_could_be_asked_the_reasons_are_told_each_once():
    name = ("cannot resolve a", CHECK_NAMES)
    firewall = ("a firewall of this machine forbids it", "allow UDP to that address")
    meaning, advice = not_asked_words([firewall, firewall])
    assert meaning.endswith(" Why: a firewall of this machine forbids it.")
    assert advice == "Allow UDP to that address."
    meaning, advice = not_asked_words([name, firewall])
    assert meaning.endswith(" Why: cannot resolve a; a firewall of this machine forbids it.")
    assert advice.startswith("Check that this machine has a network and that names resolve;")
    assert advice.endswith(". Allow UDP to that address.")
    assert not_asked_words([])[0].endswith("nothing is known of the network.")


@given(
    st.sampled_from(NatType), st.builds(PortAllocation, st.sampled_from(AllocationKind), st.just(1))
)
def test_every_kind_has_a_meaning_and_an_advice(nat_type, allocation):
    meaning, advice = meaning_of(nat_type, allocation), advice_for(nat_type)
    for text in (meaning, advice):
        assert text[0].isupper()
        assert text.rstrip(")")[-1] in ".T"
    side = side_of(nat_type, allocation)
    if side not in (Side.BLOCKED, Side.UNKNOWN):
        named = [peer for peer in COLUMNS if peer.value in meaning]
        everybody = meaning.endswith("every kind of NAT.")
        assert everybody or len(named) == len(COLUMNS)
