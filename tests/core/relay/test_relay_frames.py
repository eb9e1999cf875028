"""Relayed datagrams between our own nodes: what the two sides of a relay live through."""

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.core.events import ConnectResult, ErrorReceived, PeerStatus, PeerStatusChanged
from p2ptui.core.relay.frames import MAX_UNSETTLED, REFUSED_CODE
from p2ptui.wire.frames import FRAME_START, RELAY, RELAYED, decode_relay, encode_relay
from p2ptui.wire.message import Capability
from tests.core.meeting import Meeting
from tests.core.relaying import account, ask, node, open_relays, puppet, relaying, say, seen
from tests.simulation import Host, Puppet, World

NOBODY = "99999999-0000-4000-8000-000000000000"
JUNK = b'{"id":"1","message_type":"Ping","timestamp":1,"payload":null}'


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Host:
    return relaying(world)


def met(world: World, server: Host) -> tuple[Host, Host]:
    """Two nodes that talk by way of the server."""
    a, b = node(world, server), node(world, server)
    assert isinstance(a.outcome(ask(a, server, b)), ConnectResult)
    world.run_for(1)
    return a, b


def capable(world: World, server: Host, *capabilities: str) -> Puppet:
    """A client played by the test that writes the specification's form."""
    client = world.puppet()
    payload = client.handshake_request(capabilities=list(capabilities))["payload"]
    client.send(client.spec_message("HandshakeRequest", payload), server)
    world.run_for(1)
    server.ping(client)
    world.run_for(1)
    client.take()
    return client


def head(node_id: str) -> bytes:
    return uuid.UUID(node_id).bytes


def frames(client: Puppet) -> list[bytes]:
    return [data for data in client.inbox if data[0] >= FRAME_START]


def drops(host: Host, cause: str) -> int:
    return host.endpoint.counters.drops[cause]


def ends(host: Host, other: Host) -> list[PeerStatusChanged]:
    told: list[PeerStatusChanged] = host.told(PeerStatusChanged)
    over = (PeerStatus.DISCONNECTED, PeerStatus.FAILED)
    return [e for e in told if e.node_id == other.id and e.status in over]


# What relaying gives.


def test_the_first_message_is_there_within_one_and_a_half_round_trips(
    world: World, server: Host
) -> None:
    a, b = node(world, server), node(world, server)
    round_trip_s = 4 * 0.01
    began = world.now

    assert isinstance(a.outcome(ask(a, server, b)), ConnectResult)
    say(a, b, "hello")
    world.run_until(lambda: b.received() == ["hello"])

    assert world.now - began <= 1.5 * round_trip_s + 0.001


def test_a_relayed_datagram_is_17_bytes_longer(world: World, server: Host) -> None:
    a, b = met(world, server)
    before, datagrams = account(server, a), server.endpoint.counters.relayed
    say(a, b, "x" * 500, reliable=False)
    world.run_for(0.05)

    now = account(server, a)
    assert server.endpoint.counters.relayed - datagrams >= 1
    assert 500 + 17 <= now.bytes - before.bytes <= 1500
    assert now.refused == {}
    assert server.endpoint.relays(1).pairs == ((a.id, b.id),)


def test_goodbyes_reach_those_that_are_relayed(world: World, server: Host) -> None:
    a, b = met(world, server)

    a.endpoint.close("enough", world.now)
    world.run_for(0.1)

    (end,) = ends(b, a)
    assert end.reason == "it said goodbye: enough"


# Who may relay, and what.


def test_a_reference_peer_never_gets_a_frame(world: World, server: Host) -> None:
    a, deployed = node(world, server), puppet(world, server)

    error = a.outcome(ask(a, server, deployed.id))

    assert "understands no relayed datagrams" in str(error)
    assert account(server, a).refused["incapable"] >= 1
    assert frames(deployed) == []
    assert open_relays(server) == 0


def test_frames_only_from_those_who_announced_them(world: World, server: Host) -> None:
    b = node(world, server)
    for client in (puppet(world, server), capable(world, server, Capability.FRAGMENTS)):
        client.send(encode_relay(RELAY, head(b.id), JUNK), server)
    stranger = world.puppet()
    stranger.send(encode_relay(RELAY, head(b.id), JUNK), server)
    world.run_for(1)

    assert drops(server, "relay_frame_refused") == 2
    assert drops(server, "unauthenticated") == 1
    assert server.endpoint.counters.relayed == 0


@pytest.mark.parametrize(
    "inside",
    [
        encode_relay(RELAY, bytes(16), JUNK),
        encode_relay(RELAYED, bytes(16), JUNK),
        b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),
        b"",
        b"junk",
    ],
)
def test_only_messages_and_fragments_are_relayed(world: World, server: Host, inside: bytes) -> None:
    client, b = capable(world, server, Capability.RELAY_FRAMES), node(world, server)
    client.send(encode_relay(RELAY, head(b.id), inside), server)
    world.run_for(0.1)

    assert drops(server, "relay_frame_refused") == 1
    assert server.endpoint.counters.relayed == 0


