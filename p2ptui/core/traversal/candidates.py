"""What a node offers of itself for a direct path, and what it believes of another's offer."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from p2ptui.nat.punching import Kind
from p2ptui.wire.address import Address, format_address, is_global_ipv6, parse_ip_address
from p2ptui.wire.offer import MAX_CANDIDATES, MAX_PREDICTED, TraversalOffer

HOST: Final = "host"
REFLEXIVE: Final = "srflx"
PREDICTED: Final = "predicted"

MAX_OTHERS: Final = (MAX_CANDIDATES - MAX_PREDICTED) // 2
"""Of a side's other addresses at most this many are told, of its own and of those that servers
see: with the predicted ports they fit an offer."""

MAX_CLAIMED: Final = 2
"""Of a side's global IPv6 addresses at most this many are tried: nobody but itself vouches for
them, so they might be a stranger's."""


@dataclass(frozen=True, slots=True)
class Believed:
    """The addresses of an offer that may be sent to."""

    kind: Kind
    remotes: tuple[Address, ...]


def offered(
    hosts: Iterable[Address], reflexive: Iterable[Address], predicted: Iterable[Address]
) -> list[tuple[str, str]]:
    """The candidates of an offer, the best first (RFC 8445, section 5.1.1)."""
    seen = list(dict.fromkeys(reflexive))[:MAX_OTHERS]
    # Where the server sees this node is worth more than one more address of its own.
    own = list(dict.fromkeys(hosts))[: MAX_OTHERS - len(seen)]
    guessed = list(dict.fromkeys(predicted))[:MAX_PREDICTED]
    kinds = ((HOST, own), (REFLEXIVE, seen), (PREDICTED, guessed))
    return [(kind, format_address(a)) for kind, addresses in kinds for a in addresses]


def believed(offer: TraversalOffer, observed: Address, limit: int) -> list[Believed]:
    """What of an offer is tried: a claim must not aim this node at somebody else.

    Outside addresses count only at the host where the server saw the other node; inside ones
    only in ranges that are never routed, or at that same host. A server that was joined over IPv4
    sees no IPv6 address; there a few are tried, with checks so few that a stranger behind one got
    less than three times what the claim cost (RFC 8445, section 19.5.1, leaves that to a limit).

    Args:
        offer: What the other side said.
        observed: Where the server sees it.
        limit: Candidates, at most, without predicted ports.
    """
    hosts, claimed, reflexive, predicted = [], [], [observed], []
    for kind, text in offer.candidates:
        address = parse_ip_address(text)
        if address is None:
            continue
        if kind == HOST and (address[0] == observed[0] or _is_inside(address[0])):
            hosts.append(address)
        elif kind == HOST and is_global_ipv6(address[0]):
            claimed.append(address)
        elif kind == REFLEXIVE and address[0] == observed[0]:
            reflexive.append(address)
        elif kind == PREDICTED and address[0] == observed[0]:
            predicted.append(address)
    return [
        # Predicted ports first: each new flow of this side may move its own NAT's next port.
        Believed(Kind.PREDICTED, tuple(dict.fromkeys(predicted))[:MAX_PREDICTED]),
        Believed(Kind.HOST, tuple(dict.fromkeys(hosts))[:limit]),
        Believed(Kind.CLAIMED, tuple(dict.fromkeys(claimed))[:MAX_CLAIMED]),
        Believed(Kind.REFLEXIVE, tuple(dict.fromkeys(reflexive))[:limit]),
    ]


def claims_ipv6(offer: TraversalOffer) -> bool:
    """Whether a side says that it has a global IPv6 address."""
    addresses = (parse_ip_address(text) for kind, text in offer.candidates if kind == HOST)
    return any(address is not None and is_global_ipv6(address[0]) for address in addresses)


_INSIDE: Final = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
    )
)
"""RFC 1918, 6598 and 4193. What Python calls private holds more: loopback, and the broadcast."""


def _is_inside(host: str) -> bool:
    ip = ipaddress.ip_address(host.partition("%")[0])
    return any(ip in network for network in _INSIDE)
