"""Two fresh nodes are secured without a question, also where one of them is a command.

First in a simulated network, where every datagram is seen; then the installed program, with what
passes between it and a node on loopback.
"""

import asyncio
import json
import os
import socket
import threading
from contextlib import contextmanager
from typing import Any

import pytest

from p2ptui.core.events import DataReceived
from p2ptui.secure.frames import MESSAGE_3, SECURED
from p2ptui.wire.files import file_payload
from tests.cli.test_commands import BOB, COMMAND_HOST, SERVER, World
from tests.installed import P2PTUI, headless, run
from tests.patience import PATIENCE_S
from tests.town import MET_S, Town, taken

SECRET = "nobody else reads this line"
STUN_LAST = 0x03
HANDSHAKES = {"HandshakeRequest", "HandshakeResponse"}


class SealedWorld(World):
    """A server with two clients that have keys, a command line beside them, and a wiretap."""

    def __init__(self, monkeypatch, capsys) -> None:
        super().__init__(monkeypatch, capsys)
        self.wire: list[bytes] = []
        self.secured: list[bool] = []
        """Of each peer that a node had when the command ended."""
        self.said: list[Any] = []
        """What came to the nodes, of any sender."""
        self.send_file = False

    async def _populate(self, town: Town) -> None:
        send = town.network.send

        def tapped(data: bytes, *rest: Any, **how: Any) -> None:
            self.wire.append(bytes(data))
            send(data, *rest, **how)

        self._monkeypatch.setattr(town.network, "send", tapped)
        server = await town.start(
            "server",
            allow_symmetric_nat_relay=True,
            stun_server={"enable": True, "address": "10.0.0.2:3478"},
        )
        self._nodes = {"server": server}
        for name in ("alice", "bob"):
            self._nodes[name] = await town.start(name)
        for name, node in self._nodes.items():
            self.inboxes[name] = node.events()
            if node is not server:
                await node.connect(server.address)
        await asyncio.sleep(MET_S)

    async def _leave(self) -> None:
        """What happens beside the command; it is cancelled when that ends."""
        bob = self._nodes["bob"]
        if self.send_file:
            await asyncio.sleep(1.0)
            (to,) = [peer for peer in self._nodes["server"].peers if peer.name == "keeper"]
            await bob.connect(to.node_id)
            await bob.send(to.node_id, file_payload("notes.txt", SECRET.encode()))
        while True:
            await asyncio.sleep(0.005)
            for node in self._nodes.values():
                self.secured += [
                    peer.secured for peer in node.peers if peer.status.value == "authenticated"
                ]

    def in_the_clear(self) -> list[bytes]:
        """What went unsealed, but for checks and probes, and the exchanges of keys."""
        return [data for data in self.wire if not _is_sealed(data)]


def _is_sealed(data: bytes) -> bool:
    if data[0] in (SECURED, MESSAGE_3) or data[0] <= STUN_LAST:
        return True
    return data[:1] == b"{" and json.loads(data)["message_type"] in HANDSHAKES


@pytest.fixture
def world(monkeypatch, capsys) -> SealedWorld:
    return SealedWorld(monkeypatch, capsys)


@pytest.mark.parametrize("cut", [False, True], ids=["direct", "relayed"])
@pytest.mark.parametrize(
    "command",
    [
        ("ping", SERVER, "-n", "2"),
        ("ping", "bob", "--join", SERVER, "-n", "2"),
        ("send", SERVER, SECRET),
        ("send", "bob", SECRET, "--join", SERVER),
        ("send", BOB, SECRET),
        ("peers", SERVER),
        ("nat", "--join", SERVER, "--json"),
    ],
    ids=" ".join,
)
def test_nothing_of_a_command_goes_in_the_clear(world, command, cut):
    if cut:
        if BOB in command:
            pytest.skip("then there is no way")
        world.cut = [(COMMAND_HOST, BOB)]
    said = world.run(*command)
    assert (said.code, said.errors) == (0, "")
    assert world.in_the_clear() == []
    assert not any(SECRET.encode() in data for data in world.wire)
    assert world.secured
    assert all(world.secured)
    if command[0] == "send":
        came = [each.payload for box in world.inboxes.values() for each in taken(box, DataReceived)]
        assert came == [SECRET]


def test_a_file_that_a_command_sends_is_sealed(world, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text(SECRET * 400)
    said = world.run("send", "bob", "--file", str(file), "--join", SERVER)
    assert (said.code, said.errors) == (0, "")
    assert world.in_the_clear() == []
    assert not any(SECRET.encode() in data or b"notes.txt" in data for data in world.wire)
    assert all(world.secured)


def test_a_file_that_a_command_receives_is_sealed(world, tmp_path):
    world.send_file = True
    into = ("--into", str(tmp_path), "--once", "--name", "keeper")
    said = world.run("receive", *into, "--join", SERVER)
    assert (said.code, said.errors) == (0, "")
    assert (tmp_path / "notes.txt").read_text() == SECRET
    assert world.in_the_clear() == []
    assert not any(SECRET.encode() in data or b"notes.txt" in data for data in world.wire)
    assert all(world.secured)


# --- the installed program


@contextmanager
def tapped(server: str):
    """An address that leads to a server, and all that passes there, both ways."""
    host, _, port = server.rpartition(":")
    to = (host, int(port))
    inside, outside = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    seen: list[bytes] = []
    client: list[Any] = []

    def pump(source: socket.socket, forward) -> None:
        try:
            while True:
                data, address = source.recvfrom(65_535)
                if not data:
                    return
                seen.append(data)
                forward(data, address)
        except OSError:
            return

    def out(data: bytes, address: Any) -> None:
        client[:] = [address]
        outside.sendto(data, to)

    with inside, outside:
        for sock in (inside, outside):
            sock.bind(("127.0.0.1", 0))
        pumps = [
            threading.Thread(target=pump, args=(inside, out)),
            threading.Thread(
                target=pump, args=(outside, lambda data, _: inside.sendto(data, client[0]))
            ),
        ]
        for each in pumps:
            each.start()
        try:
            yield f"127.0.0.1:{inside.getsockname()[1]}", seen
        finally:
            for sock in (inside, outside):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                    end.sendto(b"", sock.getsockname())
            for each in pumps:
                each.join(PATIENCE_S)


@pytest.mark.skipif(not P2PTUI.exists(), reason="the package is not installed")
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_the_installed_command_is_another_node_than_the_one_that_runs_and_is_secured(tmp_path):
    home = {name: str(tmp_path) for name in ("XDG_DATA_HOME", "XDG_STATE_HOME")}
    identity = tmp_path / "p2ptui" / "identity.key"
    with headless(tmp_path, "--name", "server", env=home) as server:
        before = identity.read_bytes()
        with tapped(server.address) as (address, seen):
            result = run("send", address, SECRET, "--json", env=home)
        assert (result.returncode, result.stderr) == (0, "")
        assert json.loads(result.stdout)["delivered"]
        requests = [json.loads(data) for data in seen if b'"HandshakeRequest"' in data]
    assert identity.read_bytes() == before
    assert {request["payload"]["id"] for request in requests}.isdisjoint({server.id})
    assert sum(data[0] == SECURED for data in seen) > 4
    assert [data for data in seen if not _is_sealed(data)] == []
    assert not any(SECRET.encode() in data for data in seen)
