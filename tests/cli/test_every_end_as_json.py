"""With --json every end of a command is one object, and its `error` is what standard error says."""

import asyncio
import json
import os

import pytest

from p2ptui.cli import main
from p2ptui.errors import LocalError
from p2ptui.io import signals
from tests.cli.test_commands import BOB, COMMAND_HOST, SERVER, World
from tests.town import Town
from tests.virtual_loop import WORK_S

UNKNOWN = "00000000-0000-4000-8000-000000000009"


class Muted(World):
    """Nothing from bob gets through any more, some time after the command has begun."""

    muted_after_s = 0.0
    muted_towards = COMMAND_HOST

    async def _populate(self, town: Town) -> None:
        await super()._populate(town)
        self._town = town

    async def _leave(self) -> None:
        if self.muted_after_s:
            await asyncio.sleep(self.muted_after_s)
            host = BOB.partition(":")[0]
            self._town.network.set_link(host, self.muted_towards, loss=1.0)
        else:
            await super()._leave()


@pytest.fixture
def world(monkeypatch, capsys):
    return Muted(monkeypatch, capsys)


def told(name: str, target: str, *options: str) -> list[str]:
    words = ["hello"] if name == "send" else ["-n", "1"] if name == "ping" else []
    return [name, target, *words, *options, "--timeout", "3", "--json"]


def agree(said) -> None:
    assert said.code == 1
    assert said.errors == f"p2ptui: {said.json['error']}\n"


@pytest.mark.parametrize("name", ["ping", "send"])
@pytest.mark.parametrize(
    ("target", "options", "says"),
    [
        (BOB, ("--network-id", "other"), "refused the handshake: network mismatch"),
        ("10.0.0.77:80", (), "no answer from 10.0.0.77:80"),
        ("nobody", ("--join", SERVER), "no node is called 'nobody'"),
        (UNKNOWN, ("--join", SERVER), f"does not know node {UNKNOWN}"),
        ("", ("--join", SERVER), ""),
        ("alice", ("--join", "10.0.0.77:80"), "no answer from 10.0.0.77:80"),
    ],
)
def test_a_target_that_is_not_reached(world, name, target, options, says):
    if not target:  # a beginning that fits several
        world.server_options = {"node_id": "b0b00009-0000-4000-8000-000000000009"}
        target, says = "b0b", "'b0b' fits 2 nodes"
    said = world.run(*told(name, target, *options))
    agree(said)
    assert says in said.json["error"]
    assert said.json["target"] == target
    assert said.json.get("delivered", False) is False
    assert said.json.get("received", 0) == 0


def test_peers_of_a_dead_server(world):
    said = world.run(*told("peers", "10.0.0.77:80"))
    agree(said)
    assert list(said.json) == ["error"]


@pytest.mark.parametrize("name", ["ping", "send"])
def test_a_target_that_died_behind_the_server(world, name):
    world.cut = [(COMMAND_HOST, BOB), (SERVER, BOB)]
    said = world.run(*told(name, "bob", "--join", SERVER))
    agree(said)
    assert "no answer from node" in said.json["error"]


def test_a_success_has_no_error(world):
    for name, target in (("ping", SERVER), ("send", SERVER), ("peers", SERVER)):
        said = world.run(*told(name, target))
        assert (said.code, said.errors) == (0, "")
        assert "error" not in said.json


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["send", BOB, "--file", "/nowhere/at-all"], 1),
        (["send", BOB], 2),
        (["ping", "nobody"], 2),
        (["ping", BOB, "-n", "0"], 2),
        (["peers", "nonsense"], 2),
        (["nat", "--server", "nonsense"], 2),
        (["ping", BOB, "--config", "/nowhere/at-all.toml"], 2),
        (["receive", "--into", "/nowhere/at-all", "--address", "127.0.0.1:0"], 1),
        (["receive", "--join", "nonsense"], 2),
    ],
)
def test_what_fails_before_anybody_is_asked(capsys, arguments, code):
    assert main([*arguments, "--json"]) == code
    output, errors = capsys.readouterr()
    assert output.count("\n") == errors.count("\n") == 1
    assert errors.partition(": ")[2] == json.loads(output)["error"] + "\n"


