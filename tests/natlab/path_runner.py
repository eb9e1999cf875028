"""One node of a pair in a laboratory: it serves, or sends what it is told and says how that went.

`python -m tests.natlab.path_runner serve HOST:PORT` writes a line when it is ready, and one for
each message that comes: its length. `python -m tests.natlab.path_runner send HOST:PORT CEILING
LENGTH...` sends texts of these lengths one after the other and writes one line of JSON.
"""

import asyncio
import json
import sys
import time
from typing import Any

from p2ptui import Config, Node
from p2ptui.core.events import DataReceived
from p2ptui.node import PeerView

CONNECT_S = 20.0
SEND_S = 90.0
SETTLED_S = 0.3
"""So long nothing must be under way, for nothing to begin any more."""


def _node(address: str, **options: Any) -> Node:
    config = Config().with_options(
        address=address,
        enable_discovery=False,
        nat_detection={"enable": False, "stun_servers": ()},
        **options,
    )
    return Node(config)


async def serve(address: str) -> None:
    """Write the length of each text that comes."""
    async with _node(address) as node:
        print("ready", flush=True)
        async for event in node.events():
            if isinstance(event, DataReceived):
                print(len(event.payload), flush=True)


async def settled(node: Node, node_id: str) -> PeerView:
    """The peer, once nothing more is found out of the path to it."""
    peer = node._endpoint.peers.authenticated(node_id)
    assert peer is not None
    path = peer.channel.sender.path
    since = began = time.monotonic()
    while (now := time.monotonic()) < since + SETTLED_S and now < began + SEND_S:
        await asyncio.sleep(0.05)
        if not path.is_settled:
            since = time.monotonic()
    return node.peer(node_id)


async def send(server: str, ceiling: int, lengths: list[int]) -> dict[str, Any]:
    """Send texts one after the other; what became of each, and of the path."""
    wildcard = "[::]:0" if server.startswith("[") else "0.0.0.0:0"
    async with _node(wildcard, datagram_ceiling=ceiling) as node:
        peer = await node.connect(server, CONNECT_S)
        said = []
        began = time.monotonic()
        for number, length in enumerate(lengths):
            text = f"{number} ".ljust(length, "x")
            result = await node.send(peer.node_id, text, timeout_s=SEND_S)
            said.append({"status": result.status.value, "reason": result.reason})
        took_s = time.monotonic() - began
        seen = await settled(node, peer.node_id)
        return {
            "said": said,
            "took_s": took_s,
            "size": seen.datagram_bytes,
            "limit": seen.datagram_limit,
            "datagrams_out": node.stats().datagrams_out,
        }


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(sys.argv[2]))
    else:
        print(
            json.dumps(asyncio.run(send(sys.argv[2], int(sys.argv[3]), [*map(int, sys.argv[4:])])))
        )
