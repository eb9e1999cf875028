"""`p2ptui receive` and `p2ptui send --file` as installed, on loopback: what is sent is there."""

import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.installed import P2PTUI, PATIENCE_S, headless, run, start

pytestmark = [
    pytest.mark.skipif(not P2PTUI.exists(), reason="the package is not installed"),
    pytest.mark.skipif(os.name == "nt", reason="signals of POSIX"),
]


class Receiver:
    """`p2ptui receive` in the background."""

    def __init__(self, tmp_path: Path, *arguments: str, **env: str) -> None:
        self.into = tmp_path / "in"
        self.into.mkdir(exist_ok=True)
        self._out, self._err = tmp_path / "receive.out", tmp_path / "receive.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = start(
                *("receive", "--into", str(self.into), *arguments), env=env, stdout=out, stderr=err
            )
        self.command = self.wait_for(r"to send one: p2ptui (send .* --file) FILE\n")[1]

    @property
    def output(self) -> str:
        return self._out.read_text("utf-8")

    @property
    def errors(self) -> str:
        return self._err.read_text("utf-8")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until something is said."""
        end = time.monotonic() + PATIENCE_S
        while (found := re.search(pattern, self.output + self.errors)) is None:
            ended = self.process.poll()
            if ended is not None or time.monotonic() > end:
                raise AssertionError(f"{pattern!r}: {ended=}\n{self.output}{self.errors}")
            time.sleep(0.02)
        return found

    def send(self, file: Path, *arguments: str, **env: str) -> Any:
        """Send a file with the command that the receiver named."""
        return run(*shlex.split(self.command), str(file), *arguments, env=env)

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        return int(self.process.wait(PATIENCE_S))


@contextlib.contextmanager
def receiving(tmp_path: Path, *arguments: str, **env: str) -> Iterator[Receiver]:
    receiver = Receiver(tmp_path, *arguments, **env)
    try:
        yield receiver
    finally:
        receiver.process.kill()
        receiver.process.wait()


HERE = ("--address", "127.0.0.1:0")


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_files_of_every_kind_arrive_byte_for_byte(tmp_path):
    files = {
        "notes.txt": "erste Zeile\r\nzweite — Zeile\n".encode(),
        "image.jpg": bytes(range(256)) * 4,
        "empty": b"",
        "nul.dat": b"\0",
        ".hidden": b"\xef\xbb\xbfbom",
        "-rf *": b"x",
    }
    kept = {
        "notes.txt": "notes.txt",
        "image.jpg": "image.jpg",
        "empty": "empty",
        "nul.dat": "_nul.dat",
        ".hidden": "hidden",
        "-rf *": "rf _",
    }
    with receiving(tmp_path, *HERE, "--name", "bob") as bob:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
            result = bob.send(tmp_path / name, "--name", "alice")
            assert (result.returncode, result.stderr) == (0, "")
            assert re.fullmatch(
                rf"delivered \d+ bytes to bob \(direct\) in \S+ ms, kept as {kept[name]}\n"
                if name != "-rf *"
                else r"delivered .*, kept as rf _\n",
                result.stdout,
            )
        assert contents(bob.into) == {kept[name]: content for name, content in files.items()}
        assert bob.errors == ""
        head, how, *lines = bob.output.splitlines()
        assert re.fullmatch(rf"receiving files into {bob.into}, as bob \([0-9a-f-]{{36}}\)", head)
        assert re.fullmatch(r"to send one: p2ptui send 127\.0\.0\.1:\d+ --file FILE", how)
        for line, (name, content) in zip(lines, files.items(), strict=True):
            digest = hashlib.sha256(content).hexdigest()
            where = re.escape(str(bob.into / kept[name]))
            size = len(content)
            assert re.fullmatch(
                rf"{where}: {size} bytes from alice \([0-9a-f]{{8}}\), sha256 {digest}", line
            )


def test_a_name_with_path_parts_stays_in_the_folder(tmp_path):
    with receiving(tmp_path, *HERE) as bob:
        target = shlex.split(bob.command)[1]
        digest = hashlib.sha256(b"x").hexdigest()
        for name in ("../../outside", "/etc/passwd", "..\\outside", "C:\\x", "a\0b", ".."):
            payload = {"file": name, "size": 1, "sha256": digest, "text": "x"}
            result = run("send", target, "--json-payload", json.dumps(payload))
            assert result.returncode == 0, result.stderr
        names = {"outside", "passwd", "outside (2)", "x", "a_b", "file"}
        assert set(contents(bob.into)) == names
        assert {path.name for path in tmp_path.iterdir()} == {"in", "receive.out", "receive.err"}


def test_what_is_there_is_not_overwritten(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("theirs")
    with receiving(tmp_path, *HERE) as bob:
        (bob.into / "notes.txt").write_text("mine")
        assert bob.send(file).stdout.endswith(", kept as notes (2).txt\n")
        assert contents(bob.into) == {"notes.txt": b"mine", "notes (2).txt": b"theirs"}


def test_the_largest_file_that_fits_and_one_that_does_not(tmp_path):
    file = tmp_path / "large.bin"
    content = os.urandom(786_000)
    with receiving(tmp_path, *HERE, "--once", "--json") as bob:
        file.write_bytes(os.urandom(787_000))
        result = bob.send(file)
        assert (result.returncode, result.stdout) == (1, "")
        assert re.fullmatch(
            r"p2ptui: the message is \d+ bytes, the limit is 1048576 \(max_message_size\);.*\n",
            result.stderr,
        )
        file.write_bytes(content)
        result = bob.send(file)
        assert (result.returncode, result.stderr) == (0, "")
        assert bob.process.wait(PATIENCE_S) == 0
        assert contents(bob.into) == {"large.bin": content}
        told = json.loads(bob.output)
        assert told["from"].keys() == {"id", "name", "trust"}
        del told["from"]
        assert told == {
            "file": "large.bin",
            "path": str(bob.into / "large.bin"),
            "kept": True,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "reason": None,
        }


def test_by_name_by_way_of_a_server(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("hello")
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    with headless(nodes, "--name", "server") as server:
        join = ("--join", server.address)
        with receiving(tmp_path, *join, "--name", "bob", "--once") as bob:
            assert bob.command == f"send bob --join {server.address} --file"
            result = bob.send(file, "--json")
            assert (result.returncode, result.stderr) == (0, "")
            answer = json.loads(result.stdout)
            assert (answer["delivered"], answer["kept"], answer["kept_as"]) == (
                True,
                True,
                "notes.txt",
            )
            assert bob.process.wait(PATIENCE_S) == 0
            assert contents(bob.into) == {"notes.txt": b"hello"}


def test_a_name_that_another_node_has_is_not_the_one_to_send_to(tmp_path):
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    with (
        headless(nodes, "--name", "twin") as server,
        receiving(tmp_path, "--join", server.address, "--name", "twin") as bob,
    ):
        assert re.fullmatch(rf"send [0-9a-f-]{{36}} --join {server.address} --file", bob.command)


def test_files_of_others_are_refused_in_one_line(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("hello")
    with receiving(tmp_path, *HERE, "--name", "bob", "--from", "alice", "--once") as bob:
        result = bob.send(file, "--name", "mallory")
        assert result.returncode == 1
        assert result.stderr == (
            "p2ptui: bob did not keep the file: the node takes files of others only\n"
        )
        assert bob.wait_for(r"p2ptui: file notes\.txt from mallory \([0-9a-f]{8}\) is not kept: ")
        assert contents(bob.into) == {}
        assert bob.send(file, P2PTUI_SERVER_NAME="alice").returncode == 0
        assert bob.process.wait(PATIENCE_S) == 0
        assert bob.errors.count("\n") == 1


def test_a_file_that_contradicts_itself_is_one_line(tmp_path):
    with receiving(tmp_path, *HERE, "--name", "bob", "--json") as bob:
        target = shlex.split(bob.command)[1]
        for change in ({"size": 2}, {"sha256": "0" * 64}, {"base64": "eA"}):
            good = {"file": "x", "size": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
            payload = json.dumps(good | {"base64": "eA=="} | change)
            result = run("send", target, "--json-payload", payload)
            assert result.returncode == 1
            assert re.fullmatch(r"p2ptui: bob did not keep the file: .*\n", result.stderr)
        told = [json.loads(line) for line in bob.output.splitlines()]
        assert [line["kept"] for line in told] == [False] * 3
        assert told[2]["reason"] == "its base64 is invalid"
        assert contents(bob.into) == {}


def test_limits_and_a_folder_that_vanishes_do_not_end_it(tmp_path):
    file = tmp_path / "x"
    file.write_text("hello")
    with receiving(tmp_path, *HERE, "--max-files", "1", "--max-bytes", "8") as bob:
        bob.into.rmdir()
        result = bob.send(file)
        assert result.returncode == 1
        assert "No such file or directory" in result.stderr
        bob.into.mkdir()
        file.write_text("too large")
        assert "the limit of 8 bytes is reached (max_bytes)" in bob.send(file).stderr
        file.write_text("fits")
        assert bob.send(file).returncode == 0
        assert "the limit of 1 files is reached (max_files)" in bob.send(file).stderr
        assert contents(bob.into) == {"x": b"fits"}
        assert bob.errors.count("\n") == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_when_it_is_asked_to(tmp_path, number):
    with receiving(tmp_path, *HERE) as bob:
        assert bob.stop(number) == 130
        assert bob.errors == ""
        assert bob.output.count("\n") == 2


def test_it_ends_cleanly_when_its_terminal_is_gone(tmp_path):
    (tmp_path / "node").mkdir()
    with headless(tmp_path / "node", "--name", "server") as server:
        with receiving(tmp_path, *HERE, "--join", server.address) as bob:
            assert bob.stop(signal.SIGHUP) == 128 + signal.SIGHUP
            assert bob.errors == ""
        server.wait_for(r"disconnected: .* it said goodbye")


def test_a_folder_or_a_server_that_is_none_is_one_line(tmp_path):
    result = run("receive", "--into", str(tmp_path / "nowhere"), *HERE)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"p2ptui: cannot receive files into {tmp_path / 'nowhere'}: No such file or directory\n"
    )
    result = run("receive", "--join", "127.0.0.1:9", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "127.0.0.1:9" in result.stderr


def test_a_node_without_a_screen_keeps_files_if_it_is_told_to(tmp_path):
    file, into = tmp_path / "notes.txt", tmp_path / "in"
    file.write_text("hello")
    into.mkdir()
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    env = {"P2PTUI_FILES_RECEIVE_INTO": str(into)}
    with headless(nodes, "--name", "keeper", env=env) as keeper:
        result = run("send", keeper.address, "--file", str(file))
        assert result.stdout.endswith(", kept as notes.txt\n")
        keeper.wait_for(rf"file notes\.txt from .*, 5 bytes, sha256 .*, is kept as {into}/notes")
    with headless(nodes, "--name", "other") as other:
        result = run("send", other.address, "--file", str(file))
        assert result.stdout.endswith("; it does not keep files\n")
        other.wait_for(r"file notes\.txt from .*, 5 bytes, sha256 .*, is not kept")
    assert contents(into) == {"notes.txt": b"hello"}


def test_progress_is_for_terminals_and_leaves_nothing_behind(tmp_path):
    import pty

    file = tmp_path / "notes.txt"
    file.write_text("hello")
    main, terminal = pty.openpty()
    try:
        with start(
            *("receive", "--into", str(tmp_path), *HERE, "--name", "bob", "--once"), stderr=terminal
        ) as process:
            os.close(terminal)
            process.stdout.readline()
            how = process.stdout.readline().decode()
            shown = b""
            while b"0 files, 0 bytes kept; Ctrl+C ends" not in shown:
                shown += os.read(main, 1000)
            command = how.removeprefix("to send one: p2ptui ").replace("FILE", str(file))
            assert run(*shlex.split(command)).returncode == 0
            assert process.wait(PATIENCE_S) == 0
            assert process.stdout.read().decode().startswith(str(tmp_path / "notes (2).txt"))
        with contextlib.suppress(OSError):  # what Linux says at the end of a terminal
            while data := os.read(main, 1000):
                shown += data
    finally:
        os.close(main)
    assert shown.endswith(b"\r\x1b[K")
    assert b"\n" not in shown
