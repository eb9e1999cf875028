"""A server process of the loopback benchmark: the whole node, or a bare Python echo.

It prints the port that it listens on, and ends when its standard input does.
"""

import asyncio
import socket
import sys
import threading
from typing import Final

from p2ptui import Config, Node

MAX_DATAGRAM_BYTES: Final = 65_535


def main() -> None:
    """Serve as the argument says: `node`, `uvloop` or `python`; a node echoes to a second one."""
    kind = sys.argv[1]
    if kind == "python":
        _echo()
        return
    loop_factory = None
    if kind == "uvloop":
        import uvloop

        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_serve(*sys.argv[2:3]))


def _echo() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    threading.Thread(target=_serve_echo, args=(sock,), daemon=True).start()
    print(sock.getsockname()[1], flush=True)
    sys.stdin.read()


def _serve_echo(sock: socket.socket) -> None:
    while True:
        data, address = sock.recvfrom(MAX_DATAGRAM_BYTES)
        sock.sendto(data, address)


async def _serve(echo: str = Config().server.echo) -> None:
    config = Config().with_options(address="127.0.0.1:0", enable_discovery=False, echo=echo)
    async with Node(config) as node:
        print(node.address[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    main()
