"""Each program of docs/examples does what its first lines say: run as it stands, on loopback."""

import asyncio
import importlib.util
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.error import HTTPError
from urllib.request import Request, urlopen

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

    def stop(self) -> None:
        """From now on it answers nothing, though its sessions stay."""
        self._process.send_signal(signal.SIGSTOP)

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


def module(name: str) -> ModuleType:
    """One of them as a module, which is not run."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


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


async def test_the_simple_client_says_what_an_address_is():
    async with program("simple_client.py", "foo") as client:
        assert await client.end() == 1
        assert await client._process.stdout.read() == b"'foo' is not an address: write HOST:PORT\n"


@needs_signals
async def test_a_mute_peer_delays_no_line_of_the_chat():
    async with AsyncExitStack() as stack:
        arguments = ("--address", "127.0.0.1:0")
        alice = await stack.enter_async_context(program("chat.py", "alice", *arguments))
        where = (await alice.says(r"alice is at (\S+)\n"))[1]
        mute = await stack.enter_async_context(
            program("chat.py", "mute", "--join", where, *arguments)
        )
        await alice.says(r"\* mute is here\n")
        mute.stop()
        bob = await stack.enter_async_context(Node(options(name="bob", network_id="chat")))
        heard = bob.events(wants=is_data)
        await bob.connect(where)
        await alice.says(r"\* bob is here\n")
        for number in range(5):
            alice.type(f"line {number}")
        async with asyncio.timeout(PATIENCE_S):
            lines = [(await anext(heard)).payload["text"] for _ in range(5)]
        assert lines == [f"line {number}" for number in range(5)]
        await alice.says(r"\* mute did not get that\n")


def test_the_sender_of_a_line_is_told_by_the_session():
    words = module("chat").words
    peers = [
        SimpleNamespace(node_id="1", name="mallory"),
        SimpleNamespace(node_id="2", name="* alice has left"),
    ]
    node = SimpleNamespace(peers=peers)
    said = [
        ("1", {"from": "mallory", "text": "hi"}, "mallory: hi"),
        ("1", "hi", "mallory: hi"),
        ("1", {"from": "alice", "text": "hi"}, "mallory (for alice): hi"),
        ("1", {"from": "* alice has left", "text": ""}, "mallory (for alice has left): "),
        ("2", "hi", "alice has left: hi"),
        ("3", "hi", "3: hi"),
    ]
    for sender, payload, line in said:
        assert words(node, sender, payload) == line


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


@pytest.mark.parametrize("folder", ["nowhere/inbox", "file"])
async def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, folder):
    (tmp_path / "file").touch()
    async with program("file_drop.py", str(tmp_path / folder)) as drop:
        assert await drop.end() == 1
        said = (await drop._process.stdout.read()).decode()
    assert said.startswith("cannot make the folder ")
    assert said.count("\n") == 1


@needs_signals
async def test_a_mute_peer_delays_nothing_that_is_bridged():
    async with AsyncExitStack() as stack:
        bridge = await stack.enter_async_context(Node(options(name="bridge", network_id="blue")))
        where = format_address(bridge.address)
        came = bridge.events(wants=is_arrival)
        mute = await stack.enter_async_context(
            program("chat.py", "mute", "--join", where, "--network", "blue")
        )
        bob = await stack.enter_async_context(Node(options(name="bob", network_id="blue")))
        heard = bob.events(wants=is_data)
        async with asyncio.timeout(PATIENCE_S):
            mute_id = (await anext(came)).node_id
            mute.stop()
            await bob.connect(where)
            await anext(came)
            receivers = module("bridge").Receivers(bridge, asyncio.get_running_loop())
            for number in range(10):
                receivers.send({"text": number})
            assert [(await anext(heard)).payload["text"] for _ in range(10)] == [*range(10)]
            waiting = receivers._queues[mute_id]
            for number in range(2 * waiting.maxsize):
                receivers.send({"text": number})
            assert waiting.full()


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


def read(url: str | Request) -> str:
    with urlopen(url, timeout=PATIENCE_S) as answer:
        return answer.read().decode()


def test_the_status_page_shows_what_a_node_tells():
    families = pytest.importorskip("p2ptui.metrics.families").FAMILIES
    page = (EXAMPLES / "status_page.py").read_text("utf-8")
    assert set(re.findall(r'"(p2ptui_\w+)":', page)) <= {family.name for family in families}


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
async def test_the_status_page_is_for_no_other_site(metrics):
    pytest.importorskip("prometheus_client")
    url = f"http://127.0.0.1:{metrics.server_port}/metrics"
    async with program("status_page.py", url) as status:
        page = (await status.says(r"http://127\.0\.0\.1:\d+"))[0]
        for host in ("localhost:80", "127.0.0.1", "[::1]:80"):
            await asyncio.to_thread(read, Request(page, headers={"Host": host}))
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example"):
            with pytest.raises(HTTPError, match="421") as refused:
                await asyncio.to_thread(read, Request(page, headers={"Host": host}))
            refused.value.close()


@needs_signals
async def test_the_status_page_has_a_few_threads_at_most(metrics):
    """Whoever asks for nothing holds one for a while, and those beyond are hung up on."""
    pytest.importorskip("prometheus_client")
    url = f"http://127.0.0.1:{metrics.server_port}/metrics"
    async with AsyncExitStack() as stack:
        status = await stack.enter_async_context(program("status_page.py", url))
        port = int((await status.says(r"http://127\.0\.0\.1:(\d+)"))[1])
        most = module("status_page").MOST_CLIENTS
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(most)]
        for _, writer in silent:
            stack.callback(writer.close)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        stack.callback(writer.close)
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read() == b""
            assert await silent[0][0].read() == b""  # it was waited for, and not for ever


@needs_signals
async def test_the_status_page_of_a_node_that_is_gone():
    pytest.importorskip("prometheus_client")
    async with program("status_page.py", "http://127.0.0.1:9/metrics") as status:
        page = (await status.says(r"http://127\.0\.0\.1:\d+"))[0]
        html = await asyncio.to_thread(read, page)
        assert "The node does not answer: " in html
        assert await status.interrupt() == 0
