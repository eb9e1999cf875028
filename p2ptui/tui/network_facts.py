"""The servers of the network on the screen: in a word, in a few lines, and as a page."""

from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from p2ptui.core.identity import short_id
from p2ptui.node import Node, Roster
from p2ptui.node.server_rows import COLUMNS, server_row
from p2ptui.text import counted, printable
from p2ptui.tui.two_columns import wrapped

NAME: Final = COLUMNS.index("NAME")
ID: Final = COLUMNS.index("ID")

_NONE: Final = (
    "No other servers of this network are known.\n\n"
    "Several servers share one with --cluster nats://HOST:PORT; a node that joins one of them sees"
    " them here.\n"
)


@dataclass(frozen=True, slots=True)
class NetworkFact:
    """A fact about the servers of the network."""

    name: str
    value: str
    """Harmless text."""
    style: str = ""
    rank: int = 6
    """In the title: the lower, the longer it stays when the title gets narrow."""


def network_facts(node: Node, roster: Roster) -> list[NetworkFact]:
    """The facts, beginning with the one for the title; none if there is only one server.

    Args:
        node: This node.
        roster: The nodes that it knows.
    """
    report = node.cluster
    if report is None:
        return _facts_of_home(node, roster)
    cluster, is_up = report.cluster, report.broker.is_up
    count = len(cluster.servers)
    names = ", ".join(sorted(printable(server.name, 20) for server in cluster.servers))
    trouble = "" if is_up else f": {printable(report.broker.trouble)}"
    title = NetworkFact("", counted(count + 1, "server"))
    if not is_up:
        title = NetworkFact("", "broker down", "bold yellow", 1)
    return [
        title,
        NetworkFact("broker", f"{report.link_words}{trouble}", "" if is_up else "yellow"),
        NetworkFact("servers", f"{counted(count, 'other')}: {names}" if count else "no others"),
        NetworkFact("elsewhere", counted(cluster.nodes, "node")),
        NetworkFact("handed over", f"{cluster.handed} out, {cluster.taken} in"),
        NetworkFact("", f"{cluster.waiting} waiting, {cluster.failed} failed"),
    ]


def _facts_of_home(node: Node, roster: Roster) -> list[NetworkFact]:
    servers = node.network_servers()
    if not servers or node.home is None:
        return []
    name = printable(servers[0].name, 20) or servers[0].id[:8]
    rtt_ms = roster.rtt_ms(node.home)
    rtt = "" if rtt_ms is None else f", {rtt_ms:.1f} ms"
    others = f"{counted(len(servers) - 1, 'other')} known"
    return [
        NetworkFact("", f"home {name}"),
        NetworkFact("home", f"{name}{rtt}"),
        NetworkFact("servers", others if len(servers) > 1 else "no others known"),
    ]


def servers_text(node: Node, width: int) -> Text:
    """The page about the servers.

    Args:
        node: This node.
        width: Cells of a line.
    """
    servers = node.network_servers()
    if not servers:
        return Text(_NONE)
    servers = [servers[0], *sorted(servers[1:], key=lambda server: (server.name, server.id))]
    whole = rows = [list(server_row(server)) for server in servers]
    rows[0][NAME] += " (this node)" if servers[0].id == node.id else " (home)"
    kept = [at for at in range(len(COLUMNS)) if any(row[at] not in ("", "-") for row in rows)]
    for is_short in (False, True):
        if is_short:
            rows = [[*row[:ID], short_id(row[ID]), *row[ID + 1 :]] for row in rows]
        lines = [[row[at] for at in kept] for row in ([*COLUMNS], *rows)]
        widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
        if sum(widths) + 2 * (len(widths) - 1) <= width:
            break
    else:
        return _stacked(whole, kept).append_text(_about_broker(node, width))
    text = Text()
    for number, line in enumerate(lines):
        cells = [
            cell + " " * (room - cell_len(cell)) for cell, room in zip(line, widths, strict=True)
        ]
        text.append("  ".join(cells).rstrip() + "\n", "" if number else "dim")
    return text.append_text(_about_broker(node, width))


def _about_broker(node: Node, width: int) -> Text:
    """Why the broker is down, in full; empty while it is up."""
    report = node.cluster
    if report is None or report.broker.is_up:
        return Text()
    broker = report.broker
    words = f"The broker {printable(broker.broker)} is away: {printable(broker.trouble, 600)}"
    return Text("\n" + "\n".join(wrapped(words, width)) + "\n", "yellow")


def _stacked(rows: list[list[str]], kept: list[int]) -> Text:
    """The facts about a server below each other, for when they do not fit one line."""
    text = Text()
    for row in rows:
        text.append(f"{row[NAME]}\n")
        for at in kept:
            if at != NAME and row[at]:
                text.append(f"  {COLUMNS[at].lower():<12}", "dim")
                text.append(f"{row[at]}\n")
    return text
