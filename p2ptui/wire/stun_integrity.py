"""Authentication of STUN messages: MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT."""

import hashlib
import hmac
import struct
import unicodedata
import zlib
from typing import Final

from p2ptui.wire.stun_attributes import (
    HEADER_BYTES,
    AttributeType,
    StunError,
    attributes,
    write_attribute,
)

MIN_SHA256_BYTES: Final = 16
"""RFC 8489, section 14.6: a truncated HMAC has at least 16 bytes and a multiple of four."""

_SHA1_BYTES: Final = 20
_SHA256_BYTES: Final = 32
_FINGERPRINT_BYTES: Final = 4

_FINGERPRINT_XOR: Final = 0x5354554E
"""RFC 8489, section 14.7: keeps another protocol's CRC-32 at the end from passing as a fingerprint.
"""

_LENGTH: Final = struct.Struct("!H")


def short_term_key(password: str) -> bytes:
    """The key for a password that belongs to one session (RFC 8489, section 9.1.1)."""
    return _opaque(password).encode()


def long_term_key(username: str, realm: str, password: str) -> bytes:
    """The 16-byte key of a user within a realm, by MD5 (RFC 8489, section 9.2.2)."""
    text = ":".join(map(_opaque, (username, realm, password)))
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()


def verify_integrity(data: bytes, key: bytes) -> bool:
    """Whether a message carries a MESSAGE-INTEGRITY made with `key`.

    Args:
        data: The whole message, as it was received and decoded. A message of RFC 3489 never passes:
            its HMAC is computed over other bytes.
        key: From `short_term_key` or `long_term_key`.

    Raises:
        StunError: The bytes are not a message.
    """
    place = _find(data, AttributeType.MESSAGE_INTEGRITY)
    if place is None or place[1] != _SHA1_BYTES:
        return False
    start, size = place
    expected = _hmac(data[: start - 4], key, "sha1", _SHA1_BYTES)
    return hmac.compare_digest(expected, data[start : start + size])


def verify_integrity_sha256(data: bytes, key: bytes) -> bool:
    """Whether a message carries a MESSAGE-INTEGRITY-SHA256, truncated or not, made with `key`.

    Args and errors are those of `verify_integrity`; see RFC 8489, section 14.6.
    """
    place = _find(data, AttributeType.MESSAGE_INTEGRITY_SHA256)
    if place is None:
        return False
    start, size = place
    if not MIN_SHA256_BYTES <= size <= _SHA256_BYTES or size & 3:
        return False
    expected = _hmac(data[: start - 4], key, "sha256", size)
    return hmac.compare_digest(expected[:size], data[start : start + size])


def with_integrity(data: bytes, key: bytes) -> bytes:
    """The message with a MESSAGE-INTEGRITY at its end (RFC 8489, section 14.5)."""
    value = _hmac(data, key, "sha1", _SHA1_BYTES)
    return _append(data, AttributeType.MESSAGE_INTEGRITY, value)


def with_integrity_sha256(data: bytes, key: bytes) -> bytes:
    """The message with a full MESSAGE-INTEGRITY-SHA256 at its end (RFC 8489, section 14.6)."""
    value = _hmac(data, key, "sha256", _SHA256_BYTES)
    return _append(data, AttributeType.MESSAGE_INTEGRITY_SHA256, value)


def with_fingerprint(data: bytes) -> bytes:
    """The message with a FINGERPRINT at its end (RFC 8489, section 14.7)."""
    longer = _with_room(data, _FINGERPRINT_BYTES)
    return _append(data, AttributeType.FINGERPRINT, fingerprint_of(longer))


def check_fingerprint(data: bytes, start: int, size: int) -> None:
    """Check the FINGERPRINT whose value of `size` bytes is at `start`.

    Raises:
        StunError: It is not the message's last attribute, or does not match its bytes.
    """
    if size != _FINGERPRINT_BYTES or start + size != len(data):
        raise StunError("FINGERPRINT is not the last four bytes")
    if data[start:] != fingerprint_of(data[: start - 4]):
        raise StunError("FINGERPRINT does not fit the message")


def _find(data: bytes, wanted: int) -> tuple[int, int] | None:
    for kind, start, size in attributes(data):
        if kind == wanted:
            return start, size
        if kind == AttributeType.MESSAGE_INTEGRITY_SHA256:
            break  # what follows is not protected and does not count
    return None


def _hmac(before: bytes, key: bytes, digest: str, size: int) -> bytes:
    return hmac.digest(key, _with_room(before, size), digest)


def _with_room(data: bytes, size: int) -> bytes:
    # The length in the header counts up to the end of the attribute being computed, and nothing
    # after it.
    length = len(data) - HEADER_BYTES + 4 + size
    if length > 0xFFFF:
        raise StunError(f"attributes of {length} bytes fit no message")
    return data[:2] + _LENGTH.pack(length) + data[4:]


def _append(data: bytes, kind: int, value: bytes) -> bytes:
    return _with_room(data, len(value)) + write_attribute(kind, value)


def fingerprint_of(before: bytes) -> bytes:
    """The value of FINGERPRINT after these bytes of a message, whose length already counts it."""
    return (zlib.crc32(before) ^ _FINGERPRINT_XOR).to_bytes(_FINGERPRINT_BYTES, "big")


def _opaque(text: str) -> str:
    # OpaqueString (RFC 8265, section 4.2.2): every space becomes the ASCII one, then NFC.
    if text.isascii():
        return text  # unchanged: the usual case, run for each check
    spaces = "".join(" " if unicodedata.category(char) == "Zs" else char for char in text)
    return unicodedata.normalize("NFC", spaces)
