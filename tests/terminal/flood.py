"""A peer that sends so many messages a second, whatever the other side does with them."""

import asyncio
from typing import Final

from p2ptui.errors import P2PError
from p2ptui.node import Node, PeerView

TICK_S: Final = 0.01


async def flood(node: Node, peer: PeerView, per_second: int) -> None:
    """Send small messages without acknowledgement until cancelled, or until the peer is gone.

    Args:
        node: The sender.
        peer: The receiver.
        per_second: How many; what a tick came too late for is made up for.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    sent = 0
    while True:
        due = int((loop.time() - began) * per_second)
        try:
            await asyncio.gather(
                *(node.send(peer, f"flood {n}", reliable=False) for n in range(sent, due))
            )
        except P2PError:
            return
        sent = max(due, sent)
        await asyncio.sleep(TICK_S)
