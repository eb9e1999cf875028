"""The diagnosis as a node runs it: with its own servers and peers, from sockets beside its own."""

import asyncio
import ipaddress
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from p2ptui.config import Config
from p2ptui.core.addresses import visible_address
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.traversal.attempt import NatFacts
from p2ptui.errors import P2PError, PeerTimeoutError
from p2ptui.io.interfaces import address_towards
from p2ptui.nat.behavior import NatType, Seen
from p2ptui.nat.report import NatReport
from p2ptui.node.diagnosis import Diagnosis
from p2ptui.node.nat_evidence import BanMemory, OwnSocket
from p2ptui.node.nat_helpers import NatHelpers
from p2ptui.node.probe_sockets import OpenPlain, ProbeSockets, probe_opener, refusal_finder
from p2ptui.node.whom_to_spare import DependencyFinder
from p2ptui.text import seconds_words
from p2ptui.wire.address import Address, bare_ip

log = logging.getLogger("p2ptui.nat")

HEARD_GRACE_S: Final = 10.0
"""A peer that has sent something within a heartbeat and this long shows that UDP passes: a lost
Ping, or two, are repeated meanwhile.
"""

FIRST_JOIN_S: Final = 0.5
"""How long a node's first diagnosis waits for a server to be joined: it may be the only one to
ask.
"""

LOOK_S: Final = 0.02
"""How often it checks whether one is there."""


def diagnoses_at_start(config: Config, local: Address) -> bool:
    """Whether a node diagnoses its NAT at once: if nodes on other machines could reach it.

    Args:
        config: Every option.
        local: Where its socket is bound.
    """
    return config.nat_detection.enable and not ipaddress.ip_address(local[0]).is_loopback


class NatService:
    """Runs diagnoses, and tells the node's traversal the results.

    Args:
        config: Every option.
        endpoint: The node's protocol.
        local: Where its socket is bound.
        open_socket: Opens sockets as the node's own was opened.
        call: Waits for the end of a call on the endpoint.
        clock: The time on the endpoint's clock, seconds.
        flush: Carries out what was asked of the endpoint.
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
        self._clock = clock
        self._flush = flush
        self._rng = rng
        self.open_probe = probe_opener(open_socket)
        """Opens a socket for a test, beside the node's own."""
        sockets = ProbeSockets(self.open_probe, rng, self.probe_host, endpoint.counters)
        self.gate = sockets.gate
        """Grants requests from sockets beside the node's own."""
        self.is_node = sockets.is_node
        """Whether a node answers small datagrams at an address; it need not answer others."""
        self._find_refusal = refusal_finder(open_socket, self.gate)
        self._helpers = NatHelpers(endpoint, call, clock)
        self._bans = BanMemory()
        self._awaited_join = False
        self.found_at: Mapping[Address, Address] = {}
        """Where the servers that are kept joined were found, by their addresses as given."""

    def reload(self, config: Config) -> None:
        """Use these options from now on."""
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
        joined = self._helpers.joined_stun()
        servers = [
            *joined,
            *(text for text in filter_with if not self._helpers.is_joined(text)),
            *others,
        ]
        depended = DependencyFinder(self._config, self._endpoint, filter_with, self.found_at)

        def note(text: str) -> None:
            log.log(
                logging.INFO if options.verbose_logging else logging.DEBUG,
                "%s",
                text,
                extra={"event": "nat_progress", "fields": {"text": text}},
            )
            if on_progress is not None:
                on_progress(text)

        diagnosis = Diagnosis(
            self.open_probe,
            self._rng,
            host=self.probe_host,
            sends=options.retry_count + 1,
            on_progress=note,
            own=self._own_socket(),
            probe_by_peer=self._helpers.probe_by_peer if self._helpers.probers() else None,
            find_refusal=self._find_refusal,
            find_depended=depended.find,
            witnesses=self._helpers.witnesses(),
            counters=self._endpoint.counters,
        )
        limit_s = options.detection_timeout_ms / 1000
        try:
            async with asyncio.timeout(None if lifetime else limit_s):
                report = await diagnosis.run(servers, joined=joined, lifetime=lifetime)
        except TimeoutError:
            raise PeerTimeoutError(
                f"the diagnosis took longer than {seconds_words(limit_s)} (detection_timeout_ms)"
            ) from None
        report = self._bans.explain(report, self._clock())
        if report.udp is not None:
            # Also if no server saw enough to name the type: nothing is guessed, and the traversal
            # need not wait any longer.
            nat_type = NatType.UNKNOWN if report.is_doubtful else report.nat_type
            facts = NatFacts(nat_type, report.mapping, report.port_allocation, diagnosed=True)
            self._endpoint.traversal.facts_ready(facts, self._clock())
            if report.lifetime_s is not None and report.mapped:
                self._endpoint.keepalives.note_measured(report.mapped[0], report.lifetime_s)
            self._flush()
        return report

    async def find_facts(self) -> bool:
        """Diagnose for a traversal, which waits; return whether it was told anything."""
        # Joined servers are at hand; others would first have to be looked up.
        servers = () if self.joined_stun_servers() else None
        try:
            return (await self.diagnose(servers)).udp is not None
        except P2PError as error:
            log.info(
                "the NAT is not known: %s",
                error,
                extra={"event": "nat_unknown", "fields": {"reason": str(error)}},
            )
            return False

    def tell_no_facts(self) -> None:
        """Nothing could be found out: no traversal need wait any longer."""
        self._endpoint.traversal.facts_ready(NatFacts(), self._clock())
        self._flush()

    async def _wait_for_first_server(self) -> None:
        is_needed = bool(self._config.server.join) and not self._awaited_join
        self._awaited_join = True
        for _ in range(round(FIRST_JOIN_S / LOOK_S) if is_needed else 0):
            if self._endpoint.peers.joined_servers:
                return
            await asyncio.sleep(LOOK_S)

    def joined_stun_servers(self) -> list[str]:
        """The joined servers that serve STUN, at each of their ports."""
        return list(self._helpers.joined_stun())

    def _own_socket(self) -> OwnSocket:
        """Where the joined servers see the node's own socket."""
        now = self._clock()
        recent_s = self._config.server.heartbeat_interval + HEARD_GRACE_S
        servers = self._endpoint.peers.best_servers(now)
        local = address_towards(self._local, servers[0].address) if servers else self._local
        seen = [Seen(p.address, p.public_address) for p in servers if p.public_address is not None]
        # For a relayed peer the server is heard, for one at a further socket the node itself.
        heard = dict.fromkeys(
            visible_address(peer.sends_to)
            for peer in self._endpoint.peers
            if peer.is_authenticated
            and (peer.proved or peer.initiated)
            and now - peer.last_received <= recent_s
        )
        return OwnSocket(local, tuple(seen), tuple(heard))

    @property
    def probe_host(self) -> str | None:
        """Where the sockets of a diagnosis are bound; None: wherever the route to a server begins.

        A node that listens on this machine alone may still want to know its surroundings.
        """
        ip = bare_ip(self._local[0])
        return None if ip.is_unspecified or ip.is_loopback else self._local[0]
