"""The one-shot commands of the installed program, against nodes of the installed program."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from p2ptui.version import VERSION, described
from tests.installed import P2PTUI, environment, headless, run, run_all, start
from tests.patience import PATIENCE_S

pytestmark = [
    pytest.mark.skipif(not P2PTUI.exists(), reason="the package is not installed"),
    pytest.mark.skipif(os.name == "nt", reason="signals of POSIX"),
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("nodes")


@pytest.fixture(scope="module")
def server(directory):
    # What comes back shows that it went there whole.
    with headless(directory, "--name", "server", env={"P2PTUI_SERVER_ECHO": "all"}) as node:
        yield node


@pytest.fixture(scope="module")
def alice(directory, server):
    with headless(directory, "--name", "alice", "--join", server.address) as node:
        server.wait_for(r"connected: alice")
        yield node


@pytest.fixture(scope="module")
def twins(directory, server):
    arguments = ("--name", "twin", "--join", server.address)
    ids = [{"P2PTUI_SERVER_NODE_ID": f"7714000{n}-0000-4000-8000-000000000000"} for n in (1, 2)]
    with (
        headless(directory, *arguments, env=ids[0]) as one,
        headless(directory, *arguments, env=ids[1]) as two,
    ):
        server.wait_for("connected: twin \\(77140001\\)")
        server.wait_for("connected: twin \\(77140002\\)")
        yield one, two


VERSION_S = 0.15


def one_line(result) -> str:
    """What a command that failed says: one line, and nothing on standard output."""
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr.rstrip("\n")


# --- what is said


def test_ping(server):
    result = run("ping", server.address, "-n", "2", "--interval", "0.05")
    assert (result.returncode, result.stderr) == (0, "")
    head, *samples, counts, figures = result.stdout.splitlines()
    assert head == f"PING server ({server.id}), direct"
    for number, line in enumerate(samples, 1):
        assert re.fullmatch(rf"{number}: \d+\.\d{{3}} ms from {server.address}", line)
    assert counts == "2 sent, 2 answered, 0% lost"
    assert re.fullmatch(r"round trip in ms: min \S+, avg \S+, p50 \S+, p95 \S+, max \S+", figures)


def test_ping_as_json(server):
    result = run("ping", server.address, "-n", "3", "--interval", "0.05", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert set(answer) == {
        *("target", "node_id", "path", "address", "sent", "received", "loss"),
        *(
            "rtt_ms",
            "samples_ms",
            "method",
            "first_reply_ms",
            "direct_after_ms",
            "reason",
            "attempts",
            "checks",
            "bytes_spent",
            "trust",
            "advice",
        ),
    }
    assert (answer["target"], answer["node_id"]) == (server.address, server.id)
    assert (answer["path"], answer["address"]) == ("direct", server.address)
    assert (answer["sent"], answer["received"], answer["loss"]) == (3, 3, 0)
    assert set(answer["rtt_ms"]) == {"min", "avg", "p50", "p95", "max"}
    assert answer["rtt_ms"]["min"] == min(answer["samples_ms"])
    assert answer["rtt_ms"]["max"] == max(answer["samples_ms"])


def test_send(server):
    result = run("send", server.address, "hello", "world")
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(r"delivered \d+ bytes to server \(direct\) in \S+ ms\n", result.stdout)


def test_send_as_json(server):
    result = run("send", server.address, "--json", "hello")
    assert (result.returncode, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    keys = {"target", "delivered", "attempts", "rtt_ms", "bytes", "echo", "trust", "advice"}
    assert set(answer) == keys
    assert (answer["delivered"], answer["echo"]) == (True, "hello")
    assert answer["attempts"] >= 1  # more when the machine was too busy to answer in time


def test_send_of_standard_input(server):
    result = run("send", server.address, "-", "--json", input="through a pipe: grüße\n")
    assert json.loads(result.stdout)["echo"] == "through a pipe: grüße\n"


def test_a_megabyte_arrives(server, tmp_path):
    text = "".join(f"line {number:06} {'grüße ' * 15}\n" for number in range(7_700))
    assert 1_000_000 < len(text.encode()) < 1_048_576
    file = tmp_path / "large.txt"
    file.write_text(text, "utf-8")
    result = run("send", server.address, "--file", str(file), "--json")
    assert (result.returncode, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert answer["delivered"]
    assert answer["bytes"] > len(text)
    assert answer["echo"]["text"] == text  # what came back went there whole


def test_peers(server, alice):
    result = run("peers", server.address)
    assert (result.returncode, result.stderr) == (0, "")
    head, *table = result.stdout.splitlines()
    assert head.startswith(
        f"server ({server.id}) at {server.address}, which sees you at 127.0.0.1:"
    )
    assert ["alice", alice.id, alice.address, VERSION] in [line.split() for line in table]


def test_peers_as_json(server, alice):
    result = run("peers", server.address, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert set(answer) == {"server", "public_address", "nodes"}
    assert (answer["server"]["id"], answer["server"]["name"]) == (server.id, "server")
    assert answer["public_address"].startswith("127.0.0.1:")
    assert alice.id in [node["id"] for node in answer["nodes"]]


# --- who is meant


def test_a_node_behind_a_server_by_id_prefix_and_name(server, alice):
    targets = [alice.id, alice.id[:13], "alice"]
    results = run_all(
        *(["ping", target, "--join", server.address, "-n", "1", "--json"] for target in targets)
    )
    for target, result in zip(targets, results, strict=True):
        assert (result.returncode, result.stderr) == (0, "")
        answer = json.loads(result.stdout)
        assert (answer["target"], answer["node_id"]) == (target, alice.id)
        assert (answer["path"], answer["address"]) == ("direct", alice.address)


def test_a_message_to_a_node_behind_a_server(server, alice):
    result = run("send", "alice", "hello", "--join", server.address)
    assert (result.returncode, result.stderr) == (0, "")
    assert "bytes to alice (direct) in" in result.stdout


def test_an_unknown_name(server):
    result = run("ping", "nobody", "--join", server.address)
    assert result.returncode == 1
    assert "no node is called 'nobody'" in one_line(result)


def test_a_name_or_beginning_that_fits_several(server, twins):
    for target in ("twin", "7714000"):
        result = run("send", target, "hello", "--join", server.address)
        assert result.returncode == 1
        line = one_line(result)
        assert f"'{target}' fits 2 nodes: " in line
        for node in twins:
            assert node.id in line
    result = run("ping", "77140002", "-n", "1", "--join", server.address, "--json")
    assert json.loads(result.stdout)["node_id"] == twins[1].id


def test_a_dead_target_is_one_line_within_its_time():
    commands = [["ping", "127.0.0.1:9"], ["send", "127.0.0.1:9", "x"], ["peers", "127.0.0.1:9"]]
    for result in run_all(*([*command, "--timeout", "0.3"] for command in commands)):
        assert result.returncode == 1
        assert one_line(result) == (
            "p2ptui: 127.0.0.1:9 refused: nothing listens there; is a node running there?"
        )


def test_a_host_that_does_not_resolve():
    result = run("ping", "nosuch.invalid:80", "--timeout", "5")
    assert result.returncode == 1
    assert one_line(result).startswith("p2ptui: cannot resolve host 'nosuch.invalid'")


SLOW_NAMES = """
import socket, time

