"""What it costs to know which address was asked: `python -m tests.bench.asked`, on Linux.

Two nodes run in this process, one at 127.0.0.1 and one at all addresses, and are asked in turn at
the address that the system would choose itself. It measures the time from a node's waking up for a
batch of datagrams until the answers are sent, as the least of many batches: other load on the
machine only adds to it.
"""

import argparse
import asyncio
import random
import socket
import time
from typing import Final

from p2ptui.config import Config
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.identity import own_capabilities, own_node_info
from p2ptui.io.driver import BATCH, Driver
from p2ptui.io.loop import run
from p2ptui.io.udp import open_udp
from p2ptui.wire.address import Address
from tests.bench.load import shake_hands, template

BOUND, EVERYWHERE = "127.0.0.1", "0.0.0.0"
LIMIT: Final = 0.03
"""The limit, as a share of what a datagram and its answer cost a node at one address."""
WINDOW: Final = 16
"""Datagrams in a batch; the more, the less the waking up matters."""
KINDS: Final = ("Ping", "Data")


class Side:
    """A node without its machinery, and one peer."""

    def __init__(self, endpoint: Endpoint, sock: object, driver: Driver) -> None:
        self.endpoint, self.socket, self.driver = endpoint, sock, driver
        self.least_ns = dict.fromkeys(KINDS, float("inf"))
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    @classmethod
    async def open(cls, host: str) -> "Side":
        """A node at an address, with its peer connected to 127.0.0.1."""
        config = Config()
        network = config.server.network_id
        identity = own_node_info("1" * 32, "bench", "0", host, network, own_capabilities(config))
        endpoint = Endpoint(config, identity, random.Random(host), time.time() - time.monotonic())
        sock = await open_udp((host, 0))
        side = cls(endpoint, sock, Driver(endpoint, sock, lambda _: None))
        pump = asyncio.ensure_future(side.driver.run())
        server: Address = ("127.0.0.1", sock.local_address[1])
        await asyncio.to_thread(shake_hands, side.peer, server)
        pump.cancel()
        side.peer.connect(server)
        side.peer.setblocking(False)
        return side

    async def measure(self, kind: str, number: int) -> None:
        """Measure one batch."""
        head, _, tail = template(kind).partition("00000000")
        for count in range(WINDOW):
            self.peer.send(f"{head}{number * WINDOW + count:08x}{tail}".encode())
        now = time.monotonic()
        began = time.perf_counter_ns()
        await self.socket.wait()
        batch = self.socket.drain(BATCH)
        for data, address in batch:
            self.endpoint.receive_datagram(data, address, now)
        self.driver.flush()
        took = time.perf_counter_ns() - began
        if len(batch) >= WINDOW:
            self.least_ns[kind] = min(self.least_ns[kind], took / len(batch))
        try:
            while True:
                self.peer.recv(65_535)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Release everything."""
        self.driver.close()
        self.socket.close()
        self.peer.close()


async def measure(rounds: int) -> dict[str, tuple[float, float]]:
    """Microseconds at one address, and at all of them, by kind of message."""
    sides = [await Side.open(host) for host in (BOUND, EVERYWHERE)]
    for number in range(rounds):
        for kind in KINDS:
            for side in sides if number % 2 else reversed(sides):
                await side.measure(kind, len(KINDS) * number + KINDS.index(kind))
    for side in sides:
        side.close()
    return {kind: tuple(side.least_ns[kind] / 1000 for side in sides) for kind in KINDS}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.asked", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    options = parser.parse_args()
    figures = run(measure(options.rounds))
    print("| message | at one address | at all | added |")
    print("| --- | ---: | ---: | ---: |")
    for kind, (one, every) in figures.items():
        print(f"| {kind} | {one:.2f} us | {every:.2f} us | {every / one - 1:+.1%} |")
    worst = max(every / one - 1 for one, every in figures.values())
    print(f"\nat most {LIMIT:+.0%}: {'kept' if worst <= LIMIT else 'NOT kept'}")


if __name__ == "__main__":
    main()
