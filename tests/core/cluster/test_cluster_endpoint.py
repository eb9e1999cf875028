"""Whole servers: what their sessions do is what the others are told."""

import asyncio

import pytest
from msgspec.structs import replace

from p2ptui.config import Config
from p2ptui.core.cluster.room import Cluster
from p2ptui.core.peers import ALONE
from p2ptui.errors import LocalError
from p2ptui.io.memory_bus import MemoryBroker, MemoryBus
from p2ptui.node import Node
from p2ptui.secure.presence import next_counter, sign_presence
from tests.simulation import UNIX_START, Host, World


class ClusterWorld(World):
    """A world whose servers share a broker."""

    def __init__(self) -> None:
        super().__init__(secured=True)
        self.broker = MemoryBroker()
        self._clusters: list[tuple[Cluster, MemoryBus]] = []

    def server(self) -> tuple[Host, Cluster]:
        host = self.host()
        cluster = host.endpoint.open_cluster(host.id[:8], "10.0.0.1:8080", self.now)
        bus = self.broker.attach(host.id, cluster, self.now)
        self._clusters.append((cluster, bus))
        return host, cluster

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.run_for(min(0.01, end - self.now))
            self.broker.run(self.now)
            for cluster, bus in self._clusters:
                for order in cluster.orders():
                    bus.do(order)


def test_sessions_begin_move_and_end_for_all_servers() -> None:
    world = ClusterWorld()
    (one, at_one), (other, at_other) = world.server(), world.server()
    world.run(1)
    node = world.host()
    node.connect(one)
    world.run(3)
    foreign = at_other.holder(node.id)
    assert foreign is not None
    assert (foreign.server_id, foreign.address) == (one.id, node.address)
    assert foreign.info.name == node.endpoint.identity.name
    keys = node.endpoint._state.seals.keys.identity  # type: ignore[union-attr]
    assert foreign.keys == keys.keys.text
    assert foreign.boot
    peer = one.peer(node)
    assert peer is not None
    counter = next_counter(0, (UNIX_START + 2000) * 1000)  # the node has said so itself before
    signature = sign_presence(keys, one.id, counter, node.endpoint.identity.network_id)
    assert not at_one.note_statement(peer, counter + 1, signature, world.now)
    assert at_one.note_statement(peer, counter, signature, world.now)
    assert at_one.note_statement(peer, counter, signature, world.now), "it has come twice"
    world.run(1)
    entry = at_other._view.entry(node.id)
    assert entry is not None
    assert entry.counter == counter
    world.move(node)
    node.ping(one)
    world.run(3)
    moved = at_other.holder(node.id)
    assert moved is not None
    assert moved.address == node.address
    world.remove(node)
    world.run(60)
    assert at_other.holder(node.id) is None
    assert [server.server_id for server in at_other.servers(world.now)] == [one.id]
    at_one.close(world.now)
    assert one.endpoint._state.elsewhere is ALONE
    assert other.endpoint._state.elsewhere is at_other


def test_a_deployed_client_is_told_of_once_it_has_proved_its_address() -> None:
    world = ClusterWorld()
    (one, _), (_, at_other) = world.server(), world.server()
    client = world.puppet()
    client.send(client.handshake_request(), one)
    world.run(0.5)
    assert at_other.holder(client.id) is None
    client.names_pings = True
    one.ping(client)
    world.run(2)
    foreign = at_other.holder(client.id)
    assert foreign is not None
    assert foreign.keys == ""


def test_a_server_without_keys_cannot_serve_in_a_cluster() -> None:
    host = World().host()
    with pytest.raises(ValueError, match="needs keys"):
        host.endpoint.open_cluster("open", "10.0.0.1:8080", 0.0)


def test_a_node_without_keys_says_so_before_it_starts() -> None:
    config = Config().with_options(node_id="00000001-0000-4000-8000-000000000000")
    servers = replace(config.cluster, servers=("nats://127.0.0.1:4222",))
    node = Node(replace(config, cluster=servers))
    with pytest.raises(LocalError, match="has no keys"):
        asyncio.run(node.start())
