"""A value that is never shown by accident, and how keys are written for people and files.

A key in writing is a prefix that says of what kind it is, and base32 of 32 bytes and four bytes of
a checksum, so that a mistyped, shortened or wrong one is told from a right one.

Each start of the program imports this, also for `--version`: what it needs is loaded when it is.
"""

import re
from enum import Enum
from typing import Final, NoReturn

from p2ptui.errors import LocalError
from p2ptui.interpreted import interpreted

SECRET_BYTES: Final = 32
_CHECK_BYTES: Final = 4


class KeyTextError(LocalError):
    """A text that is not the key it should be; what it says never shows the text."""


@interpreted
class Hidden(bytes):
    """The bytes of a secret: what is computed with them sees them, and what shows them does not.

    A crash report may show the names of every function that was under way.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "bytes(hidden)"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, form: str) -> str:
        return format(repr(self), form)


class Secret:
    """Bytes that neither `repr`, nor a format, a log or a pickle shows; `reveal` does.

    Args:
        value: The bytes.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = Hidden(value)

    def reveal(self) -> bytes:
        """The bytes; what is cut out of them, or added to them, is shown like any other."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __eq__(self, other: object) -> bool:
        from hmac import compare_digest  # in constant time, which tells nothing

        return isinstance(other, Secret) and compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(Secret)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written down")


class KeyKind(Enum):
    """What a key in writing is, by its prefix."""

    SEED = "p2ptui-seed-"
    """Of a node's identity; in one file of its user."""
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
"""Of a file that should hold a key; whatever is longer is none."""


def looks_like_key(text: str) -> bool:
    """Whether a text seems to be a key itself, and is better not repeated to anybody."""
    return _LIKE_KEY.search(text.lower()) is not None


def looks_like_raw_key(text: str) -> bool:
    """Whether a text seems to be 32 bytes in hexadecimal or base64, and so a key, though not as
    p2ptui writes one."""
    return _RAW_KEY.fullmatch(text.strip()) is not None


def write_key(kind: KeyKind, key: Secret) -> str:
    """A key in writing, without a line's end.

    Args:
        kind: What it is.
        key: Of 32 bytes.

    Raises:
        ValueError: It has another size.
    """
    from base64 import b32encode

    if len(key.reveal()) != SECRET_BYTES:
        raise ValueError("a key has 32 bytes")
    body = key.reveal() + _checksum(kind, key.reveal())
    return kind.value + b32encode(body).decode("ascii").rstrip("=").lower()


def read_key(kind: KeyKind, text: str) -> Secret:
    """Read what `write_key` wrote; blanks around it and capitals do not matter.

    Args:
        kind: What it must be.
        text: What somebody wrote.

    Raises:
        KeyTextError: It is none; says why, and what to do, without the text.
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
    except ValueError:  # of which that of base64 is one
        raise KeyTextError(f"holds {kind.words} with a character that is none of its own") from None
    key = Secret(raw[:SECRET_BYTES])
    # Written again, since the last letter has bits to spare.
    if not compare_digest(write_key(kind, key).encode("ascii"), text.encode()):
        raise KeyTextError(f"holds {kind.words} that is damaged or mistyped")
    return key


def _checksum(kind: KeyKind, value: bytes) -> bytes:
    from hashlib import sha256

    return sha256(b"p2ptui key 1" + kind.value.encode() + value).digest()[:_CHECK_BYTES]
