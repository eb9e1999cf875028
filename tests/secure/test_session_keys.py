"""Datagrams under session keys: each is taken once, nobody else's is; keys are replaced in time."""

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2ptui.secure import Reason, SecureError, SecureSession, SessionKeys, Transport
from p2ptui.secure.frames import (
    HEADER_BYTES,
    SECURED,
    SECURED_OVERHEAD,
    UnknownSession,
    decode_unknown_session,
    encode_unknown_session,
    read_secured,
)
from p2ptui.secure.replay import WINDOW
from p2ptui.secure.session import LONGEST_OVERLAP_S, OVERLAP_S, RECENT_DATAGRAMS
from p2ptui.secure.transport import (
    BACK_EACH,
    MAX_AWAKE,
    MAX_DATAGRAMS,
    REKEY_AFTER_S,
    REKEY_DATAGRAMS,
    REKEY_GRACE_S,
)
from tests.secure.keyed import exchange

ONE, OTHER = b"1" * 32, b"2" * 32
TEXT = b'{"message_type":"Data"}'


def pair(now=0.0, numbers=(1, 2), keys=(ONE, OTHER)):
    """The initiator's and the responder's end."""
    a, b = numbers
    to_b, to_a = keys
    settings = {"began_at": now}
    return (
        Transport(
            SessionKeys(to_b, to_a), local_number=a, remote_number=b, is_initiator=True, **settings
        ),
        Transport(
            SessionKeys(to_a, to_b), local_number=b, remote_number=a, is_initiator=False, **settings
        ),
    )


def refused(call, *arguments):
    with pytest.raises(SecureError) as caught:
        call(*arguments)
    return caught.value.reason


@given(st.binary(max_size=60), st.booleans())
@example(b"", True)
@example(bytes(4 + 8 + 15), True)
@example(bytes(4 + 8 + 16), True)
@example(b"\xff" * 28, True)
@example(bytes(65_548), True)
@example(bytes(65_549), True)
def test_what_is_read_as_no_secured_datagram_is_opened_as_none(data, is_headed):
    """The checks stand twice, for speed: here and in `read_secured`."""
    frame = bytes((SECURED,)) + data if is_headed else data
    header, (a, _) = read_secured(frame), pair()
    reason = refused(a.open, frame)
    assert (reason is Reason.MALFORMED) is (header is None)
    if header is not None:
        assert (reason is Reason.UNKNOWN_SESSION) is (header[0] != a.local_number)


@pytest.mark.parametrize("length", [0, 1, 100, 1_171, 65_519])
def test_what_is_sealed_is_opened_once_and_29_bytes_longer(length):
    a, b = pair()
    for sender, receiver in ((a, b), (b, a)):
        frame = sender.seal(bytes(length))
        assert len(frame) == length + SECURED_OVERHEAD == length + 29
        assert receiver.open(frame) == bytes(length)
        assert refused(receiver.open, frame) is Reason.REPLAYED
        assert (sender.sealed, receiver.opened) == (1, 1)


def test_no_byte_of_the_text_is_on_the_wire():
    a, _ = pair()
    frames = [a.seal(TEXT) for _ in range(100)]
    assert len(set(frames)) == 100
    assert not any(TEXT[place : place + 4] in frame for frame in frames for place in range(19))


def test_one_byte_too_many_is_not_sealed():
    a, b = pair()
    assert refused(a.seal, bytes(65_520)) is Reason.TOO_LONG
    assert b.open(a.seal(b"x")) == b"x"
    assert a.sealed == 1


@pytest.mark.parametrize("bit", range(8))
def test_each_flipped_bit_is_refused_and_the_true_frame_still_opened(bit):
    a, b = pair()
    frame = a.seal(TEXT)
    for place in range(len(frame)):
        flipped = bytearray(frame)
        flipped[place] ^= 1 << bit
        assert refused(b.open, bytes(flipped)) in (
            (Reason.MALFORMED,) if place == 0 else (Reason.UNKNOWN_SESSION, Reason.ALTERED)
        )
    for length in range(len(frame)):
        assert refused(b.open, frame[:length]) in (Reason.MALFORMED, Reason.ALTERED)
    assert refused(b.open, frame + b"\0") is Reason.ALTERED
    assert b.open(frame) == TEXT


