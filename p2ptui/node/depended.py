"""Whom a node depends on, and which tests of a diagnosis must therefore not be run with them.

A NAT may ban whoever sends what nobody asked for. A test of what is let in has somebody do just
that, so it is run only with servers that nobody would miss, or that a person named for it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from p2ptui.nat.behavior import Change
from p2ptui.node.stun_servers import KnownServer
from p2ptui.wire.address import bare_ip, unmapped

OPTION: Final = "--filter-with"
"""Names a server for it, in the shell and in the command bar."""

FILTERING_SERVERS: Final = 2
"""Servers that are asked for replies from elsewhere; one may be unable without saying so."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The hosts that a node would miss."""

    hosts: frozenset[str] = frozenset()
    """IP addresses of its peers, of those it looks for, and of those it is to join."""
    named: frozenset[str] = frozenset()
    """IP addresses that a person named for tests that may have them banned."""
    unfound: tuple[str, ...] = ()
    """Names of servers that it is to join, whose addresses were not found: they may be any."""

    @classmethod
    def on(
        cls, hosts: Collection[str], named: Collection[str] = (), unfound: Collection[str] = ()
    ) -> "Dependencies":
        """Made of addresses in any form."""
        plain_hosts, plain_named = (frozenset(map(plain_host, each)) for each in (hosts, named))
        return cls(plain_hosts, plain_named, tuple(unfound))

    def __bool__(self) -> bool:
        """Whether there is anybody to lose."""
        return bool(self.hosts or self.unfound)

    @property
    def is_careful(self) -> bool:
        """Whether there is anybody to lose, and nobody has asked to risk it."""
        return bool(self) and not self.named

    def why(self, hosts: Collection[str]) -> str:
        """Why somebody at these addresses is spared."""
        if self.unfound and not set(map(plain_host, hosts)) & self.hosts:
            return f"it may be {' or '.join(self.unfound)}, whose address was not found"
        return "this node depends on it"

    def forbids(self, hosts: Collection[str]) -> bool:
        """Whether somebody at these addresses, who are one, must not send unasked."""
        plain = set(map(plain_host, hosts))
        return bool(plain & self.hosts or self.unfound) and not plain & self.named


@dataclass(frozen=True, slots=True)
class FilterPlan:
    """Who is asked for which reply from elsewhere."""

    questions: tuple[tuple[KnownServer, Change], ...]
    spared: tuple[KnownServer, ...] = ()
    """Who could have been asked, but that the node depends on."""


def plan_filtering(
    able: Sequence[KnownServer],
    fallback: KnownServer,
    everybody: Collection[KnownServer],
    depended: Dependencies,
) -> FilterPlan:
    """Choose the questions that harm nobody.

    Args:
        able: Servers that can reply from elsewhere, the best first.
        fallback: Who is asked if there is none: it may be able without saying so.
        everybody: All servers: one may be known by several addresses.
        depended: Whom the node depends on.
    """
    # In the order in which they were given: by that a person knows them.
    spared = [s for s in everybody if s in able and depended.forbids(addresses_of(s, everybody))]
    chosen = [server for server in able if server not in spared][:FILTERING_SERVERS]
    if not able:
        chosen = [] if depended.forbids(addresses_of(fallback, everybody)) else [fallback]
        spared = [] if chosen else [fallback]
    return FilterPlan(
        tuple(
            (server, change)
            for server in chosen
            for change in (Change.ADDRESS_AND_PORT, Change.PORT)
            if change is Change.PORT or server.other is not None or not depended
        ),
        tuple(spared),
    )


def addresses_of(server: KnownServer, everybody: Collection[KnownServer]) -> set[str]:
    """The hosts that a server is known to have: it may itself be its own other address."""
    same = [one for one in everybody if one.text == server.text] or [server]
    found = {one.address[0] for one in same if one.address is not None}
    return found | {one.other[0] for one in same if one.other is not None}


def plain_host(host: str) -> str:
    """An IP address in the one form in which it is compared."""
    try:
        return str(unmapped(bare_ip(host)))
    except ValueError:
        return host.partition("%")[0]


def names_of(spared: Sequence[KnownServer]) -> list[str]:
    """One name of each of these hosts."""
    return list({s.address[0]: s.text for s in reversed(spared) if s.address}.values())


def spared_lines(
    spared: Sequence[KnownServer], depended: Dependencies | None = None
) -> tuple[str, ...]:
    """Why what is let in was not tested with them, and how it is."""
    everybody = depended or Dependencies()
    hosts = {s.text: s.address[0] for s in spared if s.address}
    return tuple(
        f"filtering: not tested with {name}: {everybody.why([hosts[name]])}, and the test could"
        f" have it banned for a while; ask with {OPTION} {name}"
        for name in names_of(spared)
    )
