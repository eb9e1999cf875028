"""Looking hosts up and shaking hands, by an address or by way of a server's introduction."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import ConnectResult
from p2ptui.core.peers import Peer
from p2ptui.errors import LocalError, P2PError, PeerTimeoutError
from p2ptui.io.resolve import resolve
from p2ptui.node.arguments import single_host
from p2ptui.wire.address import Address
from p2ptui.wire.message import Capability

SHORTEST_ATTEMPT_S: Final = 0.1
"""What a handshake gets after a look-up that took all the time."""

LONGEST_SHARE_S: Final = 2.5
"""A server that brings no answer for so long is dead, or its peer is: the next one is asked."""


class Connector:
    """Makes connections for a node.

    Args:
        endpoint: Its protocol.
        call: Waits for the end of a call on the endpoint.
        clock: The time on the endpoint's clock, seconds.
        local_host: Where the node's socket is bound.
        require_running: Raises once the node is closed or broken.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        call: Callable[[int], Awaitable[Any]],
        clock: Callable[[], float],
        local_host: str,
        require_running: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._call = call
        self._clock = clock
        self._local_host = local_host
        self._require_running = require_running

    async def connect(self, address: Address, timeout_s: float) -> ConnectResult:
        """Look a host up and shake hands with the node there, all within `timeout_s` seconds.

        Raises:
            P2PError: It cannot be found, refused, or did not answer.
        """
        deadline = self._clock() + timeout_s
        address = await self.resolve(address, timeout_s)
        self._require_running()
        left = max(deadline - self._clock(), SHORTEST_ATTEMPT_S)
        result: ConnectResult = await self._call(
            self._endpoint.connect(address, self._clock(), left)
        )
        return result

    async def connect_by_id(self, node_id: str, timeout_s: float) -> ConnectResult:
        """Have the joined servers introduce a node, and shake hands with it.

        The quickest server is asked first, and one that has fallen silent last.

        Raises:
            LocalError: No server is joined.
            P2PError: The last server's introduction led nowhere.
        """
        servers = [peer for peer in self._endpoint.peers if peer.is_joined_server]
        servers.sort(key=lambda server: _usefulness(server, self._clock()))
        if not servers:
            raise LocalError(f"cannot find node {node_id}: join a server first")
        deadline = self._clock() + timeout_s
        while True:
            # A silent server must not use up the time of the next one.
            left = deadline - self._clock()
            share = left if len(servers) == 1 else min(left / len(servers), LONGEST_SHARE_S)
            try:
                return await self._ask_server(
                    servers.pop(0), node_id, max(share, SHORTEST_ATTEMPT_S)
                )
            except P2PError:
                if not servers:
                    raise

    async def _ask_server(self, server: Peer, node_id: str, timeout_s: float) -> ConnectResult:
        try:
            # The endpoint ends the call itself, and says why; this is for a server that is lost.
            async with asyncio.timeout(timeout_s + SHORTEST_ATTEMPT_S):
                token = self._endpoint.introduce(server, node_id, self._clock(), timeout_s)
                result: ConnectResult = await self._call(token)
        except TimeoutError:
            raise PeerTimeoutError(f"node {node_id} did not answer in time") from None
        return result

    async def resolve(self, address: Address, timeout_s: float) -> Address:
        """Look a host up, in the family of the socket.

        Raises:
            LocalError: It does not resolve in time, or means no single host.
        """
        family = _family_of(self._local_host)
        try:
            async with asyncio.timeout(timeout_s):
                found = await resolve(address, family=family)
        except TimeoutError:
            raise LocalError(
                f"cannot resolve host {address[0]!r} within {timeout_s:g} s;"
                " check the network, or use an IP address"
            ) from None
        return single_host(found)


def _usefulness(server: Peer, now: float) -> tuple[bool, bool, float]:
    """The lower, the earlier it is asked: it answers, it relays, it is near."""
    rtt_s = server.channel.rtt.srtt
    relays = Capability.RELAY in server.capabilities
    return server.is_silent(now), not relays, float("inf") if rtt_s is None else rtt_s


def _family_of(host: str) -> socket.AddressFamily:
    # The wildcard of IPv6 takes both families.
    if host == "::":
        return socket.AF_UNSPEC
    return socket.AF_INET6 if ":" in host else socket.AF_INET
