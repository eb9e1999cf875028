"""What an attacker on the path can do, because there are no keys, and what not even that one can.

docs/security.md says the same. When a test of the first kind fails, that page is to be mended.
"""

import json
from typing import Any

import pytest

from p2ptui.core.events import DataReceived
from p2ptui.wire.address import Address
from tests.attacks.attacker import Attacker
from tests.core.meeting import Meeting
from tests.simulation import Host, World


class Tap:
    """Sees all that is sent."""

    def __init__(self, network: Any) -> None:
        self.seen: list[tuple[bytes, Address, Address]] = []
        send = network.send

        def seen_too(data: bytes, source: Address, to: Address, *more: Any, **rest: Any) -> Any:
            self.seen.append((data, source, to))
            return send(data, source, to, *more, **rest)

        network.send = seen_too

    def messages(self, kind: str, source: Address) -> list[dict[str, Any]]:
        """Messages of a type that an address has sent, oldest first."""
        from_there = [data for data, by, _ in self.seen if by == source and data[:1] == b"{"]
        read = [json.loads(data) for data in from_there]
        return [message for message in read if message["message_type"] == kind]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def tap(world: World) -> Tap:
    return Tap(world.network)


@pytest.fixture
def node(world: World, tap: Tap) -> Host:
    return world.host()


@pytest.fixture
def peer(world: World, node: Host) -> Host:
    peer = world.host()
    peer.outcome(peer.connect(node))
    world.run_for(1)
    return peer


# What can be done.


def test_what_passes_can_be_read(peer: Host, node: Host, tap: Tap) -> None:
    peer.outcome(peer.send(node, "for your eyes only"))

    assert any(b"for your eyes only" in data for data, _, _ in tap.seen)


def test_what_a_server_relays_can_be_read_there() -> None:
    meeting = Meeting("symmetric, random", "symmetric, random")
    tap = Tap(meeting.world.network)
    meeting.connect()
    meeting.a.outcome(meeting.say("for your eyes only"))

    to_server = [data for data, _, to in tap.seen if to == meeting.server.address]
    assert any(b"for your eyes only" in data for data in to_server)


def test_messages_can_be_forged_in_the_name_of_either_end(
    world: World, peer: Host, node: Host
) -> None:
    pen = Attacker(world).in_the_name_of(peer.address)
    pen.send(pen.spec_message("Data", "forged", sequence_number=None), node)
    world.run_for(1)

    (event,) = node.told(DataReceived)
    assert (event.payload, event.node_id) == ("forged", peer.id)


def test_what_was_swallowed_can_be_acknowledged(
    world: World, peer: Host, node: Host, tap: Tap
) -> None:
    world.network.set_link(peer.address[0], node.address[0], loss=1.0)
    token = peer.send(node, "never to arrive")
    (message,) = tap.messages("Data", peer.address)
    pen = Attacker(world).in_the_name_of(node.address)
    pen.send(pen.spec_message("Ack", None, ack_for=message["sequence_number"]), peer)

    assert peer.outcome(token).delivered
    assert node.received() == []


def test_a_session_can_be_ended_by_whoever_saw_its_handshake(
    world: World, peer: Host, node: Host, tap: Tap
) -> None:
    (answer,) = tap.messages("HandshakeResponse", node.address)
    pen = Attacker(world).in_the_name_of(peer.address)
    pen.send(pen.spec_message("Disconnect", {"reason": "x", "handshake": answer["id"]}), node)
    world.run_for(0.1)

    assert not node.is_connected_to(peer)


# What cannot.


def test_sessions_that_are_not_seen_are_not_touched(
    world: World, peer: Host, node: Host, tap: Tap
) -> None:
    """All that was seen of one session is worth nothing in the name of another peer."""
    other = world.host()
    other.outcome(other.connect(node))
    tap.seen.clear()
    peer.outcome(peer.send(node, "seen"))
    pen = Attacker(world).in_the_name_of(other.address)
    for data, source, _ in list(tap.seen):
        if source == peer.address:
            pen.send(data, node)
    for kind in ("HandshakeResponse", "HandshakeRequest"):
        for message in tap.messages(kind, node.address):
            said = {"reason": "x", "handshake": message["id"]}
            pen.send(pen.spec_message("Disconnect", said), node)
    world.run_for(3)

    assert node.is_connected_to(other)
    assert other.outcome(other.send(node, "mine")).delivered
    assert node.outcome(node.send(other, "yours")).delivered
    assert node.received().count("mine") == other.received().count("yours") == 1


def test_what_is_copied_arrives_once(world: World, peer: Host, node: Host, tap: Tap) -> None:
    for n in range(20):
        peer.outcome(peer.send(node, n))
    for data, source, to in list(tap.seen):
        world.network.send(data, source, to, world.now)
    world.run_for(5)

    assert node.received() == list(range(20))
    assert node.is_connected_to(peer)
