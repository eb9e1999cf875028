"""One run of another server, and how it is described to others."""

import math
from dataclasses import dataclass
from typing import Final

from p2ptui.bounded.rates import TokenBucket
from p2ptui.wire.cluster import Beacon
from p2ptui.wire.frames import node_id_text
from p2ptui.wire.message import ListedServer

MESSAGES_PER_S: Final = 20_000
"""Messages read from one server; further ones are dropped, so that a faulty one leaves time for
others."""

HOURS_FROM_S: Final = 7_000.0
"""From this many seconds on, differences are given in hours."""

TOLD_CHARACTERS: Final = 64
"""Characters of a server's name and address that peers are sent."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What is known about another server."""

    server_id: str
    name: str
    """Remote text."""
    advertised: str
    """Where clients reach it, by its own account: remote text."""
    peers: int
    is_draining: bool
    heard_s: float
    """How long ago it was last heard, seconds."""
    rtt_s: float | None
    """The round trip of a message through the broker; None until it is known."""
    clock_apart_s: float
    """How far its clock is ahead of this one's, as far as that can be seen."""
    nodes: int
    """How many nodes it is known to hold."""


class Run:
    """One run of another server."""

    __slots__ = (
        "apart_since",
        "beacon",
        "heard_at",
        "instance",
        "is_live",
        "is_told_gone",
        "node_ids",
        "rate",
        "rtt_s",
        "server",
        "server_id",
        "unix_apart_s",
    )

    def __init__(self, server: bytes, instance: bytes, now: float) -> None:
        self.server = server
        self.server_id = node_id_text(server)
        self.instance = instance
        self.beacon: Beacon | None = None
        """Its last beacon."""
        self.heard_at = -math.inf
        """When that arrived, seconds."""
        self.is_live = False
        self.is_told_gone = False
        """Whether it has been reported that its nodes have left."""
        self.node_ids: dict[str, None] = {}
        """The nodes whose entries from it are known here."""
        self.rtt_s: float | None = None
        self.unix_apart_s = 0.0
        self.apart_since = math.inf
        """Since when its clock has differed from this server's, seconds."""
        self.rate = TokenBucket(MESSAGES_PER_S, now)

    @property
    def is_needed(self) -> bool:
        """Whether anything depends on it."""
        return self.is_live or bool(self.node_ids)


def apart_words(seconds: float) -> str:
    """How far two clocks are apart: `90 min`, `7 h`, `24.5 h`."""
    if seconds < HOURS_FROM_S:
        return f"{seconds / 60:.0f} min"
    hours = round(seconds / 3600, 1)
    return f"{hours:.0f} h" if hours.is_integer() else f"{hours:.1f} h"


def as_told(server: ServerStatus) -> ListedServer:
    """A server, as peers are told about it."""
    return ListedServer(
        id=server.server_id,
        name=server.name[:TOLD_CHARACTERS],
        address=server.advertised[:TOLD_CHARACTERS],
        peers=server.peers,
        draining=server.is_draining,
        heard_s=round(server.heard_s, 3),
        rtt_ms=None if server.rtt_s is None else round(server.rtt_s * 1000, 3),
    )


def is_needed(run: Run) -> bool:
    """Like `Run.is_needed`, for tables."""
    return run.is_needed
