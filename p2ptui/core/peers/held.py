"""What waits for a peer until it may be sent."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

OnLost: TypeAlias = Callable[[str, float], None]
"""Called with the reason and the time when a held message is lost."""


class Held(NamedTuple):
    """A message that waits until it may be sent."""

    data: bytes
    on_lost: OnLost | None
    number: int = 0
    """Its key in the table of all held messages."""
