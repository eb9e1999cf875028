"""What a server believes of the table: by revision, by signature, and by its own clock."""

import gc
import tracemalloc

import pytest

from p2ptui.core.cluster.others import SILENT_S
from p2ptui.core.cluster.view import (
    AGE_TICK_S,
    AGED_AT_ONCE,
    FEW,
    HEARTBEAT_S,
    LIVES,
    MAX_IN_USE,
    MOVED_S,
    VERIFIED_PER_S,
)
from p2ptui.node.lookup import may_mean
from p2ptui.secure.presence import sign_presence
from p2ptui.wire.cluster import (
    About,
    Beacon,
    Presence,
    encode_about,
    encode_presence,
)
from p2ptui.wire.frames import node_id_bytes
from tests.core.cluster_rooms import FakeNode, Rooms, server_keys, signed

FORGERS_KEYS = server_keys(1_000_000)
LIFE_S = LIVES * HEARTBEAT_S
FORGER = FORGERS_KEYS.id


def written(
    rooms: Rooms,
    node: FakeNode,
    server_id: str,
    *,
    counter: int = 0,
    signature: bytes | None = None,
    instance: bytes = b"instance",
    network: str | None = None,
    host: str = "192.0.2.7",
    name: str = "forged",
) -> bytes:
    """An entry as somebody may write it who reaches the broker."""
    keys = b""
    if node.identity is not None:
        keys = node.identity.x_public + node.identity.ed_public
        if counter and signature is None:
            signature = sign_presence(node.identity, server_id, counter, rooms.network)
    about = encode_about(About(host, 4000, True, name, "1.0", keys=keys))
    presence = Presence(
        rooms.network if network is None else network,
        node_id_bytes(server_id),
        instance,
        counter,
        signature or b"",
        about,
    )
    return encode_presence(presence)


def alive(rooms: Rooms, server_id: str = FORGER, instance: bytes = b"instance") -> None:
    """Somebody says that a server is there."""
    keys = {server.id: server.identity for server in rooms.servers} | {FORGER: FORGERS_KEYS}
    beacon = Beacon(rooms.network, node_id_bytes(server_id), instance, "forger", "", 0, False, 1, 1)
    rooms.broker.publish("servers", signed(keys[server_id], beacon, rooms.now), rooms.now)


def forge(rooms: Rooms, node: FakeNode, server_id: str = FORGER, **fields: object) -> None:
    """Write an entry, by a server that says it is there."""
    alive(rooms, server_id)
    rooms.broker.put(node.node_id, written(rooms, node, server_id, **fields), rooms.now)  # type: ignore[arg-type]
    rooms.run_for(0.1)


@pytest.fixture
def rooms() -> Rooms:
    return Rooms(3)


def test_all_that_a_server_tells_of_its_peer_is_known_to_the_others(rooms: Rooms) -> None:
    one, other, _ = rooms.servers
    node = rooms.node(keys=True)
    peer = one.join(node)
    rooms.run_for(0.1)
    foreign = other.cluster.holder(node.node_id)
    assert foreign is not None
    assert node.identity is not None
    assert (foreign.node_id, foreign.server_id, foreign.proved) == (node.node_id, one.id, True)
    assert foreign.address == peer.address
    assert foreign.keys == node.identity.keys.text
    assert foreign.info.name == node.name
    assert set(foreign.info.capabilities) == set(peer.facts.info.capabilities)  # type: ignore[union-attr]
    assert [one.node_id for one in other.joined] == [node.node_id]
    assert one.joined == []


def test_who_has_not_proved_its_address_is_told_to_nobody(rooms: Rooms) -> None:
    one, other, _ = rooms.servers
    node = rooms.node()
    peer = one.join(node, proved=False)
    rooms.run_for(1)
    assert other.holder(node) is None
    peer.proved = True
    for listener in one.delivery.on_proved:
        listener(peer, rooms.now)
    rooms.run_for(0.1)
    assert other.holder(node) == one.id


