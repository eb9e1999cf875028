"""The command bar beside everything else: it is reached from anywhere, and gets what is typed."""

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.widgets import Tabs

from p2ptui.config import UiOptions
from p2ptui.tui.app import P2PApp
from p2ptui.tui.detail import TextScreen
from tests.tui.stage import Stage, play

SIZES = [(80, 24), (120, 40), (200, 60)]
NAMES = {"\r": "enter", "\x1b": "escape", "\t": "tab"}


async def burst(stage: Stage, text: str, *first: str) -> None:
    """Keys that a terminal delivers in one read: the app has no time in between."""
    keys = [*((key, None) for key in first), *((_character_to_key(c), c) for c in text)]
    for key, character in keys:
        stage.app._driver.send_message(events.Key(NAMES.get(character, key), character))
    await stage.wait(0.3)


def overlays(app: P2PApp) -> int:
    return len(app.screen_stack) - 1


# From overlays


@pytest.mark.parametrize("opening", [["f1"], ["f2", "enter"], ["f3", "enter"], ["ctrl+p"]])
@pytest.mark.parametrize(
    ("key", "pane"), [("f2", "peers"), ("f3", "messages"), ("f4", "nat"), ("f5", "statistics")]
)
def test_a_pane_is_reached_from_every_overlay(opening, key, pane):
    async def story(stage: Stage) -> None:
        app = await stage.open((80, 24))
        await stage.friend("bob", 2)
        await stage.wait()
        await stage.pilot.press(*opening)
        await stage.wait(0.3)
        assert overlays(app) == 1
        await stage.pilot.press(key)
        await stage.wait(0.3)
        assert overlays(app) == 0
        assert app.chosen == pane
        assert app.focused is not None
        assert app.query_one(f"#{pane}") in app.focused.ancestors_with_self
        assert app.query_one(f"#{pane}").display

    play(story)


@pytest.mark.parametrize("opening", [["f1"], ["f2", "enter"], ["f3", "enter"]])
def test_the_bar_is_reached_from_every_overlay_and_gets_all_that_follows(opening):
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        await stage.pilot.press(*opening)
        await stage.wait(0.3)
        assert overlays(app) == 1
        await burst(stage, ":q y ping")
        assert overlays(app) == 0
        assert app.focused is app.bar.input
        assert app.bar.input.value == "q y ping"

    play(story)


def test_help_over_help_is_one_help():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        for _ in range(3):
            await stage.pilot.press("f1")
            await stage.wait(0.3)
        assert overlays(app) == 1
        await stage.pilot.press("escape")
        assert overlays(app) == 0

    play(story)


# Typing ahead


