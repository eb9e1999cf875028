"""What must never happen, whoever sends whatever: answers to junk, amplification, state, trust."""

import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptui.core.events import DataReceived, PeersDiscovered, PeerStatusChanged
from p2ptui.core.sessions.admission import MAX_TRACKED_ERRORS, MAX_TRACKED_HOSTS
from p2ptui.wire.message import OWN_CAPABILITIES
from tests.simulation import Host, Puppet, World

NOBODY = "99999999-0000-4000-8000-000000000000"

STUN_COOKIE = bytes.fromhex("2112a442")
STUN_BINDING_REQUEST = b"\x00\x01\x00\x00" + STUN_COOKIE + bytes(12)
STUN_INDICATION = b"\x00\x11\x00\x00" + STUN_COOKIE + bytes(12)
STUN_ERROR = b"\x01\x11\x00\x00" + STUN_COOKIE + bytes(12)

JUNK = [
    b"",
    b"\x00",
    b"\x7f",
    b"GET / HTTP/1.1\r\n\r\n",
    b"[1,2,3]",
    b'"text"',
    b"null",
    b"{",
    b"{}",
    b"{" * 60_000,
    b'{"id":"1"}',
    b'{"id":1,"message_type":"Ping","timestamp":1}',
    b'{"id":"","message_type":"Ping","timestamp":1}',
    b'{"id":"1","message_type":"Ping","timestamp":1.5}',
    b'{"id":"1","message_type":5,"timestamp":1}',
    b'{"id":"1","message_type":"Ping","timestamp":1,"sequence_number":-1}',
    b'{"id":"1","message_type":"Ping","timestamp":1,"sequence_number":4294967296}',
    b'{"id":"1","message_type":"Data","timestamp":1,"payload":"\xff\xfe"}',
    b'{"id":"1","message_type":"Data","timestamp":1,"payload":' + b"[" * 999 + b"]" * 999 + b"}",
    b"\x80" * 500,
    b"\xc0" * 500,
    b"\xc1",
    b"\xff",
    STUN_BINDING_REQUEST,
    STUN_INDICATION,
    STUN_ERROR,
    bytes(range(256)) * 255,
]

KINDS = [
    "HandshakeRequest",
    "HandshakeResponse",
    "Ping",
    "Pong",
    "DiscoveryRequest",
    "DiscoveryResponse",
    "DiscoveryUpdate",
    "Data",
    "Error",
    "Disconnect",
    "Ack",
    "Retransmit",
    "ListNodesRequest",
    "ListNodesResponse",
    "P2PConnect",
    "RelayRequest",
    "RelayResponse",
    "RelayData",
    "Teleport",
]

ANSWERED = {  # of a stranger's messages: with a refusal, or by "shake hands first"
    "Ping",
    "Pong",
    "DiscoveryRequest",
    "DiscoveryResponse",
    "DiscoveryUpdate",
    "Data",
    "Disconnect",
    "Retransmit",
    "ListNodesRequest",
    "ListNodesResponse",
    "P2PConnect",
    "RelayRequest",
    "RelayResponse",
    "RelayData",
}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Host:
    return world.host(allow_symmetric_nat_relay=True, max_connections=1000)


@pytest.fixture
def stranger(world: World) -> Puppet:
    return world.puppet()


def populate(world: World, server: Host, count: int) -> list[Puppet]:
    clients = [world.puppet() for _ in range(count)]
    for client in clients:
        client.join(server)
        server.ping(client)
    world.run_for(2)
    for client in clients:
        client.inbox.clear()
    return clients


# Answers.


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_junk_is_not_answered(world: World, server: Host, stranger: Puppet, junk: bytes) -> None:
    (client,) = populate(world, server, 1)
    for puppet in (stranger, client):
        puppet.send(junk, server)
    world.run_for(3)

    assert list(stranger.inbox) == list(client.inbox) == []
    assert server.is_connected_to(client)
    assert sum(server.endpoint.counters.drops.values()) == 2


