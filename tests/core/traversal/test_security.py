"""Who lies about a path, and who listens: nobody is let in, aimed at or told by a traversal."""

import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from p2ptui.core.aliases import MAX_CLAIMED_ALIASES
from p2ptui.core.events import ConnectResult
from p2ptui.core.traversal.checks import build_check
from p2ptui.wire.address import Address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import MessageType, P2PConnectPayload
from p2ptui.wire.offer import TraversalOffer
from p2ptui.wire.stun import TRANSACTION_ID_BYTES, MessageClass, StunMessage, encode
from p2ptui.wire.stun_integrity import short_term_key
from tests.core.meeting import OUTSIDE_A, OUTSIDE_B, SERVER, Meeting
from tests.simulation import Host, Puppet

STRANGER: Address = ("198.51.100.66", 4000)
VICTIM: Address = ("203.0.113.5", 53)


class Wire:
    """Everything that is sent, as its sender addressed it."""

    def __init__(self, meeting: Meeting) -> None:
        self.sent: list[tuple[Address, Address, bytes]] = []
        inner = meeting.nats.translate

        def translate(data: bytes, source: Address, to: Address, now: float) -> Any:
            self.sent.append((source, to, data))
            return inner(data, source, to, now)

        meeting.world.network.translate = translate

    def by(self, host: Host) -> list[tuple[Address, bytes]]:
        return [(to, data) for source, to, data in self.sent if source[0] == host.address[0]]

    def checks_by(self, host: Host) -> Counter[Address]:
        """Where checks of a host went, and how many; answers are none."""
        return Counter(to for to, data in self.by(host) if data[:2] == b"\x00\x01")


def direct() -> Meeting:
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 1)
    return meeting


def check(meeting: Meeting, of: Host, *, password: str | None = None, number: int = 1) -> bytes:
    """A check as the other node would make it for a host."""
    attempt = meeting.attempt(of)
    offer = attempt.offer
    if password is not None:
        offer = msgspec.structs.replace(offer, password=password)
    transaction_id = number.to_bytes(TRANSACTION_ID_BYTES, "big")
    return build_check(transaction_id, attempt.remote, offer, nominate=True)


# Forged, replayed, from elsewhere.


def test_a_check_with_a_wrong_password_is_not_answered() -> None:
    meeting = direct()
    stranger = meeting.world.puppet(STRANGER)
    open_up(meeting, STRANGER)

    stranger.send(check(meeting, meeting.a, password="guessed-guessed-guessed"), seen(meeting))
    meeting.world.run_for(1)

    assert not stranger.inbox
    assert meeting.a.endpoint.counters.drops["check_forged"] == 1
    assert STRANGER not in meeting.aliases(meeting.a)


def test_a_check_for_a_name_that_nobody_has_is_not_answered() -> None:
    meeting = direct()
    stranger = meeting.world.puppet(STRANGER)
    open_up(meeting, STRANGER)
    own = TraversalOffer("stranger", "x" * 20)
    other = TraversalOffer("somebody", "y" * 20)

    stranger.send(build_check(b"t" * 12, own, other, nominate=True), seen(meeting))
    meeting.world.run_for(1)

    assert not stranger.inbox


def open_up(meeting: Meeting, address: Address) -> None:
    """Let the NAT of `a` admit an address."""
    network, world = meeting.world.network, meeting.world
    network.send(b"", meeting.a.address, address, world.now)
    world.run_for(0.1)
    puppet = world.hosts[address]
    assert isinstance(puppet, Puppet)
    puppet.inbox.clear()


def seen(meeting: Meeting) -> Address:
    """Where `a` is seen."""
    return (OUTSIDE_A, meeting.a.address[1])


def test_a_stranger_never_gets_into_a_session() -> None:
    """What comes from an address that was checked is the peer's, from any other it is not."""
    meeting = direct()
    stranger = meeting.world.puppet(STRANGER)
    open_up(meeting, STRANGER)
    message = stranger.spec_message("Data", "let me in", sequence_number=7)

    stranger.send(message, seen(meeting))
    meeting.world.run_for(1)

    assert "let me in" not in meeting.a.received()
    assert meeting.a.peer(STRANGER) is None


def test_a_replayed_check_gives_its_sender_no_part_of_the_session() -> None:
    """Whoever saw a check can send it again from elsewhere: its path is never chosen."""
    meeting = Meeting()
    wire = Wire(meeting)
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 1)
    (_, replayed) = [(to, data) for to, data in wire.by(meeting.b) if data[:2] == b"\x00\x01"][-1]
    stranger = meeting.world.puppet(STRANGER)
    open_up(meeting, STRANGER)
    path = meeting.peer(meeting.a).sends_to

    for _ in range(50):
        stranger.send(replayed, seen(meeting))
    meeting.world.run_for(3)

    assert meeting.peer(meeting.a).sends_to == path
    assert sum(map(len, stranger.inbox)) <= 50 * len(replayed), "no amplification"
    assert meeting.a.outcome(meeting.say("private")).delivered
    assert not any(b"private" in data for data in stranger.inbox)


