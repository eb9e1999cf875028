"""Messages in fragments: assembled whole and once, whatever the network or a hostile peer does."""

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.core.reliability.fragments import OutgoingTransfer
from p2ptui.core.reliability.reassembly import (
    ACK_DELAY_S,
    COMPLETED_REMEMBERED,
    MAX_RECUTS,
    PARTIAL_MESSAGES_PER_PEER,
    Assembled,
    Reassembly,
    ReassemblyBudget,
    _Partial,
)
from p2ptui.wire.frames import (
    FRAGMENT_OVERHEAD,
    MIN_CHUNK_BYTES,
    Fragment,
    FragmentAck,
    TransferStatus,
    decode_frame,
)

CHUNK = MIN_CHUNK_BYTES
DATAGRAM = CHUNK + FRAGMENT_OVERHEAD
TIMEOUT_S = 30.0


def reassembly(
    max_message: int = 10**6, per_peer: int = 2 * 10**6, total: int = 10**9
) -> Reassembly:
    return Reassembly(max_message, per_peer, TIMEOUT_S, ReassemblyBudget(total))


def text(count: int) -> bytes:
    """A message of so many fragments, the last one short."""
    return random.Random(count).randbytes(count * CHUNK - 100)


def pieces(sequence: int, message: bytes) -> list[Fragment]:
    transfer = OutgoingTransfer(sequence, message, DATAGRAM)
    frames = [decode_frame(transfer.frame(index)) for index in range(transfer.count)]
    return [frame for frame in frames if isinstance(frame, Fragment)]


def receive(receiver: Reassembly, fragment: Fragment, now: float = 0.0) -> Assembled:
    """Take a fragment; a message that is whole is accepted."""
    result = receiver.receive(fragment, now)
    if result.message is not None:
        assert result.report is None, "nothing is confirmed that was not accepted"
        result.report = receiver.accept(fragment)
    return result


def feed(receiver: Reassembly, fragments: list[Fragment], now: float = 0.0) -> list[Assembled]:
    return [receive(receiver, fragment, now) for fragment in fragments]


def messages(assembled: list[Assembled]) -> list[bytes]:
    return [one.message for one in assembled if one.message is not None]


def transfer_of(count: int, sent_at: float | None = 0.0) -> OutgoingTransfer:
    """A transfer, all of it sent at once."""
    made = OutgoingTransfer(1, text(count), DATAGRAM)
    while sent_at is not None and made.has_more:
        made.take(sent_at)
    return made


def report(below: int, bitmap: bytes = b"") -> FragmentAck:
    return FragmentAck(1, TransferStatus.PROGRESS, below, bitmap)


# Both ends together.


@given(
    st.integers(1, 60 * CHUNK),
    st.floats(0, 0.6),
    st.floats(0, 0.5),
    st.integers(0, 2**32).map(random.Random),
)
def test_a_message_arrives_whole_and_once_over_any_network(
    size: int, loss: float, duplication: float, rng: random.Random
) -> None:
    def network(datagrams: list[Fragment | FragmentAck]) -> list[Fragment | FragmentAck]:
        copies = [one for one in datagrams for _ in range(1 + (rng.random() < duplication))]
        rng.shuffle(copies)
        return [one for one in copies if rng.random() >= loss]

    message = rng.randbytes(size)
    transfer = OutgoingTransfer(7, message, DATAGRAM)
    receiver = reassembly()
    arrived: list[bytes] = []
    completed = False
    now = 0.0
    for _ in range(500):
        sent: list[Fragment | FragmentAck] = []
        while transfer.has_more and len(sent) < 20:
            frame = decode_frame(transfer.frame(transfer.take(now)))
            assert isinstance(frame, Fragment)
            sent.append(frame)
        results = [receive(receiver, one, now) for one in network(sent) if type(one) is Fragment]
        arrived += messages(results)
        reports = [one.report for one in results if one.report is not None]
        reports += receiver.handle_timeout(now + ACK_DELAY_S)[0]
        for one in network([*reports]):
            assert isinstance(one, FragmentAck)
            completed = completed or one.status is TransferStatus.COMPLETE
            transfer.handle_ack(one)
        if completed:
            break
        now += 1.0
        transfer.detect_timeout(now)
        if transfer.is_complete:
            transfer.repeat_last()
    assert completed
    assert arrived == [message]
    assert receiver.budget.used_bytes == receiver.partial_bytes == 0


