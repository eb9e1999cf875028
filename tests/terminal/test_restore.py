"""However the screen ends, the terminal is as before, the reason is one line, the port is free."""

import asyncio
import contextlib
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest
from textual.drivers._writer_thread import MAX_QUEUED_WRITES, WriterThread

from p2ptui.config import Config
from p2ptui.node import Node
from p2ptui.tui.terminal import TerminalFile
from p2ptui.wire.address import parse_address
from tests.installed import HOMES, unknown_user
from tests.patience import PATIENCE_S
from tests.terminal.flood import flood
from tests.terminal.terminal import ROOT, Screen, Terminal, until

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


def state(pid: int) -> str:
    """Of a process, as the kernel has it: `T` if it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


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


async def test_statistics_on_demand_end_no_screen(terminal: Terminal) -> None:
    screen = terminal.open("alice")
    await screen.address()
    os.kill(screen.pid, signal.SIGUSR1)
    await screen.shows("statistics: node: ")
    screen.type("quit")
    assert await screen.exit_code() == 0
    await screen.is_restored()


async def test_a_screen_that_is_told_to_go_on_though_it_never_stopped_is_one_screen(
    terminal: Terminal,
) -> None:
    """The system sends SIGCONT also with the SIGHUP of a terminal that goes."""
    screen = terminal.open("alice")
    await screen.address()
    for _ in range(3):
        drawn = len(screen.raw)
        os.kill(screen.pid, signal.SIGCONT)
        await until(lambda drawn=drawn: b"\x1b[?1049h" in screen.raw[drawn:], "it is drawn anew")
    screen.type("quit")
    assert await screen.exit_code() == 0
    await screen.is_restored()


def rows(screen: Screen) -> list[str]:
    """What is on the screen, but for what time changes."""
    return [re.sub(r"[\d:.▁-█ ]+", " ", line) for line in screen.text().split("\n")]


async def settled(screen: Screen) -> list[str]:
    """The rows once all has been drawn, and nothing but time changes them."""
    await screen.shows("listens on .*network")
    await screen.shows("Peers.*by name")
    await screen.shows("uptime +0:(?!00:00)")
    seen: list[list[str]] = []

    def stays() -> bool:
        seen.append(rows(screen))
        return len(seen) > 5 and all(look == seen[-1] for look in seen[-5:])

    await until(stays, "it stays as it is")
    return seen[-1]


async def shows_rows(screen: Screen, wanted: list[str]) -> None:
    """Wait until each row is as it was."""
    try:
        await until(lambda: rows(screen) == wanted, "every row is as before")
    except AssertionError as error:
        other = [pair for pair in zip(wanted, rows(screen), strict=False) if len(set(pair)) > 1]
        raise AssertionError(f"{error}; these are not: {other}") from None


@pytest.mark.parametrize("resized", [False, True], ids=["as large", "resized"])
@pytest.mark.parametrize("stopped", [signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP])
async def test_a_screen_that_goes_on_is_drawn_as_a_whole(
    stopped: signal.Signals, resized: bool, terminal: Terminal
) -> None:
    screen = terminal.open("alice")
    wanted = await settled(screen)
    tasks = len(os.listdir(f"/proc/{screen.pid}/task"))
    if resized:
        larger = wanted
        screen.resize(110, 36)
        await screen.shows(r"Palette *\n*$")
        wanted = await settled(screen)
        screen.resize(120, 40)
        await shows_rows(screen, larger)
    drawn = len(screen.raw)
    if stopped != signal.SIGCONT:
        os.kill(screen.pid, stopped)
        await until(lambda: state(screen.pid) == "T", "it is stopped")
    if resized:
        screen.resize(110, 36)
    os.kill(screen.pid, signal.SIGCONT)
    await until(lambda: b"\x1b[?1049h" in screen.raw[drawn:], "it is entered again")
    await shows_rows(screen, wanted)
    since = screen.raw[drawn:]
    assert since.count(b"\x1b[?1049h") == since.count(b"\x1b[?1049l") == 1
    assert since.rindex(b"\x1b[?1049l") < since.index(b"\x1b[?1049h")
    modes = {"alternate_on": "1", "cursor_flag": "0", "mouse_any_flag": "1"}
    assert screen.modes().items() >= modes.items()
    assert len(os.listdir(f"/proc/{screen.pid}/task")) == tasks
    screen.type("quit")
    assert await screen.exit_code() == 0
    await screen.is_restored()


async def test_many_of_them_at_once_are_one_screen_too(terminal: Terminal) -> None:
    screen = terminal.open("alice")
    wanted, pid = await settled(screen), screen.pid
    tasks = len(os.listdir(f"/proc/{pid}/task"))
    for _ in range(20):
        os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(0)
    await until(lambda: b"\x1b[?1049l" in screen.raw, "it is drawn anew")
    await shows_rows(screen, wanted)
    screen.type("nonsense")
    await screen.shows("unknown command 'nonsense'")
    await until(lambda: len(os.listdir(f"/proc/{pid}/task")) == tasks, "no thread is left over")
    screen.type("quit")
    assert await screen.exit_code() == 0
    await screen.is_restored()


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


def _start_in(inside: int, home: Path) -> "subprocess.Popen[bytes]":
    """Start a screen in a terminal that is nobody's, so that its end is told by no signal."""
    environment = {**os.environ, "HOME": str(home), "TERM": "xterm-256color"}
    for size in ("COLUMNS", "LINES"):  # whoever runs the tests may have another terminal
        environment.pop(size, None)
    environment |= {f"XDG_{n}_HOME": str(home) for n in ("CONFIG", "STATE", "DATA", "CACHE")}
    command = [sys.executable, "-m", "p2ptui", "--name", "alice", "--address", "127.0.0.1:0"]
    return subprocess.Popen(
        [*command, "--enable-discovery", "false"],
        cwd=ROOT,
        env=environment,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )


