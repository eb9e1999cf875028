"""A NAT report for people: the lines of the table, and Markdown that can be pasted anywhere."""

from p2ptui.nat.allocation import AllocationKind, PortAllocation
from p2ptui.nat.report import NatReport
from p2ptui.text import printable
from p2ptui.wire.address import format_address

_NOT_MEASURED = "not measured"


def report_rows(report: NatReport) -> list[tuple[str, str]]:
    """Label and value of each line, in the order in which a person wants them."""
    rows = [
        ("NAT type", f"{report.nat_type.value} ({confidence_words(report.confidence)})"),
        ("UDP", {True: "passes", False: "blocked", None: "not tested"}[report.udp]),
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
            ("filtering", report.filtering.value),
            ("port allocation", allocation_words(report.port_allocation)),
            ("hairpin", _yes_or_no(report.hairpin)),
            ("firewall", _yes_or_no(report.firewall)),
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
        rows.append((printable(server.address, 80), printable(said, 200)))
    return rows


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
    lines += [f"| `{_cell(name)}` | {_cell(said)} |" for name, said in server_rows(report)]
    lines += ["", "Evidence:", ""]
    lines += [f"- {printable(line, 1000)}" for line in report.evidence]
    lines += ["", f"Made by `{command}` in {report.duration_s:.1f} s.", ""]
    return "\n".join(lines)


def allocation_words(allocation: PortAllocation) -> str:
    """How ports are chosen, on one line."""
    words: str = allocation.kind.value
    if allocation.kind is AllocationKind.SEQUENTIAL:
        words += f", step {allocation.step}"
    if allocation.kind is not AllocationKind.PRESERVED and allocation.parity_preserved:
        words += ", parity kept"
    return words


def confidence_words(confidence: float) -> str:
    """How sure it is, for people."""
    if confidence >= 0.95:
        return "sure"
    if confidence >= 0.8:
        return "likely"
    return "a guess" if confidence > 0 else "inconclusive"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _yes_or_no(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[value]
