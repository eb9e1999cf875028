"""What ping, send and peers say of who is on the other side, and how an id is asked for."""

import argparse
import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from p2ptui import Config, Node
from p2ptui.cli import main
from p2ptui.commands import session
from p2ptui.commands.file_teller import TOLD_LATER_S, FileTeller
from p2ptui.core.events import Event, FileReceived, FilesNotTold, TrustChanged
from p2ptui.errors import UnknownPeerError
from p2ptui.io.key_files import create_key_file, read_key_file
from p2ptui.io.memory import MemorySocket
from p2ptui.node.files import NOT_TAKEN
from p2ptui.node.known_nodes_store import KnownNodesStore
from p2ptui.secure.identity import Identity
from p2ptui.secure.known_nodes import KnownNodes, Trust
from p2ptui.secure.secret import KeyKind, Secret
from tests.cli.test_commands import COMMAND_HOST, World
from tests.town import Town
from tests.virtual_loop import run_virtual

SERVER = "10.0.0.2:8080"
ALICE = "10.0.0.3:8080"
WALL_S = 1_000_000.0


class Lasting(World):
    """A server and a client with identities that last, and a user who remembers whom it meets."""

    def __init__(self, monkeypatch: Any, capsys: Any, folder: Path) -> None:
        super().__init__(monkeypatch, capsys)
        self._folder = folder
        self.file = folder / "known.json"
        self.server_key, self.alice_key = "server", "alice"
        self.is_open = False

    def known(self) -> KnownNodes:
        return KnownNodesStore(lambda: WALL_S, self.file).known

    def key(self, name: str) -> str:
        path = self._folder / f"{name}.key"
        if not path.exists():
            create_key_file(path, KeyKind.SEED, Secret(name.encode().ljust(32, b"\0")))
        return str(path)

    def id_of(self, name: str) -> str:
        return Identity(read_key_file(Path(self.key(name)), KeyKind.SEED)).id

    async def _populate(self, town: Town) -> None:
        keys = {} if self.is_open else {"security": {"identity": self.key(self.server_key)}}
        ids = {"node_id": self.id_of("server"), "secured": False} if self.is_open else {}
        server = await town.start("server", **keys, **ids)
        alice = await town.start("alice", security={"identity": self.key(self.alice_key)})
        await alice.connect(server.address)
        self._nodes = {"server": server, "alice": alice}
        await asyncio.sleep(1)

    def _node_in(self, town: Town) -> Any:  # type: ignore[override]
        def make(config: Config) -> Node:
            config = config.with_options(
                address=f"{COMMAND_HOST}:0",
                nat_detection={"stun_servers": []},
                ice={"stun_servers": []},
            )
            loop = asyncio.get_running_loop()
            node = Node(
                msgspec.structs.replace(config),
                open_socket=lambda at: MemorySocket.open(town.network, at),
                clock=loop.time,
                rng=random.Random(7),
                wall=lambda: WALL_S + loop.time(),
                known_nodes=self.file,
            )
            town._nodes.append(node)
            return node

        return make


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> Lasting:
    assert session.Node is not None
    return Lasting(monkeypatch, capsys, tmp_path)


@pytest.mark.parametrize(
    "command", [["ping", SERVER, "-n", "1"], ["send", SERVER, "x"], ["peers", SERVER]]
)
def test_as_json_who_it_is_is_a_word(world: Lasting, command: list[str]) -> None:
    def told() -> dict[str, Any]:
        said = world.run(*command, "--json")
        assert (said.code, said.errors) == (0, "")
        answer = said.json
        return answer["server"] if command[0] == "peers" else answer

    assert (told()["trust"], told()["advice"]) == ("new", None)
    assert told()["trust"] == "known"
    KnownNodesStore(lambda: WALL_S, world.file).trust("server")
    assert told()["trust"] == "verified"


