"""The live log of messages: it follows the newest, or holds still for a reader."""

import asyncio
import time
from bisect import bisect_left, bisect_right
from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message

from p2ptui.core.messages import ROWS
from p2ptui.core.sealing import SealFrame
from p2ptui.text import printable
from p2ptui.tui.filters import ALL, Filter, FilterError, compile_filter
from p2ptui.tui.records import IN, NOTE, OUT, Record, RecordLog
from p2ptui.tui.rows import RowView
from p2ptui.wire.message import MessageType

ARROWS: Final = {IN: ("←", "cyan"), OUT: ("→", "green"), NOTE: ("•", "yellow")}
SEALED_ARROWS: Final = {IN: "⇐", OUT: "⇒"}
"""For sealed messages: told apart by shape, in the same space."""

_LEVEL_STYLES: Final = {"warn": "yellow", "error": "bold red", "debug": "dim", "trace": "dim"}

_TIME_FROM: Final = 60
_PEER_FROM: Final = 40
_SIZE_FROM: Final = 120
"""Columns appear from these widths on."""

_WIDE_KIND_FROM: Final = 100
_KIND_WIDTH: Final = 18
_NARROW_KIND_WIDTH: Final = 11
"""Most messages are Data, Ping and Ack; the summary needs the room more than other types do."""

SHORT_KINDS: Final = {row.kind: row.short for row in ROWS if row.short}
"""For the narrow column; the others fit as they are."""

_SHORT_FRAMES: Final[dict[str, str]] = {
    SealFrame.UNKNOWN_SESSION: "NoSession",
    SealFrame.PATH_CHALLENGE: "Path?",
    SealFrame.PATH_RESPONSE: "Path=",
    SealFrame.REKEY_REQUEST: "Rekey?",
    SealFrame.REKEY_RESPONSE: "Rekey=",
    SealFrame.REKEY_FINISH: "RekeyProof",
}
_ALWAYS_OPEN: Final = frozenset(
    (
        MessageType.HANDSHAKE_REQUEST,
        MessageType.HANDSHAKE_RESPONSE,
        SealFrame.FINISH,
        SealFrame.UNKNOWN_SESSION,
    )
)
"""They come before a seal, or are part of it: what they protect is inside."""

_SHORT: Final = SHORT_KINDS | _SHORT_FRAMES

SLICE_S: Final = 0.005
"""A filter works on old records for this long before it lets packets and keys through."""


def arrow_of(record: Record) -> tuple[str, str]:
    """Shape and colour for a record's direction, and for whether it was sealed."""
    arrow, colour = ARROWS[record.direction]
    return SEALED_ARROWS.get(record.direction, arrow) if record.is_sealed else arrow, colour


