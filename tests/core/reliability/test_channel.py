"""One session with a peer: which messages are new, which came before, and what nobody knows."""

import pytest

from p2ptui.config import Config
from p2ptui.core.reliability.channel import WINDOWS, Channel
from p2ptui.core.reliability.duplicates import (
    RELIABLE_IDS,
    SEQUENCE_WINDOW,
    UNRELIABLE_IDS,
    Verdict,
)
from p2ptui.core.reliability.reassembly import ReassemblyBudget
from p2ptui.wire.frames import Fragment
from p2ptui.wire.message import Envelope

NEW, DUPLICATE, UNKNOWN = Verdict.NEW, Verdict.DUPLICATE, Verdict.UNKNOWN


def channel() -> Channel:
    return Channel(Config(), 1, ReassemblyBudget(10**6))


def numbered_channel(start: int = 1000) -> Channel:
    made = channel()
    made.begin(start)
    made.sender.numbering.bounded = True  # it announced that it tells of skips
    return made


def take(session: Channel, name: str, number: int | None = None, *, numbered=True) -> Verdict:
    """What is known of a message; it is taken if it is new."""
    message = Envelope(name, "Data", 0, sequence_number=number, requires_ack=True)
    verdict = session.judge(message, numbered=numbered)
    if verdict is NEW:
        session.remember(message, numbered=numbered, now=0.0)
    return verdict


def test_a_duplicate_is_known_by_its_id_and_never_by_its_number_alone() -> None:
    session = numbered_channel()
    assert take(session, "a", 1001) is NEW
    assert take(session, "a", 1001) is DUPLICATE
    # Somebody forged one of the two; which, nobody knows, and neither may pass for the other.
    assert take(session, "other", 1001) is NEW


def test_a_message_that_found_no_room_is_as_new_as_before() -> None:
    session = numbered_channel()
    message = Envelope("a", "Data", 0, sequence_number=1001, requires_ack=True)
    assert session.judge(message, numbered=True) is NEW
    assert session.judge(message, numbered=True) is NEW
    assert not session.has_gaps


@pytest.mark.parametrize("ahead", [SEQUENCE_WINDOW + 1, 60_000, 2**31 - 1, -SEQUENCE_WINDOW - 1])
def test_of_a_number_out_of_the_window_nothing_is_known_and_nothing_is_moved(ahead: int) -> None:
    session = numbered_channel(1000)
    assert take(session, "forged", (1000 + ahead) % 2**32) is UNKNOWN
    assert [take(session, f"id-{n}", 1000 + n) for n in (1, 2, SEQUENCE_WINDOW)] == [NEW] * 3


def test_forged_numbers_over_the_whole_range_make_no_duplicate_of_what_comes_later() -> None:
    session = numbered_channel(1000)
    for step in range(0, 2**32, 65_000):
        take(session, f"forged-{step}", (1000 - step) % 2**32)
    assert [take(session, f"id-{n}", 1000 + n) for n in range(1, 200)] == [NEW] * 199


def test_a_forged_number_within_the_window_takes_nothing_from_its_owner() -> None:
    session = numbered_channel(1000)
    assert take(session, "forged", 1000 + SEQUENCE_WINDOW) is NEW
    assert [take(session, f"id-{n}", 1000 + n) for n in range(1, SEQUENCE_WINDOW + 1)] == (
        [NEW] * SEQUENCE_WINDOW
    )


def test_a_peer_that_tells_of_no_skips_may_go_on_anywhere_and_is_known_by_its_ids() -> None:
    session = numbered_channel(1000)
    session.sender.numbering.bounded = False
    assert take(session, "a", 1000 + 60_000) is NEW
    assert take(session, "a", 1000 + 60_000) is DUPLICATE
    assert take(session, "b", 1000 + 60_001) is NEW


def test_any_other_peer_is_known_by_its_ids_whatever_its_numbers() -> None:
    session = channel()
    assert take(session, "a", 1, numbered=False) is NEW
    assert take(session, "b", 1, numbered=False) is NEW
    assert take(session, "a", 2, numbered=False) is DUPLICATE


def test_messages_that_need_no_ack_are_known_by_their_ids_and_crowd_out_no_others() -> None:
    session = channel()
    assert take(session, "reliable", numbered=False) is NEW
    for number in range(2 * UNRELIABLE_IDS):
        assert not session.is_repeated(Envelope(f"id-{number}", "Data", 0))
    assert session.is_repeated(Envelope(f"id-{UNRELIABLE_IDS + 1}", "Data", 0))
    assert take(session, "reliable", numbered=False) is DUPLICATE


def test_an_id_is_known_whether_its_message_asked_for_an_ack_or_not() -> None:
    session = channel()
    assert not session.is_repeated(Envelope("altered on its way", "Data", 0))
    assert take(session, "altered on its way", numbered=False) is DUPLICATE
    assert take(session, "taken", numbered=False) is NEW
    assert session.is_repeated(Envelope("taken", "Data", 0))


def test_what_lost_its_wish_for_an_ack_is_known_when_many_others_need_none() -> None:
    session = numbered_channel(1000)
    assert not session.is_repeated(Envelope("altered on its way", "Data", 0, sequence_number=1001))
    for number in range(2 * UNRELIABLE_IDS):
        session.is_repeated(Envelope(f"id-{number}", "Retransmit", 0))
    assert take(session, "altered on its way", 1001) is DUPLICATE


