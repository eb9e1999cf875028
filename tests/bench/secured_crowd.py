"""A node with thousands of secured peers: the memory that they take, and what they cost while idle.

Each of them shakes hands as a core of its own, with keys. Afterwards the core is gone, and only the
session remains: it sends the keepalives of a node behind a NAT, and answers. All use one socket, in
this process.
"""

import contextlib
import heapq
import random
import time
from collections.abc import Callable, Iterator
from typing import Final

from p2ptui.config import Config
from p2ptui.core.endpoint import Endpoint
from p2ptui.nat.mapping_life import USUAL_S
from p2ptui.wire.address import Address
from p2ptui.wire.frames import KEEPALIVE_NONCE_BYTES, Keepalive, encode_keepalive
from tests.bench import crowded
from tests.bench.crowd import Crowd, SecuredPeer
from tests.bench.machine import Cores, Interpreter, cpu_s, rss_mb
from tests.bench.memory import Quiet
from tests.bench.report import Row
from tests.bench.rounds import Target
from tests.bench.secured import endpoint

PARTS: Final = ("handshakes-secured", "memory-secured", "idle-secured")
UNDER_WAY: Final = 16
"""Handshakes at a time."""

A_PEER_S: Final = 0.03
JOIN_S: Final = 30.0
"""All must have joined after this time, plus an allowance for each, or it is given up."""

LOOK_S: Final = 0.1
"""How often the timers of all cores are checked."""

GREETED_S: Final = 2.0
"""The time after a handshake until everything that belongs to it is over."""

KEEPALIVE: Final = encode_keepalive(Keepalive(bytes(KEEPALIVE_NONCE_BYTES), 0.0))


class Kept:
    """A session that is kept although its node is gone.

    Args:
        peer: That node, once it has its session.
        port: The port of the other node.
        now: The time, seconds.
    """

    def __init__(self, peer: SecuredPeer, port: int, now: float) -> None:
        self.host = peer.host
        self._crowd, self._port = peer.crowd, port
        self._sealed = peer.sealed
        self._quiet = Quiet(peer.core, ("127.0.0.1", port))
        assert peer.peer is not None
        assert peer.peer.seal is not None
        self._seal = peer.peer.seal.session.seal
        self._left_at = now - random.uniform(0.0, USUAL_S)

    @property
    def due(self) -> float:
        """When it next sends something by itself; seconds."""
        return self._left_at + USUAL_S

    def handle_timeout(self, now: float) -> None:
        """The path has been idle for as long as allowed. No heartbeat is due: keepalives are
        answered."""
        self._send(self._seal(KEEPALIVE), now)

    def take(self, data: bytes, now: float) -> int:
        """Answer what came for it; returns the number of answers."""
        answers = self._quiet.answers(data, now)
        for answer in answers:
            self._send(answer, now)
        return len(answers)

    def _send(self, data: bytes, now: float) -> None:
        self._left_at = now
        self._crowd.send(self.host, data, self._port)


class SecuredCrowd:
    """The peers of one node.

    Args:
        crowd: Their socket.
        port: The port of the node.
        size: How many there are.
    """

    def __init__(self, crowd: Crowd, port: int, size: int) -> None:
        self._crowd, self._port, self._size = crowd, port, size
        self._cores: dict[str, SecuredPeer] = {}
        self._secured: dict[str, float] = {}
        """The ones with a session, and since when."""
        self._kept: dict[str, Kept] = {}
        self._plans: list[tuple[float, str]] = []
        self._looked = 0.0
        self.heard = 0
        """Datagrams for sessions whose node is gone."""

    def _step(self) -> None:
        now = time.monotonic()
        while self._plans and self._plans[0][0] <= now:
            _, host = heapq.heappop(self._plans)
            kept = self._kept[host]
            if kept.due <= now:
                kept.handle_timeout(now)
            heapq.heappush(self._plans, (kept.due, host))
        if self._cores and now - self._looked >= LOOK_S:
            self._looked = now
            self._look_at_cores(now)
        next_at = self._plans[0][0] if self._plans else now + LOOK_S
        came = self._crowd.receive(min(max(next_at - now, 0.0001), LOOK_S))
        if came is None:
            return
        host, data = came
        if host in self._cores:
            peer = self._cores[host]
            peer.take(data, self._port)
            if host not in self._secured and peer.is_secured(self._port):
                self._secured[host] = now
        elif host in self._kept:
            self.heard += 1
            self._kept[host].take(data, time.monotonic())

    def _look_at_cores(self, now: float) -> None:
        for host, peer in list(self._cores.items()):
            due = peer.core.next_timeout()
            if due is not None and due <= now:
                peer.core.handle_timeout(now)
                peer.flush(self._port)
            if now - self._secured.get(host, now) > GREETED_S:
                del self._cores[host]
                kept = self._kept[host] = Kept(peer, self._port, now)
                heapq.heappush(self._plans, (kept.due, host))

    def stay(self, seconds: float) -> None:
        """Keep all sessions for this long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._step()

    def join(self) -> bool:
        """Shake hands, a few at a time; returns whether all then have a secured session and are
        kept."""
        begun = 0
        end = time.monotonic() + JOIN_S + A_PEER_S * self._size
        while len(self._kept) < self._size and time.monotonic() < end:
            while begun < self._size and begun - len(self._secured) < UNDER_WAY:
                peer = SecuredPeer(self._crowd, begun, _member)
                peer.core.connect(("127.0.0.1", self._port), time.monotonic(), JOIN_S)
                peer.flush(self._port)
                self._cores[peer.host] = peer
                begun += 1
            self._step()
        return len(self._kept) == self._size


def _member(number: int, address: Address) -> Endpoint:
    return endpoint(number, address, secured=True, config=Config())


def _rows(node: Target, crowd: SecuredCrowd, plan: crowded.Plan) -> Iterator[Row]:
    size = plan.secured
    many = f"{size:,} secured peers"
    alone = crowded.share_of(node, plan.rest_s)
    rest_mb, before = rss_mb(node.pid), cpu_s(node.pid)
    if not crowd.join():
        for key in PARTS:
            yield Row(key, many, skipped="they were not all let in")
        return
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
    crowd.stay(plan.settle_s)
    crowd.heard = 0
    share = crowded.share_of(node, plan.idle_s, crowd.stay)
    yield Row(
        PARTS[2],
        f"idle, {many} with heartbeats of 30 s, and their keepalives",
        figures=crowded.idle_figures(share, alone, size),
        note=f"over {plan.idle_s:g} s, in which {crowd.heard / plan.idle_s:,.0f} datagrams a second"
        " went to them",
    )


def measure(
    interpreter: Interpreter,
    new_crowd: Callable[[], Crowd],
    plan: crowded.Plan,
    cores: Cores,
    wanted: Callable[[str], bool],
) -> Iterator[Row]:
    """The wanted rows of secured peers."""
    if not any(map(wanted, PARTS)):
        return
    with contextlib.ExitStack() as stack:
        with cores.of_server():
            running = crowded.program(interpreter, plan.secured, tells=False)
            node = stack.enter_context(running)
        time.sleep(crowded.REST_S)
        stack.enter_context(cores.of_load())
        crowd = SecuredCrowd(new_crowd(), node.port, plan.secured)
        for row in _rows(node, crowd, plan):
            if wanted(row.key):
                yield row
