"""What the reference server gets wrong, a test a defect: each would fail there."""

import ast
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import p2ptui.core
from p2ptui.config import Config
from p2ptui.core.events import DataReceived, SendStatus
from p2ptui.errors import HandshakeError
from p2ptui.text import printable
from tests.simulation import Host, Puppet, World, prove_all

NOBODY = "99999999-0000-4000-8000-000000000000"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Host:
    return world.host(max_connections=2000)


def join_many(world: World, server: Host, count: int) -> list[Puppet]:
    clients = [world.puppet() for _ in range(count)]
    for client in clients:
        client.send(client.handshake_request(), server)
        client.say("Ping", None, server)
    prove_all(world, server, clients)
    for client in clients:
        client.inbox.clear()
        client.bytes_received = client.bytes_sent = 0
    return clients


def test_1_the_handshake_example_of_the_specification_is_accepted(
    world: World, server: Host
) -> None:
    client = world.puppet()
    payload = {
        "node_id": client.id,
        "listen_addr": "127.0.0.1:8081",
        "capabilities": ["p2p", "relay"],
        "metadata": {"version": "0.1.0"},
    }
    message = client.spec_message("HandshakeRequest", payload, requires_ack=True)
    client.send(message, server)
    world.run_for(1)

    first = client.take()[0]
    assert first["message_type"] == "HandshakeResponse"
    assert first["payload"]["success"] is True
    assert first["payload"]["node_info"]["node_id"] == server.id


def test_2_what_is_sent_twice_is_processed_once(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)
    message = client.message("Data", "pay 100", requires_ack=True)
    client.send(message, server)
    client.send(message, server)
    world.run_for(1)

    assert server.received() == ["pay 100"]
    assert Counter(client.take_types()) == {"Ack": 2, "Data": 1}


def test_2_acks_are_heeded_and_retransmit_is_known(world: World, server: Host) -> None:
    node = world.host()
    node.outcome(node.connect(server))
    world.run_for(1)
    world.network.set_link(node.address, server.address, loss=1.0)
    token = node.send(server, "in spite of it all")
    world.run_for(0.1)
    world.network.set_link(node.address, server.address, loss=0.0)

    outcome = node.outcome(token)
    assert outcome.status is SendStatus.DELIVERED
    assert outcome.attempts > 1
    client = world.puppet()
    client.join(server)
    (error,) = client.ask("Retransmit", {"sequence_number": 77}, server)
    assert error["payload"]["code"] == "gone"


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("ListNodesRequest", None),
        ("DiscoveryRequest", None),
        ("Data", "echo me"),
        ("Data", {"cmd": "get_routes"}),
        ("P2PConnect", {"peer_id": NOBODY}),
        ("RelayRequest", {"target_peer_id": NOBODY, "data": [1]}),
    ],
)
def test_3_nobody_is_served_without_a_handshake(
    world: World, server: Host, kind: str, payload: Any
) -> None:
    clients = join_many(world, server, 90)
    stranger = world.puppet()
    size = stranger.send(stranger.message(kind, payload), server)
    world.run_for(5)

    assert stranger.bytes_received <= 3 * size
    assert stranger.take_types() == ["Error"]
    assert all(client.take() == [] for client in clients)


def test_3_one_datagram_reaches_no_ninety_peers(world: World, server: Host) -> None:
    clients = join_many(world, server, 90)
    stranger = world.puppet()
    routed = {
        "original_message": stranger.message("Data", "spam"),
        "source_node": stranger.id,
        "destination_node": NOBODY,
        "hop_count": 0,
        "max_hops": 8,
        "route_id": "1",
    }
    stranger.say("Data", routed, server)
    clients[0].say("Data", routed | {"source_node": clients[0].id}, server)
    world.run_for(2)

    assert all("Data" not in client.take_types() for client in clients)


@pytest.mark.parametrize("network_id", ["p2p_default", "foreign"])
def test_4_an_unsolicited_response_authenticates_nobody(
    world: World, server: Host, network_id: str
) -> None:
    intruder = world.puppet()
    info = intruder.handshake_request(network_id=network_id)["payload"]
    payload = {"node_info": info, "success": True, "error_message": None, "public_addr": None}
    intruder.say("HandshakeResponse", payload, server)
    world.run_for(1)

    assert len(server.endpoint.peers) == 0
    assert intruder.ask("ListNodesRequest", None, server)[0]["message_type"] == "Error"


