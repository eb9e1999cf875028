"""What one owner may hold of a table: a peer, an address, or the prefix that it is in."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Generic, TypeAlias, TypeVar

K = TypeVar("K", bound=Hashable)

Limit: TypeAlias = int | Callable[[], int]
"""A number, or what tells it: options may change while the node runs."""

PREFIX_BITS: Final = {4: 24, 6: 48}
"""What one site has, by IP version: the longest prefix that is announced to others for IPv4, and
what a site is given for IPv6 (RFC 6177)."""

HOST_BITS: Final = {4: 32, 6: 64}
"""What one machine has: for IPv6 a whole network (RFC 7421), from which it may send as whoever it
likes."""

LEAST_SHARE: Final = 5
"""Entries that one address may hold of any table: halves of less would keep out a family."""

HOSTS_REMEMBERED: Final = 4096
"""Hosts of which is remembered whose share they count for."""

_OWN_SITE: Final = {
    # RFC 1918, RFC 3927, RFC 6598; RFC 4193, RFC 4291. As numbers: every stranger's is looked up.
    version: tuple(
        (int(network.network_address), int(network.netmask))
        for network in map(ipaddress.ip_network, networks)
    )
    for version, networks in {
        4: ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
        6: ("fc00::/7", "fe80::/10"),
    }.items()
}
_EMBEDS_IPV4: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052


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

    most: int | float | Callable[[], float]
    """So many entries; a float is a part of the table's limit, and at least one entry. What is
    called tells such a part: options may change while the node runs."""
    full: str = ""
    """Counted when it is used up; the name of the table if empty."""
    makes_room: bool = False
    """Whether the oldest entry of the same owner makes room; otherwise the new one is refused."""

    least: int = 1
    """Entries, however small the table is."""

    def limit(self, whole: int) -> int:
        """Entries, of a table with room for `whole`; or bytes, likewise."""
        most = self.most() if callable(self.most) else self.most
        return most if isinstance(most, int) else max(int(most * whole), self.least)


@dataclass(frozen=True, slots=True)
class Shares:
    """What one address and one prefix may hold of every table that strangers or peers fill.

    A table that refuses refuses what is over a share. One that evicts takes it as long as there is
    room; when it is full, who holds more than a share makes room before anybody else.
    """

    address: Callable[[], float] = lambda: 0.5
    """A part of each table."""
    prefix: Callable[[], float] = lambda: 0.75
    """Likewise."""


INDEXED: Final = Share(1.0)
"""No limit: the table knows the entries of each owner, to find them or to remove them together."""


class Holdings(Generic[K]):
    """The entries of each owner of one kind, the oldest first."""

    __slots__ = ("doubted", "of", "share", "sizes", "top", "top_count")

    def __init__(self, share: Share, *, has_sizes: bool = False) -> None:
        self.share = share
        self.of: dict[Hashable, OrderedDict[K, None]] = {}
        self.doubted: dict[Hashable, OrderedDict[K, None]] = {}
        """Of these the unproved ones."""
        self.sizes: dict[Hashable, int] | None = {} if has_sizes else None
        """Bytes of each owner's entries, if they are counted."""
        self.top: Hashable = None
        """Of those who came last, who has most entries: nobody else can have more than half."""
        self.top_count = 0

    def _note_top(self, owner: Hashable, change: int) -> None:
        if change > 0:
            count = self.held_by(owner)
            if count > self.top_count:
                self.top, self.top_count = owner, count
        elif owner == self.top:
            self.top_count += change

    def add(self, owner: Hashable, key: K, size_bytes: int, *, proved: bool) -> None:
        """An entry is this owner's."""
        self.of.setdefault(owner, OrderedDict())[key] = None
        if not proved:
            self.doubted.setdefault(owner, OrderedDict())[key] = None
        if self.sizes is not None:
            self.sizes[owner] = self.sizes.get(owner, 0) + size_bytes
        self._note_top(owner, 1)

    def held_by(self, owner: Hashable) -> int:
        """How many entries an owner has."""
        return len(self.of.get(owner, ()))

    def used_by(self, owner: Hashable) -> int:
        """How many bytes."""
        return 0 if self.sizes is None else self.sizes.get(owner, 0)

    def doubted_of(self, owner: Hashable) -> "OrderedDict[K, None] | None":
        """Its unproved entries, the oldest first; None if there are none."""
        return self.doubted.get(owner)

    def held_of(self, owner: Hashable) -> "Iterator[OrderedDict[K, None]]":
        """All its entries, in groups, each the oldest first."""
        held = self.of.get(owner)
        return iter(() if held is None else (held,))

    def keys_of(self, owner: Hashable) -> tuple[K, ...]:
        """The entries of one owner, the oldest first."""
        return tuple(self.of.get(owner, ()))

    def discard(self, owner: Hashable, key: K, size_bytes: int) -> None:
        """An entry is this owner's no more."""
        held = self.of.get(owner)
        if held is None or key not in held:
            return
        del held[key]
        self._note_top(owner, -1)
        self.prove(owner, key)
        if self.sizes is not None:
            self.sizes[owner] -= size_bytes
        if not held:
            del self.of[owner]
            if self.sizes is not None:
                del self.sizes[owner]

    def prove(self, owner: Hashable, key: K) -> None:
        """An entry is not doubted any more."""
        doubted = self.doubted_of(owner)
        if doubted is not None and key in doubted:
            del doubted[key]
            if not doubted:
                self._forget_doubted(owner)

    def _forget_doubted(self, owner: Hashable) -> None:
        del self.doubted[owner]

    def renew(self, owner: Hashable, key: K) -> None:
        """A doubted entry is the newest of these."""
        doubted = self.doubted_of(owner)
        if doubted is not None and key in doubted:
            doubted.move_to_end(key)

    def has_room(self, owner: Hashable, whole: int, size_bytes: int, whole_bytes: int) -> bool:
        """Whether an owner may have one entry more.

        Args:
            owner: Who.
            whole: Entries of the table, at most.
            size_bytes: What the entry takes.
            whole_bytes: Bytes of the table, at most; of them each owner may have one entry of any
                size.
        """
        most = self.share.limit(whole)
        if self.held_by(owner) >= most and most < whole:
            return False
        if self.sizes is None:
            return True
        used = self.used_by(owner)
        return not used or used + size_bytes <= self.share.limit(whole_bytes)

    def clear(self) -> None:
        """All entries are gone."""
        self.of.clear()
        self.doubted.clear()
        self.top, self.top_count = None, 0
        if self.sizes is not None:
            self.sizes.clear()