def test_the_memory_of_ids_is_bounded_and_reaches_as_far_as_the_window_of_numbers() -> None:
    session = numbered_channel(0)
    for number in range(1, RELIABLE_IDS + 2):
        assert take(session, f"id-{number}", number) is NEW
    assert take(session, "id-1", 1) is UNKNOWN
    oldest = RELIABLE_IDS + 1 - SEQUENCE_WINDOW
    assert take(session, f"id-{oldest}", oldest) is DUPLICATE


def test_a_late_message_of_an_earlier_session_does_no_harm_to_this_one() -> None:
    session = numbered_channel(1000)
    assert take(session, "late", 1000 + 2**30) is UNKNOWN
    assert [take(session, f"id-{number}", number) for number in (1001, 1003, 1002)] == [NEW] * 3


def test_what_the_session_before_this_one_took_is_still_known() -> None:
    session = numbered_channel(2**30)
    take(session, "a", 2**30 + 1)
    session.begin(1000)
    assert take(session, "a", 2**30 + 1) is DUPLICATE
    assert take(session, "late", 2**30 + 2) is NEW
    assert take(session, "late", 2**30 + 2) is DUPLICATE
    assert take(session, "b", 1001) is NEW


def test_a_session_that_somebody_else_began_does_not_make_the_owners_numbers_unknown() -> None:
    session = numbered_channel(1000)
    assert take(session, "a", 1001) is NEW
    for number in range(10 * WINDOWS):
        session.begin((number + 7) * 10**6)
    assert take(session, "b", 1002) is NEW


def test_of_the_sessions_that_were_used_the_latest_are_known() -> None:
    session = numbered_channel(0)
    for number in range(1, WINDOWS + 1):
        session.begin(number * 10**6)
        assert take(session, f"id-{number}", number * 10**6 + 1) is NEW
    assert take(session, "late", 2) is UNKNOWN
    assert take(session, "later", 10**6 + 2) is NEW


def test_a_channel_that_follows_another_knows_its_ids_and_its_round_trip() -> None:
    before, after = numbered_channel(1000), channel()
    take(before, "a", 1001)
    before.rtt.observe(0.2)
    after.follow(before)
    assert take(after, "a", 5) is DUPLICATE
    assert after.rtt.srtt == 0.2


def test_a_peer_that_did_not_tell_its_first_number_may_send_its_first_messages_in_any_order() -> (
    None
):
    session = channel()
    assert take(session, "second", 2) is NEW
    assert take(session, "first", 1) is NEW
    assert take(session, "first", 1) is DUPLICATE


def test_the_next_timeout_is_that_of_the_half_that_is_due_first() -> None:
    session = numbered_channel()
    assert session.next_timeout(0.0) is None
    session.reassembly.receive(Fragment(7, 1000, 500, 0, bytes(500)), 0.0)
    assert session.next_receive_timeout() == pytest.approx(0.01)
    take(session, "a", 1003)
    assert session.next_receive_timeout() == pytest.approx(0.01)
    session.reassembly.clear()
    assert session.next_timeout(0.0) == session.next_receive_timeout() == pytest.approx(0.02)


def test_what_has_no_number_though_its_peer_numbers_pushes_no_id_out() -> None:
    session = numbered_channel(1000)
    take(session, "a", 1001)
    for number in range(RELIABLE_IDS + 1):
        odd = Envelope(f"odd-{number}", "Data", 0, requires_ack=True)
        assert session.judge(odd, numbered=True) is NEW
        session.remember(odd, numbered=True, now=0.0, is_odd=True)
        assert session.judge(odd, numbered=True) is DUPLICATE

    assert take(session, "a", 1001) is DUPLICATE


@pytest.mark.parametrize("works", [False, True])
def test_what_is_agreed_at_a_handshake_needs_no_sender(works: bool) -> None:
    session = channel()
    if works:
        assert session.sender.path.grows is False
    session.agree(bounded=True, grows=True)
    session.seal(21)
    session.begin_at(77)
    assert session.rests is not works
    assert session.numbering.next == 78
    assert session.take_retransmissions() == 0
    assert session.rests is not works
    sender = session.sender
    assert sender.numbering is session.numbering
    assert (sender.numbering.next, sender.numbering.acknowledged) == (78, 77)
    assert (sender.numbering.bounded, sender.path.grows) == (True, True)
    assert sender.path.sealed_bytes == 21
    assert session.within(1200) == sender.path.within(1200)
    session.rest(0.0)
    assert session.rests
    session.agree(bounded=False, grows=False)
    session.seal(0)
    assert (session.sender.numbering.bounded, session.sender.path.grows) == (False, False)
    assert session.sender.path.sealed_bytes == 0


def test_what_a_resting_path_has_learnt_is_of_another_length_once_it_is_sealed() -> None:
    session = channel()
    session.sender.path.limit_bytes = 1000  # so that the path itself is kept
    session.sender.path.passed_bytes = 900
    session.rest(0.0)
    session.seal(21)
    assert (session.sender.path.passed_bytes, session.sender.path.limit_bytes) == (0, None)
    assert session.sender.path.sealed_bytes == 21
