"""What the screen costs, compared with the bounds that it must keep.

    python -m tests.bench.screen                # everything, about ten minutes
    python -m tests.bench.screen start load     # some: start, load, many, memory

The screen runs as a user runs it, in a pseudo-terminal that is read, against a flood from another
process. Comparisons with and without the screen are measured in turns.
"""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.bench.crowd import OWN, Crowd, handshake_request, host_of
from tests.bench.crowded import RAMP_WINDOW
from tests.bench.figure import ROOT, SIZE, Figure, quiet_node
from tests.bench.loopback import compiled
from tests.bench.screen_memory import measure_memory

FLOOD_PER_SECOND: Final = 1000
MEASURED_S: Final = 15.0
WARM_UP_S: Final = 5.0
TURNS: Final = 3
MANY: Final = 10_000
"""Peers."""
JOIN_S: Final = 60.0
"""If they have not joined after this time, it is given up."""
MOST: Final = 0.99
"""The least share of them that must join: an answer may be lost on a busy machine."""
POLITE_S: Final = 1.0
"""The time until everything that their handshakes began is over."""
PINGS: Final = 400


# The program in a terminal, and without one.

_LAG = """
import asyncio, os, sys, time
from p2ptui.node import runtime

async def watch():
    out = open(os.environ["BENCH_LAG"], "w", buffering=1)
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + 0.005
        await asyncio.sleep(0.005)
        out.write(f"{time.monotonic():.4f} {loop.time() - due:.6f}\\n")

begin = runtime.Runtime.start

async def start(*arguments):
    started = await begin(*arguments)
    started.begin(watch(), "lag")
    return started

runtime.Runtime.start = start
from p2ptui.cli import main
sys.exit(main())
"""


_HOMES: Final = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")

QUIET: Final = """
[server]
max_connections = 20000
heartbeat_interval = 3600
connection_timeout = 36000
peerlist_broadcast_debounce_ms = 3600000
peerlist_broadcast_max_wait_ms = 3600000

[security]
unvouched_bytes_per_minute = 1000000000
"""
"""While it is measured, nobody is pinged, or told about newcomers."""


