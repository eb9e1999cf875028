"""The node without a screen, as installed: how it starts, what it logs, how it leaves."""

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import socket
import time
import uuid
from datetime import datetime, timedelta

import pytest

from p2ptui import Config, Node
from p2ptui.core.events import PeerStatus, PeerStatusChanged
from p2ptui.io.bind import bind_udp
from p2ptui.node.moves import SLEPT_S
from p2ptui.wire.address import parse_address
from tests.installed import HOMES, P2PTUI, headless, run, start, unknown_user
from tests.patience import PATIENCE_S, SLOWER
from tests.town import next_of

pytestmark = [
    pytest.mark.skipif(not P2PTUI.exists(), reason="the package is not installed"),
    pytest.mark.skipif(os.name == "nt", reason="signals of POSIX"),
]

HOSTILE = "\x1b]0;pwned\x07\x1b[31m\u202ered\nSECOND LINE"


def with_client(address: str, story, **options) -> None:
    """Run a story with a node of this process that is connected to `address`."""

    async def program():
        options.setdefault("name", "client")
        config = Config().with_options(address="127.0.0.1:0", enable_discovery=False, **options)
        async with Node(config) as client:
            await client.connect(address)
            await story(client)

    asyncio.run(asyncio.wait_for(program(), PATIENCE_S))


# --- starting


def test_it_says_who_and_where_it_is(tmp_path):
    with headless(tmp_path, "--name", "server", "--network-id", "office") as node:
        (line,) = node.log().splitlines()
        assert re.fullmatch(
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO  server is listening on 127\.0\.0\.1:\d+,"
            r" network office, id [0-9a-f-]{36}",
            line,
        )


def test_each_start_has_a_fresh_id_unless_it_is_configured(tmp_path):
    file = tmp_path / "node.toml"
    file.write_text('[server]\nnode_id = "0123abcd-0000-4000-8000-000000000001"\n')
    with (
        headless(tmp_path) as one,
        headless(tmp_path) as two,
        headless(tmp_path, "-c", str(file)) as three,
    ):
        assert one.id != two.id
        assert one.name == f"p2ptui-{one.id[:8]}"
        assert three.id == "0123abcd-0000-4000-8000-000000000001"


def test_an_address_in_use_is_exactly_this_line():
    taken = bind_udp(("127.0.0.1", 0))
    with contextlib.closing(taken):
        where = "{}:{}".format(*taken.getsockname())
        result = run("--no-ui", "--address", where)
    assert result.returncode == 1
    assert result.stderr == (
        f"p2ptui: cannot bind {where}: address already in use;"
        " choose another address with --address, or port 0 for a free one\n"
    )


def test_without_a_terminal_one_line_says_what_to_do():
    result = run("--address", "127.0.0.1:0")
    assert result.returncode == 1
    assert result.stderr == "p2ptui: the screen needs a terminal; without one use --no-ui\n"


def test_a_log_file_and_its_directory_are_made(tmp_path):
    file = tmp_path / "new" / "directory" / "node.log"
    config = tmp_path / "node.toml"
    config.write_text(f"[logging]\nlog_to_file = true\nlog_file_path = {json.dumps(str(file))}\n")
    with headless(tmp_path, "-c", str(config)) as node:
        assert node.stop() == 0
        assert file.read_text("utf-8") == node.log()


def test_a_log_file_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    config = tmp_path / "node.toml"
    path = str(tmp_path / "file" / "node.log")
    config.write_text(f"[logging]\nlog_to_file = true\nlog_file_path = {json.dumps(path)}\n")
    result = run("--no-ui", "-c", str(config))
    assert result.returncode == 2
    assert result.stderr.startswith(f"p2ptui: logging.log_file_path: cannot open {path!r}: ")
    assert result.stderr.count("\n") == 1


