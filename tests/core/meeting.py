"""Two nodes behind NATs of every kind and the server that they joined, on virtual time.

meeting = Meeting("port-restricted-cone", "symmetric, step 1")
meeting.connect()
meeting.world.run_until(meeting.is_direct, 10)
"""

from itertools import permutations
from typing import Any, Final

from p2ptui.core.events import DataReceived, PathChanged
from p2ptui.core.peers import Peer
from p2ptui.core.traversal.attempt import NatFacts
from p2ptui.core.traversal.searches import Attempt
from p2ptui.nat.allocation import PortAllocation
from p2ptui.nat.behavior import NatType
from p2ptui.wire.address import Address
from tests.simulated_nat import KINDS, Behaviour, Nat, Nats
from tests.simulation import Host, World

LATENCY_S: Final = 0.02
ROUND_TRIP_S: Final = 4 * LATENCY_S
"""From one node by way of the server to the other, and back."""

SERVER: Final = ("198.51.100.9", 8080)
OUTSIDE_A: Final = "198.51.100.1"
OUTSIDE_B: Final = "198.51.100.2"

_TYPES: Final = {
    "open": NatType.OPEN,
    "firewall": NatType.FIREWALL,
    "full-cone": NatType.FULL_CONE,
    "hairpin": NatType.FULL_CONE,
    "restricted-cone": NatType.RESTRICTED_CONE,
    "port-restricted-cone": NatType.PORT_RESTRICTED_CONE,
    "blocked": NatType.BLOCKED,
}


def facts_of(kind: str) -> NatFacts:
    """What a diagnosis says of a NAT of `KINDS`."""
    behaviour = KINDS[kind]
    nat_type = _TYPES.get(kind, NatType.SYMMETRIC)
    return NatFacts(nat_type, behaviour.mapping, PortAllocation(behaviour.allocation))


class Meeting:
    """A server, and `a` and `b` that have joined it.

    Args:
        kind_a: The NAT of `a`, by its name in `KINDS`.
        kind_b: That of `b`.
        seed: Of all that is random.
        options: Of the two nodes.
        server: Options of the server.
        link: Options of the network's links.
    """

    def __init__(
        self,
        kind_a: str = "port-restricted-cone",
        kind_b: str = "port-restricted-cone",
        *,
        seed: int = 0,
        options: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
        **link: Any,
    ) -> None:
        link.setdefault("latency_s", LATENCY_S)
        self.world = world = World(seed, **link)
        self._nat_of: dict[Address, Nat] = {}
        self.nats = Nats()
        world.network.translate = self.nats.translate
        self.server = world.host(SERVER, **({"allow_symmetric_nat_relay": True} | (server or {})))
        self.a = self.behind(kind_a, OUTSIDE_A, ("192.168.1.2", 5000), **(options or {}))
        self.b = self.behind(kind_b, OUTSIDE_B, ("192.168.2.2", 5000), **(options or {}))
        self.join()
        world.run_for(1)

    def join(self) -> None:
        """Both join the server."""
        for host in (self.a, self.b):
            host.outcome(host.connect(self.server))

    def behind(
        self,
        kind: str,
        outside: str,
        address: Address,
        node_id: str | None = None,
        **options: Any,
    ) -> Host:
        """A node behind a NAT of its own."""
        behaviour: Behaviour = KINDS[kind]
        nat = self.nats.add(Nat(outside, {address[0]}, behaviour, seed=self.world.seed))
        host = self.world.host(address, node_id, **options)
        host.facts = facts_of(kind)
        host.endpoint.traversal.offers.hosts = (address,)
        self._nat_of[host.address] = nat
        return host

    def predicts_well(self, host: Host) -> None:
        """Let the host know the ports that its NAT will give its further sockets."""
        nat = self._nat_of[host.address]
        host.predict = lambda ports: tuple(
            (nat.outside, port) for port in nat.next_ports(len(ports))
        )

    def seen_from(self, host: Host, address: Address) -> Address:
        """Where somebody sees the host, once that has sent there."""
        outside = self._nat_of[host.address].outbound(host.address, address, self.world.now)
        assert outside is not None
        return outside

    def lose(self, share: float) -> None:
        """From now on so much is lost between any two of the three, in each direction."""
        insides = [host.address[0] for host in (self.a, self.b)]
        everywhere = [SERVER[0], OUTSIDE_A, OUTSIDE_B, *insides]
        for one, other in permutations(everywhere, 2):
            self.world.network.set_link(one, other, loss=share)

    # What its user does.

    def ask(self, timeout_s: float = 10.0) -> int:
        """`a` asks for `b` by its id; the token."""
        a, now = self.a, self.world.now
        server = a.peer(self.server)
        assert server is not None
        token = a.endpoint.introduce(server, self.b.id, now, timeout_s)
        a.settle()
        return token

    def connect(self, timeout_s: float = 10.0) -> Any:
        """`a` connects to `b` by its id; the outcome."""
        return self.a.outcome(self.ask(timeout_s))

    def say(self, payload: Any, *, back: bool = False) -> int:
        """`a` sends `b` something reliable, or the other way round; the token."""
        sender = self.b if back else self.a
        peer = self.peer(sender)
        assert peer is not None
        token = sender.endpoint.send(peer, payload, self.world.now)
        sender.settle()
        return token

    # What there is to see.

    def other(self, host: Host) -> Host:
        return self.b if host is self.a else self.a

    def peer(self, host: Host) -> Peer | None:
        """The other node, as one of the two knows it."""
        return host.endpoint.peers.authenticated(self.other(host).id)

    def attempt(self, host: Host) -> Attempt | None:
        return host.endpoint.traversal.offers.get(self.other(host).id)

    def aliases(self, host: Host) -> set[Address]:
        """From where the other node may send, besides its own address, as one of the two knows."""
        peer = self.peer(host)
        return set() if peer is None else set(host.endpoint.peers.aliases_of(peer))

    def goes_direct(self, host: Host) -> bool:
        peer = self.peer(host)
        return peer is not None and "@" not in peer.sends_to[0]

    def is_direct(self) -> bool:
        """Whether both send directly."""
        return self.goes_direct(self.a) and self.goes_direct(self.b)

    def is_relayed(self) -> bool:
        """Whether both send by way of the server."""
        return not (self.goes_direct(self.a) or self.goes_direct(self.b))

    def paths(self, host: Host) -> list[PathChanged]:
        return host.told(PathChanged)

    def heard(self, host: Host) -> list[Any]:
        """What the other node said, in the order of its arrival."""
        other = self.other(host).id
        told = host.told(DataReceived)
        return [e.payload for e in told if e.node_id == other and not e.is_echo]

    def cut(self) -> None:
        """Nothing goes directly any more."""
        self.world.network.partition(self.a.address[0], self.b.address[0])

    def heal(self) -> None:
        self.world.network.heal(self.a.address[0], self.b.address[0])
