"""A pane of plain facts, the statistics pane, and the title of the screen."""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from p2ptui.core.sealing import Mode
from p2ptui.node import Node, PeerView, Roster, Stats
from p2ptui.text import printable
from p2ptui.tui.columns import CHANGED_MARK
from p2ptui.tui.fitting import GAP, fitting, shortened
from p2ptui.tui.network_facts import NetworkFact, network_facts
from p2ptui.tui.series import Series, rate_text, sparkline
from p2ptui.wire.address import Address, format_address, is_loopback

HISTORY: Final = 120
"""Seconds for which rates are kept."""

_LABEL_WIDTH: Final = 13

KEY_LOG_BADGE: Final = "! key log"
"""In the title while session keys are written to a file."""

MIN_NAME: Final = 5
"""Cells of a name that is cut to make room for urgent facts."""


class FactPane(VerticalScroll):
    """A text that is updated from time to time; hidden, it is not drawn."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "app.copy", "Copy", id="facts.copy"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.facts = Text()
        self._static = Static(markup=False)

    def compose(self) -> ComposeResult:
        """One text."""
        yield self._static

    def show_facts(self, facts: Text, *, layout: bool = False) -> None:
        """Show a text, if it has changed.

        Args:
            facts: The text.
            layout: Whether its height changes even with the same number of lines.
        """
        if facts != self.facts:
            height = self.facts.plain.count("\n")
            self.facts = facts
            # A layout takes 20 ms: only if the height may have changed.
            self._static.update(facts, layout=layout or facts.plain.count("\n") != height)

    def copied_text(self) -> str:
        """What is copied: the text."""
        return self.facts.plain


class StatisticsPane(FactPane):
    """Rates as sparklines, and totals."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._last: Stats | None = None
        self._network: Sequence[NetworkFact] = ()
        self.in_title: NetworkFact | None = None
        """The state of the network's servers in a few words, if there are several."""
        self._series = {name: Series(HISTORY) for name in ("in", "out", "bytes in", "bytes out")}

    def look_at_servers(self, node: Node, roster: Roster) -> None:
        """Record the state of the network's servers, if there are several."""
        facts = network_facts(node, roster)
        self.in_title = facts[0] if facts else None
        self._network = facts[1:]

    def take(self, stats: Stats, elapsed_s: float) -> None:
        """Record the numbers, about once a second, and show them if the pane is visible."""
        last, self._last = self._last, stats
        if last is not None and elapsed_s > 0:
            for name, old, new in (
                ("in", last.messages_in, stats.messages_in),
                ("out", last.messages_out, stats.messages_out),
                ("bytes in", last.bytes_in, stats.bytes_in),
                ("bytes out", last.bytes_out, stats.bytes_out),
            ):
                self._series[name].add((new - old) / elapsed_s)
        if self.display:
            self.show_facts(self.picture(stats))

    def on_show(self) -> None:
        """It becomes visible again, with the last numbers."""
        if self._last is not None:
            self.show_facts(self.picture(self._last))

    def on_resize(self) -> None:
        """The sparklines use the available width."""
        self.on_show()

    def picture(self, stats: Stats) -> Text:
        """What is shown."""
        room = self.scrollable_content_region.width
        width = max(min(room - 20, HISTORY), 4)
        both = (
            ("messages", str(stats.messages_in), str(stats.messages_out)),
            ("bytes", rate_text(stats.bytes_in), rate_text(stats.bytes_out)),
        )
        pairs = [(name, f"{into} in, {out} out") for name, into, out in both]
        if any(_LABEL_WIDTH + len(value) > room > 0 for _, value in pairs):
            # Wrapped, the second number would be below the labels.
            pairs = [
                (f"{name} {way}", number)
                for name, *numbers in both
                for way, number in zip(("in", "out"), numbers, strict=True)
            ]
        text = Text()
        for name, series in self._series.items():
            now = series.values[-1] if series.values else 0.0
            unit = "B/s" if "bytes" in name else "/s"
            text.append(f"{name:<10}", "dim")
            text.append(sparkline(series.values, width), "cyan")
            text.append(f" {rate_text(now, unit):>8}\n")
        for name, value in (
            ("uptime", duration(stats.uptime_s)),
            ("peers", str(stats.connected)),
        ):
            text.append(f"{name:<{_LABEL_WIDTH}}", "dim")
            text.append(f"{value}\n")
        for fact in self._network:
            text.append(f"{fact.name:<{_LABEL_WIDTH}}", "dim")
            text.append(
                f"{shortened(fact.value, max(room - _LABEL_WIDTH, MIN_NAME))}\n", fact.style
            )
        for name, value in (
            *pairs,
            ("data in", str(stats.delivered)),
            ("sent again", str(stats.retransmissions)),
            ("duplicates", str(stats.duplicates)),
            ("forwarded", str(stats.forwarded)),
            ("relayed", str(stats.relayed)),
            ("STUN", f"{stats.stun_replies} answered"),
        ):
            text.append(f"{name:<{_LABEL_WIDTH}}", "dim")
            text.append(f"{value}\n")
        drops = sorted(stats.drops.items(), key=lambda item: -item[1])
        text.append(f"{'dropped':<{_LABEL_WIDTH}}", "dim")
        text.append("by cause\n" if drops else "0\n", "dim" if drops else "")
        for cause, count in drops:
            text.append(f"  {cause.replace('_', ' '):<24}{count}\n", "yellow")
        text.right_crop(1)
        return text


