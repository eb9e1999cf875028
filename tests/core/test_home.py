"""A node and the servers of a cluster that it has joined: at which it is, and when it goes on."""

import json

import pytest
from msgspec import Raw

from p2ptui.core.identity import own_capabilities
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import Capability, DisconnectPayload, MessageType, OtherServer
from tests.core.cluster_servers import ClusterServer, cluster, home_of, join, named
from tests.simulation import Host, World


@pytest.fixture
def world() -> World:
    return World(secured=True)


def crash(world: World, host: Host) -> None:
    """A machine without power: nothing leaves, nothing comes."""
    for other in list(world.hosts.values()):
        if other is not host:
            world.network.partition(host.address[0], other.address[0])


def test_it_says_where_it_is_as_soon_as_it_is_there(world: World) -> None:
    (server,) = cluster(world, 1)
    node = world.host()
    began = world.now
    join(world, node, server)
    ((node_id, counter, when),) = server.statements
    assert node_id == node.id
    assert counter >= 1_795_000_000_000  # Unix time, milliseconds
    assert when - began <= 0.1
    world.run_for(300)
    assert len(server.statements) == 1  # it was answered


def test_a_server_alone_hears_nothing_and_a_forgery_is_counted(world: World) -> None:
    server, node = world.host(), world.host()
    node.outcome(node.connect(server))
    world.run_for(5)
    assert node.endpoint.home.server is None
    assert Capability.CLUSTER not in own_capabilities(server.endpoint.config)
    peer = server.peer(node)
    assert peer is not None
    peer_there = node.peer(server)
    assert peer_there is not None
    peer_there.facts.capabilities |= {Capability.CLUSTER}
    payload = json.dumps({"counter": 1, "signature": "A" * 86}).encode()
    assert node.endpoint._delivery.send(peer_there, MessageType.PRESENCE, payload, world.now)
    node.settle()
    world.run_for(1)
    assert server.endpoint.counters.drops["presence_unasked"] == 1
    assert not peer.facts.used


def test_an_open_node_signs_nothing_and_is_told_nothing() -> None:
    world = World()
    server = ClusterServer(world.host(keys=world.keys()))
    node = world.host()
    server.tell(OtherServer(server.host.id, "10.0.9.9:8080"))
    join(world, node, server)
    assert node.endpoint.home.server is None
    assert server.statements == []
    assert "servers_unasked" not in node.endpoint.counters.drops


def test_a_statement_that_is_lost_is_made_again(world: World) -> None:
    (server,) = cluster(world, 1)
    node = world.host()
    takes, server.host.endpoint.guests._on_presence = (
        server.host.endpoint.guests._on_presence,
        lambda *_: False,
    )
    join(world, node, server)
    world.run_for(8)
    assert server.host.endpoint.counters.drops["presence_refused"] == 4  # after 0, 1, 3 and 7 s
    server.host.endpoint.guests._on_presence = takes
    world.run_for(60)
    assert len(server.statements) == 1


def test_it_is_said_again_when_the_server_was_restarted(world: World) -> None:
    (server,) = cluster(world, 1)
    node = world.host()
    join(world, node, server)
    (first,) = server.statements
    address, keys = server.host.address, world._keys[server.host.id]
    world.remove(server.host)
    again = ClusterServer(world.host(address, keys=keys))
    world.run_for(10)
    (second,) = again.statements
    assert second[1] > first[1]
    assert home_of(node) == again.host.id


def test_it_hears_of_the_others_and_of_their_changes(world: World) -> None:
    one, two, three = cluster(world, 3)
    node = world.host()
    join(world, node, one)
    told = node.endpoint.home.told
    assert {each.node_id: each.address for each in told} == {
        one.host.id: one.host.address for one in (two, three)
    }
    one.tell(named(three.host))
    world.run_for(1)
    assert [each.node_id for each in node.endpoint.home.told] == [three.host.id]


