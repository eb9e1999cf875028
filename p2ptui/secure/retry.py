"""A stateless answer to a flood of requests: come again with this token, before any key is used.

A token proves that its bearer receives at the address that it asked from, and nothing else. It is
good for the ephemeral key that it was asked with, from one address, for 10 to 20 seconds, and until
this node restarts. It pays for no more exchanges than `EACH_PER_S`: its bearer can repeat the key.
"""

import base64
import hmac
import re
import secrets
from typing import Final

TOKEN_LIFE_S: Final = 10.0
"""A token is good for at least this long, and less than twice as long."""

TOKEN_BYTES: Final = 16

TOKEN_CHARS: Final = 22
"""Of a token as text: what asks for another length is no node of ours, and is repeated nowhere."""

ASK_ABOVE_PER_S: Final = 200.0
"""More key exchanges a second than this, and tokens are asked for: about 0.2 ms of CPU each."""

EACH_PER_S: Final = 20.0
"""So many key exchanges a second one address has under load, with tokens; as many at once."""

_TOKEN: Final = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_CHARS}}}")

_LABEL: Final = b"p2ptui retry token 1\0"


def is_token(text: str) -> bool:
    """Whether a text looks like a token, of whatever node: its bytes are for that one to judge."""
    return _TOKEN.fullmatch(text) is not None


class RetryTokens:
    """Makes and checks tokens with a secret that nobody else knows; keeps nothing else."""

    def __init__(self, secret: bytes | None = None) -> None:
        """Args:
        secret: For tests and simulations only; else 32 random bytes of the system.
        """
        self._secret = secret or secrets.token_bytes(32)

    def make(self, address: str, exchange: bytes, now: float) -> str:
        """The token for a request.

        Args:
            address: Where the request came from, as text: HOST:PORT.
            exchange: What of its key exchange stays when it comes again: see
                `exchange.ephemeral_of`.
            now: In seconds, on a clock that does not go back.

        Returns 22 characters, URL-safe.
        """
        return self._token(address, exchange, int(now // TOKEN_LIFE_S))

    def is_good(self, token: str, address: str, exchange: bytes, now: float) -> bool:
        """Whether this token was made for such a request, and not long ago."""
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
    """Says when there are more requests for a key exchange than are answered without a token."""

    def __init__(self, per_s: float = ASK_ABOVE_PER_S) -> None:
        """Args:
        per_s: How many a second are too many; as many may also come at once.
        """
        self._per_s = per_s
        self._level = 0.0
        self._since: float | None = None

    def note(self, now: float) -> None:
        """A request with a key exchange has come, whatever becomes of it."""
        self._sink(now)
        # Bounded, so that it is over a second after the flood is.
        self._level = min(self._level + 1.0, 2 * self._per_s)

    def is_high(self, now: float) -> bool:
        """Whether to ask for a token."""
        self._sink(now)
        return self._level > self._per_s

    def _sink(self, now: float) -> None:
        since = now if self._since is None else self._since
        self._level = max(0.0, self._level - max(0.0, now - since) * self._per_s)
        self._since = max(now, since)
