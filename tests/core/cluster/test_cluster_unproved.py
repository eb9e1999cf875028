"""Nodes that answer no Ping, with several servers: found and reached as with one, within bounds."""

import pytest

from p2ptui.core.cluster.unproved import MAX_UNPROVED
from p2ptui.core.peers import Peer
from p2ptui.wire.cluster import About, Beacon, Presence, encode_about, encode_presence
from p2ptui.wire.frames import node_id_bytes
from tests.core.cluster_rooms import FakeNode, Rooms, Server, server_keys, signed


def silent(rooms: Rooms, server: Server, node: FakeNode) -> Peer:
    """A node begins a session, and answers nothing."""
    peer = server.join(node, proved=False)
    server.forget(node)
    return peer


def speak(rooms: Rooms, *peers: Peer) -> None:
    for peer in peers:
        peer.liveness.hear(rooms.now)
        peer.purse.earn_bytes(160)


def test_one_that_goes_on_speaking_is_known_to_the_other_servers() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node = rooms.node()
    peer = silent(rooms, one, node)
    rooms.run_for(0.5)
    speak(rooms, peer)
    rooms.run_for(2)

    assert other.holder(node) == one.id
    foreign = other.cluster.holder(node.node_id)
    assert foreign is not None
    assert not foreign.proved
    assert foreign not in list(other.cluster.nodes())  # it takes no name from anybody
    assert [claim.node_id for claim in other.state.claims_elsewhere()] == [node.node_id]
    assert [found.proved for found in other.joined] == [False]
    one.delivery.trust_address(peer, rooms.now)
    rooms.run_for(2)
    assert list(other.state.claims_elsewhere()) == []
    assert [found.proved for found in other.joined] == [False, True]
    one.leave(node)
    rooms.run_for(2)
    assert other.holder(node) is None


def test_a_mere_handshake_is_told_to_nobody() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node = rooms.node()
    silent(rooms, one, node)
    rooms.run_for(30)

    assert other.holder(node) is None
    assert one.cluster.status(rooms.now).puts == 0


def test_forged_ones_fill_a_small_share_and_displace_nobody() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    real = rooms.node()
    other.join(real)
    rooms.run_for(2)
    forged = [silent(rooms, one, rooms.node()) for _ in range(MAX_UNPROVED + 200)]
    claimed = silent(rooms, one, real)
    for _ in range(20):
        speak(rooms, claimed, *forged)
        other.peer(real).liveness.hear(rooms.now)
        rooms.run_for(1)

    told = list(other.state.claims_elsewhere())
    assert len(told) == MAX_UNPROVED
    assert one.holder(real) == other.id  # it is there, and answers
    assert other.holder(real) is None


def test_one_without_room_is_counted_once_and_told_of_when_another_leaves() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    nodes = [rooms.node() for _ in range(MAX_UNPROVED + 10)]
    peers = [silent(rooms, one, node) for node in nodes]
    rooms.run_for(0.5)
    for _ in range(60):
        speak(rooms, *peers)
        rooms.run_for(1)
    assert one.drops["cluster_unproved_full"] == 10
    waiting = [node for node in nodes if other.holder(node) is None]
    assert waiting == nodes[-10:]
    one.leave(nodes[0])
    one.delivery.trust_address(peers[1], rooms.now)
    one.leave(waiting[0])
    rooms.run_for(2)

    assert [node for node in waiting if other.holder(node) == one.id] == waiting[1:3]
    assert one.drops["cluster_unproved_full"] == 10


def test_of_two_silent_ones_the_first_stays() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node = rooms.node()
    first = silent(rooms, one, node)
    for _ in range(3):
        speak(rooms, first)
        rooms.run_for(1)
    second = silent(rooms, other, node)
    for _ in range(20):
        speak(rooms, first, second)
        rooms.run_for(1)

    assert other.holder(node) == one.id
    assert one.holder(node) is None
    assert other.state.find(node.node_id) is second  # here its own
    one.leave(node)
    for _ in range(5):
        speak(rooms, second)
        rooms.run_for(1)
    assert one.holder(node) == other.id


def test_a_server_without_room_takes_no_node_from_the_one_that_holds_it() -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node = rooms.node()
    peer = silent(rooms, one, node)
    for _ in range(3):
        speak(rooms, peer)
        rooms.run_for(1)
    keys = server_keys(1_000_000)
    forger = node_id_bytes(keys.id)
    beacon = Beacon(rooms.network, forger, b"instance", "forger", "", 0, False, 1, 1)
    rooms.broker.publish("servers", signed(keys, beacon, rooms.now), rooms.now)
    rooms.run_for(0.1)
    about = encode_about(About("192.0.2.7", 4000, False, "forged", "1.0"))
    forged = Presence(rooms.network, forger, b"instance", 0, b"", about)
    for _ in range(MAX_UNPROVED):
        rooms.broker.put(rooms.node().node_id, encode_presence(forged), rooms.now)
    rooms.run_for(0.5)
    assert len(list(other.state.claims_elsewhere())) == MAX_UNPROVED + 1
    rooms.broker.put(node.node_id, encode_presence(forged), rooms.now)
    rooms.run_for(0.1)

    assert other.drops["cluster_unproved_full"] == 1
    assert "cluster_nodes_full" not in other.drops, "it would count twice"
    assert other.holder(node) == one.id
    assert node.node_id in [claim.node_id for claim in other.state.claims_elsewhere()]


@pytest.mark.parametrize("answers", [True, False])
def test_a_proved_one_that_starts_again_at_the_other_server_is_found_there_soon(
    answers: bool,
) -> None:
    rooms = Rooms(2)
    one, other = rooms.servers
    node = rooms.node()
    one.join(node)
    rooms.run_for(20)
    one.peer(node).liveness.hear(rooms.now)
    one.forget(node)  # its process is gone
    peer = other.join(node, proved=False)
    if not answers:
        other.forget(node)
    began = rooms.now
    while other.holder(node) is not None or one.holder(node) != other.id:
        speak(rooms, peer)
        rooms.run_for(0.25)
        assert rooms.now < began + 8
    assert not peer.proved
