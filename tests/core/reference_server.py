"""A server of the reference's kind, whole enough to be restarted: what it keeps, and what not.

It serves anybody, answers Pings of strangers, pings its peers only, and lists all of them in a
ListNodesResponse, the one who asks included.
"""

import json
from typing import Any

from p2ptui.wire.address import Address, format_address
from tests.simulation import Puppet, World

SERVER_ID = "c2c1925c-1915-406c-b0bf-7ddc23455e50"


class ReferenceServer(Puppet):
    """One such server; `World` runs its heartbeats."""

    def __init__(self, world: World, heartbeat_s: float = 30.0, node_id: str = SERVER_ID) -> None:
        super().__init__(world, world.network.attach(world.address()), node_id)
        self.answers_pings = False  # it does that itself
        self.heartbeat_s = heartbeat_s
        self.peers: dict[Address, dict[str, Any]] = {}
        self.handshakes = 0
        self.lists_asked = 0
        self.answers_lists = True
        self.acknowledges = True
        self._next_beat = world.now + heartbeat_s
        world.hosts[self.address] = self
        world._nodes[self.address] = self  # type: ignore[assignment]

    @property
    def endpoint(self) -> "ReferenceServer":
        """What `World` asks for timers."""
        return self

    def restart(self) -> None:
        """Killed and started again at once: nobody is known any more."""
        self.peers.clear()
        self._next_beat = self.world.now + self.heartbeat_s

    def next_timeout(self) -> float:
        return self._next_beat

    def handle_timeout(self, now: float) -> None:
        while self._next_beat <= now:
            self._next_beat += self.heartbeat_s
        for address in self.peers:
            self.send(self.message("Ping"), address)

    def receive(self, data: bytes, source: Address) -> None:
        message = json.loads(data)
        kind, payload = message["message_type"], message["payload"]
        self.inbox.append(data)
        if kind == "HandshakeRequest":
            self.handshakes += 1
            self.peers[source] = payload
            self._acknowledge(message, source)
            self.send(self.message("HandshakeResponse", self._welcome(source)), source)
            self.send(self.message("DiscoveryResponse", self._others(source)), source)
        elif kind == "Ping":
            self.send(self.message("Pong"), source)
        elif kind == "ListNodesRequest":
            self.lists_asked += 1
            if self.answers_lists:
                self.send(self.message("ListNodesResponse", {"nodes": self._nodes()}), source)
        elif message["requires_ack"]:
            self._acknowledge(message, source)

    def _acknowledge(self, message: dict[str, Any], source: Address) -> None:
        if self.acknowledges:
            self.send(self.message("Ack", ack_for=message["id"]), source)

    def _info(self, known: dict[str, Any], address: Address) -> dict[str, Any]:
        keys = ("id", "name", "version", "capabilities", "metadata", "network_id")
        return {key: known[key] for key in keys} | {"listen_addr": format_address(address)}

    def _nodes(self) -> list[dict[str, Any]]:
        return [self._info(known, address) for address, known in self.peers.items()]

    def _others(self, source: Address) -> list[dict[str, Any]]:
        return [
            {"id": known["id"], "addr": format_address(address), "last_seen": 1, "capabilities": []}
            for address, known in self.peers.items()
            if address != source
        ]

    def _welcome(self, source: Address) -> dict[str, Any]:
        own = self.handshake_request(name="server")["payload"]
        return {
            "node_info": own | {"metadata": {"network_id": "p2p_default"}},
            "success": True,
            "error_message": None,
            "public_addr": format_address(source),
        }
