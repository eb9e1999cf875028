"""What the benchmark found: for machines as JSON, for people as a table."""

from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec

from tests.bench.machine import Machine, Program

FORM: Final = 1
"""The version of the JSON; it grows when a key changes its meaning."""

BUSY_BY_CLOCK: Final = 1.5
"""If the fastest round of the bare C echo has this many times the rate of its slowest, others used
the cores: ratios by the clock then say little."""

BUSY_BY_CPU: Final = 1.35
"""Likewise for its CPU time per datagram: then no ratio of this run says much."""


LEAST_SHARE: Final = 0.6
"""The least share of its core that the bare C echo gets if nobody else uses it."""


class Spread(msgspec.Struct, forbid_unknown_fields=True):
    """The median of the rounds, and their spread."""

    median: float
    least: float
    most: float


def spread(samples: Sequence[float]) -> Spread:
    """The spread of some samples."""
    return Spread(median(samples), min(samples), max(samples))


class Row(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A line of the table. All ratios are to the bare C echo in the same round: 1 is as good as it,
    more is better."""

    key: str
    title: str
    rate: Spread | None = None
    """Answers per second, by the clock."""
    by_clock: Spread | None = None
    """This rate over that of the C echo."""
    cpu_us: Spread | None = None
    """CPU time of the server per answer, microseconds."""
    by_cpu: Spread | None = None
    """The CPU time of the C echo per datagram, divided by this."""
    echo_rate: Spread | None = None
    echo_cpu_us: Spread | None = None
    share: Spread | None = None
    """CPU time of the server divided by the time of the round: near 1 if nobody else used its
    core."""
    echo_share: Spread | None = None
    lost: int = 0
    """Answers that did not come."""
    figures: dict[str, float] = {}
    """What else was measured; the unit ends the name: `_us`, `_ms`, `_s`, `_mb`, `_kb`, `_percent`;
    `_growth` and `_ratio` have none."""
    note: str = ""
    skipped: str = ""
    """Why it was not measured."""


class Report(msgspec.Struct, forbid_unknown_fields=True):
    """A run."""

    form: int
    machine: Machine
    program: Program
    rounds: int
    quick: bool
    seconds: float
    """How long the run took."""
    rows: list[Row]
    busy: list[str]
    """Why the machine was too busy to judge; empty if it was not."""


def judged(rows: Sequence[Row], machine: Machine) -> list[str]:
    """Why the machine was too busy for meaningful results; empty if it was not."""
    why = []
    for what, limit, spreads in (
        ("rate", BUSY_BY_CLOCK, [row.echo_rate for row in rows if row.echo_rate]),
        ("CPU a datagram", BUSY_BY_CPU, [row.echo_cpu_us for row in rows if row.echo_cpu_us]),
    ):
        # The median row decides: a single disturbed one does not make the machine busy.
        apart = sorted(one.most / one.least for one in spreads if one.least > 0)
        if apart and (usual := median(apart)) > limit:
            ratios = "ratios by the clock" if what == "rate" else "all ratios"
            why.append(
                f"the {what} of the bare C echo itself varies by x {usual:.2f} between rounds"
                f" (x {limit:g} at most for a quiet machine): doubt {ratios}"
            )
    shares = [row.echo_share.median for row in rows if row.echo_share]
    if shares and (usual := median(shares)) < LEAST_SHARE:
        why.append(
            f"the bare C echo had {usual:.0%} of its core while it was loaded"
            f" ({LEAST_SHARE:.0%} at least on a quiet machine): doubt ratios by the clock"
        )
    if machine.load_before > machine.cores / 2 and not machine.alone:
        why.append(
            f"the load was {machine.load_before:.1f} on {machine.cores} cores before the run:"
            " others were at work"
        )
    if not machine.pinned:
        why.append("there is one core for servers and load together")
    return why


_UNITS: Final = {
    "us": " us",
    "ms": " ms",
    "s": " s",
    "mb": " MB",
    "kb": " kB",
    "percent": " %",
    "growth": "",
    "ratio": "",
}


def _words(name: str, value: float) -> str:
    what, _, unit = name.rpartition("_")
    digits = 0 if value >= 1000 else 1 if value >= 10 else 2
    before = "x " if unit == "growth" else ""
    return f"{what.replace('_', ' ')} {before}{value:,.{digits}f}{_UNITS[unit]}"


def _ratio(of: Spread | None) -> str:
    return "" if of is None else f"{of.median:.2f} ({of.least:.2f}-{of.most:.2f})"


def _cells(row: Row) -> list[str]:
    if row.skipped:
        return [row.title, "", "", "", "", f"skipped: {row.skipped}"]
    remarks = [_words(name, value) for name, value in row.figures.items()]
    if row.lost:
        remarks.append(f"{row.lost} lost")
    if row.note:
        remarks.append(row.note)
    return [
        row.title,
        "" if row.rate is None else f"{row.rate.median:,.0f}",
        _ratio(row.by_clock),
        "" if row.cpu_us is None else f"{row.cpu_us.median:,.1f}",
        _ratio(row.by_cpu),
        "; ".join(remarks),
    ]


HEAD: Final = ("row", "answers/s", "/ C by the clock", "CPU us", "/ C by CPU", "and")


def table(rows: Sequence[Row]) -> str:
    """The table in Markdown: medians, with the least and the most in brackets."""
    lines = [f"| {' | '.join(HEAD)} |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    lines += (f"| {' | '.join(_cells(row))} |" for row in rows)
    return "\n".join(lines)


def beside(reports: Sequence[Report]) -> str:
    """Several programs of one run side by side, in Markdown; how much faster each is than the first
    one is judged by CPU time."""
    letters = _LETTERS[: len(reports)]
    builds = [report.program.build for report in reports]
    names = [f"{letter}: {build}" for letter, build in zip(letters, builds, strict=True)]
    head = ["row"]
    for what in ("/ C by the clock", "/ C by CPU", "CPU us"):
        head += [f"{what}, {name}" for name in names]
    head += [f"CPU us, A over {letter}" for letter in letters[1:]]
    lines = [f"| {' | '.join([*head, 'and'])} |"]
    lines.append("| --- |" + " ---: |" * (len(head) - 1) + " --- |")
    for same in zip(*(report.rows for report in reports), strict=True):
        cells = [same[0].title]
        cells += [_ratio(row.by_clock) for row in same]
        cells += [_ratio(row.by_cpu) for row in same]
        cells += ["" if row.cpu_us is None else f"{row.cpu_us.median:,.1f}" for row in same]
        cells += [_over(same[0], row) for row in same[1:]]
        remarks = [_cells(row)[-1] for row in same]
        told = [
            f"{letter}: {words}" for letter, words in zip(letters, remarks, strict=True) if words
        ]
        cells.append("; ".join(told))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


_LETTERS: Final = "ABCDEFGH"
"""The names of the programs of one run."""


def _over(first: Row, other: Row) -> str:
    if first.cpu_us is None or other.cpu_us is None or not other.cpu_us.median:
        return ""
    return f"{first.cpu_us.median / other.cpu_us.median:.2f}"


def heading(report: Report) -> str:
    """What was measured, and where."""
    machine, program = report.machine, report.program
    about = [] if f"({program.build})" in program.says else [program.build]
    about += [f"commit {program.commit}"] if program.commit else []
    said = f"{program.says} ({', '.join(about)})" if about else program.says
    pinned = "one for the servers, one for the load" if machine.pinned else "shared by all"
    pinned += "; other programs waited" if machine.alone else ""
    return "\n".join(
        [
            f"{said}, {program.python}",
            f"{machine.cpu}, {machine.cores} cores ({pinned}), {machine.system}",
            f"load {machine.load_before:.1f} before, {machine.load_after:.1f} after;"
            f" {report.rounds} rounds, {report.seconds:.0f} s",
        ]
    )


def verdict(report: Report) -> str:
    """Whether the machine was quiet enough."""
    if not report.busy:
        return "The machine was quiet enough: the bare C echo was steady."
    return "TOO BUSY TO JUDGE: " + "; ".join(report.busy) + "."
