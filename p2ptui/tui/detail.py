"""Screens above the main one: a whole message, the help, a list of routes."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class TextScreen(ModalScreen[None]):
    """A text to read, scroll and copy; Escape goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Back", id="text.back"),
        Binding("y", "copy", "Copy", id="text.copy"),
    ]

    def __init__(self, title: str, text: Text, plain: str | None = None) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._plain = plain if plain is not None else text.plain

    def compose(self) -> ComposeResult:
        """A frame with the text."""
        with VerticalScroll(id="text") as frame:
            frame.border_title = Text(self._title)
            frame.border_subtitle = Text("Escape back, y copy")
            yield Static(self._text, markup=False)

    def action_copy(self) -> None:
        """Copy the text without its frame."""
        self.app.copy_to_clipboard(self._plain)
        self.notify("copied", markup=False)
