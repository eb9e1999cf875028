"""Heartbeats, expiry, and the answers to Pings."""

import json
from collections import Counter

import pytest

from p2ptui.core.events import Path, PeerStatus, PeerStatusChanged, PingResult, SendStatus
from p2ptui.errors import PeerGoneError, PeerTimeoutError
from p2ptui.wire.address import Address
from tests.simulation import World, prove_all


@pytest.fixture
def world() -> World:
    return World()


def test_a_pong_echoes_the_payload_of_its_ping(world: World) -> None:
    server, client = world.host(), world.puppet()
    client.join(server)

    for payload in (None, 7, {"nonce": "x"}, {"deep": [1, {"er": None}]}, "text"):
        (pong,) = client.ask("Ping", payload, server)
        assert pong["message_type"] == "Pong"
        assert pong["payload"] == payload


def test_a_ping_measures_the_round_trip() -> None:
    world = World(latency_s=0.05)
    server, node = world.host(), world.host()
    node.outcome(node.connect(server))

    result = node.outcome(node.ping(server))

    assert result == PingResult(pytest.approx(0.1), Path.DIRECT, server.address)


def test_each_pong_answers_its_own_ping() -> None:
    world = World(latency_s=0.2)
    server, node = world.host(), world.host()
    node.outcome(node.connect(server))
    tokens = []
    for _ in range(5):
        tokens.append(node.ping(server))
        world.run_for(0.07)

    for token in tokens:
        assert node.outcome(token).rtt_s == pytest.approx(0.4)


def test_an_unanswered_ping_ends_in_time_and_only_once(world: World) -> None:
    server, client = world.host(), world.puppet()
    client.join(server)
    client.answers_pings = False
    began = world.now
    token = server.ping(client, timeout_s=2)
    world.run_for(1)
    ping = client.take()[-1]

    outcome = server.outcome(token)
    assert isinstance(outcome, PeerTimeoutError)
    assert world.now - began == pytest.approx(2)

    client.say("Pong", ping["payload"], server)  # late, but it proves the address
    world.run_for(1)
    assert server.outcomes[token] is outcome
    assert server.peer(client).proved


def test_a_ping_ends_with_its_peer(world: World) -> None:
    server, client = world.host(), world.puppet()
    client.join(server)
    client.answers_pings = False
    token = server.ping(client, timeout_s=30)

    server.endpoint.disconnect(server.peer(client), "enough", world.now)

    assert isinstance(server.outcome(token, 1), PeerGoneError)


def test_a_pong_that_answers_nothing_changes_nothing(world: World) -> None:
    server, client = world.host(), world.puppet()
    client.join(server)

    for payload in (None, {"nonce": "guessed"}, 5, "x"):
        client.say("Pong", payload, server)
    world.run_for(1)

    assert server.endpoint.counters.drops["pong_without_ping"] == 4
    assert not server.peer(client).proved
    assert client.take() == []


def test_a_null_pong_long_after_the_last_ping_proves_nothing(world: World) -> None:
    server, client = world.host(heartbeat_interval=1000, connection_timeout=2000), world.puppet()
    client.join(server)
    client.answers_pings = False
    server.ping(client, timeout_s=1)
    world.run_for(15)

    client.say("Pong", None, server)
    world.run_for(1)

    assert not server.peer(client).proved


def test_a_silent_peer_is_lost_after_the_timeout(world: World) -> None:
    server = world.host(heartbeat_interval=10, connection_timeout=25)
    client = world.puppet()
    client.answers_pings = False
    client.join(server)
    waiting = server.send(client, "anybody there?", reliable=False)
    assert server.outcome(waiting).status is SendStatus.SENT

    world.run_for(23.9)
    assert server.is_connected_to(client)
    world.run_for(0.2)

    assert server.peer(client) is None
    assert server.told(PeerStatusChanged)[-1].status is PeerStatus.DISCONNECTED
    assert "nothing heard for 25 s" in server.told(PeerStatusChanged)[-1].reason


def test_expiry_comes_at_the_planned_time_to_the_last_digit(world: World) -> None:
    """(a + b) - a is not always b: a peer must not be due and not yet lost at the same time."""
    server = world.host(heartbeat_interval=7, connection_timeout=19.3)
    endpoint = server.endpoint
    for n in range(60):
        client = world.puppet()
        request = json.dumps(client.handshake_request()).encode()
        endpoint.receive_datagram(request, client.address, 1000 + n * 0.0037)
    steps = 0
    while len(endpoint.peers):
        endpoint.handle_timeout(endpoint.next_timeout())
        steps += 1
        assert steps < 60 * 20


def test_listeners_in_company_are_kept(world: World) -> None:
    """The news of others must leave an unproved client the bytes for a Ping."""
    server = world.host()
    clients = [world.puppet() for _ in range(8)]
    for client in clients:
        client.join(server, name="listener")
        world.run_for(5)

    world.run_for(300)

    assert all(server.is_connected_to(client) for client in clients)


def test_a_peer_that_answers_heartbeats_stays(world: World) -> None:
    server = world.host(heartbeat_interval=10, connection_timeout=25)
    client, node = world.puppet(), world.host()
    client.join(server)
    node.outcome(node.connect(server))

    world.run_for(500)

    assert server.is_connected_to(client)
    assert server.is_connected_to(node)


def test_two_nodes_outlive_heavy_loss() -> None:
    world = World(seed=1, loss=0.2)
    server, node = world.host(), world.host()
    node.outcome(node.connect(server))

    world.run_for(1000)

    assert node.is_connected_to(server)