def test_a_path_is_not_taken_from_another_peer() -> None:
    """A node that pretends to send its checks from the address of another one."""
    meeting = direct()
    world, a, b = meeting.world, meeting.a, meeting.b
    at = meeting.peer(a).sends_to
    c = meeting.behind("open", "198.51.100.77", ("198.51.100.77", 5000))
    c.outcome(c.connect(meeting.server))
    token = c.endpoint.introduce(c.peer(meeting.server), a.id, world.now, 10)
    assert isinstance(c.outcome(token), ConnectResult)
    world.run_for(1)
    attempt = a.endpoint.traversal.offers.get(c.id)
    forged = build_check(b"f" * 12, attempt.remote, attempt.offer, nominate=True)

    a.endpoint.receive_datagram(forged, at, world.now)
    a.settle()

    assert a.endpoint.peers.at(at).node_id == b.id
    known = a.endpoint.peers.with_id(c.id)
    assert at not in a.endpoint.peers.aliases_of(known)


def test_an_answer_from_elsewhere_opens_no_path() -> None:
    """RFC 8445, section 7.2.5.2.1."""
    meeting = Meeting()
    wire = Wire(meeting)
    meeting.world.network.partition(meeting.a.address[0], meeting.b.address[0])
    meeting.connect()
    meeting.world.run_for(0.3)
    asked = [data for to, data in wire.by(meeting.a) if data[:2] == b"\x00\x01"]
    assert asked
    password = meeting.attempt(meeting.b).offer.password
    for data in asked:
        answer = StunMessage(
            message_class=MessageClass.SUCCESS,
            transaction_id=data[8:20],
            xor_mapped=seen(meeting),
            fingerprint=True,
        )
        raw = encode(answer, integrity_key=short_term_key(password))
        meeting.a.endpoint.receive_datagram(raw, STRANGER, meeting.world.now)
    meeting.a.settle()

    assert not meeting.goes_direct(meeting.a)


# Aimed at others.


def offer_by(puppet: Puppet, target: Host, server: Host, **changes: Any) -> None:
    """A client of our kind offers a path to a node."""
    offer = TraversalOffer("ufrag-of-puppet", "password-of-the-puppet", **changes)
    payload = {"peer_id": target.id, "offer": msgspec.to_builtins(offer)}
    puppet.send(puppet.spec_message("P2PConnect", payload), server)


def joined(meeting: Meeting) -> Puppet:
    """A client of our kind that is played by the test."""
    puppet = meeting.world.puppet(STRANGER)
    request = puppet.handshake_request(
        capabilities=["handshake", "routing", "relay_frames"], node_id=puppet.id
    )
    del request["sender_addr"]
    puppet.send(request, meeting.server)
    meeting.world.run_for(0.5)
    prove(puppet, meeting)
    return puppet


def prove(puppet: Puppet, meeting: Meeting) -> None:
    """Let the server ping it, and hear its answer."""
    peer = meeting.server.peer(puppet)
    assert peer is not None
    puppet.names_next_ping = True
    meeting.server.endpoint.ping(peer, meeting.world.now, 1)
    meeting.world.run_for(0.5)
    assert peer.proved
    puppet.take()


HOSTS = [f"198.51.100.{n}:53" for n in (100, 101)]
ELSEWHERE = [
    "203.0.113.5:53",
    "8.8.8.8:53",
    "127.0.0.1:22",
    "169.254.169.254:80",
    "255.255.255.255:67",
    "224.0.0.251:5353",
    "0.0.0.0:80",
    "[::1]:22",
    "[2002:c000:204::1]:53",
    "[fe80::1]:53",
    "nonsense",
]


@pytest.mark.parametrize("kind", ["host", "srflx", "predicted", "relay", "other"])
def test_what_an_offer_claims_is_never_sent_to_elsewhere(kind: str) -> None:
    meeting = Meeting()
    puppet = joined(meeting)
    wire = Wire(meeting)
    candidates = [(kind, text) for text in (*HOSTS, *ELSEWHERE)]

    offer_by(puppet, meeting.a, meeting.server, candidates=candidates)
    meeting.world.run_for(10)

    assert wire.checks_by(meeting.a), "the observed address was tried"
    assert {to[0] for to in wire.checks_by(meeting.a)} == {STRANGER[0]}


