"""ping, send and peers against whole nodes in a simulated network: by which way, and what is said.

Everything but the sockets and the time is real: the command line runs in process, and its
node lives in the network of the test.
"""

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from p2ptui import Config, Node
from p2ptui.cli import main
from p2ptui.commands import session
from p2ptui.core.events import DataReceived
from p2ptui.node import receipts
from p2ptui.node.subscription import Subscription
from p2ptui.wire.files import file_payload
from tests.reference_client import NODE_ID as REFERENCE_ID
from tests.reference_client import ReferenceClient
from tests.town import Town, taken
from tests.virtual_loop import run_virtual

SERVER_ID = "5e5e0001-0000-4000-8000-000000000001"
ALICE_ID = "a11ce002-0000-4000-8000-000000000002"
BOB_ID = "b0b00003-0000-4000-8000-000000000003"
SERVER = "10.0.0.2:8080"
ALICE = "10.0.0.3:8080"
BOB = "10.0.0.4:8080"
COMMAND_HOST = "10.0.0.250"


@dataclass
class Said:
    """What a command left behind."""

    code: int
    output: str
    errors: str
    took_s: float

    @property
    def json(self) -> Any:
        assert self.output.count("\n") == 1
        return json.loads(self.output)

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()


class World:
    """A server with two clients, and a command line beside them."""

    def __init__(self, monkeypatch, capsys) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.server_options: dict[str, Any] = {}
        self.bob_options: dict[str, Any] = {}
        self.cut: list[tuple[str, str]] = []
        self.without_server = False
        self.reference = False
        self.inboxes: dict[str, Subscription] = {}
        self.leaving: tuple[str, float] | None = None
        """Who says goodbye, and so many seconds after the beginning."""

    def received(self, name: str) -> list[Any]:
        return [event.payload for event in taken(self.inboxes[name], DataReceived)]

    def run(self, *arguments: str) -> Said:
        times: list[float] = []

        async def program(work) -> int:
            async with Town() as town:
                await self._populate(town)
                self._monkeypatch.setattr(session, "Node", self._node_in(town))
                for a, b in self.cut:
                    town.network.partition(a.partition(":")[0], b.partition(":")[0])
                clock = asyncio.get_running_loop().time
                began = clock()
                leaving = asyncio.ensure_future(self._leave())
                try:
                    return await work
                finally:
                    times.append(clock() - began)
                    leaving.cancel()
                    await asyncio.gather(leaving, return_exceptions=True)

        self._monkeypatch.setattr(
            "p2ptui.io.loop.run", lambda work, **_: run_virtual(program(work))
        )
        code = main(arguments)
        output, errors = self._capsys.readouterr()
        return Said(code, output, errors, times[0])

    async def _populate(self, town: Town) -> None:
        options = {
            "server": {"name": "server", "node_id": SERVER_ID} | self.server_options,
            "alice": {"name": "alice", "node_id": ALICE_ID},
            "bob": {"name": "bob", "node_id": BOB_ID} | self.bob_options,
        }
        nodes = [await town.start(**each) for each in options.values()]
        self._nodes = dict(zip(options, nodes, strict=True))
        for name, node in self._nodes.items():
            self.inboxes[name] = node.events()
        for client in nodes[1:]:
            await client.connect(nodes[0].address)
        if self.reference:
            client = await ReferenceClient.connect(town, nodes[0])
            town.at_end(client.close)
        if self.without_server:
            town.crash(nodes[0])

    async def _leave(self) -> None:
        if self.leaving is not None:
            name, after_s = self.leaving
            await asyncio.sleep(after_s)
            await self._nodes[name].close()

    @staticmethod
    def _node_in(town: Town):
        def make(config: Config) -> Node:
            return town.make_from(
                config.with_options(
                    address=f"{COMMAND_HOST}:0",
                    nat_detection={"stun_servers": []},
                    ice={"stun_servers": []},
                )
            )

        return make


@pytest.fixture
def world(monkeypatch, capsys):
    return World(monkeypatch, capsys)


