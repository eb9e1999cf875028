"""However the screen ends, the terminal is as before, the reason is one line, the port is free."""

import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.installed import HOMES, unknown_user
from tests.patience import PATIENCE_S
from tests.terminal.terminal import ROOT, Terminal, until

_FAILING = """
import sys
from p2ptui.cli import main
from p2ptui.tui.app import P2PApp

def fail(self):
    raise RuntimeError("seen \\x1b]0;owned\\x07 and [/x]")

P2PApp.action_help = fail
sys.exit(main())
"""


def nothing_is_called_after_a_home(folder: Path) -> bool:
    return not list(folder.rglob("~*"))


def can_bind(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((host, int(port)))
        except OSError:
            return False
        return True


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]


@pytest.mark.parametrize("how", ["ctrl-q", "quit"])
async def test_a_user_who_leaves_finds_the_terminal_as_it_was(how: str, terminal: Terminal) -> None:
    screen = terminal.open("alice")
    address = await screen.address()
    assert not can_bind(address)
    assert screen.modes()["alternate_on"] == "1"
    if how == "ctrl-q":
        screen.press("C-q")
    else:
        screen.type("quit")
    assert await screen.exit_code() == 0
    await screen.is_restored()
    assert lines(screen.text()) == []
    assert can_bind(address)


async def test_an_exception_in_the_screen_restores_the_terminal_and_is_one_line(
    terminal: Terminal,
) -> None:
    screen = terminal.open("alice", program=[sys.executable, "-c", _FAILING])
    address = await screen.address()
    screen.press("F1")
    assert await screen.exit_code() == 1
    await screen.is_restored()
    (line,) = lines(screen.text())
    assert line.startswith("p2ptui: the screen failed: RuntimeError: seen \\x1b]0;owned\\x07")
    assert "[/x]" in line
    assert b"\x1b]0;" not in screen.raw
    assert can_bind(address)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGTERM, "p2ptui: terminated"),
        (signal.SIGHUP, "p2ptui: the terminal was closed"),
    ],
)
async def test_a_signal_restores_the_terminal(
    number: signal.Signals, said: str, terminal: Terminal
) -> None:
    screen = terminal.open("alice")
    address = await screen.address()
    os.kill(screen.pid, number)
    assert await screen.exit_code() == 128 + number
    await screen.is_restored()
    assert lines(screen.text()) == [said]
    assert can_bind(address)


async def test_a_node_whose_terminal_is_closed_says_goodbye_and_is_gone(
    terminal: Terminal,
) -> None:
    bob = terminal.open("bob", ["--connection-timeout", str(3 * PATIENCE_S)])
    screen = terminal.open("alice", ["--join", await bob.address()])
    address, pid = await screen.address(), screen.pid
    await bob.shows("1 connected")
    screen.close()
    await until(lambda: not is_alive(pid), "the process has ended")
    await bob.shows("0 connected")  # by its goodbye; a silence would take longer
    assert can_bind(address)


async def test_a_port_in_use_is_told_in_one_line_and_touches_nothing(terminal: Terminal) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        screen = terminal.open("alice", ["--address", address])
        assert await screen.exit_code() == 1
        await screen.is_restored()
    # The line may be wrapped by the terminal.
    said = " ".join(screen.text().split())
    assert re.fullmatch(rf"p2ptui: cannot bind {address}: address already in use; .*", said)
    assert b"\x1b" not in screen.raw
    assert can_bind(address)


async def test_a_user_without_a_home_has_the_screen_too(terminal: Terminal, tmp_path: Path) -> None:
    unknown_user(tmp_path)
    unset = [part for name in HOMES for part in ("-u", name)]
    program = ("env", *unset, f"PYTHONPATH={tmp_path}{os.pathsep}{ROOT}", sys.executable)
    screen = terminal.open("alice", program=(*program, "-m", "p2ptui"))
    address = await screen.address()
    screen.type("theme nord")
    screen.type("nonsense")
    await screen.shows("unknown command 'nonsense'")
    screen.press("C-q")
    assert await screen.exit_code() == 0
    await screen.is_restored()
    assert "Traceback" not in screen.text()
    assert nothing_is_called_after_a_home(tmp_path)
    assert can_bind(address)
