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
    """What all parts of the room say of this server.

    Args:
        identity: Who this node is.
        name: What the server is called, for people.
        advertised: Where clients reach it.
        rng: Makes the name of this run.
    """

    __slots__ = (
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
        """Of this run."""
        self.network = identity.network_id
        self.head = self.network, self.server, self.instance
        """How whatever it says begins."""
        self.name = name[:MAX_NAME]
        self.advertised = advertised[:MAX_ADVERTISED]
        self.is_open = True
        """Whether the room is open still."""
        self.beat_at = -math.inf
        """When the next beacon is due, seconds: two links in a row do not make two of them."""
