"""The machine gets another address, or sleeps: sessions and direct paths go on at once."""

import pytest

from p2ptui.core.events import Path, PeerStatus, PeerStatusChanged
from p2ptui.core.mobility.moving import MAX_FOLLOWED
from tests.core.meeting import OUTSIDE_A, ROUND_TRIP_S, Meeting
from tests.simulated_nat import KINDS, Nat
from tests.simulation import Host, World

LATENCY_S = 0.02


def everywhere(_address: object) -> bool:
    return True


def pair(**options: object) -> tuple[World, Host, Host]:
    world = World(latency_s=LATENCY_S)
    server, node = world.host(**options), world.host(**options)
    node.outcome(node.connect(server))
    world.run_for(1)
    return world, server, node


def move(world: World, node: Host) -> None:
    """Another address, which the node notices."""
    world.move(node)
    node.endpoint.moving.move(everywhere, world.now)
    node.settle()


def test_a_session_goes_on_within_two_round_trips() -> None:
    world, server, node = pair()
    began = world.now
    move(world, node)
    world.run_until(lambda: node.is_connected_to(server), 5)
    assert world.now - began <= 4 * LATENCY_S
    assert server.is_connected_to(node)
    assert [peer.node_id for peer in server.endpoint.peers] == [node.id]


def test_what_was_under_way_arrives_once_and_in_both_directions() -> None:
    world, server, node = pair()
    tokens = []
    for number in range(300):
        tokens.append((node, node.send(server, number)))
        to_node = server.endpoint.peers.with_id(node.id)
        assert to_node is not None
        tokens.append((server, server.endpoint.send(to_node, number, world.now)))
        server.settle()
        if number in (100, 200):
            move(world, node)
        world.run_for(0.01)
    for host, token in tokens:
        assert host.outcome(token).delivered
    assert sorted(server.received()) == list(range(300))
    assert sorted(node.received()) == list(range(300))


def test_a_stranger_with_the_id_alone_is_looked_at_as_before() -> None:
    world, server, node = pair()
    thief = world.puppet(node_id=node.id)
    thief.send(thief.handshake_request(continues="guess"), server)
    world.run_for(0.5)
    assert server.is_connected_to(node)
    world.run_for(2)
    assert server.is_connected_to(node)
    (refusal,) = [m for m in thief.take() if m["message_type"] == "HandshakeResponse"]
    assert refusal["payload"]["success"] is False


def test_what_named_an_earlier_session_names_none_later() -> None:
    world, server, node = pair()
    heard = node.peer(server).handshake_heard
    move(world, node)
    world.run_for(1)
    thief = world.puppet(node_id=node.id)
    thief.send(thief.handshake_request(continues=heard), server)
    world.run_for(3)
    assert server.is_connected_to(node)
    assert not server.is_connected_to(thief)


def test_only_what_is_reached_by_another_way_is_taken_up_again() -> None:
    world, server, node = pair()
    other = world.host()
    node.outcome(node.connect(other))
    before = len(node.told(PeerStatusChanged))
    assert node.endpoint.moving.move(lambda to: to == other.address, world.now) == 1
    world.run_for(1)
    told = node.told(PeerStatusChanged)[before:]
    assert {event.address for event in told} == {other.address}
    assert node.is_connected_to(server)
    assert node.is_connected_to(other)


def test_one_host_with_many_sessions_leaves_seats_to_others() -> None:
    world = World(secured=False)
    server = world.host()
    crowd = [world.host(("203.0.113.1", 4000 + number)) for number in range(MAX_FOLLOWED)]
    for one in crowd:
        one.connect(server)
    world.run_for(1)
    assert len(server.endpoint.moving.destinations(100)) == MAX_FOLLOWED
    other = world.host(("198.51.100.7", 4000))
    other.connect(server)
    world.run_for(1)
    followed = server.endpoint.moving.destinations(100)
    assert other.address in followed
    assert len(followed) == MAX_FOLLOWED
    assert server.endpoint.moving.destinations(100) == followed


def test_who_has_left_is_not_kept_in_its_seat() -> None:
    world, server, node = pair()
    assert server.endpoint.moving.destinations(100) == [node.address]
    node.endpoint.disconnect(node.peer(server), "bye", world.now)
    node.settle()
    world.run_for(1)
    assert not server.endpoint.peers
    assert not server.endpoint.moving._clients


def test_a_deployed_server_is_asked_in_its_own_words() -> None:
    world = World(latency_s=LATENCY_S)
    node, puppet = world.host(), world.puppet()
    node.connect(puppet)
    world.run_for(0.1)
    (request,) = puppet.take()
    info = puppet.handshake_request()["payload"]
    answer = {"node_info": info, "success": True, "error_message": None, "public_addr": None}
    puppet.send(puppet.message("HandshakeResponse", answer, ack_for=request["id"]), node)
    world.run_for(0.1)
    assert node.is_connected_to(puppet)
    move(world, node)
    world.run_for(0.1)
    requests = [m for m in puppet.take() if m["message_type"] == "HandshakeRequest"]
    assert requests
    assert all("continues" not in m["payload"] for m in requests)


# --- direct paths


