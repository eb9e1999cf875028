"""The installed `p2ptui` as its user runs it: one-shot commands, and nodes in the background.

Real sockets and real time: what must happen is waited for, with a limit, and no port is fixed.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_S

P2PTUI = Path(sys.executable).with_name("p2ptui.exe" if os.name == "nt" else "p2ptui")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, without what would configure or slow down the program."""
    unwanted = {"RUST_LOG", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("P2PTUI_") and name not in unwanted
    }
    return kept | {"PYTHONIOENCODING": "utf-8"} | dict(extra or {})


def _hear_interrupts() -> None:
    # A shell's background job ignores SIGINT, and its children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*arguments: str, env: Mapping[str, str] | None = None, **options: Any) -> Any:
    """Start the program; the caller ends it."""
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    if os.name != "nt":
        options["preexec_fn"] = _hear_interrupts
    return subprocess.Popen([P2PTUI, *arguments], env=environment(env), **options)


def run(
    *arguments: str, env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(
        [P2PTUI, *arguments],
        env=environment(env),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
        **options,
    )


def run_all(*commands: Sequence[str]) -> list[subprocess.CompletedProcess[str]]:
    """Run several command lines at once, each to its end."""
    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(lambda command: run(*command), commands))


HOMES = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
"""The variables by which a user has a home."""


def unknown_user(folder: Path) -> None:
    """Make programs that have this folder in PYTHONPATH run as a user whom the system lacks."""
    (folder / "sitecustomize.py").write_text(
        "import pwd\ndef unknown(number):\n"
        "    raise KeyError(f'getpwuid(): uid not found: {number}')\n"
        "pwd.getpwuid = unknown\n"
    )


class Headless:
    """A node without a screen, in the background."""

    def __init__(
        self,
        log: Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self.process = start(
                "--no-ui",
                *(() if "--address" in arguments else ("--address", "127.0.0.1:0")),
                *("--enable-discovery", "false"),
                *arguments,
                env=env,
                cwd=cwd,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        found = self.wait_for(r"(\S+) is listening on (\S+), network \S+, id ([0-9a-f-]{36})")
        self.name, self.address, self.id = found.groups()

    def log(self) -> str:
        """All that it has logged so far."""
        return self._log.read_text("utf-8")

    def wait_for(self, pattern: str, within_s: float = PATIENCE_S) -> re.Match[str]:
        """Wait until something is logged."""
        end = time.monotonic() + within_s
        while (found := re.search(pattern, self.log())) is None:
            ended = self.process.poll()
            if ended is not None or time.monotonic() > end:
                raise AssertionError(f"{pattern!r} is not in the log ({ended=}):\n{self.log()}")
            time.sleep(0.02)
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and wait for the exit code."""
        self.process.send_signal(number)
        return int(self.process.wait(PATIENCE_S))


@contextmanager
def headless(
    directory: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Headless]:
    """A node that runs for as long as the block."""
    log = directory / f"node-{len(list(directory.iterdir()))}.log"
    node = Headless(log, *arguments, env=env, cwd=cwd)
    try:
        yield node
    finally:
        node.process.kill()
        node.process.wait()