def test_the_checks_to_one_host_are_bounded() -> None:
    meeting = Meeting()
    puppet = joined(meeting)
    wire = Wire(meeting)
    candidates = [("srflx", f"{STRANGER[0]}:{port}") for port in range(1, 33)]

    offer_by(puppet, meeting.a, meeting.server, candidates=candidates)
    meeting.world.run_for(60)

    checks = wire.checks_by(meeting.a)
    assert len(checks) <= 11
    assert sum(checks.values()) < 200


def test_a_flood_of_checks_from_forged_addresses_costs_little() -> None:
    """One who was introduced knows the password, and can pretend to be anywhere."""
    meeting = Meeting("open")
    puppet = joined(meeting)
    offer_by(puppet, meeting.a, meeting.server)
    meeting.world.run_for(0.1)
    a = meeting.a
    attempt = a.endpoint.traversal.offers.get(puppet.id)
    wire = Wire(meeting)
    total = 0
    for number in range(500):
        data = build_check(number.to_bytes(12, "big"), attempt.remote, attempt.offer, nominate=True)
        total += len(data)
        a.endpoint.receive_datagram(data, ("203.0.113.9", 1000 + number), meeting.world.now)
    a.settle()
    meeting.world.run_for(10)

    sent = [data for to, data in wire.by(a) if to[0] == "203.0.113.9"]
    assert sum(map(len, sent)) <= 3 * total
    assert len(wire.checks_by(a)) <= 70
    assert a.endpoint.sizes()["aliases"] <= MAX_CLAIMED_ALIASES


@pytest.mark.parametrize("before_the_round", [True, False])
def test_one_short_forged_check_costs_three_times_its_bytes_at_most(before_the_round: bool) -> None:
    meeting = Meeting("open")
    puppet = joined(meeting)
    offer_by(puppet, meeting.a, meeting.server)
    meeting.world.run_for(0.1)
    a = meeting.a
    attempt = a.endpoint.traversal.offers.get(puppet.id)
    if before_the_round:
        attempt.punching = None
    wire = Wire(meeting)
    request = StunMessage(
        message_class=MessageClass.REQUEST,
        transaction_id=b"f" * 12,
        username=f"{attempt.offer.ufrag}:",
        fingerprint=True,
    )
    data = encode(request, integrity_key=short_term_key(attempt.offer.password))

    a.endpoint.receive_datagram(data, ("203.0.113.9", 1000), meeting.world.now)
    a.settle()
    meeting.world.run_for(10)

    sent = [data for to, data in wire.by(a) if to[0] == "203.0.113.9"]
    assert sent
    assert sum(map(len, sent)) <= 3 * len(data)


def test_an_answer_is_no_larger_than_three_times_its_check() -> None:
    meeting = Meeting()
    wire = Wire(meeting)
    meeting.connect()
    meeting.world.run_for(10)
    checks = [len(data) for _, _, data in wire.sent if data[:2] == b"\x00\x01"]
    answers = [len(data) for _, _, data in wire.sent if data[:2] == b"\x01\x01"]

    assert answers
    assert max(answers) <= min(checks)


def test_an_introduction_counts_only_from_a_server_that_was_joined() -> None:
    meeting = Meeting("open")
    puppet = meeting.world.puppet(STRANGER)
    puppet.join(meeting.a)
    wire = Wire(meeting)
    offer = {"ufrag": "abcdefgh", "password": "x" * 20}
    payload = {
        "peer_id": meeting.world.node_id(),
        "peer_addr": "203.0.113.5:53",
        "peer_capabilities": ["routing", "relay_frames"],
        "peer_offer": offer,
    }

    puppet.say("P2PConnect", payload, meeting.a)
    meeting.world.run_for(5)

    assert not [to for to, _ in wire.by(meeting.a) if to[0] == "203.0.113.5"]
    assert len(meeting.a.endpoint.traversal) == 0


# Aliases.


def test_an_alias_ends_with_its_path() -> None:
    meeting = direct()
    a = meeting.a
    at = meeting.peer(a).sends_to
    assert a.endpoint.peers.at(at) is meeting.peer(a)
    meeting.cut()
    meeting.say("x")
    meeting.world.run_until(meeting.is_relayed, 5)

    assert a.endpoint.peers.at(at) is None
    assert not meeting.aliases(a)


def test_an_alias_ends_with_its_peer() -> None:
    meeting = direct()
    a = meeting.a
    peer, at = meeting.peer(a), meeting.peer(a).sends_to
    a.endpoint.disconnect(peer, "bye", meeting.world.now)

    assert a.endpoint.peers.at(at) is None
    assert len(a.endpoint.traversal) == 0


