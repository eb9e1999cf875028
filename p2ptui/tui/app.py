"""The app: carries out what the user asks of the panes and of the node, in one event loop.

Messages go up, calls go down: widgets post what the user wants, the app tells the node.
"""

import time
from collections.abc import Callable
from typing import Any

from rich.text import Text
from textual import events, work
from textual.app import ComposeResult
from textual.containers import Container
from textual.driver import Driver
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, Tabs

from p2ptui.config import UiOptions
from p2ptui.node import Node
from p2ptui.text import printable
from p2ptui.tui.command_app import CommandApp
from p2ptui.tui.detail import record_screen
from p2ptui.tui.feed import PANES
from p2ptui.tui.footer import Footer
from p2ptui.tui.history import History
from p2ptui.tui.keyboard import Keyboard
from p2ptui.tui.keymap import APP_BINDINGS
from p2ptui.tui.message_log import MessageLog
from p2ptui.tui.nat_pane import NatPane
from p2ptui.tui.palette import GrammarProvider, Palette
from p2ptui.tui.settings import Settings
from p2ptui.tui.terminal import drawable, guarded_driver


class P2PApp(CommandApp):
    """The screen of a started node.

    Args:
        node: A running node; the caller closes it.
        history: The commands typed before.
        wall: Unix time, seconds.
        options: The section [ui] of the configuration.
        settings: What the user chose on the screen before.
        diagnose: Whether to diagnose the NAT at once.

    Raises:
        ConfigError: `options` name an unknown action or key.
    """

    TITLE = "p2ptui"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS = {GrammarProvider}  # noqa: RUF012 - Textual declares it so
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-narrow"),
        (100, "-normal"),
        (160, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (16, "-low"), (22, "-tall")]  # noqa: RUF012
    BINDINGS = APP_BINDINGS

    def __init__(
        self,
        node: Node,
        history: History | None = None,
        wall: Callable[[], float] = time.time,
        options: UiOptions | None = None,
        settings: Settings | None = None,
        *,
        diagnose: bool = False,
    ) -> None:
        super().__init__(node, history, wall, options, settings)
        self.zoomed = False
        """Whether the last active pane is shown alone."""
        self._keyboard = Keyboard(self)
        self.footer = Footer()
        self._diagnose = diagnose

    def compose(self) -> ComposeResult:
        """Panes above the command bar."""
        yield self.title_line
        yield self.tabs
        with Container(id="panes"):
            for pane in self.panes:
                pane.border_title = PANES[pane.id or ""]
                pane.add_class("pane")
                yield pane
        yield self.bar
        yield self.footer

    def get_default_screen(self) -> Screen[Any]:
        """The panes' own screen."""
        return self._sized(super().get_default_screen())

    def push_screen(self, screen: Any, *args: Any, **options: Any) -> Any:
        """Show a page above everything else."""
        shown = self._sized(screen) if isinstance(screen, Screen) else screen
        return super().push_screen(shown, *args, **options)

    def _sized(self, screen: Screen[Any]) -> Screen[Any]:
        # Textual tells a screen its width only after layout, and then lays it out again for that.
        breakpoints = (self.HORIZONTAL_BREAKPOINTS, self.VERTICAL_BREAKPOINTS)
        for size, known in zip(self.size, breakpoints, strict=True):
            screen.add_class(*[name for least, name in known if size >= least][-1:])
        return screen

    def on_mount(self) -> None:
        """Start following the node."""
        wrong = self.dress()
        if wrong:
            self.note(wrong)
        self.set_keymap(self.keys)
        self._choose("peers")
        self.begin()
        self.bar.go()
        self._watch_node()
        if self._diagnose:
            self.nat_run.begin_quietly()

    @work(exclusive=True, group="node")
    async def _watch_node(self) -> None:
        try:
            await self.node.wait_failed()
        except Exception as error:
            self.exit(1, 1, _one_line("the node failed", error))

    def _handle_exception(self, error: Exception) -> None:
        # One line on the restored terminal; `textual console` shows the traceback.
        self.log.error(error)
        if self._exception is None:
            # A pilot raises it where the test waits.
            self._exception = error
            self._exception_event.set()
        self.exit(1, 1, _one_line("the screen failed", error))

    def panic(self, *renderables: Any) -> None:
        """End as after any other failure: a thread of the terminal has failed."""
        words = "; ".join(map(_in_words, renderables))
        self.exit(1, 1, Text(printable(f"p2ptui: the screen failed: {words}", 1000)))

    # Requests of the panes.

    def on_nat_pane_asked(self, event: NatPane.Asked) -> None:
        """Begin a diagnosis."""
        self.run_line(event.line)

    def action_open_row(self) -> None:
        """Show the row under the cursor in full."""
        if self.focused is not self.messages:
            self.screen_verbs.show_node()
        elif (record := self.messages.selected) is not None:
            self.push_screen(record_screen(record))

    def on_message_log_changed(self) -> None:
        """Update the pane's title, which says whether it follows."""
        if not self.tabs.display:  # a tab needs a layout, so it is updated more rarely
            self.show_titles()

    def on_message_log_filter_failed(self, event: MessageLog.FilterFailed) -> None:
        """The filter was given up."""
        self.screen_verbs.forget_filter()
        self.bar.answer(event.reason, failed=True)

    def on_peer_list_sort_changed(self) -> None:
        """Update the pane's title, which says the order."""
        self.show_titles()

    def on_tabs_tab_activated(self, event: Tabs.TabActivated) -> None:
        """In a narrow terminal one pane is shown at a time."""
        # A late event would undo a newer choice, whose event would undo this one, and so on
        # forever.
        if event.tab.id is not None and event.tab.id == self.tabs.active:
            self._choose(event.tab.id.removeprefix("tab-"))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The focused pane is the one that stays when the terminal gets narrow."""
        for widget in event.widget.ancestors_with_self:
            if widget.id in PANES:
                self._choose(widget.id)

    def _choose(self, name: str) -> None:
        self.chosen = name
        for pane in self.panes:
            pane.set_class(pane.id == name, "-chosen")
        if self.tabs.is_attached:
            self.tabs.active = f"tab-{name}"

    # Keys and their actions.

    async def on_event(self, event: events.Event) -> None:
        """What the user does takes effect before the next event is handled."""
        if isinstance(event, events.Resize):
            # However the size was learnt: at the start, from a signal, or from the terminal itself.
            event = drawable(event)
        if not await self._keyboard.take(event):
            await super().on_event(event)

    def get_driver_class(self) -> type[Driver]:
        """The driver that tells pastes from keys."""
        return guarded_driver(super().get_driver_class())

    async def action_command_palette(self) -> None:  # type: ignore[override]
        """Open the palette; what is typed from now on goes into it."""
        if not isinstance(self.screen, Palette):
            palette = Palette()
            await self.push_screen(palette)
            palette.set_focus(palette.query_one(Input))

    def action_zoom(self) -> None:
        """Show the last active pane alone, or all panes again."""
        self.zoomed = not self.zoomed
        self.screen_stack[0].set_class(self.zoomed, "-zoomed")
        self.action_pane(self.chosen)

    def action_pane(self, name: str) -> None:
        """Go to a pane."""
        self._show(name)
        focused: dict[str, Widget] = {"peers": self.peers.list, "messages": self.messages}
        self.screen.set_focus((focused | self.fact_panes)[name])

    def show_pane(self, name: str) -> None:
        """Show a pane; if the user is typing, the focus stays in the command line."""
        if self.focused is self.bar.input:
            self._show(name)
        else:
            self.action_pane(name)

    def _show(self, name: str) -> None:
        self.leave_overlays()
        self._choose(name)
        # What was hidden until now is out of date.
        self.call_after_refresh(self.take_peers)

    def action_escape(self) -> None:
        """Cancel what takes long; otherwise leave the bar, show all panes, or go back to the
        bar."""
        if self.cancel_lines() or (self.focused is self.nat and self.nat_run.cancel()):
            self.bar.answer("cancelled", failed=True)
        elif self.focused is self.bar.input:
            self.action_pane(self.chosen)
        elif self.zoomed:
            self.action_zoom()
        else:
            self.bar.go()

    def action_cancel_nat(self) -> None:
        """End the running diagnosis."""
        if self.nat_run.cancel():
            self.bar.answer("cancelled", failed=True)

    @work(group="palette")
    async def act(self, name: str, action: str) -> None:
        """Carry out an action of the key map where it belongs.

        Args:
            name: The action's id.
            action: The action.
        """
        rows = self.messages if self.chosen == "messages" else self.peers.list
        places: dict[str, Widget] = {
            "rows": rows,
            "peers": self.peers.list,
            "log": self.messages,
            "facts": self.statistics if self.chosen == "statistics" else self.nat,
            "nat": self.nat,
            "bar": self.bar.input,
            "text": self.screen,
        }
        target = places.get(name.partition(".")[0])
        if target is not None:
            self.screen.set_focus(target)
        await self.run_action(action, target or self)


def _in_words(shown: Any) -> str:
    """What Textual would show about a failure, usually rich's form of a traceback."""
    trace = getattr(shown, "trace", None)
    if trace is None or not trace.stacks:
        return str(shown)
    return f"{trace.stacks[0].exc_type}: {trace.stacks[0].exc_value}"


def _one_line(what: str, error: Exception) -> Text:
    # The text of an exception may contain what a peer wrote.
    return Text(printable(f"p2ptui: {what}: {type(error).__name__}: {error}", 1000))
