"""Screens above the main one: a whole message, a peer, the help, a list of routes."""

import re
import time
from collections.abc import Callable
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from p2ptui.tui.message_log import arrow_of
from p2ptui.tui.records import NOTE, Record

PAGE_INTERVAL_S: Final = 1.0

MIN_PAGE_WIDTH: Final = 24

_KEY: Final = re.compile(r'^ *("(?:[^"\\]|\\.)*"):')


class TextScreen(ModalScreen[None]):
    """A text to read, scroll and copy; Escape goes back.

    Args:
        title: The title above it; harmless text.
        text: The text.
        plain: What is copied; by default the text.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Back", id="text.back"),
        Binding("y", "copy", "Copy", id="text.copy"),
        Binding("down,j", "scroll(1)", "Down a line", show=False, id="text.down"),
        Binding("up,k", "scroll(-1)", "Up a line", show=False, id="text.up"),
    ]

    def __init__(self, title: str, text: Text, plain: str | None = None) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._plain = plain if plain is not None else text.plain
        self._static = Static(text, markup=False)
        self._frame = VerticalScroll(self._static, id="text")

    def compose(self) -> ComposeResult:
        """A frame with the text."""
        self._frame.border_title = Text(self._title)
        self._frame.border_subtitle = Text("Escape back  y copy")
        yield self._frame

    def action_scroll(self, lines: int) -> None:
        """Scroll by lines."""
        self._frame.scroll_relative(y=lines, animate=False)

    def action_copy(self) -> None:
        """Copy the text without its frame."""
        self.app.copy_to_clipboard(self._plain)
        self.notify(f"copied {len(self._plain)} characters", markup=False, timeout=2)


class PageScreen(TextScreen):
    """A text that uses the available width.

    Args:
        title: The title above it; harmless text.
        page: Makes the text, for a width in cells.
    """

    def __init__(self, title: str, page: Callable[[int], Text]) -> None:
        super().__init__(title, Text())
        self._page = page

    def on_mount(self) -> None:
        """The width is now known."""
        self.call_after_refresh(self.show)

    def on_resize(self) -> None:
        """The width has changed."""
        self.call_after_refresh(self.show)

    def show(self) -> None:
        """Show the current content."""
        text = self._page(max(self._frame.scrollable_content_region.width, MIN_PAGE_WIDTH))
        if text != self._text:
            same_lines = text.plain.count("\n") == self._text.plain.count("\n")
            self._text, self._plain = text, text.plain
            # A layout takes 20 ms: only if the height may have changed.
            self._static.update(text, layout=not same_lines)


class LiveScreen(PageScreen):
    """A text that is also updated once a second; the reader's place is kept."""

    def on_mount(self) -> None:
        """Start the updates; the first one is requested by the data source."""
        self.set_interval(PAGE_INTERVAL_S, self.show)


def record_screen(record: Record) -> TextScreen:
    """A record in full."""
    text = Text()
    arrow, _ = arrow_of(record)
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.time))
    facts = [
        ("time", f"{at}.{int(record.time % 1 * 10)}"),
        ("peer", " ".join(filter(None, (record.peer, record.node_id)))),
        ("address", record.address),
        ("size", f"{record.size_bytes} bytes" if record.size_bytes else ""),
        ("sealed", _sealed_words(record)),
        ("level", record.level),
    ]
    for name, value in facts:
        if value:
            text.append(f"{name:<9}", "dim")
            text.append(f"{value}\n")
    text.append("\n")
    text.append_text(coloured_json(record.pretty()))
    if record.size_bytes > len(record.data) > 0:
        text.append(f"\n... only the first {len(record.data)} bytes are kept", "yellow")
    what = record.kind if record.direction != NOTE else "note"
    return TextScreen(f"{arrow} {what}", text, record.pretty())


def _sealed_words(record: Record) -> str:
    """Who could read a message on its way; empty for a note."""
    if record.direction == NOTE:
        return ""
    if not record.is_sealed:
        return "no: who is on the way can read and alter it"
    if record.is_routed:
        return "yes, to the next node on the way at least"
    return "yes: who is on the way can neither read nor alter it"


def coloured_json(pretty: str) -> Text:
    """Indented JSON with its keys in another colour; any other text as it is."""
    text = Text()
    for line in pretty.split("\n"):
        key = _KEY.match(line)
        if key is not None:
            text.append(line[: key.end()], "cyan")
            line = line[key.end() :]
        text.append(f"{line}\n")
    text.right_crop(1)
    return text
