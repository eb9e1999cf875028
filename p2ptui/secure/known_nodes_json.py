"""Known nodes as plain values, for JSON."""

import base64
import binascii
from collections.abc import Iterable
from typing import Any, Final

from p2ptui.errors import LocalError
from p2ptui.secure.identity import KEY_BYTES, PublicKeys
from p2ptui.secure.known_addresses import MAX_KNOWN_ADDRESSES, KnownAddress
from p2ptui.secure.known_node import KnownNode
from p2ptui.secure.met import MAX_KNOWN_NAME
from p2ptui.text import shown

FORM: Final = 1

LATEST_S: Final = 250_000_000_000
"""Unix time, seconds, before or after 1970: no clock goes that far. Calendars of some systems end
earlier."""


class DamagedError(LocalError):
    """Known nodes that cannot be read; the text says what is wrong, without the file's name."""


def written(
    nodes: Iterable[KnownNode], addresses: Iterable[tuple[str, KnownAddress]]
) -> dict[str, Any]:
    """All nodes, and who answers at which address."""
    return {
        "form": FORM,
        "nodes": [_written_node(node) for node in nodes],
        "addresses": {key: _written_address(at) for key, at in addresses},
    }


def read(content: Any, most_nodes: int) -> tuple[list[KnownNode], dict[str, KnownAddress]]:
    """Read what `written` wrote.

    Args:
        content: What it wrote.
        most_nodes: The most nodes that are ever written.

    Raises:
        DamagedError: Anything in it is not as `written` writes it.
    """
    try:
        if content["form"] != FORM:
            raise DamagedError(
                f"is of form {shown(content['form'])}, and this version knows {FORM}"
            )
        nodes, addresses = content["nodes"], content["addresses"]
        if len(nodes) > most_nodes or len(addresses) > MAX_KNOWN_ADDRESSES:
            raise DamagedError("has more entries than are ever written")
        known_at = {key: _read_address(entry) for key, entry in addresses.items()}
        return [_read_node(entry) for entry in nodes], known_at
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DamagedError("is damaged: something is missing or wrong in it") from None


def _written_node(node: KnownNode) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "id": node.id,
        **_written_keys(node.keys),
        "name": node.name,
        "first_seen": round(node.first_seen),
        "last_seen": round(node.last_seen),
        "verified": node.verified,
        "disputed": node.disputed,
    }
    if node.named:
        plain["named"] = True
    return plain


def _read_node(entry: Any) -> KnownNode:
    keys = _read_keys(entry)
    name, verified, disputed = entry["name"], entry["verified"], entry["disputed"]
    named = entry.get("named", verified)  # earlier versions did not write it
    first_seen, last_seen = _read_time(entry["first_seen"]), _read_time(entry["last_seen"])
    sound = (
        isinstance(name, str)
        and len(name) <= MAX_KNOWN_NAME
        and isinstance(verified, bool)
        and isinstance(disputed, bool)
        and isinstance(named, bool)
        and keys.id == entry["id"]
    )
    if not sound:
        raise ValueError
    return KnownNode(
        keys.id,
        keys,
        name,
        first_seen,
        last_seen,
        verified=verified,
        disputed=disputed,
        named=named or verified,
    )


def _read_time(value: Any) -> float:
    """A time as Unix time, seconds; any error if it is something else."""
    # Compared before it is converted: an int may be too large for a float.
    if isinstance(value, bool) or not -LATEST_S <= value <= LATEST_S:
        raise ValueError
    return float(value)


def _written_address(known: KnownAddress) -> dict[str, Any]:
    """Who answers at an address, as plain values."""
    plain = {"id": known.id, "claimed_by": known.claimed_by}
    if known.passing_keys is not None:
        plain |= _written_keys(known.passing_keys)
    return plain


def _read_address(entry: Any) -> KnownAddress:
    """Read what `_written_address` wrote; any error if it is something else."""
    keys = None
    if "x25519" in entry:
        keys = _read_keys(entry)
        if keys.id != entry["id"]:
            raise ValueError
    return KnownAddress(str(entry["id"]), str(entry["claimed_by"]), keys)


def _written_keys(keys: PublicKeys) -> dict[str, str]:
    """Keys as plain values."""
    return {"x25519": _key_text(keys.x_public), "ed25519": _key_text(keys.ed_public)}


def _read_keys(entry: Any) -> PublicKeys:
    """Read what `_written_keys` wrote; any error if it is something else."""
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
