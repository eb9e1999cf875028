"""Who is on the other side of a session, or answers at an address."""

from dataclasses import dataclass
from typing import Final

from p2ptui.secure.identity import PublicKeys
from p2ptui.text import printable

MAX_KNOWN_NAME: Final = 64


@dataclass(slots=True, init=False, unsafe_hash=True)
class Met:
    """Who is on the other side of a session.

    Args:
        id: Its node id; proved by the key exchange, if it has keys.
        keys: Its public keys; None for a node without any.
        name: What it calls itself.
        joined: The address at which the user joined it, as typed; None if there was none.
        ephemeral: Whether it says that its keys last no longer than it runs.
        signer: For an ephemeral node: its owner, by a verified statement.
        asks: Whether it has asked for the session, and not answered.
        came_from: The host from which it came by itself; None if the user has named it.
    """

    id: Final[str]
    keys: Final[PublicKeys | None]
    name: Final[str]
    joined: Final[str | None]
    ephemeral: Final[bool]
    signer: Final[PublicKeys | None]
    asks: Final[bool]
    came_from: Final[str | None]

    def __init__(
        self,
        id: str,  # noqa: A002
        keys: PublicKeys | None,
        name: str,
        joined: str | None = None,
        ephemeral: bool = False,
        signer: PublicKeys | None = None,
        asks: bool = False,
        came_from: str | None = None,
    ) -> None:
        self.id = id
        self.keys = keys
        self.name = name
        self.joined = joined
        self.ephemeral = ephemeral
        self.signer = signer
        self.asks = asks
        self.came_from = came_from

    @property
    def called(self) -> str:
        """Its name, or its id if it has none; safe to display."""
        return printable(self.name, MAX_KNOWN_NAME) or self.id

    def as_named(self) -> "Met":
        """The same node, as one that the user has named."""
        return Met(
            self.id, self.keys, self.name, self.joined, self.ephemeral, self.signer, self.asks
        )

    @property
    def lasting_id(self) -> str:
        """The id to know it by: for an ephemeral node, that of its user's identity."""
        return self.signer.id if self.ephemeral and self.signer is not None else self.id
