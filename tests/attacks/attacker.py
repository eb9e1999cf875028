"""Whoever can forge sources, in a simulated network, and the ledger of what that buys."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from p2ptui.wire.address import Address
from tests.simulation import Host, Puppet, World


@dataclass
class Traffic:
    """What went one way."""

    datagrams: int = 0
    size: int = 0
    """Bytes."""
    kinds: Counter[str] = field(default_factory=Counter)
    """How many of each message type; frames and STUN by their first byte."""

    def add(self, data: bytes) -> None:
        self.datagrams += 1
        self.size += len(data)
        self.kinds[_kind(data)] += 1


@dataclass
class Account:
    """What a node was sent in the name of a host, and what it sent there."""

    came: Traffic = field(default_factory=Traffic)
    went: Traffic = field(default_factory=Traffic)
    handshakes: int = 0
    """HandshakeRequests among what came."""

    @property
    def factor(self) -> float:
        """Bytes that went there for each that came in its name."""
        return self.went.size / max(self.came.size, 1)

    @property
    def datagrams_over(self) -> int:
        """Datagrams that went there beyond three for each that came and six for each handshake."""
        return self.went.datagrams - 3 * self.came.datagrams - 6 * self.handshakes


class Ledger:
    """Counts what a node receives and sends, by the other side's host; from when it is made."""

    def __init__(self, node: Host) -> None:
        self._node = node
        self._accounts: dict[str, Account] = {}
        network = node.world.network
        send = network.send

        def counted(data: bytes, source: Address, to: Address, *more: Any, **rest: Any) -> Any:
            if source[0] == node.address[0]:
                self.of(to[0]).went.add(data)
            elif to[0] == node.address[0]:
                account = self.of(source[0])
                account.came.add(data)
                account.handshakes += _kind(data) == "HandshakeRequest"
            return send(data, source, to, *more, **rest)

        network.send = counted  # type: ignore[method-assign]

    def of(self, host: str | Address | Puppet | Host) -> Account:
        """The account of a host, all its ports together."""
        if not isinstance(host, (str, tuple)):
            host = host.address
        name = host if isinstance(host, str) else host[0]
        return self._accounts.setdefault(name, Account())


class Attacker:
    """Sends whatever it likes in whoever's name; it receives nothing of what comes of that.

    Args:
        world: Where.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def in_the_name_of(self, address: Address, node_id: str | None = None) -> Puppet:
        """A pen that writes messages with this source; it need not be anybody's address.

        It is attached to nothing: what is sent to the address goes to who lives there, if anybody.
        """
        return Puppet(self.world, address, node_id or self.world.node_id())

    def forge(self, source: Address, to: Host, message: dict[str, Any] | bytes) -> int:
        """Send one datagram from a forged source; its bytes."""
        data = message if isinstance(message, bytes) else _compact(message)
        self.world.network.send(data, source, to.address, self.world.now)
        return len(data)


def _compact(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _kind(data: bytes) -> str:
    if data[:1] != b"{":
        return f"0x{data[0]:02x}" if data else "empty"
    try:
        return str(json.loads(data).get("message_type"))
    except ValueError:
        return "not JSON"
