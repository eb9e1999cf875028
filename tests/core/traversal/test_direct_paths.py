"""A path in use: how often it is asked for, when it is given up, and what a change costs."""

from itertools import pairwise
from typing import Any

import pytest

from p2ptui.core.connection import Method
from p2ptui.core.events import Path
from p2ptui.core.traversal.direct_paths import BUSY_INTERVAL_S, CONSENT_INTERVAL_S, UNANSWERED_LIMIT
from p2ptui.errors import P2PError
from tests.core.meeting import Meeting
from tests.core.session import Session


def direct() -> Meeting:
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 1)
    meeting.world.run_for(5)
    return meeting


def test_an_idle_path_is_asked_for_every_few_seconds() -> None:
    """RFC 7675: consent expires; somebody who stopped agreeing must not be sent to for ever."""
    meeting = direct()
    attempt = meeting.attempt(meeting.a)
    before = attempt.checks
    meeting.world.run_for(25)

    assert 3 <= attempt.checks - before <= 2 * 25 / CONSENT_INTERVAL_S


def test_a_busy_path_is_asked_for_every_second() -> None:
    meeting = direct()
    attempt = meeting.attempt(meeting.a)
    meeting.say("begin")
    before = attempt.checks
    for number in range(100):
        meeting.say(number)
        meeting.world.run_for(0.1)

    assert 8 <= attempt.checks - before <= 10 / BUSY_INTERVAL_S + 2


def test_a_few_lost_checks_are_no_reason_to_leave() -> None:
    meeting = direct()
    network = meeting.world.network
    changes = len(meeting.paths(meeting.a))
    meeting.say("x")
    network.set_link(meeting.a.address[0], meeting.b.address[0], loss=1.0)
    meeting.world.run_for(0.25 * (UNANSWERED_LIMIT - 2))
    network.set_link(meeting.a.address[0], meeting.b.address[0], latency_s=0.02)
    meeting.world.run_for(10)

    assert len(meeting.paths(meeting.a)) == changes


def test_a_change_is_told_and_explained() -> None:
    meeting = direct()
    meeting.cut()
    meeting.say("x")
    meeting.world.run_until(meeting.is_relayed, 5)

    event = meeting.paths(meeting.a)[-1]
    assert event.path is Path.RELAY
    assert event.method == Method.RELAY.value
    assert event.address == meeting.server.address
    assert "fell silent" in event.reason
    assert meeting.peer(meeting.a).connection.method is Method.RELAY


def test_what_was_under_way_does_not_pay_for_the_path_that_died() -> None:
    """Its tries by the dead path do not count, and its timeout begins anew (RFC 9000, 9.4)."""
    meeting = direct()
    meeting.cut()
    began = meeting.world.now
    tokens = [meeting.say(number) for number in range(50)]
    outcomes = [meeting.a.outcome(token, 5) for token in tokens]

    assert all(outcome.delivered for outcome in outcomes)
    assert meeting.world.now - began < 3


def test_a_path_without_a_session_is_given_up() -> None:
    """Checks come through, but nothing else does, and no server relays."""
    meeting = Meeting(server={"allow_symmetric_nat_relay": False})
    inner = meeting.nats.translate

    def translate(data: bytes, source: Any, to: Any, now: float) -> Any:
        between = meeting.server.address[0] not in (source[0], to[0])
        return None if between and data[:1] == b"{" else inner(data, source, to, now)

    meeting.world.network.translate = translate
    outcome = meeting.connect(5)
    assert isinstance(outcome, P2PError)
    meeting.world.run_for(60)

    for host in (meeting.a, meeting.b):
        assert host.endpoint.sizes()["traversals"] == 0


def test_tries_by_a_path_that_is_gone_do_not_count() -> None:
    session = Session(loss=1.0)
    session.send(100)
    while session.sender.retransmissions < 5:
        session.run(0.01)
    assert not session.told

    session.sender.expire(session.now)

    assert session.sender.handle_timeout(session.now) == []
    session.run(60)
    ((_, result),) = session.told
    assert result.attempts == 11


def test_the_session_takes_the_socket_that_won() -> None:
    meeting = Meeting("port-restricted-cone", "symmetric, block")
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 8)
    (beside,) = meeting.b.sockets.values()
    assert meeting.peer(meeting.b).sends_to[0].endswith(f"#{beside.number}")

    assert meeting.b.outcome(meeting.say("from there", back=True)).delivered
    meeting.cut()
    meeting.say("x", back=True)
    meeting.world.run_until(meeting.is_relayed, 5)
    assert meeting.b.sockets == {}


# Between the direct path and the relay, in a session that is used. The same, with the kernel's NATs
# and wider bounds, is in tests/natlab.

FELL_BACK_S = 3.0
RETURNED_S = 10.0


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("servers", [1, 2])
def test_messages_are_back_by_relay_within_three_seconds_and_direct_within_ten(
    seed: int, servers: int
) -> None:
    """With two servers the one that brought them together dies together with the path."""
    meeting = Meeting(seed=seed)
    world = meeting.world
    other = world.host(("198.51.100.10", 8080), allow_symmetric_nat_relay=True)
    for host in (meeting.a, meeting.b):
        if servers == 2:
            host.outcome(host.connect(other))
    meeting.connect()
    world.run_until(meeting.is_direct, 1)
    world.run_for(5 + seed / 10)
    arrived: list[float] = []
    tokens: list[int] = []

    def run(seconds: float) -> None:
        end = world.now + seconds
        while world.now < end:
            tokens.append(meeting.say(len(tokens), back=bool(seed % 2)))
            world.run_for(0.01)
            there = meeting.a if seed % 2 else meeting.b
            arrived.extend([world.now] * (len(meeting.heard(there)) - len(arrived)))

    run(1)
    cut_at = world.now
    meeting.cut()
    if servers == 2:
        world.remove(meeting.server)
    run(5)
    times = [cut_at, *(at for at in arrived if at > cut_at)]
    assert max(b - a for a, b in pairwise(times)) <= FELL_BACK_S
    assert meeting.is_relayed()

    healed_at = world.now
    meeting.heal()
    while not meeting.is_direct():
        run(0.1)
        assert world.now - healed_at <= RETURNED_S
    run(1)
    world.run_for(5)
    heard = meeting.heard(meeting.a if seed % 2 else meeting.b)
    assert sorted(heard) == list(range(len(tokens)))
    sender = meeting.b if seed % 2 else meeting.a
    assert all(sender.outcomes[token].delivered for token in tokens)


@pytest.mark.parametrize("first", [0, 1], ids=["smaller asks", "larger asks"])
def test_a_path_that_dies_as_soon_as_it_is_found_is_searched_again_soon(first: int) -> None:
    meeting = Meeting()
    asker = (meeting.a, meeting.b)[first]
    server = asker.peer(meeting.server)
    assert server is not None
    other = meeting.other(asker)
    asker.endpoint.introduce(server, other.id, meeting.world.now, 10)
    meeting.world.run_until(meeting.is_direct, 1)
    meeting.cut()
    meeting.world.run_until(meeting.is_relayed, 4)

    meeting.heal()

    meeting.world.run_until(meeting.is_direct, 2)
