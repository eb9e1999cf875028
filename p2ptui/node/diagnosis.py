"""The diagnosis of the NAT: which servers are asked, which tests run, and the report of them."""

import asyncio
import ipaddress
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final, TypeAlias

from p2ptui.errors import BindError
from p2ptui.io.interfaces import local_addresses, source_host
from p2ptui.io.stun_client import CONTACT, StunClient
from p2ptui.nat.allocation import classify_allocation
from p2ptui.nat.behavior import (
    Change,
    Dependence,
    FilterTest,
    MappingVerdict,
    NatType,
    Reply,
    Seen,
    classify_filtering,
    classify_mapping,
    nat_type_of,
)
from p2ptui.nat.feasibility import advice_for, meaning_of
from p2ptui.nat.report import NatReport
from p2ptui.node.nat_evidence import (
    OwnSocket,
    confidence_in,
    hairpin_line,
    mtu_line,
    tampering,
    unreached,
)
from p2ptui.node.nat_lifetime import measure_lifetime
from p2ptui.node.nat_tests import (
    SENDS,
    Ground,
    OpenSocket,
    observe_mapping,
    probe_filter,
    probe_hairpin,
    probe_mtu,
    sample_ports,
)
from p2ptui.node.stun_servers import KnownServer, choose_version, look_up
from p2ptui.wire.address import Address, format_address

FILTERING_SERVERS: Final = 2
"""Servers that are asked for replies from elsewhere; one may be unable without saying so."""

OnProgress: TypeAlias = Callable[[str], None]
ProbeByPeer: TypeAlias = Callable[[Ground], Coroutine[Any, Any, FilterTest]]


