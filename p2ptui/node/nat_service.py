"""The diagnosis as a node runs it: with its own servers and peers, from sockets beside its own."""

import asyncio
import ipaddress
import logging
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from p2ptui.config import Config
from p2ptui.core.addresses import visible_address
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import ProbeReport
from p2ptui.core.identity import stun_ports
from p2ptui.core.peers import Peer
from p2ptui.core.traversal.attempt import NatFacts
from p2ptui.errors import BindError, PeerTimeoutError
from p2ptui.io.exits import new_gate
from p2ptui.io.interfaces import address_towards
from p2ptui.io.refusal import find_refusal
from p2ptui.io.udp import DatagramSocket, open_udp
from p2ptui.nat.behavior import Change, FilterTest, NatType, Reply, Seen
from p2ptui.nat.findings import Finding
from p2ptui.nat.report import NatReport
from p2ptui.node.depended import Dependencies
from p2ptui.node.diagnosis import Diagnosis
from p2ptui.node.nat_evidence import OwnSocket, still_banned
from p2ptui.node.nat_tests import Ground, probe_by_peer
from p2ptui.node.presence import is_node_at
from p2ptui.node.whom_to_spare import DependencyFinder, why_spared
from p2ptui.text import seconds_words
from p2ptui.wire.address import Address, bare_ip, format_address, ip_version
from p2ptui.wire.message import Capability

log = logging.getLogger("p2ptui.nat")

PROBE_ANSWER_S: Final = 0.3
"""A server's answer to a question about probes; lost ones are asked for again."""

MAX_WITNESSES: Final = 6
"""Addresses of connected nodes that are asked where they see a socket, where servers are few."""

LONGEST_BAN_S: Final = 300.0
"""So long the silence of all servers is explained by a ban that was seen; usual is a minute."""

HEARD_GRACE_S: Final = 10.0
"""Who has sent something within a heartbeat and so long shows that UDP passes: a lost Ping, or two,
are asked again meanwhile."""

FIRST_JOIN_S: Final = 0.5
"""So long the first diagnosis of a node waits for a server that is to be joined: it may be the only
one that can be asked."""

LOOK_S: Final = 0.02
"""How often it looks whether one is there."""

OpenPlain: TypeAlias = Callable[[Address], Awaitable[DatagramSocket]]


def diagnoses_at_start(config: Config, local: Address) -> bool:
    """Whether a node finds out at once what its NAT does: others elsewhere could reach it.

    Args:
        config: Every option.
        local: Where its socket is bound.
    """
    return config.nat_detection.enable and not ipaddress.ip_address(local[0]).is_loopback


