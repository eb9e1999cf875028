"""Loss: what is lost is repeated as soon as an answer could have come, and not given up."""

import statistics

import pytest

from tests.core.meeting import Meeting

RUNS = 40


def times_to_direct(loss: float, kind_a: str, kind_b: str) -> list[float]:
    """Seconds until both sides use a direct path, with so much lost on each link, by seed."""
    times = []
    for seed in range(RUNS):
        meeting = Meeting(kind_a, kind_b, seed=seed)
        meeting.lose(loss)
        began = meeting.world.now
        meeting.ask()
        meeting.world.run_until(meeting.is_direct, 15)
        times.append(meeting.world.now - began)
    return times


@pytest.mark.parametrize(
    ("loss", "median_s", "longest_s"), [(0.05, 0.2, 1.0), (0.1, 0.3, 2.0), (0.2, 0.7, 5.0)]
)
def test_with_loss_a_path_is_found_nearly_as_soon(
    loss: float, median_s: float, longest_s: float
) -> None:
    times = times_to_direct(loss, "port-restricted-cone", "port-restricted-cone")

    assert statistics.median(times) <= median_s
    assert max(times) <= longest_s


def test_a_path_in_use_outlives_loss() -> None:
    meeting = Meeting(seed=3)
    meeting.ask()
    meeting.world.run_until(meeting.is_direct, 5)

    meeting.lose(0.2)
    for _ in range(60):
        meeting.say("busy")
        meeting.world.run_for(1)

    assert [change.path.value for change in meeting.paths(meeting.a)][-1:] == ["direct"]
    assert "relay" not in [change.path.value for change in meeting.paths(meeting.a)][2:]


def test_an_offer_that_comes_twice_before_it_is_answered_turns_nobody_around() -> None:
    """A busy machine reads the offer and its repetition in one go."""
    meeting = Meeting("port-restricted-cone", "port-restricted-cone")
    asker = meeting.b  # its id is the larger one: of two that asked at once it would not lead
    server = asker.peer(meeting.server)
    assert server is not None
    asker.endpoint.introduce(server, meeting.a.id, meeting.world.now, 10)
    attempt = meeting.attempt(asker)
    assert attempt is not None
    for _ in range(3):
        asker.endpoint.traversal.offers.send(attempt, meeting.world.now)
    asker.settle()

    meeting.world.run_until(meeting.is_direct, 0.5)

    assert attempt.controlling
