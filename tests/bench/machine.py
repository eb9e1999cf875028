"""Where and on what a benchmark runs: processes on cores of their own, their CPU time, versions."""

import contextlib
import json
import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

ROOT: Final = Path(__file__).resolve().parent.parent.parent
SERVER: Final = Path(__file__).with_name("server.py")

PATIENCE_S: Final = 30.0
"""How long to wait for any answer of a child process."""


PRIORITY: Final = 5
"""The real-time priority; ordinary programs wait for any real-time one."""


def may_be_alone() -> bool:
    """Whether this process may start others in real time."""
    if not hasattr(os, "sched_setscheduler"):
        return False
    before, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except OSError:
        return False
    os.sched_setscheduler(0, before, parameters)
    return True


class Cores:
    """One core for what is measured, and another one for its load, if there are two.

    Args:
        alone: Whether other programs wait for both: they run in real time (SCHED_FIFO).
    """

    def __init__(self, *, alone: bool = False) -> None:
        self.alone = alone
        able = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.pinned = len(able) > 1
        self._server = {able[-1]} if self.pinned else set(able)
        self._load = {able[0]} if self.pinned else set(able)

    @contextlib.contextmanager
    def _on(self, cores: set[int]) -> Iterator[None]:
        if not (self.pinned or self.alone):
            yield
            return
        with contextlib.ExitStack() as stack:
            if self.pinned:
                stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
                os.sched_setaffinity(0, cores)
            if self.alone:
                before = os.sched_getscheduler(0), os.sched_getparam(0)
                stack.callback(os.sched_setscheduler, 0, *before)
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
            yield

    def of_server(self) -> contextlib.AbstractContextManager[None]:
        """Run processes started in this block on the core of the servers."""
        return self._on(self._server)

    def of_load(self) -> contextlib.AbstractContextManager[None]:
        """Likewise on that of the load."""
        return self._on(self._load)


def cpu_s(pid: int) -> float:
    """The CPU time of a process and its threads that run, seconds."""
    total = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    except (OSError, IndexError, ValueError):
        total = 0
    if total:
        return total / 1e9
    return sum(cpu_times(pid))  # without the scheduler's own figures


def cpu_times(pid: int) -> tuple[float, float]:
    """The CPU time of a process for itself and in the system, seconds, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    return int(fields[11]) * tick_s, int(fields[12]) * tick_s


def rss_mb(pid: int) -> float:
    """The memory of a process, megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise AssertionError(f"process {pid} is gone")


def private_mb(pid: int) -> float:
    """The part of it that no other process can share, without file pages; megabytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) / 1000
    raise AssertionError(f"process {pid} is gone")


@contextlib.contextmanager
def ended(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """End a process with the block, even after Ctrl-C."""
    try:
        yield
    finally:
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            process.wait(2.0 if process.stdin is not None else 0.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def deaf_to_interrupts() -> None:
    """Ctrl-C reaches a whole group; its children are ended by the benchmark itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Interpreter:
    """The p2ptui that is measured.

    Args:
        python: The interpreter that has it; None for this one and the p2ptui of this folder.
        home: A folder for what its programs write.
    """

    def __init__(self, python: str | None, home: Path) -> None:
        self.is_own = python is None
        self.python = python or sys.executable
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("P2PTUI_", "PYTHON")) and name != "RUST_LOG"
        }
        homes = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
        self.environment = kept | dict.fromkeys(homes, str(home))
        if self.is_own:
            self.environment["PYTHONPATH"] = str(ROOT)
        self.home = home

    def start(self, *arguments: str, **options: Any) -> "subprocess.Popen[Any]":
        """Start it with arguments; the caller ends it."""
        return subprocess.Popen(
            [self.python, "-P", *arguments],
            env=self.environment,
            cwd=self.home,
            preexec_fn=deaf_to_interrupts,
            **options,
        )

    def says(self, *arguments: str) -> str:
        """What it prints with these arguments, in one line."""
        ran = subprocess.run(
            [self.python, "-P", *arguments],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return " ".join(ran.stdout.split())


class Served:
    """A running node of `server.py`.

    Args:
        process: Its process, just started.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.pid = process.pid
        self.about = self._read()
        self.port = int(self.about["port"])

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the measured node ended with code {self._process.wait()}")
        return json.loads(line)

    def ask(self, line: str) -> Any:
        """Its answer to a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._read()


@contextlib.contextmanager
def served(interpreter: Interpreter, about: dict[str, Any]) -> Iterator[Served]:
    """Run a node of `server.py` during the block."""
    process = interpreter.start(
        str(SERVER), json.dumps(about), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with ended(process):
        yield Served(process)


@contextlib.contextmanager
def bare_echo(program: str) -> Iterator[tuple[int, int]]:
    """Run the bare echo in C during the block; yields its process and port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        command: Sequence[str] = [program, "echo", str(sock.fileno())]
        process = subprocess.Popen(command, pass_fds=[sock.fileno()], preexec_fn=deaf_to_interrupts)
        with ended(process):
            yield process.pid, sock.getsockname()[1]


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder for the run."""
    with TemporaryDirectory(prefix="p2ptui-bench-") as name:
        yield Path(name)


class Machine(msgspec.Struct, forbid_unknown_fields=True):
    """The machine of a run."""

    system: str
    cpu: str
    cores: int
    pinned: bool
    """Whether servers and load had a core each."""
    alone: bool
    """Whether other programs had to wait for them."""
    load_before: float
    """Programs that ran or waited to, on average over the last minute."""
    load_after: float = 0.0


class Program(msgspec.Struct, forbid_unknown_fields=True):
    """What was measured."""

    version: str
    says: str
    """What `p2ptui --version` prints."""
    build: str
    """`pure`, `compiled`, or `partly`: whether the files of the hot floors are compiled."""
    python: str
    package: str
    commit: str
    """The commit of this folder, if its p2ptui was measured."""


def load_average() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def this_machine(cores: Cores) -> Machine:
    """The facts about this machine."""
    cpu = platform.processor()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    count = os.cpu_count() or 1
    return Machine(
        platform.platform(), cpu, count, cores.pinned, cores.alone, round(load_average(), 2)
    )


def this_program(interpreter: Interpreter, about: dict[str, Any]) -> Program:
    """What a node has said about itself, and what the program says."""
    return Program(
        version=about["version"],
        says=interpreter.says("-m", "p2ptui", "--version"),
        build=about["build"],
        python=about["python"],
        package=about["package"],
        commit=_commit() if interpreter.is_own else "",
    )


def _commit() -> str:
    try:
        ran = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return ran.stdout.strip()