class MessageLog(RowView):
    """Records, newest at the end.

    Scrolled up, the same record stays on top while others come; End resumes.

    Args:
        log: The record log.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "toggle_pause", "Pause", id="log.pause"),
        Binding("slash", "app.type_filter", "Filter", id="log.filter"),
        Binding("y", "app.copy", "Copy", id="log.copy"),
    ]

    class Changed(Message):
        """Whether it follows, how many are new below, or what is shown, has changed."""

    class FilterFailed(Message):
        """The filter was given up."""

        def __init__(self, reason: str) -> None:
            super().__init__()
            self.reason = reason

    def __init__(self, log: RecordLog, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._log = log
        self._numbers: list[int] = []
        self._filter: Filter = ALL
        self._chosen = ""
        self._cursor = -1
        self._placing = False
        self._seen = -1
        self.level = ""
        """Only records of at least this level are shown; empty: all."""
        self.following = True

    @property
    def unseen(self) -> int:
        """The number of visible records that came since it stopped following."""
        if self.following:
            return 0
        return len(self._numbers) - bisect_right(self._numbers, self._seen)

    @property
    def condition(self) -> str:
        """The filter in words; empty if everything is shown."""
        level = f"level {self.level} and above" if self.level else ""
        chosen = f"filter {printable(self._chosen, 60)}" if self._chosen else ""
        return "  ".join(filter(None, (level, chosen)))

    @property
    def filter(self) -> Filter:
        """The current filter."""
        return self._filter

    @property
    def row_count(self) -> int:
        """Records that the filter lets through."""
        return len(self._numbers)

    @property
    def cursor_row(self) -> int:
        """The row of the selected record; the newest while following."""
        last = len(self._numbers) - 1
        return last if self.following else min(bisect_left(self._numbers, self._cursor), last)

    def place_cursor(self, row: int) -> None:
        """Select a record; selecting the last one resumes following."""
        self._cursor = self._numbers[row]
        self._set_following(row == len(self._numbers) - 1)

    @property
    def selected(self) -> Record | None:
        """The record under the cursor."""
        row = self.cursor_row
        return self._log.get(self._numbers[row]) if row >= 0 else None

    @property
    def top_record(self) -> Record | None:
        """The record on the first line."""
        return self.record_at(self.scroll_offset.y)

    def shown(self) -> list[Record]:
        """All records that the filter lets through, oldest first."""
        records = (self._log.get(number) for number in self._numbers)
        return [record for record in records if record is not None]

    def record_at(self, row: int) -> Record | None:
        """The record of a row."""
        return self._log.get(self._numbers[row]) if 0 <= row < len(self._numbers) else None

    @property
    def shows_cursor(self) -> bool:
        """A mark that keeps moving with the newest record would only distract."""
        return self.has_focus or not self.following

    def empty_text(self) -> str:
        """Why there is nothing to see."""
        return (
            f"No message fits {self.condition}.\nType filter alone to show all again."
            if self.condition
            else "Nothing has been sent or received yet."
        )

    # New records.

    def take(self, records: list[Record]) -> None:
        """Records were appended to the log: show them, and drop the oldest."""
        try:
            fresh = [record.number for record in records if self._filter.accepts(record)]
        except FilterError as error:
            self._give_up(error)
            return
        top = self._top_number()
        self._numbers += fresh
        first = self._log.trim(top)
        gone = bisect_left(self._numbers, first)
        del self._numbers[:gone]
        if fresh and not self.following:
            self.post_message(self.Changed())
        if fresh or gone:
            self._refresh_keeping(top)

    def _top_number(self) -> int | None:
        """The number of the record on the reader's first line; None while following."""
        row = self.scroll_offset.y
        return None if self.following or row >= len(self._numbers) else self._numbers[row]

    def _refresh_keeping(self, top: int | None) -> None:
        """Redraw; the record `top` stays on top, or the newest at the bottom."""
        self._placing = True
        self.resize_rows()
        if top is None:
            row = max(len(self._numbers) - self.scrollable_content_region.height, 0)
        else:
            row = bisect_left(self._numbers, top)
        self.scroll_to(y=row, animate=False, immediate=True, force=True)
        self._placing = False

    # Filters.

    def set_filter(self, chosen: Filter, level: str = "") -> None:
        """Show only matching records; also works while not following.

        Many records are processed in slices; until that is done, the old view stays.

        Args:
            chosen: The filter that a record must match.
            level: The least level; empty: any.
        """
        if (chosen.expression, level) == (self._chosen, self.level):
            self.workers.cancel_group(self, "filter")
        else:
            self._refilter(chosen, level)

    @work(exclusive=True, group="filter")
    async def _refilter(self, filter_: Filter, level: str) -> None:
        chosen = (compile_filter(f"level:{level}") if level else ALL) & filter_
        fitting: list[int] = []
        number = self._log.first_number
        began = time.perf_counter()
        try:
            while number < self._log.next_number:
                record = self._log.get(number)
                if record is not None and chosen.accepts(record):
                    fitting.append(number)
                number += 1
                if time.perf_counter() - began > SLICE_S:
                    await asyncio.sleep(0)
                    began = time.perf_counter()
        except FilterError as error:
            self._give_up(error)
            return
        self._chosen, self.level = filter_.expression, level
        self._show(chosen, fitting)

    def _show(self, chosen: Filter, fitting: list[int]) -> None:
        top = self._top_number()
        self._filter = chosen
        self._numbers = fitting[bisect_left(fitting, self._log.first_number) :]
        self._refresh_keeping(top)
        if not (self._filter.expression or self.following) and self.unseen and self.is_at_end:
            # The end is in view, so nobody needs to go there.
            self._set_following(True)
        self.post_message(self.Changed())

    def _give_up(self, error: FilterError) -> None:
        self._chosen = self.level = ""
        self.post_message(self.FilterFailed(str(error)))
        self._show(ALL, [record.number for record in self._log])

    # Following and holding still.

    def on_resize(self) -> None:
        """Keep the place."""
        self._refresh_keeping(self._top_number())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolling up holds still for reading; at the end it follows again."""
        super().watch_scroll_y(old_value, new_value)
        if self._placing:
            return
        at_end = round(new_value) >= round(self.max_scroll_y)
        if new_value < old_value and not at_end:
            self._hold()
        elif new_value > old_value and at_end:
            self._set_following(True)

    @property
    def is_at_end(self) -> bool:
        """Whether the newest row is in view, and there are more rows than fit a view."""
        return round(self.scroll_offset.y) >= round(self.max_scroll_y) > 0

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

    def _set_following(self, following: bool) -> None:
        if following != self.following:
            self.following = following
            self._seen = self._log.next_number - 1
            self.post_message(self.Changed())

    # Looks.

    def render_row(self, index: int, width: int) -> Text:
        """Time, direction, peer, type, summary."""
        record = self._log.get(self._numbers[index])
        if record is None:
            return Text()
        arrow, colour = arrow_of(record)
        text = Text()
        if width >= _TIME_FROM:
            clock = time.strftime("%H:%M:%S", time.localtime(record.time))
            # Records come in ten times a second: more digits would feign precision.
            text.append(f"{clock}.{int(record.time % 1 * 10)} ", "dim")
        text.append(f"{arrow} ", colour)
        told = record.peer or record.address
        if width >= _PEER_FROM and (told or record.direction != NOTE):
            peer = Text(told)
            peer.truncate(16, overflow="ellipsis", pad=True)
            text.append_text(peer)
            text.append(" ")
        style = _LEVEL_STYLES.get(record.level, "")
        if record.direction != NOTE:
            is_wide = width >= _WIDE_KIND_FROM
            name = record.kind if is_wide else _SHORT.get(record.kind, record.kind)
            kind = Text(name, style or "bold")
            room = _KIND_WIDTH if is_wide else _NARROW_KIND_WIDTH
            kind.truncate(room, overflow="ellipsis", pad=width >= _TIME_FROM)
            text.append_text(kind)
            text.append(" ")
            if width >= _SIZE_FROM:
                text.append(f"{record.size_bytes:>7} B  ", "dim")
                # What anyone on the way can read stands out, unless it has to be in the open.
                is_quiet = record.is_sealed or record.kind in _ALWAYS_OPEN
                word = "sealed" if record.is_sealed else "open"
                text.append(f"{word:<8}", "dim" if is_quiet else "yellow")
        text.append(record.summary, style)
        return text