@pytest.mark.parametrize("who", ["a", "b"])
def test_a_direct_path_is_found_again_at_once(who: str) -> None:
    meeting = Meeting()
    world = meeting.world
    meeting.connect()
    world.run_until(meeting.is_direct, 10)
    world.run_for(5)
    mover = getattr(meeting, who)
    other = meeting.b if who == "a" else meeting.a
    inside = ("192.168.7.7", 5000)
    meeting.nats.add(Nat("198.51.100.77", {inside[0]}, KINDS["port-restricted-cone"]))
    world.network.detach(mover.address)
    del world.hosts[mover.address], world._nodes[mover.address]
    mover.address = world.network.attach(inside)
    world.hosts[inside] = world._nodes[inside] = mover
    mover.endpoint.traversal.offers.hosts = (inside,)
    mover.facts = None
    mover.endpoint.moving.move(everywhere, world.now)
    mover.settle()
    began = world.now
    payload = "after"
    peer = other.endpoint.peers.authenticated(mover.id)
    assert peer is not None
    token = other.endpoint.send(peer, payload, began)
    other.settle()
    assert other.outcome(token).delivered
    assert world.now - began <= 1.0
    assert mover.received() == [payload]

    def is_direct() -> bool:
        sides = [
            one.endpoint.peers.authenticated(another.id)
            for one, another in ((mover, other), (other, mover))
        ]
        return all(side is not None and side.path is not None for side in sides)

    world.run_until(is_direct, 3)
    assert meeting.server.endpoint.peers.authenticated(mover.id) is not None
    assert OUTSIDE_A != "198.51.100.77"
    assert ROUND_TRIP_S < 1


def test_a_path_that_is_not_affected_is_kept() -> None:
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 10)
    before = meeting.peer(meeting.a).path
    server = meeting.server.address
    meeting.a.endpoint.moving.move(lambda to: to == server, meeting.world.now)
    meeting.a.settle()
    meeting.world.run_for(0.5)
    assert meeting.peer(meeting.a).path == before is not None
    assert Path.DIRECT


# --- sleep


def test_after_a_short_sleep_peers_are_asked_and_nothing_else_happens() -> None:
    world, server, node = pair()
    told = len(node.told(PeerStatusChanged))
    node.endpoint.moving.wake(5.0, everywhere, world.now)
    world.run_for(2)
    assert node.is_connected_to(server)
    assert len(node.told(PeerStatusChanged)) == told


def test_a_server_that_forgot_the_sleeper_has_it_again_within_a_second() -> None:
    world, server, node = pair()
    server.endpoint.disconnect(server.peer(node), "", world.now)
    server.endpoint.datagrams_to_send(world.now)
    began = world.now
    node.endpoint.moving.wake(30.0, everywhere, world.now)
    node.settle()
    world.run_until(lambda: server.is_connected_to(node) and node.is_connected_to(server), 5)
    assert world.now - began <= 1.2


def test_after_a_long_sleep_the_handshake_begins_at_once() -> None:
    world, server, node = pair()
    world.remove(node)
    world.run_for(3600)  # the server has lost it; its own clock stood still meanwhile
    assert not server.is_connected_to(node)
    world.network.attach(node.address)
    world.hosts[node.address] = world._nodes[node.address] = node
    node.endpoint.moving.wake(3600.0, everywhere, world.now)
    node.settle()
    began = world.now
    world.run_until(lambda: server.is_connected_to(node), 5)
    assert world.now - began <= 2 * LATENCY_S + 0.01
    statuses = [event.status for event in node.told(PeerStatusChanged)]
    assert PeerStatus.DISCONNECTED not in statuses


STALL = 5.0


@pytest.mark.parametrize(
    "told",
    [
        [("late", 5.0, 0.0), ("wake", 5.0, 0.0)],
        [("wake", 5.0, 0.0), ("late", 5.0, 0.0)],
        [("late", 5.0, 0.0), ("wake", 5.2, 0.2)],
        [("late", 3.0, 0.0), ("wake", 5.0, 0.0)],
        [("late", 5.0, 0.0), ("late", 3.0, 0.0), ("wake", 4.5, 0.0)],
    ],
)
def test_a_stall_that_several_notice_is_excused_once(told: list[tuple[str, float, float]]) -> None:
    world, server, node = pair()
    peer = node.peer(server)
    assert peer is not None
    world.network.set_link(server.address[0], node.address[0], loss=1.0)
    world.run_for(30)
    before, at = peer.last_received, world.now
    for how, stall_s, later_s in told:
        if how == "late":
            node.endpoint.moving.excuse(stall_s, at + later_s)
        else:
            node.endpoint.moving.wake(stall_s, everywhere, at + later_s)
    assert peer.last_received - before == pytest.approx(max(s for _, s, _ in told))


def test_two_stalls_are_excused_each() -> None:
    world, server, node = pair()
    peer = node.peer(server)
    assert peer is not None
    world.network.set_link(server.address[0], node.address[0], loss=1.0)
    world.run_for(30)
    before = peer.last_received
    node.endpoint.moving.excuse(STALL, world.now)
    world.run_for(STALL + 1)
    node.endpoint.moving.excuse(STALL, world.now)
    assert peer.last_received - before == pytest.approx(2 * STALL)
