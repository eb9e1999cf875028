"""The command line in process: what each argument means, and every mistake in one line."""

import base64
import hashlib
import io
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from p2ptui import Config, cli, headless
from p2ptui.cli import main
from p2ptui.commands import command_parser, file_name
from p2ptui.commands.node_options import ALL_COMMANDS, node_parser
from p2ptui.config.load import load_config
from p2ptui.core.data import encode_data
from p2ptui.errors import BindError
from p2ptui.manual.arguments import FILE, FOLDER
from p2ptui.tui import run as tui
from p2ptui.version import VERSION, described
from p2ptui.wire.files import file_payload


def brief(value: Any) -> str:
    """What a test is called: the command line, or not too much of it."""
    return " ".join(value)[:60] if isinstance(value, list) else ""


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("P2PTUI_") or name == "RUST_LOG":
            monkeypatch.delenv(name)


@pytest.fixture
def started(monkeypatch):
    """Runs the command line, but no node; gives the configuration that it would run with."""

    def started(*arguments: str) -> Config:
        configs: list[Config] = []
        monkeypatch.setattr(headless, "run_headless", lambda config: configs.append(config) or 0)
        monkeypatch.setattr(tui, "run_screen", lambda config: configs.append(config) or 0)
        assert main(arguments) == 0
        return configs[0]

    return started


@pytest.fixture
def refused(capsys):
    """Runs the command line, which must fail; gives the one line that it says."""

    def refused(*arguments: str, code: int = 2) -> str:
        assert main(arguments) == code
        output, errors = capsys.readouterr()
        assert output == ""
        assert errors.endswith("\n")
        assert errors.count("\n") == 1, errors
        assert errors[:-1].isprintable()
        return errors[:-1]

    return refused


# --- every option


@pytest.mark.parametrize(
    ("arguments", "path", "value"),
    [
        (["-a", "[::1]:9000"], "server.address", "[::1]:9000"),
        (["--address", "127.0.0.1:0"], "server.address", "127.0.0.1:0"),
        (["--listen-address", "127.0.0.1:9"], "server.address", "127.0.0.1:9"),
        (["--address=127.0.0.1:9"], "server.address", "127.0.0.1:9"),
        (["-m", "7"], "server.max_connections", 7),
        (["--max-connections", "7"], "server.max_connections", 7),
        (["--network-id", "office"], "server.network_id", "office"),
        (["--name", "grüße 🎉"], "server.name", "grüße 🎉"),
        (["--heartbeat-interval", "2.5"], "server.heartbeat_interval", 2.5),
        (["--connection-timeout", "9"], "server.connection_timeout", 9.0),
        (["--enable-discovery", "false"], "server.enable_discovery", False),
        (["--enable-discovery", "true"], "server.enable_discovery", True),
        (["--STUN"], "stun_server.enable", True),
        (["--stun"], "stun_server.enable", True),
        (["--relay"], "traffic_forwarding.allow_symmetric_nat_relay", True),
        (["--join", "a.example:1"], "server.join", ("a.example:1",)),
        (["--join", "a:1", "--join", "[::1]:2"], "server.join", ("a:1", "[::1]:2")),
        (["--TRACE"], "logging.level", "trace"),
        (["--DEBUG"], "logging.level", "debug"),
        (["--INFO"], "logging.level", "info"),
        (["--WARN"], "logging.level", "warn"),
        (["--ERROR"], "logging.level", "error"),
    ],
    ids=brief,
)
def test_each_option_reaches_the_configuration(started, arguments, path, value):
    config = started("--no-ui", *arguments)
    section, _, name = path.partition(".")
    assert getattr(getattr(config, section), name) == value
    assert config == Config().with_values({path: value})


def test_without_options_there_are_the_defaults(started, capsys):
    assert started("--no-ui") == Config()
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_there_is_no_screen_and_one_line_says_so(refused):
    assert refused(code=1) == "p2ptui: the screen needs a terminal; without one use --no-ui"


# --- where a value comes from


