"""The app: panes, command bar and node in one event loop.

Messages go up, calls go down: widgets post what the user wants, the app tells
the node and hands results to the widgets at its own pace, never in the way of
a packet.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar, Final

import platformdirs
from rich.text import Text
from textual import work
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import Footer, Static, Tab, Tabs
from textual.worker import get_current_worker

from p2ptui.errors import P2PError
from p2ptui.node import Node, PeerView
from p2ptui.text import printable
from p2ptui.tui.command_bar import CommandBar
from p2ptui.tui.detail import TextScreen
from p2ptui.tui.executor import Executor
from p2ptui.tui.filters import FilterError, compile_filter
from p2ptui.tui.help import help_text
from p2ptui.tui.history import History
from p2ptui.tui.journal import Journal
from p2ptui.tui.message_log import MessageLog
from p2ptui.tui.panes import NatPane, StatisticsPane, nat_facts
from p2ptui.tui.peer_table import PeerTable
from p2ptui.tui.records import Record, RecordLog
from p2ptui.tui.rows import RowView
from p2ptui.verbs import VERBS, Command, UsageError, parse_command
from p2ptui.wire.address import Address, format_address

LOG_INTERVAL_S: Final = 0.1
"""The log is repainted ten times a second at most."""

PEERS_INTERVAL_S: Final = 0.25
"""And the table four times."""

STATS_INTERVAL_S: Final = 1.0

EVENTS_AT_ONCE: Final = 1000
"""Taken from the node at one repaint; the rest waits, or is told as dropped."""

MAX_UNTOLD: Final = 1000
"""Notes that wait for the next repaint."""

PANES: Final = ("peers", "messages", "nat", "statistics")


class P2PApp(App[int]):
    """The screen of a started node.

    Args:
        node: It runs already; the caller closes it.
        history: What was typed before.
        wall: Unix time, seconds.
    """

    TITLE = "p2ptui"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]]] = [
        (0, "-narrow"),
        (100, "-normal"),
        (160, "-wide"),
    ]
    VERTICAL_BREAKPOINTS: ClassVar[list[tuple[int, str]]] = [(0, "-short"), (16, "-tall")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", id="app.quit", priority=True),
        Binding("colon", "command", "Command", id="app.command"),
        Binding("f1", "help", "Help", id="app.help"),
        Binding("f2", "pane('peers')", "Peers", show=False, id="app.peers"),
        Binding("f3", "pane('messages')", "Messages", show=False, id="app.messages"),
        Binding("f4", "pane('nat')", "NAT", show=False, id="app.nat"),
        Binding("f5", "pane('statistics')", "Statistics", show=False, id="app.statistics"),
        Binding("escape", "cancel", "Cancel", show=False, id="app.cancel"),
    ]

    def __init__(
        self,
        node: Node,
        history: History | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.node = node
        self._records = RecordLog()
        self._journal = Journal(self._records, self._name_at, wall)
        self._events = node.events()
        self._stats_at = 0.0
        self._untold: deque[tuple[str, str]] = deque(maxlen=MAX_UNTOLD)
        self._names: dict[Address, str] = {}
        self.peers = PeerTable(id="peers")
        self.messages = MessageLog(self._records, id="messages")
        self.nat = NatPane(id="nat")
        self.statistics = StatisticsPane(id="statistics")
        self.bar = CommandBar(history or History(), self._peer_words)
        self._executor = Executor(node, self._selected_peer)

    def compose(self) -> ComposeResult:
        """Panes above the command bar."""
        yield Static(id="title", markup=False)
        yield Tabs(*(Tab(name.capitalize(), id=f"tab-{name}") for name in PANES), id="tabs")
        with Container(id="panes"):
            for pane, title in (
                (self.peers, "Peers"),
                (self.nat, "NAT"),
                (self.messages, "Messages"),
                (self.statistics, "Statistics"),
            ):
                pane.border_title = title
                pane.add_class("pane")
                yield pane
        yield self.bar
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look at the node."""
        self.node.trace(enabled=True)
        self.peers.add_class("-chosen")
        info = self.node.info
        self._journal.note(
            f"{printable(info.name)} listens on {format_address(self.node.address)},"
            f" network {printable(info.network_id)}, id {info.id}"
        )
        self.messages.take(list(self._records))
        self.set_interval(LOG_INTERVAL_S, self.take_events)
        self.set_interval(PEERS_INTERVAL_S, self.take_peers)
        self.set_interval(STATS_INTERVAL_S, self.take_stats)
        self.take_peers()
        self.take_stats()
        self.bar.input.focus()
        self._watch_node()

    @work(exclusive=True, group="node")
    async def _watch_node(self) -> None:
        try:
            await self.node.wait_failed()
        except Exception as error:
            self.exit(1, 1, _one_line("the node failed", error))

    def note(self, text: str, level: str = "info") -> None:
        """Put a line of this program itself into the log."""
        self._untold.append((text, level))

    def _handle_exception(self, error: Exception) -> None:
        # One line on a restored terminal; who wants the traceback runs `textual console`.
        self.log.error(error)
        if self._exception is None:
            # A pilot raises it where the test waits.
            self._exception = error
            self._exception_event.set()
        self.exit(1, 1, _one_line("the screen failed", error))

    # From the node to the panes.

    def take_events(self) -> None:
        """Show what has happened since the last time."""
        records = [self._journal.note(text, level) for text, level in self._untold]
        self._untold.clear()
        for event in self._events.take(EVENTS_AT_ONCE):
            record = self._journal.write(event)
            if record is not None:
                records.append(record)
        if records:
            self.messages.take(records)

    def take_peers(self) -> None:
        """Show the peers as they are now."""
        views = self.node.peers
        self._names = {view.address: view.name for view in views}
        self.peers.list.take(views, lambda view: view.path.value)
        count = sum(view.status.value == "authenticated" for view in views)
        self.peers.border_title = f"Peers {count}"
        self.nat.take(nat_facts(self.node, views))
        title = f"p2ptui  {printable(self.node.info.name, 40)}  {format_address(self.node.address)}"
        self.query_one("#title", Static).update(Text(f"{title}  {count} peers"))

    def take_stats(self) -> None:
        """Show the numbers."""
        stats = self.node.stats()
        self.statistics.take(stats, stats.uptime_s - self._stats_at)
        self._stats_at = stats.uptime_s

    def _name_at(self, address: Address) -> str:
        return self._names.get(address, "")

    def _peer_words(self) -> Iterable[str]:
        for row in self.peers.list.rows:
            if row.view.node_id:
                yield row.view.node_id
                name = row.view.name
                if name.isprintable() and " " not in name:
                    yield name

    def _selected_peer(self) -> PeerView | None:
        row = self.peers.list.selected
        return row.view if row is not None else None

    # From the user to the node.

    def on_command_bar_entered(self, event: CommandBar.Entered) -> None:
        """A line was typed."""
        self.run_line(event.line)

    def run_line(self, line: str) -> None:
        """Carry out a command line."""
        try:
            command = parse_command(line, list(self._peer_words()))
            self._carry_out(command)
        except (UsageError, FilterError) as error:
            self.bar.answer(str(error), failed=True)

    def _carry_out(self, command: Command) -> None:
        name = command.verb.name
        if not command.verb.available:
            self.bar.answer(f"{name} is not available yet", failed=True)
        elif self._executor.handles(name):
            self._execute(command)
        else:
            self.bar.answer("")
            getattr(self, f"_do_{name}")(command)

    @work(group="commands")
    async def _execute(self, command: Command) -> None:
        worker = get_current_worker()
        try:
            said = await self._executor.run(command, self.bar.answer)
        except P2PError as error:
            self.bar.answer(printable(str(error), 400), failed=True)
        else:
            if not worker.is_cancelled:
                self.bar.answer(said)
                self._journal.note(said)

    def _do_nat(self, _command: Command) -> None:
        self.action_pane("nat")
        self.bar.answer("the diagnosis is not available yet; this is what the servers said")

    def _do_peers(self, _command: Command) -> None:
        self.action_pane("peers")

    def _do_stats(self, _command: Command) -> None:
        self.action_pane("statistics")

    def _do_routes(self, _command: Command) -> None:
        routes = self.node.routes
        text = Text()
        for route in routes:
            text.append(f"{route.destination}  by {route.next_hop[:8]}  {route.distance} hops\n")
        if not routes:
            text.append("no routes: nobody is connected")
        self.push_screen(TextScreen(f"Routes {len(routes)}", text))

    def _do_filter(self, command: Command) -> None:
        self.messages.set_filter(compile_filter(command.text))
        self._show_log_state()

    def _do_log(self, command: Command) -> None:
        self.messages.set_filter(compile_filter(f"level:{command.text}"))
        self._show_log_state()

    def _do_save(self, command: Command) -> None:
        path = Path(command.text).expanduser()
        records = self.messages.shown()
        try:
            with path.open("w", encoding="utf-8") as file:
                for record in records:
                    file.write(_line_of(record, as_json=path.suffix in (".json", ".jsonl")))
        except OSError as error:
            self.bar.answer(f"cannot save to {path}: {error.strerror or error}", failed=True)
            return
        self.bar.answer(f"saved {len(records)} records to {path.resolve()}")

    def _do_copy(self, _command: Command) -> None:
        self.action_copy()

    def _do_theme(self, command: Command) -> None:
        if command.text not in self.available_themes:
            names = ", ".join(sorted(self.available_themes))
            self.bar.answer(f"no theme {command.text!r}; one of {names}", failed=True)
            return
        self.theme = command.text

    def _do_help(self, command: Command) -> None:
        bindings = [
            active.binding for active in self.screen.active_bindings.values() if active.enabled
        ]
        self.push_screen(TextScreen("Help", help_text(bindings, command.text)))

    def _do_quit(self, _command: Command) -> None:
        self.exit(0)

    # What the panes ask for.

    def on_row_view_opened(self, event: RowView.Opened) -> None:
        """A row is to be seen in full."""
        if event.view is self.messages:
            record = self.messages.record_at(event.index)
            if record is not None:
                title = f"{record.direction} {record.kind or 'note'} {record.peer}"
                self.push_screen(TextScreen(title, Text(record.pretty()), record.pretty()))
        else:
            row = self.peers.list.selected
            if row is not None:
                self.push_screen(TextScreen(printable(row.view.name, 64), peer_text(row.view)))

    def on_message_log_filter_wanted(self) -> None:
        """The bar takes the expression."""
        self.bar.type("filter ")

    def on_message_log_follow_changed(self) -> None:
        """The pane's title says whether it follows."""
        self._show_log_state()

    def _show_log_state(self) -> None:
        log = self.messages
        parts = ["Messages"]
        if log.filter.expression:
            parts.append(f"filter {printable(log.filter.expression, 60)}")
        if not log.following:
            parts.append(f"paused, {log.unseen} new" if log.unseen else "paused")
        log.border_title = Text("  ".join(parts))

    def on_tabs_tab_activated(self, event: Tabs.TabActivated) -> None:
        """In a narrow terminal one pane is shown at a time."""
        if event.tab.id is not None:
            self._choose(event.tab.id.removeprefix("tab-"))

    def _choose(self, name: str) -> None:
        for pane in (self.peers, self.messages, self.nat, self.statistics):
            pane.set_class(pane.id == name, "-chosen")

    # Actions.

    def action_command(self) -> None:
        """Go to the command bar."""
        self.bar.input.focus()

    def action_help(self) -> None:
        """Show commands and keys."""
        self.run_line("help")

    def action_pane(self, name: str) -> None:
        """Go to a pane."""
        self.query_one(Tabs).active = f"tab-{name}"
        self._choose(name)
        pane = self.query_one(f"#{name}")
        (self.peers.list if pane is self.peers else pane).focus()

    def action_copy(self) -> None:
        """Copy what is selected: a record, or a peer's address."""
        if self.focused is self.messages and self.messages.selected is not None:
            text = self.messages.selected.pretty()
        elif (peer := self._selected_peer()) is not None:
            text = format_address(peer.address)
        else:
            self.bar.answer("nothing is selected", failed=True)
            return
        self.copy_to_clipboard(text)
        self.bar.answer(f"copied {len(text)} characters")

    def action_cancel(self) -> None:
        """Stop what takes long."""
        cancelled = self.workers.cancel_group(self, "commands")
        if cancelled:
            self.bar.answer("cancelled", failed=True)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette offers all commands of the grammar."""
        for verb in VERBS.values():
            needs = any(not parameter.optional for parameter in verb.parameters)
            action = self._typed(verb.name) if needs else self._run(verb.name)
            yield SystemCommand(verb.usage, verb.summary, action)
        for command in super().get_system_commands(screen):
            if command.title not in ("Quit", "Keys"):
                yield command

    def _typed(self, name: str) -> Callable[[], None]:
        return lambda: self.bar.type(f"{name} ")

    def _run(self, name: str) -> Callable[[], None]:
        return lambda: self.run_line(name)


def _one_line(what: str, error: Exception) -> Text:
    # The words of an exception may hold what a peer wrote.
    return Text(printable(f"p2ptui: {what}: {type(error).__name__}: {error}", 1000))


def peer_text(peer: PeerView) -> Text:
    """All that is known of a peer."""
    rtt = "-" if peer.rtt_ms is None else f"{peer.rtt_ms:.3f} ms"
    public = "-" if peer.public_address is None else format_address(peer.public_address)
    text = Text()
    for name, value in (
        ("name", printable(peer.name)),
        ("id", peer.node_id),
        ("address", format_address(peer.address)),
        ("status", peer.status.value),
        ("path", peer.path.value),
        ("version", printable(peer.version)),
        ("dialect", peer.dialect),
        ("can", printable(", ".join(peer.capabilities), 400)),
        ("sees us at", public),
        ("asked for by us", "yes" if peer.initiated else "no"),
        ("address proved", "yes" if peer.proved else "no"),
        ("round trip", rtt),
        ("messages", f"{peer.messages_in} in, {peer.messages_out} out"),
        ("bytes", f"{peer.bytes_in} in, {peer.bytes_out} out"),
        ("sent again", str(peer.retransmissions)),
        ("waiting", str(peer.waiting)),
        ("last heard", f"{peer.last_received_ago_s:.1f} s ago"),
        ("known for", f"{peer.connected_for_s:.0f} s"),
    ):
        text.append(f"{name:<16}", "dim")
        text.append(f"{value}\n")
    return text


def _line_of(record: Record, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(record.as_dict()) + "\n"
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.time))
    return (
        f"{at} {record.direction} {record.peer or record.address} {record.kind} {record.summary}\n"
    )


def default_history() -> History:
    """What was typed in earlier sessions, under the platform's state directory."""
    return History(platformdirs.user_state_path("p2ptui", appauthor=False) / "history")
