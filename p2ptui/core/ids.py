"""Message ids and nonces from one source of randomness, drawn in batches."""

import random
from hashlib import blake2b
from typing import Final
from uuid import UUID

_BATCH: Final = 256
"""Ids per draw: one system call and one formatting for this many."""

_ID_LENGTH: Final = 36
"""Characters of a UUID as text."""


class IdSource:
    """Makes UUIDs (version 4) and nonces.

    Args:
        rng: Where the bits come from: `random.SystemRandom` in a real node, since an id
            that comes back is taken as proof of address; a seeded `random.Random` in tests.
    """

    __slots__ = ("_digits", "_left", "_rng")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._digits = ""
        """The bits of the latest draw: 32 digits for each id."""
        self._left: list[bytes] = []
        """Ids of the draw that were not handed out, the next one last."""

    def uuid(self) -> str:
        """A fresh UUID in canonical text (RFC 9562, version 4)."""
        return self.uuid_bytes().decode("ascii")

    def uuid_bytes(self) -> bytes:
        """The same as ASCII, as it appears in a datagram."""
        if not self._left:
            self._draw()
        return self._left.pop()

    def nonce(self) -> str:
        """Sixteen hexadecimal digits that nobody can guess."""
        if not self._left:
            self._draw()
        start = 32 * (_BATCH - len(self._left))
        self._left.pop()
        return self._digits[start : start + 16]

    def _draw(self) -> None:
        self._digits = self._rng.getrandbits(128 * _BATCH).to_bytes(16 * _BATCH, "big").hex()
        self._left = uuid_texts(self._digits)
        self._left.reverse()


def uuid_texts(digits: str) -> list[bytes]:
    """Write many UUIDs (version 4) at once: one column of all of them at a time.

    Args:
        digits: 32 hexadecimal digits for each.

    Returns:
        The 36 characters of each.
    """
    source = digits.encode("ascii")
    texts = bytearray(len(source) // 32 * _ID_LENGTH)
    for column, place in enumerate(_PLACES):
        texts[place::_ID_LENGTH] = source[column::32]
    count = len(source) // 32
    for place in _HYPHENS:
        texts[place::_ID_LENGTH] = b"-" * count
    texts[_VERSION_AT::_ID_LENGTH] = b"4" * count
    texts[_VARIANT_AT::_ID_LENGTH] = source[16::32].translate(_VARIANT)
    whole = bytes(texts)
    return [whole[start : start + _ID_LENGTH] for start in range(0, len(whole), _ID_LENGTH)]


def id_of_ack(message_id: str) -> str:
    """The id of the Ack of a HandshakeResponse: it is derived from the response's id, which only
    its receiver knows, and carries more than the 32 bits of a number."""
    return str(UUID(bytes=blake2b(message_id.encode(), digest_size=16).digest(), version=4))


class Secrets:
    """Numbers and ids derived from their purpose, which nobody else can predict.

    Args:
        rng: Where the secret comes from; it is drawn when first needed.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._key = b""

    def of(self, *what: object) -> tuple[int, str]:
        """A 32-bit number and a message id, the same each time for the same purpose.

        Args:
            what: The purpose.
        """
        if not self._key:
            self._key = self._rng.getrandbits(256).to_bytes(32, "big")
        digest = blake2b(repr(what).encode(), digest_size=20, key=self._key).digest()
        return int.from_bytes(digest[:4], "big"), str(UUID(bytes=digest[4:], version=4))


_HYPHENS: Final = (8, 13, 18, 23)
_PLACES: Final = tuple(place for place in range(_ID_LENGTH) if place not in _HYPHENS)
"""The position of each of the 32 digits."""
_VERSION_AT: Final = 14
_VARIANT_AT: Final = 19
_VARIANT: Final = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)
"""The first two bits of this digit are fixed (RFC 9562, section 4.1)."""
