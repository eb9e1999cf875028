"""What is known about one node that was met, and how far it can be trusted."""

from dataclasses import dataclass
from enum import StrEnum

from p2ptui.secure.identity import PublicKeys
from p2ptui.secure.strangers import REGULAR_AFTER_S


class Trust(StrEnum):
    """How far the identity of the other side is known."""

    VERIFIED = "verified"
    """The user has confirmed that it is the right one."""
    KNOWN = "known"
    """It has the same keys as before."""
    NEW = "new"
    """It was never met before."""
    OPEN = "open"
    """It has no keys, so nobody can tell who it is."""
    CHANGED = "changed"
    """Its name, address or id belonged to another node before, or had keys."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How far a node can be trusted.

    Args:
        trust: The judgement in a word.
        advice: What happened and what to do, in a sentence; empty if there is nothing to do.
    """

    trust: Trust
    advice: str = ""


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node with lasting keys that was met.

    Args:
        id: Its id, which is made from its keys.
        keys: Its public keys.
        name: Its name when it was last seen.
        first_seen: When it was first seen, Unix time, seconds.
        last_seen: When it was last seen, Unix time, seconds.
        verified: Whether the user has confirmed that it is the right one.
        disputed: Whether it came under the name of another node, and the user has not confirmed
            it yet.
        named: Whether the user has named it to connect to it, or has confirmed it; all others came
            by themselves.
    """

    id: str
    keys: PublicKeys
    name: str
    first_seen: float
    last_seen: float
    verified: bool = False
    disputed: bool = False
    named: bool = False

    @property
    def is_regular(self) -> bool:
        """Whether it was met over a time long enough not to be a passing stranger."""
        return not self.disputed and self.last_seen - self.first_seen >= REGULAR_AFTER_S