@pytest.fixture
def homeless(tmp_path, monkeypatch):
    """The environment of a program whose user the system does not know."""
    unknown_user(tmp_path)
    for name in HOMES:
        monkeypatch.delenv(name, raising=False)
    return {"PYTHONPATH": str(tmp_path)}


def test_a_user_without_a_home_has_a_node_too(tmp_path, homeless):
    async def story(client):
        assert (await client.send("server", "x")).delivered

    with headless(tmp_path, "--name", "server", env=homeless, cwd=tmp_path) as node:
        with_client(node.address, story)
        result = run("ping", node.address, "-n", "1", env=homeless)
        assert (result.returncode, result.stderr) == (0, "")
        assert node.stop() == 0
    assert "Traceback" not in node.log()
    assert not (tmp_path / "~").exists()


def test_without_a_home_a_log_file_has_to_be_named(tmp_path, homeless):
    config = tmp_path / "node.toml"
    for text, said in (
        ("", "there is no home directory to keep the log in; name a file with"),
        ('log_file_path = "~/node.log"\n', "cannot open '~/node.log': "),
    ):
        config.write_text(f"[logging]\nlog_to_file = true\n{text}")
        result = run("--no-ui", "-c", str(config), env=homeless, cwd=tmp_path)
        assert result.returncode == 2
        assert said in result.stderr
        assert "logging.log_file_path" in result.stderr
        assert result.stderr.count("\n") == 1


def test_no_screen_is_loaded(tmp_path):
    with headless(tmp_path, env={"PYTHONPROFILEIMPORTTIME": "1"}) as node:
        node.stop()
        imported = set(re.findall(r"import time:.*\| +([\w.]+)", node.log()))
    assert "p2ptui.headless" in imported
    assert not {name for name in imported if name.partition(".")[0] in ("textual", "rich")}


# --- leaving


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_says_goodbye_to_every_peer_and_exits_0(tmp_path, number):
    with headless(tmp_path, "--name", "server") as server:

        async def story(client):
            events = client.events()
            assert await asyncio.to_thread(server.stop, number) == 0
            told = await next_of(events, PeerStatusChanged, PATIENCE_S)
            assert told.status is PeerStatus.DISCONNECTED
            assert told.reason == "it said goodbye: shutting down"

        with_client(server.address, story)
        lines = server.log().splitlines()
        # What happened just before the signal may be logged after it.
        (asked,) = (line for line in lines if f" {number.name}: saying goodbye" in line)
        assert asked.endswith(": saying goodbye; once more ends at once")
        *_, leaving, last = lines
        assert leaving.endswith("shutting down: 1 peers")
        assert last.endswith("stopped")
        assert moment(last) - moment(asked) < timedelta(seconds=2 * SLOWER)


def moment(line: str) -> datetime:
    """When a line was logged."""
    return datetime.fromisoformat(line[:23])


def test_a_hangup_reopens_the_log_and_reads_the_options_again(tmp_path):
    file, config = tmp_path / "node.log", tmp_path / "node.toml"

    def write(level: str, more: str = "") -> None:
        config.write_text(
            f'[server]\n{more}\n[logging]\nlevel = "{level}"\nlog_to_file = true\n'
            f"log_file_path = {json.dumps(str(file))}\n"
        )

    def hang_up(node, expected: str) -> None:
        node.process.send_signal(signal.SIGHUP)
        node.wait_for(expected)

    write("info")
    with headless(tmp_path, "-c", str(config)) as node:

        async def story(client):
            for _ in range(3):
                assert (await client.send(client.peers[0].node_id, "before")).delivered
            file.rename(tmp_path / "node.log.1")
            write("debug", "max_connections = 7\nname = 'other'")
            hang_up(node, "needs a restart: server.name")
            assert (await client.send(client.peers[0].node_id, "after")).delivered
            assert len(client.peers) == 1
            config.write_text("[server]\nmax_connections\n")
            hang_up(node, "the configuration was not applied")
            config.unlink()
            hang_up(node, "cannot be read")
            assert (await client.send(client.peers[0].node_id, "still")).delivered

        with_client(node.address, story)
        assert node.stop() == 0
    fresh, put_aside = file.read_text("utf-8"), (tmp_path / "node.log.1").read_text("utf-8")
    assert "SIGHUP: new values: server.max_connections, logging.level" in fresh
    assert "is listening on" in put_aside
    assert "SIGHUP" not in put_aside
    assert " DEBUG " in fresh
    assert " DEBUG " not in put_aside