# The sender's side.


@given(st.integers(1, 10_000), st.integers(MIN_CHUNK_BYTES + FRAGMENT_OVERHEAD, 3000))
def test_the_frames_of_a_message_are_its_bytes_and_fit_the_datagram(size: int, room: int) -> None:
    message = random.Random(size).randbytes(size)
    transfer = OutgoingTransfer(7, message, room)
    frames = [transfer.frame(index) for index in range(transfer.count)]
    assert [len(frame) for frame in frames] == [transfer.size(i) for i in range(transfer.count)]
    assert max(map(len, frames)) <= room
    assert b"".join(frame[FRAGMENT_OVERHEAD:] for frame in frames) == message


def test_fragments_leave_in_order_and_count_as_under_way() -> None:
    transfer = transfer_of(3, sent_at=None)
    assert not transfer.is_under_way
    assert [transfer.take(0.0) for _ in range(3)] == [0, 1, 2]
    assert not transfer.has_more
    assert transfer.is_under_way
    assert transfer.bytes_in_flight == 3 * FRAGMENT_OVERHEAD + len(text(3))


def test_a_report_tells_each_arrival_once() -> None:
    transfer = transfer_of(10)
    assert transfer.handle_ack(report(2, b"\x04")) == [
        (0, 0.0, True),
        (1, 0.0, True),
        (4, 0.0, True),
    ]
    assert transfer.handle_ack(report(2, b"\x04")) == []
    assert transfer.handle_ack(report(1)) == []  # an old one, overtaken
    assert transfer.handle_ack(report(3)) == [(2, 0.0, True)]
    assert transfer.arrived == 4


def test_a_report_of_what_was_not_sent_is_not_believed() -> None:
    transfer = transfer_of(10, sent_at=None)
    transfer.take(0.0)
    assert transfer.handle_ack(report(2**62, b"\xff" * 1000)) == [(0, 0.0, True)]
    assert transfer.handle_ack(report(0, b"\xff" * 1000)) == []
    assert transfer.arrived == 1
    assert not transfer.is_complete
    assert transfer.take(0.0) == 1


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("ack"), st.integers(0, 50), st.binary(max_size=8)),
            st.tuples(st.sampled_from(["take", "lost", "timeout", "repeat"]), st.none(), st.none()),
        ),
        max_size=60,
    )
)
def test_no_report_however_false_confuses_the_sender(
    events: list[tuple[str, int | None, bytes | None]],
) -> None:
    transfer = transfer_of(20, sent_at=None)
    for now, (event, below, bitmap) in enumerate(events):
        if event == "ack" and below is not None and bitmap is not None:
            for index, sent_at, _ in transfer.handle_ack(report(below, bitmap)):
                assert 0 <= index < transfer.count
                assert sent_at < now
        elif event == "take" and transfer.has_more:
            assert 0 <= transfer.take(now) < transfer.count
        elif event == "lost":
            transfer.detect_lost(now, 1.0)
        elif event == "timeout":
            transfer.detect_timeout(now - 1)
        elif event == "repeat" and transfer.is_complete:
            transfer.repeat_last()
        assert 0 <= transfer.arrived <= transfer.count
        assert (transfer.bytes_in_flight > 0) is transfer.is_under_way
        assert transfer.is_complete or transfer.is_under_way or transfer.has_more


def test_what_left_long_before_an_arrival_is_lost_and_sent_again_first() -> None:
    transfer = transfer_of(4, sent_at=None)
    for now in (0.0, 0.1, 0.2, 0.3):
        transfer.take(now)
    transfer.handle_ack(report(0, b"\x08"))
    assert transfer.detect_lost(newest_sent_at=0.3, reorder_s=0.15) == [(0, 0.0), (1, 0.1)]
    assert [transfer.take(0.5), transfer.take(0.5)] == [0, 1]
    assert transfer.detect_lost(newest_sent_at=0.3, reorder_s=0.0) == [(2, 0.2)]
    assert transfer.handle_ack(report(1)) == [(0, 0.5, False)]  # sent twice: no sample


