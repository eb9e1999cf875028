"""Two nodes whose key exchange was taken out on the way: secured once nobody does that any more."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from p2ptui.core.events import ConnectResult, PeerStatus, PeerStatusChanged
from p2ptui.core.secure.beside import ASKED_S
from p2ptui.core.secure.securing import FIRST_PAUSE_S, LONGEST_PAUSE_S, SECURED
from p2ptui.core.sessions.repetition import RETRY_INTERVAL_S
from p2ptui.wire import frames
from tests.core.relaying import ask, node, relaying, say, seen
from tests.core.secure.test_stripping import STRIPPED, without
from tests.core.secure.wiretap import Seen, Wiretap
from tests.simulation import Host, World

LONG_S = 3_000.0


@pytest.fixture
def world() -> World:
    return World(secured=True)


def both_ways(one: Host, other: Host) -> tuple[tuple[Host, Host], tuple[Host, Host]]:
    return (one, other), (other, one)


def are_secured(one: Host, other: Host) -> set[bool]:
    return {seen(host, to).is_secured for host, to in both_ways(one, other)}


def stripped(world: World) -> tuple[Wiretap, Host, Host]:
    """Two nodes that had to meet in the open."""
    tap = Wiretap(world)
    tap.rules.append(without("HandshakeRequest"))
    one, other = world.host(), world.host()
    assert isinstance(one.outcome(one.connect(other)), ConnectResult)
    world.run_for(1)
    assert are_secured(one, other) == {False}
    return tap, one, other


def requests(tap: Wiretap, since: int) -> list[Seen]:
    return [one for one in tap.seen[since:] if b'"HandshakeRequest"' in one.data[:400]]


@pytest.mark.parametrize("for_s", [2.0, 60.0, LONG_S])
def test_a_session_is_secured_once_nobody_strips_it_any_more(world: World, for_s: float) -> None:
    tap, one, other = stripped(world)
    world.run_for(for_s)
    assert are_secured(one, other) == {False}
    tap.rules.clear()
    world.run_for(min(FIRST_PAUSE_S + 2 * for_s + ASKED_S, LONGEST_PAUSE_S + ASKED_S))
    assert are_secured(one, other) == {True}
    news = [event.reason for event in one.told(PeerStatusChanged) + other.told(PeerStatusChanged)]
    assert SECURED in news


@pytest.mark.parametrize("rule", ["request", "answer", "answer, in its words"])
def test_while_it_is_stripped_all_arrives_once(world: World, rule: str) -> None:
    tap, one, other = stripped(world)
    tap.rules[:] = [STRIPPED[rule](max(one, other, key=lambda host: host.id))]
    tokens = []
    for number in range(200):
        tokens += [(host, say(host, to, number)) for host, to in both_ways(one, other)]
        world.run_for(1)
    for host in (one, other):
        assert {event.status for event in host.told(PeerStatusChanged)} <= {
            PeerStatus.HANDSHAKING,
            PeerStatus.AUTHENTICATED,
        }
    tap.rules.clear()
    for number in range(200, 400):
        tokens += [(host, say(host, to, number)) for host, to in both_ways(one, other)]
        world.run_for(1)
    assert all(host.outcome(token).delivered for host, token in tokens)
    for host in (one, other):
        assert sorted(host.received()) == list(range(400))
    assert are_secured(one, other) == {True}


def test_it_is_asked_ever_more_seldom_and_by_one_of_the_two(world: World) -> None:
    tap, one, other = stripped(world)
    since = len(tap.seen)
    world.run_for(LONG_S)
    asked = requests(tap, since)
    smaller = min(one, other, key=lambda host: host.id)
    assert {each.source for each in asked} == {smaller.address}
    begun = [
        later.when - former.when
        for former, later in pairwise(asked)
        if later.when - former.when > 2 * RETRY_INTERVAL_S
    ]
    assert begun == sorted(begun)
    assert begun[0] <= 2 * FIRST_PAUSE_S
    assert LONGEST_PAUSE_S <= begun[-1] <= LONGEST_PAUSE_S + ASKED_S
    assert len(asked) <= (LONG_S / LONGEST_PAUSE_S + 6) * ASKED_S / RETRY_INTERVAL_S


def test_a_node_without_keys_is_not_asked(world: World) -> None:
    tap = Wiretap(world)
    one, plain = world.host(), world.host(node_id="ffffffff-ffff-4fff-bfff-ffffffffffff")
    one.outcome(one.connect(plain))
    world.run_for(1)
    since = len(tap.seen)
    world.run_for(LONG_S)
    assert not requests(tap, since)


def stripping(server: Host, rule: Callable[[Seen], bytes | None]) -> list[object]:
    """A server that takes the key exchange out of what it relays, while there is something in the
    list."""
    switch: list[object] = [True]
    forward = server.endpoint._relay_frames.forward

    def meddle(peer: object, data: bytes, now: float) -> None:
        if switch and b'"HandshakeRequest"' in data:
            head, inner = data[: frames.RELAY_OVERHEAD], data[frames.RELAY_OVERHEAD :]
            changed = rule(Seen(now, inner, server.address, server.address))
            assert changed is not None
            data = head + changed
        forward(peer, data, now)  # type: ignore[arg-type]

    server.endpoint._relay_frames.forward = meddle  # type: ignore[method-assign]
    return switch


def test_by_way_of_a_secured_server_no_open_session_begins(world: World) -> None:
    server = relaying(world)
    switch = stripping(server, without("HandshakeRequest"))
    one, other = node(world, server), node(world, server)
    assert not isinstance(one.outcome(ask(one, server, other)), ConnectResult)
    switch.clear()
    assert isinstance(one.outcome(ask(one, server, other)), ConnectResult)
    world.run_for(1)
    assert are_secured(one, other) == {True}
    for host, to in both_ways(one, other):
        assert host.outcome(say(host, to, "sealed")).delivered
