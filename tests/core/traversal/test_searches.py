"""Relay first, direct as soon as there is a path, back when it dies, and again; nothing is lost."""

from typing import Any

import pytest

from p2ptui.core.connection import Method
from p2ptui.core.events import ConnectResult, DataReceived, Path, SendStatus
from p2ptui.errors import P2PError, RemoteError, UnknownPeerError
from tests.core.meeting import ROUND_TRIP_S, Meeting
from tests.simulated_nat import KINDS
from tests.simulation import Host

CONES = ("open", "firewall", "full-cone", "restricted-cone", "port-restricted-cone")
SYMMETRIC = tuple(kind for kind in KINDS if kind.startswith("symmetric"))
GUESSED = ("symmetric, random", "symmetric, block", "symmetric, hashed")


def results(host: Host, tokens: list[int]) -> list[Any]:
    return [host.outcomes.get(token) for token in tokens]


# Relay first.


def test_the_first_message_arrives_within_one_and_a_half_round_trips() -> None:
    """The handshake takes one, and the message half of another."""
    meeting = Meeting("symmetric, random", "symmetric, random")
    began = meeting.world.now
    assert isinstance(meeting.connect(), ConnectResult)

    meeting.say("first")
    meeting.world.run_until(lambda: meeting.heard(meeting.b) == ["first"], 1)

    assert meeting.world.now - began <= 1.5 * ROUND_TRIP_S + 0.001
    assert meeting.is_relayed()


def test_a_direct_path_follows_and_is_explained() -> None:
    meeting = Meeting()
    began = meeting.world.now
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 1)

    assert meeting.world.now - began < 0.3
    for host in (meeting.a, meeting.b):
        peer = meeting.peer(host)
        assert peer.connection.method is Method.PLAIN
        assert 0 < peer.connection.direct_after_s < 0.3
        assert 1 <= peer.connection.checks <= 10
        assert peer.connection.bytes_spent < 2000
        assert peer.connection.reason is None
        told = meeting.paths(host)
        assert [event.path for event in told][-1] is Path.DIRECT
        assert told[-1].address[0] == meeting.peer(host).sends_to[0]


@pytest.mark.parametrize("kind_b", CONES)
@pytest.mark.parametrize("kind_a", CONES)
def test_what_can_meet_plainly_meets_at_the_first_try(kind_a: str, kind_b: str) -> None:
    meeting = Meeting(kind_a, kind_b)
    meeting.connect()

    meeting.world.run_until(meeting.is_direct, 0.5)

    assert meeting.peer(meeting.a).connection.method is Method.PLAIN