def test_a_process_that_stood_still_asks_its_peers_and_keeps_them(tmp_path):
    with headless(tmp_path, "--name", "server") as node:

        async def story(client):
            assert (await client.send("server", "before")).delivered
            node.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(SLEPT_S + 1)
            node.process.send_signal(signal.SIGCONT)
            node.wait_for(r"this machine stood still for \d+ s: its peers are asked")
            assert (await client.send("server", "after")).delivered

        with_client(node.address, story)
        assert "disconnected: client" not in node.log().split("stood still")[0]
        assert node.stop() == 0


def test_a_second_signal_ends_it_at_once(tmp_path):
    with headless(tmp_path) as node:
        # Held until both are there: otherwise the first has done its work meanwhile.
        node.process.send_signal(signal.SIGSTOP)
        node.process.send_signal(signal.SIGTERM)
        node.process.send_signal(signal.SIGINT)
        node.process.send_signal(signal.SIGCONT)
        code = node.process.wait(PATIENCE_S)
        assert code in (128 + signal.SIGINT, 128 + signal.SIGTERM)
        assert "stopped" not in node.log()


def test_a_name_server_that_is_silent_does_not_delay_the_end(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time\nsocket.getaddrinfo = lambda *_, **__: time.sleep(600)\n"
    )
    joining = ("--join", "server.example:8080")
    with headless(tmp_path, *joining, env={"PYTHONPATH": str(tmp_path)}) as node:
        assert node.stop() == 0  # long before the look-up ends


def test_a_reader_of_the_log_that_has_gone_does_not_end_the_node(tmp_path):
    reading, writing = os.pipe()
    process = start(
        *("--no-ui", "--address", "127.0.0.1:0", "--enable-discovery", "false"), stderr=writing
    )
    with process:
        os.close(writing)
        with os.fdopen(reading) as log:
            address = re.search(r"listening on (\S+),", log.readline())[1]
        result = run("ping", address, "-n", "1")  # what this logs goes nowhere
        assert (result.returncode, result.stderr) == (0, "")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


# --- the log


def test_every_line_of_a_json_log_is_an_object(tmp_path):
    config = tmp_path / "node.toml"
    config.write_text('[logging]\nformat = "json"\n')

    async def story(client):
        await client.send("server", "x")

    with headless(tmp_path, "-c", str(config), "--name", "server", "--DEBUG") as node:
        with_client(node.address, story)
        node.wait_for("said goodbye")
        node.stop()
        entries = [json.loads(line) for line in node.log().splitlines()]
    for entry in entries:
        assert set(entry) >= {"timestamp", "level", "target", "event", "message"}
        assert datetime.fromisoformat(entry["timestamp"]).tzinfo is not None
        assert entry["target"].startswith("p2ptui.")
    levels = {entry["level"] for entry in entries}
    assert {"info", "debug"} <= levels
    assert any(entry["message"].startswith("connected: client") for entry in entries)


@pytest.mark.parametrize("form", ["pretty", "json"])
def test_nothing_remote_acts_in_the_log(tmp_path, form):
    config = tmp_path / "node.toml"
    config.write_text(f'[logging]\nformat = "{form}"\n')

    async def story(client):
        await client.send("server", {HOSTILE: HOSTILE})
        await client.disconnect("server", HOSTILE)

    with headless(tmp_path, "-c", str(config), "--name", "server", "--TRACE") as node:
        with_client(node.address, story, name=HOSTILE)
        send_hostile_datagrams(node.address)
        node.wait_for("said goodbye")
        node.stop()
        lines = node.log().split("\n")
    assert lines.pop() == ""
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("SECOND LINE") for line in lines)
    assert sum("pwned" in line for line in lines) >= 3


