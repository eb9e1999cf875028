"""Another STUN server, measured in the same run: coturn, if it is installed."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.bench.machine import deaf_to_interrupts, ended
from tests.bench.rounds import Target

PROGRAM: Final = "turnserver"
START_S: Final = 5.0
REQUEST: Final = bytes.fromhex("000100002112a442") + bytes(12)


def reason_to_skip() -> str:
    """Why it cannot be measured here; empty if it can."""
    return "" if shutil.which(PROGRAM) else f"{PROGRAM} (coturn) is not installed"


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.1)
        sock.connect(("127.0.0.1", port))
        try:
            sock.send(REQUEST)
            return bool(sock.recv(2048))
        except OSError:
            return False


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Target]:
    """Run it as a plain STUN server on loopback during the block.

    Raises:
        RuntimeError: It does not answer.
    """
    port = _free_port()
    command = [PROGRAM, "-n", "-S", "-L", "127.0.0.1", "-p", str(port), "--no-tls", "--no-dtls"]
    command += ["--no-cli", "--log-file", str(folder / "coturn.log"), "--simple-log"]
    command += ["--pidfile", str(folder / "coturn.pid"), "--userdb", str(folder / "coturn.db")]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=deaf_to_interrupts,
    )
    with ended(process):
        end = time.monotonic() + START_S
        while not _answers(port):
            if time.monotonic() > end or process.poll() is not None:
                raise RuntimeError(f"{PROGRAM} does not answer at 127.0.0.1:{port}")
            time.sleep(0.05)
        yield Target(process.pid, port)