@pytest.mark.parametrize("kind_b", SYMMETRIC)
@pytest.mark.parametrize("kind_a", ["open", "full-cone", "restricted-cone"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_loose_filter_meets_every_symmetric_nat(kind_a: str, kind_b: str, turned: bool) -> None:
    meeting = Meeting(kind_b, kind_a) if turned else Meeting(kind_a, kind_b)
    meeting.connect()

    meeting.world.run_until(meeting.is_direct, 0.5)


@pytest.mark.parametrize("kind_b", GUESSED)
@pytest.mark.parametrize("turned", [False, True])
def test_many_sockets_and_many_guesses_meet(kind_b: str, turned: bool) -> None:
    strict = "port-restricted-cone"
    meeting = Meeting(kind_b, strict) if turned else Meeting(strict, kind_b)
    meeting.connect()
    guesser, opener = (meeting.b, meeting.a) if turned else (meeting.a, meeting.b)

    meeting.world.run_until(meeting.is_direct, 8)

    assert meeting.peer(guesser).connection.method is Method.BIRTHDAY
    assert meeting.peer(guesser).connection.checks <= 2 * 1300
    assert len(opener.sockets) == 1, "the others were closed"
    token = meeting.say("found")
    assert meeting.a.outcome(token).delivered


def test_ports_in_sequence_are_predicted() -> None:
    meeting = Meeting("port-restricted-cone", "symmetric, step 1")
    meeting.predicts_well(meeting.b)
    meeting.connect()

    meeting.world.run_until(meeting.is_direct, 5)

    assert meeting.peer(meeting.a).connection.method is Method.PREDICTED
    assert meeting.a.outcome(meeting.say("found")).delivered


@pytest.mark.parametrize("kind_b", GUESSED)
def test_where_nothing_helps_the_relay_stays_and_says_why(kind_b: str) -> None:
    meeting = Meeting("symmetric, random", kind_b)
    meeting.connect()
    meeting.world.run_for(20)

    assert meeting.is_relayed()
    assert "symmetric with random ports" in meeting.peer(meeting.a).connection.reason
    assert meeting.peer(meeting.a).connection.method is Method.RELAY
    assert meeting.peer(meeting.a).connection.checks < 100, "no guessing where it cannot work"
    assert meeting.a.sockets == meeting.b.sockets == {}


# Nothing is lost.


class Talk:
    """Numbered messages at a pace, from `a` to `b`."""

    def __init__(self, meeting: Meeting, count: int, pace_s: float) -> None:
        self.meeting = meeting
        self.count = count
        self.pace_s = pace_s
        self.tokens: list[int] = []

    def run(self, seconds: float) -> None:
        """Go on for so long, or until all are said."""
        end = self.meeting.world.now + seconds
        while self.meeting.world.now < end and len(self.tokens) < self.count:
            self.tokens.append(self.meeting.say(len(self.tokens)))
            self.meeting.world.run_for(self.pace_s)

    def arrived(self) -> int:
        return len(self.meeting.heard(self.meeting.b))


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_ten_thousand_messages_over_relay_direct_relay_direct(loss: float) -> None:
    meeting = Meeting(loss=loss, seed=5)
    world = meeting.world
    meeting.connect()
    talk = Talk(meeting, 10_000, 0.004)
    assert meeting.is_relayed()
    talk.run(5)
    assert meeting.is_direct()

    meeting.cut()
    began = world.now
    while not meeting.is_relayed():
        talk.run(0.1)
    assert world.now - began < 3
    talk.run(10)
    assert meeting.is_relayed()

    meeting.heal()
    began = world.now
    while not meeting.is_direct():
        talk.run(0.1)
    assert world.now - began < 10
    talk.run(1000)
    tokens = set(talk.tokens)
    world.run_until(lambda: meeting.a.outcomes.keys() >= tokens, 260)
    world.run_until(lambda: len(meeting.heard(meeting.b)) >= 10_000, 60)

    assert sorted(meeting.heard(meeting.b)) == list(range(10_000))
    unsure = [r for r in results(meeting.a, talk.tokens) if not r.delivered]
    # At 10 % a message may arrive while its Acks are all lost, and nobody can know.
    assert len(unsure) <= (5 if loss else 0)
    assert all(r.status is SendStatus.TIMED_OUT for r in unsure)
    assert meeting.is_direct()


def test_without_loss_a_change_of_path_reorders_only_what_was_under_way() -> None:
    meeting = Meeting()
    meeting.connect()
    talk = Talk(meeting, 500, 0.002)
    talk.run(10)
    meeting.world.run_for(2)

    heard = meeting.heard(meeting.b)
    assert sorted(heard) == list(range(500))
    # The direct way is 20 ms shorter: ten messages at this pace.
    assert max(abs(number - place) for place, number in enumerate(heard)) <= 12


def test_a_path_that_dies_while_idle_is_noticed_by_the_first_message() -> None:
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_for(60)
    assert meeting.is_direct()
    meeting.cut()
    meeting.world.run_for(0.5)
    assert meeting.is_direct(), "nobody noticed yet"

    token = meeting.say("anybody there?")
    began = meeting.world.now
    assert meeting.a.outcome(token, 3).delivered

    assert meeting.world.now - began < 3
    assert meeting.heard(meeting.b) == ["anybody there?"]


def test_an_idle_path_is_kept_alive() -> None:
    """Every mapping of this NAT ends after two minutes without traffic."""
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_for(1200)

    assert meeting.is_direct()
    assert len([e for e in meeting.paths(meeting.a) if e.path is Path.DIRECT]) == 1
    assert meeting.peer(meeting.a).connection.checks < 10
    assert meeting.attempt(meeting.a).checks < 1200 / 2


def test_only_one_direction_dies() -> None:
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_for(1)
    meeting.world.network.set_link(meeting.a.address[0], meeting.b.address[0], loss=1.0)

    tokens = [meeting.say(number) for number in range(20)]
    began = meeting.world.now
    for token in tokens:
        assert meeting.a.outcome(token, 5).delivered
    assert meeting.world.now - began < 3
    assert sorted(meeting.heard(meeting.b)) == list(range(20))


def test_a_slow_path_is_no_dead_path() -> None:
    """A round trip of 1.6 s by satellite is longer than five checks a quarter of a second apart."""
    meeting = Meeting(latency_s=0.8)
    meeting.connect(30)
    meeting.world.run_until(meeting.is_direct, 30)
    changes = len(meeting.paths(meeting.a))
    tokens = []
    for number in range(60):
        tokens.append(meeting.say(number))
        meeting.world.run_for(1)

    assert meeting.is_direct()
    assert len(meeting.paths(meeting.a)) == changes


# Both at once, and lost on the way.


def test_both_ask_at_once() -> None:
    meeting = Meeting()
    b = meeting.b
    token = meeting.ask()
    back = b.endpoint.introduce(b.peer(meeting.server), meeting.a.id, meeting.world.now, 10)
    b.settle()

    assert isinstance(meeting.a.outcome(token), ConnectResult)
    assert isinstance(b.outcome(back), ConnectResult)
    meeting.world.run_until(meeting.is_direct, 1)
    controlling = [meeting.attempt(host).controlling for host in (meeting.a, b)]
    assert sorted(controlling) == [False, True]
    assert meeting.a.outcome(meeting.say("x")).delivered
    assert len([p for p in meeting.a.endpoint.peers if p.node_id == b.id]) == 1


@pytest.mark.parametrize("seed", range(12))
def test_both_ask_at_once_over_a_bad_network(seed: int) -> None:
    meeting = Meeting(seed=seed, loss=0.3, jitter_s=0.03)
    b = meeting.b
    meeting.ask(20)
    b.endpoint.introduce(b.peer(meeting.server), meeting.a.id, meeting.world.now, 20)
    b.settle()

    meeting.world.run_until(meeting.is_direct, 25)


def test_one_offer_of_two_that_cross_is_lost() -> None:
    """The other side has answered it by its own already."""
    meeting = Meeting()
    a, b, world = meeting.a, meeting.b, meeting.world
    world.network.set_link(meeting.server.address[0], b.address[0], loss=1.0)
    meeting.ask()
    world.run_for(0.015)
    b.endpoint.introduce(b.peer(meeting.server), a.id, world.now, 10)
    b.settle()
    world.run_for(0.1)
    world.network.set_link(meeting.server.address[0], b.address[0], latency_s=0.02)

    world.run_until(meeting.is_direct, 0.7)


@pytest.mark.parametrize("end", ["a", "b"])
def test_offers_and_answers_that_are_lost_are_made_up_for(end: str) -> None:
    """Nothing reaches one of the two from the server for a second."""
    meeting = Meeting()
    deaf = getattr(meeting, end)
    network, server = meeting.world.network, meeting.server.address[0]
    network.set_link(server, deaf.address[0], loss=1.0)
    meeting.ask()
    meeting.world.run_for(1)
    network.set_link(server, deaf.address[0], latency_s=0.02)

    meeting.world.run_until(meeting.is_direct, 3)


@pytest.mark.parametrize("seed", range(20))
def test_a_bad_network(seed: int) -> None:
    meeting = Meeting(seed=seed, loss=0.2, jitter_s=0.02, duplication=0.05)
    assert isinstance(meeting.connect(20), ConnectResult)
    meeting.world.run_until(meeting.is_direct, 20)

    assert meeting.a.outcome(meeting.say("x")).delivered


def test_a_check_that_overtakes_the_offer_is_remembered() -> None:
    """Of a symmetric NAT it is the only one that shows the port."""
    meeting = Meeting("open", "symmetric, random")
    network = meeting.world.network
    network.set_link(meeting.server.address[0], meeting.a.address[0], latency_s=0.3)
    meeting.connect()

    meeting.world.run_until(meeting.is_direct, 0.6)


# Who comes and goes.


def test_the_other_node_restarts_at_a_new_address() -> None:
    """Its session is found to be gone as soon as the path falls silent, and begun anew."""
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 1)
    old = meeting.b
    meeting.world.remove(old)
    meeting.b = new = meeting.behind(
        "port-restricted-cone", "198.51.100.3", ("192.168.3.2", 5000), node_id=old.id
    )
    new.outcome(new.connect(meeting.server))
    meeting.world.run_for(30)

    assert isinstance(meeting.connect(), ConnectResult)
    meeting.world.run_until(meeting.is_direct, 2)

    assert meeting.peer(meeting.a).sends_to[0] == "198.51.100.3"


def test_the_other_node_restarts_and_calls_itself() -> None:
    """The old session must not be in the way of the new one for a minute."""
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 1)
    old = meeting.b
    meeting.world.remove(old)
    meeting.b = new = meeting.behind(
        "port-restricted-cone", "198.51.100.3", ("192.168.3.2", 5000), node_id=old.id
    )
    new.outcome(new.connect(meeting.server))
    token = new.endpoint.introduce(new.peer(meeting.server), meeting.a.id, meeting.world.now, 10)
    new.settle()

    assert isinstance(new.outcome(token, 10), ConnectResult)
    meeting.world.run_until(meeting.is_direct, 5)
    assert meeting.a.outcome(meeting.say("hello again"), 10).delivered