class Program:
    """A running p2ptui, with its screen in a pseudo-terminal or without one.

    Args:
        folder: The folder for its files.
        with_screen: Whether it has a screen.
    """

    def __init__(self, folder: Path, *, with_screen: bool) -> None:
        self._lag = folder / f"lag-{with_screen}-{time.monotonic_ns()}"
        self.output = bytearray()
        environment = {
            **os.environ,
            "BENCH_LAG": str(self._lag),
            **dict.fromkeys(_HOMES, str(folder)),
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
        }
        command = [sys.executable, "-c", _LAG, "--address", "127.0.0.1:0"]
        # Each measured node is another one with the same name: with lasting keys, nodes that
        # remember the previous one would refuse it.
        command += ["--enable-discovery", "false", "--name", "measured", "--ephemeral"]
        command += ["--config", str(folder / "quiet.toml")]
        (folder / "quiet.toml").write_text(QUIET)
        command += [] if with_screen else ["--no-ui"]
        self._reader, writer = pty.openpty()
        columns, rows = SIZE
        fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=writer,
            stdout=writer,
            stderr=writer,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        os.close(writer)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        # A terminal reads at once; one that does not would block the program.
        while True:
            select.select([self._reader], [], [])
            try:
                data = os.read(self._reader, 1 << 16)
            except OSError:
                return
            if not data:
                return
            self.output += data

    def address(self) -> str:
        """Its listening address."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            match = re.search(rb"127\.0\.0\.1:[1-9]\d+", bytes(self.output))
            if match is not None and self._lag.exists():
                return match[0].decode()
            time.sleep(0.05)
        raise RuntimeError(f"it did not start: {bytes(self.output)[-500:]!r}")

    def cpu_s(self) -> float:
        """The CPU time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def lags_ms(self, since: float) -> list[float]:
        """How late its event loop was, every 5 ms since a given time (monotonic seconds)."""
        lines = (line.split() for line in self._lag.read_text().splitlines())
        return [float(f[1]) * 1000 for f in lines if len(f) == 2 and float(f[0]) >= since]

    def close(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._thread.join(5)
        os.close(self._reader)


@contextlib.contextmanager
def running(*, with_screen: bool) -> Iterator[Program]:
    """Run a program during a measurement."""
    with tempfile.TemporaryDirectory() as folder:
        program = Program(Path(folder), with_screen=with_screen)
        try:
            yield program
        finally:
            program.close()


@contextlib.contextmanager
def joined(address: str, peers: int) -> Iterator[None]:
    """Have peers join from addresses of one socket, and acknowledge and answer like real ones."""
    port = int(address.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        generator = stack.enter_context(compiled())
        if generator is None:
            raise RuntimeError("there is no C compiler for the peers")
        crowd = stack.enter_context(contextlib.closing(Crowd(generator, folder)))
        crowd.write([(host_of(n), handshake_request(n, OWN)) for n in range(peers)])
        driven = crowd.drive(
            port,
            seconds=JOIN_S,
            window=RAMP_WINDOW,
            match='"HandshakeResponse"',
            linger_s=POLITE_S,
        )
        if driven.answers < peers * MOST:
            raise RuntimeError(f"{peers - driven.answers} of {peers} peers did not come in")
        crowd.write([])
        stack.enter_context(crowd.driving(port, seconds=0, window=1, linger_s=3600))
        yield


@contextlib.contextmanager
def flooded(address: str, per_second: int) -> Iterator[None]:
    """Have a separate process send to an address."""
    if not per_second:
        yield
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.screen", "flood", address, str(per_second)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        time.sleep(1.0)
        yield
        if process.poll() is not None:
            raise RuntimeError("the flood has dried up")
    finally:
        process.kill()
        process.wait()


async def _flood(address: str, per_second: int) -> None:
    from tests.terminal.flood import flood

    async with quiet_node("flooder") as node:
        await flood(node, await node.connect(address), per_second)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


# What is measured.


def measure_start() -> list[Figure]:
    """Property 6: what is imported, and how long `--version` takes."""

    def timed(*arguments: str) -> float:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
        )
        return (time.perf_counter() - began) * 1000

    bare: list[float] = []
    version: list[float] = []
    for _ in range(15):
        bare.append(timed("-c", "pass"))
        version.append(timed("-m", "p2ptui", "--version"))
    code = (
        "import sys, p2ptui.cli, p2ptui.headless, p2ptui.commands.ping, p2ptui.commands.send,"
        " p2ptui.commands.peers; print(sum(m.split('.')[0] == 'textual' for m in sys.modules))"
    )
    imported = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    middle = statistics.median(version)
    return [
        Figure("modules of textual in --no-ui", imported, "0", imported == "0"),
        Figure("--version", f"{middle:.0f} ms", "150 ms", middle < 150),
        Figure("  a bare python", f"{statistics.median(bare):.0f} ms", "-", None),
    ]


def measure_load() -> list[Figure]:
    """Properties 3 and 4: processor, lag and round trip at 1,000 messages a second."""
    shares: dict[bool, list[float]] = {True: [], False: []}
    lags: dict[bool, list[float]] = {True: [], False: []}
    trips: dict[tuple[bool, int], list[float]] = {}
    p50s: dict[tuple[bool, int], list[float]] = {}
    for _ in range(TURNS):
        for with_screen in (True, False):
            for per_second in (0, FLOOD_PER_SECOND):
                with running(with_screen=with_screen) as program:
                    address = program.address()
                    with flooded(address, per_second):
                        time.sleep(WARM_UP_S)
                        if per_second:
                            share, lag = _watch(program)
                            shares[with_screen].append(share)
                            lags[with_screen] += lag
                        found = asyncio.run(_ping(address))
                trips.setdefault((with_screen, per_second), []).extend(found)
                p50s.setdefault((with_screen, per_second), []).append(statistics.median(found))
    share = statistics.median(shares[True])
    lag = percentile(lags[True], 0.99)
    figures = [
        Figure("processor with the screen", f"{share:.0%} of a core", "35 %", share <= 0.35),
        Figure("  without", f"{statistics.median(shares[False]):.0%} of a core", "-", None),
        Figure("lag of the loop, p99", f"{lag:.1f} ms", "50 ms", lag < 50),
        Figure("  without", f"{percentile(lags[False], 0.99):.1f} ms", "-", None),
    ]
    for per_second in (0, FLOOD_PER_SECOND):
        where = f"at {per_second} messages/s" if per_second else "idle"
        with_p50, without_p50 = (percentile(trips[s, per_second], 0.5) for s in (True, False))
        with_p99, without_p99 = (percentile(trips[s, per_second], 0.99) for s in (True, False))
        ratio, excess = with_p50 / without_p50, with_p99 - without_p99
        figures += [
            Figure(
                f"round trip p50, {where}",
                f"{ratio:.2f} x ({with_p50:.2f} against {without_p50:.2f} ms)",
                "1.20 x",
                ratio <= 1.2,
            ),
            Figure(
                f"round trip p99, {where}",
                f"{excess:+.1f} ms ({with_p99:.1f} against {without_p99:.1f} ms)",
                "+50 ms",
                excess <= 50,
            ),
        ]
    return figures


def measure_many() -> list[Figure]:
    """Property 3 with 10,000 peers: processor and lag at 1,000 messages a second."""
    figures = []
    for with_screen in (True, False):
        shares: list[float] = []
        lags: list[float] = []
        for _ in range(TURNS):
            with (
                running(with_screen=with_screen) as program,
                joined(program.address(), MANY),
                flooded(program.address(), FLOOD_PER_SECOND),
            ):
                time.sleep(WARM_UP_S)
                share, lag = _watch(program)
                shares.append(share)
                lags += lag
        p99 = percentile(lags, 0.99)
        share = statistics.median(shares)
        figures += [
            Figure(
                f"processor, {MANY:,} peers" if with_screen else "  without the screen",
                f"{share:.0%} of a core",
                "35 %" if with_screen else "-",
                share <= 0.35 if with_screen else None,
            ),
            Figure(
                f"lag, p99, {MANY:,} peers" if with_screen else "  without the screen",
                f"{p99:.1f} ms; longest {max(lags):.0f} ms",
                "50 ms" if with_screen else "-",
                p99 < 50 if with_screen else None,
            ),
        ]
    return figures


def _watch(program: Program) -> tuple[float, list[float]]:
    since, used = time.monotonic(), program.cpu_s()
    time.sleep(MEASURED_S)
    share = (program.cpu_s() - used) / (time.monotonic() - since)
    return share, program.lags_ms(since)


async def _ping(address: str) -> list[float]:
    async with quiet_node("pinger") as node:
        peer = await node.connect(address)
        times: list[float] = []
        for _ in range(PINGS):
            times.append((await node.ping(peer)).rtt_s * 1000)
            # Not in step with the repaints.
            await asyncio.sleep(0.011)
        return times


MEASUREMENTS: Final[dict[str, Callable[[], list[Figure]]]] = {
    "start": measure_start,
    "load": measure_load,
    "many": measure_many,
    "memory": measure_memory,
}


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a table; 1 if a bound is missed."""
    if arguments[:1] == ["flood"]:
        asyncio.run(_flood(arguments[1], int(arguments[2])))
        return 0
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as home:
        # What the load's nodes remember must not reach the user's files.
        os.environ |= dict.fromkeys(_HOMES, home)
        for name in arguments or MEASUREMENTS:
            print(f"measuring {name} ...", file=sys.stderr)
            figures += MEASUREMENTS[name]()
    load = os.getloadavg()[0]
    print(
        f"{os.cpu_count()} cores; load average at the end {load:.1f},"
        " of which the benchmark alone makes 1\n"
    )
    print("| what | measured | bound | |\n| --- | --- | --- | --- |")
    for figure in figures:
        verdict = {None: "", True: "kept", False: "MISSED"}[figure.kept]
        print(f"| {figure.what} | {figure.value} | {figure.bound} | {verdict} |")
    return int(any(figure.kept is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
