"""Calls that wait: each ends once, whatever happens, and takes its timer with it."""

import inspect
from collections.abc import Callable

import pytest

from p2ptui.core import state
from p2ptui.core.calls import Call, Calls
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.peers import Peer
from p2ptui.core.timers import Timers
from p2ptui.errors import LocalError, P2PError, PeerTimeoutError
from tests.simulation import World

OVERDUE = PeerTimeoutError("overdue")


class Room:
    def __init__(self, limit: int = 10, limit_each: int = 3) -> None:
        self.timers = Timers()
        self.ended: list[tuple[int, object]] = []
        self.calls: Calls[str] = Calls(
            self.timers,
            lambda token, outcome: self.ended.append((token, outcome)),
            iter(range(1, 1000)).__next__,
            limit=limit,
            limit_each=limit_each,
            words="answers",
        )

    def begin(self, key: str, timeout_s: float = 5.0) -> Call[str]:
        return self.calls.begin(key, "detail", 0.0, timeout_s, lambda _: OVERDUE)


def test_a_call_ends_with_its_time() -> None:
    room = Room()
    call = room.begin("a")
    room.timers.run(4.9)
    assert not room.ended
    room.timers.run(5.0)
    assert room.ended == [(call.token, OVERDUE)]
    assert len(room.calls) == 0
    assert list(room.calls) == []


def test_a_call_ends_once_and_takes_its_timer_with_it() -> None:
    room = Room()
    call = room.begin("a")
    error = P2PError("refused")
    room.calls.end(call, error)
    room.calls.end(call, OVERDUE)
    assert room.ended == [(call.token, error)]
    assert len(room.timers) == 0


def test_calls_with_one_key_end_together_the_oldest_first() -> None:
    room = Room()
    first, _, second = room.begin("a"), room.begin("b"), room.begin("a")
    assert room.calls.waiting("a") == (first, second)
    room.calls.end_all("a", OVERDUE)
    assert [token for token, _ in room.ended] == [first.token, second.token]
    assert list(room.calls) == ["b"]


def test_a_call_that_goes_on_elsewhere_is_told_nothing_here() -> None:
    room = Room()
    call = room.begin("a")
    assert room.calls.take(call)
    assert not room.calls.take(call)
    room.timers.run(10.0)
    assert room.ended == []


def test_one_key_cannot_take_the_whole_room() -> None:
    room = Room(limit=4, limit_each=3)
    for _ in range(3):
        room.begin("a")
    with pytest.raises(LocalError, match=r"^3 answers are awaited already; try again later$"):
        room.begin("a")
    room.begin("b")
    with pytest.raises(LocalError, match=r"^4 answers"):
        room.begin("c")


ELSEWHERE = "99999999-0000-4000-8000-000000000009"
FROM_NOBODY = ("10.0.0.99", 9)

CALLS: dict[str, Callable[[Endpoint, Peer, float], int]] = {
    "connect": lambda node, _, now: node.connect(FROM_NOBODY, now, 3.0),
    "connect_any": lambda node, _, now: node.connect_any([FROM_NOBODY], now, 3.0),
    "introduce": lambda node, server, now: node.introduce(server, ELSEWHERE, now, 3.0),
    "ping": lambda node, server, now: node.ping(server, now, 3.0),
    "ping_routed": lambda node, _, now: node.ping_routed(ELSEWHERE, now, 3.0),
    "send": lambda node, server, now: node.send(server, "text", now),
    "send_routed": lambda node, _, now: node.send_routed(ELSEWHERE, "text", 8, now, 3.0),
    "relay": lambda node, server, now: node.relay(server, ELSEWHERE, b"x", now, 3.0),
    "list_nodes": lambda node, server, now: node.list_nodes(server, now, 3.0),
    "probe": lambda node, server, now: node.probes.request(server, bytes(12), now, 3.0),
}
"""All that returns a token; a test below holds that."""


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_nobody_answers_ends_all_the_same(name: str) -> None:
    world = World()
    node, server = world.host(), world.host()
    node.outcome(node.connect(server))
    peer = node.peer(server)
    assert peer is not None
    world.remove(server)

    token = CALLS[name](node.endpoint, peer, world.now)
    node.settle()
    world.run_for(60.0 if name == "send" else 3.5)

    assert token in node.outcomes
    assert all(size == 0 for what, size in node.endpoint.sizes().items() if what in ROOMS)


ROOMS = {"queries", "relay_requests", "filter_probes", "introductions_awaited"}


def test_no_call_of_the_endpoint_is_left_out_here() -> None:
    """What returns a token, and says so."""
    returns_token = {
        name
        for name, method in vars(Endpoint).items()
        if callable(method)
        and not name.startswith("_")
        and inspect.signature(method).return_annotation is int
    }
    assert returns_token - {"ping_node"} == set(CALLS) - {"probe"}  # ping_node is one of two


def test_a_ping_that_no_call_may_wait_for_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where a server's introduction is what sets it off, on a timer."""
    world = World()
    monkeypatch.setattr(state, "MAX_PONGS", 0)
    node, server, other = world.host(), world.host(), world.puppet()
    node.outcome(node.connect(server))
    other.join(server)
    peer = node.peer(server)
    assert peer is not None

    with pytest.raises(LocalError, match="0 Pings are awaited already"):
        node.ping(server)
    token = node.endpoint.ping_node(other.id, world.now, 5.0)
    node.settle()
    world.run_for(1.0)

    assert isinstance(node.outcomes[token], LocalError)
    assert not [message for message in other.take() if message["message_type"] == "Ping"]
