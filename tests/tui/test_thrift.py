"""What the screen does not do twice: a start, a key and a theme cost what they must."""

import pytest
from textual.app import App
from textual.screen import Screen

from p2ptui.tui.detail import TextScreen
from tests.tui import thrift
from tests.tui.stage import Stage, play

WIDTHS = {(80, 24): "-narrow", (120, 40): "-normal", (200, 60): "-wide"}


def counted(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[object]:
    """Whoever has a method called from now on, once for each call."""
    calls: list[object] = []
    method = getattr(owner, name)

    def count(self, *arguments, **options):
        calls.append(self)
        return method(self, *arguments, **options)

    monkeypatch.setattr(owner, name, count)
    return calls


def test_styles_are_read_once_for_a_start_and_once_for_a_theme(monkeypatch):
    reads = counted(monkeypatch, App, "refresh_css")

    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.wait()
        assert reads == []
        app.theme = "textual-light"
        await stage.wait()
        assert reads == [app]
        # What has a name is drawn in the new theme's colours.
        assert app.ansi_theme.background_color.hex == app.theme_variables["background"].lower()

    play(story)


def test_a_key_that_is_typed_lays_nothing_out_and_a_long_line_moves_along(monkeypatch):
    async def story(stage: Stage) -> None:
        app = await stage.open((80, 24))
        await stage.friend("bob", 2)
        await stage.wait(2)
        layouts = counted(monkeypatch, Screen, "_refresh_layout")
        await stage.pilot.press(*"send bob hello")
        assert layouts == []
        assert app.bar.input.region.height == 1
        app.bar.type(f"send bob {'x' * 200}")
        await stage.pilot.press(*"the end")
        await stage.wait()
        assert layouts == []
        assert "xxxthe end" in stage.text()
        assert "send bob" not in stage.text()
        await stage.pilot.press("home")
        assert "send bob xxx" in stage.text()
        assert "the end" not in stage.text()

    play(story)


@pytest.mark.parametrize("size", WIDTHS)
def test_a_page_knows_its_width_before_it_is_laid_out(size):
    async def story(stage: Stage) -> None:
        app = await stage.open(size)
        await stage.pilot.press("f2")
        app.run_line("help")
        assert isinstance(app.screen, TextScreen)
        before = app.screen.classes
        assert WIDTHS[size] in before
        assert not set(WIDTHS.values()) & before - {WIDTHS[size]}
        await stage.wait()
        assert app.screen.classes == before
        other = (80, 24) if size != (80, 24) else (200, 60)
        await stage.pilot.resize_terminal(*other)
        await stage.wait()
        assert WIDTHS[other] in app.screen.classes
        assert WIDTHS[size] not in app.screen.classes

    play(story)


def test_while_nobody_looks_the_screen_is_drawn_seldom_and_then_in_full(monkeypatch):
    frames: list[object] = []
    draw = thrift._draw
    monkeypatch.setattr(thrift, "_draw", lambda screen: (frames.append(screen), draw(screen)))

    async def story(stage: Stage) -> None:
        await stage.open()
        await stage.friend("bob", 2)
        await stage.wait()
        begun = len(frames)
        await stage.wait(300)
        assert 60 <= len(frames) - begun <= 90
        assert not stage.app.screen._compositor._dirty_regions

    play(story)
