"""What the commands that print a server's list have in common."""

import argparse

from p2ptui.commands import positive_seconds
from p2ptui.commands.session import DEFAULT_TIMEOUT_S
from p2ptui.errors import RemoteError
from p2ptui.node import PeerView
from p2ptui.text import counted, printable
from p2ptui.wire.address import format_address


def add_list_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for how long the list may take, and how it is printed."""
    parser.add_argument(
        "--timeout",
        type=positive_seconds,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help="seconds to wait for the list (10)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def judge_list(came: int, one: str, *, complete: bool) -> int:
    """The exit code for a list that came complete.

    Args:
        came: How many entries came.
        one: What an entry is, in the singular.
        complete: Whether these are all entries.

    Raises:
        RemoteError: The list did not come in time, or is incomplete.
    """
    if complete:
        return 0
    if not came:
        raise RemoteError("the server did not send its list in time")
    raise RemoteError(f"the list is incomplete: {counted(came, one)} came in time")


def asked_words(peer: PeerView) -> str:
    """Which server was asked."""
    return f"{printable(peer.name, 64)} ({peer.node_id}) at {format_address(peer.address)}"


def trust_words(peer: PeerView) -> str:
    """The end of the line about it: what this node's user knows about it, if anything."""
    return "" if peer.trust is None else f"; {peer.trust.value}"