@pytest.mark.parametrize("payload", [None, {"error": "x"}, {"error": "x", "code": "odd"}, 5])
@pytest.mark.parametrize("kind", ["Error", "Ack", "HandshakeResponse", "Teleport"])
def test_a_strangers_answers_are_not_answered(
    world: World, server: Host, stranger: Puppet, kind: str, payload: Any
) -> None:
    stranger.say(kind, payload, server, requires_ack=True)
    world.run_for(3)

    assert stranger.take() == []


@pytest.mark.parametrize("kind", ["Error", "Ack"])
def test_a_peers_answers_are_not_answered(world: World, server: Host, kind: str) -> None:
    (client,) = populate(world, server, 1)
    client.say(kind, {"error": "x", "code": "odd"}, server, ack_for="nothing")
    world.run_for(3)

    assert client.take() == []


# Strangers.


@pytest.mark.parametrize("kind", sorted(ANSWERED))
def test_a_stranger_is_told_once_to_shake_hands_and_never_acked(
    world: World, server: Host, stranger: Puppet, kind: str
) -> None:
    for _ in range(5):
        stranger.say(kind, None, server, requires_ack=True)
        world.run_for(0.5)

    (error,) = stranger.take()
    assert error["message_type"] == "Error"
    assert error["payload"]["code"] == "unauthenticated"

    world.run_for(3)
    assert [a["message_type"] for a in stranger.ask(kind, None, server)] == ["Error"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stranger_is_served_nothing(
    world: World, server: Host, stranger: Puppet, kind: str
) -> None:
    (peer,) = populate(world, server, 1)
    entry = {"id": NOBODY, "addr": "10.3.3.3:3", "last_seen": 1, "capabilities": []}
    routed = {
        "original_message": stranger.message("Data", "x"),
        "source_node": stranger.id,
        "destination_node": peer.id,
        "hop_count": 0,
        "max_hops": 8,
        "route_id": "1",
    }
    payloads: list[Any] = [
        None,
        "hello",
        {"cmd": "get_routes"},
        routed,
        routed | {"destination_node": server.id},
        {"peer_id": peer.id},
        {"peer_id": NOBODY, "peer_addr": "10.3.3.3:3"},
        {"target_peer_id": peer.id, "data": [1]},
        {"from_peer_id": peer.id, "data": [1]},
        [entry],
        {"joined": [entry], "left": [peer.id]},
        {"sequence_number": 1},
    ]
    known = len(server.events)
    routes = server.endpoint.routes(world.now)
    for payload in payloads:
        stranger.say(kind, payload, server, requires_ack=True)
    world.run_for(3)

    assert peer.take() == []
    assert {message["message_type"] for message in stranger.take()} <= {
        "Error",
        "HandshakeResponse",
    }
    assert server.events[known:] == []
    assert server.endpoint.routes(world.now) == routes
    assert server.peer(stranger) is None


def test_seventy_thousand_addresses_leave_little_behind(world: World, server: Host) -> None:
    ping = json.dumps(world.puppet().message("Ping")).encode()
    endpoint = server.endpoint
    for n in range(70_000):
        address = (f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 1000 + n % 50_000)
        endpoint.receive_datagram(ping, address, world.now + n * 1e-4)
        if n % 1000 == 0:
            endpoint.datagrams_to_send(world.now)
    endpoint.datagrams_to_send(world.now)

    sizes = endpoint.sizes()
    assert sizes["tracked_strangers"] <= MAX_TRACKED_HOSTS + MAX_TRACKED_ERRORS
    assert {key: size for key, size in sizes.items() if size and key != "tracked_strangers"} == {}
    assert endpoint.next_event() is None
    assert endpoint.counters.datagrams_out <= 200 * 8  # "shake hands", at a rate for all together


def test_forged_handshakes_fill_no_more_than_the_house(world: World) -> None:
    server = world.host(max_connections=50)
    puppet = world.puppet()
    request = json.dumps(puppet.handshake_request())
    ping = json.dumps(puppet.message("Ping")).encode()
    for n in range(2000):
        node_id = f"{n:08x}-dddd-4000-8000-000000000000"
        data = request.replace(json.loads(request)["payload"]["id"], node_id)
        address = (f"10.8.{n >> 8}.{n & 255}", 9)
        server.endpoint.receive_datagram(data.encode(), address, world.now)
        server.endpoint.receive_datagram(ping, address, world.now)
    server.settle()

    sizes = server.endpoint.sizes()
    assert sizes["peers"] == 50
    assert sizes["timers"] <= 50 * 2 + 2
    # And they do not keep an honest client out for long.
    world.run_for(10.1)
    client = world.puppet()
    assert client.join(server)[0]["payload"]["success"] is True


def test_forged_handshakes_make_room_also_among_peers_that_are_quiet(world: World) -> None:
    server = world.host(max_connections=30)
    for _ in range(20):
        world.host().connect(server)
    world.run_for(5)
    puppet = world.puppet()
    request = json.dumps(puppet.handshake_request())
    for n in range(10):
        node_id = f"{n:08x}-dddd-4000-8000-000000000000"
        data = request.replace(json.loads(request)["payload"]["id"], node_id)
        server.endpoint.receive_datagram(data.encode(), (f"10.8.0.{n + 1}", 9), world.now)
    server.settle()
    world.run_for(10.1)

    assert world.puppet().join(server)[0]["payload"]["success"] is True


def test_a_limit_for_strangers_does_not_touch_their_neighbours(world: World) -> None:
    """An office shares one address: a flood from one of its machines slows only strangers."""
    server = world.host(max_requests_per_ip=100)
    peer = world.puppet(("192.0.2.1", 1))
    peer.join(server)
    flooder = world.puppet(("192.0.2.1", 2))
    for _ in range(1000):
        flooder.say("Ping", None, server)
    for n in range(300):
        peer.say("Data", n, server, requires_ack=True)
    world.run_for(0.5)

    assert server.received() == list(range(300))
    assert server.endpoint.counters.drops["rate_limited"] >= 890
    other = world.puppet(("192.0.2.2", 3))
    assert other.join(server)[0]["payload"]["success"] is True
    world.run_for(1)
    late = world.puppet(("192.0.2.1", 4))
    assert late.join(server)[0]["payload"]["success"] is True  # nobody is banned


def test_junk_bans_nobody_and_uses_up_nobodys_budget(world: World) -> None:
    server = world.host(max_requests_per_ip=10)
    newcomer = world.puppet(("192.0.2.1", 2))
    for _ in range(5000):
        server.endpoint.receive_datagram(b"\x99junk", ("192.0.2.1", 2), world.now)
        server.endpoint.receive_datagram(b"\xc0junk", ("192.0.2.1", 2), world.now)

    assert newcomer.join(server)[0]["payload"]["success"] is True


def test_junk_in_a_peers_name_costs_it_nothing(world: World, server: Host) -> None:
    node = world.host()
    node.outcome(node.connect(server))
    world.run_for(1)
    rng = random.Random(7)
    liar = Puppet(world, node.address, node.id)
    tokens = []
    for n in range(50):
        for junk in rng.sample(JUNK, 10):
            liar.send(junk, server)
        liar.send(liar.message("Ack", None, ack_for=rng.getrandbits(32)), server)
        liar.send(liar.message("Disconnect", {"reason": "ha"}), server)
        liar.send(liar.message("Error", {"error": "?", "code": "unauthenticated"}), server)
        tokens.append(node.send(server, n))
        world.run_for(0.1)

    assert all(node.outcome(token).delivered for token in tokens)
    assert sorted(server.received()) == list(range(50))
    assert server.is_connected_to(node)


# Amplification.


def forged_payload(kind: str, puppet: Puppet, peer: Puppet, server: Host) -> Any:
    routed = {
        "original_message": {"id": "1", "message_type": "Ping", "timestamp": 1, "payload": 1},
        "source_node": puppet.id,
        "destination_node": server.id,
        "hop_count": 0,
        "max_hops": 8,
        "route_id": puppet.world.message_id(),
    }
    return {
        "HandshakeRequest": {"node_id": puppet.id},
        "DiscoveryRequest": {"network_id": "p2p_default"},
        "P2PConnect": {"peer_id": peer.id},
        "RelayRequest": {"target_peer_id": NOBODY, "data": [1]},
        "Data": routed,
        "Retransmit": {"sequence_number": 1},
        "Disconnect": {"reason": "x"},
        "Error": {"error": "x", "code": "unauthenticated"},
    }.get(kind)


def forged_fragment(rng: random.Random) -> bytes:
    """The last byte of a long message: what is missing takes a long report."""
    count = rng.choice([1, 4000, 4000])
    total = 256 * (count - 1) + 1
    head = b"\xc0" + count.to_bytes(4, "big") + total.to_bytes(4, "big")
    return head + (256).to_bytes(2, "big") + (count - 1).to_bytes(4, "big") + b"x"


def well_formed_request(rng: random.Random, puppet: Puppet) -> bytes:
    request = puppet.handshake_request(capabilities=rng.choice([[], list(OWN_CAPABILITIES)]))
    if rng.random() < 0.7:
        del request["sender_addr"]
    return json.dumps(request).encode()


def forge(rng: random.Random, kind: str, puppet: Puppet, peer: Puppet, server: Host) -> bytes:
    """A datagram in the name of `puppet`, as short or as long as the sender likes."""
    if kind == "Fragment":
        return forged_fragment(rng)
    payload: Any = forged_payload(kind, puppet, peer, server)
    if kind == "Data" and rng.random() < 0.7:
        payload = rng.choice([1, "x" * 200, {"cmd": "get_routes"}, {"echo": 1}])
    message: dict[str, Any] = {"id": puppet.world.message_id(), "message_type": kind}
    message |= {"timestamp": 1, "payload": payload}
    if kind == "HandshakeRequest":
        full = puppet.handshake_request(
            capabilities=rng.choice([["handshake"], list(OWN_CAPABILITIES)])
        )["payload"]
        message["payload"] = rng.choice([full, full, payload, full | {"network_id": "x"}, 5, None])
        if rng.random() < 0.2:
            message["id"] = "always-the-same"
    if rng.random() < 0.5:
        message["requires_ack"] = True
    if rng.random() < 0.5:
        message["sequence_number"] = rng.getrandbits(rng.choice([1, 16, 32]))
    if rng.random() < 0.5:
        message["sender_addr"] = None
    if rng.random() < 0.3:
        message["id"] = message["id"][:8]
    return json.dumps(message, separators=(",", ":")).encode()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    kinds=st.lists(
        st.sampled_from([*KINDS, "Fragment", "Fragment", "HandshakeRequest"]), max_size=40
    ),
    shakes_hands=st.booleans(),
)
def test_an_address_that_proved_nothing_gets_at_most_three_times_its_bytes(
    seed: int, kinds: list[str], shakes_hands: bool
) -> None:
    """Whatever is sent in its name, in whatever order, and however long one waits."""
    rng = random.Random(seed)
    world = World(seed)
    server = world.host(allow_symmetric_nat_relay=True)
    peers = populate(world, server, 3)
    victim = world.puppet()
    victim.answers_pings = False
    if shakes_hands:
        victim.send(well_formed_request(rng, victim), server)
        world.run_for(0.5)
    for kind in kinds:
        if kind == "Pong":
            continue  # a null Pong while a Ping is outstanding counts as proof
        victim.send(forge(rng, kind, victim, rng.choice(peers), server), server)
        world.run_for(rng.choice([0.0, 0.05, 1.0]))
        assert victim.bytes_received <= 3 * victim.bytes_sent
    world.run_for(120)
    assert victim.bytes_received <= 3 * victim.bytes_sent
    assert all(server.is_connected_to(peer) for peer in peers)


