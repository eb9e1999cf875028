"""What several processes on one port would cost: `python -m tests.bench.workers`; Linux.

Three things decide whether a node should have workers: what a relayed frame costs in the cores of
two of them that hand it over without a broker, what a socket between them costs, and whether the
kernel, which chooses a worker by the addresses of a datagram (SO_REUSEPORT), keeps its choice when
one has died and is back.
"""

import argparse
import gc
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Final

from p2ptui.core.cluster.bus import Order, Publish
from p2ptui.core.cluster.room import Cluster
from p2ptui.io.memory_bus import SERVERS, MemoryBroker
from tests.bench.far import BATCH, TEXT, Town

PACE_S: Final = 0.01
"""The time between batches, by the clock of the cores: no rate limit is reached."""

BEAT_S: Final = 0.5
"""How often the workers' due work is done, outside what is measured."""

CLIENTS: Final = 500
DATAGRAM: Final = bytes(330)
"""As large as what is handed over with a frame of the benchmark."""

AT_ONCE: Final = 8
"""On Linux, a Unix datagram socket by default queues at most ten datagrams."""


class Pair:
    """Two cores in one cluster whose broker takes no time.

    Args:
        secured: Whether all sessions are sealed.
    """

    def __init__(self, *, secured: bool) -> None:
        self.towns = [Town(secured, first, has_keys=True) for first in (1, 11)]
        self.now = max(town.now for town in self.towns)
        self._broker = MemoryBroker(latency_s=0.0)
        self.rooms: list[Cluster] = []
        self._buses = []
        for town, name in zip(self.towns, "ab", strict=True):
            room = town.server.open_cluster(name, f"10.0.0.1:{8080 + len(self.rooms)}", self.now)
            self.rooms.append(room)
            self._buses.append(self._broker.attach(town.server.identity.id, room, self.now))
        for _ in range(20):
            self.beat()

    def beat(self) -> None:
        """Let half a second pass, with everything due in it."""
        end = self.now + BEAT_S
        while self.now < end:
            self.now += 0.05
            for town, room, bus in zip(self.towns, self.rooms, self._buses, strict=True):
                town.server.handle_timeout(self.now)
                self._broker.run(self.now)
                for order in room.orders():
                    bus.do(order)
                self._broker.run(self.now)
                while town.server.next_event() is not None:
                    pass
                town.server.datagrams_to_send(self.now)

    def relay(self, *, crosses: bool) -> tuple[float, float]:
        """Relay a batch of frames of one client; returns microseconds per frame, at its server and
        at the other."""
        self.now += PACE_S
        now, (here, there) = self.now, self.towns
        source, near = here.clients
        target = there.clients[0] if crosses else near
        text = {"text": TEXT}
        frames = [here.relayed(source, target, here.message("Data", text)) for _ in range(BATCH)]
        began = time.perf_counter()
        for data, address in frames:
            here.server.receive_datagram(data, address, now)
        out = here.server.datagrams_to_send(now)
        orders = self.rooms[0].orders() if crosses else []
        first = time.perf_counter() - began
        handed = [order for order in orders if _is_for_one(order)]
        for order in orders:
            if not _is_for_one(order):
                self._buses[0].do(order)
        second = 0.0
        if crosses:
            began = time.perf_counter()
            for order in handed:
                assert isinstance(order, Publish)
                self.rooms[1].receive_message(order.subject, order.data, now)
            out = there.server.datagrams_to_send(now)
            second = time.perf_counter() - began
        assert len(out) == BATCH, f"{len(out)}: {here.server.counters.drops}"
        for town in self.towns:
            while town.server.next_event() is not None:
                pass
        return first / BATCH * 1e6, second / BATCH * 1e6


def _is_for_one(order: Order) -> bool:
    return isinstance(order, Publish) and order.subject != SERVERS


