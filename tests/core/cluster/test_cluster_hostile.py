"""Whoever reaches the broker writes what it likes: nothing raises, grows, or is trusted."""

import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptui.core.cluster.others import (
    LOST_AT_ONCE,
    MAX_RUNS,
    MESSAGES_PER_S,
    NEWCOMERS_AT_ONCE,
    NEWCOMERS_PER_S,
)
from p2ptui.core.cluster.presence import MAX_DISOWNED
from p2ptui.core.cluster.tellings import TOLD_AT_ONCE
from p2ptui.core.cluster.view import MAX_ODD
from p2ptui.secure.identity import Identity
from p2ptui.wire.cluster import (
    KNOWN_CAPABILITIES,
    MAX_MESSAGE_BYTES,
    MAX_PRESENCE_BYTES,
    About,
    Beacon,
    Claim,
    Echo,
    HandOver,
    Held,
    Message,
    Presence,
    Released,
    Undelivered,
    decode_about,
    decode_message,
    decode_presence,
    encode_about,
    encode_message,
    encode_presence,
    is_this_version,
    joined_capabilities,
    signed_part,
    split_capabilities,
)
from p2ptui.wire.codec import MalformedError
from p2ptui.wire.frames import node_id_bytes
from tests.core.cluster_rooms import FakeNode, Rooms, Server, node_id_of, server_keys, signed

