"""List the servers of a network."""

import argparse
from collections.abc import Mapping
from typing import Any

import msgspec

from p2ptui.commands import CommandParser, Work
from p2ptui.commands.listing import add_list_arguments, asked_words, judge_list, trust_words
from p2ptui.commands.servers import connect, look_all_up
from p2ptui.commands.session import (
    command_overrides,
    load_command,
    open_node,
    read_address,
)
from p2ptui.commands.table import print_table
from p2ptui.commands.target import Deadline, tell_changes, trust_fields
from p2ptui.commands.warning import warn_of_broker
from p2ptui.config import Config
from p2ptui.core.events import ServerList
from p2ptui.node import PeerView
from p2ptui.node.server_rows import COLUMNS, LEFT_OUT, server_row
from p2ptui.wire.address import Address, format_address


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `p2ptui servers`."""
    parser.add_argument(
        "server", metavar="HOST:PORT[#ID]", nargs="?", help="the server of the network to ask"
    )
    parser.add_argument(
        "--join",
        action="append",
        metavar="HOST:PORT[#ID]",
        help="the same; may be given several times, and whichever answers first is asked (default:"
        " server.join of the configuration)",
    )
    add_list_arguments(parser)


def prepare(options: argparse.Namespace, parser: CommandParser, environ: Mapping[str, str]) -> Work:
    """Check the arguments; the result asks a server, and prints the list."""
    overrides = command_overrides(options)
    del overrides["server.join"]
    config = load_command(options, environ, overrides)
    named = [options.server] if options.server is not None else []
    named += options.join or []
    servers = [read_address(text, parser) for text in named or config.server.join]
    if not servers:
        parser.error("name a server of the network: p2ptui servers HOST:PORT")
    config = config.with_options(join=[])  # they are asked, and not kept joined
    return lambda: _run(options, config, servers)


async def _run(options: argparse.Namespace, config: Config, servers: list[Address]) -> int:
    deadline = Deadline(options.timeout)
    addresses = await look_all_up(servers, deadline)
    async with open_node(config, addresses) as node:
        peer = await connect(node, addresses, deadline)
        tell_changes(node)
        listed = await node.list_servers(peer, deadline.left_s)
        if options.json:
            options.answer.tell(_report(peer, listed))
        else:
            _print(peer, listed)
        warn_of_broker(listed)
    return judge_list(len(listed.servers), "server", complete=listed.complete)


def _report(peer: PeerView, listed: ServerList) -> dict[str, Any]:
    return {
        "asked": {
            "id": peer.node_id,
            "name": peer.name,
            "address": format_address(peer.address),
            **trust_fields(peer.trust, peer.advice),
        },
        "is_alone": listed.complete and not listed.servers,
        "servers": [msgspec.structs.asdict(one) for one in listed.servers],
    }


def _print(peer: PeerView, listed: ServerList) -> None:
    who, trust = asked_words(peer), trust_words(peer)
    if not listed.servers:
        if listed.complete:
            print(f"{who} serves alone, with no other server{trust}")
        return
    print(f"{who}{trust}")
    print_table(COLUMNS, list(map(server_row, listed.servers)), LEFT_OUT)
