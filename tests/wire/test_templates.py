"""Written around what stays the same: byte for byte what the encoder makes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from p2ptui.wire.codec import encode_envelope, encode_payload
from p2ptui.wire.message import MAX_ID_LENGTH, MAX_SEQUENCE_NUMBER, NULL, Envelope
from p2ptui.wire.templates import Template, Unnumbered, encode_key

ids = st.uuids().map(str)
kinds = st.text(min_size=1, max_size=64)
times = st.integers(-(2**63), 2**63 - 1)
payloads = st.one_of(
    st.just(NULL),
    st.builds(encode_payload, st.dictionaries(st.text(), st.one_of(st.text(), st.integers()))),
    st.just(Raw(b' {"as" : ["it","came",1e3] } ')),
)
numbers = st.integers(0, MAX_SEQUENCE_NUMBER)
keys = st.one_of(st.none(), numbers, st.text(max_size=MAX_ID_LENGTH))


@given(ids, kinds, st.lists(st.tuples(times, payloads, keys), min_size=1, max_size=4))
def test_a_template_writes_what_the_encoder_writes(
    message_id: str, kind: str, messages: list[tuple[int, Raw, int | str | None]]
) -> None:
    template = Template(kind)
    for unix, payload, key in messages:  # the second may be another, and the first again
        envelope = Envelope(message_id, kind, unix, payload, ack_for=key)
        written = template.write(message_id.encode(), unix, payload, encode_key(key))
        assert written == encode_envelope(envelope)


@given(ids, kinds, times, payloads, st.one_of(st.none(), ids), numbers)
def test_so_does_one_that_waits_for_its_number(
    message_id: str, kind: str, unix: int, payload: Raw, key: str | None, number: int
) -> None:
    message = Unnumbered(message_id.encode(), kind, unix, payload, key)
    envelope = Envelope(message_id, kind, unix, payload, number, True, key)
    assert message.write(number) == encode_envelope(envelope)
    assert len(message.write(MAX_SEQUENCE_NUMBER)) == message.longest_bytes
    assert len(message.write(number)) <= message.longest_bytes


@pytest.mark.parametrize("second", [1, 0])
def test_the_time_is_that_of_each_message_and_not_of_the_last(second: int) -> None:
    template = Template("Pong")
    first = template.write(b"0", 0, NULL)
    assert template.write(b"0", second, NULL).count(b'"timestamp":%d,' % second) == 1
    assert template.write(b"0", 0, NULL) == first
