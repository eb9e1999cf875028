"""Calls that wait: each ends once, whatever happens, and takes its timer with it."""

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import p2ptui.core
from p2ptui.core import state
from p2ptui.core.accounts import Grant
from p2ptui.core.calls import Call, Calls
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.state import LAST_RESORT_S
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


def test_a_call_may_wait_for_something_else_in_the_same_room() -> None:
    room = Room()
    call, later = room.begin("a"), PeerTimeoutError("later")
    room.calls.move(call, "b", 20.0, lambda _: later)
    assert room.calls.waiting("a") == ()
    assert room.calls.waiting("b") == (call,)
    room.timers.run(19.9)
    assert not room.ended
    room.timers.run(20.0)
    assert room.ended == [(call.token, later)]
    assert len(room.timers) == 0


def test_a_call_that_has_ended_moves_nowhere() -> None:
    room = Room()
    call = room.begin("a")
    room.calls.end(call, OVERDUE)
    room.calls.move(call, "b", 20.0)
    assert len(room.calls) == 0
    assert len(room.timers) == 0


def test_a_call_may_be_given_more_time() -> None:
    room = Room()
    call = room.begin("a")
    room.calls.extend(call, 8.0)
    room.timers.run(7.9)
    assert not room.ended
    room.timers.run(8.0)
    assert room.ended == [(call.token, OVERDUE)]


def test_a_call_that_goes_on_in_another_room_keeps_its_name() -> None:
    room, other = Room(), Room()
    call = room.begin("a")
    room.calls.hand_over(
        call, lambda token: other.calls.begin("b", "", 0.0, 5.0, lambda _: OVERDUE, token)
    )
    room.timers.run(10.0)
    other.timers.run(10.0)
    assert room.ended == []
    assert other.ended == [(call.token, OVERDUE)]


def test_where_there_is_no_place_for_it_in_the_other_room_that_is_its_end() -> None:
    room, other = Room(), Room(limit=0)
    call = room.begin("a")
    room.calls.hand_over(
        call, lambda token: other.calls.begin("b", "", 0.0, 5.0, lambda _: OVERDUE, token)
    )
    ((token, outcome),) = room.ended
    assert token == call.token
    assert isinstance(outcome, LocalError)


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
    "list_servers": lambda node, server, now: node.list_servers(server, now, 3.0),
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


ROOMS = {
    "queries",
    "relay_requests",
    "filter_probes",
    "introductions_awaited",
    "routed_waiting",
    "sessions_awaited",
}


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


# Nobody makes a call that may never end.

CORE = Path(p2ptui.core.__file__).parent

NAMES_OF_THEIR_OWN = {
    "state.py: open_room": "for the rooms",
    "state.py: answered": "its end is told at once",
    "state.py: watch": "see those who watch",
    "endpoint.py: send": "the message has it, and every message is acknowledged or given up",
    "mesh/carried.py: send": "a message to the next node, as part of a call that waits in a room",
}
"""Who names a call that waits in no room, and why that ends all the same."""


def namers(source: str) -> Iterator[str]:
    """Functions that make a name for a call by themselves."""
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute) and (
                    node.attr == "new_token"
                    or (node.attr == "watch" and ast.unparse(node.value).endswith("state"))
                ):
                    yield function.name


WAITS = {"begin", "await_session", "extend", "move", "schedule"}


def endless(source: str) -> Iterator[str]:
    """Calls that are to wait until the end of all days."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in WAITS:
            told = [*node.args, *(keyword.value for keyword in node.keywords)]
            if any(is_endless(part) for each in told for part in ast.walk(each)):
                yield ast.unparse(node)


def is_endless(value: ast.AST) -> bool:
    if isinstance(value, ast.Call):
        words = [part.value for part in value.args if isinstance(part, ast.Constant)]
        return getattr(value.func, "id", "") == "float" and "inf" in words
    return (getattr(value, "attr", "") or getattr(value, "id", "")) in ("inf", "INFINITY")


def test_no_call_waits_for_ever() -> None:
    found = {
        f"{path.relative_to(CORE)}: {call}"
        for path in sorted(CORE.rglob("*.py"))
        for call in endless(path.read_text("utf-8"))
    }
    assert found == set()


@pytest.mark.parametrize("never", ["math.inf", "inf", 'float("inf")', "max(5.0, math.inf)"])
def test_a_call_that_would_wait_for_ever_is_found(never: str) -> None:
    assert list(endless(f"self._calls.begin(key, None, now, {never}, overdue)"))
    assert list(endless(f"state.await_session(key, now, timeout_s={never})"))
    assert list(endless(f"self._calls.extend(call, {never})"))
    assert not list(endless("self._calls.begin(key, None, now, timeout_s, overdue)"))


def test_every_call_waits_in_a_room() -> None:
    found = {
        f"{path.relative_to(CORE)}: {name}"
        for path in sorted(CORE.rglob("*.py"))
        for name in namers(path.read_text("utf-8"))
    }
    assert found == set(NAMES_OF_THEIR_OWN)


def test_a_call_outside_of_the_rooms_would_be_found() -> None:
    planted = """
class Wish:
    def ask(self, now):
        token = self._state.new_token()
        self._waiting.append(token)
        return token

    def ask_and_listen(self, now):
        return self._state.watch(self._handle_end)

    async def ask_and_wait(self, now):
        token = self._state.new_token()
        await self._answers[token]
"""
    assert list(namers(planted)) == ["ask", "ask_and_listen", "ask_and_wait"]


@pytest.mark.parametrize("name", ["connect", "connect_any"])
def test_a_call_ends_even_if_what_it_waits_for_is_forgotten(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake, which is counted: but nobody waits for ever because of it."""
    monkeypatch.setattr(Handshake, "_fail", lambda *_: None)
    world = World()
    node = world.host()
    addresses = [FROM_NOBODY] if name == "connect" else [FROM_NOBODY, ("10.0.0.98", 9)]
    token = node.endpoint.connect_any(addresses, world.now, 3.0)
    node.settle()
    world.run_for(3.0 + LAST_RESORT_S - 0.5)
    assert token not in node.outcomes
    world.run_for(1.0)

    assert isinstance(node.outcomes[token], P2PError)
    assert node.endpoint.counters.drops["call_forgotten"] == 1
    assert node.endpoint.sizes()["sessions_awaited"] == 0


def test_who_joins_a_handshake_waits_no_longer_than_it() -> None:
    world = World()
    node = world.host()
    tokens = [
        node.endpoint.connect(FROM_NOBODY, world.now, timeout_s) for timeout_s in (2.0, 6.0, 1.0)
    ]
    node.settle()
    world.run_for(6.5)

    assert {str(node.outcomes[token]) for token in tokens} == {str(node.outcomes[tokens[0]])}
    assert "call_forgotten" not in node.endpoint.counters.drops


def test_what_cannot_be_sent_at_all_ends_a_call_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system says so while the handshake is begun."""
    world = World()
    node = world.host()
    gate = node.endpoint._state.gate
    let_out = gate.send_to

    def refuse(peer: Peer, data: bytes, grant: Grant | None = None) -> bool:
        is_out = let_out(peer, data, grant)
        node.endpoint.fail_datagram(peer.sends_to, "no route", world.now)
        return is_out

    monkeypatch.setattr(gate, "send_to", refuse)
    token = node.endpoint.connect(FROM_NOBODY, world.now, 3.0)
    node.settle()
    assert "no route" in str(node.outcomes[token])
