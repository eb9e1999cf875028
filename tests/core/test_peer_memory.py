"""What a quiet peer takes, counted object by object: the same on each machine."""

from typing import Final

import pytest

from p2ptui.core.endpoint import Endpoint
from p2ptui.wire.address import Address
from tests.bench.memory import (
    OPEN_BYTES,
    QUIET_S,
    SECURED_BYTES,
    Quiet,
    by_kind,
    settled,
    with_peers,
)
from tests.bench.memory_walk import held_by
from tests.bench.secured import SERVER, endpoint
from tests.simulation import World

PEERS: Final = 100
MARGIN: Final = 1.1
"""Tables grow in steps, which so few peers do not share evenly."""


def met(*, secured: bool) -> tuple[Endpoint, dict[Address, Quiet], float]:
    server = endpoint(1, SERVER, secured=secured)
    clients: dict[Address, Quiet] = {}
    return server, clients, with_peers(server, clients, 10, 1000.0, secured=secured)


@pytest.mark.parametrize(("secured", "most"), [(False, OPEN_BYTES), (True, SECURED_BYTES)])
def test_a_quiet_peer_takes_little(secured: bool, most: int) -> None:
    sizes, numbers = by_kind(PEERS, secured=secured)
    assert sum(sizes.values()) <= MARGIN * most, sorted(sizes.items(), key=lambda one: -one[1])[:9]
    assert numbers.get("ReliableSender", 0) == 0
    assert numbers.get("deque", 0) == 0


@pytest.mark.parametrize("secured", [False, True])
def test_a_burst_gives_back_what_it_took(secured: bool) -> None:
    server, clients, now = met(secured=secured)
    before = sum(held_by([server])[0].values())
    for peer in list(server.peers):
        for number in range(50):
            server.send(peer, {"number": number, "text": "x" * 500}, now)
    at_work = sum(held_by([server])[0].values())
    settled(server, clients, now, now + QUIET_S)
    after = sum(held_by([server])[0].values())
    assert at_work > before + 10 * 50 * 500
    assert all(peer.channel.rests and not peer.channel.waiting for peer in server.peers)
    assert after <= before + len(clients) * 300


def test_what_rests_goes_on_where_it_was() -> None:
    server, clients, now = met(secured=False)
    peer = next(iter(server.peers))
    channel = peer.channel
    assert channel.rests
    number, size, limit = channel._numbering.next, *channel.size_on_wire
    retransmissions = channel.retransmissions
    window, passed = channel.sender.window.window, channel.sender.path.passed_bytes
    assert not channel.rests
    assert (channel.sender.numbering.next, *channel.sender.path.on_wire) == (number, size, limit)
    channel.rest(now)
    assert channel.rests
    assert channel.retransmissions == retransmissions
    assert (channel.sender.window.window, channel.sender.path.passed_bytes) == (window, passed)
    assert channel.sender.numbering.next == number
    server.send(peer, "hello", now)
    channel.rest(now)
    assert not channel.rests  # it waits for an Ack
    assert channel.waiting == 1
    settled(server, clients, now, now + QUIET_S)


def test_a_handshake_of_a_plain_peer_builds_no_sender() -> None:
    world = World()
    server, client = world.host(), world.puppet()
    client.send(client.handshake_request(), server)
    world.run_for(1)
    (peer,) = server.endpoint.peers
    assert peer.is_authenticated
    assert peer.channel.rests


def test_equal_lists_of_capabilities_are_there_once() -> None:
    server, _, _ = met(secured=False)
    infos = [peer.info for peer in server.peers]
    assert len({id(info.capabilities) for info in infos if info is not None}) == 1
    assert len({id(peer.capabilities) for peer in server.peers}) == 1
