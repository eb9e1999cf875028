"""Who shows its keys in a full house: it waits for a seat, and takes nobody's who is there."""

import json

from p2ptui.core.events import ConnectResult, PeerStatusChanged
from tests.core.secure.test_secured_nodes import peer_of
from tests.simulation import Host, World

MOST = 12


def fill_with_forged(world: World, server: Host, count: int) -> None:
    """Requests in the open from addresses where nobody is, each followed by a word."""
    puppet = world.puppet()
    request = json.dumps(puppet.handshake_request())
    word = json.dumps(puppet.message("Ping")).encode()
    for n in range(count):
        node_id = f"{n:08x}-dddd-4000-8000-000000000000"
        data = request.replace(json.loads(request)["payload"]["id"], node_id)
        for each in (data.encode(), word):
            server.endpoint.receive_datagram(each, (f"10.8.0.{n + 1}", 9), world.now)
    server.settle()
    assert server.endpoint.sizes()["peers"] == count


def test_who_shows_its_keys_takes_the_seat_of_nobody_at_once() -> None:
    world = World(secured=True)
    server, client = world.host(max_connections=MOST), world.host()
    fill_with_forged(world, server, MOST)

    token = client.connect(server)

    assert isinstance(client.outcome(token, within=1.0), ConnectResult)
    assert client.outcome(client.send(server, "hello"), within=1.0).delivered
    assert peer_of(server, client).is_secured


def test_where_all_are_there_it_is_told_so_at_once() -> None:
    world = World(secured=True)
    server, client = world.host(max_connections=MOST), world.host()
    for _ in range(MOST):
        world.host().connect(server)
    world.run_for(5)

    token = client.connect(server)

    result = client.outcome(token, within=1.0)
    assert "the server is full: 12 peers (max_connections)" in str(result)
    assert server.endpoint.sizes()["sealed_unseated"] == 0


def test_it_waits_until_a_killed_neighbour_is_found_to_have_gone() -> None:
    """A share of one address is full of nodes that were killed; another one comes from there."""
    world = World(secured=True)
    server = world.host(max_connections=1000, max_share_per_address=0.025)
    share = 25
    neighbours = [world.host(("198.51.100.7", 5000 + n)) for n in range(share)]
    for each in neighbours:
        each.connect(server)
    world.run_for(5)
    held = len(server.endpoint.peers)
    for each in neighbours:
        world.remove(each)
    world.run_for(5)

    client = world.host(("198.51.100.7", 6000))
    token = client.connect(server)
    result = client.outcome(token, within=60.0)

    assert held == share
    assert isinstance(result, ConnectResult)
    world.run_until(lambda: server.is_connected_to(client), within=5.0)
    sent = client.outcome(client.send(server, "hello"))
    assert sent.delivered
    assert peer_of(server, client).is_secured


def test_a_flood_that_shows_keys_holds_no_more_than_the_room() -> None:
    """Each has its own keys, and nobody who is there leaves for them."""
    world = World(secured=True)
    server = world.host(max_connections=3)
    friends = [world.host() for _ in range(3)]
    for each in friends:
        each.connect(server)
    world.run_for(5)
    for n in range(20):
        other = world.host(("203.0.113.9", 1000 + n))
        other.connect(server)
    world.run_for(30)

    assert all(server.is_connected_to(each) for each in friends)
    assert server.endpoint.sizes()["sealed_unseated"] == 0
    for each in friends:
        assert each.outcome(each.send(server, "hello")).delivered


def test_two_that_wait_at_one_address_are_asked_for_one_another() -> None:
    """The second has keys of its own: it does not end what the first has just begun."""
    world = World(secured=True)
    server = world.host(max_connections=4)
    pens = [world.puppet((f"{20 + n}.0.0.1", 8080)) for n in range(4)]
    for pen in pens:
        pen.answers_pings = True
        pen.send(pen.handshake_request(), server)
    world.run_for(5)
    for pen in pens:
        pen.answers_pings = False
    first = world.host(("99.0.0.1", 8080))
    first.connect(server)
    world.run_for(0.1)
    world.network.detach(first.address)
    second = world.host(first.address)
    second.connect(server)
    world.run_for(0.1)
    world.network.detach(second.address)
    world.network.attach(first.address)
    world.hosts[first.address] = first

    world.run_for(10)

    assert server.is_connected_to(first)
    reasons = [event.reason for event in server.told(PeerStatusChanged) if event.reason]
    assert not any("replaced" in reason for reason in reasons)
