"""How a node is reached, in words and as arguments of a command, from whatever is known of it."""

from typing import Any

import pytest
from msgspec.structs import replace

from p2ptui.core.addresses import relay_address, shown_address, socket_address
from p2ptui.node.others import Known, OtherNode, find_others
from p2ptui.node.view import view
from p2ptui.node.ways import own_address, shell_target, way_words
from tests.core.meeting import Meeting
from tests.core.relaying import ask as connect_by_id
from tests.core.relaying import node, relaying
from tests.simulation import Host, World


def known(host: Host, other: Host) -> Known:
    """What a host knows of another."""
    peer = host.endpoint.peers.authenticated(other.id)
    if peer is not None:
        return view(peer, host.world.now, host.endpoint.peers)
    return next(o for o in find_others(host.endpoint, host.world.now) if o.node_id == other.id)


def target(host: Host, other: Host) -> tuple[str, ...]:
    return shell_target(host.endpoint, known(host, other))


def text(host: Host) -> str:
    return "{}:{}".format(*host.address)


def joined(world: World, *names: str, **options: Any) -> list[Host]:
    """A server, and nodes that joined it."""
    server = world.host(name="server", **options)
    others = [world.host(name=name) for name in names]
    for other in others:
        other.outcome(other.connect(server))
    world.run_for(3)
    return [server, *others]


def test_a_server_that_was_joined_is_at_its_address():
    server, alice = joined(World(), "alice")
    assert target(alice, server) == (text(server),)
    assert way_words(known(alice, server)) == text(server)


def test_a_client_that_listens_where_it_is_seen_is_at_its_address():
    server, alice = joined(World(), "alice")
    assert target(server, alice) == (text(alice),)


@pytest.mark.parametrize("listens_at", ["0.0.0.0:8080", "192.168.1.5:8080", "", "rubbish"])
def test_a_client_behind_a_nat_is_found_by_way_of_this_node(listens_at):
    server, alice = joined(World(), "alice")
    peer = server.endpoint.peers.authenticated(alice.id)
    assert peer is not None
    assert peer.info is not None
    peer.info = replace(peer.info, listen_addr=listens_at)
    assert target(server, alice) == (alice.id, "--join", text(server))


@pytest.mark.parametrize(
    ("listening", "joined_at"),
    [("0.0.0.0:8080", "127.0.0.1:8080"), ("[::]:8080", "[::1]:8080"), ("[::1]:9", "[::1]:9")],
)
def test_this_node_is_joined_where_its_machine_reaches_it(listening, joined_at):
    server, alice = joined(World(), "alice")
    peer = server.endpoint.peers.authenticated(alice.id)
    assert peer is not None
    peer.proved = False  # its address may be forged
    server.endpoint._state.identity = replace(server.endpoint.identity, listen_addr=listening)
    assert target(server, alice) == (alice.id, "--join", joined_at)


def test_a_node_behind_a_server_is_found_by_way_of_it():
    server, alice, bob = joined(World(), "alice", "bob")
    assert target(alice, bob) == (bob.id, "--join", text(server))
    assert own_address(known(alice, bob)) is None
    assert way_words(known(alice, bob)) == "by way of server"


def test_a_node_further_away_has_no_command_that_would_not_reach_another():
    far = OtherNode("b0b0b0b0-0000-4000-8000-000000000001", "", None, "x", 3, ())
    server, alice = joined(World(), "alice")
    assert shell_target(alice.endpoint, far) == ()
    assert way_words(far) == "by way of x"
    near = OtherNode(far.node_id, "", None, server.id, 3, ())
    assert shell_target(alice.endpoint, near) == ()


def test_a_relayed_node_is_found_by_way_of_the_server_that_relays_it():
    world = World()
    server, other = relaying(world, name="relay"), relaying(world, name="other")
    alice, bob = node(world, other, server), node(world, server)
    world.network.partition(alice.address[0], bob.address[0])
    alice.outcome(connect_by_id(alice, server, bob))
    assert target(alice, bob) == (bob.id, "--join", text(server))
    assert own_address(known(alice, bob)) is None
    assert way_words(known(alice, bob)) == "by way of relay"
    peer = alice.endpoint.peers.authenticated(server.id)
    assert peer is not None
    view_before = known(alice, bob)
    alice.endpoint.disconnect(peer, "bye", world.now)
    assert shell_target(alice.endpoint, view_before) == ()


def test_a_node_that_was_met_directly_is_still_found_by_way_of_the_server():
    """Its NAT was opened for this node alone: another socket would knock in vain."""
    meeting = Meeting("full-cone", "full-cone")
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 30)
    alice, bob = meeting.a, meeting.b
    assert own_address(known(alice, bob)) == meeting.seen_from(bob, meeting.server.address)
    assert target(alice, bob) == (bob.id, "--join", text(meeting.server))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (("10.0.0.1", 80), "10.0.0.1:80"),
        (("::1", 80), "[::1]:80"),
        (relay_address(("10.0.0.1", 80), "b0b0"), "by way of 10.0.0.1:80"),
        (relay_address(("::1", 80), "b0b0"), "by way of [::1]:80"),
        (socket_address(3, ("10.0.0.1", 80)), "10.0.0.1:80"),
    ],
)
def test_an_address_is_shown_without_what_only_this_node_understands(address, shown):
    assert shown_address(address) == shown
