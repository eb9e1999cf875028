"""What proves an address: something unguessable that went there, or answers at secret moments."""

import random
import re
from pathlib import Path
from typing import Any

import pytest

import p2ptui
from tests.attacks.attacker import Attacker, Ledger
from tests.simulation import Host, Puppet, World

VICTIM = ("203.0.113.7", 53)


def with_company(world: World, count: int = 40, **options: Any) -> Host:
    """A server with so many deployed clients."""
    server = world.host(**options)
    for _ in range(count):
        client = world.puppet()
        client.send(client.handshake_request(), server)
    world.run_for(2)
    return server


def join_as(pen: Puppet, server: Host, *, reference: bool = True, **changes: Any) -> None:
    request = pen.handshake_request(**changes)
    if not reference:
        del request["sender_addr"]
    pen.send(request, server)
    pen.world.run_for(0.1)


def is_proved(server: Host) -> bool:
    peer = server.peer(VICTIM)
    return peer is not None and peer.proved


# Whoever sends blindly.


@pytest.mark.parametrize("kind", ["ListNodesRequest", "DiscoveryRequest", "Data"])
def test_lists_and_a_blind_pong(kind: str) -> None:
    """It was 84 to 95 times the bytes."""
    world = World()
    server = with_company(world)
    ledger = Ledger(server)
    pen = Attacker(world).in_the_name_of(VICTIM)
    payload = {"cmd": "get_routes"} if kind == "Data" else None
    join_as(pen, server)
    for _ in range(3):
        pen.say(kind, payload, server)
    world.run_for(0.5)
    pen.say("Pong", None, server)
    for _ in range(80):
        pen.say(kind, payload, server)
        world.run_for(0.1)
    world.run_for(60)

    account = ledger.of(VICTIM)
    assert account.factor <= 3.0
    assert account.datagrams_over <= 0


PONGS: dict[str, Any] = {
    "every 50 ms": lambda _: 0.05,
    "five a second": lambda _: 0.2,
    "every second": lambda _: 1.0,
    "as often as heartbeats come": lambda _: 4.5,
    "whenever": lambda rng: rng.uniform(0.01, 8.0),
    "in volleys": lambda rng: rng.choice([0.01, 0.01, 0.01, 0.01, 6.0]),
}


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("pace", PONGS)
def test_blind_pongs_at_any_pace_prove_nothing(pace: str, reference: bool) -> None:
    for seed in range(3):
        world, rng = World(seed), random.Random(seed)
        server = world.host()
        ledger = Ledger(server)
        pen = Attacker(world).in_the_name_of(VICTIM)
        join_as(pen, server, reference=reference)
        end = world.now + 120
        while world.now < end:
            pen.say("Pong", None, server)
            world.run_for(PONGS[pace](rng))
        assert server.is_connected_to(VICTIM), "they keep a session alive"
        assert not is_proved(server)
        assert ledger.of(VICTIM).factor <= 3.0


@pytest.mark.parametrize("payload", [None, {}, {"nonce": ""}, {"nonce": "0" * 16}, "x", [1], 1])
def test_a_pong_that_names_no_ping_proves_nothing(payload: Any) -> None:
    world = World()
    server = world.host()
    pen = Attacker(world).in_the_name_of(VICTIM)
    for changes in ({}, {"capabilities": ["retransmit", "fragments"]}):
        for reference in (True, False):
            join_as(pen, server, reference=reference, **changes)
            for _ in range(50):
                pen.say("Pong", payload, server)
                world.run_for(0.2)
            assert not is_proved(server)


def test_pings_that_the_forger_causes_help_him_nothing() -> None:
    """He knows when they leave: by a claim to the id, a goodbye, an error, or a list that waits."""
    world = World()
    server = with_company(world, 10)
    attacker = Attacker(world)
    pen = attacker.in_the_name_of(VICTIM)
    join_as(pen, server)
    for number in range(60):
        what = number % 4
        if what == 0:
            other = attacker.in_the_name_of(("198.51.100.9", 1000 + number), pen.id)
            other.send(other.handshake_request(), server)
        elif what == 1:
            pen.say("Disconnect", {"reason": "x"}, server)
        elif what == 2:
            pen.say("Error", {"error": "x", "code": "unauthenticated"}, server)
        else:
            pen.say("ListNodesRequest", None, server)
        for _ in range(8):
            world.run_for(0.25)
            pen.say("Pong", None, server)
        assert not is_proved(server)


ACKS = [None, 0, 1, 2, -1, "", "0", "1", "null", 2**31, 2**32 - 1]


@pytest.mark.parametrize("reference", [True, False])
def test_guessed_acks_prove_nothing(reference: bool) -> None:
    world = World()
    server = with_company(world, 3)
    pen = Attacker(world).in_the_name_of(VICTIM)
    join_as(pen, server, reference=reference, capabilities=["retransmit", "fragments", "ack"])
    own = [pen.say("Data", number, server, requires_ack=True)["id"] for number in range(3)]
    for ack_for in (*ACKS, *own, pen.id, server.id):
        pen.say("Ack", None, server, ack_for=ack_for)
        pen.send(pen.spec_message("Ack", None, ack_for=ack_for, sequence_number=None), server)
        for kind in ("ReceiveWindow", "SequenceSkip", "RelayCheck", "HandshakeResponse"):
            payload = {"handshake": own[0], "number": 1, "room": 1, "count": 1, "next": 1}
            pen.say(kind, payload, server, ack_for=ack_for)
        world.run_for(0.2)
    for frame in range(0xC0, 0x100):
        for size in (1, 8, 16, 40):
            pen.send(bytes([frame]) + bytes(size), server)
    world.run_for(1)

    assert not is_proved(server)


