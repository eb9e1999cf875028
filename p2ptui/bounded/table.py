"""A map that others fill: it has a limit and an eviction order, and counts what it loses.

Entries come in only by `put`, which finds room for them or refuses them: there is no way around the
limit. Lost entries are counted under the name that the table was made with. A table without a name
is a memory, which normally loses its oldest entry.

The cost of a call does not grow with the table: entries are kept in order of age, and a search for
an entry to evict skips at most `LOOKED_AT` entries that are in use.
"""

from collections import OrderedDict
from collections.abc import (
    Callable,
    Hashable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    ValuesView,
)
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from p2ptui.bounded.shares import (
    LEAST_SHARE,
    Holdings,
    Limit,
    Share,
    Shares,
    Sites,
    count_nothing,
    never_touched,
    number_of,
    owners_at,
)
from p2ptui.errors import LocalError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

LOOKED_AT: Final = 64
"""How many of the oldest entries are examined in search of one that is not in use."""

UNTOLD: Final = ("", -1)
"""For a table that need not know the owners of its entries."""


class Crowd(Generic[K]):
    """An owner that has used up its share."""

    __slots__ = ("holdings", "is_prefix", "owner")

    def __init__(self, holdings: Holdings[K], owner: Hashable, is_prefix: bool) -> None:
        self.holdings = holdings
        self.owner = owner
        self.is_prefix = is_prefix
        """Whether it is a prefix rather than an address."""


