"""How a node is reached, and what that took: the explanation for people and programs."""

from dataclasses import dataclass
from enum import Enum

from p2ptui.text import counted


class Method(Enum):
    """How a path was found."""

    PLAIN = "plain"
    """Each side sent to where the other was seen."""
    PREDICTED = "predicted"
    """The next port of a NAT was predicted."""
    BIRTHDAY = "birthday"
    """One of many guessed ports matched one of many sockets."""
    RELAY = "relay"
    """No direct path was found: a server relays."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How a peer is reached, and what it cost to find the path."""

    method: Method
    """How the path was found."""
    direct_after_s: float | None = None
    """Seconds from the beginning of the search to the latest direct path."""
    attempts: int = 0
    """Rounds of checks, in all searches."""
    checks: int = 0
    """Checks sent, in all searches."""
    bytes_spent: int = 0
    """Bytes of these checks and of the answers to the other side's."""
    reason: str | None = None
    """Why it is relayed, in one line; may contain the words of a server."""

    def words(self, *, relayed: bool) -> str:
        """Explain the connection in one line."""
        if relayed:
            return f"relayed: {self.reason or 'still searching for a direct path'}"
        if self.direct_after_s is None:
            return "direct"
        took = f"{self.direct_after_s * 1000:.0f} ms"
        counts = (self.attempts, "attempt"), (self.checks, "check"), (self.bytes_spent, "byte")
        spent = ", ".join(counted(number, what) for number, what in counts)
        return f"direct after {took} ({self.method.value}; {spent})"
