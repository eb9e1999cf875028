"""A NAT report for people: the lines of the table, Markdown that can be pasted anywhere, and the
shell command that makes the same report.
"""

import re
import shlex
from collections.abc import Iterable
from typing import Final

from p2ptui.nat.allocation import AllocationKind, PortAllocation
from p2ptui.nat.behavior import Change, Dependence, NatType
from p2ptui.nat.report import NatReport
from p2ptui.text import printable
from p2ptui.wire.address import format_address, parse_ip_address

COMMAND_CHARACTERS: Final = 2000

NO_ANSWER: Final = "no answer"
DOUBT: Final = "blocked here, or the only server that was asked is down"

_UDP: Final = {True: "passes", False: "blocked", None: "not tested"}
_NOT_MEASURED = "not measured"
_PEER_PROBE: Final = re.compile(
    re.escape(f"filtering: a reply from {Change.PEER.value} ")
    + r"(?:came in|did not come in, asked \d+ times) \(arranged by ([0-9a-fA-F.:\[\]]+)[,)]"
)
# One from another port says nothing about other hosts, which is what was to be found out.
_FILTER_SEEN: Final = re.compile(
    rf"filtering: a reply from (?!{re.escape(Change.PORT.value)} ).*(?:came in|come in|refused)"
)
_PARTS: Final = {
    Dependence.NONE: "no NAT",
    Dependence.ENDPOINT_INDEPENDENT: "one address for all",
}


def report_rows(report: NatReport) -> list[tuple[str, str]]:
    """Label and value of each line, in the order in which a user wants them."""
    rows = [
        ("NAT type", verdict_words(report)),
        ("UDP", DOUBT if report.is_doubtful else _UDP[report.udp]),
    ]
    for label, address in (
        ("local address", report.local),
        ("public address", report.mapped),
        ("public over IPv6", report.mapped_v6),
    ):
        if address is not None:
            rows.append((label, format_address(address)))
    if report.udp:
        rows += [
            ("mapping", report.mapping.value),
            ("filtering", _filtering_words(report)),
            ("port allocation", allocation_words(report.port_allocation)),
            ("hairpin", _yes_or_no(report.hairpin)),
            ("firewall", _yes_or_no(report.firewall)),
            *(("also", finding.value) for finding in report.findings),
            ("addresses rewritten", _yes_or_no(report.alg)),
            ("largest packet", f"{report.mtu} bytes" if report.mtu else "unknown"),
        ]
        lifetime = report.lifetime_s
        rows.append(
            ("mapping lifetime", _NOT_MEASURED if lifetime is None else f"{lifetime:.0f} s")
        )
    return rows


def server_rows(report: NatReport) -> list[tuple[str, str]]:
    """Each server, and its round trip or why it was of no use."""
    rows = []
    for server in report.servers:
        said = server.error or "no answer"
        if server.ok and server.rtt_ms is not None:
            said = f"{server.rtt_ms:.1f} ms"
        at = "" if server.at is None else f" ({format_address(server.at)})"
        rows.append((printable(server.address, 80) + at, printable(said, 200)))
    return rows


def nat_command(
    servers: Iterable[str],
    *,
    join: str | None = None,
    lifetime: bool = False,
    network_id: str | None = None,
    config: str | None = None,
) -> str:
    """The diagnosis as a shell command, quoted, and harmless where it is displayed.

    Args:
        servers: The servers to ask, `host:port` each; none: those of the configuration.
        join: The node to join, `host:port`.
        lifetime: Whether the lifetime of a mapping is measured.
        network_id: The network of the node to join, if it is not the usual one.
        config: The configuration file.
    """
    words = ["p2ptui", "nat"]
    for server in dict.fromkeys(servers):
        words += ["--server", server]
    for option, value in (("--join", join), ("--network-id", network_id), ("--config", config)):
        if value is not None:
            words += [option, value]
    if lifetime:
        words.append("--lifetime")
    return printable(shlex.join(words), COMMAND_CHARACTERS)


def probing_server(report: NatReport) -> str | None:
    """The joined server, `host:port`, whose peer showed what is let in; None without one."""
    found = map(_PEER_PROBE.match, report.evidence)
    return next((match[1] for match in found if match and parse_ip_address(match[1])), None)


def report_markdown(report: NatReport, command: str) -> str:
    """The whole report as Markdown.

    Args:
        report: The report.
        command: The shell command that makes the same report.
    """
    lines = ["## NAT report", "", report.meaning, "", f"**What to do:** {report.advice}", ""]
    lines += ["| | |", "| --- | --- |"]
    lines += [f"| {label} | {value} |" for label, value in report_rows(report)]
    lines += ["", "| server | round trip |", "| --- | --- |"]
    lines += [f"| {_cell(_code(name))} | {_cell(said)} |" for name, said in server_rows(report)]
    lines += ["", "Evidence:", ""]
    lines += [f"- {printable(line, 1000)}" for line in report.evidence]
    lines += ["", f"Made by {_code(command)} in {report.duration_s:.1f} s.", ""]
    return "\n".join(lines)


def _filtering_words(report: NatReport) -> str:
    if not report.spared:
        return report.filtering.value
    names = " and ".join(printable(name, 80) for name in report.spared)
    return f"not tested: it could have {names} banned"


def allocation_words(allocation: PortAllocation) -> str:
    """How ports are chosen, on one line."""
    words: str = allocation.kind.value
    if allocation.kind is AllocationKind.SEQUENTIAL:
        words += f", step {allocation.step}"
    if allocation.kind is not AllocationKind.PRESERVED and allocation.parity_preserved:
        words += ", parity kept"
    return words


def type_words(report: NatReport) -> str:
    """The type, or what is known about it; or that the only server asked is silent."""
    if report.is_doubtful:
        return NO_ANSWER
    return part_words(report) or str(report.nat_type.value)


def part_words(report: NatReport) -> str | None:
    """What is known about a type that could not be named, if anything."""
    part = _PARTS.get(report.mapping)
    if part is None or report.nat_type is not NatType.UNKNOWN:
        return None
    is_seen = not report.spared and any(map(_FILTER_SEEN.match, report.evidence))
    return f"{part}; filtering {'unclear' if is_seen else 'not tested'}"


def verdict_words(report: NatReport) -> str:
    """The type, and how sure it is; without the latter if the type has no name."""
    words = type_words(report)
    if report.is_doubtful or part_words(report) is not None:
        return words
    return f"{words} ({confidence_words(report.confidence)})"


def confidence_words(confidence: float) -> str:
    """How sure it is, for people."""
    if confidence >= 0.95:
        return "sure"
    if confidence >= 0.8:
        return "likely"
    return "weak" if confidence > 0 else "inconclusive"


def _code(text: str) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}" if longest else f"`{text}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _yes_or_no(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[value]