def test_a_server_does_not_lend_one_node_the_id_of_another() -> None:
    """Behind a relayed address is the node that the server names, and no other."""
    meeting = Meeting("symmetric, random", "symmetric, random")
    puppet = joined(meeting)
    claimed = meeting.world.node_id()
    request = puppet.handshake_request(id=claimed, node_id=claimed)
    del request["sender_addr"]
    inner = json.dumps(request).encode()
    frame = b"\xc3" + bytes.fromhex(puppet.id.replace("-", "")) + inner
    meeting.a.receive(frame, SERVER)
    meeting.world.run_for(2)

    assert meeting.a.endpoint.counters.handshakes_refused == 1
    assert meeting.a.endpoint.peers.with_id(claimed) is None


# Nothing of it is told to others.


def test_relayed_nodes_are_listed_nowhere() -> None:
    meeting = Meeting("symmetric, random", "port-restricted-cone")
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 8)
    a, world = meeting.a, meeting.world
    assert "#" in meeting.peer(a).sends_to[0], "won from a further socket"
    curious = world.puppet(STRANGER)
    where = meeting.seen_from(a, STRANGER)
    answers = []
    curious.send(curious.handshake_request(), where)
    world.run_for(1)
    answers += curious.take()
    for kind, payload in (
        ("DiscoveryRequest", None),
        ("ListNodesRequest", None),
        ("P2PConnect", {"peer_id": meeting.b.id}),
        ("Data", {"cmd": "get_routes"}),
    ):
        curious.send(curious.message(kind, payload), where)
        world.run_for(2)
        answers += curious.take()

    text = json.dumps(answers)
    kinds = {message["message_type"] for message in answers}
    assert {"DiscoveryResponse", "ListNodesResponse"} <= kinds
    assert "@" not in text
    assert "#" not in text
    assert OUTSIDE_B not in json.dumps([m for m in answers if m["message_type"] != "Data"])
    assert a.is_connected_to(meeting.server)
    assert f"{SERVER[0]}:{SERVER[1]}" in text


# Servers, and clients of servers, that mean harm.


def test_an_offer_of_one_who_may_be_elsewhere_is_not_handed_on() -> None:
    """Else a forged handshake and one small request would aim every client at a third."""
    meeting = Meeting()
    puppet = meeting.world.puppet(STRANGER)
    puppet.answers_pings = False
    request = puppet.handshake_request(
        capabilities=["handshake", "routing", "relay_frames"], node_id=puppet.id
    )
    del request["sender_addr"]
    puppet.send(request, meeting.server)
    meeting.world.run_for(0.5)
    wire = Wire(meeting)

    offer_by(
        puppet,
        meeting.a,
        meeting.server,
        round=1,
        nat_type="symmetric",
        allocation="random",
        sockets=256,
    )
    meeting.world.run_for(10)

    assert not wire.checks_by(meeting.a)


def test_another_server_cannot_turn_a_session_aside() -> None:
    meeting = direct()
    evil = meeting.world.host(("198.51.100.66", 8080))
    meeting.a.outcome(meeting.a.connect(evil))
    meeting.world.run_for(1)
    before = meeting.peer(meeting.a).sends_to
    peer = evil.peer(meeting.seen_from(meeting.a, evil.address))
    assert peer is not None
    offer = TraversalOffer("ufrag-of-evil", "password-of-the-evil-one", answer=True)
    payload = P2PConnectPayload(
        meeting.b.id,
        peer_addr="198.51.100.66:9999",
        peer_capabilities=["routing", "relay_frames"],
        peer_offer=offer,
    )
    evil.endpoint._delivery.send(
        peer, MessageType.P2P_CONNECT, encode_payload(payload), meeting.world.now
    )
    meeting.world.run_for(5)

    assert meeting.peer(meeting.a).sends_to == before
    assert meeting.a.endpoint.counters.drops["introduction_elsewhere"] == 1


def test_an_offer_that_is_refused_leaves_nothing_behind() -> None:
    """Nothing was planned for it, so that nothing ever closed it."""
    meeting = Meeting()
    offer_by(joined(meeting), meeting.a, meeting.server, answer=True)
    meeting.world.run_for(1)
    assert meeting.a.endpoint.sizes()["introductions"]

    meeting.world.run_for(300)
    assert meeting.a.endpoint.sizes()["traversals"] == 0


def test_one_client_cannot_have_searches_begun_without_end() -> None:
    meeting = Meeting()
    puppet = joined(meeting)
    wire = Wire(meeting)
    for number in range(100):
        offer = TraversalOffer(f"ufrag-{number:04}", "password-of-the-puppet")
        payload = {"peer_id": meeting.a.id, "offer": msgspec.to_builtins(offer)}
        puppet.send(puppet.spec_message("P2PConnect", payload), meeting.server)
        meeting.world.run_for(0.1)

    assert meeting.a.endpoint.counters.drops["offer_refused"] >= 90
    assert sum(wire.checks_by(meeting.a).values()) < 200
