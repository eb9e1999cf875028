"""The live table of nodes: sorted by any column; the cursor follows the peer, not the row."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from p2ptui.node import Roster
from p2ptui.tui.columns import (
    COLUMNS,
    RTT_SAMPLES,
    Column,
    PeerRow,
    columns_for,
    is_elsewhere,
    render_cells,
    widths_for,
)
from p2ptui.tui.rows import RowView

MAX_TRENDS: Final = 1024
"""Peers whose round trips are remembered; the least recently seen is forgotten first."""

MANY: Final = 1000
"""With more nodes, sorting is done little by little: for this many it takes 2 ms."""

SLICE_S: Final = 0.002
"""Sorting works for this long before it lets packets and keys through."""


class PeerList(RowView):
    """The rows of the table; only those in view are rendered.

    Args:
        ports: The first and last port on which nearby nodes are searched for; None if there is no
            search.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort(1)", "Sort", id="peers.sort"),
        Binding("S", "sort(-1)", "Sort by the column before", show=False, id="peers.sort-back"),
        Binding("r", "reverse", "Reverse the order", show=False, id="peers.reverse"),
        Binding("p", "app.line('ping')", "Ping", id="peers.ping"),
        Binding("m", "app.type_to_peer", "Message", id="peers.message"),
        Binding("f", "app.filter_peer", "Only its messages", show=False, id="peers.filter"),
        Binding("slash", "app.type('peers ')", "Find", id="peers.find"),
        Binding("y", "app.copy", "Copy", id="peers.copy"),
    ]

    class SortChanged(Message):
        """The order has changed."""

    def __init__(self, ports: tuple[int, int] | None) -> None:
        super().__init__()
        self._ports = ports
        self._keys: list[str] = []
        self._index: dict[str, int] = {}
        self._roster: Roster | None = None
        self._selected = ""
        self._ordering = False
        self._trends: OrderedDict[str, deque[float]] = OrderedDict()
        self.sort_column = COLUMNS[1]
        self.descending = False
        self.containing = ""

    @property
    def row_count(self) -> int:
        """How many nodes are shown."""
        return len(self._keys)

    @property
    def cursor_row(self) -> int:
        """The row of the selected node."""
        return self._index.get(self._selected, -1)

    @property
    def selected(self) -> PeerRow | None:
        """The selected node."""
        row = self.cursor_row
        return self.row_at(row) if row >= 0 else None

    @property
    def keys(self) -> Sequence[str]:
        """All keys, in the order shown."""
        return self._keys

    def row_at(self, index: int) -> PeerRow | None:
        """The content of one row; None if the node has just gone."""
        if self._roster is None or not 0 <= index < len(self._keys):
            return None
        key = self._keys[index]
        node = self._roster.look(key)
        return PeerRow(key, node, tuple(self._trends.get(key, ()))) if node is not None else None

    def rtts_ms(self, key: str) -> Sequence[float]:
        """The last round trips of a node, oldest first."""
        return tuple(self._trends.get(key, ()))

    def place_cursor(self, row: int) -> None:
        """Select a node."""
        self._selected = self._keys[row]

    def empty_text(self) -> str:
        """What to do next."""
        if self.containing:
            return "No node fits. Type peers alone to show all again."
        hint = "Nearby nodes are not searched for: enable_discovery is off."
        if self._ports is not None:
            # On two lines, so that they fit a table of any width.
            hint = (
                "Nodes on this machine and its networks are found automatically\n"
                f"if they listen on one of the ports {self._ports[0]}-{self._ports[1]}."
            )
        return (
            "Nobody is here yet.\n\n"
            "connect HOST:PORT   shakes hands with a node, on any port\n"
            f"discover            asks all peers which nodes they know\n\n{hint}"
        )

    def take(self, roster: Roster, *, show_cursor: bool = False) -> None:
        """Show the current nodes; if there are many, their order is updated later.

        Args:
            roster: All known nodes.
            show_cursor: Scroll to the selected node.
        """
        self._roster = roster
        if len(roster) <= MANY:
            self.workers.cancel_group(self, "order")
            self._ordering = False
            keys = roster.order(
                self.sort_column.rank, descending=self.descending, containing=self.containing
            )
            self._arrange(keys)
            if show_cursor:
                self.show_row(max(self.cursor_row, 0))
            return
        self._remember_trends()
        if self.is_on_screen:
            self.refresh()
        if not self._ordering:
            self._ordering = True
            self._order_later(roster, show_cursor=show_cursor)

    @work(exclusive=True, group="order")
    async def _order_later(self, roster: Roster, *, show_cursor: bool) -> None:
        keys: list[str] = []
        began = time.perf_counter()
        parts = roster.order_in_parts(
            self.sort_column.rank, descending=self.descending, containing=self.containing
        )
        for part in parts:
            keys = part
            if time.perf_counter() - began > SLICE_S:
                await asyncio.sleep(0)
                began = time.perf_counter()
        self._ordering = False
        self._arrange(keys)
        if show_cursor:
            self.show_row(max(self.cursor_row, 0))

    def _arrange(self, keys: list[str]) -> None:
        """Show these nodes; the cursor stays with its node."""
        before, top = self.cursor_row, self.scroll_offset.y
        self._keys = keys
        self._index = {key: number for number, key in enumerate(keys)}
        if self._selected not in self._index and keys:
            # The selected node is gone: its neighbour takes its place.
            self._selected = keys[min(max(before, 0), len(keys) - 1)]
        self._remember_trends()
        self.resize_rows()
        seen = top <= before < top + self.scrollable_content_region.height
        if seen and self.cursor_row != before:
            # It keeps its place on the screen while the others move around it.
            self.scroll_to(y=self.cursor_row - before + top, animate=False, immediate=True)

    def _remember_trends(self) -> None:
        assert self._roster is not None
        top = self.scroll_offset.y
        few = len(self._keys) <= MAX_TRENDS
        for key in self._keys if few else self._keys[top : top + self.size.height]:
            rtt_ms = self._roster.rtt_ms(key)
            if rtt_ms is None:
                continue
            trend = self._trends.setdefault(key, deque(maxlen=RTT_SAMPLES))
            self._trends.move_to_end(key)
            if not trend or trend[-1] != rtt_ms:
                trend.append(rtt_ms)
        while len(self._trends) > MAX_TRENDS:
            self._trends.popitem(last=False)

    def find(self, text: str) -> None:
        """Show only nodes with this in name, id or address."""
        if text != self.containing:
            self.containing = text
            self._again()

    def sort_by(self, column: Column) -> None:
        """Sort by a column; the second time in reverse order."""
        again = column is self.sort_column
        self.descending = not self.descending if again else column.descending
        self.sort_column = column
        self._again()

    def _again(self) -> None:
        """Another order is wanted, or other nodes: the sorting in progress is useless."""
        self._ordering = False
        if self._roster is not None:
            self.take(self._roster, show_cursor=True)
        self.post_message(self.SortChanged())

    def action_sort(self, step: int) -> None:
        """Sort by the next column, shown or not."""
        self.sort_by(COLUMNS[(COLUMNS.index(self.sort_column) + step) % len(COLUMNS)])

    def action_reverse(self) -> None:
        """Reverse the order."""
        self.sort_by(self.sort_column)

    def render_row(self, index: int, width: int) -> Text:
        """One node."""
        row = self.row_at(index)
        if row is None:
            return Text()
        columns = columns_for(width)
        line = render_cells(columns, [column.cell(row) for column in columns], width)
        if is_elsewhere(row.node):
            line.stylize("dim")
        return line