def test_a_node_that_leaves_is_gone_everywhere(rooms: Rooms) -> None:
    one, other, _ = rooms.servers
    node = rooms.node()
    one.join(node)
    rooms.run_for(0.1)
    one.leave(node)
    rooms.run_for(0.1)
    assert other.holder(node) is None
    assert other.left == [node.node_id]
    assert rooms.broker.entries(rooms.now) == {}


def test_a_node_that_leaves_and_comes_back_at_once_is_told_of(rooms: Rooms) -> None:
    one, other, _ = rooms.servers
    node = rooms.node()
    one.join(node)
    rooms.run_for(5)
    one.leave(node)
    while not any(mine.ordered_at for mine in one.cluster._mine._mine.values()):
        rooms.run_for(0.001)
    one.join(node)
    rooms.run_for(1.5)
    assert other.holder(node) == one.id


def test_a_node_that_has_signed_is_taken_over_by_a_newer_statement_only(rooms: Rooms) -> None:
    one, other, third = rooms.servers
    node = rooms.node(keys=True)
    node.counter = 10
    one.join(node)
    rooms.run_for(0.1)
    for counter in (5, 11):
        forge(rooms, node, counter=counter)
        assert third.holder(node) == one.id
        rooms.run_for(3)
        assert third.holder(node) == one.id
    rooms.move(node, one, other)
    rooms.run_for(2)
    assert one.holder(node) == third.holder(node) == other.id


def test_a_false_statement_is_not_believed(rooms: Rooms) -> None:
    one = rooms.servers[0]
    node = rooms.node(keys=True)
    forge(rooms, node, counter=7, signature=bytes(64))
    assert one.holder(node) is None
    assert one.drops == {"cluster_false_statement": 1}


def test_a_statement_for_another_server_is_not_believed(rooms: Rooms) -> None:
    one, other, _ = rooms.servers
    node = rooms.node(keys=True)
    assert node.identity is not None
    forge(
        rooms, node, counter=7, signature=sign_presence(node.identity, other.id, 7, rooms.network)
    )
    assert one.holder(node) is None


def test_a_statement_for_another_network_is_not_believed(rooms: Rooms) -> None:
    one = rooms.servers[0]
    node = rooms.node(keys=True)
    assert node.identity is not None
    forge(rooms, node, counter=7, signature=sign_presence(node.identity, FORGER, 7, "another"))
    assert one.holder(node) is None
    assert one.drops == {"cluster_false_statement": 1}


def test_keys_that_make_another_id_are_not_believed(rooms: Rooms) -> None:
    one = rooms.servers[0]
    node, other = rooms.node(keys=True), rooms.node(keys=True)
    node.identity = other.identity
    forge(rooms, node)
    assert one.holder(node) is None
    assert one.drops == {"cluster_malformed": 1}


def test_an_unsigned_entry_never_displaces_a_signed_one(rooms: Rooms) -> None:
    one, other, _ = rooms.servers
    node = rooms.node(keys=True)
    one.join(node)
    rooms.run_for(0.1)
    forge(rooms, node)
    assert other.holder(node) == one.id
    assert other.drops["cluster_unsigned"] == 1
    rooms.run_for(2)
    assert rooms.agree()
    assert b"forged" not in rooms.broker.entries(rooms.now)[node.node_id]


def test_a_server_that_says_less_of_its_node_loses_none_of_its_right(rooms: Rooms) -> None:
    """A node begins a new session with the same server, and has not signed again yet."""
    one, other, _ = rooms.servers
    node = rooms.node(keys=True)
    one.join(node)
    rooms.run_for(0.1)
    one.leave(node)
    one.join(node, says_so=False)
    rooms.run_for(0.2)
    assert other.holder(node) == one.id
    forge(rooms, node)
    assert other.holder(node) == one.id


