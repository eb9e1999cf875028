"""What must be acknowledged: sent within the window, again in time, and its end told once."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptui.config import Config
from p2ptui.core.events import SendStatus
from p2ptui.core.reliability.duplicates import SEQUENCE_WINDOW
from p2ptui.core.reliability.fragments import MAX_TRANSFERS
from p2ptui.core.reliability.outgoing import MAX_TRANSFER_BYTES, Finished, OutgoingMessage
from p2ptui.core.reliability.rtt import RttEstimator
from p2ptui.core.reliability.sender import ReliableSender
from p2ptui.errors import QueueFullError
from p2ptui.wire.frames import Fragment, FragmentAck, TransferStatus, decode_frame
from tests.core.session import Session, message


class Sender(ReliableSender):
    """A sender with the default options, or others by name."""

    def __init__(self, first_sequence: int = 0, **options: object) -> None:
        self.options = Config().with_options(**options).reliability
        self.rtt = RttEstimator(
            self.options.initial_rto_ms / 1000,
            self.options.min_rto_ms / 1000,
            self.options.max_rto_ms / 1000,
        )
        super().__init__(self.options, self.rtt, first_sequence, 1200)

    def put(self, size: int = 100, token: int | None = None, now: float = 0.0) -> OutgoingMessage:
        made = message(size, token)
        self.submit(made)
        return made

    def sent(self, now: float = 0.0) -> list[bytes]:
        return list(self.to_send(now))

    def fragments(self, now: float = 0.0) -> list[int]:
        frames = [decode_frame(data) for data in self.to_send(now)]
        return [frame.index for frame in frames if isinstance(frame, Fragment)]

    def report(
        self, sequence: int, below: int = 0, bitmap: bytes = b"", now: float = 0.0
    ) -> Finished | None:
        ack = FragmentAck(sequence, TransferStatus.PROGRESS, below, bitmap)
        return self.handle_fragment_ack(ack, now)

    def states(self, sequence: int, status: TransferStatus, now: float = 0.0) -> Finished | None:
        return self.handle_fragment_ack(FragmentAck(sequence, status, 0), now)

    def drain(self, now: float = 0.0) -> list[tuple[float, int]]:
        """Let time pass without any answer: when how many datagrams left."""
        left: list[tuple[float, int]] = []
        self.ended: list[Finished] = []
        while (due := self.next_timeout(now)) is not None:
            now = max(now, due)
            self.ended += self.handle_timeout(now)
            if datagrams := self.sent(now):
                left.append((round(now, 3), len(datagrams)))
        return left


# Numbers and the queue.


def test_messages_are_numbered_from_the_start_on_and_wrap() -> None:
    sender = Sender(first_sequence=2**32 - 3)
    assert sender.numbering.begin() == 2**32 - 2
    made = [sender.put(), sender.put()]
    assert sender.numbering.next == 2**32 - 1  # a number is taken when a message first leaves
    sender.sent()
    assert [each.sequence for each in made] == [2**32 - 1, 0]
    assert sender.numbering.next == 1


def test_a_message_leaves_once_and_then_waits() -> None:
    sender = Sender()
    first, second = sender.put(), sender.put()
    assert sender.sent() == [first.data, second.data]
    assert sender.sent() == []
    assert sender.window.in_flight == 200
    assert len(sender) == 2


def test_more_than_the_queue_holds_is_refused_and_leaves_no_trace() -> None:
    sender = Sender(max_queued_bytes=2**21)
    sender.put(2**20)
    sender.put(2**20 - 10)
    with pytest.raises(QueueFullError, match="2097142 bytes already wait"):
        sender.put(11)
    assert (len(sender), sender.queued_bytes) == (2, 2**21 - 10)
    sender.put(10)


def test_what_has_ended_makes_room_in_the_queue() -> None:
    sender = Sender()
    made = sender.put(1000)
    sender.sent()
    sender.handle_ack(made.sequence, 0.1)
    assert sender.queued_bytes == 0
    sender.check_room(sender.options.max_queued_bytes)


def test_the_window_limits_what_is_under_way() -> None:
    sender = Sender(initial_window=4)
    made = [sender.put(1200) for _ in range(10)]
    assert len(sender.sent()) == 4
    sender.handle_ack(made[0].sequence, 0.1)
    assert len(sender.sent(10.0)) == 2  # slow start: one for what arrived, and one more


# Acknowledgement.


@pytest.mark.parametrize("by_id", [False, True])
def test_an_ack_names_a_number_or_an_id(by_id: bool) -> None:
    sender = Sender()
    made = sender.put(100, token=5)
    sender.sent(1.0)
    finished = sender.handle_ack(made.message_id if by_id else made.sequence, 1.25)
    assert finished is not None
    assert finished.message is made
    result = finished.result
    assert (result.status, result.attempts, result.size_bytes) == (SendStatus.DELIVERED, 1, 100)
    assert result.rtt_s == pytest.approx(0.25)
    assert result.delivered
    assert sender.window.in_flight == 0


def test_an_ack_of_what_was_never_sent_means_nothing() -> None:
    sender = Sender(initial_window=1)
    sender.put(1200)
    waiting = sender.put()
    sender.sent()
    for key in (waiting.sequence, waiting.message_id, 99, "id-99", ""):
        assert sender.handle_ack(key, 0.1) is None
    assert len(sender) == 2


def test_the_end_is_told_once() -> None:
    sender = Sender()
    acked, cancelled, failed = (sender.put(token=token) for token in range(3))
    sender.sent()
    assert sender.handle_ack(acked.sequence, 0.1) is not None
    assert sender.cancel(1, 0.1, "enough") is not None
    assert [ended.message for ended in sender.fail_all("over", 0.1)] == [failed]
    for made in (acked, cancelled, failed):
        assert sender.handle_ack(made.sequence, 0.2) is None
        assert sender.handle_ack(made.message_id, 0.2) is None
    for token in range(3):
        assert sender.cancel(token, 0.2, "again") is None
    assert sender.fail_all("over", 0.2) == []
    assert sender.drain() == []
    assert sender.ended == []


def test_a_message_that_was_sent_once_teaches_the_round_trip() -> None:
    sender = Sender()
    made = sender.put()
    sender.sent(1.0)
    sender.handle_ack(made.sequence, 1.2)
    assert sender.rtt.srtt == pytest.approx(0.2)


def test_one_that_was_sent_again_does_not_but_its_timeout_is_kept() -> None:
    sender = Sender()
    made = sender.put()
    sender.sent(0.0)
    sender.handle_timeout(0.5)
    sender.sent(0.5)
    finished = sender.handle_ack(made.sequence, 0.6)
    assert finished is not None
    assert (finished.result.attempts, finished.result.rtt_s) == (2, None)
    assert sender.rtt.srtt is None  # Karn: which of both was it?
    assert sender.rtt.rto() == 1.0


# Retransmission.


def test_without_an_ack_it_is_sent_again_with_doubled_patience_and_given_up_in_the_end() -> None:
    sender = Sender()
    sender.put(token=5)
    assert sender.drain() == [(0.0, 1), (0.5, 1), (1.5, 1), (3.5, 1), (7.5, 1), (15.5, 1)]
    assert [ended.message.token for ended in sender.ended] == [5]
    result = sender.ended[0].result
    assert (result.status, result.attempts) == (SendStatus.TIMED_OUT, 6)
    assert result.reason == "no acknowledgement after 6 tries"
    assert (sender.window.in_flight, sender.queued_bytes, len(sender)) == (0, 0, 0)


@pytest.mark.parametrize("tries", [1, 2, 6])
def test_it_is_sent_as_often_as_the_options_say(tries: int) -> None:
    sender = Sender(max_tries=tries)
    sender.put()
    assert len(sender.drain()) == tries
    assert sender.retransmissions == tries - 1


def test_what_is_sent_again_is_the_same_bytes_and_goes_before_what_is_new() -> None:
    sender = Sender(initial_window=1)
    old = sender.put(1200)
    new = sender.put(1200)
    assert sender.sent(0.0) == [old.data]
    assert sender.handle_timeout(0.5) == []
    assert sender.sent(0.5)[0] == old.data
    assert new.attempts == 1  # the window never shrinks below four datagrams


def test_a_timeout_halves_the_window_once() -> None:
    sender = Sender(initial_window=20)
    for _ in range(16):
        sender.put(1200)
    sender.sent()
    sender.handle_timeout(0.5)
    assert sender.window.window == 10 * 1200
    assert sender.window.in_flight == 0


def test_deadlines_that_were_put_off_do_not_pile_up() -> None:
    sender = Sender()
    large = sender.put(4 * 10**6)
    now = 0.0
    for below in range(1, 3000):
        now += 0.0001
        sender.sent(now)
        sender.report(large.sequence, below, now=now)
    assert len(sender._deadlines) < 300


def test_a_message_with_the_same_deadline_twice_is_sent_again_once() -> None:
    sender = Sender(initial_rto_ms=8000)
    sender.put()
    sender.sent(0.0)
    assert sender.resend(1, 0.0) is not None  # the patience is 8 s already, the most
    assert sender.handle_timeout(8.0) == []
    assert len(sender.sent(8.0)) == 1


# Retransmit: the peer asks.


def test_what_is_under_way_is_sent_again_at_once_when_the_peer_asks() -> None:
    sender = Sender()
    made = sender.put()
    sender.sent(0.0)
    assert sender.resend(made.sequence, 0.1) == made.data
    assert sender.window.in_flight == len(made.data)
    assert sender.next_timeout(0.1) == pytest.approx(0.1 + 1.0)
    sender.handle_ack(made.sequence, 0.2)
    assert sender.rtt.srtt is None  # Karn again


def test_what_was_acknowledged_is_still_held_for_a_while() -> None:
    sender = Sender(resend_buffer_bytes=250)
    made = [sender.put(100) for _ in range(3)]
    sender.sent()
    for one in made:
        sender.handle_ack(one.sequence, 0.1)
    assert sender.resend(made[0].sequence, 0.2) is None  # gone: the buffer holds two
    assert [sender.resend(one.sequence, 0.2) for one in made[1:]] == [one.data for one in made[1:]]
    assert sender.window.in_flight == 0


def test_what_is_not_under_way_in_one_datagram_is_not_sent_on_request() -> None:
    sender = Sender(initial_window=3)
    large, waiting = sender.put(5000), sender.put()
    sender.put(1200)
    assert waiting.sequence == -1  # nobody can ask for it
    sender.sent()
    assert sender.resend(large.sequence, 0.0) == b""
    sender.handle_timeout(0.5)
    assert sender.resend(waiting.sequence, 0.5) == b""  # it is about to be sent again anyhow
    assert sender.resend(99, 0.0) is None


def test_a_peer_that_only_asks_does_not_keep_a_message_alive_for_ever() -> None:
    sender = Sender()
    sender.put()
    sender.sent()
    for tenth in range(200):
        sender.resend(1, tenth / 10)
    sender.drain(20.0)
    assert [ended.result.status for ended in sender.ended] == [SendStatus.TIMED_OUT]


# Taking back, and the end of the session.


def test_what_is_cancelled_before_it_left_never_leaves_and_is_not_kept() -> None:
    sender = Sender(initial_window=2)
    blocker = sender.put(10_000)
    sender.sent()
    tokens = range(10)
    for token in tokens:
        sender.put(100_000 if token % 2 else 1000, token)
    for token in reversed(tokens):
        finished = sender.cancel(token, 0.1, "enough")
        assert finished is not None
        assert (finished.result.status, finished.result.attempts) == (SendStatus.TIMED_OUT, 0)
        assert finished.result.reason == "enough"
    assert not sender._outbox.for_readers._small
    assert len(sender._outbox.for_readers.large) == 1  # the blocker
    assert sender.queued_bytes == len(blocker.data)


def test_what_is_cancelled_under_way_makes_room_at_once() -> None:
    sender = Sender(initial_window=4)
    small, large = sender.put(1000, token=1), sender.put(3000, token=2)
    sender.sent()
    for token in (1, 2):
        sender.cancel(token, 0.1, "enough")
    assert sender.window.in_flight == 0
    assert sender.drain() == []
    assert sender.report(large.sequence, 3) is None
    assert sender.handle_ack(small.sequence, 0.2) is None


def test_cancelling_an_unknown_token_does_nothing() -> None:
    sender = Sender()
    sender.put(token=None)
    assert sender.cancel(1, 0.0, "enough") is None
    assert len(sender) == 1


def test_at_the_end_of_the_session_everything_fails_and_nothing_is_held() -> None:
    sender = Sender(initial_window=3)
    acked = sender.put()
    sender.sent()
    sender.handle_ack(acked.sequence, 0.1)
    made = [sender.put(size) for size in (100, 5000, 6000, 100, 1200, 1200)]
    sender.sent(0.1)
    ended = sender.fail_all("it left", 0.2)
    assert [finished.message for finished in ended] == made
    assert {finished.result.status for finished in ended} == {SendStatus.FAILED}
    assert {finished.result.reason for finished in ended} == {"it left"}
    assert (sender.window.in_flight, sender.queued_bytes, len(sender)) == (0, 0, 0)
    assert sender.next_timeout(0.2) is None
    assert sender.resend(acked.sequence, 0.2) is None


# In fragments.


def test_a_large_message_leaves_in_fragments_as_far_as_the_window_goes() -> None:
    sender = Sender()
    large = sender.put(5000)
    datagrams = sender.sent()
    assert all(len(datagram) <= 1200 for datagram in datagrams)
    assert b"".join(datagram[15:] for datagram in datagrams) == large.data
    another = sender.put(100_000)
    begun = sender.sent()
    assert {int.from_bytes(datagram[1:5], "big") for datagram in begun} == {another.sequence}
    assert sum(map(len, [*datagrams, *begun])) <= sender.window.window
    assert sender.states(large.sequence, TransferStatus.COMPLETE, 0.1) is not None


def test_so_many_large_messages_are_under_way_and_no_more_bytes_than_can_be_assembled() -> None:
    sender = Sender(initial_window=512)
    for _ in range(MAX_TRANSFERS + 1):
        sender.put(2000)
    under_way = {int.from_bytes(datagram[1:5], "big") for datagram in sender.sent()}
    assert len(under_way) == MAX_TRANSFERS

    sender = Sender(initial_window=512)
    for _ in range(3):
        sender.put(MAX_TRANSFER_BYTES // 2 - 1000)
    under_way = {int.from_bytes(datagram[1:5], "big") for datagram in sender.sent()}
    assert len(under_way) <= 2


def test_large_messages_that_are_numbered_anew_make_room_when_they_end() -> None:
    """They stood under their earlier numbers, and no other large message left any more."""
    sender = Sender(initial_window=512)
    large = [sender.put(MAX_TRANSFER_BYTES // 2 - 1000) for _ in range(2)]
    sender.sent()
    sender.renew(1.0)
    sender.begin_at(large[1].sequence)
    sender.handle_timeout(1.0)
    for each in large:
        assert sender.states(each.sequence, TransferStatus.COMPLETE, 1.1) is not None

    assert sender._outbox.for_readers.unacknowledged_bytes == 0
    waiting = [sender.put(MAX_TRANSFER_BYTES // 2 - 1000) for _ in range(2)]
    for now in range(2, 6):
        sender.sent(now)
        sender.handle_timeout(now)
    assert all(each.attempts for each in waiting)
    assert len(sender) == 2


@pytest.mark.parametrize("size", [100, 5000])
def test_deadlines_of_one_moment_may_have_one_number(size: int) -> None:
    """Two messages of one number and one deadline could not be put in order, and that raised."""
    sender = Sender(initial_window=512)
    made = [sender.put(size) for _ in range(4)]
    sender.sent()
    for number in (made[0].sequence, made[2].sequence):
        sender.renew(1.0)
        sender.begin_at(number)
    sender.expire(1.0)
    sender.handle_timeout(1.0)

    assert len({each.sequence for each in made}) == 4
    assert len(sender.drain(1.0)) > 1


@pytest.mark.parametrize("by", ["report", "ack"])
def test_it_has_arrived_with_the_report_of_its_completion_or_its_ack(by: str) -> None:
    sender = Sender()
    large = sender.put(5000)
    sender.sent(1.0)
    if by == "ack":
        finished = sender.handle_ack(large.sequence, 1.5)
    else:
        finished = sender.states(large.sequence, TransferStatus.COMPLETE, 1.5)
    assert finished is not None
    result = finished.result
    assert (result.status, result.attempts, result.size_bytes) == (SendStatus.DELIVERED, 1, 5000)
    assert result.rtt_s == pytest.approx(0.5)
    assert sender.window.in_flight == 0
    assert sender.rtt.srtt is None  # of the whole, no time of one datagram is known


def test_a_report_shows_what_arrived_and_makes_room_for_as_much() -> None:
    sender = Sender(initial_window=4)
    large = sender.put(50_000)
    assert sender.fragments() == [0, 1, 2, 3]
    sender.report(large.sequence, 2, now=0.1)
    assert sender.rtt.srtt == pytest.approx(0.1)
    assert sender.fragments(0.2) == [4, 5, 6, 7]


def test_what_was_sent_well_before_an_arrival_is_lost_and_goes_first() -> None:
    sender = Sender(initial_window=2)
    large = sender.put(50_000)
    assert sender.fragments(0.0) == [0, 1]
    sender.report(large.sequence, 0, b"\x02", now=0.1)  # 1 arrived, 0 of the same time may yet
    assert sender.fragments(0.2)[0] == 2
    sender.report(large.sequence, 0, b"\x06", now=0.3)  # what left 0.2 s later is there
    assert sender.fragments(0.31)[0] == 0
    assert sender.retransmissions == 1


def test_a_report_that_must_be_of_an_earlier_transmission_condemns_no_other_fragment() -> None:
    sender = Sender(initial_window=10)
    large = sender.put(50_000)
    assert sender.fragments(0.0) == [*range(10)]
    sender.report(large.sequence, 1, now=0.4)  # a round trip takes 0.4 s, at least
    assert sender.fragments(0.4) == [10, 11]
    sender.report(large.sequence, 2, now=0.65)
    assert sender.fragments(0.65) == [12, 13]
    sender.report(large.sequence, 2, b"\x00\x01", now=0.8)  # 10 is there, 2 to 9 are lost
    assert sender.fragments(0.8)[0] == 2
    assert sender.retransmissions == 8
    sender.report(large.sequence, 3, b"\x80", now=0.81)  # of the 2 that left at 0.0, not at 0.8
    assert sender.retransmissions == 8


def test_progress_puts_the_timeout_off_and_what_leaves_meanwhile_does_not() -> None:
    sender = Sender(initial_window=4)
    small, large = sender.put(1200), sender.put(50_000)
    assert len(sender.sent(0.0)) == 4
    sender.handle_ack(small.sequence, 0.3)
    assert len(sender.sent(0.3)) == 2
    assert sender.next_timeout(0.3) == 0.5
    sender.report(large.sequence, 1, now=0.4)
    sender.sent(0.4)
    assert sender.next_timeout(0.4) == pytest.approx(0.4 + sender.rtt.rto())


def test_news_of_a_fragment_given_up_too_early_is_progress_and_spares_its_repetition() -> None:
    sender = Sender(initial_window=4)
    large = sender.put(4 * 1185)
    sender.sent(0.0)
    sender.handle_timeout(0.5)
    assert large.stalled == 1
    sender.report(large.sequence, 3, now=0.51)
    assert large.stalled == 0
    assert sender.fragments(0.51) == [3]
    assert sender.rtt.rto() == 1.0  # learned the hard way, as no clean sample came


def test_a_transfer_without_progress_is_given_up_and_says_so() -> None:
    sender = Sender(max_tries=2)
    sender.put(5000, token=5)
    sender.sent()
    sender.drain()
    result = sender.ended[0].result
    assert (result.status, result.attempts) == (SendStatus.TIMED_OUT, 6)
    assert result.reason == "no fragment was acknowledged any more"
    assert (sender.window.in_flight, len(sender)) == (0, 0)


def test_progress_gives_a_transfer_all_its_tries_again() -> None:
    sender = Sender(max_tries=1)
    large = sender.put(100_000)
    now = 0.0
    for below in range(1, 20):
        sender.sent(now)
        now += 0.6
        assert sender.handle_timeout(now) == []
        sender.sent(now)
        sender.report(large.sequence, below, now=now)


def test_when_all_was_reported_but_not_completion_a_fragment_asks_for_it() -> None:
    sender = Sender()
    large = sender.put(3000)
    sender.sent()
    assert sender.report(large.sequence, 3, now=0.1) is None
    assert sender.window.in_flight == 0
    again = sender.next_timeout(0.1)
    assert again is not None
    assert sender.handle_timeout(again) == []
    assert sender.fragments(again) == [2]
    assert sender.states(large.sequence, TransferStatus.COMPLETE, again) is not None
    assert sender.window.in_flight == 0


def test_a_peer_that_refuses_the_size_ends_it_at_once() -> None:
    sender = Sender()
    large = sender.put(5000)
    sender.sent()
    finished = sender.states(large.sequence, TransferStatus.TOO_LARGE, 0.1)
    assert finished is not None
    assert finished.result.status is SendStatus.FAILED
    assert finished.result.reason == "the message is larger than the peer accepts"
    assert sender.window.in_flight == 0


def test_a_busy_peer_is_asked_again_later() -> None:
    sender = Sender()
    large = sender.put(3000)
    assert sender.fragments(0.0) == [0, 1, 2]
    assert sender.states(large.sequence, TransferStatus.BUSY, 0.1) is None
    assert sender.fragments(0.4) == []
    sender.handle_timeout(0.5)
    assert sender.fragments(0.5) == [0, 1, 2]


def test_reports_of_what_was_never_sent_mean_nothing() -> None:
    sender = Sender(initial_window=2)
    sender.put(1200)
    sender.put(1200)
    sender.sent()
    unsent, small = sender.put(50_000), 1
    for status in TransferStatus:
        assert sender.states(unsent.sequence, status) is None
        assert sender.states(small, status) is None
        assert sender.states(99, status) is None
    sender.handle_ack(1, 0.1)
    sender.handle_ack(2, 0.1)
    left = sender.fragments(0.2)
    sender.report(unsent.sequence, 2**32 - 1, b"\xff" * 1000, now=0.3)  # claims everything
    assert sender.fragments(0.4)[0] == left[-1] + 1


# Small and large ones together.


def test_small_messages_overtake_large_ones() -> None:
    sender = Sender(initial_window=1)
    large = sender.put(50_000)
    assert sender.fragments() == [0]
    small = sender.put()
    sender.report(large.sequence, 1, now=0.1)
    assert sender.sent(0.1)[0] == small.data


def test_a_stream_of_small_messages_does_not_starve_a_large_one() -> None:
    session = Session(max_window=16)
    large = session.send(50_000)
    while large not in session.results and session.now < 1100:
        while session.sender.queued_bytes < 200_000:
            session.send(1000)
        session.step(session.now + 10)
    assert session.results[large].status is SendStatus.DELIVERED
    assert session.now < 1010


def test_a_transfer_that_had_no_turn_does_not_stall() -> None:
    sender = Sender(initial_window=2)
    large = sender.put(50_000)
    assert sender.fragments(0.0) == [0, 1]
    sender.report(large.sequence, 2, now=0.1)  # the next timeout is at 0.4
    small = [sender.put(1200) for _ in range(8)]
    assert len(sender.sent(0.1)) == 4
    for made in small[:2]:
        sender.handle_ack(made.sequence, 0.25)
    assert len(sender.sent(0.25)) == 4
    sender.handle_timeout(0.4)
    assert large.stalled == 0
    for made in small:
        sender.handle_ack(made.sequence, 0.5)
    assert sender.fragments(0.6)[0] == 2


# What the receiver can remember.


def test_nothing_leaves_so_far_ahead_that_the_receiver_would_forget_what_is_missing() -> None:
    sender = Sender(initial_window=512)
    first = sender.put(5)
    for _ in range(2 * SEQUENCE_WINDOW):
        sender.put(5)
    sender.sent()
    for sequence in range(2, SEQUENCE_WINDOW + 100):
        sender.handle_ack(sequence, 0.1)
        sender.sent(100.0)
    numbers = [made.sequence for made in sender._outbox.left if made.attempts]
    assert max(numbers, default=0) <= first.sequence + SEQUENCE_WINDOW
    assert first.sequence in numbers


@pytest.mark.parametrize("order", ["large first", "large last", "alternating"])
def test_however_far_small_and_large_overtake_each_other_nothing_is_lost(order: str) -> None:
    sizes = {
        "large first": [300_000] + [30] * 4000,
        "large last": [30] * 4000 + [2000],
        "alternating": [1300, 30] * 1500,
    }[order]
    session = Session(first_sequence=2**32 - 1000, latency_s=0.005)
    for size in sizes:
        session.send(size)
    session.run()
    session.check_the_end()
    assert {result.status for result in session.results.values()} == {SendStatus.DELIVERED}


# The whole session on a bad link.


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([10, 100, 1200, 1201, 3000, 20_000]),
            st.sampled_from([0.0, 0.0, 0.01, 0.3]),
            st.booleans(),
        ),
        min_size=1,
        max_size=25,
    ),
    st.just(0.0) | st.floats(0, 0.4),
    st.floats(0, 0.3),
    st.sampled_from([0.0, 0.01, 0.2]),
    st.sampled_from([0, 2**32 - 10]),
    st.integers(0, 2**32).map(random.Random),
)
def test_each_message_reaches_the_reader_once_or_its_sender_is_told(
    messages: list[tuple[int, float, bool]],
    loss: float,
    duplication: float,
    jitter_s: float,
    first_sequence: int,
    rng: random.Random,
) -> None:
    session = Session(
        rng,
        loss=loss,
        duplication=duplication,
        jitter_s=jitter_s,
        first_sequence=first_sequence,
    )
    for size, pause_s, taken_back in messages:
        token = session.send(size)
        session.run(pause_s)
        if taken_back and rng.random() < 0.3:
            session.cancel(token)
    session.run()
    session.check_the_end()
    if loss == 0:
        assert {result.reason for result in session.results.values()} <= {None, "cancelled"}


def test_a_dead_link_ends_every_message_and_a_healed_one_carries_the_next() -> None:
    session = Session(loss=1.0)
    for _ in range(5):
        session.send(100)
        session.send(5000)
    session.run()
    session.check_the_end()
    assert {result.status for result in session.results.values()} == {SendStatus.TIMED_OUT}
    session.loss = 0.0
    after = [session.send(100), session.send(50_000)]
    session.run()
    session.check_the_end()
    assert set(session.delivered) == set(after)


@pytest.mark.parametrize("size", [100, 5000])
def test_a_path_slower_than_the_timeout_is_learned_and_not_flooded(size: int) -> None:
    session = Session(latency_s=1.0, jitter_s=0.05)
    for _ in range(20):
        session.send(size)
        session.run(3.0)
    session.run()
    session.check_the_end()
    spent = session.sender.retransmissions
    for _ in range(20):
        session.send(size)
        session.run(3.0)
    assert session.sender.retransmissions <= spent + 1


def test_a_megabyte_crosses_a_clean_link_with_hardly_a_datagram_too_many() -> None:
    session = Session(latency_s=0.02)
    session.send(1_000_000)
    session.run()
    session.check_the_end()
    assert session.sender.retransmissions == 0
    assert session.datagrams == -(-1_000_000 // 1185)
