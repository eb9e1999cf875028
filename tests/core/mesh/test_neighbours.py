"""Nodes nearby: who is answered without a handshake, and whom this node finds."""

import ipaddress
from typing import Any

import pytest

from p2ptui.core.mesh.neighbours import ANSWERS_PER_SECOND, CONNECTS_PER_SEARCH
from tests.simulation import Host, Puppet, World

LAN = ipaddress.ip_network("192.168.7.0/24")
BROADCAST = "192.168.7.255"


@pytest.fixture
def world() -> World:
    world = World()
    world.network._broadcast_hosts.add(BROADCAST)
    return world


def start(host: Host, *targets: str, searching: bool = True) -> Host:
    host.endpoint.neighbours.start(
        (LAN,), targets, host.address[1], host.world.now, searching=searching
    )
    return host


@pytest.fixture
def server(world: World) -> Host:
    return start(world.host(("192.168.7.1", 8080)), searching=False)


def probe(puppet: Puppet, to: Host, payload: Any = None) -> list[dict[str, Any]]:
    payload = {"network_id": "p2p_default"} if payload is None else payload
    return puppet.ask("DiscoveryRequest", payload, to)


# Who is answered.


@pytest.mark.parametrize(
    "address",
    [("192.168.7.20", 9000), ("127.0.0.1", 9000), ("127.5.5.5", 9000), ("::1", 9000)],
)
def test_a_neighbour_that_names_the_network_is_told_who_is_here(
    world: World, server: Host, address: tuple[str, int]
) -> None:
    client = world.puppet(address)

    (answer,) = probe(client, server)

    assert answer["message_type"] == "DiscoveryResponse"
    (entry,) = answer["payload"]
    assert entry["id"] == server.id
    assert entry["addr"] == "192.168.7.1:8080"
    assert client.bytes_received <= 3 * client.bytes_sent
    assert server.peer(client) is None


def test_it_is_told_of_nobody_else(world: World, server: Host) -> None:
    world.puppet().join(server)

    (answer,) = probe(world.puppet(("192.168.7.20", 9000)), server)

    assert [entry["id"] for entry in answer["payload"]] == [server.id]


@pytest.mark.parametrize(
    "address", [("192.168.8.20", 9000), ("10.0.0.20", 9000), ("2001:db8::1", 9000)]
)
def test_from_afar_nobody_is_told(world: World, server: Host, address: tuple[str, int]) -> None:
    (answer,) = probe(world.puppet(address), server)

    assert answer["payload"]["code"] == "unauthenticated"


@pytest.mark.parametrize("payload", [{"network_id": "other"}, {}, 5, {"network_id": 5}])
def test_without_the_right_network_nobody_is_told(world: World, server: Host, payload: Any) -> None:
    (answer,) = probe(world.puppet(("192.168.7.20", 9000)), server, payload)

    assert answer["payload"]["code"] == "unauthenticated"


def test_null_is_no_network(world: World, server: Host) -> None:
    client = world.puppet(("192.168.7.20", 9000))

    (answer,) = client.ask("DiscoveryRequest", None, server)

    assert answer["payload"]["code"] == "unauthenticated"


def test_answers_are_capped_in_all(world: World, server: Host) -> None:
    clients = [world.puppet(("192.168.7.20", port)) for port in range(9000, 9200)]
    for client in clients:
        client.say("DiscoveryRequest", {"network_id": "p2p_default"}, server)
    world.run_for(0.5)

    answered = sum("DiscoveryResponse" in client.take_types() for client in clients)
    assert answered <= ANSWERS_PER_SECOND + 1
    assert server.endpoint.counters.drops["probe_unanswered"] >= 149


def test_a_tiny_probe_is_not_answered_beyond_its_budget(world: World, server: Host) -> None:
    client = world.puppet(("192.168.7.20", 9000))
    payload = {"network_id": "p2p_default"}
    client.send(
        {"id": "1", "message_type": "DiscoveryRequest", "timestamp": 1, "payload": payload}, server
    )
    world.run_for(1)

    assert client.bytes_received <= 3 * client.bytes_sent


