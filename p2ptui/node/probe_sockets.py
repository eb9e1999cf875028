"""The sockets of tests, beside a node's own: how they are opened, bound and used."""

import random
from collections.abc import Awaitable, Callable
from functools import cached_property, partial
from typing import TypeAlias

from p2ptui.core.counters import Counters
from p2ptui.core.gate import Gate
from p2ptui.errors import BindError
from p2ptui.io.exits import new_gate
from p2ptui.io.interfaces import local_addresses
from p2ptui.io.refusal import find_refusal
from p2ptui.io.stun_client import StunClient
from p2ptui.io.udp import DatagramSocket, open_udp
from p2ptui.node.nat_tests import OpenSocket
from p2ptui.node.presence import is_node_at
from p2ptui.node.stun_contact import FindRefusal
from p2ptui.wire.address import Address, ip_version

OpenPlain: TypeAlias = Callable[[Address], Awaitable[DatagramSocket]]
"""Opens a socket in the way in which the node's own was opened."""


def probe_opener(open_plain: OpenPlain) -> OpenSocket:
    """A function that opens test sockets on the network of the node's own socket."""

    async def open_probe(address: Address, *, unfragmented: bool = False) -> DatagramSocket:
        if open_plain is open_udp:
            return await open_udp(address, broadcast=False, unfragmented=unfragmented)
        return await open_plain(address)

    return open_probe


def refusal_finder(open_plain: OpenPlain, gate: Gate) -> FindRefusal | None:
    """A function that asks whether a machine itself says that nothing listens; None if this network
    cannot.
    """
    return partial(find_refusal, gate=gate) if open_plain is open_udp else None


class ProbeSockets:
    """Opens sockets for tests.

    Args:
        open_socket: Opens a socket.
        rng: The source of ids.
        host: Where they are bound: one IP address, or None for any that fits.
        counters: Counts what is sent from them; None if nobody reads it.
    """

    def __init__(
        self,
        open_socket: OpenSocket,
        rng: random.Random,
        host: str | None,
        counters: Counters | None = None,
    ) -> None:
        self.open = open_socket
        self.gate = new_gate(counters)
        """Grants what is sent from them."""
        self._rng = rng
        self._host = host

    @cached_property
    def own_hosts(self) -> set[str]:
        """The IP addresses of this machine; read by the first test that needs them."""
        return {host.partition("%")[0] for host in local_addresses()}

    def host(self, version: int) -> str:
        """Where a socket of this IP version is bound."""
        if self._host is not None and ip_version(self._host) == version:
            return self._host
        return "::" if version == 6 else "0.0.0.0"

    async def client(self, version: int) -> StunClient:
        """A STUN client at a fresh socket.

        Raises:
            BindError: It cannot be opened.
        """
        sock = await self.open((self.host(version), 0))
        client = StunClient(sock, self._rng, self.gate)
        self.own_hosts.add(client.local_address[0].partition("%")[0])
        return client

    async def is_node(self, address: Address) -> bool:
        """Whether a node answers small datagrams at an address; it need not answer others."""
        try:
            host = self.host(ip_version(address[0]))
            return await is_node_at(self.open, host, address, self._rng, self.gate)
        except BindError:
            return False
