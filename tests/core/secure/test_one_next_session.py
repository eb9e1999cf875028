"""A session that both ends ask for anew, each in its way and time, ends as one: both mean the same
by it, and what is said in it is believed."""

import pytest

from p2ptui.secure.frames import encode_unknown_session
from tests.core.secure.wiretap import Seen, Wiretap
from tests.simulation import Host, World


def two_nodes(*, smaller_first: bool) -> tuple[World, Host, Host]:
    """Two with a session, for which the first has asked; and which of their ids is the smaller."""
    world = World(secured=True)
    one, other = world.host(), world.host()
    if (one.id < other.id) is not smaller_first:
        one, other = other, one
    one.outcome(one.connect(other))
    world.run_for(3)
    return world, one, other


def cut(world: World, one: Host, other: Host, loss: float) -> None:
    world.network.set_link(one.address[0], other.address[0], loss=loss)


def leave(world: World, one: Host, other: Host) -> None:
    """The session is forgotten, and the other end does not hear of it."""
    cut(world, one, other, 1.0)
    one.endpoint.disconnect(one.peer(other), "leaving for a moment", world.now)
    one.settle()
    cut(world, one, other, 0.0)


def mean_the_same(one: Host, other: Host) -> bool:
    """Whether what each names of the session is what the other has said, and so are the numbers."""
    for host, to in ((one, other), (other, one)):
        mine, its = host.peer(to), to.peer(host)
        if mine is None or its is None or mine.handshake_heard not in its.handshake_said:
            return False
        if not its.channel.covers(mine.channel.sender.numbering.next):
            return False
    return True


def check_is_one(world: World, one: Host, other: Host) -> None:
    """Long after, when all keys but those of the session are forgotten."""
    for pause_s in (0.0, 30.0, 70.0):
        world.run_for(pause_s)
        assert mean_the_same(one, other)
        for host, to in ((one, other), (other, one)):
            assert host.outcome(host.send(to, "x" * 20_000)).delivered


@pytest.mark.parametrize("smaller_first", [True, False], ids=["smaller", "larger"])
@pytest.mark.parametrize("later_ms", range(380, 460, 5))
def test_who_returns_while_it_is_asked_has_one_session(later_ms: int, smaller_first: bool) -> None:
    """Its request, and the one that the other end makes since the session is unknown, cross."""
    world, one, other = two_nodes(smaller_first=smaller_first)
    leave(world, one, other)
    other.send(one, "is anybody there?")
    world.run_for(later_ms / 1000)
    one.connect(other)
    world.run_for(3)
    check_is_one(world, one, other)


@pytest.mark.parametrize("smaller_first", [True, False], ids=["smaller", "larger"])
@pytest.mark.parametrize("later_ms", [0, 5, 12, 18, 25, 32, 40])
@pytest.mark.parametrize("lost", [None, *range(6)])
def test_two_that_ask_beside_their_session_have_one_next(
    lost: int | None, later_ms: int, smaller_first: bool
) -> None:
    """Somebody on the path lets nothing through that is sealed, and says to both that the session
    is unknown. Of what they do then, another datagram may be lost."""
    world, one, other = two_nodes(smaller_first=smaller_first)
    tap = Wiretap(world)
    passed = 0

    def stop(seen: Seen) -> bytes | None:
        nonlocal passed
        if seen.is_sealed and not passed:
            return None
        passed += not seen.is_sealed
        return None if passed - 1 == lost and not seen.is_sealed else seen.data

    tap.rules.append(stop)
    for host, to in ((one, other), (other, one)):
        host.send(to, "is anybody there?")
        unknown = encode_unknown_session(next(tap.between(host, to)).data)
        assert unknown is not None
        tap.inject(unknown, to.address, host)
        world.run_for(later_ms / 1000)
    world.run_for(3)
    tap.rules.clear()
    check_is_one(world, one, other)
