"""However the screen ends, the terminal is as before, the reason is one line, the port is free."""

import os
import re
import signal
import socket
import sys

import pytest

from tests.terminal.terminal import Terminal

_FAILING = """
import sys
from p2ptui.cli import main
from p2ptui.tui.app import P2PApp

def fail(self):
    raise RuntimeError("seen \\x1b]0;owned\\x07 and [/x]")

P2PApp.action_help = fail
sys.exit(main())
"""


def can_bind(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((host, int(port)))
        except OSError:
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


async def test_sigterm_restores_the_terminal(terminal: Terminal) -> None:
    screen = terminal.open("alice")
    address = await screen.address()
    os.kill(screen.pid, signal.SIGTERM)
    assert await screen.exit_code() == 128 + signal.SIGTERM
    await screen.is_restored()
    assert len(lines(screen.text())) == 1
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
