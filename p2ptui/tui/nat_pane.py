"""The NAT pane: what is known so far, the progress of a diagnosis, and its whole report.

The report is shown as `p2ptui nat` prints it, and copied as `p2ptui nat --markdown` prints it.
"""

import shlex
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message

from p2ptui.nat.behavior import NatType
from p2ptui.nat.report import NatReport
from p2ptui.nat.report_text import (
    confidence_words,
    nat_command,
    part_words,
    probing_server,
    report_markdown,
    report_rows,
    server_rows,
    type_words,
)
from p2ptui.node import Node, PeerView
from p2ptui.text import printable
from p2ptui.tui.panes import FactPane
from p2ptui.tui.shell import network_to_name
from p2ptui.wire.address import format_address

MAX_SERVERS_SHOWN: Final = 20
MAX_STEPS_SHOWN: Final = 20
"""The last steps of a running diagnosis."""

EVIDENCE_CHARACTERS: Final = 1000

_LABEL_WIDTH: Final = 21
_TABLE_FROM: Final = 56
"""From this width on, values are beside their labels, in a column of their own."""

_MIN_WIDTH: Final = 8

_VERDICT_STYLES: Final = {
    NatType.OPEN: "green",
    NatType.FULL_CONE: "green",
    NatType.RESTRICTED_CONE: "green",
    NatType.PORT_RESTRICTED_CONE: "yellow",
    NatType.FIREWALL: "yellow",
    NatType.SYMMETRIC: "yellow",
    NatType.BLOCKED: "red",
    NatType.UNKNOWN: "yellow",
}


class NatPane(FactPane):
    """What is known about this node's NAT.

    Args:
        network_id: This node's network.
        id: The pane's id on the screen.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "diagnose", "Diagnose", id="nat.diagnose"),
        Binding("x", "app.cancel_nat", "Cancel the diagnosis", show=False, id="nat.cancel"),
    ]

    class Asked(Message):
        """A request for a diagnosis."""

        def __init__(self, line: str) -> None:
            super().__init__()
            self.line = line
            """The command line for it."""

    def __init__(self, network_id: str, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._network_id = network_id
        self.report: NatReport | None = None
        """The report of the last completed diagnosis."""
        self.running = False
        """Whether a diagnosis is under way."""
        self._known = Text()
        self._asked: tuple[str, ...] = ()
        self._steps: list[str] = []
        self._failure = ""
        self._keys = {"nat.diagnose": "r", "nat.cancel": "x", "facts.copy": "y"}

    def name_keys(self, keys: Mapping[str, str]) -> None:
        """Take the user's own keys, by the id of the action, to mention them in texts."""
        chosen = {name: keys[name].partition(",")[0] for name in self._keys if name in keys}
        self._keys |= chosen

    # What there is to show.

    def take_known(self, known: Text) -> None:
        """Take what the node knows without a diagnosis, which may have changed."""
        if known != self._known:
            self._known = known
            self._draw()

    def begin(self, servers: Sequence[str]) -> None:
        """A diagnosis begins.

        Args:
            servers: The servers that were named.
        """
        self.running = True
        self._asked = tuple(servers)
        self._steps = []
        self._failure = ""
        self._draw()
        self.scroll_home(animate=False)

    def tell_step(self, text: str) -> None:
        """Show the current step."""
        self._steps.append(printable(text))
        del self._steps[:-MAX_STEPS_SHOWN]
        self._draw()

    def take_report(self, report: NatReport) -> None:
        """The diagnosis has completed."""
        self.report = report
        self._end("")

    def fail(self, reason: str) -> None:
        """The diagnosis failed for this reason; an earlier report stays."""
        self._end(printable(reason, 400))

    def _end(self, failure: str) -> None:
        self.running = False
        self._failure = failure
        self._draw()
        self.scroll_home(animate=False)

    @property
    def command(self) -> str:
        """The shell command that makes the same report."""
        # Includes servers that the user did not name: the shell's node has not joined the same
        # ones.
        if self.report is None:
            return nat_command(())
        join = probing_server(self.report)
        network_id = network_to_name(self._network_id) if join is not None else None
        servers = (server.address for server in self.report.servers)
        return nat_command(servers, join=join, network_id=network_id)

    @property
    def state(self) -> str:
        """The state, for the pane's title."""
        if self.running:
            return "diagnosing"
        return type_words(self.report) if self.report is not None else ""

    def copied_text(self) -> str:
        """The report as Markdown; without one, what is shown."""
        if self.report is None:
            return self.facts.plain
        return report_markdown(self.report, self.command)

    # How it looks.

    def _draw(self) -> None:
        width = max(self.scrollable_content_region.width, _MIN_WIDTH)
        parts = []
        if self.running:
            parts.append(self._progress_text(width))
        elif self._failure:
            parts.append(_wrapped(f"No report: {self._failure}", width, "red"))
        if self.report is not None:
            parts.append(report_text(self.report, self.command, width))
        if self.report is None or self.report.nat_type is NatType.UNKNOWN:
            # A diagnosis that found out nothing replaces nothing.
            parts.append(self._known)
        if not self.running:
            parts.append(_wrapped(self._next_step(), width, "dim"))
        # The number of lines does not say how many rows they take.
        self.show_facts(Text("\n\n").join(parts), layout=True)

    def _progress_text(self, width: int) -> Text:
        text = Text("Diagnosing\n", "bold")
        for step in self._steps:
            text.append_text(_wrapped(step, width, indent="  ", first="· "))
            text.append("\n")
        text.append(f"{self._keys['nat.cancel']} or Escape cancels", "dim")
        return text

    def _next_step(self) -> str:
        again, copy = self._keys["nat.diagnose"], self._keys["facts.copy"]
        if self.report is not None:
            return f"{again} diagnoses again, {copy} copies the report as Markdown."
        return f"{again}, or the command nat [SERVER...], finds out what the NAT does: 2 seconds."

    def on_resize(self) -> None:
        """Lines are as long as there is room."""
        self._draw()

    def on_show(self) -> None:
        """Shown for the first time, it has a width."""
        self._draw()

    # Keys.

    def action_diagnose(self) -> None:
        """Ask for a diagnosis with the same servers as the last one."""
        self.post_message(self.Asked(shlex.join(["nat", *self._asked])))


