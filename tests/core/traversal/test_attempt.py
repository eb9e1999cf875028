"""The parts of an attempt: each of one idea, tried without the others."""

import dataclasses
import math

import pytest

from p2ptui.core.connection import Method
from p2ptui.core.traversal.attempt import Account, Attempt, Gathered, Heard, WaitingCalls
from p2ptui.core.traversal.backoff import (
    FIRST_REST_S,
    LONGEST_REST_S,
    RETURN_REST_S,
    SEARCHES,
    SEARCHES_S,
    SHORTEST_REST_S,
    YOUNG_S,
    Backoff,
)
from p2ptui.core.traversal.exchange import Exchange
from p2ptui.wire.address import Address
from p2ptui.wire.offer import TraversalOffer
from tests.core.stores import all_stores, fields_of, stores

PARTS = [Account, Exchange, Heard, Gathered, Backoff, WaitingCalls]
HERE, THERE = ("192.0.2.1", 1), ("192.0.2.2", 2)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_small_and_takes_nothing_that_it_does_not_name(part: type) -> None:
    assert len(dataclasses.fields(part)) <= 10
    assert "__slots__" in vars(part)


def test_an_attempt_is_made_of_parts() -> None:
    kinds = [field.type for field in dataclasses.fields(Attempt)]
    assert set(PARTS) <= set(kinds)
    assert len(kinds) <= 10 + len(PARTS), "what is new belongs into a part, or is one"


MAY_STORE = {
    "core/traversal/check_exchange.py: attempt.heard.is_checked",
    "core/traversal/check_round.py: attempt.account.guessed_blindly",
    "core/traversal/checklist.py: attempt.account.method",
    "core/traversal/direct_paths.py: attempt.account.reason",
    "core/traversal/direct_paths.py: attempt.heard.last_good",
    "core/traversal/direct_paths.py: attempt.sockets",
    "core/traversal/gathering.py: attempt.sockets",
    "core/traversal/head_start.py: attempt.waiting.holds_relay_until",
    "core/traversal/offer_intake.py: attempt.exchange.observed",
    "core/traversal/offer_intake.py: attempt.exchange.offered_at",
    "core/traversal/offers.py: attempt.backoff.began",
    "core/traversal/offers.py: attempt.exchange.asks_until",
    "core/traversal/offers.py: attempt.exchange.claimed_in",
    "core/traversal/reaching.py: attempt.waiting.deadline",
    "core/traversal/refusals.py: attempt.waiting.refusal",
    "core/traversal/rounds.py: attempt.account.rounds",
    "core/traversal/searches.py: attempt.backoff.began_direct",
    "core/traversal/searches.py: attempt.sockets",
}
"""Who else changes a field of a part, one that goes with no other."""


def test_no_part_of_an_attempt_is_changed_by_who_is_not_named_here() -> None:
    assert all_stores(PARTS, under="core/traversal") == MAY_STORE


def test_a_planted_change_of_a_part_is_found() -> None:
    fields = fields_of(PARTS)
    assert list(stores("attempt.backoff.failures = 0", fields))
    assert list(stores("said = attempt.exchange; said.asked = None", fields))


# How long a search backoff.


def test_what_was_answered_in_vain_rests_long_and_what_was_not_ever_longer() -> None:
    backoff = Backoff(began=0.0)
    assert backoff.take_rest_s(is_heard=True) == LONGEST_REST_S
    pauses = [backoff.take_rest_s(is_heard=False) for _ in range(7)]
    assert pauses == [FIRST_REST_S * 2**n for n in range(5)] + [LONGEST_REST_S] * 2


def test_where_there_was_a_path_no_rest_is_long() -> None:
    backoff = Backoff(began=10.0)
    backoff.note_won(10.5)
    assert backoff.won_after_s == 0.5
    assert [backoff.take_rest_s(is_heard=True) for _ in range(3)] == [
        FIRST_REST_S,
        RETURN_REST_S,
        RETURN_REST_S,
    ]
    backoff.note_won(20.0)
    assert backoff.take_rest_s(is_heard=True) == FIRST_REST_S, "a path that was found ends the row"