class Sites(Holdings[K]):
    """How much each prefix holds: its addresses hold the entries, which are not listed twice.

    An owner is named by the address and the prefix, as `owners_at` has them.
    """

    __slots__ = ("_addresses", "_addresses_of", "_counts")

    def __init__(self, share: Share, addresses: Holdings[K], *, has_sizes: bool = False) -> None:
        super().__init__(share, has_sizes=has_sizes)
        self._addresses = addresses
        self._counts: dict[Hashable, int] = {}
        self._addresses_of: dict[Hashable, dict[Hashable, None]] = {}

    def add(self, owner: Any, key: K, size_bytes: int, *, proved: bool) -> None:
        """An entry of an address is this prefix's as well."""
        address, prefix = owner
        self._counts[prefix] = self._counts.get(prefix, 0) + 1
        self._addresses_of.setdefault(prefix, {})[address] = None
        if not proved:
            self.doubted.setdefault(prefix, OrderedDict())[key] = None
        if self.sizes is not None:
            self.sizes[prefix] = self.sizes.get(prefix, 0) + size_bytes
        self._note_top(owner, 1)

    def discard(self, owner: Any, key: K, size_bytes: int) -> None:
        """It is gone, also from the address."""
        address, prefix = owner
        self.prove(owner, key)
        self._counts[prefix] -= 1
        if self.top is not None and prefix == self.top[1]:  # type: ignore[index]
            self.top_count -= 1
        if self.sizes is not None:
            self.sizes[prefix] -= size_bytes
        if address not in self._addresses.of:
            del self._addresses_of[prefix][address]
        if not self._counts[prefix]:
            del self._counts[prefix], self._addresses_of[prefix]
            if self.sizes is not None:
                del self.sizes[prefix]

    def _forget_doubted(self, owner: Any) -> None:
        del self.doubted[owner[1]]

    def held_by(self, owner: Any) -> int:
        """How many entries a prefix has."""
        return self._counts.get(owner[1], 0)

    def used_by(self, owner: Any) -> int:
        """How many bytes."""
        return 0 if self.sizes is None else self.sizes.get(owner[1], 0)

    def doubted_of(self, owner: Any) -> "OrderedDict[K, None] | None":
        """The unproved entries of a prefix, the oldest first."""
        return self.doubted.get(owner[1])

    def held_of(self, owner: Any) -> "Iterator[OrderedDict[K, None]]":
        """Its entries: of one address after the other, in the order in which these came."""
        return (self._addresses.of[address] for address in self._addresses_of.get(owner[1], ()))

    def clear(self) -> None:
        """All entries are gone."""
        super().clear()
        self._counts.clear()
        self._addresses_of.clear()


def prefix_of(host: str) -> Hashable:
    """The /24 or /48 that a host is in; of a name that is no IP address, itself.

    Args:
        host: An address without its port; IPv6 with a zone or without.
    """
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return _cut(ip, PREFIX_BITS)


@lru_cache(HOSTS_REMEMBERED)
def owners_at(host: str) -> tuple[Hashable | None, Hashable | None]:
    """Whose shares an entry at a host counts for: an address, and a prefix.

    Programs of this very machine share nothing with strangers, and private addresses are all of
    one site, this node's own: a whole home is one prefix of them. An IPv6 address counts as its
    /64. None where there is no share.

    Args:
        host: An address without its port, or the name of a relayed node: an owner by itself.
    """
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host, None
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return owners_at(str(ip.ipv4_mapped))
        if ip in _EMBEDS_IPV4:
            return owners_at(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    if ip.is_loopback:
        return None, None
    number = int(ip)
    if any(number & mask == network for network, mask in _OWN_SITE[ip.version]):
        return str(ip), None
    return _cut(ip, HOST_BITS), _cut(ip, PREFIX_BITS)


def _cut(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: dict[int, int]
) -> tuple[int, int]:
    return ip.version, int(ip) >> (ip.max_prefixlen - bits[ip.version])
