"""Connect to a node, send it a message, ping it, and say goodbye.

python simple_client.py 127.0.0.1:8080
"""

import argparse
import asyncio
import sys

from p2ptui import Config, Node
from p2ptui.errors import P2PError
from p2ptui.text import printable


async def main(server: str) -> None:
    options = Config().with_options(
        address="0.0.0.0:0", enable_discovery=False, ephemeral=True, name="simple client"
    )
    async with Node(options) as node:
        peer = await node.connect(server, heed_refusals=True)
        print(f"connected to {printable(peer.name)} ({peer.node_id})")

        result = await node.send(peer, {"text": "hello"})
        print(f"{result.status.value}: {result.size_bytes} bytes")

        pong = await node.ping(peer)
        print(f"round trip: {pong.rtt_s * 1000:.3f} ms ({pong.path.value})")

        await node.disconnect(peer, "done")
        print("disconnected")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("server", metavar="HOST:PORT", help="the node to talk to")
    try:
        asyncio.run(main(parser.parse_args().server))
    except P2PError as error:
        sys.exit(str(error))
