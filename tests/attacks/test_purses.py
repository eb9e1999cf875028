"""Who pays: nothing goes to an address that proved nothing beyond its own bytes and packets, and to
one that did, a stated number of bytes a minute for what anybody may have asked in its name."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptui.core.messages import ROWS
from p2ptui.wire.frames import (
    RELAY,
    RELAYED,
    Fragment,
    FragmentAck,
    TransferStatus,
    encode_fragment,
    encode_fragment_ack,
    encode_relay,
)
from p2ptui.wire.message import OWN_CAPABILITIES
from tests.attacks.attacker import Account, Attacker, Ledger
from tests.simulation import Host, Puppet, World

VICTIM = ("203.0.113.7", 53)
NOBODY = "99999999-0000-4000-8000-000000000000"
STUN_REQUEST = b"\x00\x01\x00\x00" + bytes.fromhex("2112a442") + bytes(12)


def with_company(world: World, count: int, **options: Any) -> tuple[Host, list[Puppet]]:
    """A server with so many deployed clients that have proved their addresses."""
    options.setdefault("allow_symmetric_nat_relay", True)
    server = world.host(**options)
    clients = [world.puppet() for _ in range(count)]
    for client in clients:
        client.send(client.handshake_request(), server)
    world.run_for(0.5)
    for client in clients:
        server.ping(client)
    world.run_for(2)
    return server, clients


def prove(client: Puppet, server: Host) -> None:
    client.join(server)
    server.ping(client)
    client.world.run_for(1)
    peer = server.peer(client)
    assert peer is not None
    assert peer.proved


def routed(pen: Puppet, destination: str, size: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "original_message": {
            "id": pen.world.message_id(),
            "message_type": "Data",
            "timestamp": 1,
            "payload": "x" * size,
        },
        "source_node": pen.id,
        "destination_node": destination,
        "hop_count": 0,
        "max_hops": 8,
        "route_id": pen.world.message_id(),
    } | changes


def payloads(kind: str, pen: Puppet, other: Puppet, server: Host) -> list[Any]:
    """What may stand in a message of each type: one that makes sense, and others."""
    fragment = {"from_peer_id": other.id, "data": [1]}
    known: dict[str, list[Any]] = {
        "HandshakeRequest": [pen.handshake_request()["payload"], {"node_id": pen.id}],
        "HandshakeResponse": [{"success": True, "node_info": {"id": pen.id, "name": "x"}}],
        "Ping": [1],
        "Pong": [],
        "Ack": [],
        "Error": [{"error": "x"}, {"error": "x", "code": "unauthenticated"}, {"error": "gone"}],
        "Retransmit": [{"sequence_number": number} for number in (0, 1, 2**31)],
        "Disconnect": [{"reason": "x"}],
        "Data": [
            1,
            "x" * 300,
            {"cmd": "get_routes"},
            {"echo": 1},
            {"routes": []},
            routed(pen, server.id),
            routed(pen, other.id),
            routed(pen, NOBODY),
            routed(pen, pen.id),
        ],
        "ReceiveWindow": [{"handshake": NOBODY, "number": 1, "room": 1 << 20}],
        "SequenceSkip": [{"handshake": NOBODY, "count": 1, "next": 1}],
        "DiscoveryRequest": [{"network_id": "p2p_default"}, {"handshake": NOBODY}],
        "DiscoveryResponse": [[], [{"id": NOBODY, "addr": "198.51.100.1:1", "last_seen": 1}]],
        "DiscoveryUpdate": [{"joined": [], "left": [NOBODY]}],
        "ListNodesRequest": [{}, {"handshake": NOBODY}, {"holders": True}, {"servers": True}],
        "ListNodesResponse": [{"nodes": []}],
        "P2PConnect": [
            {"peer_id": other.id},
            {"peer_id": NOBODY},
            {"peer_id": pen.id},
            {"peer_id": NOBODY, "peer_addr": "198.51.100.1:1"},
        ],
        "RelayRequest": [
            {"target_peer_id": target, "data": [1, 2, 3]} for target in (other.id, NOBODY, pen.id)
        ],
        "RelayResponse": [{"success": True}],
        "RelayData": [fragment],
        "RelayCheck": [{"nonce": "1"}],
        "StunPartner": [{"port": 1}],
        "StunDelegation": [{"transaction_id": "00"}],
        "StunDelegated": [{"transaction_id": "00"}],
        "NatProbeRequest": [{"token": "1", "addr": "198.51.100.1:1"}],
        "NatProbeReport": [{"token": "1"}],
        "NatProbe": [{"token": "1", "addr": "198.51.100.1:1"}],
        "NatProbeSent": [{"token": "1"}],
        "Presence": [{"counter": 1, "signature": "A" * 86}],
        "Servers": [{"servers": [{"id": NOBODY, "address": "198.51.100.1:1"}]}],
    }
    return [None, *known[kind]]


KINDS = sorted({row.kind for row in ROWS})


def message(kind: str, payload: Any, pen: Puppet, rng: random.Random) -> dict[str, Any]:
    """As short as it can be, or as deployed clients write it."""
    said: dict[str, Any] = {
        "id": pen.world.message_id()[:8],
        "message_type": kind,
        "timestamp": 1,
        "payload": payload,
    }
    if rng.random() < 0.3:
        said = pen.message(kind, payload)
    if rng.random() < 0.5:
        said["requires_ack"] = True
        said["sequence_number"] = rng.getrandbits(32)
    if rng.random() < 0.3:
        said["sender_addr"] = None
    if kind == "Ack":
        said["ack_for"] = rng.choice([None, 1, "1", rng.getrandbits(32)])
    return said


def assert_within(account: Account, extra_bytes: float = 0.0) -> None:
    assert account.went.size <= 3 * account.came.size + extra_bytes, account
    if not extra_bytes:
        assert account.datagrams_over <= 0, account


# Before a proof.


@pytest.mark.parametrize("kind", [*KINDS, "Teleport"])
@pytest.mark.parametrize("has_session", [False, True])
def test_every_type_in_the_name_of_an_address_that_proved_nothing(
    kind: str, has_session: bool
) -> None:
    world, rng = World(), random.Random(kind)
    server, clients = with_company(world, 20)
    pen = Attacker(world).in_the_name_of(VICTIM)
    ledger = Ledger(server)
    if has_session:
        pen.send(pen.handshake_request(), server)
    for _ in range(60):
        what = [None] if kind == "Teleport" else payloads(kind, pen, clients[0], server)
        data = json.dumps(message(kind, rng.choice(what), pen, rng), separators=(",", ":"))
        pen.send(data, server)
        world.run_for(rng.choice([0.0, 0.05, 0.3]))
        assert_within(ledger.of(VICTIM))
    world.run_for(90)
    assert_within(ledger.of(VICTIM))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    kinds=st.lists(st.sampled_from([*KINDS, "frame", "frame", "STUN", "junk"]), max_size=40),
    sessions=st.integers(0, 2),
)
def test_anything_in_any_order(seed: int, kinds: list[str], sessions: int) -> None:
    rng, world = random.Random(seed), World(seed)
    server, clients = with_company(world, 4)
    ledger = Ledger(server)
    pen = Attacker(world).in_the_name_of(VICTIM)
    for number in range(sessions):
        request = pen.handshake_request(
            capabilities=rng.choice([[], ["routing"], list(OWN_CAPABILITIES)]),
            id=pen.id if number else world.node_id(),
        )
        if rng.random() < 0.5:
            del request["sender_addr"]
        pen.send(request, server)
        world.run_for(0.3)
    for kind in kinds:
        if kind == "frame":
            data = bytes([rng.randrange(0xC0, 0x100)]) + rng.randbytes(rng.choice([1, 9, 20, 60]))
        elif kind == "STUN":
            data = STUN_REQUEST
        elif kind == "junk":
            data = rng.randbytes(rng.randrange(60))
        else:
            what = rng.choice(payloads(kind, pen, rng.choice(clients), server))
            data = json.dumps(message(kind, what, pen, rng), separators=(",", ":")).encode()
        pen.send(data, server)
        world.run_for(rng.choice([0.0, 0.05, 1.0]))
        assert_within(ledger.of(VICTIM))
    world.run_for(90)
    assert_within(ledger.of(VICTIM))


def test_a_claim_to_its_id_asks_an_owner_within_its_own_bytes() -> None:
    """Four Pings for a forged handshake were 5.5 times its bytes."""
    world = World()
    server, _ = with_company(world, 5)
    ledger, attacker = Ledger(server), Attacker(world)
    for round_ in range(5):
        ids = [world.node_id() for _ in range(3)]
        for number, node_id in enumerate(ids):
            pen = attacker.in_the_name_of((VICTIM[0], 100 + number), node_id)
            pen.send(pen.handshake_request(), server)
        world.run_for(0.2)
        for number, node_id in enumerate(ids):
            other = attacker.in_the_name_of(("198.51.100.9", 1000 + 10 * round_ + number), node_id)
            other.send(other.handshake_request(), server)
        world.run_for(12)
        assert_within(ledger.of(VICTIM))
        assert_within(ledger.of("198.51.100.9"))


def test_a_goodbye_is_paid_for() -> None:
    world = World()
    server, _ = with_company(world, 8)
    ledger = Ledger(server)
    pen = Attacker(world).in_the_name_of(VICTIM)
    pen.send(pen.handshake_request(), server)
    world.run_for(20)
    server.endpoint.close("over", world.now)
    world.run_for(1)
    assert_within(ledger.of(VICTIM))


# Whoever causes it.


def test_what_others_send_it_is_charged_to_the_address_alone() -> None:
    """A proved attacker has messages routed, relayed, introduced and listed to forged addresses."""
    world = World()
    server, _ = with_company(world, 5)
    attacker = world.puppet()
    attacker.join(server, name="x" * 100, capabilities=["routing"])
    server.ping(attacker)
    world.run_for(1)
    ledger, pens = Ledger(server), []
    for number in range(8):
        pen = Attacker(world).in_the_name_of((f"203.0.113.{number}", 53))
        pen.send(pen.handshake_request(capabilities=["routing"]), server)
        pens.append(pen)
    world.run_for(0.5)
    for _ in range(40):
        attacker.say("Data", routed(attacker, NOBODY, 700), server)
        for pen in pens:
            attacker.say("Data", routed(attacker, pen.id, 700), server)
            attacker.say("P2PConnect", {"peer_id": pen.id, "nat_type": "n" * 200}, server)
            attacker.say("RelayRequest", {"target_peer_id": pen.id, "data": [255] * 300}, server)
        newcomer = world.puppet()
        newcomer.send(newcomer.handshake_request(), server)
        world.run_for(0.5)
    world.run_for(60)
    for pen in pens:
        assert_within(ledger.of(pen))


def test_a_flood_goes_to_no_address_that_proved_nothing() -> None:
    world = World()
    server, _ = with_company(world, 1)
    attacker = world.puppet()
    prove(attacker, server)
    ledger = Ledger(server)
    pens = []
    for number in range(8):
        pen = Attacker(world).in_the_name_of((f"203.0.113.{number}", 53))
        request = pen.handshake_request(capabilities=["routing", "retransmit", "fragments"])
        del request["sender_addr"]
        pen.send(request, server)
        pens.append(pen)
    world.run_for(1)
    for _ in range(100):
        attacker.say("Data", routed(attacker, NOBODY, 700), server)
        for pen in pens:
            pen.send(pen.spec_message("Data", routed(pen, NOBODY, 10)), server)
        world.run_for(0.1)
    for pen in pens:
        assert ledger.of(pen).went.kinds["Data"] == 0
        assert_within(ledger.of(pen))


# After a proof, for what anybody may have asked.


def deployed_and_pen(world: World, server: Host) -> tuple[Puppet, Puppet]:
    victim = world.puppet(VICTIM)
    prove(victim, server)
    return victim, Attacker(world).in_the_name_of(VICTIM, victim.id)


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_in_the_name_of_a_proved_deployed_client(kind: str) -> None:
    """Ten a second for a minute; it was 59 to 91 times the bytes."""
    world, rng = World(), random.Random(kind)
    server, clients = with_company(world, 95)
    victim, pen = deployed_and_pen(world, server)
    ledger = Ledger(server)
    budget = server.endpoint.config.security.unvouched_bytes_per_minute
    for number in range(600):
        what = payloads(kind, pen, clients[0], server)
        data = json.dumps(message(kind, what[number % len(what)], pen, rng), separators=(",", ":"))
        pen.send(data, server)
        world.run_for(0.1)
    assert_within(ledger.of(VICTIM), budget)
    assert server.is_connected_to(victim) or kind == "Disconnect"


def test_all_types_together_have_one_budget() -> None:
    world, rng = World(), random.Random(1)
    budget = 50_000
    server, clients = with_company(world, 95, unvouched_bytes_per_minute=budget)
    _, pen = deployed_and_pen(world, server)
    ledger = Ledger(server)
    for _ in range(600):
        kind = rng.choice(["ListNodesRequest", "DiscoveryRequest", "Data", "Retransmit", *KINDS])
        what = {"cmd": "get_routes"} if kind == "Data" else None
        what = what or rng.choice(payloads(kind, pen, clients[0], server))
        pen.send(json.dumps(message(kind, what, pen, rng), separators=(",", ":")), server)
        world.run_for(0.1)
    assert_within(ledger.of(VICTIM), budget)
    assert server.endpoint.counters.drops["unvouched"] > 0


@pytest.mark.parametrize("kind", ["ListNodesRequest", "DiscoveryRequest", "Data"])
def test_lists_in_the_name_of_a_node_of_our_kind(kind: str) -> None:
    """It is there, proves itself by whatever it is asked, and acknowledges what it never asked."""
    world = World()
    budget = 50_000
    server, _ = with_company(world, 95, unvouched_bytes_per_minute=budget)
    node = world.host(VICTIM)
    node.outcome(node.connect(server))
    world.run_for(2)
    pen = Attacker(world).in_the_name_of(VICTIM, node.id)
    ledger = Ledger(server)
    payload = {"cmd": "get_routes"} if kind == "Data" else None
    for _ in range(300):
        pen.send(pen.spec_message(kind, payload, sequence_number=None), server)
        world.run_for(0.2)
    assert_within(ledger.of(VICTIM), budget)


def test_a_node_of_our_kind_vouches_for_what_it_asks() -> None:
    """It may ask for as many lists as it likes."""
    world = World()
    server, _ = with_company(world, 95, unvouched_bytes_per_minute=10_000)
    node = world.host()
    node.outcome(node.connect(server))
    world.run_for(2)
    for _ in range(10):
        peer = node.peer(server)
        assert peer is not None
        token = node.endpoint.list_nodes(peer, world.now, 10.0)
        result = node.outcome(token)
        assert result.complete
        assert len(result.nodes) == 96
        node.endpoint.discover(peer, world.now)
        world.run_for(1)
    assert server.endpoint.counters.drops["unvouched"] == 0


@pytest.mark.parametrize(
    ("kind", "payload", "answer", "entries"),
    [
        ("ListNodesRequest", None, "ListNodesResponse", "nodes"),
        ("DiscoveryRequest", None, "DiscoveryResponse", None),
        ("Data", {"cmd": "get_routes"}, "Data", "routes"),
    ],
)
def test_a_deployed_client_notices_nothing(
    kind: str, payload: Any, answer: str, entries: str | None
) -> None:
    """Four whole lists of a hundred nodes at once, and as many within the minute."""
    world = World()
    server, _ = with_company(world, 99)
    client = world.puppet()
    prove(client, server)
    for number in range(6):
        client.take()
        client.say(kind, payload, server)
        world.run_for(2 if number < 3 else 20)
        pages = [m["payload"] for m in client.take() if m["message_type"] == answer]
        listed = [entry for page in pages for entry in (page[entries] if entries else page)]
        assert len(listed) >= 99
    assert server.endpoint.counters.drops["unvouched"] == 0


def test_a_long_list_slows_down_and_ends() -> None:
    world = World()
    server, _ = with_company(world, 95, unvouched_bytes_per_minute=20_000)
    client = world.puppet()
    prove(client, server)
    client.say("ListNodesRequest", None, server)
    world.run_for(200)
    pages = [m["payload"] for m in client.take() if m["message_type"] == "ListNodesResponse"]
    assert sum(len(page["nodes"]) for page in pages) == 96
    assert not pages[-1]["more"]


@pytest.mark.parametrize("lost_track", [False, True])
def test_asking_again_in_the_name_of_a_node_of_our_kind(lost_track: bool) -> None:
    """For messages that are under way, whose numbers somebody has guessed."""
    world = World()
    budget = 20_000
    server, _ = with_company(world, 2, unvouched_bytes_per_minute=budget)
    node = world.host(VICTIM)
    node.outcome(node.connect(server))
    world.run_for(2)
    peer = server.peer(node)
    assert peer is not None
    world.network.detach(node.address)  # nothing of what is sent is acknowledged
    for _ in range(5):
        server.send(node, "x" * 900)
    world.run_for(0.01)
    first = peer.channel.sender.numbering.next - 5
    pen = Attacker(world).in_the_name_of(VICTIM, node.id)
    ledger = Ledger(server)
    for number in range(200):
        payload: dict[str, Any] = {"sequence_number": (first + number % 5) % 2**32}
        if lost_track:
            payload["lost_track"] = True
        short = {"id": world.message_id()[:8], "message_type": "Retransmit", "timestamp": 1}
        pen.send(json.dumps(short | {"payload": payload}), server)
        world.run_for(0.05)
    own = 5 * 8 * 1200  # what this node sends again by itself
    assert ledger.of(VICTIM).went.size <= 3 * ledger.of(VICTIM).came.size + budget + own


# One purse for an address, whatever becomes of its sessions.


@pytest.mark.parametrize("is_spec", [True, False])
@pytest.mark.parametrize(("padding", "lists"), [(0, 2), (500, 2), (3000, 6)])
def test_a_newcomers_handshake_counts_once(padding: int, lists: int, is_spec: bool) -> None:
    """It was in the purse of the one before, and in its own: five times the bytes."""
    world = World()
    server, _ = with_company(world, 40)
    ledger, attacker = Ledger(server), Attacker(world)

    def list_nodes(pen: Puppet) -> None:
        said = {"id": world.message_id(), "message_type": "ListNodesRequest", "timestamp": 1}
        pen.send(json.dumps(said if is_spec else said | {"sender_addr": None}), server)
        world.run_for(0.1)

    for _ in range(8):
        pen = attacker.in_the_name_of(VICTIM)
        request = pen.handshake_request(padding=" " * padding)
        if is_spec:
            del request["sender_addr"]
        pen.send(request, server)
        for pause in (0.6, 3.2):
            world.run_for(pause)
            for _ in range(lists):
                list_nodes(pen)
            assert_within(ledger.of(VICTIM))
    world.run_for(60)
    assert_within(ledger.of(VICTIM))


@pytest.mark.parametrize("seed", [6, 15, 23, 24, 34, 37, 60, 77])
def test_sessions_that_are_claimed_away_leave_their_debts(seed: int) -> None:
    """Ids that move between addresses of several hosts, newcomers beside newcomers."""
    world, rng = World(seed), random.Random(seed)
    server, _ = with_company(world, 3, max_connections=rng.choice([6, 100]))
    ledger, attacker = Ledger(server), Attacker(world)
    hosts = [f"203.0.113.{number}" for number in range(1, 4)]
    pens = [attacker.in_the_name_of((host, port)) for host in hosts for port in (1000, 1001)]
    for _ in range(60):
        pen = rng.choice(pens)
        if rng.random() < 0.6:
            request = pen.handshake_request(
                capabilities=rng.choice([[], ["retransmit"], list(OWN_CAPABILITIES)]),
                id=rng.choice(pens).id,
                padding=" " * rng.choice([0, 300]),
            )
            if rng.random() < 0.7:
                del request["sender_addr"]
            pen.send(request, server)
        else:
            kind = rng.choice(["ListNodesRequest", "DiscoveryRequest", "Retransmit"])
            said = message(kind, rng.choice(payloads(kind, pen, pens[0], server)), pen, rng)
            pen.send(json.dumps(said, separators=(",", ":")), server)
        world.run_for(rng.choice([0, 0.01, 0.1, 0.6, 1.0, 3.5]))
        for host in hosts:
            assert_within(ledger.of(host))
    world.run_for(30)
    for host in hosts:
        assert_within(ledger.of(host))


# A session that this node asked for.


def false_answer(node_id: str, capabilities: list[str]) -> dict[str, Any]:
    """It names no request, for whoever writes it has seen none."""
    info = {"id": node_id, "name": "x", "version": "0.4.0", "listen_addr": "0.0.0.0:1"}
    info |= {"capabilities": capabilities, "metadata": {}, "network_id": "p2p_default"}  # type: ignore[dict-item]
    payload = {"success": True, "node_info": info, "error_message": None}
    return {"id": "h", "message_type": "HandshakeResponse", "timestamp": 1, "payload": payload}


@pytest.mark.parametrize(
    "capabilities", [[], ["routing"], ["retransmit", "fragments"], ["peer_updates"], ["keepalive"]]
)
def test_a_session_with_a_silent_server_answers_from_what_came(capabilities: list[str]) -> None:
    """Lists went there reliably, again and again: 75 to 500 times what was forged."""
    world = World()
    node, _ = with_company(world, 60)
    pen = Attacker(world).in_the_name_of(VICTIM)
    node.connect(VICTIM)
    world.run_for(0.3)
    pen.send(false_answer(pen.id, capabilities), node)
    world.run_for(2)
    peer = node.peer(VICTIM)
    is_believed = peer is not None and peer.is_authenticated
    assert is_believed is (capabilities in ([], ["routing"]))
    ledger = Ledger(node)
    for kind in ("ListNodesRequest", "DiscoveryRequest", "Retransmit", "Data"):
        for payload in payloads(kind, pen, pen, node):
            said: dict[str, Any] = {"id": world.message_id(), "message_type": kind, "timestamp": 1}
            said |= {"payload": payload, "requires_ack": True}
            pen.send(json.dumps(said, separators=(",", ":")), node)
            world.run_for(1)
    world.run_for(20)
    went = ledger.of(VICTIM).went
    own = went.kinds["HandshakeRequest"] * 700 + went.kinds["Ping"] * 200
    assert went.size - own <= 3 * ledger.of(VICTIM).came.size


def test_who_numbers_proves_itself_first_whoever_asked() -> None:
    """A client in a forged name is asked for a session by this node, too: it is no server yet."""
    world = World()
    node, _ = with_company(world, 60)
    pen = Attacker(world).in_the_name_of(VICTIM)
    ledger = Ledger(node)
    request = pen.handshake_request(capabilities=["retransmit", "fragments"])
    del request["sender_addr"]
    pen.send(request, node)
    world.run_for(1)
    node.connect(VICTIM)
    for _ in range(5):
        pen.send({"id": world.message_id(), "message_type": "ListNodesRequest"}, node)
        world.run_for(5)
    world.run_for(30)
    assert_within(ledger.of(VICTIM))


def test_who_was_asked_and_did_not_answer_is_sent_what_came() -> None:
    """Somebody answers in its name, and goes on to ask in its name: each answer was free."""
    world = World()
    node, _ = with_company(world, 60)
    pen = Attacker(world).in_the_name_of(VICTIM)
    node.connect(VICTIM)
    world.run_for(0.3)
    pen.send(false_answer(pen.id, []), node)
    world.run_for(2)
    ledger = Ledger(node)
    for _ in range(100):
        info = pen.handshake_request()["payload"]
        for kind, payload in (("HandshakeRequest", info), ("ListNodesRequest", None)):
            said = {"id": world.message_id(), "message_type": kind, "timestamp": 1}
            said |= {"payload": payload, "sender_addr": None}
            pen.send(json.dumps(said, separators=(",", ":")), node)
            world.run_for(0.05)
    world.run_for(5)
    account = ledger.of(VICTIM)
    assert account.went.kinds["HandshakeResponse"] > 50
    own = account.went.kinds["HandshakeRequest"] * 700 + account.went.kinds["Ping"] * 200
    assert account.went.size - own <= 3 * account.came.size


def test_frames_in_the_name_of_a_server_that_proved_nothing_are_not_heard() -> None:
    """Each brought a node, and what goes to that one goes to the server, by a timer also."""
    world = World()
    node = world.host(heartbeat_interval=1.0)
    pen = Attacker(world).in_the_name_of(VICTIM)
    ledger = Ledger(node)
    request = pen.handshake_request(capabilities=["relay_frames", "routing"])
    del request["sender_addr"]
    pen.send(request, node)
    world.run_for(1)
    node.connect(VICTIM)
    peer = node.peer(VICTIM)
    assert peer is not None
    assert peer.is_joined_server
    assert not peer.proved
    for _ in range(20):
        other = Attacker(world).in_the_name_of(VICTIM)
        info = other.handshake_request(capabilities=list(OWN_CAPABILITIES))["payload"]
        hello = other.spec_message("HandshakeRequest", info)
        head = bytes.fromhex(other.id.replace("-", ""))
        data = json.dumps(hello, separators=(",", ":")).encode()
        pen.send(encode_relay(RELAYED, head, data), node)
        world.run_for(0.1)
    world.run_for(20)

    assert node.endpoint.sizes()["relayed_nodes"] == 0
    assert ledger.of(VICTIM).went.kinds[f"0x{RELAY:02x}"] == 0
    assert_within(ledger.of(VICTIM))


# What waited is no answer to the datagram that releases it.


def our_two(world: World) -> tuple[Host, Host]:
    server, node = world.host(), world.host(VICTIM)
    node.outcome(node.connect(server))
    world.run_for(2)
    return server, node


def test_two_proved_nodes_drop_nothing_of_their_own() -> None:
    """Both send in fragments; it was 151 dropped fragments in ten rounds."""
    world = World(latency_s=0.005)
    server, node = our_two(world)
    for _ in range(10):
        tokens = [server.send(node, "y" * 200_000) for _ in range(10)]
        others = [node.send(server, "z" * 200_000) for _ in range(10)]
        for host, calls in ((server, tokens), (node, others)):
            assert all(host.outcome(token).delivered for token in calls)
    for host in (server, node):
        assert host.endpoint.counters.drops["unvouched"] == 0
        assert host.endpoint.counters.retransmissions == 0


def forged_frames(server: Host, rng: random.Random) -> list[bytes]:
    """A fragment of a message that comes next, an Ack in fragments of one that is not under way."""
    peer = server.peer(VICTIM)
    assert peer is not None
    numbers = peer.channel.numbers
    assert numbers is not None
    sequence = (numbers.highest + 1) % 2**32
    size = rng.choice([1, 100, 900])
    return [
        encode_fragment(Fragment(sequence, 3 * size, size, 0, b"x" * size)),
        encode_fragment(Fragment(sequence, 3 * size, size, 1, b"x" * size)),
        encode_fragment_ack(FragmentAck(rng.getrandbits(32), TransferStatus.PROGRESS, 1)),
    ]


@pytest.mark.parametrize("is_busy", [False, True])
def test_a_forged_frame_releases_nothing(is_busy: bool) -> None:
    """At an idle session, and at one where much waits for its turn and its Acks."""

    def sent(forged: bool) -> tuple[int, int]:
        world, rng = World(3), random.Random(3)
        server, node = our_two(world)
        pen = Attacker(world).in_the_name_of(VICTIM, node.id)
        ledger = Ledger(server)
        if is_busy:
            for _ in range(10):
                server.send(node, "y" * 100_000)
            world.network.detach(node.address)  # no Ack opens the window
        came = 0
        for _ in range(100):
            if forged:
                for data in forged_frames(server, rng):
                    came += len(data)
                    pen.send(data, server)
            world.run_for(0.001)
        return ledger.of(VICTIM).went.size, came

    quiet, _ = sent(forged=False)
    went, came = sent(forged=True)
    assert went - quiet <= 3 * came