def test_one_home_at_a_time_and_another_within_five_seconds_of_a_crash(world: World) -> None:
    """No traffic, no goodbye: 20 nodes, which look at their servers at other moments each."""
    one, two = cluster(world, 2)
    nodes = [world.host() for _ in range(20)]
    for node in nodes:
        join(world, node, one, two)
    assert {home_of(node) for node in nodes} == {one.host.id}
    assert two.statements == []
    world.run_for(60)
    crash(world, one.host)
    died = world.now
    world.run_for(5)
    assert {home_of(node) for node in nodes} == {two.host.id}
    assert sorted(node_id for node_id, _, _ in two.statements) == sorted(n.id for n in nodes)
    slowest = max(when - died for _, _, when in two.statements)
    assert slowest <= 3.6
    world.run_for(60)
    assert len(two.statements) == 20


@pytest.mark.parametrize(("loss", "most"), [(0.1, 0), (0.2, 10)])
def test_loss_moves_hardly_anybody(loss: float, most: int) -> None:
    world = World(secured=True, loss=loss)
    one, two = cluster(world, 2)
    nodes = [world.host() for _ in range(5)]
    homes: list[str] = []
    for node in nodes:
        node.endpoint.home.on_taken = lambda server: homes.append(server.node_id)
        join(world, node, one, two)
    world.run_for(600)
    assert len(homes) <= 5 + most  # after 1,500 looks
    crash(world, one.host)
    world.run_for(5)
    assert {home_of(node) for node in nodes} == {two.host.id}


def test_what_it_costs_to_look_at_the_home(world: World) -> None:
    """Half a datagram a second each way, of 68 bytes with the headers of UDP and IP; nothing where
    no cluster is."""
    (server,) = cluster(world, 1)
    alone, node, other = world.host(), world.host(), world.host()
    join(world, node, server)
    other.outcome(other.connect(alone))
    world.run_for(10)
    before = [host.endpoint.counters.datagrams_out for host in (node, other)]
    bytes_before = node.endpoint.counters.bytes_out
    world.run_for(600)
    sent, usual = (
        host.endpoint.counters.datagrams_out - count
        for host, count in zip((node, other), before, strict=True)
    )
    assert 260 <= sent <= 340
    assert usual <= 120
    assert node.endpoint.counters.bytes_out - bytes_before <= 340 * 100


def test_it_keeps_to_the_quickest_but_not_to_every_wobble(world: World) -> None:
    far, near = cluster(world, 2)
    node = world.host()
    world.network.set_link(node.address[0], far.host.address[0], latency_s=0.04)
    world.network.set_link(far.host.address[0], node.address[0], latency_s=0.04)
    join(world, node, far, near)
    assert home_of(node) == far.host.id
    world.run_for(26)
    assert home_of(node) == far.host.id
    world.run_for(20)
    assert home_of(node) == near.host.id
    for latency_s in (0.011, 0.012):  # slower than the other, but not by much
        world.network.set_link(node.address[0], near.host.address[0], latency_s=latency_s)
        world.network.set_link(node.address[0], far.host.address[0], latency_s=0.01)
        world.network.set_link(far.host.address[0], node.address[0], latency_s=0.01)
        world.run_for(300)
        assert home_of(node) == near.host.id


def test_a_home_that_goes_down_tells_where_to_go_and_they_go_there_apart(world: World) -> None:
    one, two, three = cluster(world, 3)
    nodes = [world.host() for _ in range(20)]
    for node in nodes:
        join(world, node, one, three)
    one.tell(named(two.host), named(three.host))
    world.run_for(1)
    gone = world.now
    one.host.endpoint.close("going down", world.now)
    one.host.settle()
    world.run_for(2.1)
    assert {home_of(node) for node in nodes} == {three.host.id}
    when = sorted(at - gone for _, _, at in three.statements)
    assert len(when) == 20
    assert when[4] <= 1.0 <= when[-5]
    told = nodes[0].endpoint.home.told
    assert two.host.id in {each.node_id for each in told}


def test_a_deployed_client_gets_the_goodbye_that_it_knows(world: World) -> None:
    (server, _) = cluster(world, 2)
    client = world.puppet()
    client.join(server.host)
    world.run_for(60)
    client.take()
    server.host.endpoint.close("going down", world.now)
    server.host.settle()
    world.run_for(1)
    (goodbye,) = [one for one in client.take() if one["message_type"] == "Disconnect"]
    assert goodbye["payload"].keys() <= {"reason", "handshake"}


def test_a_server_that_only_says_goodbye_to_one_node_names_nobody(world: World) -> None:
    one, _ = cluster(world, 2)
    node = world.host()
    join(world, node, one)
    peer = one.host.peer(node)
    assert peer is not None
    assert one.host.endpoint.guests.whither(peer) == b""


