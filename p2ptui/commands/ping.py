"""Measure the round trip to a node."""

import argparse
import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from p2ptui.commands import CommandParser, positive_seconds
from p2ptui.commands.session import (
    DEFAULT_TIMEOUT_S,
    Target,
    add_target_arguments,
    command_config,
    first_hop,
    gather_cancelled,
    milliseconds,
    open_node,
    print_json,
    reach,
)
from p2ptui.core.events import Path
from p2ptui.errors import P2PError
from p2ptui.text import printable
from p2ptui.wire.address import Address, format_address

DEFAULT_COUNT: Final = 4
DEFAULT_INTERVAL_S: Final = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `p2ptui ping` takes."""
    add_target_arguments(parser)
    parser.add_argument(
        "-n", dest="count", type=_count, default=DEFAULT_COUNT, metavar="COUNT", help="samples (4)"
    )
    parser.add_argument(
        "--interval",
        type=positive_seconds,
        default=DEFAULT_INTERVAL_S,
        metavar="S",
        help="seconds between them (1)",
    )
    parser.add_argument(
        "--timeout",
        type=positive_seconds,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help="seconds to wait for an answer (10)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a count of 1 to 1,000,000")
    return int(text)


@dataclass(slots=True)
class Samples:
    """The round trips of one run; times in seconds."""

    sent: int = 0
    rtts_s: list[float] = field(default_factory=list)
    path: Path | None = None
    address: Address | None = None
    last_error: str = ""

    def quantile(self, q: float) -> float | None:
        """The nearest-rank quantile, or None without samples."""
        ordered = sorted(self.rtts_s)
        return ordered[max(math.ceil(q * len(ordered)) - 1, 0)] if ordered else None

    @property
    def loss(self) -> float:
        """The share of unanswered samples."""
        return 1 - len(self.rtts_s) / self.sent if self.sent else 0.0

    def summary_ms(self) -> dict[str, float | None]:
        """Minimum, average, median, 95th percentile and maximum in milliseconds."""
        average = sum(self.rtts_s) / len(self.rtts_s) if self.rtts_s else None
        return {
            "min": milliseconds(min(self.rtts_s, default=None)),
            "avg": milliseconds(average),
            "p50": milliseconds(self.quantile(0.5)),
            "p95": milliseconds(self.quantile(0.95)),
            "max": milliseconds(max(self.rtts_s, default=None)),
        }


async def run(
    options: argparse.Namespace, parser: CommandParser, environ: Mapping[str, str]
) -> int:
    """Ping, print, and tell by the exit code whether anything was answered."""
    config = command_config(options, environ)
    server = await first_hop(options, parser)
    async with open_node(config, server) as node:
        target = await reach(node, options, server, options.timeout)
        if not options.json:
            name = printable(target.name, 64)
            print(f"PING {name} ({target.node_id}), {target.path.value}", flush=True)
        samples = Samples()
        try:
            await _measure(target, options, samples)
        finally:
            if options.json:
                print_json(_report(options, target, samples))
            else:
                _print_summary(samples)
    return 0 if samples.rtts_s else 1


async def _measure(target: Target, options: argparse.Namespace, samples: Samples) -> None:
    # Each sample waits by itself: a lost one does not delay the next.
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []
    try:
        for number in range(1, options.count + 1):
            samples.sent += 1
            tasks.append(loop.create_task(_sample(target, number, options, samples)))
            if number < options.count:
                await asyncio.sleep(options.interval)
        await asyncio.gather(*tasks)
    finally:
        await gather_cancelled(tasks)


async def _sample(
    target: Target, number: int, options: argparse.Namespace, samples: Samples
) -> None:
    try:
        result = await target.ping(options.timeout)
    except P2PError as error:
        samples.last_error = str(error)
        if not options.json:
            print(f"{number}: {printable(samples.last_error)}", flush=True)
        return
    samples.rtts_s.append(result.rtt_s)
    samples.path, samples.address = result.path, result.address
    if not options.json:
        where = format_address(result.address)
        print(f"{number}: {result.rtt_s * 1000:.3f} ms from {where}", flush=True)


def _report(options: argparse.Namespace, target: Target, samples: Samples) -> dict[str, Any]:
    return {
        "target": options.target,
        "node_id": target.node_id,
        "path": (samples.path or target.path).value,
        "address": format_address(samples.address or target.address),
        "sent": samples.sent,
        "received": len(samples.rtts_s),
        "loss": round(samples.loss, 4),
        "rtt_ms": samples.summary_ms(),
        "samples_ms": [milliseconds(rtt_s) for rtt_s in samples.rtts_s],
    }


def _print_summary(samples: Samples) -> None:
    print(f"{samples.sent} sent, {len(samples.rtts_s)} answered, {samples.loss:.0%} lost")
    if samples.rtts_s:
        figures = ", ".join(f"{name} {value}" for name, value in samples.summary_ms().items())
        print(f"round trip in ms: {figures}")