@pytest.mark.parametrize("kind", ["DiscoveryRequest", "ListNodesRequest", "Data"])
def test_a_forged_handshake_draws_no_list(world: World, server: Host, kind: str) -> None:
    """129 bytes into the reference server drew 18,463 at 90 peers."""
    populate(world, server, 90)
    victim = world.puppet()
    victim.answers_pings = False
    victim.send(victim.handshake_request(), server)
    world.run_for(0.1)
    for _ in range(5):
        victim.say(kind, {"cmd": "get_routes"} if kind == "Data" else None, server)
        world.run_for(2)
    world.run_for(60)

    assert victim.bytes_received <= 3 * victim.bytes_sent


@pytest.mark.parametrize("dialect", ["spec", "reference"])
@pytest.mark.parametrize("capabilities", [[], list(OWN_CAPABILITIES)])
def test_a_single_forged_handshake_among_many_peers(
    world: World, server: Host, dialect: str, capabilities: list[str]
) -> None:
    populate(world, server, 30)
    victim = world.puppet()
    victim.answers_pings = False
    request = victim.handshake_request(capabilities=capabilities)
    if dialect == "spec":
        del request["sender_addr"]
    size = victim.send(request, server)
    for _ in range(5):  # and others come and go meanwhile
        world.puppet().join(server)
    world.run_for(120)

    assert 0 < victim.bytes_received <= 3 * size


