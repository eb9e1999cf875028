"""What a round does, by technique: each planner alone, without a network."""

from collections.abc import Mapping
from typing import Any

import pytest

from p2ptui.config import IceOptions
from p2ptui.core.connection import Method
from p2ptui.core.traversal.attempt import MAX_ROUNDS
from p2ptui.core.traversal.round_plans import (
    LIMITED_ROUND_S,
    MET_MARGIN_S,
    OPENED_SHARE,
    OPENER_MARGIN_S,
    PLAIN_S,
    PLANNERS,
    Situation,
    plan_birthday,
    plan_plain,
    plan_predicted,
)
from p2ptui.nat.feasibility import Technique

ICE = IceOptions()
RTT_S = 0.05


def here(*, ice: Mapping[str, Any] | None = None, **changed: Any) -> Situation:
    """The leading side in the first round with what was learnt, and further sockets on neither."""
    usual: dict[str, Any] = {
        "controlling": True,
        "server_rtt_s": RTT_S,
        "round": 1,
        "sockets": 0,
        "remote_sockets": 0,
    }
    return Situation(IceOptions(**(ice or {})), **(usual | changed))


def test_every_technique_has_a_planner() -> None:
    assert set(PLANNERS) == set(Technique)


@pytest.mark.parametrize("technique", Technique)
def test_no_planner_outstays_the_limit_of_the_options(technique: Technique) -> None:
    limits = {"connectivity_check_timeout": 300}
    for controlling in (True, False):
        for sockets in (0, 256):
            situation = here(ice=limits, controlling=controlling, sockets=sockets)
            assert PLANNERS[technique](situation).seconds == 0.3


@pytest.mark.parametrize("technique", [Technique.PLAIN, Technique.RELAY, Technique.UNKNOWN])
def test_what_nothing_special_helps_is_tried_plainly(technique: Technique) -> None:
    assert PLANNERS[technique] is plan_plain


# Plain.


def test_a_plain_round_lasts_a_few_round_trips_and_guesses_nothing() -> None:
    plan = plan_plain(here())
    assert plan.method is Method.PLAIN
    assert plan.seconds == pytest.approx(PLAIN_S + 4 * RTT_S)
    assert plan.guesses is None
    assert plan.sockets_pause_s is None
    assert not plan.outside_first


def test_the_side_that_answers_opens_its_nat_for_outside_addresses_first() -> None:
    plan = plan_plain(here(controlling=False))
    assert plan.outside_first
    assert plan.sockets_pause_s == pytest.approx(2 * RTT_S + OPENER_MARGIN_S)


def test_who_can_be_met_waits_for_the_other_side_even_on_a_busy_machine() -> None:
    situation = here(controlling=False, can_be_met=True)
    assert situation.opener_pause_s == pytest.approx(2 * RTT_S + MET_MARGIN_S)
    assert here(controlling=True, can_be_met=True).opener_pause_s is None


def test_without_short_lived_datagrams_nothing_is_opened_first() -> None:
    plan = plan_plain(here(controlling=False, ice={"opener_ttl": 0}))
    assert not plan.outside_first
    assert plan.sockets_pause_s is None


# Predicted.


def test_predicted_ports_keep_their_order() -> None:
    plan = plan_predicted(here(controlling=False, sockets=8))
    assert plan.method is Method.PREDICTED
    assert not plan.outside_first, "a flow to elsewhere would take a predicted port"
    assert plan.sockets_pause_s == pytest.approx(2 * RTT_S + OPENER_MARGIN_S)
    assert plan.seconds == pytest.approx(PLAIN_S + 4 * RTT_S)
    assert plan.guesses is None


# Birthday.


def test_without_many_sockets_anywhere_nothing_is_guessed() -> None:
    situation = here(remote_sockets=1)
    assert plan_birthday(situation) == plan_plain(situation)


def test_the_side_without_the_sockets_guesses_half_of_it_quickly() -> None:
    plan = plan_birthday(here(remote_sockets=256))
    assert plan.method is Method.BIRTHDAY
    assert plan.guesses == ICE.birthday_probes
    assert plan.quick == ICE.birthday_probes // 2
    assert plan.seconds == ICE.birthday_seconds


@pytest.mark.parametrize(
    "changed", [{"round": 2}, {"flow_limit": 50.0}, {"ice": {"adapt_pace": False}}]
)
def test_where_quick_guesses_may_have_been_lost_none_are_quick(changed: dict[str, Any]) -> None:
    plan = plan_birthday(here(remote_sockets=256, **changed))
    assert plan.guesses == ICE.birthday_probes
    assert plan.quick == 0


def test_the_side_with_the_sockets_only_opens_first_and_reaches_out_later() -> None:
    first = plan_birthday(here(sockets=256))
    assert first.guesses is None
    assert first.sockets_pause_s == OPENED_SHARE * first.seconds
    assert plan_birthday(here(sockets=256, round=2)).sockets_pause_s is None
    unopened = here(sockets=256, ice={"opener_ttl": 0})
    assert plan_birthday(unopened).sockets_pause_s is None


def test_the_last_birthday_round_is_longer() -> None:
    seconds = [
        plan_birthday(here(sockets=256, round=number)).seconds for number in range(MAX_ROUNDS)
    ]
    usual = ICE.birthday_seconds
    assert seconds == [usual, usual, usual, 2 * usual]


def test_where_flows_are_limited_rounds_are_short_and_the_one_that_is_led_lasts_longer() -> None:
    led = plan_birthday(here(remote_sockets=256, flow_limit=50.0, controlling=False))
    leading = plan_birthday(here(remote_sockets=256, flow_limit=50.0))
    assert leading.seconds == LIMITED_ROUND_S
    assert led.seconds == 2 * LIMITED_ROUND_S
