"""The same node id from another address: the old address is asked first."""

from typing import Any

import pytest

from p2ptui.core.events import ConnectResult, PeerStatus, PeerStatusChanged
from p2ptui.errors import HandshakeError
from tests.simulation import Host, Puppet, World

NODE_ID = "77777777-0000-4000-8000-000000000007"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Host:
    return world.host()


@pytest.fixture
def owner(world: World, server: Host) -> Puppet:
    puppet = world.puppet(node_id=NODE_ID)
    puppet.join(server)
    server.ping(puppet)
    world.run_for(0.5)
    return puppet


@pytest.fixture
def newcomer(world: World, owner: Puppet) -> Puppet:
    return world.puppet(node_id=NODE_ID)


def answer_within(puppet: Puppet, seconds: float) -> dict[str, Any]:
    """The first thing that comes, and it comes in time."""
    puppet.world.run_until(lambda: bool(puppet.inbox), seconds)
    return puppet.take()[0]


def test_an_owner_that_is_alive_keeps_its_id(
    world: World, server: Host, owner: Puppet, newcomer: Puppet
) -> None:
    newcomer.send(newcomer.handshake_request(), server)

    response = answer_within(newcomer, 2.0)

    assert response["message_type"] == "HandshakeResponse"
    assert response["payload"]["success"] is False
    assert f"node id {NODE_ID} already exists" in response["payload"]["error_message"]
    assert server.is_connected_to(owner)
    assert server.peer(newcomer) is None


def test_any_traffic_of_the_owner_counts_as_alive(
    world: World, server: Host, owner: Puppet, newcomer: Puppet
) -> None:
    owner.answers_pings = False
    newcomer.send(newcomer.handshake_request(), server)
    world.run_for(1.0)
    owner.say("Data", "still here", server)

    assert answer_within(newcomer, 1.0)["payload"]["success"] is False
    assert server.is_connected_to(owner)


def test_an_owner_that_repeats_its_own_handshake_is_alive(
    world: World, server: Host, newcomer: Puppet
) -> None:
    world.remove(newcomer)
    owner, newcomer = world.puppet(), world.puppet()
    request = owner.handshake_request()
    owner.answers_pings = False
    owner.send(request, server)
    world.run_for(0.5)
    newcomer.send(newcomer.handshake_request(id=owner.id), server)
    world.run_for(0.5)
    owner.send(request, server)

    assert answer_within(newcomer, 1.0)["payload"]["success"] is False


def test_a_silent_owner_loses_its_id_within_two_seconds(
    world: World, server: Host, owner: Puppet, newcomer: Puppet
) -> None:
    owner.answers_pings = False
    owner.inbox.clear()
    began = world.now
    newcomer.send(newcomer.handshake_request(), server)

    response = answer_within(newcomer, 2.0)

    assert response["payload"]["success"] is True
    assert 1.2 <= world.now - began < 2.0
    assert server.is_connected_to(newcomer)
    assert server.peer(owner) is None
    assert server.endpoint.peers.with_id(NODE_ID) is server.peer(newcomer)
    pings = [message for message in owner.take() if message["message_type"] == "Ping"]
    assert len(pings) >= 4
    assert len({ping["payload"]["nonce"] for ping in pings}) == len(pings)


def test_repetitions_wait_for_the_same_answer(
    world: World, server: Host, owner: Puppet, newcomer: Puppet
) -> None:
    owner.answers_pings = False
    request = newcomer.handshake_request()
    for _ in range(4):
        newcomer.send(request, server)
        world.run_for(0.25)
    world.run_for(1)

    assert newcomer.take_types().count("HandshakeResponse") == 1
    assert len([data for data in owner.inbox if b'"Ping"' in data]) == 4


def test_an_owner_that_proved_alive_is_left_alone_for_ten_seconds(
    world: World, server: Host, owner: Puppet, newcomer: Puppet
) -> None:
    newcomer.join(server)
    world.run_for(8)
    owner.answers_pings = False
    owner.inbox.clear()

    newcomer.send(newcomer.handshake_request(), server)
    assert answer_within(newcomer, 0.1)["payload"]["success"] is False  # at once, unasked
    assert owner.take() == []

    world.run_for(3)
    newcomer.send(newcomer.handshake_request(), server)
    assert answer_within(newcomer, 2.0)["payload"]["success"] is True