def test_a_home_that_said_goodbye_and_is_still_there_is_left_for_the_next_that_is_up(
    world: World,
) -> None:
    """One that goes on by another of its addresses is still there; whoever was told to go goes,
    as soon as there is anywhere."""
    one, two = cluster(world, 2)
    node, lonely = world.host(), world.host()
    join(world, node, one, two)
    join(world, lonely, one)
    crash(world, two.host)
    world.run_for(10)
    goodbye = DisconnectPayload("", servers=Raw(encode_payload([named(two.host)])))
    for host in (node, lonely):
        peer = host.peer(one.host)
        assert peer is not None
        host.endpoint.home.note_goodbye(peer, goodbye)
    world.run_for(10)
    assert home_of(node) == home_of(lonely) == one.host.id
    for other in list(world.hosts.values()):
        world.network.heal(two.host.address[0], other.address[0])
    world.run_for(20)
    assert home_of(node) == two.host.id
    assert home_of(lonely) == one.host.id


def test_when_none_is_up_others_are_wanted_until_one_is(world: World) -> None:
    one, two = cluster(world, 2)
    node = world.host()
    wanted: list[float] = []
    node.endpoint.home.on_wanted = lambda: wanted.append(world.now)
    join(world, node, one)
    crash(world, one.host)
    died = world.now
    world.run_for(4)
    assert wanted[0] - died <= 3.6
    assert node.endpoint.home.server is None
    node.outcome(node.connect(two.host))
    world.run_for(1)
    assert home_of(node) == two.host.id


def test_a_server_of_this_network_only_and_with_keys_is_kept_in_mind(world: World) -> None:
    one, two = cluster(world, 2)
    node = world.host()
    join(world, node, one)
    keyless = "12345678-0000-4000-8000-000000000000"
    one.tell(
        OtherServer(node.id, "10.0.3.3:8080"),
        OtherServer(keyless, "10.0.3.3:8080"),
        OtherServer("nobody", "10.0.3.3:8080"),
        OtherServer(two.host.id, "example.org:8080"),
        OtherServer(two.host.id, "127.0.0.1:8080"),
        OtherServer(two.host.id, "224.0.0.1:8080"),
        OtherServer(two.host.id, "0.0.0.0:8080"),
        OtherServer(two.host.id, "[fe80::1]:8080"),
        OtherServer(two.host.id, "255.255.255.255:8080"),
        named(two.host),
        OtherServer(two.host.id, "10.0.3.3:8080"),
    )
    world.run_for(1)
    (told,) = node.endpoint.home.told
    assert told.address == two.host.address


def test_where_nobody_could_go_is_not_told_and_costs_nobody_the_list(world: World) -> None:
    """A server may advertise whatever its operator wrote."""
    one, two = cluster(world, 2)
    node = world.host()
    guests = one.host.endpoint.guests
    name = "a.very.long.name.of.a.server.that.is.longer.than.an.address.may.be.example.net:9000"
    useful = (two.host.id, "[2001:0db8:0000:0000:0000:0000:0000:0001%" + "z" * 40 + "]:80")
    useless = [(f"{n:08x}-0000-8000-8000-000000000000", name) for n in range(20)]
    useless += [(useless[0][0], "0.0.0.0:80"), (useless[1][0], "")]
    guests.note_others([*useless, useful], world.now)
    join(world, node, one)
    assert [(each.id, each.address) for each in guests.others] == [
        (two.host.id, "[2001:db8::1]:80")
    ]
    assert [each.node_id for each in node.endpoint.home.told] == [two.host.id]
    world.run_for(100)
    assert len(one.statements) == 1  # which was answered


def test_a_server_of_the_cluster_that_joins_another_one_is_at_home(world: World) -> None:
    one, two = cluster(world, 2)
    join(world, two.host, one)
    assert two.host.endpoint.home.server is None
    assert one.statements == []


def test_who_says_goodbye_itself_goes_to_no_other(world: World) -> None:
    one, _ = cluster(world, 2)
    node = world.host()
    wanted: list[bool] = []
    node.endpoint.home.on_wanted = lambda: wanted.append(True)
    join(world, node, one)
    peer = node.peer(one.host)
    assert peer is not None
    assert node.endpoint.home.told
    node.endpoint.disconnect(peer, "", world.now)
    world.run_for(10)
    assert wanted == []
    assert node.endpoint.home.server is None


