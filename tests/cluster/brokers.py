"""A real nats-server for tests: started on a free port, killed, and started again there."""

import asyncio
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

PROGRAM = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/sbin")
"""Debian keeps it where only root's PATH leads."""

needs_broker = pytest.mark.skipif(PROGRAM is None, reason="there is no nats-server here")


class Broker:
    """One nats-server, with what it keeps.

    Args:
        folder: Where it keeps that.
        config: More lines of its configuration.
        jetstream: Whether it keeps anything.
        disk: How much, at most.
        at_start: Done in its process before it starts.
    """

    def __init__(
        self,
        folder: Path,
        config: str = "",
        *,
        jetstream: bool = True,
        disk: str = "2GB",
        at_start: Callable[[], None] | None = None,
    ) -> None:
        self._folder, self._config, self._jetstream = folder, config, jetstream
        self._disk, self._at_start = disk, at_start
        self._port = -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Where it is reached, without the scheme."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The same, for `cluster.servers`."""
        return f"nats://{self.host}"

    @property
    def monitor(self) -> str:
        """Where it tells what it counts, if its configuration says `http`."""
        assert self._process is not None
        ports = json.loads((self._folder / f"nats-server_{self._process.pid}.ports").read_text())
        return str(ports["monitoring"][0])

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, jetstream: bool | None = None) -> "Broker":
        """Start it, where it was before."""
        assert PROGRAM is not None
        if jetstream is not None:
            self._jetstream = jetstream
        store = self._folder / "store"
        text = f'listen: "127.0.0.1:{self._port}"\nports_file_dir: "{self._folder}"\n{self._config}'
        if self._jetstream:
            text += f'\njetstream {{ store_dir: "{store}", max_file_store: {self._disk} }}\n'
        path = self._folder / "nats.conf"
        path.write_text(text)
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(
            [PROGRAM, "-c", str(path)], stdout=log, stderr=log, preexec_fn=self._at_start
        )
        log.close()
        ports = self._folder / f"nats-server_{self._process.pid}.ports"
        end = time.monotonic() + PATIENCE_S
        while self._port < 0 or not ports.exists():
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < end, "nats-server does not start"
            if ports.exists() and (text := ports.read_text()):
                self._port = int(json.loads(text)["nats"][0].rpartition(":")[2])
            else:
                time.sleep(0.01)
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


async def until(is_so: Callable[[], object], what: str = "what was waited for") -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, f"{what} does not happen"
        await asyncio.sleep(0.005)
