"""A message in a trace: received or sent while somebody watches."""

import enum
from dataclasses import dataclass, field

from p2ptui.wire.address import Address


class Direction(enum.Enum):
    """Which way a message went."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class MessageTraced:
    """A message was received or sent; only emitted after `Node.trace(enabled=True)`."""

    direction: Direction
    """In or out."""
    address: Address
    """Where it came from, or went to."""
    node_id: str | None
    """The node at the other end, if it is known."""
    message_type: str
    """Its type."""
    size_bytes: int
    """The size of the message."""
    data: bytes = field(repr=False, default=b"")
    """The message, decrypted if it was sealed."""
    is_sealed: bool = False
    """Whether it was encrypted: nobody on the path could read or forge it."""
