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
from typing import Any

from p2ptui import Config, Node
from p2ptui.core.events import DataReceived, PeerStatus
from p2ptui.errors import P2PError

MOST_NETWORKS = 8


async def main(sides: list[tuple[str, str]]) -> None:
    nodes = [Node(side_options(network, server)) for network, server in sides]
    async with nodes[0], nodes[1]:
        (red, _), (blue, _) = sides
        print(f"bridging {red} and {blue}", flush=True)
        async with asyncio.TaskGroup() as both:
            both.create_task(forward(nodes[0], red, nodes[1], blue))
            both.create_task(forward(nodes[1], blue, nodes[0], red))


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


async def forward(source: Node, network: str, target: Node, other_network: str) -> None:
    """Forward messages from one network to all peers in the other."""
    async for event in source.events():
        if not isinstance(event, DataReceived) or event.is_echo:
            continue
        message = bridged(event.payload, network, other_network)
        if message is None:
            continue
        peers = [peer for peer in target.peers if peer.status is PeerStatus.AUTHENTICATED]
        sends = (target.send(peer.node_id, message) for peer in peers)
        await asyncio.gather(*sends, return_exceptions=True)  # a peer may have left


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
