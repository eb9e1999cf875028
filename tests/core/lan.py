"""Many nodes of one LAN behind one NAT, and the server outside that all of them joined.

lan = Lan(20)
lan.connect_all()
lan.world.run_for(30)
lan.direct_pairs(), lan.through_server()
"""

import random
from itertools import combinations
from typing import Any, Final

from tests.core.meeting import OUTSIDE_A, SERVER, facts_of
from tests.simulated_nat import KINDS, Nat, Nats
from tests.simulation import Host, World
from tests.slow_world import SlowWorld

OUTSIDE: Final = OUTSIDE_A
LAN_LATENCY_S: Final = 0.0005
SERVER_LATENCY_S: Final = 0.02


class Lan:
    """A server, and so many nodes that have joined it.

    Args:
        count: Of the nodes.
        nat: What they are behind, by its name in `KINDS`.
        seed: Of all that is random.
        options: Of the nodes.
        server: Options of the server.
        turn_s: How long each program waits for its turn once it has something to do, at least and
            at most, from the time on when all have joined.
        link: Options of the network's links.
    """

    def __init__(
        self,
        count: int,
        nat: str = "port-restricted-cone",
        *,
        seed: int = 0,
        options: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
        turn_s: tuple[float, float] | None = None,
        **link: Any,
    ) -> None:
        link.setdefault("latency_s", LAN_LATENCY_S)
        self.world = world = World(seed, **link) if turn_s is None else SlowWorld(seed, **link)
        server_options: dict[str, Any] = {
            "allow_symmetric_nat_relay": True,
            "enable_rate_limiting": False,
        }
        self.server = world.host(SERVER, **(server_options | (server or {})))
        insides = [f"192.168.1.{number + 2}" for number in range(count)]
        self.nats = nats = Nats(Nat(OUTSIDE, insides, KINDS[nat], seed=seed))
        world.network.translate = nats.translate
        self.nodes = [self._node((inside, 8080), nat, options or {}) for inside in insides]
        self._awaited = self.pairs
        """Pairs that `all_direct` has not yet seen to send directly."""
        for host in (*insides, OUTSIDE):
            for one, other in ((host, SERVER[0]), (SERVER[0], host)):
                world.network.set_link(one, other, latency_s=SERVER_LATENCY_S)
        for node in self.nodes:
            node.outcome(node.connect(self.server))
        world.run_for(5)
        if isinstance(world, SlowWorld) and turn_s is not None:
            rng = random.Random(seed)
            world.turn_s = lambda: rng.uniform(*turn_s)

    def _node(self, address: tuple[str, int], nat: str, options: dict[str, Any]) -> Host:
        node = self.world.host(address, **options)
        node.facts = facts_of(nat)
        node.endpoint.traversal.offers.hosts = (address,)
        return node

    @property
    def pairs(self) -> list[tuple[Host, Host]]:
        return list(combinations(self.nodes, 2))

    def connect_all(
        self, timeout_s: float = 10.0, *, turned: bool = False
    ) -> list[tuple[Host, int]]:
        """Every pair connects at once, by id; who asked, and the tokens.

        turned: The second of each pair asks.
        """
        now, asked = self.world.now, []
        for pair in self.pairs:
            one, other = reversed(pair) if turned else pair
            server = one.peer(self.server)
            assert server is not None
            asked.append((one, one.endpoint.introduce(server, other.id, now, timeout_s)))
        for node in self.nodes:
            node.settle()
        return asked

    def direct_pairs(self) -> int:
        """Pairs that both send directly."""
        return sum(self._are_direct(one, other) for one, other in self.pairs)

    def all_direct(self) -> bool:
        """Whether all pairs send directly; cheap while some do not."""
        while self._awaited and self._are_direct(*self._awaited[-1]):
            self._awaited.pop()
        if self._awaited:
            return False
        self._awaited = self.pairs
        return all(self._are_direct(*pair) for pair in self._awaited)

    def _are_direct(self, one: Host, other: Host) -> bool:
        return self._goes_direct(one, other) and self._goes_direct(other, one)

    @staticmethod
    def _goes_direct(one: Host, other: Host) -> bool:
        peer = one.endpoint.peers.authenticated(other.id)
        return peer is not None and "@" not in peer.sends_to[0]

    def through_server(self) -> int:
        """Datagrams that came to the server or left it, so far."""
        counters = self.server.endpoint.counters
        return counters.datagrams_in + counters.datagrams_out
