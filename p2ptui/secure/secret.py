"""Values that are never shown by accident, and keys in the form in which people and files hold
them.

A written key is a prefix that names its kind, and base32 of 32 bytes and a four-byte checksum, so
that a mistyped, shortened or wrong key is detected.

Every start of the program imports this, even for `--version`, so what it needs is loaded lazily.
"""

import re
from enum import Enum
from typing import Final, NoReturn

from p2ptui.errors import LocalError
from p2ptui.interpreted import interpreted

SECRET_BYTES: Final = 32
_CHECK_BYTES: Final = 4


class KeyTextError(LocalError):
    """A text that is not the key it should be; the message never shows the text."""


@interpreted
class Hidden(bytes):
    """The bytes of a secret: visible to computations, hidden from anything that displays them.

    A crash report may show the local variables of every active function.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "bytes(hidden)"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, form: str) -> str:
        return format(repr(self), form)


class Secret:
    """Bytes that neither `repr`, nor formatting, a log or a pickle shows; only `reveal` does.

    Args:
        value: The bytes.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = Hidden(value)

    def reveal(self) -> bytes:
        """The bytes; anything sliced from them, or concatenated with them, is shown like any other
        bytes.
        """
        return self._value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __eq__(self, other: object) -> bool:
        from hmac import compare_digest  # constant time reveals nothing

        return isinstance(other, Secret) and compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(Secret)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written down")


class KeyKind(Enum):
    """The kinds of written keys, by their prefix."""

    SEED = "p2ptui-seed-"
    """The seed of a node's identity; in one file of its user."""
    NETWORK = "p2ptui-net-"
    """Shared by all nodes of a network."""

    @property
    def words(self) -> str:
        """What it is, for people."""
        return {"SEED": "the seed of an identity", "NETWORK": "a network key"}[self.name]


_TEXT_LENGTH: Final = -(-(SECRET_BYTES + _CHECK_BYTES) * 8 // 5)
_LIKE_KEY: Final = re.compile(r"p2ptui-(seed|net)-[a-z2-7]{16}")
_RAW_KEY: Final = re.compile(r"[0-9a-f]{64}|[a-z0-9+/_-]{43}=?", re.IGNORECASE)
"""32 bytes as other programs write them."""

MAX_KEY_TEXT: Final = 256
"""Length of a file that should hold a key; anything longer is not one."""


def looks_like_key(text: str) -> bool:
    """Whether a text seems to be a key itself, and so should not be repeated to anyone."""
    return _LIKE_KEY.search(text.lower()) is not None


def looks_like_raw_key(text: str) -> bool:
    """Whether a text seems to be 32 bytes in hexadecimal or base64, and so a key, although not one
    written by p2ptui.
    """
    return _RAW_KEY.fullmatch(text.strip()) is not None


def write_key(kind: KeyKind, key: Secret) -> str:
    """Write a key as text, without a newline.

    Args:
        kind: Its kind.
        key: The key, 32 bytes.

    Raises:
        ValueError: It has the wrong size.
    """
    from base64 import b32encode

    if len(key.reveal()) != SECRET_BYTES:
        raise ValueError("a key has 32 bytes")
    body = key.reveal() + _checksum(kind, key.reveal())
    return kind.value + b32encode(body).decode("ascii").rstrip("=").lower()


def read_key(kind: KeyKind, text: str) -> Secret:
    """Read what `write_key` wrote; surrounding blanks and letter case do not matter.

    Args:
        kind: The expected kind.
        text: The text as the user gave it.

    Raises:
        KeyTextError: It is not one; says why, and what to do, without the text.
    """
    from base64 import b32decode
    from hmac import compare_digest

    text = text.strip().lower()
    if not text:
        raise KeyTextError(f"is empty, where {kind.words} should be")
    for other in KeyKind:
        if other is not kind and text.startswith(other.value):
            raise KeyTextError(f"holds {other.words}, not {kind.words}")
    if not text.startswith(kind.value):
        raise KeyTextError(f"does not hold {kind.words}, which begins with {kind.value}")
    body = text.removeprefix(kind.value)
    if len(body) != _TEXT_LENGTH:
        what = "short" if len(body) < _TEXT_LENGTH else "long"
        raise KeyTextError(
            f"holds {kind.words} that is too {what}: {len(body)} characters after {kind.value},"
            f" of {_TEXT_LENGTH}"
        )
    try:
        raw = b32decode(body.upper() + "=" * (-len(body) % 8))
    except ValueError:  # includes base64's error
        raise KeyTextError(f"holds {kind.words} with a character that is none of its own") from None
    key = Secret(raw[:SECRET_BYTES])
    # Written again and compared, since the last letter has bits to spare.
    if not compare_digest(write_key(kind, key).encode("ascii"), text.encode()):
        raise KeyTextError(f"holds {kind.words} that is damaged or mistyped")
    return key


def _checksum(kind: KeyKind, value: bytes) -> bytes:
    from hashlib import sha256

    return sha256(b"p2ptui key 1" + kind.value.encode() + value).digest()[:_CHECK_BYTES]