def test_a_frame_is_not_taken_by_who_sent_it():
    a, b = pair(numbers=(5, 5))
    frame = a.seal(TEXT)
    assert refused(a.open, frame) is Reason.ALTERED
    assert b.open(frame) == TEXT


def test_frames_of_another_exchange_between_the_same_nodes_are_refused():
    first = exchange()
    second = exchange(alice=first.alice, bob=first.bob)
    frame = first.finished.transport.seal(TEXT)
    assert refused(second.completed.transport.open, frame) is Reason.ALTERED


def test_a_forged_counter_moves_no_window():
    a, b = pair()
    frame = a.seal(TEXT)
    far = frame[:5] + (2**63).to_bytes(8, "big") + frame[HEADER_BYTES:]
    assert refused(b.open, far) is Reason.ALTERED
    assert b.open(frame) == TEXT


def test_frames_in_any_order_within_the_window_are_opened_once():
    a, b = pair()
    frames = [a.seal(str(number).encode()) for number in range(3 * WINDOW)]
    order = list(range(WINDOW))
    random.Random(1).shuffle(order)
    assert {b.open(frames[number]) for number in order} == {
        str(number).encode() for number in range(WINDOW)
    }
    assert all(refused(b.open, frames[number]) is Reason.REPLAYED for number in order)
    assert b.open(frames[-1])
    assert refused(b.open, frames[WINDOW]) is Reason.REPLAYED  # never came, and is too late now


def test_nothing_of_a_man_in_the_middle_is_taken():
    """He has every frame, both ways, and everything but the keys."""
    chance = random.Random(7)
    a, b = pair()
    to_b, to_a = [a.seal(TEXT + bytes([n])) for n in range(200)], [b.seal(TEXT) for _ in range(200)]
    others = exchange().finished.transport
    foreign = [others.seal(TEXT) for _ in range(200)]
    for frame in to_b[:100]:
        b.open(frame)
    for frame in to_a[:100]:
        a.open(frame)

    def altered(frame):
        place = chance.randrange(len(frame))
        return frame[:place] + bytes([frame[place] ^ chance.randrange(1, 256)]) + frame[place + 1 :]

    def his(frame):
        kinds = (
            altered,
            lambda frame: frame[: chance.randrange(len(frame))],
            lambda frame: frame[:HEADER_BYTES] + chance.randbytes(len(frame) - HEADER_BYTES),
            lambda frame: frame[:5] + chance.randbytes(8) + frame[HEADER_BYTES:],
            lambda frame: frame + chance.randbytes(chance.randrange(1, 50)),
            lambda frame: chance.choice(to_b)[:HEADER_BYTES] + frame[HEADER_BYTES:],
            lambda frame: frame[:HEADER_BYTES] + chance.choice(foreign)[HEADER_BYTES:],
            lambda frame: encode_unknown_session(frame) or b"",
            lambda frame: chance.choice(to_b[:100]),
        )
        return chance.choice(kinds)(frame)

    true = set(to_b)
    taken = tried = 0
    while tried < 100_000:
        frame = his(chance.choice((to_b, to_a, foreign)[chance.randrange(3)]))
        if frame in true and frame not in to_b[:100]:
            continue  # by chance it is one that was on its way: that is no forgery
        tried += 1
        try:
            b.open(frame)
        except SecureError:
            continue
        taken += 1
    assert taken == 0
    assert [b.open(frame) for frame in to_b[100:]] == [TEXT + bytes([n]) for n in range(100, 200)]
    assert (b.opened, b.sealed) == (200, 200)


