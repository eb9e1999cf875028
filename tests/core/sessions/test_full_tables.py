"""What a peer in use and a call that waits find where a table is full."""

import pytest

from p2ptui.core.events import ConnectResult, PingResult
from p2ptui.core.pings import MAX_OUTSTANDING_PINGS, MAX_WAITING_PINGS
from p2ptui.errors import LocalError
from tests.simulation import World


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
