"""The distance table: through whom a node is reached, how far it is, and until when that holds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import INDEXED, BoundedTable

MAX_ROUTES_BYTES: Final = 4 << 20
"""What others tell of all destinations: names, addresses, and capabilities that few announce."""

MAX_ANNOUNCED: Final = 64
"""Lists of capabilities that are kept once for all who announce the same."""

_TEXT_BYTES: Final = 56
"""About what a text takes in memory beside its characters."""


@dataclass(frozen=True, slots=True)
class Route:
    """One way to a node."""

    next_hop: str
    """The id of the peer that comes next."""
    distance: int
    """Hops."""
    expires: float
    capabilities: tuple[str, ...] = ()
    """What the destination announced, as far as somebody told."""
    name: str = ""
    """How the destination is called, as far as somebody told: remote text."""
    listed_at: str = ""
    """The address at which a peer lists it: remote text."""


class RouteTable:
    """Routes by destination, bounded; the one not refreshed or used for longest makes room.

    Nodes that are peers themselves are not in it: they are always reached directly.

    Args:
        lifetime_s: How long a route holds without news, seconds.
        limit: Most routes held.
        count: Called with a cause when one makes room that still holds.
    """

    def __init__(
        self, lifetime_s: float, limit: int, count: Callable[[str], None] = lambda _: None
    ) -> None:
        self._lifetime_s = lifetime_s
        # Known by next hop as well, so that a peer that leaves costs its own routes only.
        self._routes: BoundedTable[str, Route] = BoundedTable(
            limit,
            full="routes_full",
            limit_bytes=MAX_ROUTES_BYTES,
            holds=lambda route, now: route.expires > now,
            peer_share=INDEXED,
            count=count,
        )

        self._announced: BoundedTable[tuple[str, ...], tuple[str, ...]] = BoundedTable(
            MAX_ANNOUNCED
        )

    def __len__(self) -> int:
        return len(self._routes)

    def learn(
        self,
        destination: str,
        next_hop: str,
        distance: int,
        now: float,
        capabilities: tuple[str, ...] = (),
        name: str = "",
        *,
        renames: bool = False,
        listed_at: str = "",
    ) -> None:
        """Take news of a way; a longer one never replaces a shorter one that still holds.

        Args:
            destination: The id of the node that it leads to.
            next_hop: The id of the peer that comes next.
            distance: Hops.
            now: The time, seconds.
            capabilities: What the destination is said to announce.
            name: How it is said to be called; empty where nobody told.
            renames: Whether this name goes before one that another peer told.
            listed_at: The address at which it is listed; empty where nobody told.
        """
        known = self._routes.get(destination)
        if (
            known is not None
            and known.expires > now
            and known.distance < distance
            and known.next_hop != next_hop
        ):
            return
        if not capabilities and known is not None:
            capabilities = known.capabilities
        if known is not None and known.name:
            is_sure = renames or known.next_hop == next_hop
            name = name if name and is_sure else known.name
        if known is not None:
            listed_at = listed_at or known.listed_at
        expires = now + self._lifetime_s
        size = len(name) + len(listed_at)
        shared = self._announced.get(capabilities)
        if shared is None:
            self._announced.put(capabilities, capabilities)
            size += sum(map(len, capabilities)) + _TEXT_BYTES * len(capabilities)
        else:
            capabilities = shared
        route = Route(next_hop, distance, expires, capabilities, name, listed_at)
        self._routes.put(destination, route, now, peers=(next_hop,), size_bytes=size)

    def lookup(self, destination: str, now: float) -> Route | None:
        """The way to a node, or None."""
        route = self._routes.get(destination)
        if route is not None and route.expires <= now:
            del self._routes[destination]
            return None
        if route is not None:
            self._routes.touch(destination)  # what is in use makes room last
        return route

    def peek(self, destination: str, now: float) -> Route | None:
        """The way to a node, or None, without counting as use."""
        route = self._routes.get(destination)
        return route if route is not None and route.expires > now else None

    def forget(self, destination: str, next_hop: str) -> None:
        """The way through `next_hop` has ended."""
        route = self._routes.get(destination)
        if route is not None and route.next_hop == next_hop:
            del self._routes[destination]

    def forget_next_hop(self, next_hop: str) -> None:
        """A peer is gone, and so is every way through it."""
        for destination in self._routes.of_peer(next_hop):
            del self._routes[destination]

    def items(self, now: float) -> Iterator[tuple[str, Route]]:
        """All ways that hold."""
        for destination, route in self._routes.items():
            if route.expires > now:
                yield destination, route
