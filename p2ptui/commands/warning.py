"""Warnings of a command on standard error, beside its answer."""

import sys

from p2ptui.core.events import ServerList
from p2ptui.text import printable


def warn(text: str) -> None:
    """Print a line at once."""
    print(f"p2ptui: {printable(text, 1000)}", file=sys.stderr, flush=True)


def warn_of_broker(listed: ServerList) -> None:
    """Warn if a server of a cluster currently knows only its own nodes."""
    if any(server.linked is False for server in listed.servers[:1]):
        warn("this server has no link to its broker: it may list only its own nodes")
