"""key, trust and forget in the shell; and a network key that is shown nowhere."""

import argparse
import base64
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from p2ptui.cli import main
from p2ptui.commands.session import command_config
from p2ptui.config.load import load_config
from p2ptui.config.render import render_config
from p2ptui.errors import ConfigError
from p2ptui.io.key_files import create_key_file
from p2ptui.node.known_nodes_store import KnownNodesStore
from p2ptui.node.own_identity import FILE_NAME
from p2ptui.places import user_file
from p2ptui.secure.identity import Identity, id_of
from p2ptui.secure.known_nodes import Met
from p2ptui.secure.secret import KeyKind, Secret, read_key, write_key

SEED = Secret(bytes(range(32)))
MINE = Identity(SEED)
KEY = Secret(bytes(range(50, 82)))
KEY_TEXT = write_key(KeyKind.NETWORK, KEY)
SHOWN_FORMS = (KEY_TEXT[11:], KEY.reveal().hex(), base64.b64encode(KEY.reveal()).decode()[:40])


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for purpose in ("DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{purpose}_HOME", str(tmp_path / purpose.lower()))
    monkeypatch.delenv("P2PTUI_NETWORK_KEY", raising=False)
    return tmp_path


def test_show_tells_id_and_public_keys(capsys):
    path = user_file("data", FILE_NAME)
    create_key_file(path, KeyKind.SEED, SEED)
    assert main(["key", "show"]) == 0
    shown = capsys.readouterr().out
    assert MINE.id in shown
    assert str(path) in shown
    assert main(["key", "show", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    keys = [base64.b64decode(told[name]) for name in ("x25519", "ed25519")]
    assert told["id"] == id_of(*keys) == MINE.id
    assert write_key(KeyKind.SEED, SEED)[12:] not in shown


def test_show_makes_nothing(capsys, home):
    assert main(["key", "show"]) == 1
    assert "there is no identity yet" in capsys.readouterr().err
    assert main(["key", "show", "--identity", str(home / "me.key")]) == 1
    assert list(home.iterdir()) == []


def test_new_makes_a_network_key(capsys, home):
    assert main(["key", "new"]) == 0
    first = capsys.readouterr().out.strip()
    assert len(read_key(KeyKind.NETWORK, first).reveal()) == 32
    assert main(["key", "new", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["network_key"] != first
    path = home / "net.key"
    assert main(["key", "new", "--output", str(path)]) == 0
    text = path.read_text()
    said = capsys.readouterr()
    assert text.strip() not in said.out + said.err
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600
    assert main(["key", "new", "--output", str(path)]) == 1
    assert "already exists, and is not overwritten" in capsys.readouterr().err
    assert path.read_text() == text


@pytest.mark.parametrize(
    "arguments", [[], ["what"], ["show", "--output", "x"], ["new", "--identity", "x"]]
)
def test_wrong_usage_is_told(capsys, arguments):
    assert main(["key", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_trust_and_forget(capsys):
    store = KnownNodesStore(time.time)
    store.note_all([Met(MINE.id, MINE.keys, "alice", "h:1")])
    assert main(["trust", "alice"]) == 0
    assert capsys.readouterr().out == f"alice ({MINE.id}) is trusted: it is verified\n"
    assert store.known.find("alice").verified
    assert main(["forget", MINE.id[:6], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == MINE.id
    assert len(store.known) == 0
    for command in ("trust", "forget"):
        assert main([command, "alice"]) == 1
        assert capsys.readouterr().err == "p2ptui: no known node is called 'alice'\n"


@pytest.mark.parametrize("as_json", [True, False])
def test_what_could_not_be_written_is_not_said_to_be_done(capsys, monkeypatch, as_json):
    store = KnownNodesStore(time.time)
    store.note_all([Met(MINE.id, MINE.keys, "alice", "h:1")])
    path, really = user_file("state", "known_nodes.json"), os.open

    def refuse(where, *arguments, **options):
        if str(where).endswith(".new"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(where, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    why = f"{path}: cannot be written: No space left on device: nothing is changed"
    for command in ("trust", "forget"):
        assert main([command, "alice", *["--json"] * as_json]) == 1
        told = capsys.readouterr()
        (line,) = told.err.splitlines()
        assert why in line
        assert json.loads(told.out).keys() == {"error"} if as_json else not told.out
    assert [one.verified for one in store.known] == [False]


def test_as_json_it_is_said_what_was_done(capsys):
    store = KnownNodesStore(time.time)
    store.note_all([Met(MINE.id, MINE.keys, "alice", "h:1")])
    assert main(["trust", "alice", "--json"]) == 0
    of_whom = {"id": MINE.id, "name": "alice"}
    assert json.loads(capsys.readouterr().out) == {**of_whom, "verified": True}
    assert main(["forget", "alice", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {**of_whom, "forgotten": True}


# Where a network key comes from, and where it does not go.


def test_the_key_of_the_environment(home):
    config = load_config(None, {"P2PTUI_NETWORK_KEY": f" {KEY_TEXT}\n"}, {})
    assert config.network_key == KEY
    for shown in (repr(config), str(config.security), render_config(config)):
        assert not any(form in shown for form in SHOWN_FORMS)
    assert "never printed" in render_config(config)
    assert "never printed" not in render_config(load_config(None, {}, {}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("hunter2-hunter2", "begins with p2ptui-net-"),
        (KEY_TEXT[:40], "too short"),
        (KEY_TEXT[:-1] + ("a" if KEY_TEXT[-1] != "a" else "b"), "mistyped"),
        (write_key(KeyKind.SEED, KEY), "the seed of an identity"),
    ],
)
def test_a_wrong_key_is_one_line_without_it(capsys, monkeypatch, text, said):
    monkeypatch.setenv("P2PTUI_NETWORK_KEY", text)
    for arguments in (["--no-ui"], ["--print-config"], ["ping", "127.0.0.1:9"]):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert said in error
        assert not text or text[-12:] not in error


def test_the_stronger_source_gives_the_key(home):
    file = home / "c.toml"
    file.write_text('[security]\nnetwork_key_file = "of-file.key"\n')
    environment = {"P2PTUI_NETWORK_KEY": KEY_TEXT}
    of_file = load_config(file, {}, {})
    assert of_file.security.network_key_file == "of-file.key"
    of_environment = load_config(file, environment, {})
    assert of_environment.network_key == KEY
    assert of_environment.security.network_key_file == ""
    of_line = load_config(file, environment, {"security.network_key_file": "of-line.key"})
    assert of_line.network_key is None
    assert of_line.security.network_key_file == "of-line.key"
    both = environment | {"P2PTUI_SECURITY_NETWORK_KEY_FILE": "x"}
    with pytest.raises(ConfigError, match="both give a network key"):
        load_config(None, both, {})


def test_a_mistyped_variable_is_told():
    with pytest.raises(ConfigError, match="P2PTUI_NETWORK_KEY"):
        load_config(None, {"P2PTUI_NETWORKKEY": KEY_TEXT}, {})


@pytest.mark.parametrize(
    "arguments",
    [
        ["--network-key", KEY_TEXT],
        [f"--network-key={KEY_TEXT}"],
        ["--network-key", "short"],
        ["--network-key-file", KEY_TEXT],
        ["ping", "h:1", "--network-key", KEY_TEXT],
        ["ping", "h:1", f"--network-key={KEY_TEXT}"],
        ["ping", "h:1", "--network-key-file", KEY_TEXT],
        ["peers", KEY_TEXT],
        ["key", "show", KEY_TEXT],
        [KEY_TEXT],
    ],
)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(capsys, arguments):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert KEY_TEXT[11:40] not in said.out + said.err
    assert said.err.count("\n") == 1


def test_a_config_file_does_not_hold_the_key(home):
    file = home / "c.toml"
    file.write_text(f'[security]\nnetwork_key = "{KEY_TEXT}"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(file, {}, {})
    assert "network_key_file" in str(caught.value)
    assert KEY_TEXT[11:40] not in str(caught.value)


def test_check_config_reads_the_keys_file(capsys, home):
    path = home / "net.key"
    assert main(["--check-config", "--network-key-file", str(path)]) == 2
    assert "p2ptui key new" in capsys.readouterr().err
    create_key_file(path, KeyKind.NETWORK, KEY)
    assert main(["--check-config", "--network-key-file", str(path)]) == 0


def until_it_listens(running: "subprocess.Popen[str]") -> str:
    """What a node says until it runs; then it is asked to end."""
    said = ""
    assert running.stdout is not None
    for line in running.stdout:
        said += line
        if "is listening" in line:
            running.send_signal(signal.SIGTERM)
            break
    return said


def test_nothing_of_a_program_shows_the_key(home):
    """Its arguments, what it prints and logs, and the report of a crash."""
    log = home / "node.log"
    environment = os.environ | {
        "P2PTUI_NETWORK_KEY": KEY_TEXT,
        "P2PTUI_LOGGING_LOG_TO_FILE": "true",
        "P2PTUI_LOGGING_LOG_FILE_PATH": str(log),
        "P2PTUI_LOG": "trace",
    }
    said = ""
    crash = (
        "import os, sys, traceback\n"
        "from rich.console import Console\n"
        "from rich.traceback import Traceback\n"
        "from p2ptui import Config, Node\n"
        "from p2ptui.config.load import load_config\n"
        "from p2ptui.node.own_identity import network_key_of\n"
        "config = load_config(None, os.environ, {})\n"
        "def fall(config, key):\n"
        "    raise RuntimeError(f'{config!r} {key!r} {key}')\n"
        "try:\n"
        "    fall(config, network_key_of(config))\n"
        "except RuntimeError as error:\n"
        "    Console(width=400).print(Traceback(show_locals=True, locals_max_string=10**6))\n"
        "    made = traceback.TracebackException.from_exception(error, capture_locals=True)\n"
        "    print(*made.format())\n"
    )
    programs = [
        [sys.executable, "-m", "p2ptui", "--print-config"],
        [sys.executable, "-m", "p2ptui", "--check-config"],
        [sys.executable, "-m", "p2ptui", "--no-ui", "-a", "127.0.0.1:0"],
        [sys.executable, "-m", "p2ptui", "key", "show"],
        [sys.executable, "-c", crash],
    ]
    for program in programs:
        with subprocess.Popen(
            program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as running:
            arguments = Path(f"/proc/{running.pid}/cmdline")
            if arguments.exists():
                said += arguments.read_text()
            try:
                if "--no-ui" in program:
                    said += until_it_listens(running)
                said += running.communicate(timeout=60)[0]
            finally:
                running.kill()
    assert "Secret(hidden)" in said
    assert "never printed" in said
    said += log.read_text() if log.exists() else ""
    packed = re.sub(r"\s", "", said)
    assert not any(form in packed for form in SHOWN_FORMS)


# One-shot commands.


def options(**given):
    names = ("config", "network_id", "identity", "network_key_file")
    return argparse.Namespace(**(dict.fromkeys(names) | given))


def test_a_command_takes_a_new_identity_unless_it_is_told(home):
    file = home / "c.toml"
    file.write_text('[security]\nidentity = "of-the-node.key"\n')
    usual = command_config(options(config=file), {})
    assert usual.security.ephemeral
    assert usual.security.identity == ""
    told = command_config(options(config=file, identity="me.key"), {})
    assert not told.security.ephemeral
    assert told.security.identity == "me.key"
    own_id = '[server]\nnode_id = "0123abcd-0000-4000-8000-000000000001"\n'
    file.write_text(own_id)
    assert command_config(options(config=file), {}).security.ephemeral


def test_a_command_shows_whose_it_is_unless_that_is_not_wanted(home):
    file = home / "c.toml"
    assert command_config(options(), {}).signed_by == ""
    file.write_text('[security]\nidentity = "of-the-node.key"\n')
    assert command_config(options(config=file), {}).signed_by == "of-the-node.key"
    assert command_config(options(config=file, identity="me.key"), {}).signed_by is None
    file.write_text("[security]\nephemeral = true\n")
    unsigned = command_config(options(config=file), {})
    assert (unsigned.signed_by, unsigned.security.ephemeral) == (None, True)
    named = command_config(options(config=file, identity="me.key"), {})
    assert (named.security.identity, named.security.ephemeral) == ("me.key", False)


def test_a_command_takes_the_networks_key(home):
    told = command_config(options(network_key_file="net.key"), {"P2PTUI_NETWORK_KEY": KEY_TEXT})
    assert told.security.network_key_file == "net.key"
    assert told.network_key is None
    assert command_config(options(), {"P2PTUI_NETWORK_KEY": KEY_TEXT}).network_key == KEY


def test_where_no_identity_can_be_made_nobody_is_told_to_make_one(capsys, home, monkeypatch):
    (home / "data").write_text("no folder")
    assert main(["key", "show"]) == 1
    line = capsys.readouterr().err
    assert "start p2ptui once" not in line


def test_trust_says_that_it_takes_no_address(capsys):
    assert main(["trust", "server.example:8080"]) == 1
    line = capsys.readouterr().err
    assert line.endswith("'server.example:8080'; trust takes a name or an id, no address\n")
