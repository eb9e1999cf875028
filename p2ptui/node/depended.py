"""The hosts that a node depends on, and the tests of a diagnosis that must not be run with them.

A NAT may ban hosts that send unsolicited datagrams. A filter test has a server do just that, so it
is run only with servers that nobody would miss, or that the user named for it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from p2ptui.nat.behavior import Change
from p2ptui.node.stun_servers import KnownServer
from p2ptui.wire.address import bare_ip, unmapped

OPTION: Final = "--filter-with"
"""The option that names a server for it, in the shell and in the command bar."""

FILTERING_SERVERS: Final = 2
"""Servers asked for replies from elsewhere; one may be unable to without saying so."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The hosts that a node would miss."""

    hosts: frozenset[str] = frozenset()
    """IP addresses of its peers, of the nodes that it looks for, and of the servers that it is to
    join.
    """
    named: frozenset[str] = frozenset()
    """IP addresses that the user named for tests that may get them banned."""
    unfound: tuple[str, ...] = ()
    """Names of servers to join whose addresses were not found: any host may be one of them."""

    @classmethod
    def on(
        cls, hosts: Collection[str], named: Collection[str] = (), unfound: Collection[str] = ()
    ) -> "Dependencies":
        """Make it from addresses in any form."""
        plain_hosts, plain_named = (frozenset(map(plain_host, each)) for each in (hosts, named))
        return cls(plain_hosts, plain_named, tuple(unfound))

    def __bool__(self) -> bool:
        """Whether there is anyone to lose."""
        return bool(self.hosts or self.unfound)

    @property
    def is_careful(self) -> bool:
        """Whether there is anyone to lose, and the user has not asked to risk it."""
        return bool(self) and not self.named

    def why(self, hosts: Collection[str]) -> str:
        """Why the host with these addresses is spared."""
        if self.unfound and not set(map(plain_host, hosts)) & self.hosts:
            return f"it may be {' or '.join(self.unfound)}, whose address was not found"
        return "this node depends on it"

    def forbids(self, hosts: Collection[str]) -> bool:
        """Whether the host with these addresses must not send unsolicited datagrams."""
        plain = set(map(plain_host, hosts))
        return bool(plain & self.hosts or self.unfound) and not plain & self.named


@dataclass(frozen=True, slots=True)
class FilterPlan:
    """Which servers are asked for replies from elsewhere."""

    questions: tuple[tuple[KnownServer, Change], ...]
    spared: tuple[KnownServer, ...] = ()
    """Servers that could have been asked, but that the node depends on."""


def plan_filtering(
    able: Sequence[KnownServer],
    fallback: KnownServer,
    everybody: Collection[KnownServer],
    depended: Dependencies,
) -> FilterPlan:
    """Choose the requests that harm nobody.

    Args:
        able: Servers that can reply from elsewhere, the best first.
        fallback: The server to ask if there is none: it may be able to without saying so.
        everybody: All servers: one may be known by several addresses.
        depended: The hosts that the node depends on.
    """
    # In the order in which they were given, which the user knows.
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
    """The hosts that a server is known to have: it may be its own other address."""
    same = [one for one in everybody if one.text == server.text] or [server]
    found = {one.address[0] for one in same if one.address is not None}
    return found | {one.other[0] for one in same if one.other is not None}


def plain_host(host: str) -> str:
    """An IP address in the form used for comparison."""
    try:
        return str(unmapped(bare_ip(host)))
    except ValueError:
        return host.partition("%")[0]


def names_of(spared: Sequence[KnownServer]) -> list[str]:
    """One name for each of these hosts."""
    return list({s.address[0]: s.text for s in reversed(spared) if s.address}.values())


def spared_lines(
    spared: Sequence[KnownServer], depended: Dependencies | None = None
) -> tuple[str, ...]:
    """Why filtering was not tested with them, and how to test it."""
    everybody = depended or Dependencies()
    hosts = {s.text: s.address[0] for s in spared if s.address}
    return tuple(
        f"filtering: not tested with {name}: {everybody.why([hosts[name]])}, and the test could"
        f" have it banned for a while; ask with {OPTION} {name}"
        for name in names_of(spared)
    )
