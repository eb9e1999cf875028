"""Who asks for a session at another address of a peer waits for the same handshake."""

from collections.abc import Callable

import pytest

from p2ptui.core.addresses import relay_address
from p2ptui.core.events import ConnectResult
from p2ptui.core.peers import Peer, Standing
from p2ptui.errors import HandshakeError
from p2ptui.wire.address import Address
from tests.core.relaying import ask, node, relaying, seen
from tests.simulation import Host, World

OTHER: Address = ("192.0.2.77", 5000)
NOBODY: Address = ("192.0.2.78", 5000)


def take_path(host: Host, peer: Peer) -> None:
    """Its datagrams go there at present."""
    assert host.endpoint._state.peers.take_path(peer, OTHER)


def leave_path(host: Host, peer: Peer) -> None:
    """They went there once."""
    take_path(host, peer)
    host.endpoint._state.peers.leave_path(peer)


def add_alias(host: Host, peer: Peer) -> None:
    """It said that it sends from there."""
    assert host.endpoint._state.peers.add_alias(peer, OTHER, Standing.CLAIMED)


def resumed(world: World, know: Callable[[Host, Peer], None]) -> tuple[Host, Host]:
    """A node that asks anew for a session with another, of which it knows another address."""
    one, other = world.host(), world.host()
    one.outcome(one.connect(other))
    peer = seen(one, other)
    know(one, peer)
    one.endpoint._handshake.reconnect(peer, world.now, "it forgot this node")
    assert one.endpoint._state.peers.at(OTHER) is peer
    assert not peer.is_authenticated
    return one, other


WAYS = pytest.mark.parametrize("know", [take_path, leave_path, add_alias])


@WAYS
def test_a_call_for_another_address_of_a_peer_ends_with_its_session(
    know: Callable[[Host, Peer], None],
) -> None:
    world = World()
    one, other = resumed(world, know)
    tokens = [one.connect(OTHER), one.connect_any(OTHER), one.connect_any(NOBODY, OTHER)]

    for token in tokens:
        outcome = one.outcome(token, within=1.0)
        assert isinstance(outcome, ConnectResult)
        assert outcome.address == other.address
    assert "call_forgotten" not in one.endpoint.counters.drops


@WAYS
def test_and_with_the_end_of_its_handshake(know: Callable[[Host, Peer], None]) -> None:
    world = World()
    one, other = resumed(world, know)
    world.remove(other)
    tokens = [one.connect(OTHER, 3.0), one.connect_any(OTHER, other.address, timeout_s=3.0)]

    for token in tokens:
        assert "no answer from" in str(one.outcome(token, within=30.0))
    assert "call_forgotten" not in one.endpoint.counters.drops


@WAYS
def test_and_its_caller_may_lose_interest(know: Callable[[Host, Peer], None]) -> None:
    world = World()
    one, other = resumed(world, know)
    world.remove(other)
    tokens = [one.connect(OTHER), one.connect_any(OTHER, NOBODY)]
    for token in tokens:
        one.endpoint.give_up(token, "the user did", world.now)
    peer = one.endpoint._state.peers.at(OTHER)
    assert peer is not None
    one.endpoint.disconnect(peer, "never mind", world.now)

    for token in tokens:
        assert isinstance(one.outcome(token, within=1.0), HandshakeError)
    assert one.endpoint.sizes()["sessions_awaited"] == 0


def test_two_servers_that_relay_one_node_lead_to_one_session() -> None:
    world = World()
    first, second = relaying(world), relaying(world)
    one, other = node(world, first, second), node(world, first, second)
    one.outcome(ask(one, first, other))
    peer = one.endpoint._state.peers.with_id(other.id)
    assert peer is not None
    ways = {relay_address(server.address, other.id) for server in (first, second)}
    assert peer.address in ways
    (elsewhere,) = ways - {peer.address}
    assert one.endpoint._state.peers.add_relay(peer, elsewhere)
    one.endpoint._handshake.reconnect(peer, world.now, "it forgot this node")

    outcome = one.outcome(one.connect(elsewhere), within=2.0)

    assert isinstance(outcome, ConnectResult)
    assert outcome.address == peer.address
    assert "call_forgotten" not in one.endpoint.counters.drops
