"""The live table of peers: sorted by any column; the cursor follows the peer, not the row."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from p2ptui.core.events import PeerStatus
from p2ptui.node import PeerView
from p2ptui.text import printable
from p2ptui.tui.rows import RowView
from p2ptui.tui.series import rate_text, sparkline
from p2ptui.wire.address import format_address

GLYPHS: Final = {
    PeerStatus.CONNECTING: ("◌", "yellow"),
    PeerStatus.HANDSHAKING: ("◔", "yellow"),
    PeerStatus.AUTHENTICATED: ("●", "green"),
    PeerStatus.DISCONNECTED: ("○", "red"),
    PeerStatus.FAILED: ("✗", "red"),
}
"""State by shape as well as by colour."""

RTT_SAMPLES: Final = 12

_ORDER: Final = list(GLYPHS)


@dataclass(frozen=True, slots=True)
class PeerRow:
    """A peer and what the table remembers of it."""

    view: PeerView
    path: str
    rtts_ms: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        """What it is known by."""
        return self.view.node_id or format_address(self.view.address)

    @property
    def loss(self) -> float:
        """The share of its messages that were sent again."""
        total = self.view.messages_out + self.view.retransmissions
        return self.view.retransmissions / total if total else 0.0


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    width: int
    from_width: int
    """The table's width from which on it is shown."""
    cell: Callable[[PeerRow], Text]
    sort_key: Callable[[PeerRow], Any]
    right: bool = False


def _state(row: PeerRow) -> Text:
    glyph, colour = GLYPHS[row.view.status]
    return Text(glyph, colour)


def _rtt(row: PeerRow) -> Text:
    rtt_ms = row.view.rtt_ms
    if rtt_ms is None:
        return Text("-", "dim")
    return Text(f"{rtt_ms:.2f}" if rtt_ms < 10 else f"{rtt_ms:.0f}")


def _loss(row: PeerRow) -> Text:
    loss = row.loss
    style = "red" if loss > 0.1 else "yellow" if loss > 0.01 else "dim"
    return Text(f"{loss:.0%}", style)


def _seen(row: PeerRow) -> Text:
    seconds = row.view.last_received_ago_s
    if seconds < 1:
        return Text("now")
    for size, unit in ((3600, "h"), (60, "m"), (1, "s")):
        if seconds >= size:
            return Text(f"{seconds / size:.0f}{unit}")
    return Text("now")


def _trust(row: PeerRow) -> Text:
    return Text("proved", "green") if row.view.proved else Text("claimed", "yellow")


COLUMNS: Final[tuple[Column, ...]] = (
    Column(" ", 1, 0, _state, lambda row: _ORDER.index(row.view.status)),
    Column(
        "Name", 16, 0, lambda row: Text(printable(row.view.name, 64)), lambda row: row.view.name
    ),
    Column("Id", 8, 64, lambda row: Text(row.view.node_id[:8], "dim"), lambda row: row.key),
    Column(
        "Address",
        21,
        46,
        lambda row: Text(format_address(row.view.address)),
        lambda row: row.view.address,
    ),
    Column("Path", 10, 90, lambda row: Text(row.path), lambda row: row.path),
    Column("RTT ms", 7, 30, _rtt, lambda row: row.view.rtt_ms or float("inf"), right=True),
    Column(
        "Trend",
        RTT_SAMPLES,
        100,
        lambda row: Text(sparkline(row.rtts_ms, RTT_SAMPLES), "cyan"),
        lambda row: row.view.rtt_ms or float("inf"),
    ),
    Column("Loss", 4, 74, _loss, lambda row: row.loss, right=True),
    Column(
        "In",
        5,
        40,
        lambda row: Text(rate_text(row.view.messages_in)),
        lambda row: -row.view.messages_in,
        right=True,
    ),
    Column(
        "Out",
        5,
        40,
        lambda row: Text(rate_text(row.view.messages_out)),
        lambda row: -row.view.messages_out,
        right=True,
    ),
    Column("Seen", 5, 82, _seen, lambda row: row.view.last_received_ago_s, right=True),
    Column("Trust", 7, 110, _trust, lambda row: row.view.proved),
)


def columns_for(width: int) -> list[Column]:
    """The columns that a table of this width shows."""
    return [column for column in COLUMNS if width >= column.from_width]


def render_cells(columns: Sequence[Column], cells: Sequence[Text]) -> Text:
    """Put cells side by side in the columns' widths."""
    line = Text()
    for column, cell in zip(columns, cells, strict=True):
        cell.truncate(column.width, overflow="ellipsis")
        gap = " " * (column.width - cell.cell_len)
        line.append(gap if column.right else "")
        line.append_text(cell)
        line.append(("" if column.right else gap) + " ")
    return line


