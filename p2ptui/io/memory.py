"""A network in memory: links with latency, loss and an MTU, on any clock, reproducible by a seed.

`MemoryNetwork` knows no event loop: time is an argument. `MemorySocket` puts it behind the
interface of the UDP socket.
"""

import errno
import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from p2ptui.errors import BindError
from p2ptui.io.bind import bind_error
from p2ptui.io.memory_socket import MAX_PAYLOAD_BYTES, Clockwork, MemorySocket
from p2ptui.io.resolve import literal_address
from p2ptui.wire.address import LIMITED_BROADCAST, MAX_PORT, Address, format_address

__all__ = ["FIRST_EPHEMERAL_PORT", "Link", "MemoryNetwork", "MemorySocket", "NetworkCounters"]

MAX_IN_FLIGHT = 65536
"""Datagrams under way at once; further ones are dropped and counted."""
FIRST_EPHEMERAL_PORT = 49152
"""Where the dynamic ports begin (RFC 6335, section 6)."""

Endpoint: TypeAlias = str | Address
"""One side of a link: a host with all its ports, or one address."""
Delivery: TypeAlias = tuple[bytes, Address, Address]
"""A datagram with its source and its destination."""
Translate: TypeAlias = Callable[[bytes, Address, Address, float], tuple[Address, Address] | None]


