"""What the screen shows: the panes, updated from the node at their own pace.

Nothing here delays a packet: events wait in a bounded queue, and are taken ten times a second.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from rich.text import Text
from textual._styles_cache import StylesCache
from textual.await_complete import AwaitComplete
from textual.widget import Widget
from textual.widgets import Static, Tab, Tabs

from p2ptui.config import UiOptions
from p2ptui.node import Node
from p2ptui.text import printable
from p2ptui.tui.alarms import Alarms
from p2ptui.tui.dressed_app import DressedApp
from p2ptui.tui.fitting import fitting
from p2ptui.tui.journal import Journal
from p2ptui.tui.message_log import MessageLog
from p2ptui.tui.nat_pane import NatPane, nat_facts
from p2ptui.tui.panes import FactPane, StatisticsPane, public_address, title_text
from p2ptui.tui.peer_table import MANY, PeerTable
from p2ptui.tui.records import RecordLog
from p2ptui.tui.settings import Settings
from p2ptui.tui.trends import STEP_S, Trends
from p2ptui.wire.address import format_address

LOG_INTERVAL_S: Final = 0.1
"""The log is repainted ten times a second at most."""

PEERS_INTERVAL_S: Final = 0.25
MANY_PEERS_INTERVAL_S: Final = 1.0
"""And the table four times a second; once if sorting it takes long."""

STATS_INTERVAL_S: Final = 1.0

SERVERS_INTERVAL_S: Final = 1.0
READ_SERVERS_S: Final = 5.0
KNOWN_SERVERS_S: Final = 60.0
"""A node at a server of a cluster asks it for the other servers at the first interval while a page
is open, and otherwise at the second, only for their names; at once if its server has changed, or
names others.
"""

MAX_SAMPLED: Final = MANY
"""Nodes whose round trips are remembered: the first ones of the table."""

EVENTS_AT_ONCE: Final = 1000
"""Taken from the node at one repaint; the rest waits, or is reported as dropped."""

MAX_UNTOLD: Final = 1000
"""Notes that wait for the next repaint."""

ALARM_S: Final = 10.0
"""How long an alarm about a peer's changed identity is shown above the panes."""

TITLE_MARGIN: Final = 6
"""Cells of a frame beside its title."""

PANES: Final = {"peers": "Peers", "messages": "Messages", "nat": "NAT", "statistics": "Statistics"}


