"""A path that carries one direction only: it is left, and nobody is called alive for ever."""

import pytest

from tests.core.relay.test_failover import Flow, Pair
from tests.core.relay.test_rescue import GAP_S, Two, assert_they_went_on, run_both
from tests.core.relaying import seen
from tests.simulation import Host


def cut_one_way(one: Host, other: Host) -> None:
    one.world.network.set_link(one.address[0], other.address[0], loss=1.0)


def chatter(sender: Host, receiver: Host) -> None:
    """Data that nobody acknowledges, and that shows the receiver that the sender is there."""
    sender.endpoint.send(seen(sender, receiver), "tick", sender.world.now, reliable=False)
    sender.settle()


def run_beside(flow: Flow, sender: Host, receiver: Host, count: int, pause_s: float) -> None:
    """A flow, and as often such Data the other way."""
    for _ in range(count):
        flow.send()
        chatter(sender, receiver)
        sender.world.run_for(pause_s)
        flow.look()


@pytest.mark.parametrize("by", ["address", "id"])
@pytest.mark.parametrize("who", ["a", "b", "both"])
@pytest.mark.parametrize("seed", range(2))
def test_a_direct_session_of_which_one_direction_is_dead(by: str, who: str, seed: int) -> None:
    two = Two(by, seed=seed)
    there, back = two.flow(), two.flow(back=True)
    flows = {"a": (there,), "b": (back,), "both": (there, back)}[who]
    run_both(two, 1, *flows)
    at = two.world.now
    cut_one_way(two.a, two.b)
    run_both(two, 8, *flows)
    assert_they_went_on(flows, at)


@pytest.mark.parametrize("by", ["address", "id"])
def test_what_comes_does_not_hide_that_nothing_arrives(by: str) -> None:
    """The other side is heard all the time, and hears nothing."""
    two = Two(by)
    flow = two.flow()
    flow.run(1)
    at = two.world.now
    cut_one_way(two.a, two.b)
    run_beside(flow, two.b, two.a, 160, 0.05)
    assert_they_went_on([flow], at)


@pytest.mark.parametrize("by", ["address", "id"])
def test_an_idle_pair_notices_by_its_heartbeats(by: str) -> None:
    two = Two(by)
    cut_one_way(two.a, two.b)
    two.world.run_for(65)
    assert two.is_relayed()


@pytest.mark.parametrize("talks", [False, True])
def test_without_a_server_both_sides_give_it_up(talks: bool) -> None:
    two = Two(joined=False)
    cut_one_way(two.a, two.b)
    peer = seen(two.a, two.b)
    ends_at = two.world.now + 150
    while two.world.now < ends_at:
        if talks and two.b.endpoint.peers.authenticated(two.a.id):
            chatter(two.b, two.a)
        two.world.run_for(1)
    assert two.a.endpoint.peers.authenticated(two.b.id) is None
    assert two.b.endpoint.peers.authenticated(two.a.id) is None
    assert peer.pings.unanswered


@pytest.mark.parametrize("towards_server", [True, False])
@pytest.mark.parametrize("back", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_the_link_to_the_server_in_use_carries_one_direction(
    towards_server: bool, back: bool, seed: int
) -> None:
    pair = Pair(seed=seed)
    flow = pair.flow(back=back)
    flow.run(1)
    at, server = pair.world.now, pair.in_use()
    cut_one_way(*((pair.a, server) if towards_server else (server, pair.a)))
    flow.run(6)
    flow.settle()
    assert flow.longest_gap_s(at) <= GAP_S
    flow.assert_each_once()


def test_what_a_server_brings_does_not_hide_that_it_takes_nothing() -> None:
    pair = Pair()
    flow = pair.flow()
    flow.run(1)
    at, server = pair.world.now, pair.in_use()
    cut_one_way(pair.a, server)
    run_beside(flow, pair.b, pair.a, 600, 0.01)
    assert_they_went_on([flow], at)


@pytest.mark.parametrize("towards_server", [True, False])
def test_a_server_link_of_one_direction_is_called_alive_by_one_side_at_most(
    towards_server: bool,
) -> None:
    pair = Pair(servers=1)
    (server,) = pair.servers
    cut_one_way(*((pair.a, server) if towards_server else (server, pair.a)))
    pair.world.run_for(150)
    sides = (pair.a, server), (server, pair.a)
    alive = [one.is_connected_to(other) for one, other in sides]
    assert not all(alive)
