"""Keeps everything readable: colours are shifted until they have enough contrast.

A theme chooses colours for their looks; dimmed, or on another background than intended, some are
too faint. Here each line is checked when it is drawn, whatever drew it, so that no other code has
to care. The hue stays the theme's own.
"""

from functools import lru_cache
from typing import Final, TypeAlias

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from textual.color import Color, ColorParseError
from textual.filter import ANSIToTruecolor, LineFilter

Rgb: TypeAlias = tuple[int, int, int]

TEXT_RATIO: Final = 4.5
GRAPHICS_RATIO: Final = 3.0
"""WCAG 2.1, 1.4.3 for text and 1.4.11 for everything else, such as frames and bars."""

_WHITE: Final[Rgb] = (255, 255, 255)
_BLACK: Final[Rgb] = (0, 0, 0)

_GRAPHICS: Final = frozenset(map(chr, (0x20, *range(0x2500, 0x25A0))))
"""Box drawing and block elements."""


def luminance(colour: Rgb) -> float:
    """How bright a colour is, 0 to 1 (WCAG 2.1, relative luminance)."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (value / 255 for value in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Rgb, other: Rgb) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.1)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@lru_cache(4096)
def readable(colour: Rgb, ground: Rgb, ratio: float) -> Rgb:
    """The nearest colour that stands out against the ground.

    Args:
        colour: The intended colour.
        ground: The background.
        ratio: The least contrast, 4.5 or less: black or white always has as much.
    """
    if contrast(colour, ground) >= ratio:
        return colour
    ends = [_WHITE, _BLACK]
    if luminance(colour) < luminance(ground):
        ends.reverse()
    end = next(end for end in ends if contrast(end, ground) >= ratio)
    found = end
    low, high = 0, 64
    while low < high:
        middle = (low + high) // 2
        mixed = _mixed(colour, end, middle / 64)
        if contrast(mixed, ground) >= ratio:
            found, high = mixed, middle
        else:
            low = middle + 1
    return found


def _mixed(one: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _readable_style(style: Style, background: Rgb, ratio: float) -> Style:
    colour, ground = style.color, style.bgcolor
    if colour is None or colour.triplet is None:
        return style
    behind = background if ground is None or ground.triplet is None else tuple(ground.triplet)
    seen = readable(tuple(colour.triplet), behind, ratio)
    if seen == tuple(colour.triplet):
        return style
    return style + Style(color=RichColor.from_rgb(*seen))


class ReadableColours(LineFilter):
    """Maps colour names to the theme's colours, as Textual does, and makes all of them readable.

    Both in one filter, since each filter copies every line that is drawn.

    Args:
        by_name: Textual's filter for the names.
    """

    def __init__(self, by_name: ANSIToTruecolor) -> None:
        super().__init__()
        self.by_name = by_name
        self._styles = lru_cache(4096)(self._readable_styles)

    def _readable_styles(self, style: Style, background: Color) -> tuple[Style, Style, Style]:
        """The intended style, and the styles in which text and graphics are drawn."""
        style = self.by_name.truecolor_style(style, background.rich_color)
        ground = background.rgb
        return (
            style,
            _readable_style(style, ground, TEXT_RATIO),
            _readable_style(style, ground, GRAPHICS_RATIO),
        )

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Move the colours of a line as far as needed.

        Args:
            segments: The line.
            background: The default background.
        """
        line = []
        for text, style, _ in segments:
            seen = style
            if style is not None:
                meant, seen, as_graphics = self._styles(style, background)
                # Most of it stands out as it is: its kind is only determined if that matters.
                if seen is not meant and _GRAPHICS.issuperset(text):
                    # The ends of a scrollbar's handle have the colour of the handle.
                    seen = meant if "@mouse.down" in style.meta else as_graphics
            line.append(Segment(text, seen))
        return line


def with_readable_scrollbars(variables: dict[str, str]) -> dict[str, str]:
    """A theme's variables, its scroll bars' handles moved until they stand out from their track.

    A handle is drawn as the background of spaces, so a check of character colours misses it.

    Args:
        variables: The theme's variables.
    """
    changed = dict(variables)
    for state in ("", "-hover", "-active"):
        handle, track = f"scrollbar{state}", f"scrollbar-background{state}"
        try:
            ground, colour = Color.parse(variables[track]), Color.parse(variables[handle])
        except (KeyError, ColorParseError):
            continue
        if ground.a == 1 and ground.ansi is None and colour.ansi is None:
            seen = readable((ground + colour).rgb, ground.rgb, GRAPHICS_RATIO)
            changed[handle] = Color(*seen).hex
    return changed


def terminal_theme(variables: dict[str, str]) -> TerminalTheme:
    """The theme's own colours for colour names, such as green for success.

    Args:
        variables: The theme's variables.
    """
    names = ("background", "error", "success", "warning", "primary", "accent", "secondary")
    black, red, green, yellow, blue, magenta, cyan = (
        Color.parse(variables[name]).rgb for name in names
    )
    foreground = Color.parse(variables["foreground"]).rgb
    normal = [black, red, green, yellow, blue, magenta, cyan, foreground]
    return TerminalTheme(black, foreground, normal, normal)