def test_an_entry_that_says_nothing_new_costs_no_verifying(rooms: Rooms) -> None:
    one, other, _ = rooms.servers
    nodes = [rooms.node(keys=True) for _ in range(3)]
    for node in nodes:
        one.join(node)
    rooms.run_for(0.2)
    other.cluster._view._budget.take(rooms.now, VERIFIED_PER_S)
    left = other.cluster._view._budget._tokens
    one.cluster._mine.mark_all(rooms.now)
    other.cluster._view._budget.set_rate(0.001)
    rooms.run_for(3 * HEARTBEAT_S)
    assert other.cluster._view._budget._tokens <= max(left, 1)
    assert all(other.holder(node) == one.id for node in nodes)


def test_statements_are_verified_at_a_pace_whoever_writes_them(rooms: Rooms) -> None:
    one, other, third = rooms.servers
    node = rooms.node(keys=True)
    one.join(node)
    rooms.run_for(0.1)
    alive(rooms)
    rooms.run_for(0.1)
    flood = 2 * VERIFIED_PER_S
    for number in range(flood):
        entry = written(rooms, node, FORGER, counter=100 + number, signature=bytes(64))
        rooms.broker.put(node.node_id, entry, rooms.now)
    rooms.run_for(0.01)
    verified = third.drops["cluster_false_statement"]
    assert VERIFIED_PER_S <= verified < VERIFIED_PER_S + 100
    rooms.run_for(5)
    assert third.holder(node) == one.id
    rooms.move(node, one, other)
    node.counter = 500
    assert other.say(node)
    rooms.run_for(3)
    assert third.holder(node) == other.id


def test_an_older_revision_changes_nothing(rooms: Rooms) -> None:
    one, other, _ = rooms.servers
    node = rooms.node()
    one.join(node)
    rooms.run_for(0.1)
    entry = written(rooms, node, FORGER)
    other.cluster.receive_entry(node.node_id, entry, 1, rooms.now)
    other.cluster.receive_entry(node.node_id, None, 1, rooms.now)
    assert other.holder(node) == one.id
    assert other.drops["cluster_old"] == 1


def test_an_entry_that_is_not_put_again_ages_by_this_servers_clock(rooms: Rooms) -> None:
    one = rooms.servers[0]
    node = rooms.node()
    forge(rooms, node)
    end = rooms.now + LIFE_S
    while rooms.now < end - 5:
        assert one.holder(node) == FORGER
        alive(rooms)
        rooms.run_for(2)
    rooms.run_for(8)
    alive(rooms)
    rooms.run_for(0.1)
    assert one.holder(node) is None
    assert one.left == [node.node_id]


def test_a_quiet_node_is_put_twice_a_minute(rooms: Rooms) -> None:
    one, other, _ = rooms.servers
    nodes = [rooms.node() for _ in range(100)]
    for node in nodes:
        one.join(node)
    rooms.run_for(HEARTBEAT_S)
    before = rooms.broker.puts
    rooms.run_for(600)
    assert 19 <= (rooms.broker.puts - before) / len(nodes) <= 21
    assert all(other.holder(node) == one.id for node in nodes)


def test_the_nodes_of_a_silent_server_cannot_be_reached_and_are_not_forgotten(
    rooms: Rooms,
) -> None:
    one, other, _ = rooms.servers
    node = rooms.node()
    one.join(node)
    rooms.run_for(0.1)
    one.kill()
    rooms.run_for(3)
    assert other.holder(node) == one.id
    rooms.run_for(1)
    assert other.holder(node) is None
    assert list(other.cluster.nodes()) == []
    assert other.left == []
    again = rooms.server(like=one)
    rooms.run_for(1)
    assert other.holder(node) is None, "what a former run has put is not what it holds"
    again.join(node)
    rooms.run_for(0.2)
    assert other.holder(node) == one.id


def test_the_view_has_a_limit() -> None:
    rooms = Rooms(4)
    small = rooms.server(max_nodes=30)
    nodes = [rooms.node() for _ in range(36)]
    for number, node in enumerate(nodes):
        rooms.servers[number % 4].join(node)
    rooms.run_for(1.5)
    assert len(list(small.cluster.nodes())) == 30
    assert small.drops == {"cluster_nodes_full": 6}
    rooms.servers[0].leave(nodes[0])
    rooms.run_for(2 * HEARTBEAT_S)
    assert len(list(small.cluster.nodes())) == 30


