"""Each program of docs/examples does what its first lines say: run as it stands, on loopback."""

import asyncio
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.request import urlopen

import pytest

from p2ptui import Config, Node
from p2ptui.core.events import DataReceived, Event, PeerStatus, PeerStatusChanged
from p2ptui.wire.address import format_address
from p2ptui.wire.files import file_payload
from tests.patience import PATIENCE_S

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PROGRAMS = sorted(EXAMPLES.glob("*.py"))

needs_signals = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


class Program:
    """One of them, while it runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said = ""

    async def says(self, pattern: str) -> re.Match[str]:
        """Read on until it has said this."""
        async with asyncio.timeout(PATIENCE_S):
            while (found := re.search(pattern, self.said)) is None:
                line = await self._process.stdout.readline()
                assert line, f"it ended, having said {self.said!r}"
                self.said += line.decode()
        return found

    def type(self, line: str) -> None:
        self._process.stdin.write(f"{line}\n".encode())

    async def end(self) -> int:
        """Close what it reads; the exit code, when it has ended."""
        self._process.stdin.close()
        async with asyncio.timeout(PATIENCE_S):
            return await self._process.wait()

    async def interrupt(self) -> int:
        """Ctrl+C."""
        self._process.send_signal(signal.SIGINT)
        return await self.end()


@asynccontextmanager
async def program(name: str, *arguments: str, folder: Path | None = None):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / name),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parents[1])},
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def options(**values: object) -> Config:
    return Config().with_options(address="127.0.0.1:0", enable_discovery=False, **values)


def is_data(event: Event) -> bool:
    return isinstance(event, DataReceived)


def is_arrival(event: Event) -> bool:
    return isinstance(event, PeerStatusChanged) and event.status is PeerStatus.AUTHENTICATED


def test_all_are_listed():
    page = (EXAMPLES / "README.md").read_text("utf-8")
    assert re.findall(r"\]\((\w+\.py)\)", page) == [
        "simple_client.py",
        "chat.py",
        "file_drop.py",
        "bridge.py",
        "status_page.py",
    ]
    assert {path.name for path in PROGRAMS} == set(re.findall(r"\((\w+\.py)\)", page))


def test_the_client_is_short():
    assert len((EXAMPLES / "simple_client.py").read_text("utf-8").splitlines()) < 40


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_its_first_lines_say_how_it_is_run(path):
    first = path.read_text("utf-8").split('"""')[1]
    assert f"python {path.name} " in first


async def test_the_simple_client():
    async with Node(options(name="server")) as server:
        data = server.events(wants=is_data)
        async with program("simple_client.py", format_address(server.address)) as client:
            await client.says(rf"connected to server \({server.id}\)\n")
            await client.says(r"delivered: \d+ bytes\n")
            await client.says(r"round trip: [\d.]+ ms \(direct\)\n")
            await client.says(r"disconnected\n")
            assert await client.end() == 0
        async with asyncio.timeout(PATIENCE_S):
            assert (await anext(data)).payload == {"text": "hello"}


async def test_the_simple_client_without_a_server():
    async with program("simple_client.py", "127.0.0.1:9#nobody") as client:
        assert await client.end() == 1
        said = await client._process.stdout.read()
    assert said.count(b"\n") == 1


@needs_signals
async def test_two_chat(tmp_path):
    async with AsyncExitStack() as stack:
        alice = await stack.enter_async_context(
            program("chat.py", "alice", "--address", "127.0.0.1:0")
        )
        where = (await alice.says(r"alice is at (\S+)\n"))[1]
        bob = await stack.enter_async_context(
            program("chat.py", "bob", "--join", where, "--address", "127.0.0.1:0")
        )
        await alice.says(r"\* bob is here\n")
        await bob.says(r"\* alice is here\n")
        alice.type("hello, bob")
        await bob.says(r"alice: hello, bob\n")
        bob.type("\x1b[31mred")
        await alice.says(r"bob: \\x1b\[31mred\n")
        assert await bob.end() == 0
        await alice.says(r"\* bob has left\n")
        assert await alice.interrupt() == 0


