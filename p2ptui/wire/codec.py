"""Encodes and decodes messages; the one place that knows how JSON can be malformed."""

import json
import math
import re
from array import array
from itertools import accumulate
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw

from p2ptui.wire.exact import find_fault, is_exact
from p2ptui.wire.message import NULL, Envelope

T = TypeVar("T")

JSON_START: Final = 0x7B
"""First byte of a JSON message: `{`."""

MAX_NESTING: Final = 64
"""Deepest nesting accepted: far above any real message, far below the interpreter's stack."""

MAX_PAYLOAD_NESTING: Final = MAX_NESTING - 4
"""Deepest payload sent: it still fits when it is routed, inside two envelopes and the routed form,
and when it comes back as an echo.
"""

_SHALLOW_BYTES: Final = 2 * MAX_NESTING
"""JSON no longer than this cannot be nested too deeply: each level takes two brackets."""
_FLAT_BYTES: Final = 5 * MAX_NESTING
"""Without a list, JSON no longer than this cannot either: an object within another also needs a key
and a colon.
"""
_OPENS_LIST: Final = b"["[0]

_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")

_PLAIN: Final = bytes.maketrans(b"123456789E", b"000000000e")
_EXPONENT: Final = b"0e"
"""What any number with an exponent contains once its digits are zeros. A string may contain it too.
"""
_MANY_DIGITS: Final = b"0" * 300
"""A double has room for 308 digits (IEEE 754, binary64)."""
_INTEGER_DIGITS: Final = 4300
"""Python and msgspec read no integer with more digits (sys.set_int_max_str_digits)."""
_LARGE_NUMBER: Final = re.compile(
    rb"(?<![-+.0-9eE])-?(?:[0-9]++(?:\.[0-9]++)?+[eE][-+]?[0-9]++"
    rb"|[0-9]{300,}+(?:\.[0-9]++)?+|[0-9]++\.[0-9]{300,}+)"
)
"""A number that may be too large. A match starts where a number starts, and the quantifiers are
possessive: each digit is scanned only a few times, even in a long run that does not match.
"""

_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that it cannot decode."""

_NOT_ENCODABLE: Final = (TypeError, ValueError, OverflowError, RecursionError)
"""What msgspec raises for values that it cannot encode."""

_encoder: Final = msgspec.json.Encoder()
_envelope_decoder: Final = msgspec.json.Decoder(Envelope)
_any_decoder: Final = msgspec.json.Decoder()
_raw_decoder: Final = msgspec.json.Decoder(Raw)
_decoders: Final[dict[type, msgspec.json.Decoder[Any]]] = {}


class MalformedError(ValueError):
    """The bytes are not a message, or a payload does not match its type."""


def decode_envelope(data: bytes) -> Envelope:
    """Read one message; its payload is checked for syntax but stays raw.

    Raises:
        MalformedError: Not JSON, not UTF-8, nested too deeply, or not an envelope.
    """
    try:
        message = _envelope_decoder.decode(data)
        if not data.isascii():
            data.decode("utf-8")  # the decoder does not look at a raw payload
        if len(data) > _FLAT_BYTES or (_OPENS_LIST in data and len(data) > _SHALLOW_BYTES):
            _check_nesting(data, MAX_NESTING)
    except _NOT_JSON as error:
        raise MalformedError(str(error)) from None
    return message


def decode_payload(raw: Raw | bytes, kind: type[T]) -> T:
    """Read a payload as `kind`.

    Raises:
        MalformedError: The payload is something else; the message says where.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        result: T = decoder.decode(raw)
    except _NOT_JSON as error:
        raise MalformedError(str(error)) from None
    return result


def read_payload(data: bytes) -> Raw:
    """Check a payload that arrived outside a message as strictly as one inside, so that it can be
    forwarded in a message.

    Raises:
        MalformedError: Not JSON, not UTF-8, or nested too deeply.
    """
    try:
        raw = _raw_decoder.decode(data)
        data.decode("utf-8")
    except _NOT_JSON as error:
        raise MalformedError(str(error)) from None
    _check_nesting(data, MAX_NESTING - 1)
    return raw


def decode_any(raw: Raw | bytes) -> Any:
    """Read a payload as plain Python values.

    Raises:
        MalformedError: It holds what Python cannot represent (`1e999`).
    """
    try:
        data = bytes(raw)
        if _EXPONENT not in data.translate(_PLAIN):
            return _any_decoder.decode(data)
        # msgspec takes 8 us for `1e300`, five bytes; json takes a third of a microsecond.
        _raw_decoder.decode(data)
        data.decode("utf-8")
        return json.loads(data, parse_float=_finite)
    except MalformedError:
        raise
    except (*_NOT_JSON, ValueError) as error:
        raise MalformedError(str(error)) from None


