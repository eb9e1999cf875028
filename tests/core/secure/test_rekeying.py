"""New keys for a session that goes on: in time also where much is lost, and at a bounded cost."""

from typing import Any

import pytest

from p2ptui.core.events import PeerStatusChanged
from p2ptui.core.secure.inner import REKEY_1, REKEY_2, REKEY_3
from p2ptui.core.secure.rekeying import ANSWERS_READ, PAUSE_S
from p2ptui.core.sessions.offering import make_offer
from p2ptui.secure import Initiator, Responder, SecureSession
from p2ptui.secure.transport import REKEY_AFTER_S
from tests.core.secure.test_secured_nodes import peer_of
from tests.core.secure.wiretap import Seen, Wiretap, agree_on_new_keys, rekeying, two_secured
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


@pytest.mark.parametrize("interval_s", [0.5, 30.0, 700.0, 3_000.0])
@pytest.mark.parametrize("mute", [None, 0, 1], ids=["both", "who asked is mute", "other is mute"])
def test_keys_are_new_in_time_however_seldom_heartbeats_are(
    interval_s: float, mute: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is enough that one of the two begins."""
    world = World(secured=True)
    options = {"heartbeat_interval": interval_s, "connection_timeout": 3 * interval_s + 5}
    hosts = world.host(**options), world.host(**options)
    one, other = hosts
    one.outcome(one.connect(other))
    world.run_for(1)
    if mute is not None:
        monkeypatch.setattr(rekeying(hosts[mute]), "begin", lambda peer, now: None)
    before = session_of(one, other), session_of(other, one)
    for _ in range(300):
        world.run_for(10)
        for session in before:
            assert world.now <= session.current.began_at + QUARTER_HOUR_S
    assert (session_of(one, other), session_of(other, one)) == before


def flood(one: Host, other: Host, frames: list[bytes]) -> None:
    """A secured peer says all that at once."""
    session = session_of(one, other)
    for frame in frames:
        sealed = session.seal(frame)
        other.endpoint.receive_datagram(sealed, one.address, one.world.now)
    other.settle()


def requests(host: Host, count: int) -> list[bytes]:
    seals = host.endpoint._state.seals
    assert seals is not None
    found = []
    for _ in range(count):
        initiator = make_offer(seals).initiator
        found.append(initiator.fill(bytes((REKEY_1,)) + f'"{initiator.placeholder}"'.encode()))
    return found


class Used:
    """How often a key is used for what a peer says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for kind, name in (
            (Responder, "answer"),
            (Responder, "complete"),
            (Initiator, "read_answer"),
        ):
            self._watch(monkeypatch, kind, name)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, kind: type, name: str) -> None:
        method = getattr(kind, name)

        def use(*args: Any, **named: Any) -> Any:
            self.count += 1
            return method(*args, **named)

        monkeypatch.setattr(kind, name, use)


@pytest.mark.parametrize("after", [False, True], ids=["at once", "after an exchange"])
def test_a_flood_of_requests_draws_one_exchange_in_five_seconds(
    world: World, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two_secured(world)
    if after:
        agree_on_new_keys(one, other)
        world.run_for(0.5)
    used = Used(monkeypatch)
    for _ in range(10):
        flood(one, other, requests(one, 50))
        world.run_for(1)
    assert used.count <= 2
    assert other.endpoint.counters.drops["rekey_postponed"] >= 490
    keys = session_of(one, other).current
    world.run_for(PAUSE_S)
    agree_on_new_keys(one, other)
    world.run_for(1)
    assert session_of(one, other).current is not keys


@pytest.mark.parametrize("kind", [REKEY_2, REKEY_3])
def test_what_ends_no_exchange_is_tried_a_few_times(
    world: World, kind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    tap.rules.append(lambda seen: None)
    if kind == REKEY_3:
        flood(one, other, requests(one, 1))
        (answered,) = rekeying(other)._answered.values()
        bad = bytes((kind,)) + answered.number.to_bytes(4, "big") + bytes(64)
    else:
        agree_on_new_keys(other, one)
        bad = bytes((kind,)) + b"XX." + b"A" * 140
    used = Used(monkeypatch)
    flood(one, other, [bad] * 500)
    assert 0 < used.count <= ANSWERS_READ
    tap.rules.clear()
    keys = session_of(one, other).current
    world.run_for(QUARTER_HOUR_S)
    assert session_of(one, other).current is not keys


def kept_back(host: Host) -> None:
    """Somebody on the way drops what asks for new keys, and nothing else."""
    agreeing = rekeying(host)
    take = agreeing.take
    agreeing.take = lambda peer, inner, now: (  # type: ignore[method-assign]
        None if inner[0] == REKEY_1 else take(peer, inner, now)
    )


def test_where_new_keys_are_kept_back_a_new_session_brings_them(world: World) -> None:
    one, other = two_secured(world)
    for host in (one, other):
        kept_back(host)
    before = session_of(one, other).current.keys.send
    sent = []
    for _ in range(100):
        sent.append(one.send(other, len(sent)))
        world.run_for(10)
    assert session_of(one, other).current.keys.send != before
    assert all(one.outcome(token).delivered for token in sent)
    assert other.received() == list(range(100))


def test_where_that_is_kept_back_too_the_session_ends_with_the_reason(world: World) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    for host in (one, other):
        kept_back(host)
    tap.rules.append(lambda seen: None if b"HandshakeRe" in seen.data else seen.data)
    world.run_for(QUARTER_HOUR_S + 20)
    assert one.endpoint.peers.authenticated(other.id) is None
    reasons = [event.reason for event in one.told(PeerStatusChanged) if event.reason]
    assert any("no new keys came in 15 minutes" in reason for reason in reasons)
