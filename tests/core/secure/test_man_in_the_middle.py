"""Somebody who has everything but the keys: nothing of what he sends is taken, and nothing ends."""

import json
import random
from typing import Any

import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.errors import HandshakeError
from tests.core.secure.test_secured_nodes import peer_of
from tests.core.secure.wiretap import Seen, Wiretap, two_secured
from tests.simulation import Host, Puppet, World

FORGED = 100_000


def facts_of(host: Host, other: Host) -> tuple[Any, ...]:
    """What must not change by anybody's hand."""
    peer = peer_of(host, other)
    assert peer.seal is not None
    session = peer.seal.session
    return (
        peer,
        peer.address,
        peer.sends_to,
        peer.status,
        peer.capabilities,
        peer.name,
        session.current,
        session.current.opened,
        peer.messages_in,
        tuple(peer.handshake_said),
        len(host.received()),
    )


@pytest.fixture
def world() -> World:
    return World()


def varied(frame: bytes, rng: random.Random) -> bytes:
    """A frame as somebody on the path may change it."""
    match rng.randrange(6):
        case 0:
            return frame  # again
        case 1:
            return frame[: rng.randrange(len(frame))]
        case 2:
            return frame + rng.randbytes(rng.randrange(1, 40))
        case 3:
            at = rng.randrange(len(frame))
            return frame[:at] + bytes((frame[at] ^ 1 << rng.randrange(8),)) + frame[at + 1 :]
        case 4:
            return frame[:5] + rng.randbytes(8) + frame[13:]
        case _:
            return bytes((rng.randrange(0xC0, 0x100),)) + frame[1:]


def test_nothing_forged_altered_replayed_or_cut_is_taken(world: World) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    for number in range(20):
        one.outcome(one.send(other, number))
        other.outcome(other.send(one, number))
    frames = [seen for seen in tap.seen if seen.data[0] >= 0xC0]
    before = facts_of(one, other), facts_of(other, one)
    rng = random.Random(1)
    came = one.endpoint.counters.datagrams_in + other.endpoint.counters.datagrams_in
    for number in range(FORGED):
        if number % 100 == 0:
            world.run_for(0.0001)  # before any timer of the nodes themselves
        seen = rng.choice(frames)
        to = rng.choice([one, other])
        source = rng.choice([seen.source, one.address, other.address, ("10.9.9.9", 1)])
        tap.inject(varied(seen.data, rng), source, to)
    world.run_for(0.05)
    came = one.endpoint.counters.datagrams_in + other.endpoint.counters.datagrams_in - came
    assert came >= FORGED, "all of it arrived, and what answered that"
    assert (facts_of(one, other), facts_of(other, one)) == before
    world.run_for(5)
    assert one.outcome(one.send(other, "hello")).delivered
    assert other.outcome(other.send(one, "hello")).delivered
    assert other.received() == [*range(20), "hello"]
    assert one.received() == [*range(20), "hello"]
    assert peer_of(one, other) is before[0][0]
    assert peer_of(other, one) is before[1][0]


def test_each_frame_is_altered_on_its_way_and_the_next_one_counts(world: World) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    rng = random.Random(2)

    def alter(seen: Seen) -> bytes:
        return varied(seen.data, rng) if seen.is_sealed and rng.random() < 0.3 else seen.data

    tap.rules.append(alter)
    tokens = [one.send(other, number) for number in range(50)]
    for token in tokens:
        assert one.outcome(token).delivered
    assert sorted(other.received()) == list(range(50))


CLEAR = ["Ping", "Pong", "Data", "Ack", "Error", "Disconnect", "DiscoveryResponse", "RelayCheck"]


@pytest.mark.parametrize("kind", [*CLEAR, "HandshakeRequest", "HandshakeResponse", "Retransmit"])
def test_nothing_in_the_clear_changes_a_session(world: World, kind: str) -> None:
    """Whatever it says, and in whoever's name: all that was seen on the wire may be in it."""
    tap = Wiretap(world)
    one, other = two_secured(world)
    handshakes = [json.loads(seen.data) for seen in tap.seen if seen.data[:1] == b"{"]
    numbers = [message["sequence_number"] for message in handshakes]
    ids = [message["id"] for message in handshakes]
    before = facts_of(one, other), facts_of(other, one)
    pen = Puppet(world, other.address, other.id)
    request = pen.handshake_request(name="mallory")["payload"]
    payloads: list[Any] = [
        None,
        "text",
        {"nonce": "1"},
        {"reason": "gone", "handshake": ids[0]},
        {"error": "who?", "code": "unauthenticated"},
        {"sequence_number": numbers[0]},
        [],
        request,
        {"node_info": request, "success": True, "public_addr": "10.0.0.2:8080"},
        {"node_info": request, "success": False, "error_message": "no"},
    ]
    for payload in payloads:
        for number in (*numbers, *(number + 1 for number in numbers)):
            for ack_for in (None, *numbers, *ids):
                extra = {"sequence_number": number, "ack_for": ack_for, "requires_ack": True}
                for write in (pen.message, pen.spec_message):
                    message = write(kind, payload, **extra)
                    for at, to in ((other, one), (one, other)):
                        tap.inject(json.dumps(message).encode(), at.address, to)
    world.run_for(0.05)
    assert (facts_of(one, other), facts_of(other, one)) == before
    world.run_for(60)
    assert one.outcome(one.send(other, "hello")).delivered
    assert other.outcome(other.send(one, "hello")).delivered
    assert peer_of(one, other) is before[0][0]
    assert peer_of(other, one) is before[1][0]
    assert (one.received(), other.received()) == (["hello"], ["hello"])


