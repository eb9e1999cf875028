"""Keys act in the order in which they were typed, however many come at once."""

import pytest
from textual import events

from p2ptui.tui.history import History
from p2ptui.tui.terminal import GuardedParser
from tests.tui.stage import Stage, play

NAMED = {
    "<bs>": "\x7f",
    "<del>": "\x1b[3~",
    "<left>": "\x1b[D",
    "<right>": "\x1b[C",
    "<home>": "\x1b[H",
    "<end>": "\x1b[F",
    "<up>": "\x1b[A",
    "<down>": "\x1b[B",
    "<f2>": "\x1bOQ",
    "<f3>": "\x1bOR",
    "<enter>": "\r",
    "<tab>": "\t",
    "<C-p>": "\x10",
    "<C-u>": "\x15",
    "<C-w>": "\x17",
    "<C-k>": "\x0b",
    "<C-a>": "\x01",
    "<C-e>": "\x05",
    "<C-d>": "\x04",
    "<esc>": "\x1b[27u",
    "<paste>": "\x1b[200~",
    "</paste>": "\x1b[201~",
}


async def read(stage: Stage, keys: str) -> None:
    """One read of the terminal: the app has no time in between."""
    for name, sequence in NAMED.items():
        keys = keys.replace(name, sequence)
    now = [0.0]
    parser = GuardedParser(clock=lambda: now[0])
    found = list(parser.feed(keys))
    now[0] += 1
    for event in (*found, *parser.tick()):
        event.set_sender(stage.app)
        stage.app._driver.send_message(event)
    await stage.wait(0.3)


def past() -> History:
    history = History()
    for line in ("ping bob 3", "stats"):
        history.add(line)
    return history


EDITED = [
    ("abc<bs>d", "abd"),
    ("<C-u>word", "word"),
    ("abc<C-u>word", "word"),
    ("send bob hello<C-w>bye", "send bob bye"),
    ("abc<left><left>X<del>Y", "aXYc"),
    ("abc<home>X<end>Y", "XabcY"),
    ("abc<C-a>X<C-e>Y", "XabcY"),
    ("abcdef<left><left><left><C-k>X", "abcX"),
    ("abc<home><C-d>X", "Xbc"),
    ("<up>!<bs>?", "stats?"),
    ("<up><up> 1", "ping bob 3 1"),
    ("ab<up><down>c", "abc"),
    ("discon<tab>x", "disconnect x"),
    ("abc<bs><bs><bs><bs>d", "d"),
    ("abc<esc>d", "d"),
    ("a<left>b<right>c<left><left><bs>d", "dac"),
    ("a<paste>b\x1bc\rd</paste><bs>e", "abc e"),
    ("<paste>one\rtwo</paste>x<home>y", "yone twox"),
    ("stats<enter>:abc<bs>d", "abd"),
    ("theme textual-dark<enter>abc<bs>d", "abd"),
]


@pytest.mark.parametrize("before", ["", "<esc>:", "<f3>:", "<f2>:"])
def test_editing_keys_in_one_read_act_in_their_order(before):
    async def story(stage: Stage) -> None:
        app = await stage.open()
        for keys, line in EDITED:
            app.bar.input._history = past()
            app.bar.type("")
            await read(stage, before + keys)
            assert app.bar.input.value == line, keys
            assert app.focused is app.bar.input
            assert app.is_running

    play(story)


def test_after_a_slash_they_do_too():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        await read(stage, "<f3>/abc<bs>d<enter>")
        assert app.screen_verbs.expression == "abd"
        await read(stage, "<f2>/rob<bs><bs><bs>bo<enter>")
        assert app.peers.list.containing == "bo"
        # Where a command leads, the next key is meant for.
        assert app.focused is app.peers.list
        await read(stage, "my<bs>hi")
        assert app.bar.input.value == "send bob hi"

    play(story)


def test_where_a_command_leads_the_keys_behind_it_go():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.friend("carol", 3)
        await stage.wait()
        await read(stage, "peers<enter>sj")
        assert app.bar.input.value == ""
        assert app.peers.list.sort_column.name == "Id"
        await read(stage, ":help<enter><down><down>q:stats<enter>z")
        assert len(app.screen_stack) == 1
        assert app.zoomed
        assert app.chosen == "statistics"

    play(story)


