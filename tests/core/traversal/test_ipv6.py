"""IPv6: a direct path is found as over IPv4, also by nodes that joined their server over IPv4."""

from p2ptui.core.connection import Method
from p2ptui.core.events import ConnectResult, DatagramDue, SocketsWanted
from p2ptui.nat.punching import CLAIMED_CHECKS
from tests.core.meeting import Meeting
from tests.simulation import World

SERVER = ("2001:db8:9::1", 8080)
ALICE = ("2001:db8:1::2", 5000)
BOB = ("2001:db8:2::2", 5000)


def test_two_nodes_that_met_over_ipv6_talk_directly() -> None:
    world = World(seed=6, latency_s=0.02)
    server = world.host(SERVER, allow_symmetric_nat_relay=True)
    alice, bob = world.host(ALICE), world.host(BOB)
    for node in (alice, bob):
        node.endpoint.traversal.offers.hosts = (node.address,)
        node.outcome(node.connect(server))
    world.run_for(1)
    peer = alice.peer(server)
    assert peer is not None

    token = alice.endpoint.introduce(peer, bob.id, world.now, 10)
    assert isinstance(alice.outcome(token), ConnectResult)
    world.run_for(1)

    met = alice.endpoint.peers.with_id(bob.id)
    assert met is not None
    assert met.sends_to == BOB
    assert met.connection is not None
    assert met.connection.method is Method.PLAIN


def beside(meeting: Meeting) -> None:
    """Both nodes have IPv6 as well; they joined over IPv4."""
    meeting.a.stand_beside(("2a01:1::2", 5000))
    meeting.b.stand_beside(("2a01:2::2", 5000))


def test_where_no_port_can_be_guessed_they_meet_over_ipv6() -> None:
    meeting = Meeting("symmetric, random", "symmetric, random")
    beside(meeting)

    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 2)

    peer = meeting.peer(meeting.a)
    assert peer is not None
    assert peer.sends_to == ("2a01:2::2#1", 5000)
    assert peer.connection is not None
    assert peer.connection.method is Method.PLAIN
    token = meeting.say("over six")
    assert meeting.a.outcome(token).delivered
    assert meeting.b.received() == ["over six"]


def test_the_way_over_ipv6_is_tried_before_many_guesses() -> None:
    meeting = Meeting("port-restricted-cone", "symmetric, random")
    for host in (meeting.a, meeting.b):
        assert host.facts is not None
        host.endpoint.traversal.facts_ready(host.facts, meeting.world.now)
    beside(meeting)

    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 2)

    assert not meeting.b.told(SocketsWanted)


def test_a_path_over_ipv6_that_dies_leaves_the_socket_for_the_next_one() -> None:
    meeting = Meeting("symmetric, random", "symmetric, random")
    beside(meeting)
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 2)
    a6, b6 = ("2a01:1::2", 5000), ("2a01:2::2", 5000)

    meeting.world.network.partition(a6, b6)
    meeting.world.run_until(lambda: not meeting.goes_direct(meeting.a), 10)
    meeting.world.network.heal(a6, b6)
    meeting.world.run_until(meeting.is_direct, 20)

    assert set(meeting.a.sockets) == {1}


def test_nothing_is_sent_over_ipv6_where_there_is_none() -> None:
    meeting = Meeting("symmetric, random", "symmetric, random")
    meeting.b.stand_beside(("2a01:2::2", 5000))
    meeting.a.endpoint.traversal.standing.reach(4)

    meeting.connect()
    meeting.world.run_for(5)

    due = [event for event in meeting.a.told(DatagramDue) if ":" in event.to[0]]
    assert due == []


def test_a_stranger_that_is_claimed_to_be_a_node_hears_little() -> None:
    meeting = Meeting("symmetric, random", "symmetric, random")
    beside(meeting)
    victim = ("2a01:9::9", 53)
    meeting.b.endpoint.traversal.offers.beside = (victim,)

    meeting.connect()
    meeting.world.run_for(2)

    heard = [event for event in meeting.a.told(DatagramDue) if event.to == victim]
    assert 0 < sum(len(event.data) for event in heard) <= 3 * 368
    assert len(heard) <= CLAIMED_CHECKS * 2