@pytest.mark.parametrize(
    ("flags", "own", "rust", "in_file", "level"),
    [
        (["--ERROR"], "warn", "debug", "trace", "error"),
        ([], "warn", "debug", "trace", "warn"),
        ([], "", "debug", "trace", "debug"),
        ([], "", "warn,p2p_server=debug", "trace", "warn"),
        ([], "", "", "trace", "trace"),
        ([], "", "", "", "info"),
    ],
)
def test_the_level_comes_from_the_strongest_that_gives_one(
    started, tmp_path, monkeypatch, flags, own, rust, in_file, level
):
    file = tmp_path / "node.toml"
    file.write_text(f'[logging]\nlevel = "{in_file}"\n' if in_file else "")
    monkeypatch.setenv("P2PTUI_LOG", own)
    monkeypatch.setenv("RUST_LOG", rust)
    assert started("--no-ui", "-c", str(file), *flags).logging.level == level


def test_command_line_over_environment_over_file_over_default(started, tmp_path, monkeypatch):
    file = tmp_path / "node.toml"
    file.write_text('[server]\nname = "file"\nnetwork_id = "file"\nmax_connections = 5\n')
    monkeypatch.setenv("P2PTUI_SERVER_NETWORK_ID", "environment")
    monkeypatch.setenv("P2PTUI_SERVER_NAME", "environment")
    server = started("--no-ui", "--config", str(file), "--name", "line").server
    assert (server.name, server.network_id) == ("line", "environment")
    assert (server.max_connections, server.connection_timeout) == (5, 60)


def test_a_file_of_the_rust_server_loads(started, tmp_path):
    file = tmp_path / "server.json"
    file.write_text('{"listen_address": "127.0.0.1:0", "max_connections": 3}')
    server = started("--no-ui", "-c", str(file)).server
    assert (server.address, server.max_connections) == ("127.0.0.1:0", 3)


# --- what only looks


def test_the_printed_configuration_loads_again(capsys, tmp_path):
    arguments = ["--name", 'a "b" \\ ü', "--join", "a:1", "--relay", "--DEBUG", "-m", "3"]
    assert main([*arguments, "--print-config"]) == 0
    printed, errors = capsys.readouterr()
    assert errors == ""
    file = tmp_path / "printed.toml"
    file.write_text(printed, "utf-8")
    loaded = load_config(file, {}, {})
    assert loaded.server.name == 'a "b" \\ ü'
    assert (loaded.server.join, loaded.server.max_connections) == (("a:1",), 3)
    assert loaded.logging.level == "debug"
    assert main(["-c", str(file), "--print-config"]) == 0
    assert capsys.readouterr().out == printed


def test_a_configuration_can_be_checked(capsys):
    assert main(["--check-config", "--no-ui"]) == 0
    assert capsys.readouterr() == ("the configuration is valid\n", "")
    assert main(["--check-config", "--heartbeat-interval", "90"]) == 0
    output, errors = capsys.readouterr()
    assert output == "the configuration is valid\n"
    assert "server.heartbeat_interval = 90.0 s is not below" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("name", ["credentials", "tls_ca"])
