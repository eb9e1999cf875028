"""Measure the round trip to a node."""

import argparse
import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from p2ptui.commands import CommandParser, Work, positive_seconds
from p2ptui.commands.session import (
    DEFAULT_TIMEOUT_S,
    TargetSpec,
    add_target_arguments,
    command_config,
    milliseconds,
    open_target,
    read_way,
    require_reach,
)
from p2ptui.commands.target import Deadline, Target
from p2ptui.config import Config
from p2ptui.core.events import Path
from p2ptui.errors import P2PError
from p2ptui.text import printable, shown, whole_number
from p2ptui.wire.address import format_address

DEFAULT_COUNT: Final = 4
DEFAULT_INTERVAL_S: Final = 1.0

MAX_COUNT: Final = 1_000_000

MAX_WAITING: Final = 32
"""Most samples in flight at once: a node remembers no more Pings to one peer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `p2ptui ping`."""
    add_target_arguments(parser)
    parser.add_argument(
        "-n", dest="count", type=_count, default=DEFAULT_COUNT, metavar="COUNT", help="samples (4)"
    )
    parser.add_argument(
        "--interval",
        type=positive_seconds,
        default=DEFAULT_INTERVAL_S,
        metavar="S",
        help="seconds between samples (1)",
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
    count = whole_number(text, MAX_COUNT)
    if not count:
        words = f"{shown(text, 20)} is not a count of 1 to {MAX_COUNT:,}"
        raise argparse.ArgumentTypeError(words)
    return count


@dataclass(slots=True)
class Samples:
    """The round trips of one run; times in seconds."""

    sent: int = 0
    rtts_s: list[float] = field(default_factory=list)
    first_reply_s: float | None = None
    """From the beginning of the command to the first answer."""
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


def prepare(options: argparse.Namespace, parser: CommandParser, environ: Mapping[str, str]) -> Work:
    """Check the arguments; the result pings, and prints."""
    if (wrong := str(options.config)).isdigit():
        parser.error(f"-c names a configuration file; for the number of samples: -n {wrong}")
    config = command_config(options, environ)
    spec = read_way(options, parser)
    options.answer.tell(
        {"target": options.target, "node_id": None, "sent": 0, "received": 0, "loss": 0.0}
    )
    for server in spec.servers:
        require_reach(server, parser)
    return lambda: _run(options, config, spec)


async def _run(options: argparse.Namespace, config: Config, spec: TargetSpec) -> int:
    async with open_target(config, spec, Deadline(options.timeout)) as target:
        if not options.json:
            name = printable(target.name, 64)
            print(f"PING {name} ({target.node_id}), {target.path.value}", flush=True)
        samples = Samples()
        try:
            await _measure(target, options, samples)
        finally:
            # Also when it is interrupted.
            if options.json:
                options.answer.tell(_report(options, target, samples))
            else:
                _print_summary(target, samples)
    if not samples.rtts_s:
        raise P2PError(samples.last_error)
    return 0


async def _measure(target: Target, options: argparse.Namespace, samples: Samples) -> None:
    # Each sample waits by itself: a lost one does not delay the next.
    loop = asyncio.get_running_loop()
    waiting: set[asyncio.Task[None]] = set()
    try:
        for number in range(1, options.count + 1):
            samples.sent += 1
            waiting.add(loop.create_task(_sample(target, number, options, samples)))
            if number < options.count:
                await asyncio.sleep(options.interval)
                waiting = await _without_finished(waiting)
        await asyncio.gather(*waiting)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _without_finished(waiting: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """The tasks that still wait, once there is room for one more."""
    if len(waiting) >= MAX_WAITING:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        if task.done():
            task.result()  # its output may have failed
    return {task for task in waiting if not task.done()}


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
    if samples.first_reply_s is None:
        samples.first_reply_s = asyncio.get_running_loop().time() - target.began
    if not options.json:
        way = " by relay" if result.path is Path.RELAY else ""
        where = format_address(result.address)
        print(f"{number}: {result.rtt_s * 1000:.3f} ms from {where}{way}", flush=True)


def _report(options: argparse.Namespace, target: Target, samples: Samples) -> dict[str, Any]:
    connection = target.connection
    return {
        "target": options.target,
        "node_id": target.node_id,
        "path": target.path.value,
        "address": format_address(target.address),
        "sent": samples.sent,
        "received": len(samples.rtts_s),
        "loss": round(samples.loss, 4),
        "rtt_ms": samples.summary_ms(),
        "samples_ms": [milliseconds(rtt_s) for rtt_s in samples.rtts_s],
        "method": _method(target),
        "first_reply_ms": milliseconds(samples.first_reply_s),
        "direct_after_ms": milliseconds(connection.direct_after_s),
        "attempts": connection.attempts,
        "checks": connection.checks,
        "bytes_spent": connection.bytes_spent,
        "reason": connection.reason,
        **target.trust_fields,
    }


def _method(target: Target) -> str:
    """How the path was found; `relay` while a node is relayed, whatever was tried before."""
    return "relay" if target.path is Path.RELAY else target.connection.method.value


def _print_summary(target: Target, samples: Samples) -> None:
    print(f"{samples.sent} sent, {len(samples.rtts_s)} answered, {samples.loss:.0%} lost")
    if samples.rtts_s:
        figures = ", ".join(f"{name} {value}" for name, value in samples.summary_ms().items())
        print(f"round trip in ms: {figures}")
    relayed = target.path is Path.RELAY
    if relayed or target.connection.direct_after_s is not None:
        print(printable(target.connection.words(relayed=relayed), 400))