def test_what_was_given_up_and_arrived_after_all_is_not_sent_again() -> None:
    transfer = transfer_of(3)
    transfer.detect_timeout(0.0)
    assert not transfer.is_under_way
    assert transfer.handle_ack(report(2)) == []
    assert transfer.arrived == 2
    assert transfer.take(1.0) == 2
    assert not transfer.has_more


# The receiver's reports.


def test_every_second_fragment_in_order_is_reported_and_a_single_one_after_a_while() -> None:
    receiver = reassembly()
    sent = pieces(1, text(10))
    first, second, third = feed(receiver, sent[:3], now=5.0)
    assert first.report is None
    assert second.report == report(2)
    assert third.report is None
    assert receiver.next_timeout() == pytest.approx(5.0 + ACK_DELAY_S)
    assert receiver.handle_timeout(5.0) == ([], 0)
    assert receiver.handle_timeout(5.0 + ACK_DELAY_S) == ([report(3)], 0)
    assert receiver.handle_timeout(5.0 + ACK_DELAY_S) == ([], 0)


def test_a_hole_is_reported_at_once_with_what_came_beyond_it() -> None:
    receiver = reassembly()
    sent = pieces(1, text(20))
    order = [sent[0], sent[2], sent[3], sent[11], sent[1]]
    reports = [one.report for one in feed(receiver, order)]
    assert reports == [
        None,
        report(1, b"\x02"),
        report(1, b"\x06"),
        report(1, b"\x06\x04"),
        report(4, b"\x80"),
    ]


def test_a_repeated_fragment_is_reported_at_once_and_changes_nothing() -> None:
    receiver = reassembly()
    sent = pieces(1, text(3))
    again = feed(receiver, [sent[0], sent[0]])[1]
    assert (again.report, again.progressed) == (report(1), False)
    assert messages(feed(receiver, sent)) == [text(3)]


def test_completion_is_told_with_the_message_and_again_for_late_fragments() -> None:
    receiver = reassembly()
    sent = pieces(1, text(3))
    results = feed(receiver, [*sent, *sent])
    complete = FragmentAck(1, TransferStatus.COMPLETE, 3)
    assert [one.report for one in results[2:]] == [complete] * 4
    assert messages(results) == [text(3)]
    assert receiver.next_timeout() is None


def test_so_many_finished_messages_are_remembered() -> None:
    receiver = reassembly()
    for sequence in range(COMPLETED_REMEMBERED + 1):
        feed(receiver, pieces(sequence, text(1)))
    late = [receiver.receive(pieces(n, text(1))[0], 0.0) for n in (0, 1)]
    # The oldest is forgotten, so it is assembled again, and judged again by its id.
    assert [one.message for one in late] == [text(1), None]
    assert [one.report and one.report.status for one in late] == [None, TransferStatus.COMPLETE]


def test_a_finished_message_confirms_no_other_under_its_number() -> None:
    receiver = reassembly()
    forged, real = text(3), random.Random(0).randbytes(3 * CHUNK - 100)
    feed(receiver, pieces(7, forged))
    results = feed(receiver, pieces(7, real))
    assert messages(results) == [real]
    assert [one.report is not None for one in results] == [False, True, True]


def test_a_message_without_room_keeps_all_but_its_last_fragment() -> None:
    receiver = reassembly()
    sent = pieces(7, text(4))
    feed(receiver, sent[:3])
    whole = receiver.receive(sent[3], 1.0)
    assert whole.message == text(4)
    assert receiver.defer(sent[3], 1.0) == FragmentAck(7, TransferStatus.BUSY, 0)
    assert receiver.handle_timeout(1.0 + TIMEOUT_S / 2) == ([], 0)
    again = receiver.receive(sent[3], 2.0)
    assert again.message == text(4)
    assert receiver.accept(sent[3]).status is TransferStatus.COMPLETE


def test_what_is_no_message_is_not_confirmed_and_gives_its_memory_back() -> None:
    receiver = reassembly()
    sent = pieces(7, text(2))
    receiver.receive(sent[0], 0.0)
    assert receiver.receive(sent[1], 0.0).message is not None
    receiver.discard(sent[1])
    assert receiver.budget.used_bytes == receiver.partial_bytes == 0
    assert receiver.receive(sent[1], 0.0).report != FragmentAck(7, TransferStatus.COMPLETE, 2)


