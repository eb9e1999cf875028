"""The proof by timing, answer by answer."""

import random

from p2ptui.core.peers.timing import ANSWERS, BLUR_S, CHALLENGES, CHALLENGES_S, TimingProof


def answered(proof: TimingProof, *took: float, start: float = 100.0) -> list[bool]:
    """Heartbeats ten seconds apart, each answered after so long."""
    found = []
    for number, took_s in enumerate(took):
        now = start + 10 * number
        proof.note_heartbeat(now)
        found.append(proof.receive_pong(now + took_s))
    return found


def test_five_prompt_answers_are_a_proof() -> None:
    assert answered(TimingProof(), 0.1, 0.12, 0.3, 0.1, 0.34) == [False] * 4 + [True]


def test_a_late_answer_starts_over() -> None:
    assert answered(TimingProof(), 0.1, 0.1, 0.1, 0.4, 0.1, 0.1, 0.1, 0.1, 0.1)[-2:] == [
        False,
        True,
    ]
    assert not any(answered(TimingProof(), *[2.0] * 20)), "two seconds are too long"


def test_a_quicker_answer_leaves_only_those_near_it() -> None:
    assert answered(TimingProof(), 1.0, 1.0, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1)[-2:] == [False, True]


def test_a_heartbeat_without_an_answer_changes_nothing() -> None:
    proof = TimingProof()
    answered(proof, 0.1, 0.1, 0.1, 0.1)
    proof.note_heartbeat(200.0)
    assert answered(proof, 0.1, start=210.0) == [True]


def test_a_second_answer_starts_over() -> None:
    proof = TimingProof()
    answered(proof, *[0.1] * (ANSWERS - 1))
    assert not proof.receive_pong(130.2)
    assert not any(answered(proof, *[0.1] * (ANSWERS - 1), start=200.0))


def test_after_another_ping_no_pong_counts_for_anything() -> None:
    proof = TimingProof()
    answered(proof, *[0.1] * (ANSWERS - 1))
    proof.note_other_ping(200.0)
    proof.note_heartbeat(200.5)
    assert not proof.receive_pong(200.6)
    assert not proof.receive_pong(200.0 + BLUR_S - 0.01)
    assert answered(proof, 0.1, start=210.0) == [True]


def test_whoever_guesses_meets_one_moment_in_twenty() -> None:
    rng = random.Random(1)
    counted = 0
    for _ in range(2000):
        proof = TimingProof()
        answered(proof, 0.1)
        now = 200 + rng.uniform(0.0, 5.0)
        proof.note_heartbeat(now)
        guess = 200 + rng.uniform(0.0, 5.5)
        if guess >= now:
            proof.receive_pong(guess)
            counted += len(proof._answers) == 2
    assert counted < 2000 / 15


def test_so_many_challenges_in_a_while() -> None:
    proof = TimingProof()
    found = [proof.may_challenge(100.0 + number) for number in range(10)]
    assert found == [True] * CHALLENGES + [False] * (10 - CHALLENGES)
    assert proof.may_challenge(100.0 + CHALLENGES_S)
