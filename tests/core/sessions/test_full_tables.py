"""What a peer in use and a call that waits find where a table is full."""

import random
from typing import Any

import pytest

from p2ptui.core.events import ConnectResult, PingResult
from p2ptui.core.pings import MAX_OUTSTANDING_PINGS, MAX_WAITING_PINGS
from p2ptui.errors import LocalError
from p2ptui.wire.address import Address
from p2ptui.wire.message import OWN_CAPABILITIES
from tests.simulation import Host, Puppet, World


def test_a_ping_is_answered_however_many_follow_it() -> None:
    world = World()
    server, client = world.host(), world.host()
    client.outcome(client.connect(server))
    tokens = [client.ping(server) for _ in range(3 * MAX_OUTSTANDING_PINGS)]

    assert all(isinstance(client.outcome(token), PingResult) for token in tokens)


def test_one_ping_too_many_is_refused_before_it_leaves() -> None:
    world = World()
    server, client = world.host(), world.host()
    client.outcome(client.connect(server))
    tokens = [client.ping(server) for _ in range(MAX_WAITING_PINGS)]
    sent = client.endpoint.counters.messages_out
    with pytest.raises(LocalError, match="already wait"):
        client.ping(server)

    assert client.endpoint.counters.messages_out == sent
    assert all(isinstance(client.outcome(token), PingResult) for token in tokens)
    client.ping(server)


def test_forged_strangers_keep_nobody_from_connecting() -> None:
    """A call of this node's user finds room where a newcomer would find it."""
    world = World()
    node, server = world.host(max_connections=5), world.host()
    for number in range(5):
        forged = world.puppet((f"203.0.113.{number + 1}", 5000))
        forged.answers_pings = False
        forged.send(forged.handshake_request(), node)
    world.run_for(0.1)
    assert len(node.endpoint.peers) == 5
    with pytest.raises(LocalError, match="5 peers are the limit"):
        node.connect(server)
    world.run_for(node.endpoint.config.security.auth_timeout)

    assert isinstance(node.outcome(node.connect(server)), ConnectResult)
    assert len(node.endpoint.peers) <= 5


def ours(puppet: Puppet, number: int) -> dict[str, Any]:
    """The handshake of a node of our kind, which numbers what it sends."""
    info = puppet.handshake_request(capabilities=list(OWN_CAPABILITIES))["payload"]
    return puppet.spec_message("HandshakeRequest", info, sequence_number=number, requires_ack=True)


def test_all_may_leave_and_come_back_without_being_heard_twice() -> None:
    """A server that was cut off from everybody remembers what each one said."""
    world = World()
    server = world.host(max_connections=400)
    clients = [world.puppet((f"10.9.{n // 200}.{n % 200 + 1}", 5000)) for n in range(300)]
    for client in clients:
        client.send(ours(client, 1000), server)
    world.run_for(1)
    said = clients[0].spec_message("Data", "once", sequence_number=1001, requires_ack=True)
    clients[0].send(said, server)
    world.run_for(1)
    for client in clients:
        client.say("Disconnect", {"reason": "bye"}, server)
        client.answers_pings = False
    world.run_for(3)
    assert len(server.endpoint.peers) == 0

    clients[0].send(ours(clients[0], 500_000), server)
    world.run_for(1)
    assert server.is_connected_to(clients[0])
    clients[0].send(said, server)
    world.run_for(1)

    assert server.received() == ["once"]


def slow(server: Host, client: Puppet, rng: random.Random, trip_s: float, jitter_s: float) -> None:
    """From now on what is sent to a client takes so long."""
    receive, timers = client.receive, server.endpoint._state.timers

    def late(data: bytes, source: Address) -> None:
        due = server.world.now + trip_s + rng.uniform(0, jitter_s)
        timers.schedule(due, lambda _: receive(data, source))

    client.receive = late  # type: ignore[method-assign]


@pytest.mark.parametrize(("trip_s", "jitter_s"), [(0.45, 0.0), (1.0, 0.0), (0.5, 0.5)])
def test_who_answers_late_keeps_its_seat(trip_s: float, jitter_s: float) -> None:
    """It has answered every Ping so far, and was given as long as one that is quick. What a single
    answer that names no Ping took shows nothing: anybody may have sent it."""
    for seed in range(5):
        world, rng = World(seed), random.Random(seed)
        server = world.host(max_connections=5)
        client = world.puppet()
        slow(server, client, rng, trip_s, jitter_s)
        client.send(client.handshake_request(), server)
        others = [world.puppet() for _ in range(4)]
        for other in others:
            other.join(server)
        client.say("Data", {"text": "here"}, server)
        world.run_for(60 if trip_s >= 1 else 20)

        for _ in range(5):
            newcomer = world.puppet()
            newcomer.send(newcomer.handshake_request(), server)
            world.run_for(3)
            assert server.is_connected_to(client)
