"""A node in a host of a laboratory that says what happens: `python -m tests.natlab.asked_node`.

The first argument is where it listens, the second where its STUN port is, the third `sockets` for
one socket an address. It prints a line when it serves, and sends Data to each peer that it has
whenever a line comes in.
"""

import asyncio
import functools
import sys

from p2ptui import Config, Node
from p2ptui.errors import P2PError
from p2ptui.io.udp import open_udp


async def _serve(address: str, stun: str, how: str) -> None:
    config = Config().with_options(
        address=address,
        enable_discovery=False,
        heartbeat_interval=1.0,
        stun_server={"enable": True, "address": stun, "alternate_port": 3479},
        nat_detection={"enable": False, "stun_servers": []},
    )
    open_socket = functools.partial(open_udp, pktinfo=False) if how == "sockets" else open_udp
    async with Node(config, open_socket=open_socket) as node:
        print("serving", flush=True)
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            for peer in node.peers:
                try:
                    await node.send(peer.node_id, "pushed")
                except P2PError as error:
                    print(error, file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
