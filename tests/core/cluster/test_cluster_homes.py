"""Whole nodes at the servers of a cluster with its broker: who the others think holds them."""

from itertools import pairwise

import pytest

from p2ptui.core.cluster.room import Cluster
from p2ptui.io.memory_bus import MemoryBroker, MemoryBus
from p2ptui.wire.address import format_address
from p2ptui.wire.message import MAX_OTHER_SERVERS
from tests.core.cluster_servers import home_of
from tests.simulation import Host, World

STEP_S = 0.005


class Servers:
    """Servers of one cluster, each a whole node, and the broker between them."""

    def __init__(self, world: World, count: int) -> None:
        self.world = world
        self.broker = MemoryBroker()
        self.hosts = [world.host(name=f"server-{number}") for number in range(count)]
        self.rooms: list[Cluster] = []
        self.buses: list[MemoryBus] = []
        self.dead: set[int] = set()
        for host in self.hosts:
            where = format_address(host.address)
            room = host.endpoint.open_cluster(host.endpoint.identity.name, where, world.now)
            self.rooms.append(room)
            self.buses.append(self.broker.attach(host.id, room, world.now))
        self.run_for(4)

    def run_for(self, seconds: float) -> None:
        """Let it all go on."""
        end = self.world.now + seconds
        while self.world.now < end:
            self.world.run_for(STEP_S)
            self.broker.run(self.world.now)
            for number, (room, bus) in enumerate(zip(self.rooms, self.buses, strict=True)):
                for order in room.orders():
                    if number not in self.dead:
                        bus.do(order)
            for host in self.hosts:
                host.settle()

    def kill(self, number: int) -> None:
        """A machine without power."""
        self.dead.add(number)
        host = self.hosts[number]
        for other in list(self.world.hosts.values()):
            if other is not host:
                self.world.network.partition(host.address[0], other.address[0])

    def holder(self, of: Host, seen_by: int) -> str:
        """Which server holds a node, as another one sees it; empty: nobody."""
        foreign = self.rooms[seen_by].holder(of.id)
        return "" if foreign is None else foreign.server_id


@pytest.fixture
def servers() -> Servers:
    return Servers(World(secured=True), 3)


def joined(servers: Servers, *numbers: int) -> Host:
    node = servers.world.host()
    for number in numbers:
        node.connect(servers.hosts[number])
        servers.run_for(0.2)
    servers.run_for(2)
    return node


def test_a_node_is_told_of_the_others_and_they_of_it(servers: Servers) -> None:
    node = joined(servers, 0)
    assert home_of(node) == servers.hosts[0].id
    assert {told.node_id for told in node.endpoint.home.told} == {
        servers.hosts[1].id,
        servers.hosts[2].id,
    }
    assert servers.holder(node, 1) == servers.holder(node, 2) == servers.hosts[0].id


def test_of_two_sessions_the_home_is_the_one_that_counts(servers: Servers) -> None:
    node = joined(servers, 0, 1)
    assert servers.holder(node, 2) == servers.hosts[0].id
    servers.run_for(40)
    assert servers.holder(node, 2) == servers.hosts[0].id


def test_after_a_kill_all_know_its_next_server_within_five_seconds(servers: Servers) -> None:
    nodes = [joined(servers, 0, 1) for _ in range(3)]
    servers.kill(0)
    servers.run_for(5)
    for node in nodes:
        assert home_of(node) == servers.hosts[1].id
        assert servers.holder(node, 2) == servers.hosts[1].id


def test_nodes_hear_that_a_server_is_gone_and_that_one_drains(servers: Servers) -> None:
    node = joined(servers, 0)
    servers.kill(1)
    servers.run_for(6)
    assert [told.node_id for told in node.endpoint.home.told] == [servers.hosts[2].id]
    servers.rooms[2].drain(servers.world.now)
    servers.run_for(3)
    assert node.endpoint.home.told == ()


def test_invented_servers_take_no_place_from_those_that_were_there_before(
    servers: Servers,
) -> None:
    node = joined(servers, 0)
    before = {told.node_id for told in node.endpoint.home.told}
    guests, room = servers.hosts[0].endpoint.guests, servers.rooms[0]
    now = servers.world.now
    known = [(one.server_id, one.advertised) for one in room.servers(now)]
    unkeyed = [(f"{n:08x}-0000-4000-8000-000000000000", "10.99.0.1:9") for n in range(20)]
    keyed = [(f"{n:08x}-0000-8000-8000-000000000000", f"10.99.0.2:{n + 9}") for n in range(20)]
    guests.note_others([*unkeyed, *known, *keyed], now)
    servers.run_for(3)
    told = {told.node_id for told in node.endpoint.home.told}
    assert before <= told
    assert len(told) == MAX_OTHER_SERVERS


def test_a_drain_moves_them_on_and_everybody_knows(servers: Servers) -> None:
    nodes = [joined(servers, 0, 1) for _ in range(3)]
    servers.rooms[0].drain(servers.world.now)
    servers.hosts[0].endpoint.close("going down", servers.world.now)
    servers.hosts[0].settle()
    servers.rooms[0].close(servers.world.now)
    servers.run_for(2.5)
    for node in nodes:
        assert home_of(node) == servers.hosts[1].id
        assert servers.holder(node, 2) == servers.hosts[1].id


def test_whoever_is_at_a_server_without_a_broker_is_reached_by_its_other_one(
    servers: Servers,
) -> None:
    node, only = joined(servers, 0, 1), joined(servers, 0)
    assert home_of(node) == servers.hosts[0].id
    servers.broker.cut(servers.buses[0], servers.world.now)
    servers.run_for(10)
    assert home_of(node) == servers.hosts[1].id
    assert servers.holder(node, 2) == servers.hosts[1].id
    assert home_of(only) == servers.hosts[0].id, "it has no other"
    assert node.is_connected_to(servers.hosts[0]), "those there reach it as before"
    servers.broker.mend(servers.buses[0], servers.world.now)
    servers.run_for(5)
    for who, home in ((node, 1), (only, 0)):
        assert home_of(who) == servers.hosts[home].id
        assert servers.holder(who, 2) == servers.hosts[home].id
    assert servers.holder(node, 0) == servers.hosts[1].id


def test_a_server_without_a_broker_is_forgotten_with_its_session(servers: Servers) -> None:
    node = joined(servers, 0, 1)
    servers.broker.cut(servers.buses[0], servers.world.now)
    servers.run_for(10)
    home = node.endpoint.home
    assert home._alone == {servers.hosts[0].id}
    servers.kill(0)
    servers.run_for(120)
    assert not node.is_connected_to(servers.hosts[0])
    assert home_of(node) == servers.hosts[1].id
    assert home._alone == frozenset()


def test_while_the_broker_is_away_nobody_goes_to_and_fro(servers: Servers) -> None:
    node = joined(servers, 0, 1)
    servers.broker.kill(servers.world.now)
    homes = []
    for _ in range(40):
        servers.run_for(1)
        homes.append(home_of(node))
    assert sum(one != other for one, other in pairwise(homes)) <= 1
    servers.broker.start(servers.world.now)
    servers.run_for(5)
    assert servers.holder(node, 2) == home_of(node)
