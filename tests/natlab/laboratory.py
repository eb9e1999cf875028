"""A small internet inside this machine, with NATs that are the kernel's own.

    with Laboratory() as laboratory:
        server = laboratory.server()                      # two public addresses
        nat = laboratory.nat(Kind.PORT_RESTRICTED)
        alice, bob = nat.host(), nat.host()               # on the same LAN
        carol = laboratory.nat(Kind.FULL_CONE).nat(Kind.SYMMETRIC_RANDOM).host()  # double NAT
        alice.run(["p2ptui", ...]); carol.udp_socket(port=5000)

Every host and every router is a network namespace; the public network is one too, a router with a
link of its own to each that is attached: between two NATs lies one hop. Addresses are from ranges
that are in use in the world, because the reserved ones may be treated in another way.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from secrets import token_hex
from types import TracebackType
from typing import Self

from tests.natlab.namespaces import Namespace, ip, remove
from tests.natlab.rules import (
    BLOCKS,
    DEFAULT_TIMEOUT_S,
    GUARD6,
    KINDS,
    Behaviour,
    Kind,
    loss,
    ruleset,
)


@dataclass(frozen=True)
class _Line:
    """Where something is plugged in: `port` is the other end's interface."""

    to: Namespace
    port: str
    addresses: tuple[str, ...]
    gateway: str
    address6: str | None = None
    gateway6: str | None = None

    def plug(self, device: str, namespace: Namespace) -> str:
        return (
            f"link add {device} netns {namespace.name} type veth"
            f" peer {self.port} netns {self.to.name}"
        )

    def configure(self, device: str) -> list[str]:
        """The near end's `ip` commands."""
        commands = [
            "link set lo up",
            f"link set {device} addrgenmode none up",
            *(f"address add {address}/24 dev {device}" for address in self.addresses),
            f"route add default via {self.gateway}",
        ]
        if self.address6:
            commands += [
                f"address add {self.address6}/64 dev {device} nodad",
                f"address add fe80::{self.address6.rpartition(':')[2]}/64 dev {device} nodad",
                f"route add default via {self.gateway6}",
            ]
        return commands


class Host(Namespace):
    """A host; its interface is `eth0`."""

    def __init__(self, name: str, line: _Line, nat: "Nat | None" = None) -> None:
        super().__init__(name)
        self.addresses = line.addresses
        """Its own IPv4 addresses: private behind a NAT."""
        self.address = line.addresses[0]
        self.address6 = line.address6
        """Its global IPv6 address, if asked for."""
        self.nat = nat
        """The router it is behind; None on the public network."""

    @property
    def public_addresses(self) -> tuple[str, ...]:
        """The IPv4 addresses that the public network sees."""
        translating = self.nat is not None and self.nat.behaviour.translates
        return self.nat.public_addresses if self.nat and translating else self.addresses


