"""Many nodes in one process, told by lines of JSON what to do.

`python -m tests.cluster_trial.crowd` reads one command a line, and answers each with one line.
Times are those of the machine's monotonic clock, which all processes share.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any, Final

from p2ptui.config import Config
from p2ptui.core.events import DataReceived, PeerStatus, SendStatus
from p2ptui.errors import P2PError, PeerTimeoutError
from p2ptui.node import Node

AT_ONCE: Final = 24
"""Nodes that start, or pairs that meet, at a time."""

PING_S: Final = 3.0
"""A Ping that is not answered by then is lost."""

ASK_PAUSE_S: Final = 0.2
"""Between two questions whether a node can be reached."""

MEET_S: Final = 3.0
"""Within which a session that was lost is begun anew, or it is tried once more."""

MOST_UNDER_WAY: Final = 64
"""Messages of one pair of which it is not known yet what became."""


class Crowd:
    """The nodes of one process."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.came: Counter[tuple[str, str, int]] = Counter()
        """How often each message of traffic came: to whom, from whom, which."""
        self._tasks: list[asyncio.Task[None]] = []
        self._sending: list[asyncio.Task[None]] = []
        self._sent: list[list[Any]] = []
        self._is_on = False

    async def start(self, nodes: list[dict[str, Any]]) -> dict[str, str]:
        """Start nodes, each with its name, the servers that it joins, and whether it may look for
        direct paths; their ids by their names."""

        async def start(told: dict[str, Any]) -> None:
            config = Config().with_options(
                **{
                    "server.address": f"{told['host']}:0",
                    "server.name": told["name"],
                    "server.enable_discovery": False,
                    "server.join": tuple(told["join"]),
                    "security.ephemeral": True,
                    "ice.enable": told["direct"],
                }
            )
            node = Node(config)
            await node.__aenter__()
            self.nodes[told["name"]] = node
            self._tasks.append(asyncio.create_task(self._hear(told["name"], node)))

        await _in_turn([lambda told=told: start(told) for told in nodes])
        return {name: node.id for name, node in self.nodes.items()}

    async def _hear(self, name: str, node: Node) -> None:
        async for event in node.events():
            if isinstance(event, DataReceived) and isinstance(event.payload, list):
                self.came[name, *event.payload] += 1

    async def talk(self, pairs: list[list[str]], seconds: float) -> list[list[Any]]:
        """Have nodes reach others: meet, Ping, and send what is acknowledged; why it did not work,
        an empty text if it did, how long each of the three took, and how many Pings were lost: one
        is a single datagram, which nothing repeats but whoever pings."""

        async def answers(node: Node, target: str, left_s: float) -> bool:
            try:
                await node.ping(target, min(PING_S, max(0.1, left_s)))
            except PeerTimeoutError:
                return False
            return True

        async def talk(source: str, target: str) -> list[Any]:
            node, steps = self.nodes[source], [time.monotonic()]
            doing, why, lost, end = "connect", "", 0, time.monotonic() + seconds
            try:
                async with asyncio.timeout(seconds):
                    await node.connect(target, seconds)
                    doing = "ping"
                    steps.append(time.monotonic())
                    while not await answers(node, target, end - time.monotonic()):
                        lost += 1
                    doing = "send"
                    steps.append(time.monotonic())
                    result = await node.send(target, "hello", timeout_s=seconds)
                if not result.delivered:
                    why = f"{source} to {target}: not delivered: {result.reason}"
            except (P2PError, TimeoutError) as error:
                why = f"{source} to {target}: {doing}: {type(error).__name__}: {error}"
            steps.append(time.monotonic())
            took = [round(after - before, 3) for before, after in pairwise(steps)]
            return [why, took, lost]

        return await _in_turn([lambda pair=pair: talk(*pair) for pair in pairs])

    async def reach(self, source: str, targets: list[str], seconds: float) -> dict[str, float]:
        """When each of others was reached first from now on; those that are not are left out. Each
        is asked again and again without waiting for an answer: one that is lost costs no time."""
        node, end = self.nodes[source], time.monotonic() + seconds
        reached: dict[str, float] = {}

        async def ask(target: str) -> None:
            try:
                result = await node.send_routed(target, "there?", timeout_s=1.0)
                if result.delivered:
                    reached.setdefault(target, time.monotonic())
            except P2PError:
                pass

        async def reach(target: str) -> None:
            asking = set[asyncio.Task[None]]()
            while target not in reached and time.monotonic() < end:
                task = asyncio.create_task(ask(target))
                asking.add(task)
                task.add_done_callback(asking.discard)
                await asyncio.sleep(ASK_PAUSE_S)
            await asyncio.gather(*asking)

        await asyncio.gather(*(reach(target) for target in targets))
        return reached

    async def sessions(self, source: str) -> list[str]:
        """With whom a node has sessions."""
        return [peer.name for peer in self.nodes[source].peers]

    async def tell(self, source: str) -> dict[str, Any]:
        """What there is to say of a node that does not reach another one."""
        endpoint = self.nodes[source]._runtime.endpoint
        home = endpoint.home.server
        peers = [
            f"{peer.name} at {peer.address} {peer.status.name} path {peer.path}"
            for peer in endpoint.peers
        ]
        drops = dict(endpoint.counters.drops)
        refuge = self.nodes[source]._runtime._servers._refuge
        now = asyncio.get_running_loop().time()
        return {
            "home": None if home is None else home.name,
            "peers": peers,
            "drops": drops,
            "told": [str(one) for one in endpoint.home.told],
            "asked": {str(a): (n, round(now - at, 1)) for a, (n, at) in refuge._asked.items()},
            "hosts": dict(refuge._hosts.items()),
            "joined": [str(a) for a in refuge._joined],
        }

    async def listed(self, source: str, server: str) -> list[str]:
        """Ids of all nodes that a server knows."""
        try:
            listed = await self.nodes[source].list_nodes(server, 10.0)
        except P2PError:
            return []
        return [node.node_id for node in listed.nodes]

    async def traffic(self, pairs: list[list[str]], pause_s: float) -> bool:
        """Begin to send numbered messages: kind, source, and the id of the target. A session that
        is lost is begun anew, as a program would that goes on sending."""
        self._is_on = True
        self._sending = [asyncio.create_task(self._send_all(*pair, pause_s)) for pair in pairs]
        return True

    async def _send_all(self, kind: str, source: str, target: str, pause_s: float) -> None:
        node, under_way, number = self.nodes[source], set[asyncio.Task[None]](), 0
        meeting: asyncio.Task[None] | None = None

        async def send(number: int) -> None:
            began, status, reason = time.monotonic(), "failed", ""
            try:
                result = await node.send(target, [source, number])
                status = "delivered" if result.delivered else "told"
                reason = str(result.reason)
                if result.status is SendStatus.UNCONFIRMED:
                    status = "unconfirmed"
            except P2PError as error:
                status, reason = "told", str(error)
            record = [kind, source, target, number, began, time.monotonic(), status, reason]
            self._sent.append(record)

        def connected() -> set[str]:
            return {peer.node_id for peer in node.peers if peer.status is PeerStatus.AUTHENTICATED}

        async def meet() -> None:
            with suppress(P2PError):
                await node.connect(target, MEET_S)

        while self._is_on:
            if target not in connected() and (meeting is None or meeting.done()):
                meeting = asyncio.create_task(meet())
            if len(under_way) < MOST_UNDER_WAY:
                number += 1
                task = asyncio.create_task(send(number))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.sleep(pause_s)
        await asyncio.gather(*under_way)
        if meeting is not None:
            await meeting

    async def stop(self, seconds: float) -> dict[str, Any]:
        """End the traffic; what became of each message, and of how many that is not known."""
        self._is_on = False
        pending = set[asyncio.Task[None]]()
        if self._sending:
            _, pending = await asyncio.wait(self._sending, timeout=seconds)
        sent, self._sent, self._sending = self._sent, [], []
        return {"sent": sent, "open": len(pending)}

    async def arrived(self) -> list[list[Any]]:
        """How often each message came."""
        came = [[*key, count] for key, count in self.came.items()]
        self.came.clear()
        return came

    async def end(self) -> bool:
        """End all nodes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(node.__aexit__(None, None, None) for node in self.nodes.values()))
        return True


async def _in_turn(calls: list[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """Do all, some at a time."""
    room = asyncio.Semaphore(AT_ONCE)

    async def do(call: Callable[[], Awaitable[Any]]) -> Any:
        async with room:
            return await call()

    return list(await asyncio.gather(*(do(call) for call in calls)))


async def main() -> None:
    """Do what is told, until the end of the input; several commands may be under way."""
    loop, crowd = asyncio.get_running_loop(), Crowd()
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def do(number: int, name: str, arguments: list[Any]) -> None:
        try:
            answer = await getattr(crowd, name)(*arguments)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps([number, answer]), flush=True)

    tasks = set[asyncio.Task[None]]()
    while line := await reader.readline():
        task = asyncio.create_task(do(*json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    asyncio.run(main())
