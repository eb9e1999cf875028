"""What STUN observations say about a NAT: how it maps, what it lets in, and how sure that is.

The terms are those of RFC 4787 (mapping in section 4.1, filtering in section 5); the
classical names of RFC 3489 follow from them. Silence is never taken for sameness, and what
was not seen is "unknown" rather than guessed.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

from p2ptui.text import counted
from p2ptui.wire.address import Address, format_address

SURE: Final = 0.99
"""Several independent answers agree."""

LIKELY: Final = 0.9
"""One observation, which otherwise only an unusual network would cause."""

TWICE_LIKELY: Final = 0.95
"""Two such observations that are not quite independent."""

MAX_FALSE_SILENCE: Final = 0.001
"""A silence counts as filtering only if loss alone would cause it less often than this."""


class Dependence(StrEnum):
    """What a mapping, or a filter, depends on (RFC 4787)."""

    NONE = "none"
    """There is no translation, or no filter, at all."""
    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS = "address-dependent"
    ADDRESS_AND_PORT = "address-and-port-dependent"
    UNKNOWN = "unknown"


class NatType(StrEnum):
    """The classical names (RFC 3489, section 5), and what they leave out."""

    OPEN = "open"
    FIREWALL = "firewall"
    FULL_CONE = "full-cone"
    RESTRICTED_CONE = "restricted-cone"
    PORT_RESTRICTED_CONE = "port-restricted-cone"
    SYMMETRIC = "symmetric"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Seen:
    """One socket, seen by one server."""

    server: Address
    """Where the request went, and the answer came from."""
    mapped: Address
    """Where the server saw it come from."""


@dataclass(frozen=True, slots=True)
class MappingVerdict:
    """How a NAT maps one local address."""

    kind: Dependence
    varies: bool
    """Whether different servers saw different addresses: symmetric, of whichever kind."""
    confidence: float
    """From 0 to 1."""
    evidence: tuple[str, ...]


class Change(Enum):
    """The other source from which a reply was requested."""

    ADDRESS_AND_PORT = "another address and port"
    PORT = "another port of the same address"
    PEER = "another machine, a peer of the server"


class Reply(Enum):
    """The outcome of such a request."""

    CAME = "came"
    SILENCE = "silence"
    """Nothing came, although the other source can send and was heard otherwise."""
    UNTESTABLE = "untestable"
    """Nobody could or would send from elsewhere."""


@dataclass(frozen=True, slots=True)
class FilterTest:
    """One request from a fresh socket for a reply from elsewhere."""

    change: Change
    reply: Reply
    detail: str
    """Who was asked, or why it could not be tested; for the evidence."""
    sends: int = 0
    """How often it was sent; for silence, only as often as the path was seen to work."""
    is_cut_off: bool = False
    """Whether nearly all control requests on the same flow went unanswered too."""
    is_refused: bool = False
    """Whether the replying server is no longer heard: the reply arrived and was refused."""


@dataclass(frozen=True, slots=True)
class FilteringVerdict:
    """What a NAT, or a firewall, lets in."""

    kind: Dependence
    confidence: float
    evidence: tuple[str, ...]


def classify_mapping(
    local: Address, observations: Iterable[Seen], own_hosts: Collection[str] = ()
) -> MappingVerdict:
    """How a NAT maps a local address, from what several servers saw (RFC 5780, section 4.3).

    Args:
        local: The socket's own address.
        observations: One for each server address that answered.
        own_hosts: Other IP addresses of this machine.
    """
    seen = list(dict.fromkeys(observations))
    hosts = {local[0], *own_hosts}
    untouched = [one for one in seen if one.mapped[1] == local[1] and one.mapped[0] in hosts]
    if not seen:
        return MappingVerdict(Dependence.UNKNOWN, False, 0.0, ("mapping: no server answered",))
    if len(untouched) == len(seen):
        line = f"mapping: {_servers(seen)} saw the local address itself: no NAT"
        confidence = SURE if len(seen) > 1 else LIKELY
        return MappingVerdict(Dependence.NONE, False, confidence, (line,))
    evidence = []
    near_hosts = near_among({one.mapped[0] for one in seen}, hosts)
    near = [one for one in seen if one.mapped[0] in near_hosts]
    if near:
        evidence.append(f"mapping: {_servers(near)} is on this side of the NAT, not counted")
        seen = [one for one in seen if one not in near]
    kind, varies, confidence, line = _compare(seen)
    return MappingVerdict(kind, varies, confidence, (*evidence, f"mapping: {line}"))


def near_among(mapped_hosts: Collection[str], own_hosts: Collection[str]) -> set[str]:
    """Where servers on this side of the outermost NAT see this machine; they show nothing about it.

    They see a private address while others see a public one (they are between two NATs, or in a
    container), or this machine's own address while others see another.

    Args:
        mapped_hosts: All IP addresses that servers saw.
        own_hosts: The IP addresses of this machine.

    Returns:
        Some of `mapped_hosts`, never all.
    """
    public = {host for host in mapped_hosts if ipaddress.ip_address(host).is_global}
    outer = public or set(mapped_hosts)
    outer = {host for host in outer if host not in own_hosts} or outer
    return set(mapped_hosts) - outer


def _compare(seen: Sequence[Seen]) -> tuple[Dependence, bool, float, str]:
    by_host: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        by_host[one.server[0]].append(one)
    several_ports = [group for group in by_host.values() if len({o.server for o in group}) > 1]
    if len({one.mapped for one in seen}) == 1:
        mapped = format_address(seen[0].mapped)
        if len(by_host) > 1:
            line = f"{_servers(seen)} all saw {mapped}"
            return Dependence.ENDPOINT_INDEPENDENT, False, SURE, line
        if several_ports:
            line = f"ports of one address saw {mapped}; a second address is needed"
        else:
            line = f"only {_servers(seen)} answered, and saw {mapped}; a second one is needed"
        return Dependence.UNKNOWN, False, 0.0, line
    for group in several_ports:
        if len({one.mapped for one in group}) > 1:
            return Dependence.ADDRESS_AND_PORT, True, SURE, f"{_differing(group)}: by port as well"
    if several_ports and len(by_host) > 1:
        return Dependence.ADDRESS, True, SURE, f"{_differing(seen)}: by address, not by port"
    line = f"{_differing(seen)}; whether by address or by port as well was not seen"
    return Dependence.UNKNOWN, True, LIKELY, line


def is_silence_believed(loss: float, sends: int) -> bool:
    """Whether silence after this many requests is more than bad luck.

    Args:
        loss: The share of round trips lost on the path, 0 to 1.
        sends: How many requests were sent.
    """
    return loss**sends <= MAX_FALSE_SILENCE


def classify_filtering(
    is_translated: bool, tests: Iterable[FilterTest], loss: float = 0.0
) -> FilteringVerdict:
    """What is let in, from requests for replies from elsewhere (RFC 5780, section 4.4).

    Args:
        is_translated: Whether there is a NAT; without one, a filter that lets everything in is
            none.
        tests: The requests; a reply that came decides, whatever was lost before.
        loss: The share of round trips lost on the path, 0 to 1: how far a silence is believed.
    """
    by_change: dict[Change, FilterTest] = {}
    evidence = []
    for test in tests:
        # Silence after a few requests proves nothing on a lossy path.
        is_silent = test.reply is Reply.SILENCE and not test.is_refused
        if is_silent and not is_silence_believed(loss, test.sends):
            test = FilterTest(
                test.change,
                Reply.UNTESTABLE,
                f"{test.detail}: silence, but {loss:.0%} of all round trips are lost here",
            )
        known = by_change.get(test.change)
        if known is None or _weight(test) > _weight(known):
            by_change[test.change] = test
    for test in by_change.values():
        words = {
            Reply.CAME: "came in",
            Reply.SILENCE: f"did not come in, asked {counted(test.sends, 'time')}",
            Reply.UNTESTABLE: "could not be tested",
        }[test.reply]
        if test.is_refused:
            words = "was refused"
        evidence.append(f"filtering: a reply from {test.change.value} {words} ({test.detail})")
    other = _strongest(by_change, Change.ADDRESS_AND_PORT, Change.PEER)
    port = _strongest(by_change, Change.PORT)
    kind, confidence = _filtering_of(is_translated, other, port, loss, by_change)
    if not evidence:
        evidence.append("filtering: no server could be asked for a reply from elsewhere")
    return FilteringVerdict(kind, confidence, tuple(evidence))


def _filtering_of(
    is_translated: bool,
    other: Reply,
    port: Reply,
    loss: float,
    tests: dict[Change, FilterTest],
) -> tuple[Dependence, float]:
    if other is Reply.CAME:
        kind = Dependence.ENDPOINT_INDEPENDENT if is_translated else Dependence.NONE
        return kind, SURE
    silent = [test for test in tests.values() if test.reply is Reply.SILENCE]
    confidence = min((_confidence(test, loss) for test in silent), default=0.0)
    if sum(test.is_refused for test in silent) > 1:
        confidence = max(confidence, TWICE_LIKELY)
    if port is Reply.SILENCE:
        # A filter that stops the same host's other port stops other hosts too.
        return Dependence.ADDRESS_AND_PORT, confidence
    if other is Reply.SILENCE and port is Reply.CAME:
        return Dependence.ADDRESS, confidence
    return Dependence.UNKNOWN, 0.0


def _confidence(test: FilterTest, loss: float) -> float:
    # A server may stop replying for reasons of its own; two at once are unlikely to.
    return LIKELY if test.is_refused else min(SURE, 1 - loss**test.sends)


def _strongest(tests: dict[Change, FilterTest], *changes: Change) -> Reply:
    found = [tests[change] for change in changes if change in tests]
    return max(found, key=_weight).reply if found else Reply.UNTESTABLE


def _weight(test: FilterTest) -> int:
    return {Reply.UNTESTABLE: 0, Reply.SILENCE: 1, Reply.CAME: 2}[test.reply]


def nat_type_of(mapping: MappingVerdict, filtering: Dependence) -> NatType:
    """The classical name of a behaviour (RFC 3489, section 5)."""
    if mapping.varies:
        return NatType.SYMMETRIC
    if filtering is Dependence.UNKNOWN:
        return NatType.UNKNOWN
    if mapping.kind is Dependence.NONE:
        return NatType.OPEN if filtering is Dependence.NONE else NatType.FIREWALL
    if mapping.kind is Dependence.ENDPOINT_INDEPENDENT:
        return _CONES[filtering]
    return NatType.UNKNOWN


_CONES: Final = {
    Dependence.NONE: NatType.FULL_CONE,
    Dependence.ENDPOINT_INDEPENDENT: NatType.FULL_CONE,
    Dependence.ADDRESS: NatType.RESTRICTED_CONE,
    Dependence.ADDRESS_AND_PORT: NatType.PORT_RESTRICTED_CONE,
}


def _servers(seen: Iterable[Seen]) -> str:
    names = list(dict.fromkeys(format_address(one.server) for one in seen))
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]


def _differing(seen: Sequence[Seen]) -> str:
    return ", ".join(
        f"{format_address(one.server)} saw {format_address(one.mapped)}" for one in seen
    )
