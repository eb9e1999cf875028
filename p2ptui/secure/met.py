"""Who is on the other side of a session, or answers at an address; and keys in writing."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

from p2ptui.errors import LocalError
from p2ptui.secure.identity import KEY_BYTES, PublicKeys
from p2ptui.text import printable

MAX_KNOWN_NAME: Final = 64


@dataclass(slots=True, init=False, unsafe_hash=True)
class Met:
    """Who is on the other side of a session.

    Args:
        id: Its node id; proved by the key exchange, if it has keys.
        keys: Its public keys; None for a node without any.
        name: What it calls itself.
        joined: The address at which the user joined it, as typed; None if that was not so.
        ephemeral: Whether it says that its keys last no longer than it runs.
        signer: For an ephemeral node: whose it is, by a statement that was checked.
        asks: Whether it has asked for the session, and not answered.
        came_from: The host from which it came by itself; None where the user has named it.
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
        """Its name, or its id without one; fit to be shown."""
        return printable(self.name, MAX_KNOWN_NAME) or self.id

    def as_named(self) -> "Met":
        """The same, where the user has named it."""
        return Met(
            self.id, self.keys, self.name, self.joined, self.ephemeral, self.signer, self.asks
        )

    @property
    def lasting_id(self) -> str:
        """The id to know it by: that of its user's identity, where it is an ephemeral node."""
        return self.signer.id if self.ephemeral and self.signer is not None else self.id


@dataclass(frozen=True, slots=True)
class KnownAddress:
    """Who answers at an address that the user joined.

    Args:
        id: The node that did first, or that the user trusts.
        claimed_by: Another one that has answered there since; empty if there was none.
        passing_keys: Those of the node, where they lasted no longer than it ran: any other with
            keys may come in its place.
    """

    id: str
    claimed_by: str = ""
    passing_keys: PublicKeys | None = None


class DamagedError(LocalError):
    """Known nodes that cannot be read; the text says what is wrong, without the file's name."""


def written_address(known: KnownAddress) -> dict[str, Any]:
    """Who answers at an address, as JSON takes it."""
    written = {"id": known.id, "claimed_by": known.claimed_by}
    if known.passing_keys is not None:
        written |= written_keys(known.passing_keys)
    return written


def read_address(entry: Any) -> KnownAddress:
    """Read what `written_address` wrote; any error of what is no such thing."""
    keys = None
    if "x25519" in entry:
        keys = read_keys(entry)
        if keys.id != entry["id"]:
            raise ValueError
    return KnownAddress(str(entry["id"]), str(entry["claimed_by"]), keys)


def written_keys(keys: PublicKeys) -> dict[str, str]:
    """Keys as JSON takes them."""
    return {"x25519": _key_text(keys.x_public), "ed25519": _key_text(keys.ed_public)}


def read_keys(entry: Any) -> PublicKeys:
    """Read what `written_keys` wrote; any error of what is no such thing."""
    return PublicKeys(_key_bytes(entry["x25519"]), _key_bytes(entry["ed25519"]))


def _key_text(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")


def _key_bytes(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError from None
    if len(key) != KEY_BYTES:
        raise ValueError
    return key
