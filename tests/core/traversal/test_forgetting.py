"""Attempts that come and go leave nothing behind, whether they succeed, fail or are lost."""

from typing import Any

import pytest

from p2ptui.core.traversal.offers import MAX_ATTEMPTS
from p2ptui.errors import LocalError
from tests.core.meeting import Meeting
from tests.simulation import Host

SIZES = ("peers", "timers", "traversals", "relays", "id_disputes", "routed_waiting", "lists")


def sizes(host: Host) -> dict[str, int]:
    told = host.endpoint.sizes()
    return {name: told[name] for name in SIZES}


def part(meeting: Meeting) -> None:
    """The two say goodbye to each other."""
    for host in (meeting.a, meeting.b):
        peer = meeting.peer(host)
        if peer is not None:
            host.endpoint.disconnect(peer, "enough", meeting.world.now)
            host.settle()
    meeting.world.run_for(6)


@pytest.mark.parametrize(
    ("kind_a", "kind_b", "times", "lasts_s"),
    [
        ("port-restricted-cone", "port-restricted-cone", 200, 1.0),
        ("symmetric, random", "symmetric, random", 200, 4.0),
        ("port-restricted-cone", "symmetric, block", 20, 4.0),
    ],
)
def test_attempts_that_succeed_or_fail(
    kind_a: str, kind_b: str, times: int, lasts_s: float
) -> None:
    meeting = Meeting(kind_a, kind_b, options={"heartbeat_interval": 1000.0})
    meeting.connect()
    meeting.world.run_for(lasts_s)
    part(meeting)
    meeting.world.run_for(120)
    before = [sizes(host) for host in (meeting.a, meeting.b)]

    for _ in range(times):
        meeting.connect()
        meeting.world.run_for(lasts_s)
        part(meeting)
    meeting.world.run_for(120)

    assert [sizes(host) for host in (meeting.a, meeting.b)] == before
    for host in (meeting.a, meeting.b):
        state = host.endpoint._state
        assert not host.sockets
        assert not state.peers.aliases
        assert not host.endpoint.traversal._paths._asked
        assert not host.endpoint.traversal.offers._by_ufrag


def test_peers_that_are_lost() -> None:
    """A hundred nodes that vanish without a word, one after the other."""
    meeting = Meeting()
    a, world = meeting.a, meeting.world
    world.run_for(120)
    before = sizes(a)
    for number in range(100):
        inner = (f"10.1.{number}.2", 5000)
        node = meeting.behind("port-restricted-cone", f"198.51.101.{number}", inner)
        node.outcome(node.connect(meeting.server))
        token = a.endpoint.introduce(a.peer(meeting.server), node.id, world.now, 10)
        a.outcome(token)
        world.run_for(0.5)
        world.remove(node)
        world.run_for(1)
    world.run_for(200)

    assert sizes(a) == before
    assert not a.endpoint.peers.aliases


def test_attempts_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = Meeting(server={"allow_symmetric_nat_relay": False})
    a = meeting.a
    server = a.peer(meeting.server)

    def ask() -> Any:
        node_id = meeting.world.node_id()
        return a.endpoint.introduce(server, node_id, meeting.world.now, 10)

    assert MAX_ATTEMPTS == 1024
    monkeypatch.setattr("p2ptui.core.traversal.offers.MAX_ATTEMPTS", 20)
    tokens = [ask() for _ in range(20)]
    with pytest.raises(LocalError, match="try again later"):
        ask()

    meeting.world.run_for(30)
    assert all(token in a.outcomes for token in tokens)
    assert len(a.endpoint.traversal) == 0
    ask()
