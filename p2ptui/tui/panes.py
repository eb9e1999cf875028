"""The two panes of plain facts: what is known of this node's NAT, and its statistics."""

from collections import Counter
from typing import Final

from rich.text import Text
from textual.containers import VerticalScroll
from textual.widgets import Static

from p2ptui.node import Node, PeerView, Stats
from p2ptui.text import printable
from p2ptui.tui.series import Series, rate_text, sparkline
from p2ptui.wire.address import format_address

HISTORY: Final = 120
"""Seconds of rates that are kept."""

MAX_SERVERS_SHOWN: Final = 20


def nat_facts(node: Node, peers: list[PeerView]) -> Text:
    """What the servers said of this node's address, and what follows from it so far."""
    text = Text()
    text.append("local    ", "dim")
    text.append(f"{format_address(node.address)}\n")
    told = [peer for peer in peers if peer.initiated and peer.public_address is not None]
    seen = Counter(format_address(peer.public_address) for peer in told if peer.public_address)
    text.append("public   ", "dim")
    if not seen:
        text.append("unknown: join a server to learn it\n", "yellow")
    for address, count in seen.most_common(4):
        text.append(address, "bold green")
        text.append(f"  seen by {count} server{'s' * (count > 1)}\n")
    for peer in told[:MAX_SERVERS_SHOWN]:
        assert peer.public_address is not None
        text.append("  says  ", "dim")
        text.append(f"{printable(peer.name, 24)} at {format_address(peer.address)}\n")
    text.append(_meaning(len(told), seen))
    text.append("\nThe full diagnosis is not available yet.", "dim")
    return text


def _meaning(servers: int, seen: Counter[str]) -> Text:
    if servers < 2:
        return Text("\nTwo servers would tell whether the NAT keeps one address for all.\n")
    if len(seen) == 1:
        return Text("\nAll servers see the same address: the mapping does not depend on them.\n")
    return Text(
        "\nServers see different addresses: the mapping depends on the destination,"
        " or the way to them differs.\n"
    )


class NatPane(VerticalScroll):
    """What is known of the NAT."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.facts = Text()
        self._static = Static(markup=False)

    def compose(self):  # type: ignore[no-untyped-def]
        yield self._static

    def take(self, facts: Text) -> None:
        """Show these facts."""
        if facts != self.facts:
            self.facts = facts
            self._static.update(facts)


class StatisticsPane(VerticalScroll):
    """Rates as sparklines, and totals."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._static = Static(markup=False)
        self._last: Stats | None = None
        self._series = {name: Series(HISTORY) for name in ("in", "out", "bytes in", "bytes out")}

    def compose(self):  # type: ignore[no-untyped-def]
        yield self._static

    def take(self, stats: Stats, elapsed_s: float) -> None:
        """Show the numbers; called about once a second."""
        last, self._last = self._last, stats
        if last is not None and elapsed_s > 0:
            for name, old, new in (
                ("in", last.messages_in, stats.messages_in),
                ("out", last.messages_out, stats.messages_out),
                ("bytes in", last.bytes_in, stats.bytes_in),
                ("bytes out", last.bytes_out, stats.bytes_out),
            ):
                self._series[name].add((new - old) / elapsed_s)
        self._static.update(self.picture(stats))

    def picture(self, stats: Stats) -> Text:
        """What is shown."""
        width = max(self.size.width - 20, 4)
        text = Text()
        for name, series in self._series.items():
            now = series.values[-1] if series.values else 0.0
            unit = "B/s" if "bytes" in name else "/s"
            text.append(f"{name:<10}", "dim")
            text.append(sparkline(series.values, width), "cyan")
            text.append(f" {rate_text(now, unit):>8}\n")
        for name, value in (
            ("uptime", _duration(stats.uptime_s)),
            ("peers", str(stats.connected)),
            ("delivered", str(stats.delivered)),
            ("sent again", str(stats.retransmissions)),
            ("duplicates", str(stats.duplicates)),
            ("forwarded", str(stats.forwarded)),
            ("relayed", str(stats.relayed)),
        ):
            text.append(f"{name:<12}", "dim")
            text.append(f"{value}\n")
        drops = sorted(stats.drops.items(), key=lambda item: -item[1])
        if drops:
            text.append("dropped\n", "dim")
        for cause, count in drops:
            text.append(f"  {cause.replace('_', ' '):<24}{count}\n", "yellow")
        return text


def _duration(seconds: float) -> str:
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}"