def test_the_objects_made_of_the_keys_may_rest():
    a, b = pair()
    assert a._sealer is a._opener is None
    for number in range(3):
        assert b.open(a.seal(TEXT)) == TEXT
        for one in (a, b):
            one.rest()
        assert a._sealer is b._opener is None
        assert a.sealed == b.opened == number + 1


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_session_key_has_32_bytes(length):
    for keys in ((bytes(length), ONE), (ONE, bytes(length))):
        assert refused(SessionKeys, *keys) is Reason.BAD_KEY


# --- new keys


def test_new_keys_are_due_after_their_time_first_to_the_initiator():
    a, b = pair(now=100.0)
    due = 100.0 + REKEY_AFTER_S
    assert a.rekey_at == due
    assert REKEY_AFTER_S + REKEY_GRACE_S < 15 * 60
    for time, ours, theirs in (
        (due - 0.1, False, False),
        (due, True, False),
        (due + REKEY_GRACE_S, True, True),
    ):
        assert (a.needs_rekey(time), b.needs_rekey(time)) == (ours, theirs)


def test_new_keys_are_due_after_many_datagrams_either_way_and_no_key_seals_too_many():
    a, b = pair()
    a.sealed = REKEY_DATAGRAMS - 1
    assert not a.needs_rekey(0.0)
    assert b.open(a.seal(TEXT)) == TEXT
    assert a.needs_rekey(0.0)
    assert b.needs_rekey(0.0)
    a.sealed = MAX_DATAGRAMS - 1
    assert b.open(a.seal(TEXT)) == TEXT
    assert refused(a.seal, TEXT) is Reason.EXHAUSTED
    assert MAX_DATAGRAMS == 2**32


def sessions():
    a, b = pair()
    return SecureSession(a), SecureSession(b)


def test_a_first_exchange_is_confirmed_by_the_first_frame():
    a, b = sessions()
    assert not a.is_confirmed
    assert b.is_confirmed
    b.open(a.seal(TEXT), 0.0)
    a.open(b.seal(TEXT), 0.0)
    assert a.is_confirmed


@pytest.mark.parametrize("seed", range(10))
def test_no_datagram_is_lost_or_doubled_while_keys_change(seed):
    """Out of order, with copies, both ways; the third message may be late."""
    chance = random.Random(seed)
    a, b = sessions()
    sent = {a: [], b: []}
    got = {a: [], b: []}
    wire = []
    reasons = set()
    now, fresh = 0.0, None

    def say(sender, receiver):
        text = f"{len(sent[sender])}".encode()
        sent[sender].append(text)
        frame = sender.seal(text)
        wire.extend([(now + chance.uniform(0, 2), receiver, frame)] * chance.choice([1, 1, 2]))

    for step in range(3_000):
        now += 0.01
        if step % 1_000 == 300:
            number = 10 + step
            keys = (chance.randbytes(32), chance.randbytes(32))
            fresh = pair(now, (number, number + 1), keys)
            a.prepare(fresh[0])
            third_at = now + chance.uniform(0, 1)
        if fresh is not None and now >= third_at:
            b.adopt(fresh[1], now)
            fresh = None
        say(a, b)
        say(b, a)
        wire.sort(key=lambda one: one[0])
        while wire and wire[0][0] <= now:
            _, receiver, frame = wire.pop(0)
            try:
                got[receiver].append(receiver.open(frame, now))
            except SecureError as error:
                reasons.add(error.reason)
    assert reasons == {Reason.REPLAYED}
    on_their_way = 2 * 200 + 50
    for sender, receiver in ((a, b), (b, a)):
        assert len(got[receiver]) == len(set(got[receiver]))
        assert set(sent[sender][:-on_their_way]) <= set(got[receiver])
    assert a.current.local_number == 10 + 2_300