@pytest.mark.parametrize("seed", range(5))
def test_two_addresses_that_proved_nothing_are_worth_no_more(
    world: World, server: Host, seed: int
) -> None:
    """What is sent to one because of the other is paid for by the other."""
    rng = random.Random(seed)
    one, other = world.puppet(), world.puppet()
    for puppet in (one, other):
        puppet.answers_pings = False
        puppet.send(puppet.handshake_request(), server)
    world.run_for(1)
    for _ in range(40):
        routed = {
            "original_message": {"id": "1", "message_type": "Data", "timestamp": 1},
            "source_node": one.id,
            "destination_node": other.id,
            "hop_count": 0,
            "max_hops": 8,
            "route_id": world.message_id(),
        }
        kind, payload = rng.choice(
            [
                ("P2PConnect", {"peer_id": other.id}),
                ("RelayRequest", {"target_peer_id": other.id, "data": [1]}),
                ("Data", routed),
            ]
        )
        short = {"id": world.message_id()[:8], "message_type": kind, "timestamp": 1}
        one.send(json.dumps(short | {"payload": payload}), server)
        world.run_for(0.1)
    world.run_for(20)

    assert other.bytes_received > other.bytes_sent
    received = one.bytes_received + other.bytes_received
    assert received <= 3 * (one.bytes_sent + other.bytes_sent)


