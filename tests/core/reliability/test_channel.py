"""One session with a peer: which messages are new, by number or by id."""

import pytest

from p2ptui.config import Config
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.reliability.duplicates import RELIABLE_IDS, UNRELIABLE_IDS, ReceivedSequences
from p2ptui.core.reliability.fragments import ReassemblyBudget
from p2ptui.core.reliability.rtt import RttEstimator
from p2ptui.wire.frames import Fragment
from p2ptui.wire.message import Envelope


def channel(rtt: RttEstimator | None = None, earlier: ReceivedSequences | None = None) -> Channel:
    return Channel(Config(), 1, ReassemblyBudget(10**6), rtt, () if earlier is None else (earlier,))


def numbered_channel(start: int = 1000, earlier: ReceivedSequences | None = None) -> Channel:
    made = channel(earlier=earlier)
    made.sequences.start(start)
    return made


def message(message_id: str, number: int | None = None, *, reliable: bool = True) -> Envelope:
    return Envelope(message_id, "Data", 0, sequence_number=number, requires_ack=reliable)


def is_new(session: Channel, *args: object, numbered: bool = True, **kwargs: bool) -> bool:
    return session.is_new(message(*args, **kwargs), numbered=numbered, now=0.0)


def test_a_peer_that_numbers_without_holes_is_known_by_its_numbers() -> None:
    session = numbered_channel()
    assert is_new(session, "a", 1001)
    assert not is_new(session, "other", 1001)
    assert is_new(session, "a", 1002)


def test_any_other_peer_is_known_by_its_ids_whatever_its_numbers() -> None:
    session = channel()
    assert is_new(session, "a", 1, numbered=False)
    assert is_new(session, "b", 1, numbered=False)
    assert not is_new(session, "a", 2, numbered=False)


def test_messages_that_need_no_ack_are_known_by_their_ids_and_crowd_out_no_others() -> None:
    session = channel()
    assert is_new(session, "reliable", numbered=False)
    for number in range(2 * UNRELIABLE_IDS):
        assert is_new(session, f"id-{number}", reliable=False)
    assert not is_new(session, f"id-{UNRELIABLE_IDS + 1}", reliable=False)
    assert not is_new(session, "reliable", numbered=False)


def test_the_memory_of_ids_is_bounded() -> None:
    session = channel()
    for number in range(RELIABLE_IDS + 1):
        assert is_new(session, f"id-{number}", numbered=False)
    assert is_new(session, "id-0", numbered=False)


def test_a_late_message_of_an_earlier_session_does_no_harm_to_this_one() -> None:
    session = numbered_channel(1000)
    assert is_new(session, "late", 1000 + 2**30)
    assert not is_new(session, "late", 1000 + 2**30)
    assert [is_new(session, f"id-{number}", number) for number in (1001, 1003, 1002)] == [True] * 3


def test_what_the_session_before_this_one_delivered_is_not_delivered_again() -> None:
    before = numbered_channel(2**30)
    is_new(before, "a", 2**30 + 1)
    session = numbered_channel(1000, before.sequences)
    assert not is_new(session, "a", 2**30 + 1)
    assert is_new(session, "late", 2**30 + 2)
    assert not is_new(session, "late", 2**30 + 2)
    assert is_new(session, "b", 1001)


def test_a_peer_that_did_not_tell_its_first_number_may_send_its_first_messages_in_any_order() -> (
    None
):
    session = channel()
    assert is_new(session, "second", 2)
    assert is_new(session, "first", 1)
    assert not is_new(session, "first", 1)


def test_the_round_trip_may_be_known_from_an_earlier_session() -> None:
    rtt = RttEstimator(0.5, 0.05, 8.0)
    assert channel(rtt).rtt is rtt
    assert channel().rtt.rto() == 0.5


def test_the_next_timeout_is_that_of_the_half_that_is_due_first() -> None:
    session = numbered_channel()
    assert session.next_timeout(0.0) is None
    session.reassembly.receive(Fragment(7, 1000, 500, 0, bytes(500)), 0.0)
    assert session.next_receive_timeout() == pytest.approx(0.01)
    is_new(session, "a", 1003)
    assert session.next_receive_timeout() == pytest.approx(0.01)
    session.reassembly.clear()
    assert session.next_timeout(0.0) == session.next_receive_timeout() == pytest.approx(0.02)