class Nat(Namespace):
    """A router with the interfaces `wan` and `lan`, the latter a bridge with its hosts."""

    def __init__(self, laboratory: "Laboratory", name: str, kind: Kind, line: _Line) -> None:
        super().__init__(name)
        self.kind = kind
        self.outer = line.addresses[0]
        """W, the address on the side of the public network."""
        self._laboratory = laboratory
        self._line = line
        self._hosts = 0
        number = laboratory.count()
        # Without translation the hosts have public addresses, and the routers know the way.
        self._prefix = f"5.1.{number}" if not self.behaviour.translates else f"10.{number}.0"
        self.lan_address = f"{self._prefix}.1"
        self._prefix6 = f"2a01:0:1:{number:x}:" if line.address6 else None

    @property
    def behaviour(self) -> Behaviour:
        """What a diagnosis should find, from the `KINDS`."""
        return KINDS[self.kind]

    @property
    def behind(self) -> "Nat | None":
        """The NAT that this one is behind; None on the public network."""
        return self._line.to if isinstance(self._line.to, Nat) else None

    @property
    def public_addresses(self) -> tuple[str, ...]:
        """The IPv4 addresses that the public network sees of those inside."""
        return self.behind.public_addresses if self.behind else (self.outer,)

    def host(self) -> Host:
        """Another host on the LAN."""
        return self._laboratory.add_host(self._next_line(), self)

    def nat(
        self, kind: Kind, *, loss_percent: float = 0.0, mapping_timeout_s: int | None = None
    ) -> "Nat":
        """A second NAT behind this one; the arguments are those of `Laboratory.nat`.

        Raises ValueError for a kind without translation.
        """
        if not KINDS[kind].translates:
            raise ValueError(f"{kind} has public addresses inside: nothing for behind a NAT")
        return self._laboratory.add_nat(
            replace(self._next_line(), address6=None),
            kind,
            loss_percent=loss_percent,
            mapping_timeout_s=mapping_timeout_s,
        )

    def set_loss(self, percent: float) -> None:
        """Lose so many percent of the packets on the outer line, each way; 0 is none."""
        self.nft(loss(percent))

    def guard_ipv6(self) -> None:
        """Let in over IPv6 only what answers what was sent, as routers at home do."""
        self.nft(GUARD6)

    def set_mapping_timeout(self, timeout_s: int) -> None:
        """How long the kernel keeps a quiet UDP mapping from now on (a cone's memory is fixed)."""
        for name in ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"):
            self.sysctl(f"netfilter/{name}", timeout_s)

    def forget(self) -> None:
        """Lose all mappings, like a router that was restarted."""
        if self.kind in (Kind.FULL_CONE, Kind.HAIRPIN, Kind.RESTRICTED):
            self.nft("flush map ip nat inside\nflush set ip nat seen\n")
        if self.kind is Kind.BANNING:
            self.nft("flush set ip nat banned\n")
        self.flush_conntrack()

    def _next_line(self) -> _Line:
        self._hosts += 1
        last = self._hosts + 1
        six = self._prefix6
        return _Line(
            to=self,
            port=f"port{self._hosts}",
            addresses=(f"{self._prefix}.{last}",),
            gateway=self.lan_address,
            address6=f"{six}:{last:x}" if six else None,
            gateway6=f"{six}:1" if six else None,
        )

    def install(self, timeout_s: int | None, loss_percent: float) -> None:
        """Make a router of this kind out of an empty namespace. Called once, by the laboratory."""
        commands = [
            *self._line.configure("wan"),
            "link add lan type bridge mcast_snooping 0",
            "link set lan addrgenmode none up",
            f"address add {self.lan_address}/24 dev lan",
        ]
        if self._prefix6:
            commands += _router6(f"{self._prefix6}:1", "lan")
            self.sysctl("ipv6/conf/all/forwarding", 1)
        self.ip(commands)
        _ask_again_soon(self, "lan")
        _route(self)
        if timeout_s is not None:
            self.set_mapping_timeout(timeout_s)
        rules = ruleset(self.kind, self.outer, timeout_s or DEFAULT_TIMEOUT_S)
        if loss_percent:
            rules += loss(loss_percent)
        if rules:
            self.nft(rules)

    def routes(self) -> list[str]:
        """How the public network reaches the LAN, where that has public addresses."""
        ways = []
        if not self.behaviour.translates:
            ways.append(f"route add {self._prefix}.0/24 via {self.outer}")
        if self._prefix6:
            ways.append(f"route add {self._prefix6}:/64 via {self._line.address6}")
        return ways


