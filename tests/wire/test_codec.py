"""Bytes to messages: what is written comes back, and no bytes do any harm."""

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from p2ptui.wire.codec import (
    MAX_NESTING,
    MAX_PAYLOAD_NESTING,
    MalformedError,
    decode_any,
    decode_envelope,
    decode_payload,
    encode_envelope,
    encode_payload,
)
from p2ptui.wire.message import NULL, Envelope, PingPayload, RoutedPayload
from tests.wire.envelopes import wire

LARGEST_DATAGRAM = 65_507

numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
envelopes = st.builds(
    Envelope,
    id=st.text(min_size=1, max_size=64),
    message_type=st.text(min_size=1, max_size=64),
    timestamp=st.integers(-(2**63), 2**63 - 1),
    payload=values.map(encode_payload),
    sequence_number=st.none() | st.integers(0, 2**32 - 1),
    requires_ack=st.booleans(),
    ack_for=st.none() | st.integers(0, 2**32 - 1) | st.text(max_size=64),
    sender_addr=st.none() | st.just(UNSET) | st.text(),
)


def is_refused(data: bytes) -> bool:
    try:
        decode_envelope(data)
    except MalformedError:
        return True
    return False


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def reject(constant: str) -> None:
    raise ValueError(constant)


def strict(data: bytes | Raw) -> Any:
    """What the standard library reads, where it keeps to RFC 8259."""
    return json.loads(bytes(data), parse_constant=reject)


# What is written comes back.


@given(envelopes)
def test_a_message_is_read_as_it_was_written(message: Envelope) -> None:
    assert decode_envelope(encode_envelope(message)) == message


@given(envelopes)
def test_what_is_written_is_what_any_json_reader_reads(message: Envelope) -> None:
    read = strict(encode_envelope(message))
    assert read["id"] == message.id
    assert read["payload"] == strict(message.payload)
    assert ("sender_addr" in read) == (message.sender_addr is not UNSET)


@given(values)
def test_a_payload_is_read_as_it_was_written(value: Any) -> None:
    raw = encode_payload(value)
    assert decode_any(raw) == value
    assert strict(raw) == value


def test_a_payload_in_raw_json_or_none_is_taken_as_it_is() -> None:
    raw = Raw(b'{"a" : 1}')
    assert encode_payload(raw) is raw
    assert encode_payload(None) is NULL


def test_white_space_and_escapes_make_no_difference() -> None:
    plain = wire(payload="[1,2]")
    spaced = plain.replace(b",", b" ,\r\n\t").replace(b'"id"', b'"\\u0069\\u0064"') + b" \n"
    assert decode_envelope(spaced).id == decode_envelope(plain).id


# What is no message.


def test_a_message_cut_off_at_any_byte_is_refused() -> None:
    data = wire(sender_addr='"192.0.2.1:80"', payload='{"é":[1,-2.5e3,true,null,"\\u00e9"]}')
    assert not is_refused(data)
    assert all(is_refused(data[:length]) for length in range(len(data)))


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"null", b"1", b'"{}"', b"[]", b"{", b"\xef\xbb\xbf" + wire(), wire() * 2]
)
def test_what_is_no_single_object_is_refused(data: bytes) -> None:
    assert is_refused(data)


NO_NUMBERS = [
    "01",
    "-01",
    "1.",
    ".5",
    "+1",
    "-",
    "1e",
    "1e+",
    "0x10",
    "1_0",
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "1;2",
]
NO_NAMES = ["tru", "truex", "nul", "None", "undefined", "a", "'a'", "(1)", "<1>", "/**/1", "//1"]
NO_STRINGS = [
    '"a',
    '"a\nb"',
    '"\0"',
    *(f'"\\{escape}"' for escape in ("", "q", "u12", "u12g4", "x41", "ud800", "ud800a", "udc00")),
]
NO_CONTAINERS = [
    "[",
    "]",
    "[1,]",
    "[,1]",
    "[1,,2]",
    "[1",
    "[1]]",
    "[1;2]",
    "{",
    "}",
    "{1}",
    "{a:1}",
    "{1:2}",
    "{[]}",
]
NO_OBJECTS = [
    '{"a":1,}',
    '{"a"}',
    '{"a":}',
    '{"a":1;"b":2}',
    '{"a":1',
    '{"\\q":1}',
    '{"\\ud800":1}',
]


