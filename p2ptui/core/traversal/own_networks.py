"""The networks that this machine is attached to: which addresses are near, and how to reach them.

The attached networks are passed in from outside; nothing here looks them up.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from p2ptui.wire.address import Address, bare_ip, ip_version

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Link(IntEnum):
    """The kind of link between this machine and a network, in order of preference."""

    FACING = 0
    """The interface through which the server, or the Internet, is reached."""
    PHYSICAL = 1
    ELSEWHERE = 2
    """No network of this machine: reached through a router."""
    BRIDGE = 3
    """Containers and virtual machines on this machine: other machines use the same addresses."""
    TUNNEL = 4


@dataclass(frozen=True, slots=True)
class Attached:
    """An address of this machine and its network."""

    host: str
    network: Network
    link: Link = Link.PHYSICAL


class OwnNetworks:
    """Everything that this machine is attached to.

    Args:
        attached: Its addresses and their networks, the best first; empty while they are not known.
    """

    def __init__(self, attached: tuple[Attached, ...] = ()) -> None:
        self.attached = attached
        self._places = {one.host: place for place, one in enumerate(attached)}

    def __len__(self) -> int:
        return len(self.attached)

    def in_order(self, addresses: Iterable[Address]) -> tuple[Address, ...]:
        """This machine's addresses, the best first; unknown ones last."""
        last = len(self.attached)
        return tuple(sorted(addresses, key=lambda address: self._places.get(address[0], last)))

    def worth_telling(self, addresses: Iterable[Address]) -> tuple[Address, ...]:
        """This machine's addresses that may lead others here, the best first.

        If bridges are its only networks of an IP version, this machine does not use that version
        with others: its containers' addresses would only suggest that it does.
        """
        links = {one.host: one.link for one in self.attached}
        found = self.in_order(addresses)
        spoken = {ip_version(host) for host, _ in found if links.get(host) is not Link.BRIDGE}
        return tuple(one for one in found if ip_version(one[0]) in spoken) or found

    def holds(self, host: str) -> bool:
        """Whether an address is this machine's own: datagrams to it never leave the machine."""
        return host in self._places

    def link_to(self, host: str) -> Link:
        """How a literal IP address is reached: by the narrowest network that holds it."""
        found = self._narrowest(host)
        return Link.ELSEWHERE if found is None else found.link

    def is_near(self, host: str) -> bool:
        """Whether a literal IP address is in a network of this machine that others share."""
        return self.link_to(host) in (Link.FACING, Link.PHYSICAL)

    def network_of(self, host: str) -> Network | None:
        """The network in common with a literal IP address, if others share it."""
        found = self._narrowest(host)
        is_shared = found is not None and found.link in (Link.FACING, Link.PHYSICAL)
        return found.network if found is not None and is_shared else None

    def _narrowest(self, host: str) -> Attached | None:
        ip = bare_ip(host)
        holding = [
            one for one in self.attached if one.network.version == ip.version and ip in one.network
        ]
        return max(holding, key=lambda one: (one.network.prefixlen, -one.link), default=None)
