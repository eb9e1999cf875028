"""Addresses of the loopback network that talk to a node which runs: plain sockets, and raw ones.

Real sockets on distinct loopback addresses: each counts what arrives where it is. Whoever writes
blindly in the name of one of them need not be elsewhere: it reads nothing of what comes.
"""

import json
import random
import selectors
import socket
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

import pytest

from p2ptui.wire.address import Address, format_address
from p2ptui.wire.message import OWN_CAPABILITIES
from tests.attacks.flood import can_forge, packet
from tests.patience import PATIENCE_S

DEPLOYED: Final = ("handshake", "discovery", "data_transfer")

needs_raw_sockets = pytest.mark.skipif(
    not can_forge(), reason="a source is forged with raw sockets, which are not allowed here"
)


def address_of(text: str) -> Address:
    """A numeric address as programs show it."""
    host, _, port = text.rpartition(":")
    return host, int(port)


def compact(message: dict[str, Any]) -> bytes:
    """A message as bytes."""
    return json.dumps(message, separators=(",", ":")).encode()


def envelope(kind: str, payload: Any = None, **fields: Any) -> dict[str, Any]:
    """A message that nobody has written before."""
    message = {"id": str(uuid.uuid4()), "message_type": kind, "timestamp": 1}
    return message | fields | {"payload": payload}


def handshake(node_id: str, *capabilities: str, name: str = "somebody", **more: Any) -> Any:
    """What says who shakes hands."""
    payload = {"id": node_id, "name": name, "version": "1", "listen_addr": "127.0.0.1:1"}
    return payload | {"capabilities": list(capabilities)} | more