def test_prepared_keys_open_and_seal_only_once_they_came_back():
    a, b = sessions()
    new_a, new_b = pair(numbers=(3, 4), keys=(b"3" * 32, b"4" * 32))
    a.prepare(new_a)
    assert set(a.numbers()) == {1, 3}
    assert not a.is_confirmed
    assert not a.needs_rekey(REKEY_AFTER_S)  # it is under way
    assert b.open(a.seal(TEXT), 0.0) == TEXT  # still with the old ones
    b.adopt(new_b, 0.0)
    old = a.seal(TEXT)
    assert a.open(b.seal(TEXT), 0.0) == TEXT
    assert a.is_confirmed
    assert a.current is new_a
    assert b.open(a.seal(TEXT), 0.0) == TEXT
    assert b.open(old, 0.0) == TEXT


def test_a_forged_frame_does_not_bring_new_keys_into_use():
    a, _ = sessions()
    new_a, new_b = pair(numbers=(3, 4), keys=(b"3" * 32, b"4" * 32))
    a.prepare(new_a)
    frame = new_b.seal(TEXT)
    assert refused(a.open, frame[:-1] + b"\0", 0.0) is Reason.ALTERED
    assert a.current is not new_a
    assert a.open(frame, 0.0) == TEXT
    assert a.current is new_a


def test_old_keys_open_for_a_while_and_are_forgotten():
    a, b = sessions()
    frames = [a.seal(TEXT) for _ in range(3)]
    assert b._before is None
    new_a, new_b = pair(numbers=(3, 4), keys=(b"3" * 32, b"4" * 32))
    b.adopt(new_b, 90.0)
    assert b.open(new_a.seal(TEXT), 100.0) == TEXT
    assert b._before_until == 100.0 + OVERLAP_S
    assert set(b.numbers()) == {2, 4}
    assert b.open(new_a.seal(TEXT), 105.0) == TEXT
    assert b._before_until == 100.0 + OVERLAP_S
    assert b.open(frames[0], 100.0 + OVERLAP_S - 0.1) == TEXT
    assert refused(b.open, frames[0], 101.0) is Reason.REPLAYED
    assert refused(b.open, frames[1], 100.0 + OVERLAP_S) is Reason.UNKNOWN_SESSION
    assert set(b.numbers()) == {4}
    b.expire(1_000.0)
    assert b._before is None
    assert refused(b.open, frames[2], 100.0) is Reason.UNKNOWN_SESSION


def test_who_began_is_heard_with_the_old_keys_until_it_knows_of_the_new_ones():
    """What goes back to it may be lost for long."""
    a, b = sessions()
    new_a, new_b = pair(numbers=(3, 4), keys=(b"3" * 32, b"4" * 32))
    a.prepare(new_a)
    b.adopt(new_b, 0.0)
    for second in range(0, int(LONGEST_OVERLAP_S), 5):
        b.seal(TEXT)  # lost
        assert b.open(a.seal(TEXT), second) == TEXT
    assert a.open(b.seal(TEXT), 59.0) == TEXT
    assert b.open(a.seal(TEXT), 59.5) == TEXT
    assert b._before_until == LONGEST_OVERLAP_S
    assert a._before_until == 59.0 + OVERLAP_S


def test_two_exchanges_that_cross_leave_both_sides_able_to_talk_for_a_while():
    a, b = sessions()
    one_a, one_b = pair(numbers=(3, 4), keys=(b"3" * 32, b"4" * 32))
    two_b, two_a = pair(numbers=(5, 6), keys=(b"5" * 32, b"6" * 32))
    a.prepare(one_a)
    b.prepare(two_b)
    a.adopt(two_a, 0.0)
    b.adopt(one_b, 0.0)
    for second in range(5):
        assert b.open(a.seal(TEXT), second) == TEXT
        assert a.open(b.seal(TEXT), second) == TEXT


