"""The distance table: next hop, distance and lifetime of the route to each node."""

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import astuple, replace

from p2ptui.bounded import INDEXED, BoundedTable, Shares
from p2ptui.core.mesh.evidence import Evidence
from p2ptui.wire.address import Address

FRESH_S: Final = 1.0
"""A route confirmed again within this time is not extended."""

MAX_ROUTES_BYTES: Final = 4 << 20
"""Memory for what others say about all destinations: names, addresses, and the capabilities that
few announce."""

MAX_ANNOUNCED: Final = 64
"""Lists of capabilities stored once for all nodes that announce the same."""

TEXT_CHARACTERS: Final = 192
"""Characters counted for each route's names and address, the most there can be: better ones may
come later."""

_TEXT_BYTES: Final = 56
"""Roughly the memory of a text besides its characters."""


class Route(Struct, frozen=True, eq=False):
    """One route to a node."""

    next_hop: str
    """The id of the next hop."""
    distance: int
    """Hops."""
    expires: float
    capabilities: tuple[str, ...] = ()
    """What the destination announced, as far as known."""
    name: str = ""
    """The name of the destination, as far as known: remote text."""
    listed_at: str = ""
    """The address at which a peer lists it: remote text."""
    evidence: Evidence = Evidence.HEARSAY
    """How well it is known that this route leads there."""
    told_by: Evidence = Evidence.HEARSAY
    """How well the name and the address are known."""
    earlier_name: str = ""
    """Its previous name, if nobody vouches for the change: it still matches that name too."""
    is_doubted: bool = False
    """Whether a message sent by this route brought no answer: an equally good route replaces it."""
    told_from: Address | None = None
    """The address whose share of the table it takes; None: nobody's. Not compared."""
    known_since: float = 0.0
    """Not compared either."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Route) and astuple(self)[:-2] == astuple(other)[:-2]

    def __hash__(self) -> int:
        return hash((self.next_hop, self.distance, self.expires))

    def yields_to(self, evidence: Evidence, next_hop: str, distance: int) -> bool:
        """Whether news of a route replaces this one."""
        if next_hop == self.next_hop:
            return True
        if self.is_doubted:
            # Better evidence than a server's word no longer counts: the route has failed.
            return evidence >= min(self.evidence, Evidence.LISTED)
        if evidence is self.evidence:
            return distance <= self.distance
        return evidence > self.evidence

    def called(self, name: str, evidence: Evidence, next_hop: str) -> tuple[str, str]:
        """The name of the destination after news about it, and its previous name."""
        if not name or name == self.name or not self.name:
            return name or self.name, self.earlier_name
        is_heard_from_another = evidence is Evidence.HEARSAY and next_hop != self.next_hop
        if evidence < self.told_by or is_heard_from_another:
            return self.name, self.earlier_name
        return name, "" if evidence >= Evidence.VOUCHED else (self.earlier_name or self.name)


class RouteTable:
    """Routes by destination, bounded; the least recently refreshed or used one makes room.

    Nodes that are peers themselves are not in it: they are always reached directly.

    Args:
        lifetime_s: How long a route is valid without news, seconds.
        limit: Most routes.
        count: Called with a cause when a valid route makes room.
        shares: The shares of routes, for each address and prefix of the peers that announce them.
    """

    def __init__(
        self,
        lifetime_s: float,
        limit: int,
        count: Callable[[str], None] = lambda _: None,
        shares: Shares | None = None,
    ) -> None:
        self._lifetime_s = lifetime_s
        # Indexed by next hop too, so that a peer that leaves costs only its own routes.
        self._routes: BoundedTable[str, Route] = BoundedTable(
            limit,
            full="routes_full",
            limit_bytes=MAX_ROUTES_BYTES,
            holds=lambda route, now: route.expires > now,
            peer_share=INDEXED,
            shares=shares or Shares(),
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
        evidence: Evidence = Evidence.HEARSAY,
        listed_at: str = "",
        address: Address | None = None,
    ) -> None:
        """Take news of a route: a better known one stays, and of equal ones the shorter.

        Args:
            destination: The id of the node that it leads to.
            next_hop: The id of the next hop.
            distance: Hops.
            now: The time, seconds.
            capabilities: What the destination is said to announce.
            name: Its reported name; empty if unknown.
            evidence: What supports all this.
            listed_at: The address at which it is listed; empty if unknown.
            address: The address of the node that reports it; None: a server that this node chose.
        """
        known = self._routes.get(destination)
        expires = now + self._lifetime_s
        tells = bool(capabilities or name or listed_at)
        if known is None or known.expires <= now:
            if known is not None:
                capabilities = capabilities or known.capabilities
                name, listed_at = name or known.name, listed_at or known.listed_at
            route = Route(
                next_hop,
                distance,
                expires,
                capabilities,
                name,
                listed_at,
                evidence,
                min(evidence, Evidence.VOUCHED) if tells else Evidence.HEARSAY,
                told_from=address,
                known_since=now,
            )
            self._keep(destination, route, now)
            return
        if tells:
            name, earlier = known.called(name, evidence, next_hop)
            is_told_better = evidence >= known.told_by
            known = replace(
                known,
                capabilities=(is_told_better and capabilities) or known.capabilities,
                name=name,
                earlier_name=earlier,
                listed_at=(is_told_better and listed_at) or known.listed_at,
                told_by=max(known.told_by, min(evidence, Evidence.VOUCHED)),
            )
        stays = next_hop == known.next_hop
        is_same = stays and distance == known.distance and evidence <= known.evidence and not tells
        if is_same and expires < known.expires + FRESH_S:
            # Each message that passes repeats it.
            self._routes.touch(destination)
            return
        if not known.yields_to(evidence, next_hop, distance):
            self._routes.replace(destination, known)
            return
        is_doubted = stays and known.is_doubted and evidence is Evidence.HEARSAY
        keeps_rank = stays and (is_doubted or not known.is_doubted)
        route = replace(
            known,
            next_hop=next_hop,
            distance=distance,
            expires=expires,
            evidence=max(evidence, known.evidence) if keeps_rank else evidence,
            is_doubted=is_doubted,
            told_from=address,
        )
        self._keep(destination, route, now)

    def _keep(self, destination: str, route: Route, now: float) -> None:
        known = self._routes.get(destination)
        if (
            known is not None
            and known.next_hop == route.next_hop
            and known.told_from == route.told_from
            and known.capabilities is route.capabilities
        ):
            # The same peer repeats it: owner and size stay the same.
            self._routes.replace(destination, route)
            self._routes.renew(destination)
            return
        size, told = TEXT_CHARACTERS, route.capabilities
        shared = self._announced.get(told)
        if shared is None:
            self._announced.put(told, told)
            size += sum(map(len, told)) + _TEXT_BYTES * len(told)
        elif shared is not told:
            route = replace(route, capabilities=shared)
        self._routes.put(
            destination,
            route,
            now,
            peers=(route.next_hop,),
            address=route.told_from,
            size_bytes=size,
        )

    def doubt(self, destination: str, next_hop: str) -> None:
        """A message sent by a route has brought no answer."""
        route = self._routes.get(destination)
        if route is not None and route.next_hop == next_hop and not route.is_doubted:
            self._routes.replace(destination, replace(route, is_doubted=True))

    def forget_hearsay(self, destination: str) -> None:
        """A node has a session here: what unchosen peers have said about it is no longer needed."""
        route = self._routes.get(destination)
        if route is not None and route.evidence is Evidence.HEARSAY:
            del self._routes[destination]

    def lookup(self, destination: str, now: float) -> Route | None:
        """The route to a node, or None."""
        route = self._routes.get(destination)
        if route is not None and route.expires <= now:
            del self._routes[destination]
            return None
        if route is not None:
            self._routes.touch(destination)  # what is in use makes room last
        return route

    def peek(self, destination: str, now: float) -> Route | None:
        """The route to a node, or None, without counting as use."""
        route = self._routes.get(destination)
        return route if route is not None and route.expires > now else None

    def forget(self, destination: str, next_hop: str) -> None:
        """The route through `next_hop` has ended."""
        route = self._routes.get(destination)
        if route is not None and route.next_hop == next_hop:
            del self._routes[destination]

    def forget_next_hop(self, next_hop: str) -> None:
        """A peer has left, and with it every route through it."""
        for destination in self._routes.of_peer(next_hop):
            del self._routes[destination]

    def items(self, now: float) -> Iterator[tuple[str, Route]]:
        """All valid routes."""
        for destination, route in self._routes.items():
            if route.expires > now:
                yield destination, route