def test_two_newcomers_do_not_share_an_id(
    world: World, server: Host, owner: Puppet, newcomer: Puppet
) -> None:
    other = world.puppet(node_id=NODE_ID)
    owner.answers_pings = False
    newcomer.send(newcomer.handshake_request(), server)
    world.run_for(0.1)
    other.send(other.handshake_request(), server)
    world.run_for(5)

    connected = [puppet for puppet in (newcomer, other) if server.is_connected_to(puppet)]
    assert connected == [newcomer]
    assert len(server.endpoint.peers) == 1


def test_an_owner_that_moves_twice_is_found_at_its_last_address(
    world: World, server: Host, owner: Puppet, newcomer: Puppet
) -> None:
    """It says goodbye and comes back elsewhere while a newcomer waits for the answer."""
    owner.answers_pings = False
    moved = world.puppet(node_id=NODE_ID)
    newcomer.send(newcomer.handshake_request(), server)
    world.run_for(0.1)
    server.endpoint.disconnect(server.peer(owner), "moving", world.now)
    moved.join(server)
    world.run_for(5)

    assert server.is_connected_to(moved)
    assert len(server.endpoint.peers) == 1
    changes = [(event.address, event.status) for event in server.told(PeerStatusChanged)]
    assert changes.count((owner.address, PeerStatus.DISCONNECTED)) == 1
    assert newcomer.take()[0]["payload"]["success"] is False


def test_a_takeover_needs_no_room_in_a_full_house(world: World) -> None:
    server = world.host(max_connections=1)
    owner, newcomer = world.puppet(node_id=NODE_ID), world.puppet(node_id=NODE_ID)
    owner.join(server)
    owner.answers_pings = False
    newcomer.send(newcomer.handshake_request(), server)
    world.run_for(0.5)
    other = world.puppet()
    other.join(server)
    world.run_for(2)

    assert [peer.node_id for peer in server.endpoint.peers] == [NODE_ID]
    assert server.is_connected_to(newcomer)


def test_disputes_are_bounded(world: World) -> None:
    server = world.host(max_unauthenticated_connections=3, max_connections=20)
    owners = [world.puppet() for _ in range(5)]
    for owner in owners:
        owner.join(server)
        owner.answers_pings = False
    for owner in owners:
        world.puppet(node_id=owner.id).send(owner.handshake_request(), server)
    world.run_for(0.1)

    assert server.endpoint.sizes()["id_disputes"] == 3
    assert server.endpoint.counters.drops["disputes_full"] == 2
    world.run_for(20)
    assert server.endpoint.sizes()["id_disputes"] == 0


def test_a_node_found_again_at_another_address_is_asked_for_there(world: World) -> None:
    """Here the id comes with an answer: this node asked the address where it has moved to."""
    node, server = world.host(), world.host(node_id=NODE_ID)
    node.outcome(node.connect(server))
    world.remove(server)
    moved = world.host(node_id=NODE_ID)

    outcome = node.outcome(node.connect(moved), 3)

    assert outcome == ConnectResult(NODE_ID, moved.address, node.address)
    assert node.peer(server) is None


def test_a_node_at_two_addresses_is_joined_at_one(world: World) -> None:
    node, server = world.host(), world.host(node_id=NODE_ID)
    impostor = world.host(node_id=NODE_ID)
    node.outcome(node.connect(server))

    outcome = node.outcome(node.connect(impostor), 3)

    assert isinstance(outcome, HandshakeError)
    assert "already connected" in str(outcome)
    assert node.is_connected_to(server)


def test_nobody_is_accepted_after_the_node_was_closed(
    world: World, server: Host, owner: Puppet, newcomer: Puppet
) -> None:
    owner.answers_pings = False
    newcomer.send(newcomer.handshake_request(), server)
    world.run_for(0.1)
    server.endpoint.close("done", world.now)
    world.run_for(3)

    assert newcomer.take() == []
    assert len(server.endpoint.peers) == 0


def test_asking_an_owner_that_proved_nothing_is_bounded(world: World, server: Host) -> None:
    """Both handshakes may be forged: four Pings beyond the budget, and only if the owner is new."""
    owner, newcomer = world.puppet(node_id=NODE_ID), world.puppet(node_id=NODE_ID)
    owner.answers_pings = newcomer.answers_pings = False
    owner.send(owner.handshake_request(), server)
    world.run_for(0.5)
    before = owner.bytes_received
    newcomer.send(newcomer.handshake_request(), server)
    world.run_for(120)

    assert before <= 3 * owner.bytes_sent
    assert owner.bytes_received - before <= 4 * 192
    assert newcomer.bytes_received <= 3 * newcomer.bytes_sent