class PeerHeader(Widget):
    """The columns' names; a click sorts."""

    DEFAULT_CSS = "PeerHeader { height: 1; text-style: bold; color: $text-muted; }"

    def __init__(self, peers: PeerList) -> None:
        super().__init__()
        self._peers = peers

    def _width(self) -> int:
        return self._peers.scrollable_content_region.width

    def render_line(self, y: int) -> Strip:  # noqa: ARG002
        """The one line."""
        columns = columns_for(self._width())
        names = []
        for column in columns:
            mark = ("▼" if self._peers.descending else "▲") * (column is self._peers.sort_column)
            names.append(Text((column.name if column.name != " " else "") + mark))
        text = render_cells(columns, names, self._width())
        text.truncate(self.size.width)
        segments = [segment for segment in text.render(self.app.console) if segment.text != "\n"]
        return Strip(segments).adjust_cell_length(self.size.width).apply_style(self.rich_style)

    def on_click(self, event: events.Click) -> None:
        """Sort by the column under the mouse."""
        width = self._width()
        columns = columns_for(width)
        ends = column_ends(columns, width)
        for column, end in zip(columns, ends, strict=True):
            if event.x < end:
                self._peers.sort_by(column)
                return


def column_ends(columns: Sequence[Column], width: int) -> list[int]:
    """Where each column ends, in cells from the left."""
    ends: list[int] = []
    for room in widths_for(columns, width):
        ends.append((ends[-1] if ends else 0) + room + 1)
    return ends


class PeerTable(Vertical):
    """Header and rows.

    Args:
        ports: See `PeerList`.
    """

    def __init__(self, ports: tuple[int, int] | None, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.list = PeerList(ports)
        self.header = PeerHeader(self.list)

    def compose(self) -> ComposeResult:
        """Header above rows."""
        yield self.header
        yield self.list

    def on_peer_list_sort_changed(self) -> None:
        """The header shows the order."""
        self.header.refresh()

    def on_resize(self) -> None:
        """Other columns may fit now."""
        self.header.refresh()