def test_a_report_is_no_longer_than_its_bound_however_far_the_hole() -> None:
    receiver = reassembly(max_message=10**7, per_peer=10**7)
    count = 20_000
    whole = b"x" * (count * CHUNK)
    far = Fragment(1, len(whole), CHUNK, count - 1, whole[:CHUNK])
    result = receiver.receive(far, 0.0)
    assert result.report is not None
    assert len(result.report.bitmap) == 1000


# Budgets.


def begin(
    receiver: Reassembly, sequence: int, size: int, now: float = 0.0
) -> TransferStatus | None:
    """Send the first fragment of a message; the refusal, if it is one."""
    result = receiver.receive(Fragment(sequence, size, CHUNK, 0, bytes(CHUNK)), now)
    assert result.refused is (result.report is not None and not result.progressed)
    return result.report.status if result.report is not None else None


def test_a_message_above_the_limit_is_refused_and_costs_nothing() -> None:
    receiver = reassembly(max_message=10_000)
    assert begin(receiver, 1, 10_001) is TransferStatus.TOO_LARGE
    assert begin(receiver, 2, 2**32 - 1) is TransferStatus.TOO_LARGE
    assert receiver.partial_bytes == receiver.budget.used_bytes == 0
    assert begin(receiver, 3, 10_000) is None


def test_a_beginning_counts_in_full_and_what_does_not_fit_the_peer_has_to_wait() -> None:
    receiver = reassembly(per_peer=10_000)
    assert begin(receiver, 1, 6000) is None
    assert receiver.partial_bytes == 6000
    assert begin(receiver, 2, 4001) is TransferStatus.BUSY
    assert begin(receiver, 3, 4000) is None


def test_only_so_many_messages_of_a_peer_are_in_assembly_at_a_time() -> None:
    receiver = reassembly()
    for sequence in range(PARTIAL_MESSAGES_PER_PEER):
        assert begin(receiver, sequence, 1000) is None
    assert begin(receiver, PARTIAL_MESSAGES_PER_PEER, 1000) is TransferStatus.BUSY


def test_all_peers_share_one_budget_and_give_it_back() -> None:
    budget = ReassemblyBudget(10_000)
    one, other = (Reassembly(10**6, 10**6, TIMEOUT_S, budget) for _ in range(2))
    assert begin(one, 1, 8000) is None
    assert begin(other, 1, 3000) is TransferStatus.BUSY
    one.clear()
    assert budget.used_bytes == 0
    assert begin(other, 1, 3000) is None
    other.handle_timeout(TIMEOUT_S)
    assert budget.used_bytes == 0
    assert messages(feed(one, pieces(2, text(30)))) == [text(30)]
    assert budget.used_bytes == 0


def test_a_message_to_which_nothing_is_added_expires() -> None:
    receiver = reassembly()
    sent = pieces(1, text(4))
    feed(receiver, [sent[0]], now=0.0)
    feed(receiver, [sent[1]], now=20.0)
    feed(receiver, [sent[1]], now=40.0)  # nothing new
    assert receiver.next_timeout() == 50.0
    assert receiver.handle_timeout(49.9) == ([], 0)
    assert receiver.handle_timeout(50.0) == ([], 1)
    assert receiver.partial_bytes == 0
    assert messages(feed(receiver, sent[2:], now=51.0)) == []  # a new beginning
    assert messages(feed(receiver, sent[:2], now=52.0)) == [text(4)]


# Hostile fragments.


@pytest.mark.parametrize(
    "other",
    [
        Fragment(1, 1001, CHUNK, 1, bytes(CHUNK)),
        Fragment(1, 999, CHUNK, 1, bytes(CHUNK)),
        Fragment(1, 1000, CHUNK + 1, 1, bytes(CHUNK + 1)),
        Fragment(1, 1000, 500, 1, bytes(500)),
        Fragment(1, 1000, 1000, 0, bytes(1000)),
    ],
)
def test_a_fragment_that_contradicts_the_first_one_changes_nothing(other: Fragment) -> None:
    receiver = reassembly()
    message = random.Random(1).randbytes(1000)
    sent = pieces(1, message)
    feed(receiver, sent[:1])
    assert receiver.receive(other, 0.0) == Assembled(refused=True)
    assert messages(feed(receiver, sent[1:])) == [message]


