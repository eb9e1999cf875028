"""What one owner may hold of a table. An owner is a peer, an address or an address prefix."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Generic, TypeAlias, TypeVar

K = TypeVar("K", bound=Hashable)

Limit: TypeAlias = int | Callable[[], int]
"""A number, or a function that returns it: options may change while the node runs."""

PREFIX_BITS: Final = {4: 24, 6: 48}
"""The prefix of one site, by IP version: for IPv4 the longest prefix that is announced to others,
for IPv6 what a site is assigned (RFC 6177)."""

HOST_BITS: Final = {4: 32, 6: 64}
"""The prefix of one machine: for IPv6 a whole network (RFC 7421), any address of which the machine
may send from."""

LEAST_SHARE: Final = 5
"""Entries that one address may hold of any table, however small: the nodes of a household share an
address."""

HOSTS_REMEMBERED: Final = 1024
"""Hosts for which the owners are remembered; see `owners_at`."""

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
_LOOPBACK: Final = 127
"""The first byte (RFC 1122, section 3.2.1.3)."""
_EMBEDS_IPV4: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052


def number_of(limit: Limit) -> int:
    """The current value of a limit."""
    return limit() if callable(limit) else limit


def count_nothing(_cause: str) -> None:
    """The counter of a table that nobody watches."""


def never_touched(_key: Hashable) -> None:
    """For a table in order of expiry, which use must not change."""
    raise TypeError("what holds for a time is renewed, not touched")


@dataclass(frozen=True, slots=True)
class Share:
    """What a single peer, address or prefix may hold of a table."""

    most: int | float | Callable[[], float]
    """An integer: entries. A float: a fraction of the table's limit, but at least `least` entries;
    or a function that returns such a fraction, since options may change while the node runs."""
    full: str = ""
    """The counter of a share that is used up; empty: the name of the table."""
    makes_room: bool = False
    """Whether the oldest entry of the same owner makes room; otherwise the new one is refused."""

    least: int = 1
    """Entries that are allowed however small the table is."""

    def limit(self, whole: int) -> int:
        """Entries, for a table with room for `whole`; or bytes, likewise."""
        most = self.most() if callable(self.most) else self.most
        return most if isinstance(most, int) else max(int(most * whole), self.least)


@dataclass(frozen=True, slots=True)
class Shares:
    """What one address and one prefix may hold of each table that strangers or peers fill.

    A table that refuses entries refuses whatever exceeds a share. A table that evicts accepts it
    while there is room; once it is full, owners that exceed their share make room first.
    """

    address: Callable[[], float] = lambda: 0.5
    """A fraction of each table."""
    prefix: Callable[[], float] = lambda: 0.75
    """Likewise."""


INDEXED: Final = Share(1.0)
"""No limit: the table knows the entries of each owner, to find them or to remove them together."""


class Ranks:
    """Finds the owner that holds most, where each change is by one: it looks only at the owner that
    changes."""

    __slots__ = ("_at", "most")

    def __init__(self) -> None:
        self.most = 0
        """How much the first of them has."""
        self._at: dict[int, dict[Hashable, Hashable]] = {}

    @property
    def first(self) -> Hashable:
        """The owner that holds most; None if none holds anything."""
        return next(iter(self._at[self.most].values())) if self.most else None

    def note(self, name: Hashable, owner: Hashable, before: int, count: int) -> None:
        """Note that an owner has one more, or one fewer.

        Args:
            name: What tells it apart from others.
            owner: The owner.
            before: How much it had.
            count: How much it has now.
        """
        at = self._at
        if before:
            del at[before][name]
            if not at[before]:
                del at[before]
        if count:
            at.setdefault(count, {})[name] = owner
        if count > self.most or (before == self.most and before not in at):
            self.most = count

    def clear(self) -> None:
        """Forget everything."""
        self._at.clear()
        self.most = 0


class Groups(Generic[K]):
    """Keys grouped by owner, each group from its oldest key to its newest.

    Most owners have one key, which needs no container of its own.
    """

    __slots__ = ("_several", "_single")

    def __init__(self) -> None:
        self._single: dict[Hashable, K] = {}
        self._several: dict[Hashable, OrderedDict[K, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._single or self._several)

    def __contains__(self, owner: Hashable) -> bool:
        return owner in self._single or owner in self._several

    def count(self, owner: Hashable) -> int:
        """How many keys an owner has."""
        several = self._several.get(owner)
        return int(owner in self._single) if several is None else len(several)

    def get(self, owner: Hashable) -> "OrderedDict[K, None] | None":
        """The keys of an owner, for reading and renewing; None if there are none."""
        several = self._several.get(owner)
        if several is None and owner in self._single:
            return OrderedDict({self._single[owner]: None})
        return several

    def add(self, owner: Hashable, key: K) -> None:
        """Add a key as its owner's newest."""
        several = self._several.get(owner)
        if several is not None:
            several[key] = None
        elif owner not in self._single:
            self._single[owner] = key
        elif self._single[owner] != key:
            self._several[owner] = OrderedDict({self._single.pop(owner): None, key: None})

    def discard(self, owner: Hashable, key: K) -> bool:
        """Remove a key from an owner; returns whether it was there."""
        several = self._several.get(owner)
        if several is None:
            is_held = owner in self._single and self._single[owner] == key
            if is_held:
                del self._single[owner]
            return is_held
        if key not in several:
            return False
        del several[key]
        if len(several) == 1:
            del self._several[owner]
            self._single[owner] = next(iter(several))
        return True

    def renew(self, owner: Hashable, key: K) -> None:
        """Make a key its owner's newest, if the owner has it."""
        several = self._several.get(owner)
        if several is not None and key in several:
            several.move_to_end(key)

    def clear(self) -> None:
        """Remove all keys."""
        self._single.clear()
        self._several.clear()


