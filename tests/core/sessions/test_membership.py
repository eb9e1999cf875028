"""A deployed server that was restarted at once still answers Pings: that it forgot is noticed."""

from typing import Any

import pytest

from p2ptui.core.events import NodeList, PeerStatus, PeerStatusChanged
from tests.core.reference_server import ReferenceServer
from tests.simulation import Host, World

HEARTBEAT_S = 30.0


def joined(world: World, server: ReferenceServer, **options: Any) -> Host:
    node = world.host(**options)
    node.outcome(node.connect(server))
    assert server.address in node.world.hosts
    assert node.address in server.peers
    return node


@pytest.mark.parametrize("after_s", [0.5, 7, 29.9, 30.1, 31, 44, 61, 100, 3600])
@pytest.mark.parametrize("theirs_s", [10.0, 30.0, 300.0])
def test_a_restarted_server_is_joined_again_within_two_heartbeats(
    after_s: float, theirs_s: float
) -> None:
    world = World()
    server = ReferenceServer(world, heartbeat_s=theirs_s)
    node = joined(world, server)
    world.run_for(after_s)
    assert server.handshakes == 1

    server.restart()
    world.run_for(2 * HEARTBEAT_S)

    assert node.address in server.peers
    assert server.handshakes == 2
    assert node.is_connected_to(server)
    assert node.outcome(node.send(server, "hello")).delivered


@pytest.mark.parametrize("moment", range(0, 70, 7))
def test_at_whatever_moment_it_is_killed(moment: int) -> None:
    world = World(seed=moment)
    server = ReferenceServer(world)
    nodes = [joined(world, server) for _ in range(3)]
    world.run_for(moment)
    for _ in range(3):
        server.restart()
        world.run_for(2 * HEARTBEAT_S)
        assert {node.address for node in nodes} == set(server.peers)


@pytest.mark.parametrize("heartbeat_s", [5.0, 30.0])
@pytest.mark.parametrize("seed", range(8))
def test_it_is_noticed_in_time_though_every_tenth_datagram_is_lost(
    seed: int, heartbeat_s: float
) -> None:
    world = World(seed)
    server = ReferenceServer(world)
    nodes = [joined(world, server, heartbeat_interval=heartbeat_s) for _ in range(3)]
    world.run_for(37 + seed)
    for node in nodes:
        for one, other in ((node, server), (server, node)):
            world.network.set_link(one.address[0], other.address[0], loss=0.1)
    server.restart()
    world.run_for(2 * heartbeat_s + 2)  # the last question may have to be asked again

    assert {node.address for node in nodes} == set(server.peers)
    assert all(node.is_connected_to(server) for node in nodes)


def test_a_server_that_answers_no_list_is_not_asked_for_ever() -> None:
    world = World()
    server = ReferenceServer(world, heartbeat_s=1e9)
    server.answers_lists = False
    joined(world, server)
    world.run_for(20 * HEARTBEAT_S)

    assert server.lists_asked <= 20 * 6


def test_what_went_to_it_before_is_not_held_against_the_new_session() -> None:
    world = World()
    server = ReferenceServer(world)
    node = joined(world, server)
    for _ in range(20):
        node.send(server, "x" * 1000, reliable=False)
    world.run_for(40)
    server.acknowledges = False  # lost, say
    server.restart()
    world.run_for(2 * HEARTBEAT_S)
    server.take()
    server.say("Ping", None, node)
    world.run_for(0.5)

    assert "Pong" in server.take_types()


@pytest.mark.parametrize("theirs_s", [10.0, 30.0, 1e9])
def test_a_server_that_knows_the_node_is_left_alone(theirs_s: float) -> None:
    world = World(seed=1, loss=0.02)
    server = ReferenceServer(world, heartbeat_s=theirs_s)
    node = joined(world, server)
    handshakes = server.handshakes
    world.run_for(7200)

    assert server.handshakes == handshakes
    assert node.is_connected_to(server)
    # A list is long where there are many nodes: not with each heartbeat where that is not needed.
    assert server.lists_asked <= {10.0: 12, 30.0: 200}.get(theirs_s, 300)
    statuses = [event.status for event in node.told(PeerStatusChanged)]
    assert statuses.count(PeerStatus.AUTHENTICATED) == 1


def test_a_server_that_answers_no_list_is_kept() -> None:
    world = World()
    server = ReferenceServer(world)
    server.answers_lists = False
    node = joined(world, server)
    world.run_for(3600)

    assert server.handshakes == 1
    assert node.is_connected_to(server)


def test_one_list_without_the_node_is_not_believed() -> None:
    world = World()
    server = ReferenceServer(world, heartbeat_s=1e9)
    node = joined(world, server)
    for _ in range(100):
        world.run_until(lambda: server.take_types().count("ListNodesRequest") > 0, 60)
        server.send(server.message("ListNodesResponse", {"nodes": []}), node)

    assert server.handshakes == 1
    # Nor are any that were not asked for.
    for _ in range(10):
        server.send(server.message("ListNodesResponse", {"nodes": []}), node)
        world.run_for(0.001)
    assert node.is_connected_to(server)


def test_a_list_that_the_user_asked_for_is_still_the_users() -> None:
    world = World()
    server = ReferenceServer(world)
    node = joined(world, server)
    world.run_for(100)
    peer = node.peer(server)
    assert peer is not None
    token = node.endpoint.list_nodes(peer, world.now, 5)
    node.settle()

    listed = node.outcome(token)
    assert isinstance(listed, NodeList)
    assert [entry.id for entry in listed.nodes] == [node.id]
