"""The link to the broker goes and comes, and so do servers; local peers notice nothing."""

import random

import pytest

from p2ptui.core.cluster import room as room_of_cluster
from p2ptui.core.cluster.bus import Delete, Put
from p2ptui.core.cluster.presence import PUTS_AT_ONCE, PUTS_PER_S
from tests.core.cluster_rooms import Rooms, Server


def orders_noted(server: Server, rooms: Rooms) -> list[tuple[float, object]]:
    """All orders of a server from now on, with their times."""
    noted: list[tuple[float, object]] = []
    do = server.bus.do

    def noting(order: object) -> None:
        noted.append((rooms.now, order))
        do(order)  # type: ignore[arg-type]

    server.bus.do = noting  # type: ignore[assignment, method-assign]
    return noted


def test_a_thousand_peers_are_put_again_within_five_seconds_and_paced() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    nodes = [rooms.node() for _ in range(1000)]
    for node in nodes:
        one.join(node)
    rooms.run_for(3)
    assert len(other.known()) == 1000
    rooms.broker.cut(one.bus, rooms.now)
    rooms.run_for(200)
    assert other.known() == {}, "they have aged"
    noted = orders_noted(one, rooms)
    rooms.broker.mend(one.bus, rooms.now)
    began = rooms.now
    rooms.run_for(5)
    assert len(other.known()) == 1000
    times = [when for when, order in noted if isinstance(order, Put)]
    assert len(times) == 1000
    assert max(times) - began < 1
    for start in range(40):
        within = [when for when in times if start * 0.1 <= when - began < start * 0.1 + 0.1]
        assert len(within) <= PUTS_AT_ONCE + 0.1 * PUTS_PER_S


def test_the_broker_restarts_and_nothing_is_lost_or_told_twice() -> None:
    rooms = Rooms(3)
    one, other, third = rooms.servers
    nodes = [rooms.node(keys=number % 2 == 0) for number in range(50)]
    for number, node in enumerate(nodes):
        rooms.servers[number % 3].join(node)
    rooms.run_for(1)
    joined = [len(server.joined) for server in rooms.servers]
    for _ in range(20):
        rooms.broker.kill(rooms.now)
        rooms.run_for(2)
        assert all(len(server.known()) == 50 for server in rooms.servers)
        assert one.holder(nodes[1]) == other.id, "they are believed to be there for a while"
        rooms.broker.start(rooms.now)
        rooms.run_for(3)
        assert all(len(server.known()) == 50 for server in rooms.servers)
        assert rooms.agree()
    assert [len(server.joined) for server in rooms.servers] == joined
    assert third.left == []


def test_a_broker_that_lost_its_table_is_told_all_anew() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    nodes = [rooms.node() for _ in range(20)]
    for node in nodes:
        one.join(node)
    rooms.run_for(60)
    rooms.broker.kill(rooms.now)
    rooms.broker._table.clear()
    rooms.broker._revision = 0
    rooms.broker.start(rooms.now)
    rooms.run_for(3)
    assert len(other.known()) == 20
    rooms.run_for(120)
    assert len(other.known()) == 20
    assert len(rooms.broker.entries(rooms.now)) == 20


@pytest.mark.parametrize("seed", range(10))
def test_one_server_is_apart_for_a_minute_and_there_is_one_truth_after(seed: int) -> None:
    rooms = Rooms(3, seed=seed)
    one, _, third = rooms.servers
    nodes = [rooms.node(keys=number % 2 == 0) for number in range(60)]
    at = {node.node_id: rooms.servers[number % 3] for number, node in enumerate(nodes)}
    for node in nodes:
        at[node.node_id].join(node)
    rooms.run_for(1)
    rooms.broker.cut(third.bus, rooms.now)
    rooms.run_for(10)
    for number, node in enumerate(nodes):
        if number % 5 == 0:  # some of them move, some leave
            to = rooms.servers[(number + seed + 1) % 3]
            if to is not at[node.node_id]:
                rooms.move(node, at[node.node_id], to)
                at[node.node_id] = to
        elif number % 7 == 0:
            at.pop(node.node_id).leave(node)
    rooms.run_for(50)
    held = [peer.node_id for peer in third.state.peers]
    assert held, "it serves locally"
    rooms.broker.mend(third.bus, rooms.now)
    rooms.run_for(5)
    assert rooms.agree()
    truth = {node_id: server.id for node_id, server in at.items()}
    assert one.known() == truth


