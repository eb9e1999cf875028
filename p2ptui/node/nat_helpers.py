"""The nodes that help with a diagnosis: those that serve STUN, and those whose peers send
probes.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import ProbeReport
from p2ptui.core.identity import stun_ports
from p2ptui.core.peers import Peer
from p2ptui.nat.behavior import Change, FilterTest, Reply
from p2ptui.node.depended import Dependencies
from p2ptui.node.nat_tests import Ground, probe_by_peer
from p2ptui.node.whom_to_spare import why_spared
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.message import Capability

PROBE_ANSWER_S: Final = 0.3
"""How long a server may take to answer a request about probes; lost ones are repeated."""

MAX_WITNESSES: Final = 6
"""Addresses of connected nodes that are asked where they see a socket, if there are few servers."""


class NatHelpers:
    """Finds the helpers among a node's peers.

    Args:
        endpoint: The node's protocol.
        call: Waits for the end of a call on the endpoint.
        clock: The time on the endpoint's clock, seconds.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        call: Callable[[int], Awaitable[Any]],
        clock: Callable[[], float],
    ) -> None:
        self._endpoint = endpoint
        self._call = call
        self._clock = clock

    def is_joined(self, text: str) -> bool:
        """Whether this is a joined server, which is asked anyway if it serves STUN."""
        return any(
            format_address(peer.address) == text for peer in self._endpoint.peers.joined_servers
        )

    def joined_stun(self) -> dict[str, tuple[Address, ...]]:
        """Each STUN port of a joined server, as text; with all STUN ports of the same node."""
        found: dict[str, tuple[Address, ...]] = {}
        for peer in self._endpoint.peers.joined_servers:
            if Capability.STUN in peer.capabilities:
                ports = (peer.address[1], *stun_ports(peer.info))
                addresses = tuple((peer.address[0], port) for port in ports)
                found |= {format_address(address): addresses for address in addresses}
        return found

    def witnesses(self) -> list[Address]:
        """Where connected nodes that this one did not join serve STUN, the latest first."""
        found: list[Address] = []
        for peer in self._endpoint.peers.recent():
            serves = (
                peer.is_authenticated and peer.is_plain and Capability.STUN in peer.capabilities
            )
            if serves and not peer.is_joined_server:
                found += [
                    (peer.address[0], port) for port in (peer.address[1], *stun_ports(peer.info))
                ]
        return found[:MAX_WITNESSES]

    def probers(self) -> list[Peer]:
        """The joined servers whose peers can be asked for probes, the best first."""
        return [
            server
            for server in self._endpoint.peers.best_servers(self._clock())
            if Capability.NAT_PROBE in server.capabilities
        ]

    async def probe_by_peer(self, ground: Ground, depended: Dependencies) -> FilterTest:
        """Have a peer of a server send an unsolicited datagram.

        Args:
            ground: The ground of all tests.
            depended: The hosts that the node depends on.
        """
        servers = self.probers()
        if not servers:
            return FilterTest(Change.PEER, Reply.UNTESTABLE, "the joined server has left")
        outside = ground.mapped[0]
        fit = [s for s in servers if s.public_address and s.public_address[0] == outside]
        if not fit:
            # Its peers may be on this side of the NAT, and so may the server itself.
            names = ", ".join(format_address(server.address) for server in servers)
            detail = f"{names} does not see this node at {outside}, where STUN servers see it"
            return FilterTest(Change.PEER, Reply.UNTESTABLE, detail)
        server = fit[0]

        async def ask(tag: bytes) -> ProbeReport:
            token = self._endpoint.probes.request(server, tag, self._clock(), PROBE_ANSWER_S)
            report: ProbeReport = await self._call(token)
            return report

        def refusal(helper: Address | None) -> str | None:
            return why_spared(helper, server.address, depended)

        return await probe_by_peer(ground, server.address, ask, refusal)