RAW = bytes(range(16))
HEAD = ("p2p_default", RAW, b"instance")
MESSAGES: tuple[Message, ...] = (
    Beacon(*HEAD, "name", "10.0.0.1:80", 7, False, 1, 2, (Echo(RAW, 1, 2),)),
    Claim(*HEAD, RAW),
    Held(*HEAD, RAW),
    Released(*HEAD, RAW),
    HandOver(*HEAD, 1, RAW, RAW, "ref", b"body"),
    Undelivered(*HEAD, 1, 1, RAW, RAW, "ref"),
)
ABOUT = About("192.0.2.1", 80, True, "name", "1.0", 7, ("x",), {"k": "v"}, bytes(64), b"bootboot")
OPEN = About("192.0.2.7", 4000, True, "evil", "1.0")
UNKEYED = About("192.0.2.1", 80, True, "name", "1.0")
PRESENCE = Presence(*HEAD, 3, bytes(64), encode_about(ABOUT))


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_comes_as_it_was(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


def test_an_entry_comes_as_it_was() -> None:
    read = decode_presence(encode_presence(PRESENCE))
    assert decode_about(read.node) == ABOUT
    assert (read.network, read.server, read.counter) == (HEAD[0], RAW, 3)


def test_capabilities_are_bits_and_what_is_no_bit_is_written_out() -> None:
    names = ("handshake", "files", "something_new")
    bits, others = split_capabilities(names)
    assert others == ("something_new",)
    assert joined_capabilities(bits, others) == names
    assert len(KNOWN_CAPABILITIES) < 32


def test_what_a_later_version_adds_at_the_end_is_passed_over() -> None:
    data = encode_message(MESSAGES[1])
    fields = msgspec.msgpack.decode(data[1:])
    longer = data[:1] + msgspec.msgpack.encode([*fields, "later", 7])
    assert decode_message(longer) == MESSAGES[1]


@pytest.mark.parametrize("data", [b"", b"\x02", b"\x00\x90", b"{}", b"\xff" * 100])
def test_another_version_is_told_apart(data: bytes) -> None:
    assert not is_this_version(data)
    with pytest.raises(MalformedError):
        decode_message(data)
    with pytest.raises(MalformedError):
        decode_presence(data)


def test_what_is_too_large_is_not_read() -> None:
    for decode, most in (
        (decode_message, MAX_MESSAGE_BYTES),
        (decode_presence, MAX_PRESENCE_BYTES),
    ):
        with pytest.raises(MalformedError):
            decode(b"\x01" + bytes(most))
    with pytest.raises(MalformedError):
        encode_message(HandOver(*HEAD, 1, RAW, RAW, "", bytes(MAX_MESSAGE_BYTES)))


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for decode in (decode_message, decode_presence, decode_about):
        for each in (data, b"\x01" + data):
            try:
                decode(each)
            except MalformedError:
                continue


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A few bytes of it are others, or it is cut, or longer."""
    raw = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    if rng.random() < 0.2:
        del raw[rng.randrange(len(raw)) :]
    if rng.random() < 0.1:
        raw += rng.randbytes(rng.randrange(3000))
    return bytes(raw)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32))
def test_a_room_takes_whatever_comes(seed: int) -> None:
    rng = random.Random(seed)
    rooms = Rooms(2, seed=seed)
    one, other = rooms.servers
    nodes = [rooms.node(keys=number % 2 == 0) for number in range(4)]
    for node in nodes:
        one.join(node)
    rooms.run_for(0.5)
    own = other.cluster._own
    samples: list[bytes] = [encode_message(message) for message in MESSAGES]
    for message in MESSAGES:  # and likewise by a server that is there
        known = msgspec.structs.replace(message, server=own.server, instance=own.instance)
        samples.append(encode_message(known))
    entries = [*rooms.broker.entries(rooms.now).values(), encode_presence(PRESENCE)]
    ids = [node.node_id for node in nodes] + [node_id_of(99), "no-id", "", one.id, "x" * 5000]
    for _ in range(300):
        choice = rng.random()
        if choice < 0.4:
            data = mutated(rng.choice(samples), rng)
            subject = rng.choice(["servers", one.id])
            one.cluster.receive_message(subject, data, rooms.now)
        elif choice < 0.8:
            value = None if rng.random() < 0.1 else mutated(rng.choice(entries), rng)
            rooms.broker.put(rng.choice(ids), value, rooms.now)
        elif choice < 0.9:
            one.cluster.handle_put(rng.choice(ids), rng.randrange(1000), rooms.now)
        else:
            one.cluster.handle_refused(rng.choice(ids), rooms.now)
        if rng.random() < 0.05:
            rooms.run_for(rng.random())
    rooms.run_for(100)
    assert len(one.state.peers) == 4
    for node in nodes:
        assert other.holder(node) == one.id, other.drops


def test_another_network_and_another_version_are_told_once() -> None:
    rooms = Rooms(1)
    one = rooms.servers[0]
    for number in range(50):
        foreign = Beacon("other net", RAW, b"instance", "n", "", 0, False, 1, 1)
        rooms.broker.publish("servers", encode_message(foreign), rooms.now)
        rooms.broker.publish("servers", b"\x02later", rooms.now)
        rooms.broker.put(node_id_of(number), b"{}", rooms.now)
        strange = Presence("other net", RAW, b"instance", 0, b"", encode_about(ABOUT))
        rooms.broker.put(node_id_of(1000 + number), encode_presence(strange), rooms.now)
        rooms.run_for(0.1)
    assert sorted(kind.value for kind, _ in one.troubles) == ["other_network", "other_version"]
    assert one.drops["cluster_network"] == 100
    assert one.drops["cluster_version"] == 100
    assert list(one.cluster.nodes()) == []
    assert one.cluster.servers(rooms.now) == []


def test_servers_without_end_take_the_room_of_those_that_are_there_not() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node = rooms.node()
    other.join(node)
    rooms.run_for(0.5)
    for number in range(5 * MAX_RUNS):
        beacon = Beacon("p2p_default", RAW, b"instance", "n", "", 0, False, 1, 1)
        data = signed(server_keys(1000 + number), beacon, rooms.now)
        rooms.broker.publish("servers", data, rooms.now)
        rooms.run_for(0.001)
    rooms.run_for(0.1)
    assert one.drops["cluster_beacons_busy"] > 0
    assert len(one.cluster.servers(rooms.now)) <= MAX_RUNS
    rooms.run_for(10)
    assert one.holder(node) == other.id
    assert len(one.cluster.servers(rooms.now)) == 1


class Invented:
    """Servers that somebody with the broker's password invents; they beacon as true ones do."""

    def __init__(self, rooms: Rooms, first: int, count: int) -> None:
        self._rooms = rooms
        self._keys = [server_keys(number) for number in range(first, first + count)]
        self.ids = {keys.id for keys in self._keys}

    def beacon(self) -> None:
        """Each once, spread over a second."""
        for keys in self._keys:
            beacon = Beacon("p2p_default", RAW, b"instance", "n", "", 0, False, 1, 1)
            self._rooms.broker.publish(
                "servers", signed(keys, beacon, self._rooms.now), self._rooms.now
            )
            self._rooms.run_for(1 / len(self._keys))

    def put_entries(self, first: int) -> None:
        """A node for each, without keys."""
        for number, keys in enumerate(self._keys):
            raw = node_id_bytes(keys.id)
            entry = Presence("p2p_default", raw, b"instance", 0, b"", encode_about(OPEN))
            node_id = node_id_of(first + number)
            self._rooms.broker.put(node_id, encode_presence(entry), self._rooms.now)


def test_invented_servers_leave_a_true_one_its_chance_of_a_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("p2ptui.core.cluster.others.MAX_RUNS", 8)
    rooms = Rooms(2)
    one, other = rooms.servers
    node = rooms.node()
    other.join(node)
    rooms.run_for(2)
    invented = Invented(rooms, 1000, 8)
    for _ in range(3):
        invented.beacon()
    late = rooms.server()
    held = rooms.node()
    late.join(held)
    came = 0
    for _ in range(120):
        invented.beacon()
        there = {server.server_id for server in one.cluster.servers(rooms.now)}
        assert len(there) <= 8
        assert other.id in there, "who holds nodes keeps its place"
        came += late.id in there
        if came > 1:
            assert one.holder(held) == late.id, "and has it for good once its nodes are known"
    assert came > 90


def test_servers_come_and_go_no_faster_than_a_limit_where_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("p2ptui.core.cluster.others.MAX_RUNS", 8)
    rooms = Rooms(1)
    one = rooms.servers[0]
    lost: list[str] = []
    one.cluster._others.on_silent.append(lambda run, _: lost.append(run.server_id))
    invented = Invented(rooms, 1000, 40)
    for _ in range(20):
        invented.beacon()
    assert len(one.cluster.servers(rooms.now)) == 8
    assert len(lost) <= NEWCOMERS_AT_ONCE + 20 * NEWCOMERS_PER_S


def test_who_invents_a_node_for_each_server_too_keeps_later_ones_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This is what is left to whoever writes to the broker; docs/security.md says so."""
    monkeypatch.setattr("p2ptui.core.cluster.others.MAX_RUNS", 8)
    rooms = Rooms(2)
    one, other = rooms.servers
    node = rooms.node()
    other.join(node)
    invented = Invented(rooms, 1000, 8)
    invented.beacon()
    invented.put_entries(10_000)
    late = rooms.server()
    for _ in range(10):
        invented.beacon()
    there = {server.server_id for server in one.cluster.servers(rooms.now)}
    assert other.id in there
    assert late.id not in there
    assert one.holder(node) == other.id


def test_beacons_of_invented_servers_take_no_time_from_those_that_are_there() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    rooms.run_for(2)
    strangers = [server_keys(5000 + number) for number in range(300)]
    for _ in range(5):
        for keys in strangers:
            for _ in range(4):  # each was verified once, and says more than a true one
                beacon = Beacon("p2p_default", RAW, b"instance", "n", "", 0, False, 1, 1)
                data = signed(keys, beacon, rooms.now)
                one.cluster.receive_message("servers", data, rooms.now)
            rooms.run_for(0.004)
        assert other.id in {server.server_id for server in one.cluster.servers(rooms.now)}


def test_a_beacon_that_its_server_has_not_signed_or_that_comes_again_is_dropped() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    heard: list[bytes] = []
    receive = one.cluster.receive_message
    one.cluster.receive_message = lambda *what: (heard.append(what[1]), receive(*what))  # type: ignore[method-assign,assignment,func-returns-value]
    rooms.run_for(3)
    one.cluster.receive_message = receive  # type: ignore[method-assign]
    beacons = [decode_message(data) for data in heard]
    true = next(
        b for b in beacons if isinstance(b, Beacon) and b.server == other.cluster._own.server
    )
    before = len(one.cluster.servers(rooms.now))
    later = msgspec.structs.replace(true, counter=true.counter + 10**9)
    forger = server_keys(77)
    keyed = msgspec.structs.replace(
        later,
        keys=forger.x_public + forger.ed_public,
        signature=forger.sign(signed_part(later)),
    )
    for cause, forged in (
        ("cluster_old_beacon", true),
        ("cluster_false_beacon", later),
        ("cluster_false_beacon", keyed),
        ("cluster_unsigned_beacon", msgspec.structs.replace(later, signature=b"")),
        ("cluster_unsigned_beacon", msgspec.structs.replace(later, keys=b"", signature=b"")),
    ):
        count = one.drops.get(cause, 0)
        one.cluster.receive_message("servers", encode_message(forged), rooms.now)
        assert one.drops[cause] == count + 1
    assert len(one.cluster.servers(rooms.now)) == before
    rooms.run_for(10)
    assert len(one.cluster.servers(rooms.now)) == before, "the true one is heard still"


def test_forged_twins_and_what_a_former_run_has_signed_stop_nobody() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    kept = signed(one.identity, Beacon("p2p_default", RAW, b"formerly", "n", "", 0, False, 1, 1), 0)
    own = one.cluster._own
    twin = Beacon("p2p_default", own.server, b"pretends", "n", "", 0, False, 1, 1)
    for _ in range(8):
        rooms.broker.publish("servers", kept, rooms.now)
        rooms.broker.publish("servers", encode_message(twin), rooms.now)
        rooms.run_for(1)
    assert one.troubles == []
    node = rooms.node()
    one.join(node)
    rooms.run_for(0.5)
    assert other.holder(node) == one.id
    assert one.drops == {"cluster_old_beacon": 8, "cluster_unsigned_beacon": 8}


def test_entries_of_servers_that_were_never_heard_keep_no_server_out() -> None:
    rooms = Rooms(2)
    one = rooms.servers[0]
    for number in range(2 * MAX_RUNS):
        raw = number.to_bytes(16, "big")
        forged = Presence("p2p_default", raw, b"instance", 0, b"", encode_about(UNKEYED))
        rooms.broker.put(node_id_of(10_000 + number), encode_presence(forged), rooms.now)
    rooms.run_for(0.1)
    assert one.drops["cluster_servers_full"] >= MAX_RUNS
    late = rooms.server()
    node = rooms.node()
    late.join(node)
    rooms.run_for(2)
    assert len(one.cluster.servers(rooms.now)) == 2
    assert one.holder(node) == late.id


def test_entries_that_are_not_believed_take_a_bounded_room() -> None:
    rooms = Rooms(1)
    one = rooms.servers[0]
    for number in range(MAX_ODD + 500):
        one.cluster.receive_entry(node_id_of(number), b"\x01bad", number + 1, rooms.now)
    assert len(one.cluster._view._odd) == MAX_ODD
    assert one.drops == {"cluster_malformed": MAX_ODD + 500}


def test_entries_in_this_servers_name_leave_room_for_its_peers() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node, late = rooms.node(), rooms.node()
    one.join(node)
    rooms.run_for(0.5)
    entry = rooms.broker.entries(rooms.now)[node.node_id]
    for number in range(3 * MAX_DISOWNED):
        rooms.broker.put(node_id_of(10_000 + number), entry, rooms.now)
    rooms.run_for(0.1)
    assert one.drops["cluster_disowned_full"] == 2 * MAX_DISOWNED
    one.join(late)
    rooms.run_for(3)
    assert other.holder(late) == one.id
    assert len(rooms.broker.entries(rooms.now)) == 2 + 2 * MAX_DISOWNED


def test_one_server_fills_no_more_than_its_part() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    small = rooms.server(max_nodes=30)
    for _ in range(15):
        one.join(rooms.node())
    rooms.run_for(1)
    other.join(rooms.node())
    rooms.run_for(1)
    assert len(list(small.cluster.nodes())) == 11
    assert small.drops == {"cluster_nodes_full": 5}


def test_a_faulty_server_is_read_at_a_pace() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node = rooms.node()
    one.join(node)
    rooms.run_for(1)
    own = other.cluster._own
    target = node_id_bytes(node.node_id)
    over = HandOver(own.network, own.server, own.instance, 1, RAW, target, "", b"x")
    data = encode_message(over)
    for _ in range(MESSAGES_PER_S + 1000):
        one.cluster.receive_message(one.id, data, rooms.now)
    assert len(one.taker.taken) <= MESSAGES_PER_S
    assert one.drops["cluster_rate"] >= 1000


def test_whoever_was_never_heard_hands_nothing_over() -> None:
    rooms = Rooms(1)
    one = rooms.servers[0]
    node = rooms.node()
    one.join(node)
    over = HandOver(*HEAD, 1, RAW, node_id_bytes(node.node_id), "", b"x")
    one.cluster.receive_message(one.id, encode_message(over), rooms.now)
    assert one.taker.taken == []
    assert one.drops == {"cluster_unknown_server": 1}


def test_a_name_that_cannot_be_written_is_told_to_nobody() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node, fine = rooms.node(), rooms.node()
    node.name = "half \ud800 of a pair"
    one.join(node)
    one.join(fine)
    rooms.run_for(1)
    assert other.holder(node) is None
    assert other.holder(fine) == one.id
    assert one.drops["cluster_unwritable"] >= 1


def test_no_server_takes_a_signed_node_by_handing_something_over() -> None:
    rooms = Rooms(3)
    one, other, evil = rooms.servers
    node, target = rooms.node(keys=True), rooms.node()
    one.join(node)
    other.join(target)
    rooms.run_for(2)
    one.kill()
    rooms.run_for(4)
    assert other.holder(node) is None
    for keys in (b"", node.identity.keys.x_public + node.identity.keys.ed_public):  # type: ignore[union-attr]
        say_passing(rooms, evil, other, node, target, keys)
        assert other.holder(node) is None
    assert other.drops["cluster_unsigned"] == 2


def test_an_id_made_of_keys_is_not_taken_without_them() -> None:
    rooms = Rooms(2)
    evil, other = rooms.servers
    node, target = rooms.node(keys=True), rooms.node()
    other.join(target)
    rooms.run_for(1)
    say_passing(rooms, evil, other, node, target, b"")
    assert other.holder(node) == evil.id, "this server has no keys, nor asks for any"
    rooms.run_for(10)
    other.state.seals = object()  # type: ignore[assignment]
    say_passing(rooms, evil, other, node, target, b"")
    assert other.holder(node) is None
    assert other.drops["cluster_keyless"] == 1


def test_a_statement_is_not_replayed_at_the_server_that_holds_the_node() -> None:
    rooms = Rooms(3)
    one, other, third = rooms.servers
    node = rooms.node(keys=True)
    other.join(node)
    rooms.run_for(1)
    former = rooms.broker.entries(rooms.now)[node.node_id]
    rooms.move(node, other, one)
    rooms.run_for(2)
    assert third.holder(node) == one.id
    rooms.broker.put(node.node_id, former, rooms.now)
    rooms.run_for(0.1)
    assert one.holder(node) is None, "it has signed here since"
    assert one.drops["cluster_superseded"] >= 1
    assert third.holder(node) == one.id
    rooms.run_for(2)
    assert rooms.broker.entries(rooms.now)[node.node_id] != former


def test_a_false_statement_with_the_counter_of_the_true_one_is_not_believed() -> None:
    rooms = Rooms(2)
    one, evil = rooms.servers
    node = rooms.node(keys=True)
    one.cluster.receive_entry(node.node_id, entry_by(evil, node), 1, rooms.now)
    assert one.holder(node) == evil.id
    one.join(node)
    one.cluster.receive_entry(node.node_id, entry_by(evil, node, node.counter), 2, rooms.now)
    assert one.drops == {"cluster_superseded": 1}


def test_a_deleted_entry_of_a_signed_node_leaves_no_room_for_an_unsigned_one() -> None:
    rooms = Rooms(3)
    one, evil, third = rooms.servers
    node = rooms.node(keys=True)
    one.join(node)
    rooms.run_for(1)
    rooms.broker.put(node.node_id, None, rooms.now)
    rooms.broker.put(node.node_id, entry_by(evil, node), rooms.now)
    rooms.run_for(0.1)
    assert third.holder(node) is None
    assert third.drops["cluster_unsigned"] == 1
    rooms.run_for(2)
    assert third.holder(node) == one.id


def test_an_entry_without_keys_is_not_believed_of_an_id_made_of_keys() -> None:
    rooms = Rooms(2)
    one, evil = rooms.servers
    node = rooms.node(keys=True)
    one.state.seals = object()  # type: ignore[assignment]
    one.cluster.receive_entry(node.node_id, entry_by(evil, node, keys=False), 1, rooms.now)
    assert one.holder(node) is None
    assert one.drops == {"cluster_keyless": 1}
    one.cluster.receive_entry(node.node_id, entry_by(evil, node), 2, rooms.now)
    assert one.holder(node) == evil.id


def test_many_servers_that_fall_silent_at_once_are_told_some_nodes_at_a_time() -> None:
    rooms = Rooms(1)
    one = rooms.servers[0]
    left: list[tuple[str, float]] = []
    joined: list[tuple[str, float]] = []
    one.cluster.on_left_elsewhere.append(lambda node_id, now: left.append((node_id, now)))
    one.cluster.on_joined_elsewhere.append(lambda node, now: joined.append((node.node_id, now)))
    servers = [server_keys(number) for number in range(101, 141)]
    heads = [head_of(server) for server in servers]
    say_all_are_there(rooms, one, servers)
    for number in range(2000):
        entry = encode_presence(Presence(*heads[number % len(heads)], 0, b"", encode_about(OPEN)))
        one.cluster.receive_entry(node_id_of(number + 1), entry, number + 1, rooms.now)
    joined.clear()
    rooms.run_for(10)
    say_all_are_there(rooms, one, servers)
    rooms.run_for(1)
    for told in (left, joined):
        assert len({node_id for node_id, _ in told}) == len(told) == 2000
        assert max(Counter(at for _, at in told).values()) <= TOLD_AT_ONCE


def test_a_server_that_is_back_while_its_nodes_are_told_gone() -> None:
    rooms = Rooms(1)
    one = rooms.servers[0]
    there: set[str] = set()
    one.cluster.on_joined_elsewhere.append(lambda node, _: there.add(node.node_id))
    one.cluster.on_left_elsewhere.append(lambda node_id, _: there.discard(node_id))
    server = server_keys(101)
    say_all_are_there(rooms, one, [server])
    entry = encode_presence(Presence(*head_of(server), 0, b"", encode_about(OPEN)))
    many = 3 * TOLD_AT_ONCE
    for number in range(1, many + 1):
        one.cluster.receive_entry(node_id_of(number), entry, number, rooms.now)
    assert len(there) == many
    while len(there) == many:
        rooms.run_for(0.01)
    assert len(there) == 2 * TOLD_AT_ONCE
    for number in (1, many):  # of these one was told, the other not yet
        one.cluster.receive_entry(node_id_of(number), None, 2 * many + number, rooms.now)
    assert len(there) == 2 * TOLD_AT_ONCE - 1
    say_all_are_there(rooms, one, [server])
    rooms.run_for(1)
    assert len(there) == many - 2


def head_of(server: Identity) -> tuple[str, bytes, bytes]:
    """How whatever a server says begins."""
    return "p2p_default", node_id_bytes(server.id), b"instance"


def say_all_are_there(rooms: Rooms, to: Server, servers: list[Identity]) -> None:
    """Servers of which nothing else is there say that they are."""
    for server in servers:
        beacon = Beacon(*head_of(server), "n", "", 0, False, 1, 1)
        to.cluster.receive_message("servers", signed(server, beacon, rooms.now), rooms.now)


def entry_by(server: Server, node: FakeNode, counter: int = 0, *, keys: bool = True) -> bytes:
    """An entry in a server's name of a node with keys; what it has signed is false."""
    own, identity = server.cluster._own, node.identity
    assert identity is not None
    raw = identity.keys.x_public + identity.keys.ed_public if keys else b""
    about = encode_about(About("192.0.2.7", 4000, True, "evil", "1.0", keys=raw))
    signature = bytes(64) if counter else b""
    return encode_presence(
        Presence(own.network, own.server, own.instance, counter, signature, about)
    )


def say_passing(
    rooms: Rooms, server: Server, to: Server, node: FakeNode, target: FakeNode, keys: bytes
) -> None:
    """A server hands over what a node has sent, it says, and tells of the node."""
    own = server.cluster._own
    ids = node_id_bytes(node.node_id), node_id_bytes(target.node_id)
    about = bytes(encode_about(About("192.0.2.6", 4000, True, "evil", "1.0", keys=keys)))
    over = HandOver(own.network, own.server, own.instance, 1, *ids, "r", b"x", about)
    rooms.broker.publish(to.id, encode_message(over), rooms.now)
    rooms.run_for(0.1)


def test_many_servers_that_fall_silent_are_looked_at_in_turns() -> None:
    """Whoever is told of changes looks at all servers: it is told once for many."""
    rooms = Rooms(2)
    one, _ = rooms.servers
    told: list[int] = []
    one.cluster.on_servers.append(lambda now: told.append(len(one.cluster.servers(now))))
    lost: Counter[float] = Counter()
    one.cluster._others.on_silent.append(lambda _, now: lost.update([now]))
    Invented(rooms, 1000, 150).beacon()
    assert max(told) > 120
    assert len(told) <= 20
    told.clear()
    rooms.run_for(6)
    assert sum(lost.values()) == 150
    assert max(lost.values()) <= LOST_AT_ONCE
    assert len(told) <= 20
    assert told[-1] == 1


def test_a_node_whose_entry_is_taken_away_again_and_again_stays_known() -> None:
    rooms = Rooms(3)
    one, other, _ = rooms.servers
    node = rooms.node(keys=True)
    other.join(node)
    rooms.run_for(1)
    unknown = 0
    for second in range(30):
        rooms.broker.put(node.node_id, None, rooms.now)
        for _ in range(5):
            rooms.run_for(0.12)
            unknown += one.holder(node) != other.id and second > 3
    assert unknown == 0

    # One that has left is gone all the same.
    other.leave(node)
    rooms.run_for(3)
    assert one.holder(node) is None


def test_a_node_that_goes_on_is_found_where_it_is_though_its_entry_was_disputed() -> None:
    rooms = Rooms(3)
    one, other, third = rooms.servers
    node = rooms.node(keys=True)
    other.join(node)
    rooms.run_for(1)
    for _ in range(3):
        rooms.broker.put(node.node_id, None, rooms.now)
        rooms.run_for(1.2)
    rooms.move(node, other, third)
    rooms.run_for(1)
    assert one.holder(node) == third.id


def test_a_signed_entry_whose_server_is_gone_is_taken_away_at_once() -> None:
    rooms = Rooms(3)
    one, other, _ = rooms.servers
    node = rooms.node(keys=True)
    other.join(node)
    rooms.run_for(1)
    for _ in range(3):
        rooms.broker.put(node.node_id, None, rooms.now)
        rooms.run_for(1.2)
    other.kill()
    rooms.run_for(5)
    rooms.broker.put(node.node_id, None, rooms.now)
    rooms.run_for(0.1)
    assert one.cluster._view.entry(node.node_id) is None


def test_entries_of_no_node_are_taken_away() -> None:
    rooms = Rooms(2)
    for number in range(400):
        rooms.broker.put(f"x{number}", b"junk", rooms.now)
    rooms.run_for(1)
    assert all(rooms.broker._table[f"x{number}"].value is None for number in range(400))
