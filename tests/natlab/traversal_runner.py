"""Nodes in a host of a laboratory, driven from outside by lines of JSON; answers are lines too.

`python -m tests.natlab.traversal_runner SERVER` runs one node after the other, each with a fresh
socket, in one process: a start of Python would take longer than most of what is measured.
"""

import asyncio
import json
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from itertools import pairwise
from typing import Any

from p2ptui import Config, Node
from p2ptui.core.events import DataReceived, Path, PathChanged
from p2ptui.core.traversal.attempt import NatFacts
from p2ptui.errors import P2PError
from p2ptui.nat.allocation import PortSample
from p2ptui.nat.prediction import PortPredictor
from p2ptui.node.traversal_support import TraversalSupport
from p2ptui.wire.address import Address
from tests.bench.usual_guess import constant_step_guess

JOIN_S = 5.0
CONNECT_S = 8.0
ALL_S = 20.0
SEND_S = 60.0
WINDOW = 16
"""Numbered messages under way at once."""
STREAMED = 1000
"""The number of the first one of a stream."""
TICK_S = 0.02
LATE_S = 0.02
MAX_STANDSTILLS = 1000
"""Times at which this process did not run, though it was due by `LATE_S`; the last are known."""


_PREDICTED = TraversalSupport._addresses


def _next_in_step(
    self: TraversalSupport,
    predictor: PortPredictor,
    samples: list[tuple[float, PortSample]],
    local_ports: list[int],
    outside: str,
) -> tuple[Address, ...]:
    ports = constant_step_guess([sample.mapped_port for _, sample in samples], len(local_ports))
    return tuple((outside, port) for port in ports)


