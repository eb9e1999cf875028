"""A node that the benchmark measures, and the sender of its transfers: a separate process.

The measured interpreter runs it as a file, and may have another p2ptui than this folder; so it
imports nothing else from here. Its argument is JSON: `role`, `options` of the configuration, and
`secured`. It prints a line of JSON with where it listens and what it is, then answers each line of
its standard input with one of JSON, and ends when that ends.
"""

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, Final

import p2ptui
from p2ptui import Config, Node
from p2ptui.io.loop import run
from p2ptui.version import VERSION

FLOORS: Final = ("wire.codec", "core.endpoint", "secure.session")
"""One module of each floor that may be compiled."""

SAMPLE_S: Final = 0.001
"""CPU time between two samples; the kernel may make it longer."""

MOST_PLACES: Final = 100_000
"""Places in the source that are distinguished; there are far fewer lines than that."""

PAYLOAD_BYTES: Final = 1_000_000


def build() -> dict[str, Any]:
    """What this p2ptui is: its version, where it is, and which floors are compiled."""
    files = {floor: str(import_module(f"p2ptui.{floor}").__file__) for floor in FLOORS}
    compiled = [floor for floor, file in files.items() if not file.endswith(".py")]
    kind = "pure" if not compiled else "compiled" if len(compiled) == len(files) else "partly"
    return {
        "version": VERSION,
        "build": kind,
        "package": str(Path(p2ptui.__file__).parent),
        "python": f"{sys.implementation.name} {sys.version.split()[0]}",
    }


class Sampler:
    """Samples, by elapsed CPU time, which line runs."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str, int]] = Counter()

    def start(self) -> None:
        """Start anew."""
        self._seen.clear()
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_S, SAMPLE_S)

    def _look(self, _number: int, frame: FrameType | None) -> None:
        if frame is not None and len(self._seen) < MOST_PLACES:
            code = frame.f_code
            self._seen[code.co_filename, code.co_qualname, frame.f_lineno or 0] += 1

    def stop(self) -> list[tuple[str, str, int, int]]:
        """Returns file, function, line, and how often it was sampled."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        return [(*place, seen) for place, seen in self._seen.most_common()]


def _say(words: Any) -> None:
    print(json.dumps(words), flush=True)


async def _lines() -> Any:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        yield line.strip()


async def _serve(node: Node) -> None:
    sampler = Sampler()
    async for line in _lines():
        if line == "sample":
            sampler.start()
            _say({})
        elif line == "stop":
            _say(sampler.stop())
        else:
            stats = node.stats()
            _say({"peers": stats.connected, "drops": dict(stats.drops)})


async def _send(node: Node, host: str, port: int) -> None:
    """Send a long message for each line, and say how many seconds it took."""
    peer = await node.connect((host, port))
    payload = "x" * PAYLOAD_BYTES
    async for _ in _lines():
        began = time.perf_counter()
        result = await node.send(peer.node_id, payload, timeout_s=60.0)
        _say({"seconds": time.perf_counter() - began, "status": result.status.value})


async def main() -> None:
    """Do what the argument says."""
    told = json.loads(sys.argv[1])
    options = {"address": "127.0.0.1:0", "enable_discovery": False, "ephemeral": True}
    config = Config().with_options(**options | told.get("options", {}))
    async with Node(config, secured=told.get("secured", True)) as node:
        _say({"port": node.address[1]} | build())
        if told["role"] == "send":
            await _send(node, *told["to"])
        else:
            await _serve(node)


if __name__ == "__main__":
    run(main(), fast=True)