@dataclass(frozen=True, slots=True)
class Link:
    """What one direction between two endpoints does to datagrams."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    """Up to this is added to the latency, uniformly distributed."""
    loss: float = 0.0
    """Probability, 0 to 1, as are the next two."""
    duplication: float = 0.0
    reorder: float = 0.0
    """Probability that a datagram is delayed by `reorder_delay_s`."""
    reorder_delay_s: float = 0.05
    mtu: int | None = None
    """Largest payload in bytes; None is what UDP allows."""
    uncut_mtu: int | None = None
    """The same for datagrams that must not be fragmented."""

    def largest(self, *, unfragmented: bool) -> int:
        """The largest payload that gets through, bytes."""
        limits = (self.mtu, self.uncut_mtu if unfragmented else None, MAX_PAYLOAD_BYTES)
        return min(limit for limit in limits if limit is not None)

    def __post_init__(self) -> None:
        for name in ("loss", "duplication", "reorder"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability: 0 to 1, not {getattr(self, name)}")
        for name in ("latency_s", "jitter_s", "reorder_delay_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is a time: 0 or more, not {getattr(self, name)}")


@dataclass(slots=True)
class NetworkCounters:
    """What became of the datagrams; each copy of a broadcast counts as one datagram."""

    sent: int = 0
    delivered: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    dropped_mtu: int = 0
    dropped_partition: int = 0
    dropped_unknown: int = 0
    """Nobody was attached to the destination when the datagram arrived."""
    dropped_translation: int = 0
    dropped_full: int = 0
    """More than the limit of datagrams were in flight."""


class MemoryNetwork:
    """Datagrams between attached addresses, in virtual time.

    Args:
        link: Options of `Link`, for every direction that `set_link` does not name.
        seed: Of the random choices: the same seed and calls give the same deliveries.
        broadcast_hosts: Destinations that reach every attached address with the same port,
            the sender's own too, as on a real network. 255.255.255.255 always does.
        translate: Called once for each datagram, when it is sent; returns the source and
            destination that the other side sees, or None to drop it. For NATs.
        max_in_flight: Limit of datagrams under way.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        broadcast_hosts: Iterable[str] = (),
        translate: Translate | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        **link: Any,
    ) -> None:
        self.translate = translate
        self._link = Link(**link)
        self._links: dict[tuple[Endpoint, Endpoint], Link] = {}
        self._cuts: set[frozenset[Endpoint]] = set()
        self._attached: dict[Address, None] = {}
        self._broadcast_hosts = {LIMITED_BROADCAST, *broadcast_hosts}
        self._max_in_flight = max_in_flight
        self._rng = random.Random(seed)
        self._order = itertools.count()
        # Time, order of sending, datagram as its receiver sees it, and its actual sender.
        self._in_flight: list[tuple[float, int, Delivery, Address]] = []
        self._counters = NetworkCounters()
        self.clockwork: Clockwork | None = None
        """The timer of the sockets' event loop; the network itself never uses it."""

    def attach(self, address: Address) -> Address:
        """Make an address reachable; port 0 takes the first free dynamic port of the host.

        Raises:
            BindError: It is taken, or the host is not a single literal IP address.
        """
        try:
            host, port = literal_address(address)
        except ValueError as error:
            raise BindError(f"cannot bind {format_address(address)}: {error}") from None
        if host in ("0.0.0.0", "::"):
            raise bind_error((host, port), OSError(errno.EADDRNOTAVAIL, "one host only"))
        ports = range(FIRST_EPHEMERAL_PORT, MAX_PORT + 1) if port == 0 else (port,)
        for candidate in ports:
            if (host, candidate) not in self._attached:
                self._attached[host, candidate] = None
                return host, candidate
        raise bind_error((host, port), OSError(errno.EADDRINUSE, "taken"))

    def detach(self, address: Address) -> None:
        """Make an address unreachable; datagrams under way to it will be dropped."""
        self._attached.pop(address, None)

    def set_link(self, source: Endpoint, destination: Endpoint, **link: Any) -> None:
        """Change options of `Link` in one direction; the others stay as the network has them.

        Of several that fit, the one with the more exact source wins, then destination.
        """
        self._links[source, destination] = replace(self._link, **link)

    def partition(self, a: Endpoint, b: Endpoint) -> None:
        """Drop everything between `a` and `b`, in both directions, including what is under way."""
        self._cuts.add(frozenset((a, b)))

    def heal(self, a: Endpoint, b: Endpoint) -> None:
        """Undo `partition(a, b)`; without one, nothing happens."""
        self._cuts.discard(frozenset((a, b)))

    def send(
        self,
        data: bytes,
        source: Address,
        destination: Address,
        now: float,
        *,
        expires: bool = False,
        unfragmented: bool = False,
    ) -> None:
        """Put one datagram on its way, or drop it and count why.

        Args:
            data: The payload.
            source: The sender, before translation.
            destination: The destination, before translation.
            now: The time in seconds, on the caller's clock.
            expires: Whether its TTL ends on the way: a NAT sees it, but nobody receives it.
            unfragmented: Whether it must not be fragmented.
        """
        seen_source = source
        if self.translate is not None:
            translated = self.translate(data, source, destination, now)
            if translated is None:
                self._counters.sent += 1
                self._counters.dropped_translation += 1
                return
            seen_source, destination = translated
        if expires:
            return
        if destination[0] not in self._broadcast_hosts:
            self._send_one((data, seen_source, destination), source, now, unfragmented)
            return
        for address in list(self._attached):
            if address[1] == destination[1]:
                self._send_one((data, seen_source, address), source, now, unfragmented)

    def next_delivery(self) -> float | None:
        """The time in seconds of the earliest datagram under way, or None."""
        return self._in_flight[0][0] if self._in_flight else None

    def deliver(self, now: float) -> list[Delivery]:
        """Take every datagram that has arrived by `now`, in the order of arrival."""
        arrived: list[Delivery] = []
        while self._in_flight and self._in_flight[0][0] <= now:
            _, _, delivery, sender = heapq.heappop(self._in_flight)
            if self._is_cut(sender, delivery[2]):
                self._counters.dropped_partition += 1
            elif delivery[2] not in self._attached:
                self._counters.dropped_unknown += 1
            else:
                self._counters.delivered += 1
                arrived.append(delivery)
        return arrived

    def counters(self) -> NetworkCounters:
        """A copy of the counters."""
        return replace(self._counters)

    def _send_one(
        self, delivery: Delivery, sender: Address, now: float, unfragmented: bool
    ) -> None:
        counters, rng = self._counters, self._rng
        data, _, destination = delivery
        counters.sent += 1
        link = self._link_between(sender, destination)
        if self._is_cut(sender, destination):
            counters.dropped_partition += 1
        elif len(data) > link.largest(unfragmented=unfragmented):
            counters.dropped_mtu += 1
        elif rng.random() < link.loss:
            counters.lost += 1
        else:
            copies = 1
            if rng.random() < link.duplication:
                counters.duplicated += 1
                copies = 2
            for _ in range(copies):
                self._launch(delivery, sender, link, now)

    def _launch(self, delivery: Delivery, sender: Address, link: Link, now: float) -> None:
        arrival = now + link.latency_s + link.jitter_s * self._rng.random()
        if self._rng.random() < link.reorder:
            self._counters.reordered += 1
            arrival += link.reorder_delay_s
        if len(self._in_flight) >= self._max_in_flight:
            self._counters.dropped_full += 1
            return
        heapq.heappush(self._in_flight, (arrival, next(self._order), delivery, sender))

    def _link_between(self, source: Address, destination: Address) -> Link:
        if self._links:
            for pair in itertools.product((source, source[0]), (destination, destination[0])):
                if pair in self._links:
                    return self._links[pair]
        return self._link

    def _is_cut(self, source: Address, destination: Address) -> bool:
        return bool(self._cuts) and any(
            frozenset(pair) in self._cuts
            for pair in itertools.product((source, source[0]), (destination, destination[0]))
        )
