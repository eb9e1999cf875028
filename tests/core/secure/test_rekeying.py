"""New keys for a session that goes on: in time also where much is lost, and at a bounded cost."""

import pytest

from p2ptui.secure import SecureSession
from p2ptui.secure.transport import REKEY_AFTER_S
from tests.core.secure.test_secured_nodes import peer_of
from tests.core.secure.wiretap import Seen, Wiretap, agree_on_new_keys, two_secured
from tests.simulation import Host, World

OUTAGE_S = 12.0
QUARTER_HOUR_S = 900.0


@pytest.fixture
def world() -> World:
    return World(secured=True)


def session_of(host: Host, other: Host) -> SecureSession:
    seal = peer_of(host, other).seal
    assert seal is not None
    return seal.session


def fail_with_prepared_keys(tap: Wiretap, one: Host, other: Host, lost: Host) -> None:
    """An exchange that has got as far as message 3, and then nothing comes from one of the two."""
    session, world = session_of(one, other), one.world

    def cut(seen: Seen) -> bytes | None:
        return None if seen.source == lost.address and session._next is not None else seen.data

    tap.rules.append(cut)
    agree_on_new_keys(one, other)
    one.settle()
    world.run_until(lambda: session._next is not None, within=5)
    world.run_for(OUTAGE_S)
    tap.rules.remove(cut)


@pytest.mark.parametrize("both", [False, True])
def test_a_session_gets_new_keys_after_exchanges_that_failed(world: World, both: bool) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    before = session_of(one, other), session_of(other, one)
    fail_with_prepared_keys(tap, one, other, one)
    if both:
        fail_with_prepared_keys(tap, other, one, other)
    for _ in range(4):
        keys = session_of(one, other).current.keys.send
        assert one.outcome(one.send(other, "hello")).delivered
        world.run_for(QUARTER_HOUR_S)
        assert session_of(one, other).current.keys.send != keys
        assert session_of(other, one).current.keys.receive != keys
    assert before == (session_of(one, other), session_of(other, one)), "within the session"


@pytest.mark.parametrize("begins", [0, 1])
def test_where_only_the_last_answer_is_lost_nothing_else_is(world: World, begins: int) -> None:
    """The other side has the new keys, and uses them: who has given up opens with them still."""
    tap = Wiretap(world)
    hosts = two_secured(world)
    one, other = hosts[begins], hosts[1 - begins]
    session = session_of(one, other)
    fail_with_prepared_keys(tap, one, other, other)
    count = other.endpoint.counters.handshakes_accepted
    token = other.send(one, "by the new keys")
    assert other.outcome(token, within=3.0).delivered
    assert one.outcome(one.send(other, "by the new keys, too"), within=3.0).delivered
    assert session_of(one, other) is session
    assert session._next is None
    assert other.endpoint.counters.handshakes_accepted == count


def test_keys_that_nobody_has_shown_are_forgotten(world: World) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    fail_with_prepared_keys(tap, one, other, one)
    assert session_of(one, other)._next is not None
    world.run_for(150)
    assert list(session_of(one, other).numbers()) == [session_of(one, other).current.local_number]
    assert not session_of(one, other).needs_rekey(world.now)


@pytest.mark.parametrize("seed", range(5))
def test_keys_are_never_older_than_a_quarter_of_an_hour_however_much_is_lost(seed: int) -> None:
    world = World(seed, secured=True, loss=0.3)
    one, other = two_secured(world)
    for _ in range(400):
        world.run_for(10)
        for host, to in ((one, other), (other, one)):
            assert world.now <= session_of(host, to).current.began_at + QUARTER_HOUR_S
    assert world.now > 4 * REKEY_AFTER_S
    assert one.endpoint.counters.handshakes_accepted == 0, "all within the session"