# Whom this node finds.


def test_two_nodes_of_a_network_find_each_other(world: World) -> None:
    one = start(world.host(("192.168.7.2", 8081)), BROADCAST, "127.0.0.1")
    other = start(world.host(("192.168.7.3", 8085)), BROADCAST, "127.0.0.1")

    world.run_for(5)

    assert one.is_connected_to(other)
    assert other.is_connected_to(one)
    assert len(one.endpoint.peers) == len(other.endpoint.peers) == 1


def test_two_nodes_of_a_machine_find_each_other(world: World) -> None:
    one = start(world.host(("127.0.0.1", 8081)), "127.0.0.1")
    other = start(world.host(("127.0.0.1", 8090)), "127.0.0.1")

    world.run_for(5)

    assert one.is_connected_to(other)
    assert other.is_connected_to(one)


def test_nodes_of_other_networks_are_left_alone(world: World) -> None:
    one = start(world.host(("192.168.7.2", 8081)), BROADCAST)
    other = start(world.host(("192.168.7.3", 8085), network_id="other"), BROADCAST)

    world.run_for(5)

    assert one.peer(other) is None
    assert other.peer(one) is None


def test_a_node_does_not_find_itself(world: World) -> None:
    alone = start(world.host(("192.168.7.2", 8081)), BROADCAST, "127.0.0.1")

    world.run_for(130)

    assert len(alone.endpoint.peers) == 0
    assert alone.endpoint.counters.datagrams_in > 0  # it heard its own broadcast
    assert alone.endpoint.counters.handshakes_refused == 0


def test_who_does_not_search_is_found_all_the_same(world: World) -> None:
    one = start(world.host(("192.168.7.2", 8081)), BROADCAST)
    other = start(world.host(("192.168.7.3", 8085)), BROADCAST, searching=False)

    world.run_for(3)

    assert one.is_connected_to(other)


def test_a_node_that_comes_later_is_found_by_the_next_search(world: World) -> None:
    one = start(world.host(("192.168.7.2", 8081)), BROADCAST)
    world.run_for(30)
    late = start(world.host(("192.168.7.3", 8085)), BROADCAST, searching=False)

    world.run_for(60)

    assert one.is_connected_to(late)


def test_a_cable_that_is_plugged_in_later(world: World) -> None:
    one = start(world.host(("192.168.7.2", 8081)), "127.0.0.1")
    other = start(world.host(("192.168.7.3", 8085)), "127.0.0.1", searching=False)
    world.run_for(10)
    one.endpoint.neighbours.update_networks((LAN,), (BROADCAST,))

    world.run_for(80)

    assert one.is_connected_to(other)


def test_a_search_is_paced(world: World) -> None:
    node = start(world.host(("192.168.7.2", 8081)), BROADCAST, "127.0.0.1")
    send, times = world.network.send, []

    def watch(data: bytes, source: Any, target: Any, now: float) -> None:
        times.append(now)
        send(data, source, target, now)

    world.network.send = watch  # type: ignore[method-assign]
    world.run_for(20)

    assert len(times) == 10 * 2  # ports of `discovery_port_range`, times targets
    assert len(set(times)) == len(times)
    assert node.endpoint.config.server.discovery_port_range == (8081, 8090)


def test_a_reference_server_nearby_gets_a_handshake(world: World) -> None:
    """It answers with its peers, and does not say which question it answers."""
    reference = world.puppet(("192.168.7.9", 8083))
    node = start(world.host(("192.168.7.2", 8081)), BROADCAST)
    world.run_until(lambda: bool(reference.inbox), 3)
    reference.take()
    reference.say("DiscoveryResponse", [], node)
    world.run_for(3)

    # One request: an answer that names no probe may be forged to draw many to somebody else.
    assert reference.take_types() == ["HandshakeRequest"]
    assert reference.bytes_received <= 3 * reference.bytes_sent + 250  # and the probe


