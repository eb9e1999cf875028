"""Filter expressions, and the regular expressions in them that must not hang the program."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.tui import filters
from p2ptui.tui.filters import ALL, FilterError, compile_filter
from p2ptui.tui.pattern import SUBJECT_CHARACTERS, PatternError, compile_pattern, found_in
from p2ptui.tui.records import Record
from tests.tui.stage import Stage, play


def record(text="hello", **fields) -> Record:
    values = {
        "number": 0,
        "time": 0.0,
        "direction": "in",
        "level": "info",
        "peer": "Bob",
        "node_id": "b0b0b0b0-0000-4000-8000-000000000001",
        "address": "10.0.0.2:8080",
        "kind": "Data",
        "size_bytes": 0,
        "data": b"",
        "text": text,
    }
    return Record(**(values | fields))


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ("", True),
        ("HELLO", True),
        ("goodbye", False),
        ("!goodbye", True),
        ("!hello", False),
        ("hello bob", True),
        ("hello carol", False),
        ('"hello there"', True),
        ('"there hello"', False),
        ('!"there hello" hello', True),
        ("/h.llo/", True),
        ("/^in Bob/", True),
        ("/h.llo", True),
        ("!/h.llo/", False),
        ("/hello there/ bob", True),
        (r"/10\.0\.0\.2:8080/", True),
        (r"/a\/b/", True),
        ("level:info", True),
        ("level:warn", False),
        ("level:debug", True),
        ("!level:warn", True),
        ("dir:in", True),
        ("dir:out", False),
        ("peer:bo", True),
        ("peer:b0b0", True),
        ("peer:10.0.0.2", True),
        ("peer:carol", False),
        ("type:dat", True),
        ("type:ping", False),
        ("http://x", True),
    ],
)
def test_a_record_fits_or_not(expression, fits):
    subject = record("hello there a/b http://x")
    assert compile_filter(expression).accepts(subject) is fits


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("/(/", "bad regular expression: missing ), unterminated"),
        ("//", "write /PATTERN/"),
        ("!", "! wants a word"),
        ('""', "between the quotation marks is nothing"),
        ("level:loud", "is not a level; one of"),
        ("dir:up", "is not a direction"),
        ("x" * 201, "at most 200 characters"),
        ("/(a+)+$/", "could take too long"),
    ],
)
def test_a_mistake_says_what_would_be_right(expression, said):
    with pytest.raises(FilterError) as caught:
        compile_filter(expression)
    assert said in str(caught.value)


def test_two_filters_together_hold_both():
    both = compile_filter("level:warn") & compile_filter("hello")
    assert both.expression == "level:warn hello"
    assert both.accepts(record(level="warn"))
    assert not both.accepts(record())
    assert (ALL & ALL).expression == ""


@given(st.text(max_size=60))
def test_any_expression_is_a_filter_or_a_mistake(expression):
    try:
        chosen = compile_filter(expression)
        chosen.accepts(record())
    except FilterError:
        pass


def test_an_expression_that_proves_slow_is_given_up(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(filters, "thread_time", lambda: float(next(clock)))
    chosen = compile_filter("/x/")
    assert not chosen.accepts(record())
    assert not chosen.accepts(record())
    with pytest.raises(FilterError, match="takes too long"):
        chosen.accepts(record())


# Patterns


@pytest.mark.parametrize(
    "pattern",
    [
        "a.*b",
        "a.*b.*c",
        r"\d+\.\d+\.\d+",
        "(foo|bar|baz)",
        "(ab)*c",
        "[a-z]{3,8}",
        "a?b?c?",
        "(?i)X",
    ],
)
def test_what_people_type_is_accepted(pattern):
    try:
        compile_pattern(pattern)
    except PatternError as error:
        assert pattern == r"\d+\.\d+\.\d+", error  # noqa: PT017 - three of them: refused, and said so


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|a)*$",
        "(a*)*b",
        "a.*b.*c.*d",
        "(x{1,50}){1,50}",
        "a?" * 40,
        "((a|b)+)+",
        "(.*)*",
    ],
)
def test_what_could_hang_is_refused(pattern):
    with pytest.raises(PatternError, match="could take too long"):
        compile_pattern(pattern)


SHORT = st.sampled_from(["a", "b", ".", "[ab]", "a*", "a+", ".*", "a?", "(a|b)", "(a*)", "^", "$"])


@given(st.lists(SHORT, max_size=6).map("".join), st.sampled_from(["a" * 256, "ab" * 128]))
def test_what_is_accepted_is_done_in_time(pattern, text):
    try:
        compiled = compile_pattern(pattern)
    except PatternError:
        return
    began = time.thread_time()
    found_in(compiled, text + "c")
    assert time.thread_time() - began < 0.5


def test_a_long_text_is_looked_at_to_its_end():
    pattern = compile_pattern("needle")
    for place in (0, 100, SUBJECT_CHARACTERS - 3, 1000, 1994):
        text = "x" * place + "needle" + "x" * (1994 - place)
        assert found_in(pattern, text)
    assert not found_in(pattern, "x" * 2000)
    assert found_in(compile_pattern("^$"), "")


# What the pane says of its filters, and how they end


def test_a_filter_and_a_level_say_what_they_are_and_end_where_they_say():
    async def story(stage: Stage) -> None:
        app = await stage.open((200, 60))
        bob = await stage.friend("bob", 2)
        await bob.ping(stage.alice.id)
        await stage.wait()
        log = app.messages
        every = log.row_count
        assert log.condition == ""
        said = await stage.type("log warn")
        assert "level warn and above" in said
        assert "log trace shows every level again" in said
        assert log.row_count == 0
        assert "Messages  level warn and above" in stage.text()
        assert "No message fits level warn and above." in stage.text()
        assert "Type filter alone to show all again." in stage.text()
        assert await stage.type("filter") == "all messages are shown"
        assert log.row_count >= every
        assert "and above" not in "".join(stage.lines()[:-3])
        await stage.type("log warn")
        await stage.type("filter peer:bob")
        assert log.condition == "level warn and above  filter peer:bob"
        assert "filter alone" in await stage.type("log trace")
        assert log.condition == "filter peer:bob"
        await stage.type("filter")
        await stage.type("log trace")
        assert log.condition == ""
        assert log.row_count >= every

    play(story)


def test_the_badge_counts_only_what_the_filter_shows():
    async def story(stage: Stage) -> None:
        app = await stage.open((200, 60))
        bob, carol = await stage.friend("bob", 2), await stage.friend("carol", 3)
        await stage.wait()
        await stage.pilot.press("f3", "space")
        for number in range(5):
            await bob.send(stage.alice.id, f"apple {number}", reliable=False)
        for number in range(7):
            await carol.send(stage.alice.id, f"pear {number}", reliable=False)
        await stage.wait()
        log = app.messages
        assert log.unseen >= 12
        for expression, new in (("apple", 5), ("pear", 7), ("nowhere", 0), ("/apple [12]/", 2)):
            await stage.type(f"filter {expression} dir:in")
            assert log.unseen == new, expression
            assert (f"{new} new" in stage.text()) == (new > 0)
        await stage.type("log error")
        assert log.unseen == 0
        await stage.type("filter")
        assert log.unseen >= 12
        await stage.pilot.press("f3", "end")
        assert log.unseen == 0

    play(story)


def test_a_filter_that_was_given_up_leaves_the_level():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.type("log warn")
        await stage.type("filter abc")
        app.messages._give_up(FilterError("it takes too long"))
        await stage.wait()
        assert "takes too long" in app.bar.said
        assert app.messages.condition == "level warn and above"
        assert app.screen_verbs.expression == ""

    play(story)
