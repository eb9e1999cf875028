"""What is offered is what Tab takes, and Tab never leaves a line that holds something."""

import shlex

import pytest

from p2ptui.tui.completion import completions
from p2ptui.tui.history import History
from p2ptui.tui.words import words_of
from p2ptui.verbs import Kind
from tests.tui.stage import Stage, play


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("My Docs", "it's", 'say "hi"', "back\\slash", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a file.txt").write_text("")
    (tmp_path / "plain.json").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def paths(line: str) -> list[str]:
    return completions(line, lambda kind, beginning: words_of(kind, beginning, None, ()))


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("save pl", "save plain.json"),
        ("save My", "save My\\ Docs/"),
        ("save My\\ Do", "save My\\ Docs/"),
        ('save "My Do', 'save "My Docs/'),
        ('save "My Docs/', 'save "My Docs/a file.txt"'),
        ("save 'My Docs/a", "save 'My Docs/a file.txt'"),
        ("save My\\ Docs/a\\ f", "save My\\ Docs/a\\ file.txt"),
        ("save it", "save it\\'s/"),
        ("save say", 'save say\\ \\"hi\\"/'),
        ("save ba", "save back\\\\slash/"),
        ("save ~", "save ~/"),
        ("save ~/My", "save ~/My\\ Docs/"),
        ('save "~/My', 'save "~/My Docs/'),
        ("save .h", "save .hidden/"),
    ],
)
def test_paths_are_completed_as_they_were_begun(typed, offered, folder):
    assert paths(typed) == [offered]
    assert offered.startswith(typed)
    if not offered.endswith("/"):
        (path,) = shlex.split(offered.partition(" ")[2])
        assert (folder / path).is_file()


@pytest.mark.parametrize(
    "typed", ["save nothing", "save plain.json more", "save 'it's", "save a\\"]
)
def test_what_is_no_path_is_not_completed(typed, folder):
    assert paths(typed) == []


def test_a_hidden_file_is_offered_to_those_who_ask(folder):
    assert not any(".hidden" in line for line in paths("save "))


def test_tab_takes_what_is_shown_and_never_leaves_a_line():
    async def story(stage: Stage) -> None:
        history = History()
        for line in ("ping carol 3", "send bobby hello"):
            history.add(line)
        app = await stage.open(history=history)
        await stage.friend("bobby", 2)
        await stage.friend("two words", 3)
        await stage.wait()
        line = app.bar.input
        before = stage.alice.peer("bobby").messages_out
        for typed in (
            "p",
            "pi",
            "ping",
            "ping ",
            "ping bo",
            "ping carol",
            "send b",
            'send "t',
            "send bobby h",
            "xyzzy",
            "xyzzy and more",
            "ping nobody",
            "help dis",
            "theme te",
            "filter lev",
            "nat ",
            " ",
        ):
            app.bar.type(typed)
            await stage.wait(0.1)
            shown = line._suggestion
            await stage.pilot.press("tab")
            assert app.focused is line, typed
            assert line.value == (shown or typed), typed
            if shown:
                assert shown.startswith(typed)
            await stage.pilot.press("tab", "tab", "shift+tab", *"pmy")
            assert app.focused is line, typed
        assert stage.alice.peer("bobby").messages_out == before
        # The past is offered where the grammar has nothing.
        app.bar.type("ping carol")
        await stage.pilot.press("tab")
        assert line.value == "ping carol 3"
        app.bar.type("")
        await stage.pilot.press("tab")
        assert app.focused is not line

    play(story)


def test_tab_goes_through_what_there_is_and_back():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        seen = []
        app.bar.type("disc")
        for key in ("tab", "tab", "tab", "shift+tab"):
            await stage.pilot.press(key)
            seen.append(app.bar.input.value)
        assert seen == ["disconnect ", "discover", "disc", "discover"]

    play(story)


def test_an_offer_comes_back_with_the_focus():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        app.bar.type("disco")
        await stage.pilot.press("f3")
        app.bar.go()
        await stage.wait(0.1)
        shown = app.bar.input._suggestion
        assert shown == "disconnect "
        await stage.pilot.press("tab")
        assert app.bar.input.value == shown

    play(story)


def test_no_kind_of_word_takes_more_than_it_may(folder):
    for number in range(300):
        (folder / f"many{number:03}").write_text("")
    assert len(list(words_of(Kind.FILE, "many", None, ()))) == 50
