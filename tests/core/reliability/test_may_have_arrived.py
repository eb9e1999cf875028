"""Of what is not confirmed: whether it may have arrived all the same."""

import pytest

from p2ptui.core.events import SendResult, SendStatus
from p2ptui.core.reliability.fragments import OutgoingTransfer
from p2ptui.wire.frames import FRAGMENT_OVERHEAD, TransferStatus
from tests.core.reliability.test_sender import Sender
from tests.core.session import message

LARGE = 200_000


def test_a_message_that_never_left_has_not_arrived() -> None:
    sender = Sender()
    sender.put(token=1)
    ended = sender.cancel(1, 0.0, "no time")
    assert ended is not None
    assert not ended.result.may_have_arrived


@pytest.mark.parametrize("end", ["drain", "cancel", "fail_all"])
def test_a_message_that_left_may_have_arrived(end: str) -> None:
    sender = Sender()
    sender.put(token=1)
    sender.sent()
    if end == "drain":
        sender.drain()
        [ended] = sender.ended
    elif end == "cancel":
        found = sender.cancel(1, 1.0, "no time")
        assert found is not None
        ended = found
    else:
        [ended] = sender.fail_all("it left", 1.0)
    assert ended.result.may_have_arrived
    words = ended.result.failure_words("bob")
    assert words.startswith("not known whether it arrived at bob: ")
    assert words.endswith("; sent again it may arrive twice")


def test_of_fragments_all_must_have_left() -> None:
    sender = Sender()
    sender.put(LARGE, token=1)
    assert 0 < len(sender.fragments()) < LARGE // 1200
    [ended] = sender.fail_all("it left", 1.0)
    assert not ended.result.may_have_arrived
    assert ended.result.failure_words("bob") == "not delivered to bob: it left"


def test_fragments_that_are_repeated_are_not_all_of_them() -> None:
    sender = Sender()
    sender.put(LARGE, token=1)
    sender.drain()
    [ended] = sender.ended
    assert ended.result.attempts > 1
    assert not ended.result.may_have_arrived


@pytest.mark.parametrize(
    ("first", "second", "has_left"),
    [(3, 0, False), (3, 4, False), (0, 20, True), (8, 0, True), (7, 20, True), (7, 16, False)],
)
def test_of_a_message_that_is_cut_anew_all_bytes_must_have_left(
    first: int, second: int, has_left: bool
) -> None:
    transfer = OutgoingTransfer(1, bytes(8_000), 1_000 + FRAGMENT_OVERHEAD)
    for _ in range(first):
        transfer.take(0.0)
    transfer = transfer.recut(400 + FRAGMENT_OVERHEAD, named=True, deaf_until=0.0)
    for _ in range(second):
        transfer.take(1.0)
    assert transfer.has_left is has_left
    assert transfer.afresh().has_left is has_left


def test_what_left_as_another_one_may_have_arrived_as_that() -> None:
    transfer = OutgoingTransfer(1, bytes(900), 1_000)
    sent = message(900)
    sent.attempts = 1  # in one datagram
    sent.recut(transfer)
    assert sent.has_left
    sent.recut(OutgoingTransfer(2, bytes(900), 500))
    assert sent.has_left
    fresh = message(900)
    fresh.recut(transfer)
    assert not fresh.has_left


def test_a_question_for_room_carries_some_of_it() -> None:
    transfer = OutgoingTransfer(1, bytes(1_500), 1_000 + FRAGMENT_OVERHEAD)
    transfer.take(0.0)
    assert not transfer.has_left
    transfer.probe()
    assert transfer.has_left


def test_what_was_confirmed_or_refused_is_known() -> None:
    sender = Sender()
    small = sender.put()
    sender.sent()
    done = sender.handle_ack(small.sequence, 0.1)
    assert done is not None
    assert not done.result.may_have_arrived
    large = sender.put(2000)
    sender.sent(0.2)
    done = sender.states(large.sequence, TransferStatus.TOO_LARGE, 0.3)
    assert done is not None
    assert done.result.status is SendStatus.FAILED
    assert not done.result.may_have_arrived


def test_one_try_is_not_told_as_several() -> None:
    sender = Sender(max_tries=1)
    sender.put()
    sender.drain()
    assert sender.ended[0].result.reason == "no acknowledgement after 1 try"


def test_a_result_without_a_word_is_known() -> None:
    assert not SendResult(SendStatus.FAILED, 1, None, 3, "no").may_have_arrived
