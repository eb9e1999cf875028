"""The diagnosis of the NAT: which servers are asked, which tests run, and the report of them."""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final, TypeAlias

from p2ptui.errors import BindError, P2PError
from p2ptui.io.interfaces import address_towards, local_addresses
from p2ptui.io.resolve import resolve_all
from p2ptui.io.stun_client import StunClient
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
from p2ptui.nat.feasibility import advice_for, meaning_of, unanswered_words
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
from p2ptui.node.presence import STUN_PORTS, is_node_at
from p2ptui.node.stun_contact import FindRefusal, FirstContact
from p2ptui.node.stun_servers import (
    MAX_SERVERS,
    Announced,
    KnownServer,
    Resolve,
    beyond_nat,
    read_servers,
)
from p2ptui.wire.address import Address, format_address, ip_version

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
        resolve: Looks a name up: all of its addresses.
        find_refusal: Asks whether a machine says itself that nothing listens at an address.
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
    ) -> None:
        self._open_socket = open_socket
        self._rng = rng
        self._host = host
        self._sends = sends
        self._on_progress = on_progress
        self._own = own
        self._probe_by_peer = probe_by_peer
        self._resolve = resolve
        self._find_refusal = find_refusal
        self._own_hosts = {host.partition("%")[0] for host in local_addresses()}
        self._loop = asyncio.get_running_loop()

    async def run(
        self, servers: Sequence[str], *, joined: Announced | None = None, lifetime: bool = False
    ) -> NatReport:
        """Find out what is to be known, in at most two seconds where UDP passes.

        Args:
            servers: STUN servers, `host:port` each; several make the result surer.
            joined: Which of them are joined nodes, and where each announced STUN.
            lifetime: Also measure how long a mapping lives, which takes as long as it lives.

        Raises:
            LocalError: No server is given, or one is no address.
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
                    self._own_hosts,
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
        evidence = report.evidence
        if surplus:
            evidence = (*evidence, _surplus_line(surplus))
        is_asked = report.udp is not None
        meaning = meaning_of(report.nat_type, report.port_allocation, is_asked=is_asked)
        advice = advice_for(report.nat_type, is_asked=is_asked)
        is_silent = all(server.answer is None and not server.is_refused for server in known)
        if report.udp and report.mapped is None and is_silent:
            meaning, advice = unanswered_words([s.text for s in known if s.is_node])
        return replace(
            report,
            servers=tuple(server.report() for server in known),
            evidence=evidence,
            meaning=meaning,
            advice=advice,
            duration_s=self._loop.time() - began,
        )

    async def _is_node(self, address: Address) -> bool:
        if self._own is not None and address in self._own.heard:
            return True
        if address[1] in STUN_PORTS:
            return False
        host = self._bind_host(ip_version(address[0]))
        try:
            return await is_node_at(self._open_socket, host, address, self._rng)
        except BindError:
            return False

    async def _client(self, version: int, stack: AsyncExitStack) -> StunClient:
        sock = await self._open_socket((self._bind_host(version), 0))
        client = StunClient(sock, self._rng)
        stack.push_async_callback(client.close)
        self._own_hosts.add(client.local_address[0].partition("%")[0])
        return client

    def _bind_host(self, version: int) -> str:
        if self._host is not None and ip_version(self._host) == version:
            return self._host
        return "::" if version == 6 else "0.0.0.0"

    async def _diagnose(self, contact: FirstContact, *, lifetime: bool) -> NatReport:
        best = await contact.choose()
        if best is None:
            return unreached(contact.servers, self._own, self._own_hosts)
        while True:
            assert best.address is not None
            assert best.mapped is not None
            version = ip_version(best.address[0])
            ground = Ground(
                self._open_socket,
                self._rng,
                self._bind_host(version),
                best.address,
                best.rtt_s,
                best.mapped,
                self._sends,
            )
            self._on_progress(f"{best.text} answered; testing mapping, filtering and ports")
            report = await self._test(ground, best, contact)
            outside = beyond_nat(contact.of_version(version), self._own_hosts)
            while best.mapped[0] in self._own_hosts and await contact.settle(version):
                outside = beyond_nat(contact.of_version(version), self._own_hosts)
            if best in outside:
                break
            # One beyond the NAT was late: what was tested is this side of it.
            best = min(outside, key=_preference)
        seen_v6 = beyond_nat(contact.of_version(6), self._own_hosts)
        report = replace(report, mapped_v6=seen_v6[0].mapped if seen_v6 else None)
        if lifetime:
            self._on_progress("measuring how long a mapping lives")
            seconds, evidence = await measure_lifetime(ground, self._on_progress)
            report = replace(report, lifetime_s=seconds, evidence=(*report.evidence, evidence))
        return report

    async def _test(self, ground: Ground, best: KnownServer, contact: FirstContact) -> NatReport:
        version = ip_version(ground.server[0])
        main = _client_of(best)
        beyond = beyond_nat(contact.of_version(version), self._own_hosts)
        able = sorted((s for s in beyond if s.can_change), key=_preference)
        able = able[:FILTERING_SERVERS] or [best]
        targets = [address for server in able for address in server.other_addresses]
        targets += [s.address for s in beyond if s.address and _client_of(s) is not main]
        async with asyncio.TaskGroup() as group:
            ports = group.create_task(sample_ports(ground))
            seen = group.create_task(observe_mapping(ground, main, targets))
            filters = [
                (server, group.create_task(probe_filter(_beside(ground, server), change)))
                for server in able
                for change in (Change.ADDRESS_AND_PORT, Change.PORT)
            ]
            by_peer: asyncio.Task[FilterTest] | None = None
            if self._probe_by_peer is not None:
                by_peer = group.create_task(self._probe_by_peer(ground))
            hairpin = group.create_task(probe_hairpin(ground, main, ground.mapped))
            mtu = group.create_task(probe_mtu(ground))
        local = address_towards(main.local_address, ground.server)
        observations = _observed(contact.of_version(version), main, seen.result())
        mapping = classify_mapping(local, observations, self._own_hosts)
        if mapping.kind is Dependence.UNKNOWN and not mapping.varies:
            await contact.settle(version)
            observations = _observed(contact.of_version(version), main, seen.result())
            mapping = classify_mapping(local, observations, self._own_hosts)
        mapping = self._with_own(mapping)
        tests = _controlled(
            [(server, task.result()) for server, task in filters],
            {one.server for one in observations},
        )
        if by_peer is not None:
            tests.append(by_peer.result())
        is_translated = mapping.kind is not Dependence.NONE
        filtering = classify_filtering(is_translated, tests, ground.loss)
        nat_type = nat_type_of(mapping, filtering.kind)
        allocation = classify_allocation(ports.result(), mapping.kind)
        alg, alg_line = tampering(contact.of_version(version))
        return NatReport(
            udp=True,
            local=local,
            mapped=ground.mapped,
            mapping=mapping.kind,
            filtering=filtering.kind,
            nat_type=nat_type,
            port_allocation=allocation,
            hairpin=hairpin.result() if is_translated else None,
            mtu=mtu.result(),
            alg=alg,
            firewall=_has_firewall(is_translated, filtering.kind, nat_type),
            confidence=confidence_in(nat_type, mapping, filtering.confidence),
            evidence=(
                *mapping.evidence,
                *filtering.evidence,
                *allocation.evidence,
                *hairpin_line(is_translated, hairpin.result(), ground.mapped),
                *mtu_line(mtu.result(), ground.server),
                *alg_line,
            ),
        )

    def _with_own(self, mapping: MappingVerdict) -> MappingVerdict:
        """What one STUN server cannot tell, several joined nodes may have told."""
        if self._own is None or mapping.kind is not Dependence.UNKNOWN or mapping.varies:
            return mapping
        seen = [one for one in self._own.seen if one.mapped[0] not in self._own_hosts]
        own = classify_mapping(self._own.local, seen)
        if own.kind is Dependence.UNKNOWN and not own.varies:
            return mapping
        lines = (f"{line} (the node's own socket)" for line in own.evidence)
        return replace(own, evidence=(*mapping.evidence, *lines))


def _has_firewall(is_translated: bool, filtering: Dependence, nat_type: NatType) -> bool | None:
    """Whether something filters that does not translate; None where that could not be seen."""
    if is_translated:
        return None if nat_type is NatType.UNKNOWN else False
    return None if filtering is Dependence.UNKNOWN else filtering is not Dependence.NONE


def _beside(ground: Ground, server: KnownServer) -> Ground:
    """The same ground, with another server."""
    assert server.address is not None
    return replace(ground, server=server.address, rtt_s=server.rtt_s)


def _preference(server: KnownServer) -> tuple[bool, float]:
    return server.other is None, server.rtt_s


def _client_of(server: KnownServer) -> StunClient:
    assert server.contact is not None
    return server.contact.client


def _observed(servers: Sequence[KnownServer], main: StunClient, more: Sequence[Seen]) -> list[Seen]:
    """Where servers saw one and the same socket."""
    return [
        Seen(s.address, s.mapped)
        for s in servers
        if s.address and s.mapped and _client_of(s) is main
    ] + list(more)


def _controlled(
    tests: Sequence[tuple[KnownServer, FilterTest]], heard: Collection[Address]
) -> list[FilterTest]:
    """Silence counts only from who can change, and if the other place was heard when asked."""
    for server, test in tests:
        server.has_changed |= test.reply is Reply.CAME
    return [_controlled_one(server, test, heard) for server, test in tests]


def _controlled_one(
    server: KnownServer, test: FilterTest, heard: Collection[Address]
) -> FilterTest:
    if test.reply is not Reply.SILENCE or server.address is None:
        return test
    if not server.can_change:
        detail = f"{server.text} was not seen to answer from elsewhere"
        return replace(test, reply=Reply.UNTESTABLE, detail=detail)
    if test.change is Change.PORT:
        places = server.other_ports
    else:
        places = {server.other} if server.other is not None else set()
    if any(place in heard for place in places):
        return test
    detail = f"{server.text} names no other address"
    if places:
        names = " and ".join(format_address(place) for place in sorted(places))
        detail = f"{names} did not answer when asked directly"
    return replace(test, reply=Reply.UNTESTABLE, detail=detail)


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group that a person can act on; the group itself where none is."""
    known, rest = group.split(P2PError)
    if known is None or rest is not None:
        return group
    first: BaseException = known
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _surplus_line(surplus: Sequence[str]) -> str:
    return f"servers: {MAX_SERVERS} at most are asked; not asked: {', '.join(surplus)}"
