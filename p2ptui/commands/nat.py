"""Find out what the NAT in front of this machine does, and what that means."""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from p2ptui.commands import CommandParser, Once, Work
from p2ptui.commands.answer import ERROR, LONGEST_ERROR, print_json
from p2ptui.commands.servers import connect, look_up
from p2ptui.commands.session import (
    DEFAULT_TIMEOUT_S,
    command_config,
    open_node,
    read_address,
    tell_unsigned,
)
from p2ptui.commands.target import Deadline
from p2ptui.commands.warning import warn
from p2ptui.config import Config
from p2ptui.errors import P2PError
from p2ptui.nat.report import NatReport
from p2ptui.nat.report_text import nat_command, report_markdown, report_rows, server_rows
from p2ptui.node import Node
from p2ptui.text import printable, seconds_words
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.message import Capability

WATCH_S: Final = 10.0
"""The pause between two diagnoses of `--watch`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `p2ptui nat`."""
    add = parser.add_argument
    add(
        "--server",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="a STUN server to ask; may be given several times (default: the configured servers)",
    )
    add(
        "--filter-with",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="a server to ask, and to use for the filtering test even if this node or a program"
        " needs it: some NATs then ban it for a minute",
    )
    add(
        "--join",
        action=Once,
        metavar="HOST:PORT",
        help="a node to ask by STUN, together with its peers",
    )
    add("--lifetime", action="store_true", help="measure how long a mapping lives; takes minutes")
    add(
        "--watch",
        action="store_true",
        help=f"repeat every {seconds_words(WATCH_S)} until interrupted",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object per report")
    form.add_argument("--markdown", action="store_true", help="print Markdown, for an issue")


def prepare(options: argparse.Namespace, parser: CommandParser, environ: Mapping[str, str]) -> Work:
    """Check the arguments; the result diagnoses, and prints."""
    if options.watch:
        options.answer.tell_each()
    config = command_config(options, environ)
    servers = [format_address(read_address(text, parser)) for text in options.server]
    join = read_address(options.join, parser) if options.join is not None else None
    risked = [format_address(read_address(text, parser)) for text in options.filter_with]
    return lambda: _run(options, config, [*servers, *risked], join)


async def _run(
    options: argparse.Namespace, config: Config, servers: Sequence[str], join: Address | None
) -> int:
    async with AsyncExitStack() as stack:
        chosen: Sequence[str] | None = servers or None
        # This node exists only for the diagnosis: if the NAT bans a server, nobody misses it.
        risked = list(servers)
        if join is None:
            node = await stack.enter_async_context(Node(config.with_options(address="0.0.0.0:0")))
            tell_unsigned(node)
        else:
            deadline = Deadline(DEFAULT_TIMEOUT_S)
            at = await look_up(join, deadline)
            node = await stack.enter_async_context(open_node(config, at))
            peer = await connect(node, at, deadline)
            serves = Capability.STUN in peer.capabilities
            # A joined server is asked in any case; the configured ones only in place of others.
            chosen = servers if servers or serves else None
            risked += map(format_address, at)
        while True:
            try:
                report = await _diagnose(node, options, chosen, risked)
            except P2PError as error:
                if not options.watch:
                    raise
                _print_error(error, options)
            else:
                _print(report, options, _command(options))
                if not options.watch and options.json and not _is_told(report):
                    raise P2PError(report.meaning)
                if not options.watch:
                    return 0 if _is_told(report) else 1
            await asyncio.sleep(WATCH_S)


def _is_told(report: NatReport) -> bool:
    """Whether the question was answered: what the NAT is like, or that UDP is blocked."""
    return report.mapped is not None or report.udp is False


async def _diagnose(
    node: Node,
    options: argparse.Namespace,
    servers: Sequence[str] | None,
    risked: Sequence[str],
) -> NatReport:
    if options.json or options.markdown or not sys.stderr.isatty():
        return await node.diagnose_nat(servers, lifetime=options.lifetime, filter_with=risked)
    console = Console(stderr=True)
    with console.status("") as status:
        return await node.diagnose_nat(
            servers,
            lifetime=options.lifetime,
            on_progress=lambda text: status.update(Text(printable(text, 200))),
            filter_with=risked,
        )


def _command(options: argparse.Namespace) -> str:
    return nat_command(
        [*options.server, *options.filter_with],
        join=options.join,
        lifetime=options.lifetime,
        network_id=options.network_id,
        config=str(options.config) if options.config else None,
    )


def _print(report: NatReport, options: argparse.Namespace, command: str) -> None:
    if options.json:
        options.answer.tell(report.as_json())
        if options.watch:
            print_json(report.as_json())
    elif options.markdown:
        print(report_markdown(report, command), flush=True)
    else:
        _print_table(report)


def _print_error(error: P2PError, options: argparse.Namespace) -> None:
    """Print what went wrong this time; the next diagnosis may work."""
    if options.json:
        print_json({ERROR: printable(str(error), LONGEST_ERROR)})
    else:
        warn(str(error))


def _table(rows: Sequence[tuple[str, str]]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        table.add_row(Text(label), Text(value))
    return table


def _print_table(report: NatReport) -> None:
    rows = [*report_rows(report)]
    rows += [("server", f"{name}: {said}") for name, said in server_rows(report)]
    # In a file, lines are not wrapped unless COLUMNS sets a width.
    is_folded = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(highlight=False, soft_wrap=not is_folded)
    width = max(len(label) for label, _ in rows)
    with console.capture() as capture:
        if is_folded:
            console.print(_table(rows))
        else:
            for label, value in rows:
                console.print(Text(f"{label:<{width}}  {value}"))
        console.print()
        console.print(Text(report.meaning))
        console.print(Text(report.advice, "bold"))
        console.print()
        for line in report.evidence:
            console.print(Text(printable(line, 1000), "dim"))
        console.print(Text(f"in {report.duration_s:.1f} s", "dim"))
    print("\n".join(line.rstrip() for line in capture.get().splitlines()), flush=True)
