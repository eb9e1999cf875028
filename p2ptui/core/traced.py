"""A message as it is traced: what came or went, while somebody watches."""

import enum
from dataclasses import dataclass, field

from p2ptui.wire.address import Address


class Direction(enum.Enum):
    """Which way a message went."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class MessageTraced:
    """A message came or went; only emitted while somebody traces."""

    direction: Direction
    address: Address
    node_id: str | None
    message_type: str
    size_bytes: int
    data: bytes = field(repr=False, default=b"")
    """What was inside, where it travelled under seal."""
    is_sealed: bool = False
    """Whether nobody on the way could read it, and only that node can have written it."""
