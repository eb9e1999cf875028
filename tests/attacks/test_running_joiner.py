"""A program that joins servers: what is forged in their names, before they answer and afterwards.

The servers are plain sockets. What is forged in the name of one comes from its own socket, and
names nothing that was sent there.
"""

import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.attacks.live import DEPLOYED, OURS, Somebody, Wire, handshake
from tests.installed import Headless, headless

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the whole of 127.0.0.0/8 is this machine's"
)

EVIL_ID = "eeeeeeee-0000-4000-8000-000000000666"
LATE_S = 0.3
"""So long the true server takes to answer."""

AFTERWARDS_S = 3.6
"""Forged messages go on for so long once it has: a newcomer is believed after three."""


def forged_answer(*capabilities: str, success: bool, **fields: Any) -> tuple[str, Any, Any]:
    payload = {"node_info": handshake(EVIL_ID, *capabilities, name="EVIL"), "success": success}
    payload |= {"error_message": None if success else "go away", "public_addr": None}
    return "HandshakeResponse", payload, fields


def forged_request(*capabilities: str) -> tuple[str, Any, Any]:
    fields = {"sender_addr": None} if capabilities == DEPLOYED else {"sequence_number": 77}
    return "HandshakeRequest", handshake(EVIL_ID, *capabilities, name="EVIL"), fields


BEFORE: dict[str, Callable[[], tuple[str, Any, Any]]] = {
    "Error": lambda: ("Error", {"error": "handshake failed"}, {}),
    "refusal": lambda: forged_answer(*DEPLOYED, success=False),
    "refusal of our kind": lambda: forged_answer(*OURS, success=False),
    "success": lambda: forged_answer(*DEPLOYED, success=True, sender_addr=None),
    "success of our kind": lambda: forged_answer(*OURS, success=True),
    "success with a guess": lambda: forged_answer(*OURS, success=True, ack_for=4711),
}
AFTER: list[Callable[[], tuple[str, Any, Any]]] = [
    lambda: forged_request(*OURS),
    lambda: forged_request(*DEPLOYED),
    lambda: forged_request(),
    lambda: ("Disconnect", {"reason": "bye"}, {}),
    lambda: ("Error", {"error": "who are you?", "code": "unauthenticated"}, {}),
    *BEFORE.values(),
]


@dataclass
class Server:
    """One that answers late, and somebody who forges its messages meanwhile."""

    socket: Somebody
    capabilities: tuple[str, ...]
    forge: Callable[[], tuple[str, Any, Any]]
    asked: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)
    acks: int = 0

    def step(self) -> None:
        """Answer what was asked a while ago; forge."""
        now = time.monotonic()
        while self.socket.heard:
            message = self.socket.heard.pop(0)
            self.acks += message["message_type"] == "Ack"
            if message["message_type"] == "HandshakeRequest":
                self.asked.setdefault(message["id"], (now + LATE_S, message))
        for key, (due, request) in list(self.asked.items()):
            if due <= now:
                del self.asked[key]
                self.socket.welcome(request, self.capabilities)

    def lie(self, forgery: Callable[[], tuple[str, Any, Any]]) -> None:
        kind, payload, fields = forgery()
        self.socket.say(kind, payload, **fields)


class Scene:
    """A program, and the servers that it joins."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.servers: dict[str, Server] = {}
        for number, (name, forge) in enumerate(BEFORE.items(), 1):
            for kind, capabilities in (("ours", OURS), ("deployed", DEPLOYED)):
                socket = wire.at(f"127.72.{number}.{len(kind)}")
                # A deployed server answers all that asks for that, and Pings with nothing.
                socket.answers, socket.answers_null = kind == "ours", kind == "deployed"
                self.servers[f"{name}, {kind}"] = Server(socket, capabilities, forge)

    def step(self) -> None:
        for server in self.servers.values():
            server.step()
        self.wire.run_for(0.02)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, Headless]]:
    """The program has joined all of them."""
    wire = Wire()
    scene = Scene(wire)
    joins = list[str]()
    for server in scene.servers.values():
        joins += ["--join", "{}:{}".format(*server.socket.address)]
    with headless(tmp_path_factory.mktemp("joiner"), "--DEBUG", *joins) as node:
        host, _, port = node.address.rpartition(":")
        for server in scene.servers.values():
            server.socket.node = host, int(port)

        def lie_until_connected() -> None:
            scene.step()
            for server in scene.servers.values():
                if server.asked:
                    server.lie(server.forge)

        wire.wait_until(
            lambda: all(connected(s, node.log()) for s in scene.servers.values()),
            lie_until_connected,
        )
        yield scene, node
    wire.close()


def where(server: Server) -> str:
    return "{}:{}".format(*server.socket.address)


def connected(server: Server, log: str) -> list[str]:
    """What the program has told of its session with a server."""
    return [line for line in log.splitlines() if where(server) in line and "onnected: " in line]


def test_each_server_is_reached_among_forged_answers(scene: tuple[Scene, Headless]) -> None:
    servers, log = scene[0].servers, scene[1].log()

    assert "EVIL" not in log
    for name, server in servers.items():
        told = connected(server, log)
        assert len(told) == 1, (name, told)
        assert f"({server.socket.id[:8]}" in told[0], (name, told)


def test_each_session_outlives_what_is_forged_in_its_name(scene: tuple[Scene, Headless]) -> None:
    servers, node = scene[0].servers, scene[1]
    end, number = time.monotonic() + AFTERWARDS_S, 0
    while time.monotonic() < end:
        for server in servers.values():
            server.lie(AFTER[number % len(AFTER)])
        number += 1
        for _ in range(5):
            scene[0].step()
    words = {name: str(uuid.uuid4()) for name in servers}
    for name, server in servers.items():
        fields: dict[str, Any] = {"sender_addr": None} if "deployed" in name else {}
        server.socket.say("Data", words[name], **fields)
    scene[0].wire.wait_until(
        lambda: all(word in node.log() for word in words.values()), scene[0].step
    )

    log = node.log()
    assert "EVIL" not in log
    for name, server in servers.items():
        assert len(connected(server, log)) == 1, name
        (told,) = (line for line in log.splitlines() if words[name] in line and "data from" in line)
        assert f"data from {server.socket.id[:8]}" in told, name