@given(st.binary(max_size=200))
def test_what_is_no_relayed_datagram_is_seen(data: bytes) -> None:
    decoded = decode_relay(data)
    if decoded is None:
        return
    node_id, inner = decoded
    assert encode_relay(data[0], node_id, inner) == data
    assert inner[0] not in (RELAY, RELAYED)
    assert inner[0] > 3


def test_who_is_reached_through_a_relay_relays_nothing(world: World) -> None:
    """Nothing goes by two relays: no loops, and nobody's budget is used twice."""
    server = relaying(world)
    a = node(world, server, allow_symmetric_nat_relay=True)
    b, c = node(world, server), node(world, server)
    for host in (b, c):
        host.outcome(ask(host, server, a))
    world.run_for(1)
    via = seen(b, a)
    token = b.endpoint.relay(via, c.id, b"x", world.now, 5)

    assert "reaches this server through another" in b.outcome(token).reason
    assert account(a, b).refused == {"chained": 1}


def test_the_sender_is_whom_the_server_knows(world: World, server: Host) -> None:
    """A handshake inside that claims another id is refused."""
    a, client = node(world, server), capable(world, server, Capability.RELAY_FRAMES)
    request = client.handshake_request(id=NOBODY)["payload"]
    inside = json.dumps(client.spec_message("HandshakeRequest", request)).encode()
    client.send(encode_relay(RELAY, head(a.id), inside), server)
    world.run_for(0.5)

    assert a.endpoint.peers.with_id(NOBODY) is None
    assert a.endpoint.peers.with_id(client.id) is None
    assert a.endpoint.counters.handshakes_refused == 1


def test_only_a_joined_server_brings_relayed_datagrams(world: World, server: Host) -> None:
    a = node(world, server)
    client = capable(world, a, Capability.RELAY_FRAMES)
    client.send(encode_relay(RELAYED, head(NOBODY), JUNK), a)
    client.say("RelayResponse", {"success": False, "target_id": NOBODY}, a)
    world.run_for(0.1)

    assert drops(a, "relay_frame_refused") == 1
    assert drops(a, "relay_response_unasked") == 1
    assert a.endpoint.sizes()["relayed_nodes"] == 0


def test_an_unproved_target_gets_nothing(world: World, server: Host) -> None:
    a, silent = node(world, server), world.puppet()
    silent.answers_pings = False
    payload = silent.handshake_request(capabilities=[Capability.RELAY_FRAMES])["payload"]
    silent.send(silent.spec_message("HandshakeRequest", payload), server)
    world.run_for(1)

    error = a.outcome(ask(a, server, silent.id, 3), 10)

    assert isinstance(error, Exception)
    assert frames(silent) == []
    assert account(server, a).refused["unproved"] >= 1
    assert open_relays(server) == 0


# A server that means no good.


def bring(server: Host, to: Host, node_id: str, datagram: bytes = JUNK) -> None:
    peer = server.peer(to)
    assert peer is not None
    frame = encode_relay(RELAYED, head(node_id), datagram)
    server.endpoint._delivery.transmit_frame(peer, frame)
    server.settle()


def test_a_server_that_names_nodes_without_end_fills_nothing(world: World, server: Host) -> None:
    a, b = met(world, server)
    for number in range(5 * MAX_UNSETTLED):
        bring(server, a, f"{number:08x}-0000-4000-8000-00000000abcd")
    world.run_for(1)

    assert a.endpoint.sizes()["relayed_nodes"] <= MAX_UNSETTLED + 1
    assert len(a.endpoint._state.detours) == a.endpoint.sizes()["relayed_nodes"]
    assert a.outcome(say(a, b, "still here")).delivered
    assert drops(a, "relayed_unsettled_full") >= 4 * MAX_UNSETTLED


def test_nodes_that_never_became_peers_keep_nobody_out(world: World, server: Host) -> None:
    a, b = met(world, server)
    for number in range(2 * MAX_UNSETTLED):
        bring(server, a, f"{number:08x}-0000-4000-8000-00000000abcd")
    c = node(world, server)
    outcome = c.outcome(c.endpoint.introduce(c.peer(server), a.id, world.now, 10))

    assert isinstance(outcome, ConnectResult)
    assert a.outcome(say(a, b, "still here")).delivered
    assert not drops(a, "relayed_nodes_full")