def test_a_node_elsewhere_takes_less_than_600_bytes() -> None:
    rooms = Rooms(1)
    one = rooms.servers[0]
    one.cluster.on_joined_elsewhere.clear()
    count = 4_000
    entries = []
    for number in range(count):
        node = rooms.node()
        entries.append((node.node_id, written(rooms, node, FORGER, name=f"name-{number}" * 3)))
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number, (node_id, entry) in enumerate(entries, 1):
        one.cluster.receive_entry(node_id, entry, number, rooms.now + number / 1000)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(one.cluster._view) == count
    keys_bytes = 64 + 8  # which these have not
    assert (after - before) / count + keys_bytes < 600


def test_lists_begin_with_whom_was_told_of_last_and_bear_changes(rooms: Rooms) -> None:
    one, other, _ = rooms.servers
    nodes = [rooms.node() for _ in range(5)]
    for node in nodes:
        one.join(node)
        rooms.run_for(0.2)
    listed = other.cluster.nodes()
    assert next(listed).node_id == nodes[-1].node_id
    one.leave(nodes[0])
    rooms.run_for(0.2)
    assert [foreign.node_id for foreign in listed] == [node.node_id for node in nodes[3:0:-1]]


def test_the_nodes_of_a_server_that_dies_have_left_unless_they_are_elsewhere_by_then() -> None:
    rooms = Rooms(3)
    one, other, third = rooms.servers
    stays, moves, comes_here = (rooms.node(keys=True) for _ in range(3))
    for node in (stays, moves, comes_here):
        other.join(node)
    rooms.run_for(1)
    other.kill()
    rooms.run_for(SILENT_S + 0.5)
    assert [one.holder(node) for node in (stays, moves, comes_here)] == [None] * 3
    third.join(moves)
    one.join(comes_here)
    rooms.run_for(MOVED_S - 2)
    assert one.left == []
    rooms.run_for(2)
    assert one.left == [stays.node_id]
    assert one.holder(moves) == third.id
    rooms.run_for(2 * LIFE_S)
    assert one.left == [stays.node_id], "that is no news when its entry has aged"


def test_the_nodes_of_a_server_that_was_cut_off_come_back_with_it() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node = rooms.node(keys=True)
    other.join(node)
    rooms.run_for(1)
    for _ in range(2):
        one.joined.clear()
        one.left.clear()
        rooms.broker.cut(other.bus, rooms.now)
        rooms.run_for(SILENT_S + MOVED_S + 1)
        assert one.left == [node.node_id]
        assert one.joined == []
        rooms.broker.mend(other.bus, rooms.now)
        rooms.run_for(3)
        assert one.holder(node) == other.id
        assert node.node_id in [foreign.node_id for foreign in one.joined]
        assert one.left == [node.node_id]


def test_what_is_asked_for_often_is_as_new_as_what_was_told() -> None:
    rooms = Rooms(3)
    one, other, third = rooms.servers
    node = rooms.node(keys=True)
    other.join(node)
    rooms.run_for(1)
    first = one.cluster.holder(node.node_id)
    assert first is not None
    assert one.cluster.holder(node.node_id) is first, "it is not read again for each datagram"
    rooms.run_for(HEARTBEAT_S)
    again = one.cluster.holder(node.node_id)
    assert again is not None
    assert again.heard_at > first.heard_at
    rooms.move(node, other, third)
    rooms.run_for(1)
    assert one.holder(node) == third.id
    third.kill()
    rooms.run_for(SILENT_S + 0.5)
    assert one.holder(node) is None
    for _ in range(MAX_IN_USE + 10):
        other.join(rooms.node())
    rooms.run_for(2)
    for foreign in one.cluster.nodes():
        one.cluster.holder(foreign.node_id)
    assert len(one.cluster._view._in_use) == MAX_IN_USE


