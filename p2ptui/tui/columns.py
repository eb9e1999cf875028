"""The columns of the peer table: what each shows about a node, and from which width on it
appears.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from p2ptui.core.events import PeerStatus
from p2ptui.node import Known, OtherNode, PeerView, way_words
from p2ptui.secure.known_nodes import Trust
from p2ptui.text import printable
from p2ptui.tui.fitting import shortened
from p2ptui.tui.series import rate_text, sparkline

GLYPHS: Final = {
    PeerStatus.CONNECTING: ("◌", "yellow"),
    PeerStatus.HANDSHAKING: ("◔", "yellow"),
    PeerStatus.AUTHENTICATED: ("●", "green"),
    PeerStatus.DISCONNECTED: ("○", "red"),
    PeerStatus.FAILED: ("✗", "red"),
}
"""State by shape, not only by colour."""

INTRODUCED_GLYPH: Final = ("◇", "cyan")
ROUTED_GLYPH: Final = ("·", "cyan")
ELSEWHERE_GLYPH: Final = ("◦", "dim")

RTT_SAMPLES: Final = 12

MORE_FOR_NAMES: Final = 24
MORE_FOR_ADDRESSES: Final = 26
"""Cells beyond those that addresses always have: a full IPv6 address with its port takes 47."""

ADDRESS_END: Final = 11

HIGH_LOSS: Final = 0.1
SOME_LOSS: Final = 0.01


@dataclass(frozen=True, slots=True)
class PeerRow:
    """A node, and what the table remembers about it."""

    key: str
    node: Known
    rtts_ms: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Its name, or the beginning of its id: neutralised."""
        return printable(self.node.name, 64) or self.node.node_id[:8]

    @property
    def address(self) -> str:
        """Where it is, or through which node it is reached."""
        return way_words(self.node)


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    It is shown in tables of `from_width` cells or more; `rank` names the order in
    `p2ptui.node.roster.RANKS`; in a `descending` column the highest come first.
    """

    name: str
    width: int
    from_width: int
    rank: str
    cell: Callable[[PeerRow], Text]
    right: bool = False
    descending: bool = False


def glyph_of(node: Known) -> tuple[str, str]:
    """Shape and colour of a node's state."""
    if is_elsewhere(node):
        return ELSEWHERE_GLYPH
    if isinstance(node, OtherNode):
        return INTRODUCED_GLYPH if node.introduced else ROUTED_GLYPH
    return GLYPHS[node.status]


def path_of(node: Known) -> str:
    """How datagrams reach a node (direct, relay, introduced or routed), or that it is elsewhere."""
    if is_elsewhere(node):
        return "elsewhere"
    if isinstance(node, OtherNode):
        return "introduced" if node.introduced else "routed"
    return node.path.value


def is_elsewhere(node: Known) -> bool:
    """Whether a node has its session with another server of the network."""
    return isinstance(node, OtherNode) and node.is_elsewhere


def is_changed(node: Known) -> bool:
    """Whether a node's identity has changed."""
    return isinstance(node, PeerView) and node.trust is Trust.CHANGED


def evidence_of(node: Known) -> str:
    """How sure it is that the node is where it says.

    A server named it; it claims the address; or it has proved that it receives there.
    """
    if isinstance(node, OtherNode):
        return "told"
    return "proved" if node.proved else "claimed"


def loss_of(node: Known) -> float | None:
    """The share of messages to it that were sent again."""
    if isinstance(node, OtherNode):
        return None
    total = node.messages_out + node.retransmissions
    return node.retransmissions / total if total else 0.0


