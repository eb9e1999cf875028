"""What is known of one node: who it is, what is made of that, and how it stands in the file."""

import base64
import binascii
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from p2ptui.errors import LocalError
from p2ptui.secure.identity import KEY_BYTES, PublicKeys
from p2ptui.text import printable

MAX_KNOWN_NAME: Final = 64


class Trust(StrEnum):
    """What is known of who is on the other side."""

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
class Judgement:
    """What to make of a node.

    Args:
        trust: The judgement in a word.
        advice: What happened and what to do, in a sentence; empty if there is nothing to do.
    """

    trust: Trust
    advice: str = ""


_OPEN: Final = Judgement(Trust.OPEN)
"""What nearly all without keys are judged, in one object."""


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node with lasting keys that was met.

    Args:
        id: Its id, which is made from its keys.
        keys: Its public keys.
        name: What it called itself when it was last seen.
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


def written_node(node: KnownNode) -> dict[str, Any]:
    """A node as JSON takes it."""
    written: dict[str, Any] = {
        "id": node.id,
        "x25519": _key_text(node.keys.x_public),
        "ed25519": _key_text(node.keys.ed_public),
        "name": node.name,
        "first_seen": round(node.first_seen),
        "last_seen": round(node.last_seen),
        "verified": node.verified,
        "disputed": node.disputed,
    }
    if node.named:
        written["named"] = True
    return written


def written_address(known: KnownAddress) -> dict[str, Any]:
    """Likewise who answers at an address."""
    written = {"id": known.id, "claimed_by": known.claimed_by}
    if known.passing_keys is not None:
        written["x25519"] = _key_text(known.passing_keys.x_public)
        written["ed25519"] = _key_text(known.passing_keys.ed_public)
    return written


def read_address(entry: Any) -> KnownAddress:
    """Read what `written_address` wrote; any error of what is no such thing."""
    keys = None
    if "x25519" in entry:
        keys = PublicKeys(_key_bytes(entry["x25519"]), _key_bytes(entry["ed25519"]))
        if keys.id != entry["id"]:
            raise ValueError
    return KnownAddress(str(entry["id"]), str(entry["claimed_by"]), keys)


def read_node(entry: Any) -> KnownNode:
    """Read what `written_node` wrote; any error of what is no such thing."""
    keys = PublicKeys(_key_bytes(entry["x25519"]), _key_bytes(entry["ed25519"]))
    name, verified, disputed = entry["name"], entry["verified"], entry["disputed"]
    named = entry.get("named", verified)  # earlier versions did not write it
    times = float(entry["first_seen"]), float(entry["last_seen"])
    sound = (
        isinstance(name, str)
        and len(name) <= MAX_KNOWN_NAME
        and isinstance(verified, bool)
        and isinstance(disputed, bool)
        and isinstance(named, bool)
        and all(map(math.isfinite, times))
        and keys.id == entry["id"]
    )
    if not sound:
        raise ValueError
    return KnownNode(
        keys.id, keys, name, *times, verified=verified, disputed=disputed, named=named or verified
    )


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