def test_what_was_sent_to_another_address_proves_nothing_here() -> None:
    """One attempt by two addresses, of which one is forged: the answers differ in all that counts.

    The forger receives what goes to his own.
    """
    world = World()
    server = with_company(world, 3)
    own = world.puppet()
    own.answers_pings = False
    pen = Attacker(world).in_the_name_of(VICTIM, own.id)
    request = own.handshake_request(capabilities=["retransmit", "fragments", "ack"])
    del request["sender_addr"]
    own.send(request, server)
    world.run_for(0.05)
    pen.send(request, server)
    world.run_for(0.05)
    (response,) = [m for m in own.take() if m["message_type"] == "HandshakeResponse"]
    for key in (response["sequence_number"], response["id"]):
        ack = pen.spec_message("Ack", None, ack_for=key, sequence_number=None)
        pen.send(ack, server)
        world.run_for(0.1)

    assert not is_proved(server)


def test_a_proof_is_of_one_address_only() -> None:
    world = World()
    server = world.host()
    client = world.puppet()
    client.names_pings = True
    client.join(server)
    server.ping(client)
    world.run_for(1)
    assert server.peer(client).proved  # type: ignore[union-attr]
    client.answers_pings = False
    pen = Attacker(world).in_the_name_of(VICTIM, client.id)
    pen.send(pen.handshake_request(), server)
    world.run_for(5)

    assert server.is_connected_to(VICTIM), "the owner was silent"
    assert not is_proved(server)


def test_another_node_at_the_address_has_to_prove_it_anew() -> None:
    world = World()
    server = world.host()
    client = world.puppet(VICTIM)
    client.join(server)
    server.ping(client)
    world.run_for(1)
    assert is_proved(server)
    world.remove(client)
    pen = Attacker(world).in_the_name_of(VICTIM)
    for _ in range(100):
        pen.send(pen.handshake_request(), server)
        pen.say("Pong", None, server)
        world.run_for(0.5)
    peer = server.peer(VICTIM)
    assert peer is None or peer.node_id != pen.id or not peer.proved


def test_who_calls_something_a_proof() -> None:
    """Each has seen something come back that only went to that address."""
    core = Path(p2ptui.__file__).parent / "core"
    calls = {
        path.relative_to(core).as_posix(): len(found)
        for path in core.rglob("*.py")
        if (found := re.findall(r"_delivery\.prove\(", path.read_text("utf-8")))
    }
    assert calls == {
        "messages/inbox.py": 3,  # Acks of a message, of a skip, of the last fragment
        "sessions/handshake.py": 2,  # an answer that names the request, an Ack of the answer
        "sessions/liveness.py": 1,  # a Pong that names its Ping, or the last one of a timing proof
        "sessions/newcomers.py": 1,  # an Ack of the answer to one who is held, or has no seat
        "sessions/other_ways.py": 1,  # an Ack of the answer that went that way
    }


# Deployed clients, which answer with `null`.


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize(
    ("link", "most_s"),
    [
        ({}, 90),
        ({"latency_s": 0.2}, 90),
        ({"latency_s": 0.05, "jitter_s": 0.05}, 90),
        ({"latency_s": 0.6, "jitter_s": 0.1}, 90),
        ({"latency_s": 0.05, "loss": 0.02}, 240),
    ],
)
def test_a_client_proves_its_address_by_timing(
    link: dict[str, Any], most_s: float, reference: bool
) -> None:
    for seed in range(5):
        world = World(seed, **link)
        server, client = world.host(), world.puppet()
        while not server.is_connected_to(client):
            join_as(client, server, reference=reference)
            world.run_for(2)
        peer = server.peer(client)
        assert peer is not None
        world.run_until(lambda peer=peer: peer.proved, most_s)  # type: ignore[misc]
        assert client.bytes_received <= 3 * client.bytes_sent


def test_it_is_listed_everything_once_it_has() -> None:
    """What it asked for before goes on by itself."""
    world = World()
    server = with_company(world, 60)
    client = world.puppet()
    client.join(server)
    client.say("DiscoveryRequest", None, server)
    world.run_for(80)
    listed = {
        entry["id"]
        for message in client.take()
        if message["message_type"] == "DiscoveryResponse"
        for entry in message["payload"]
    }
    assert len(listed) >= 60


def test_a_silent_client_is_asked_no_more_than_it_pays_for() -> None:
    world = World()
    server = with_company(world, 5)
    ledger = Ledger(server)
    client = world.puppet()
    client.answers_pings = False
    client.join(server)
    for _ in range(40):
        assert "Pong" in [m["message_type"] for m in client.ask("Ping", None, server)]
        world.run_for(20)
    account = ledger.of(client)
    assert not server.peer(client).proved  # type: ignore[union-attr]
    assert account.factor <= 3.0
    assert account.datagrams_over <= 0