class NatService:
    """Diagnoses, and tells the traversal of the node what it found.

    Args:
        config: Every option.
        endpoint: The node's protocol.
        local: Where its socket is bound.
        open_socket: Opens sockets as the node's own was opened.
        call: Waits for the end of a call on the endpoint.
        clock: The time on the endpoint's clock, seconds.
        flush: Lets what was asked of the endpoint happen.
        rng: Where transaction ids come from.
    """

    def __init__(
        self,
        config: Config,
        endpoint: Endpoint,
        local: Address,
        open_socket: OpenPlain,
        call: Callable[[int], Awaitable[Any]],
        clock: Callable[[], float],
        flush: Callable[[], None],
        rng: random.Random,
    ) -> None:
        self._config = config
        self._endpoint = endpoint
        self._local = local
        self._open_socket = open_socket
        self._call = call
        self._clock = clock
        self._flush = flush
        self._rng = rng
        self.gate = new_gate(endpoint.counters)
        """Grants what is asked from sockets beside the node's own."""
        self._banned_at = -math.inf
        """When a diagnosis last had a server banned, on the endpoint's clock."""
        self._awaited_join = False
        self.found_at: Mapping[Address, Address] = {}
        """Where servers are that are kept joined, by what they were told as."""

    def reload(self, config: Config) -> None:
        """Go by other options from now on."""
        self._config = config

    async def diagnose(
        self,
        servers: Sequence[str] | None = None,
        *,
        lifetime: bool = False,
        on_progress: Callable[[str], None] | None = None,
        filter_with: Sequence[str] = (),
    ) -> NatReport:
        """Run one diagnosis; see `Node.diagnose_nat`."""
        options = self._config.nat_detection
        if servers is None:
            await self._wait_for_first_server()
        others = options.stun_servers if servers is None else servers
        joined = self._joined_stun()
        servers = [*joined, *(text for text in filter_with if not self._is_joined(text)), *others]
        depended = DependencyFinder(self._config, self._endpoint, filter_with, self.found_at)

        def note(text: str) -> None:
            log.log(logging.INFO if options.verbose_logging else logging.DEBUG, "%s", text)
            if on_progress is not None:
                on_progress(text)

        diagnosis = Diagnosis(
            self.open_probe,
            self._rng,
            host=self.probe_host,
            sends=options.retry_count + 1,
            on_progress=note,
            own=self._own_socket(),
            probe_by_peer=self._probe_by_peer if self._probe_servers() else None,
            find_refusal=(
                partial(find_refusal, gate=self.gate) if self._open_socket is open_udp else None
            ),
            find_depended=depended.find,
            witnesses=self._witnesses(),
            gate=self.gate,
        )
        limit_s = options.detection_timeout_ms / 1000
        try:
            async with asyncio.timeout(None if lifetime else limit_s):
                report = await diagnosis.run(servers, joined=joined, lifetime=lifetime)
        except TimeoutError:
            raise PeerTimeoutError(
                f"the diagnosis took longer than {seconds_words(limit_s)} (detection_timeout_ms)"
            ) from None
        report = self._explain_ban(report)
        if report.udp is not None:
            # Also where no server saw enough to name it: nothing is guessed, and the traversal
            # need not wait any longer.
            nat_type = NatType.UNKNOWN if report.is_doubtful else report.nat_type
            facts = NatFacts(nat_type, report.mapping, report.port_allocation, diagnosed=True)
            self._endpoint.traversal.facts_ready(facts, self._clock())
            if report.lifetime_s is not None and report.mapped:
                self._endpoint.keepalives.note_measured(report.mapped[0], report.lifetime_s)
            self._flush()
        return report

    async def _wait_for_first_server(self) -> None:
        is_needed = bool(self._config.server.join) and not self._awaited_join
        self._awaited_join = True
        for _ in range(round(FIRST_JOIN_S / LOOK_S) if is_needed else 0):
            if self._endpoint.peers.joined_servers:
                return
            await asyncio.sleep(LOOK_S)

    def _explain_ban(self, report: NatReport) -> NatReport:
        """Who was banned by an earlier diagnosis is silent for that, and nothing is blocked."""
        now = self._clock()
        if Finding.BANS_UNASKED_SENDERS in report.findings:
            self._banned_at = now
        ago_s = now - self._banned_at
        if report.nat_type is not NatType.BLOCKED or ago_s > LONGEST_BAN_S:
            return report
        line = (
            f"{Finding.BANS_UNASKED_SENDERS}: a diagnosis had servers banned {ago_s:.0f} s ago;"
            " they may be silent for that"
        )
        return still_banned(report, line)

    def joined_stun_servers(self) -> list[str]:
        """The servers that this node joined and that serve STUN, at each of their ports."""
        return list(self._joined_stun())

    def _is_joined(self, text: str) -> bool:
        """Whether this is a joined server, which is asked anyway where it serves STUN."""
        return any(
            format_address(peer.address) == text for peer in self._endpoint.peers.joined_servers
        )

    def _joined_stun(self) -> dict[str, tuple[Address, ...]]:
        """Each such port, as text; and all ports of the same node."""
        found: dict[str, tuple[Address, ...]] = {}
        for peer in self._endpoint.peers.joined_servers:
            if Capability.STUN in peer.capabilities:
                ports = (peer.address[1], *stun_ports(peer.info))
                addresses = tuple((peer.address[0], port) for port in ports)
                found |= {format_address(address): addresses for address in addresses}
        return found

    def _witnesses(self) -> list[Address]:
        """Where connected nodes serve STUN that this one did not join, the latest first."""
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

    def _own_socket(self) -> OwnSocket:
        """Where the servers that were joined see the node's own socket."""
        now = self._clock()
        recent_s = self._config.server.heartbeat_interval + HEARD_GRACE_S
        servers = self._endpoint.peers.best_servers(now)
        local = address_towards(self._local, servers[0].address) if servers else self._local
        seen = [Seen(p.address, p.public_address) for p in servers if p.public_address is not None]
        # Of a relayed one the server is heard, of one at a further socket the node itself.
        heard = dict.fromkeys(
            visible_address(peer.sends_to)
            for peer in self._endpoint.peers
            if peer.is_authenticated
            and (peer.proved or peer.initiated)
            and now - peer.last_received <= recent_s
        )
        return OwnSocket(local, tuple(seen), tuple(heard))

    async def open_probe(self, address: Address, *, unfragmented: bool = False) -> DatagramSocket:
        """Open a socket for a test, beside the node's own."""
        if self._open_socket is open_udp:
            return await open_udp(address, broadcast=False, unfragmented=unfragmented)
        return await self._open_socket(address)

    async def is_node(self, address: Address) -> bool:
        """Whether a node answers small datagrams at an address, which need not answer others."""
        host = self.probe_host
        if host is None or ip_version(host) != ip_version(address[0]):
            host = "::" if ip_version(address[0]) == 6 else "0.0.0.0"
        try:
            return await is_node_at(self.open_probe, host, address, self._rng, self.gate)
        except BindError:
            return False

    @property
    def probe_host(self) -> str | None:
        """Where the sockets of a diagnosis are bound; None: wherever the way to a server begins.

        A node that listens on this machine alone may still want to know what is around it.
        """
        ip = bare_ip(self._local[0])
        return None if ip.is_unspecified or ip.is_loopback else self._local[0]

    def _probe_servers(self) -> list[Peer]:
        """The joined servers whose peers can be asked for probes, the best first."""
        return [
            server
            for server in self._endpoint.peers.best_servers(self._clock())
            if Capability.NAT_PROBE in server.capabilities
        ]

    async def _probe_by_peer(self, ground: Ground, depended: Dependencies) -> FilterTest:
        servers = self._probe_servers()
        if not servers:
            return FilterTest(Change.PEER, Reply.UNTESTABLE, "the joined server has left")
        outside = ground.mapped[0]
        fit = [s for s in servers if s.public_address and s.public_address[0] == outside]
        if not fit:
            # Its peers may be on this side of the NAT, as it may itself.
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
