"""What systemd is told, by its own protocol; and that nothing of it ever fails a node."""

import asyncio
import os
import re
import shutil
import socket
import subprocess

import pytest

from p2ptui.io.sd_notify import ServiceManager
from tests.virtual_loop import run_virtual

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")


@pytest.fixture
def listening(tmp_path):
    """A socket as systemd's, and its name in the environment."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        sock.setblocking(False)
        yield sock, {"NOTIFY_SOCKET": path}


def told(sock) -> list[str]:
    heard = []
    while True:
        try:
            heard.append(sock.recv(4096).decode())
        except BlockingIOError:
            return heard


async def test_a_start_a_reload_and_an_end(listening):
    sock, environ = listening
    manager = ServiceManager(environ)
    manager.ready("3 peers")
    manager.reloading()
    manager.status("4 peers")
    manager.stopping("saying goodbye")
    manager.close()
    manager.status("nobody hears this")
    heard = told(sock)
    assert heard[0] == "READY=1\nSTATUS=3 peers"
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", heard[1])
    assert heard[2:] == ["STATUS=4 peers", "STOPPING=1\nSTATUS=saying goodbye"]


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="abstract sockets are Linux's")
async def test_an_abstract_socket():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("")  # any free abstract name
        sock.setblocking(False)
        manager = ServiceManager({"NOTIFY_SOCKET": "@" + sock.getsockname()[1:].decode()})
        manager.ready("up")
        manager.close()
        assert told(sock) == ["READY=1\nSTATUS=up"]


def test_the_watchdog_is_fed_while_the_loop_turns_and_not_after_the_end(listening):
    sock, environ = listening

    async def story():
        own = {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}
        manager = ServiceManager(environ | own)
        assert manager.watchdog_s == 60
        manager.ready("up")
        assert told(sock) == ["READY=1\nSTATUS=up", "WATCHDOG=1"]
        await asyncio.sleep(59)
        assert set(told(sock)) == {"WATCHDOG=1"}
        manager.close()
        await asyncio.sleep(3600)
        assert told(sock) == []

    run_virtual(story())


async def test_the_watchdog_of_another_process_is_not_ours(listening):
    _, environ = listening
    manager = ServiceManager(environ | {"WATCHDOG_USEC": "60000", "WATCHDOG_PID": "1"})
    assert manager.watchdog_s is None
    manager.close()


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"NOTIFY_SOCKET": "vsock:2:1"}, "neither a path nor an abstract socket: vsock:2:1"),
        ({"WATCHDOG_USEC": "soon"}, "WATCHDOG_USEC is not a number of microseconds: soon"),
        ({"WATCHDOG_USEC": "9" * 400}, "WATCHDOG_USEC is not a number of microseconds: 999"),
        ({"WATCHDOG_USEC": "9" * 5000}, "WATCHDOG_USEC is not a number of microseconds: 999"),
    ],
)
async def test_an_environment_that_makes_no_sense_is_one_line(listening, environ, line, caplog):
    manager = ServiceManager(listening[1] | environ)
    manager.ready("up")
    manager.close()
    assert [line in record.getMessage() for record in caplog.records] == [True]


async def test_a_manager_that_is_gone_costs_nothing(tmp_path, listening, caplog):
    _, environ = listening
    for gone in ({"NOTIFY_SOCKET": str(tmp_path / "nowhere")}, {}):
        manager = ServiceManager(gone)
        manager.ready("up")
        manager.close()
        manager.close()
    manager = ServiceManager(environ)  # one that does not read: what has no room is not told
    for number in range(10_000):
        manager.status(f"{number}")
    manager.close()
    assert not caplog.records


@pytest.mark.skipif(not shutil.which("systemd-notify"), reason="needs systemd's own tool")
def test_it_says_what_systemds_own_tool_says(listening):
    sock, environ = listening
    command = ["systemd-notify", "--no-block", "--ready", "--status=3 peers"]
    subprocess.run(command, env=os.environ | environ, check=True, timeout=10)
    (theirs,) = [sorted(set(each.split("\n"))) for each in told(sock) if "READY" in each]
    manager = ServiceManager(environ)
    manager.ready("3 peers")  # without a watchdog it needs no loop
    manager.close()
    (ours,) = [sorted(each.split("\n")) for each in told(sock)]
    assert set(ours) <= set(theirs)
