"""The addresses that a node offers for a direct path, and which of another's offer it believes."""

import ipaddress
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from p2ptui.core.traversal.own_networks import OwnNetworks
from p2ptui.nat.punching import Kind
from p2ptui.wire.address import (
    Address,
    bare_ip,
    format_address,
    ip_version,
    is_global_ipv6,
    parse_ip_address,
)
from p2ptui.wire.offer import MAX_OWN, MAX_PREDICTED, TraversalOffer

HOST: Final = "host"
REFLEXIVE: Final = "srflx"
PREDICTED: Final = "predicted"

MAX_OTHERS: Final = MAX_OWN + 1
"""At most this many of a side's other addresses are offered, its own ones and those that servers
see: together with the predicted ports they fit into an offer."""

MAX_CLAIMED: Final = 2
"""At most this many of a side's global IPv6 addresses are tried in a round: only that side vouches
for them, so they might be a stranger's."""

_ItemT = TypeVar("_ItemT")


@dataclass(frozen=True, slots=True)
class Believed:
    """The addresses of an offer to which datagrams may be sent."""

    kind: Kind
    remotes: tuple[Address, ...]


def told_at_once(limit: int) -> int:
    """How many of this node's own addresses an offer contains, given `limit`
    (`ice.max_candidates`)."""
    return min(limit, MAX_OWN)


def offered(
    hosts: Iterable[Address],
    reflexive: Iterable[Address],
    predicted: Iterable[Address],
    limit: int = MAX_OTHERS,
    number: int = 0,
) -> list[tuple[str, str]]:
    """The candidates of an offer, the best first (RFC 8445, section 5.1.1).

    Args:
        hosts: This node's own addresses, the best first.
        reflexive: Where servers see this node.
        predicted: Where its further sockets are expected to be seen.
        limit: Most own addresses.
        number: The number of the round: if there are more addresses, others are offered in the
            next.
    """
    own = turn(list(dict.fromkeys(hosts)), told_at_once(limit), number)
    seen = list(dict.fromkeys(reflexive))[: MAX_OTHERS - len(own)]
    guessed = list(dict.fromkeys(predicted))[:MAX_PREDICTED]
    kinds = ((HOST, own), (REFLEXIVE, seen), (PREDICTED, guessed))
    return [(kind, format_address(a)) for kind, addresses in kinds for a in addresses]


def turn(items: Sequence[_ItemT], limit: int, number: int) -> list[_ItemT]:
    """As many items as there is room for: the first ones in round 0, the next in round 1.

    An item that a limit cuts off may be the one that works, so all of them take turns.
    """
    if len(items) <= limit:
        return list(items)
    begin = number * limit % len(items)
    return [*items[begin:], *items[:begin]][:limit]


def believed(
    offer: TraversalOffer,
    observed: Address,
    limit: int,
    own: OwnNetworks | None = None,
    own_addresses: Iterable[Address] = (),
    *,
    versions: Collection[int] = (4, 6),
    tried: Collection[Address] = (),
) -> list[Believed]:
    """Which addresses of an offer are tried: a claim must not aim this node at somebody else.

    Outside addresses count only at the host where the server saw the other node; inside ones only
    in ranges that are never routed, or at that same host. A server that was joined over IPv4 sees
    no IPv6 address; a few of those are tried, with so few checks that a stranger behind one gets
    less than three times what the claim cost (RFC 8445, section 19.5.1, leaves that to a limit).

    Args:
        offer: What the other side said.
        observed: Where the server sees it.
        limit: Candidates of a kind in one round, at most, without predicted ports.
        own: The networks of this machine: addresses in one of them are tried first, those reached
            only through a bridge or a tunnel last.
        own_addresses: The addresses of this node's sockets.
        versions: The IP versions that they reach.
        tried: What earlier rounds of the search tried: it comes after what they did not.
    """
    claims = claims_of(offer, observed, own, own_addresses, versions)

    def chosen(kind: Kind, limit: int) -> Believed:
        new = [address for address in claims[kind] if address not in tried]
        if not new or not tried:
            return Believed(kind, tuple(turn(claims[kind], limit, offer.round)))
        old = [address for address in claims[kind] if address in tried]
        return Believed(kind, tuple([*new, *old][:limit]))

    return [
        # Predicted ports first: each new flow of this side may move its own NAT's next port.
        Believed(Kind.PREDICTED, claims[Kind.PREDICTED][:MAX_PREDICTED]),
        chosen(Kind.HOST, limit),
        chosen(Kind.CLAIMED, MAX_CLAIMED),
        chosen(Kind.REFLEXIVE, limit),
    ]


def claims_of(
    offer: TraversalOffer,
    observed: Address,
    own: OwnNetworks | None = None,
    own_addresses: Iterable[Address] = (),
    versions: Collection[int] = (4, 6),
) -> dict[Kind, tuple[Address, ...]]:
    """Everything in an offer that may be tried, over all rounds, the best first; see `believed`."""
    own = own or OwnNetworks()
    hosts, claimed, reflexive, predicted = [], [], [observed], []
    for kind, text in offer.candidates:
        address = parse_ip_address(text)
        if address is None or ip_version(address[0]) not in versions:
            continue
        if kind == HOST and (address[0] == observed[0] or _is_inside(address[0])):
            hosts.append(address)
        elif kind == HOST and is_global_ipv6(address[0]):
            claimed.append(address)
        elif kind == REFLEXIVE and address[0] == observed[0]:
            reflexive.append(address)
        elif kind == PREDICTED and address[0] == observed[0]:
            predicted.append(address)
    return {
        Kind.PREDICTED: tuple(dict.fromkeys(predicted)),
        Kind.HOST: tuple(_elsewhere(hosts, own, own_addresses)),
        Kind.CLAIMED: tuple(_elsewhere(claimed, own, own_addresses)),
        Kind.REFLEXIVE: tuple(dict.fromkeys(reflexive)),
    }


def _elsewhere(
    addresses: list[Address], own: OwnNetworks, own_addresses: Iterable[Address]
) -> list[Address]:
    """The addresses of another node, each once, in the order in which this machine reaches them.

    Two machines may have the same addresses on their container bridges: datagrams sent there never
    leave the machine. Only a node on this same machine has no addresses but this machine's.
    """
    is_same_machine = all(own.holds(host) for host, _ in addresses)
    mine = frozenset(own_addresses)
    theirs = [
        address
        for address in dict.fromkeys(addresses)
        if address not in mine and (is_same_machine or not own.holds(address[0]))
    ]
    return sorted(theirs, key=lambda address: own.link_to(address[0]))


def claims_ipv6(offer: TraversalOffer) -> bool:
    """Whether a side claims to have a global IPv6 address."""
    addresses = [parse_ip_address(text) for kind, text in offer.candidates if kind == HOST]
    return any(address is not None and is_global_ipv6(address[0]) for address in addresses)


_INSIDE: Final = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
    )
)
"""RFC 1918, 6598 and 4193. Python's `is_private` includes more: loopback and broadcast."""


def _is_inside(host: str) -> bool:
    ip = bare_ip(host)
    return any(ip in network for network in _INSIDE)
