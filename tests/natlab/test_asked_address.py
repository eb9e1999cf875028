"""A host with several addresses answers from the one that was asked, as only a kernel can show.

The client's socket is connected: the system hands it nothing that comes from another address.
"""

import json
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from p2ptui.wire.stun import BINDING, Change, MessageClass, StunMessage, decode, encode
from tests.bench.load import _message
from tests.natlab.laboratory import Host, Laboratory
from tests.patience import PATIENCE_S

PORT = 8080
LISTENS = ("0.0.0.0", "[::]")
HOW = ("pktinfo", "sockets")
"""As Linux tells it, and as other systems do without."""


class Client:
    """A deployed program's peer, byte by byte: it hears only from where it asked."""

    def __init__(self, host: Host, server: str, port: int = PORT) -> None:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        self.socket = host.socket(family, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect((server, port))
        self.server = server
        self.id = str(uuid.uuid4())
        self.waiting: list[dict[str, Any]] = []

    def say(self, kind: str, payload: Any = None, **fields: Any) -> str:
        message_id = str(uuid.uuid4())
        self.socket.send(_message(kind, payload, message_id, **fields).encode())
        return message_id

    def hear(self, kind: str) -> dict[str, Any]:
        """The next message of a kind; what asks for an Ack or a Pong gets it."""
        while True:
            message: dict[str, Any] = json.loads(self.socket.recv(65_535))
            if message["requires_ack"]:
                self.say("Ack", ack_for=message["sequence_number"] or message["id"])
            if message["message_type"] == "Ping":
                self.say("Pong", message["payload"])
            if message["message_type"] == kind:
                return message

    def shake_hands(self) -> None:
        payload = {
            "node_id": self.id,
            "listen_addr": "127.0.0.1:1",
            "capabilities": ["data_transfer"],
            "metadata": {"padding": " " * 500},
        }
        self.say("HandshakeRequest", payload, sequence_number=1, requires_ack=True)
        assert self.hear("HandshakeResponse")["payload"]["success"]

    def ask_stun(self, change: Change | None = None) -> StunMessage:
        request = StunMessage(
            message_class=MessageClass.REQUEST,
            method=BINDING,
            transaction_id=uuid.uuid4().bytes[:12],
            change_request=change,
        )
        self.socket.send(encode(request))
        while True:  # the answer to an earlier one, which was given up, may come now
            answer = decode(self.socket.recv(65_535))
            if answer.transaction_id == request.transaction_id:
                return answer


class Town:
    """A server with three addresses, and one client host."""

    def __init__(self, laboratory: Laboratory) -> None:
        self.server = laboratory.server(ipv6=True)
        self.client = laboratory.public_host(ipv6=True)
        first = str(self.server.address6)
        # The second IPv6 address is deprecated, as a temporary one is after a day: the system
        # never chooses it by itself.
        self.second6 = first[:-1] + "9"
        self.second_local = "fe80::9"
        self.server.ip(
            [
                f"address add {address}/64 dev eth0 nodad preferred_lft 0"
                for address in (self.second6, self.second_local)
            ]
        )
        self.second = self.server.addresses[1]
        self.process: subprocess.Popen[str] | None = None

    def start(self, listen: str, how: str) -> None:
        self.process = self.server.start(
            ["python", "-m", "tests.natlab.asked_node", f"{listen}:{PORT}", f"{listen}:3478", how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "serving\n"

    def push(self) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def asked(self, listen: str) -> Iterator[str]:
        """The addresses that a system would not choose, and one that it would."""
        yield self.second
        yield self.server.address
        if listen == "[::]":
            yield self.second6
            yield str(self.server.address6)


@pytest.fixture
def town(laboratory: Laboratory) -> Town:
    return Town(laboratory)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("listen", LISTENS)
def test_all_that_a_peer_is_sent_comes_from_where_it_asked(
    town: Town, listen: str, how: str
) -> None:
    town.start(listen, how)
    for server in town.asked(listen):
        client = Client(town.client, server)
        client.shake_hands()
        client.say("Ping", {"nonce": "one"})
        assert client.hear("Pong")["payload"] == {"nonce": "one"}
        key = 7
        client.say("Data", "hello", sequence_number=key, requires_ack=True)
        while client.hear("Ack")["ack_for"] != key:
            pass
        client.hear("Ping")  # a heartbeat, which the node begins by itself
        town.push()
        assert client.hear("Data")["payload"] == "pushed"
        client.say("Disconnect")
        client.socket.close()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("listen", LISTENS)
def test_stun_answers_from_where_it_was_asked_and_says_so(
    town: Town, listen: str, how: str
) -> None:
    town.start(listen, how)
    for server in town.asked(listen):
        for port in (PORT, 3478, 3479):
            client = Client(town.client, server, port)
            answer = client.ask_stun()
            assert answer.xor_mapped == client.socket.getsockname()[:2]
            assert answer.response_origin == (server, port)
            client.socket.close()


def test_the_alternate_port_answers_from_the_same_address(town: Town) -> None:
    town.start("0.0.0.0", "pktinfo")
    sock = town.client.udp_socket(timeout_s=PATIENCE_S)
    for server in town.server.addresses:
        for asked, answers in ((3478, 3479), (3479, 3478), (PORT, 3478)):
            request = StunMessage(
                message_class=MessageClass.REQUEST,
                method=BINDING,
                transaction_id=uuid.uuid4().bytes[:12],
                change_request=Change.PORT,
            )
            sock.sendto(encode(request), (server, asked))
            data, source = sock.recvfrom(65_535)
            assert source == (server, answers)
            assert decode(data).response_origin == source


def test_an_address_that_has_gone_does_not_silence_its_peer(town: Town) -> None:
    town.start("0.0.0.0", "pktinfo")
    client = Client(town.client, town.second)
    client.shake_hands()
    # A socket at the same port that hears everybody: the system's own choice is all that is left.
    port = client.socket.getsockname()[1]
    client.socket.close()
    ear = town.client.udp_socket(port=port, timeout_s=PATIENCE_S)
    town.server.ip([f"address del {town.second}/24 dev eth0"])
    while True:
        _, source = ear.recvfrom(65_535)
        if source[0] == town.server.address:
            return


@pytest.mark.parametrize("how", HOW)
def test_an_address_that_comes_later_is_served(town: Town, how: str) -> None:
    town.start("0.0.0.0", how)
    late = town.second.rpartition(".")[0] + ".77"
    town.server.ip([f"address add {late}/24 dev eth0"])
    client = Client(town.client, late)
    client.socket.settimeout(0.1)
    for _ in range(int(PATIENCE_S / 0.1)):
        with suppress(OSError):  # until it is noticed: nothing, or a refusal
            assert client.ask_stun().response_origin == (late, PORT)
            return
    raise AssertionError("never answered")


@pytest.mark.parametrize("listen", ["0.0.0.0", "[::]"])
def test_a_broadcast_is_answered_from_an_address_of_the_host(town: Town, listen: str) -> None:
    town.start(listen, "pktinfo")
    neighbour = town.server.udp_socket(timeout_s=PATIENCE_S)
    neighbour.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    broadcast = town.server.address.rpartition(".")[0] + ".255"
    request = StunMessage(
        message_class=MessageClass.REQUEST, method=BINDING, transaction_id=bytes(12)
    )
    neighbour.sendto(encode(request), (broadcast, PORT))
    data, source = neighbour.recvfrom(65_535)
    assert source[0] in town.server.addresses
    assert decode(data).response_origin == source


@pytest.mark.parametrize("how", HOW)
def test_a_link_local_address_is_answered_from_itself(town: Town, how: str) -> None:
    town.start("[::]", how)
    with town.server.entered():
        interface = socket.if_nametoindex("eth0")
    ear = town.server.udp_socket("::", timeout_s=PATIENCE_S)
    request = StunMessage(
        message_class=MessageClass.REQUEST, method=BINDING, transaction_id=bytes(12)
    )
    for host in (town.second_local, "fe80::2"):
        ear.sendto(encode(request), (host, PORT, 0, interface))
        _, source = ear.recvfrom(65_535)
        assert source[0].partition("%")[0] == host