@pytest.mark.parametrize(
    "payload",
    [
        *NO_NUMBERS,
        *NO_NAMES,
        *NO_STRINGS,
        *NO_CONTAINERS,
        *NO_OBJECTS,
        "",
        "1 2",
        "\0",
    ],
)
def test_a_payload_that_is_no_json_is_refused_with_its_message(payload: str) -> None:
    assert is_refused(wire(payload=payload))
    for decode in (decode_any, lambda raw: decode_payload(raw, PingPayload)):
        with pytest.raises(MalformedError):
            decode(payload.encode())


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff",
        b"\x80",
        b"\xc3",
        b"\xc0\x80",  # overlong NUL
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",  # a lone surrogate
        b"\xed\xa0\xbd\xed\xb8\x80",  # a pair of them, as CESU-8 has it
        b"\xf4\x90\x80\x80",  # beyond Unicode
    ],
)
@pytest.mark.parametrize(
    "place", [{"id": '"@"'}, {"message_type": '"@"'}, {"payload": '"@"'}, {"payload": '{"@":1}'}]
)
def test_what_is_no_utf8_is_refused_anywhere(bad: bytes, place: dict[str, str]) -> None:
    assert not is_refused(wire(**place))
    assert is_refused(wire(**place).replace(b"@", bad))


def test_a_payload_is_checked_for_utf8_by_itself_as_well() -> None:
    for decode in (decode_any, lambda raw: decode_payload(raw, PingPayload)):
        with pytest.raises(MalformedError):
            decode(b'{"nonce":"\xff"}')


@pytest.mark.parametrize(
    "filler", [b" ", b"[", b"]", b"{", b'"', b"\\", b"1", b"\0", b"\xff", b"{["]
)
def test_a_datagram_full_of_one_thing_is_refused(filler: bytes) -> None:
    assert is_refused((b"{" + filler * LARGEST_DATAGRAM)[:LARGEST_DATAGRAM])
    assert is_refused(wire()[:-1] + filler * LARGEST_DATAGRAM)


def test_the_largest_datagram_is_read() -> None:
    room = LARGEST_DATAGRAM - len(wire(payload='""'))
    data = wire(payload='"' + "x" * room + '"')
    assert len(data) == LARGEST_DATAGRAM
    assert len(decode_any(decode_envelope(data).payload)) == room


@given(st.binary())
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    is_refused(data)
    is_refused(b"{" + data)


VALID = wire(sender_addr="null", payload='{"é":[1,-2.5e3,true,null,"\\ud83d\\ude00"]}')


@given(st.integers(0, len(VALID)), st.integers(0, 3), st.binary(max_size=3))
def test_what_is_accepted_of_damaged_messages_is_json_and_can_be_written_again(
    position: int, removed: int, inserted: bytes
) -> None:
    data = VALID[:position] + inserted + VALID[position + removed :]
    try:
        message = decode_envelope(data)
    except MalformedError:
        return
    assert strict(data)["id"] == message.id
    again = decode_envelope(encode_envelope(message))
    assert again == message
    assert strict(again.payload) == strict(message.payload)


# Depth.


def test_nesting_is_accepted_down_to_the_limit() -> None:
    at_limit = MAX_NESTING - 1  # the envelope is one level itself
    for begin, end in (("[", "]"), ('{"a":', "}")):
        for levels, refused in ((at_limit, False), (at_limit + 1, True), (5000, True)):
            assert is_refused(wire(payload=begin * levels + "1" + end * levels)) is refused


def depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


punctuation = st.text('[]{}"\\,:a')


@given(
    st.integers(MAX_NESTING - 4, MAX_NESTING + 4),
    punctuation,
    st.booleans(),
    st.lists(st.sampled_from(["[[[", [], {}, [[]], {"]": [[]]}]), max_size=4),
)
@example(MAX_NESTING, "]" * 100, False, [])
@example(MAX_NESTING, "]" * 100, True, [])
@example(MAX_NESTING - 1, '"' + "[" * 100, False, [])
def test_only_brackets_outside_strings_are_levels(
    levels: int, text: str, objects: bool, beside: list[Any]
) -> None:
    payload: Any = [text, *beside]
    while depth(payload) < levels:
        payload = {text: payload} if objects else [text, payload, *beside]
    data = wire(payload=json.dumps(payload))
    assert is_refused(data) is (depth(json.loads(data)) > MAX_NESTING)


def test_many_brackets_in_a_row_are_not_deep() -> None:
    assert not is_refused(wire(payload="[" + "[]," * 20_000 + "{}]"))


def test_text_full_of_brackets_can_be_sent() -> None:
    for text in ("[" * 1000, "]" * 1000, '"{\\' * 1000):
        assert decode_any(encode_payload(text)) == text


def test_what_can_be_sent_can_be_routed_and_echoed_as_well() -> None:
    payload = encode_payload(nested(MAX_PAYLOAD_NESTING))
    echo = Raw(b'{"echo":%s}' % bytes(payload))
    inner = encode_envelope(Envelope("m", "Data", 0, payload))
    routed = encode_payload(RoutedPayload(Raw(inner), "a", "b", 0, 8, "r"))
    for outer in (payload, echo, routed):
        assert not is_refused(encode_envelope(Envelope("m", "Data", 0, outer)))


def test_a_payload_nested_too_deeply_cannot_be_sent() -> None:
    for levels in (MAX_PAYLOAD_NESTING + 1, 5000):
        with pytest.raises(MalformedError):
            encode_payload(nested(levels))


# Values at the edge.


def test_a_number_that_python_cannot_hold_travels_but_is_not_read() -> None:
    for number in ("1e999", "-1e999", "9" * 5000):
        raw = decode_envelope(wire(payload=number)).payload
        assert bytes(raw) == number.encode()
        with pytest.raises(MalformedError):
            decode_any(raw)


def test_a_large_integer_stays_exact() -> None:
    assert decode_any(decode_envelope(wire(payload=str(10**30))).payload) == 10**30


def test_of_a_key_that_is_there_twice_the_last_one_counts() -> None:
    assert decode_any(b'{"a":1,"a":2}') == {"a": 2}
    twice = wire().replace(b'"timestamp"', b'"id":"other","timestamp"')
    assert decode_envelope(twice).id == "other"


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        [1, {"a": (float("nan"), None)}],
        {None: float("inf")},
        "\ud800",
        {"\udfff": 1},
        ["ok", "\ud83d"],
        object(),
        {"a": {1j}},
        {(1, 2): 3},
        lambda: None,
        Exception("x"),
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", repr(value)),  # the same in each process,
)
def test_what_is_no_json_cannot_be_sent(value: Any) -> None:
    with pytest.raises(MalformedError):
        encode_payload(value)


def test_a_value_that_holds_itself_cannot_be_sent() -> None:
    cycle: list[Any] = [None]
    cycle.append(cycle)
    with pytest.raises(MalformedError):
        encode_payload(cycle)


def test_none_beside_finite_numbers_is_no_reason_to_refuse() -> None:
    assert decode_any(encode_payload([None, 1.5, "null"])) == [None, 1.5, "null"]


def test_the_error_says_where() -> None:
    with pytest.raises(MalformedError, match=r"\$\.nonce"):
        decode_payload(b'{"nonce":1}', PingPayload)