def test_a_file_of_the_cluster_that_cannot_be_read_is_refused(capsys, tmp_path, name):
    path, file = tmp_path / "named", tmp_path / "node.toml"
    file.write_text(f'[cluster]\nservers = ["tls://h:1"]\n{name} = "{path}"\n')
    assert main(["-c", str(file), "--check-config"]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert f"cluster.{name}: {path} cannot be read: No such file" in errors
    path.write_text("")
    assert main(["-c", str(file), "--check-config"]) == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX systems")
def test_a_file_of_the_cluster_that_is_a_pipe_keeps_nobody_waiting(capsys, tmp_path):
    path, file = tmp_path / "named", tmp_path / "node.toml"
    os.mkfifo(path)
    file.write_text(f'[cluster]\nservers = ["tls://h:1"]\ncredentials = "{path}"\n')
    assert main(["-c", str(file), "--check-config"]) == 2
    assert f"cluster.credentials: {path} cannot be read: it is a pipe" in capsys.readouterr().err


def test_a_mistyped_option_is_blamed_and_not_its_value(capsys):
    assert main(["--adress", "x"]) == 2
    assert "unknown argument '--adress'; did you mean --address?" in capsys.readouterr().err
    assert main(["pnig", "--cuont", "3"]) == 2
    assert "unknown command 'pnig'; did you mean 'ping'?" in capsys.readouterr().err


@pytest.mark.parametrize("what", [["--check-config"], ["--no-ui"], []])
def test_the_url_of_a_broker_is_refused_in_one_line(capsys, what):
    assert main(["--cluster", "nats://h:70000", *what]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("p2ptui: command line: cluster.servers = ['nats://h:70000']: must be ")
    assert errors.endswith("; the port must be 1 to 65535\n")
    assert errors.count("\n") == 1


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"p2ptui {described()}\n", "")
    assert main(["-h"]) == 0
    text = capsys.readouterr().out
    for word in ("--listen-address", "--STUN", "--TRACE", "--check-config", *cli.COMMANDS):
        assert word in text
    for command in cli.COMMANDS:
        assert main([command, "--help"]) == 0
        assert f"usage: p2ptui {command}" in capsys.readouterr().out


# --- wrong usage


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--TRACE", "--DEBUG"], "argument --DEBUG: not allowed with argument --TRACE"),
        (["pnig"], "unknown command 'pnig'; did you mean 'ping'?"),
        (["xyzzy"], "unknown command 'xyzzy'; see"),
        ([""], "unknown command ''; see"),
        (["a\x1b[31m\nb"], "unknown command 'a\\x1b[31m\\nb'"),
        (["--no-iu"], "unknown argument '--no-iu'; did you mean --no-ui?"),
        (["--nmae=x"], "unknown argument '--nmae=x'; did you mean --name?"),
        (["--\x1b[31m"], "\\x1b"),
        (["--name", "x", "ping"], "a command comes first: p2ptui ping ..."),
        (["--name", "x", "ping", "127.0.0.1:1", "-n", "3"], "a command comes first"),
        (["-a"], "expected one argument"),
        (["-m", "many"], "invalid int value: 'many'"),
        (["-m", "many"], "; write a whole number"),
        (["--heartbeat-interval", "x"], "invalid float value: 'x'; write a number"),
        (["--enable-discovery", "yes"], "'yes' is neither true nor false"),
        (["--enable-discovery"], "expected one argument"),
    ],
)
def test_wrong_arguments(refused, arguments, says):
    line = refused(*arguments)
    assert line.startswith("p2ptui: ")
    assert says in line
    assert line.endswith("; see p2ptui -h")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-a", "here"], "server.address = 'here': must be HOST:PORT"),
        (["--join", "[fe80::1]:8080"], "needs its interface: write [fe80::1%eth0]:8080"),
        (["-a", ""], "server.address = ''"),
        (["-a", "::1:80"], "server.address = '::1:80'"),
        (["-a", "127.0.0.1:99999"], "server.address"),
        (["-m", "0"], "server.max_connections = 0: must be a whole number from 1"),
        (["-m", "9" * 30], "server.max_connections"),
        (["--network-id", ""], "server.network_id = ''"),
        (["--name", "x" * 65], "at most 64 characters"),
        (["--name", "\udcff"], "server.name"),
        (["--heartbeat-interval", "nan"], "server.heartbeat_interval = nan"),
        (["--heartbeat-interval", "-1"], "server.heartbeat_interval = -1.0"),
        (["--connection-timeout", "inf"], "server.connection_timeout = inf"),
        (["--join", "somewhere"], "server.join = ['somewhere']"),
        (["--join", "somewhere"], "; 'somewhere' is not an address: write HOST:PORT"),
        (["--join", "h:1", "--join", "http://h:2"], "leave out http://, and write h:2"),
        (["--join", "h:1#alice"], "'h:1#alice': write the whole id after the #"),
        (["--join", "h:0"], "; port 0 is no port to connect to"),
        (["--metrics", "9100"], "; '9100' is not an address: write HOST:PORT"),
        (["--name", "\udcff"], "server.name = '\\udcff' (not UTF-8): must be text"),
        (["--join", "127.0.0.1:0"], "server.join = ['127.0.0.1:0']"),
    ],
)
def test_values_that_are_not_accepted(refused, arguments, says):
    line = refused("--check-config", *arguments)
    assert line.startswith("p2ptui: command line: ")
    assert says in line


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.toml", b'[server]\nnmae = "x"', "unknown key 'nmae' in [server]; did you mean 'name'?"),
        ("a.toml", b"[server", "line 1: not valid TOML"),
        ("a.toml", b"\xff\xfe", "line 1: not UTF-8 text"),
        ("a.toml", b"[server]\nmax_connections = '5'", "max_connections = '5'"),
        ("a.json", b'{"max_conections": 5}', "did you mean 'max_connections'?"),
        ("a.json", b"[]", "must be a JSON object"),
        ("a.json", b"[" * 100_000, "a.json: "),
        ("a.yaml", b"", "its name must end in .toml or .json"),
        ("a.toml", None, "cannot be read: No such file or directory"),
        ("", None, "its name must end in"),
    ],
)
def test_a_configuration_that_cannot_be_used(refused, tmp_path, name, content, says):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    for arguments in (["--no-ui", "-c", str(path)], ["ping", "-c", str(path), "127.0.0.1:1"]):
        line = refused(*arguments)
        assert line.startswith(f"p2ptui: {path}")
        assert says in line


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything is readable here")
def test_a_configuration_that_may_not_be_read(refused, tmp_path):
    path = tmp_path / "secret.toml"
    path.touch(mode=0)
    assert "cannot be read: Permission denied" in refused("-c", str(path))