@pytest.mark.parametrize("pane", ["f2", "f3", "f4", "f5"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_what_comes_together_with_a_colon_is_all_a_command(pane, size):
    async def story(stage: Stage) -> None:
        app = await stage.open(size)
        bob = await stage.friend("bob", 2)
        await stage.friend("carol", 3)
        await stage.wait()
        order = app.peers.list.sort_column
        await stage.pilot.press(pane)
        await burst(stage, ":ping bob 1\r:symf\r")
        await stage.wait(1)
        said = [record.summary for record in app.messages.shown()]
        assert any("bob: 1 of 1 answered" in line for line in said)
        assert any("unknown command 'symf'" in line for line in said)
        assert app.peers.list.sort_column is order
        assert app.messages.following
        assert app.clipboard == ""
        assert stage.alice.peer(bob.id) is not None

    play(story)


def test_what_comes_together_with_a_slash_or_an_m_is_all_typed():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.friend("carol", 3)
        await stage.wait()
        order = app.peers.list.sort_column
        await stage.pilot.press("f3")
        await burst(stage, "/ys mp")
        assert app.bar.input.value == "filter ys mp"
        app.bar.input.value = ""
        await stage.pilot.press("f2")
        await burst(stage, "/rol\r")
        assert [app.peers.list.row_at(0).name, app.peers.list.row_count] == ["carol", 1]
        await burst(stage, "msy and more")
        assert app.bar.input.value == "send carol sy and more"
        assert app.peers.list.sort_column is order
        assert app.clipboard == ""

    play(story)


def test_a_pane_key_and_those_that_follow_it_go_to_that_pane():
    async def story(stage: Stage) -> None:
        app = await stage.open((80, 24))
        await stage.friend("bob", 2)
        await stage.wait()
        await stage.pilot.press("f4")
        await burst(stage, "y", "f2")
        assert app.clipboard == "10.0.1.2:8080"

    play(story)


def test_a_line_that_is_typed_triggers_no_single_key():
    async def story(stage: Stage) -> None:
        keys = {"app.statistics": "o"}
        app = await stage.open(options=UiOptions(keys=keys))
        await burst(stage, "a:z/ o p s y")
        assert app.bar.input.value == "a:z/ o p s y"
        assert not app.zoomed
        app.bar.input.value = ""
        await stage.pilot.press("ctrl+p")
        await burst(stage, "z:o")
        assert app.focused.value == "z:o"
        assert overlays(app) == 1

    play(story)


# Answers


def test_a_late_answer_leaves_the_newer_one_and_is_told_in_the_log():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        await burst(stage, "ping bob 5\r")
        assert app.bar.said.startswith("ping ")
        assert "delivered" in await stage.type("send bob hello")
        newer = app.bar.said
        await stage.wait(3)
        assert app.bar.said == newer
        assert newer in stage.text()
        said = [record.summary for record in app.messages.shown()]
        assert any(line.startswith("ping bob 5: bob: 5 of 5 answered") for line in said)

    play(story)


def test_a_late_failure_leaves_the_newer_answer_too():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        await burst(stage, "connect 10.0.9.9:1\r")
        assert "connecting" in app.bar.said
        assert "unknown command" in await stage.type("xyzzy")
        await stage.wait(60)
        assert "unknown command" in app.bar.said
        notes = [record for record in app.messages.shown() if record.level == "warn"]
        assert notes[-1].summary.startswith("connect 10.0.9.9:1: ")

    play(story)


def test_a_newer_line_that_says_nothing_takes_no_answer_away():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        await burst(stage, "ping bob 5\r")
        await burst(stage, "stats\r")
        await stage.wait(3)
        assert "5 of 5 answered" in app.bar.said

    play(story)


@pytest.mark.parametrize("size", SIZES)
def test_an_answer_that_is_too_long_says_so_and_can_be_read(size):
    async def story(stage: Stage) -> None:
        app = await stage.open(size)
        await stage.type("x" * 190)
        (line,) = [line for line in stage.lines() if line.startswith(" unknown command")]
        assert line.rstrip().endswith("…  F6 shows all")
        await stage.pilot.press("f6")
        await stage.wait(0.3)
        assert isinstance(app.screen, TextScreen)
        assert "".join(stage.lines()).count("x") >= 190
        assert "commands" in stage.text()
        await stage.pilot.press("escape")
        await stage.pilot.click("#answer")
        await stage.wait(0.3)
        assert overlays(app) == 1
        await stage.pilot.press("escape")
        said = await stage.type("ping")
        assert said in stage.text()
        assert "shows all" not in stage.text()

    play(story)


def test_the_room_for_an_answer_follows_the_terminal():
    async def story(stage: Stage) -> None:
        app = await stage.open((200, 60), options=UiOptions(keys={"app.answer": "f8"}))
        await stage.type("help " + "x" * 60)
        assert "shows all" not in stage.text()
        await stage.pilot.resize_terminal(60, 16)
        await stage.wait(0.3)
        assert "…  F8 shows all" in stage.text()
        await stage.pilot.resize_terminal(40, 10)
        await stage.wait(0.3)
        assert "…" in stage.text()
        assert "shows all" not in stage.text()
        await stage.pilot.press("f8")
        await stage.wait(0.3)
        assert overlays(app) == 1

    play(story)


# Zoom


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("back", ["z", "escape"])
def test_a_pane_is_shown_alone_and_all_are_again(size, back):
    async def story(stage: Stage) -> None:
        app = await stage.open(size)
        await stage.friend("bob", 2)
        await stage.pilot.press("f3", "z")
        await stage.wait(0.3)
        assert [pane.id for pane in app.query(".pane") if pane.display] == ["messages"]
        assert app.messages.region.size == (size[0], size[1] - 3)
        assert app.focused is app.messages
        assert not app.query_one(Tabs).display
        # Another pane takes its place; a resize and a command leave it so.
        await stage.pilot.press("f2")
        for other in ((200, 60), (40, 10), size):
            await stage.pilot.resize_terminal(*other)
            await stage.wait(0.3)
            assert [pane.id for pane in app.query(".pane") if pane.display] == ["peers"]
        assert "bob" in stage.text()
        await stage.type("ping bob 1")
        assert app.zoomed
        await stage.pilot.press("f2", back)
        await stage.wait(0.3)
        assert not app.zoomed
        assert app.focused is app.peers.list
        narrow = size[0] < 100
        assert sum(pane.display for pane in app.query(".pane")) == (1 if narrow else 4)
        assert app.query_one(Tabs).display == narrow

    play(story)


# To whom


def test_a_message_with_nobody_selected_asks_whom_it_is_for():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.pilot.press("f2", "m")
        assert app.bar.input.value == "send "
        assert "nobody is selected" in app.bar.said
        await stage.friend("bob", 2)
        await stage.wait()
        assert "is not a peer" in await stage.type("send hello there")

    play(story)


@pytest.mark.parametrize("name", ["bob", ".", "[1]", "{bob", "two words", "'bob'"])
def test_a_message_begins_with_a_word_that_means_only_the_selected_node(name):
    async def story(stage: Stage) -> None:
        app = await stage.open()
        bob = await stage.friend(name, 2)
        await stage.friend("carol", 3)
        await stage.wait()
        peers = app.peers.list
        await stage.pilot.press("f2", "home")
        while peers.selected.node.node_id != bob.id:
            await stage.pilot.press("down")
        await stage.pilot.press("m")
        typed = app.bar.input.value
        assert typed == f"send {'bob' if name == 'bob' else bob.id} "
        # Somebody else is selected before it is sent.
        peers.move_to(1 - peers.cursor_row)
        assert "delivered" in await stage.type(f"{typed}hi there")
        (sent,) = [
            r for r in app.messages.shown() if "hi there" in r.haystack and r.direction == "out"
        ]
        assert sent.node_id == bob.id

    play(story)


# Pasting


@pytest.mark.parametrize("where", ["f2", "f3", "f4", "f5", "f1", "end"])
def test_what_is_pasted_goes_into_the_line_and_is_not_carried_out(where):
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        await stage.pilot.press(where)
        before = stage.alice.peer("bob").messages_out
        app.post_message(events.Paste('send bob {\n  "a": "q"\n}\x1b\n\n'))
        await stage.wait()
        assert app.focused is app.bar.input
        assert app.bar.input.value == 'send bob { "a": "q" }'
        assert app.is_running
        assert stage.alice.peer("bob").messages_out == before
        await stage.pilot.press("enter")
        await stage.wait()
        assert "delivered" in app.bar.said

    play(story)


def test_what_is_pasted_takes_the_place_of_what_is_selected():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        app.bar.type("send bob hi")
        await stage.pilot.press("shift+left", "shift+left")
        app.post_message(events.Paste("hello"))
        await stage.wait()
        assert app.bar.input.value == "send bob hello"
        app.post_message(events.Paste(""))
        await stage.wait()
        assert app.bar.input.value == "send bob hello"

    play(story)