def test_nodes_that_a_server_invents_leave_room_for_others(world: World) -> None:
    server = relaying(world)
    a = node(world, server, max_connections=20)
    for number in range(40):
        node_id = f"{number:08x}-0000-4000-8000-00000000abcd"
        info: dict[str, Any] = {"id": node_id, "name": "x", "version": "1", "capabilities": []}
        info |= {"metadata": {}, "network_id": "p2p_default", "listen_addr": "192.0.2.1:1"}
        puppet_like = Puppet(world, ("192.0.2.1", 1), node_id)
        request = puppet_like.spec_message("HandshakeRequest", info, requires_ack=True)
        bring(server, a, node_id, json.dumps(request).encode())
        world.run_for(0.05)

    assert a.endpoint.sizes()["relayed_nodes"] <= 10
    assert len(a.endpoint.peers) <= 11
    assert drops(a, "relayed_unproved_full") >= 20


def test_ways_close_with_their_peers(world: World, server: Host) -> None:
    a, b = met(world, server)
    assert a.endpoint.sizes()["relayed_nodes"] == 1

    a.endpoint.disconnect(seen(a, b), "bye", world.now)
    world.run_for(0.1)

    assert a.endpoint.sizes()["relayed_nodes"] == 0
    assert a.endpoint._state.detours == {}
    assert isinstance(a.outcome(ask(a, server, b)), ConnectResult)


# Refusals, as the refused see them.


def refusals(host: Host) -> list[ErrorReceived]:
    told: list[ErrorReceived] = host.told(ErrorReceived)
    return [event for event in told if event.code == REFUSED_CODE]


def test_a_burst_of_refusals_is_told_once(world: World, server: Host) -> None:
    a, b = met(world, server)
    server.endpoint.disconnect(server.peer(b), "bye", world.now)
    for number in range(10):
        say(a, b, number, reliable=False)
        world.run_for(0.3)

    (told,) = refusals(a)
    assert told.node_id == server.id
    assert told.text == f"not relayed to node {b.id}: node not found: {b.id}"
    assert account(server, a).refused["unknown"] >= 10

    world.run_for(6)
    say(a, b, "again", reliable=False)
    world.run_for(1)
    assert len(refusals(a)) == 2


def test_what_is_refused_for_a_moment_does_not_end_an_attempt(world: World) -> None:
    server = relaying(world, max_relay_rate_per_client=5000, buffer_size=1)
    a, b = met(world, server)
    c = node(world, server)
    for _ in range(12):
        say(a, b, "x" * 1000, reliable=False)

    assert isinstance(a.outcome(ask(a, server, c)), ConnectResult)
    assert account(server, a).refused["rate"] >= 1
    assert "over the limit of 5000 bytes a second" in refusals(a)[0].text


# Servers that come and go.


def test_whom_a_server_relayed_ends_with_it(world: World, server: Host) -> None:
    a, b = met(world, server)
    token = say(a, b, "under way")
    a.endpoint.disconnect(a.peer(server), "moving on", world.now)
    result = a.outcome(token)
    world.run_for(0.1)

    host, port = server.address
    words = f"the server at {host}:{port}, which relayed, is gone: disconnected: moving on"
    assert [end.reason for end in ends(a, b)] == [words]
    assert result.reason == words
    assert a.endpoint.sizes()["relayed_nodes"] == 0


def test_a_handshake_by_a_server_that_leaves_ends_with_it(world: World, server: Host) -> None:
    a, b = node(world, server), node(world, server)
    world.remove(b)
    token = ask(a, server, b)
    world.run_for(0.5)
    a.endpoint.disconnect(a.peer(server), "moving on", world.now)

    assert "which relayed, is gone" in str(a.outcome(token, 1))


def test_with_the_server_back_they_are_relayed_again(world: World, server: Host) -> None:
    a, b = met(world, server)
    a.endpoint.disconnect(a.peer(server), "a moment", world.now)
    world.run_for(1)

    a.outcome(a.connect(server))
    assert isinstance(a.outcome(ask(a, server, b)), ConnectResult)
    assert a.outcome(say(a, b, "again")).delivered


def test_a_direct_path_outlives_its_server_and_finds_the_relay_again() -> None:
    meeting = Meeting("full-cone", "full-cone")
    meeting.connect()
    world, a, b, server = meeting.world, meeting.a, meeting.b, meeting.server
    world.run_until(meeting.is_direct, 10)
    for host in (a, b):
        host.endpoint.disconnect(host.peer(server), "gone for a while", world.now)
    world.run_for(2)
    assert meeting.is_direct()
    assert a.outcome(meeting.say("without a server")).delivered
    assert a.endpoint.sizes()["relayed_nodes"] == 0

    for host in (a, b):
        host.outcome(host.connect(server))
    world.run_for(1)
    meeting.cut()
    token = meeting.say("by the relay")
    world.run_until(meeting.is_relayed, 5)
    assert a.outcome(token).delivered
