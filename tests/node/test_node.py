"""What a node does for its user: every call of `Node`, in a simulated network on virtual time."""

import asyncio
import math

import pytest

from p2ptui.core.events import (
    DataReceived,
    ErrorReceived,
    EventsDropped,
    MessageTraced,
    Path,
    PeerIntroduced,
    PeersDiscovered,
    PeerStatus,
    PeerStatusChanged,
    RelayDataReceived,
    SendStatus,
)
from p2ptui.errors import (
    HandshakeError,
    LocalError,
    MessageTooLargeError,
    P2PError,
    PeerGoneError,
    PeerTimeoutError,
    UnknownPeerError,
)
from p2ptui.wire.address import format_address
from tests.reference_client import ReferenceClient
from tests.town import LATENCY_S, MET_S, Town, next_of, taken
from tests.virtual_loop import run_virtual

ROUND_TRIP_S = 2 * LATENCY_S


def now() -> float:
    return asyncio.get_running_loop().time()


# --- connecting


def test_connecting_makes_each_a_peer_of_the_other():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            peer = await client.connect(format_address(server.address))
            assert (peer.node_id, peer.name) == (server.id, "server")
            assert (peer.address, peer.status) == (server.address, PeerStatus.AUTHENTICATED)
            assert peer.path is Path.DIRECT
            assert peer.initiated
            assert peer.public_address == client.address
            assert peer.info is not None
            assert peer.info.name == "server"
            await asyncio.sleep(1)
            (seen,) = server.peers
            assert (seen.node_id, seen.name, seen.address) == (client.id, "client", client.address)
            assert not seen.initiated
            assert seen.proved

    run_virtual(story())


def test_connecting_twice_finds_the_same_session():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            first = await asyncio.gather(*(client.connect(server.address) for _ in range(3)))
            again = await client.connect(server.id)
            assert {peer.node_id for peer in (*first, again)} == {server.id}
            await asyncio.sleep(MET_S)
            assert server.stats().handshakes_accepted == 1

    run_virtual(story())


def test_a_node_behind_a_server_is_found_by_its_id():
    async def story():
        async with Town() as town:
            server, alice, bob = await town.trio()
            told = bob.events()
            peer = await alice.connect(bob.id)
            assert (peer.node_id, peer.address) == (bob.id, bob.address)
            introduced = await next_of(told, PeerIntroduced)
            assert (introduced.node_id, introduced.server_id) == (alice.id, server.id)
            assert (await alice.ping(bob.id)).path is Path.DIRECT

    run_virtual(story())


def test_the_id_may_be_written_in_capitals():
    async def story():
        async with Town() as town:
            _, alice, bob = await town.trio()
            assert (await alice.connect(bob.id.upper())).node_id == bob.id

    run_virtual(story())


def test_an_id_needs_a_server_that_knows_it():
    async def story():
        async with Town() as town:
            server, loner = await town.start("server"), await town.start("loner")
            with pytest.raises(LocalError, match="join a server first"):
                await loner.connect("00000000-0000-4000-8000-000000000001")
            await loner.connect(server.address)
            with pytest.raises(UnknownPeerError, match="the server does not know node 00000000"):
                await loner.connect("00000000-0000-4000-8000-000000000001")

    run_virtual(story())


def test_a_silent_server_does_not_use_up_the_time_of_the_next():
    async def story():
        async with Town() as town:
            silent, alice, bob = await town.trio()
            helpful = await town.start("helpful")
            await bob.connect(helpful.address)
            await alice.connect(helpful.address)
            town.crash(silent)
            began = now()
            assert (await alice.connect(bob.id, timeout_s=4)).node_id == bob.id
            assert now() - began < 4

    run_virtual(story())


def test_a_node_that_is_listed_and_dead_costs_no_more_than_the_time_that_was_given():
    async def story():
        async with Town() as town:
            _, alice, bob = await town.trio()
            town.partition(alice, bob)
            began = now()
            with pytest.raises(P2PError, match="no direct path"):
                await alice.connect(bob.id, timeout_s=2)
            assert now() - began <= 2

    run_virtual(story())


def test_nobody_at_the_address():
    async def story():
        async with Town() as town:
            client = await town.start("client")
            began = now()
            with pytest.raises(HandshakeError) as caught:
                await client.connect("10.9.9.9:80", timeout_s=3)
            assert str(caught.value) == "no answer from 10.9.9.9:80; is a node running there?"
            assert now() - began == pytest.approx(3)
            assert client.peers == []

    run_virtual(story())


