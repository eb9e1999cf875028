"""Linux network namespaces: to work, run programs and open sockets inside one.

A namespace belongs to a thread, and a socket for ever to the namespace it was opened in: one
process can own sockets in many. Root only.
"""

import ctypes
import functools
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from tests.patience import PATIENCE_S

Socket = socket.socket
"""By this name in a class that has a method `socket`."""

_NETNS = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_PATH = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]
)
"""The virtual environment's programs first; a user's path may lack where `ip` and `nft` are."""


@functools.cache
def missing() -> str | None:
    """Why this machine cannot have a laboratory; None when it can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces need Linux"
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool, package in (("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(tool, path=_PATH) is None:
            return f"{tool} is not installed (package {package}): no network to test in"
    trial = Namespace(f"natlab-{token_hex(4)}")
    try:
        ip([f"netns add {trial.name}"])
        trial.nft("table ip n { chain c { type nat hook postrouting priority 0; }\n }\n")
    except (RuntimeError, OSError) as error:
        return f"no network namespaces or no nftables here: {str(error).splitlines()[0]}"
    finally:
        remove([trial])
    return None


def ip(commands: Sequence[str]) -> None:
    """Run `ip` commands, all in one process; RuntimeError with its words when one fails."""
    # -force: the others all the same, so that one which cannot be removed keeps none alive.
    _tool(["ip", "-force", "-batch", "-"], "\n".join(commands))


def remove(namespaces: Sequence["Namespace"]) -> None:
    """Remove namespaces, and with them their interfaces; those that are not there are no error."""
    for namespace in namespaces:
        namespace.close()
    there = [f"netns del {one.name}" for one in namespaces if (_NETNS / one.name).exists()]
    if there:
        ip(there)


class Namespace:
    """A network namespace by its name, and what was started and opened in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._handle: int | None = None
        self._processes: list[subprocess.Popen[Any]] = []
        self._sockets: list[Socket] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be inside, with the calling thread: for short synchronous work, never across `await`.

        Sockets that are opened and programs that are started in the block stay inside.
        """
        if self._handle is None:
            self._handle = os.open(_NETNS / self.name, os.O_RDONLY | os.O_CLOEXEC)
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(self._handle)
            try:
                yield
            finally:
                _setns(outside)
        finally:
            os.close(outside)

    def socket(self, *arguments: Any) -> Socket:
        """A `socket.socket(...)` inside; it is closed at the laboratory's end at the latest."""
        with self.entered():
            opened = socket.socket(*arguments)
        self._sockets.append(opened)
        return opened

    def udp_socket(
        self, address: str = "0.0.0.0", port: int = 0, *, timeout_s: float | None = 2.0
    ) -> Socket:
        """A UDP socket inside, bound. `timeout_s` 0 is what asyncio wants, None waits for ever."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        opened = self.socket(family, socket.SOCK_DGRAM)
        opened.bind((address, port))
        opened.settimeout(timeout_s)
        return opened

    def run(
        self, argv: Sequence[str], timeout_s: float = PATIENCE_S, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end; `python` and `p2ptui` are the virtual environment's.

        Raises subprocess.TimeoutExpired after `timeout_s`, when the program has been ended.
        """
        options.setdefault("stdin", subprocess.DEVNULL)
        with self.entered():
            return subprocess.run(
                argv,
                env=_environment(options.pop("env", None)),
                capture_output=True,
                encoding="utf-8",
                timeout=timeout_s,
                check=False,
                **options,
            )

    def start(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program inside; it is killed at the laboratory's end at the latest."""
        options.setdefault("stdin", subprocess.DEVNULL)
        with self.entered():
            process = subprocess.Popen(argv, env=_environment(options.pop("env", None)), **options)
        self._processes.append(process)
        return process

    def sysctl(self, name: str, value: int) -> None:
        """Set a kernel parameter of this namespace, by its path under /proc/sys/net."""
        with self.entered():
            Path("/proc/sys/net", name).write_text(str(value), "ascii")

    def ip(self, commands: Sequence[str]) -> None:
        """Run `ip` commands inside, all in one process."""
        with self.entered():
            ip(commands)

    def nft(self, rules: str) -> None:
        """Load rules inside, all or none."""
        with self.entered():
            _tool(["nft", "-f", "-"], rules)

    def flush_conntrack(self) -> None:
        """Forget all connections, as `conntrack -F` does it."""
        request, acknowledge, delete, netfilter = 1, 4, (1 << 8) | 2, 12
        message = struct.pack("=IHHIIBBH", 20, delete, request | acknowledge, 1, 0, 0, 0, 0)
        with self.entered(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, netfilter) as link:
            link.settimeout(5.0)
            link.send(message)
            (error,) = struct.unpack_from("=i", link.recv(1024), 16)
        if error:
            raise OSError(-error, os.strerror(-error))

    def close(self) -> None:
        """End the processes, close the sockets; the namespace itself stays."""
        for process in self._processes:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        for opened in self._sockets:
            opened.close()
        self._processes.clear()
        self._sockets.clear()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _setns(handle: int) -> None:
    # os.setns is new in Python 3.12.
    if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _environment(extra: dict[str, str] | None) -> dict[str, str]:
    return {**os.environ, "PATH": _PATH, **(extra or {})}


def _tool(argv: Sequence[str], words: str) -> None:
    done = subprocess.run(
        argv,
        input=words,
        env=_environment(None),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}\n{words}")
