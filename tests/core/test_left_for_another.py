"""What waits for a node is for that node, and not for another one that comes to its address."""

from typing import Any

import pytest

from p2ptui.core.events import DataReceived
from p2ptui.core.sessions.newcomer import LATE_LIFETIME_S
from tests.simulation import Host, Puppet, World


@pytest.fixture
def world() -> World:
    return World()


def joined(world: World, server: Host, *, answers: bool) -> Puppet:
    client = world.puppet()
    client.answers_pings = answers
    client.join(server)
    return client


def successor(world: World, former: Puppet) -> Puppet:
    """Another client, which is given the address of one that has ended without a word."""
    client = Puppet(world, former.address, world.node_id())
    client.answers_pings = former.answers_pings
    world.remove(former)
    world.hosts[world.network.attach(client.address)] = client
    return client


def route(
    world: World, sender: Puppet, receiver_id: str, number: int, server: Host, text: str = ""
) -> None:
    routed = {
        "original_message": sender.message("Data", {"number": number, "text": text}),
        "source_node": sender.id,
        "destination_node": receiver_id,
        "hop_count": 0,
        "max_hops": 8,
        "route_id": world.message_id(),
    }
    sender.say("Data", routed, server)


def numbers(messages: list[dict[str, Any]]) -> list[int]:
    return [
        message["payload"]["original_message"]["payload"]["number"]
        for message in messages
        if message["message_type"] == "Data"
    ]


def errors(messages: list[dict[str, Any]]) -> list[str]:
    return [m["payload"]["error"] for m in messages if m["message_type"] == "Error"]


def beat(world: World, server: Host, seconds: float, *clients: Puppet) -> None:
    for _ in range(round(seconds / 0.25)):
        for client in clients:
            client.say("Ping", None, server)
        world.run_for(0.25)


def test_what_waits_for_a_silent_client_is_not_given_to_the_next_one_there(world: World) -> None:
    server = world.host()
    writer, former = joined(world, server, answers=True), joined(world, server, answers=False)
    beat(world, server, 1, writer)
    for number in range(12):
        route(world, writer, former.id, number, server)
        world.run_for(0.05)
    had = numbers(former.take())
    peer = server.peer(former)
    assert peer is not None
    waiting = len(peer.deferred)
    assert waiting > 0
    writer.take()
    client = successor(world, former)
    client.send(client.handshake_request(), server)
    beat(world, server, 1, writer, client)
    route(world, writer, former.id, 99, server)  # and what comes while it is not known who is there
    beat(world, server, 9, writer, client)

    assert numbers(client.take()) == []
    told = [text for text in errors(writer.take()) if former.id in text]
    assert len(told) == waiting + 1 == 13 - len(had)
    assert all("waited, and was not sent: " in text for text in told)
    route(world, writer, client.id, 7, server)
    beat(world, server, 2, writer, client)
    assert numbers(client.take()) == [7]


def test_nor_what_comes_for_a_client_that_was_proved(world: World) -> None:
    server = world.host()
    writer, former = joined(world, server, answers=True), joined(world, server, answers=True)
    peer = server.peer(former)
    assert peer is not None
    world.run_until(lambda: peer.proved, within=120)
    client = successor(world, former)
    client.send(client.handshake_request(), server)
    world.run_for(0.1)
    assert server.endpoint._delivery.is_contested(peer)
    writer.take()
    route(world, writer, former.id, 1, server)
    beat(world, server, 10, client)

    assert numbers(client.take()) == []
    (text,) = errors(writer.take())
    assert f"a message for node {former.id} waited, and was not sent: " in text


def test_a_forged_handshake_holds_nothing_up_for_who_is_there() -> None:
    world = World(secured=False)
    server, node = world.host(), world.host()
    node.outcome(node.connect(server))
    writer = joined(world, server, answers=True)
    forger = Puppet(world, node.address, world.node_id())
    for number in range(20):
        forger.send(forger.handshake_request(), server)
        world.run_for(0.01)
        route(world, writer, node.id, number, server)
        world.run_for(0.05)
    world.run_for(1)

    assert len(node.told(DataReceived)) == 20
    assert errors(writer.take()) == []


def test_a_large_message_holds_up_neither_short_ones_nor_an_introduction(world: World) -> None:
    server = world.host()
    writer, client = joined(world, server, answers=True), joined(world, server, answers=False)
    beat(world, server, 3, writer)
    route(world, writer, client.id, 0, server, text="x" * 8000)
    for number in range(1, 16):
        route(world, writer, client.id, number, server)
    writer.say("P2PConnect", {"peer_id": client.id}, server)
    beat(world, server, 3, writer, client)

    messages = client.take()
    assert [m["payload"]["peer_id"] for m in messages if m["message_type"] == "P2PConnect"]
    assert numbers(messages) == list(range(1, 9))  # as many as its bytes have paid for
    beat(world, server, 12, writer, client)
    assert numbers(client.take()) == [*range(9, 16), 0]


def test_what_a_client_would_not_pay_for_in_time_is_refused_at_once(world: World) -> None:
    server = world.host()
    writer, client = joined(world, server, answers=True), joined(world, server, answers=False)
    for _ in range(4):
        beat(world, server, 5, writer)
        client.say("Ping", None, server)
    writer.take()
    route(world, writer, client.id, 0, server, text="x" * 20_000)
    world.run_for(0.5)

    (text,) = errors(writer.take())
    assert "try again later" in text
    assert "too large for a node that has not shown that it is there" in text


def test_nothing_is_too_large_for_a_client_that_was_proved(world: World) -> None:
    server = world.host()
    writer, client = joined(world, server, answers=True), joined(world, server, answers=True)
    peer = server.peer(client)
    assert peer is not None
    world.run_until(lambda: peer.proved, within=120)
    for _ in range(12):
        beat(world, server, 5, writer)
    writer.take()
    forger = Puppet(world, client.address, world.node_id())
    forger.send(forger.handshake_request(), server)
    world.run_for(0.01)
    route(world, writer, client.id, 0, server, text="x" * 3000)
    world.run_for(0.5)

    assert len(peer.deferred) == 1
    assert errors(writer.take()) == []


def test_what_has_waited_leaves_when_nobody_else_claims_the_address_any_more(world: World) -> None:
    server = world.host()
    writer, client = joined(world, server, answers=True), joined(world, server, answers=True)
    peer = server.peer(client)
    assert peer is not None
    world.run_until(lambda: peer.proved, within=120)
    forger = Puppet(world, client.address, world.node_id())
    forger.send(forger.handshake_request(), server)
    world.run_for(0.01)
    for number in range(3):
        route(world, writer, client.id, number, server)
    world.run_for(1)
    client.take()
    assert len(peer.deferred) == 3
    world.run_until(lambda: peer.facts.contested_at is None, within=LATE_LIFETIME_S)
    world.run_for(0.1)  # the client says nothing meanwhile

    assert numbers(client.take()) == [0, 1, 2]
    assert peer.deferred == ()
