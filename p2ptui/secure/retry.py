"""A stateless answer to a flood of requests: a token to repeat one with, before any key is used.

A token proves only that its bearer receives at the address that it asked from. It is good for one
ephemeral key, from one address, for 10 to 20 seconds, and until this node restarts. The bearer can
repeat the key, so exchanges with a token are limited to `EACH_PER_S`.
"""

import base64
import hmac
import re
import secrets
from typing import Final

TOKEN_LIFE_S: Final = 10.0
"""A token is good for at least this long, and for less than twice as long."""

TOKEN_BYTES: Final = 16

TOKEN_CHARS: Final = 22
"""Characters of a token: a request for another length does not come from a node of ours, and is
never repeated.
"""

ASK_ABOVE_PER_S: Final = 200.0
"""Tokens are asked for beyond this many key exchanges a second: each takes about 0.2 ms of CPU."""

EACH_PER_S: Final = 20.0
"""Key exchanges a second that one address gets under load, with tokens; the same number may come at
once.
"""

_TOKEN: Final = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_CHARS}}}")

_LABEL: Final = b"p2ptui retry token 1\0"


def is_token(text: str) -> bool:
    """Whether a text looks like a token of any node: only that node can judge its bytes."""
    return _TOKEN.fullmatch(text) is not None


class RetryTokens:
    """Makes and checks tokens with a secret that nobody else knows; keeps no other state."""

    def __init__(self, secret: bytes | None = None) -> None:
        """Args:
        secret: For tests and simulations only; else 32 random bytes of the system.
        """
        self._secret = secret or secrets.token_bytes(32)

    def make(self, address: str, exchange: bytes, now: float) -> str:
        """The token for a request.

        Args:
            address: Where the request came from, as text: HOST:PORT.
            exchange: The part of its key exchange that stays the same when it comes again: see
                `exchange.ephemeral_of`.
            now: In seconds, on a clock that does not go back.

        Returns 22 characters, URL-safe.
        """
        return self._token(address, exchange, int(now // TOKEN_LIFE_S))

    def is_good(self, token: str, address: str, exchange: bytes, now: float) -> bool:
        """Whether this token was recently made for this request."""
        given = token.encode("utf-8", "replace")
        bucket = int(now // TOKEN_LIFE_S)
        one, other = (
            hmac.compare_digest(given, self._token(address, exchange, when).encode())
            for when in (bucket, bucket - 1)
        )
        return one or other

    def _token(self, address: str, exchange: bytes, bucket: int) -> str:
        where = address.encode()
        parts = (len(where).to_bytes(2, "big"), where, bucket.to_bytes(8, "big", signed=True))
        mac = hmac.digest(self._secret, _LABEL + b"".join(parts) + exchange, "sha256")
        return base64.urlsafe_b64encode(mac[:TOKEN_BYTES]).rstrip(b"=").decode("ascii")


class LoadMeter:
    """Tells when there are more key exchange requests than are answered without a token."""

    def __init__(self, per_s: float = ASK_ABOVE_PER_S) -> None:
        """Args:
        per_s: How many a second are too many; as many may also come at once.
        """
        self._per_s = per_s
        self._level = 0.0
        self._since: float | None = None

    def note(self, now: float) -> None:
        """Record a request with a key exchange, whatever becomes of it."""
        self._sink(now)
        # Bounded, so that the load is over a second after the flood is.
        self._level = min(self._level + 1.0, 2 * self._per_s)

    def is_high(self, now: float) -> bool:
        """Whether to ask for a token."""
        self._sink(now)
        return self._level > self._per_s

    def _sink(self, now: float) -> None:
        since = now if self._since is None else self._since
        self._level = max(0.0, self._level - max(0.0, now - since) * self._per_s)
        self._since = max(now, since)
