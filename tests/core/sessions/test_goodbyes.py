"""What ends a session, and what only pretends to: goodbyes and "who are you?", real and forged."""

import pytest

from p2ptui.core.events import DataReceived, ErrorReceived, PeerStatus, PeerStatusChanged
from tests.simulation import Host, Puppet, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Host:
    return world.host()


@pytest.fixture
def node(world: World, server: Host) -> Host:
    node = world.host()
    node.outcome(node.connect(server))
    world.run_for(1)
    return node


def forge(world: World, message: dict[str, object], source: Host, to: Host) -> None:
    """Send in the name of another address, as anybody on the internet can."""
    liar = Puppet(world, source.address, source.id)
    liar.send(message, to)


def statuses(host: Host) -> list[PeerStatus]:
    return [event.status for event in host.told(PeerStatusChanged)]


def test_a_goodbye_is_believed_within_a_second(world: World, server: Host, node: Host) -> None:
    node.endpoint.disconnect(node.peer(server), "done", world.now)
    assert node.peer(server) is None

    world.run_for(1.0)

    assert server.peer(node) is None
    assert server.told(PeerStatusChanged)[-1].reason == "it said goodbye: done"


def test_a_goodbye_of_our_own_kind_proves_itself_and_is_believed_at_once(
    world: World, server: Host, node: Host
) -> None:
    third = world.host()
    server.outcome(server.connect(third))
    pings = server.endpoint.counters.datagrams_out
    node.endpoint.disconnect(node.peer(server), "done", world.now)
    server.endpoint.disconnect(server.peer(third), "done", world.now)

    world.run_for(0.011)  # one way

    assert server.peer(node) is None
    assert third.peer(server) is None
    assert server.endpoint.counters.datagrams_out == pings + 1  # its own goodbye


def test_a_goodbye_of_the_session_before_does_not_end_this_one(world: World) -> None:
    server, node = world.host(), world.host()
    node.outcome(node.connect(server))
    world.network.set_link(node.address[0], server.address[0], latency_s=0.5)
    node.endpoint.disconnect(node.peer(server), "done", world.now)
    node.settle()
    world.network.set_link(node.address[0], server.address[0], latency_s=0.01)
    node.outcome(node.connect(server))  # overtakes the goodbye

    world.run_for(5)

    assert node.is_connected_to(server)
    assert server.is_connected_to(node)


def test_a_goodbye_that_names_a_wrong_handshake_is_asked_about(
    world: World, server: Host, node: Host
) -> None:
    puppet = world.puppet()
    for proof in ("", "guessed", None):
        forged = puppet.message("Disconnect", {"reason": "ha", "handshake": proof})
        forge(world, forged, node, server)
        world.run_for(2)

    assert server.is_connected_to(node)


def test_a_forged_goodbye_is_asked_about_and_forgotten(
    world: World, server: Host, node: Host
) -> None:
    puppet = world.puppet()
    forge(world, puppet.message("Disconnect", {"reason": "ha"}), node, server)
    world.run_for(5)

    assert server.is_connected_to(node)
    assert statuses(server) == [PeerStatus.AUTHENTICATED]


def test_forged_goodbyes_one_after_the_other_shorten_nothing() -> None:
    """Each gives the peer all its time to answer, though the one before was asked about, too."""
    world = World(latency_s=0.05)
    server, node = world.host(), world.host()
    node.outcome(node.connect(server))
    world.run_for(1)
    puppet = world.puppet()
    for pause in (0.29, 0.3, 0.3, 0.3, 0.3):
        forge(world, puppet.message("Disconnect", {"reason": "ha"}), node, server)
        world.run_for(pause)
    world.run_for(2)

    assert statuses(server) == [PeerStatus.AUTHENTICATED]


def test_a_goodbye_without_a_reason_will_do(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)
    client.answers_pings = False
    client.say("Disconnect", None, server)
    world.run_for(1)

    assert server.peer(client) is None


def test_what_a_leaving_peer_still_says_is_taken(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)
    client.answers_pings = False
    client.say("Disconnect", {"reason": "soon"}, server)
    world.run_for(0.1)
    client.say("Data", "one more thing", server)
    world.run_for(2)

    assert server.received() == ["one more thing"]
    assert server.peer(client) is None