@pytest.mark.parametrize(
    "command", [["ping", SERVER, "-n", "1"], ["send", SERVER, "x"], ["peers", SERVER]]
)
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["people", "json"])
def test_another_node_at_an_address_is_said_with_what_to_do(
    world: Lasting, command: list[str], options: tuple[str, ...]
) -> None:
    assert world.run(*command).code == 0
    world.server_key = "mallory"
    said = world.run(*command, *options)
    is_given = command[0] == "send"  # what is given goes to nobody who has changed
    assert said.code == (1 if is_given else 0)
    sentence = (
        f"{SERVER} is not the node of before: ask its user whether its id is now"
        f" {world.id_of('mallory')}, and was {world.id_of('server')}; if so:"
        f" p2ptui trust {world.id_of('mallory')}"
    )
    assert said.errors == f"p2ptui: {'not sent: ' if is_given else ''}{sentence}\n"
    if options:
        answer = said.json["server"] if command[0] == "peers" else said.json
        assert (answer["trust"], answer["advice"]) == ("changed", sentence)
    elif command[0] == "peers":
        assert said.lines[0].endswith("; changed")


@pytest.mark.parametrize("command", [["ping", SERVER], ["send", SERVER, "x"], ["peers", SERVER]])
def test_who_was_secured_once_is_refused_in_the_open(world: Lasting, command: list[str]) -> None:
    assert world.run(*command).code == 0
    world.is_open = True
    said = world.run(*command, "--json")
    assert said.code == 1
    assert said.errors.count("\n") == 1
    assert "answers without its key, which it had before" in said.errors
    assert f"p2ptui forget {world.id_of('server')}" in said.errors
    KnownNodesStore(lambda: WALL_S, world.file).forget("server")
    said = world.run(*command, "--json")
    assert said.code == 0
    answer = said.json["server"] if command[0] == "peers" else said.json
    assert answer["trust"] == "open"
    # Its id is one that is made from keys, and it has none: that is said.
    assert "claims an id that is made from keys" in answer["advice"]
    assert said.errors == f"p2ptui: {answer['advice']}\n"


@pytest.mark.parametrize("command", [["ping", SERVER], ["send", SERVER, "x"], ["peers", SERVER]])
def test_an_id_is_asked_for(world: Lasting, command: list[str]) -> None:
    name, where, *rest = command
    right, wrong = world.id_of("server"), world.id_of("alice")
    assert world.run(name, f"{where}#{right}", *rest).code == 0
    said = world.run(name, f"{where}#{wrong}", *rest)
    assert said.code == 1
    assert said.errors == (
        f"p2ptui: {SERVER}: it is node {right}, and must be node {wrong}: ask its user for its id,"
        " and give that after the #\n"
    )
    assert main([name, f"{where}#server", *rest]) == 2
    error = world._capsys.readouterr().err
    assert error.count("\n") == 1
    assert "the whole id" in error


def test_an_id_is_asked_for_of_a_server_on_the_way(world: Lasting) -> None:
    right, wrong = world.id_of("server"), world.id_of("alice")
    said = world.run("ping", "alice", "--join", f"{SERVER}#{right}", "-n", "1", "--json")
    assert (said.code, said.json["node_id"], said.json["trust"]) == (0, wrong, "new")
    said = world.run("ping", "alice", "--join", f"{SERVER}#{wrong}", "-n", "1")
    assert said.code == 1
    assert f"it is node {right}, and must be node {wrong}" in said.errors


def test_a_list_says_who_of_it_was_met_before(world: Lasting) -> None:
    said = world.run("peers", SERVER)
    assert said.lines[0].endswith("; new")
    assert said.lines[1].split() == ["NAME", "ID", "ADDRESS", "VERSION"]
    (listed,) = world.run("peers", SERVER, "--json").json["nodes"]
    assert (listed["name"], listed["trust"]) == ("alice", None)
    assert world.run("ping", ALICE, "-n", "1").code == 0
    said = world.run("peers", SERVER)
    assert said.lines[1].split() == ["NAME", "ID", "ADDRESS", "VERSION", "TRUST"]
    assert said.lines[2].split()[-1] == "known"
    (listed,) = world.run("peers", SERVER, "--json").json["nodes"]
    assert (listed["name"], listed["trust"]) == ("alice", "known")


def test_a_list_says_who_took_the_name_of_another(world: Lasting) -> None:
    assert world.run("send", "alice", "x", "--join", SERVER).code == 0
    world.alice_key = "mallory"
    for _ in range(2):
        said = world.run("send", "alice", "x", "--join", SERVER)
        assert "alice is not the alice of before" in said.errors
        said = world.run("peers", SERVER)
        assert said.lines[2].split()[-1] == "changed"
        (listed,) = world.run("peers", SERVER, "--json").json["nodes"]
        assert (listed["name"], listed["trust"]) == ("alice", "changed")


