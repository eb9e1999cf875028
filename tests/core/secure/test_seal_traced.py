"""Who traces messages sees what was inside, and the frames of the seals; forgers fill nothing."""

import pytest

from p2ptui.core.events import Direction, MessageTraced
from p2ptui.core.sealing import SealFrame
from tests.core.secure.test_secured_moves import restart
from tests.core.secure.wiretap import Wiretap, agree_on_new_keys, two_secured
from tests.simulation import Host, World

FRAMES = set(SealFrame)


@pytest.fixture
def world() -> World:
    return World(secured=True)


def traced(host: Host, direction: Direction | None = None) -> list[MessageTraced]:
    events: list[MessageTraced] = host.told(MessageTraced)
    return [event for event in events if direction in (None, event.direction)]


def kinds(host: Host, direction: Direction) -> list[str]:
    """Frames of seals that went one way, without repetitions in a row."""
    found = [e.message_type for e in traced(host, direction) if e.message_type in FRAMES]
    return [kind for n, kind in enumerate(found) if n == 0 or found[n - 1] != kind]


def trace(*hosts: Host) -> None:
    for host in hosts:
        host.endpoint.set_tracing(enabled=True)


def test_a_handshake_is_traced_on_both_sides_as_the_three_messages_that_it_is(world: World) -> None:
    one, other = world.host(), world.host()
    trace(one, other)
    one.outcome(one.connect(other))
    world.run_for(0.2)
    for host, out in ((one, Direction.OUT), (other, Direction.IN)):
        back = Direction.IN if out is Direction.OUT else Direction.OUT
        first, *_ = traced(host, out)
        answer, *_ = traced(host, back)
        assert (first.message_type, first.is_sealed) == ("HandshakeRequest", False)
        assert (answer.message_type, answer.is_sealed) == ("HandshakeResponse", False)
        assert kinds(host, out) == [SealFrame.FINISH]
        assert kinds(host, back) == []


def test_what_is_said_is_traced_as_it_was_inside_and_as_sealed(world: World) -> None:
    one, other = two_secured(world)
    world.run_for(1)
    trace(one, other)
    one.outcome(one.send(other, "short"))
    one.outcome(one.send(other, "long " * 2000))
    for host, direction in ((one, Direction.OUT), (other, Direction.IN)):
        data = [event for event in traced(host, direction) if event.message_type == "Data"]
        assert len(data) == 2
        assert all(event.is_sealed for event in data)
        assert b'"short"' in data[0].data
        assert b"long long" in data[1].data
    assert all(event.is_sealed for host in (one, other) for event in traced(host))


def test_in_the_open_nothing_is_traced_as_sealed() -> None:
    world = World()
    one, other = world.host(), world.host()
    trace(one, other)
    one.outcome(one.connect(other))
    one.outcome(one.send(other, "short"))
    one.outcome(one.send(other, "long " * 2000))
    for host in (one, other):
        assert traced(host)
        assert not any(event.is_sealed for event in traced(host))


def test_a_move_a_restart_and_fresh_keys_are_traced(world: World) -> None:
    one, other = two_secured(world)
    trace(one, other)
    world.move(one)
    one.outcome(one.send(other, "here"))
    world.run_for(1)
    assert kinds(other, Direction.OUT) == [SealFrame.PATH_CHALLENGE]
    assert kinds(one, Direction.OUT) == [SealFrame.PATH_RESPONSE]
    assert kinds(other, Direction.IN)[-1:] == [SealFrame.PATH_RESPONSE]
    agree_on_new_keys(one, other)
    world.run_for(1)
    rekeys = [SealFrame.REKEY_REQUEST, SealFrame.REKEY_FINISH]
    assert kinds(one, Direction.OUT)[-2:] == rekeys
    assert kinds(other, Direction.IN)[-2:] == rekeys
    assert kinds(other, Direction.OUT)[-1:] == [SealFrame.REKEY_RESPONSE]
    sealed = [e for e in traced(one) if e.message_type in FRAMES - {SealFrame.FINISH}]
    assert all(event.is_sealed for event in sealed)
    again = restart(world, other)
    trace(again)
    one.outcome(one.send(again, "still there?"), within=3.0)
    assert SealFrame.UNKNOWN_SESSION in kinds(again, Direction.OUT)
    assert SealFrame.UNKNOWN_SESSION in kinds(one, Direction.IN)


def test_forged_frames_are_not_traced(world: World) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    world.run_for(1)
    trace(one, other)
    stranger = ("198.18.0.1", 1)
    before = len(traced(other))
    for number in range(500):
        head = number.to_bytes(4, "big")
        tap.inject(b"\xe1" + head + bytes(100), stranger, other)
        tap.inject(b"\xe2" + head + bytes(8), stranger, other)
        tap.inject(b"\xe2" + head + bytes(8), one.address, other)
        tap.inject(b"\xe4" + bytes(8), one.address, other)
    world.run_for(1)
    frames = [event for event in traced(other)[before:] if event.message_type in FRAMES]
    assert frames == []


def test_what_comes_in_the_clear_from_where_a_secured_peer_is_is_not_said_to_be_sealed(
    world: World,
) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    world.run_for(1)
    trace(other)
    forged = b'{"id":"1","message_type":"Data","payload":"forged","timestamp":1}'
    tap.inject(forged, one.address, other)
    world.run_for(0.5)
    assert any(b"forged" in event.data for event in traced(other))
    for event in traced(other):
        assert event.is_sealed is (b"forged" not in event.data)