def test_a_path_that_dies_young_is_searched_again_soon_and_each_time_later() -> None:
    backoff = Backoff(began=0.0)
    backoff.note_won(1.0)
    young = [backoff.take_lost_rest_s(2.0, controlling=True) for _ in range(4)]
    assert young == [SHORTEST_REST_S * 2**n for n in range(3)] + [FIRST_REST_S]
    assert backoff.take_lost_rest_s(2.0, controlling=False) == 2 * FIRST_REST_S
    old = 1.0 + YOUNG_S
    assert backoff.take_lost_rest_s(old, controlling=True) == FIRST_REST_S
    assert backoff.take_lost_rest_s(old, controlling=False) == 3 * FIRST_REST_S
    assert backoff.take_lost_rest_s(2.0, controlling=True) == SHORTEST_REST_S


def test_the_other_side_may_begin_only_so_many_searches() -> None:
    backoff = Backoff(began=0.0)
    assert [backoff.may_begin_for_other(0.0) for _ in range(SEARCHES)] == [True] * SEARCHES
    assert not backoff.may_begin_for_other(SEARCHES_S - 0.1)
    assert backoff.may_begin_for_other(SEARCHES_S)


# What was said.


def offer(number: int, name: str = "efgh") -> TraversalOffer:
    return TraversalOffer(name, "x" * 16, round=number)


def test_a_round_leaves_what_was_told_and_not_tried() -> None:
    exchange = Exchange()
    assert not exchange.leaves_untried(None)
    exchange.note_round(0, [HERE, THERE], [HERE])
    assert exchange.leaves_untried(offer(0))
    exchange.note_round(1, [HERE, THERE], [THERE])
    assert not exchange.leaves_untried(offer(1))
    assert exchange.tried_before(1) == {HERE}
    assert exchange.tried_before(2) == {HERE, THERE}


def test_a_round_that_tells_something_new_may_be_followed_by_one_with_more() -> None:
    exchange = Exchange()
    exchange.note_round(1, [HERE], [HERE])
    assert exchange.leaves_untried(offer(1))
    assert not exchange.leaves_untried(offer(2))
    exchange.forget_rounds()
    assert not exchange.tried_before(9)


def test_addresses_that_nobody_vouches_for_get_checks_once_for_each_offer() -> None:
    exchange = Exchange()
    asked = [offer(0), offer(0), offer(1), offer(1), offer(1, "ijkl")]
    assert [exchange.is_first_with(one) for one in asked] == [True, False, True, False, True]


def test_nothing_was_said_yet() -> None:
    exchange = Exchange()
    assert (exchange.sent_at, exchange.offered_at) == (-math.inf, -math.inf)
    assert exchange.asked is None


# What was heard, and what it took.


def test_an_address_that_answers_is_kept_once_and_for_one_search() -> None:
    heard = Heard(is_checked=True)
    addresses: list[Address] = [HERE, THERE, HERE]
    for address in addresses:
        heard.note_answer(address)
    assert list(heard.answers_at) == [HERE, THERE]
    heard.last_good = HERE

    heard.begin_anew()

    assert not heard.answers_at
    assert not heard.is_checked
    assert heard.last_good == HERE, "the path before may be the next one"


def test_the_account_is_what_is_told() -> None:
    account = Account(rounds=2, checks=7, bytes_spent=700, reason="because")
    told = account.explain(Method.RELAY, None)
    assert (told.attempts, told.checks, told.bytes_spent, told.reason) == (2, 7, 700, "because")
    assert told.method is Method.RELAY


def test_what_was_not_asked_for_any_more_is_not_taken() -> None:
    gathered = Gathered()
    gathered.wanted.add("sockets")
    assert not gathered.take("facts")
    assert gathered.take("sockets")
    assert not gathered.take("sockets")
