"""STUN messages as values: RFC 8489, the behaviour discovery of RFC 5780, and RFC 3489.

A message without the magic cookie is one of RFC 3489 ("classic"): the bytes of the cookie then
belong to its transaction id, which has 16 bytes instead of 12.
"""

import enum
import struct
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final, TypeAlias

import msgspec

from p2ptui.wire.address import Address
from p2ptui.wire.stun_attributes import (
    HEADER_BYTES,
    MAX_USERNAME_BYTES,
    READERS,
    REQUIRED_BELOW,
    AttributeType,
    Change,
    StunError,
    attributes,
    write_address,
    write_attribute,
    write_change,
    write_error,
    write_padding,
    write_response_port,
    write_text,
    write_types,
    xor_address,
)
from p2ptui.wire.stun_integrity import (
    check_fingerprint,
    with_fingerprint,
    with_integrity,
    with_integrity_sha256,
)

__all__ = [
    "BINDING",
    "CLASSIC_ID_BYTES",
    "HEADER_BYTES",
    "TRANSACTION_ID_BYTES",
    "AttributeType",
    "Change",
    "MessageClass",
    "StunError",
    "StunMessage",
    "decode",
    "encode",
    "is_stun",
]

BINDING: Final = 1
"""The method of RFC 8489, section 18.2, and the only one used here."""

TRANSACTION_ID_BYTES: Final = 12
CLASSIC_ID_BYTES: Final = 16

_MAGIC_COOKIE: Final = b"\x21\x12\xa4\x42"
_HEAD: Final = struct.Struct("!HH")
_MAX_METHOD: Final = 0xFFF


class MessageClass(enum.IntEnum):
    """The two class bits of a message type (RFC 8489, section 5)."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


_CLASSES: Final = tuple(MessageClass)
_INTEGRITY: Final = (AttributeType.MESSAGE_INTEGRITY, AttributeType.MESSAGE_INTEGRITY_SHA256)
_OF_FIELDS: Final = frozenset({*READERS, *_INTEGRITY, AttributeType.FINGERPRINT})
"""Types with a field of their own."""


class StunMessage(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """One message; a field that is None, False or empty stands for an absent attribute."""

    message_class: MessageClass
    transaction_id: bytes
    """12 bytes; 16 in a message of RFC 3489."""
    method: int = BINDING
    mapped: Address | None = None
    """MAPPED-ADDRESS: where the request came from, in plain bytes that a gateway may rewrite."""
    xor_mapped: Address | None = None
    """XOR-MAPPED-ADDRESS: the same address, hidden from gateways."""
    response_origin: Address | None = None
    """RESPONSE-ORIGIN, in RFC 3489 SOURCE-ADDRESS: the address that the response was sent from."""
    other_address: Address | None = None
    """OTHER-ADDRESS, in RFC 3489 CHANGED-ADDRESS: the server's other address and port."""
    change_request: Change | None = None
    response_port: int | None = None
    padding: int | None = None
    """Size of PADDING in bytes; its content does not matter (RFC 5780, section 7.6)."""
    software: str | None = None
    error: tuple[int, str] | None = None
    """ERROR-CODE: 300 to 699, and a reason for people."""
    unknown: tuple[int, ...] = ()
    """UNKNOWN-ATTRIBUTES: types that the sender of the message did not understand."""
    username: str | None = None
    realm: str | None = None
    nonce: str | None = None
    others: tuple[tuple[int, bytes], ...] = ()
    """Attributes without a field here, as type and value, in order."""
    fingerprint: bool = False
    """Whether a FINGERPRINT is to be written, or was there and correct."""

    @property
    def classic(self) -> bool:
        """Whether it is a message of RFC 3489, without the magic cookie."""
        return len(self.transaction_id) == CLASSIC_ID_BYTES

    @property
    def unknown_required(self) -> tuple[int, ...]:
        """Comprehension-required types in this message that have no field here."""
        return tuple(kind for kind, _ in self.others if kind < REQUIRED_BELOW)


def is_stun(data: bytes) -> bool:
    """Whether a datagram is STUN with the magic cookie, judged by its header alone.

    The first byte is 0 to 3 (RFC 7983, section 7), which every method in use has.
    """
    return (
        len(data) >= HEADER_BYTES and data[0] < 4 and data[4:8] == _MAGIC_COOKIE and not data[3] & 3
    )


def decode(data: bytes) -> StunMessage:
    """Read one message, of RFC 8489 or RFC 3489; its FINGERPRINT is checked, its integrity is not.

    If an attribute occurs twice, the first one counts. What follows MESSAGE-INTEGRITY is not
    protected and is ignored, as RFC 8489, section 14.5, requires.

    Raises:
        StunError: The bytes are not a message, or its FINGERPRINT does not match.
    """
    if len(data) < HEADER_BYTES:
        raise StunError(f"{len(data)} bytes are shorter than a header")
    kind, length = _HEAD.unpack_from(data)
    if kind > 0x3FFF:
        raise StunError("the first two bits are not zero")
    if length != len(data) - HEADER_BYTES or length & 3:
        raise StunError(f"a length of {length} in a datagram of {len(data)} bytes")
    return StunMessage(
        message_class=_CLASSES[(kind >> 7 & 2) | (kind >> 4 & 1)],
        method=(kind & 0xF) | (kind >> 1 & 0x70) | (kind >> 2 & 0xF80),
        transaction_id=data[8:20] if data[4:8] == _MAGIC_COOKIE else data[4:20],
        **(_read_attributes(data) if length else {}),
    )