def test_entries_that_age_together_are_given_up_a_few_at_a_time() -> None:
    rooms = Rooms(1)
    one = rooms.servers[0]
    alive(rooms)
    rooms.run_for(0.1)
    count, view = 10 * AGED_AT_ONCE + 3, one.cluster._view
    for number in range(1, count + 1):
        node = rooms.node()
        entry = written(rooms, node, FORGER)
        one.cluster.receive_entry(node.node_id, entry, number, rooms.now)
    dropped_at: list[float] = []
    view.on_change = lambda _, now: dropped_at.append(now)
    rooms.run_for(LIFE_S + 3 * AGE_TICK_S)
    assert len(view) == 0
    assert len(dropped_at) == count
    assert max(map(dropped_at.count, set(dropped_at))) == AGED_AT_ONCE


def test_a_full_view_knows_which_entry_a_node_that_comes_here_replaces() -> None:
    rooms = Rooms(4)
    small = rooms.server(max_nodes=30)
    nodes = [rooms.node(keys=True) for _ in range(36)]
    for number, node in enumerate(nodes):
        rooms.servers[number % 4].join(node)
    rooms.run_for(1.5)
    left_out = [node for node in nodes if small.holder(node) is None]
    assert len(left_out) == small.drops["cluster_nodes_full"] == 6
    for node in left_out:
        assert small.cluster._view.standing(node.node_id) > 0
    number = nodes.index(left_out[0]) % 4
    refused = small.cluster.status(rooms.now).refused
    rooms.move(left_out[0], rooms.servers[number], small)
    rooms.run_for(1.5)
    assert small.cluster.status(rooms.now).refused == refused
    assert rooms.servers[(number + 1) % 4].holder(left_out[0]) == small.id


def test_lists_that_go_out_in_parts_share_one_copy_of_many_ids() -> None:
    rooms = Rooms(1)
    one = rooms.servers[0]
    alive(rooms)
    rooms.run_for(0.1)
    view, nodes = one.cluster._view, [rooms.node() for _ in range(FEW + 2)]
    for number, node in enumerate(nodes[:-1], 1):
        one.cluster.receive_entry(node.node_id, written(rooms, node, FORGER), number, rooms.now)
    ids = view._ids()
    assert view._ids() is ids
    late = nodes[-1]
    one.cluster.receive_entry(late.node_id, written(rooms, late, FORGER), 5000, rooms.now)
    one.cluster.receive_entry(nodes[0].node_id, None, 5001, rooms.now)
    assert [foreign.node_id for foreign in view.nodes()] == [
        node.node_id for node in nodes[-2:0:-1]
    ]
    alive(rooms)
    rooms.run_for(2 * AGE_TICK_S)
    assert next(view.nodes()).node_id == late.node_id
    assert view.reachable() == FEW + 1
    rooms.run_for(SILENT_S + 0.5)
    assert view.reachable() == 0


def test_whom_a_text_may_mean_is_found_without_reading_all() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    names = ["anna", "Anna", "ann", "anna-1", "bücher", "x" * 64, "x" * 70, "e\x1bvil", "ca11"]
    nodes = [rooms.node() for _ in names]
    for node, name in zip(nodes, names, strict=True):
        node.name = name
        other.join(node)
    rooms.run_for(1)
    texts = ["anna", "ANNA", "nobody", "bücher", "x" * 64, "x" * 80, "e\x1bvil", "0000000", "ca11"]
    for text in [*texts, *(node.node_id[:8].upper() for node in nodes)]:
        all_meant = {
            each.node_id for each in one.cluster.nodes() if may_mean(text, each.node_id, each.name)
        }
        meant = [f for f in one.cluster.nodes(text) if may_mean(text, f.node_id, f.name)]
        assert {each.node_id for each in meant} == all_meant
        assert len(meant) == len(all_meant)
    assert [each.name for each in one.cluster.nodes("bücher")] == ["bücher"]
    assert list(one.cluster.nodes("nobody")) == []