def test_what_is_typed_behind_ctrl_p_goes_into_the_palette():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await read(stage, "<f3><C-p>statz<bs>s")
        assert app.focused.value == "stats"
        assert len(app.screen_stack) == 2

    play(story)


async def pinged(stage: Stage) -> str:
    await stage.wait(3)
    return stage.app.bar.said


def test_enter_in_the_palette_takes_what_fits_the_text_that_stands_there():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.friend("carol", 3)
        await stage.wait()
        await read(stage, "<C-p>ping carol")
        await stage.wait(1.5)
        await read(stage, "<C-u>ping bob<enter>")
        assert len(app.screen_stack) == 1
        assert "bob" in await pinged(stage)
        await read(stage, "<C-p>ping carol<enter>")
        assert "carol" in await pinged(stage)
        # With time between the keys, but too little for a list.
        for key in ("<C-p>", *"routes"):
            await read(stage, key)
        await read(stage, "<enter>")
        assert "─ Routes ─" in stage.text()
        await read(stage, "<esc>")
        assert "─ Routes ─" not in stage.text()
        await read(stage, "<C-p>routes<enter>")
        assert "─ Routes ─" in stage.text()

    play(story)


def test_what_is_typed_behind_the_palettes_enter_goes_where_it_leads():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        await read(stage, "<C-p>send bob<enter>hello")
        assert app.bar.input.value.endswith(" hello")
        assert app.bar.input.value.startswith("send ")
        app.bar.type("")
        await read(stage, "<C-p>pause<enter>:abc<bs>d")
        assert app.bar.input.value == "abd"
        assert not app.messages.following

    play(story)


def test_arrows_in_the_palette_move_in_the_list_of_the_text_that_stands_there():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.wait()
        await read(stage, "<C-p>theme nord<down><up><enter>")
        await stage.wait()
        assert app.theme == "nord"
        await read(stage, "<C-p>no such thing<enter><down><enter>")
        assert len(app.screen_stack) == 2
        await stage.wait(1)
        await read(stage, "<enter><down><enter>")
        assert "No matches found" in stage.text()
        await read(stage, "<C-u>theme dracula")
        await stage.wait(1)
        assert "theme dracula" in stage.text()
        await read(stage, "<enter>")
        assert app.theme == "dracula"

    play(story)


def test_a_click_in_the_palette_carries_out_what_is_seen():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.wait()
        await read(stage, "<C-p>theme nord")
        await stage.wait(1)
        lines = stage.lines()
        row = next(n for n, line in enumerate(lines) if "theme nord" in line and n > 4)
        await stage.pilot.click(offset=(lines[row].index("theme"), row))
        await stage.wait()
        assert app.theme == "nord"
        assert len(app.screen_stack) == 1

    play(story)


def test_a_hostile_paste_waits_for_enter_wherever_the_focus_is():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        hostile = "<paste>see \x1b[31mred\rping 1\rquit\r</paste>"
        for where in ("", "<f2>", "<f3>", "<f2><enter>", "<esc>", ":help<enter>"):
            await read(stage, where + hostile)
            assert app.bar.input.value == "see [31mred ping 1 quit", where
            assert app.focused is app.bar.input
            assert len(app.screen_stack) == 1
            assert app.is_running
            app.bar.input.value = ""
        await read(stage, "<C-p>" + hostile)
        assert app.focused.value == "see [31mred ping 1 quit"
        assert app.return_code is None

    play(story)


def test_a_paste_that_is_no_line_is_refused_and_what_was_there_stays():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await read(stage, "send bob <paste>" + "x" * 1_000_000 + "</paste>")
        assert app.bar.input.value == "send bob "
        assert "not pasted: more than 10,000 characters" in app.bar.said
        await read(stage, "<paste>" + "quit\r" * 10_000 + "</paste>")
        assert app.bar.input.value == "send bob "
        await read(stage, "<paste>" + "x" * 10_000 + "</paste>")
        assert len(app.bar.input.value) == 10_009

    play(story)


def test_what_this_program_copied_is_pasted_as_one_harmless_line_too():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        app.copy_to_clipboard('{\n  "a": "\x1b"\n}')
        await stage.pilot.press("ctrl+v")
        assert app.bar.input.value == '{ "a": "" }'

    play(story)


def test_a_paste_event_without_a_guard_is_harmless_too():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        app.post_message(events.Paste("a\x1b[31m\nquit\n"))
        await stage.wait()
        assert app.bar.input.value == "a[31m quit"

    play(story)
