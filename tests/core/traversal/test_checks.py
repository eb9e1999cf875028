"""Checks on the wire: STUN that both sides authenticate."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.config import Config
from p2ptui.core.events import DatagramDue
from p2ptui.core.identity import own_capabilities, own_node_info
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.checks import build_answer, build_check, read_check, send_from
from p2ptui.wire.offer import TraversalOffer
from p2ptui.wire.stun import MessageClass, StunMessage, encode

OWN = TraversalOffer("ownnname", "own-password-of-20-chars")
OTHER = TraversalOffer("thirname", "other-password-20-chars")
ID = b"0123456789ab"
SOURCE = ("198.51.100.1", 5000)


def test_a_check_names_both_and_is_made_with_the_password_of_its_receiver() -> None:
    data = build_check(ID, OWN, OTHER, nominate=False)
    check = read_check(data)

    assert check is not None
    assert check.ufrag == OTHER.ufrag
    assert check.message.username == f"{OTHER.ufrag}:{OWN.ufrag}"
    assert check.message.message_class is MessageClass.REQUEST
    assert check.message.transaction_id == ID
    assert not check.nominates
    assert check.is_authentic(OTHER.password)
    assert not check.is_authentic(OWN.password)
    assert len(data) < 128


def test_a_check_says_that_its_pair_was_chosen() -> None:
    check = read_check(build_check(ID, OWN, OTHER, nominate=True))

    assert check is not None
    assert check.nominates
    assert check.is_authentic(OTHER.password)


@pytest.mark.parametrize("source", [SOURCE, ("2001:db8::5", 5000)])
def test_an_answer_says_where_the_check_came_from(source: tuple[str, int]) -> None:
    data = build_check(ID, OWN, OTHER, nominate=False)
    check = read_check(data)
    assert check is not None

    answer = read_check(build_answer(check, source, OTHER))

    assert answer is not None
    assert answer.message.message_class is MessageClass.SUCCESS
    assert answer.message.transaction_id == ID
    assert answer.message.xor_mapped == source
    assert answer.is_authentic(OTHER.password)
    assert not answer.is_authentic(OWN.password)
    assert len(answer.data) <= len(data)


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_check_that_was_changed_anywhere_is_not_authentic(place: int, bit: int) -> None:
    data = bytearray(build_check(ID, OWN, OTHER, nominate=True))
    data[place % len(data)] ^= 1 << bit
    check = read_check(bytes(data))

    # The fingerprint behind it is not covered.
    assert (
        check is None
        or place % len(data) >= len(data) - 8
        or not check.is_authentic(OTHER.password)
    )


@given(st.binary(max_size=200))
def test_junk_is_no_check(data: bytes) -> None:
    check = read_check(data)
    assert check is None or not check.is_authentic(OTHER.password)


def test_a_request_without_a_name_is_for_the_stun_server() -> None:
    request = encode(StunMessage(message_class=MessageClass.REQUEST, transaction_id=ID))
    assert read_check(request) is None


@pytest.mark.parametrize(
    ("socket", "ttl", "is_event"), [(0, None, False), (0, 2, True), (3, None, True), (3, 2, True)]
)
def test_a_datagram_leaves_by_its_socket(socket: int, ttl: int | None, is_event: bool) -> None:
    config = Config()
    identity = own_node_info(
        "00000001-0000-4000-8000-000000000000",
        "node",
        "0",
        "192.0.2.1:1",
        "n",
        own_capabilities(config),
    )
    state = NodeState(config, identity, random.Random(0), 0.0)

    send_from(state, socket, b"data", SOURCE, ttl)

    expected = DatagramDue(socket, b"data", SOURCE, ttl) if is_event else None
    assert state.next_event() == expected
    assert state.take_datagrams() == ([] if is_event else [(b"data", SOURCE)])
    assert state.counters.datagrams_out == 1
    assert state.counters.bytes_out == 4
