"""What a diagnosis says beside its verdicts: evidence in words, confidence, and who was silent."""

import ipaddress
import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from p2ptui.io.interfaces import local_networks
from p2ptui.nat.behavior import (
    LIKELY,
    Dependence,
    MappingVerdict,
    NatType,
    Seen,
    classify_mapping,
    nat_type_of,
)
from p2ptui.nat.feasibility import (
    NEARBY_ADVICE,
    NEARBY_MEANING,
    doubtful_words,
    not_asked_words,
)
from p2ptui.nat.findings import Finding, advice_with, meaning_with
from p2ptui.nat.plausible import is_sendable, why_not_sendable
from p2ptui.nat.report import NatReport
from p2ptui.node.behavior_tests import Results
from p2ptui.node.nat_tests import Ground
from p2ptui.node.stun_servers import KnownServer
from p2ptui.text import counted
from p2ptui.wire.address import Address, bare_ip, format_address
from p2ptui.wire.stun import MessageClass

LONGEST_BAN_S: Final = 300.0
"""How long an observed ban explains the silence of all servers; bans usually last a minute."""

DOUBTFUL: Final = 0.6
"""One host is silent: blocked UDP is only one of two explanations."""


@dataclass(frozen=True, slots=True)
class OwnSocket:
    """What joined servers said about the node's own socket in their handshakes."""

    local: Address
    seen: tuple[Seen, ...]
    heard: tuple[Address, ...] = ()
    """Addresses of connected peers that have shown that they receive what is sent to them."""


def confidence_in(nat_type: NatType, mapping: MappingVerdict, filtering: float) -> float:
    """How sure a NAT type is, from the evidence for it; 0 to 1."""
    if nat_type is NatType.UNKNOWN:
        return 0.0
    if nat_type is NatType.SYMMETRIC:
        return mapping.confidence
    return min(mapping.confidence, filtering)


def tampering(servers: list[KnownServer]) -> tuple[bool | None, tuple[str, ...]]:
    """Whether plain addresses inside answers are rewritten, unlike XORed ones (RFC 5780, 4.5)."""
    for server in servers:
        answer = server.answer
        if answer is None or answer.message.message_class is not MessageClass.SUCCESS:
            continue
        plain, obscured = answer.message.mapped, answer.message.xor_mapped
        if plain is not None and obscured is not None:
            differ = plain != obscured
            words = "differ: something rewrites them" if differ else "agree: nothing rewrites them"
            return differ, (f"alg: the plain and the obscured address in an answer {words}",)
    return None, ()


def hairpin_line(
    translated: bool, hairpin: bool | None, *, outside: Address, server: Address
) -> tuple[str, ...]:
    """The evidence behind hairpin.

    Args:
        translated: Whether there is a NAT.
        hairpin: What the test saw.
        outside: Where the server sees this machine.
        server: The server.
    """
    if not translated:
        return ()
    if not is_sendable(outside, server):
        where = f"{format_address(outside)} {why_not_sendable(outside, server)}"
        return (f"hairpin: not tested: {where}",)
    if hairpin is None:
        return ()
    words = "arrived" if hairpin else "did not arrive"
    return (f"hairpin: what a second socket sent to {format_address(outside)} {words}",)


def find_habits(ground: Ground, results: Results) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """What else the NAT does that the user must know, and the evidence for it."""
    findings, lines = [], []
    if ground.control is not None and ground.control.new_flows.are_limited:
        findings.append(Finding.LIMITS_NEW_FLOWS)
        lines.append(f"{Finding.LIMITS_NEW_FLOWS}: {ground.control.new_flows.words}")
    if results.banned:
        names = " and ".join(map(format_address, results.banned))
        findings.append(Finding.BANS_UNASKED_SENDERS)
        lines.append(
            f"{Finding.BANS_UNASKED_SENDERS}: {names} answered until a reply that nobody had asked"
            " it for was to come from there, and nothing has come from there since"
        )
    elif results.fell_silent:
        names = " and ".join(map(format_address, results.fell_silent))
        lines.append(f"control: {names} stopped answering during the tests")
    if results.still_answer:
        names = " and ".join(map(format_address, results.still_answer))
        verb = "answers" if len(results.still_answer) == 1 else "answer"
        lines.append(f"control: {names} still {verb} after the tests")
    if results.is_hairpin_spared:
        lines.append(
            "hairpin: not tested: a NAT that bans unasked senders could ban this machine, and what"
            " is let in was not tested before, or somebody was banned"
        )
    return tuple(findings), tuple(lines)


def mtu_line(mtu: int | None, server: Address) -> tuple[str, ...]:
    """The evidence behind the largest packet."""
    if mtu is None:
        return ()
    return (f"mtu: an IP packet of {mtu} bytes reached {format_address(server)} in one piece",)


