"""The report of a diagnosis: one value behind the shell, the screen and the library."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from p2ptui.nat.allocation import PortAllocation
from p2ptui.nat.behavior import LIKELY, Dependence, NatType
from p2ptui.nat.findings import Finding
from p2ptui.wire.address import Address, format_address


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What one STUN server contributed."""

    address: str
    """As it was given: a host name or an IP address, and a port."""
    rtt_ms: float | None = None
    ok: bool = False
    error: str | None = None
    """Why it was of no use."""
    at: Address | None = None
    """For a host name, which of its addresses this is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NatReport:
    """The results of a NAT diagnosis; docs/nat.md explains each line."""

    udp: bool | None
    """Whether UDP passes; None if no server could even be asked."""
    local: Address | None = None
    """The socket's own address."""
    mapped: Address | None = None
    """Where servers saw the socket at `local`."""
    mapped_v6: Address | None = None
    """The same over IPv6."""
    mapping: Dependence = Dependence.UNKNOWN
    """What the outside port depends on."""
    filtering: Dependence = Dependence.UNKNOWN
    """What lets a datagram in through the NAT."""
    nat_type: NatType = NatType.UNKNOWN
    """The kind of NAT that this amounts to."""
    port_allocation: PortAllocation = field(default_factory=PortAllocation)
    """How the NAT chooses outside ports."""
    hairpin: bool | None = None
    """Whether two hosts behind the NAT reach each other at its outside address."""
    lifetime_s: float | None = None
    """How long a mapping lives without traffic; measured on request only."""
    mtu: int | None = None
    """Bytes of the largest IP packet that reached a server in one piece."""
    alg: bool | None = None
    """Whether something on the way rewrites addresses inside datagrams."""
    firewall: bool | None = None
    """Whether there is no NAT, but unsolicited datagrams are blocked."""
    findings: tuple[Finding, ...] = ()
    """Further problems to show to the user."""
    spared: tuple[str, ...] = ()
    """Servers, `host:port` each, that were not used to test filtering, because the node depends on
    them and some NATs ban a server for it.
    """
    servers: tuple[ServerReport, ...] = ()
    """Each server that was asked, with its round trip or why it was of no use."""
    confidence: float = 0.0
    """How sure `nat_type` is, from 0 to 1."""
    evidence: tuple[str, ...] = ()
    """The observations, one line each."""
    meaning: str = ""
    """The meaning for the user, as text."""
    advice: str = ""
    """What to do, as text."""
    duration_s: float = 0.0
    """How long the diagnosis took."""

    @property
    def is_doubtful(self) -> bool:
        """Whether "blocked" is only the worse of two guesses: a single host was asked, and did not
        answer.
        """
        return self.udp is False and self.confidence < LIKELY

    def as_json(self) -> dict[str, Any]:
        """The keys and values of `p2ptui nat --json`; `findings` only if there are any.

        A server that was given by a name has `at`, the address that was asked.
        """
        return {
            "udp": self.udp,
            "local": _text(self.local),
            "mapped": _text(self.mapped),
            "mapped_v6": _text(self.mapped_v6),
            "mapping": self.mapping.value,
            "filtering": self.filtering.value,
            "nat_type": self.nat_type.value,
            "port_allocation": {
                "kind": self.port_allocation.kind.value,
                "step": self.port_allocation.step,
                "parity_preserved": self.port_allocation.parity_preserved,
            },
            "hairpin": self.hairpin,
            "lifetime_s": self.lifetime_s,
            "mtu": self.mtu,
            "alg": self.alg,
            "firewall": self.firewall,
            "servers": [_server_json(server) for server in self.servers],
            "confidence": round(self.confidence, 4),
            "evidence": list(self.evidence),
            "meaning": self.meaning,
            "advice": self.advice,
            "duration_s": round(self.duration_s, 3),
        } | ({"findings": [finding.value for finding in self.findings]} if self.findings else {})


def _text(address: Address | None) -> str | None:
    return None if address is None else format_address(address)


def _server_json(server: ServerReport) -> Mapping[str, Any]:
    rtt_ms = None if server.rtt_ms is None else round(server.rtt_ms, 3)
    said = {"address": server.address, "rtt_ms": rtt_ms, "ok": server.ok, "error": server.error}
    return said if server.at is None else said | {"at": format_address(server.at)}
