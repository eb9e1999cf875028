"""A node with several addresses speaks to each peer from the one that this peer knows."""

import json
from typing import Any

import pytest

from p2ptui.core.addresses import relayed_node
from p2ptui.nat.stun_server import Place
from p2ptui.wire.address import Address, own_host
from p2ptui.wire.message import MessageType
from p2ptui.wire.stun import BINDING, MessageClass, StunMessage, decode, encode
from tests.core.meeting import Meeting
from tests.simulation import Host, Puppet, World


class Scene:
    """A server with two addresses, and a client whose NAT lets in what it asked only."""

    def __init__(self, **options: Any) -> None:
        self.world = World()
        self.server = self.world.host(**options)
        self.first = self.server.address
        self.second = self.server.also_at(self.world.address())
        self.client = self.world.puppet()

    def join(self, client: Puppet, at: Address) -> None:
        client.hears = at
        client.send(client.handshake_request(), at)
        self.world.run_for(1)
        assert "HandshakeResponse" in client.take_types()
        client.sources.clear()

    def peer(self) -> Any:
        peer = self.server.peer(self.client)
        assert peer is not None
        return peer


@pytest.fixture
def scene() -> Scene:
    return Scene(heartbeat_interval=5.0, connection_timeout=20.0)


def test_what_a_node_begins_leaves_from_where_it_was_asked(scene: Scene) -> None:
    scene.join(scene.client, scene.second)
    token = scene.server.send(scene.client, "pushed")
    for _ in range(3):  # newcomers are told
        scene.join(scene.world.puppet(), scene.first)
    scene.world.run_for(60)

    assert scene.server.is_connected_to(scene.client)
    kinds = scene.client.take_types()
    assert MessageType.DATA in kinds
    assert any("Discovery" in kind for kind in kinds)
    assert set(scene.client.sources) == {scene.second}
    assert token in scene.server.outcomes


def test_a_stranger_is_answered_from_where_it_asked(scene: Scene) -> None:
    scene.client.say("Ping", {"nonce": "x" * 400}, scene.server)  # the first
    scene.world.run_for(1)
    other = scene.world.puppet()
    other.send(other.message("Ping", {"nonce": "x" * 400}), scene.second)
    scene.world.run_for(1)

    assert scene.client.sources == [scene.first]
    assert other.sources == [scene.second]


def test_a_new_handshake_at_another_address_moves_all(scene: Scene) -> None:
    scene.join(scene.client, scene.first)
    scene.join(scene.client, scene.second)
    scene.server.send(scene.client, "pushed")
    scene.world.run_for(60)

    assert scene.server.is_connected_to(scene.client)
    assert set(scene.client.sources) == {scene.second}


@pytest.mark.parametrize("speaks", [True, False])
def test_a_forged_handshake_at_another_address_is_taken_back(scene: Scene, speaks: bool) -> None:
    client = scene.client
    scene.join(client, scene.first)
    scene.world.run_for(10)
    forged = client.handshake_request()
    scene.world.network.send(
        json.dumps(forged).encode(), client.address, scene.second, scene.world.now
    )
    scene.world.run_for(1)
    for _ in range(20):
        if speaks:
            client.send(client.message("Data", "here"), scene.first)
        scene.world.run_for(1)
    client.sources.clear()
    client.take()
    scene.server.send(client, "pushed")
    scene.world.run_for(30)

    assert scene.server.is_connected_to(client)
    assert MessageType.DATA in client.take_types()
    assert set(client.sources) == {scene.first}


def test_a_peer_that_goes_on_at_another_address_is_followed_once_it_answers(scene: Scene) -> None:
    scene.client.names_pings = True
    scene.join(scene.client, scene.first)
    scene.client.hears = scene.second
    scene.client.send(scene.client.message("Ping", {"nonce": "moved"}), scene.second)
    scene.world.run_for(0.5)
    assert "Pong" in scene.client.take_types(), "it came from where was asked"

    scene.world.run_for(30)
    assert own_host(scene.peer().sends_to) == scene.second[0]
    scene.client.sources.clear()
    scene.client.take()
    scene.server.send(scene.client, "pushed")
    scene.world.run_for(60)

    assert MessageType.DATA in scene.client.take_types()
    assert set(scene.client.sources) == {scene.second}
    assert scene.server.is_connected_to(scene.client)


@pytest.mark.parametrize("names_pings", [False, True])
def test_who_forges_a_peer_at_another_address_moves_nothing(
    scene: Scene, names_pings: bool
) -> None:
    victim = scene.client
    victim.names_pings = names_pings
    scene.join(victim, scene.first)
    for number in range(600):
        kind = ("Ping", "Pong", "Ack", "Data")[number % 4]
        victim.send(victim.message(kind, None, ack_for=number), scene.second)
        scene.world.run_for(0.1)
    victim.take()
    scene.server.send(victim, "still here")
    scene.world.run_for(1)

    assert scene.server.is_connected_to(victim)
    assert MessageType.DATA in victim.take_types()
    assert own_host(scene.peer().sends_to) == scene.first[0]


