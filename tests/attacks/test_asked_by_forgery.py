"""What forged requests make a node ask its servers, tell its peers, and keep for the unproved."""

import gc
import json
import tracemalloc
from typing import Any

import pytest

from p2ptui.core.delivery import MAX_DEFERRED_OF_ALL_BYTES
from p2ptui.core.sessions.admission import CLAIMS_AT_ONCE, CLAIMS_PER_SECOND
from tests.attacks.attacker import Attacker, Ledger
from tests.simulation import Host, Puppet, World


def forged_request(world: World) -> str:
    payload = {"id": world.node_id(), "version": "1"}
    message = {
        "id": world.message_id()[:8],
        "message_type": "HandshakeRequest",
        "timestamp": 1,
        "sender_addr": None,
        "payload": payload,
    }
    return json.dumps(message, separators=(",", ":"))


def joined(world: World) -> tuple[Host, Puppet]:
    node, server = world.host(), world.puppet()
    node.connect(server)
    world.run_for(0.05)
    (request,) = [m for m in server.take() if m["message_type"] == "HandshakeRequest"]
    server.say("Ack", None, node, ack_for=request["id"])
    info = server.handshake_request()["payload"]
    payload = {"node_info": info, "success": True, "error_message": None, "public_addr": None}
    server.say("HandshakeResponse", payload, node, sequence_number=None)
    world.run_for(0.1)
    assert node.is_connected_to(server)
    return node, server


def serve(world: World, node: Host, server: Puppet, seconds: float) -> int:
    """Answer as a deployed server does; how often the list was asked for."""
    end, asked = world.now + seconds, 0
    entry = {"id": node.id, "name": "n", "version": "1", "listen_addr": "x", "capabilities": []}
    while world.now < end:
        world.run_for(0.05)
        for message in server.take():
            if message["message_type"] == "ListNodesRequest":
                asked += 1
                server.say("ListNodesResponse", {"nodes": [entry]}, node)
    return asked


def test_a_server_is_asked_for_its_list_once_in_a_while_however_much_is_forged() -> None:
    world = World()
    node, server = joined(world)
    serve(world, node, server, 10)
    quiet = serve(world, node, server, 40)
    pen = Attacker(world).in_the_name_of(server.address)
    asked = 0
    for _ in range(80):
        pen.send(forged_request(world), node)
        asked += serve(world, node, server, 0.5)
    assert asked - quiet <= 5  # in 40 s
    assert node.is_connected_to(server)


def test_who_goes_on_speaking_does_not_take_a_servers_place_while_it_is_not_asked() -> None:
    world = World()
    node, server = joined(world)
    before = node.peer(server)
    assert before is not None
    serve(world, node, server, 10)
    pen = Attacker(world).in_the_name_of(server.address)
    for _ in range(12):
        pen.send(forged_request(world), node)
        for _ in range(10):
            serve(world, node, server, 0.5)
            pen.say("Data", "x", node)
    peer = node.peer(server)
    assert peer is before
    assert peer.node_id == server.id


@pytest.mark.parametrize("asked_before", [False, True])
@pytest.mark.parametrize("words", [1, 3])
def test_who_comes_at_a_servers_address_does_not_wait_for_ever(
    asked_before: bool, words: int
) -> None:
    """It may have spoken before its server could be asked, and says no more."""
    world = World()
    node, server = joined(world)
    serve(world, node, server, 10)
    if asked_before:
        pen = Attacker(world).in_the_name_of(server.address)
        pen.send(forged_request(world), node)
        serve(world, node, server, 2)
    server.id = world.node_id()
    server.send(server.handshake_request(), node)
    for number in range(words):
        server.say("Data", number, node)
        world.run_for(0.5)
    world.run_for(14)

    peer = node.peer(server)
    assert peer is not None
    assert peer.node_id == server.id


def proved_peers(world: World, server: Host, count: int) -> list[Puppet]:
    clients = [world.puppet() for _ in range(count)]
    for client in clients:
        client.names_pings = True
        client.send(client.handshake_request(), server)
    world.run_for(0.5)
    for client in clients:
        server.ping(client)
    world.run_for(5)
    return clients


