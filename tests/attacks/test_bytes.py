"""Queues count bytes, and what nobody reads stays as small as it came."""

import json
import time
import tracemalloc
from dataclasses import replace

import pytest

from p2ptui.core.accounts import Purse
from p2ptui.core.encoded import Encoded
from p2ptui.core.events import DataReceived, PeersDiscovered, RoutesReceived
from p2ptui.core.mesh.routes import MAX_ROUTES_BYTES, RouteTable
from p2ptui.core.sessions.unseated import MAX_UNSEATED
from p2ptui.node.subscription import MAX_LISTED_BYTES, Subscription
from p2ptui.wire.codec import MalformedError, check_any, decode_any
from p2ptui.wire.message import PeerInfo, RouteEntry
from tests.attacks.flood import handshakes
from tests.simulation import World

MUCH = [[]] * 14_000
"""42 kB of JSON, and a megabyte in Python."""


def join(world: World, host):
    peer = world.puppet(("10.7.0.1", 9))
    peer.names_pings = True
    request = peer.handshake_request(capabilities=["fragments", "retransmit", "no_echo"])
    peer.send(
        peer.spec_message(
            "HandshakeRequest", request["payload"], requires_ack=True, sequence_number=7
        ),
        host,
    )
    world.run_for(2)
    assert host.endpoint.peers.at(peer.address).proved
    return peer


