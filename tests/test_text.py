"""Remote text made harmless: nothing unseen gets through, everything readable does."""

import ast
import os
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import p2ptui
from p2ptui.text import counted, printable, seconds_words, shown, typed, whole_number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello, world ~",
        "naïve café — Ελλάδα Привет 日本語 한국어 हिन्दी עברית العربية ไทย",
        "e\u0301",  # a letter with a combining accent
        "🙂🇩🇪👍🏽❤\ufe0f",
        "a\u00a0b\u3000c",  # spaces that are seen
        "C:\\temp [/x] [@click=app.exit]",  # markup is the widgets' to switch off
    ],
)
def test_letters_of_every_script_and_emoji_stay(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("abc\u202edcba", "abc\\u202edcba"),
        ("\u2066x\u2069\u200e\u200f\u061c", "\\u2066x\\u2069\\u200e\\u200f\\u061c"),
        ("a\u200bb\u200c\u200d\u2060\u00ad", "a\\u200bb\\u200c\\u200d\\u2060\\xad"),
        ("a\u2028b\u2029", "a\\u2028b\\u2029"),
        ("\ufeffa", "\\ufeffa"),
        ("\ud800", "\\ud800"),
        ("\ue000\U0010ffff", "\\ue000\\U0010ffff"),
        ("\U000e0041\U000e0100", "\\U000e0041\\U000e0100"),
        ("\u3164\u115f\uffa0\u034f", "\\u3164\\u115f\\uffa0\\u034f"),
    ],
)
def test_what_is_not_seen_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_every_unseen_character_is_escaped() -> None:
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    for character in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.category(character) in hidden:
            shown = printable(character)
            assert shown != character
            assert shown.isascii()
            assert shown.isprintable()


@given(st.text(st.characters()), st.integers(1, 300))
def test_no_control_character_gets_through_and_the_limit_holds(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert all(c.isprintable() or unicodedata.category(c) == "Zs" for c in shown)
    shown.encode()


@given(st.text(st.characters()))
def test_what_was_made_harmless_stays_as_it_is(text: str) -> None:
    shown = printable(text, 10_000)
    assert printable(shown, 10_000) == shown


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert printable("x" * 200) == "x" * 200
    assert printable("x" * 201) == "x" * 199 + "…"
    assert printable("日" * 9, 8) == "日" * 7 + "…"
    assert printable("abc", 1) == "…"


def test_an_escape_is_never_cut_in_two() -> None:
    assert printable("a\x1bbc", 7) == "a\\x1bbc"
    assert printable("a\x1bbc", 6) == "a\\x1b…"
    assert printable("a\x1bbc", 5) == "a…"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (9.97335, "10 s"),
        (9.94, "9.9 s"),
        (0.25, "0.25 s"),
        (0.2, "0.2 s"),
        (10, "10 s"),
        (125, "125 s"),
        (29.98, "30 s"),
        (1e6, "1000000 s"),
        (0.1 + 0.2, "0.3 s"),
        (0.00123, "0.0012 s"),
        (0.001, "0.001 s"),
        (1e-05, "less than 1 ms"),
        (0, "0 s"),
    ],
)
def test_seconds_have_two_digits(seconds, words):
    assert seconds_words(seconds) == words


def test_no_text_formats_seconds_by_itself():
    """`:g` writes `1e-05 s` and `1e+07 s`: `seconds_words` is the one place that knows better."""
    package = Path(p2ptui.__file__).parent
    found = [
        f"{path.name}: {line.strip()}"
        for path in package.rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if ":g}" in line
    ]
    assert not found


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (1, ("try", "tries"), "1 try"),
        (2, ("try", "tries"), "2 tries"),
        (0, ("file",), "0 files"),
        (1, ("file",), "1 file"),
        (1, ("event is", "events are"), "1 event is"),
    ],
)
def test_one_thing_is_not_counted_as_several(number, words, said):
    assert counted(number, *words) == said


@pytest.mark.skipif(sys.platform == "win32", reason="arguments are Unicode there")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_what_was_typed_in_utf_8_is_the_same_in_every_locale(monkeypatch, encoding) -> None:
    monkeypatch.setattr(os, "fsencode", lambda text: text.encode(encoding, "surrogateescape"))
    for text in ("alice", "Jürgen名", ""):
        assert typed(text.encode().decode(encoding, "surrogateescape")) == text
    lone = b"\xff".decode(encoding, "surrogateescape")
    assert typed(lone) == lone
    assert typed("\ud800") == "\ud800"


@pytest.mark.parametrize("text", ["0", "7", "007", "65535"])
def test_a_whole_number_is_read(text) -> None:
    assert whole_number(text, 65_535) == int(text)


@pytest.mark.parametrize(
    "text", ["", "65536", "000007", "-1", "+1", " 1", "1_0", "1.0", "²", "٣", "1" * 4_301, "\x1b"]
)
def test_what_is_no_whole_number_is_none(text) -> None:
    assert whole_number(text, 65_535) is None


def test_whatever_a_program_passed_can_be_shown() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    assert shown("\x1b[31m") == "'\\x1b[31m'"
    assert shown(10**5000) == shown(Odd()) == "of a kind that cannot be shown"
    assert shown("x" * 1000, 10) == "'xxxxxxxx…"


def test_what_was_made_harmless_is_not_escaped_once_more():
    """`shown` quotes a text: `repr` of what `printable` returns doubles each backslash in it."""

    def is_printable(node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "printable"

    def twice(tree: ast.AST) -> Iterator[int]:
        made = {
            statement.targets[0].id
            for statement in ast.walk(tree)
            if isinstance(statement, ast.Assign)
            and is_printable(statement.value)
            and isinstance(statement.targets[0], ast.Name)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.FormattedValue) or node.conversion != ord("r"):
                continue
            if is_printable(node.value) or getattr(node.value, "id", "") in made:
                yield node.lineno

    assert list(twice(ast.parse('f"{printable(text)!r}"'))) == [1]
    assert list(twice(ast.parse('t = printable(text)\nf"{t!r} {t}"'))) == [2]
    package = Path(p2ptui.__file__).parent
    found = [
        f"{path.relative_to(package)}:{line}"
        for path in sorted(package.rglob("*.py"))
        for line in twice(ast.parse(path.read_text("utf-8")))
    ]
    assert not found