def test_whom_a_command_met_is_remembered(world: Lasting) -> None:
    assert world.run("ping", SERVER, "-n", "1").code == 0
    (known,) = world.known()
    assert (known.id, known.name) == (world.id_of("server"), "server")
    assert world.known().at(SERVER) == known.id


class Line:
    """A line of progress that shows nothing."""

    def clear(self) -> None: ...


def test_receive_says_who_was_refused_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    teller = FileTeller(argparse.Namespace(once=False, json=False), [], Line(), None)  # type: ignore[arg-type]
    words = "it asks as node A, and you have said that node B is at this address"
    event = TrustChanged("A", ("10.0.0.3", 8080), "", Trust.CHANGED, None, words)
    teller._tell(event)
    teller._tell(replace(event, is_refused=True))
    assert capsys.readouterr().err == (
        f"p2ptui: {words}\np2ptui: 10.0.0.3:8080 is refused: {words}\n"
    )


def test_receive_warns_of_a_few_of_those_who_come_in_another_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("p2ptui.commands.file_teller.time.monotonic", lambda: now[0])
    event = TrustChanged("A", ("10.0.0.3", 8080), "", Trust.CHANGED, None, "not the one of before")

    async def story() -> None:
        options = argparse.Namespace(once=False, json=False)
        teller = FileTeller(options, [], Line(), None)  # type: ignore[arg-type]
        for _ in range(300):
            now[0] += 0.1
            teller._tell(event)
        teller._tell(replace(event, address=("10.0.0.4", 8080), advice="another"))

    asyncio.run(story())
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "p2ptui: another"
    left_out = [int(line.split()[1]) for line in lines if line.endswith(" left out")]
    assert sum(left_out) + len(lines) - len(left_out) == 301
    assert len(lines) < 45


def test_receive_says_what_it_left_out_when_a_flood_ends_and_when_it_ends_itself(
    capsys: pytest.CaptureFixture[str],
) -> None:
    event = TrustChanged("A", ("10.0.0.3", 8080), "", Trust.CHANGED, None, "not the one of before")
    counts: list[int] = []

    async def flood() -> AsyncIterator[Event]:
        for pause_s in (2 * TOLD_LATER_S, 0.0):
            for _ in range(100):
                yield event
            await asyncio.sleep(pause_s)
            counts.append(told())

    def told() -> int:
        """How many warnings were told, or said to be left out, since the last call."""
        lines = capsys.readouterr().err.splitlines()
        return sum(int(x.split()[1]) if x.endswith(" left out") else 1 for x in lines)

    async def story() -> None:
        options = argparse.Namespace(once=False, json=False)
        teller = FileTeller(options, [], Line(), None)  # type: ignore[arg-type]
        await teller.tell_all(flood())  # type: ignore[arg-type]

    run_virtual(story())
    assert counts[0] == 100
    assert counts[1] < 100
    assert counts[1] + told() == 100


def test_receive_says_whose_files_are_taken_and_by_whose_command_one_came(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Strangers:
        def peer(self, _: str) -> None:
            raise UnknownPeerError("none")

    options = argparse.Namespace(once=False, json=False, sender="alice")
    teller = FileTeller(options, [], Line(), Strangers())  # type: ignore[arg-type]
    refused = FileReceived("0123456789", "bob", "x", None, None, None, NOT_TAKEN)
    teller._tell(refused)
    teller._tell(replace(refused, reason=f"{NOT_TAKEN}; whose this one is cannot be told: it is"))
    teller._tell(FilesNotTold(7))
    teller._tell(replace(refused, path="in/x", size_bytes=1, sha256="00", reason=None))
    by = {"signer_id": "abcdefghij", "signer_name": "alice\n"}
    teller._tell(replace(refused, path="in/x", size_bytes=1, sha256="00", reason=None, **by))
    said = capsys.readouterr()
    assert said.err == (
        "p2ptui: file x from bob (01234567) is not kept: files are taken from alice only (--from)\n"
        "p2ptui: file x from bob (01234567) is not kept: files are taken from alice only (--from);"
        " whose this one is cannot be told: it is\n"
        "p2ptui: 7 more files were not kept: there were too many to name them\n"
    )
    assert said.out == (
        "in/x: 1 bytes from bob (01234567), sha256 00\n"
        "in/x: 1 bytes from alice\\n (abcdefgh), by its command 01234567, sha256 00\n"
    )
