"""New flows that are lost where old ones pass, told from loss."""

import random

import pytest

from p2ptui.nat.flow_losses import FlowLosses


def test_without_loss_there_is_no_limit() -> None:
    assert FlowLosses(14, 0, 20, 0).chance == 1.0
    assert FlowLosses(0, 0, 0, 0).chance == 1.0


def test_what_all_lose_alike_is_loss() -> None:
    losses = FlowLosses(30, 15, 40, 20)
    assert losses.chance > 0.4
    assert not losses.are_limited
    assert not losses.may_be_limited


def test_what_only_new_flows_lose_is_a_limit() -> None:
    assert FlowLosses(30, 15, 30, 0).are_limited


def test_a_few_that_are_lost_are_worth_a_closer_look() -> None:
    losses = FlowLosses(14, 5, 20, 0)
    assert losses.may_be_limited
    assert not losses.are_limited


def test_nothing_to_compare_with_is_no_limit() -> None:
    assert not FlowLosses(14, 14, 0, 0).may_be_limited


@pytest.mark.parametrize("loss", [0.05, 0.19, 0.5])
def test_chance_is_believed_as_seldom_as_stated(loss: float) -> None:
    rng = random.Random(1)

    def lost(count: int) -> int:
        return sum(rng.random() < loss for _ in range(count))

    runs = [FlowLosses(24, lost(24), 35, lost(35)) for _ in range(3000)]
    assert not any(run.are_limited for run in runs)
    assert sum(run.chance <= 0.05 for run in runs) <= 0.05 * len(runs)


def test_it_is_told_in_words() -> None:
    assert FlowLosses(30, 15, 40, 1).words == (
        "15 of 30 datagrams that began a flow were lost, and 1 of 40 over an established one at the"
        " same time"
    )
