"""Handshake patterns as data (Noise, sections 7 and 9): which side sends which tokens in which
message.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Pattern:
    """One handshake pattern."""

    name: str
    """Includes modifiers: "XXpsk3"."""
    messages: tuple[tuple[str, ...], ...]
    """The tokens of each message; the initiator writes the first one, then they alternate."""
    protocol_name: bytes
    """The full name, which both sides hash (section 8)."""
    psks: int
    """How many pre-shared keys it takes."""
    is_static_known: bool
    """Whether the initiator must know the responder's static key beforehand (`<- s`)."""

    @property
    def is_one_way(self) -> bool:
        """Whether only the initiator speaks, even after the handshake (section 7.4)."""
        return len(self.messages) == 1


def _pattern(name: str, *messages: tuple[str, ...], is_static_known: bool = False) -> Pattern:
    full = f"Noise_{name}_25519_ChaChaPoly_SHA256".encode()
    psks = sum(tokens.count("psk") for tokens in messages)
    return Pattern(name, messages, full, psks, is_static_known)


XX: Final = _pattern("XX", ("e",), ("e", "ee", "s", "es"), ("s", "se"))
XXpsk3: Final = _pattern("XXpsk3", ("e",), ("e", "ee", "s", "es"), ("s", "se", "psk"))
X: Final = _pattern("X", ("e", "es", "s", "ss"), is_static_known=True)
Xpsk1: Final = _pattern("Xpsk1", ("e", "es", "s", "ss", "psk"), is_static_known=True)

PATTERNS: Final = {pattern.name: pattern for pattern in (XX, XXpsk3, X, Xpsk1)}
"""By name."""