def test_of_two_different_fragments_with_one_index_the_first_counts() -> None:
    receiver = reassembly()
    sent = pieces(1, text(3))
    forged = Fragment(1, sent[1].total_bytes, CHUNK, 1, bytes(CHUNK))
    assert messages(feed(receiver, [sent[1], forged, sent[0], sent[2]])) == [text(3)]


hostile = st.builds(
    lambda sequence, total, chunk, index: (sequence, total, chunk, index),
    st.integers(0, 8),
    st.integers(1, 5000),
    st.sampled_from([CHUNK, CHUNK + 1, 1000]),
    st.integers(0, 30),
)


@given(st.lists(st.tuples(st.integers(0, 2), hostile, st.floats(0, 10)), max_size=80))
def test_no_fragments_of_any_peers_exceed_a_budget_or_outlive_their_time(
    events: list[tuple[int, tuple[int, int, int, int], float]],
) -> None:
    budget = ReassemblyBudget(9000)
    peers = [Reassembly(4000, 6000, TIMEOUT_S, budget) for _ in range(3)]
    now = 0.0
    for number, (sequence, total, chunk, index), pause in events:
        now += pause
        index %= -(-total // chunk)
        size = min(chunk, total - index * chunk)
        result = peers[number].receive(Fragment(sequence, total, chunk, index, bytes(size)), now)
        assert result.message in (None, bytes(total))
        assert result.refused <= (result.message is None)
        for peer in peers:
            while (due := peer.next_timeout()) is not None and due <= now:
                assert peer.handle_timeout(now) != ([], 0)
            assert peer.partial_bytes <= 6000
        assert sum(peer.partial_bytes for peer in peers) == budget.used_bytes <= 9000
    for peer in peers:
        peer.handle_timeout(now + TIMEOUT_S)
        assert peer.next_timeout() is None
    assert budget.used_bytes == 0


# A message that is cut smaller on its way.


def cut(sequence: int, message: bytes, chunk: int, *, again: bool = True) -> list[Fragment]:
    transfer = OutgoingTransfer(sequence, message, chunk + FRAGMENT_OVERHEAD)
    if again:
        transfer = transfer.recut(chunk + FRAGMENT_OVERHEAD, named=True, deaf_until=0.0)
    frames = [decode_frame(transfer.frame(index)) for index in range(transfer.count)]
    return [frame for frame in frames if isinstance(frame, Fragment)]


@given(
    st.integers(1, 20_000),
    st.lists(st.integers(MIN_CHUNK_BYTES, 1500), min_size=2, max_size=5, unique=True),
    st.randoms(),
)
def test_pieces_of_several_sizes_make_the_message_once(
    total: int, chunks: list[int], rng: random.Random
) -> None:
    """Pieces of before may come late: they are refused, and what has arrived stays."""
    receiver, message = reassembly(), rng.randbytes(total)
    done: list[bytes] = []
    late: list[Fragment] = []
    for chunk in sorted(chunks, reverse=True):
        fragments = cut(1, message, chunk)
        rng.shuffle(fragments)
        part = fragments[: rng.randrange(len(fragments))]
        late += fragments[len(part) :]
        for fragment in [*part, *rng.sample(late, min(3, len(late)))]:
            if not done:
                done += messages(feed(receiver, [fragment]))
    if not done:
        done += messages(feed(receiver, cut(1, message, min(chunks))))
    assert done == [message]


def test_what_has_arrived_in_large_pieces_is_not_asked_for_in_small_ones() -> None:
    receiver, message = reassembly(), random.Random(1).randbytes(10 * 1000)
    feed(receiver, cut(1, message, 1000, again=False)[:5])
    small = cut(1, message, 400)

    told = receive(receiver, small[24]).report

    assert told is not None
    assert (told.below, told.chunk_bytes) == (5000 // 400, 400)
    assert receiver.partial_bytes == len(message)
    assert messages(feed(receiver, small[12:])) == [message]


def test_the_sender_leaves_out_what_the_receiver_says_it_has() -> None:
    message = random.Random(1).randbytes(10 * 1000)
    old = OutgoingTransfer(1, message, 1000 + FRAGMENT_OVERHEAD)
    for _ in range(10):
        old.take(0.0)
    new = old.recut(400 + FRAGMENT_OVERHEAD, named=True, deaf_until=0.0)
    assert (new.count, new.bytes_in_flight, new.largest) == (25, 0, 400 + FRAGMENT_OVERHEAD)

    first = new.take(1.0)
    new.handle_ack(report(12))

    assert first == 0
    assert [new.take(1.1) for _ in range(13)] == list(range(12, 25))
    assert not new.has_more


def test_nobody_makes_a_receiver_count_anew_without_end() -> None:
    receiver, message = reassembly(), bytes(100_000)
    chunks = range(1500, MIN_CHUNK_BYTES, -1)
    refused = [
        receiver.receive(Fragment(1, len(message), chunk, 0, message[:chunk], True), 0.0).refused
        for chunk in chunks
    ]
    assert refused.count(False) == 1 + MAX_RECUTS
    assert not any(refused[: 1 + MAX_RECUTS])


def test_a_report_of_another_cut_is_not_taken_for_one_of_this() -> None:
    """Piece 8 of the old cut has come, which says nothing of piece 8 of the new one."""
    message = bytes(10 * 1000)
    old = OutgoingTransfer(1, message, 1000 + FRAGMENT_OVERHEAD)
    late = FragmentAck(1, TransferStatus.PROGRESS, 0, b"\0\1")
    of_new = dataclasses.replace(late, chunk_bytes=400)
    of_other = dataclasses.replace(late, chunk_bytes=500)
    named = old.recut(400 + FRAGMENT_OVERHEAD, named=True, deaf_until=0.0)
    unnamed = old.recut(400 + FRAGMENT_OVERHEAD, named=False, deaf_until=5.0)

    assert [old.is_meant_by(ack, 9.0) for ack in (late, of_new)] == [True, False]
    assert [named.is_meant_by(ack, 9.0) for ack in (late, of_new, of_other)] == [False, True, False]
    assert [unnamed.is_meant_by(late, at) for at in (4.9, 5.0)] == [False, True]


def test_pieces_of_another_size_are_refused_unless_they_say_that_it_is_cut_anew() -> None:
    receiver, message = reassembly(), bytes(10_000)
    feed(receiver, cut(1, message, 1000, again=False)[:2])
    assert receive(receiver, cut(1, message, 400, again=False)[0]).refused
    assert not receive(receiver, cut(1, message, 400)[0]).refused
    assert receive(receiver, cut(1, message, 500)[0]).refused


@given(
    total=st.integers(1, 6000),
    chunk=st.integers(2, 400),
    share=st.floats(0.05, 0.95),
    new=st.integers(1, 400),
    rng=st.randoms(use_true_random=False),
)
def test_a_smaller_piece_has_arrived_if_all_that_it_is_made_of_has(
    total: int, chunk: int, share: float, new: int, rng: random.Random
) -> None:
    new = min(new, chunk - 1)
    old = bytearray(rng.random() < share for _ in range(-(-total // chunk)))
    partial = _Partial(total, chunk, len(old), 0.0, bytearray(), bytearray(old), old.count(0))

    partial.recut(new)

    for index, arrived in enumerate(partial.arrived):
        first, last = index * new, min(index * new + new, total) - 1
        assert arrived == all(old[first // chunk : last // chunk + 1])


def test_counting_in_smaller_pieces_costs_what_has_come_and_not_what_is_to_come() -> None:
    """One datagram asks for it; a message of a megabyte has 4,096 pieces."""

    class Counted(bytearray):
        looks = 0

        def find(self, *args: int) -> int:  # type: ignore[override]
            Counted.looks += 1
            return super().find(*args)

        def __getitem__(self, *args: object) -> int:  # type: ignore[override]
            raise AssertionError("one by one")

    arrived = Counted(4000)
    arrived[7] = 1
    partial = _Partial(1_048_576, 264, 4000, 0.0, bytearray(), arrived, 3999)

    partial.recut(263)

    assert Counted.looks == 3