def test_a_payload_that_waits_is_as_large_as_it_came():
    world = World(0)
    node = world.host(("10.1.0.1", 8080))
    peer = join(world, node)
    texts = [json.dumps(peer.message("Data", MUCH)).encode() for _ in range(20)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for text in texts:
            node.endpoint.receive_datagram(text, peer.address, world.now)
        after, peak = (each - before for each in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    size = sum(map(len, texts))
    assert after < 2 * size
    assert peak < 2 * size + 500_000  # none was decoded meanwhile
    events = []
    while (event := node.endpoint.next_event()) is not None:
        events.append(event)
    received = [event for event in events if isinstance(event, DataReceived)]
    assert [event.payload for event in received] == [MUCH] * 20


def test_a_small_payload_does_not_keep_the_large_datagram_that_it_came_in():
    world = World(0)
    node = world.host(("10.1.0.1", 8080))
    peer = join(world, node)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            message = peer.message("Data", "x") | {"beside": "y" * 50_000}
            node.endpoint.receive_datagram(json.dumps(message).encode(), peer.address, world.now)
        after = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert after < 100_000


def crowd(world: World, node, count, first=0):
    """Requests from as many addresses of nobody, one each millisecond, and their bytes."""
    size = 0
    for number in range(first, first + count):
        text = handshakes(number, 0)
        address = (f"{11 + number % 80}.{number // 80 % 250}.7.9", 1024 + number)
        node.endpoint.receive_datagram(text, address, world.now)
        node.endpoint.datagrams_to_send(world.now)
        while node.endpoint.next_event() is not None:
            pass
        world.run_for(0.001)
        size += len(text)
    return size


def test_what_is_kept_of_newcomers_in_a_flood_is_little_and_gone_soon():
    world = World(0)
    node = world.host(("10.1.0.1", 8080))
    crowd(world, node, 1500)  # a full house, and what is made once
    world.run_for(10)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        crowd(world, node, 1500, first=1500)
        during = tracemalloc.get_traced_memory()[0] - before
        sizes = node.endpoint.sizes()
        world.run_for(10)
        after = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert sizes["newcomers_unseated"] == MAX_UNSEATED
    # The sessions of the full house are others now, and as large.
    assert during < 4_500_000
    assert after < 2_500_000
    sizes = node.endpoint.sizes()
    assert sizes["newcomers_unseated"] == sizes["tracked_strangers"] == 0


def test_who_is_not_answered_takes_nobodys_room():
    """A request that is too short for its answer pushed out one that was answered."""
    world = World(0)
    node = world.host(("10.1.0.1", 8080))
    crowd(world, node, 1500)
    unseated = node.endpoint._sessions.responder.on_unseated.__self__
    before = set(unseated._known)
    assert len(before) == MAX_UNSEATED
    arrival = next(iter(unseated._known.values())).arrival
    unseated.answer(replace(arrival, address=("90.1.7.9", 9), earned=Purse()), world.now)
    assert node.endpoint._state.counters.drops["handshake_too_short"] == 1
    assert set(unseated._known) == before


def test_what_was_acknowledged_does_not_stay():
    world = World(0)
    node = world.host(("10.1.0.1", 8080))
    peer = world.host(("10.1.0.2", 8080))
    peer.outcome(peer.connect(node))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            node.outcome(node.send(peer, "x" * 1000))
        node.events.clear(), peer.events.clear()
        node.outcomes.clear(), peer.outcomes.clear()
        world.run_for(5)
        after = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert after < 100_000


def test_a_full_table_tells_little_of_those_who_come_and_go():
    world = World(0)
    node = world.host(("10.1.0.1", 8080), max_connections=20)
    friend = world.host(("10.1.0.2", 8080))
    friend.outcome(friend.connect(node))
    crowd(world, node, 3000)
    told = [entry.id for event in friend.told(PeersDiscovered) for entry in event.joined]
    assert len(told) <= 30


@pytest.mark.parametrize(
    "text",
    [
        "1e999",
        "-1e999",
        "[1,2,-3E+400]",
        '{"a":{"b":[1e400]}}',
        "1" * 400 + ".5",
        "1" * 5000,
        "-" + "9" * 4999,
    ],
)
def test_what_cannot_be_decoded_is_refused_when_it_comes(text: str):
    with pytest.raises(MalformedError):
        check_any(text.encode())
    with pytest.raises(MalformedError):
        decode_any(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        '"1e999"',
        '{"1e999":"\\"1e999"}',
        "1e300",
        "1e-999",
        "1.5E+10",
        "1" * 4000,
        "0." + "1" * 5000,
        '["e","1e5",2e5]',
        '"text with 3 e and \\u0031e999"',
    ],
)
def test_what_can_be_decoded_is_let_in(text: str):
    check_any(text.encode())
    assert decode_any(text.encode()) == json.loads(text)


@pytest.mark.parametrize("number", ["1" * 299, "1" * 299 + "." + "1" * 299, "-0." + "1" * 299])
def test_a_number_that_is_nearly_too_large_is_looked_at_once(number: str):
    """Each byte of such numbers cost as much as three hundred of others."""

    def cost(number: str) -> float:
        data = f"[0e0{f',{number}' * (90_000 // len(number))}]".encode()
        began = time.thread_time()
        check_any(data)
        return time.thread_time() - began

    costs = [(cost(number), cost("1234567.5")) for _ in range(7)]
    assert min(nearly for nearly, _ in costs) < 10 * min(usual for _, usual in costs)


def test_what_is_read_equals_what_was_sent():
    held = Encoded(json.dumps({"file": 1, "b": [1.5, None, "x"]}).encode())
    assert held == {"file": 1, "b": [1.5, None, "x"]}
    assert held.may_have("file")
    assert not held.may_have("fil")
    assert not Encoded(b'["file"]').may_have("file")
    assert Encoded(b'{"\\u0066ile":1}').may_have("file")


def test_lists_that_wait_for_a_reader_are_bounded_by_their_bytes():
    reader = Subscription(10_000)
    entries = tuple(
        PeerInfo(id=f"{number}", addr="192.0.2.1:1", last_seen=1) for number in range(1000)
    )
    for _ in range(100):
        reader.put(PeersDiscovered("server", entries))
        reader.put(RoutesReceived("server", (RouteEntry("a", "b", 1),) * 500))
    waiting = reader.take(1000)
    lists = [event for event in waiting if isinstance(event, PeersDiscovered)]
    assert 1 <= len(lists) <= MAX_LISTED_BYTES // (400 * 1000)
    reader.put(PeersDiscovered("server", entries))
    assert reader.take(10)  # there is room again


def test_what_is_told_of_routes_is_bounded_by_its_bytes():
    """A peer that lists nodes, each with capabilities that nobody else has."""
    routes = RouteTable(300.0, 10_000)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(3_000):
            told = tuple(f"{number:06d}-{each:02d}".ljust(32, "x") for each in range(32))
            routes.learn(f"node-{number}", "peer", 2, 0.0, told, "n" * 64)
        after = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert after < 2 * MAX_ROUTES_BYTES  # it was 10 MB
    assert routes.lookup("node-2999", 1.0) is not None


def test_routes_to_nodes_of_the_same_kind_all_find_room():
    routes = RouteTable(300.0, 10_000)
    for number in range(10_000):
        capabilities = tuple(f"capability-{each}" for each in range(20))
        routes.learn(
            f"node-{number}", "peer", 2, 0.0, capabilities, "a name", listed_at="192.0.2.1:80"
        )
    assert len(routes) == 10_000