def send_hostile_datagrams(address: str) -> None:
    """Junk, and an Error from nobody with a hostile text."""
    message = {
        "id": HOSTILE,
        "message_type": HOSTILE,
        "timestamp": 0,
        "payload": {"error": HOSTILE},
        "sequence_number": None,
        "requires_ack": True,
        "ack_for": None,
    }
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for data in (b"\x1b[31m", json.dumps(message).encode(), HOSTILE.encode(), b""):
            sock.sendto(data, parse_address(address))


def test_a_flood_of_messages_adds_no_line_at_info(tmp_path):
    async def story(client):
        await client.ping("server")
        before = node.wait_for("connected: client").string
        for _ in range(2000 // 25):
            await asyncio.gather(*(client.ping("server", PATIENCE_S) for _ in range(25)))
        for number in range(200):
            assert (await client.send("server", number)).delivered
        assert client.stats().datagrams_out > 2000
        assert node.log() == before

    with headless(tmp_path, "--name", "server", "--INFO") as node:
        with_client(node.address, story)


def test_a_flood_of_handshakes_is_no_flood_of_lines(tmp_path):
    handshakes = 100  # as many as there may be peers: each from a port of its own
    rng = random.Random(5)
    with headless(tmp_path, "--INFO") as node:
        began = time.monotonic()
        for _ in range(handshakes):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(0.2)
                sock.sendto(handshake(rng), parse_address(node.address))
                with contextlib.suppress(TimeoutError):
                    sock.recv(65_536)
        node.wait_for(r"\d+ more changes of peers were not logged")
        assert node.stop() == 0
        took_s = time.monotonic() - began
        assert len(node.log().splitlines()) < 40 + 25 * took_s


def handshake(rng: random.Random) -> bytes:
    def fresh_id() -> str:
        return str(uuid.UUID(int=rng.getrandbits(128), version=4))

    return json.dumps(
        {
            "id": fresh_id(),
            "message_type": "HandshakeRequest",
            "timestamp": 1_795_000_000,
            "payload": {"id": fresh_id(), "name": "flood", "version": "1"},
            "sequence_number": 1,
            "requires_ack": False,
            "ack_for": None,
        }
    ).encode()


def test_junk_from_everywhere_is_survived_in_silence(tmp_path):
    rng = random.Random(7)
    with headless(tmp_path, "--name", "server") as node:
        before = node.log()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(500):
                sock.sendto(rng.randbytes(rng.randrange(1500)), parse_address(node.address))
            sock.sendto(b"{" * 60_000, parse_address(node.address))
        result = run("ping", node.address, "-n", "1")
        assert (result.returncode, result.stderr) == (0, "")
        assert before in node.log()
        others = [line for line in node.log().splitlines() if "connected: p2ptui-" not in line]
        assert len(others) == 1


def test_a_statistics_line_comes_when_it_is_asked_for(tmp_path):
    with headless(tmp_path, env={"P2PTUI_SERVER_STATS_INTERVAL": "0.1"}) as node:
        found = node.wait_for(r"up \d+ s, 0 peers, in \d+ datagrams / \d+ bytes, .*dropped \d+\n")
        assert found


def test_a_node_joins_at_start_and_says_so(tmp_path):
    with (
        headless(tmp_path, "--name", "server") as server,
        headless(tmp_path, "--name", "client", "--join", server.address) as client,
    ):
        client.wait_for(f"joined {server.address}")
        server.wait_for("connected: client")
        assert server.stop() == 0
        client.wait_for(f"lost {server.address}")
        client.wait_for(rf"joining {server.address} again in \d+\.\d s")