def test_the_server_is_lost_while_the_path_is_direct() -> None:
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 1)
    meeting.world.remove(meeting.server)
    meeting.world.run_for(200)

    assert meeting.a.peer(meeting.server) is None
    assert meeting.is_direct()
    assert meeting.a.outcome(meeting.say("still here")).delivered


def test_the_server_is_lost_while_it_relays() -> None:
    meeting = Meeting("symmetric, random", "symmetric, random")
    meeting.connect()
    meeting.world.run_for(10)
    meeting.world.remove(meeting.server)
    token = meeting.say("nobody hears")

    assert not meeting.a.outcome(token).delivered
    meeting.world.run_for(200)
    for host in (meeting.a, meeting.b):
        assert len(host.endpoint.peers) == 0
        assert host.endpoint.sizes()["traversals"] == 0
        assert host.endpoint.sizes()["relays"] == 0


def restart(meeting: Meeting) -> None:
    """The server crashes and comes back at once, under the same id, and knows nobody."""
    old = meeting.server
    meeting.world.remove(old)
    meeting.server = meeting.world.host(old.address, node_id=old.id, allow_symmetric_nat_relay=True)


def test_a_server_that_restarts_relays_again() -> None:
    meeting = Meeting("symmetric, random", "symmetric, random")
    meeting.connect()
    meeting.world.run_for(10)
    restart(meeting)
    meeting.world.run_for(45)
    assert all(host.is_connected_to(meeting.server) for host in (meeting.a, meeting.b))

    assert meeting.a.outcome(meeting.say("again"), 20).delivered


