"""Words keep the column that they begin in, from the first time that they are drawn."""

import re

import pytest
from rich.cells import cell_len
from textual.widgets import Static

from p2ptui.tui import run
from p2ptui.tui.detail import PageScreen
from p2ptui.tui.help import help_text
from p2ptui.tui.peer_detail import node_text
from tests.tui.stage import Stage, play
from tests.tui.test_two_columns import all_bindings


def test_no_key_s_description_runs_into_its_id() -> None:
    bindings = all_bindings()
    page = help_text(bindings, {}, 120).plain
    for binding in bindings:
        line = next(line for line in page.splitlines() if line.endswith(binding.id or ""))
        assert f"{binding.description}  " in line


def test_a_long_fact_stays_in_its_column() -> None:
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        await stage.wait(1)
        node = app.roster.find("bob")
        for width in (60, 80, 100):
            page = node_text(node, width=width).plain
            _, _, last = page.rpartition("\ncan ")
            lines = f"can {last}".splitlines()
            assert len(lines) > 1
            assert all(re.match(r" {15}\w", line) for line in lines[1:])
            assert all(cell_len(line) <= width for line in lines)

    play(story)


def test_a_page_is_never_drawn_for_another_width() -> None:
    async def story(stage: Stage) -> None:
        app = await stage.open((120, 40))
        drawn: list[int] = []

        def page(width: int):
            drawn.append(width)
            return help_text([], {}, width)

        await app.push_screen(PageScreen("help", page))
        await stage.wait()
        assert set(drawn) == {drawn[0]}
        assert drawn[0] > 80
        assert "Commands" in str(app.screen.query_one(Static).render())

    play(story)


def test_the_report_has_room_for_its_scroll_bar_before_there_is_one() -> None:
    async def story(stage: Stage) -> None:
        app = await stage.open((200, 60))
        await stage.wait()
        assert not app.nat.show_vertical_scrollbar
        assert app.nat.scrollable_content_region.width == app.nat.content_region.width - 1

    play(story)


def test_the_key_that_leads_to_the_bar_begins_no_command() -> None:
    async def story(stage: Stage) -> None:
        app = await stage.open()
        for key in (":", "h", "e", "l", "p", ":"):
            await stage.pilot.press("colon" if key == ":" else key)
        assert app.bar.input.value == "help:"

    play(story)


def test_a_terminal_without_a_cursor_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from p2ptui import Config
    from p2ptui.errors import LocalError

    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.delenv("TEXTUAL_DRIVER", raising=False)
    for stream in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    with pytest.raises(LocalError, match="TERM is dumb"):
        run.run_screen(Config())