def test_handshakes_of_before_change_nothing(world: World) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    former = list(tap.seen)
    before = facts_of(one, other), facts_of(other, one)
    for _ in range(20):
        for seen in former:
            for source in (seen.source, ("10.9.9.9", 7)):
                tap.inject(seen.data, source, one if seen.to == one.address else other)
    world.run_for(0.05)
    assert (facts_of(one, other), facts_of(other, one)) == before
    world.run_for(30)
    assert peer_of(one, other) is before[0][0]
    assert other.outcome(other.send(one, "hello")).delivered


def test_a_plain_claim_takes_no_id_that_was_shown_by_keys(world: World) -> None:
    one, other = two_secured(world)
    thief = world.puppet(node_id=one.id)
    (answer,) = thief.join(other)
    assert not answer["payload"]["success"]
    assert "already exists" in answer["payload"]["error_message"]
    world.run_for(5)
    assert one.outcome(one.send(other, "hello")).delivered


def test_an_answer_in_the_open_takes_no_id_that_was_shown_by_keys(world: World) -> None:
    one, other = two_secured(world)
    thief = world.puppet(node_id=other.id)
    token = one.connect(thief, timeout_s=3)
    world.run_for(0.05)
    (request,) = thief.take()
    info = thief.handshake_request()["payload"]
    answer = {"success": True, "error_message": None, "node_info": info, "public_addr": None}
    number = request["sequence_number"]
    thief.send(thief.spec_message("HandshakeResponse", answer, ack_for=number), one)
    outcome = one.outcome(token)
    assert isinstance(outcome, HandshakeError)
    assert "has shown its keys" in str(outcome)
    assert one.outcome(one.send(other, "hello")).delivered


def strip(seen: Seen) -> bytes:
    """Take the key exchange out of a request, as if its sender had none."""
    if seen.data[:1] != b"{":
        return seen.data
    message = json.loads(seen.data)
    if message["message_type"] == "HandshakeRequest":
        message["payload"].pop("exchange", None)
    return json.dumps(message).encode()


def test_stripping_is_seen_as_open_by_who_knows_nobody(world: World) -> None:
    tap = Wiretap(world)
    tap.rules.append(strip)
    one, other = world.host(keys=world.keys()), world.host(keys=world.keys())
    assert isinstance(one.outcome(one.connect(other)), ConnectResult)
    assert not peer_of(one, other).is_secured


def test_stripping_is_refused_by_who_knew_the_other(world: World) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    tap.rules.append(strip)
    peer = peer_of(one, other)
    one.endpoint._handshake.reconnect(peer, world.now, "for a test")
    other.endpoint._lifecycle.remove(
        peer_of(other, one), peer_of(other, one).status, world.now, "for a test"
    )
    world.run_for(4)
    assert not peer.is_authenticated
    assert one.endpoint.counters.drops["stripped_exchange"]


@pytest.mark.parametrize(
    "change", ["name", "capabilities", "network_id", "exchange", "sequence_number", "id"]
)
def test_what_is_altered_in_a_request_or_its_answer_makes_no_session(
    world: World, change: str
) -> None:
    """Of an answer only the exchange, its id and its number count; of a request everything."""

    def alter(kind: str) -> Any:
        def rule(seen: Seen) -> bytes:
            if seen.data[:1] != b"{":
                return seen.data
            message = json.loads(seen.data)
            if message["message_type"] != kind:
                return seen.data
            where = message if change in ("sequence_number", "id") else message["payload"]
            match change:
                case "sequence_number":
                    where[change] ^= 1
                case "id":
                    where[change] = world.message_id()
                case "capabilities":
                    where[change] = []
                case "exchange":
                    text = where[change]
                    last = "A" if text[-5] != "A" else "B"
                    where[change] = text[:-5] + last + text[-4:]
                case _:
                    where[change] = "other"
            return json.dumps(message, separators=(",", ":")).encode()

        return rule

    for kind in ("HandshakeRequest", "HandshakeResponse"):
        world = World()
        tap = Wiretap(world)
        tap.rules.append(alter(kind))
        one, other = world.host(keys=world.keys()), world.host(keys=world.keys())
        outcome = one.outcome(one.connect(other, timeout_s=3))
        world.run_for(3)
        if kind == "HandshakeResponse" and change in ("name", "capabilities", "network_id"):
            assert isinstance(outcome, ConnectResult)
            assert peer_of(one, other).name == other.endpoint.identity.name
            assert peer_of(one, other).capabilities == set(other.endpoint.identity.capabilities)
        else:
            assert isinstance(outcome, HandshakeError)
            assert not list(other.endpoint.peers)


def test_who_answers_in_another_ones_place_is_another_node(world: World) -> None:
    """He can have a session in his own name, and gets none of what was for the other."""
    one, other = two_secured(world)
    waiting = one.send(other, "for the other alone")
    one.outcome(waiting)
    world.remove(other)
    mallory = world.host(address=other.address, keys=world.keys())
    token = one.send(other, "for nobody else")
    world.run_for(60)
    assert "for nobody else" not in mallory.received()
    assert not one.outcomes[token].delivered


def test_half_of_the_messages_3_are_junk(world: World) -> None:
    tap = Wiretap(world)

    def junk(seen: Seen) -> bytes:
        if seen.data[:1] == b"\xe1":
            for length in range(0, len(seen.data), 7):
                tap.inject(seen.data[:length], seen.source, hosts[1])
            tap.inject(seen.data[:5] + bytes(len(seen.data) - 5), seen.source, hosts[1])
        return seen.data

    hosts = world.host(keys=world.keys()), world.host(keys=world.keys())
    tap.rules.append(junk)
    assert isinstance(hosts[0].outcome(hosts[0].connect(hosts[1])), ConnectResult)
    assert hosts[0].outcome(hosts[0].send(hosts[1], "hello")).delivered
