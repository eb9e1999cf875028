"""What records, peers, keys and commands leave behind in the memory of the screen."""

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.bench.figure import ROOT, SIZE, Figure, quiet_node

RECORDS: Final = 1_000_000
WARM_RECORDS: Final = 150_000
PEERS: Final = 10_000
WARM_PEERS: Final = 5_000
"""The node remembers 4,096 strangers at most; filled before, that does not grow later."""

COMMANDS: Final = 1_000
FOCUS_CHANGES: Final = 10_000
WARM_SHARE: Final = 0.3
"""The share of both before measuring: Textual fills caches of its own, each of a fixed size."""


def rss_mb() -> float:
    """The memory of this process that is in use."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure_memory() -> list[Figure]:
    """Property 5: what a million records and ten thousand peers leave behind."""
    figures = []
    for what, run in (
        (f"growth over {RECORDS:,} records", "_memory_of_records"),
        (f"growth over {PEERS:,} peers", "_memory_of_peers"),
        (
            f"growth over {COMMANDS:,} commands and {FOCUS_CHANGES:,} focus changes",
            "_memory_of_keys",
        ),
    ):
        # Each in a separate process, so that they do not hide in each other's memory.
        code = f"import asyncio; from tests.bench.screen_memory import {run} as run;"
        code += " print(asyncio.run(run()))"
        ran = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
        )
        growth = float(ran.stdout.split()[-1])
        figures.append(Figure(what, f"{growth:+.1f} MB", "10 MB", growth < 10))
    return figures


async def _memory_of_records() -> float:
    from p2ptui.core.events import Direction, MessageTraced
    from p2ptui.tui.app import P2PApp

    async with quiet_node("measured") as node:
        app = P2PApp(node)
        async with app.run_test(size=SIZE) as pilot:
            warm = 0.0
            for number in range(RECORDS + WARM_RECORDS):
                if number == WARM_RECORDS:
                    await pilot.pause()
                    warm = rss_mb()
                data = (
                    b'{"id":"%08x","message_type":"Data","timestamp":1,"payload":"record %d",'
                    b'"sequence_number":null,"requires_ack":false,"ack_for":null}'
                ) % (number, number)
                address = ("10.0.0.1", number % 1000 + 1)
                app._events.put(MessageTraced(Direction.IN, address, None, "Data", len(data), data))
                if number % 500 == 499:
                    app.take_events()
                    if number % 5000 == 4999:
                        await asyncio.sleep(0)
                        await pilot.pause(0)
            app.take_events()
            await pilot.pause()
            return rss_mb() - warm


async def _memory_of_peers() -> float:
    import functools
    import random

    from p2ptui.config import Config
    from p2ptui.io.memory import MemoryNetwork, MemorySocket
    from p2ptui.node import Node
    from p2ptui.tui.app import P2PApp

    network = MemoryNetwork(seed=1)

    def at(address: str, name: str) -> Node:
        options = Config().with_options(
            address=address, enable_discovery=False, name=name, max_connections=1000
        )
        open_socket = functools.partial(MemorySocket.open, network)
        return Node(options, open_socket=open_socket, rng=random.Random(name))

    async with at("10.0.0.1:8080", "measured") as node:
        app = P2PApp(node)

        async def settled_mb() -> float:
            while node.peers:  # noqa: ASYNC110 - nothing tells when the last has gone
                await asyncio.sleep(0.01)
            app.take_events()
            app.take_peers()
            await asyncio.sleep(1.0)
            return rss_mb()

        async with app.run_test(size=SIZE):
            warm = 0.0
            for number in range(0, PEERS + WARM_PEERS, 20):
                if number == WARM_PEERS:
                    warm = await settled_mb()
                async with contextlib.AsyncExitStack() as stack:
                    for index in range(number, number + 20):
                        high, low = divmod(index, 250)
                        visitor = at(f"10.1.{high}.{low + 1}:9000", f"visitor {index}")
                        await stack.enter_async_context(visitor)
                        peer = await visitor.connect(("10.0.0.1", 8080))
                        await visitor.send(peer, f"hello from {index}")
                    app.take_events()
                    app.take_peers()
                    await asyncio.sleep(0.001)
            return await settled_mb() - warm


_FOCUS_KEYS: Final = ("f2", "f3", "f4", "f5", "colon", "escape", "f3", "z", "z", "tab")

_LINES: Final = (
    "help",
    "routes",
    "stats",
    "filter level:warn",
    "filter /[0-9]+/",
    "filter",
    "log warn",
    "log trace",
    "peers visitor",
    "peers",
    "send . hello",
    "ping 1",
    "xyzzy",
)


async def _memory_of_keys() -> float:
    from textual import events
    from textual.keys import _character_to_key

    from p2ptui.tui.app import P2PApp

    async with quiet_node("measured") as node, quiet_node("visitor") as visitor:
        await visitor.connect(node.address)
        app = P2PApp(node)
        async with app.run_test(size=SIZE) as pilot:

            async def press(*keys: str) -> None:
                for key in keys:
                    character = "\r" if key == "enter" else key if len(key) == 1 else None
                    name = _character_to_key(key) if len(key) == 1 else key
                    app._driver.send_message(events.Key(name, character))
                await pilot.pause(0)

            async def use(share: float) -> float:
                for _ in range(int(FOCUS_CHANGES * share) // len(_FOCUS_KEYS)):
                    await press(*_FOCUS_KEYS)
                for number in range(int(COMMANDS * share)):
                    await press("f2", ":", *_LINES[number % len(_LINES)], "enter")
                    if number % 10 == 0:
                        # A page is shown and closed.
                        await press("f2", "enter")
                        await press("escape", "ctrl+p")
                        await press("escape")
                await pilot.pause(1.0)
                return rss_mb()

            warm = await use(WARM_SHARE)
            return await use(1.0) - warm