# --- who leaves meanwhile


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["people", "json"])
def test_who_says_goodbye_while_a_file_is_sent_is_not_unknown(world, tmp_path, options):
    file = tmp_path / "large"
    file.write_bytes(bytes(700_000))
    world.leaving = ("bob", 0.06)
    said = world.run("send", BOB, "--file", str(file), *options)
    assert said.code == 1
    assert said.errors == "p2ptui: not delivered to bob: it said goodbye: shutting down\n"
    assert world.received("bob") == []


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["people", "json"])
def test_who_says_goodbye_while_it_is_pinged_is_told_with_what_was_measured(world, options):
    world.leaving = ("bob", 1.5)
    said = world.run("ping", BOB, "-n", "4", "--timeout", "2", *options)
    assert "connect to it first" not in said.output + said.errors
    assert said.code == 0
    if options:
        assert (said.json["sent"], said.json["received"]) == (4, 2)
    else:
        assert "3: bob has left meanwhile; try again" in said.lines
        assert "4 sent, 2 answered, 50% lost" in said.lines


# --- by which way


@pytest.mark.parametrize("target", ["bob", BOB_ID, BOB_ID.upper(), "b0b0", "b", BOB])
def test_a_node_behind_a_server_is_reached_directly(world, target):
    said = world.run("ping", target, "--join", SERVER, "-n", "2", "--json")
    assert said.code == 0
    assert said.json["node_id"] == BOB_ID
    assert (said.json["path"], said.json["address"]) == ("direct", BOB)
    assert said.json["rtt_ms"]["avg"] == pytest.approx(20, abs=0.01)


def test_without_a_direct_path_it_is_reached_by_way_of_the_server(world):
    world.cut = [(COMMAND_HOST, BOB)]
    said = world.run("ping", "bob", "--join", SERVER, "-n", "3", "--json")
    assert (said.code, said.errors) == (0, "")
    assert said.json["node_id"] == BOB_ID
    assert (said.json["path"], said.json["address"]) == ("relay", SERVER)
    assert (said.json["sent"], said.json["received"]) == (3, 3)
    assert said.json["rtt_ms"]["avg"] == pytest.approx(40, abs=0.01)
    assert said.took_s <= session.DIRECT_ATTEMPT_S + 2.3  # the direct attempt, and two pauses


def test_a_relayed_ping_says_so_to_people(world):
    world.cut = [(COMMAND_HOST, BOB)]
    said = world.run("ping", "bob", "--join", SERVER, "-n", "1")
    assert said.lines == [
        f"PING bob ({BOB_ID}), relay",
        f"1: 40.000 ms from {SERVER} by relay",
        "1 sent, 1 answered, 0% lost",
        "round trip in ms: min 40.0, avg 40.0, p50 40.0, p95 40.0, max 40.0",
        said.lines[-1],
    ]
    assert said.lines[-1].startswith(f"relayed: no direct path to node {BOB_ID}")


def test_a_message_goes_by_way_of_the_server_too(world):
    world.cut = [(COMMAND_HOST, BOB)]
    said = world.run("send", "bob", "hello", "--join", SERVER)
    assert said.code == 0
    assert said.output.startswith("delivered ")
    assert "bytes to bob (relay) in" in said.output
    assert world.received("bob") == ["hello"]
    assert world.received("alice") == world.received("server") == []


@pytest.fixture
def keeping(world, tmp_path):
    """Bob keeps files; gives his folder."""

    directory = tmp_path / "of-bob"
    directory.mkdir()
    world.bob_options = {"files": {"receive_into": str(directory)}}
    return directory


@pytest.mark.parametrize("cut", [False, True], ids=["direct", "routed"])
def test_a_file_is_kept_by_whichever_way_it_comes(world, keeping, tmp_path, cut):
    world.cut = [(COMMAND_HOST, BOB)] if cut else []
    file = tmp_path / "notes.txt"
    file.write_bytes(b"hello")
    said = world.run("send", "bob", "--file", str(file), "--join", SERVER)
    assert (said.code, said.errors) == (0, "")
    assert said.output.endswith(", kept as notes.txt\n")
    assert (keeping / "notes.txt").read_bytes() == b"hello"


