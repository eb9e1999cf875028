"""What a capture, and the server's log and memory, show of what two nodes tell each other.

Real programs: a server that relays and logs all that it can, a node and a receiver, and the
commands that send a text and a file.
"""

import base64
import json
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.natlab.laboratory import Host, Laboratory
from tests.natlab.rules import Kind
from tests.patience import PATIENCE_S

PORT = 8080
ETH_P_ALL = 3
CAPTURE_BYTES = 64 << 20
MEMORY_BYTES = 1 << 30
LINES = 2000


class Capture:
    """All packets that pass a router of the public network, on every line."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._socket = laboratory._internet.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self._socket.settimeout(0.1)
        self._ended = threading.Event()
        self.bytes = bytearray()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._ended.is_set():
            with suppress(TimeoutError):
                self.bytes += self._socket.recv(65_535) + b"\n"
            assert len(self.bytes) < CAPTURE_BYTES

    def end(self) -> bytes:
        time.sleep(0.3)
        self._ended.set()
        self._thread.join()
        return bytes(self.bytes)


class Site:
    """The hosts, and the programs on them."""

    def __init__(self, laboratory: Laboratory, folder: Path, *, secured: bool, direct: bool):
        self.laboratory, self.folder = laboratory, folder
        self._secured, self._direct = secured, direct
        self.server = laboratory.public_host()
        self.at = f"{self.server.address}:{PORT}"
        self.alice, self.bob, self.carol = (
            laboratory.nat(Kind.PORT_RESTRICTED).host() for _ in range(3)
        )

    def config(self, name: str) -> list[str]:
        path = self.folder / f"{name}.toml"
        lines = ["[ice]", f"enable = {str(self._direct).lower()}"]
        if not self._secured:
            lines += ["[server]", f'node_id = "{name.encode().hex():0>8.8}-0000-4000-8000-{0:012}"']
        path.write_text("\n".join(lines) + "\n")
        return ["-c", str(path)]

    def environment(self, name: str) -> dict[str, str]:
        home = str(self.folder / name)
        return {f"XDG_{purpose}_HOME": home for purpose in ("STATE", "DATA", "CONFIG", "CACHE")}

    @contextmanager
    def program(self, host: Host, name: str, *argv: str) -> Iterator[subprocess.Popen[Any]]:
        with self.log(name).open("w") as log:
            process = host.start(
                ["p2ptui", *argv], stdout=log, stderr=log, env=self.environment(name)
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def wait_for(self, name: str, words: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while words not in self.log(name).read_text(errors="replace"):
            assert time.monotonic() < until, self.log(name).read_text(errors="replace")
            time.sleep(0.05)

    def send(self, to: str, *what: str) -> dict[str, Any]:
        argv = ["p2ptui", "send", *self.config("alice"), "--json", "--timeout", "60"]
        done = self.alice.run([*argv, "--join", self.at, to, *what], env=self.environment("alice"))
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def memory_of(process: subprocess.Popen[Any]) -> bytes:
    """All that a program has in memory of its own, and of its libraries' data."""
    found, size = [], 0
    with open(f"/proc/{process.pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if not rights.startswith("rw") or "[v" in line:
                continue
            start, end = (int(at, 16) for at in span.split("-"))
            size += end - start
            assert size < MEMORY_BYTES
            memory.seek(start)
            with suppress(OSError):
                found.append(memory.read(end - start))
    return b"\n".join(found)


def forms_of(line: str) -> list[bytes]:
    """A line as it may lie somewhere: plainly, or within Base64 that begins anywhere before it."""
    data = line.encode()
    forms = [data]
    for before in range(3):
        text = base64.b64encode(bytes(before) + data)
        forms.append(text[4:-4])
    return forms


def is_in(lines: list[str], text: bytes) -> bool:
    return any(form in text for line in lines for form in forms_of(line))


@pytest.mark.parametrize("direct", [False, True], ids=["relayed", "direct"])
@pytest.mark.parametrize("secured", [True, False], ids=["secured", "open"])
def test_no_text_is_on_the_wire_or_with_the_server(
    laboratory: Laboratory, tmp_path: Path, secured: bool, direct: bool
) -> None:
    site = Site(laboratory, tmp_path, secured=secured, direct=direct)
    text = secrets.token_hex(40)
    lines = [secrets.token_hex(24) for _ in range(LINES)]
    sent = tmp_path / "lines.txt"
    sent.write_text("\n".join(lines))
    kept = tmp_path / "kept"
    kept.mkdir()
    serve = ("--no-ui", "--relay", "--TRACE", "-a", f"0.0.0.0:{PORT}", "--name", "server")
    stay = ("--no-ui", "--DEBUG", "-a", "0.0.0.0:0", "--join", site.at, "--name", "bob")
    keep = ("receive", "--into", str(kept), "--join", site.at, "--name", "carol")
    with site.program(site.server, "server", *site.config("server"), *serve) as server:
        site.wait_for("server", "is listening")
        with (
            site.program(site.bob, "bob", *site.config("bob"), *stay),
            site.program(site.carol, "carol", keep[0], *site.config("carol"), *keep[1:]),
        ):
            for name in ("bob", "carol"):
                site.wait_for("server", f"connected: {name}")
            capture = Capture(laboratory)
            site.send("bob", text)
            site.wait_for("bob", text)
            site.send("carol", "--file", str(sent))
            wire, memory = capture.end(), memory_of(server)
            said = site.log("server").read_bytes()
    assert (kept / "lines.txt").read_bytes() == sent.read_bytes()
    assert b'"HandshakeRequest"' in wire, "the capture sees what is in the clear"
    assert b"carol" in memory
    assert b"carol" in said
    secret = [text, *lines[:: LINES // 100]]
    assert is_in(secret, wire) is not secured
    assert not is_in(secret, said)
    if secured:
        assert not is_in(secret, memory)
