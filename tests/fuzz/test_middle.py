"""Some seeds of the man in the middle, those that found something, and that he is noticed."""

import pytest

from p2ptui.core.reliability.channel import Channel
from p2ptui.core.reliability.duplicates import Verdict
from p2ptui.core.state import NodeState
from tests.fuzz.middle import ForgedStory, play, play_safely

SEEDS = range(30)

FOUND = {
    4: "a message that asked for no Ack came again in the session after, and was delivered again",
    35: "a copy without its wish for an Ack was delivered beside the message",
    123: "a copy without its wish for an Ack was forgotten among requests, and delivered again",
    132: "messages under way that were numbered anew never made room for others",
    214: "a request of earlier, repeated, kept the one who had made it out for 10 s",
    531: "another message with the id of one that had no number was delivered as well",
    770: "a request of earlier, repeated, kept the one who had made it out for 10 s",
    868: "after sessions that began anew, a copy that was held back counted as new",
}
"""Seeds that found something, which is mended."""


@pytest.mark.parametrize("seed", SEEDS)
def test_what_holds_without_a_key_holds_with_a_man_in_the_middle(seed: int) -> None:
    assert play(seed).datagrams


@pytest.mark.parametrize("seed", FOUND)
def test_what_he_found_once_is_mended(seed: int) -> None:
    assert play(seed).datagrams


def test_he_does_all_that_he_can() -> None:
    story = ForgedStory(5)
    story.run()
    assert {"drop", "double", "hold", "repeat", "damage", "alter", "inject"} <= set(story.man.did)
    assert {"inject_elsewhere", "reflect", "turn", "splice"} <= set(story.man.did)


def test_a_seed_always_tells_the_same_story() -> None:
    first: list[str] = []
    second: list[str] = []

    play_safely(3, first.append)
    play_safely(3, second.append)

    assert len(first) > 10
    assert first == second


def failures_of(seeds: range) -> str:
    return " ".join(str(play_safely(seed).failures) for seed in seeds)


def test_a_receiver_without_a_memory_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Channel, "judge", lambda *_, **__: Verdict.NEW)

    assert "was delivered" in failures_of(range(0, 4, 2))
    assert "was delivered" in failures_of(range(1, 5, 2))


def test_a_call_that_never_ends_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = NodeState.finish

    def finish_most(state: NodeState, token: int | None, outcome: object) -> None:
        if token is None or token % 8:
            finish(state, token, outcome)  # type: ignore[arg-type]

    monkeypatch.setattr(NodeState, "finish", finish_most)

    assert "never end" in failures_of(range(1, 5, 2))