def test_a_file_that_is_not_kept_is_no_success(world, keeping, tmp_path):
    world.bob_options["files"]["receive_from"] = "somebody"
    file = tmp_path / "notes.txt"
    file.write_bytes(b"hello")
    arguments = ("send", "bob", "--file", str(file), "--join", SERVER)
    said = world.run(*arguments)
    assert (said.code, said.errors) == (
        1,
        "p2ptui: bob did not keep the file: the node takes files of others only\n",
    )
    said = world.run(*arguments, "--json")
    assert said.code == 1
    assert (said.json["delivered"], said.json["kept"], said.json["kept_as"]) == (True, False, None)
    assert said.json["reason"] == "the node takes files of others only"
    said = world.run(*arguments)
    assert re.fullmatch(r"delivered .* ms, but the file was not kept\n", said.output)


def test_a_receiver_that_does_not_answer_is_no_success(world, keeping, tmp_path, monkeypatch):
    monkeypatch.setattr(receipts, "MAX_RECEIPTS", 0)
    file = tmp_path / "notes.txt"
    file.write_bytes(b"hello")
    said = world.run("send", "bob", "--file", str(file), "--join", SERVER, "--timeout", "3")
    assert (said.code, said.errors) == (
        1,
        "p2ptui: bob did not say within 3 s whether it kept the file\n",
    )
    assert said.took_s == pytest.approx(3, abs=0.5)


def test_a_text_that_says_that_it_is_a_file_is_a_text(world, keeping):
    said = world.run("send", "bob", '{"file": "x", "base64": ""}', "--join", SERVER)
    assert said.code == 0
    assert list(keeping.iterdir()) == []


def test_a_megabyte_goes_by_way_of_the_server(world, tmp_path):
    world.cut = [(COMMAND_HOST, BOB)]
    file = tmp_path / "large.txt"
    file.write_text("x" * 1_000_000)
    said = world.run("send", "bob", "--file", str(file), "--join", SERVER)
    assert (said.code, said.errors) == (0, "")
    assert world.received("bob") == [file_payload("large.txt", b"x" * 1_000_000)]


@pytest.mark.parametrize("target", ["server", SERVER_ID, "5e5e", SERVER])
def test_the_server_itself_may_be_the_target(world, target):
    said = world.run("ping", target, "--join", SERVER, "-n", "1", "--json")
    assert (said.code, said.json["node_id"]) == (0, SERVER_ID)
    assert said.json["path"] == "direct"


def test_an_address_that_the_server_does_not_know_is_reached_directly(world):
    said = world.run("ping", ALICE, "--join", BOB, "-n", "1", "--json")
    assert (said.code, said.json["node_id"]) == (0, ALICE_ID)


def test_a_configuration_with_few_peers_does_not_hinder(world, monkeypatch):
    monkeypatch.setenv("P2PTUI_SERVER_MAX_CONNECTIONS", "1")
    said = world.run("ping", "bob", "--join", SERVER, "-n", "1", "--json")
    assert (said.code, said.json["path"]) == (0, "direct")


def test_a_deployed_client_is_sent_what_it_cannot_confirm(world):
    world.reference = True
    said = world.run("send", "deployed", "hello", "--join", SERVER)
    assert (said.code, said.errors) == (0, "")
    assert said.output.startswith("sent ")
    assert "to deployed, unconfirmed: " in said.output
    said = world.run("send", REFERENCE_ID, "hello", "--join", SERVER, "--json")
    assert said.code == 0
    assert said.json["delivered"] is False
    assert "unconfirmed" in said.errors


# --- what does not work


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nobody", "no node is called 'nobody' or has an id that begins so"),
        ("c", "no node is called 'c'"),
        (
            "00000000-0000-4000-8000-000000000009",
            f"the server at {SERVER} does not know node 00000000-0000-4000-8000-000000000009",
        ),
        ("10.0.0.77:80", "no answer from 10.0.0.77:80; is a node running there?"),
        ("x\x1b[31m", "no node is called 'x\\x1b[31m'"),
    ],
)
def test_a_target_that_nobody_knows(world, target, says):
    said = world.run("ping", target, "--join", SERVER, "--timeout", "5")
    assert (said.code, said.output) == (1, "")
    assert said.errors.startswith(f"p2ptui: {says}")
    assert said.errors.count("\n") == 1
    assert said.took_s < 5.5


def test_the_beginning_of_an_id_that_fits_several(world):
    world.server_options = {"node_id": "b0b00009-0000-4000-8000-000000000009"}
    said = world.run("send", "b0b", "hello", "--join", SERVER)
    assert said.code == 1
    assert "'b0b' fits 2 nodes: " in said.errors
    assert BOB_ID in said.errors
    assert said.errors.endswith("give more of the id\n")
    assert world.received("bob") == []


