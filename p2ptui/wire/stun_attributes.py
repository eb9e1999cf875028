"""STUN attributes: their types, and how their values are encoded and decoded.

Covers the attributes of RFC 3489, 5780 and 8489 that this node uses; everything else stays raw.
"""

import enum
import ipaddress
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

from p2ptui.wire.address import Address, unmapped

HEADER_BYTES: Final = 20
"""Type, length, magic cookie and transaction id (RFC 8489, section 5)."""

MAX_ATTRIBUTES: Final = 128
"""In one message: far above any real one, so that a large datagram of empty attributes costs no
more than others.
"""

MAX_USERNAME_BYTES: Final = 508
"""RFC 8489, section 14.3: fewer than 509."""

MAX_TEXT_BYTES: Final = 763
"""Of REALM, NONCE, SOFTWARE and a reason: fewer than 128 characters (RFC 8489, section 14)."""

PACKED_HOSTS: Final = 1024
"""Hosts whose bytes are cached, the most recently used: a reply names the client twice and always
the server's own addresses, and parsing them is most of the cost of writing a reply.
"""

REQUIRED_BELOW: Final = 0x8000
"""Types below this must be understood (RFC 8489, section 14)."""

_HEAD: Final = struct.Struct("!HH")
_PORT: Final = struct.Struct("!HH")
_WORD: Final = struct.Struct("!I")
_ADDRESS: Final = struct.Struct("!xBH")
_ERROR: Final = struct.Struct("!xxBB")

_MAGIC_PORT: Final = 0x2112
_IPV4, _IPV6 = 1, 2
_IPV4_BYTES, _IPV6_BYTES = 8, 20


class StunError(ValueError):
    """The bytes are not a STUN message, or a value cannot be written in one."""


class AttributeType(enum.IntEnum):
    """The attribute types that this node understands (RFC 8489, 5780, 3489)."""

    MAPPED_ADDRESS = 0x0001
    CHANGE_REQUEST = 0x0003
    SOURCE_ADDRESS = 0x0004
    CHANGED_ADDRESS = 0x0005
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    REALM = 0x0014
    NONCE = 0x0015
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    XOR_MAPPED_ADDRESS = 0x0020
    PADDING = 0x0026
    RESPONSE_PORT = 0x0027
    SOFTWARE = 0x8022
    FINGERPRINT = 0x8028
    RESPONSE_ORIGIN = 0x802B
    OTHER_ADDRESS = 0x802C


class Change(enum.IntFlag):
    """The flags of CHANGE-REQUEST: what a server is to change in its address when it replies."""

    NOTHING = 0
    PORT = 2
    IP = 4
    BOTH = 6