class Holdings(Generic[K]):
    """The entries of each owner of one kind, oldest first.

    Args:
        share: The share of each owner.
        has_sizes: Whether bytes are counted too.
        is_ranked: Whether the owner that holds most is ever asked for.
    """

    __slots__ = ("doubted", "of", "ranks", "share", "sizes")

    def __init__(self, share: Share, *, has_sizes: bool = False, is_ranked: bool = False) -> None:
        self.share = share
        self.ranks: Ranks | None = Ranks() if is_ranked else None
        """Which owners hold most entries."""
        self.of: Groups[K] = Groups()
        self.doubted: Groups[K] = Groups()
        """The unproved entries."""
        self.sizes: dict[Hashable, int] | None = {} if has_sizes else None
        """Bytes of each owner's entries, if they are counted."""

    def add(self, owner: Hashable, key: K, size_bytes: int, *, proved: bool) -> None:
        """Add an entry to an owner."""
        self.of.add(owner, key)
        if not proved:
            self.doubted.add(owner, key)
        if self.sizes is not None:
            self.sizes[owner] = self.sizes.get(owner, 0) + size_bytes
        if self.ranks is not None:
            count = self.of.count(owner)
            self.ranks.note(owner, owner, count - 1, count)

    def held_by(self, owner: Hashable) -> int:
        """How many entries an owner has."""
        return self.of.count(owner)

    def used_by(self, owner: Hashable) -> int:
        """How many bytes an owner has."""
        return 0 if self.sizes is None else self.sizes.get(owner, 0)

    def doubted_of(self, owner: Hashable) -> "OrderedDict[K, None] | None":
        """An owner's unproved entries, oldest first; None if there are none."""
        return self.doubted.get(owner)

    def held_of(self, owner: Hashable) -> "Iterator[OrderedDict[K, None]]":
        """All entries of an owner, in groups, each oldest first."""
        held = self.of.get(owner)
        return iter(() if held is None else (held,))

    def keys_of(self, owner: Hashable) -> tuple[K, ...]:
        """The entries of one owner, the oldest first."""
        return tuple(self.of.get(owner) or ())

    def discard(self, owner: Hashable, key: K, size_bytes: int) -> None:
        """Remove an entry from its owner."""
        if not self.of.discard(owner, key):
            return
        count = self.of.count(owner)
        if self.ranks is not None:
            self.ranks.note(owner, owner, count + 1, count)
        if self.doubted:
            self.prove(owner, key)
        if self.sizes is not None:
            self.sizes[owner] -= size_bytes
        if not count and self.sizes is not None:
            del self.sizes[owner]

    def prove(self, owner: Hashable, key: K) -> None:
        """An entry is no longer unproved."""
        self.doubted.discard(owner, key)

    def renew(self, owner: Hashable, key: K) -> None:
        """Make an entry its owner's newest, also among the unproved ones if it is one."""
        self.of.renew(owner, key)
        self.doubted.renew(owner, key)

    def has_room(self, owner: Hashable, whole: int, size_bytes: int, whole_bytes: int) -> bool:
        """Whether an owner may have one more entry.

        Args:
            owner: The owner.
            whole: Most entries of the table.
            size_bytes: The size of the entry.
            whole_bytes: Most bytes of the table; each owner may have one entry of any size.
        """
        most = self.share.limit(whole)
        if self.held_by(owner) >= most and most < whole:
            return False
        if self.sizes is None:
            return True
        used = self.used_by(owner)
        return not used or used + size_bytes <= self.share.limit(whole_bytes)

    def clear(self) -> None:
        """Remove all entries."""
        self.of.clear()
        self.doubted.clear()
        if self.ranks is not None:
            self.ranks.clear()
        if self.sizes is not None:
            self.sizes.clear()