def test_a_server_that_restarted_takes_over_from_a_path_that_dies() -> None:
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 1)
    restart(meeting)
    meeting.world.run_for(45)
    assert meeting.is_direct()
    meeting.cut()

    assert meeting.a.outcome(meeting.say("by relay"), 5).delivered
    meeting.heal()
    meeting.world.run_until(meeting.is_direct, 15)


def test_a_server_that_was_away_for_long_takes_over_again() -> None:
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 1)
    old = meeting.server
    meeting.world.remove(old)
    meeting.world.run_for(200)
    assert meeting.a.peer(old) is None
    meeting.server = meeting.world.host(old.address, node_id=old.id, allow_symmetric_nat_relay=True)
    for host in (meeting.a, meeting.b):
        host.outcome(host.connect(meeting.server))
    meeting.world.run_for(2)
    meeting.cut()

    assert meeting.a.outcome(meeting.say("by relay"), 5).delivered


# Where nothing relays.


def test_without_a_relay_there_is_a_direct_path_or_none() -> None:
    meeting = Meeting(server={"allow_symmetric_nat_relay": False})
    assert isinstance(meeting.connect(), ConnectResult)

    assert meeting.is_direct()
    assert meeting.a.outcome(meeting.say("x")).delivered
    assert "@" not in meeting.peer(meeting.a).address[0]


def test_without_a_relay_and_without_a_path_the_reason_is_clear() -> None:
    meeting = Meeting(
        "symmetric, random", "symmetric, random", server={"allow_symmetric_nat_relay": False}
    )
    outcome = meeting.connect(30)

    assert isinstance(outcome, RemoteError)
    assert "symmetric with random ports" in str(outcome)
    assert "the server does not relay" in str(outcome)
    meeting.world.run_for(120)
    for host in (meeting.a, meeting.b):
        assert host.endpoint.sizes()["traversals"] == 0, "nobody talks to it"


def test_without_a_relay_a_path_that_dies_ends_the_session() -> None:
    meeting = Meeting(server={"allow_symmetric_nat_relay": False})
    meeting.connect()
    meeting.cut()
    meeting.world.run_for(200)

    assert meeting.peer(meeting.a) is None
    assert meeting.a.endpoint.sizes()["traversals"] == 0


def test_a_node_that_the_server_does_not_know() -> None:
    meeting = Meeting()
    server = meeting.a.peer(meeting.server)
    nobody = meeting.world.node_id()
    token = meeting.a.endpoint.introduce(server, nobody, meeting.world.now, 10)
    began = meeting.world.now
    outcome = meeting.a.outcome(token)

    assert isinstance(outcome, P2PError)
    assert "does not know" in str(outcome)
    assert meeting.world.now - began < 0.1
    assert meeting.a.endpoint.sizes()["traversals"] == 0


