"""Keys, characters and pastes: each takes effect before the next one is looked at."""

from textual import events
from textual.widgets import Input

from p2ptui.tui.pane_app import PaneApp
from p2ptui.tui.pasting import one_line


class Keyboard:
    """Carries out what is typed.

    In Textual, a key goes into the queue of the focused widget, and anything but a character
    travels from there, queue by queue, back to the app, which then looks up its binding. Meanwhile
    the characters after it are typed: a Backspace would come too late, and keys after `:` would
    still go to the pane.

    Args:
        app: The screen.
    """

    def __init__(self, app: PaneApp) -> None:
        self._app = app

    async def take(self, event: events.Event) -> bool:
        """Carry out what an event of the keyboard asks for.

        Returns:
            Whether it was handled; otherwise it means nothing here.
        """
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            return False
        self._app.app_focus = True
        self._app.clear_alarms()
        if isinstance(event, events.Key):
            return await self._press(event)
        self._paste(event.text)
        return True

    @property
    def _line(self) -> Input | None:
        focused = self._app.focused
        return focused if isinstance(focused, Input) else None

    async def _press(self, key: events.Key) -> bool:
        line = self._line
        # A character that is the key of an action can still be typed.
        if line is None or not key.is_printable or "+" in key.key:
            for priority in (True, False):
                if await self._app._check_bindings(key.key, priority=priority):
                    return True
        if line is None or not key.is_printable or key.character is None:
            return False
        if key.character == ":" and line is self._app.bar.input and not line.value:
            return True  # the key that leads here from the panes begins no command
        line.replace(key.character, *line.selection)
        return True

    def _paste(self, text: str) -> None:
        """Text pasted into a pane goes into the command line: a pane would just drop it."""
        line, bar = self._line, self._app.bar
        if line is not None and line is not bar.input:
            line.replace(one_line(text), *line.selection)
            return
        self._app.leave_overlays()
        bar.paste(text)