@pytest.mark.parametrize("command", [["ping", BOB], ["send", BOB, "x"], ["peers", BOB]])
def test_a_dead_target_is_one_line_within_its_time(world, command):
    world.cut = [(COMMAND_HOST, BOB)]
    said = world.run(*command, "--timeout", "3")
    assert (said.code, said.output) == (1, "")
    assert said.errors == f"p2ptui: no answer from {BOB}; is a node running there?\n"
    assert said.took_s == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("command", [["ping"], ["send", "--json"], ["send"]])
def test_a_target_that_died_behind_the_server(world, command):
    world.cut = [(COMMAND_HOST, BOB), (SERVER, BOB)]
    name, *options = command
    extra = ["hello"] if name == "send" else ["-n", "1"]
    said = world.run(name, "bob", *extra, "--join", SERVER, "--timeout", "4", *options)
    assert said.code == 1
    assert said.errors.count("\n") == 1
    assert "no answer from node" in said.errors
    assert said.took_s < session.DIRECT_ATTEMPT_S + 4 + 0.5
    if options:
        assert said.json["delivered"] is False


def test_a_dead_server(world):
    world.without_server = True
    world.cut = [(COMMAND_HOST, SERVER)]
    said = world.run("ping", "bob", "--join", SERVER, "--timeout", "2")
    assert said.code == 1
    assert said.errors == f"p2ptui: no answer from {SERVER}; is a node running there?\n"
    assert said.took_s == pytest.approx(2, abs=0.01)


def test_another_network_is_refused(world):
    said = world.run("ping", SERVER, "--network-id", "other")
    assert said.code == 1
    assert f"p2ptui: {SERVER} refused the handshake: network mismatch" in said.errors
    assert said.errors.endswith("; both nodes need the same --network-id\n")


# --- what is said


def test_ping_as_json_has_exactly_these_keys(world):
    said = world.run("ping", SERVER, "-n", "4", "--interval", "0.5", "--json")
    assert list(said.json) == [
        "target",
        "node_id",
        "path",
        "address",
        "sent",
        "received",
        "loss",
        "rtt_ms",
        "samples_ms",
        "method",
        "first_reply_ms",
        "direct_after_ms",
        "attempts",
        "checks",
        "bytes_spent",
        "reason",
        "trust",
        "advice",
    ]
    assert list(said.json["rtt_ms"]) == ["min", "avg", "p50", "p95", "max"]
    assert said.json["target"] == SERVER
    assert (said.json["sent"], said.json["received"], said.json["loss"]) == (4, 4, 0)
    assert len(said.json["samples_ms"]) == 4


def test_ping_for_people(world):
    said = world.run("ping", SERVER, "-n", "2")
    assert said.lines == [
        f"PING server ({SERVER_ID}), direct",
        f"1: 20.000 ms from {SERVER}",
        f"2: 20.000 ms from {SERVER}",
        "2 sent, 2 answered, 0% lost",
        "round trip in ms: min 20.0, avg 20.0, p50 20.0, p95 20.0, max 20.0",
    ]
    assert said.took_s == pytest.approx(1, abs=0.1)


def test_lost_samples_are_counted(world, monkeypatch):
    class Lossy(session.Target):
        """Of every three samples the second is lost."""

        async def ping(self, timeout_s):
            calls.append(0)
            result = await super().ping(timeout_s)
            if len(calls) % 3 == 2:
                raise session.P2PError("lost on the way")
            return result

    calls: list[int] = []
    monkeypatch.setattr(session, "Target", Lossy)
    said = world.run("ping", SERVER, "-n", "6", "--interval", "1", "--json")
    assert (said.code, said.json["sent"], said.json["received"]) == (0, 6, 4)
    assert said.json["loss"] == pytest.approx(1 / 3, abs=1e-4)
    calls.clear()
    said = world.run("ping", SERVER, "-n", "3", "--interval", "1")
    assert "2: lost on the way" in said.lines
    assert "3 sent, 2 answered, 33% lost" in said.lines


