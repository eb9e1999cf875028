"""A relayed session whose server is back, though the other end is not yet: it waits."""

import pytest

from p2ptui.core.events import PeerStatus, PeerStatusChanged
from tests.core.relay.test_failover import Pair
from tests.core.relaying import seen


def ends_of(pair: Pair) -> list[PeerStatusChanged]:
    told = pair.a.told(PeerStatusChanged)
    ended = PeerStatus.DISCONNECTED, PeerStatus.FAILED
    return [e for e in told if e.node_id == pair.b.id and e.status in ended]


@pytest.mark.parametrize("away_s", [8.0, 12.0, 25.0, 45.0])
@pytest.mark.parametrize("back_s", [1.0, 5.0, 9.5])
def test_a_session_whose_server_is_back_waits_for_the_other_end(
    away_s: float, back_s: float
) -> None:
    pair = Pair(servers=1)
    world, (server,) = pair.world, pair.servers
    world.network.partition(pair.b.address[0], server.address[0])
    peer = server.peer(pair.a)
    assert peer is not None
    server.endpoint.disconnect(peer, "restarting", world.now)
    server.settle()
    world.run_for(0.1)
    assert pair.a.peer(server) is None
    token = pair.a.endpoint.send(seen(pair.a, pair.b), "waits", world.now)
    world.run_for(back_s)
    pair.a.connect(server)
    world.run_for(max(away_s - back_s, 0.1))
    assert ends_of(pair) == []
    world.network.heal(pair.b.address[0], server.address[0])
    assert pair.a.outcome(token, 4).delivered
    assert pair.b.received() == ["waits"]


def test_without_any_server_it_ends_with_the_reason() -> None:
    pair = Pair(servers=1)
    (server,) = pair.servers
    peer = server.peer(pair.a)
    assert peer is not None
    server.endpoint.disconnect(peer, "restarting", pair.world.now)
    server.settle()
    pair.world.run_for(12)
    (end,) = ends_of(pair)
    assert "it said goodbye: restarting" in (end.reason or "")


def test_a_server_that_comes_and_goes_again_is_waited_for_anew() -> None:
    pair = Pair(servers=1)
    world, (server,) = pair.world, pair.servers
    world.network.partition(pair.b.address[0], server.address[0])
    for _ in range(2):
        peer = server.peer(pair.a)
        assert peer is not None
        server.endpoint.disconnect(peer, "restarting", world.now)
        server.settle()
        world.run_for(6)
        assert pair.a.outcome(pair.a.connect(server)).node_id == server.id
        world.run_for(6)
    assert ends_of(pair) == []
    peer = server.peer(pair.a)
    assert peer is not None
    server.endpoint.disconnect(peer, "for good", world.now)
    server.settle()
    world.run_for(22)
    assert len(ends_of(pair)) == 1


# A restarted server, and an end that sends nothing.


@pytest.mark.parametrize("idle_s", [3.0, 20.0, 60.0, 120.0, 170.0])
def test_a_pair_that_was_idle_is_back_within_three_seconds_of_a_restart(idle_s: float) -> None:
    for seed in range(4):
        pair = Pair(servers=1, seed=seed)
        flow, world = pair.flow(), pair.world
        flow.run(0.2)
        world.run_for(idle_s + 0.37 * seed)
        (server,) = pair.servers
        world.remove(server)
        world.run_for(0.3)
        pair.restart(server)
        at = world.now
        flow.send()
        flow.settle(4)
        flow.assert_each_once()
        assert flow.arrived[-1][0] - at <= 3.0


# Another server is joined, which does not bring the other end.


def lose_server_in_use(pair: Pair) -> None:
    """The first server says goodbye to the one node; the other has left the second."""
    world, (first, second) = pair.world, pair.servers
    there = pair.b.peer(second)
    assert there is not None
    pair.b.endpoint.disconnect(there, "enough", world.now)
    pair.b.settle()
    world.run_for(1)
    peer = first.peer(pair.a)
    assert peer is not None
    first.endpoint.disconnect(peer, "for good", world.now)
    first.settle()
    world.run_for(0.1)


def test_a_server_that_does_not_bring_the_other_end_is_no_reason_to_wait() -> None:
    pair = Pair(servers=2)
    lose_server_in_use(pair)
    pair.world.run_for(9)
    assert ends_of(pair) == []
    pair.world.run_for(2)
    (end,) = ends_of(pair)
    assert "it said goodbye: for good" in (end.reason or "")


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_the_server_itself_is_waited_for_wherever_it_is_back(is_elsewhere: bool) -> None:
    pair = Pair(servers=2)
    world, first = pair.world, pair.servers[0]
    lose_server_in_use(pair)
    world.network.partition(pair.b.address[0], first.address[0])
    world.run_for(5)
    back = first
    if is_elsewhere:
        world.remove(first)
        back = world.host(("10.7.7.7", 8080), first.id, allow_symmetric_nat_relay=True)
    pair.a.outcome(pair.a.connect(back))
    world.run_for(20)
    assert ends_of(pair) == []
