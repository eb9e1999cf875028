"""JSON: envelopes, the payload of every type, and what else is read of texts.

The first byte says what the others are: an envelope, the payload of one row of the table of
messages, or a text that some part reads.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from p2ptui.core.messages.rows import ROWS
from p2ptui.wire.address import parse_address, parse_ip_address, parse_target
from p2ptui.wire.codec import (
    MalformedError,
    decode_any,
    decode_envelope,
    encode_envelope,
    encode_exactly,
    encode_payload,
)
from p2ptui.wire.exact import read_json
from p2ptui.wire.files import BadFileError, is_file, read_file, read_receipt
from p2ptui.wire.message import MAX_ID_LENGTH, MAX_SEQUENCE_NUMBER, Envelope
from tests.fuzz.choices import Choices

MAX_BYTES: Final = 2048
"""Of one case."""

READERS: Final = {
    kind: [row.reads for row in ROWS if row.kind == kind]
    for kind in dict.fromkeys(row.kind for row in ROWS)
}
_KINDS: Final = tuple(READERS)
_ENVELOPES: Final = 64
_TEXTS: Final = 224


def test_one(data: bytes) -> None:
    """One case."""
    choices = Choices(data)
    first = choices.byte()
    if first < _ENVELOPES:
        _read_message(choices.rest())
    elif first < _TEXTS:
        kind = _KINDS[first % len(_KINDS)]
        _read_message(
            b'{"id":"1","message_type":"%s","timestamp":1,"payload":%s}'
            % (kind.encode(), choices.rest())
        )
    else:
        _TEXT_READERS[first % len(_TEXT_READERS)](choices.rest())


def _read_message(data: bytes) -> None:
    try:
        message = decode_envelope(data)
    except MalformedError:
        return
    assert 1 <= len(message.id) <= MAX_ID_LENGTH
    assert message.sequence_number is None or 0 <= message.sequence_number <= MAX_SEQUENCE_NUMBER
    again = encode_envelope(message)
    assert decode_envelope(again) == message
    _compare_with_python(message, data)
    for reads in READERS.get(message.message_type, ()):
        try:
            content = reads(message)
        except MalformedError:
            continue
        repr(content)
    _read_payload(bytes(message.payload))


def _compare_with_python(message: Envelope, data: bytes) -> None:
    """What was accepted is JSON to others as well, and says the same to them."""
    try:
        plain = _strict(data)
    except ValueError as error:
        if "digits" not in str(error):  # Python reads no integers of 5,000 digits
            raise
        return
    assert plain["id"] == message.id
    assert plain["message_type"] == message.message_type
    assert plain["timestamp"] == message.timestamp


def _strict(data: bytes) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(data.decode(), parse_constant=refuse)


def _read_payload(raw: bytes) -> None:
    try:
        value = decode_any(raw)
    except MalformedError:
        return
    for encode in (encode_payload, encode_exactly):
        try:
            written = encode(value)
        except MalformedError:
            continue  # too deep, or a number of more than 64 bits
        assert decode_any(written) == value
    _read_file(value)


def _read_file(value: Any) -> None:
    read_receipt(value)
    if not is_file(value):
        return
    try:
        file = read_file(value)
    except BadFileError:
        return
    assert isinstance(file.name, str)
    assert isinstance(file.content, bytes)


def _read_written_json(data: bytes) -> None:
    try:
        read_json(data)
    except (ValueError, RecursionError):
        return


def _read_address(read: Callable[[str], Any]) -> Callable[[bytes], None]:
    def read_text(data: bytes) -> None:
        try:
            address = read(data.decode(errors="replace"))
        except ValueError:
            return
        assert address is None or 0 <= address[1] <= 65535

    return read_text


_TEXT_READERS: Final = (
    _read_written_json,
    _read_address(parse_address),
    _read_address(parse_ip_address),
    _read_address(parse_target),
)