def test_a_name_that_does_not_resolve(world, monkeypatch):
    async def look_up(address, deadline):
        raise LocalError(f"cannot resolve host {address[0]!r}")

    monkeypatch.setattr("p2ptui.commands.servers.look_up", look_up)
    monkeypatch.setattr("p2ptui.commands.peers.look_up", look_up)
    for name in ("ping", "send", "peers"):
        said = world.run(*told(name, "nosuch.invalid:80"))
        agree(said)
        assert said.json["error"] == "cannot resolve host 'nosuch.invalid'"


@pytest.mark.parametrize("name", ["ping", "send", "peers", "nat"])
def test_an_interruption(monkeypatch, capsys, name):
    def interrupted(work):
        work.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(signals, "run_until_signalled", interrupted)
    arguments = ["nat", "--json"] if name == "nat" else told(name, BOB)
    assert main(arguments) == 130
    assert json.loads(capsys.readouterr().out)["error"] == "interrupted"


def test_help_is_no_object(capsys):
    assert main(["ping", "--json", "-h"]) == 0
    assert "{" not in capsys.readouterr().out


def test_a_word_of_the_message_is_no_option(capsys):
    assert main(["send", "nonsense", "--", "--json"]) == 2
    assert capsys.readouterr().out == ""


def test_what_the_system_refuses(world, monkeypatch):
    def refuse(config):
        raise OSError(24, os.strerror(24))

    monkeypatch.setattr(World, "_node_in", staticmethod(lambda town: refuse))
    said = world.run(*told("ping", BOB))
    agree(said)


# --- whether a message arrived


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["people", "json"])
@pytest.mark.parametrize("way", ["direct", "routed"])
def test_of_a_message_that_nobody_confirms_it_is_not_known_whether_it_arrived(world, options, way):
    if way == "direct":
        world.muted_after_s = 0.025  # after his handshake, and before his Ack
        said = world.run("send", BOB, "hello", "--timeout", "3", *options)
    else:
        world.cut = [(COMMAND_HOST, BOB)]
        world.muted_after_s, world.muted_towards = 1.0, SERVER.partition(":")[0]
        said = world.run("send", "bob", "hello", "--join", SERVER, "--timeout", "9", *options)
    assert world.received("bob") == ["hello"]
    assert said.code == 1
    assert said.errors.startswith("p2ptui: not known whether it arrived at bob: no a")
    assert said.errors.endswith("; sent again it may arrive twice\n")
    assert "not delivered" not in said.errors
    if options:
        agree(said)
        assert (said.json["delivered"], said.json["status"]) == (False, "timed out")
        assert said.json["may_have_arrived"] is True


def test_a_file_that_nobody_says_to_have_kept(world, tmp_path):
    world.bob_options = {"files": {"receive_into": str(tmp_path)}}
    file = tmp_path / "notes"
    file.write_bytes(b"hello")
    world.muted_after_s = 0.03 + WORK_S / 2  # after his Ack, and before his receipt
    said = world.run("send", BOB, "--file", str(file), "--timeout", "3", "--json")
    agree(said)
    assert said.json["kept"] is None


def test_what_was_never_sent_whole_is_not_delivered(world, tmp_path):
    file = tmp_path / "large"
    file.write_bytes(bytes(700_000))
    world.leaving = ("bob", 0.06)
    said = world.run("send", BOB, "--file", str(file), "--json")
    assert said.json["error"] == "not delivered to bob: it said goodbye: shutting down"
    assert (said.json["status"], said.json["may_have_arrived"]) == ("failed", False)


@pytest.mark.parametrize(
    "arguments", [["bogus"], ["--check-config", "--bogus"], ["--no-ui"], ["-m", "many"]]
)
def test_a_node_that_does_not_start_says_so_in_json_too(capsys, arguments):
    assert main([*arguments, "--json"]) == 2
    output, errors = capsys.readouterr()
    assert output.count("\n") == errors.count("\n") == 1
    assert errors.partition(": ")[2] == json.loads(output)["error"] + "\n"


@pytest.mark.parametrize("arguments", [["--version"], ["-h"]])
def test_what_is_no_failure_prints_no_object(capsys, arguments):
    assert main([*arguments, "--json"]) == 0
    assert "error" not in capsys.readouterr().out.partition("usage")[0]
