"""Chat in a terminal: your lines go to all peers, and theirs are printed. Ctrl+D leaves.

python chat.py alice --address 127.0.0.1:8080
python chat.py bob --join 127.0.0.1:8080
"""

import argparse
import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

from p2ptui import Config, Node
from p2ptui.core.events import DataReceived, PeerStatus, PeerStatusChanged
from p2ptui.errors import P2PError
from p2ptui.text import printable

MOST_WAITING = 32
"""Lines for one friend; a friend that is so far behind misses what comes next."""

LEAVE_S = 5.0
"""So long what was typed last has time to arrive."""


async def main(name: str, address: str, join: list[str], network: str) -> None:
    options = Config().with_options(
        name=name, address=address, join=join, network_id=network, enable_discovery=False
    )
    async with Node(options) as node:
        print(f"{name} is at {node.address[0]}:{node.address[1]}", flush=True)
        listening = asyncio.create_task(show(node))
        friends = Friends(node)
        async for line in typed_lines():
            friends.send({"from": name, "text": line})
        await friends.finish()
        listening.cancel()


class Friends:
    """All peers. Each has a queue and a task of its own: a slow one delays no other."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._queues: dict[str, asyncio.Queue[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, message: Any) -> None:
        for peer in self._node.peers:
            if peer.status is not PeerStatus.AUTHENTICATED:
                continue
            if peer.node_id not in self._queues:
                self._queues[peer.node_id] = asyncio.Queue(MOST_WAITING)
                task = asyncio.create_task(self._deliver(peer.node_id, peer.name))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            if self._queues[peer.node_id].full():
                print(f"* {shown(peer.name)} did not get that", flush=True)
            else:
                self._queues[peer.node_id].put_nowait(message)

    async def _deliver(self, node_id: str, name: str) -> None:
        """Send what waits for one friend, until nothing does."""
        queue = self._queues[node_id]
        while not queue.empty():
            try:
                is_delivered = (await self._node.send(node_id, queue.get_nowait())).delivered
            except P2PError:
                is_delivered = False
            if not is_delivered:
                print(f"* {shown(name)} did not get that", flush=True)
        del self._queues[node_id]

    async def finish(self) -> None:
        """Wait for what is on its way, but not for long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LEAVE_S)


async def show(node: Node) -> None:
    """Print events until cancelled."""
    async for event in node.events():
        match event:
            case PeerStatusChanged(status=PeerStatus.AUTHENTICATED):
                print(f"* {shown(event.name)} is here", flush=True)
            case PeerStatusChanged(status=PeerStatus.DISCONNECTED):
                print(f"* {shown(event.name)} has left", flush=True)
            case DataReceived(is_echo=False):
                print(words(node, event.node_id, event.payload), flush=True)


def words(node: Node, sender_id: str, payload: Any) -> str:
    """A message as a line. The session tells who sent it; the message itself may claim anything."""
    if not isinstance(payload, dict):
        payload = {"text": payload}
    names = (peer.name for peer in node.peers if peer.node_id == sender_id)
    sender = shown(next(names, sender_id))
    claimed = shown(str(payload.get("from") or sender))
    who = sender if claimed == sender else f"{sender} (for {claimed})"
    return f"{who}: {printable(str(payload.get('text')), 2000)}"


def shown(name: str) -> str:
    """A remote name: it must not act on the terminal, nor look like a line of this program."""
    return printable(name, 64).lstrip("* ")


async def typed_lines() -> AsyncIterator[str]:
    """The lines of standard input. A thread reads them, since a terminal cannot be awaited."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        with open(sys.stdin.fileno(), encoding="utf-8", closefd=False) as stream:
            for line in stream:
                loop.call_soon_threadsafe(lines.put_nowait, line.strip())
        loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await lines.get()) is not None:
        if line:
            yield line


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name")
    parser.add_argument("--address", default="0.0.0.0:0", help="listen here (any free port)")
    parser.add_argument("--join", action="append", default=[], metavar="HOST:PORT")
    parser.add_argument("--network", default="chat")
    given = parser.parse_args()
    try:
        asyncio.run(main(given.name, given.address, given.join, given.network))
    except P2PError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
