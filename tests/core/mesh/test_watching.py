"""Where a person looks on, the nodes behind the joined servers are all known, and stay so."""

import pytest

from p2ptui.core.mesh.watching import MAX_SERVERS
from p2ptui.core.peers import Peer
from p2ptui.node.others import find_others
from tests.core.mesh.test_naming import RustServer
from tests.simulation import Host, World


def names(host: Host) -> set[str]:
    return {other.name for other in find_others(host.endpoint, host.world.now)}


def server_with(world: World, count: int, **options: float) -> tuple[Host, set[str]]:
    server = world.host(name="server", **options)
    for number in range(count):
        node = world.host(name=f"node-{number}")
        node.outcome(node.connect(server))
    world.run_for(3)
    return server, {f"node-{number}" for number in range(count)}


def watch(host: Host, *, enabled: bool = True) -> None:
    host.endpoint.watching.set_watched(host.world.now, enabled=enabled)
    host.settle()


def asked(server: Host) -> list[float]:
    """From now on, when the server was asked for its list."""
    times: list[float] = []
    receive = server.endpoint.receive_datagram

    def note(data: bytes, address, now: float) -> None:
        if b'"DiscoveryRequest"' in data:
            times.append(now)
        receive(data, address, now)

    server.endpoint.receive_datagram = note
    return times


@pytest.mark.parametrize("count", [12, 67])
@pytest.mark.parametrize("looks_first", [True, False])
def test_all_nodes_behind_a_server_are_known_soon_after_the_join_and_stay_so(count, looks_first):
    world = World()
    server, there = server_with(world, count)
    alice = world.host(name="alice")
    if looks_first:
        watch(alice)
    alice.outcome(alice.connect(server))
    if not looks_first:
        world.run_for(20)
        assert len(names(alice)) < count
        watch(alice)
    world.run_for(3)
    assert names(alice) == there
    for _ in range(15):
        world.run_for(61)
        assert names(alice) == there


def test_the_questions_are_few_and_where_nobody_looks_there_is_none():
    world = World()
    server, _ = server_with(world, 3)
    times = asked(server)
    alice, quiet = world.host(name="alice"), world.host(name="quiet")
    quiet.outcome(quiet.connect(server))
    world.run_for(1000)
    assert times == []
    watch(alice)
    alice.outcome(alice.connect(server))
    world.run_for(1000)
    assert 11 <= len(times) <= 15  # each 75 to 100 s
    watch(alice, enabled=False)
    del times[:]
    world.run_for(1000)
    assert times == []
    assert len(alice.endpoint.watching) == 0


def test_questions_that_are_lost_do_not_make_nodes_vanish():
    world = World(loss=0.3)
    server, there = server_with(world, 12)
    alice = world.host(name="alice")
    watch(alice)
    alice.outcome(alice.connect(server))
    world.run_for(60)
    for _ in range(20):
        assert names(alice) >= there - {"server"}
        world.run_for(50)


def test_a_server_that_comes_back_is_asked_again_and_one_that_left_is_not():
    world = World()
    server, there = server_with(world, 12)
    times = asked(server)
    alice = world.host(name="alice")
    watch(alice)
    alice.outcome(alice.connect(server))
    world.run_for(3)
    peer = alice.peer(server)
    assert peer is not None
    alice.endpoint.disconnect(peer, "bye", world.now)
    alice.settle()
    world.run_for(400)
    assert len(times) == 1
    assert names(alice) == set()
    alice.outcome(alice.connect(server))
    world.run_for(3)
    assert names(alice) == there


def test_of_many_servers_a_few_are_asked_and_another_takes_the_place_of_one_that_left():
    world = World()
    servers = [world.host(name=f"server-{number}") for number in range(MAX_SERVERS + 1)]
    times = [asked(server) for server in servers]
    alice = world.host(name="alice")
    watch(alice)
    for server in servers:
        alice.outcome(alice.connect(server))
    world.run_for(200)
    assert [bool(each) for each in times] == [True] * MAX_SERVERS + [False]
    peer = alice.peer(servers[0])
    assert peer is not None
    alice.endpoint.disconnect(peer, "bye", world.now)
    alice.settle()
    world.run_for(3)
    assert times[-1]
    assert len(alice.endpoint.watching) == MAX_SERVERS


def test_a_node_that_came_by_itself_is_not_asked():
    world = World()
    alice, bob = world.host(name="alice"), world.host(name="bob")
    times = asked(bob)
    watch(alice)
    bob.outcome(bob.connect(alice))
    world.run_for(400)
    assert times == []


def test_a_deployed_server_is_asked_at_the_join_and_kept_fresh():
    world = World()
    there = {f"ca401000-0000-4000-8000-{number:012x}": f"carol{number}" for number in range(12)}
    alice = world.host(name="alice", connection_timeout=3600)
    rust = RustServer(world, **there, **{alice.id: "alice"})  # they list the one who asks, too
    lists: list[float] = []
    ask_names = alice.endpoint.naming._queries.ask_names

    def ask(peer: Peer, now: float, timeout_s: float) -> None:
        lists.append(now)
        ask_names(peer, now, timeout_s)

    alice.endpoint.naming._queries.ask_names = ask
    watch(alice)
    rust.admit(alice)
    rust.serve(alice, 3)
    assert rust.asked == 1
    assert names(alice) == set(there.values())
    for _ in range(30):
        rust.serve(alice, 20)
        assert names(alice) == set(there.values())
    assert 7 <= len(lists) <= 9


def test_routes_that_are_forgotten_early_are_asked_for_more_often_but_not_without_end():
    world = World()
    server, there = server_with(world, 12)
    times = asked(server)
    alice = world.host(name="alice", route_lifetime=40)
    watch(alice)
    alice.outcome(alice.connect(server))
    world.run_for(3)
    for _ in range(20):
        world.run_for(10)
        assert names(alice) == there
    hasty = world.host(name="hasty", route_lifetime=0.01)
    world.run_for(20)
    del times[:]
    watch(alice, enabled=False)
    watch(hasty)
    hasty.outcome(hasty.connect(server))
    world.run_for(100)
    assert len(times) <= 15
