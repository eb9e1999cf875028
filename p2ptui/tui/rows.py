"""A list of rows rendered on demand: rows off the screen cost nothing."""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget


class RowView(ScrollView, can_focus=True):
    """Rows of one line each, with a cursor.

    A subclass provides the number of rows and renders each. Rows are `Text`, never markup: what a
    peer wrote is shown, never interpreted.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"row--cursor"}
    DEFAULT_CSS = """
    RowView {
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
    }
    RowView > .row--cursor { background: $surface-lighten-1; }
    RowView:focus > .row--cursor {
        background: $block-cursor-background;
        color: $block-cursor-foreground;
        text-style: bold;
    }
    RowView:ansi > .row--cursor { text-style: underline; }
    RowView:ansi:focus > .row--cursor { text-style: reverse; }
    RowView:nocolor > .row--cursor { text-style: underline; }
    RowView:nocolor:focus > .row--cursor { text-style: reverse; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up a row", show=False, id="rows.up"),
        Binding("down,j", "move(1)", "Down a row", show=False, id="rows.down"),
        Binding("pageup", "page(-1)", "Up a page", show=False, id="rows.page-up"),
        Binding("pagedown", "page(1)", "Down a page", show=False, id="rows.page-down"),
        Binding("home,g", "first", "First row", show=False, id="rows.first"),
        Binding("end,G", "last", "Last row", show=False, id="rows.last"),
        Binding("enter", "app.open_row", "Open", id="rows.open"),
    ]

    _base = Style.null()

    # For subclasses.

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        raise NotImplementedError

    @property
    def cursor_row(self) -> int:
        """The row of the cursor; -1 for none."""
        raise NotImplementedError

    def place_cursor(self, row: int) -> None:
        """Put the cursor on a row that exists."""
        raise NotImplementedError

    def render_row(self, index: int, width: int) -> Text:
        """What one row looks like, at most `width` cells."""
        raise NotImplementedError

    @property
    def shows_cursor(self) -> bool:
        """Whether the cursor's row is marked."""
        return True

    def empty_text(self) -> str:
        """What to do next, shown while there are no rows; may have several lines."""
        return ""

    # Common behaviour.

    def resize_rows(self) -> None:
        """The number of rows, or their content, has changed."""
        size = Size(self.scrollable_content_region.width, self.row_count)
        if size != self.virtual_size:
            # Set in the usual way, it would lay out the whole screen, which takes 20 ms.
            self.set_reactive(Widget.virtual_size, size)
            self._scroll_update(size)
        if self.is_on_screen:
            self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Several lines; what they have in common is looked up once."""
        self._base = self.rich_style
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        width = self.scrollable_content_region.width
        index = self.scroll_offset.y + y
        base = self._base
        if not self.row_count:
            return self._strip(self._empty_line(y), base, width)
        if index >= self.row_count:
            return Strip.blank(width, base)
        marked = index == self.cursor_row and self.shows_cursor
        if marked:
            base += self.get_component_rich_style("row--cursor", partial=True)
        text = self.render_row(index, width)
        if marked and self.has_focus:
            text.stylize(Style(color=base.color))  # colours of its own would drown in the cursor's
        return self._strip(text, base, width)

    def _empty_line(self, y: int) -> Text:
        lines = self.empty_text().splitlines()
        return Text(f" {lines[y]}" if y < len(lines) else "", "dim")

    def _strip(self, text: Text, base: Style, width: int) -> Strip:
        text.no_wrap = True
        text.truncate(width, overflow="ellipsis")
        segments = [segment for segment in text.render(self.app.console) if segment.text != "\n"]
        styled = list(Segment.apply_style(segments, base))
        return Strip(styled).adjust_cell_length(width, base)

    def move_to(self, row: int) -> None:
        """Move the cursor to a row, or the nearest that exists, and show it."""
        if not self.row_count:
            return
        row = min(max(row, 0), self.row_count - 1)
        self.place_cursor(row)
        self.show_row(row)
        self.refresh()

    def show_row(self, row: int) -> None:
        """Scroll just far enough to show a row."""
        height = self.scrollable_content_region.height
        top = self.scroll_offset.y
        if row < top:
            self.scroll_to(y=row, animate=False, immediate=True)
        elif row >= top + height:
            self.scroll_to(y=row - height + 1, animate=False, immediate=True)

    def action_move(self, rows: int) -> None:
        """Move the cursor by rows."""
        self.move_to(self.cursor_row + rows if self.cursor_row >= 0 else 0)

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

    async def on_click(self, event: events.Click) -> None:
        """Select a row; a second click opens it."""
        at = event.get_content_offset(self)
        row = self.scroll_offset.y + at.y if at is not None else -1
        if not 0 <= row < self.row_count:
            return
        self.move_to(row)
        if event.chain > 1:
            await self.run_action("app.open_row")

    def on_resize(self) -> None:
        """The rows are as wide as the screen."""
        self.resize_rows()
