"""The live log of messages: it follows the newest, or holds still for a reader."""

import time
from bisect import bisect_left
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message

from p2ptui.tui.filters import ALL, Filter
from p2ptui.tui.records import IN, NOTE, OUT, Record, RecordLog
from p2ptui.tui.rows import RowView

_ARROWS: Final = {IN: ("←", "cyan"), OUT: ("→", "green"), NOTE: ("•", "yellow")}
_LEVEL_STYLES: Final = {"warn": "yellow", "error": "bold red", "debug": "dim", "trace": "dim"}

_TIME_FROM: Final = 60
_PEER_FROM: Final = 40
"""Columns appear from these widths on."""


class MessageLog(RowView):
    """Records, newest at the end.

    Scrolled up, the same record stays on top while others come; End resumes.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "toggle_pause", "Pause", id="log.pause"),
        Binding("slash", "filter", "Filter", id="log.filter"),
        Binding("y", "app.copy", "Copy", id="log.copy"),
    ]

    class FollowChanged(Message):
        """It follows or holds still now, or there are more new records below."""

        def __init__(self, following: bool, unseen: int) -> None:
            super().__init__()
            self.following = following
            self.unseen = unseen

    class FilterWanted(Message):
        """A filter is to be typed."""

    def __init__(self, log: RecordLog, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._log = log
        self._numbers: list[int] = []
        self._filter: Filter = ALL
        self._cursor = -1
        self.following = True
        self.unseen = 0

    @property
    def filter(self) -> Filter:
        """What is shown."""
        return self._filter

    @property
    def row_count(self) -> int:
        """Records that the filter lets through."""
        return len(self._numbers)

    @property
    def cursor_row(self) -> int:
        """Where the selected record stands; the newest while it follows."""
        if self.following:
            return len(self._numbers) - 1
        row = bisect_left(self._numbers, self._cursor)
        return row if row < len(self._numbers) else -1

    def place_cursor(self, row: int) -> None:
        """Select a record; the last one means to follow."""
        self._cursor = self._numbers[row]
        self._set_following(row == len(self._numbers) - 1)

    @property
    def selected(self) -> Record | None:
        """The record under the cursor."""
        row = self.cursor_row
        return self._log.get(self._numbers[row]) if row >= 0 else None

    def shown(self) -> list[Record]:
        """All records that the filter lets through, oldest first."""
        records = (self._log.get(number) for number in self._numbers)
        return [record for record in records if record is not None]

    def record_at(self, row: int) -> Record | None:
        """The record of a row."""
        return self._log.get(self._numbers[row]) if 0 <= row < len(self._numbers) else None

    def take(self, records: list[Record]) -> None:
        """Records were appended to the log: show them."""
        accepts = self._filter.accepts
        fresh = [record.number for record in records if accepts(record)]
        self._numbers += fresh
        if not self.following:
            self.unseen += len(fresh)
        self._forget_dropped()
        if fresh and not self.following:
            self.post_message(self.FollowChanged(self.following, self.unseen))

    def _forget_dropped(self) -> None:
        top = None if self.following else self._top_number()
        first = self._log.trim(top)
        gone = bisect_left(self._numbers, first)
        del self._numbers[:gone]
        self._refresh_keeping(top)

    def _top_number(self) -> int | None:
        row = self.scroll_offset.y
        return self._numbers[row] if row < len(self._numbers) else None

    def _refresh_keeping(self, top: int | None) -> None:
        """Redraw; the record `top` stays on top, or the newest at the bottom."""
        self.resize_rows()
        if top is None:
            row = max(len(self._numbers) - self.scrollable_content_region.height, 0)
        else:
            row = bisect_left(self._numbers, top)
        self.scroll_to(y=row, animate=False, immediate=True, force=True)

    def set_filter(self, chosen: Filter) -> None:
        """Show only what fits; works while it holds still."""
        top = None if self.following else self._top_number()
        self._filter = chosen
        self._numbers = [record.number for record in self._log if chosen.accepts(record)]
        self._refresh_keeping(top)

    def clear(self) -> None:
        """Forget all records."""
        self._log.clear()
        self._numbers.clear()
        self.unseen = 0
        self._set_following(True)
        self.resize_rows()

    def on_resize(self) -> None:
        """Keep the place."""
        self._refresh_keeping(None if self.following else self._top_number())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Whoever scrolls up wants to read; at the end it follows again."""
        super().watch_scroll_y(old_value, new_value)
        if new_value < old_value and round(new_value) < round(self.max_scroll_y):
            self._hold()

    def _hold(self) -> None:
        if self.following and self._numbers:
            self._cursor = self._numbers[-1]
            self._set_following(False)

    def action_toggle_pause(self) -> None:
        """Hold still, or follow again."""
        if self.following:
            self._hold()
        else:
            self.action_last()

    def action_last(self) -> None:
        """Follow the newest."""
        self._set_following(True)
        self._refresh_keeping(None)

    def action_filter(self) -> None:
        """Type a filter."""
        self.post_message(self.FilterWanted())

    def _set_following(self, following: bool) -> None:
        if following:
            self.unseen = 0
        if following != self.following:
            self.following = following
            self.post_message(self.FollowChanged(following, self.unseen))

    def render_row(self, index: int, width: int) -> Text:
        """Time, direction, peer, type, summary."""
        record = self._log.get(self._numbers[index])
        if record is None:
            return Text()
        arrow, colour = _ARROWS[record.direction]
        text = Text()
        if width >= _TIME_FROM:
            text.append(f"{time.strftime('%H:%M:%S', time.localtime(record.time))} ", "dim")
        text.append(f"{arrow} ", colour)
        if width >= _PEER_FROM:
            peer = Text(f"{record.peer or record.address} ")
            peer.truncate(16, overflow="ellipsis", pad=True)
            text.append_text(peer)
            text.append(" ")
        style = _LEVEL_STYLES.get(record.level, "")
        if record.direction != NOTE:
            kind = Text(record.kind, "bold")
            kind.truncate(18, overflow="ellipsis", pad=width >= _TIME_FROM)
            text.append_text(kind)
            text.append(" ")
        text.append(record.summary, style)
        return text
