"""NATs and firewalls for a `MemoryNetwork`, of every kind of RFC 4787, the same by the same seed.

    nats = Nats(seed=7)
    network = MemoryNetwork(latency_s=0.01, translate=nats.translate)
    nats.add(Nat("198.51.100.1", {"192.168.1.2"}, KINDS["port-restricted-cone"]))

A host inside sends from its own address, and is seen at the NAT's outside. A NAT whose outside
is inside another makes two in a row. State changes when a datagram is sent, not on its way.
"""

import random
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from p2ptui.nat.allocation import AllocationKind
from p2ptui.nat.behavior import Dependence
from p2ptui.wire.address import Address

PORTS = range(1024, 65_536)
SEQUENCE_BEGINS = 40_000
BLOCK = range(50_176, 50_688)
"""512 ports in a row, as a carrier gives them to a customer."""
HASHED = range(40_000, 40_512)


FLOW_BURST = 5
"""As `limit rate` of nftables has it."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a NAT does; without translation (mapping "none") it is a firewall."""

    mapping: Dependence = Dependence.ENDPOINT_INDEPENDENT
    filtering: Dependence = Dependence.ADDRESS_AND_PORT
    allocation: AllocationKind = AllocationKind.PRESERVED
    step: int = 1
    """From one port to the next, for a sequential allocation."""
    hairpin: bool = False
    lifetime_s: float = 120.0
    """A mapping without traffic, in either direction, lives this long."""
    blocks: bool = False
    """Whether nothing passes at all."""
    bans_s: float = 0.0
    """So long nothing is let in from a host that has sent unasked; 0: nobody is banned."""
    bans_inside: bool = False
    """Whether that befalls also a host inside that sends to the outside address."""
    flows_per_s: float = 0.0
    """So many datagrams that begin a flow pass, with a burst of `FLOW_BURST`; 0: all do."""


def _symmetric(
    allocation: AllocationKind, *, mapping: Dependence = Dependence.ADDRESS_AND_PORT, step: int = 1
) -> Behaviour:
    return Behaviour(mapping=mapping, allocation=allocation, step=step)


KINDS = {
    "open": Behaviour(Dependence.NONE, Dependence.NONE),
    "firewall": Behaviour(Dependence.NONE),
    "full-cone": Behaviour(filtering=Dependence.ENDPOINT_INDEPENDENT),
    "restricted-cone": Behaviour(filtering=Dependence.ADDRESS),
    "port-restricted-cone": Behaviour(),
    "hairpin": Behaviour(filtering=Dependence.ENDPOINT_INDEPENDENT, hairpin=True),
    "symmetric, random": _symmetric(AllocationKind.RANDOM),
    "symmetric, step 1": _symmetric(AllocationKind.SEQUENTIAL),
    "symmetric, step 256": _symmetric(AllocationKind.SEQUENTIAL, step=256),
    "symmetric, block": _symmetric(AllocationKind.BLOCK),
    "symmetric, hashed": _symmetric(AllocationKind.HASHED, mapping=Dependence.ADDRESS),
    "blocked": Behaviour(blocks=True),
}
"""The kinds of the field, by what people call them."""

LIMITING = Behaviour(flows_per_s=50)
BANNING = Behaviour(bans_s=60)


@dataclass(slots=True)
class _Mapping:
    inside: Address
    used_at: float
    contacts: set[Address] = field(default_factory=set)
    """Who was sent to: what a filter asks for."""