def test_5_a_thief_of_an_id_gets_nothing(world: World, server: Host) -> None:
    victim, friend = join_many(world, server, 2)
    thief = world.puppet(node_id=victim.id)
    thief.send(thief.handshake_request(), server)
    world.run_for(0.1)
    friend.say("P2PConnect", {"peer_id": victim.id}, server)
    world.run_for(2)

    assert "P2PConnect" in victim.take_types()
    answers = thief.take()
    assert [answer["payload"]["success"] for answer in answers] == [False]
    assert "already exists" in answers[0]["payload"]["error_message"]


def test_6_stray_datagrams_take_no_place(world: World) -> None:
    server = world.host(max_connections=100)
    join_many(world, server, 90)
    for _ in range(30):
        world.puppet().say("Ping", None, server)
    world.run_for(1)

    newcomer = world.puppet()
    assert newcomer.join(server)[0]["payload"]["success"] is True
    assert len(server.endpoint.peers) == 91


def test_7_addresses_that_never_shake_hands_are_forgotten(world: World, server: Host) -> None:
    ping = json.dumps(world.puppet().message("Ping")).encode()
    for n in range(20_000):
        server.endpoint.receive_datagram(ping, (f"10.7.{n >> 8}.{n & 255}", 7), world.now)
    server.endpoint.datagrams_to_send(world.now)

    assert sum(server.endpoint.sizes().values()) <= 2 * 4096


def test_8_an_echo_is_not_echoed(world: World) -> None:
    server, other = world.host(echo="all"), world.host(echo="all")
    other.connect(server)
    server.connect(other)
    world.run_for(2)
    before = world.network.counters().sent
    liar = Puppet(world, other.address, other.id)
    liar.send(liar.message("Data", {"n": 1}), server)
    world.run_for(10)

    assert world.network.counters().sent - before <= 4
    assert [event.is_echo for event in other.told(DataReceived)] == [True]


def test_8_an_error_is_not_answered_with_an_error(world: World, server: Host) -> None:
    other = world.host()
    other.outcome(other.connect(server))
    world.run_for(2)
    before = world.network.counters().sent
    liar = Puppet(world, other.address, other.id)
    for host, source in ((server, other), (other, server)):
        liar.address = source.address
        liar.send(liar.message("Error", {"error": "no"}), host)
        liar.send(b"\x01\x11\x00\x00\x21\x12\xa4\x42" + bytes(12), host)  # STUN's
    world.run_for(2)

    assert world.network.counters().sent - before == 4


def test_9_closing_completes_at_once_and_says_goodbye(world: World, server: Host) -> None:
    client, node = world.puppet(), world.host()
    client.join(server)
    node.outcome(node.connect(server))
    waiting = server.connect(("10.9.9.9", 9))
    client.take()
    world.run_for(1)

    server.endpoint.close("the machine goes down", world.now)
    world.run_for(1)

    assert client.take()[-1]["payload"] == {"reason": "the machine goes down"}
    assert node.peer(server) is None
    assert isinstance(server.outcomes[waiting], HandshakeError)
    assert len(server.endpoint.peers) == 0
    left = {name: size for name, size in server.endpoint.sizes().items() if size}
    assert left.keys() <= {"tracked_strangers"}


def test_10_routes_are_checked_before_they_are_believed(world: World, server: Host) -> None:
    stranger, client = world.puppet(), world.puppet()
    client.join(server)
    for puppet in (stranger, client):
        for hop_count, source in ((0, NOBODY), (3, NOBODY), (300, puppet.id), (0, "nonsense")):
            payload = {
                "original_message": puppet.message("Data", "x"),
                "source_node": source,
                "destination_node": server.id,
                "hop_count": hop_count,
                "max_hops": 8,
                "route_id": world.message_id(),
            }
            puppet.say("Data", payload, server)
    world.run_for(1)

    assert [route.destination for route in server.endpoint.routes(world.now)] == [client.id]
    # At hop 0 a peer speaks for itself, whatever it writes.
    assert [event.node_id for event in server.told(DataReceived)] == [client.id] * 2


