"""Deployed clients that say nothing, on links that lose datagrams: who answers Pings stays."""

import pytest

from tests.simulation import World

CLIENTS = 30


def dropped(seed: int, loss: float) -> int:
    """How many of 30 clients that answer every Ping are dropped within 3 minutes."""
    world = World(seed, loss=loss, latency_s=0.05)
    server = world.host()
    clients = [world.puppet() for _ in range(CLIENTS)]
    for _ in range(8):
        for client in clients:
            if server.peer(client) is None:
                client.send(client.handshake_request(), server)
        world.run_for(0.5)
    world.run_for(180)
    return sum(server.peer(client) is None for client in clients)


@pytest.mark.parametrize(("loss", "most"), [(0.0, 0), (0.05, 4), (0.1, 14)])
def test_an_idle_client_that_answers_is_kept(loss: float, most: int) -> None:
    # The first two Pings are all that a handshake pays for, and the first Pong pays for the list:
    # of 180 clients 2 and 7 lose both Pings, as a rule. Afterwards Pongs pay for what is needed.
    assert sum(dropped(seed, loss) for seed in range(2, 8)) <= most


def test_news_leave_what_a_silent_client_is_asked_with() -> None:
    world = World()
    server = world.host()
    clients = [world.puppet() for _ in range(10)]
    for client in clients:
        client.send(client.handshake_request(), server)
    world.run_for(9)  # each has answered a heartbeat
    for client in clients:
        client.answers_pings = False
    asked = []
    for client in clients:
        client.take()
        peer = server.peer(client)
        assert peer is not None
        assert not peer.proved
        asked.append(peer)
    before = [peer.liveness.pings.unanswered for peer in asked]
    world.run_for(45)
    for peer, count in zip(asked, before, strict=True):
        assert peer.liveness.pings.unanswered - count >= 4
        assert peer.bytes_out <= 3 * peer.bytes_in