def check_any(raw: Raw | bytes) -> bytes:
    """Check that `decode_any` could read the payload of a decoded message.

    The payload is not decoded for this: as Python values it can take a hundred times the memory.

    Returns:
        A copy of the payload.

    Raises:
        MalformedError: It holds what Python cannot represent (`1e999`).
    """
    # The syntax has been checked already, so only a number can be wrong: one that is too large.
    data = raw if type(raw) is bytes else bytes(raw)
    plain = data.translate(_PLAIN)
    # `find`, because `in` would first try the bytes as a number, and fail with an exception each
    # time.
    if plain.find(_EXPONENT) >= 0 or (
        len(plain) > len(_MANY_DIGITS) and plain.find(_MANY_DIGITS) >= 0
    ):
        for found in _LARGE_NUMBER.finditer(_STRING.sub(b"", data)):
            number = found[0]
            if not number.lstrip(b"-").isdigit():
                _finite(number)
            elif len(number) > _INTEGER_DIGITS:
                raise MalformedError("an integer is too long")
    return data


def _finite(number: str | bytes) -> float:
    value = float(number)
    if math.isinf(value):
        raise MalformedError("a number is too large")
    return value


def encode_payload(value: Any) -> Raw:
    """Write a payload.

    Args:
        value: JSON-compatible values, a payload class of `wire.message`, or raw JSON. What a user
            sends goes through `encode_exactly`.

    Raises:
        MalformedError: The value is not JSON (NaN, a lone surrogate, an unknown type), or is
            nested deeper than `MAX_PAYLOAD_NESTING`.
    """
    if value is None:
        return NULL
    if type(value) is Raw:
        return value
    try:
        raw = _encoder.encode(value)
        if type(value) is not str and not isinstance(value, msgspec.Struct):
            # The depth of our own classes is known, and what they carry was checked on arrival.
            _check_nesting(raw, MAX_PAYLOAD_NESTING)
            if b"null" in raw:
                _refuse_nonfinite(value)
    except MalformedError:
        raise
    except _NOT_ENCODABLE as error:
        raise MalformedError(f"not JSON: {error}") from None
    return Raw(raw)


def encode_exactly(value: Any) -> Raw:
    """Encode a value that a user sends, so that it arrives equal and with the same types.

    Args:
        value: None, bool, int of at most 64 bits, finite float, str, list, and dict with keys of
            type str; no other types, and no subclasses of these.

    Raises:
        MalformedError: It holds something else, or is nested deeper than `MAX_PAYLOAD_NESTING`;
            the text names the place and the type.
    """
    try:
        raw = _encoder.encode(value)
        # The encoder writes NaN and the infinities as null.
        if is_exact(value, may_be_nan=b"null" in raw):
            _check_nesting(raw, MAX_PAYLOAD_NESTING)
            return Raw(raw)
    except (MalformedError, *_NOT_ENCODABLE) as error:
        reason = str(error)
    else:
        reason = "it would arrive as something else"
    fault = find_fault(value, MAX_PAYLOAD_NESTING) or f"payload is not JSON: {reason}"
    raise MalformedError(fault)


def encode_envelope(message: Envelope) -> bytes:
    """Encode a message as the bytes of a datagram (or as what is cut into fragments)."""
    return _encoder.encode(message)


def _check_nesting(data: bytes, limit: int) -> None:
    """Refuse data nested deeper than `limit`; `data` must be valid JSON."""
    # Counting brackets settles nearly every message. For the others the running
    # sum over +1 and -1 is the depth, once the brackets within strings are gone.
    if data.count(b"[") + data.count(b"{") <= limit:
        return
    steps = array("b", _STRING.sub(b"", data).translate(_STEPS, _NOT_BRACKETS))
    if max(accumulate(steps), default=0) > limit:
        raise MalformedError(f"nested deeper than {limit} levels")


def _refuse_nonfinite(value: Any) -> None:
    # msgspec writes NaN and the infinities as null; a caller who sent NaN would
    # never learn that something else arrived.
    if isinstance(value, float) and (value != value or value in (math.inf, -math.inf)):
        raise MalformedError(f"{value} has no JSON form")
    if isinstance(value, dict):
        for item in value.values():
            _refuse_nonfinite(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            _refuse_nonfinite(item)