def test_a_lost_peer_is_gone_everywhere(world: World) -> None:
    server = world.host(connection_timeout=20, heartbeat_interval=5)
    witness, victim = world.host(), world.host()
    for node in (witness, victim):
        node.outcome(node.connect(server))
    world.run_for(2)
    assert victim.id in {route.destination for route in witness.endpoint.routes(world.now)}
    assert victim.id in {route.destination for route in server.endpoint.routes(world.now)}
    world.remove(victim)

    world.run_for(23)

    assert server.peer(victim) is None
    assert server.endpoint.peers.with_id(victim.id) is None
    assert victim.id not in {route.destination for route in server.endpoint.routes(world.now)}
    assert victim.id not in {route.destination for route in witness.endpoint.routes(world.now)}
    token = witness.endpoint.list_nodes(witness.peer(server), world.now, 5)
    assert [node.id for node in witness.outcome(token).nodes] == [witness.id]
    sizes = server.endpoint.sizes()
    assert sizes["peers"] == 1


def test_heartbeats_are_spread_over_their_interval(world: World) -> None:
    server = world.host(max_connections=300, heartbeat_interval=30)
    clients = [world.puppet() for _ in range(200)]
    for client in clients:  # all at once, as after a power cut
        client.send(client.handshake_request(), server)
    prove_all(world, server, clients)
    pings: Counter[int] = Counter()
    began = world.now
    send = world.network.send

    def watch(data: bytes, source: tuple[str, int], target: tuple[str, int], now: float) -> None:
        if source == server.address and b'"Ping"' in data:
            pings[int((now - began) // 3)] += 1
        send(data, source, target, now)

    world.network.send = watch  # type: ignore[method-assign]
    world.run_for(30)

    assert 150 <= sum(pings.values()) <= 260
    assert max(pings.values()) < 60  # of 200, in any tenth of the interval


def test_a_timer_for_each_peer_and_no_more(world: World) -> None:
    server = world.host(max_connections=300)
    clients = [world.puppet() for _ in range(100)]
    for client in clients:
        client.join(server)
    world.run_for(60)

    assert server.endpoint.sizes()["timers"] <= 100 + 1


def test_whoever_asked_for_the_session_measures_it_at_once(world: World) -> None:
    server, node = world.host(), world.host()
    node.outcome(node.connect(server))
    world.run_for(0.1)

    assert node.peer(server).channel.rtt.latest == pytest.approx(0.02)


LOSS_OF_TWO = 1 - 0.98**2
"""How likely a Ping or its answer is lost where 2 % of all datagrams are."""


@pytest.mark.parametrize(
    ("heartbeat", "timeout"), [(30, 60), (10, 25), (5, 18), (30, 31), (59, 60), (1, 4)]
)
@pytest.mark.parametrize("kind", ["deployed", "ours"])
def test_a_peer_that_answered_is_not_lost_to_two_percent_of_loss(
    world: World, heartbeat: float, timeout: float, kind: str
) -> None:
    """As many Pings go unanswered before it is dropped that it happens once in a million days."""
    server = world.host(heartbeat_interval=heartbeat, connection_timeout=timeout)
    if kind == "deployed":
        peer = world.puppet()
        peer.join(server)
        server.ping(peer)
        world.run_until(lambda: server.peer(peer).proved, 2 * timeout)
    else:
        peer = world.host()
        peer.outcome(peer.connect(server))
    fewest = 100
    for _ in range(12):  # wherever the silence begins between two heartbeats
        world.run_for(timeout + 0.37 * heartbeat)
        began = world.now
        heard = server.peer(peer).last_received
        pings: list[float] = []
        send = world.network.send

        def lose(data: bytes, source: Address, target: Address, now: float) -> None:
            if target == peer.address:
                pings.append(now)  # noqa: B023
            elif source != peer.address:
                send(data, source, target, now)  # noqa: B023

        world.network.send = lose  # type: ignore[method-assign]
        end = heard + timeout - 0.05
        world.run_for(end - began)
        world.network.send = send  # type: ignore[method-assign]
        fewest = min(fewest, len(pings))
        assert server.is_connected_to(peer)
        assert pings[-1] <= heard + timeout * 0.98  # an answer still comes in time
        server.ping(peer)
        world.run_for(0.04)
        assert server.peer(peer).last_received > end
    heartbeats_a_day = 86_400 / heartbeat
    assert heartbeats_a_day * LOSS_OF_TWO**fewest < 1e-6


def test_a_peer_that_is_gone_is_still_dropped_in_time(world: World) -> None:
    server, node = world.host(), world.host()
    node.outcome(node.connect(server))
    world.run_for(100)
    heard = server.peer(node).last_received
    world.remove(node)

    world.run_until(lambda: server.peer(node.address) is None, 100)

    assert 60 <= world.now - heard <= 60 + 33  # it may have answered one more heartbeat


def test_a_guess_is_no_pong_of_a_node_that_names_its_pings(world: World) -> None:
    """`null` is all that deployed programs answer; from our own kind anybody could have sent it."""
    node, server = world.host(), world.host()
    node.outcome(node.connect(server))
    world.run_for(2)
    world.network.set_link(server.address[0], node.address[0], loss=1.0)
    token = node.ping(server, 2.0)
    forged = world.puppet().message("Pong", None)
    for _ in range(5):
        data = json.dumps(forged | {"id": world.message_id()}).encode()
        node.endpoint.receive_datagram(data, server.address, world.now)
        node.settle()
        world.run_for(0.1)

    assert isinstance(node.outcome(token), PeerTimeoutError)
    assert node.endpoint.counters.drops["pong_without_ping"] == 5