class PeerList(RowView):
    """The rows of the table."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort(1)", "Sort", id="peers.sort"),
        Binding("S", "sort(-1)", "Sort back", show=False, id="peers.sort-back"),
        Binding("r", "reverse", "Reverse", show=False, id="peers.reverse"),
        Binding("y", "app.copy", "Copy", id="peers.copy"),
    ]

    class SortChanged(Message):
        """Another order."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[PeerRow] = []
        self._index: dict[str, int] = {}
        self._selected = ""
        self._rtts: dict[str, deque[float]] = {}
        self.sort_column = COLUMNS[1]
        self.descending = False

    @property
    def row_count(self) -> int:
        """Peers."""
        return len(self._rows)

    @property
    def cursor_row(self) -> int:
        """Where the selected peer stands now."""
        return self._index.get(self._selected, -1)

    @property
    def selected(self) -> PeerRow | None:
        """The selected peer."""
        row = self.cursor_row
        return self._rows[row] if row >= 0 else None

    @property
    def rows(self) -> Sequence[PeerRow]:
        """All, in the order shown."""
        return self._rows

    def place_cursor(self, row: int) -> None:
        """Select a peer."""
        self._selected = self._rows[row].key

    def take(self, views: Sequence[PeerView], paths: Callable[[PeerView], str]) -> None:
        """Show these peers."""
        rtts: dict[str, deque[float]] = {}
        rows: list[PeerRow] = []
        for view in views:
            key = view.node_id or format_address(view.address)
            samples = self._rtts.get(key)
            if samples is None:
                samples = deque(maxlen=RTT_SAMPLES)
            if view.rtt_ms is not None and (not samples or samples[-1] != view.rtt_ms):
                samples.append(view.rtt_ms)
            rtts[key] = samples
            rows.append(PeerRow(view, paths(view), tuple(samples)))
        self._rtts = rtts
        self._rows = rows
        self._arrange()

    def _arrange(self) -> None:
        before = self.cursor_row
        key = self.sort_column.sort_key
        self._rows.sort(key=lambda row: (key(row), row.key), reverse=self.descending)
        self._index = {row.key: number for number, row in enumerate(self._rows)}
        if self._selected not in self._index and self._rows:
            # The selected peer is gone: its neighbour takes its place.
            self._selected = self._rows[min(max(before, 0), len(self._rows) - 1)].key
        self.resize_rows()

    def sort_by(self, column: Column) -> None:
        """Sort by a column; again: the other way round."""
        self.descending = not self.descending if column is self.sort_column else False
        self.sort_column = column
        self._arrange()
        self.show_row(max(self.cursor_row, 0))
        self.post_message(self.SortChanged())

    def action_sort(self, step: int) -> None:
        """Sort by the next column."""
        shown = columns_for(self.scrollable_content_region.width)
        place = shown.index(self.sort_column) if self.sort_column in shown else 0
        self.sort_by(shown[(place + step) % len(shown)])

    def action_reverse(self) -> None:
        """Turn the order round."""
        self.sort_by(self.sort_column)

    def render_row(self, index: int, width: int) -> Text:
        """One peer."""
        columns = columns_for(width)
        row = self._rows[index]
        return render_cells(columns, [column.cell(row) for column in columns])


class PeerHeader(Widget):
    """The columns' names; a click sorts."""

    DEFAULT_CSS = "PeerHeader { height: 1; text-style: bold; color: $text-muted; }"

    def __init__(self, peers: PeerList) -> None:
        super().__init__()
        self._peers = peers

    def render_line(self, y: int) -> Strip:  # noqa: ARG002
        """The one line."""
        width = self.size.width
        columns = columns_for(width - 1)
        names = []
        for column in columns:
            mark = ("▼" if self._peers.descending else "▲") * (column is self._peers.sort_column)
            names.append(Text(column.name.strip() + mark))
        text = render_cells(columns, names)
        text.truncate(width)
        segments = [s for s in text.render(self.app.console) if s.text != "\n"]
        return Strip(segments).adjust_cell_length(width).apply_style(self.rich_style)

    def on_click(self, event: events.Click) -> None:
        """Sort by the column under the mouse."""
        left = 0
        for column in columns_for(self.size.width - 1):
            left += column.width + 1
            if event.x < left:
                self._peers.sort_by(column)
                return


class PeerTable(Vertical):
    """Header and rows."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.list = PeerList()
        self.header = PeerHeader(self.list)

    def compose(self) -> ComposeResult:
        """Header above rows."""
        yield self.header
        yield self.list

    def on_peer_list_sort_changed(self) -> None:
        """The header shows the order."""
        self.header.refresh()
