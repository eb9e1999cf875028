"""A deployed client of the Rust server in a simulated network: it speaks, and never acks."""

import asyncio
import json
from typing import Any

from p2ptui import Node
from p2ptui.io.memory import MemorySocket
from p2ptui.wire.address import Address, format_address
from tests.town import Town

NODE_ID = "7d3f0c1a-5b7e-4a53-9c55-0d0a8b6f2e11"


class ReferenceClient:
    """One such client; `connect` makes it."""

    def __init__(self, socket: MemorySocket, server: Node) -> None:
        self.node_id = NODE_ID
        self._socket = socket
        self._server = server.address
        self._messages = 0
        self._received: list[dict[str, Any]] = []

    @classmethod
    async def connect(cls, town: Town, server: Node) -> "ReferenceClient":
        socket = await MemorySocket.open(town.network, town.free_address())
        client = cls(socket, server)
        client.send(
            "HandshakeRequest",
            {
                "id": NODE_ID,
                "name": "deployed",
                "version": "0.1.0",
                "listen_addr": format_address(socket.local_address),
                "capabilities": ["p2p"],
                "metadata": {},
                "network_id": "p2p_default",
            },
            requires_ack=True,
        )
        response = await client.next("HandshakeResponse")
        assert response["payload"]["success"]
        return client

    def send(self, kind: str, payload: Any, *, requires_ack: bool = False) -> None:
        """Send a message as the reference writes it."""
        self._messages += 1
        message = {
            "id": f"{self._messages:08x}-0000-4000-8000-000000000000",
            "message_type": kind,
            "timestamp": 1_795_000_000,
            "payload": payload,
            "sequence_number": 1,
            "requires_ack": requires_ack,
            "ack_for": None,
            "sender_addr": format_address(self._socket.local_address),
        }
        self._socket.send(json.dumps(message).encode(), self._server)

    async def next(self, kind: str) -> dict[str, Any]:
        """The next message of a type."""
        async with asyncio.timeout(10):
            while True:
                while self._received:
                    message = self._received.pop(0)
                    if message["message_type"] == kind:
                        return message
                await self._socket.wait()
                self._received += [json.loads(data) for data, _ in self._socket.drain(100)]

    def close(self) -> None:
        """Leave without a word."""
        self._socket.close()

    @property
    def address(self) -> Address:
        """Where it is."""
        return self._socket.local_address

    @property
    def texts(self) -> list[Any]:
        """The Data that it would have shown its user."""
        return [m["payload"] for m in self._received if m["message_type"] == "Data"]

    async def answer_ping(self) -> None:
        """Wait for something, and answer what is a Ping, wherever it came from."""
        await self._socket.wait()
        for data, source in self._socket.drain(100):
            message = json.loads(data)
            self._received.append(message)
            if message["message_type"] == "Ping":
                pong = {"message_type": "Pong", "payload": None, "ack_for": None}
                self._socket.send(json.dumps(message | pong).encode(), source)