class Sites(Holdings[K]):
    """How much each prefix holds. The entries belong to its addresses and are not listed twice.

    An owner is the pair of address and prefix, as `owners_at` returns it.
    """

    __slots__ = ("_addresses", "_addresses_of", "_counts")

    def __init__(
        self,
        share: Share,
        addresses: Holdings[K],
        *,
        has_sizes: bool = False,
        is_ranked: bool = False,
    ) -> None:
        super().__init__(share, has_sizes=has_sizes, is_ranked=is_ranked)
        self._addresses = addresses
        self._counts: dict[Hashable, int] = {}
        self._addresses_of: dict[Hashable, dict[Hashable, None]] = {}

    def add(self, owner: Any, key: K, size_bytes: int, *, proved: bool) -> None:
        """Add an entry of an address, which also counts for its prefix."""
        address, prefix = owner
        count = self._counts[prefix] = self._counts.get(prefix, 0) + 1
        self._addresses_of.setdefault(prefix, {})[address] = None
        if not proved:
            self.doubted.add(prefix, key)
        if self.sizes is not None:
            self.sizes[prefix] = self.sizes.get(prefix, 0) + size_bytes
        if self.ranks is not None:
            self.ranks.note(prefix, owner, count - 1, count)

    def discard(self, owner: Any, key: K, size_bytes: int) -> None:
        """Remove an entry, also from its address."""
        address, prefix = owner
        if self.doubted:
            self.prove(owner, key)
        count = self._counts[prefix] = self._counts[prefix] - 1
        if self.ranks is not None:
            self.ranks.note(prefix, owner, count + 1, count)
        if self.sizes is not None:
            self.sizes[prefix] -= size_bytes
        if address not in self._addresses.of:
            del self._addresses_of[prefix][address]
        if not count:
            del self._counts[prefix], self._addresses_of[prefix]
            if self.sizes is not None:
                del self.sizes[prefix]

    def prove(self, owner: Any, key: K) -> None:
        """An entry is no longer unproved."""
        self.doubted.discard(owner[1], key)

    def renew(self, owner: Any, key: K) -> None:
        """Make an entry the newest of the unproved ones, if it is one."""
        self.doubted.renew(owner[1], key)

    def held_by(self, owner: Any) -> int:
        """How many entries a prefix has."""
        return self._counts.get(owner[1], 0)

    def used_by(self, owner: Any) -> int:
        """How many bytes a prefix has."""
        return 0 if self.sizes is None else self.sizes.get(owner[1], 0)

    def doubted_of(self, owner: Any) -> "OrderedDict[K, None] | None":
        """The unproved entries of a prefix, the oldest first."""
        return self.doubted.get(owner[1])

    def held_of(self, owner: Any) -> "Iterator[OrderedDict[K, None]]":
        """Its entries: address after address, in the order in which these were added."""
        groups = map(self._addresses.of.get, self._addresses_of.get(owner[1], ()))
        for held in groups:
            if held is not None:
                yield held

    def clear(self) -> None:
        """Remove all entries."""
        super().clear()
        self._counts.clear()
        self._addresses_of.clear()


def prefix_of(host: str) -> Hashable:
    """The /24 or /48 of a host; a name that is no IP address is returned as it is.

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
    """The owners to which an entry at a host counts: an address and a prefix.

    Loopback addresses have no share. Private addresses have one each, but not for their prefix: all
    of them are in this node's own site. An IPv6 address counts as its /64. None if there is no
    share.

    Args:
        host: An address without its port, or the name of a relayed node: an owner by itself.
    """
    number = _ipv4_of(host)
    if number >= 0:
        return _owners_of_ipv4(host, number)
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host, None
    if isinstance(ip, ipaddress.IPv4Address):
        return _owners_of_ipv4(str(ip), int(ip))
    if ip.ipv4_mapped is not None:
        return owners_at(str(ip.ipv4_mapped))
    if ip in _EMBEDS_IPV4:
        return owners_at(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    if ip.is_loopback:
        return None, None
    if _is_own_site(6, int(ip)):
        return str(ip), None
    return _cut(ip, HOST_BITS), _cut(ip, PREFIX_BITS)


def _ipv4_of(host: str) -> int:
    """An IPv4 address, in the notation of `ipaddress`, as a number; -1 for anything else.

    It is called for each new stranger, and avoids the many calls within `ipaddress`.
    """
    parts = host.split(".")
    if len(parts) != 4:
        return -1
    try:
        first, second, third, last = map(int, parts)
    except ValueError:
        return -1
    # Formatting it again gives the same text: no signs, spaces, leading zeros or other digits.
    is_usual = 0 <= first | second | third | last < 256
    if not is_usual or f"{first}.{second}.{third}.{last}" != host:
        return -1
    return first << 24 | second << 16 | third << 8 | last


def _owners_of_ipv4(host: str, number: int) -> tuple[Hashable | None, Hashable | None]:
    if number >> 24 == _LOOPBACK:
        return None, None
    if _is_own_site(4, number):
        return host, None
    return (4, number >> 32 - HOST_BITS[4]), (4, number >> 32 - PREFIX_BITS[4])


def _is_own_site(version: int, number: int) -> bool:
    return any(number & mask == network for network, mask in _OWN_SITE[version])


def _cut(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: dict[int, int]
) -> tuple[int, int]:
    return ip.version, int(ip) >> (ip.max_prefixlen - bits[ip.version])