def test_a_ping_that_was_lost_long_ago_hides_no_death(world: World) -> None:
    """The server has answered other things since: what it leaves unanswered now is counted anew."""
    (server,) = cluster(world, 1)
    node = world.host()
    join(world, node, server)
    peer = node.peer(server.host)
    assert peer is not None
    crash(world, server.host)
    node.endpoint._delivery.ping(peer, world.now)
    node.settle()
    for other in list(world.hosts.values()):
        world.network.heal(server.host.address[0], other.address[0])
    world.run_for(0.1)
    assert node.outcome(node.send(server.host, "heard")).delivered
    crash(world, server.host)
    world.run_for(4)
    assert node.endpoint.server_watch.is_called_silent(peer)


def test_their_nodes_go_to_all_of_them(world: World) -> None:
    servers = cluster(world, 4)
    nodes = [world.host() for _ in range(24)]
    for node in nodes:
        join(world, node, servers[0])
    first = [node.endpoint.home.told[0].node_id for node in nodes]
    assert min(first.count(server.host.id) for server in servers[1:]) >= 3


def test_statements_are_taken_within_a_rate(world: World) -> None:
    (server,) = cluster(world, 1)
    node = world.host()
    join(world, node, server)
    world.run_for(10)
    for _ in range(50):
        node.endpoint.home._say(world.now, 60.0)
        node.settle()
    world.run_for(1)
    assert len(server.statements) <= 1 + 4 + 4
    assert server.host.endpoint.counters.drops["presence_limited"] >= 40
    assert home_of(node) == server.host.id


def test_sixteen_others_with_the_longest_addresses_arrive(world: World) -> None:
    (server,) = cluster(world, 1)
    node = world.host()
    others = [
        OtherServer(
            f"{number:08x}-0000-8000-8000-000000000000",
            f"[fd00:1111:2222:3333:4444:5555:6666:{number:04x}]:65535",
        )
        for number in range(0x1000, 0x1014)
    ]
    join(world, node, server)
    server.tell(*others)
    world.run_for(1)
    assert len(node.endpoint.home.told) == 16
    peer = server.host.peer(node)
    assert peer is not None
    server.host.endpoint.close("going down" * 20, world.now)
    (goodbye, _) = next(iter(server.host.endpoint.datagrams_to_send(world.now)))
    assert len(goodbye) <= 1200
    server.host.settle()


def test_servers_that_change_all_the_time_are_told_of_ever_more_seldom() -> None:
    world = World(secured=True)
    one, two = cluster(world, 2)
    nodes = [world.host() for _ in range(3)]
    for node in nodes:
        join(world, node, one)
    guests = one.host.endpoint.guests
    told: list[float] = []
    tell = guests._tell_all
    guests._tell_all = lambda now: (told.append(now), tell(now))  # type: ignore[method-assign]
    for number in range(300):
        guests.note_others([(two.host.id, f"10.9.0.{number % 200}:80")], world.now)
        world.run_for(1)
    assert 5 <= len(told) <= 12
    world.run_for(200)
    told.clear()
    guests.note_others([(two.host.id, "10.9.1.1:80")], world.now)
    world.run_for(1.1)
    assert len(told) == 1
    assert [node.endpoint.home.told[0].address for node in nodes] == [("10.9.1.1", 80)] * 3


def test_who_was_not_told_the_last_time_is_the_first_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("p2ptui.core.mobility.guests.TOLD_AT_ONCE", 1)
    monkeypatch.setattr("p2ptui.core.mobility.guests.TOLD_PAUSE_S", 100.0)
    world = World(secured=True)
    one, _ = cluster(world, 2)
    nodes = [world.host() for _ in range(4)]
    for node in nodes:
        join(world, node, one)
    guests = one.host.endpoint.guests
    told: list[str] = []
    guests._tell = lambda peer, *_: told.append(peer.node_id)  # type: ignore[method-assign]
    for _ in nodes:
        guests._tell_all(world.now)
    assert sorted(told) == sorted(node.id for node in nodes)