def test_a_flood_of_strangers_costs_no_peer_its_address(scene: Scene) -> None:
    scene.join(scene.client, scene.second)
    for number in range(20_000):
        source = f"198.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 1000
        scene.server.receive_at(scene.first[0], b'{"message_type":"Ping"}', source)
    scene.server.settle()
    scene.server.send(scene.client, "pushed")
    scene.world.run_for(30)

    assert MessageType.DATA in scene.client.take_types()
    assert set(scene.client.sources) == {scene.second}


def test_an_address_that_is_lost_leaves_the_system_to_choose(scene: Scene) -> None:
    scene.join(scene.client, scene.second)
    scene.client.hears = None
    scene.server.lose(scene.second)
    scene.world.run_for(30)

    assert scene.server.is_connected_to(scene.client)
    assert set(scene.client.sources) == {scene.first}


def test_who_tries_two_addresses_and_leaves_one_is_kept(scene: Scene) -> None:
    """A race to both: the same request, and a goodbye to the one that answered later."""
    client = scene.client
    client.names_pings = True
    request = client.handshake_request()
    for address in (scene.first, scene.second):
        client.send(request, address)
    scene.world.run_for(0.1)
    responses = [m for m in client.take() if m["message_type"] == "HandshakeResponse"]
    assert len(responses) == 2
    assert responses[0]["id"] == responses[1]["id"]
    client.hears = scene.second
    goodbye = {"reason": "slower", "handshake": responses[0]["id"]}
    client.send(client.message("Disconnect", goodbye), scene.first)
    scene.world.run_for(30)

    assert scene.server.is_connected_to(client)
    assert own_host(scene.peer().sends_to) == scene.second[0]


def test_a_goodbye_to_the_only_address_that_was_tried_is_believed_at_once(scene: Scene) -> None:
    client = scene.client
    scene.join(client, scene.second)
    proof = scene.peer().handshake_said[0]
    goodbye = {"reason": "", "handshake": proof}
    client.send(client.message("Disconnect", goodbye), scene.second)
    scene.world.run_for(0.1)

    assert scene.server.peer(client) is None


def test_who_asked_first_keeps_the_address_that_answered() -> None:
    """The system's own choice may change under a session: the other side knows this one."""
    scene = Scene()
    token = scene.server.connect(scene.client)
    scene.world.run_for(0.1)
    asked = scene.client.take()[0]
    response = {
        "success": True,
        "node_info": scene.client.handshake_request()["payload"],
        "error_message": None,
    }
    answer = scene.client.message("HandshakeResponse", response)
    assert asked["message_type"] == "HandshakeRequest"
    scene.client.send(answer, scene.first)
    assert scene.server.outcome(token) is not None

    assert own_host(scene.peer().sends_to) == scene.first[0]


def test_a_node_that_asks_anew_leaves_its_address_to_the_system() -> None:
    scene = Scene()
    other = scene.world.host()
    scene.server.outcome(scene.server.connect(other))
    peer = scene.server.peer(other)
    assert peer is not None
    scene.world.run_for(1)
    assert own_host(peer.sends_to) == scene.first[0]
    scene.world.remove(other)
    again = scene.world.host(other.address, other.id)
    scene.world.run_until(lambda: again.is_connected_to(scene.server), 120)
    scene.world.run_for(1)

    renewed = scene.server.peer(other)
    assert renewed is not None
    assert own_host(renewed.sends_to) == scene.first[0]


# Paths.


def test_a_direct_path_to_the_second_address_is_used_both_ways() -> None:
    meeting = Meeting()
    second = meeting.a.also_at(("10.9.0.7", meeting.a.address[1]))
    offers = meeting.a.endpoint.traversal.offers
    offers.hosts = (*offers.hosts, second)
    meeting.world.network.partition(meeting.a.address[0], meeting.b.address[0])
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 10)
    meeting.world.run_for(30)

    assert meeting.is_direct()
    peer = meeting.peer(meeting.a)
    assert relayed_node(peer.sends_to) is None
    assert own_host(peer.sends_to) == second[0]


# STUN.


def stun_request(**fields: Any) -> bytes:
    return encode(
        StunMessage(
            message_class=MessageClass.REQUEST,
            method=BINDING,
            transaction_id=bytes(12),
            **fields,
        )
    )


def answers(host: Host, data: bytes, source: Address, own: str) -> list[tuple[Address, Any]]:
    host.receive_at(own, data, source)
    return [(to, decode(d)) for d, to in host.endpoint.datagrams_to_send(host.world.now)]


def test_stun_on_the_own_socket_names_the_address_that_was_asked(scene: Scene) -> None:
    scene.server.endpoint.stun.open({Place.OWN: ("0.0.0.0", 8080)}, None)
    source = "192.0.2.9", 5000
    for own in (scene.first[0], scene.second[0]):
        [(to, answer)] = answers(scene.server, stun_request(), source, own)
        assert (to, own_host(to)) == (source, own)
        assert answer.response_origin == (own, 8080)
        assert answer.xor_mapped == source


def test_a_reply_to_another_port_keeps_the_address(scene: Scene) -> None:
    scene.server.endpoint.stun.open({Place.OWN: ("0.0.0.0", 8080)}, None)
    own = scene.second[0]
    [(to, _)] = answers(scene.server, stun_request(response_port=7000), ("192.0.2.9", 5000), own)
    assert (to, own_host(to)) == (("192.0.2.9", 7000), own)
