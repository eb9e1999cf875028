"""A node that ends says goodbye to its peers in parts: each hears it once, and nobody is answered
meanwhile."""

import itertools
import json

import pytest

from p2ptui.core.timers import LOOK
from p2ptui.errors import LocalError
from tests.simulation import World

PEERS = 20


def crowded(world):
    server = world.host()
    puppets = [world.puppet() for _ in range(PEERS)]
    for puppet in puppets:
        puppet.join(server)
    assert len(server.endpoint.peers) == PEERS
    server.endpoint.datagrams_to_send(world.now)
    return server.endpoint, puppets


def goodbyes(endpoint, now):
    told = [
        (json.loads(data)["message_type"], address)
        for data, address in endpoint.datagrams_to_send(now)
    ]
    assert {kind for kind, _ in told} <= {"Disconnect"}
    return [address for _, address in told]


def test_who_comes_between_two_parts_is_told_as_well():
    world = World(secured=False)
    endpoint, puppets = crowded(world)
    assert endpoint.leave("bye", world.now, PEERS - 3)
    told = goodbyes(endpoint, world.now)
    # What another part of the core had asked before may yet lead to one.
    late = world.puppet()
    endpoint._handshake.connect(late.address, world.now, 5.0)
    endpoint.datagrams_to_send(world.now)
    assert endpoint.peers.at(late.address) is not None
    while endpoint.leave("bye", world.now, 1):
        told += goodbyes(endpoint, world.now)
    told += goodbyes(endpoint, world.now)
    assert len(endpoint.peers) == 0
    assert {*told} >= {puppet.address for puppet in puppets}


def test_no_session_begins_once_goodbye_is_said():
    world = World(secured=False)
    endpoint, puppets = crowded(world)
    server = endpoint.peers.at(puppets[-1].address)
    assert endpoint.leave("bye", world.now, 1)
    goodbyes(endpoint, world.now)
    newcomer, now = world.puppet().address, world.now
    for begin in (
        lambda: endpoint.connect(newcomer, now, 5.0),
        lambda: endpoint.connect_any([newcomer], now, 5.0),
        lambda: endpoint.introduce(server, "another", now, 5.0),
    ):
        with pytest.raises(LocalError, match="goodbye"):
            begin()
    assert endpoint.peers.at(newcomer) is None
    assert endpoint.datagrams_to_send(now) == []


@pytest.mark.parametrize("most", [1, 3, PEERS, PEERS + 1])
def test_each_part_is_as_large_as_it_may_be(most):
    world = World(secured=False)
    endpoint, puppets = crowded(world)
    told = []
    while endpoint.leave("bye", world.now, most):
        part = goodbyes(endpoint, world.now)
        assert len(part) == most
        told += part
    told += goodbyes(endpoint, world.now)
    assert sorted(told) == sorted(puppet.address for puppet in puppets)
    assert len(endpoint.peers) == 0
    assert not endpoint.leave("bye", world.now, most)


def test_nobody_is_answered_from_the_first_part_on():
    world = World(secured=False)
    endpoint, puppets = crowded(world)
    assert endpoint.leave("bye", world.now, 1)
    assert len(goodbyes(endpoint, world.now)) == 1
    newcomer = world.puppet()
    for puppet, message in (
        (newcomer, newcomer.handshake_request()),
        (puppets[-1], puppets[-1].message("Ping", None)),
    ):
        data = json.dumps(message).encode()
        endpoint.receive_datagram(data, puppet.address, world.now)
    assert goodbyes(endpoint, world.now) == []


def test_who_left_between_two_parts_is_told_nothing_more():
    world = World(secured=False)
    endpoint, _ = crowded(world)
    assert endpoint.leave("bye", world.now, 1)
    (first,) = goodbyes(endpoint, world.now)
    gone = next(peer for peer in endpoint.peers if peer.address != first)
    endpoint.disconnect(gone, "by itself", world.now)
    goodbyes(endpoint, world.now)
    endpoint.close("bye", world.now)
    assert len(goodbyes(endpoint, world.now)) == PEERS - 2


def test_peers_that_are_given_up_together_are_given_up_in_parts():
    world = World(secured=False)
    endpoint, _ = crowded(world)
    now, looks = world.now + 1000.0, itertools.count()
    while len(endpoint.peers):
        before = len(endpoint.peers)
        assert endpoint.next_timeout() is not None
        endpoint.handle_timeout(now, lambda: float(next(looks)))
        assert before - len(endpoint.peers) <= LOOK
        now += 0.0 if endpoint.next_timeout() is None else 0.001


def test_peers_that_are_given_up_together_are_given_up_at_once_where_there_is_time():
    world = World(secured=False)
    endpoint, _ = crowded(world)
    now, left = world.now + 1000.0, []
    while len(endpoint.peers):
        endpoint.handle_timeout(now, lambda: 0.0)
        left.append(len(endpoint.peers))
        now += 0.001
    assert {*left} <= {PEERS, 0}