def getaddrinfo(*arguments, **options):
    time.sleep(600)
    raise socket.gaierror(-3, "Temporary failure in name resolution")

socket.getaddrinfo = getaddrinfo
"""


@pytest.fixture
def slow_names(tmp_path):
    """The environment of a program whose name server does not answer."""
    (tmp_path / "sitecustomize.py").write_text(SLOW_NAMES)
    return {"PYTHONPATH": str(tmp_path)}


def test_a_name_server_that_is_silent_costs_no_more_than_the_time_given(slow_names):
    result = run("ping", "server.example:80", "--timeout", "0.2", env=slow_names)
    assert result.returncode == 1
    assert "cannot resolve host 'server.example' within 0.2 s" in one_line(result)


def test_localhost_and_ipv6(server, directory):
    port = server.address.rpartition(":")[2]
    result = run("ping", f"localhost:{port}", "-n", "1")
    assert (result.returncode, result.stderr) == (0, "")
    try:
        with headless(directory, "--address", "[::1]:0", "--name", "six") as six:
            result = run("send", six.address, "hello")
            assert (result.returncode, result.stderr) == (0, "")
    except AssertionError as error:
        if "cannot bind" in str(error):
            pytest.skip("no IPv6 here")
        raise


# --- how it ends


def test_wrong_usage_is_one_line_and_2():
    for result in run_all(["pnig"], ["ping"], ["send", "127.0.0.1:1"], ["-m", "x"]):
        assert result.returncode == 2
        assert "see p2ptui" in one_line(result)


def interrupted(process, number=signal.SIGINT):
    """Send a signal; exit code and what is left of both outputs."""
    process.send_signal(number)
    output, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, output.decode(), errors.decode()


def test_an_interrupted_ping_says_what_it_has(server):
    with start("ping", server.address, "-n", "1000", "--interval", "0.02") as process:
        for _ in range(4):
            process.stdout.readline()
        code, output, errors = interrupted(process)
    assert (code, errors) == (130, "")
    *_, counts, figures = output.splitlines()
    assert re.fullmatch(r"\d+ sent, \d+ answered, \d+% lost", counts)
    assert figures.startswith("round trip in ms: ")


def test_an_interrupted_ping_as_json_is_still_json(server):
    with (
        start("ping", server.address, "-n", "1000", "--interval", "0.02", "--json") as process,
        start("ping", server.address, "-n", "3", "--interval", "0.02") as other,
    ):
        other.communicate(timeout=PATIENCE_S)
        code, output, errors = interrupted(process)
    assert (code, errors) == (130, "")
    if output:  # else it was not connected yet, on a very busy machine
        assert json.loads(output)["sent"] >= 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_ping_as_politely_and_the_exit_code_names_it(server, number):
    with start("ping", server.address, "-n", "1000", "--interval", "0.02") as process:
        for _ in range(4):
            process.stdout.readline()
        code, output, errors = interrupted(process, number)
    assert (code, errors) == (128 + number, "")
    assert re.search(r"^\d+ sent, \d+ answered", output, re.MULTILINE)


def test_a_signal_that_the_program_was_started_to_ignore_does_not_end_it(server):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start("ping", server.address, "-n", "1000", "--interval", "0.02")
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        for _ in range(10):
            assert process.stdout.readline()
        assert interrupted(process)[0] == 130


def test_an_interrupted_connection_attempt_says_nothing():
    with start("ping", "127.0.0.1:9", "--timeout", "60", stdin=subprocess.PIPE) as process:
        wait_until_running(process)
        assert interrupted(process) == (130, "", "")


def test_an_interrupted_read_of_standard_input(server):
    with start("send", server.address, "-", stdin=subprocess.PIPE) as process:
        # More than a pipe holds: once it is written, somebody reads.
        writing = threading.Thread(target=process.stdin.write, args=(b"x" * 300_000,))
        writing.start()
        writing.join(PATIENCE_S)
        assert not writing.is_alive()
        code = None
        for _ in range(5):
            # Python misses a signal that comes just before a read; a person presses again.
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(5)
                break
        assert code == 130
        assert process.stdout.read() == process.stderr.read() == b""
        with contextlib.suppress(BrokenPipeError):  # what is still in it has no reader
            process.stdin.close()


def wait_until_running(process) -> None:
    """Wait until a process has a socket: the interpreter is up, and the node too."""
    end = threading.Event()
    for _ in range(int(PATIENCE_S / 0.02)):
        try:
            entries = os.listdir(f"/proc/{process.pid}/fd")
            links = [os.readlink(f"/proc/{process.pid}/fd/{entry}") for entry in entries]
        except OSError:
            links = []
        if sum("socket" in link for link in links) >= 3:
            return
        end.wait(0.02)
    pytest.skip("this system does not show what a process has open")


# --- outputs that fail


@pytest.mark.parametrize("arguments", [["--version"], ["--print-config"], ["ping", "-h"]])
def test_a_reader_that_has_gone_is_no_drama(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    with start(*arguments, stdout=writing) as process:
        os.close(writing)
        assert process.wait(PATIENCE_S) == 1
        assert process.stderr.read() == b""


def test_a_reader_that_goes_ends_the_ping(server):
    with start("ping", server.address, "-n", "1000000", "--interval", "0.01") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 1
        assert process.stderr.read() == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device here")
def test_a_full_disk_is_one_line():
    with open("/dev/full", "wb") as full, start("--print-config", stdout=full) as process:
        assert process.wait(PATIENCE_S) == 1
        assert (
            process.stderr.read()
            == b"p2ptui: the system refused: [Errno 28] No space left on device\n"
        )


def test_outputs_that_are_closed_are_no_drama():
    closed = ["sh", "-c", f'"{P2PTUI}" "$@" >&- 2>&-', "sh"]
    for arguments, code in ((["--version"], 0), (["--check-config"], 0), (["pnig"], 2)):
        result = subprocess.run(
            [*closed, *arguments], env=environment(), timeout=PATIENCE_S, check=False
        )
        assert result.returncode == code


def test_an_encoding_that_lacks_a_letter_is_no_drama(directory):
    with headless(directory, "--name", "grüße🎉") as node:
        ascii_only = {"PYTHONIOENCODING": "ascii"}
        result = run("ping", node.address, "-n", "1", env=ascii_only)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith("PING gr\\xfc\\xdfe\\U0001f389 (")


# --- what it costs


def modules_after(*commands: list[str]) -> set[str]:
    """The top-level modules that these command lines have imported in the end."""
    code = (
        "import sys\nfrom p2ptui.cli import main\n"
        f"for command in {commands!r}: main(command)\n"
        "print('loaded:', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=True,
    )
    return set(result.stdout.rpartition("loaded:")[2].split())


def test_the_version_comes_before_anything_heavy():
    heavy = {"asyncio", "cryptography", "msgspec", "textual", "rich", "uvloop", "tomli", "logging"}
    assert not modules_after(["--version"], ["-h"], ["pnig"]) & heavy


def test_the_version_comes_at_once():
    """In processor time, and in the quickest of a few runs: the machine may be busy."""

    def seconds():
        before = os.times()
        assert run("--version").returncode == 0
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])

    assert any(seconds() < VERSION_S for _ in range(10))


def test_a_command_loads_no_screen(server):
    loaded = modules_after(
        ["ping", server.address, "-n", "1"],
        ["send", server.address, "x"],
        ["peers", server.address],
    )
    assert "asyncio" in loaded
    assert not loaded & {"textual", "rich", "uvloop", "platformdirs"}


def test_it_runs_as_a_module_too():
    result = subprocess.run(
        [sys.executable, "-m", "p2ptui", "--version"],
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=True,
    )
    assert result.stdout == f"p2ptui {described()}\n"


@pytest.mark.parametrize(
    "env", [{}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]
)
def test_a_name_is_the_same_in_every_locale(directory, server, env):
    name = f"Jürgen名{len(env)}"
    with headless(directory, "--name", name, "--join", server.address, env=env) as node:
        node.wait_for("joined")
        for told in (env, {}):
            result = run("ping", name, "--join", server.address, "-n", "1", env=told)
            assert (result.returncode, result.stderr) == (0, "")
            assert result.stdout.startswith(f"PING {name} (")
        result = run("send", server.address, "x", env={**env, "P2PTUI_SERVER_NAME": name})
        assert result.returncode == 0
        server.wait_for(rf"connected: {name} .*\n.*disconnected: {name}")