async def test_a_terminal_that_goes_away_while_it_is_written_to_ends_the_node(
    tmp_path: Path,
) -> None:
    """Without the signal that a shell's terminal sends, and while messages are shown."""
    terminal, inside = pty.openpty()
    termios.tcsetwinsize(inside, (40, 120))
    process = _start_in(inside, tmp_path)
    os.close(inside)
    seen = bytearray()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            if select.select([terminal], [], [], 0.05)[0]:
                seen.extend(os.read(terminal, 65536))

    watching = threading.Thread(target=look)
    watching.start()
    found: list[str] = []

    def listens() -> bool:
        match = re.search(rb"listens on (127\.0\.0\.1:\d+)", seen)
        found.extend([match[1].decode()] if match else [])
        return bool(found)

    try:
        await until(listens, "it listens")
        options = Config().with_options(address="127.0.0.1:0", enable_discovery=False)
        async with Node(options) as node:
            peer = await node.connect(parse_address(found[0]))
            flooding = asyncio.create_task(flood(node, peer, 100))
            # Only what changes on the screen is written: never count on a whole line of it.
            await until(lambda: b"flood" in seen, "messages are shown")
            stop.set()
            watching.join()
            os.close(terminal)
            await until(lambda: process.poll() is not None, "the process has ended")
            flooding.cancel()
    finally:
        stop.set()
        process.kill()
        process.wait()
    assert process.returncode == 128 + signal.SIGHUP
    assert can_bind(found[0])


def test_a_thread_that_writes_to_a_terminal_that_has_gone_keeps_nobody_waiting() -> None:
    terminal, inside = pty.openpty()
    lost: list[bool] = []
    with os.fdopen(inside, "w") as file:
        writer = WriterThread(TerminalFile(file, lambda: lost.append(True)))
        writer.start()
        os.close(terminal)
        done = threading.Event()

        def write() -> None:
            for _ in range(10 * MAX_QUEUED_WRITES):
                writer.write("x" * 10_000)
            writer.stop()
            done.set()

        threading.Thread(target=write, daemon=True).start()
        assert done.wait(PATIENCE_S)
        assert lost == [True]
        with contextlib.suppress(OSError):
            file.close()  # what it still held has nowhere to go


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
