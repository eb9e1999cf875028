"""Who answers at the addresses that the user joined."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from p2ptui.secure.identity import PublicKeys

MAX_KNOWN_ADDRESSES: Final = 1_024
MAX_ADDRESS_TEXT: Final = 300


@dataclass(frozen=True, slots=True)
class KnownAddress:
    """Who answers at an address that the user joined.

    Args:
        id: The node that answered first, or that the user trusts.
        claimed_by: Another one that has answered there since; empty if there was none.
        passing_keys: The keys of the node, if they lasted only as long as it ran: any other node
            with keys may take its place.
    """

    id: str
    claimed_by: str = ""
    passing_keys: PublicKeys | None = None


class KnownAddresses:
    """What is known about each address, as it was typed.

    Args:
        known: What was known before, by the text that `items` gives.
    """

    def __init__(self, known: dict[str, KnownAddress] | None = None) -> None:
        self._known: dict[str, KnownAddress] = {} if known is None else known
        self._ids: dict[str, None] | None = None

    def __len__(self) -> int:
        return len(self._known)

    def items(self) -> Iterable[tuple[str, KnownAddress]]:
        """Each address, and who answers there."""
        return self._known.items()

    @property
    def ids(self) -> dict[str, None]:
        """Ids of the nodes that an address belongs to; collected anew when the addresses change."""
        if self._ids is None:
            self._ids = dict.fromkeys(known.id for known in self._known.values())
        return self._ids

    def get(self, joined: str) -> KnownAddress | None:
        """Who answers at an address; None if nobody has."""
        return self._known.get(_key(joined))

    def copy(self) -> "KnownAddresses":
        """An independent copy."""
        return KnownAddresses(dict(self._known))

    def note(self, joined: str, node_id: str) -> bool:
        """A node with lasting keys has answered; returns whether that is news."""
        before = self.get(joined)
        if before is None or before.passing_keys is not None:
            return self._put(joined, KnownAddress(node_id))
        claimed_by = "" if before.id == node_id else node_id
        if not claimed_by or before.claimed_by == claimed_by:
            return False
        self._known[_key(joined)] = replace(before, claimed_by=claimed_by)
        return True

    def note_passing(self, joined: str, node_id: str, keys: PublicKeys) -> bool:
        """A node answered with keys that do not last; returns whether that is news."""
        if self.get(joined) is not None:
            return False  # it is known that it had keys
        return self._put(joined, KnownAddress(node_id, passing_keys=keys))

    def trust(self, node_id: str) -> None:
        """The addresses that a node has claimed become its own."""
        for key, known in list(self._known.items()):
            if known.claimed_by == node_id:
                self._known[key] = KnownAddress(node_id)
        self._ids = None

    def forget(self, node_id: str) -> None:
        """Addresses that belonged to a node belong to the next one that answers."""
        for key, known in list(self._known.items()):
            if known.id == node_id:
                del self._known[key]
            elif known.claimed_by == node_id:
                self._known[key] = replace(known, claimed_by="")
        self._ids = None

    def drop(self, joined: str) -> None:
        """Forget one address."""
        self._known.pop(_key(joined), None)
        self._ids = None

    def _put(self, joined: str, known: KnownAddress) -> bool:
        """Keep who answers at an address; False if there is no room: only entries whose keys did
        not last make room."""
        key = _key(joined)
        if len(key) > MAX_ADDRESS_TEXT:
            return False
        if key not in self._known and len(self._known) >= MAX_KNOWN_ADDRESSES:
            known_at = self._known.items()
            oldest = next((one for one, at in known_at if at.passing_keys is not None), None)
            if oldest is None:
                return False
            del self._known[oldest]
        self._known[key] = known
        self._ids = None
        return True


def _key(text: str) -> str:
    return text.strip().lower()
