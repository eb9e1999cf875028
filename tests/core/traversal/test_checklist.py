"""The checklist of a round: one frame for all techniques, which asks the planner of each."""

from typing import Any

import msgspec
import pytest

from p2ptui.core.connection import Method
from p2ptui.core.traversal import checklist
from p2ptui.core.traversal.checklist import plan_round
from p2ptui.core.traversal.round_plans import RoundPlan
from p2ptui.nat.feasibility import Technique
from p2ptui.nat.punching import Kind, Punching
from tests.core.meeting import Meeting


class Planned:
    """An attempt that knows both offers, and never gets through."""

    def __init__(self) -> None:
        self.meeting = Meeting()
        self.meeting.cut()
        self.meeting.connect()
        attempt = self.meeting.attempt(self.meeting.a)
        assert attempt is not None
        self.meeting.world.run_until(lambda: attempt.remote is not None, 5)
        assert attempt.remote is not None
        self.attempt, self.remote = attempt, attempt.remote

    def plan(self, technique: Technique, **changed: Any) -> Punching:
        endpoint = self.meeting.a.endpoint
        remote = msgspec.structs.replace(self.remote, **changed)
        assert self.attempt.observed is not None
        return plan_round(
            self.attempt,
            remote,
            self.attempt.observed,
            technique,
            endpoint._state,
            self.meeting.world.now,
            flow_limit=None,
            pace=endpoint.traversal.flows.pace,
        )


@pytest.mark.parametrize("technique", Technique)
def test_the_frame_does_what_the_planner_of_the_technique_says(
    technique: Technique, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = Planned()
    plan = RoundPlan(Method.BIRTHDAY, 1.25, None, guesses=100)
    monkeypatch.setitem(checklist.PLANNERS, technique, lambda _: plan)

    punching = planned.plan(technique)

    assert planned.attempt.account.method is Method.BIRTHDAY
    assert punching.budget.seconds == 1.25
    assert punching.guesses is not None


@pytest.mark.parametrize("technique", Technique)
def test_every_technique_tries_what_the_other_side_told(technique: Technique) -> None:
    planned = Planned()
    punching = planned.plan(technique, round=1, sockets=256)
    assert planned.meeting.b.address in [pair.remote for pair in punching.pairs]
    assert (punching.guesses is not None) == (technique is Technique.BIRTHDAY)


def test_each_further_socket_has_one_address_of_its_own() -> None:
    planned = Planned()
    observed = planned.attempt.observed
    assert observed is not None
    predicted = [("predicted", f"{observed[0]}:{port}") for port in (7001, 7002, 7003)]
    candidates = [*planned.remote.candidates, *predicted]
    planned.attempt.sockets = (1, 2, 3)
    planned.attempt.controlling = False

    punching = planned.plan(Technique.PREDICTED, round=1, candidates=candidates)

    sent = [(pair.socket, pair.remote[1]) for pair in punching.pairs if pair.socket]
    assert sent == [(1, 7001), (2, 7002), (3, 7003)]
    assert not [p for p in punching.pairs if p.kind is Kind.PREDICTED and not p.socket]


def test_where_both_predict_the_leading_side_waits_at_one_address() -> None:
    planned = Planned()
    observed = planned.attempt.observed
    assert observed is not None
    predicted = [("predicted", f"{observed[0]}:{port}") for port in (7001, 7002, 7003)]
    planned.attempt.sockets = (1, 2, 3)
    planned.attempt.controlling = True

    punching = planned.plan(Technique.PREDICTED, round=1, candidates=predicted)

    assert {pair.remote[1] for pair in punching.pairs if pair.socket} == {7002}
