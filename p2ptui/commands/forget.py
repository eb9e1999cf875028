"""Forget a node that was met, its name and its addresses: who comes next in its place is new."""

import argparse
import time
from collections.abc import Mapping
from typing import Final

from p2ptui.commands import CommandParser, Work
from p2ptui.commands.trust import tell_of
from p2ptui.node.known_nodes_store import KnownNodesStore

RUNS_A_NODE: Final = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `p2ptui forget` takes."""
    add = parser.add_argument
    add("peer", metavar="PEER", help="its name, its id, the beginning of that, or HOST:PORT")
    add("--json", action="store_true", help="print one JSON object")


def prepare(
    options: argparse.Namespace,
    _parser: CommandParser,
    _environ: Mapping[str, str],
) -> Work:
    """Check what was asked; what comes back does it, and says of whom."""
    return lambda: _run(options)


async def _run(options: argparse.Namespace) -> int:
    node = KnownNodesStore(time.time).forget(options.peer)
    tell_of(options, node, "is forgotten", {"forgotten": True})
    return 0
