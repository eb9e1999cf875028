"""Entries of lists: written once for all who are told of a peer, and the same as written anew."""

import pytest

from p2ptui.core.mesh.entries import entry_for, page_for
from p2ptui.core.peers import Peer
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import Capability
from tests.simulation import Host, World

BARE: frozenset[str] = frozenset()
OURS = frozenset({Capability.RELAY_FRAMES})
NAMED = frozenset({Capability.RELAY_FRAMES, Capability.PEER_UPDATES})


@pytest.fixture
def server() -> Host:
    world = World()
    host = world.host()
    for _ in range(6):
        client = world.puppet()
        client.send(client.handshake_request(), host)
    world.run_for(1)
    return host


def told(receiver: Peer, others: list[Peer], now: float) -> list[bytes]:
    return [bytes(encode_payload(entry_for(receiver, each, now, 1_000))) for each in others]


@pytest.mark.parametrize("capabilities", [BARE, OURS, NAMED])
@pytest.mark.parametrize("proved", [False, True])
def test_a_page_holds_what_the_encoder_writes(
    server: Host, capabilities: frozenset[str], proved: bool
) -> None:
    receiver, *others = server.endpoint.peers
    receiver.capabilities, receiver.proved = capabilities, proved
    for later_s in (0.0, 0.4, 7.0):
        now = server.world.now + later_s
        entries = told(receiver, others, now)
        for _ in range(2):  # the second time as it was written
            whole = len(b",".join(entries))
            assert page_for(receiver, others, now, 1_000, whole) == (b",".join(entries), 5)
            assert page_for(receiver, others, now, 1_000, whole - 1) == (b",".join(entries[:4]), 4)
            assert page_for(receiver, others, now, 1_000, -1) == (b"", 0)


def test_an_entry_tells_of_another_address_or_time_at_once(server: Host) -> None:
    receiver, other, *_ = server.endpoint.peers
    now, pages = server.world.now, set()
    for address, heard in (
        (other.address, now),
        (("192.0.2.1", 7), now),
        (("192.0.2.1", 7), now - 30.0),
    ):
        other.address, other.liveness.last_received = address, heard
        page, count = page_for(receiver, [other], now, 1_000, 1_000)
        assert (page, count) == (told(receiver, [other], now)[0], 1)
        pages.add(page)
    assert len(pages) == 3


def test_nobody_is_told_of_a_peer_that_has_said_nothing_of_itself_by_name(server: Host) -> None:
    receiver, other, *_ = server.endpoint.peers
    receiver.capabilities = NAMED
    other.facts.info = None
    now = server.world.now
    assert page_for(receiver, [other], now, 1_000, 1_000) == (told(receiver, [other], now)[0], 1)