class Forger:
    """Sends in anybody's name; it hears nothing."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def send(self, message: dict[str, Any] | bytes, source: Address, to: Address) -> None:
        """One datagram from a forged source."""
        data = message if isinstance(message, bytes) else compact(message)
        host, target = socket.inet_aton(source[0]), socket.inet_aton(to[0])
        self._socket.sendto(packet(data, host, source[1], to[1], target), (to[0], 0))

    def close(self) -> None:
        self._socket.close()


class Ears:
    """All datagrams that come to a host, whatever the port; nobody answers there."""

    def __init__(self, host: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.setblocking(False)
        self._socket.bind((host, 0))
        self.host = host
        self.came = self.came_bytes = 0

    def count(self) -> int:
        """Count what has come; how many datagrams in all."""
        try:
            while True:
                data = self._socket.recv(65_535)
                self.came += 1
                self.came_bytes += len(data) - 28
        except BlockingIOError:
            return self.came

    def close(self) -> None:
        self._socket.close()


class Wire:
    """The addresses that take part, and the node.

    Args:
        node: Where it is.
    """

    def __init__(self, node: Address = ("", 0)) -> None:
        self.node = node
        self.selector = selectors.DefaultSelector()
        self.addresses: list[Somebody] = []

    def at(self, host: str) -> "Somebody":
        somebody = Somebody(host, self)
        self.addresses.append(somebody)
        self.selector.register(somebody.socket, selectors.EVENT_READ, somebody)
        return somebody

    def turn(self, wait_s: float) -> None:
        """Take what arrives, for so long at most."""
        for key, _ in self.selector.select(wait_s):
            key.data.receive()

    def run_for(self, seconds: float) -> None:
        """Take all that arrives, for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.turn(left)

    def wait_until(self, condition: Callable[[], bool], step: Callable[[], Any] = bool) -> None:
        """Take what arrives until something is so; take a step again and again meanwhile."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end
            step()
            self.turn(0.05)

    def close(self) -> None:
        for somebody in self.addresses:
            somebody.socket.close()
        self.selector.close()


class Somebody:
    """An address that sends to the node, and counts what comes from there."""

    def __init__(self, host: str, wire: Wire) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.setblocking(False)
        self.socket.bind((host, 0))
        self.address: Address = self.socket.getsockname()
        self.wire = wire
        self.node = wire.node
        """Where it sends."""
        self.id = str(uuid.uuid4())
        self.answers = False
        """Whether it answers Pings with what they carry, as who is there can."""
        self.answers_null = False
        """Or with `null`, as deployed clients do."""
        self.serves: tuple[str, ...] | None = None
        """Whether it takes whoever shakes hands, and with which capabilities."""
        self.sent_bytes = self.sent = self.handshakes = 0
        self.came_bytes = self.came = 0
        self.kinds: list[str] = []
        self.heard: list[dict[str, Any]] = []
        """The messages."""

    def receive(self) -> None:
        try:
            while True:
                data, source = self.socket.recvfrom(65_535)
                self.came += 1
                self.came_bytes += len(data)
                message = json.loads(data) if data[:1] == b"{" else {"message_type": "frame"}
                self.kinds.append(message["message_type"])
                self.heard.append(message)
                self._answer(message, source)
        except BlockingIOError:
            pass

    def _answer(self, message: dict[str, Any], source: Address) -> None:
        kind = message["message_type"]
        if kind == "Ping" and self.answers:
            self.say("Pong", message["payload"])
        elif kind == "Ping" and self.answers_null:
            self.say("Pong", sender_addr=None)
        elif kind == "HandshakeRequest" and self.serves is not None:
            self.node = source
            self.welcome(message, self.serves)
        elif self.serves == DEPLOYED and message.get("requires_ack"):
            self.say("Ack", ack_for=message["id"], sender_addr=None)
        elif self.serves is not None and message.get("requires_ack"):
            self.say("Ack", ack_for=message["sequence_number"])

    def welcome(self, request: dict[str, Any], capabilities: tuple[str, ...]) -> None:
        """Let somebody in, as a server of our own kind, or as a deployed one."""
        payload = {
            "node_info": handshake(self.id, *capabilities, name="server"),
            "success": True,
            "error_message": None,
            "public_addr": format_address(self.node),
        }
        if capabilities == DEPLOYED:
            self.say("HandshakeResponse", payload, sender_addr=None, sequence_number=1)
            self.say("Ack", ack_for=request["id"], sender_addr=None)
        else:
            number = random.getrandbits(31)
            asked = request.get("sequence_number")
            self.say("HandshakeResponse", payload, ack_for=asked, sequence_number=number)
            self.say("Ack", ack_for=asked)

    def say(self, kind: str, payload: Any = None, **fields: Any) -> dict[str, Any]:
        """Send a message; it."""
        message = envelope(kind, payload, **fields)
        self.put(compact(message))
        self.handshakes += kind == "HandshakeRequest"
        return message

    def put(self, data: bytes) -> None:
        """Send one datagram."""
        self.socket.sendto(data, self.node)
        self.sent += 1
        self.sent_bytes += len(data)

    def shake_hands(self, *capabilities: str, name: str = "somebody") -> None:
        """As a node of our own kind, or in the deployed dialect if it can do no more than that."""
        fields = {"sender_addr": None} if capabilities == DEPLOYED else {}
        self.say("HandshakeRequest", handshake(self.id, *capabilities, name=name), **fields)

    def join(self, *capabilities: str, name: str = "somebody") -> None:
        """Shake hands, and show that it is there."""
        self.answers, self.answers_null = capabilities != DEPLOYED, capabilities == DEPLOYED
        self.shake_hands(*capabilities, name=name)
        self.wire.wait_until(lambda: "HandshakeResponse" in self.kinds)
        if self.answers:
            self.say("ListNodesRequest")  # whoever asks for much is asked whether it is there
            self.wire.wait_until(lambda: "ListNodesResponse" in self.kinds)

    def ask(self, kind: str, payload: Any, answer: str) -> list[dict[str, Any]]:
        """Ask, and wait for what answers that: all of these since."""
        first = len(self.heard)

        def found() -> list[dict[str, Any]]:
            return [each for each in self.heard[first:] if each["message_type"] == answer]

        def step() -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + 1.0
                self.say(kind, payload)

        due = 0.0
        self.wire.wait_until(lambda: bool(found()), step)
        return found()

    def route(self, to: str, size: int) -> None:
        """Have the node pass so many bytes on."""
        self.say("Data", routed(self.id, to, "x" * size))

    @property
    def factor(self) -> float:
        return self.came_bytes / self.sent_bytes


def routed(source: str, to: str, payload: Any, hops: int = 0) -> dict[str, Any]:
    """Data that somebody is to pass on."""
    return {
        "original_message": envelope("Data", payload),
        "source_node": source,
        "destination_node": to,
        "hop_count": hops,
        "max_hops": 8,
        "route_id": str(uuid.uuid4()),
    }


OURS: Final = OWN_CAPABILITIES