@pytest.mark.parametrize("node_info", [{"id": "bad"}, {"network_id": "other"}, {"name": ""}])
def test_refusals_are_no_larger_either(
    world: World, server: Host, stranger: Puppet, node_info: dict[str, Any]
) -> None:
    for payload in (stranger.handshake_request(**node_info)["payload"], node_info, None):
        for _ in range(3):
            stranger.say("HandshakeRequest", payload, server)
            world.run_for(0.1)
            assert stranger.bytes_received <= 3 * stranger.bytes_sent


def test_who_proves_its_address_gets_all_of_it(world: World, server: Host) -> None:
    populate(world, server, 90)
    client = world.puppet()
    client.send(client.handshake_request(), server)
    client.say("DiscoveryRequest", None, server)
    world.run_for(70)

    listed = {
        entry["id"]
        for message in client.take()
        if message["message_type"] == "DiscoveryResponse"
        for entry in message["payload"]
    }
    assert len(listed) == 90
    assert server.peer(client).proved


def test_only_what_cannot_be_guessed_is_a_proof(world: World, server: Host) -> None:
    client = world.puppet()
    client.answers_pings = False
    client.join(server)
    for key in (0, 1, 7, client.id, server.id, "always"):
        client.say("Ack", None, server, ack_for=key)
    for payload in (None, {"nonce": ""}, {"nonce": "0" * 16}, {}):
        client.say("Pong", payload, server)
    world.run_for(1)
    assert not server.peer(client).proved

    server.ping(client)
    world.run_for(0.1)
    ping = next(m for m in client.take() if m["message_type"] == "Ping" and m["payload"])
    client.say("Pong", ping["payload"], server)
    world.run_for(0.1)
    assert server.peer(client).proved