class Runner:
    """One node at a time, and what it saw.

    Args:
        server: Where the node joins.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._node: Node | None = None
        self._facts: NatFacts | None = None
        self._reading: asyncio.Task[None] | None = None
        self._stream: asyncio.Task[None] | None = None
        self._flows: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._standstills: deque[tuple[float, float]] = deque(maxlen=MAX_STANDSTILLS)
        """From when to when."""
        self._received: list[int] = []
        self._came_at: list[float] = []
        """When the streamed ones came."""
        self._paths: list[dict[str, Any]] = []
        self._changed = asyncio.Event()
        self._delivered = 0
        self._undelivered = 0

    @property
    def node(self) -> Node:
        assert self._node is not None
        return self._node

    async def start(
        self,
        options: dict[str, Any] | None = None,
        facts: bool = True,
        constant_step: bool = False,
    ) -> dict[str, Any]:
        """A fresh node, joined; with what is known of its NAT, found out once.

        constant_step: Ports are guessed as is usually done, to compare with.
        """
        TraversalSupport._addresses = _next_in_step if constant_step else _PREDICTED
        config = Config().with_options(
            address="0.0.0.0:0",
            ephemeral=True,  # each run is another node
            enable_discovery=False,
            nat_detection={"enable": False, "stun_servers": ()},
        )
        if options:
            config = config.with_options(**options)
        self._received, self._paths, self._came_at = [], [], []
        self._delivered = self._undelivered = 0
        self._changed.clear()
        self._node = Node(config)
        await self._node.start()
        self._reading = asyncio.create_task(self._read())
        await self._node.connect(self._server, JOIN_S)
        traversal = self._node._endpoint.traversal
        if facts and self._facts is None:
            await self._node.diagnose_nat()
            self._facts = traversal.offers.facts
        elif facts and self._facts is not None:
            traversal.facts_ready(self._facts, time.monotonic())
        side = traversal.offers.facts.side.value
        return {"side": side, "node_id": self._node.id}

    async def _read(self) -> None:
        async for event in self.node.events(limit=100_000):
            match event:
                case DataReceived(payload={"n": number}):
                    self._received.append(number)
                    if number >= STREAMED:
                        self._came_at.append(time.monotonic())
                case PathChanged():
                    path = {"at": time.monotonic(), "path": event.path.value}
                    path |= {"node": event.node_id, "method": event.method, "reason": event.reason}
                    self._paths.append(path)
                    self._changed.set()

    async def connect(self, to: str, wait_s: float) -> dict[str, Any]:
        """Connect, send one message at once, wait for a path or a reason, and send another."""
        began = time.monotonic()
        try:
            await self.node.connect(to, CONNECT_S)
            connected = time.monotonic()
            first = await self.node.send(to, {"n": 1}, timeout_s=SEND_S)
            sent = time.monotonic()
            await self._settle(to, began + wait_s)
            found = time.monotonic()
            second = await self.node.send(to, {"n": 2}, timeout_s=SEND_S)
        except P2PError as error:
            return {"error": f"{type(error).__name__}: {error}"}
        peer = self.node.peer(to)
        connection = peer.connection
        return {
            "delivered": first.delivered and second.delivered,
            "connect_ms": (connected - began) * 1000,
            "first_ms": (sent - began) * 1000,
            "path": peer.path.value,
            "method": connection.method.value,
            "direct_ms": (connection.direct_after_s or 0.0) * 1000,
            "settled_ms": (found - began) * 1000,
            "checks": connection.checks,
            "bytes": connection.bytes_spent,
            "reason": connection.reason,
            "rounds": self.node._endpoint.traversal.offers.get(to).offer.round,
        }

    async def connect_all(self, to: list[str]) -> dict[str, Any]:
        """Connect to several nodes at once."""
        calls = [self.node.connect(node_id, ALL_S) for node_id in to]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        errors = [f"{type(end).__name__}: {end}" for end in ends if isinstance(end, Exception)]
        return {"connected": len(to) - len(errors), "errors": errors}

    async def direct(self) -> dict[str, Any]:
        """To whom there is a direct path, the server left out."""
        nodes = [
            peer.node_id
            for peer in self.node.peers
            if peer.path is Path.DIRECT and f"{peer.address[0]}:{peer.address[1]}" != self._server
        ]
        return {"nodes": nodes}

    async def _settle(self, to: str, until: float) -> None:
        while True:
            self._changed.clear()
            peer = self.node.peer(to)
            if peer.path is Path.DIRECT or peer.connection.reason is not None:
                return
            try:
                async with asyncio.timeout(until - time.monotonic()):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def stream(self, to: str, count: int, per_second: float) -> dict[str, Any]:
        """Begin to send numbered messages; `report` tells how far it is."""
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_clock())
        self._stream = asyncio.create_task(self._send_all(to, count, per_second))
        return {}

    async def _send_all(self, to: str, count: int, per_second: float) -> None:
        began = time.monotonic()
        waiting: set[asyncio.Task[None]] = set()
        for number in range(count):
            pause_s = began + number / per_second - time.monotonic()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            while len(waiting) >= WINDOW:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            waiting.add(asyncio.create_task(self._send(to, number)))
        if waiting:
            await asyncio.wait(waiting)

    async def _send(self, to: str, number: int) -> None:
        try:
            result = await self.node.send(to, {"n": STREAMED + number}, timeout_s=SEND_S)
        except P2PError:
            self._undelivered += 1
            return
        self._delivered += result.delivered
        self._undelivered += not result.delivered

    async def _watch_clock(self) -> None:
        while True:
            due = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            if now > due + LATE_S:
                self._standstills.append((due, now))

    async def stood_still(self, began: float, ended: float) -> dict[str, Any]:
        """How long this process did not run between two times, although it was due: seconds."""
        await asyncio.sleep(2 * TICK_S)
        overlaps = (min(to, ended) - max(since, began) for since, to in self._standstills)
        return {"seconds": sum(overlap for overlap in overlaps if overlap > 0)}

    async def say(self, to: str, number: int, timeout_s: float) -> dict[str, Any]:
        """Send one message; whether it was delivered, and after what time."""
        began = time.monotonic()
        try:
            result = await self.node.send(to, {"n": number}, timeout_s=timeout_s)
        except P2PError as error:
            return {"delivered": False, "error": f"{type(error).__name__}: {error}"}
        return {"delivered": result.delivered, "after_s": time.monotonic() - began}

    async def search(self, to: str) -> dict[str, Any]:
        """Search a direct path now."""
        self.node._endpoint.traversal.search(to, time.monotonic())
        self.node._runtime.flush()
        return {}

    async def report(self, to: str = "") -> dict[str, Any]:
        """What came, and how the path to a node changed."""
        await asyncio.sleep(0)
        known = [peer for peer in self.node.peers if peer.node_id == to]
        peer = known[0] if known else None
        return {
            "servers": sum(peer.is_joined_server for peer in self.node._endpoint.peers),
            "received": len(self._received),
            "distinct_streamed": len({number for number in self._received if number >= STREAMED}),
            "streamed": len(self._came_at),
            "longest_pause": max(
                pairwise(self._came_at), key=lambda pause: pause[1] - pause[0], default=(0.0, 0.0)
            ),
            "delivered": self._delivered,
            "undelivered": self._undelivered,
            "streaming": self._stream is not None and not self._stream.done(),
            "paths": self._paths,
            "secured": peer.secured if peer else None,
            "path": peer.path.value if peer else None,
            "by": f"{peer.address[0]}:{peer.address[1]}" if peer else None,
            "method": peer.connection.method.value if peer else None,
            "checks": peer.connection.checks if peer else 0,
            "reason": peer.connection.reason if peer else None,
        }

    async def flows(self, per_second: float) -> dict[str, Any]:
        """Begin new flows from now on, evenly: what others behind the same NAT do; 0 ends it."""
        if self._flows is not None:
            self._flows.cancel()
            self._flows = None
        if per_second:
            self._flows = asyncio.create_task(self._begin_flows(per_second))
        return {}

    async def _begin_flows(self, per_second: float) -> None:
        host = self._server.rpartition(":")[0]
        began, done = time.monotonic(), 0
        while True:
            if done < (time.monotonic() - began) * per_second:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
                    # Where nothing listens; what it answers is nobody's concern.
                    flow.sendto(b"x", (host, 9))
                done += 1
            else:
                await asyncio.sleep(1 / per_second / 4)

    async def stop(self) -> dict[str, Any]:
        """The end of this node."""
        if self._stream is not None:
            self._stream.cancel()
            self._stream = None
        if self._node is not None:
            await self._node.close()
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
        self._node = self._reading = None
        return {}


async def _main(server: str) -> None:
    runner = Runner(server)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        command = json.loads(line)
        try:
            answer = await getattr(runner, command.pop("do"))(**command)
        except P2PError as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    await runner.stop()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
