"""Many who come or go at once are told as one, and cost no more each than one alone."""

import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from p2ptui.core.mesh import news
from p2ptui.core.mesh.news import PAGES_EACH, News
from p2ptui.wire.codec import decode_any
from p2ptui.wire.message import PeerInfo
from tests.simulation import Host, World

BUDGET = 900


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Host:
    return world.host(max_connections=20_000)


def entries(count: int) -> list[PeerInfo]:
    return [
        PeerInfo(f"{number:08x}-0000-4000-8000-000000000000", f"10.1.2.3:{number + 1}", 7, (), "x")
        for number in range(count)
    ]


def ids(count: int) -> list[str]:
    return [one.id for one in entries(count)]


def told(payloads: Any) -> tuple[list[str], list[str]]:
    """Who joined and who left, as updates tell it."""
    joined: list[str] = []
    left: list[str] = []
    for payload in payloads:
        update = decode_any(payload)
        joined += (one["id"] for one in update["joined"])
        left += update["left"]
    return joined, left


def test_each_is_told_of_all_others_and_not_of_itself() -> None:
    update = News(entries(60), ids(200)[100:], BUDGET)
    for own in (*ids(60), "somebody else"):
        joined, left = told(update.updates_for(own, random.Random(1)))
        assert joined == [one for one in ids(60) if one != own]
        assert left == ids(200)[100:]


def test_who_joined_alone_is_told_nothing() -> None:
    update = News(entries(1), [], BUDGET)
    assert not list(update.updates_for(ids(1)[0], random.Random(1)))
    assert not list(update.lists_for(ids(1)[0], random.Random(1)))


def test_other_programs_are_told_no_names() -> None:
    update = News(entries(3), ids(9)[5:], BUDGET)
    (listed,) = update.lists_for(ids(3)[1], random.Random(1))
    assert [one["id"] for one in decode_any(listed)] == [ids(3)[0], ids(3)[2]]
    assert b"name" not in bytes(listed)


def test_no_page_is_longer_than_the_budget() -> None:
    update = News(entries(500), ids(500), BUDGET)
    around = len(b'{"joined":[],"left":[]}')
    sizes = [len(raw) - around for raw in update.updates_for("", random.Random(1))]
    assert max(sizes) <= BUDGET
    assert sum(size > BUDGET / 2 for size in sizes) >= len(sizes) - 2


def test_of_a_storm_each_is_sent_a_part_and_all_together_hear_of_everybody() -> None:
    update = News(entries(4000), ids(20_000)[4000:], BUDGET)
    rng = random.Random(1)
    heard: Counter[str] = Counter()
    for own in ids(200):
        updates = list(update.updates_for(own, rng))
        assert len(updates) <= 2 * PAGES_EACH
        joined, left = told(updates)
        heard.update(joined + left)
    assert set(heard) == set(ids(20_000))


def test_each_entry_is_written_once(
    world: World, server: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: Counter[PeerInfo] = Counter()
    write = news._written

    def counted(entry: PeerInfo | str) -> bytes:
        if isinstance(entry, PeerInfo) and entry.id != server.id:
            written[entry] += 1
        return write(entry)

    monkeypatch.setattr(news, "_written", counted)
    ours = [world.host() for _ in range(30)]
    for one in ours:
        one.connect(server)
    others = [world.puppet() for _ in range(30)]
    for other in others:
        other.join(server)
    world.run_for(5)

    assert len({one.id for one in written}) == 60
    assert max(written.values()) == 1


def test_changes_that_follow_each_other_take_one_timer(
    world: World, server: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[float] = []
    discovery = server.endpoint._discovery
    timers = server.endpoint._state.timers
    schedule = timers.schedule

    def watch(when: float, action: Any) -> Any:
        if action == discovery._flush:
            planned.append(when)
        return schedule(when, action)

    monkeypatch.setattr(timers.__class__, "schedule", lambda _, when, action: watch(when, action))
    for number in range(200):
        discovery._left.put(f"{number:08x}-0000-4000-8000-000000000000", None)
        discovery._note_change(world.now)
    assert len(planned) == 1


def lines_run(action: Callable[[], object]) -> int:
    """How many lines of Python an action runs: what it costs, wherever it is run."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def test_a_join_and_a_leave_cost_the_same_among_many(world: World, server: Host) -> None:
    # A guard: both did before, too.
    def join_and_leave() -> tuple[int, int]:
        puppet = world.puppet()
        request = json.dumps(puppet.handshake_request()).encode()
        receive = server.endpoint.receive_datagram
        joined = lines_run(lambda: receive(request, puppet.address, world.now))
        peer = server.endpoint.peers.at(puppet.address)
        assert peer is not None
        assert peer.is_authenticated
        return joined, lines_run(lambda: server.endpoint.disconnect(peer, "bye", world.now))

    def crowd(count: int) -> None:
        for _ in range(count):
            client = world.puppet()
            client.send(client.handshake_request(), server)
        world.run_for(0.1)

    crowd(30)
    few = join_and_leave()
    crowd(300)
    many = join_and_leave()
    assert len(server.endpoint.peers) >= 300
    assert all(more <= 1.2 * less for less, more in zip(few, many, strict=True))
