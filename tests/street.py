"""A client behind a NAT and servers on the other side, for diagnoses on virtual time."""

from typing import Any

from p2ptui import Node
from p2ptui.nat.behavior import Dependence
from tests.simulated_nat import Behaviour, Nat, Nats
from tests.town import Town

CLIENT, NEIGHBOUR = ("192.168.77.2", 8080), ("192.168.77.3", 8080)
OUTSIDE = "198.51.100.1"
OUTDOORS = "198.51.100.20", 8080
STUN = "203.0.113.1:3478"


class Street(Town):
    """A client behind a NAT, and servers on the other side."""

    def __init__(self, behaviour: Behaviour, seed: int = 0, **link: Any) -> None:
        self.nat = Nat(OUTSIDE, {CLIENT[0], NEIGHBOUR[0], "192.168.77.4"}, behaviour, seed)
        self.nats = Nats(self.nat)
        super().__init__(seed, translate=self.nats.translate, **link)

    async def serve(self, first_host: str = "203.0.113.1", *, full: bool = True) -> Node:
        """A STUN server; a full one has the next address too."""
        beginning, _, last = first_host.rpartition(".")
        alternate = f"{beginning}.{int(last) + 1}" if full else ""
        options = {
            "enable": True,
            "address": f"{first_host}:3478",
            "alternate_address": alternate,
        }
        return await self.start("server", (first_host, 8080), stun_server=options)

    async def client(self, **options: Any) -> Node:
        return await self.start("client", CLIENT, **options)

    async def outdoors(self, behaviour: Behaviour) -> Node:
        """A client that has a public address where nothing translates it."""
        if behaviour.mapping is not Dependence.NONE:
            return await self.client()
        self.nats.add(Nat(OUTSIDE, {OUTDOORS[0]}, behaviour))
        return await self.start("client", OUTDOORS)