# Bouncing.


def bounce_payloads(one: Host, other: Host) -> list[Any]:
    inner = {"id": "1", "message_type": "Data", "timestamp": 1, "payload": {"echo": 1}}
    routed = {
        "original_message": inner,
        "source_node": one.id,
        "destination_node": other.id,
        "hop_count": 0,
        "max_hops": 8,
        "route_id": "1",
    }
    return [
        None,
        5,
        "text",
        {"echo": {"echo": 1}},
        {"cmd": "get_routes"},
        {"routes": []},
        routed,
        routed | {"destination_node": NOBODY, "max_hops": 200},
        {"error": "x"},
        {"error": "x", "code": "unknown_type"},
        {"sequence_number": 3},
        {"peer_id": one.id},
        {"peer_id": one.id, "peer_addr": "{}:{}".format(*one.address)},
        {"target_peer_id": other.id, "data": [1]},
        [],
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("crossed", [False, True], ids=["one joined", "both joined"])
def test_two_nodes_do_not_hand_one_datagram_to_and_fro(
    world: World, server: Host, kind: str, crossed: bool
) -> None:
    node = world.host(allow_symmetric_nat_relay=True)
    node.connect(server)
    if crossed:
        server.connect(node)
    world.run_for(2)
    liar = Puppet(world, node.address, node.id)
    for payload in bounce_payloads(node, server):
        for fields in ({}, {"requires_ack": True}):
            message = liar.spec_message(kind, payload, **fields, sequence_number=None)
            before = [host.endpoint.counters.datagrams_out for host in (node, server)]
            liar.send(message, server)
            world.run_for(3)
            after = [host.endpoint.counters.datagrams_out for host in (node, server)]

            sent = sum(after) - sum(before)
            assert sent <= 16, (payload, fields, sent)


def test_an_echo_between_two_servers_ends(world: World) -> None:
    """One datagram between two of the reference's servers became 126."""
    server, other = world.host(echo="all"), world.host(echo="all")
    for _ in range(2):
        other.connect(server)
        server.connect(other)
    world.run_for(2)
    before = server.endpoint.counters.datagrams_out + other.endpoint.counters.datagrams_out
    liar = Puppet(world, other.address, other.id)
    liar.send(liar.message("Data", "ping-pong"), server)
    world.run_for(5)

    after = server.endpoint.counters.datagrams_out + other.endpoint.counters.datagrams_out
    assert after - before <= 4
    assert [event.is_echo for event in other.told(DataReceived)] == [True]


# Robustness.


@settings(max_examples=150)
@given(data=st.binary(max_size=300), as_peer=st.booleans(), first=st.integers(0, 255))
def test_no_bytes_make_the_core_raise(data: bytes, as_peer: bool, first: int) -> None:
    world = World()
    server, client = world.host(), world.puppet()
    if as_peer:
        client.join(server)
        server.ping(client)
        world.run_for(1)
    client.send(bytes([first]) + data, server)
    client.send(b"{" + data, server)
    world.run_for(1)

    assert server.is_connected_to(client) is as_peer


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**33) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@settings(max_examples=150)
@given(
    kind=st.sampled_from(KINDS),
    payload=json_values,
    fields=st.fixed_dictionaries(
        {},
        optional={
            "sequence_number": json_values,
            "ack_for": json_values,
            "requires_ack": st.booleans() | json_values,
            "sender_addr": json_values,
            "timestamp": json_values,
            "id": json_values,
        },
    ),
    as_peer=st.booleans(),
)
def test_no_message_makes_the_core_raise(
    kind: str, payload: Any, fields: dict[str, Any], as_peer: bool
) -> None:
    world = World()
    server, client = world.host(allow_symmetric_nat_relay=True), world.puppet()
    if as_peer:
        client.join(server)
    message = client.message(kind, payload) | fields
    client.send(json.dumps(message), server)
    world.run_for(3)

    statuses = Counter(event.status for event in server.told(PeerStatusChanged))
    assert sum(statuses.values()) <= 3
    assert server.told(PeersDiscovered) == [] or as_peer