class Laboratory:
    """The public network and all that is attached to it; everything is gone at the end."""

    def __init__(self) -> None:
        self._prefix = f"natlab-{token_hex(4)}"
        self._namespaces: list[Namespace] = []
        self._count = 0
        self._internet = Namespace(f"{self._prefix}-internet")

    def __enter__(self) -> Self:
        self._namespaces.append(self._internet)
        try:
            ip([f"netns add {self._internet.name}"])
            self._internet.ip(["link set lo up"])
            self._internet.nft(BLOCKS)
            _route(self._internet)
            self._internet.sysctl("ipv6/conf/all/forwarding", 1)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, close the sockets, remove the namespaces."""
        remove(self._namespaces)
        self._namespaces.clear()

    def server(self, *, ipv6: bool = False) -> Host:
        """A host with two public addresses on one interface, as RFC 5780 wants it."""
        return self.public_host(addresses=2, ipv6=ipv6)

    def public_host(self, *, addresses: int = 1, ipv6: bool = False) -> Host:
        """A host directly on the public network."""
        return self.add_host(self._next_line(addresses, ipv6))

    def nat(
        self,
        kind: Kind,
        *,
        loss_percent: float = 0.0,
        mapping_timeout_s: int | None = None,
        ipv6: bool = False,
    ) -> Nat:
        """A router of some kind on the public network; `.host()` puts hosts behind it.

        loss_percent: of the packets on its outer line, each way.
        mapping_timeout_s: how long a quiet UDP mapping lives (the kernel's 30, later 120, if None).
        ipv6: its hosts have global IPv6 addresses too, which are never translated.
        """
        return self.add_nat(
            self._next_line(1, ipv6),
            kind,
            loss_percent=loss_percent,
            mapping_timeout_s=mapping_timeout_s,
        )

    def block(self, one: Host | Nat, other: Host | Nat) -> None:
        """Drop what these two send each other across the public network, until `unblock`.

        Hosts without translation in between are meant themselves, others with all of their NAT.
        """
        self._pairs("add", one, other)

    def unblock(self, one: Host | Nat, other: Host | Nat) -> None:
        """Let it pass again."""
        self._pairs("delete", one, other)

    @contextmanager
    def blocked(self, one: Host | Nat, other: Host | Nat) -> Iterator[None]:
        """The path between these two is cut for as long as the block."""
        self.block(one, other)
        try:
            yield
        finally:
            self.unblock(one, other)

    def count(self) -> int:
        """A number of its own for each network."""
        self._count += 1
        return self._count

    def add_host(self, line: _Line, nat: Nat | None = None) -> Host:
        """A host at the end of a line; use `public_host` or `Nat.host`."""
        host = Host(self._name("host"), line, nat)
        self._add(host, "eth0", line)
        host.ip(line.configure("eth0"))
        return host

    def add_nat(
        self,
        line: _Line,
        kind: Kind,
        *,
        loss_percent: float = 0.0,
        mapping_timeout_s: int | None = None,
    ) -> Nat:
        """A router at the end of a line; use `Laboratory.nat` or `Nat.nat`."""
        nat = Nat(self, self._name(kind.value), kind, line)
        self._add(nat, "wan", line)
        nat.install(mapping_timeout_s, loss_percent)
        if ways := nat.routes():
            self._internet.ip(ways)
        return nat

    def plug_in(self, host: Host, device: str, nat: Nat) -> tuple[str, str]:
        """Give a host a second interface, on the LAN of another NAT; its default route stays.

        Returns:
            The address there, and the router's.
        """
        line = nat._next_line()
        ip([line.plug(device, host)])
        _ask_again_soon(host, device)
        _ask_again_soon(nat, line.port)
        nat.ip([f"link set {line.port} addrgenmode none up", f"link set {line.port} master lan"])
        configured = line.configure(device)
        host.ip([command for command in configured if "default" not in command])
        return line.addresses[0], line.gateway

    def _name(self, label: str) -> str:
        return f"{self._prefix}-{len(self._namespaces)}-{label}"

    def _next_line(self, addresses: int, ipv6: bool) -> _Line:
        number = self.count()
        return _Line(
            to=self._internet,
            port=f"line{number}",
            addresses=tuple(f"5.0.{number}.{last}" for last in range(2, 2 + addresses)),
            gateway=f"5.0.{number}.1",
            address6=f"2a01:0:0:{number:x}::2" if ipv6 else None,
            gateway6=f"2a01:0:0:{number:x}::1" if ipv6 else None,
        )

    def _add(self, namespace: Namespace, device: str, line: _Line) -> None:
        self._namespaces.append(namespace)
        ip([f"netns add {namespace.name}", line.plug(device, namespace)])
        _ask_again_soon(namespace, device)
        _ask_again_soon(line.to, line.port)
        port = [f"link set {line.port} addrgenmode none up"]
        if isinstance(line.to, Nat):
            port.append(f"link set {line.port} master lan")
        else:
            port.append(f"address add {line.gateway}/24 dev {line.port}")
            if line.gateway6:
                port += _router6(line.gateway6, line.port)
        line.to.ip(port)

    def _pairs(self, verb: str, one: Host | Nat, other: Host | Nat) -> None:
        lines = _elements(verb, "pairs", one.public_addresses, other.public_addresses)
        if isinstance(one, Host) and isinstance(other, Host) and one.address6 and other.address6:
            lines += _elements(verb, "pairs6", [one.address6], [other.address6])
        self._internet.nft(lines)


def _elements(verb: str, name: str, some: Sequence[str], others: Sequence[str]) -> str:
    pairs = [f"{a} . {b}, {b} . {a}" for a in some for b in others]
    return f"{verb} element inet block {name} {{ {', '.join(pairs)} }}\n"


def _router6(address: str, device: str) -> list[str]:
    # A router asks for its neighbours from a link-local address, or not at all.
    return [f"address add {one}/64 dev {device} nodad" for one in (address, "fe80::1")]


def _route(namespace: Namespace) -> None:
    """Make a router of it; it tells nobody of a shorter way, and a LAN's own frames pass by."""
    namespace.sysctl("ipv4/ip_forward", 1)
    for where in ("all", "default"):
        namespace.sysctl(f"ipv4/conf/{where}/rp_filter", 0)
        namespace.sysctl(f"ipv4/conf/{where}/send_redirects", 0)
    for filtered in ("ip", "ip6"):
        # Only there where the kernel has it loaded.
        with suppress(FileNotFoundError):
            namespace.sysctl(f"bridge/bridge-nf-call-{filtered}tables", 0)


def _ask_again_soon(namespace: Namespace, device: str) -> None:
    """A bridge's port that has just come up loses the first ARP query; the next is in a second."""
    for version in ("ipv4", "ipv6"):
        namespace.sysctl(f"{version}/neigh/{device}/retrans_time_ms", 20)
        namespace.sysctl(f"{version}/neigh/{device}/mcast_solicit", 100)
    # Many programs are refused there in a row, and a machine tells each sender once a second.
    namespace.sysctl("ipv4/icmp_ratelimit", 0)
    namespace.sysctl("ipv6/icmp/ratelimit", 0)
