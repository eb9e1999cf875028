"""How long a relayed pair is dead when its server is killed: `python -m tests.bench.failover`.

Real processes on loopback: two servers that relay, and two nodes that have joined both. One sends
the other 100 messages a second; repeatedly the server in use is killed with SIGKILL and restarted a
moment later. For each kill it prints how long nothing arrived. At the end every message must have
arrived exactly once. With `--servers 1` the only server is killed and restarted at once; then the
time counts from when it listens again.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from p2ptui import Config, Node
from p2ptui.core.events import DataReceived
from p2ptui.errors import P2PError
from p2ptui.wire.address import Address, format_address

LONGEST_DEAD_S: Final = 3.0
"""A pair that is dead for longer has failed the test."""

PER_SECOND: Final = 100.0
START_S: Final = 30.0

_SERVER: Final = """
[server]
address = "{address}"
name = "{name}"
enable_discovery = false
[nat_detection]
enable = false
[traffic_forwarding]
allow_symmetric_nat_relay = true
max_relay_rate_per_client = 10000000
"""


class Server:
    """A server in a process of its own, always at the same port."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.address: Address = free.getsockname()
        self._config = directory / f"{name}.toml"
        self._config.write_text(_SERVER.format(address=format_address(self.address), name=name))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it without waiting for anything."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "p2ptui", "--no-ui", "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """Kill it without a goodbye."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def listens(self) -> bool:
        """Whether its port is taken."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(self.address)
            except OSError:
                return True
        return False


class Pair:
    """Two relayed nodes, and what one has sent to the other."""

    def __init__(self, one: Node, other: Node) -> None:
        self.one, self.other = one, other
        self.arrived: list[tuple[float, int]] = []
        self.ends: Counter[str] = Counter()
        self.sent = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def read(self) -> None:
        """Read what arrives, until cancelled."""
        async for event in self.other.events():
            if isinstance(event, DataReceived) and isinstance(event.payload, int):
                self.arrived.append((time.monotonic(), event.payload))

    async def write(self) -> None:
        """Send at a steady pace, until cancelled."""
        began = time.monotonic()
        while True:
            task = asyncio.create_task(self._send(self.sent))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self.sent += 1
            await asyncio.sleep(max(began + self.sent / PER_SECOND - time.monotonic(), 0.0))

    async def _send(self, number: int) -> None:
        try:
            result = await self.one.send(self.other.id, number)
            self.ends[result.status.value] += 1
        except P2PError as error:
            self.ends[f"{type(error).__name__}: {error}"] += 1

    async def settle(self) -> None:
        """Wait until every message has its result."""
        await asyncio.gather(*self._tasks)

    def longest_gap_s(self, since: float) -> float:
        """The longest time without a message, seconds."""
        times = [since, *(at for at, _ in self.arrived if at > since), time.monotonic()]
        return max(later - earlier for earlier, later in pairwise(times))

    def in_use(self, servers: list[Server]) -> Server:
        """The server that relays the messages."""
        view = self.one.peer(self.other.id)
        return next(server for server in servers if server.address == view.address)


def _config(name: str, servers: list[Server]) -> Config:
    return Config().with_options(
        name=name,
        address="127.0.0.1:0",
        enable_discovery=False,
        join=tuple(format_address(server.address) for server in servers),
        ice={"enable": False},
        nat_detection={"enable": False},
    )


async def _until(condition: Any, what: str, within_s: float = START_S) -> None:
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {within_s:g} s")
        await asyncio.sleep(0.01)


def _joined(node: Node, servers: list[Server]) -> bool:
    there = {peer.address for peer in node.peers if peer.status.value == "authenticated"}
    return all(server.address in there for server in servers)


async def run(kills: int, count: int, alive_s: float) -> dict[str, Any]:
    """Kill servers while messages flow.

    Args:
        kills: How many kills.
        count: Servers that both nodes have joined.
        alive_s: The time between two kills, seconds.

    Returns:
        How long the pair was dead each time, seconds, and what became of the messages.
    """
    with tempfile.TemporaryDirectory() as directory:
        servers = [Server(Path(directory), f"server-{number + 1}") for number in range(count)]
        try:
            for server in servers:
                server.start()
            await _until(lambda: all(server.listens() for server in servers), "servers")
            async with (
                Node(_config("alice", servers)) as alice,
                Node(_config("bob", servers)) as bob,
            ):
                return await _run(Pair(alice, bob), servers, kills, alive_s)
        finally:
            for server in servers:
                server.kill()


async def _run(pair: Pair, servers: list[Server], kills: int, alive_s: float) -> dict[str, Any]:
    nodes = pair.one, pair.other
    await _until(lambda: all(_joined(node, servers) for node in nodes), "joining")
    await pair.one.connect(pair.other.id)
    work = [asyncio.create_task(pair.read())]
    await asyncio.sleep(0.1)
    work.append(asyncio.create_task(pair.write()))
    dead_s = []
    for number in range(kills):
        await asyncio.sleep(alive_s + 0.037 * number % 0.5)
        server = pair.in_use(servers)
        server.kill()
        since = time.monotonic()
        if len(servers) > 1:
            await asyncio.sleep(0.5)
        server.start()
        await _until(server.listens, server.name)
        if len(servers) == 1:
            since = time.monotonic()
        await asyncio.sleep(LONGEST_DEAD_S + 0.5)
        dead_s.append(pair.longest_gap_s(since))
        print(f"{number + 1:3}  {server.name}  dead for {dead_s[-1]:.2f} s", flush=True)
    work[1].cancel()
    await pair.settle()
    await asyncio.sleep(0.5)
    work[0].cancel()
    times = Counter(number for _, number in pair.arrived)
    return {
        "dead_s": dead_s,
        "sent": pair.sent,
        "ends": dict(pair.ends),
        "once": sum(times[number] == 1 for number in range(pair.sent)),
        "twice": sum(many > 1 for many in times.values()),
    }


def main() -> None:
    """Run the command line; fails if the pair was dead for too long, or a message did not arrive
    exactly once."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.failover", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="how often (20)")
    parser.add_argument("--servers", type=int, default=2, help="that both nodes have joined (2)")
    parser.add_argument("--alive", type=float, default=1.0, help="seconds between two kills (1)")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON as well")
    options = parser.parse_args()
    outcome = asyncio.run(run(options.kills, options.servers, options.alive))
    dead_s, sent = sorted(outcome["dead_s"]), outcome["sent"]
    print(f"\ndead for {dead_s[len(dead_s) // 2]:.2f} s (median), {dead_s[-1]:.2f} s at most")
    print(f"{sent} messages: {outcome['once']} once, {outcome['twice']} more than once")
    print(f"told: {outcome['ends']}")
    if options.json:
        print(json.dumps(outcome))
    is_good = dead_s[-1] <= LONGEST_DEAD_S and outcome["once"] == sent
    sys.exit(0 if is_good and outcome["ends"] == {"delivered": sent} else 1)


if __name__ == "__main__":
    main()
