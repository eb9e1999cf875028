"""Who this server is in the cluster."""

import math
import random
from typing import Final

from p2ptui.wire.cluster import INSTANCE_BYTES
from p2ptui.wire.frames import node_id_bytes
from p2ptui.wire.message import NodeInfo

MAX_NAME: Final = 128
MAX_ADVERTISED: Final = 300


class Own:
    """What all parts of the room say about this server.

    Args:
        identity: Who this node is.
        name: The display name of the server.
        advertised: Where clients reach it.
        rng: Makes the name of this run.
    """

    __slots__ = (
        "_clock_ms",
        "advertised",
        "beat_at",
        "head",
        "instance",
        "is_open",
        "name",
        "network",
        "server",
        "server_id",
    )

    def __init__(self, identity: NodeInfo, name: str, advertised: str, rng: random.Random) -> None:
        self.server_id = identity.id
        self.server = node_id_bytes(identity.id)
        self.instance = rng.randbytes(INSTANCE_BYTES)
        """The name of this run."""
        self._clock_ms = int.from_bytes(self.instance, "big") >> 12
        self.network = identity.network_id
        self.head = self.network, self.server, self.instance
        """The beginning of all its entries and messages."""
        self.name = name[:MAX_NAME]
        self.advertised = advertised[:MAX_ADVERTISED]
        self.is_open = True
        """Whether the room is still open."""
        self.beat_at = -math.inf
        """When the next beacon is due, seconds: a second link soon after the first makes no second
        beacon."""

    def clock_ms(self, now: float) -> int:
        """This run's own clock: no other run has read or echoed similar values."""
        return self._clock_ms + max(0, int(now * 1000))

    def since_s(self, clock_ms: int, now: float) -> float:
        """How long ago `clock_ms` had this value, seconds; far from 0 if it never did."""
        return now - (clock_ms - self._clock_ms) / 1000
