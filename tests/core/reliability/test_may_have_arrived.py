"""Of what is not confirmed: whether it may have arrived all the same."""

import pytest

from p2ptui.core.events import SendResult, SendStatus
from p2ptui.wire.frames import TransferStatus
from tests.core.reliability.test_sender import Sender

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
