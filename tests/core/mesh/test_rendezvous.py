"""Introductions: served to peers, acted on when a joined server makes them, and nothing beyond."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from p2ptui.core.events import (
    ConnectResult,
    DataReceived,
    Path,
    PeerIntroduced,
    PingResult,
    SendStatus,
)
from p2ptui.core.mesh import rendezvous
from p2ptui.core.mesh.rendezvous import INTRODUCTION_LIFETIME_S
from p2ptui.errors import LocalError, PeerTimeoutError, UnknownPeerError
from p2ptui.wire.message import OWN_CAPABILITIES
from tests.simulation import Host, Puppet, World

B_ID = "bbbbbbbb-0000-4000-8000-000000000000"
NOBODY = "99999999-0000-4000-8000-000000000000"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Puppet:
    """A deployed server."""
    return world.puppet()


@pytest.fixture
def node(world: World, server: Puppet) -> Host:
    """A node that joined the deployed server."""
    node = world.host()
    node.connect(server)
    world.run_for(0.1)
    info = server.handshake_request()["payload"]
    payload = {"node_info": info, "success": True, "error_message": None, "public_addr": None}
    (request,) = [m for m in server.take() if m["message_type"] == "HandshakeRequest"]
    server.say("Ack", None, node, ack_for=request["id"])  # as the reference does
    server.say("HandshakeResponse", payload, node, sequence_number=None)
    world.run_for(0.1)
    server.take()
    assert node.is_connected_to(server)
    return node


@pytest.fixture
def other(world: World, node: Host) -> Puppet:
    """The deployed client whom the server introduces; it answers no Ping."""
    other = world.puppet(node_id=B_ID)
    other.answers_pings = False
    return other


def introduce(server: Puppet, node: Host, other: Puppet, **more: Any) -> None:
    host, port = other.address
    server.say("P2PConnect", {"peer_id": other.id, "peer_addr": f"{host}:{port}"} | more, node)
    server.world.run_for(0.05)


def routed_data(other: Puppet, node: Host, text: str, **changes: Any) -> dict[str, Any]:
    inner = other.message("Data", {"text": text}, sequence_number=None)
    payload = {
        "original_message": inner,
        "source_node": other.id,
        "destination_node": node.id,
        "hop_count": 0,
        "max_hops": 8,
        "route_id": inner["id"],
    } | changes
    return other.message("Data", payload)


def vouched(node: Host, server: Puppet) -> str:
    """What only the server that a node has joined can know."""
    peer = node.peer(server)
    assert peer is not None
    return str(peer.handshake_said[0])


# What a server serves.


def test_both_get_the_address_that_the_server_sees(world: World) -> None:
    server, a, b = world.host(), world.puppet(), world.puppet()
    a.join(server, listen_addr="0.0.0.0:1")
    b.join(server)
    b.take()

    request = {
        "peer_id": b.id,
        "nat_type": "Symmetric",
        "predicted_ports": [40001, 40002],
        "public_addr": "198.51.100.7:40000",
    }
    (to_a,) = [
        m["payload"]
        for m in a.ask("P2PConnect", request, server)
        if m["message_type"] == "P2PConnect"
    ]
    (to_b,) = [m["payload"] for m in b.take() if m["message_type"] == "P2PConnect"]

    assert to_a["peer_id"] == b.id
    assert to_a["peer_addr"] == "{}:{}".format(*b.address)
    assert to_b["peer_id"] == a.id
    assert to_b["peer_addr"] == "{}:{}".format(*a.address)
    assert to_b["peer_nat_type"] == "Symmetric"
    assert to_b["peer_predicted_ports"] == [40001, 40002]
    assert to_b["peer_public_addr"] == "198.51.100.7:40000"


def test_a_request_without_extras_makes_an_introduction_without_extras(world: World) -> None:
    server, a, b = world.host(), world.puppet(), world.puppet()
    a.join(server)
    b.join(server)
    server.ping(b)
    world.run_for(0.1)
    b.take()
    a.say("P2PConnect", {"peer_id": b.id}, server)
    world.run_for(0.2)

    (payload,) = [m["payload"] for m in b.take() if m["message_type"] == "P2PConnect"]
    assert payload.keys() == {"peer_id", "peer_addr", "peer_name", "peer_capabilities"}


@pytest.mark.parametrize("peer_id", [NOBODY, "no-uuid", "", "x" * 1000])
def test_an_unknown_node_is_not_found(world: World, peer_id: str) -> None:
    server, a = world.host(), world.puppet()
    a.join(server)

    (error,) = a.ask("P2PConnect", {"peer_id": peer_id}, server)

    assert error["payload"]["code"] == "peer_not_found"
    assert len(error["payload"]["error"]) < 100


def test_nobody_is_introduced_to_itself(world: World) -> None:
    server, a = world.host(), world.puppet()
    a.join(server)

    (error,) = a.ask("P2PConnect", {"peer_id": a.id}, server)

    assert error["payload"]["code"] == "peer_not_found"


def test_introductions_are_served_at_a_limited_rate(world: World) -> None:
    server, a, b = world.host(), world.puppet(), world.puppet()
    a.join(server)
    b.join(server)
    server.ping(a)
    server.ping(b)
    world.run_for(1)
    a.take()
    b.take()
    for _ in range(500):
        a.say("P2PConnect", {"peer_id": b.id}, server)
    world.run_for(0.5)

    assert 200 <= len(a.take()) <= 210
    assert len(b.take()) == 1  # it can do no more about the second


def test_a_node_that_cannot_search_is_told_a_few_times(world: World) -> None:
    """Whoever asks for it asks again twice a second, for as long as a call waits."""
    server, a, b = world.host(), world.puppet(), world.puppet()
    b.answers_pings = False
    a.join(server)
    b.join(server)
    b.bytes_sent += 2000  # it has been here for a while
    server.peer(b).note_datagram(2000)
    for _ in range(30):
        a.say("P2PConnect", {"peer_id": b.id}, server)
        world.run_for(0.5)
    told = [kind for kind in b.take_types() if kind == "P2PConnect"]
    assert 2 <= len(told) <= 3
    assert a.take_types().count("P2PConnect") == 30
    assert b.bytes_received <= 3 * b.bytes_sent

    world.run_for(40)
    b.say("Ping", None, server)
    world.run_for(1)
    b.take()
    a.say("P2PConnect", {"peer_id": b.id}, server)
    world.run_for(1)
    assert b.take_types().count("P2PConnect") == 1  # another day, another call


def test_what_an_asker_cannot_pay_for_waits_for_its_proof(world: World) -> None:
    server, a, b = world.host(), world.puppet(), world.puppet()
    a.answers_pings = b.answers_pings = False
    a.join(server)
    b.join(server)
    server.peer(b).proved = True
    server.peer(a).purse.datagrams = 0
    a.say("P2PConnect", {"peer_id": b.id}, server)
    world.run_for(1)
    assert "P2PConnect" not in b.take_types()

    a.answers_pings = True
    server.ping(a)
    world.run_for(1)
    told = [m["payload"]["peer_id"] for m in b.take() if m["message_type"] == "P2PConnect"]
    assert told == [a.id]


def test_pairs_that_were_introduced_are_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendezvous, "MAX_PAIRS", 2)
    server, a = world.host(), world.puppet()
    a.join(server)
    others = [world.puppet() for _ in range(4)]
    for other in others:
        other.join(server)
        a.say("P2PConnect", {"peer_id": other.id}, server)
        world.run_for(0.1)

    assert server.endpoint.sizes()["introduced_pairs"] == 2
    assert server.endpoint.counters.drops["introduction_pairs_full"] == 2


@pytest.mark.parametrize("relays", [True, False])
@pytest.mark.parametrize("answers", [True, False])
def test_to_connect_to_a_deployed_client_costs_it_little(relays: bool, answers: bool) -> None:
    world = World()
    server, node = world.host(allow_symmetric_nat_relay=relays), world.host()
    client = world.puppet()
    node.outcome(node.connect(server))
    client.answers_pings = answers
    client.join(server)
    world.run_for(3)
    client.take()
    before = client.bytes_received
    for _ in range(3):  # its user does not give up either
        token = node.endpoint.introduce(node.peer(server), client.id, world.now, 10)
        node.settle()
        outcome = node.outcome(token, 12)
        assert isinstance(outcome, UnknownPeerError)
        assert "finds no direct paths; use routed messages" in str(outcome)
        world.run_for(2)
    world.run_for(10)

    assert client.take_types().count("P2PConnect") <= 3
    assert client.bytes_received - before <= 3 * 400 + 12 * 200


def test_a_reference_server_that_repeats_itself_draws_few_pings(
    world: World, server: Puppet, node: Host
) -> None:
    target = world.puppet()
    target.answers_pings = False
    for _ in range(20):
        introduce(server, node, target)
        world.run_for(0.4)

    assert target.take_types().count("Ping") == 9


# Introductions that count.


def test_an_introduced_address_is_pinged_and_its_pings_answered(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    introduce(server, node, other)
    world.run_for(2)

    assert node.told(PeerIntroduced) == [PeerIntroduced(B_ID, other.address, server.id)]
    pings = other.take()
    assert [message["message_type"] for message in pings] == ["Ping"] * 3

    (pong,) = other.ask("Ping", {"t": 5}, node)
    assert (pong["message_type"], pong["payload"]) == ("Pong", {"t": 5})
    assert node.peer(other) is None


def test_routed_data_of_the_introduced_node_is_delivered(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    introduce(server, node, other)
    other.send(routed_data(other, node, "hello"), node)
    world.run_for(0.1)

    (data,) = node.told(DataReceived)
    assert (data.node_id, data.payload, data.path) == (B_ID, {"text": "hello"}, Path.DIRECT)
    assert data.address == other.address


@pytest.mark.parametrize(
    "changes",
    [
        {"source_node": NOBODY},
        {"source_node": NOBODY, "hop_count": 1},
        {"source_node": "nobody"},
    ],
)
def test_routed_data_of_anybody_else_is_not(
    world: World, server: Puppet, node: Host, other: Puppet, changes: dict[str, Any]
) -> None:
    introduce(server, node, other)
    other.send(routed_data(other, node, "hello", **changes), node)
    world.run_for(0.1)

    assert node.told(DataReceived) == []


# What overtakes its introduction.


@pytest.mark.parametrize("late_s", [0.001, 0.2, 0.7])
def test_a_ping_that_overtakes_its_introduction_is_answered(
    world: World, server: Puppet, node: Host, other: Puppet, late_s: float
) -> None:
    for _ in range(3):
        other.say("Ping", None, node)
        world.run_for(late_s / 3)
    assert other.take() == []  # no Error, which a deployed client would show

    introduce(server, node, other)

    assert other.take_types().count("Pong") == 3
    world.run_for(5)
    assert "Error" not in other.take_types()
    assert node.endpoint.sizes()["early_messages"] == 0


def test_a_routed_message_that_overtakes_its_introduction_is_delivered(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    other.send(routed_data(other, node, "hello"), node)
    world.run_for(0.3)
    introduce(server, node, other)

    assert [event.payload for event in node.told(DataReceived)] == [{"text": "hello"}]


def test_who_is_not_introduced_in_time_is_told_to_shake_hands(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    for _ in range(10):
        other.say("Ping", None, node)
    world.run_for(2)

    (error,) = other.take()
    assert error["payload"]["code"] == "unauthenticated"
    assert node.endpoint.sizes()["early_messages"] == 0


def test_little_waits_for_an_introduction(world: World, server: Puppet, node: Host) -> None:
    ping = json.dumps(server.message("Ping")).encode()
    for number in range(1000):
        source = (f"10.7.{number >> 8}.{number & 255}", 7)
        for _ in range(10):
            node.endpoint.receive_datagram(ping, source, world.now)
    assert node.endpoint.sizes()["early_messages"] <= 256
    world.run_for(1.5)
    assert node.endpoint.sizes()["early_messages"] == 0


@pytest.mark.parametrize("spelling", [str.lower, str.upper])
def test_an_introduced_client_that_took_its_servers_id_is_known(
    world: World, server: Puppet, node: Host, other: Puppet, spelling: Callable[[str], str]
) -> None:
    introduce(server, node, other)
    other.send(routed_data(other, node, "hello", source_node=spelling(server.id)), node)
    world.run_for(0.1)

    (data,) = node.told(DataReceived)
    assert (data.node_id, data.payload) == (B_ID, {"text": "hello"})


def test_plain_data_of_an_introduced_node_is_not_delivered(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    introduce(server, node, other)
    other.take()
    other.say("Data", "hello", node, requires_ack=True)
    world.run_for(0.1)

    assert node.told(DataReceived) == []
    assert other.take_types() in ([], ["Ping"])


@pytest.mark.parametrize(
    "kind", ["DiscoveryRequest", "ListNodesRequest", "P2PConnect", "RelayRequest", "Teleport"]
)
def test_an_introduced_node_gets_nothing_else(
    world: World, server: Puppet, node: Host, other: Puppet, kind: str
) -> None:
    introduce(server, node, other)
    world.run_for(1)
    other.take()

    answers = other.ask(kind, None, node)

    assert [answer["payload"].get("code") for answer in answers] in ([], ["unauthenticated"])


def test_another_port_of_that_host_is_a_stranger(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    introduce(server, node, other)
    neighbour = world.puppet((other.address[0], 99))

    (error,) = neighbour.ask("Ping", None, node)

    assert error["payload"]["code"] == "unauthenticated"


def test_a_ping_of_an_introduced_node_measures_the_way(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    introduce(server, node, other)
    other.answers_pings = True
    world.run_for(1)

    token = node.endpoint.ping_node(B_ID, world.now, 5)

    assert node.outcome(token) == PingResult(pytest.approx(0.02), Path.DIRECT, other.address)
    other.answers_pings = False
    token = node.endpoint.ping_node(B_ID, world.now, 5)
    assert isinstance(node.outcome(token), PeerTimeoutError)


def test_an_answer_is_never_larger_than_three_times_the_question(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    introduce(server, node, other)
    world.run_for(1)
    other.bytes_received = other.bytes_sent = 0
    for n in range(50):
        other.send({"id": str(n), "message_type": "Ping", "timestamp": 1}, node)
    world.run_for(1)

    assert other.bytes_received <= 3 * other.bytes_sent


# Introductions that do not count.


def test_a_client_cannot_introduce(world: World, other: Puppet) -> None:
    server, client = world.host(), world.puppet()
    client.join(server)
    introduce(client, server, other)
    world.run_for(1)

    assert server.told(PeerIntroduced) == []
    assert other.take() == []
    assert server.endpoint.counters.drops["introduction_unasked"] == 1


@pytest.mark.parametrize(
    "payload",
    [
        {"peer_id": B_ID, "peer_addr": "example.org:80"},
        {"peer_id": B_ID, "peer_addr": "10.0.0.9:0"},
        {"peer_id": B_ID, "peer_addr": ""},
        {"peer_id": "nobody", "peer_addr": "10.0.0.9:9"},
    ],
)
def test_senseless_introductions(
    world: World, server: Puppet, node: Host, payload: dict[str, Any]
) -> None:
    sent = node.endpoint.counters.datagrams_out
    server.say("P2PConnect", payload, node)
    world.run_for(1)

    assert node.told(PeerIntroduced) == []
    assert node.endpoint.counters.datagrams_out == sent
    assert node.endpoint.counters.drops["introduction_invalid"] == 1


def test_an_introduction_to_itself_is_senseless(world: World, server: Puppet, node: Host) -> None:
    server.say("P2PConnect", {"peer_id": node.id, "peer_addr": "10.0.0.9:9"}, node)
    world.run_for(1)

    assert node.told(PeerIntroduced) == []


def test_only_the_observed_ip_is_probed_and_few_ports(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    """Whatever the other side claims: a claim must not aim this node at somebody else."""
    victim = world.puppet(("198.51.100.7", 40000))
    ports = [world.puppet((other.address[0], 40000 + n)) for n in range(50)]
    introduce(
        server,
        node,
        other,
        peer_nat_type="Symmetric",
        peer_public_addr="198.51.100.7:40000",
        peer_predicted_ports=[40000 + n for n in range(50)],
        handshake=vouched(node, server),
    )
    world.run_for(2)

    assert victim.take() == []
    probed = [puppet for puppet in ports if puppet.bytes_received or puppet.bytes_sent]
    assert probed == ports[:4]
    assert len(other.take()) == 3


# How long they hold.


def test_an_introduction_ends_without_traffic(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    introduce(server, node, other)
    world.run_for(INTRODUCTION_LIFETIME_S - 1)
    assert other.ask("Ping", 1, node)[-1]["message_type"] == "Pong"
    world.run_for(INTRODUCTION_LIFETIME_S - 2)
    assert other.ask("Ping", 2, node)[-1]["message_type"] == "Pong"  # traffic prolongs it

    world.run_for(INTRODUCTION_LIFETIME_S + 1)
    assert other.ask("Ping", 3, node)[-1]["payload"]["code"] == "unauthenticated"


def test_an_introduction_holds_while_the_server_lists_the_node(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    introduce(server, node, other)
    entry = {"id": B_ID, "addr": "10.9.9.9:9", "last_seen": 1, "capabilities": []}
    for _ in range(6):
        world.run_for(INTRODUCTION_LIFETIME_S - 10)
        server.say("DiscoveryResponse", [entry], node)

    assert other.ask("Ping", 3, node)[-1]["message_type"] == "Pong"


def test_a_list_of_another_server_prolongs_nothing(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    introduce(server, node, other)
    another = world.puppet()
    another.join(node)
    entry = {"id": B_ID, "addr": "10.9.9.9:9", "last_seen": 1, "capabilities": []}
    for _ in range(3):
        world.run_for(INTRODUCTION_LIFETIME_S / 2)
        another.say("DiscoveryResponse", [entry], node)
    world.run_for(1)

    assert other.ask("Ping", 3, node)[-1]["message_type"] == "Error"


def test_introductions_are_capped_and_the_oldest_makes_room(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    introduce(server, node, other)
    for n in range(300):
        peer_id = f"{n:08x}-bbbb-4000-8000-000000000000"
        server.say("P2PConnect", {"peer_id": peer_id, "peer_addr": f"10.77.0.1:{n + 1}"}, node)
    world.run_for(2)

    assert node.endpoint.sizes()["introductions"] == 256
    assert other.ask("Ping", 3, node)[-1]["message_type"] == "Error"


def test_a_node_that_moved_is_found_at_its_new_address(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    introduce(server, node, other)
    moved = world.puppet(node_id=B_ID)
    introduce(server, node, moved)
    world.run_for(1)

    token = node.endpoint.ping_node(B_ID, world.now, 5)
    assert node.outcome(token).address == moved.address


# Two of our own nodes.


def test_two_nodes_shake_hands_on_the_punched_path(world: World) -> None:
    server, a, b = world.host(), world.host(), world.host()
    for peer in (a, b):
        peer.outcome(peer.connect(server))
    world.run_for(1)

    token = a.endpoint.introduce(a.peer(server), b.id, world.now, 10)

    assert a.outcome(token) == ConnectResult(b.id, b.address, a.address)
    world.run_for(1)
    assert b.is_connected_to(a)
    sent = a.send(b, "directly")
    assert a.outcome(sent).delivered
    assert b.received() == ["directly"]


def test_a_node_that_is_a_peer_already_is_not_probed(world: World) -> None:
    server, a, b = world.host(), world.host(), world.host()
    for peer in (a, b):
        peer.outcome(peer.connect(server))
    a.outcome(a.connect(b))
    world.run_for(1)

    token = a.endpoint.introduce(a.peer(server), b.id, world.now, 10)

    assert a.outcome(token).address == b.address


def test_the_server_does_not_know_the_node(world: World) -> None:
    server, a = world.host(), world.host()
    a.outcome(a.connect(server))

    token = a.endpoint.introduce(a.peer(server), NOBODY, world.now, 10)

    assert isinstance(a.outcome(token, 1), UnknownPeerError)


def test_a_server_that_does_not_answer(world: World, server: Puppet, node: Host) -> None:
    began = world.now
    token = node.endpoint.introduce(node.peer(server), NOBODY, world.now, 8)

    assert isinstance(node.outcome(token), PeerTimeoutError)
    assert world.now - began == pytest.approx(8)
    assert server.take_types() == ["P2PConnect"] * 16  # twice a second, until it is given up


def test_a_deployed_client_takes_no_handshake(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    token = node.endpoint.introduce(node.peer(server), B_ID, world.now, 8)
    introduce(server, node, other)
    world.run_for(1)

    assert isinstance(node.outcome(token, 1), LocalError)
    assert "through the server" in str(node.outcomes[token])
    assert "HandshakeRequest" not in other.take_types()


def test_a_lost_introduction_is_asked_for_again() -> None:
    lossy = World(seed=11, loss=0.25)
    server, a, b = lossy.host(), lossy.host(), lossy.host()
    for peer in (a, b):
        peer.outcome(peer.connect(server))
    lossy.run_for(2)

    outcomes = []
    for _ in range(5):
        token = a.endpoint.introduce(a.peer(server), b.id, lossy.now, 10)
        outcomes.append(a.outcome(token))
    assert sum(isinstance(outcome, ConnectResult) for outcome in outcomes) >= 4


def test_introductions_awaited_are_bounded(world: World, server: Puppet, node: Host) -> None:
    for n in range(300):
        node_id = f"{n:08x}-bbbb-4000-8000-000000000000"
        if n >= 256:
            with pytest.raises(LocalError, match="try again later"):
                node.endpoint.introduce(node.peer(server), node_id, world.now, 5)
        else:
            node.endpoint.introduce(node.peer(server), node_id, world.now, 5)
    world.run_for(6)
    node.endpoint.introduce(node.peer(server), B_ID, world.now, 5)


def test_our_own_node_that_was_introduced_may_shake_hands(world: World, node: Host) -> None:
    """An introduction does not stand in the way of a peer of its own right."""
    peer = world.puppet(node_id=B_ID)
    server = next(iter(node.endpoint.peers))
    puppet = world.hosts[server.address]
    assert isinstance(puppet, Puppet)
    introduce(puppet, node, peer, peer_capabilities=list(OWN_CAPABILITIES))

    assert peer.join(node)[0]["payload"]["success"] is True
    token = node.send(peer, "hello", reliable=False)
    assert node.outcome(token).status is SendStatus.SENT


def test_nothing_is_forwarded_for_an_introduced_node(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    third = world.host()
    node.outcome(node.connect(third))
    introduce(server, node, other)

    other.send(routed_data(other, node, "hello", destination_node=third.id), node)
    world.run_for(1)

    assert third.told(DataReceived) == []
    assert node.endpoint.counters.forwarded == 0
    assert node.endpoint.counters.drops["routed_unauthenticated"] == 1


def test_of_an_introduced_node_little_is_kept(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    capabilities = ["x" * 10_000, "routing"]
    introduce(server, node, other, peer_name="n" * 10_000, peer_capabilities=capabilities)

    (introduction,) = node.endpoint.introductions
    assert introduction.capabilities == ("x" * 32, "routing")
    assert len(introduction.name) <= 128


# Full tables.


def one_more(world: World, server: Puppet, node: Host, number: int) -> None:
    address = f"203.0.113.{number % 250}:{5000 + number}"
    server.say("P2PConnect", {"peer_id": world.node_id(), "peer_addr": address}, node)
    world.run_for(0.01)


def test_an_introduction_whose_ping_a_call_waits_for_stays(
    world: World, server: Puppet, node: Host, other: Puppet
) -> None:
    introduce(server, node, other)
    world.run_for(2)
    other.take()
    token = node.endpoint.ping_node(other.id, world.now, 10)
    node.settle()
    limit = node.endpoint.config.routing.introductions_max
    for number in range(limit + 10):
        one_more(world, server, node, number)
    (ping,) = other.take()
    other.send(other.message("Pong", ping["payload"]), node)
    world.run_for(1)

    assert isinstance(node.outcomes[token], PingResult)
    assert node.endpoint.sizes()["introductions"] == limit
    assert node.endpoint.counters.drops["introductions_full"] == 11


def test_every_port_that_is_probed_may_answer(world: World, server: Puppet) -> None:
    """What the option asks to be probed is remembered, and the Ping of a call stays."""
    node = world.host(introduction_probe_ports=200)
    node.connect(server)
    world.run_for(0.1)
    payload = {"node_info": server.handshake_request()["payload"], "success": True}
    (request,) = [m for m in server.take() if m["message_type"] == "HandshakeRequest"]
    server.say("Ack", None, node, ack_for=request["id"])  # as the reference does
    server.say("HandshakeResponse", payload, node, sequence_number=None)
    world.run_for(0.1)
    other = world.puppet(node_id=B_ID)
    other.answers_pings = False
    ports = list(range(20_000, 20_200))
    introduce(server, node, other, peer_predicted_ports=ports, handshake=vouched(node, server))
    world.run_for(1)
    (introduction,) = node.endpoint.introductions

    assert len(introduction.pings) == 3 + 200
    assert not node.endpoint.counters.drops["ping_forgotten"]