def report_text(report: NatReport, command: str, width: int) -> Text:
    """A report for people: first the verdict, then what to do, then the evidence.

    Args:
        report: The report.
        command: The shell command that makes the same report.
        width: Cells of a line.
    """
    verdict = type_words(report)
    if not report.is_doubtful and part_words(report) is None:
        verdict += f": {confidence_words(report.confidence)}"
        if report.confidence > 0:
            verdict += f" ({report.confidence:.0%})"
    style = f"bold {_VERDICT_STYLES[NatType.UNKNOWN if report.is_doubtful else report.nat_type]}"
    parts = [_wrapped(verdict, width, style)]
    parts += [
        _wrapped(words, width, look)
        for words, look in (
            (report.meaning, ""),
            (report.advice, "bold"),
        )
        if words
    ]
    parts.append(_joined(_row(label, value, width) for label, value in report_rows(report)))
    if report.servers:
        parts.append(_list("servers", (f"{a}: {said}" for a, said in server_rows(report)), width))
    if report.evidence:
        lines = (printable(line, EVIDENCE_CHARACTERS) for line in report.evidence)
        parts.append(_list("evidence", lines, width))
    shell = f"the same from a shell, in {report.duration_s:.1f} s"
    parts.append(_list(shell, [command], width, first="  "))
    return Text("\n\n").join(parts)


def _list(heading: str, lines: Iterable[str], width: int, first: str = "· ") -> Text:
    items = (_wrapped(line, width, indent="  ", first=first) for line in lines)
    return _joined([_wrapped(heading, width, "dim"), *items])


def _row(label: str, value: str, width: int) -> Text:
    """Label and value, side by side if the value fits there."""
    if width < _TABLE_FROM:
        one_line = len(label) + 2 + len(value) <= width
        gap = "  " if one_line else "\n  "
        body = Text(value) if one_line else _wrapped(value, width, indent="  ")
        return Text.assemble((label, "dim"), gap, body)
    indent = " " * _LABEL_WIDTH
    return Text.assemble((label.ljust(_LABEL_WIDTH), "dim"), _wrapped(value, width, indent=indent))


def _joined(lines: Iterable[Text]) -> Text:
    return Text("\n").join(lines)


def _wrapped(text: str, width: int, style: str = "", *, indent: str = "", first: str = "") -> Text:
    """A paragraph, wrapped so that the lines after the first stand under it.

    Args:
        text: One line of harmless text.
        width: Cells of a line.
        style: The style of the paragraph.
        indent: Precedes each line but the first, for which the caller has left room.
        first: Precedes the first line instead.
    """
    room = max(width - len(indent), _MIN_WIDTH)
    lines = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    return Text(first + f"\n{indent}".join(lines), style)


# What is known without a diagnosis.


def nat_facts(node: Node, servers: list[PeerView]) -> Text:
    """What the servers said about this node's address, and what follows from it so far.

    Args:
        node: This node.
        servers: The peers that it asked for a session.
    """
    text = Text()
    text.append("local    ", "dim")
    text.append(f"{format_address(node.address)}\n")
    told = [peer for peer in servers if peer.public_address is not None]
    seen = Counter(format_address(peer.public_address) for peer in told if peer.public_address)
    text.append("public   ", "dim")
    if not seen:
        text.append("unknown\n", "yellow")
        text.append("\nA server can tell: connect HOST:PORT\n")
    for place, (address, count) in enumerate(seen.most_common(4)):
        text.append(" " * 9 * (place > 0))
        text.append(f"{address}\n", "bold green")
        text.append(f"         to {count} server{'s' * (count > 1)}\n", "dim")
    if told:
        text.append("\nas told by\n", "dim")
    for peer in told[:MAX_SERVERS_SHOWN]:
        text.append(f"  {printable(peer.name, 24)} {format_address(peer.address)}\n")
    if seen:
        text.append(_meaning(len(told), len(seen), format_address(node.address) in seen))
    text.right_crop(1)
    return text


def _meaning(servers: int, addresses: int, own: bool) -> str:
    if own and addresses == 1:
        return "\nServers see the local address itself: there is no NAT on the way to them.\n"
    if servers < 2:
        return "\nTwo servers would tell whether the NAT keeps one address for all.\n"
    if addresses == 1:
        return "\nAll servers see the same address: the mapping does not depend on them.\n"
    return (
        "\nServers see different addresses: the mapping depends on the destination,"
        " or the way to them differs.\n"
    )
