"""Fifty seeds of the fault campaign, and the proof that it would notice what it looks for."""

from collections.abc import Callable
from typing import Any

import pytest

from p2ptui.core.data import DataContent, DataService
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.reliability.duplicates import Verdict
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.state import NodeState
from tests.campaign import play, play_safely, report
from tests.campaign_checks import Summary
from tests.campaign_story import Story

SEEDS = range(50)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_message_arrives_once_or_its_sender_is_told(seed: int) -> None:
    summary = play(seed)

    assert summary.handshakes
    assert summary.delivered
    assert summary.slowest_megabyte[0] > 0


def test_a_seed_always_tells_the_same_story() -> None:
    first: list[str] = []
    second: list[str] = []

    play_safely(3, first.append)
    play_safely(3, second.append)

    assert len(first) > 20
    assert first == second


def test_most_speak_under_seal_and_some_in_the_open() -> None:
    stories = [Story(seed) for seed in range(5)]
    keys = [[host.endpoint._state.seals is not None for host in story.all] for story in stories]

    assert keys == [[True] * 4] * 3 + [[True, True, True, False], [False] * 4]


def test_they_move_and_are_restarted() -> None:
    total = Summary()
    told: list[str] = []
    for seed in range(6):
        total.add(play_safely(seed, told.append))

    assert not total.failures
    assert total.moves
    assert total.restarts
    assert any("another server begins" in line for line in told)
    assert any("from now on" in line for line in told)


def failures_of(seeds: range) -> str:
    total = Summary()
    for seed in seeds:
        total.add(play_safely(seed))
    return report(total, 0.0)


@pytest.fixture
def replace(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    return lambda owner, name, value: monkeypatch.setattr(owner, name, value)


def test_a_receiver_without_a_memory_is_noticed(replace: Callable[..., None]) -> None:
    replace(Channel, "judge", lambda *_, **__: Verdict.NEW)

    assert "was delivered" in failures_of(range(1, 4))


def test_a_receiver_that_acknowledges_what_it_loses_is_noticed(
    replace: Callable[..., None],
) -> None:
    handle = DataService.handle

    def handle_most(service: DataService, peer: Peer, content: DataContent, now: float) -> None:
        if not content.message.id.startswith("a"):
            handle(service, peer, content, now)

    replace(DataService, "handle", handle_most)

    assert "was reported as delivered, and was not" in failures_of(range(4, 7))


def test_a_sender_that_tries_once_is_noticed(replace: Callable[..., None]) -> None:
    replace(Handshake, "_try", lambda *_: None)

    assert "did not shake hands" in failures_of(range(1, 3)) or "not reached" in failures_of(
        range(1, 3)
    )


def test_a_call_that_never_ends_is_noticed(replace: Callable[..., None]) -> None:
    finish = NodeState.finish

    def finish_most(state: NodeState, token: int | None, outcome: Any) -> None:
        if token is None or token % 8:
            finish(state, token, outcome)

    replace(NodeState, "finish", finish_most)

    assert "never end" in failures_of(range(1, 3))


def test_timers_that_run_hot_are_noticed(replace: Callable[..., None]) -> None:
    plan = Delivery._plan

    def plan_at_once(delivery: Delivery, peer: Peer, when: float | None, now: float) -> None:
        plan(delivery, peer, None if when is None else now, now)

    replace(Delivery, "_plan", plan_at_once)

    assert "time stands still" in failures_of(range(1, 3))
