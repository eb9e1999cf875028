"""The servers of a network as rows of a table, for a terminal: the same everywhere."""

from typing import Final

from p2ptui.text import printable, seconds_words
from p2ptui.wire.message import ListedServer

COLUMNS: Final = ("NAME", "ID", "ADDRESS", "PEERS", "BROKER", "ROUND TRIP", "STATE")
LEFT_OUT: Final = ("STATE",)
"""Columns that are left out if they are empty."""

MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86_400


def server_row(server: ListedServer) -> tuple[str, ...]:
    """The text for each of `COLUMNS`: harmless."""
    return (
        printable(server.name, 32) or "-",
        printable(server.id, 36),
        printable(server.address, 64) or "-",
        "-" if server.peers is None else str(server.peers),
        broker_words(server),
        "-" if server.rtt_ms is None else f"{server.rtt_ms:.1f} ms",
        "going down" if server.draining else "",
    )


def broker_words(server: ListedServer) -> str:
    """How a server is linked to the others, as far as the server that reported it knows."""
    if server.linked is not None:
        state = "up" if server.linked else "down"
        return state if server.linked_s is None else f"{state} for {time_words(server.linked_s)}"
    if server.heard_s is not None:
        return f"heard {seconds_words(server.heard_s)} ago"
    return "-"


def time_words(seconds: float) -> str:
    """A duration: `12 s`, `5 min`, `3 h`."""
    for size, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
