"""A server that relays no sealed datagrams, between two secured nodes."""

import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.core.sealing import Mode
from p2ptui.errors import P2PError
from p2ptui.secure.frames import MESSAGE_3
from p2ptui.wire import frames
from p2ptui.wire.address import Address
from tests.core.relaying import ask, node, relaying, say, seen
from tests.simulation import Host, World


def of_before(world: World) -> Host:
    """A server of the release before: it relays what that knew, and nothing else."""
    server = world.host(node_id=world.node_id(), allow_symmetric_nat_relay=True)
    forward = server.endpoint._relay_frames.forward

    def relays(peer: object, data: bytes, now: float) -> None:
        if data[frames.RELAY_OVERHEAD] not in frames.SEALS:
            forward(peer, data, now)  # type: ignore[arg-type]

    server.endpoint._relay_frames.forward = relays  # type: ignore[method-assign]
    return server


def test_in_prefer_two_nodes_speak_in_the_open_and_are_shown_so() -> None:
    world = World(secured=True)
    server = of_before(world)
    one, other = node(world, server), node(world, server)
    assert isinstance(one.outcome(ask(one, server, other)), ConnectResult)
    assert not seen(one, other).is_secured
    assert not seen(other, one).is_secured
    assert one.outcome(say(one, other, "hello")).delivered
    assert not other.endpoint.counters.drops["seal_unknown_session"]


def test_in_require_such_a_server_is_not_joined_and_the_reason_is_told() -> None:
    world = World(secured=True)
    server = of_before(world)
    strict = world.host(keys=world.keys(mode=Mode.REQUIRE))
    refused = strict.outcome(strict.connect(server))
    assert isinstance(refused, P2PError)
    where = f"{server.address[0]}:{server.address[1]}"
    assert str(refused) == f"{where}: it speaks in the open only, and security.mode is require"
    assert not list(strict.endpoint.peers)


def test_a_node_that_requires_seals_takes_nobody_whom_a_server_brings_in_the_open() -> None:
    world = World(secured=True)
    server = relaying(world)
    strict = world.host(keys=world.keys(mode=Mode.REQUIRE), ice={"enable": False})
    strict.outcome(strict.connect(server))
    plain = world.host(node_id=world.node_id(), ice={"enable": False})
    plain.outcome(plain.connect(server))
    world.run_for(1)
    refused = plain.outcome(ask(plain, server, strict))
    assert "security.mode is require" in str(refused)
    refused = strict.outcome(ask(strict, server, plain))
    assert "security.mode is require" in str(refused)


@pytest.mark.parametrize("lost", [None, *range(6)])
def test_once_they_reach_each_other_directly_they_are_secured(lost: int | None) -> None:
    """Nothing is lost or doubled by that, and the server can do nothing against it."""
    world = World(secured=True)
    server = of_before(world)
    one, other = world.host(), world.host()
    for host in (one, other):
        host.outcome(host.connect(server))
    world.run_for(1)
    assert isinstance(one.outcome(ask(one, server, other)), ConnectResult)
    assert not seen(one, other).is_secured
    count = -1

    def lose(
        data: bytes, source: Address, destination: Address, _now: float
    ) -> tuple[Address, Address] | None:
        nonlocal count
        if b'"exchange"' in data or data[0] == MESSAGE_3:
            count += 1
            if count == lost:
                return None
        return source, destination

    world.network.translate = lose
    tokens = []
    for number in range(600):
        for host, to in ((one, other), (other, one)):
            tokens.append((host, say(host, to, number)))
        world.run_for(0.1)
    assert all(host.outcome(token).delivered for host, token in tokens)
    for host in (one, other):
        assert sorted(host.received()) == list(range(600))
    assert seen(one, other).is_secured
    assert seen(other, one).is_secured
    assert seen(one, other).sends_to == other.address
