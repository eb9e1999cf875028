"""Peers in the table of a running node, without as many sockets: for measurements."""

import uuid

from p2ptui.core.endpoint import Endpoint
from p2ptui.core.identity import own_node_info
from p2ptui.wire.address import format_address


def enter(endpoint: Endpoint, now: float, count: int) -> None:
    """Enter peers that have shown who they are, and are silent from then on.

    Args:
        endpoint: The node's protocol.
        now: Its time, seconds.
        count: How many.
    """
    for number in range(count):
        high, low = divmod(number, 250)
        address = (f"10.1.{high}.{low + 1}", 8080)
        peer = endpoint._lifecycle.open(address, now, initiated=False)
        node_id = str(uuid.UUID(int=number + 1))
        where = format_address(address)
        info = own_node_info(node_id, f"peer-{number}", "1", where, "p2p_default")
        endpoint.peers.identify(peer, info)
        peer.proved = True
        endpoint._lifecycle.authenticate(peer, now)
        while endpoint.next_event() is not None:
            pass
        endpoint.datagrams_to_send(now)
