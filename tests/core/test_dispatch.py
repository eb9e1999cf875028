"""Datagrams are told apart by their first byte and their source."""

import msgspec
import pytest

from p2ptui.wire.stun import MessageClass, StunMessage, encode
from tests.core.meeting import Meeting
from tests.simulation import World

SOURCE = ("198.51.100.66", 4000)


@pytest.mark.parametrize(
    ("data", "counter"),
    [
        (b"", "junk"),
        (b"\x04", "junk"),
        (b"hello", "junk"),
        (b"\xbf", "junk"),
        (b"{", "malformed"),
        (b"\xc0", "unauthenticated"),
        (b"\xc2" + b"n" * 16 + b"{}", "unauthenticated"),
        (b"\xc3" + b"n" * 16 + b"{}", "unauthenticated"),
        (b"\xff", "unauthenticated"),
    ],
)
def test_what_strangers_send_is_counted(data: bytes, counter: str) -> None:
    world = World()
    host = world.host()

    host.endpoint.receive_datagram(data, SOURCE, world.now)
    host.settle()

    assert host.endpoint.counters.drops[counter] == 1
    assert world.network.counters().sent == 0


def test_who_can_be_sent_nothing_is_nobody() -> None:
    """Who forges a port of 0 would take a seat for ever."""
    world = World()
    host, puppet = world.host(), world.puppet()
    handshake = msgspec.json.encode(puppet.handshake_request())

    for data in (handshake, b"\x00" * 20):
        host.endpoint.receive_datagram(data, (SOURCE[0], 0), world.now)
    host.settle()

    assert host.endpoint.counters.drops["no_port"] == 2
    assert len(host.endpoint.peers) == 0
    assert world.network.counters().sent == 0


def test_nothing_is_taken_while_the_node_closes() -> None:
    world = World()
    host = world.host()
    host.endpoint.close("bye", world.now)

    host.endpoint.receive_datagram(b"{}", SOURCE, world.now)

    assert host.endpoint.counters.drops["closing"] == 1


def test_a_further_socket_knows_only_checks_and_chosen_paths() -> None:
    world = World()
    host, puppet = world.host(), world.puppet()
    request = encode(StunMessage(message_class=MessageClass.REQUEST, transaction_id=b"t" * 12))
    handshake = str(puppet.handshake_request()).replace("'", '"').encode()

    for data in (b"", b"{}", handshake, b"\xc0", b"junk", request):
        host.endpoint.receive_beside(data, puppet.address, 1, world.now)
    host.settle()
    world.run_for(1)

    assert len(host.endpoint.peers) == 0
    assert not puppet.inbox
    assert host.endpoint.counters.drops["unauthenticated"] == 5


def test_a_datagram_inside_a_relayed_one_is_looked_at_as_any_other() -> None:
    """But for STUN and further relays, which are refused."""
    meeting = Meeting("symmetric, random", "symmetric, random")
    meeting.connect()
    server = meeting.a.peer(meeting.server)
    b = bytes.fromhex(meeting.b.id.replace("-", ""))
    drops = meeting.a.endpoint.counters.drops
    for inner in (b"\x00\x01", b"\xc2" + b + b"{}", b"\xc3" + b + b"{}", b""):
        meeting.a.endpoint.receive_datagram(b"\xc3" + b + inner, server.address, meeting.world.now)
    assert drops["relay_frame_refused"] == 4

    meeting.a.endpoint.receive_datagram(b"\xc3" + b + b"{}", server.address, meeting.world.now)
    assert drops["malformed"] == 1


def test_a_client_cannot_bring_what_only_a_server_may() -> None:
    meeting = Meeting()
    b = bytes.fromhex(meeting.b.id.replace("-", ""))
    at = meeting.server.peer(meeting.seen_from(meeting.a, meeting.server.address)).address

    meeting.server.endpoint.receive_datagram(b"\xc3" + b + b"{}", at, meeting.world.now)

    assert meeting.server.endpoint.counters.drops["relay_frame_refused"] == 1
