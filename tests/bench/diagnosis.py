"""How often a diagnosis is right: `python -m tests.bench.diagnosis [--loss]` prints a table.

Kernel NATs of each kind, all at once and each with a network of its own (tests/natlab; needs root
and nftables). "Unknown" means that the report says that it does not know; "wrong" is any other
difference.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.natlab.diagnosing import (
    STUN_PORT,
    Findings,
    expected,
    judged,
    start_diagnoses,
    start_node,
)
from tests.natlab.laboratory import Host, Laboratory
from tests.natlab.namespaces import missing
from tests.natlab.rules import Kind

ROWS: Final[Sequence[tuple[Kind, ...]]] = (
    *((kind,) for kind in Kind),
    (Kind.FULL_CONE, Kind.PORT_RESTRICTED),
    (Kind.RESTRICTED, Kind.FULL_CONE),
    (Kind.PORT_RESTRICTED, Kind.SYMMETRIC_STEP_1),
    (Kind.SYMMETRIC_RANDOM, Kind.FULL_CONE),
)
"""The NATs in between, the outermost first."""

FIELDS: Final = (
    "nat_type",
    "mapping",
    "filtering",
    "allocation",
    "hairpin",
    "firewall",
    "findings",
)
LOSS_PERCENT: Final = 10
STRAGGLERS_S: Final = 2.0
LIFETIMES_S: Final = (10, 30, 60)


@dataclass
class Tally:
    """The results of the runs behind one kind."""

    results: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in FIELDS}
    )
    durations_s: list[float] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, report: dict[str, Any], wanted: Findings) -> None:
        """Count one report."""
        results = judged(report, wanted)
        for name in FIELDS:
            self.results[name][results[name]] += 1
        if set(results.values()) != {"right"}:
            self.failures.append(report)
        self.durations_s.append(report["duration_s"])


def measure(runs: int, loss_percent: int) -> dict[str, Tally]:
    """Diagnose this often behind each kind; the keys are the kinds' names."""
    # The pool ends last: its threads wait for something that ends with the laboratory.
    with (
        ThreadPoolExecutor(len(ROWS)) as pool,
        Laboratory() as laboratory,
        tempfile.TemporaryDirectory() as directory,
    ):
        server = _server(laboratory, Path(directory))
        hosts = [_host(laboratory, kinds, loss_percent) for kinds in ROWS]
        done = pool.map(lambda kinds, host: _tally(kinds, host, runs, server), ROWS, hosts)
        names = (" behind ".join(reversed(kinds)) for kinds in ROWS)
        return dict(zip(names, done, strict=True))


def _tally(kinds: Sequence[Kind], host: Host, runs: int, server: str) -> Tally:
    tally = Tally()
    process = start_diagnoses(host, [server])
    for _ in range(runs):
        tally.add(_report(process), expected(*kinds))
        if Kind.BANNING in kinds:
            # A reply still in flight would get its sender banned for the next run.
            time.sleep(STRAGGLERS_S)
        # The next run is a machine's first: the pool of ports is small, and 200 mappings remain.
        nat = host.nat
        while nat is not None:
            nat.forget()
            nat = nat.behind
    return tally


def _report(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    report: dict[str, Any] = json.loads(process.stdout.readline())
    return report


def measure_lifetimes() -> dict[int, dict[str, Any]]:
    """The report for each mapping timeout, seconds; takes a little longer than the longest."""
    with (
        ThreadPoolExecutor(len(LIFETIMES_S)) as pool,
        Laboratory() as laboratory,
        tempfile.TemporaryDirectory() as directory,
    ):
        server = _server(laboratory, Path(directory))
        processes = []
        for timeout_s in LIFETIMES_S:
            host = _host(laboratory, (Kind.PORT_RESTRICTED,), timeout_s=timeout_s)
            processes.append(start_diagnoses(host, [server], lifetime=True))
        return dict(zip(LIFETIMES_S, pool.map(_report, processes), strict=True))


def _server(laboratory: Laboratory, directory: Path) -> str:
    host = laboratory.server()
    node = start_node(host, directory, other_host=host.addresses[1])
    assert node.poll() is None
    return f"{host.address}:{STUN_PORT}"


def _host(
    laboratory: Laboratory,
    kinds: Sequence[Kind],
    loss_percent: int = 0,
    timeout_s: int | None = None,
) -> Host:
    outermost, *others = kinds
    nat = laboratory.nat(outermost, loss_percent=loss_percent, mapping_timeout_s=timeout_s)
    for kind in others:
        nat = nat.nat(kind, mapping_timeout_s=timeout_s)
    return nat.host()


def _print_table(tallies: dict[str, Tally]) -> None:
    print(f"| between | {' | '.join(FIELDS)} | median s | worst s |")
    print(f"| --- |{' ---: |' * (len(FIELDS) + 2)}")
    for name, tally in tallies.items():
        cells = [
            " / ".join(
                str(tally.results[field][result]) for result in ("right", "unknown", "wrong")
            )
            for field in FIELDS
        ]
        median, worst = statistics.median(tally.durations_s), max(tally.durations_s)
        print(f"| {name} | {' | '.join(cells)} | {median:.2f} | {worst:.2f} |")
    reports = sum(len(tally.durations_s) for tally in tallies.values())
    total = Counter[str]()
    for tally in tallies.values():
        total += tally.results["nat_type"]
    shares = ", ".join(f"{total[name]} {name}" for name in ("right", "unknown", "wrong"))
    print(f"\nnat_type of {reports} reports: {shares} ({total['right'] / reports:.2%} right)\n")


def main() -> None:
    """Run what the arguments ask for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50, help="diagnoses a kind")
    parser.add_argument(
        "--loss", action="store_true", help=f"lose {LOSS_PERCENT} %% of the packets, each way"
    )
    parser.add_argument("--lifetime", action="store_true", help="measure lifetimes instead")
    parser.add_argument("--failures", type=Path, help="append the reports that are not right")
    options = parser.parse_args()
    if (reason := missing()) is not None:
        sys.exit(reason)
    if options.lifetime:
        print(
            "| mapping timeout s | found s | difference | took s |\n| ---: | ---: | ---: | ---: |"
        )
        for timeout_s, report in measure_lifetimes().items():
            found_s = report["lifetime_s"]
            share = "-" if found_s is None else f"{found_s / timeout_s - 1:+.1%}"
            print(f"| {timeout_s} | {found_s} | {share} | {report['duration_s']:.0f} |")
        return
    print("Right / unknown / wrong.\n")
    tallies = measure(options.runs, LOSS_PERCENT if options.loss else 0)
    _print_table(tallies)
    if options.failures:
        with options.failures.open("a") as file:
            for name, tally in tallies.items():
                file.writelines(f"{json.dumps([name, one])}\n" for one in tally.failures)


if __name__ == "__main__":
    main()
