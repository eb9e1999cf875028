"""Datagrams per second through a whole node on real sockets, beside bare echoes of the same bytes.

Servers and load generator are separate processes. All servers run all the time and are loaded in
turn, so that other load on the machine affects all of them alike.
"""

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

SOURCE: Final = Path(__file__).with_name("udp.c")

COUNT: Final = 200_000
"""Most messages of one load."""

WINDOW: Final = 64
"""Messages in flight: a server never waits for its load, and no buffer overflows."""

KINDS: Final = ("Ping", "Data")


@dataclass(slots=True)
class Server:
    """A server that is loaded."""

    name: str
    port: int
    is_node: bool
    rates: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    lost: int = 0

    def rate(self, kind: str) -> float:
        """The median of the rounds, datagrams per second."""
        return median(self.rates[kind])

    def ratio(self, kind: str, other: "Server") -> float:
        """The median over the rounds of this rate to another server's in the same round."""
        pairs = zip(self.rates[kind], other.rates[kind], strict=True)
        return median(mine / its for mine, its in pairs)


@contextmanager
def compiled() -> Iterator[str | None]:
    """The path of the compiled echo and generator, or None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.platform == "win32":
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "udp")
        subprocess.run([compiler, "-O2", "-o", program, str(SOURCE)], check=True)
        yield program


@contextmanager
def _python_server(name: str, kind: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "tests.bench.serve", kind]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Server(name, int(process.stdout.readline()), kind != "python")
        finally:
            process.stdin.close()


@contextmanager
def _c_server(program: str) -> Iterator[Server]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        command = [program, "echo", str(sock.fileno())]
        process = subprocess.Popen(command, pass_fds=[sock.fileno()])
        try:
            yield Server("bare echo, C", sock.getsockname()[1], False)
        finally:
            process.kill()
            process.wait()


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return True


def _load(server: Server, kind: str, seconds: float, program: str | None) -> None:
    command = [sys.executable, "-m", "tests.bench.load", str(server.port), kind]
    command += ["--count", str(COUNT), "--seconds", str(seconds), "--window", str(WINDOW)]
    if server.is_node:
        command.append("--node")
    if program is not None:
        command += ["--compiled", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30)
    answers, elapsed, lost = done.stdout.split()
    server.rates[kind].append(int(answers) / float(elapsed))
    server.lost += int(lost)


def measure(rounds: int, seconds: float) -> list[Server]:
    """Load each server in turn, `rounds` times, for at most `seconds` each time."""
    with ExitStack() as stack:
        program = stack.enter_context(compiled())
        servers = [stack.enter_context(_python_server("node, asyncio's loop", "node"))]
        if _has_uvloop():
            servers.append(stack.enter_context(_python_server("node, uvloop", "uvloop")))
        servers.append(stack.enter_context(_python_server("bare echo, Python", "python")))
        if program is not None:
            servers.append(stack.enter_context(_c_server(program)))
        for _ in range(rounds):
            for kind in KINDS:
                for server in servers:
                    _load(server, kind, seconds, program)
        return servers
