"""The processes of a trial: servers, crowds of nodes, and ways to the broker that can be cut."""

import asyncio
import contextlib
import ctypes
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.cluster.brokers import Broker
from tests.installed import environment

MONITORED: Final = 'http: "127.0.0.1:-1"'
"""The broker tells what it counts."""

LONGEST_S: Final = 120.0
"""What a crowd is told may take so long."""

_SET_DEATH_SIGNAL: Final = 1
"""PR_SET_PDEATHSIG of Linux."""


def die_with_parent() -> None:
    """What was started ends with whoever started it, also if that is killed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def free_port(kind: int) -> int:
    """A port that nobody has now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def counted(broker: Broker, what: str) -> dict[str, Any]:
    """What a broker has counted: `varz`, `jsz?streams=true`."""
    with urllib.request.urlopen(f"{broker.monitor}/{what}", timeout=5) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


def _spawn(
    *arguments: str, extra: Mapping[str, str] | None = None, **options: Any
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=environment(extra),
        preexec_fn=die_with_parent,
        **options,
    )


class Way:
    """A server's own way to the broker: a process that passes TCP on, and that can be cut."""

    def __init__(self, broker: Broker) -> None:
        self.port = free_port(socket.SOCK_STREAM)
        self._broker = broker
        self._process: subprocess.Popen[bytes] | None = None
        self.mend()

    def mend(self) -> None:
        """It is there, or is there again."""
        self.end()
        where = [str(self.port), self._broker.host]
        self._process = _spawn("tests.cluster_trial.processes", *where)

    def silence(self) -> None:
        """Nothing passes any more, and nobody is told."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        """All connections break."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Server:
    """One server, as its operator runs it."""

    def __init__(self, folder: Path, name: str, broker_url: str, *options: str) -> None:
        self.name, self.broker_url = name, broker_url
        self.address = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
        self._folder, self._options = folder, options
        self.watched = folder / f"{name}.socket"
        """Where it tells whom it lists."""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, where it was before."""
        self.log = self._folder / f"{self.name}.log"
        self.watched.unlink(missing_ok=True)
        log = self.log.open("ab")
        self._process = _spawn(
            "tests.cluster_trial.server",
            str(self.watched),
            "--no-ui",
            "--INFO",
            "--relay",
            *("--enable-discovery", "false"),
            *("--identity", str(self._folder / f"{self.name}.key")),
            *("--name", self.name),
            *("-a", self.address),
            *("--max-connections", "2000"),
            *("--cluster", self.broker_url),
            *self._options,
            extra={"P2PTUI_TRAFFIC_FORWARDING_MAX_CONCURRENT_RELAYS": "4000"},
            stdout=log,
            stderr=log,
        )
        log.close()

    @property
    def rss_bytes(self) -> int:
        """Its memory."""
        assert self._process is not None
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def lines(self, word: str) -> list[str]:
        """What it has logged with a word."""
        return [line for line in self.log.read_text().splitlines() if word in line]

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class CrowdProcess:
    """A crowd, in a process of its own."""

    def __init__(self, folder: Path, number: int) -> None:
        self._log = (folder / f"crowd{number}.log").open("ab")
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._last = 0

    async def begin(self) -> None:
        """Start it."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.cluster_trial.crowd"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log,
            env=environment(),
            limit=1 << 28,
            preexec_fn=die_with_parent,
        )
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            number, answer = json.loads(line)
            self._waiting.pop(number).set_result(answer)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError("the crowd has ended"))

    async def do(self, name: str, *arguments: Any) -> Any:
        """Have it do something; see `Crowd`."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._last += 1
        self._waiting[self._last] = waiting = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps([self._last, name, arguments]).encode() + b"\n")
        answer = await asyncio.wait_for(waiting, LONGEST_S)
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(f"{name}: {answer['error']}")
        return answer

    async def end(self) -> None:
        """End it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
        self._log.close()


async def pass_on(port: int, host: str, to: int) -> None:
    """Pass on what comes to a port, and back."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(host, to)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, back), copy(there, writer))

    server = await asyncio.start_server(take, "127.0.0.1", port)
    await server.serve_forever()


async def until(is_so: Any, seconds: float, pause_s: float = 0.05) -> bool:
    """Wait until something is so, for a time; whether it is."""
    end = time.monotonic() + seconds
    while not await is_so():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(pause_s)
    return True


if __name__ == "__main__":
    _host, _, _to = sys.argv[2].rpartition(":")
    asyncio.run(pass_on(int(sys.argv[1]), _host, int(_to)))
