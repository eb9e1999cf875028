"""The keys' actions for the current focus, in one line: only whole entries, as many as fit."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

MORE = ("app.palette", "app.quit", "app.help")
"""These keep their place longest: they lead to all the others. The first one most of all."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key."""

    key: str
    """As it is displayed."""
    description: str
    action: str
    name: str
    """The id of the action."""

    @property
    def width(self) -> int:
        """Cells that it takes."""
        return cell_len(self.key) + cell_len(self.description) + 3


def fitting_entries(entries: Sequence[Entry], width: int) -> list[Entry]:
    """The entries that are shown.

    Args:
        entries: All entries, in order.
        width: Cells of the line.

    Returns:
        As many whole entries as there is room for, in order: `MORE` has precedence, then the others
        from left to right.
    """
    ranks = {name: rank for rank, name in enumerate(MORE)}
    places = sorted(
        range(len(entries)), key=lambda place: (ranks.get(entries[place].name, len(MORE)), place)
    )
    chosen: list[int] = []
    for place in places:
        if entries[place].width > width:
            break
        width -= entries[place].width
        chosen.append(place)
    return [entries[place] for place in sorted(chosen)]


class Footer(Widget):
    """The line.

    One widget: Textual's footer makes a new one for each key whenever the focus moves, and keeps
    all of them forever in its list of watchers.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES = {"footer--key", "footer--description"}  # noqa: RUF012
    DEFAULT_CSS = """
    Footer {
        dock: bottom;
        height: 1;
        background: $footer-background;
        color: $footer-foreground;
    }
    Footer > .footer--key { color: $footer-key-foreground; text-style: bold; }
    Footer > .footer--description { color: $footer-description-foreground; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._entries: tuple[Entry, ...] = ()

    def on_mount(self) -> None:
        """Follow the focus."""
        self.screen.bindings_updated_signal.subscribe(self, self._take)
        self.app.screen_change_signal.subscribe(self, self._take)

    def on_unmount(self) -> None:
        """Stop following it."""
        self.screen.bindings_updated_signal.unsubscribe(self)
        self.app.screen_change_signal.unsubscribe(self)

    def _take(self, _changed: Screen[object]) -> None:
        if not self.is_attached:
            return
        # While a page is above the panes, the keys are that page's.
        screen = self.app.screen
        active = {entry.binding.action: entry.binding for entry in screen.active_bindings.values()}
        # The palette is at the end, where users look for it.
        shown = [binding for binding in active.values() if binding.show]
        shown += [binding for binding in active.values() if binding.id == MORE[0]]
        entries = tuple(
            Entry(
                self.app.get_key_display(binding),
                binding.description,
                binding.action,
                binding.id or "",
            )
            for binding in shown
        )
        if entries != self._entries:
            self._entries = entries
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """The one line."""
        width = self.size.width
        if y:
            return Strip.blank(width, self.rich_style)
        key_style = self.get_component_rich_style("footer--key", partial=True)
        words_style = self.get_component_rich_style("footer--description", partial=True)
        segments = []
        for entry in fitting_entries(self._entries, width):
            segments += [
                Segment(f" {entry.key} ", key_style),
                Segment(f"{entry.description} ", words_style),
            ]
        strip = Strip(segments).apply_style(self.rich_style)
        return strip.adjust_cell_length(width, self.rich_style)

    async def on_click(self, event: events.Click) -> None:
        """A click on a key presses it."""
        end = 0
        for entry in fitting_entries(self._entries, self.size.width):
            end += entry.width
            if event.x < end:
                await self.app.run_action(entry.action, self.screen.focused or self.screen)
                return
