"""How many entries a second a real nats-server takes from this bus.

    python -m tests.cluster_broker
    python -m tests.cluster_broker --seconds 5 --watchers 1 3

One process puts entries of nodes, 2,000 at once; so many others watch the bucket, as servers do.
The broker keeps it on disk. Told are the entries a second, and what one costs the broker and
whoever puts it in processor time, which other work on the machine changes little.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import sys
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from p2ptui.config import ClusterOptions
from p2ptui.core.cluster.bus import Put
from p2ptui.io.nats_bus import NatsBus
from tests.cluster.brokers import Broker

ENTRY = bytes(500)
"""As large as that of a node with keys, a statement and some metadata."""
KEYS = 10_000
AT_ONCE = 2_000
TICKS = os.sysconf("SC_CLK_TCK")


class Heard:
    """Counts what a bus tells, and keeps the revisions."""

    def __init__(self) -> None:
        self.complete = asyncio.Event()
        self.puts = self.refused = self.told = 0
        self.revisions: dict[str, int] = {}

    def handle_link(self, is_up: bool, now: float) -> None:
        """It stays up."""

    def handle_complete(self, now: float) -> None:
        self.complete.set()

    def receive_entry(self, key: str, value: bytes | None, revision: int, now: float) -> None:
        self.told += 1

    def receive_message(self, subject: str, data: bytes, now: float) -> None:
        """Nobody says anything."""

    def handle_put(self, key: str, revision: int, now: float) -> None:
        self.puts += 1
        self.revisions[key] = revision

    def handle_refused(self, key: str, now: float) -> None:
        self.refused += 1


async def linked(url: str, own_id: str) -> tuple[NatsBus, Heard, "asyncio.Task[None]"]:
    """A bus with its link."""
    heard = Heard()
    options = ClusterOptions(servers=(url,))
    bus = NatsBus(options, "measured", own_id, heard, time.monotonic, random.Random(own_id))
    task = asyncio.ensure_future(bus.run())
    await heard.complete.wait()
    return bus, heard, task


def watch(url: str, number: int, ready: Event, end: Event) -> None:
    """Another server."""

    async def run() -> None:
        _, _, task = await linked(url, f"watcher-{number}")
        ready.set()
        await asyncio.to_thread(end.wait)
        task.cancel()

    asyncio.run(run())


def processor_s(pid: int) -> float:
    """What a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def put(url: str, pid: int, seconds: float) -> str:
    """Put entries for so long; what it cost, as a row."""
    bus, heard, task = await linked(url, "putter")
    ordered = 0
    began, broker_s, own_s = time.monotonic(), processor_s(pid), time.process_time()
    while time.monotonic() < began + seconds:
        while ordered - heard.puts - heard.refused < AT_ONCE:
            key = f"{ordered % KEYS:08x}-0000-4000-8000-000000000000"
            bus.do(Put(key, ENTRY, heard.revisions.get(key, 0)))
            ordered += 1
        await asyncio.sleep(0.001)
    took_s, puts = time.monotonic() - began, heard.puts
    broker_s, own_s = processor_s(pid) - broker_s, time.process_time() - own_s
    task.cancel()
    rate = f"{puts / took_s:,.0f} | {1e6 * broker_s / puts:.0f} | {1e6 * own_s / puts:.0f}"
    return f"{rate} | {heard.refused}"


def measure(watchers: int, seconds: float) -> str:
    """A row for so many servers besides the one that puts."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder)).start()
        end = context.Event()
        others = []
        try:
            for number in range(watchers):
                ready = context.Event()
                others.append(context.Process(target=watch, args=(broker.url, number, ready, end)))
                others[-1].start()
                ready.wait(30)
            return asyncio.run(put(broker.url, broker.pid, seconds))
        finally:
            end.set()
            for other in others:
                other.join(10)
            broker.kill()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--watchers", type=int, nargs="+", default=[0, 2, 4])
    options = parser.parse_args()
    print("| servers | entries a second | broker, µs an entry | who puts, µs | refused |")
    print("| --- | --- | --- | --- | --- |")
    for watchers in options.watchers:
        print(f"| {1 + watchers} | {measure(watchers, options.seconds)} |", flush=True)


if __name__ == "__main__":
    main()