class BoundedTable(Generic[K, V]):
    """A map with a limit, iterated from its oldest entry to its newest.

    Args:
        limit: Most entries.
        full: The counter of entries that are evicted or refused; empty: a memory, nothing is
            counted.
        refuses: Whether a full table refuses new entries; otherwise it evicts the oldest one.
        limit_bytes: Most bytes of all entries together, as passed to `put`; None: not counted.
        peer_share: The share of each owner passed to `put` as `peers`; None: owners are not told
            apart.
        shares: The shares of the addresses and prefixes passed to `put`, for every table that
            strangers or peers fill. `put` must then be told the owner of each entry.
        address_share: The share of each address, if it differs from that of all tables.
        prefix_share: The share of each prefix, besides that of its addresses, likewise.
        lifetime_s: How long an entry is valid after `put` or `renew`, seconds; None: for ever.
        expired: The counter of entries that expired; empty: not counted.
        in_use: Whether an entry must stay even if room is needed.
        holds: Whether an evicted entry was still valid at a given time; if not, it is not counted.
        on_evicted: Called with each entry that was evicted or expired, once it has been removed.
        count: Increments a counter; set by `Tables.add`.
    """

    __slots__ = (
        "_by_address",
        "_by_peer",
        "_by_prefix",
        "_expired",
        "_fixed_limit",
        "_full",
        "_holds",
        "_hosts",
        "_in_use",
        "_is_aged",
        "_is_shared",
        "_is_shared_late",
        "_lifetime_s",
        "_limit",
        "_limit_bytes",
        "_limit_now",
        "_on_evicted",
        "_ordered",
        "_owned",
        "_peers",
        "_refuses",
        "_since",
        "_sizes",
        "_unproved",
        "_values",
        "count",
        "get",
        "touch",
        "used_bytes",
    )

    def __init__(
        self,
        limit: Limit,
        *,
        full: str = "",
        refuses: bool = False,
        limit_bytes: Limit | None = None,
        peer_share: Share | None = None,
        shares: Shares | None = None,
        address_share: Share | None = None,
        prefix_share: Share | None = None,
        lifetime_s: float | Callable[[], float] | None = None,
        expired: str = "",
        in_use: Callable[[V], bool] | None = None,
        holds: Callable[[V, float], bool] | None = None,
        on_evicted: Callable[[K, V], None] | None = None,
        count: Callable[[str], None] = count_nothing,
    ) -> None:
        self._limit = limit
        self._fixed_limit = 0 if callable(limit) else limit
        self._limit_now = limit if callable(limit) else None
        self._limit_bytes = limit_bytes
        self._full = full
        self._refuses = refuses
        self._lifetime_s = lifetime_s
        self._expired = expired
        self._in_use = in_use
        self._holds = holds
        self._on_evicted = on_evicted
        self.count = count
        """Called with the cause when an entry is evicted, refused or expired."""
        self.used_bytes = 0
        """Bytes of all entries, if they are counted."""
        # If nothing is evicted and nothing expires, the oldest entry is not asked for again and
        # again: a plain dict keeps the order too, and takes half the memory.
        self._ordered: OrderedDict[K, V] | None = (
            None if refuses and lifetime_s is None else OrderedDict()
        )
        self._values: dict[K, V] = {} if self._ordered is None else self._ordered
        # Made for the first unproved entry: most tables require no proof.
        self._unproved: OrderedDict[K, None] | None = None
        self._since: dict[K, float] | None = None if lifetime_s is None else {}
        self._sizes: dict[K, int] | None = None if limit_bytes is None else {}
        self._is_shared = shares is not None
        if shares is not None:
            address_share = Share(shares.address, makes_room=not refuses, least=LEAST_SHARE)
            prefix_share = Share(shares.prefix, makes_room=not refuses, least=LEAST_SHARE)
        has_sizes = self._is_shared and limit_bytes is not None
        is_ranked = self._is_shared and not refuses
        self._by_peer = None if peer_share is None else Holdings[K](peer_share)
        self._by_address = (
            None
            if address_share is None
            else Holdings[K](address_share, has_sizes=has_sizes, is_ranked=is_ranked)
        )
        self._by_prefix = (
            None
            if prefix_share is None or self._by_address is None
            else Sites[K](prefix_share, self._by_address, has_sizes=has_sizes, is_ranked=is_ranked)
        )
        self._is_shared_late = is_ranked and limit_bytes is None and peer_share is None
        """Whether the holdings of each owner matter only once the table is half full."""
        self._hosts: dict[K, str | None] | None = {} if self._is_shared_late else None
        """Until then, the hosts that caused its entries; None: the holdings of each owner are
        known."""
        of_owners = (self._by_peer, self._by_address, self._by_prefix)
        # The host of each entry, as passed to `put`: it exists anyway, and gives its owners.
        self._owned: dict[K, tuple[str, int] | None] | None = (
            {} if any(holdings is not None for holdings in of_owners) else None
        )
        self._peers: dict[K, tuple[Hashable, ...]] | None = {} if self._by_peer else None
        self._is_aged = any(
            holdings is not None and holdings.share.makes_room for holdings in of_owners
        )
        """Whether it matters which of an owner's entries is the oldest."""
        # Reading is as fast as with a dict, and so is noting that an entry is in use.
        self.get = self._values.get
        """The value of a key, or None or another default, as with a dict."""
        self.touch: Callable[[K], None] = (
            never_touched
            if lifetime_s is not None
            else self._move_to_end
            if self._ordered is None
            else self._ordered.move_to_end
        )
        """Note that an entry was used: it makes room last. KeyError if there is none. An entry with
        a lifetime is renewed instead; see `renew`."""

    # Contents.

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __getitem__(self, key: K) -> V:
        return self._values[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._values)

    def __reversed__(self) -> Iterator[K]:
        return reversed(self._values)

    def keys(self) -> KeysView[K]:
        """All keys, oldest entry first."""
        return self._values.keys()

    def values(self) -> ValuesView[V]:
        """All values, oldest first."""
        return self._values.values()

    def items(self) -> ItemsView[K, V]:
        """All entries, oldest first."""
        return self._values.items()

    @property
    def has_room(self) -> bool:
        """Whether there is room for one more entry without evicting any."""
        return len(self._values) < number_of(self._limit)

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether there is room for one more entry of that size, likewise."""
        most = self._limit_bytes
        return self.has_room and (most is None or self.used_bytes + size_bytes <= number_of(most))

    def newest_first(self) -> Iterator[V]:
        """All values, newest first."""
        return reversed(self._values.values())

    def oldest_unproved(self) -> V | None:
        """The oldest entry that `put` or `doubt` marked as unproved; None if there is none."""
        key = next(iter(self._unproved or ()), None)
        return None if key is None else self._values[key]

    def of_peer(self, owner: Hashable) -> tuple[K, ...]:
        """The keys of one peer's entries, oldest first; see `peer_share`."""
        held = None if self._by_peer is None else self._by_peer.of.get(owner)
        return tuple(held or ())

    def of_address(self, host: str) -> tuple[K, ...]:
        """The keys of one host's entries, oldest first; see `address_share`."""
        self._index()
        return () if self._by_address is None else self._by_address.keys_of(owners_at(host)[0])

    def crowd_at(self, host: str, whole: int) -> Crowd[K] | None:
        """The owner that holds so much that a host may have no further entry: the address or the
        prefix; None if both have room.

        Args:
            host: The host.
            whole: The number of entries on which the shares are based.
        """
        held, by_address, by_prefix = len(self._values), self._by_address, self._by_prefix
        if (by_address is None or held < by_address.share.limit(whole)) and (
            by_prefix is None or held < by_prefix.share.limit(whole)
        ):
            return None  # the whole table holds less than any share
        self._index()
        for holdings, owner in self._owners((), (host, 0)):
            if not holdings.has_room(owner, whole, 0, 0):
                return Crowd(holdings, owner, holdings is self._by_prefix)
        return None

    def unproved(self, crowd: Crowd[K] | None = None) -> Iterable[K]:
        """The keys of the unproved entries, oldest first.

        Args:
            crowd: Only those of this owner; None: all.
        """
        if crowd is None:
            return self._unproved or ()
        return crowd.holdings.doubted_of(crowd.owner) or ()

    def held_by(self, owner: Hashable) -> int:
        """How many entries one peer has; see `peer_share`."""
        return 0 if self._by_peer is None else self._by_peer.held_by(owner)

    # The only way in.

    def put(
        self,
        key: K,
        value: V,
        now: float = 0.0,
        *,
        peers: tuple[Hashable, ...] = (),
        address: tuple[str, int] | None = UNTOLD,
        size_bytes: int = 0,
        proved: bool = True,
    ) -> bool:
        """Enter a value as the newest entry, in place of an earlier one with this key.

        Args:
            key: Its key.
            value: The value.
            now: The time, seconds.
            peers: Its owners, for `peer_share`: any of them.
            address: The address that caused it, for the shares of addresses and prefixes; None:
                this node itself caused it, and it counts for no share.
            size_bytes: Its size, for `limit_bytes`.
            proved: Whether its owner has proved its address. Unproved entries make room first, and
                never replace proved ones.

        Returns:
            Whether it is in.

        Raises:
            TypeError: The table is shared, but no owner was passed: a bug in the caller.
        """
        if self._is_shared and address == UNTOLD:
            raise TypeError("a shared table must be told whose an entry is")
        values = self._values
        if key in values:
            self._drop(key)
        since = self._since
        if since and since[next(iter(values))] + self._lifetime() <= now:
            self.expire(now)
        limit = self._fixed_limit if self._limit_now is None else self._limit_now()
        if self._hosts is not None and 2 * len(values) + 2 >= limit:
            self._index()
        hosts = self._hosts
        owned = None if hosts is not None or self._owned is None else self._owners(peers, address)
        if owned and not self._are_within(owned, limit, size_bytes, now):
            return False
        if (len(values) >= limit or self._sizes is not None) and not self._make_room(
            limit, size_bytes, now, owned or [], proved=proved
        ):
            return False
        values[key] = value
        if not proved:
            self._doubt(key)
        if since is not None:
            since[key] = now
        if self._sizes is not None:
            self._sizes[key] = size_bytes
            self.used_bytes += size_bytes
        if owned:
            self._note_origin(key, peers, address)
            self._note_owners(key, owned, size_bytes, proved=proved)
        elif hosts is not None:
            hosts[key] = None if address is None else address[0]
        return True

    def _doubt(self, key: K) -> None:
        if self._unproved is None:
            self._unproved = OrderedDict()
        self._unproved[key] = None

    def _note_origin(
        self, key: K, peers: tuple[Hashable, ...], address: tuple[str, int] | None
    ) -> None:
        assert self._owned is not None
        self._owned[key] = address
        if peers and self._peers is not None:
            self._peers[key] = peers

    def _note_owners(
        self, key: K, owned: list[tuple[Holdings[K], Hashable]], size_bytes: int, *, proved: bool
    ) -> None:
        for holdings, owner in owned:
            holdings.add(owner, key, size_bytes, proved=proved)

    def _index(self) -> None:
        """Count each owner's holdings from now on: until now nobody can hold more than a share."""
        hosts, self._hosts = self._hosts, None
        unproved = self._unproved or ()
        for key, host in (hosts or {}).items():
            address = None if host is None else (host, 0)
            owned = self._owners((), address)
            if owned:
                self._note_origin(key, (), address)
                self._note_owners(key, owned, 0, proved=key not in unproved)

    def replace(self, key: K, value: V) -> None:
        """Change a value without changing its entry's age. KeyError if there is none."""
        if key not in self._values:
            raise KeyError(key)
        self._values[key] = value

    def renew(self, key: K, now: float = 0.0) -> None:
        """Restart the lifetime of an entry and make it the newest. KeyError if there is none.

        Args:
            key: The key.
            now: The time, seconds.
        """
        self._move_to_end(key)
        if self._unproved and key in self._unproved:
            self._unproved.move_to_end(key)
        if self._is_aged:
            for holdings, owner in self._owners_of(key):
                holdings.renew(owner, key)
        if self._since is not None:
            self._since[key] = now

    def _move_to_end(self, key: K) -> None:
        if self._ordered is None:
            self._values[key] = self._values.pop(key)
        else:
            self._ordered.move_to_end(key)

    def prove(self, key: K) -> None:
        """The owner of an entry has proved its address; does nothing if it already had."""
        if self._unproved and key in self._unproved:
            del self._unproved[key]
            for holdings, owner in self._owners_of(key):
                holdings.prove(owner, key)

    def admit(self) -> bool:
        """Whether a table that refuses has room for one more entry; if not, a refusal is
        counted."""
        if self.has_room:
            return True
        self._tell(self._full)
        return False

    def require_room(self, words: str) -> None:
        """Check that there is room for an entry of a call by this node's user.

        Args:
            words: What that many entries do, as a clause without the number: "paths are searched
                already".

        Raises:
            LocalError: The table is full.
        """
        if not self.has_room:
            raise LocalError(f"{number_of(self._limit)} {words}; try again later")

    # The ways out.

    def pop(self, key: K, default: None = None) -> V | None:
        """Remove an entry; its value, or None if there is none."""
        if key not in self._values:
            return default
        value = self._values[key]
        self._drop(key)
        return value

    def __delitem__(self, key: K) -> None:
        if key not in self._values:
            raise KeyError(key)
        self._drop(key)

    def clear(self) -> None:
        """Remove all entries."""
        self._hosts = {} if self._is_shared_late else None
        self._values.clear()
        self._unproved = None
        self.used_bytes = 0
        for each in (self._since, self._sizes, self._owned, self._peers):
            if each:
                each.clear()
        for holdings in filter(None, (self._by_peer, self._by_address, self._by_prefix)):
            holdings.clear()

    def expire(self, now: float) -> None:
        """Remove expired entries.

        Args:
            now: The time, seconds.
        """
        while (due := self.next_expiry()) is not None and due <= now:
            self._evict(next(iter(self._values)), self._expired)
            if not self._values:
                self.clear()  # a dictionary does not shrink, however little is left in it

    def next_expiry(self) -> float | None:
        """When the first entry expires, seconds; None if none does."""
        if not self._since:
            return None
        return self._since[next(iter(self._values))] + self._lifetime()

    def _lifetime(self) -> float:
        lifetime_s = self._lifetime_s
        assert lifetime_s is not None
        return lifetime_s() if callable(lifetime_s) else lifetime_s

    # Room.

    def _owners_of(self, key: K) -> list[tuple[Holdings[K], Hashable]]:
        """The owners of an entry; none if it counts for no share."""
        if not self._owned or key not in self._owned:
            return []
        return self._owners((self._peers or {}).get(key, ()), self._owned[key])

    def _owners(
        self, peers: tuple[Hashable, ...], address: tuple[str, int] | None
    ) -> list[tuple[Holdings[K], Hashable]]:
        by_address, by_prefix = self._by_address, self._by_prefix
        if address is None or by_address is None:
            return [] if self._by_peer is None else [(self._by_peer, peer) for peer in peers]
        owned: list[tuple[Holdings[K], Hashable]] = []
        if self._by_peer is not None:
            owned += [(self._by_peer, peer) for peer in peers]
        owners = owners_at(address[0]) if address != UNTOLD else (None, None)
        if owners[0] is not None:
            owned.append((by_address, owners[0]))
        if by_prefix is not None and owners[1] is not None:
            owned.append((by_prefix, owners))
        return owned

    def _are_within(
        self, owned: list[tuple[Holdings[K], Hashable]], limit: int, size_bytes: int, now: float
    ) -> bool:
        return self._is_shared_late or all(
            self._within_share(each, limit, size_bytes, now)
            for each in owned
            if self._refuses or not self._is_shared or each[0] is self._by_peer
        )

    def _within_share(
        self, owned: tuple[Holdings[K], Hashable], limit: int, size_bytes: int, now: float
    ) -> bool:
        """Whether an owner may have one more entry; its oldest one is evicted for it if allowed."""
        holdings, owner = owned
        share = holdings.share
        if holdings.has_room(owner, limit, size_bytes, self._most_bytes):
            return True
        victim = None
        if share.makes_room and not (self._is_shared and holdings is not self._by_peer):
            victim = self._oldest_of(holdings, owner)
        if victim is None:
            self._tell(share.full or self._full)
            return False
        self._evict(victim, share.full or self._full, now)
        return True

    @property
    def _most_bytes(self) -> int:
        return 0 if self._limit_bytes is None else number_of(self._limit_bytes)

    def _oldest_of(self, holdings: Holdings[K], owner: Hashable) -> K | None:
        groups = islice(holdings.held_of(owner), LOOKED_AT)
        return next((key for key in map(self._oldest_idle, groups) if key is not None), None)

    def _make_room(
        self,
        limit: int,
        size_bytes: int,
        now: float,
        owned: list[tuple[Holdings[K], Hashable]],
        *,
        proved: bool,
    ) -> bool:
        """Whether there is room for one more entry; others are evicted for it if allowed."""
        if self._hosts is not None:
            self._index()
        most_bytes = None if self._limit_bytes is None else number_of(self._limit_bytes)
        if limit <= 0 or (most_bytes is not None and size_bytes > most_bytes):
            self._tell(self._full)
            return False
        while len(self._values) >= limit or (
            most_bytes is not None and self.used_bytes + size_bytes > most_bytes
        ):
            crowd = None
            if self._is_shared and not self._refuses:
                crowd = self._crowd_of(owned, limit, size_bytes)
            victim = None
            if crowd is not None:
                victim = self._own_victim(*crowd, proved=proved or crowd not in owned)
            if victim is None and (crowd is None or crowd not in owned):
                # Also if the entries of another owner that holds too much are all in use.
                victim = self._victim(proved=proved)
            if victim is None:
                self._tell(self._full)
                return False
            self._evict(victim, self._full, now)
        return True

    def _crowd_of(
        self, owned: list[tuple[Holdings[K], Hashable]], limit: int, size_bytes: int
    ) -> tuple[Holdings[K], Hashable] | None:
        """The owner whose entries make room in a full table: the newcomer's own, or one that holds
        more than a share, and of these the one that holds most; None if there is none."""
        most_bytes = self._most_bytes
        for each in owned:
            holdings, owner = each
            if holdings is not self._by_peer and not holdings.has_room(
                owner, limit, size_bytes, most_bytes
            ):
                return each
        for others in (self._by_address, self._by_prefix):
            ranks = None if others is None else others.ranks
            if others is not None and ranks is not None and ranks.most > others.share.limit(limit):
                return others, ranks.first
        return None

    def _own_victim(self, holdings: Holdings[K], owner: Hashable, *, proved: bool) -> K | None:
        """Which of an owner's entries makes room for a newcomer; see `_victim`."""
        doubted = holdings.doubted_of(owner)
        victim = self._oldest_idle(doubted) if doubted else None
        if victim is not None or not proved:
            return victim
        return self._oldest_of(holdings, owner)

    def _victim(self, *, proved: bool) -> K | None:
        """The entry that makes room: the unproved first, then the oldest, and never one in use."""
        if self._refuses:
            return None
        assert self._ordered is not None
        if self._unproved:
            victim = self._oldest_idle(self._unproved)
            if victim is not None or not proved:
                return victim
        elif not proved:
            return None
        return self._oldest_idle(self._ordered)

    def _oldest_idle(self, order: "OrderedDict[K, Any]") -> K | None:
        in_use = self._in_use
        if in_use is None:
            return next(iter(order), None)
        for _ in range(min(len(order), LOOKED_AT)):
            key = next(iter(order))
            if not in_use(self._values[key]):
                return key
            if self._since is not None:
                return self._oldest_idle_in(order)
            order.move_to_end(key)  # so that the next search does not find it first
        return None

    def _oldest_idle_in(self, order: "OrderedDict[K, Any]") -> K | None:
        """The same, if the order is that of expiry and must not change."""
        assert self._in_use is not None
        for key, _ in zip(order, range(LOOKED_AT), strict=False):
            if not self._in_use(self._values[key]):
                return key
        return None

    def _evict(self, key: K, cause: str, now: float | None = None) -> None:
        value = self._values[key]
        self._drop(key)
        if now is None or self._holds is None or self._holds(value, now):
            self._tell(cause)
        if self._on_evicted is not None:
            self._on_evicted(key, value)

    def _tell(self, cause: str) -> None:
        if cause:
            self.count(cause)

    def _drop(self, key: K) -> None:
        del self._values[key]
        if self._unproved:
            self._unproved.pop(key, None)
        if self._since is not None:
            del self._since[key]
        size_bytes = 0
        if self._sizes is not None:
            size_bytes = self._sizes.pop(key)
            self.used_bytes -= size_bytes
        if self._hosts is not None:
            del self._hosts[key]
        elif self._owned and key in self._owned:
            for holdings, owner in self._owners_of(key):
                holdings.discard(owner, key, size_bytes)
            del self._owned[key]
            if self._peers:
                self._peers.pop(key, None)
