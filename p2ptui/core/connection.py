"""How a node is reached, and what it took: the explanation that people and programs are given."""

from dataclasses import dataclass
from enum import Enum


class Method(Enum):
    """How a path was won."""

    PLAIN = "plain"
    """Each side sent to where the other was seen."""
    PREDICTED = "predicted"
    """The next port of a NAT was predicted."""
    BIRTHDAY = "birthday"
    """One of many guessed ports met one of many sockets."""
    RELAY = "relay"


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection, explained."""

    method: Method
    direct_after_s: float | None = None
    """From the beginning of the search to the latest direct path, seconds."""
    checks: int = 0
    """Checks sent for it, over all searches."""
    bytes_spent: int = 0
    """Bytes of those."""
    reason: str | None = None
    """Why it is relayed, in one line."""