class Diagnosis:
    """One run; `run` makes the report.

    Args:
        open_socket: Opens the sockets of the tests.
        rng: Where transaction ids come from.
        host: Where sockets are bound: one IP address, or None for whichever fits.
        sends: Transmissions of each request.
        on_progress: Told in words what is being done.
        own: What is known of the node's own socket.
        probe_by_peer: Asks a peer of a server for a datagram from its own address.
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
    ) -> None:
        self._open_socket = open_socket
        self._rng = rng
        self._host = host
        self._sends = sends
        self._on_progress = on_progress
        self._own = own
        self._probe_by_peer = probe_by_peer
        self._loop = asyncio.get_running_loop()

    async def run(self, servers: Sequence[str], *, lifetime: bool = False) -> NatReport:
        """Find out what is to be known, in at most two seconds where UDP passes.

        Args:
            servers: STUN servers, `host:port` each; several make the result surer.
            lifetime: Also measure how long a mapping lives, which takes as long as it lives.

        Raises:
            LocalError: No server is given, or one is no address.
            BindError: No socket can be opened.
        """
        began = self._loop.time()
        self._on_progress("asking the servers")
        known = await look_up(servers)
        async with AsyncExitStack() as stack:
            report = await self._diagnose(known, stack, lifetime=lifetime)
        return replace(
            report,
            servers=tuple(server.report() for server in known),
            meaning=meaning_of(report.nat_type, report.port_allocation),
            advice=advice_for(report.nat_type),
            duration_s=self._loop.time() - began,
        )

    async def _client(self, version: int, stack: AsyncExitStack) -> StunClient:
        sock = await self._open_socket((self._bind_host(version), 0))
        client = StunClient(sock, self._rng)
        stack.push_async_callback(client.close)
        return client

    def _bind_host(self, version: int) -> str:
        if self._host is not None and (":" in self._host) is (version == 6):
            return self._host
        return "::" if version == 6 else "0.0.0.0"

    async def _diagnose(
        self, servers: list[KnownServer], stack: AsyncExitStack, *, lifetime: bool
    ) -> NatReport:
        by_version = {
            version: [s for s in servers if s.address and (":" in s.address[0]) is (version == 6)]
            for version in (4, 6)
        }
        clients: dict[int, StunClient] = {}
        refused: BindError | None = None
        for version, group in by_version.items():
            if not group:
                continue
            try:
                client = await self._client(version, stack)
            except BindError as error:
                refused = error
                for server in group:
                    server.error = f"this machine has no socket for IPv{version}"
                continue
            clients[version] = client
            for server in group:
                assert server.address is not None
                server.contact = client.start(server.address, CONTACT)
        if refused is not None and not clients:
            raise refused
        best = await choose_version(by_version[4], by_version[6])
        if best is None or best.address is None or best.mapped is None:
            return unreached(servers, self._own)
        version = 6 if ":" in best.address[0] else 4
        main = clients[version]
        ground = Ground(
            self._open_socket,
            self._rng,
            self._bind_host(version),
            best.address,
            best.rtt_s,
            self._sends,
        )
        self._on_progress(f"{best.text} answered; testing mapping, filtering and ports")
        report = await self._test(ground, main, best, by_version[version])
        mapped_v6 = next((s.mapped for s in by_version[6] if s.mapped is not None), None)
        report = replace(report, mapped_v6=mapped_v6)
        if lifetime:
            self._on_progress("measuring how long a mapping lives")
            seconds, evidence = await measure_lifetime(ground, self._on_progress)
            report = replace(report, lifetime_s=seconds, evidence=(*report.evidence, evidence))
        return report

    async def _test(
        self, ground: Ground, main: StunClient, best: KnownServer, servers: list[KnownServer]
    ) -> NatReport:
        assert best.mapped is not None
        able = sorted((s for s in servers if s.other is not None), key=lambda s: s.rtt_s)
        able = able[:FILTERING_SERVERS] or [best]
        async with asyncio.TaskGroup() as group:
            ports = group.create_task(sample_ports(ground))
            seen = group.create_task(
                observe_mapping(ground, main, [a for s in able for a in s.other_addresses])
            )
            filters = [
                (server, group.create_task(probe_filter(_beside(ground, server), change)))
                for server in able
                for change in (Change.ADDRESS_AND_PORT, Change.PORT)
            ]
            by_peer: asyncio.Task[FilterTest] | None = None
            if self._probe_by_peer is not None:
                by_peer = group.create_task(self._probe_by_peer(ground))
            hairpin = group.create_task(probe_hairpin(ground, main, best.mapped))
            mtu = group.create_task(probe_mtu(ground))
        observations = [Seen(s.address, s.mapped) for s in servers if s.address and s.mapped]
        observations += seen.result()
        local = _local_address(main, ground.server)
        mapping = self._with_own(classify_mapping(local, observations, local_addresses()))
        heard = {one.server for one in observations}
        tests = [_controlled(server, task.result(), heard) for server, task in filters]
        if by_peer is not None:
            tests.append(by_peer.result())
        is_translated = mapping.kind is not Dependence.NONE
        filtering = classify_filtering(is_translated, tests, ground.loss)
        nat_type = nat_type_of(mapping, filtering.kind)
        allocation = classify_allocation(ports.result(), mapping.kind)
        if not is_translated:
            firewall = None
            if filtering.kind is not Dependence.UNKNOWN:
                firewall = filtering.kind is not Dependence.NONE
        else:
            firewall = False if nat_type is not NatType.UNKNOWN else None
        alg, alg_line = tampering(servers)
        return NatReport(
            udp=True,
            local=local,
            mapped=best.mapped,
            mapping=mapping.kind,
            filtering=filtering.kind,
            nat_type=nat_type,
            port_allocation=allocation,
            hairpin=hairpin.result() if is_translated else None,
            mtu=mtu.result(),
            alg=alg,
            firewall=firewall,
            confidence=confidence_in(nat_type, mapping, filtering.confidence),
            evidence=(
                *mapping.evidence,
                *filtering.evidence,
                *allocation.evidence,
                *hairpin_line(is_translated, hairpin.result(), best.mapped),
                *mtu_line(mtu.result(), ground.server),
                *alg_line,
            ),
        )

    def _with_own(self, mapping: MappingVerdict) -> MappingVerdict:
        """What one STUN server cannot tell, several joined nodes may have told."""
        if self._own is None or mapping.kind is not Dependence.UNKNOWN or mapping.varies:
            return mapping
        own = classify_mapping(self._own.local, self._own.seen, local_addresses())
        if own.kind is Dependence.UNKNOWN and not own.varies:
            return mapping
        lines = (f"{line} (the node's own socket)" for line in own.evidence)
        return replace(own, evidence=(*mapping.evidence, *lines))


def _beside(ground: Ground, server: KnownServer) -> Ground:
    """The same ground, with another server."""
    assert server.address is not None
    return replace(ground, server=server.address, rtt_s=server.rtt_s)


def _controlled(server: KnownServer, test: FilterTest, heard: set[Address]) -> FilterTest:
    """Silence counts only if the other place was heard when it was asked directly."""
    if test.reply is not Reply.SILENCE:
        return test
    if server.address is None:
        return test
    if test.change is Change.PORT and any(
        host == server.address[0] and port != server.address[1] for host, port in heard
    ):
        return test
    if server.other is None:
        return replace(test, reply=Reply.UNTESTABLE, detail=f"{server.text} names no other address")
    from_host = server.other[0] if test.change is Change.ADDRESS_AND_PORT else server.address[0]
    place = (from_host, server.other[1])
    if place in heard:
        return test
    detail = f"{format_address(place)} did not answer when it was asked itself"
    return replace(test, reply=Reply.UNTESTABLE, detail=detail)


def _local_address(client: StunClient, server: Address) -> Address:
    host, port = client.local_address
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        return source_host(*server) or host, port
    return host, port
