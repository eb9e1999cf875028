"""The program as an operator has it: told to systemd, signalled, scraped, and with bad settings."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S, until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and sockets of POSIX")

ARGUMENTS = ("--no-ui", "--ephemeral", "-a", "127.0.0.1:0", "--enable-discovery", "false")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(PATIENCE_S)
        yield sock


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return kept | {"HOME": str(tmp_path), "P2PTUI_LOGGING_FORMAT": "json"} | more


def heard(sock: socket.socket, wanted: str) -> str:
    """What is told next that begins so."""
    while not (said := sock.recv(4096).decode()).startswith(wanted):
        pass
    return said


async def test_a_node_as_a_service(tmp_path: Path, manager: socket.socket) -> None:
    log_path = tmp_path / "log"
    environ = environment(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="900000")
    command = [sys.executable, "-m", "p2ptui", *ARGUMENTS, "--metrics", "127.0.0.1:0"]

    def events() -> list[dict]:
        return [json.loads(line) for line in log_path.read_text("utf-8").splitlines()]

    def event(name: str) -> dict | None:
        return next((each for each in events() if each.get("event") == name), None)

    with log_path.open("w") as output:
        node = subprocess.Popen(command, env=environ, stderr=output, cwd=tmp_path)  # noqa: ASYNC220
    try:
        assert heard(manager, "READY=1") == "READY=1\nSTATUS=0 peers"
        assert heard(manager, "WATCHDOG") == "WATCHDOG=1"
        where = event("metrics_serving")["address"]
        with urllib.request.urlopen(f"http://{where}/readyz", timeout=PATIENCE_S) as answer:  # noqa: ASYNC210
            assert json.load(answer)["address"] == event("listening")["address"]
        node.send_signal(signal.SIGUSR1)
        await until(lambda: event("statistics"))
        numbers = event("statistics")
        assert numbers["group"] == "node"
        assert numbers["numbers"]["uptime_s"] > 0
        assert re.match(r"statistics: node: uptime_s=\S+", numbers["message"])
        node.send_signal(signal.SIGHUP)
        assert heard(manager, "RELOADING=1\nMONOTONIC_USEC=")
        assert heard(manager, "READY=1")
        await until(lambda: event("reloaded"))
        node.send_signal(signal.SIGTERM)
        assert heard(manager, "STOPPING=1") == "STOPPING=1\nSTATUS=saying goodbye to 0 peers"
        assert node.wait(PATIENCE_S) == 0
        assert events()[-1]["event"] == "stopped"
    finally:
        node.kill()
        node.wait()


def test_the_journal_is_told_why_a_start_is_refused(tmp_path: Path) -> None:
    """`journalctl -p err -u p2ptui` shows it."""
    with (tmp_path / "journal").open("w") as journal:
        about = os.fstat(journal.fileno())
        subprocess.run(
            [sys.executable, "-m", "p2ptui", *ARGUMENTS, "--network-key-file", "none.key"],
            env=environment(tmp_path, JOURNAL_STREAM=f"{about.st_dev}:{about.st_ino}"),
            stderr=journal,
            timeout=PATIENCE_S,
            check=False,
        )
    assert (tmp_path / "journal").read_text().startswith("<3>p2ptui: none.key: there is no such")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("P2PTUI_SERVER_MAX_CONNECTIONS", "many"),
        ("P2PTUI_SERVER_NAME", "\udcff"),
        ("P2PTUI_METRICS_ADDRESS", "9108"),
    ],
)
def test_a_variable_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, value: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "p2ptui", *ARGUMENTS],
        env=environment(tmp_path, **{name: value}),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    (line,) = ran.stderr.splitlines()
    assert line.startswith("p2ptui: environment: ")
    assert ran.returncode == 2
