"""Whole sessions with a program that has its own Noise, its own keys and its own frames, in both
roles: only what docs/protocol.md says is in it, and another implementation of Noise."""

import base64
import json
import random
import struct
from typing import Any

import msgspec
import pytest
from noise.connection import Keypair, NoiseConnection

from p2ptui.core.events import ConnectResult
from p2ptui.secure.secret import Secret
from p2ptui.wire.address import Address
from tests.simulation import UNIX_START, Host, World

LABEL = b"p2ptui key exchange 1\0"
NETWORK_KEY = b"n" * 32


def text_of(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def bytes_of(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Program:
    """A node at an address of the world which others wrote."""

    def __init__(self, world: World, seed: int, psk: bytes | None) -> None:
        self.world = world
        self.address: Address = world.network.attach(world.address())
        world.hosts[self.address] = self  # type: ignore[assignment]
        self.rng = random.Random(seed)
        self.psk = psk
        self.pattern = "XXpsk3" if psk else "XX"
        self.noise: Any = None
        self.number = self.rng.getrandbits(32)
        self.other_number = 0
        self.other: Address | None = None
        self.messages: list[dict[str, Any]] = []
        self.counter = 0

    # Handshakes.

    def _account(self) -> list[Any]:
        names = ["data_transfer", "discovery", "handshake", "retransmit"]
        return [bytes(range(32)), "theirs", "9", "10.0.0.9:1", "p2p_default", names, {}]

    def _begin(self, *, is_initiator: bool, prologue: bytes) -> None:
        noise = NoiseConnection.from_name(f"Noise_{self.pattern}_25519_ChaChaPoly_SHA256".encode())
        (noise.set_as_initiator if is_initiator else noise.set_as_responder)()
        noise.set_prologue(prologue)
        noise.set_keypair_from_private_bytes(Keypair.STATIC, self.rng.randbytes(32))
        if self.psk:
            noise.set_psks(self.psk)
        noise.start_handshake()
        self.noise = noise

    def _message(self, kind: str, payload: Any, **fields: Any) -> dict[str, Any]:
        return {
            "id": self.world.message_id(),
            "message_type": kind,
            "timestamp": UNIX_START,
            "payload": payload,
            "sequence_number": self.rng.getrandbits(31),
            "requires_ack": True,
            "ack_for": None,
        } | fields

    def ask(self, host: Host) -> None:
        """Begin a session."""
        payload = {"id": "", "name": "theirs", "version": "9", "network_id": "p2p_default"}
        payload |= {"listen_addr": "10.0.0.9:1", "capabilities": [], "metadata": {}}
        payload |= {"id": "00000000-0000-4000-8000-000000000001", "padding": " " * 400}
        zeros = "0" * len(f"{self.pattern}.{text_of(bytes(48 if self.psk else 32))}")
        message = self._message("HandshakeRequest", payload | {"exchange": zeros})
        request = json.dumps(message).encode()
        self._begin(is_initiator=True, prologue=LABEL + request)
        value = f"{self.pattern}.{text_of(bytes(self.noise.write_message()))}"
        self.other = host.address
        self._send(request.replace(zeros.encode(), value.encode()))

    def _take_response(self, message: dict[str, Any]) -> None:
        inside = bytes(self.noise.read_message(bytes_of(message["payload"]["exchange"])))
        self.other_number = int.from_bytes(inside[:4], "big")
        account, _, response_id, sequence, *_ = msgspec.msgpack.decode(inside[4:])
        assert (response_id, sequence) == (message["id"], message["sequence_number"])
        assert account[1].startswith("node-")
        finish = self.number.to_bytes(4, "big") + msgspec.msgpack.encode([self._account()])
        last = bytes(self.noise.write_message(finish))
        self._send(b"\xe1" + self.other_number.to_bytes(4, "big") + last)
        self.say("Ack", None, requires_ack=False, ack_for=sequence)

    def _take_request(self, data: bytes, message: dict[str, Any]) -> None:
        if self.noise is not None:
            return
        value = message["payload"]["exchange"]
        assert value.startswith(f"{self.pattern}.")
        zeros = b'"' + b"0" * len(value) + b'"'
        self._begin(is_initiator=False, prologue=LABEL + data.replace(f'"{value}"'.encode(), zeros))
        self.noise.read_message(bytes_of(value.partition(".")[2]))
        answer = self._message("HandshakeResponse", None, ack_for=message["sequence_number"])
        inside = [self._account(), None, answer["id"], answer["sequence_number"], bytes(8)]
        sealed = self.number.to_bytes(4, "big") + msgspec.msgpack.encode(inside)
        answer["payload"] = {
            "success": True,
            "error_message": None,
            "node_info": {"id": message["payload"]["id"]},
            "public_addr": None,
            "exchange": text_of(bytes(self.noise.write_message(sealed))),
        }
        self._send(json.dumps(answer).encode())

    # The session.

    def receive(self, data: bytes, source: Address) -> None:
        self.other = source
        if data[:1] == b"\xe0":
            if not self.noise.handshake_finished:
                return  # it overtook message 3
            _, number, counter = struct.unpack("!BIQ", data[:13])
            assert number == self.number
            cipher = self.noise.noise_protocol.cipher_state_decrypt
            cipher.n = counter
            inner = bytes(cipher.decrypt_with_ad(data[:13], data[13:]))
            if inner[:1] == b"{":
                self._take(json.loads(inner))
        elif data[:1] == b"\xe1":
            if not self.noise.handshake_finished:
                assert int.from_bytes(data[1:5], "big") == self.number
                inside = bytes(self.noise.read_message(data[5:]))
                self.other_number = int.from_bytes(inside[:4], "big")
                account, *_ = msgspec.msgpack.decode(inside[4:])
                assert account[1].startswith("node-")
                self._seal(b"")
        elif data[:1] == b"{":
            message = json.loads(data)
            if message["message_type"] == "HandshakeRequest":
                self._take_request(data, message)
            elif not self.noise.handshake_finished:
                self._take_response(message)

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["message_type"]
        if kind == "Ping":
            self.say("Pong", message["payload"], requires_ack=False)
        elif message["requires_ack"]:
            number = message["sequence_number"]
            self.say("Ack", None, requires_ack=False, ack_for=number)
        if kind == "Data":
            self.messages.append(message)

    def say(self, kind: str, payload: Any, **fields: Any) -> None:
        self._seal(json.dumps(self._message(kind, payload, **fields)).encode())

    def _seal(self, data: bytes) -> None:
        header = struct.pack("!BIQ", 0xE0, self.other_number, self.counter)
        cipher = self.noise.noise_protocol.cipher_state_encrypt
        cipher.n = self.counter
        self.counter += 1
        self._send(header + bytes(cipher.encrypt_with_ad(header, data)))

    def _send(self, data: bytes) -> None:
        assert self.other is not None
        self.world.network.send(data, self.address, self.other, self.world.now)

    def settle(self) -> None:
        pass


@pytest.mark.parametrize("psk", [None, NETWORK_KEY], ids=["XX", "XXpsk3"])
@pytest.mark.parametrize("asks", [True, False], ids=["it asks", "it answers"])
@pytest.mark.parametrize("seed", range(5))
def test_a_session_with_an_independent_program(seed: int, asks: bool, psk: bytes | None) -> None:
    world, rng = World(seed), random.Random(seed)
    network_key = None if psk is None else Secret(psk)
    host = world.host(keys=world.keys(network_key=network_key), echo="none")
    program = Program(world, seed, psk)
    if asks:
        program.ask(host)
        world.run_for(1)
    else:
        assert isinstance(host.outcome(host.connect(program.address)), ConnectResult)
        world.run_for(1)
    (peer,) = host.endpoint.peers
    assert peer.is_secured
    assert peer.is_authenticated
    assert peer.name == "theirs"
    texts = [
        "".join(chr(rng.randrange(32, 0x2000)) for _ in range(rng.randrange(300)))
        for _ in range(20)
    ]
    for text in texts:
        token = host.endpoint.send(peer, text, world.now)
        host.settle()
        assert host.outcome(token).delivered
        program.say("Data", text)
        world.run_for(0.1)
    assert [message["payload"] for message in program.messages] == texts
    assert host.received() == texts
    assert host.endpoint.ping(peer, world.now, 5.0)
    world.run_for(70)
    assert peer.is_authenticated, "it answers Pings"


def test_with_another_network_key_there_is_none() -> None:
    world = World()
    host = world.host(keys=world.keys(network_key=Secret(b"x" * 32)))
    program = Program(world, 1, NETWORK_KEY)
    program.ask(host)
    world.run_for(0.05)
    assert not list(host.endpoint.peers)