class FeedApp(DressedApp):
    """An app whose panes show a started node.

    Args:
        node: A running node; the caller closes it.
        wall: Unix time, seconds.
        options: The section [ui] of the configuration.
        settings: What the user chose on the screen before.
    """

    def __init__(
        self,
        node: Node,
        wall: Callable[[], float] = time.time,
        options: UiOptions | None = None,
        settings: Settings | None = None,
    ) -> None:
        options = options or UiOptions()
        super().__init__(options.theme, settings)
        self.options = options
        self.node = node
        self.roster = node.roster
        self._records = RecordLog(self.options.max_records, self.options.max_record_bytes)
        self._journal = Journal(
            self._records, self.roster.name_at, wall, self.roster.name_with, node.id
        )
        self._events = node.events()
        self._alarms = Alarms()
        self._changed = 0
        """Peers whose identity has changed: counting takes a while with thousands of peers."""
        self._untold: deque[tuple[str, str]] = deque(maxlen=MAX_UNTOLD)
        self._stats_at = 0.0
        self._peers_due = 0.0
        self._title_text = Text()
        self._pane_titles: dict[Widget, Text] = {}
        self.trends = Trends()
        self.peers = PeerTable(self.roster.searched_ports, id="peers")
        self.messages = MessageLog(self._records, id="messages")
        self.nat = NatPane(node.info.network_id, id="nat")
        self.statistics = StatisticsPane(id="statistics")
        # Kept, not looked up: at the end the panes are gone from the screen before the timers stop.
        self.title_line = Static(id="title", markup=False)
        self.tab_of = {name: Tab(title, id=f"tab-{name}") for name, title in PANES.items()}
        self.tabs = Tabs(*self.tab_of.values(), id="tabs")
        self.fact_panes: dict[str, FactPane] = {"nat": self.nat, "statistics": self.statistics}

    def pop_screen(self) -> AwaitComplete:
        """Close a page, and forget its drawing: Textual keeps those of the last 1,024 widgets, gone
        or not, in a class-level cache, which a thousand pages fill with 40 MB.
        """
        StylesCache.get_inner_outer.cache_clear()
        return super().pop_screen()

    @property
    def panes(self) -> tuple[Widget, ...]:
        """All four panes, from left to right and from top to bottom."""
        return (self.peers, self.messages, self.nat, self.statistics)

    def begin(self) -> None:
        """Show the current state, and events from now on; called once the panes are mounted."""
        info = self.node.info
        # The first line of the log, before everything that has already happened.
        opening = (
            f"{printable(info.name)} listens on {format_address(self.node.address)},"
            f" network {printable(info.network_id)}, id {info.id}"
        )
        self.node.trace(enabled=True)
        self.node.watch_names(enabled=True)
        self.messages.take([self._journal.note(opening, "info")])
        self.take_events()
        self.take_peers()
        self.take_stats()
        self.set_interval(LOG_INTERVAL_S, self.take_events)
        self.set_interval(PEERS_INTERVAL_S, self._take_peers_when_due)
        self.set_interval(STATS_INTERVAL_S, self.take_stats)
        self.set_interval(STEP_S, self.take_trends)
        self.set_interval(SERVERS_INTERVAL_S, self.learn_servers)

    def note(self, text: str, level: str = "info") -> None:
        """Add a line of this program's own to the log."""
        self._untold.append((text, level))

    def take_events(self) -> None:
        """Show what has happened since the last time."""
        records = []
        is_recounted = False
        for event in self._events.take(EVENTS_AT_ONCE):
            is_recounted |= self._alarms.note(event)
            record = self._journal.write(event)
            if record is not None:
                records.append(record)
        records += [self._journal.note(text, level) for text, level in self._untold]
        self._untold.clear()
        if records:
            self.messages.take(records)
        if is_recounted:
            self._changed = self.roster.changed
        # A page being read is not covered: the alarm waits until it is closed.
        is_covered = len(self.screen_stack) > 1
        alarm = "" if is_covered else self._alarms.take(asyncio.get_running_loop().time())
        if alarm:
            self.notify(alarm, severity="warning", markup=False, timeout=ALARM_S)

    def clear_alarms(self) -> None:
        """Remove the alarms above the panes: a user who types has seen them, or is looking
        there.
        """
        if len(self._notifications):
            self.clear_notifications()

    def _take_peers_when_due(self) -> None:
        self._peers_due -= PEERS_INTERVAL_S
        if self._peers_due <= 0:
            many = len(self.roster) > MANY
            self._peers_due = MANY_PEERS_INTERVAL_S if many else PEERS_INTERVAL_S
            self.take_peers()

    def take_peers(self) -> None:
        """Update the peers."""
        if self.peers.display:
            self.peers.list.take(self.roster)
        servers = self.roster.servers()
        if self.nat.display:
            self.nat.take_known(nat_facts(self.node, servers))
        room = self.title_line.content_size.width or self.size.width
        public, connected = public_address(servers), self.roster.connected
        text = title_text(
            self.node, connected, public, room, self._changed, self.statistics.in_title
        )
        if text != self._title_text:
            self._title_text = text
            self.title_line.update(text, layout=False)
        self.show_titles()

    def take_stats(self) -> None:
        """Update the statistics."""
        stats = self.node.stats()
        self.statistics.look_at_servers(self.node, self.roster)
        self.statistics.take(stats, stats.uptime_s - self._stats_at)
        self._stats_at = stats.uptime_s
        self._changed = self.roster.changed

    async def learn_servers(self) -> None:
        """Ask for the servers of the network: often while a page is open, otherwise only for their
        names.
        """
        is_read = len(self.screen_stack) > 1
        await self.node.learn_network_servers(READ_SERVERS_S if is_read else KNOWN_SERVERS_S)

    def take_trends(self) -> None:
        """Record the round trips, even while nobody looks at the table."""
        keys = self.peers.list.keys
        if not self.peers.display and len(self.roster) <= MANY:
            keys = self.roster.order()
        self.trends.take((key, self.roster.rtt_ms(key)) for key in keys[:MAX_SAMPLED])

    def show_titles(self) -> None:
        """Update the titles of the panes and their tabs."""
        peers, log = self.peers.list, self.messages
        found = f"find {printable(peers.containing, 30)}" if peers.containing else ""
        count = peers.row_count if self.peers.display else len(self.roster)
        # The column may be one for which the header has no room.
        way = "▼" if peers.descending else "▲"
        order = f"by {peers.sort_column.name.strip() or 'state'} {way}".lower()
        self._entitle(self.peers, (0, f"Peers {count}"), (2, order), (1, found))
        state = ""
        if not log.following:
            state = f"{log.unseen} new" if log.unseen else "paused"
        follows = state and f"{state}, End to follow"
        self._entitle(log, (0, "Messages"), (2, follows), (1, log.condition))
        self._entitle(self.nat, (0, "NAT"), (1, self.nat.state))
        if self.tabs.display:
            self._label("peers", f"Peers {count}")
            # Four tabs and this take 50 cells.
            self._label("messages", f"Messages {state if self.size.width >= 60 else ''}".strip())

    def _entitle(self, pane: Widget, *parts: tuple[int, str]) -> None:
        title = Text("  ".join(fitting(parts, pane.outer_size.width - TITLE_MARGIN)))
        if title != self._pane_titles.get(pane):
            self._pane_titles[pane] = title
            pane.border_title = title

    def _label(self, name: str, label: str) -> None:
        tab = self.tab_of[name]
        if tab.label_text != label:
            tab.label = Text(label)
