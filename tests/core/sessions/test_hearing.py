"""Answers that name no request: which is believed, and when."""

import pytest

from p2ptui.core.sessions.hearing import ANEW_S, LONGEST_ANEW_S, Hearing, Unnamed


def heard(*answers: tuple[str, float], acked_at: float | None = None) -> Hearing:
    hearing = Hearing()
    for content, came_at in answers:
        hearing.add(Unnamed(content.encode(), came_at, lambda _: None))
    if acked_at is not None:
        hearing.acked_at = acked_at
    return hearing


def believed(hearing: Hearing, now: float, requests: int = 1) -> str | None:
    answer = hearing.believed(requests, now)
    return None if answer is None else answer.content.decode()


def test_one_alone_is_believed_after_a_second() -> None:
    hearing = heard(("real", 0.1))
    assert believed(hearing, 1.0) is None
    assert hearing.next_step_at() == pytest.approx(1.1)
    assert believed(hearing, 1.1) == "real"


@pytest.mark.parametrize("came_at", [0.1, 0.104, 0.9])
def test_an_ack_before_it_vouches_at_once(came_at: float) -> None:
    assert believed(heard(("real", came_at), acked_at=0.1), came_at) == "real"


def test_an_ack_vouches_for_no_answer_long_before_it() -> None:
    hearing = heard(("evil", 0.1), acked_at=0.2)
    assert believed(hearing, 0.2) is None
    assert believed(hearing, 0.21) is None
    assert hearing.next_step_at() == pytest.approx(1.1)
    assert believed(hearing, 1.1) == "evil"


def test_nor_for_one_that_comes_too_late_after_it() -> None:
    hearing = heard(("late", 1.3), acked_at=0.1)
    assert believed(hearing, 1.3) is None
    assert believed(hearing, 2.3) == "late"


def test_an_answer_just_before_its_ack_is_believed_with_it() -> None:
    assert believed(heard(("real", 0.1), acked_at=0.103), 0.113) == "real"


def test_what_comes_with_the_ack_is_believed_among_others() -> None:
    hearing = heard(("evil", 0.05), ("real", 0.1), ("evil", 0.15), acked_at=0.1)
    assert hearing.is_contradicted(1)
    assert believed(hearing, 0.11) == "real"


def test_of_contradicting_answers_neither_is_believed() -> None:
    hearing = heard(("evil", 0.05), ("real", 0.1))
    assert hearing.is_contradicted(2)
    assert believed(hearing, 5.0, requests=2) is None


def test_more_answers_than_requests_contradict_each_other() -> None:
    hearing = heard(("evil", 0.05), ("evil", 0.1))
    assert believed(hearing, 5.0, requests=1) is None
    assert believed(hearing, 5.0, requests=2) == "evil"


def test_a_request_is_made_anew_ever_more_slowly() -> None:
    hearing = Hearing()
    assert hearing.pause_s == ANEW_S
    for _ in range(5):
        hearing = Hearing(hearing.next_pause_s())
    assert hearing.pause_s == LONGEST_ANEW_S
