"""In every theme that is offered, what is drawn can be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.theme import BUILTIN_THEMES

from p2ptui.tui.contrast import contrast, readable
from tests.tui.stage import Stage, play

THEMES = sorted(name for name in BUILTIN_THEMES if not name.startswith("ansi"))
FRAMES = frozenset(map(chr, (0x20, *range(0x2500, 0x25A0))))

colours = st.tuples(*[st.integers(0, 255)] * 3)


def ratio(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """WCAG 2.1."""

    def light(colour: tuple[int, int, int]) -> float:
        parts = [value / 255 for value in colour]
        parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    first, second = light(one), light(other)
    return (max(first, second) + 0.05) / (min(first, second) + 0.05)


def faint(stage: Stage) -> list[tuple[str, float]]:
    """What is on the screen and stands out too little."""
    found = []
    for strip in stage.app.screen._compositor.render_strips():
        for text, style, _ in strip:
            if text.isspace() or not text or style is None or "@mouse.down" in style.meta:
                continue
            if style.color is None or style.bgcolor is None:
                found.append((text, 0.0))
                continue
            seen = ratio(style.color.triplet, style.bgcolor.triplet)
            if seen < (3.0 if FRAMES.issuperset(text) else 4.5):
                found.append((text, seen))
    return found


@given(colours, colours, st.sampled_from([3.0, 4.5]))
def test_a_readable_colour_is_readable_and_a_good_one_stays(colour, ground, least):
    seen = readable(colour, ground, least)
    assert ratio(seen, ground) >= least
    assert contrast(seen, ground) == pytest.approx(ratio(seen, ground))
    if ratio(colour, ground) >= least:
        assert seen == colour


@pytest.mark.parametrize("part", range(3))
def test_everything_can_be_read_in_every_theme(part):
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        carol = await stage.friend("carol", 3)
        stage.network.partition("10.0.1.3", "10.0.0.1")
        await stage.alice.send(carol.id, "hello", reliable=False)
        await stage.type("xyzzy")
        for level in ("info", "warn", "error", "debug", "trace"):
            app.note(f"a note of level {level}", level)
        await stage.type("filter !nobody")
        said = set()
        for theme in THEMES[part::3]:
            app.theme = theme
            for keys in (
                ["f2", "end"],
                ["f2", "enter"],
                ["escape", "f3", "up"],
                ["f1"],
                ["escape", "ctrl+p"],
                ["escape", "f4", "colon", *"ping bo"],
            ):
                await stage.pilot.press(*keys)
                await stage.wait(0.3)
                said.add(stage.text())
                assert faint(stage) == [], (theme, keys)
            app.bar.type("")
        everything = "\n".join(said)
        for words in ("proved", "Quit", "type a command", "a note of level warn", "Name"):
            assert words in everything

    play(story)


def test_the_handle_of_a_scroll_bar_stands_out_in_every_theme():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        for theme in THEMES:
            app.theme = theme
            await stage.wait(0.3)
            styles = app.messages.styles
            for colour, ground in (
                (styles.scrollbar_color, styles.scrollbar_background),
                (styles.scrollbar_color_hover, styles.scrollbar_background_hover),
                (styles.scrollbar_color_active, styles.scrollbar_background_active),
            ):
                assert ratio(colour.rgb, ground.rgb) >= 2.99, theme

    play(story)


def test_names_of_colours_are_the_themes_own():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        await stage.friend("bob", 2)
        for theme in ("nord", "textual-light"):
            app.theme = theme
            await stage.wait()
            strip = next(
                strip for strip in app.screen._compositor.render_strips() if "● bob" in strip.text
            )
            (style,) = (style for text, style, _ in strip if text.strip() == "●")
            success = app.get_css_variables()["success"]
            wanted = readable(_rgb(success), tuple(style.bgcolor.triplet), 4.5)
            assert tuple(style.color.triplet) == wanted

    play(story)


def _rgb(text: str) -> tuple[int, int, int]:
    value = text.lstrip("#")
    return int(value[:2], 16), int(value[2:4], 16), int(value[4:6], 16)