def measure_frames(batches: int) -> None:
    """Measure frames in the cores alone."""
    print("| relayed frame, us in the core | same worker | crosses: first | second | times |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for secured in (False, True):
        pair = Pair(secured=secured)
        near = first = second = float("inf")
        gc.collect()
        gc.disable()
        for number in range(batches):
            near = min(near, pair.relay(crosses=False)[0])
            one, other = pair.relay(crosses=True)
            first, second = min(first, one), min(second, other)
            if not number % 20:
                pair.beat()
        gc.enable()
        hops = "secured hops" if secured else "open hops"
        times = (first + second) / near
        print(f"| {hops} | {near:.1f} | {first:.1f} | {second:.1f} | {times:.1f} |")


def _least(batches: int, run: Callable[[], None]) -> float:
    least = float("inf")
    for _ in range(batches):
        began = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - began)
    return least / AT_ONCE * 1e6


def measure_sockets(batches: int) -> None:
    """Measure sending and reading one of several messages."""
    print(f"\n| Unix socket, {AT_ONCE} messages at a time | us a message, sent and read |")
    print("| --- | ---: |")
    kinds = {"datagrams": socket.SOCK_DGRAM, "a stream, a call for each": socket.SOCK_STREAM}
    for name, kind in kinds.items():
        one, other = socket.socketpair(socket.AF_UNIX, kind)
        with one, other:

            def run(one: socket.socket = one, other: socket.socket = other) -> None:
                for _ in range(AT_ONCE):
                    one.send(DATAGRAM)
                due = AT_ONCE * len(DATAGRAM)
                while due:
                    due -= len(other.recv(65_536))

            print(f"| {name} | {_least(batches, run):.1f} |")
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with one, other:

        def run_together() -> None:
            one.send(DATAGRAM * AT_ONCE)
            due = AT_ONCE * len(DATAGRAM)
            while due:
                due -= len(other.recv(65_536))

        print(f"| a stream, one call for all | {_least(batches, run_together):.1f} |")


class Shared(ExitStack):
    """Workers on one port, and clients that each have an address of their own.

    Args:
        workers: How many.
    """

    def __init__(self, workers: int) -> None:
        super().__init__()
        self._workers = [self._worker(0)]
        self._to = self._workers[0].getsockname()
        self._workers += [self._worker(self._to[1]) for _ in range(workers - 1)]
        self._clients = []
        for number in range(CLIENTS):
            client = self.enter_context(closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
            client.bind((f"127.0.{1 + number // 250}.{number % 250 + 1}", 0))
            self._clients.append(client)

    def _worker(self, port: int) -> socket.socket:
        sock = self.enter_context(closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", port))
        sock.setblocking(False)
        return sock

    def whose(self) -> list[int]:
        """Which worker each client's datagram reaches."""
        found = []
        for client in self._clients:
            client.sendto(b"x", self._to)
            for number, worker in enumerate(self._workers):
                try:
                    worker.recv(16)
                except OSError:
                    continue
                found.append(number)
        assert len(found) == CLIENTS
        return found

    def kill(self) -> None:
        """Kill the first worker."""
        self._workers[0].close()

    def start(self) -> None:
        """Start it again."""
        self._workers[0] = self._worker(self._to[1])


def measure_steering() -> None:
    """Measure which clients reach another worker than before."""
    print("\n| workers on one port | of clients of those that live: one dies | and is back |")
    print("| ---: | ---: | ---: |")
    for workers in (2, 4):
        with Shared(workers) as shared:
            before = shared.whose()
            shared.kill()
            after = shared.whose()
            shared.start()
            back = shared.whose()
            theirs = [client for client in range(CLIENTS) if before[client]]
            moved = [
                sum(before[client] != then[client] for client in theirs) / len(theirs)
                for then in (after, back)
            ]
            print(f"| {workers} | {moved[0]:.0%} moved | {moved[1]:.0%} are elsewhere |")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.workers", description=__doc__)
    parser.add_argument("--batches", type=int, default=400, help="of each measurement (400)")
    options = parser.parse_args()
    measure_frames(options.batches)
    measure_sockets(options.batches)
    measure_steering()


if __name__ == "__main__":
    main()
