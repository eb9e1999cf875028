"""What two nodes have in common: an outside address, a network, an IP version."""

from collections.abc import Collection, Iterable

from p2ptui.core.traversal.attempt import Attempt
from p2ptui.core.traversal.candidates import HOST
from p2ptui.core.traversal.own_networks import Network, OwnNetworks
from p2ptui.wire.address import Address, ip_version, parse_ip_address


def shared_outside(attempt: Attempt) -> str | None:
    """The outside address of both sides, if they share one: if they are behind a NAT, it is the
    same one."""
    here, there = attempt.server.public_address, attempt.observed
    return here[0] if here is not None and there is not None and here[0] == there[0] else None


def shared_network(attempt: Attempt, own: OwnNetworks) -> Network | None:
    """The network of this machine that the other node is also in; None if none is known. Many
    networks use the same addresses: this one counts if a server sees both nodes behind one
    outside address, or both inside."""
    observed, here = attempt.observed, attempt.server.public_address
    if observed is None or attempt.remote is None:
        return None
    is_inside = here is None or own.network_of(here[0]) is not None
    near = own.network_of(observed[0]) if is_inside else None
    if near is not None or shared_outside(attempt) is None:
        return near
    told = [parse_ip_address(text) for kind, text in attempt.remote.candidates if kind == HOST]
    hosts = [address[0] for address in told if address is not None]
    found = [own.network_of(host) for host in hosts if not own.holds(host)]
    return next((network for network in found if network is not None), None)


def depends_on_nats(attempt: Attempt, networks: OwnNetworks) -> bool:
    """Whether the NATs of the two matter: inside one network they do not."""
    observed = attempt.observed
    is_near = observed is not None and networks.is_near(observed[0])
    return not is_near and shared_outside(attempt) is None


def no_common_version(
    attempt: Attempt, own_addresses: Iterable[Address], sockets: Collection[int]
) -> str | None:
    """Why there can be no path because the two have no IP version in common; None if they have one.

    Args:
        attempt: The attempt, with the other side's offer.
        own_addresses: The addresses of this node's sockets.
        sockets: The IP versions that these reach.
    """
    remote, observed = attempt.remote, attempt.observed
    if remote is None or observed is None:
        return None
    told = [parse_ip_address(text) for _, text in remote.candidates]
    there = {ip_version(a[0]) for a in (observed, *told) if a is not None}
    seen = attempt.server.public_address
    known = (*own_addresses, *(() if seen is None else (seen,)))
    here = {ip_version(host) for host, _ in known} & set(sockets)
    if not here or here & there:
        return None
    (mine, *_), (theirs, *_) = here, there
    return (
        f"no IP version in common: here IPv{mine} only, there IPv{theirs} only;"
        f" IPv{theirs} here or IPv{mine} there would help"
    )