def _read_attributes(data: bytes) -> dict[str, Any]:
    key = data[4:20]
    fields: dict[str, Any] = {}
    others: dict[int, bytes] = {}
    protected = False
    for kind, start, size in attributes(data):
        if kind == AttributeType.FINGERPRINT:
            check_fingerprint(data, start, size)
            fields["fingerprint"] = True
        elif kind in _INTEGRITY:
            protected = True
        elif protected:
            continue
        elif (reader := READERS.get(kind)) is None:
            others.setdefault(kind, data[start : start + size])
        elif reader[0] not in fields:
            field, read = reader
            fields[field] = read(data[start : start + size], key)
    if others:
        fields["others"] = tuple(others.items())
    return fields


def encode(
    message: StunMessage, *, integrity_key: bytes | None = None, sha256_key: bytes | None = None
) -> bytes:
    """Write one message.

    Args:
        message: With a transaction id of 12 bytes, or of 16 for RFC 3489.
        integrity_key: Adds MESSAGE-INTEGRITY; from `short_term_key` or `long_term_key`.
        sha256_key: Adds MESSAGE-INTEGRITY-SHA256, not truncated.

    Raises:
        StunError: A field cannot be written: a host that is not an IP address, a text over its
            limit, more than 65,535 bytes in all; or a type in `others` has a field of its own.
    """
    body = b"".join(_write_attributes(message))
    data = _write_header(message, len(body)) + body
    if integrity_key is not None:
        data = with_integrity(data, integrity_key)
    if sha256_key is not None:
        data = with_integrity_sha256(data, sha256_key)
    return with_fingerprint(data) if message.fingerprint else data


def _write_header(message: StunMessage, length: int) -> bytes:
    method, message_class, transaction_id = (
        message.method,
        message.message_class,
        message.transaction_id,
    )
    if not 0 <= method <= _MAX_METHOD:
        raise StunError(f"{method} is not a method of 0 to {_MAX_METHOD}")
    if length > 0xFFFF:
        raise StunError(f"attributes of {length} bytes fit no message")
    kind = (method & 0xF) | (method & 0x70) << 1 | (method & 0xF80) << 2
    kind |= (message_class & 2) << 7 | (message_class & 1) << 4
    return _HEAD.pack(kind, length) + _key(transaction_id)


def _key(transaction_id: bytes) -> bytes:
    if len(transaction_id) == TRANSACTION_ID_BYTES:
        return _MAGIC_COOKIE + transaction_id
    if len(transaction_id) != CLASSIC_ID_BYTES or transaction_id.startswith(_MAGIC_COOKIE):
        raise StunError(f"{transaction_id.hex()} is not a transaction id")
    return transaction_id


_Attributes: TypeAlias = Iterator[tuple[int, bytes]]


def _write_attributes(message: StunMessage) -> list[bytes]:
    # In this order, because the test vectors of RFC 5769 use it.
    parts = (_who(message), _places(message), _wishes_and_outcome(message))
    return [write_attribute(kind, value) for kind, value in chain.from_iterable(parts)]


def _who(message: StunMessage) -> _Attributes:
    if message.software is not None:
        yield AttributeType.SOFTWARE, write_text(message.software)
    for kind, value in message.others:
        if kind in _OF_FIELDS:
            raise StunError(f"an attribute of type {kind:#06x} has a field of its own")
        yield kind, value
    if message.username is not None:
        yield AttributeType.USERNAME, write_text(message.username, MAX_USERNAME_BYTES)
    if message.nonce is not None:
        yield AttributeType.NONCE, write_text(message.nonce)
    if message.realm is not None:
        yield AttributeType.REALM, write_text(message.realm)


def _places(message: StunMessage) -> _Attributes:
    classic = message.classic
    if message.xor_mapped is not None:
        value = xor_address(write_address(message.xor_mapped), _key(message.transaction_id))
        yield AttributeType.XOR_MAPPED_ADDRESS, value
    if message.mapped is not None:
        yield AttributeType.MAPPED_ADDRESS, write_address(message.mapped)
    if message.response_origin is not None:
        kind = AttributeType.SOURCE_ADDRESS if classic else AttributeType.RESPONSE_ORIGIN
        yield kind, write_address(message.response_origin)
    if message.other_address is not None:
        kind = AttributeType.CHANGED_ADDRESS if classic else AttributeType.OTHER_ADDRESS
        yield kind, write_address(message.other_address)


def _wishes_and_outcome(message: StunMessage) -> _Attributes:
    if message.change_request is not None:
        yield AttributeType.CHANGE_REQUEST, write_change(message.change_request)
    if message.response_port is not None:
        yield AttributeType.RESPONSE_PORT, write_response_port(message.response_port)
    if message.error is not None:
        yield AttributeType.ERROR_CODE, _aligned(write_error(message.error), message.classic)
    if message.unknown:
        unknown, classic = message.unknown, message.classic
        # RFC 3489, section 11.2.10: an odd number of types is made even by repeating one of them.
        filler = unknown[:1] if classic and len(unknown) & 1 else ()
        yield AttributeType.UNKNOWN_ATTRIBUTES, write_types(unknown + filler)
    if message.padding is not None:
        yield AttributeType.PADDING, write_padding(message.padding)


def _aligned(value: bytes, classic: bool) -> bytes:
    # RFC 3489, section 11.2.9: a reason is padded with spaces to a multiple of four bytes.
    return value + b" " * (-len(value) & 3) if classic else value
