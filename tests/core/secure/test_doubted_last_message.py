"""The last message of a key exchange with a network key is forged before the true one comes."""

import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.core.policy import RULES
from p2ptui.errors import HandshakeError
from p2ptui.secure.secret import Secret
from tests.core.secure.test_policy import KEY, OTHER
from tests.core.secure.wiretap import Seen, Wiretap
from tests.simulation import Host, World

DIFFERS = RULES["network_key_differs"].there


@pytest.fixture
def world() -> World:
    return World()


def pair(world: World, here: Secret = KEY, there: Secret = KEY) -> tuple[Host, Host]:
    return world.host(keys=world.keys(network_key=here)), world.host(
        keys=world.keys(network_key=there)
    )


def sessions(*hosts: Host) -> list[bool]:
    return [any(peer.is_authenticated for peer in host.endpoint.peers) for host in hosts]


@pytest.mark.parametrize("copies", [1, 2, 3, 40])
def test_forged_ones_that_are_quicker_end_nothing(world: World, copies: int) -> None:
    tap = Wiretap(world)
    one, other = pair(world)

    def inject(seen: Seen) -> bytes:
        if seen.data[:1] == b"\xe1":
            forged = seen.data[:-1] + bytes((seen.data[-1] ^ 1,))
            for _ in range(copies):
                tap.inject(forged, seen.source, other)
        return seen.data

    tap.rules.append(inject)
    assert isinstance(one.outcome(one.connect(other)), ConnectResult)
    world.run_for(15)
    assert sessions(one, other) == [True, True]


def test_a_true_one_that_is_lost_once_or_twice_is_in_time(world: World) -> None:
    tap = Wiretap(world)
    one, other = pair(world)
    count = 0

    def forge(seen: Seen) -> bytes | None:
        nonlocal count
        if seen.data[:1] != b"\xe1":
            return seen.data
        count += 1
        return seen.data if count > 2 else seen.data[:-1] + bytes((seen.data[-1] ^ 1,))

    tap.rules.append(forge)
    assert isinstance(one.outcome(one.connect(other)), ConnectResult)
    world.run_for(15)
    assert sessions(one, other) == [True, True]


def test_another_network_key_is_told_within_a_second(world: World) -> None:
    """Guards what held before."""
    one, other = pair(world, KEY, OTHER)
    began = world.now
    outcome = one.outcome(one.connect(other))
    assert isinstance(outcome, HandshakeError)
    assert str(outcome).endswith(DIFFERS)
    assert world.now - began <= 1.0


def test_it_is_told_again_where_the_first_refusal_is_lost(world: World) -> None:
    """Guards what held before."""
    tap = Wiretap(world)
    one, other = pair(world, KEY, OTHER)
    lost = 0

    def lose(seen: Seen) -> bytes | None:
        nonlocal lost
        if b'"refuses"' in seen.data and lost < 2:
            lost += 1
            return None
        return seen.data

    tap.rules.append(lose)
    outcome = one.outcome(one.connect(other))
    assert lost == 2
    assert isinstance(outcome, HandshakeError)
    assert str(outcome).endswith(DIFFERS)


def test_who_was_refused_has_no_session_by_a_late_true_one(world: World) -> None:
    """What the one side was told is what the other side has."""
    tap = Wiretap(world)
    one, other = pair(world)
    true: list[bytes] = []

    def hold(seen: Seen) -> bytes:
        if seen.data[:1] != b"\xe1":
            return seen.data
        true.append(seen.data)
        return seen.data[:-1] + bytes((seen.data[-1] ^ 1,))

    tap.rules.append(hold)
    outcome = one.outcome(one.connect(other))
    assert isinstance(outcome, HandshakeError)
    tap.rules.clear()
    tap.inject(true[0], one.address, other)
    world.run_for(5)
    assert sessions(one, other) == [False, False]
    assert isinstance(one.outcome(one.connect(other)), ConnectResult)