def test_nobody_else_says_that_a_node_is_unknown() -> None:
    """Only the server that was asked: any peer can write such an Error."""
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 1)
    meeting.cut()
    a, world = meeting.a, meeting.world
    liar = world.puppet(("198.51.100.66", 8080))
    a.connect(liar)
    world.run_for(4)
    assert meeting.is_relayed()
    request = liar.take()[0]
    info = liar.handshake_request()["payload"]
    answer = {"node_info": info, "success": True, "error_message": None}
    seen = ("198.51.100.1", 5000)
    liar.say("HandshakeResponse", answer, seen, ack_for=request["id"])
    world.run_for(0.1)
    assert a.is_connected_to(liar)
    error = {"error": "no", "code": "peer_not_found", "target": meeting.b.id}
    liar.say("Error", error, seen)
    before = meeting.attempt(a).reason
    world.run_for(0.1)

    assert meeting.attempt(a).reason == before
    meeting.heal()
    world.run_until(meeting.is_direct, 15)


def test_direct_paths_can_be_switched_off() -> None:
    meeting = Meeting(options={"ice": {"enable": False}})
    meeting.connect()
    meeting.world.run_for(10)

    assert meeting.is_relayed()
    assert "ice.enable" in meeting.peer(meeting.a).connection.reason
    assert meeting.peer(meeting.a).connection.checks == 0


# Programs of the reference's kind.


def test_a_target_of_the_reference_kind_is_told_apart_at_once() -> None:
    meeting = Meeting()
    puppet = meeting.world.puppet(("198.51.100.7", 6000))
    puppet.join(meeting.server)
    token = meeting.a.endpoint.introduce(
        meeting.a.peer(meeting.server), puppet.id, meeting.world.now, 10
    )
    outcome = meeting.a.outcome(token, 12)

    assert isinstance(outcome, P2PError)
    assert "understands no relayed datagrams" in str(outcome)
    meeting.world.run_for(1)  # its list had to be cut: it proves its address before more comes
    offers = [m for m in puppet.take() if m["message_type"] == "P2PConnect"]
    assert offers
    assert all("peer_offer" not in m["payload"] for m in offers), "no extension"
    assert not [data for data in puppet.inbox if data[0] >= 0xC0]


def test_a_server_of_the_reference_kind_between_two_of_ours() -> None:
    """It drops unknown keys and relays nothing: an introduction, Pings, and a handshake."""
    meeting = Meeting()
    world, a, b = meeting.world, meeting.a, meeting.b
    old = world.puppet(("198.51.100.50", 8080))
    seen = {a.id: ("198.51.100.1", 5000), b.id: ("198.51.100.2", 5000)}
    for host in (a, b):
        host.connect(old)
        world.run_for(0.1)
        request = old.take()[-1]
        info = old.handshake_request()["payload"]
        answer = {"node_info": info, "success": True, "error_message": None}
        old.say("Ack", None, seen[host.id], ack_for=request["id"])  # as the reference does
        old.say("HandshakeResponse", answer, seen[host.id], ack_for=None)
        world.run_for(0.1)
        assert request["message_type"] == "HandshakeRequest"
        assert host.is_connected_to(old)
    old.take()
    token = a.endpoint.introduce(a.peer(old), b.id, world.now, 10)
    a.settle()
    world.run_for(0.05)
    (asked,) = [m for m in old.take() if m["message_type"] == "P2PConnect"]
    assert set(asked["payload"]) == {"peer_id"}
    capabilities = list(b.endpoint.identity.capabilities)
    for host, other in ((a, b), (b, a)):
        host_port = seen[other.id]
        payload = {
            "peer_id": other.id,
            "peer_addr": f"{host_port[0]}:{host_port[1]}",
            "peer_capabilities": capabilities,
        }
        old.say("P2PConnect", payload, seen[host.id])

    assert isinstance(a.outcome(token), ConnectResult)
    assert a.outcome(meeting.say("by introduction")).delivered


def test_relayed_data_is_told_as_relayed() -> None:
    meeting = Meeting("symmetric, random", "symmetric, random")
    meeting.connect()
    meeting.a.outcome(meeting.say("x"))

    (event,) = [e for e in meeting.b.told(DataReceived) if e.payload == "x"]
    assert event.path is Path.RELAY
    assert "@" not in event.address[0]


def test_an_unknown_id_after_the_node_left_is_told() -> None:
    meeting = Meeting("symmetric, random", "symmetric, random")
    meeting.connect()
    meeting.b.endpoint.close("bye", meeting.world.now)
    meeting.world.run_for(2)
    assert meeting.peer(meeting.a) is None

    assert isinstance(meeting.connect(), UnknownPeerError | P2PError)
    assert meeting.a.endpoint.sizes()["traversals"] == 0
