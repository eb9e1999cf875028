"""How fast p2ptui is: `python -m tests.bench` prints one table; it is not part of the test run.

Every row is compared with a bare echo in C that returned the same datagrams in the same round.
docs/performance.md explains the columns.
"""

import argparse
import platform
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec

from tests.bench import core, loopback, machine, profile_layers, table
from tests.bench.report import Report, beside, heading, verdict
from tests.bench.report import table as written

OLDER = ("core", "loopback")
"""Older tables: the core without sockets, and event loops compared with each other."""


def _print_core(rounds: int) -> None:
    print(f"Core alone: microseconds of CPU a datagram, median of {rounds} rounds of")
    print(f"{core.DATAGRAMS:,} datagrams from peers chosen at random.\n")
    titles = [f"{peers:,} peer{'s' if peers > 1 else ''}" for peers in core.PEERS]
    print(f"| datagram in, datagram out | {' | '.join(titles)} | growth |")
    print(f"| --- |{' ---: |' * (len(titles) + 1)}")
    for kind, figures in core.measure(rounds).items():
        cells = " | ".join(f"{figure:.1f}" for figure in figures)
        print(f"| {kind} | {cells} | x {figures[-1] / figures[0]:.2f} |")
    print()


def _print_loopback(rounds: int, seconds: float) -> None:
    servers = loopback.measure(rounds, seconds)
    generator = "compiled" if any(server.name.endswith("C") for server in servers) else "Python"
    print(f"Whole node on loopback: answers a second, {generator} load generator, one peer,")
    print(f"{loopback.WINDOW} messages under way, median of {rounds} rounds of {seconds:g} s.\n")
    bare = {server.name: server for server in servers if not server.is_node}
    columns = "".join(f" / {name} |" for name in bare)
    print(f"| server | message | answers/s |{columns} lost |")
    print(f"| --- | --- | ---: |{' ---: |' * len(bare)} ---: |")
    for kind in loopback.KINDS:
        for server in servers:
            ratios = " | ".join(f"{server.ratio(kind, other):.2f}" for other in bare.values())
            print(
                f"| {server.name} | {kind} | {server.rate(kind):,.0f} | {ratios} | {server.lost} |"
            )
    print()


def _print_table(options: argparse.Namespace, rows: tuple[str, ...]) -> int:
    if why := table.reason_to_skip():
        print(f"the table is skipped: {why}")
        return 0
    plan = table.QUICK if options.quick else table.Plan()
    plan = replace(plan, rounds=options.rounds or plan.rounds, alone=options.alone)
    tell = lambda words: print(f"... {words}", file=sys.stderr, flush=True)  # noqa: E731
    reports = table.compare(plan, rows, options.python or [None], tell)
    lines = [line for report in reports for line in heading(report).splitlines()]
    print("\n".join(dict.fromkeys(lines)))
    print(f"\n{written(reports[0].rows) if len(reports) == 1 else beside(reports)}\n")
    print("\n".join(dict.fromkeys(verdict(report) for report in reports)))
    if options.json:
        found = reports[0] if len(reports) == 1 else reports
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="rows: " + " ".join(table.ROWS),
    )
    add = parser.add_argument
    add("--rounds", type=int, help="of each measurement (9; quick 3; of the older tables 5)")
    add("--seconds", type=float, default=1.0, help="of one load of the older tables, at most (1)")
    add(
        "--only",
        choices=(*OLDER, *table.ROWS),
        action="append",
        metavar="WHAT",
        help="a row (may be given several times), or an older table: core, loopback",
    )
    add("--quick", action="store_true", help="fewer rounds, a smaller crowd: two minutes")
    add("--alone", action="store_true", help="have other programs wait meanwhile (needs root)")
    add(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the figures for machines, too; of several p2ptui a list",
    )
    add("--schema", action="store_true", help="print the JSON Schema of that file")
    add(
        "--python",
        action="append",
        metavar="PROGRAM",
        help="measure the p2ptui of this interpreter instead; given several times, all in one run",
    )
    add(
        "--profile",
        nargs="?",
        const="echo",
        choices=profile_layers.ROWS,
        metavar="ROW",
        help=f"where the time of a row goes: {', '.join(profile_layers.ROWS)} (echo)",
    )
    return parser


def _refuse(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse impossible options before anything is measured."""
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: one at least")
    if options.json and not options.json.parent.is_dir():
        parser.error(f"--json {options.json}: there is no folder {options.json.parent}")
    for python in options.python or ():
        try:
            found = subprocess.run(
                [python, "-c", "import p2ptui"], capture_output=True, check=False
            )
        except OSError as error:
            parser.error(f"--python {python}: {error.strerror}")
        if found.returncode:
            parser.error(f"--python {python}: no p2ptui is installed there")


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = _parser()
    options = parser.parse_args()
    _refuse(parser, options)
    if options.alone and not machine.may_be_alone():
        parser.error("--alone: this user may not have other programs wait; be root")
    if options.schema:
        schema = msgspec.json.encode(msgspec.json.schema(Report))
        print(msgspec.json.format(schema, indent=2).decode())
        return 0
    if options.profile:
        if why := table.reason_to_skip():
            print(f"the profile is skipped: {why}")
            return 0
        [python, *more] = options.python or [None]
        if more:
            parser.error("--profile: of one p2ptui at a time")
        seen = profile_layers.measure(options.profile, python, alone=options.alone)
        print(profile_layers.written(seen))
        return 0
    only = tuple(options.only or ())
    if older := [name for name in OLDER if name in only]:
        print(f"{platform.python_implementation()} {platform.python_version()}, {sys.platform}\n")
        if "core" in older:
            _print_core(options.rounds or 5)
        if "loopback" in older:
            _print_loopback(options.rounds or 5, options.seconds)
    rows = tuple(name for name in only if name not in OLDER)
    if only and not rows:
        return 0
    return _print_table(options, rows or table.ROWS)


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    # By an exception, so that everything started ends too.
    signal.signal(signal.SIGTERM, _end)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