def unreached(
    servers: list[KnownServer], own: OwnSocket | None, own_hosts: Collection[str]
) -> NatReport:
    """The report if no server told an address: UDP is blocked, nobody could be asked, or STUN is
    missing.

    Args:
        servers: The servers that were asked.
        own: What is known about the node's own socket.
        own_hosts: The IP addresses of this machine.
    """
    seen = [one for one in own.seen if _is_from_outside(one, own_hosts)] if own is not None else []
    if own is not None and seen:
        verdict = classify_mapping(own.local, seen, own_hosts)
        names = ", ".join(format_address(one.server) for one in seen)
        return NatReport(
            udp=True,
            local=own.local,
            mapped=seen[0].mapped,
            mapping=verdict.kind,
            nat_type=nat_type_of(verdict, Dependence.UNKNOWN),
            confidence=verdict.confidence if verdict.varies else 0.0,
            evidence=(
                f"udp: the node has sessions with {names}; no STUN server answered",
                *_node_lines(servers),
                *verdict.evidence,
            ),
        )
    lines = [f"udp: {s.text} answered, but {s.refusal}" for s in servers if s.refusal is not None]
    lines += [
        f"udp: no STUN server is running at {s.text}, says its own machine"
        for s in servers
        if s.is_refused
    ]
    lines += _node_lines(servers)
    silent = [
        s for s in servers if s.sent and s.refusal is None and not (s.is_refused or s.is_node)
    ]
    heard = own.heard if own is not None else ()
    if heard:
        connected = f"{len(heard)} node{'s are' if len(heard) > 1 else ' is'} connected"
        lines.append(f"udp: {connected}: UDP passes to there")
    # Connected nodes nearby say nothing about anything further away.
    farthest = max((_reach(address[0]) for address in heard), default=None)
    is_passing = any(s.refusal is not None or s.is_refused or s.is_node for s in servers) or (
        farthest is not None and any(s.address and _reach(s.address[0]) <= farthest for s in silent)
    )
    if silent:
        asked = ", ".join(f"{s.text}, asked {counted(s.sent, 'time')}" for s in silent)
        lines.append(f"udp: no answer from {asked}")
    if is_passing:
        return NatReport(udp=True, evidence=tuple(lines))
    if not silent:
        reasons = {server.report().error for server in servers}
        lines += [f"udp: {reason}" for reason in sorted(filter(None, reasons))]
        troubles = [server.trouble for server in servers if server.trouble is not None]
        meaning, advice = not_asked_words(troubles, is_heard=bool(heard))
        udp = True if heard else None
        return NatReport(udp=udp, evidence=tuple(lines), meaning=meaning, advice=advice)
    if heard:
        # Somebody is heard: to say that anything is blocked would be a guess.
        lines.append("udp: the nodes that are connected are nearer than those that are silent")
        return NatReport(
            udp=True, evidence=tuple(lines), meaning=NEARBY_MEANING, advice=NEARBY_ADVICE
        )
    lines += [f"udp: {s.text}: {s.error}" for s in silent if s.error is not None]
    hosts = {server.address[0] for server in silent if server.address is not None}
    if len(hosts) > 1 or any(server.is_stopped for server in silent):
        return NatReport(
            udp=False, nat_type=NatType.BLOCKED, confidence=LIKELY, evidence=tuple(lines)
        )
    lines.append("udp: it was one host only, which may itself be down; ask a second one")
    meaning, advice = doubtful_words(silent[0].text)
    return NatReport(
        udp=False,
        nat_type=NatType.BLOCKED,
        confidence=DOUBTFUL,
        evidence=tuple(lines),
        meaning=meaning,
        advice=advice,
    )


def _still_banned(report: NatReport, line: str) -> NatReport:
    """The report for the same silence if a ban by the NAT was seen a short time ago.

    Args:
        report: The report that says that UDP is blocked.
        line: The evidence for the ban.
    """
    findings = (Finding.BANS_UNASKED_SENDERS,)
    meaning = "No server answered; UDP passed a short time ago."
    return replace(
        report,
        udp=True,
        nat_type=NatType.UNKNOWN,
        confidence=0.0,
        findings=findings,
        evidence=(*report.evidence, line),
        meaning=meaning_with(findings, meaning),
        advice=advice_with(findings, "Ask again then, or ask another server."),
    )


class BanMemory:
    """Remembers when a diagnosis last had a server banned."""

    def __init__(self) -> None:
        self._banned_at = -math.inf

    def explain(self, report: NatReport, now: float) -> NatReport:
        """Servers banned because of an earlier diagnosis are silent for that reason: nothing is
        blocked.

        Args:
            report: The result of a diagnosis.
            now: Seconds, always on the same clock.
        """
        if Finding.BANS_UNASKED_SENDERS in report.findings:
            self._banned_at = now
        ago_s = now - self._banned_at
        if report.nat_type is not NatType.BLOCKED or ago_s > LONGEST_BAN_S:
            return report
        line = (
            f"{Finding.BANS_UNASKED_SENDERS}: a diagnosis had servers banned {ago_s:.0f} s ago;"
            " they may be silent for that"
        )
        return _still_banned(report, line)


def _node_lines(servers: list[KnownServer]) -> list[str]:
    return [f"udp: a node answered at {s.text}, which serves no STUN" for s in servers if s.is_node]


def _reach(host: str) -> int:
    """How far away an address is: on this machine, in private networks, or anywhere."""
    ip = bare_ip(host)
    if ip.is_loopback:
        return 0
    return 2 if ip.is_global else 1


def _is_from_outside(seen: Seen, own_hosts: Collection[str]) -> bool:
    """Whether a session shows that UDP passes beyond this site: a neighbour's does not.

    A neighbour sees this machine's own address; so does everybody if that is a public one.
    """
    if seen.mapped[0] not in own_hosts:
        return True
    server = bare_ip(seen.server[0])
    is_neighbour = any(server in network for network in local_networks())
    return ipaddress.ip_address(seen.mapped[0]).is_global and not is_neighbour
