"""A list of rows rendered on demand: what is not on the screen costs nothing."""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip


class RowView(ScrollView, can_focus=True):
    """Rows of one line each, with a cursor.

    A subclass says how many rows there are and how one looks. Rows are `Text`,
    never markup: what a peer wrote is shown, not obeyed.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"row--cursor", "row--dim"}
    DEFAULT_CSS = """
    RowView {
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
    }
    RowView > .row--cursor { background: $surface-lighten-2; }
    RowView:focus > .row--cursor { background: $primary; color: $text; }
    RowView > .row--dim { color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="rows.up"),
        Binding("down,j", "move(1)", "Down", show=False, id="rows.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="rows.page-up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="rows.page-down"),
        Binding("home,g", "first", "First", show=False, id="rows.first"),
        Binding("end,G", "last", "Last", show=False, id="rows.last"),
        Binding("enter", "open", "Open", show=False, id="rows.open"),
    ]

    class Opened(Message):
        """The row under the cursor is to be shown in full."""

        def __init__(self, view: "RowView", index: int) -> None:
            super().__init__()
            self.view = view
            self.index = index

        @property
        def control(self) -> "RowView":
            """The list."""
            return self.view

    class Moved(Message):
        """The cursor is on another row."""

        def __init__(self, view: "RowView", index: int) -> None:
            super().__init__()
            self.view = view
            self.index = index

    # What a subclass says.

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return 0

    @property
    def cursor_row(self) -> int:
        """The row of the cursor; -1 for none."""
        return -1

    def place_cursor(self, row: int) -> None:
        """Put the cursor on a row that exists."""

    def render_row(self, index: int, width: int) -> Text:
        """What one row looks like, at most `width` cells."""
        return Text()

    # What they all do.

    def resize_rows(self) -> None:
        """The number of rows, or what they hold, has changed."""
        self.virtual_size = Size(self.scrollable_content_region.width, self.row_count)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        width = self.scrollable_content_region.width
        index = self.scroll_offset.y + y
        base = self.rich_style
        if not 0 <= index < self.row_count:
            return Strip.blank(width, base)
        if index == self.cursor_row:
            base += self.get_component_rich_style("row--cursor", partial=True)
        text = self.render_row(index, width)
        text.no_wrap = True
        text.truncate(width)
        return Strip(self._segments(text, base)).adjust_cell_length(width, base)

    def _segments(self, text: Text, base: Style) -> list[Segment]:
        segments = text.render(self.app.console)
        return list(Segment.apply_style((s for s in segments if s.text != "\n"), base))

    def move_to(self, row: int) -> None:
        """Put the cursor on a row, the nearest that exists, and show it."""
        if not self.row_count:
            return
        row = min(max(row, 0), self.row_count - 1)
        self.place_cursor(row)
        self.show_row(row)
        self.refresh()
        self.post_message(self.Moved(self, row))

    def show_row(self, row: int) -> None:
        """Scroll just so far that a row is seen."""
        height = self.scrollable_content_region.height
        top = self.scroll_offset.y
        if row < top:
            self.scroll_to(y=row, animate=False, immediate=True)
        elif row >= top + height:
            self.scroll_to(y=row - height + 1, animate=False, immediate=True)

    def action_move(self, rows: int) -> None:
        """Move the cursor by rows."""
        self.move_to(max(self.cursor_row, 0) + rows if self.cursor_row >= 0 else 0)

    def action_page(self, pages: int) -> None:
        """Move the cursor by screens."""
        height = max(self.scrollable_content_region.height - 1, 1)
        self.move_to(max(self.cursor_row, 0) + pages * height)

    def action_first(self) -> None:
        """Go to the first row."""
        self.move_to(0)

    def action_last(self) -> None:
        """Go to the last row."""
        self.move_to(self.row_count - 1)

    def action_open(self) -> None:
        """Show the row under the cursor in full."""
        if 0 <= self.cursor_row < self.row_count:
            self.post_message(self.Opened(self, self.cursor_row))

    def on_click(self, event: events.Click) -> None:
        """Select a row; a second click opens it."""
        row = self.scroll_offset.y + event.y
        if not 0 <= row < self.row_count:
            return
        again = row == self.cursor_row and event.chain > 1
        self.move_to(row)
        if again:
            self.action_open()

    def on_resize(self) -> None:
        """The rows' width is the screen's."""
        self.resize_rows()
