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


async def main(name: str, address: str, join: list[str], network: str) -> None:
    options = Config().with_options(
        name=name, address=address, join=join, network_id=network, enable_discovery=False
    )
    async with Node(options) as node:
        print(f"{name} is at {node.address[0]}:{node.address[1]}", flush=True)
        listening = asyncio.create_task(show(node))
        async for line in typed_lines():
            friends = [peer for peer in node.peers if peer.status is PeerStatus.AUTHENTICATED]
            sent = [node.send(peer.node_id, {"from": name, "text": line}) for peer in friends]
            for peer, result in zip(
                friends, await asyncio.gather(*sent, return_exceptions=True), strict=True
            ):
                if isinstance(result, BaseException) or not result.delivered:
                    print(f"* {printable(peer.name)} did not get that", flush=True)
        listening.cancel()


async def show(node: Node) -> None:
    """Print events until cancelled."""
    async for event in node.events():
        match event:
            case PeerStatusChanged(status=PeerStatus.AUTHENTICATED):
                print(f"* {printable(event.name)} is here", flush=True)
            case PeerStatusChanged(status=PeerStatus.DISCONNECTED):
                print(f"* {printable(event.name)} has left", flush=True)
            case DataReceived(is_echo=False):
                print(words(node, event.node_id, event.payload), flush=True)


def words(node: Node, sender_id: str, payload: Any) -> str:
    """A message as a line. All of it is remote text, which must not control the terminal."""
    if not isinstance(payload, dict):
        payload = {"text": payload}
    sender = payload.get("from") or next(
        (peer.name for peer in node.peers if peer.node_id == sender_id), sender_id
    )
    return f"{printable(str(sender), 64)}: {printable(str(payload.get('text')), 2000)}"


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
