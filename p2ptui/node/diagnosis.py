"""The diagnosis of the NAT: which servers are asked, which tests run, and the report of them."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Final, TypeAlias

from p2ptui.core.counters import Counters
from p2ptui.errors import P2PError
from p2ptui.io.resolve import resolve_all
from p2ptui.io.stun_client import StunClient
from p2ptui.nat.report import NatReport
from p2ptui.node.behavior_tests import BehaviorTests, ProbeByPeer
from p2ptui.node.depended import Dependencies, plan_filtering
from p2ptui.node.nat_evidence import OwnSocket, unreached
from p2ptui.node.nat_lifetime import measure_harmlessly
from p2ptui.node.nat_tests import SENDS, Ground, OpenSocket, observe_mapping
from p2ptui.node.nat_verdict import Observations, complete, report_of
from p2ptui.node.probe_sockets import ProbeSockets
from p2ptui.node.stun_contact import FindRefusal, FirstContact
from p2ptui.node.stun_servers import (
    STUN_PORTS,
    Announced,
    KnownServer,
    Resolve,
    beyond_nat,
    read_servers,
)
from p2ptui.wire.address import Address, ip_version

MAPPING_SERVERS: Final = 2
"""How many servers are asked at all of their addresses where they see one socket."""

OnProgress: TypeAlias = Callable[[str], None]
FindDepended: TypeAlias = Callable[[], Awaitable[Dependencies]]


async def nobody() -> Dependencies:
    """No dependencies: a diagnosis without a node in use."""
    return Dependencies()


class Diagnosis:
    """One diagnosis; `run` makes the report.

    Args:
        open_socket: Opens the sockets of the tests.
        rng: Where transaction ids come from.
        host: Where sockets are bound: one IP address, or None for any that fits.
        sends: Transmissions of each request.
        on_progress: Called with the progress, in words.
        own: What is known about the node's own socket.
        probe_by_peer: Asks a peer of a server for a datagram from its own address.
        resolve: Looks up all addresses of a name.
        find_refusal: Asks whether a machine itself says that nothing listens at an address.
        find_depended: Finds the hosts that the node depends on, when it matters.
        witnesses: Other STUN servers, asked if the servers do not show the mapping.
        counters: Counts the requests; None if nobody reads it.
    """

    def __init__(
        self,
        open_socket: OpenSocket,
        rng: random.Random,
        *,
        host: str | None = None,
        sends: int = SENDS,
        on_progress: OnProgress = lambda _: None,
        own: OwnSocket | None = None,
        probe_by_peer: ProbeByPeer | None = None,
        resolve: Resolve = resolve_all,
        find_refusal: FindRefusal | None = None,
        find_depended: FindDepended = nobody,
        witnesses: Sequence[Address] = (),
        counters: Counters | None = None,
    ) -> None:
        self._rng = rng
        self._sockets = ProbeSockets(open_socket, rng, host, counters)
        self._sends = sends
        self._on_progress = on_progress
        self._own = own
        self._probe_by_peer = probe_by_peer
        self._resolve = resolve
        self._find_refusal = find_refusal
        self._find_depended = find_depended
        self._witnesses = witnesses
        self._loop = asyncio.get_running_loop()

    async def run(
        self, servers: Sequence[str], *, joined: Announced | None = None, lifetime: bool = False
    ) -> NatReport:
        """Diagnose the NAT, in at most two seconds if UDP passes.

        Args:
            servers: STUN servers, `host:port` each; several make the result surer.
            joined: Which of them are joined nodes, and where each announced STUN.
            lifetime: Also measure how long a mapping lives, which takes as long as it lives.

        Raises:
            LocalError: No server is given, or one is not an address.
            BindError: A socket cannot be opened.
        """
        began = self._loop.time()
        self._on_progress("asking the servers")
        targets, surplus = read_servers(servers)
        try:
            async with AsyncExitStack() as stack:
                contact = FirstContact(
                    targets,
                    lambda version: self._client(version, stack),
                    self._sockets.own_hosts,
                    joined or {},
                    self._resolve,
                    self._find_refusal,
                    self._is_node,
                )
                async with contact.asking():
                    report = await self._diagnose(contact, lifetime=lifetime)
                    known = contact.servers
        except BaseExceptionGroup as group:
            raise _first_of(group) from None
        return complete(report, known, surplus, self._loop.time() - began)

    async def _is_node(self, address: Address) -> bool:
        if self._own is not None and address in self._own.heard:
            return True
        return address[1] not in STUN_PORTS and await self._sockets.is_node(address)

    async def _client(self, version: int, stack: AsyncExitStack) -> StunClient:
        client = await self._sockets.client(version)
        stack.push_async_callback(client.close)
        return client

    async def _diagnose(self, contact: FirstContact, *, lifetime: bool) -> NatReport:
        best = await contact.choose()
        if best is None:
            return unreached(contact.servers, self._own, self._sockets.own_hosts)
        while True:
            assert best.address is not None
            assert best.mapped is not None
            version = ip_version(best.address[0])
            ground = Ground(
                self._sockets.open,
                self._rng,
                self._sockets.host(version),
                best.address,
                best.rtt_s,
                best.mapped,
                self._sends,
                gate=self._sockets.gate,
            )
            self._on_progress(f"{best.text} answered; testing mapping, filtering and ports")
            report = await self._test(ground, best, contact)
            outside = beyond_nat(contact.of_version(version), self._sockets.own_hosts)
            while best.mapped[0] in self._sockets.own_hosts and await contact.settle(version):
                outside = beyond_nat(contact.of_version(version), self._sockets.own_hosts)
            if best in outside:
                break
            # A server beyond the NAT was late: what was tested is on this side of it.
            best = min(outside, key=_preference)
        seen_v6 = beyond_nat(contact.of_version(6), self._sockets.own_hosts)
        report = replace(report, mapped_v6=seen_v6[0].mapped if seen_v6 else None)
        if lifetime:
            depended = await self._find_depended()
            outside = beyond_nat(contact.of_version(version), self._sockets.own_hosts)
            seconds, line = await measure_harmlessly(
                ground, [best, *outside], contact.servers, depended, report, self._on_progress
            )
            report = replace(report, lifetime_s=seconds, evidence=(*report.evidence, line))
        return report

    async def _test(self, ground: Ground, best: KnownServer, contact: FirstContact) -> NatReport:
        version = ip_version(ground.server[0])
        main = best.client
        beyond = beyond_nat(contact.of_version(version), self._sockets.own_hosts)
        able = sorted((s for s in beyond if s.can_change), key=_preference)
        depended = await self._find_depended()
        plan = plan_filtering(able, best, contact.servers, depended)
        first = dict.fromkeys([*(server for server, _ in plan.questions), *able[:MAPPING_SERVERS]])
        targets = [address for server in first for address in server.other_addresses]
        targets += [s.address for s in beyond if s.address and s.client is not main]
        asked = {s.address for s in beyond if s.address and s.client is main}
        by_peer = self._probe_by_peer
        async with asyncio.TaskGroup() as group:
            behavior = BehaviorTests(ground, main, plan, depended, group.create_task)
            ask_peer = partial(by_peer, ground, depended) if by_peer is not None else None
            usual = self._usual_ports(beyond) - {*targets, *asked}
            by_port = group.create_task(observe_mapping(ground, main, sorted(usual)))
            results = await behavior.run(list(dict.fromkeys(targets)), asked, ask_peer)
        observations = Observations(main, ground.server, self._sockets.own_hosts)
        seen = [*results.seen, *await by_port]
        observations.take(contact.of_version(version), seen)
        if observations.is_undecided:
            await contact.settle(version)
            more = [at for at in self._witnesses if ip_version(at[0]) == version]
            told = [*seen, *await observe_mapping(ground, main, more)]
            observations.take(contact.of_version(version), told)
        servers = contact.of_version(version)
        return report_of(ground, servers, observations, self._own, results, plan, depended)

    def _usual_ports(self, beyond: Sequence[KnownServer]) -> set[Address]:
        """The other ports of a single host: they show at least whether the NAT maps by port."""
        is_alone = len({server.address[0] for server in beyond if server.address}) == 1
        if not is_alone or self._witnesses:
            return set()
        return {at for server in beyond for at in server.usual_ports}


def _preference(server: KnownServer) -> tuple[bool, float]:
    return server.other is None, server.rtt_s


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group that the user can act on; the group itself if there is none."""
    known, rest = group.split(P2PError)
    if known is None or rest is not None:
        return group
    first: BaseException = known
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