def attributes(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the type, start of value and size in bytes of each attribute of a message, in order.

    Raises:
        StunError: An attribute does not end within the message, or there are too many.
    """
    offset, end = HEADER_BYTES, len(data)
    for _ in range(MAX_ATTRIBUTES):
        if offset == end:
            return
        if offset + 4 > end:
            raise StunError("the message ends within an attribute")
        kind, size = _HEAD.unpack_from(data, offset)
        start = offset + 4
        # RFC 8489, section 14: values are padded to four bytes, and the padding is not counted.
        offset = start + size + (-size & 3)
        if offset > end:
            raise StunError(f"attribute 0x{kind:04x} is longer than the message")
        yield kind, start, size
    if offset != end:
        raise StunError(f"more than {MAX_ATTRIBUTES} attributes")


def write_attribute(kind: int, value: bytes) -> bytes:
    """An attribute with its head and padding.

    Raises:
        StunError: The value is longer than 65,535 bytes, or the type does not fit 16 bits.
    """
    size = len(value)
    try:
        head = _HEAD.pack(kind, size)
    except struct.error:
        raise StunError(f"no attribute is of type {kind} and has {size} bytes") from None
    return head + value + bytes(-size & 3)


def write_address(address: Address) -> bytes:
    """The value of MAPPED-ADDRESS and its like (RFC 8489, section 14.1).

    Raises:
        StunError: The host is not an IP address, or the port is out of range.
    """
    host, port = address
    try:
        family, packed = packed_ip(host)
        return _ADDRESS.pack(family, port) + packed
    except (ValueError, struct.error):
        raise StunError(f"{address!r} is not an address of IP and port") from None


@lru_cache(PACKED_HOSTS)
def packed_ip(host: str) -> tuple[int, bytes]:
    """The family of a literal IP address in a STUN attribute, 1 or 2, and its 4 or 16 bytes.

    An IPv4-mapped address counts as IPv4. ValueError if the host is not a literal address.
    """
    if ":" not in host:
        # Runs for each new client: avoids the many calls of `ipaddress`.
        packed = bytes(map(int, host.split(".")))
        if len(packed) != 4 or ".".join(map(str, packed)) != host:
            raise ValueError(f"{host!r} is no literal of IPv4")
        return _IPV4, packed
    ip = ipaddress.ip_address(host)
    bare = unmapped(ip)
    return _IPV4 if bare.version == 4 else _IPV6, bare.packed


def xor_address(value: bytes, key: bytes) -> bytes:
    """Convert the value of MAPPED-ADDRESS to that of XOR-MAPPED-ADDRESS, or back (RFC 8489, section
    14.2).

    Args:
        value: 8 bytes (IPv4) or 20 bytes (IPv6).
        key: The message's bytes 4 to 19: the magic cookie and the transaction id.
    """
    size = len(value) - 4
    port = int.from_bytes(value[2:4], "big") ^ _MAGIC_PORT
    ip = int.from_bytes(value[4:], "big") ^ int.from_bytes(key[:size], "big")
    return value[:2] + port.to_bytes(2, "big") + ip.to_bytes(size, "big")


def write_error(error: tuple[int, str]) -> bytes:
    """The value of ERROR-CODE (RFC 8489, section 14.8).

    Raises:
        StunError: The code is not 300 to 699, or the reason is too long.
    """
    code, reason = error
    if not 300 <= code <= 699:
        raise StunError(f"{code} is not an error code of 300 to 699")
    return _ERROR.pack(*divmod(code, 100)) + write_text(reason)


def write_text(text: str, limit: int = MAX_TEXT_BYTES) -> bytes:
    """The value of a text attribute, of at most `limit` bytes.

    Raises:
        StunError: The text is too long, or not valid Unicode.
    """
    try:
        value = text.encode()
    except UnicodeEncodeError:
        raise StunError(f"{text!r} has no UTF-8 form") from None
    if len(value) > limit:
        raise StunError(f"a text of {len(value)} bytes, {limit} are allowed")
    return value


def write_response_port(port: int) -> bytes:
    """The value of RESPONSE-PORT (RFC 5780, section 7.5).

    Raises:
        StunError: The port is out of range.
    """
    if not 0 <= port <= 0xFFFF:
        raise StunError(f"{port} is not a port")
    return _PORT.pack(port, 0)


def write_change(change: Change) -> bytes:
    """The value of CHANGE-REQUEST (RFC 5780, section 7.2)."""
    return _WORD.pack(change)


def write_padding(size: int) -> bytes:
    """The value of PADDING (RFC 5780, section 7.6).

    Args:
        size: In bytes.

    Raises:
        StunError: No attribute can have this size.
    """
    if not 0 <= size <= 0xFFFF:
        raise StunError(f"a padding of {size} bytes fits no attribute")
    return bytes(size)


def write_types(types: tuple[int, ...]) -> bytes:
    """The value of UNKNOWN-ATTRIBUTES (RFC 8489, section 14.9).

    Raises:
        StunError: One of them is not an attribute type.
    """
    try:
        return struct.pack(f"!{len(types)}H", *types)
    except struct.error:
        raise StunError(f"{types} are not attribute types") from None


def _read_address(value: bytes, _key: bytes) -> Address:
    size = len(value)
    if size not in (_IPV4_BYTES, _IPV6_BYTES):
        raise StunError(f"an address of {size} bytes")
    family, port = _ADDRESS.unpack_from(value)
    if family != (_IPV4 if size == _IPV4_BYTES else _IPV6):
        raise StunError(f"an address of {size} bytes and family {family}")
    if size == _IPV4_BYTES:
        return f"{value[4]}.{value[5]}.{value[6]}.{value[7]}", port
    ip = ipaddress.IPv6Address(value[4:])
    # In the form of a datagram's source address: the two are compared.
    return str(unmapped(ip)), port


def _read_xor_address(value: bytes, key: bytes) -> Address:
    if len(value) not in (_IPV4_BYTES, _IPV6_BYTES):
        raise StunError(f"an address of {len(value)} bytes")
    return _read_address(xor_address(value, key), key)


def _read_change(value: bytes, _key: bytes) -> Change:
    if len(value) != _WORD.size:
        raise StunError(f"CHANGE-REQUEST has {len(value)} bytes")
    return Change(_WORD.unpack(value)[0] & Change.BOTH)


def _read_response_port(value: bytes, _key: bytes) -> int:
    # RFC 5780, section 7.5, may be read to count the two padding bytes or not: both occur.
    if len(value) not in (2, 4):
        raise StunError(f"RESPONSE-PORT has {len(value)} bytes")
    return int.from_bytes(value[:2], "big")


def _read_error(value: bytes, _key: bytes) -> tuple[int, str]:
    if len(value) < _ERROR.size:
        raise StunError(f"ERROR-CODE has {len(value)} bytes")
    hundreds, number = _ERROR.unpack_from(value)
    hundreds &= 7
    if not 3 <= hundreds <= 6 or number > 99:
        raise StunError(f"ERROR-CODE of class {hundreds} and number {number}")
    return hundreds * 100 + number, _read_hint(value[_ERROR.size :], b"").rstrip(" ")


def _read_types(value: bytes, _key: bytes) -> tuple[int, ...]:
    if len(value) & 1:
        raise StunError(f"UNKNOWN-ATTRIBUTES has {len(value)} bytes")
    # RFC 3489, section 11.2.10, repeats one to fill four bytes.
    return tuple(dict.fromkeys(struct.unpack(f"!{len(value) // 2}H", value)))


def _read_hint(value: bytes, _key: bytes) -> str:
    # For people to read only: a server's wrong encoding is no reason to ignore its message.
    if len(value) > MAX_TEXT_BYTES:
        raise StunError(f"a text of {len(value)} bytes, {MAX_TEXT_BYTES} are allowed")
    return value.decode("utf-8", "replace")


def _read_text(value: bytes, _key: bytes) -> str:
    if len(value) > MAX_TEXT_BYTES:
        raise StunError(f"a text of {len(value)} bytes, {MAX_TEXT_BYTES} are allowed")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise StunError("a text that is not UTF-8") from None


def _read_username(value: bytes, key: bytes) -> str:
    if len(value) > MAX_USERNAME_BYTES:
        raise StunError(f"USERNAME has {len(value)} bytes, {MAX_USERNAME_BYTES} are allowed")
    return _read_text(value, key)


def _read_padding(value: bytes, _key: bytes) -> int:
    return len(value)


READERS: Final[dict[int, tuple[str, Callable[[bytes, bytes], Any]]]] = {
    AttributeType.MAPPED_ADDRESS: ("mapped", _read_address),
    AttributeType.CHANGE_REQUEST: ("change_request", _read_change),
    AttributeType.SOURCE_ADDRESS: ("response_origin", _read_address),
    AttributeType.CHANGED_ADDRESS: ("other_address", _read_address),
    AttributeType.USERNAME: ("username", _read_username),
    AttributeType.ERROR_CODE: ("error", _read_error),
    AttributeType.UNKNOWN_ATTRIBUTES: ("unknown", _read_types),
    AttributeType.REALM: ("realm", _read_text),
    AttributeType.NONCE: ("nonce", _read_text),
    AttributeType.XOR_MAPPED_ADDRESS: ("xor_mapped", _read_xor_address),
    AttributeType.PADDING: ("padding", _read_padding),
    AttributeType.RESPONSE_PORT: ("response_port", _read_response_port),
    AttributeType.SOFTWARE: ("software", _read_hint),
    AttributeType.RESPONSE_ORIGIN: ("response_origin", _read_address),
    AttributeType.OTHER_ADDRESS: ("other_address", _read_address),
}
"""The field of `StunMessage` that an attribute fills, and the function that reads its value, given
the value and bytes 4 to 19 of the message.
"""
