"""A node's endpoint: who it says it is, and what it remembers about the networks that it was in."""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from p2ptui.config import Config
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.identity import canonical_id, own_capabilities, own_metadata, own_node_info
from p2ptui.core.sealing import OwnKeys
from p2ptui.node.idle_store import IdleStore
from p2ptui.node.known_nodes_book import KnownNodesBook
from p2ptui.version import VERSION
from p2ptui.wire.address import Address, format_address


@dataclass(frozen=True, slots=True)
class Own:
    """Who a node is, and whom its user knows.

    Args:
        book: The known nodes.
        node_id: Its id; by default the configured one, or else a random one.
        keys: Its keys for secured sessions, which determine its id; None: it has none.
    """

    book: KnownNodesBook
    node_id: str = ""
    keys: OwnKeys | None = None


def make_endpoint(
    config: Config,
    local: Address,
    rng: random.Random,
    wall: Callable[[], float],
    started_at: float,
    own: Own,
) -> Endpoint:
    """The protocol of a node whose socket is bound.

    Args:
        config: Every option.
        local: Where it is bound.
        rng: The source of ids and jitter.
        wall: Unix time, seconds.
        started_at: The time on the node's clock, seconds.
        own: Who it is.
    """
    server, keys = config.server, own.keys
    node_id = (
        (keys.identity.id if keys is not None else None)
        or canonical_id(own.node_id)
        or canonical_id(server.node_id)
        or str(uuid.UUID(int=rng.getrandbits(128), version=4))
    )
    identity = own_node_info(
        node_id,
        server.name,
        VERSION,
        format_address(local),
        server.network_id,
        own_capabilities(config, has_keys=keys is not None),
        own_metadata(config),
    )
    endpoint = Endpoint(config, identity, rng, wall() - started_at, keys)
    store = IdleStore(wall)
    endpoint.keepalives.recall = store.recall
    endpoint.keepalives.on_learnt = store.remember
    return endpoint
