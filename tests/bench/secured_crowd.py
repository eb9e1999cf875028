"""A node with hundreds of secured peers: what they take, and what it costs that they are there.

Each of them is a core of its own, with keys and with the usual heartbeats; all speak from one
socket, and from this process.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Final

from p2ptui.config import Config
from p2ptui.core.endpoint import Endpoint
from p2ptui.wire.address import Address
from tests.bench import crowded
from tests.bench.crowd import Crowd, SecuredPeer
from tests.bench.machine import Cores, Interpreter, cpu_s, rss_mb
from tests.bench.report import Row
from tests.bench.rounds import Target
from tests.bench.secured import endpoint

PARTS: Final = ("handshakes-secured", "memory-secured", "idle-secured")
UNDER_WAY: Final = 16
"""Handshakes at a time."""

JOIN_S: Final = 60.0
"""All have come after so long, or it is given up."""

LOOK_S: Final = 0.1
"""So often the timers of all are looked at."""

QUIET_S: Final = 1.0
"""After the last handshake, until what belongs to it is over."""

SCALE: Final = 10_000
"""Peers for which the cost of being there is told, in proportion."""


class SecuredCrowd:
    """The peers of one node.

    Args:
        crowd: Their socket.
        port: Of the node.
        size: How many they are.
    """

    def __init__(self, crowd: Crowd, port: int, size: int) -> None:
        self._crowd, self._port = crowd, port
        self._peers = [SecuredPeer(crowd, number, _member) for number in range(size)]
        self._by_host = {peer.host: peer for peer in self._peers}
        self._looked = 0.0

    def _step(self) -> None:
        came = self._crowd.receive(LOOK_S)
        if came is not None and came[0] in self._by_host:
            self._by_host[came[0]].take(came[1], self._port)
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        for peer in self._peers:
            due = peer.core.next_timeout()
            if due is not None and due <= now:
                peer.core.handle_timeout(now)
                peer.flush(self._port)

    def stay(self, seconds: float) -> None:
        """Answer whatever comes, for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._step()

    def join(self) -> bool:
        """Shake hands, a few at a time; whether all have a secured session then."""
        waiting, under_way = list(reversed(self._peers)), list[SecuredPeer]()
        end = time.monotonic() + JOIN_S
        while (waiting or under_way) and time.monotonic() < end:
            while waiting and len(under_way) < UNDER_WAY:
                peer = waiting.pop()
                peer.core.connect(("127.0.0.1", self._port), time.monotonic(), JOIN_S)
                peer.flush(self._port)
                under_way.append(peer)
            self._step()
            under_way = [peer for peer in under_way if not peer.is_secured(self._port)]
        return not (waiting or under_way)


def _member(number: int, address: Address) -> Endpoint:
    return endpoint(number, address, secured=True, config=Config())


def _rows(node: Target, crowd: SecuredCrowd, size: int, idle_s: float) -> Iterator[Row]:
    many = f"{size:,} secured peers"
    rest_mb, before = rss_mb(node.pid), cpu_s(node.pid)
    if not crowd.join():
        for key in PARTS:
            yield Row(key, many, skipped="they were not all let in")
        return
    crowd.stay(QUIET_S)
    handshake_us = (cpu_s(node.pid) - before) / size * 1e6
    yield Row(
        PARTS[0],
        f"handshakes, {many}",
        figures={"CPU_us": handshake_us},
        note=f"with all greetings; {crowded.NO_NEWS}",
    )
    now_mb = rss_mb(node.pid)
    yield Row(
        PARTS[1],
        f"memory at {many}",
        figures={"whole_mb": now_mb, "peer_kb": (now_mb - rest_mb) * 1000 / size},
    )
    before, began = cpu_s(node.pid), time.monotonic()
    crowd.stay(idle_s)
    share = (cpu_s(node.pid) - before) / (time.monotonic() - began)
    yield Row(
        PARTS[2],
        f"idle, {many} with their heartbeats",
        figures={
            "core_percent": share * 100,
            f"core_for_{SCALE}_percent": share * 100 * SCALE / size,
        },
        note=f"over {idle_s:g} s; in proportion",
    )


def measure(
    interpreter: Interpreter,
    new_crowd: Callable[[], Crowd],
    plan: crowded.Plan,
    cores: Cores,
    wanted: Callable[[str], bool],
) -> Iterator[Row]:
    """The rows of secured peers that are wanted."""
    if not any(map(wanted, PARTS)):
        return
    with contextlib.ExitStack() as stack:
        with cores.of_server():
            running = crowded.program(interpreter, plan.secured, tells=False)
            node = stack.enter_context(running)
        time.sleep(crowded.REST_S)
        stack.enter_context(cores.of_load())
        crowd = SecuredCrowd(new_crowd(), node.port, plan.secured)
        for row in _rows(node, crowd, plan.secured, plan.idle_s):
            if wanted(row.key):
                yield row
