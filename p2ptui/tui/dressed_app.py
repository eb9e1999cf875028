"""An app in a theme, which the user chooses and the screen remembers; everything stays readable."""

import os
from collections.abc import Sequence

from textual.app import App
from textual.filter import ANSIToTruecolor, LineFilter
from textual.theme import Theme

from p2ptui.text import shown
from p2ptui.tui.contrast import ReadableColours, terminal_theme, with_readable_scrollbars
from p2ptui.tui.settings import Settings


class DressedApp(App[int]):
    """An app that applies the theme.

    Args:
        theme: The theme in the configuration; empty if it names none.
        settings: What the user chose on the screen before.
    """

    def __init__(self, theme: str, settings: Settings | None) -> None:
        # Without colours nothing may be drawn in greys either: only bold, reverse and underline.
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        self._wanted_theme = theme
        self._settings = settings or Settings()
        self._readable: LineFilter = ReadableColours(ANSIToTruecolor(self.ansi_theme))

    def dress(self) -> str:
        """Choose the theme, at the start.

        Returns:
            What is wrong with the requested theme; empty if nothing is.
        """
        wanted = self._wanted_theme or self._settings.text("theme")
        wrong = ""
        if wanted in self.available_themes:
            self.theme = wanted
        elif wanted:
            wrong = f"there is no theme {shown(wanted, 64)}; the theme command lists them"
        elif self.console.color_system == "standard" and not (self.is_headless or self.no_color):
            self.theme = "ansi-dark"  # sixteen colours: the terminal's own are the only safe ones
        self._take_colours()
        self.theme_changed_signal.subscribe(self, self._remember_theme)
        return wrong

    def _remember_theme(self, theme: Theme) -> None:
        self._settings.remember("theme", theme.name)

    def refresh_css(self, animate: bool = True) -> None:
        """Apply the current theme to everything.

        Args:
            animate: Whether changes are animated.
        """
        self.get_css_variables()  # which keeps those of the theme, for what follows
        self._take_colours()
        super().refresh_css(animate)

    def _take_colours(self) -> None:
        if not self.native_ansi_color:
            colours = terminal_theme(self.theme_variables)
            # Set in the usual way, each makes Textual parse all styles anew: 50 ms, with no
            # difference.
            self.set_reactive(DressedApp.ansi_theme_dark, colours)
            self.set_reactive(DressedApp.ansi_theme_light, colours)
            self._readable = ReadableColours(ANSIToTruecolor(colours))

    def get_line_filters(self) -> Sequence[LineFilter]:
        """The filters for each line that is drawn: they keep it readable in every theme."""
        filters = super().get_line_filters()
        return [self._readable if isinstance(f, ANSIToTruecolor) else f for f in filters]

    def get_css_variables(self) -> dict[str, str]:
        """The theme's variables, with visible scroll bars."""
        return with_readable_scrollbars(super().get_css_variables())