def test_others_are_believed_to_be_there_for_five_seconds_without_a_link() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node = rooms.node()
    other.join(node)
    rooms.run_for(1)
    rooms.broker.kill(rooms.now)
    rooms.run_for(4.9)
    assert one.holder(node) == other.id
    rooms.run_for(0.5)
    assert one.holder(node) is None
    assert not one.cluster.status(rooms.now).is_up


def test_a_refused_put_gives_way_to_what_stands_there() -> None:
    rooms = Rooms(3)
    one, other, third = rooms.servers
    node = rooms.node(keys=True)
    one.join(node)
    other.join(node)  # both put at the same time; the later statement wins
    rooms.run_for(2)
    assert rooms.agree()
    assert third.holder(node) == other.id
    assert rooms.broker.refused > 0


def test_an_entry_that_has_expired_unseen_is_put_again() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node = rooms.node()
    one.join(node)
    rooms.run_for(1)
    rooms.broker._table.clear()
    rooms.run_for(40)
    assert other.holder(node) == one.id
    assert len(rooms.broker.entries(rooms.now)) == 1


def test_an_entry_that_somebody_takes_away_or_alters_is_put_again_at_a_pace() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node = rooms.node()
    one.join(node)
    rooms.run_for(1)
    value = rooms.broker.entries(rooms.now)[node.node_id]
    before = rooms.broker.puts
    for number in range(100):
        altered = value.replace(node.name.encode(), b"evil-1")
        rooms.broker.put(node.node_id, altered if number % 2 else None, rooms.now)
        rooms.run_for(0.1)
    assert rooms.broker.puts - before < 20
    rooms.run_for(2)
    foreign = other.cluster.holder(node.node_id)
    assert foreign is not None
    assert foreign.info.name == node.name


def test_an_entry_in_this_servers_name_for_nobody_is_taken_away() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node, gone = rooms.node(), rooms.node()
    one.join(node)
    rooms.run_for(1)
    rooms.broker.put(gone.node_id, rooms.broker.entries(rooms.now)[node.node_id], rooms.now)
    rooms.run_for(1)
    assert other.holder(gone) is None
    assert set(rooms.broker.entries(rooms.now)) == {node.node_id}


def test_a_server_that_ends_takes_away_what_it_has_put() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    for _ in range(100):
        one.join(rooms.node())
    rooms.run_for(1)
    one.cluster.close(rooms.now)
    one.settle()
    rooms.run_for(0.1)
    assert other.known() == {}
    assert rooms.broker.entries(rooms.now) == {}
    assert one.state.elsewhere.holder("x") is None
    servers = other.cluster.servers(rooms.now)
    assert [server.is_draining for server in servers] == [True]


def test_what_is_being_taken_away_is_not_taken_away_twice_at_the_end() -> None:
    rooms = Rooms(2, latency_s=0.5)
    one, other = rooms.servers
    nodes = [rooms.node() for _ in range(20)]
    for node in nodes:
        one.join(node)
    rooms.run_for(5)
    assert len(other.known()) == 20
    noted = orders_noted(one, rooms)
    for node in nodes[:5]:
        one.leave(node)
    rooms.run_for(0.2)
    one.cluster.close(rooms.now)
    one.settle()
    deleted = [order.key for _, order in noted if isinstance(order, Delete)]
    assert sorted(deleted) == sorted(node.node_id for node in nodes)
    rooms.run_for(2)
    assert rooms.broker.entries(rooms.now) == {}


