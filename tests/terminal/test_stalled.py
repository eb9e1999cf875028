"""A terminal that takes nothing and is not closed: the node serves on, and can be ended."""

import asyncio
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from textual.drivers._writer_thread import WriterThread

from p2ptui import Config, Node
from p2ptui.node import PeerView
from p2ptui.tui.terminal import MAX_WAITING, Backlog, TerminalFile
from p2ptui.wire.address import parse_address
from tests.patience import PATIENCE_S
from tests.terminal.flood import flood
from tests.terminal.terminal import ROOT, until


class Watched:
    """A program in a terminal of which somebody reads, or not."""

    def __init__(self, home: Path) -> None:
        self.seen = bytearray()
        self.terminal, inside = pty.openpty()
        termios.tcsetwinsize(inside, (40, 120))
        environment = {**os.environ, "HOME": str(home), "TERM": "xterm-256color"}
        for size in ("COLUMNS", "LINES"):
            environment.pop(size, None)
        environment |= {f"XDG_{n}_HOME": str(home) for n in ("CONFIG", "STATE", "DATA", "CACHE")}
        options = ["--name", "alice", "--address", "127.0.0.1:0", "--enable-discovery", "false"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "p2ptui", *options],
            cwd=ROOT,
            env=environment,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
        )
        os.close(inside)
        self._reads = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._reads.set()
        self._thread.start()

    def _read(self) -> None:
        while not self._ended.is_set():
            if self._reads.wait(0.05) and select.select([self.terminal], [], [], 0.05)[0]:
                try:
                    self.seen.extend(os.read(self.terminal, 65536))
                except OSError:
                    return

    def stall(self) -> None:
        """From now on nobody reads."""
        self._reads.clear()

    def go_on(self) -> None:
        """Somebody reads again, from the next byte on."""
        self.seen.clear()
        self._reads.set()

    async def address(self) -> str:
        found: list[str] = []

        def listens() -> bool:
            match = re.search(rb"listens on (127\.0\.0\.1:\d+)", self.seen)
            found.extend([match[1].decode()] if match else [])
            return bool(found)

        await until(listens, "it listens")
        return found[0]

    def end(self) -> None:
        self._ended.set()
        self.process.kill()
        self.process.wait()
        self._thread.join()
        os.close(self.terminal)


@contextmanager
def watched(home: Path) -> Iterator[Watched]:
    program = Watched(home)
    try:
        yield program
    finally:
        program.end()


@asynccontextmanager
async def stalled(
    home: Path,
) -> AsyncIterator[tuple[Watched, Node, PeerView, asyncio.Task[None]]]:
    """A screen that messages flood while its terminal takes nothing, and who sends them."""
    with watched(home) as screen:
        address = parse_address(await screen.address())
        options = Config().with_options(address="127.0.0.1:0", enable_discovery=False)
        async with Node(options) as node:
            peer = await node.connect(address)
            flooding = asyncio.create_task(flood(node, peer, 200))
            await until(lambda: b"flood" in screen.seen, "messages are shown")
            screen.stall()
            yield screen, node, peer, flooding


@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_node_whose_terminal_stalls_serves_on_and_ends_when_asked(
    goes_on: bool, tmp_path: Path
) -> None:
    async with stalled(tmp_path) as (screen, node, peer, flooding):
        for _ in range(12):
            await asyncio.sleep(0.5)
            assert (await node.ping(peer, timeout_s=PATIENCE_S)).rtt_s < PATIENCE_S
        if goes_on:
            screen.go_on()
            await until(lambda: b"alice" in screen.seen, "all is drawn again")
        flooding.cancel()
        screen.process.send_signal(signal.SIGTERM)
        await until(lambda: screen.process.poll() is not None, "the process has ended")
    assert screen.process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_screen_that_shall_go_on_in_a_terminal_that_stalls_holds_up_nobody(
    goes_on: bool, tmp_path: Path
) -> None:
    async with stalled(tmp_path) as (screen, node, peer, flooding):
        await asyncio.sleep(2)
        for _ in range(4):
            screen.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.2)
            assert (await node.ping(peer, timeout_s=PATIENCE_S)).rtt_s < PATIENCE_S
        flooding.cancel()
        if goes_on:
            screen.go_on()
            await until(lambda: b"\x1b[?1049h" in screen.seen, "it is entered again")
            entered = screen.seen.rindex(b"\x1b[?1049h")
            assert b"\x1b[?1049l" not in screen.seen[entered:]
            await until(
                lambda: all(word in screen.seen[entered:] for word in (b"Quit", b"alice")),
                "all is drawn again",
            )
        screen.process.send_signal(signal.SIGTERM)
        await until(lambda: screen.process.poll() is not None, "the process has ended")
    assert screen.process.returncode == 128 + signal.SIGTERM


def test_what_waits_for_a_terminal_is_bounded_and_drawn_anew_when_it_takes_it() -> None:
    terminal, inside = pty.openpty()
    redrawn: list[bool] = []
    with os.fdopen(inside, "w") as file:
        target = TerminalFile(file, lambda: None)
        backlog = Backlog(target, lambda: redrawn.append(True))
        thread = WriterThread(target)
        thread.start()
        for _ in range(1000):
            backlog.put("x" * 10_000, thread)
        assert backlog.is_behind
        assert backlog.waiting <= MAX_WAITING + 10_000
        backlog.catch_up()
        assert not redrawn
        assert not backlog.end(thread)  # it is held, and left behind

        while backlog.waiting:
            if select.select([terminal], [], [], 0.05)[0]:
                os.read(terminal, 65536)
        backlog.catch_up()
        assert redrawn == [True]
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    os.close(terminal)
