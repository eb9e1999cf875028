"""The verdict of a diagnosis: what its tests saw, combined into a report."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from p2ptui.io.interfaces import address_towards
from p2ptui.io.stun_client import StunClient
from p2ptui.nat.allocation import classify_allocation
from p2ptui.nat.behavior import (
    Dependence,
    MappingVerdict,
    NatType,
    Seen,
    classify_filtering,
    classify_mapping,
    nat_type_of,
)
from p2ptui.nat.feasibility import advice_for, meaning_of, spared_words, unanswered_words
from p2ptui.nat.findings import advice_with, meaning_with
from p2ptui.nat.report import NatReport
from p2ptui.node.behavior_tests import Results
from p2ptui.node.depended import Dependencies, FilterPlan, names_of, spared_lines
from p2ptui.node.nat_evidence import (
    OwnSocket,
    confidence_in,
    find_habits,
    hairpin_line,
    mtu_line,
    tampering,
)
from p2ptui.node.nat_tests import Ground
from p2ptui.node.stun_servers import MAX_SERVERS, KnownServer
from p2ptui.wire.address import Address


@dataclass(slots=True)
class Observations:
    """Where servers see the same socket, and what that says about the mapping.

    Args:
        main: The socket.
        towards: The server used for most tests.
        own_hosts: The IP addresses of this machine.
    """

    main: StunClient
    towards: Address
    own_hosts: Collection[str]
    seen: Sequence[Seen] = ()

    @property
    def local(self) -> Address:
        """The socket's own address, as far as the route to that server shows it."""
        return address_towards(self.main.local_address, self.towards)

    @property
    def verdict(self) -> MappingVerdict:
        """What that says about the mapping."""
        return classify_mapping(self.local, self.seen, self.own_hosts)

    @property
    def is_undecided(self) -> bool:
        """Whether more servers must be asked for a verdict."""
        verdict = self.verdict
        return verdict.kind is Dependence.UNKNOWN and not verdict.varies

    def take(self, servers: Iterable[KnownServer], more: Sequence[Seen]) -> None:
        """Use what these servers saw, and more observations of the same socket."""
        self.seen = [
            *(
                Seen(server.address, server.mapped)
                for server in servers
                if server.address and server.mapped and server.client is self.main
            ),
            *more,
        ]

    def verdict_with(self, own: OwnSocket | None) -> MappingVerdict:
        """The same; joined nodes may have shown what a single STUN server cannot.

        Args:
            own: What is known about the node's own socket.
        """
        verdict = self.verdict
        if own is None or verdict.kind is not Dependence.UNKNOWN or verdict.varies:
            return verdict
        seen = [one for one in own.seen if one.mapped[0] not in self.own_hosts]
        told = classify_mapping(own.local, seen)
        if told.kind is Dependence.UNKNOWN and not told.varies:
            return verdict
        lines = (f"{line} (the node's own socket)" for line in told.evidence)
        return replace(told, evidence=(*verdict.evidence, *lines))


def report_of(
    ground: Ground,
    servers: list[KnownServer],
    observations: Observations,
    own: OwnSocket | None,
    results: Results,
    plan: FilterPlan,
    depended: Dependencies,
) -> NatReport:
    """What the tests say.

    Args:
        ground: The ground of all tests.
        servers: The servers that were asked over the same IP version.
        observations: Where they see the main socket.
        own: What is known about the node's own socket.
        results: What the tests saw.
        plan: Which servers were asked for replies from elsewhere.
        depended: The hosts that the node depends on.
    """
    mapping = observations.verdict_with(own)
    is_translated = mapping.kind is not Dependence.NONE
    tests = results.filter_tests(observations.seen)
    filtering = classify_filtering(is_translated, tests, ground.loss)
    nat_type = nat_type_of(mapping, filtering.kind)
    allocation = classify_allocation(results.ports, mapping.kind)
    alg, alg_line = tampering(servers)
    is_tested = filtering.kind is not Dependence.UNKNOWN
    spared = () if is_tested else plan.spared
    findings, finding_lines = find_habits(ground, results)
    return NatReport(
        udp=True,
        local=observations.local,
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
            *hairpin_line(
                is_translated, results.hairpin, outside=ground.mapped, server=ground.server
            ),
            *mtu_line(results.mtu, ground.server),
            *alg_line,
        ),
    )


def complete(
    report: NatReport,
    known: Sequence[KnownServer],
    not_asked: Sequence[str],
    duration_s: float,
) -> NatReport:
    """The same report with the servers, what it means, and what to do.

    Args:
        report: What the tests say.
        known: All servers that were asked.
        not_asked: The servers beyond the limit, as text.
        duration_s: How long it all took.
    """
    evidence = report.evidence
    if not_asked:
        names = ", ".join(not_asked)
        line = f"servers: {MAX_SERVERS} at most are asked; not asked: {names}"
        evidence = (*evidence, line)
    meaning, advice = _words(report, known)
    return replace(
        report,
        servers=tuple(server.report() for server in known),
        evidence=evidence,
        meaning=meaning_with(report.findings, meaning),
        advice=advice_with(report.findings, advice),
        duration_s=duration_s,
    )


def _words(report: NatReport, known: Sequence[KnownServer]) -> tuple[str, str]:
    """What a report means, and what to do, apart from the findings."""
    if report.meaning:
        return report.meaning, report.advice
    if report.udp and report.mapped is None and all(server.answer is None for server in known):
        nodes = [server.text for server in known if server.is_node]
        return unanswered_words(nodes, [server.text for server in known if server.is_refused])
    meaning = meaning_of(report.nat_type, report.port_allocation)
    advice = advice_for(report.nat_type, report.mapping, report.filtering)
    if not report.spared:
        return meaning, advice
    return spared_words(report.nat_type, report.mapping, report.spared, meaning, advice)


def _has_firewall(is_translated: bool, filtering: Dependence, nat_type: NatType) -> bool | None:
    """Whether something filters without translating; None if that could not be seen."""
    if is_translated:
        return None if nat_type is NatType.UNKNOWN else False
    return None if filtering is Dependence.UNKNOWN else filtering is not Dependence.NONE