def test_a_refusal_comes_with_its_reason():
    async def story():
        async with Town() as town:
            server = await town.start("server", max_connections=1)
            stranger = await town.start("stranger", network_id="other")
            with pytest.raises(HandshakeError, match="network mismatch"):
                await stranger.connect(server.address)
            first, second = await town.start("first"), await town.start("second")
            await first.connect(server.address)
            with pytest.raises(HandshakeError, match="full"):
                await second.connect(server.address)
            with pytest.raises(LocalError, match="max_connections"):
                await server.connect(second.address)

    run_virtual(story())


def test_a_node_does_not_connect_to_itself():
    async def story():
        async with Town() as town:
            node = await town.start("node")
            with pytest.raises(HandshakeError, match="it would talk to itself"):
                await node.connect(node.address, timeout_s=5)
            assert node.peers == []

    run_virtual(story())


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("", "write HOST:PORT"),
        ("10.0.0.9", "write HOST:PORT"),
        ("10.0.0.9:", "the port must be"),
        ("10.0.0.9:0", "0 is no port to connect to"),
        ("10.0.0.9:65536", "the port must be"),
        (("10.0.0.9", 70_000), "70000 is no port"),
        ("::1:80", r"write IPv6 as \[::1\]:80"),
        ("a\x1b[31m", "\\\\x1b"),
        ("0.0.0.0:80", "on this machine 127.0.0.1:80"),
        ("[::]:80", r"on this machine \[::1\]:80"),
        ("224.0.0.251:5353", "is a group"),
        ("255.255.255.255:80", "is a group"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused_at_once(target, says):
    async def story():
        async with Town() as town:
            node = await town.start("node")
            with pytest.raises(LocalError, match=says):
                await node.connect(target)
            assert town.network.counters().sent == 0

    run_virtual(story())


def test_an_address_of_the_other_family_fails_at_once():
    async def story():
        async with Town() as town:
            node = await town.start("node")
            with pytest.raises(HandshakeError, match="an IPv4 socket cannot send to 2001:db8::1"):
                await node.connect("[2001:db8::1]:80")

    run_virtual(story())


@pytest.mark.parametrize("timeout_s", [0, -1, math.nan, math.inf])
def test_a_time_that_cannot_be_waited_for_is_refused(timeout_s):
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            peer = await client.connect(server.address)
            calls = [
                client.connect("10.0.0.99:80", timeout_s),
                client.ping(peer, timeout_s),
                client.ping_routed(server.id, timeout_s),
                client.send(peer, "x", timeout_s=timeout_s),
                client.send_routed(server.id, "x", timeout_s=timeout_s),
                client.relay(peer, server.id, b"x", timeout_s),
                client.list_nodes(peer, timeout_s),
            ]
            for call in calls:
                with pytest.raises(LocalError, match="timeout_s"):
                    await call
            await client.ping(peer)  # nothing of it did harm

    run_virtual(story())


def test_a_peer_takes_nothing_before_its_handshake_is_done():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            connecting = asyncio.ensure_future(client.connect(server.address))
            await asyncio.sleep(0)
            assert [peer.status for peer in client.peers] == [PeerStatus.HANDSHAKING]
            with pytest.raises(UnknownPeerError, match=r"handshake .* is not done"):
                await client.send(server.address, "early")
            with pytest.raises(UnknownPeerError, match=r"handshake .* is not done"):
                await client.ping(server.address)
            await connecting
            await client.ping(server.address)

    run_virtual(story())


# --- ping


def test_a_ping_measures_the_round_trip():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            view = await client.connect(server.address)
            for peer in (view, server.id, server.id[:6], "server", server.address):
                result = await client.ping(peer)
                assert result.rtt_s == pytest.approx(ROUND_TRIP_S)
                assert (result.path, result.address) == (Path.DIRECT, server.address)
            assert client.peer(view).rtt_ms == pytest.approx(1000 * ROUND_TRIP_S)

    run_virtual(story())


def test_a_ping_of_a_node_without_a_direct_path_goes_by_way_of_the_server():
    async def story():
        async with Town() as town:
            server, alice, bob = await town.trio()
            town.partition(alice, bob)
            result = await alice.ping(bob.id)
            assert result.rtt_s == pytest.approx(2 * ROUND_TRIP_S)
            assert (result.path, result.address) == (Path.RELAY, server.address)
            assert server.stats().forwarded == 2

    run_virtual(story())


def test_a_routed_ping_takes_the_long_way_only_to_whom_it_reaches():
    async def story():
        async with Town() as town:
            _, alice, bob = await town.trio()
            assert (await alice.ping_routed(bob.id)).path is Path.RELAY
            loner = await town.start("loner")
            with pytest.raises(LocalError, match="no route"):
                await loner.ping_routed(bob.id)
            with pytest.raises(LocalError, match="not a node id"):
                await alice.ping_routed("bob")

    run_virtual(story())


def test_a_deployed_node_is_pinged_at_its_own_address():
    async def story():
        async with Town() as town:
            server = await town.start("server")
            carol = await ReferenceClient.connect(town, server)
            alice = await town.start("alice")
            await alice.connect(server.address)
            await asyncio.sleep(2)
            pinging = asyncio.create_task(alice.ping("deployed"))
            while not pinging.done():
                answered = asyncio.create_task(carol.answer_ping())
                await asyncio.wait([answered, pinging], return_when=asyncio.FIRST_COMPLETED)
                answered.cancel()
            result = await pinging
            assert result.path is Path.DIRECT
            assert result.address == carol.address
            assert result.rtt_s == pytest.approx(ROUND_TRIP_S)
            with pytest.raises(LocalError, match="at its own address"):
                await alice.ping_routed(carol.node_id)
            assert carol.texts == []

    run_virtual(story())


def test_no_answer_in_time():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            town.crash(server)
            began = now()
            with pytest.raises(PeerTimeoutError, match=r"no answer from 10\.0\.0\.2:8080"):
                await client.ping("server", timeout_s=2)
            assert now() - began == pytest.approx(2)

    run_virtual(story())


def test_a_peer_that_leaves_ends_the_ping():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            town.crash(server)
            waiting = asyncio.ensure_future(client.ping("server", timeout_s=30))
            await asyncio.sleep(1)
            await client.disconnect("server", "enough")
            with pytest.raises(PeerGoneError, match="enough"):
                await waiting

    run_virtual(story())


def test_whom_a_name_does_not_mean():
    async def story():
        async with Town() as town:
            server = await town.start("server")
            for _ in range(2):
                await (await town.start("twin")).connect(server.address)
            await asyncio.sleep(MET_S)
            with pytest.raises(UnknownPeerError, match="fits 2 nodes"):
                await server.ping("twin")
            for nobody in ("nobody", "10.0.0.99:80", ("10.0.0.99", 80), ""):
                with pytest.raises(UnknownPeerError):
                    await server.ping(nobody)

    run_virtual(story())


# --- send


def test_a_message_is_delivered_and_echoed():
    async def story():
        async with Town() as town:
            server = await town.start("server", echo="all")
            client = await town.start("client")
            await client.connect(server.address)
            there, back = server.events(), client.events()
            payload = {"text": "grüße", "n": [1, 2.5, None, True]}
            result = await client.send("server", payload)
            assert (result.status, result.delivered) == (SendStatus.DELIVERED, True)
            assert result.attempts == 1
            assert result.rtt_s == pytest.approx(ROUND_TRIP_S)
            received = await next_of(there, DataReceived)
            assert (received.node_id, received.payload) == (client.id, payload)
            assert not received.is_echo
            echo = await next_of(back, DataReceived)
            assert echo.is_echo
            assert echo.payload["echo"] == payload

    run_virtual(story())


def test_a_message_may_also_be_sent_once_and_forgotten():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            events = server.events()
            began = now()
            result = await client.send("server", "hello", reliable=False)
            assert (result.status, result.attempts) == (SendStatus.SENT, 1)
            assert now() == began
            assert (await next_of(events, DataReceived)).payload == "hello"

    run_virtual(story())


def test_a_megabyte_arrives_whole_over_a_bad_line():
    async def story():
        async with Town(seed=3, loss=0.05, duplication=0.05, reorder=0.05) as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            events = server.events()
            text = "0123456789abcdef" * 62_500
            assert (await client.send("server", text)).delivered
            assert (await next_of(events, DataReceived)).payload == text

    run_virtual(story())


def test_what_nobody_acknowledges_is_sent_again_and_then_reported():
    async def story():
        async with Town() as town:
            server = await town.start("server")
            client = await town.start("client", max_tries=3)
            await client.connect(server.address)
            town.crash(server)
            result = await client.send("server", "lost")
            assert (result.status, result.attempts) == (SendStatus.TIMED_OUT, 3)
            assert result.rtt_s is None
            assert result.reason
            assert client.stats().retransmissions == 2

    run_virtual(story())


def test_the_caller_says_how_long_it_may_take():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            town.crash(server)
            began = now()
            result = await client.send("server", "lost", timeout_s=1.5)
            assert result.status is SendStatus.TIMED_OUT
            assert result.reason == "no acknowledgement within 1.5 s"
            assert now() - began == pytest.approx(1.5)
            assert client.peer("server").waiting == 0

    run_virtual(story())


def test_a_peer_that_is_gone_fails_what_waits_for_it():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            town.crash(server)
            waiting = asyncio.ensure_future(client.send("server", "lost"))
            await asyncio.sleep(0.1)
            await client.disconnect("server")
            result = await waiting
            assert result.status is SendStatus.FAILED
            assert result.reason

    run_virtual(story())


def test_a_deployed_client_acknowledges_nothing():
    async def story():
        async with Town() as town:
            server = await town.start("server")
            client = await ReferenceClient.connect(town, server)
            result = await server.send(client.node_id, {"text": "hello"})
            assert (result.status, result.attempts) == (SendStatus.UNCONFIRMED, 1)
            assert (await client.next("Data"))["payload"] == {"text": "hello"}
            client.close()

    run_virtual(story())


@pytest.mark.parametrize(
    ("payload", "error", "says"),
    [
        (object(), LocalError, "cannot be sent"),
        (math.nan, LocalError, "cannot be sent"),
        ("\ud800", LocalError, "cannot be sent"),
        ("x" * 2000, MessageTooLargeError, "the limit is 1024"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_leaves(payload, error, says):
    async def story():
        async with Town() as town:
            server = await town.start("server")
            client = await town.start("client", max_message_size=1024)
            await client.connect(server.address)
            await asyncio.sleep(5)
            before = town.network.counters().sent
            for reliable in (True, False):
                with pytest.raises(error, match=says):
                    await client.send("server", payload, reliable=reliable)
            assert town.network.counters().sent == before

    run_virtual(story())


def test_a_routed_message_is_delivered_by_way_of_the_server():
    async def story():
        async with Town() as town:
            server, alice, bob = await town.trio()
            town.partition(alice, bob)
            events = bob.events()
            result = await alice.send_routed(bob.id, "by relay")
            assert result.delivered
            received = await next_of(events, DataReceived)
            assert (received.node_id, received.payload) == (alice.id, "by relay")
            assert (received.path, received.address) == (Path.RELAY, server.address)

    run_virtual(story())


def test_a_routed_message_needs_a_way_an_id_and_hops():
    async def story():
        async with Town() as town:
            _, alice, bob = await town.trio()
            loner = await town.start("loner")
            with pytest.raises(LocalError, match="no route"):
                await loner.send_routed(bob.id, "x")
            with pytest.raises(LocalError, match="not a node id"):
                await alice.send_routed("bob", "x")
            for hops in (0, -1, 256):
                with pytest.raises(LocalError, match="max_hops"):
                    await alice.send_routed(bob.id, "x", max_hops=hops)
            town.crash(bob)
            result = await alice.send_routed(bob.id, "x", timeout_s=3)
            assert result.status is SendStatus.TIMED_OUT

    run_virtual(story())


# --- relay, lists, discovery


def test_a_server_relays_bytes_if_it_is_told_to():
    async def story():
        async with Town() as town:
            server, alice, bob = await town.trio(allow_symmetric_nat_relay=True)
            events = bob.events()
            result = await alice.relay("server", bob.id, b"\x00\xff raw")
            assert result.status is SendStatus.SENT
            relayed = await next_of(events, RelayDataReceived)
            assert (relayed.node_id, relayed.server_id) == (alice.id, server.id)
            assert relayed.data == b"\x00\xff raw"
            assert server.stats().relayed == 1

    run_virtual(story())


def test_a_relay_that_does_not_happen_says_why():
    async def story():
        async with Town() as town:
            server, alice, bob = await town.trio()
            result = await alice.relay(server.id, bob.id, b"x")
            assert result.status is SendStatus.FAILED
            assert (
                result.reason
                == "relaying is disabled on this server (allow_symmetric_nat_relay); use another"
            )
            with pytest.raises(MessageTooLargeError):
                await alice.relay(server.id, bob.id, b"x" * 40_000)
            with pytest.raises(LocalError, match="not a node id"):
                await alice.relay(server.id, "bob", b"x")
            town.crash(server)
            with pytest.raises(PeerTimeoutError, match="did not answer within 2 s"):
                await alice.relay(server.id, bob.id, b"x", timeout_s=2)

    run_virtual(story())


def test_a_server_lists_whom_it_knows():
    async def story():
        async with Town() as town:
            server, alice, bob = await town.trio()
            listed = await alice.list_nodes("server")
            assert listed.complete
            found = {node.name: node.listen_addr for node in listed.nodes if node.name != "alice"}
            assert found == {"bob": format_address(bob.address)}
            town.crash(server)
            began = now()
            listed = await alice.list_nodes("server", timeout_s=3)
            assert not listed.complete
            assert now() - began == pytest.approx(3)

    run_virtual(story())


def test_peer_lists_become_events_and_routes():
    async def story():
        async with Town() as town:
            server, alice, bob = await town.trio()
            await asyncio.sleep(5)
            events = alice.events()
            await alice.discover()
            found = await next_of(events, PeersDiscovered)
            assert found.server_id == server.id
            assert [(entry.id, entry.addr) for entry in found.joined] == [
                (bob.id, format_address(bob.address))
            ]
            routes = {route.destination: route for route in alice.routes}
            assert (routes[server.id].next_hop, routes[server.id].distance) == (server.id, 1)
            assert (routes[bob.id].next_hop, routes[bob.id].distance) == (server.id, 2)
            await alice.discover("server")
            assert await next_of(events, PeersDiscovered)
            with pytest.raises(UnknownPeerError):
                await alice.discover("nobody")

    run_virtual(story())


# --- what there is to see


def test_the_numbers_of_a_node():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            await client.send("server", "x")
            await asyncio.sleep(10)
            stats = server.stats()
            assert stats.uptime_s == pytest.approx(10, abs=0.2)
            assert (stats.connected, stats.peers) == (1, {"authenticated": 1})
            assert (stats.handshakes_accepted, stats.delivered) == (1, 1)
            assert stats.datagrams_in == stats.socket.datagrams_in == client.stats().datagrams_out
            assert stats.bytes_in == client.stats().bytes_out
            assert stats.sizes["peers"] == 1

    run_virtual(story())


def test_events_tell_what_happens_in_order():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            events = server.events()
            await client.connect(server.address)
            await client.send("server", "x")
            await client.disconnect("server", "bye")
            await asyncio.sleep(5)
            told = events.take(100)
            changes = [e.status.value for e in told if isinstance(e, PeerStatusChanged)]
            assert changes == ["authenticated", "disconnected"]
            assert isinstance(told[1], DataReceived)
            assert "bye" in told[-1].reason

    run_virtual(story())


def test_a_reader_that_is_slow_is_told_what_news_it_missed_and_misses_no_data():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            await asyncio.sleep(MET_S)
            events = server.events(limit=3)
            server.trace(enabled=True)
            for number in range(12):
                assert (await client.send("server", number)).delivered
            kept = events.take(100)
            assert [each.payload for each in kept if isinstance(each, DataReceived)] == [*range(12)]
            assert len([each for each in kept if isinstance(each, MessageTraced)]) == 3
            assert sum(each.count for each in kept if isinstance(each, EventsDropped)) > 20

    run_virtual(story())


def test_each_reader_has_its_own_events():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            first, second = server.events(), server.events()
            await client.send("server", "x")
            server.unsubscribe(first)
            await client.send("server", "y")
            assert [event.payload for event in taken(first, DataReceived)] == ["x"]
            assert [event.payload for event in taken(second, DataReceived)] == ["x", "y"]
            server.unsubscribe(first)
            with pytest.raises(StopAsyncIteration):
                await anext(first)
            with pytest.raises(LocalError, match="at least one event"):
                server.events(limit=0)

    run_virtual(story())


def test_messages_are_traced_on_demand():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            events = client.events()
            await client.ping("server")
            assert taken(events, MessageTraced) == []
            client.trace(enabled=True)
            await client.ping("server")
            traced = [(e.direction.value, e.message_type) for e in taken(events, MessageTraced)]
            assert traced == [("out", "Ping"), ("in", "Pong")]
            client.trace(enabled=False)
            await client.ping("server")
            assert taken(events, MessageTraced) == []

    run_virtual(story())


def test_what_a_peer_refuses_is_told():
    async def story():
        async with Town() as town:
            server = await town.start("server")
            client = await ReferenceClient.connect(town, server)
            events = server.events()
            client.send("Error", {"error": "no such thing"})
            refused = await next_of(events, ErrorReceived)
            assert (refused.node_id, refused.text) == (client.node_id, "no such thing")
            client.close()

    run_virtual(story())


def test_a_goodbye_is_told_to_the_other_side():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await client.connect(server.address)
            await client.disconnect("server", "lunch")
            assert client.peers == []
            await asyncio.sleep(2)
            # The socket still answers, and yet it is no peer any more.
            with pytest.raises(UnknownPeerError):
                await server.disconnect(client.id)
            with pytest.raises(UnknownPeerError):
                await client.disconnect("server")

    run_virtual(story())