def test_a_goodbye_gets_no_answer_but_pings(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)
    client.answers_pings = False
    client.say("Disconnect", {"reason": "done"}, server)
    world.run_for(20)

    assert client.take_types() == ["Ping"] * 3


def test_a_restarted_server_is_joined_again(world: World, server: Host, node: Host) -> None:
    world.remove(server)
    world.run_for(1)
    restarted = world.host(server.address, node_id=server.id)

    node.ping(restarted, 2)
    world.run_for(3)

    assert node.is_connected_to(restarted)
    assert restarted.is_connected_to(node)
    token = node.send(restarted, "back")
    assert node.outcome(token).delivered
    assert restarted.received() == ["back"]


def test_a_restarted_server_with_another_id_is_joined_again(
    world: World, server: Host, node: Host
) -> None:
    world.remove(server)
    world.run_for(1)
    restarted = world.host(server.address)

    node.ping(restarted, 2)
    world.run_for(3)

    assert node.peer(restarted).node_id == restarted.id
    assert node.endpoint.peers.with_id(server.id) is None
    assert node.endpoint.peers.with_id(restarted.id) is node.peer(restarted)


def test_a_heartbeat_finds_out_that_the_server_was_restarted(
    world: World, server: Host, node: Host
) -> None:
    world.remove(server)
    restarted = world.host(server.address, node_id=server.id)

    world.run_for(40)

    assert restarted.is_connected_to(node)


def test_a_client_that_was_restarted_is_forgotten(world: World, server: Host, node: Host) -> None:
    world.remove(node)
    restarted = world.host(node.address, node_id=node.id)

    server.ping(restarted, 2)
    world.run_for(2)

    assert server.peer(restarted) is None  # it is up to the client to come back


def test_a_forged_unauthenticated_changes_nothing(world: World, server: Host, node: Host) -> None:
    puppet = world.puppet()
    before = server.endpoint.counters.handshakes_accepted
    error = puppet.message("Error", {"error": "who are you?", "code": "unauthenticated"})
    for _ in range(5):
        forge(world, error | {"id": world.message_id()}, server, node)
        world.run_for(2)

    assert node.is_connected_to(server)
    assert server.endpoint.counters.handshakes_accepted == before
    assert node.outcome(node.send(server, "still here")).delivered


def test_a_lost_session_takes_its_routes_along(world: World, server: Host, node: Host) -> None:
    """While it is asked for again, a server that forgot this node forwards nothing."""
    other = world.host()
    other.outcome(other.connect(server))
    world.run_for(2)
    assert [route.destination for route in node.endpoint.routes(world.now)] == [
        server.id,
        other.id,
    ]
    world.remove(server)
    silent = world.puppet(server.address)
    silent.answers_pings = False
    silent.say("Error", {"error": "who?", "code": "unauthenticated"}, node)

    world.run_for(1.1)
    assert node.endpoint.routes(world.now) == []
    assert node.peer(silent).status is PeerStatus.HANDSHAKING

    world.run_for(10)
    assert node.peer(silent) is None


def test_another_error_is_only_told(world: World, server: Host, node: Host) -> None:
    puppet = world.puppet()
    forge(world, puppet.message("Error", {"error": "no such thing", "code": "odd"}), server, node)
    world.run_for(2)

    (told,) = node.told(ErrorReceived)
    assert (told.text, told.code, told.node_id) == ("no such thing", "odd", server.id)
    assert node.is_connected_to(server)
    assert node.told(DataReceived) == []


def test_closing_says_goodbye_to_everybody(world: World, server: Host) -> None:
    nodes = [world.host() for _ in range(5)]
    for node in nodes:
        node.outcome(node.connect(server))
    client = world.puppet()
    client.join(server)
    client.take()

    server.endpoint.close("maintenance", world.now)
    world.run_for(1.0)

    (goodbye,) = client.take()
    assert goodbye["message_type"] == "Disconnect"
    assert goodbye["payload"] == {"reason": "maintenance"}
    assert len(server.endpoint.peers) == 0
    for node in nodes:
        assert node.peer(server) is None


def test_a_closed_node_answers_nobody(world: World, server: Host, node: Host) -> None:
    client = world.puppet()
    client.join(server)
    client.take()
    server.endpoint.close("done", world.now)
    world.run_for(1)
    client.take()

    client.join(server)
    client.say("Ping", 1, server)
    world.run_for(5)

    assert client.take() == []
    assert server.endpoint.next_timeout() is None
