"""What does not fit is left out whole, at every size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text
from textual import events

from p2ptui.tui.columns import columns_for, render_cells
from p2ptui.tui.fitting import fitting, shortened
from p2ptui.tui.footer import Entry, fitting_entries
from p2ptui.tui.terminal import MAX_COLUMNS, MAX_ROWS, drawable
from tests.tui.stage import Stage, play

SIZES = [(40, 10), (40, 20), (80, 24), (100, 30), (120, 40), (200, 60)]
WIDE = "日本語の長い名前のノード🙂🙂🙂" * 3


@given(st.lists(st.tuples(st.integers(0, 9), st.text("aé日🙂", max_size=9))), st.integers(0, 60))
def test_the_parts_of_a_line_fit_and_are_whole(parts, width):
    shown = fitting(parts, width)
    assert sum(map(cell_len, shown)) + 2 * max(len(shown) - 1, 0) <= width or not shown
    whole = [text for _, text in parts if text]
    if len(shown) > 1:
        assert all(text in whole for text in shown)
    elif whole:
        assert len(shown) == 1


def test_the_least_important_goes_first():
    parts = [(0, "alice"), (2, "abcdef"), (1, "10.0.0.1")]
    assert fitting(parts, 40) == ["alice", "abcdef", "10.0.0.1"]
    assert fitting(parts, 20) == ["alice", "10.0.0.1"]
    assert fitting(parts, 5) == ["alice"]
    assert fitting(parts, 4) == ["ali…"]


def test_an_address_that_is_too_long_keeps_its_port():
    address = "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:65535"
    assert shortened(address, 21, end=11) == "[2001:db8…7348]:65535"
    for width in range(30, 220):
        columns = columns_for(width)
        cells = [Text(address if c.name == "Address" else "x") for c in columns]
        line = render_cells(columns, cells, width).plain
        assert cell_len(line) <= width
        if any(c.name == "Address" for c in columns):
            assert "]:65535" in line
    columns = columns_for(190)
    cells = [Text(address if c.name == "Address" else "x") for c in columns]
    assert address in render_cells(columns, cells, 190).plain


@given(st.integers(0, 200))
def test_the_footer_has_only_whole_entries(width):
    entries = [Entry(f"f{n}", f"Words {n}", "x", f"app.{n}") for n in range(9)]
    entries.append(Entry("^p", "Palette", "y", "app.palette"))
    shown = fitting_entries(entries, width)
    assert sum(entry.width for entry in shown) <= width
    if width >= entries[-1].width:
        assert entries[-1] in shown


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_clipped_wherever_the_focus_is(size):
    async def story(stage: Stage) -> None:
        app = await stage.open(size)
        await stage.friend(WIDE[:40], 2)
        await stage.friend("x" * 60, 3)
        await stage.wait()
        width, height = size
        for key in ("f2", "f3", "f4", "f5", "colon"):
            await stage.pilot.press(key)
            await stage.wait(0.3)
            lines = stage.lines()
            assert len(lines) == height
            assert all(cell_len(line) == width for line in lines)
            if height >= 16:
                footer = lines[-1].rstrip()
                shown = [
                    (e.key, e.description) for e in fitting_entries(app.footer._entries, width)
                ]
                assert footer.split() == [w for e in shown for p in e for w in p.split()]
                assert "^p Palette" in footer
                assert "…" not in lines[0]
                assert lines[0].split()[0] == "alice"

    play(story)


def test_of_the_size_that_a_terminal_reports_only_so_much_is_drawn():
    def drawn(width: int, height: int) -> tuple[int, int]:
        return drawable(events.Resize.from_dimensions((width, height), None)).size

    assert drawn(MAX_COLUMNS, MAX_ROWS) == (MAX_COLUMNS, MAX_ROWS)
    assert drawn(MAX_COLUMNS + 1, 24) == (MAX_COLUMNS, 24)
    assert drawn(80, MAX_ROWS + 1) == (80, MAX_ROWS)
    assert drawn(65_535, 65_535) == (MAX_COLUMNS, MAX_ROWS)
    assert drawn(0, 0) == (0, 0)


@pytest.mark.parametrize("first", [(300, 100), (120, 40)])
def test_however_a_size_is_learnt_only_so_much_is_drawn(first, monkeypatch):
    # The largest one takes seconds to draw, and what is larger may take all memory.
    monkeypatch.setattr("p2ptui.tui.terminal.MAX_COLUMNS", 150)
    monkeypatch.setattr("p2ptui.tui.terminal.MAX_ROWS", 50)

    async def story(stage: Stage) -> None:
        app = await stage.open(size=first)
        # As at SIGWINCH, and as the terminal itself reports it.
        app.post_message(events.Resize.from_dimensions((300, 100), None))
        await stage.wait()
        assert app.size == app.screen.size == (150, 50)
        assert [len(line) for line in stage.lines()] == [150] * 50
        app.post_message(events.Resize.from_dimensions((80, 24), None))
        await stage.wait()
        assert app.screen.size == (80, 24)

    play(story)
