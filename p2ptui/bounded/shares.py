"""What one owner may hold of a table: a peer, an address, or the prefix that it is in."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

K = TypeVar("K", bound=Hashable)

Limit: TypeAlias = int | Callable[[], int]
"""A number, or what tells it: options may change while the node runs."""

PREFIX_BITS: Final = {4: 24, 6: 48}
"""What one site has, by IP version: the longest prefix that is announced to others for IPv4, and
what a site is given for IPv6 (RFC 6177)."""


def number_of(limit: Limit) -> int:
    """A limit as it is now."""
    return limit() if callable(limit) else limit


def count_nothing(_cause: str) -> None:
    """For a table that nobody watches."""


def never_touched(_key: Hashable) -> None:
    """For a table whose order is that of the times at which its entries come to their end."""
    raise TypeError("what holds for a time is renewed, not touched")


@dataclass(frozen=True, slots=True)
class Share:
    """What one peer, one address or one prefix may hold of a table."""

    most: int | float
    """So many entries; a float is a part of the table's limit, and at least one entry."""
    full: str = ""
    """Counted when it is used up; the name of the table if empty."""
    makes_room: bool = False
    """Whether the oldest entry of the same owner makes room; otherwise the new one is refused."""

    def limit(self, whole: int) -> int:
        """Entries, of a table with room for `whole`."""
        return max(int(self.most * whole), 1) if isinstance(self.most, float) else self.most


INDEXED: Final = Share(1.0)
"""No limit: the table knows the entries of each owner, to find them or to remove them together."""


class Holdings(Generic[K]):
    """The entries of each owner of one kind, the oldest first."""

    __slots__ = ("of", "share")

    def __init__(self, share: Share) -> None:
        self.share = share
        self.of: dict[Hashable, OrderedDict[K, None]] = {}

    def add(self, owner: Hashable, key: K) -> None:
        """An entry is this owner's."""
        self.of.setdefault(owner, OrderedDict())[key] = None

    def keys_of(self, owner: Hashable) -> tuple[K, ...]:
        """The entries of one owner, the oldest first."""
        return tuple(self.of.get(owner, ()))

    def discard(self, owner: Hashable, key: K) -> None:
        """An entry is this owner's no more."""
        held = self.of.get(owner)
        if held is not None:
            held.pop(key, None)
            if not held:
                del self.of[owner]


def prefix_of(host: str) -> Hashable:
    """The /24 or /48 that a host is in; of a name that is no IP address, itself.

    Args:
        host: An address without its port; IPv6 with a zone or without.
    """
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return ip.version, int(ip) >> (ip.max_prefixlen - PREFIX_BITS[ip.version])