def ago_text(seconds: float) -> str:
    """A past time in short form."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return "now"


def _rtt(row: PeerRow) -> Text:
    rtt_ms = row.node.rtt_ms
    if rtt_ms is None:
        return _none()
    return Text(f"{rtt_ms:.2f}" if rtt_ms < 10 else f"{rtt_ms:.0f}")


def _loss(row: PeerRow) -> Text:
    loss = loss_of(row.node)
    if loss is None:
        return _none()
    style = "red" if loss > HIGH_LOSS else "yellow" if loss > SOME_LOSS else "dim"
    return Text(f"{loss:.0%}", style)


def _in(row: PeerRow) -> Text:
    if isinstance(row.node, OtherNode) and not row.node.messages_in:
        return _none()
    return Text(rate_text(row.node.messages_in))


def _out(row: PeerRow) -> Text:
    if isinstance(row.node, OtherNode) and not row.node.messages_out:
        return _none()
    return Text(rate_text(row.node.messages_out))


def _seen(row: PeerRow) -> Text:
    ago_s = row.node.last_received_ago_s
    return _none() if ago_s is None else Text(ago_text(ago_s))


TRUST_STYLES: Final = {
    Trust.VERIFIED: "green",
    Trust.KNOWN: "",
    Trust.NEW: "",
    Trust.OPEN: "dim",
    Trust.CHANGED: "bold red",
}
CHANGED_MARK: Final = "! "
"""Before the name of a node whose identity has changed: visible in tables of any width."""


def _trust(row: PeerRow) -> Text:
    """The trust in its identity, in a word; if nothing is known, how sure its address is."""
    node = row.node
    if isinstance(node, OtherNode) or node.trust is None:
        return Text(evidence_of(node), "dim")
    return Text(node.trust.value, TRUST_STYLES[node.trust])


def _name(row: PeerRow) -> Text:
    if is_changed(row.node):
        return Text(CHANGED_MARK + row.name, TRUST_STYLES[Trust.CHANGED])
    return Text(row.name)


def _address(row: PeerRow) -> Text:
    return Text(row.address)


def _none() -> Text:
    return Text("-", "dim")


COLUMNS: Final[tuple[Column, ...]] = (
    Column(" ", 1, 0, "status", lambda row: Text(*glyph_of(row.node))),
    Column("Name", 16, 0, "name", _name),
    Column("Id", 8, 93, "node_id", lambda row: Text(row.node.node_id[:8], "dim")),
    Column("Address", 21, 50, "address", _address),
    Column("Path", 10, 76, "path", lambda row: Text(path_of(row.node))),
    Column("Trust", 8, 34, "trust", _trust),
    Column("RTT ms", 7, 30, "rtt_ms", _rtt, right=True),
    Column(
        "Trend",
        RTT_SAMPLES,
        112,
        "rtt_ms",
        lambda row: Text(sparkline(row.rtts_ms, RTT_SAMPLES), "cyan"),
    ),
    Column("Loss", 5, 86, "loss", _loss, right=True, descending=True),
    Column("In", 5, 66, "messages_in", _in, right=True, descending=True),
    Column("Out", 5, 66, "messages_out", _out, right=True, descending=True),
    Column("Seen", 5, 99, "last_received", _seen, right=True),
)


def columns_for(width: int) -> list[Column]:
    """The columns shown in a table of this width."""
    return [column for column in COLUMNS if width >= column.from_width]


def widths_for(columns: Sequence[Column], width: int) -> list[int]:
    """The columns' widths: spare cells go to the name, then to the address, as far as they can use
    them.
    """
    widths = [column.width for column in columns]
    left = width - sum(widths) - len(widths)
    for number, column in enumerate(columns):
        if column.name == "Name":
            more = min(max(left, -8), MORE_FOR_NAMES)
            widths[number] += more
            left -= more
    for number, column in enumerate(columns):
        if column.name == "Address":
            widths[number] += min(max(left, 0), MORE_FOR_ADDRESSES)
    return widths


def render_cells(columns: Sequence[Column], cells: Sequence[Text], width: int) -> Text:
    """Put cells side by side in the columns' widths."""
    line = Text()
    for column, cell, room in zip(columns, cells, widths_for(columns, width), strict=True):
        if column.name == "Address" and cell.cell_len > room:
            # The beginning tells the network, the end the port.
            cell.plain = shortened(cell.plain, room, end=min(room // 2, ADDRESS_END))
        cell.truncate(room, overflow="ellipsis")
        gap = " " * (room - cell.cell_len)
        line.append(gap if column.right else "")
        line.append_text(cell)
        line.append(("" if column.right else gap) + " ")
    return line
