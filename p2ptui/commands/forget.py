"""Forget a node, its name and its addresses: the next node in its place is new."""

import argparse
import time
from collections.abc import Mapping
from typing import Final

from p2ptui.commands import CommandParser, Work
from p2ptui.commands.trust import tell_of
from p2ptui.node.known_nodes_store import KnownNodesStore

RUNS_A_NODE: Final = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `p2ptui forget`."""
    add = parser.add_argument
    add("peer", metavar="PEER", help="its name, its id, the beginning of its id, or HOST:PORT")
    add("--json", action="store_true", help="print one JSON object")


def prepare(
    options: argparse.Namespace,
    _parser: CommandParser,
    _environ: Mapping[str, str],
) -> Work:
    """Check the arguments; the result does it, and prints for which node."""
    return lambda: _run(options)


async def _run(options: argparse.Namespace) -> int:
    node = KnownNodesStore(time.time).forget(options.peer)
    tell_of(options, node, "is forgotten", {"forgotten": True})
    return 0
