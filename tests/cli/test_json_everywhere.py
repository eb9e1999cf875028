"""Each command has --json, and prints one object; none prints colours where none are wanted."""

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from p2ptui.cli import main
from p2ptui.commands import command_parser
from p2ptui.commands.node_options import ALL_COMMANDS
from p2ptui.commands.render import parsers
from p2ptui.config import Config
from p2ptui.config.load import load_config
from p2ptui.manual.arguments import arguments_of

ROOT = Path(__file__).parents[2]

OFFLINE = {
    "key": (["new"], {"network_key"}),
    "help": ([], {"topics"}),
    "completion": (["zsh"], {"shell", "script"}),
}
"""The commands that need no network: what they are given, and what they tell."""

MISTAKEN = {
    "trust": ["nobody"],
    "forget": ["nobody"],
    "key": ["show", "--identity", "/nowhere/at/all"],
    "send": ["127.0.0.1:9"],
    "receive": ["--into", "/nowhere/at/all"],
    "ping": ["127.0.0.1:0"],
    "peers": [":"],
    "servers": [],
    "nat": ["--server", "127.0.0.1:0"],
    "help": ["cooking"],
    "completion": ["tcsh"],
}
"""What each of them cannot do."""


def one_object(capsys) -> dict[str, Any]:
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_each_command_says_that_it_has_it(command):
    (option,) = [each for each in arguments_of(command_parser(command)) if "--json" in each.names]
    assert "one JSON object" in option.meaning


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_a_mistake_is_one_object(capsys, command):
    assert command in MISTAKEN, f"say in MISTAKEN what {command} cannot do"
    assert main([command, *MISTAKEN[command], "--json"]) != 0
    printed = capsys.readouterr()
    (line,) = printed.out.splitlines()
    assert json.loads(line)["error"] in printed.err


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_an_unknown_option_is_one_object(capsys, command):
    assert main([command, "--json", "--cooking"]) == 2
    assert "error" in one_object(capsys)


@pytest.mark.parametrize("command", OFFLINE)
def test_a_success_is_one_object_without_error(capsys, command):
    arguments, keys = OFFLINE[command]
    assert main([command, *arguments, "--json"]) == 0
    assert one_object(capsys).keys() == keys


def test_a_configuration_is_printed_so_that_it_loads(capsys, tmp_path):
    assert main(["--print-config", "--json", "--name", "alice", "--stun"]) == 0
    path = tmp_path / "node.json"
    path.write_text(capsys.readouterr().out)
    wanted = Config().with_values({"server.name": "alice", "stun_server.enable": True})
    assert load_config(path, {}, {}) == wanted


def test_where_it_comes_from(capsys):
    assert main(["--print-config", "--where", "--json", "--name", "alice"]) == 0
    told = one_object(capsys)
    assert [file["state"] for file in told["files"]] == ["not there", "not there"]
    assert told["options"] == [
        {"option": "server.name", "value": "alice", "source": "command line"}
    ]


def test_a_configuration_is_checked(capsys):
    assert main(["--check-config", "--json"]) == 0
    assert one_object(capsys) == {"valid": True, "warnings": []}
    assert main(["--check-config", "--json", "-m", "0"]) == 2
    assert "server.max_connections = 0" in one_object(capsys)["error"]


def test_a_node_prints_no_object(capsys):
    assert main(["--no-ui", "--json"]) == 2
    assert 'logging.format = "json"' in capsys.readouterr().err


def of_terminal(arguments: list[str], environment: dict[str, str]) -> bytes:
    """What a program writes to a terminal."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        arguments, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **environment}
    )
    os.close(theirs)
    written = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            written += os.read(ours, 65_536)
        except OSError:  # Linux says so of a terminal that nobody has open any more
            break
    process.wait(60)
    os.close(ours)
    return written


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
@pytest.mark.parametrize(
    "arguments",
    [["-h"], ["help", "nat"], ["ping", "-h"], ["nat", "--server", "127.0.0.1:9"], ["key", "show"]],
    ids=" ".join,
)
def test_a_terminal_that_shows_no_colours_gets_none(arguments):
    program = [sys.executable, "-m", "p2ptui", *arguments]
    written = of_terminal(program, {"TERM": "dumb", "PYTHONPATH": str(ROOT)})
    assert written
    assert b"\x1b[" not in written


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
def test_who_wants_no_colours_gets_none():
    program = [sys.executable, "-m", "p2ptui", "nat", "--server", "127.0.0.1:9"]
    written = of_terminal(
        program, {"TERM": "xterm-256color", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    )
    assert b"\x1b[3" not in written, "a colour of the foreground"
    assert b"NAT type" in written


def test_all_commands_are_walked():
    assert MISTAKEN.keys() == ALL_COMMANDS.keys() == parsers().keys() - {""}