@pytest.mark.parametrize("gap", [0.05, 0.1, 0.4, 0.8, 1.0, 1.15])
@pytest.mark.parametrize("repeats", [False, True])
def test_a_client_that_restarts_twice_is_answered(
    world: World, server: Host, owner: Puppet, newcomer: Puppet, gap: float, repeats: bool
) -> None:
    last = world.puppet(node_id=NODE_ID)
    owner.answers_pings = newcomer.answers_pings = False
    sent = newcomer.send(newcomer.handshake_request(), server)
    world.run_for(gap)
    began = world.now
    last.send(last.handshake_request(), server)
    if repeats:
        world.run_for(0.3)
        last.send(last.handshake_request(), server)

    response = answer_within(last, 2.0)

    assert response["message_type"] == "HandshakeResponse"
    assert response["payload"]["success"] is True
    assert world.now - began < 2.0
    assert server.is_connected_to(last)
    assert server.peer(newcomer) is None
    world.run_for(60)
    assert newcomer.bytes_received <= 3 * sent


def test_of_several_newcomers_each_is_answered(
    world: World, server: Host, owner: Puppet, newcomer: Puppet
) -> None:
    others = [world.puppet(node_id=NODE_ID) for _ in range(4)]
    owner.answers_pings = False
    newcomer.send(newcomer.handshake_request(), server)
    for other in others:
        world.run_for(0.1)
        other.send(other.handshake_request(), server)
    world.run_for(2)

    assert server.is_connected_to(newcomer)
    for other in others:
        (response,) = [m for m in other.take() if m["message_type"] == "HandshakeResponse"]
        assert response["payload"]["success"] is False


def test_newcomers_that_come_after_each_other_are_asked_once_each(
    world: World, server: Host, owner: Puppet
) -> None:
    """Handshakes that somebody forges under one id, from one address after the other."""
    owner.answers_pings = False
    victims = [world.puppet(node_id=NODE_ID) for _ in range(30)]
    for victim in victims:
        victim.answers_pings = False
        victim.send(victim.handshake_request(), server)
        world.run_for(0.3)
    world.run_for(1)

    for victim in victims:
        assert victim.bytes_received <= 3 * victim.bytes_sent


def test_an_owner_that_dies_soon_after_its_handshake_does_not_cost_the_next_one_ten_seconds(
    world: World, server: Host
) -> None:
    """A node that restarts at yet another address each time, once before it could prove itself."""
    first, second, third = (world.puppet(node_id=NODE_ID) for _ in range(3))
    first.answers_pings = False
    first.send(first.handshake_request(), server)
    world.run_for(1)
    second.send(second.handshake_request(), server)
    assert answer_within(second, 2.0)["payload"]["success"] is True
    server.outcome(server.ping(second))
    world.run_for(1)
    assert server.peer(second).proved
    second.answers_pings = False

    third.send(third.handshake_request(), server)

    assert answer_within(third, 2.0)["payload"]["success"] is True
    assert server.is_connected_to(third)


@pytest.mark.parametrize("life", [0.3, 0.6, 1.3])
def test_a_client_that_restarts_again_and_again_is_never_locked_out(
    world: World, server: Host, life: float
) -> None:
    """It has proved nothing yet each time; those before it answer nothing any more."""
    lives = [world.puppet(node_id=NODE_ID) for _ in range(6)]
    for puppet in lives:
        puppet.answers_pings = False
        puppet.send(puppet.handshake_request(), server)
        world.run_for(life)
    began = world.now
    while not server.is_connected_to(lives[-1]):
        lives[-1].send(lives[-1].handshake_request(), server)
        world.run_for(0.5)
        assert world.now - began < 4.0

    for puppet in lives[1:]:
        assert puppet.bytes_received <= 3 * puppet.bytes_sent


def test_a_node_that_says_goodbye_meanwhile_leaves_nothing_undecided(
    world: World, server: Host, owner: Puppet, newcomer: Puppet
) -> None:
    owner.answers_pings = False
    newcomer.send(newcomer.handshake_request(), server)
    world.run_for(0.1)
    assert server.endpoint.sizes()["id_disputes"]

    server.endpoint.close("enough", world.now)
    world.run_for(5)
    assert server.endpoint.sizes()["id_disputes"] == 0
