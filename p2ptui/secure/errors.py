"""What can go wrong in a key exchange or a secured session: one exception, with its reason."""

import enum

from p2ptui.errors import P2PError


class Reason(enum.StrEnum):
    """Why something was refused, for code and for counters; the error's text says more."""

    ALTERED = "altered"
    """It does not authenticate: altered, forged, from another session, or made with another key."""
    BAD_KEY = "bad_key"
    """A key of the wrong length, or one whose result with any key is zero (RFC 7748, 6.1)."""
    EXHAUSTED = "exhausted"
    """The key has been used as often as is allowed."""
    MALFORMED = "malformed"
    """Not of the form that it claims, or cut short."""
    NETWORK_KEY_DIFFERS = "network_key_differs"
    """The other side uses another network key, or the end of its message was altered."""
    NETWORK_KEY_MISSING = "network_key_missing"
    """The other side uses a network key, and this side has none."""
    NETWORK_KEY_WANTED = "network_key_wanted"
    """This side requires a network key, and the other one uses none."""
    OUT_OF_TURN = "out_of_turn"
    """Not the next step: a mistake of the caller."""
    REPLAYED = "replayed"
    """It came before, or is too old to tell."""
    TOO_LONG = "too_long"
    """More bytes than a message may have."""
    UNKNOWN_PATTERN = "unknown_pattern"
    """A kind of key exchange that this side does not know."""
    UNKNOWN_SESSION = "unknown_session"
    """There is no session with this number, or its keys were forgotten."""


class SecureError(P2PError):
    """A key exchange or a secured datagram is refused; it has changed nothing."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
