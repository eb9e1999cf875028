"""The sockets of tests beside a node's own: how they are opened, bound and asked from."""

import random
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from p2ptui.errors import BindError
from p2ptui.io.refusal import find_refusal
from p2ptui.io.stun_client import StunClient
from p2ptui.io.udp import DatagramSocket, open_udp
from p2ptui.node.nat_tests import OpenSocket
from p2ptui.node.presence import is_node_at
from p2ptui.node.stun_contact import FindRefusal
from p2ptui.wire.address import Address, ip_version

OpenPlain: TypeAlias = Callable[[Address], Awaitable[DatagramSocket]]
"""Opens a socket as the node's own was opened."""


def probe_opener(open_plain: OpenPlain) -> OpenSocket:
    """What opens the sockets of tests on the network that a node's own socket is on."""

    async def open_probe(address: Address, *, unfragmented: bool = False) -> DatagramSocket:
        if open_plain is open_udp:
            return await open_udp(address, broadcast=False, unfragmented=unfragmented)
        return await open_plain(address)

    return open_probe


def refusal_finder(open_plain: OpenPlain) -> FindRefusal | None:
    """What asks whether a machine says itself that nothing listens; None: this network cannot."""
    return find_refusal if open_plain is open_udp else None


class ProbeSockets:
    """Opens sockets for tests.

    Args:
        open_socket: Opens one.
        rng: Where ids come from.
        host: Where they are bound: one IP address, or None for whichever fits.
    """

    def __init__(self, open_socket: OpenSocket, rng: random.Random, host: str | None) -> None:
        self.open = open_socket
        self._rng = rng
        self._host = host

    def host(self, version: int) -> str:
        """Where a socket of this version of IP is bound."""
        if self._host is not None and ip_version(self._host) == version:
            return self._host
        return "::" if version == 6 else "0.0.0.0"

    async def client(self, version: int) -> StunClient:
        """A STUN client at a fresh socket.

        Raises:
            BindError: It cannot be opened.
        """
        return StunClient(await self.open((self.host(version), 0)), self._rng)

    async def is_node(self, address: Address) -> bool:
        """Whether a node answers small datagrams at an address, which need not answer others."""
        try:
            return await is_node_at(
                self.open, self.host(ip_version(address[0])), address, self._rng
            )
        except BindError:
            return False