def test_forged_newcomers_are_little_news() -> None:
    world = World()
    server = world.host()
    clients = proved_peers(world, server, 30)
    assert all(server.peer(client).proved for client in clients)  # type: ignore[union-attr]
    ledger, forged, size = Ledger(server), Attacker(world), 0
    for number in range(100):
        pen = forged.in_the_name_of((f"20.{number}.7.9", 4000 + number))
        size += pen.send(pen.handshake_request(), server)
        world.run_for(0.02)
    world.run_for(3)
    told = sum(ledger.of(client).went.size for client in clients)
    assert told <= 3 * size
    listed = {
        entry["id"]
        for message in clients[0].take()
        if message["message_type"] == "DiscoveryResponse"
        for entry in message["payload"]
    }
    assert len(listed - {client.id for client in clients}) <= CLAIMS_AT_ONCE + 5 * CLAIMS_PER_SECOND


def test_who_has_proved_itself_is_news_and_everybody_is_listed() -> None:
    world = World()
    server = world.host()
    (old,) = proved_peers(world, server, 1)
    for _ in range(int(CLAIMS_AT_ONCE)):
        claim = world.puppet()
        claim.send(claim.handshake_request(), server)
    late = world.puppet()
    late.send(late.handshake_request(), server)
    world.run_for(1)
    old.take()
    answer = old.ask("ListNodesRequest", None, server)
    assert late.id in json.dumps(answer)
    world.run_for(60)  # its timing has shown that it is there
    assert late.id in json.dumps(
        [m for m in old.take() if m["message_type"] == "DiscoveryResponse"]
    )


def routed(writer: Puppet, target: Puppet, number: int) -> dict[str, Any]:
    inner = {"id": f"m{number}", "message_type": "Data", "timestamp": 1, "payload": "x"}
    return {
        "original_message": inner,
        "source_node": writer.id,
        "destination_node": target.id,
        "hop_count": 0,
        "max_hops": 8,
        "route_id": f"r{number}",
    }


def test_what_waits_for_unproved_peers_is_bounded_for_all_of_them_together() -> None:
    world = World()
    server = world.host(max_connections=1000)
    (writer,) = proved_peers(world, server, 1)
    silent = [world.puppet() for _ in range(60)]
    for client in silent:
        client.answers_pings = False
        client.send(client.handshake_request(), server)
    world.run_for(1)
    gc.collect()
    tracemalloc.start()
    try:
        number = 0
        for _ in range(100):
            for client in silent:
                number += 1
                writer.say("Data", routed(writer, client, number), server)
            world.run_for(0.02)
            for client in (writer, *silent):
                client.inbox.clear()
        held = [server.peer(client) for client in silent]
        waiting = sum(len(peer.deferred) for peer in held if peer)
        assert waiting == server.endpoint.sizes()["deferred"]
        assert 0 < server.endpoint.sizes()["deferred"] <= MAX_DEFERRED_OF_ALL_BYTES // 1200
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 5_000_000
    finally:
        tracemalloc.stop()
    world.run_for(70)
    assert server.endpoint.sizes()["deferred"] == 0


def test_all_that_waits_for_five_hundred_unproved_peers_is_little() -> None:
    world = World()
    server = world.host(max_connections=1000)
    (writer,) = proved_peers(world, server, 1)
    silent = [world.puppet() for _ in range(500)]
    for client in silent:
        client.answers_pings = False
        client.send(client.handshake_request(), server)
    world.run_for(1)
    everybody = (writer, *silent)
    for client in everybody:
        client.inbox.clear()
        client.sources.clear()
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(20):
            for client in silent:
                writer.say("Data", routed(writer, client, 500 * number), server)
                client.say("Data", number, server, requires_ack=True)
            world.run_for(0.05)
            for client in everybody:
                client.inbox.clear()
                client.sources.clear()
        proved_peers(world, server, 20)  # news for all
        peers = [peer for client in silent if (peer := server.peer(client)) is not None]
        assert len(peers) == 500
        parts = server.endpoint.sizes()["deferred"] * 1760
        parts += sum(len(data) + 41 for peer in peers for data in peer.acks_owed)
        parts += sum(100 * len(peer.untold) for peer in peers)
        assert parts < 5_000_000
        for client in everybody:
            client.inbox.clear()
            client.sources.clear()
        gc.collect()
        # With all else that is known of them, the last messages of each too.
        assert tracemalloc.get_traced_memory()[0] < 8_000_000
    finally:
        tracemalloc.stop()