def test_an_answer_to_no_probe_draws_nothing(world: World) -> None:
    node = start(world.host(("192.168.7.2", 8080)), BROADCAST)
    world.run_for(20)
    stranger = world.puppet(("192.168.7.9", 8083))
    stranger.say("DiscoveryResponse", [], node)
    outside = world.puppet(("10.1.1.1", 8083))
    outside.say("DiscoveryResponse", [], node)
    world.run_for(3)

    for puppet in (stranger, outside):
        assert "HandshakeRequest" not in puppet.take_types()


def test_a_crowd_of_answers_draws_a_bounded_number_of_handshakes(world: World) -> None:
    crowd = [world.puppet((f"192.168.7.{n}", 8083)) for n in range(10, 110)]
    node = start(world.host(("192.168.7.2", 8080)), BROADCAST)
    world.run_until(lambda: bool(crowd[0].inbox), 3)
    for puppet in crowd:
        puppet.take()
        puppet.say("DiscoveryResponse", [], node)
    world.run_for(5)

    asked = sum("HandshakeRequest" in puppet.take_types() for puppet in crowd)
    assert asked == CONNECTS_PER_SEARCH
    assert node.endpoint.counters.drops["neighbours_limited"] == 100 - CONNECTS_PER_SEARCH


def test_a_closed_node_searches_no_more(world: World) -> None:
    node = start(world.host(("192.168.7.2", 8081)), BROADCAST)
    witness = world.puppet(("192.168.7.9", 8090))
    node.endpoint.close("done", world.now)
    world.run_for(200)

    assert witness.take() == []


def test_a_range_that_does_not_fit_one_search_is_searched_in_turn(world: World) -> None:
    host = start(
        world.host(discovery_port_range=(8000, 8999), discovery_interval=60.0), "127.0.0.1"
    )
    probed: set[int] = set()

    def watch(data: bytes, source: Any, target: Any, now: float) -> Any:
        probed.add(target[1])
        return source, target

    world.network.translate = watch
    world.run_for(200)

    assert probed >= set(range(8000, 9000)) - {host.address[1]}


def test_a_search_leaves_alone_whom_somebody_said_goodbye_to(world: World) -> None:
    server = start(world.host(("192.168.7.3", 8085)), searching=False)
    client = start(world.host(("192.168.7.2", 8081)), BROADCAST)
    world.run_until(lambda: client.is_connected_to(server), 120)
    peer = client.peer(server)
    assert peer is not None
    client.endpoint.neighbours.shun(peer.node_id, peer.address)
    client.endpoint.disconnect(peer, "", world.now)
    client.settle()
    world.run_for(600)
    assert not client.is_connected_to(server)
    client.endpoint.neighbours.welcome(server.id)
    world.run_until(lambda: client.is_connected_to(server), 120)


@pytest.mark.parametrize(("port", "other_port"), [(8080, 8080), (9000, 9000), (9000, 8080)])
def test_nodes_that_listen_outside_the_searched_range_meet(
    world: World, port: int, other_port: int
) -> None:
    """Two machines with the defaults, but for the address: both listen at the usual port."""
    one = start(world.host(("192.168.7.2", port)), BROADCAST, "127.0.0.1")
    other = start(world.host(("192.168.7.3", other_port)), BROADCAST, "127.0.0.1")

    world.run_for(5)

    assert one.is_connected_to(other)
    assert other.is_connected_to(one)
    assert len(one.endpoint.peers) == len(other.endpoint.peers) == 1


def test_an_answer_from_a_port_that_nobody_was_asked_at_is_no_answer(world: World) -> None:
    stranger = world.puppet(("192.168.7.9", 9001))
    node = start(world.host(("192.168.7.2", 8080)), BROADCAST)
    world.run_for(1)
    stranger.say("DiscoveryResponse", [], node)
    world.run_for(1)

    assert "HandshakeRequest" not in stranger.take_types()
