"""Handshake patterns as data (Noise, sections 7 and 9): who sends which token in which message."""

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Pattern:
    """One handshake pattern."""

    name: str
    """With its modifiers: "XXpsk3"."""
    messages: tuple[tuple[str, ...], ...]
    """The tokens of each message; the initiator writes the first one, then they alternate."""
    is_static_known: bool = False
    """Whether the initiator must know the responder's static key before (`<- s`)."""
    protocol_name: bytes = field(init=False)
    """The full name, which both sides hash (section 8)."""
    psks: int = field(init=False)
    """How many pre-shared keys it takes."""

    def __post_init__(self) -> None:
        name = f"Noise_{self.name}_25519_ChaChaPoly_SHA256".encode()
        object.__setattr__(self, "protocol_name", name)
        psks = sum(tokens.count("psk") for tokens in self.messages)
        object.__setattr__(self, "psks", psks)

    @property
    def is_one_way(self) -> bool:
        """Whether only the initiator speaks, then too when the handshake is over (section 7.4)."""
        return len(self.messages) == 1


XX: Final = Pattern("XX", (("e",), ("e", "ee", "s", "es"), ("s", "se")))
XXpsk3: Final = Pattern("XXpsk3", (("e",), ("e", "ee", "s", "es"), ("s", "se", "psk")))
X: Final = Pattern("X", (("e", "es", "s", "ss"),), is_static_known=True)
Xpsk1: Final = Pattern("Xpsk1", (("e", "es", "s", "ss", "psk"),), is_static_known=True)

PATTERNS: Final = {pattern.name: pattern for pattern in (XX, XXpsk3, X, Xpsk1)}
"""By name."""