def test_two_servers_of_one_name_are_told_once_a_minute_and_serve() -> None:
    rooms = Rooms(1)
    one = rooms.servers[0]
    other = rooms.server(name="server-1")
    node = rooms.node()
    other.join(node)
    rooms.run_for(30)
    assert [kind.value for kind, _ in one.troubles] == ["same_name"]
    assert [kind.value for kind, _ in other.troubles] == ["same_name"]
    assert one.holder(node) == other.id
    rooms.run_for(60)
    assert len(one.troubles) == 2


def test_a_copied_identity_is_told_and_neither_tells_of_its_peers() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node = rooms.node()
    one.join(node)
    rooms.run_for(1)
    copy = rooms.server(like=one, name="copy")
    late = rooms.node()
    rooms.run_for(4)
    copy.join(late)
    rooms.run_for(4)
    assert [kind.value for kind, _ in one.troubles] == ["copied_identity"]
    assert [kind.value for kind, _ in copy.troubles] == ["copied_identity"]
    assert one.peer(node) is not None
    assert other.holder(late) is None
    copy.kill()
    rooms.run_for(6)
    one.join(late)
    rooms.run_for(1)
    assert other.holder(node) == other.holder(late) == one.id


def test_a_server_that_is_started_again_is_no_copy() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node = rooms.node()
    one.join(node)
    rooms.run_for(1)
    one.kill()
    again = rooms.server(like=one)
    again.join(node)
    rooms.run_for(2)
    assert other.holder(node) == again.id
    assert again.troubles == []
    rooms.run_for(100)
    assert other.holder(node) == again.id


def test_servers_know_each_other_how_far_they_are_and_which_clock_they_have() -> None:
    rooms = Rooms(3, latency_s=0.05)
    one, other, _ = rooms.servers
    changes: list[float] = []
    one.cluster.on_servers.append(changes.append)
    other.state.unix_offset += 7200
    rooms.run_for(5)
    status = {server.server_id: server for server in one.cluster.servers(rooms.now)}
    assert len(status) == 2
    found = status[other.id]
    assert found.name == "server-2"
    assert found.advertised == "10.9.0.2:8080"
    assert found.rtt_s is not None
    assert 0.18 <= found.rtt_s <= 0.25
    assert 7199 < found.clock_apart_s < 7201
    assert changes == []
    other.kill()
    rooms.run_for(5)
    assert len(changes) == 1


def test_how_many_entries_stand_there_is_counted() -> None:
    rooms = Rooms(3)
    rng, nodes = random.Random(1), [rooms.node() for _ in range(12)]
    at: dict[str, Server] = {}
    for step in range(120):
        node = rng.choice(nodes)
        holder = at.pop(node.node_id, None)
        if holder is not None:
            holder.leave(node)
        else:
            at[node.node_id] = rng.choice(rooms.servers)
            at[node.node_id].join(node)
        if step % 30 == 20:
            rooms.broker.kill(rooms.now)
        if step % 30 == 25:
            rooms.broker.start(rooms.now)
        rooms.run_for(rng.random() / 2)
        for server in rooms.servers:
            mine = server.cluster._mine
            assert len(mine) == sum(one.is_ours for one in mine._mine.values())
    rooms.run_for(10)
    entries = [server.cluster.status(rooms.now).entries for server in rooms.servers]
    assert sum(entries) == len(at) == len(rooms.broker.entries(rooms.now))


def test_an_entry_for_which_there_is_no_room_does_not_count_as_ordered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rooms = Rooms(2)
    one, _ = rooms.servers
    monkeypatch.setattr(room_of_cluster, "MAX_ORDERS", 0)
    one.join(rooms.node())
    rooms.run_for(1)
    assert one.cluster.status(rooms.now).puts == 0
    monkeypatch.undo()
    rooms.run_for(60)
    assert one.cluster.status(rooms.now).puts >= 1
