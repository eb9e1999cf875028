"""Mark a node as verified, after you have compared its id with its user."""

import argparse
import time
from collections.abc import Mapping
from typing import Final

from p2ptui.commands import CommandParser, Work
from p2ptui.errors import NotMetError
from p2ptui.node.known_nodes_store import KnownNodesStore
from p2ptui.secure.known_nodes import KnownNode
from p2ptui.text import printable

RUNS_A_NODE: Final = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `p2ptui trust`."""
    parser.add_argument("peer", metavar="PEER", help="its name, its id, or the beginning of its id")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def prepare(
    options: argparse.Namespace,
    _parser: CommandParser,
    _environ: Mapping[str, str],
) -> Work:
    """Check the arguments; the result does it, and prints for which node."""
    return lambda: _run(options)


async def _run(options: argparse.Namespace) -> int:
    try:
        node = KnownNodesStore(time.time).trust(options.peer)
    except NotMetError as error:
        if ":" not in options.peer:
            raise
        raise NotMetError(f"{error}; trust takes a name or an id, no address") from None
    tell_of(options, node, "is trusted: it is verified", {"verified": node.verified})
    return 0


def tell_of(
    options: argparse.Namespace, node: KnownNode, what: str, done: Mapping[str, bool]
) -> None:
    """Say what was done about a node, in words and for `--json`."""
    if options.json:
        options.answer.tell({"id": node.id, "name": node.name, **done})
    else:
        print(f"{printable(node.name, 64)} ({node.id}) {what}")