@needs_signals
async def test_files_are_dropped(tmp_path):
    inbox = tmp_path / "inbox"
    arguments = (str(inbox), "--address", "127.0.0.1:0")
    async with program("file_drop.py", *arguments) as drop, Node(options(name="alice")) as alice:
        where = (await drop.says(r"send them to (\S+)\n"))[1]
        peer = await alice.connect(where)
        await alice.send(peer, file_payload("notes.txt", b"hello"))
        await drop.says(rf"alice \({alice.id[:8]}\) sent .*notes\.txt, 5 bytes\n")
        assert (inbox / "notes.txt").read_bytes() == b"hello"
        assert await drop.interrupt() == 0


@needs_signals
async def test_two_networks_are_bridged():
    async with AsyncExitStack() as stack:
        red = await stack.enter_async_context(Node(options(name="alice", network_id="red")))
        blue = await stack.enter_async_context(Node(options(name="bob", network_id="blue")))
        heard = {node: node.events(wants=is_data) for node in (red, blue)}
        came = {node: node.events(wants=is_arrival) for node in (red, blue)}
        sides = [f"{node.info.network_id}={format_address(node.address)}" for node in (red, blue)]
        bridges = [await stack.enter_async_context(program("bridge.py", *sides)) for _ in range(2)]
        async with asyncio.timeout(PATIENCE_S):
            for node in (red, red, blue, blue):
                await anext(came[node])
            bridge_in_red = red.peers[0]
            await red.send(bridge_in_red.node_id, {"from": "alice", "text": "hello"})
            message = (await anext(heard[blue])).payload
            assert message == {"from": "alice", "text": "hello", "networks": ["red"]}

            # What has been in red does not come back, by whichever bridge.
            for peer in blue.peers:
                await blue.send(peer.node_id, message)
            await blue.send(blue.peers[0].node_id, "plain")
            assert (await anext(heard[red])).payload == {"text": "plain", "networks": ["blue"]}
        assert await bridges[0].interrupt() == 0


METRICS = """\
# HELP p2ptui_uptime_seconds How long the node has run.
# TYPE p2ptui_uptime_seconds gauge
p2ptui_uptime_seconds 61.5
# HELP p2ptui_peers Peers now, by the status of their session.
# TYPE p2ptui_peers gauge
p2ptui_peers{status="<authenticated>"} 3
# HELP p2ptui_sent_bytes_total Bytes that left.
# TYPE p2ptui_sent_bytes_total counter
p2ptui_sent_bytes_total 1234567
"""


@pytest.fixture
def metrics() -> Iterator[HTTPServer]:
    """What serves metrics as a node does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(METRICS.encode())

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def read(url: str) -> str:
    with urlopen(url, timeout=PATIENCE_S) as answer:
        return answer.read().decode()


@needs_signals
async def test_the_status_page(metrics):
    pytest.importorskip("prometheus_client")
    url = f"http://127.0.0.1:{metrics.server_port}/metrics"
    async with program("status_page.py", url) as status:
        page = (await status.says(r"http://127\.0\.0\.1:\d+"))[0]
        html = await asyncio.to_thread(read, page)
        assert "<tr><td>Seconds since the start<td>62" in html
        assert "<tr><td>Peers &lt;authenticated&gt;<td>3" in html
        assert "<tr><td>Bytes sent<td>1,234,567" in html
        assert await status.interrupt() == 0


@needs_signals
async def test_the_status_page_of_a_node_that_is_gone():
    pytest.importorskip("prometheus_client")
    async with program("status_page.py", "http://127.0.0.1:9/metrics") as status:
        page = (await status.says(r"http://127\.0\.0\.1:\d+"))[0]
        html = await asyncio.to_thread(read, page)
        assert "The node does not answer: " in html
        assert await status.interrupt() == 0
