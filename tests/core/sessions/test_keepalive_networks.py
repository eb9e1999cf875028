"""How long ways may be idle is that of the networks in use, whatever came before."""

import math
from collections.abc import Iterator

import pytest

from p2ptui.core.sessions.keepalive import MAX_NETWORKS
from p2ptui.nat.mapping_life import USUAL_S
from p2ptui.wire.address import Address
from tests.simulation import Host, World

SERVER = ("198.51.100.9", 8080)
INSIDE = "192.168.1.2"
KNOWN = {"198.51.100.1": 5.0, "198.51.100.2": 60.0}
FAST, SLOW = KNOWN


class Traveller:
    """A node that is carried from one network to another, and its server."""

    def __init__(self) -> None:
        self.world = world = World(latency_s=0.02)
        self.outside = FAST
        world.network.translate = self._translate
        self.server = world.host(SERVER)
        self.node: Host = world.host((INSIDE, 5000))
        self.node.endpoint.keepalives.recall = KNOWN.get
        self.node.outcome(self.node.connect(self.server))

    def _translate(
        self, data: bytes, source: Address, destination: Address, now: float
    ) -> tuple[Address, Address] | None:
        if source[0] == INSIDE:
            return (self.outside, source[1]), destination
        if destination[0].startswith("198.51.100.") and destination[0] != SERVER[0]:
            is_here = destination[0] == self.outside
            return (source, (INSIDE, destination[1])) if is_here else None
        return source, destination

    def go(self, outside: str) -> None:
        self.outside = outside
        self.node.endpoint.moving.move(lambda _: True, self.world.now)
        self.node.settle()
        self.world.run_for(5)
        assert self.node.peer(self.server).public_address[0] == outside

    @property
    def longest_idle_s(self) -> float:
        return self.node.endpoint._state.longest_idle_s


@pytest.fixture
def traveller() -> Iterator[Traveller]:
    return Traveller()


def test_back_in_a_known_network_ways_are_idle_for_as_long_as_there(traveller: Traveller) -> None:
    seen = [traveller.longest_idle_s]
    for outside in (SLOW, FAST, SLOW, FAST):
        traveller.go(outside)
        seen.append(traveller.longest_idle_s)

    assert seen == [5.0, 60.0, 5.0, 60.0, 5.0]


def test_a_server_that_is_gone_counts_no_more(traveller: Traveller) -> None:
    node, server = traveller.node, traveller.server
    assert traveller.longest_idle_s == 5.0
    node.endpoint.disconnect(node.peer(server), "leaving", traveller.world.now)
    node.settle()
    traveller.world.run_for(10)

    assert traveller.longest_idle_s == math.inf


def test_the_network_in_use_is_not_forgotten_for_those_that_are_not(traveller: Traveller) -> None:
    keepalives = traveller.node.endpoint.keepalives
    assert traveller.longest_idle_s == 5.0
    keepalives.recall = lambda _: None  # what is forgotten is gone
    for number in range(2 * MAX_NETWORKS):
        keepalives.note_measured(f"203.0.113.{number}", 100.0)
        assert traveller.longest_idle_s == 5.0

    assert len(keepalives._lives) == MAX_NETWORKS
    peer = traveller.node.peer(traveller.server)
    assert keepalives._life(peer).interval_s != USUAL_S