def test_when_every_sample_is_lost_the_reason_is_an_error(world, monkeypatch):
    async def ping(self, timeout_s):
        raise session.P2PError("lost on the way")

    monkeypatch.setattr(session.Target, "ping", ping)
    said = world.run("ping", SERVER, "-n", "2", "--json")
    assert (said.code, said.errors) == (1, "p2ptui: lost on the way\n")
    assert said.json["rtt_ms"] == dict.fromkeys(["min", "avg", "p50", "p95", "max"])
    assert (said.json["loss"], said.json["samples_ms"], said.json["path"]) == (1, [], "direct")


def test_a_fast_ping_has_no_more_on_its_way_than_can_be_answered(world):
    said = world.run("ping", SERVER, "-n", "500", "--interval", "0.0001", "--json")
    assert (said.code, said.json["sent"], said.json["received"]) == (0, 500, 500)


def test_send_as_json_has_exactly_these_keys(world):
    world.server_options = {"echo": "all"}
    said = world.run("send", SERVER, "hello", "--json")
    assert list(said.json) == [
        "target",
        "delivered",
        "attempts",
        "rtt_ms",
        "bytes",
        "echo",
        "trust",
        "advice",
    ]
    assert (said.json["target"], said.json["delivered"]) == (SERVER, True)
    assert (said.json["attempts"], said.json["echo"]) == (1, "hello")
    assert said.json["rtt_ms"] == pytest.approx(20, abs=0.01)
    assert said.json["bytes"] > len("hello")
    assert world.received("server") == ["hello"]


@pytest.mark.parametrize("payload", [{"a": [1, None, "ü"]}, [], 0, False, "", None])
def test_any_json_comes_back_as_it_was(world, payload):
    world.server_options = {"echo": "all"}
    said = world.run("send", SERVER, "--json-payload", json.dumps(payload), "--json")
    assert said.json["echo"] == payload
    assert world.received("server") == [payload]


def test_nobody_waits_for_the_echo_of_a_node_that_sends_none(world):
    said = world.run("send", SERVER, "hello", "--json")
    assert (said.json["delivered"], said.json["echo"]) == (True, None)
    assert said.json["rtt_ms"] == pytest.approx(20, abs=0.01)  # of the Ack
    assert said.took_s < 0.1


def test_send_for_people(world):
    said = world.run("send", SERVER, "hello")
    assert (said.code, said.errors) == (0, "")
    assert said.output.startswith("delivered ")
    assert said.output.endswith("bytes to server (direct) in 20.000 ms\n")
    assert said.took_s < 0.1  # nobody waits for an echo that is not shown


def test_peers_as_json_has_exactly_these_keys(world):
    said = world.run("peers", SERVER, "--json")
    assert list(said.json) == ["server", "public_address", "nodes"]
    assert (said.json["server"]["id"], said.json["server"]["name"]) == (SERVER_ID, "server")
    assert said.json["server"]["path_mtu"] == 1200
    assert said.json["public_address"].startswith(f"{COMMAND_HOST}:")
    assert {node["name"]: node["listen_addr"] for node in said.json["nodes"]} == {
        "alice": ALICE,
        "bob": BOB,
    }


def test_peers_for_people(world):
    said = world.run("peers", SERVER)
    assert said.lines[0].startswith(
        f"server ({SERVER_ID}) at {SERVER}, which sees you at {COMMAND_HOST}:"
    )
    assert said.lines[1].split() == ["NAME", "ID", "ADDRESS", "VERSION"]
    rows = sorted(line.split()[:3] for line in said.lines[2:])
    assert rows == [["alice", ALICE_ID, ALICE], ["bob", BOB_ID, BOB]]


@pytest.mark.parametrize("command", [["ping", "-n", "1"], ["send"], ["peers"]])
def test_a_hostile_name_does_nothing(world, command):
    world.server_options = {"name": "\x1b]0;pwned\x07\u202e\n"}
    name, *options = command
    extra = ["hello"] if name == "send" else []
    said = world.run(name, SERVER, *extra, *options)
    assert said.code == 0
    assert "\\x1b]0;pwned\\x07\\u202e\\n" in said.output
    assert all(line.isprintable() for line in said.lines)
    said = world.run(name, SERVER, *extra, *options, "--json")
    assert said.output.isascii()
    assert said.json
