"""Join two networks: a message to the bridge in one network goes to all its peers in the other.

python chat.py alice --network red --address 127.0.0.1:8080
python chat.py bob --network blue --address 127.0.0.1:8081
python bridge.py red=127.0.0.1:8080 blue=127.0.0.1:8081

Nodes of different networks refuse each other, so the bridge is a node in each. Every message
carries a list of the networks that it has been in, and never enters one of them again, so there are
no loops, however many bridges there are.
"""

import argparse
import asyncio
import sys
from contextlib import suppress
from typing import Any

from p2ptui import Config, Node
from p2ptui.core.events import DataReceived, PeerStatus
from p2ptui.errors import P2PError

MOST_NETWORKS = 8
MOST_WAITING = 32
"""Messages for one peer; a peer that is so far behind misses what comes next."""


async def main(sides: list[tuple[str, str]]) -> None:
    nodes = [Node(side_options(network, server)) for network, server in sides]
    async with nodes[0], nodes[1]:
        (red, _), (blue, _) = sides
        print(f"bridging {red} and {blue}", flush=True)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(forward(nodes[0], red, Receivers(nodes[1], tasks), blue))
            tasks.create_task(forward(nodes[1], blue, Receivers(nodes[0], tasks), red))


def side_options(network: str, server: str) -> Config:
    """The options of the bridge's node in one of the networks."""
    return Config().with_options(
        name="bridge",
        network_id=network,
        address="0.0.0.0:0",
        join=[server],
        enable_discovery=False,
        ephemeral=True,
    )


class Receivers:
    """All peers of a node. Each has a queue and a task of its own: a slow one delays no other."""

    def __init__(self, node: Node, tasks: asyncio.TaskGroup) -> None:
        self._node = node
        self._tasks = tasks
        self._queues: dict[str, asyncio.Queue[Any]] = {}

    def send(self, message: Any) -> None:
        for peer in self._node.peers:
            if peer.status is not PeerStatus.AUTHENTICATED:
                continue
            if peer.node_id not in self._queues:
                self._queues[peer.node_id] = asyncio.Queue(MOST_WAITING)
                self._tasks.create_task(self._deliver(peer.node_id))
            with suppress(asyncio.QueueFull):
                self._queues[peer.node_id].put_nowait(message)

    async def _deliver(self, node_id: str) -> None:
        """Send what waits for one peer, until nothing does."""
        queue = self._queues[node_id]
        while not queue.empty():
            with suppress(P2PError):  # it may have left
                await self._node.send(node_id, queue.get_nowait())
        del self._queues[node_id]


async def forward(source: Node, network: str, target: Receivers, other_network: str) -> None:
    """Forward messages from one network to all peers in the other."""
    async for event in source.events():
        if not isinstance(event, DataReceived) or event.is_echo:
            continue
        message = bridged(event.payload, network, other_network)
        if message is not None:
            target.send(message)


def bridged(payload: Any, network: str, other_network: str) -> dict[str, Any] | None:
    """The message as it enters the other network; None if it has already been there."""
    message = payload if isinstance(payload, dict) else {"text": payload}
    been_in = message.get("networks", [])
    if not isinstance(been_in, list) or len(been_in) >= MOST_NETWORKS or other_network in been_in:
        return None
    return {**message, "networks": [*been_in, network]}


def side(text: str) -> tuple[str, str]:
    network, equals, server = text.partition("=")
    if not (network and equals and server):
        raise argparse.ArgumentTypeError(f"{text!r} is not NETWORK=HOST:PORT")
    return network, server


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sides", type=side, nargs=2, metavar="NETWORK=HOST:PORT")
    given = parser.parse_args()
    try:
        asyncio.run(main(given.sides))
    except P2PError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