def test_a_mistake_in_the_environment(refused, monkeypatch):
    monkeypatch.setenv("P2PTUI_LOG", "loud")
    assert "P2PTUI_LOG = 'loud': must be one of trace" in refused("--check-config")
    monkeypatch.delenv("P2PTUI_LOG")
    monkeypatch.setenv("P2PTUI_SERVER_NMAE", "x")
    assert "did you mean 'P2PTUI_SERVER_NAME'?" in refused("--check-config")


# --- the commands' arguments


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ping"], "the following arguments are required: TARGET"),
        (["ping", ""], "'' is not HOST:PORT; a node id or a name needs --join HOST:PORT"),
        (["ping", "alice"], "'alice' is not HOST:PORT"),
        (["ping", ":"], "write HOST:PORT"),
        (["ping", "127.0.0.1:0"], "port 0 is no port to connect to"),
        (["ping", "[fe80::1]:8080"], "needs its interface: write [fe80::1%eth0]:8080"),
        (["ping", "127.0.0.1:65536"], "the port must be 0 to 65535"),
        (["ping", "127.0.0.1:" + "9" * 20], "is not an address"),
        (["ping", "::1:80"], "write IPv6 as [::1]:80"),
        (["ping", "[::1:80"], "write [IPV6]:PORT"),
        (["ping", "0.0.0.0:80"], "on this machine 127.0.0.1:80"),
        (["ping", "[::]:80"], "on this machine [::1]:80"),
        (["ping", "224.0.0.1:80"], "is a group"),
        (["ping", "alice", "--join", ""], "'' is not an address"),
        (["ping", "alice", "--join", "0.0.0.0:80"], "stands for every address"),
        (["ping", "", "--join", "127.0.0.1:1"], "the target is empty"),
        (["ping", "127.0.0.1:1", "another"], "unrecognized arguments: another"),
        (["ping", "127.0.0.1", "8080"], "arguments: 8080; write 127.0.0.1:8080"),
        (["peers", "server.example", "8080"], "8080; write server.example:8080"),
        (["ping", "h:1", "--tiemout", "3"], "--tiemout 3; did you mean --timeout?"),
        (["ping", "h:1", "-c", "3"], "for the number of samples: -n 3"),
        (["ping", "http://h:1"], "leave out http://, and write h:1"),
        (["ping", "h:1#alice"], "p2ptui key show prints it on that machine"),
        (["help", "exit", "codes"], "arguments: codes; did you mean 'exit-codes'?"),
        (["ping", "127.0.0.1:1", "-n", "0"], "'0' is not a count of 1 to 1,000,000"),
        (["ping", "127.0.0.1:1", "-n", "1e3"], "'1e3' is not a count"),
        (["ping", "127.0.0.1:1", "-n", "9" * 5000], "is not a count"),
        (["ping", "127.0.0.1:1", "-n", "٣"], "'٣' is not a count"),
        (["ping", "127.0.0.1:1", "--interval", "0"], "not between 0 and 1,000,000 seconds"),
        (["ping", "127.0.0.1:1", "--timeout", "0"], "seconds; it must be more than 0"),
        (["ping", "127.0.0.1:1", "--timeout", "nan"], "not between 0 and 1,000,000 seconds"),
        (["ping", "127.0.0.1:1", "--timeout", "inf"], "not between 0 and 1,000,000 seconds"),
        (["ping", "127.0.0.1:1", "--timeout", ""], "'' is not a number of seconds"),
        (["ping", "\x1b[31m:x"], "\\x1b"),
        (["send", "127.0.0.1:1"], "give either a text, - or --file F"),
        (["send", "127.0.0.1:1", "hello", "--file", "x"], "give either a text, - or --file F"),
        (["send", "127.0.0.1:1", "--file", ""], "--file needs the name of a file"),
        (["send", "127.0.0.1:1", "\udcff"], "the text is not UTF-8"),
        (["send", "127.0.0.1:1", "--json-payload", "{"], "the payload is not JSON"),
        (["send", "127.0.0.1:1", "--json-payload", ""], "the payload is not JSON"),
        (["send", "127.0.0.1:1", "--json-payload", "NaN"], "NaN has no JSON form"),
        (["send", "127.0.0.1:1", "--json-payload", "1e999"], "inf has no JSON form"),
        (["send", "127.0.0.1:1", "--json-payload", '"\\ud800"'], "surrogates not allowed"),
        (["send", "127.0.0.1:1", "--json-payload", "[" * 100_000], "the payload is not JSON"),
        (
            ["send", "127.0.0.1:1", "--json-payload", '{"a": {"b": 1, "b": 2}}'],
            'the name "b" stands twice in one object',
        ),
        (
            ["send", "127.0.0.1:1", "--json-payload", '{"a": [18446744073709551616]}'],
            'payload["a"][0] is an integer beyond 64 bits',
        ),
        (["receive", "there"], "unrecognized arguments: there"),
        (["receive", "--join", "alice"], "'alice' is not an address"),
        (["receive", "--max-files", "many"], "invalid int value: 'many'"),
        (["receive", "--max-files", "0"], "argument --max-files: '0' is not a whole number from 1"),
        (["receive", "--max-bytes", "-1"], "argument --max-bytes: '-1' is not a whole number"),
        (["peers"], "the following arguments are required: HOST:PORT"),
        (["peers", "alice"], "'alice' is not an address"),
        (["peers", "127.0.0.1:0"], "port 0 is no port"),
        (["peers", "[FE80:0::1]:8080"], "needs its interface: write [fe80::1%eth0]:8080"),
        (["peers", "127.0.0.1:1", "--join", "127.0.0.1:2"], "unrecognized arguments"),
    ],
    ids=brief,
)
def test_wrong_arguments_of_a_command(refused, arguments, says):
    line = refused(*arguments)
    assert line.startswith(f"p2ptui {arguments[0]}: ")
    assert says in line
    assert line.endswith(f"; see p2ptui {arguments[0]} -h")


