"""Keys in writing: what is not of the right kind, whole and as it was made is told, never shown."""

import copy
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.secure.secret import KeyKind, KeyTextError, Secret, looks_like_key, read_key, write_key

KEY = Secret(bytes(range(100, 132)))
TEXT = write_key(KeyKind.NETWORK, KEY)


@given(st.binary(min_size=32, max_size=32), st.sampled_from(KeyKind))
def test_what_is_written_is_read(value, kind):
    text = write_key(kind, Secret(value))
    assert read_key(kind, text) == Secret(value)
    assert read_key(kind, f"  {text.upper()}\r\n") == Secret(value)
    assert looks_like_key(text)


@given(st.integers(0, len(TEXT) - 12), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_mistyped_letter_is_told(place, letter):
    at = len("p2ptui-net-") + place
    wrong = TEXT[:at] + letter + TEXT[at + 1 :]
    if wrong != TEXT:
        with pytest.raises(KeyTextError, match="mistyped"):
            read_key(KeyKind.NETWORK, wrong)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        (TEXT[:-1], "too short"),
        (TEXT[:20], "too short"),
        (TEXT + "a", "too long"),
        (TEXT[:-1] + "1", "none of its own"),
        (TEXT[:-1] + "é", "none of its own"),
        ("hunter2", "begins with p2ptui-net-"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "begins with p2ptui-net-"),
        (write_key(KeyKind.SEED, KEY), "the seed of an identity, not a network key"),
    ],
)
def test_what_is_wrong_is_said_without_the_text(text, said):
    with pytest.raises(KeyTextError) as caught:
        read_key(KeyKind.NETWORK, text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    if len(text.strip()) > 6:
        assert text.strip()[-6:] not in str(caught.value)


def test_a_secret_is_shown_nowhere():
    shown = f"{KEY!r} {KEY} {[KEY]} {KEY!s:>20}".lower()
    # As a crash report would, with the values of names.
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - any
        write_key(KeyKind.NETWORK, Secret(bytes(range(16))))
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown += "".join(report.format())
    assert "Secret(hidden)" in shown
    assert bytes(range(16)).hex() not in shown
    assert repr(bytes(range(16))) not in shown
    for form in (KEY.reveal().hex(), repr(KEY.reveal()).lower(), TEXT[11:]):
        assert form not in shown
    for write_down in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            write_down(KEY)


def test_secrets_are_compared_by_what_they_hold():
    assert Secret(KEY.reveal()) == KEY
    assert Secret(bytes(32)) != KEY
    assert KEY.reveal() != KEY
    assert len({KEY, Secret(KEY.reveal())}) == 1


def test_only_whole_keys_are_written():
    with pytest.raises(ValueError, match="32 bytes"):
        write_key(KeyKind.NETWORK, Secret(bytes(16)))