class Nat:
    """One NAT, or one firewall.

    Args:
        outside: Its IP address on the far side; for a firewall it means nothing.
        inside: The IP addresses of the hosts behind it.
        behaviour: What it does.
        seed: Of the ports that it draws.
    """

    def __init__(
        self, outside: str, inside: Iterable[str], behaviour: Behaviour, seed: int = 0
    ) -> None:
        self.outside = outside
        self.inside = frozenset(inside)
        self.behaviour = behaviour
        self._rng = random.Random(f"{seed} {outside}")
        self._seed = seed
        self._by_flow: dict[tuple[Address, object], Address] = {}
        self._by_outside: dict[Address, _Mapping] = {}
        self._last_port = SEQUENCE_BEGINS - behaviour.step
        self._banned: dict[str, float] = {}
        self._answered: set[tuple[Address, Address]] = set()
        self._tokens = float(FLOW_BURST)
        self._tokens_at = 0.0

    def forget(self) -> None:
        """Lose all mappings, like a router that was restarted."""
        self._by_flow.clear()
        self._by_outside.clear()

    @property
    def translates(self) -> bool:
        return self.behaviour.mapping is not Dependence.NONE

    def outbound(self, source: Address, destination: Address, now: float) -> Address | None:
        """Where the far side sees a datagram come from; None: it does not pass."""
        if self.behaviour.blocks or self.is_banned(source[0], now):
            return None
        if not self._may_begin(source, destination, now):
            return None
        key = {
            Dependence.ADDRESS: destination[0],
            Dependence.ADDRESS_AND_PORT: destination,
        }.get(self.behaviour.mapping)
        outside = self._by_flow.get((source, key))
        mapping = self._alive(outside, now)
        if outside is None or mapping is None:
            outside = self._choose(source, destination) if self.translates else source
            mapping = _Mapping(source, now)
            self._by_flow[source, key] = outside
            self._by_outside[outside] = mapping
        mapping.used_at = now
        mapping.contacts.add(destination)
        return outside

    def inbound(self, source: Address, destination: Address, now: float) -> Address | None:
        """Whom a datagram to the outside reaches; None: nobody."""
        if self.behaviour.blocks or self.is_banned(source[0], now):
            return None
        mapping = self._alive(destination, now)
        if mapping is None:
            lets_all_in = not self.translates and self.behaviour.filtering is Dependence.NONE
            return destination if lets_all_in else self.ban(source[0], now)
        if not self._admits(mapping, source):
            return self.ban(source[0], now)
        self._answered.add((mapping.inside, source))
        mapping.used_at = now
        return mapping.inside

    def ban(self, host: str, now: float) -> None:
        """It has sent unasked."""
        if self.behaviour.bans_s:
            self._banned[host] = now + self.behaviour.bans_s

    def is_banned(self, host: str, now: float) -> bool:
        """Whether nothing from it passes."""
        return self._banned.get(host, now) > now

    def _may_begin(self, source: Address, destination: Address, now: float) -> bool:
        """Whether a datagram passes: until the first answer all of a flow begin it."""
        rate = self.behaviour.flows_per_s
        if not rate or (source, destination) in self._answered:
            return True
        grown = self._tokens + (now - self._tokens_at) * rate
        self._tokens, self._tokens_at = min(grown, float(FLOW_BURST)), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def next_ports(self, count: int) -> list[int]:
        """What the next new flows are given, where the ports are in sequence."""
        step = self.behaviour.step
        return [self._last_port + step * (number + 1) for number in range(count)]

    def _admits(self, mapping: _Mapping, source: Address) -> bool:
        if self.behaviour.filtering is Dependence.ADDRESS_AND_PORT:
            return source in mapping.contacts
        if self.behaviour.filtering is Dependence.ADDRESS:
            return source[0] in {host for host, _ in mapping.contacts}
        return True

    def _alive(self, outside: Address | None, now: float) -> _Mapping | None:
        mapping = self._by_outside.get(outside) if outside is not None else None
        if mapping is None or now - mapping.used_at < self.behaviour.lifetime_s:
            return mapping
        del self._by_outside[outside]
        self._by_flow = {flow: at for flow, at in self._by_flow.items() if at != outside}
        return None

    def _choose(self, source: Address, destination: Address) -> Address:
        kind = self.behaviour.allocation
        ports = {AllocationKind.BLOCK: BLOCK, AllocationKind.HASHED: HASHED}.get(kind, PORTS)
        if kind is AllocationKind.PRESERVED:
            port = source[1]
        elif kind is AllocationKind.SEQUENTIAL:
            port = self._last_port + self.behaviour.step
        elif kind is AllocationKind.HASHED:
            text = f"{self._seed} {source[1]} {destination[0]}"
            port = ports[zlib.crc32(text.encode()) % len(ports)]
        else:
            port = self._rng.choice(ports)
        while port not in ports or (self.outside, port) in self._by_outside:
            port = ports[(port + self.behaviour.step - ports.start) % len(ports)]
        self._last_port = port
        return self.outside, port


class Nats:
    """All NATs of a network; `translate` is the hook of `MemoryNetwork`."""

    def __init__(self, *nats: Nat) -> None:
        self._of_host: dict[str, Nat] = {}
        self._entrances: dict[str, Nat] = {}
        for nat in nats:
            self.add(nat)

    def add(self, nat: Nat) -> Nat:
        for host in nat.inside:
            self._of_host[host] = nat
        for host in {nat.outside} if nat.translates else nat.inside:
            self._entrances[host] = nat
        return nat

    def translate(
        self, data: bytes, source: Address, destination: Address, now: float
    ) -> tuple[Address, Address] | None:
        """Whom the receiver sees, and who that is; None where the datagram ends at a NAT."""
        while (nat := self._of_host.get(source[0])) is not None:
            if destination[0] in nat.inside:
                break
            if destination[0] == nat.outside and not nat.behaviour.hairpin:
                if nat.behaviour.bans_inside:
                    nat.ban(source[0], now)
                return None
            outside = nat.outbound(source, destination, now)
            if outside is None:
                return None
            if not nat.translates:
                break
            source = outside
        behind = self._of_host.get(destination[0])
        if behind is not None and behind.translates and source[0] not in behind.inside:
            return None  # nobody outside knows the way to an address inside
        while (nat := self._entrances.get(destination[0])) is not None:
            if source[0] in nat.inside:
                break
            inner = nat.inbound(source, destination, now)
            if inner is None:
                return None
            if not nat.translates:
                break
            destination = inner
        return source, destination