# --- the payload of send


@pytest.fixture
def payload_of(monkeypatch):
    """Reads the payload that a command line means, without sending it."""
    from p2ptui.commands import send

    def payload_of(*arguments: str) -> Any:
        payloads: list[Any] = []

        async def run(options, config, way, payload):
            payloads.append(payload)
            return 0

        monkeypatch.setattr(send, "_run", run)
        assert main(["send", "127.0.0.1:1", *arguments]) == 0
        return payloads[0]

    return payload_of


class Stdin:
    """Standard input with these bytes."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize(
    ("arguments", "payload"),
    [
        (["hello"], "hello"),
        (["hello", "big", "world"], "hello big world"),
        ([""], ""),
        (["grüße 🎉"], "grüße 🎉"),
        (["-", "not", "standard", "input"], "- not standard input"),
        (["--", "-x"], "-x"),
        (["--json", "hello"], "hello"),
        (["hello", "--timeout", "3", "world"], "hello world"),
        (["{}"], "{}"),
        (["--json-payload", '{"a": [1, null]}'], {"a": [1, None]}),
        (["--json-payload", "12"], 12),
        (["--json-payload", "[1,", "2]"], [1, 2]),
    ],
)
def test_a_text_on_the_command_line(payload_of, arguments, payload):
    assert payload_of(*arguments) == payload


def test_a_text_file_travels_with_its_name_and_hash_and_stays_readable(payload_of, tmp_path):
    file = tmp_path / "notes.txt"
    text = "erste Zeile\nzweite — Zeile\n"
    file.write_bytes(text.encode())
    assert payload_of("--file", str(file)) == {
        "file": "notes.txt",
        "size": len(text.encode()),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "text": text,
    }
    file.write_bytes(b"")
    payload = payload_of("--file", str(file))
    assert (payload["size"], payload["text"]) == (0, "")


@pytest.mark.parametrize("content", [b"\xff\xd8\xff", b"text\0with\0\0 nulls"])
def test_any_other_file_travels_with_its_name(payload_of, tmp_path, content):
    file = tmp_path / "image.jpg"
    file.write_bytes(content)
    payload = payload_of("--file", str(file))
    assert set(payload) == {"file", "size", "sha256", "base64"}
    assert payload["file"] == "image.jpg"
    assert payload["sha256"] == hashlib.sha256(content).hexdigest()
    assert base64.b64decode(payload["base64"]) == content


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are UTF-8 elsewhere")
def test_a_name_that_is_no_utf8_does_not_keep_a_file_from_being_sent(payload_of, tmp_path):
    name = os.fsdecode(b"caf\xe9.txt")
    (tmp_path / name).write_text("x")
    assert payload_of("--file", str(tmp_path / name))["file"] == "caf\ufffd.txt"


def test_a_file_of_json(payload_of, tmp_path):
    file = tmp_path / "data.json"
    file.write_text('{"a": 1}')
    assert payload_of("--file", str(file), "--json-payload") == {"a": 1}


def test_standard_input(payload_of, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Stdin(b"from a pipe\n"))
    assert payload_of("-") == "from a pipe\n"
    monkeypatch.setattr(sys, "stdin", Stdin(b"\xff"))
    payload = payload_of("-")
    assert (payload["file"], payload["base64"], payload["size"]) == ("-", "/w==", 1)


def test_standard_input_that_is_closed(refused, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    line = refused("send", "127.0.0.1:1", "-", code=1)
    assert line == "p2ptui: cannot read standard input: it is closed"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nosuch", "No such file or directory"),
        (".", "Is a directory"),
        ("with\nnewline", "cannot read {path}\\nnewline"),
        ("with\0null", "null"),
    ],
)
def test_a_file_that_cannot_be_read(refused, tmp_path, name, says):
    line = refused("send", "127.0.0.1:1", "--file", f"{tmp_path}/{name}", code=1)
    assert line.startswith("p2ptui: cannot read ")
    assert says.format(path=tmp_path / "with") in line


LIMIT = Config().server.max_message_size


def test_what_is_too_large_is_refused_with_limit_and_size(refused, tmp_path, monkeypatch):
    file = tmp_path / "large"
    file.write_bytes(b"x" * (LIMIT + 1))
    assert refused("send", "127.0.0.1:1", "--file", str(file), code=1) == (
        f"p2ptui: the message is {LIMIT + 1} bytes, the limit is {LIMIT} (max_message_size);"
        " send it in parts"
    )
    file.write_bytes(b"\0" * 800_000)  # base64 makes it larger
    line = refused("send", "127.0.0.1:1", "--file", str(file), code=1)
    assert f"bytes, the limit is {LIMIT}" in line
    assert "the file has 800000 bytes, and one of at most " in line
    monkeypatch.setattr(sys, "stdin", Stdin(b"x" * (LIMIT + 10)))
    line = refused("send", "127.0.0.1:1", "-", code=1)
    assert f"the message is more than {LIMIT} bytes, the limit is {LIMIT}" in line


def test_the_size_of_a_file_that_fits_is_said(refused, payload_of, tmp_path):
    file = tmp_path / "large"
    file.write_bytes(b"\0" * 786_432)
    line = refused("send", "127.0.0.1:1", "--file", str(file), code=1)
    fits = re.search(r"of at most (\d+) fits: send it in parts$", line)
    assert fits, line
    file.write_bytes(b"\0" * int(fits[1]))
    assert payload_of("--file", str(file))["size"] == int(fits[1])
    file.write_bytes(b"\0" * (int(fits[1]) + 3))
    assert "; the file has " in refused("send", "127.0.0.1:1", "--file", str(file), code=1)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no endless file here")
def test_a_file_without_an_end_is_refused_too(refused):
    assert "more than" in refused("send", "127.0.0.1:1", "--file", "/dev/zero", code=1)


def test_the_largest_message_that_fits_passes(payload_of, refused, tmp_path):
    from p2ptui.commands.send import ENVELOPE_BYTES

    file = tmp_path / "large.txt"
    around = len(encode_data(file_payload("large.txt", b"1" * 1_000_000))) - 1_000_000
    fits = LIMIT - ENVELOPE_BYTES - around
    file.write_text("x" * fits)
    assert len(payload_of("--file", str(file))["text"]) == fits
    file.write_text("x" * (fits + 1))
    assert f"the message is {LIMIT + 1} bytes" in refused(
        "send", "127.0.0.1:1", "--file", str(file), code=1
    )


# --- how it ends


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (BindError("cannot bind 1.2.3.4:5: taken\x1b"), 1, "cannot bind 1.2.3.4:5: taken\\x1b"),
        (KeyboardInterrupt(), 130, ""),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
    ],
)
def test_exit_codes(monkeypatch, capsys, raised, code, says):
    def fail(config):
        raise raised

    monkeypatch.setattr(headless, "run_headless", fail)
    assert main(["--no-ui"]) == code
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == (1 if says else 0)


def test_the_process_arguments_are_the_default(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["p2ptui", "--version"])
    assert main() == 0
    assert VERSION in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_hangup_ends_nothing_while_a_node_is_only_starting(started, monkeypatch):
    def load_while_hung_up(*arguments: Any) -> Config:
        os.kill(os.getpid(), signal.SIGHUP)
        return load_config(*arguments)

    monkeypatch.setattr("p2ptui.config.load.load_config", load_while_hung_up)
    before = signal.getsignal(signal.SIGHUP)
    try:
        started("--no-ui")
        assert signal.getsignal(signal.SIGHUP) != signal.SIG_IGN, "it is handed on"
    finally:
        signal.signal(signal.SIGHUP, before)


# --- names of files


@pytest.mark.parametrize("command", ["", *ALL_COMMANDS])
def test_what_is_written_as_a_file_keeps_the_name_that_the_system_has(command):
    """A name of bytes that are not of the locale would be another file."""
    parser = command_parser(command) if command else node_parser()
    for action in parser._actions:
        is_shown_as_file = action.metavar in (*FILE, *FOLDER) and action.nargs != 0
        assert is_shown_as_file == (action.type in (Path, file_name)), action.dest
