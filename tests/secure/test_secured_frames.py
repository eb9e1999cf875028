"""Frames of a secured session: written and read back; nothing else is read."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.secure.frames import (
    HEADER_BYTES,
    MAX_COUNTER,
    MAX_SESSION,
    MESSAGE_3,
    MIN_MESSAGE_3_BYTES,
    SECURED,
    SECURED_OVERHEAD,
    UNKNOWN_SESSION,
    Message3,
    UnknownSession,
    decode_message_3,
    decode_unknown_session,
    encode_message_3,
    encode_unknown_session,
    read_secured,
    secured_header,
    session_of,
)
from p2ptui.wire import frames as inner
from p2ptui.wire.frames import FRAME_START, decode_frame, decode_keepalive, decode_path_probe

numbers = st.integers(0, MAX_SESSION)
counters = st.integers(0, MAX_COUNTER)
KINDS = (SECURED, MESSAGE_3, UNKNOWN_SESSION)


def test_no_other_frame_begins_so():
    others = {
        value for name, value in vars(inner).items() if name.isupper() and isinstance(value, int)
    }
    assert not others & set(KINDS)
    for kind in KINDS:
        assert FRAME_START <= kind <= 0xFF
        assert kind != ord("{")
        assert kind >> 6 != 0  # STUN
        for length in (1, 9, 13, 29, 100, 1_200):
            frame = bytes((kind,)).ljust(length, b"\0")
            assert (
                decode_frame(frame) is decode_keepalive(frame) is decode_path_probe(frame) is None
            )


@given(numbers, counters, st.binary(max_size=100))
def test_a_secured_header_is_read_back(session, counter, sealed):
    frame = secured_header(session, counter) + bytes(16) + sealed
    assert read_secured(frame) == (session, counter)
    assert session_of(frame) == session
    assert len(secured_header(session, counter)) == HEADER_BYTES == SECURED_OVERHEAD - 16


@given(numbers, st.binary(min_size=MIN_MESSAGE_3_BYTES, max_size=200))
def test_a_third_message_is_read_back(session, message):
    frame = encode_message_3(Message3(session, message))
    assert decode_message_3(frame) == Message3(session, message)
    assert session_of(frame) == session


@given(numbers, counters, st.binary(max_size=100))
def test_unknown_session_is_shorter_and_repeats_what_it_answers(session, counter, sealed):
    frame = secured_header(session, counter) + bytes(16) + sealed
    answer = encode_unknown_session(frame)
    assert answer is not None
    assert len(answer) < len(frame)
    assert decode_unknown_session(answer) == UnknownSession(session, counter)


@given(st.binary(max_size=200))
def test_anything_is_read_without_harm_and_written_back_as_it_was(frame):
    header = read_secured(frame)
    assert (encode_unknown_session(frame) is None) == (header is None)
    if header is not None:
        assert frame.startswith(secured_header(*header))
    third = decode_message_3(frame)
    if third is not None:
        assert encode_message_3(third) == frame
    unknown = decode_unknown_session(frame)
    if unknown is not None:
        assert frame == struct.pack("!BIQ", UNKNOWN_SESSION, unknown.session, unknown.counter)
    assert sum(one is not None for one in (header, third, unknown)) <= 1


@given(st.sampled_from(KINDS), st.binary(max_size=100))
def test_a_frame_of_each_kind_is_one_of_them_or_none(kind, rest):
    test_anything_is_read_without_harm_and_written_back_as_it_was.hypothesis.inner_test(
        bytes((kind,)) + rest
    )


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        bytes((SECURED,)),
        secured_header(1, 1),
        secured_header(1, 1) + bytes(15),
        secured_header(1, 2**64 - 1) + bytes(16),
        secured_header(1, 1) + bytes(65_536),
        bytes((MESSAGE_3,)) + bytes(200),
    ],
    ids=["empty", "type", "header", "short", "reserved counter", "long", "another"],
)
def test_what_is_no_secured_datagram(frame):
    assert read_secured(frame) is None
    assert encode_unknown_session(frame) is None


def test_what_is_neither_of_the_others():
    long = bytes((MESSAGE_3,)) + bytes(4 + 65_536)
    for frame in (b"", long, encode_message_3(Message3(1, bytes(MIN_MESSAGE_3_BYTES - 1)))):
        assert decode_message_3(frame) is None
    answer = encode_unknown_session(secured_header(7, 7) + bytes(16))
    assert answer is not None
    for frame in (b"", answer[:-1], answer + b"\0", answer[:5] + b"\xff" * 8):
        assert decode_unknown_session(frame) is None
    assert encode_unknown_session(answer) is None  # nobody answers an answer
