"""Keep the files that others send, under safe names, without overwriting any file."""

import argparse
import contextlib
import re
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from p2ptui.commands import EXIT_INTERRUPTED, CommandParser, OptionNumber, Work, file_name
from p2ptui.commands.file_teller import FileTeller
from p2ptui.commands.progress import ProgressLine
from p2ptui.commands.servers import connect, look_up
from p2ptui.commands.session import (
    DEFAULT_TIMEOUT_S,
    command_overrides,
    load_command,
    open_node,
    read_address,
    tell_unsigned,
)
from p2ptui.commands.target import Deadline, tell_changes
from p2ptui.config import Config
from p2ptui.errors import P2PError
from p2ptui.io.interfaces import source_host
from p2ptui.io.signals import ENDING, EXIT_BY_SIGNAL, handle_signals, wanted_signals
from p2ptui.node import Node
from p2ptui.text import counted, printable
from p2ptui.wire.address import SOMEWHERE, Address, format_address, is_wildcard
from p2ptui.wire.joined import joined_text, parse_joined

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""A name that means the same in every shell, and is not an address."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `p2ptui receive`."""
    add = parser.add_argument
    add("--into", type=file_name, metavar="DIR", help="where to keep files (the current directory)")
    add(
        "--from",
        dest="sender",
        metavar="WHO",
        help="take files from this node only: its id, the beginning of its id, or its name",
    )
    add("--once", action="store_true", help="end after one file")
    add(
        "--max-files",
        type=OptionNumber("files.max_files"),
        metavar="N",
        help="files to keep, at most (1,000)",
    )
    add(
        "--max-bytes",
        type=OptionNumber("files.max_bytes"),
        metavar="N",
        help="bytes to keep, at most (1 GiB)",
    )
    add(
        "--join",
        action="append",
        metavar="HOST:PORT[#ID]",
        help="be reachable through this server (with ID, no other); may be given several times",
    )
    add(
        "-a",
        "--address",
        metavar="HOST:PORT",
        help="listen here; with --join any free port, otherwise as configured (127.0.0.1:8080)",
    )
    add("--name", metavar="NAME", help="the name of the receiving node")
    add("--json", action="store_true", help="print one JSON object per file")


def prepare(options: argparse.Namespace, parser: CommandParser, environ: Mapping[str, str]) -> Work:
    """Check the arguments; the result receives, and prints."""
    options.answer.tell_each()
    overrides = command_overrides(options)
    if options.join is None:
        del overrides["server.join"]
    else:
        joined = [joined_text(read_address(text, parser)) for text in options.join]
        overrides["server.join"] = joined
    given = {
        "server.address": options.address,
        "files.receive_into": options.into,
        "files.receive_from": options.sender,
        "files.max_files": options.max_files,
        "files.max_bytes": options.max_bytes,
    }
    del overrides["files.receive_into"]
    overrides |= {path: value for path, value in given.items() if value is not None}
    if options.once:
        overrides["files.max_files"] = 1  # a second may come before the program has ended
    config = load_command(options, environ, overrides)
    if not config.files.receive_into:
        config = config.with_options(receive_into=str(Path.cwd()))
    return lambda: _run(options, config)


async def _run(options: argparse.Namespace, config: Config) -> int:
    deadline = Deadline(DEFAULT_TIMEOUT_S)
    found = [await look_up(parse_joined(text), deadline) for text in config.server.join]
    is_free = bool(found) and options.address is None
    opened = open_node(config, [one for each in found for one in each]) if is_free else Node(config)
    async with opened as node:
        if not is_free:
            tell_unsigned(node)
        events = node.events(data=False)
        servers = [(await connect(node, each, deadline)).address for each in found]
        stopped: list[signal.Signals] = []

        def stop(number: signal.Signals) -> None:
            stopped.append(number)
            node.unsubscribe(events)

        tell_changes(node)
        handle_signals(stop, *wanted_signals(*ENDING))
        await _say_how(node, config, servers, to_stderr=options.json)
        with ProgressLine(lambda: _progress(node, teller)) as line:
            teller = FileTeller(options, servers, line, node)
            done = await teller.tell_all(events)
        if node.has_failed:
            await node.wait_failed()
    return 0 if done or not stopped else _exit_code(stopped[0])


def _exit_code(number: signal.Signals) -> int:
    """Being asked to end is its normal end; a terminal that went away is reported separately."""
    return EXIT_INTERRUPTED if number == signal.SIGTERM else EXIT_BY_SIGNAL + number


async def _say_how(
    node: Node, config: Config, servers: Sequence[Address], *, to_stderr: bool
) -> None:
    """Print where files go, and the command that sends them here."""
    name = node.info.name
    target = name if await _is_sure(node, servers) else node.id
    if servers:
        words = [target, "--join", config.server.join[0]]
    else:
        words = [format_address(_reachable(node.address))]
    if config.server.network_id != Config().server.network_id:
        words += ["--network-id", config.server.network_id]
    command = shlex.join(["p2ptui", "send", *words, "--file", "FILE"])
    into = printable(config.files.receive_into, 1000)
    out = sys.stderr if to_stderr else sys.stdout
    print(f"receiving files into {into}, as {printable(name, 64)} ({node.id})", file=out)
    print(f"to send one: {printable(command, 2000)}", file=out, flush=True)


async def _is_sure(node: Node, servers: Sequence[Address]) -> bool:
    """Whether this node's name means this node at its servers."""
    name = node.info.name
    if _PLAIN_NAME.fullmatch(name) is None:
        return False
    for server in servers[:1]:
        with contextlib.suppress(P2PError):
            listed = await node.list_nodes(server, DEFAULT_TIMEOUT_S)
            own = node.peer(server).name
            names = [entry.name for entry in listed.nodes if entry.node_id != node.id]
            return name not in (own, *names)
    return True


def _reachable(address: Address) -> Address:
    """Where others reach a socket that may listen on every address."""
    host, port = address
    if not is_wildcard(host):
        return address
    is_ipv6 = ":" in host
    found = source_host(SOMEWHERE[6 if is_ipv6 else 4], 9) or ("::1" if is_ipv6 else "127.0.0.1")
    return found, port


def _progress(node: Node, teller: FileTeller) -> str:
    arriving = node.stats().sizes["reassembly_bytes"]
    more = f", {arriving:,} bytes of another have come" if arriving else ""
    return f"{counted(teller.files, 'file')}, {teller.bytes:,} bytes kept{more}; Ctrl+C ends"
