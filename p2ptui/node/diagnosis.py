"""The diagnosis of the NAT: which servers are asked, which tests run, and the report of them."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias

from p2ptui.core.gate import Gate
from p2ptui.errors import BindError, P2PError
from p2ptui.io.exits import new_gate
from p2ptui.io.interfaces import address_towards, local_addresses
from p2ptui.io.resolve import resolve_all
from p2ptui.io.stun_client import StunClient
from p2ptui.nat.allocation import classify_allocation
from p2ptui.nat.behavior import (
    Dependence,
    FilterTest,
    MappingVerdict,
    NatType,
    Seen,
    classify_filtering,
    classify_mapping,
    nat_type_of,
)
from p2ptui.nat.feasibility import advice_for, meaning_of, spared_words, unanswered_words
from p2ptui.nat.findings import Finding, advice_with, meaning_with
from p2ptui.nat.report import NatReport
from p2ptui.node.behavior_tests import BehaviorTests, beside
from p2ptui.node.depended import (
    OPTION,
    Dependencies,
    addresses_of,
    names_of,
    plan_filtering,
    spared_lines,
)
from p2ptui.node.nat_evidence import (
    OwnSocket,
    confidence_in,
    find_habits,
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
from p2ptui.wire.address import Address, ip_version

MAPPING_SERVERS: Final = 2
"""Servers that are asked at all of their addresses where they see one socket."""

OnProgress: TypeAlias = Callable[[str], None]
ProbeByPeer: TypeAlias = Callable[[Ground, Dependencies], Coroutine[Any, Any, FilterTest]]
FindDepended: TypeAlias = Callable[[], Awaitable[Dependencies]]


async def nobody() -> Dependencies:
    """What depends on nobody: a diagnosis without a node in use."""
    return Dependencies()


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
        find_depended: Whom the node depends on, asked when it matters.
        witnesses: Where else STUN is served, asked if the servers do not show the mapping.
        gate: Grants what is asked; None for one of its own.
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
        gate: Gate | None = None,
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
        self._find_depended = find_depended
        self._witnesses = witnesses
        self._gate = new_gate() if gate is None else gate
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
        meaning, advice = _words(report, known)
        return replace(
            report,
            servers=tuple(server.report() for server in known),
            evidence=evidence,
            meaning=meaning_with(report.findings, meaning),
            advice=advice_with(report.findings, advice),
            duration_s=self._loop.time() - began,
        )

    async def _is_node(self, address: Address) -> bool:
        if self._own is not None and address in self._own.heard:
            return True
        if address[1] in STUN_PORTS:
            return False
        host = self._bind_host(ip_version(address[0]))
        try:
            return await is_node_at(self._open_socket, host, address, self._rng, self._gate)
        except BindError:
            return False

    async def _client(self, version: int, stack: AsyncExitStack) -> StunClient:
        sock = await self._open_socket((self._bind_host(version), 0))
        client = StunClient(sock, self._rng, self._gate)
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
                gate=self._gate,
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
            seconds, line = await self._measure_lifetime(ground, best, report, contact)
            report = replace(report, lifetime_s=seconds, evidence=(*report.evidence, line))
        return report

    async def _measure_lifetime(
        self, ground: Ground, best: KnownServer, report: NatReport, contact: FirstContact
    ) -> tuple[float | None, str]:
        """By replies that are unasked once a mapping has died: from nobody that is in use."""
        depended = await self._find_depended()
        usable = [
            best,
            *beyond_nat(contact.of_version(ip_version(ground.server[0])), self._own_hosts),
        ]
        harmless = [s for s in usable if not depended.forbids(addresses_of(s, contact.servers))]
        if not harmless:
            return None, (
                "lifetime: not measured: the replies to dead mappings could have"
                f" {best.text} banned, and {depended.why(addresses_of(best, contact.servers))};"
                f" ask with {OPTION} {best.text}"
            )
        if Finding.BANS_UNASKED_SENDERS in report.findings:
            return None, "lifetime: not measured: the NAT bans whoever replies to a dead mapping"
        self._on_progress("measuring how long a mapping lives")
        return await measure_lifetime(beside(ground, harmless[0]), self._on_progress)

    async def _test(self, ground: Ground, best: KnownServer, contact: FirstContact) -> NatReport:
        version = ip_version(ground.server[0])
        main = _client_of(best)
        beyond = beyond_nat(contact.of_version(version), self._own_hosts)
        able = sorted((s for s in beyond if s.can_change), key=_preference)
        depended = await self._find_depended()
        plan = plan_filtering(able, best, contact.servers, depended)
        first = dict.fromkeys([*(server for server, _ in plan.questions), *able[:MAPPING_SERVERS]])
        targets = [address for server in first for address in server.other_addresses]
        targets += [s.address for s in beyond if s.address and _client_of(s) is not main]
        asked = {s.address for s in beyond if s.address and _client_of(s) is main}
        by_peer = self._probe_by_peer
        async with asyncio.TaskGroup() as group:
            behavior = BehaviorTests(ground, main, plan, depended, group.create_task)
            ask_peer = partial(by_peer, ground, depended) if by_peer is not None else None
            results = await behavior.run(list(dict.fromkeys(targets)), asked, ask_peer)
        local = address_towards(main.local_address, ground.server)
        observations = _observed(contact.of_version(version), main, results.seen)
        mapping = classify_mapping(local, observations, self._own_hosts)
        if mapping.kind is Dependence.UNKNOWN and not mapping.varies:
            await contact.settle(version)
            more = [at for at in self._witnesses if ip_version(at[0]) == version]
            told = [*results.seen, *await observe_mapping(ground, main, more)]
            observations = _observed(contact.of_version(version), main, told)
            mapping = classify_mapping(local, observations, self._own_hosts)
        mapping = self._with_own(mapping)
        is_translated = mapping.kind is not Dependence.NONE
        tests = results.filter_tests(observations)
        filtering = classify_filtering(is_translated, tests, ground.loss)
        nat_type = nat_type_of(mapping, filtering.kind)
        allocation = classify_allocation(results.ports, mapping.kind)
        alg, alg_line = tampering(contact.of_version(version))
        is_tested = filtering.kind is not Dependence.UNKNOWN
        spared = () if is_tested else plan.spared
        findings, finding_lines = find_habits(ground, results)
        return NatReport(
            udp=True,
            local=local,
            mapped=ground.mapped,
            mapping=mapping.kind,
            filtering=filtering.kind,
            nat_type=nat_type,
            port_allocation=allocation,
            hairpin=results.hairpin if is_translated else None,
            mtu=results.mtu,
            alg=alg,
            firewall=_has_firewall(is_translated, filtering.kind, nat_type),
            findings=findings,
            spared=tuple(names_of(spared)),
            confidence=confidence_in(nat_type, mapping, filtering.confidence),
            evidence=(
                *mapping.evidence,
                *(() if spared and not tests else filtering.evidence),
                *spared_lines(spared, depended),
                *finding_lines,
                *allocation.evidence,
                *hairpin_line(is_translated, results.hairpin, ground.mapped),
                *mtu_line(results.mtu, ground.server),
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


def _words(report: NatReport, known: Sequence[KnownServer]) -> tuple[str, str]:
    """What it means that a report says this, and what to do, but for the findings."""
    if report.meaning:
        return report.meaning, report.advice
    is_silent = all(server.answer is None and not server.is_refused for server in known)
    if report.udp and report.mapped is None and is_silent:
        return unanswered_words([server.text for server in known if server.is_node])
    is_asked = report.udp is not None
    meaning = meaning_of(report.nat_type, report.port_allocation, is_asked=is_asked)
    advice = advice_for(report.nat_type, is_asked=is_asked)
    if not report.spared:
        return meaning, advice
    return spared_words(report.nat_type, report.mapping, report.spared, meaning, advice)


def _has_firewall(is_translated: bool, filtering: Dependence, nat_type: NatType) -> bool | None:
    """Whether something filters that does not translate; None where that could not be seen."""
    if is_translated:
        return None if nat_type is NatType.UNKNOWN else False
    return None if filtering is Dependence.UNKNOWN else filtering is not Dependence.NONE


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