def test_keys_that_nobody_has_shown_to_have_give_way_to_those_that_both_have():
    """Message 3 of the better of two exchanges was lost, and the other one is complete."""
    better = exchange(numbers=(1, 2))
    crossed = exchange(numbers=(4, 3))
    this = SecureSession(better.finished.transport)
    other = SecureSession(crossed.finished.transport)
    this.hold(crossed.completed.transport, 0.0)

    assert other.open(this.seal(b"both have these"), 0.0) == b"both have these"
    assert this.open(other.seal(b"and this side too"), 0.0) == b"and this side too"
    assert this.awaits(better.finished.transport)

    other.adopt(better.completed.transport, 1.0)
    assert this.open(other.seal(b"message 3 came"), 1.0) == b"message 3 came"
    assert not this.awaits(better.finished.transport)
    assert this.current is better.finished.transport
    assert other.open(this.seal(b"so the better ones are used"), 1.0)


def test_what_is_no_frame_or_of_no_session_is_refused():
    a, b = sessions()
    a.rest()
    for frame in (b"", b"{}", bytes(29), b"\xe0"):
        assert refused(b.open, frame, 0.0) in (Reason.MALFORMED, Reason.UNKNOWN_SESSION)
    stranger = pair(numbers=(8, 9))[0].seal(TEXT)
    assert refused(b.open, stranger, 0.0) is Reason.UNKNOWN_SESSION


def test_an_unknown_session_counts_only_for_a_frame_that_was_sent_lately():
    a, b = sessions()
    frames = [a.seal(TEXT) for _ in range(RECENT_DATAGRAMS + 1)]

    def answer_to(frame):
        answer = decode_unknown_session(encode_unknown_session(frame))
        assert answer is not None
        return answer

    assert a.is_ours(answer_to(frames[-1]))
    assert a.is_ours(answer_to(frames[1]))
    assert not a.is_ours(answer_to(frames[0]))
    assert not a.is_ours(UnknownSession(2, RECENT_DATAGRAMS + 1))  # not sent yet
    assert not a.is_ours(UnknownSession(1, RECENT_DATAGRAMS))
    assert not b.is_ours(answer_to(frames[-1]))


def test_of_many_sessions_only_those_at_work_are_ready() -> None:
    sessions = [pair() for _ in range(MAX_AWAKE)]
    for a, b in sessions:
        assert b.open(a.seal(TEXT)) == TEXT
    ready = [one for both in sessions for one in both if one._sealer or one._opener]
    assert ready == [one for both in sessions[-MAX_AWAKE // 2 :] for one in both]
    first_a, first_b = sessions[0]
    assert first_b.open(first_a.seal(TEXT)) == TEXT  # it comes back by itself


def test_of_keys_that_are_forgotten_nothing_is_left_ready() -> None:
    a, _ = pair()
    session, others = SecureSession(a), [pair()[0] for _ in range(2)]
    session.seal(TEXT)
    for now, other in enumerate(others):
        session.adopt(other, float(now))
        session.seal(TEXT)
    assert a._sealer is None
    assert others[0]._sealer is not None  # it still opens
    session.expire(LONGEST_OVERLAP_S + 1)
    assert others[0]._sealer is None
    assert others[1]._sealer is not None


def test_those_that_had_to_rest_do_not_take_turns() -> None:
    sessions = [pair() for _ in range(2 * MAX_AWAKE)]
    for a, b in sessions:
        assert b.open(a.seal(TEXT)) == TEXT
    ready = {one for both in sessions for one in both if one._sealer or one._opener}
    for a, b in sessions[:MAX_AWAKE]:  # each says something once in a while
        assert b.open(a.seal(TEXT)) == TEXT
    still = {one for one in ready if one._sealer or one._opener}
    assert len(still) >= (1 - 4 / BACK_EACH) * len(ready)


def test_one_that_is_at_work_again_is_soon_ready() -> None:
    sessions = [pair() for _ in range(2 * MAX_AWAKE)]
    for a, b in sessions:
        assert b.open(a.seal(TEXT)) == TEXT
    a, b = sessions[0]
    assert a._sealer is None
    for _ in range(BACK_EACH):
        assert b.open(a.seal(TEXT)) == TEXT
    assert a._sealer is not None or b._opener is not None
