"""A full house: who has keys waits for a seat of the forged, and takes none of the honest."""

import pytest

from p2ptui.core.events import PeerStatusChanged
from tests.core.secure.wiretap import Wiretap
from tests.simulation import Host, Puppet, World

SEATS = 8


def at(number: int) -> tuple[str, int]:
    """An address of a network of its own."""
    return f"{20 + number}.0.0.1", 8080


def full_house(world: World, *, answers: bool) -> tuple[Host, list[Puppet]]:
    """A server whose seats are taken by programs without keys."""
    server = world.host(keys=world.keys(), max_connections=SEATS)
    pens = [world.puppet(at(number)) for number in range(SEATS)]
    for pen in pens:
        pen.answers_pings = answers
        pen.send(pen.handshake_request(), server)
    world.run_for(0.1)
    assert len(server.endpoint.peers) == SEATS
    return server, pens


def is_met(server: Host, one: Host) -> bool:
    peer = server.endpoint.peers.with_id(one.id)
    return peer is not None and peer.is_secured


@pytest.fixture
def world() -> World:
    return World()


def test_a_newcomer_with_keys_has_the_seat_of_one_that_is_found_silent(world: World) -> None:
    server, _ = full_house(world, answers=False)
    one = world.host(at(50), keys=world.keys())
    one.outcome(one.connect(server))
    world.run_for(1)
    assert is_met(server, one)
    assert one.outcome(one.send(server, "hello")).delivered
    assert len(server.endpoint.peers) == SEATS


def test_a_message_that_it_sent_meanwhile_arrives_once(world: World) -> None:
    server, _ = full_house(world, answers=False)
    one = world.host(at(50), keys=world.keys())
    one.outcome(one.connect(server))
    token = one.send(server, "hello")
    world.run_for(3)
    assert one.outcome(token).delivered
    assert server.received() == ["hello"]


def test_those_who_answer_keep_their_seats_and_the_newcomer_is_told(world: World) -> None:
    server, pens = full_house(world, answers=True)
    one = world.host(at(50), keys=world.keys())
    one.connect(server)
    world.run_for(4)
    assert not is_met(server, one)
    assert all(server.is_connected_to(pen) for pen in pens)
    assert one.endpoint.peers.at(server.address) is None
    assert "the server is full" in (one.told(PeerStatusChanged)[-1].reason or "")


def test_a_copy_of_the_last_message_changes_nothing_for_who_waits(world: World) -> None:
    tap = Wiretap(world)
    server, _ = full_house(world, answers=False)
    one = world.host(at(50), keys=world.keys())
    one.outcome(one.connect(server))
    (last,) = {seen.data for seen in tap.seen if seen.data[:1] == b"\xe1"}
    for _ in range(20):
        tap.inject(last, one.address, server)
    world.run_for(1)
    assert is_met(server, one)
    assert not any(name.startswith("exchange") for name in server.endpoint.counters.drops)


def test_not_more_wait_than_have_room_to(world: World) -> None:
    server, _ = full_house(world, answers=False)
    for number in range(100):
        one = world.host(at(50 + number), keys=world.keys())
        one.connect(server)
    world.run_for(5)
    assert len(server.endpoint.peers) == SEATS
    assert all(peer.is_secured for peer in server.endpoint.peers)
