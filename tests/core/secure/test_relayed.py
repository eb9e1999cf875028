"""Two nodes that a server brings together: it carries what it can neither read nor change."""

import pytest
from msgspec.structs import replace

from p2ptui.core.events import ConnectResult
from p2ptui.core.sealing import SEAL_BYTES
from p2ptui.wire import frames
from p2ptui.wire.frames import decode_relay
from p2ptui.wire.message import Capability
from tests.core.relaying import ask, node, relaying, say, seen
from tests.core.secure.wiretap import Seen, Wiretap
from tests.simulation import Host, World

SECRET = "not for the server either"


@pytest.fixture
def world() -> World:
    return World(secured=True)


def meet(one: Host, server: Host, other: Host) -> None:
    assert isinstance(one.outcome(ask(one, server, other)), ConnectResult)
    one.world.run_for(1)


def carried(server: Host) -> list[bytes]:
    """What the server was given to carry, as it has it in its hands."""
    found: list[bytes] = []
    forward = server.endpoint._relay_frames.forward

    def note(peer: object, data: bytes, now: float) -> None:
        frame = decode_relay(data)
        if frame is not None:
            found.append(frame[1])
        forward(peer, data, now)  # type: ignore[arg-type]

    server.endpoint._relay_frames.forward = note  # type: ignore[method-assign]
    return found


def test_the_server_reads_nothing(world: World) -> None:
    server = relaying(world)
    hands, tap = carried(server), Wiretap(world)
    one, other = node(world, server), node(world, server)
    meet(one, server, other)
    for host, to in ((one, other), (other, one)):
        assert seen(host, to).is_secured
        assert host.outcome(say(host, to, SECRET * 200)).delivered
    assert not tap.has(SECRET)
    assert hands
    assert not any(SECRET.encode() in data for data in hands)
    in_clear = [data for data in hands if data[0] != 0xE0]
    assert {data[0] for data in in_clear} <= {0x7B, 0xE1}
    assert all(b'"Handshake' in data for data in in_clear if data[0] == 0x7B)


def test_what_the_server_changes_or_sends_again_is_not_taken(world: World) -> None:
    server = relaying(world)
    one, other = node(world, server), node(world, server)
    meet(one, server, other)
    forward = server.endpoint._relay_frames.forward
    kept: list[tuple[object, bytes]] = []

    def meddle(peer: object, data: bytes, now: float) -> None:
        kept.append((peer, data))
        forward(peer, data[:-1] + bytes((data[-1] ^ 1,)), now)  # type: ignore[arg-type]
        forward(peer, data, now)  # type: ignore[arg-type]
        for former in kept[-5:]:
            forward(*former, now)  # type: ignore[arg-type]

    server.endpoint._relay_frames.forward = meddle  # type: ignore[method-assign]
    for number in range(20):
        assert one.outcome(say(one, other, number)).delivered
    assert other.received() == list(range(20))
    assert other.endpoint.counters.drops["seal_altered"]
    assert other.endpoint.counters.drops["seal_replayed"]


def test_an_older_server_carries_an_open_session(world: World) -> None:
    server = world.host(node_id=world.node_id(), allow_symmetric_nat_relay=True)
    assert Capability.RELAY_SEALED not in server.endpoint.identity.capabilities
    one, other = node(world, server), node(world, server)
    meet(one, server, other)
    assert not seen(one, other).is_secured
    assert one.outcome(say(one, other, "hello")).delivered
    assert other.received() == ["hello"]


def test_a_secured_server_that_denies_that_it_relays_sealed_frames_reads_nothing(
    world: World,
) -> None:
    server = relaying(world)
    state = server.endpoint._state
    told = [name for name in state.identity.capabilities if name != Capability.RELAY_SEALED]
    state.identity = replace(state.identity, capabilities=tuple(told))
    hands = carried(server)
    one, other = node(world, server), node(world, server)
    assert Capability.RELAY_SEALED not in seen(one, server).facts.capabilities
    meet(one, server, other)
    for host, to in ((one, other), (other, one)):
        assert seen(host, to).is_secured
        assert host.outcome(say(host, to, SECRET)).delivered
    assert hands
    assert not any(SECRET.encode() in data for data in hands)


def test_a_relayed_path_grows_to_what_neither_leg_cuts_and_no_further(world: World) -> None:
    """The server is told which sealed datagrams must not be cut; it cannot see that."""
    server = relaying(world, max_relay_rate_per_client=100_000_000, buffer_size=10_000_000)
    one, other = node(world, server), node(world, server)
    meet(one, server, other)
    world.network.set_link(server.address, other.address, uncut_mtu=1472)
    world.network.set_link(one.address, server.address, uncut_mtu=9000)
    for token in [say(one, other, "x" * 400_000) for _ in range(3)]:
        assert one.outcome(token).delivered
    world.run_for(3)
    found = seen(one, other).channel.sender.path.size_bytes
    assert 1350 < found <= 1472 - frames.RELAY_OVERHEAD - 2 * SEAL_BYTES


def test_nothing_is_longer_than_the_budget_says() -> None:
    world = World(secured=True)
    tap = Wiretap(world)
    one, other = world.host(), world.host()
    one.outcome(one.connect(other))
    for length in range(900, 1300, 7):
        assert one.outcome(one.send(other, "x" * length)).delivered
    lengths = [len(datagram.data) for datagram in tap.seen]
    assert max(lengths) <= 1200
    assert max(lengths) > 1150


def test_the_path_grows_by_what_its_seal_leaves() -> None:
    world = World(secured=True, mtu=1500)
    tap = Wiretap(world)
    one, other = world.host(), world.host()
    one.outcome(one.connect(other))
    assert one.outcome(one.send(other, "x" * 900_000)).delivered
    assert max(len(datagram.data) for datagram in tap.seen if passes(datagram)) == 1472


def passes(datagram: Seen) -> bool:
    return len(datagram.data) <= 1472