def test_10_a_reaped_peers_routes_are_gone_and_local_delivery_is_told(world: World) -> None:
    server = world.host(connection_timeout=10, heartbeat_interval=3)
    node, other = world.host(), world.host()
    for host in (node, other):
        host.outcome(host.connect(server))
    world.run_for(2)
    token = node.endpoint.send_routed(other.id, "delivered", 8, world.now, 10)
    assert node.outcome(token).delivered
    assert other.received() == ["delivered"]

    world.remove(other)
    world.run_for(15)

    assert other.id not in {route.destination for route in server.endpoint.routes(world.now)}
    assert other.id not in {route.destination for route in node.endpoint.routes(world.now)}


def test_11_the_core_logs_nothing_and_traces_only_on_demand(
    world: World, server: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = world.puppet()
    client.join(server)
    known = len(server.events)
    for _ in range(200):
        client.say("Ping", "\x1b[31mred\u202e", server)
    client.send(b"\x1b]0;title\x07", server)
    world.run_for(1)

    assert caplog.records == []
    assert server.events[known:] == []  # a Ping is no event, and no line
    server.endpoint.set_tracing(enabled=True)
    client.say("Ping", "\x1b[31mred\u202e", server)
    world.run_for(1)
    (trace,) = [
        event for event in server.events[known:] if event.data and event.direction.value == "in"
    ]
    assert "\x1b" not in printable(trace.data.decode())


def test_14_every_discovery_option_is_read(world: World) -> None:
    """Port range, interval and the switch change what leaves."""

    def probed(**options: Any) -> Counter[int]:
        world = World()
        node = world.host(("127.0.0.1", 8080), **options)
        ports: Counter[int] = Counter()
        world.network.send = lambda _data, _source, target, _now: ports.update([target[1]])  # type: ignore[method-assign]
        searching = node.endpoint.config.server.enable_discovery
        node.endpoint.neighbours.start((), ("127.0.0.1",), 8080, world.now, searching=searching)
        world.run_for(50)
        return ports

    assert probed(discovery_port_range=(9000, 9002)).keys() == {9000, 9001, 9002}
    assert min(probed(discovery_port_range=(9000, 9002), discovery_interval=10).values()) >= 4
    assert probed(enable_discovery=False) == {}
    assert Config().server.discovery_port_range == (8081, 8090)


def test_16_no_part_of_the_core_knows_everything() -> None:
    """Staleness is judged in one place, and nothing is a 941-line server object."""
    modules = {
        path.stem: path.read_text("utf-8") for path in Path(p2ptui.core.__path__[0]).rglob("*.py")
    }

    assert max(len(text.splitlines()) for text in modules.values()) <= 450
    readers = {
        name
        for name, text in modules.items()
        if any(
            isinstance(node, ast.Attribute) and node.attr == "connection_timeout"
            for node in ast.walk(ast.parse(text))
        )
    }
    assert readers <= {"liveness", "rendezvous"}  # of peers, and of introductions


def test_17_a_handshake_costs_the_same_however_many_are_here(world: World, server: Host) -> None:
    def datagrams_for_a_handshake() -> int:
        before = server.endpoint.counters.datagrams_out
        newcomer = world.puppet()
        newcomer.answers_pings = False
        newcomer.send(newcomer.handshake_request(), server)
        world.run_for(0.05)
        return server.endpoint.counters.datagrams_out - before

    alone = datagrams_for_a_handshake()
    join_many(world, server, 300)
    world.run_for(10)  # the news of all these is out
    assert datagrams_for_a_handshake() <= alone + 2  # and perhaps a heartbeat


def test_17_the_list_does_not_break_when_it_is_long(world: World, server: Host) -> None:
    clients = join_many(world, server, 600)
    clients[0].say("DiscoveryRequest", None, server)
    world.run_for(2)

    assert max(map(len, clients[0].inbox)) <= 1200
    listed = {
        entry["id"]
        for message in clients[0].take()
        if message["message_type"] == "DiscoveryResponse"
        for entry in message["payload"]
    }
    assert len(listed) == 599
    assert len(json.dumps(sorted(listed))) < 65_507  # ids alone; with addresses it would not fit
