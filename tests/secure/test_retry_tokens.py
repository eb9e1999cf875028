"""A token is good for one exchange from one address, for a while; and when one is asked for."""

import pytest

from p2ptui.secure.retry import ASK_ABOVE_PER_S, TOKEN_LIFE_S, LoadMeter, RetryTokens

ADDRESS, EXCHANGE = "192.0.2.1:4000", b"XX" + b"e" * 32
TOKENS = RetryTokens(b"s" * 32)


def test_a_token_is_good_where_and_for_what_it_was_made():
    token = TOKENS.make(ADDRESS, EXCHANGE, 1_000.0)
    assert len(token) == 22
    assert TOKENS.is_good(token, ADDRESS, EXCHANGE, 1_000.0)
    assert not TOKENS.is_good(token, "192.0.2.1:4001", EXCHANGE, 1_000.0)
    assert not TOKENS.is_good(token, "192.0.2.2:4000", EXCHANGE, 1_000.0)
    assert not TOKENS.is_good(token, ADDRESS, EXCHANGE[:-1] + b"f", 1_000.0)
    assert not RetryTokens().is_good(token, ADDRESS, EXCHANGE, 1_000.0)


@pytest.mark.parametrize("made", [1_000.0, 1_004.2, 1_009.999])
def test_a_token_lives_as_long_as_is_said(made):
    token = TOKENS.make(ADDRESS, EXCHANGE, made)
    for age in (0.0, TOKEN_LIFE_S / 2, TOKEN_LIFE_S):
        assert TOKENS.is_good(token, ADDRESS, EXCHANGE, made + age)
    assert not TOKENS.is_good(token, ADDRESS, EXCHANGE, made + 2 * TOKEN_LIFE_S)
    assert not TOKENS.is_good(token, ADDRESS, EXCHANGE, made - TOKEN_LIFE_S)


def test_no_other_text_is_a_token():
    token = TOKENS.make(ADDRESS, EXCHANGE, 0.0)
    others = ["", token[:-1], token + "=", token + "A", "A" * 22, token.swapcase(), "ä" * 22]
    others += [token[:place] + "." + token[place + 1 :] for place in range(22)]
    assert not [one for one in others if TOKENS.is_good(one, ADDRESS, EXCHANGE, 0.0)]
    assert not TOKENS.is_good("\ud800", ADDRESS, EXCHANGE, 0.0)


def test_what_is_bound_cannot_be_moved_from_one_part_to_another():
    token = TOKENS.make("192.0.2.1:40", b"00XX", 0.0)
    assert not TOKENS.is_good(token, "192.0.2.1:4000", b"XX", 0.0)


def test_two_boots_have_two_secrets():
    assert RetryTokens().make(ADDRESS, EXCHANGE, 0.0) != RetryTokens().make(ADDRESS, EXCHANGE, 0.0)


def test_few_exchanges_a_second_are_no_load_and_more_are():
    meter = LoadMeter(per_s=100)
    for step in range(1_000):
        meter.note(step / 100)
        assert not meter.is_high(step / 100)
    for step in range(1_000):
        meter.note(10 + step / 200)
    assert meter.is_high(15.0)


def test_a_crowd_at_once_is_served_up_to_the_threshold():
    meter = LoadMeter(per_s=100)
    for _ in range(100):
        meter.note(5.0)
    assert not meter.is_high(5.0)
    meter.note(5.0)
    assert meter.is_high(5.0)


def test_it_is_over_a_second_after_the_flood():
    meter = LoadMeter()
    for _ in range(100_000):
        meter.note(5.0)
    assert meter.is_high(5.9)
    assert not meter.is_high(6.0)
    assert not meter.is_high(5.0)  # a clock that goes back changes nothing
    assert ASK_ABOVE_PER_S > 0