def duration(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}"


def public_address(servers: list[PeerView]) -> Address | None:
    """This node's address as most of the servers saw it."""
    seen = Counter(peer.public_address for peer in servers if peer.public_address is not None)
    return seen.most_common(1)[0][0] if seen else None


def title_text(
    node: Node,
    connected: int,
    public: Address | None,
    width: int,
    changed: int = 0,
    network: NetworkFact | None = None,
) -> Text:
    """The first line of the screen: who this node is, how it is reached, and how it is protected.

    Args:
        node: This node.
        connected: The number of peers with a session.
        public: Its address as servers see it.
        width: Cells of the line.
        changed: The number of peers whose identity has changed.
        network: The state of its servers in a few words, if there are several.
    """
    info = node.info
    local = format_address(node.address)
    key_log = KEY_LOG_BADGE if node.key_log is not None else ""
    alarm = f"{CHANGED_MARK}{changed} changed" if changed else ""
    badges = sum(len(badge) + GAP for badge in (key_log, alarm) if badge)
    # A long name is cut before it takes the room of urgent facts.
    name = shortened(printable(info.name, 40), max(width - badges, MIN_NAME))
    protection = protection_words(node)
    parts = fitting(
        (
            (2, name),
            (8, info.id[:8]),
            (3, local),
            (6, _outside_words(node.address, public)),
            (4, f"{connected} connected"),
            (0, key_log),
            (1, alarm),
            (5, protection),
            (network.rank, network.value) if network is not None else (9, ""),
            (7, f"network {printable(info.network_id, 32)}"),
        ),
        width,
    )
    styles = {name: "bold", key_log: "bold reverse", alarm: "bold reverse"}
    if network is not None:
        styles[network.value] = network.style
    if not node.identity.secured:
        styles[protection] = "yellow"
    text = Text()
    for number, part in enumerate(parts):
        text.append("  " if number else "").append(part, styles.get(part, ""))
    return text


def protection_words(node: Node) -> str:
    """How this node's messages are protected, and from whom, in a few words."""
    own = node.identity
    if not own.secured:
        return "open, no keys"
    secured = "secured only" if own.mode is Mode.REQUIRE else "secured"
    key = "network key" if own.has_network_key else ""
    return ", ".join(filter(None, (secured, key, "ephemeral" if own.ephemeral else "")))


def _outside_words(local: Address, public: Address | None) -> str:
    """Where others see this node; empty if only this machine does."""
    if public is None:
        return "public unknown"
    if local != public:
        return f"public {format_address(public)}"
    return "" if is_loopback(local[0]) else "no NAT seen"
