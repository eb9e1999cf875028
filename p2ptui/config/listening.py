"""Where a node listens of which nobody has said it: where it reaches the servers that it joins.

A socket at a loopback address reaches this machine only. Who joins a server elsewhere wants to be
reached by way of it, so such a node listens at all addresses, at any free port: several may run on
one machine, and nobody finds them at a port that is known beforehand.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

from p2ptui.wire.address import IpAddress, format_address, parse_address, unmapped
from p2ptui.wire.joined import parse_joined

_LOOPBACK6: Final = ipaddress.IPv6Address("::1")


def listen_address_for(servers: Iterable[str], default: str) -> str:
    """The listening address that goes with the servers that are joined.

    Args:
        servers: `host:port` each, or `host:port#id`.
        default: For a node that joins nobody, or only servers on this machine.
    """
    ips = [_literal(parse_joined(text)[0]) for text in servers]
    outward = [ip for ip in ips if ip is None or not (ip.is_loopback or ip.is_unspecified)]
    if outward:
        # A name may have an IPv6 address; `::` takes both versions.
        return "0.0.0.0:0" if all(ip and ip.version == 4 for ip in outward) else "[::]:0"
    if ips and all(ip == _LOOPBACK6 for ip in ips):
        return format_address((str(_LOOPBACK6), parse_address(default)[1]))
    return default


def _literal(host: str) -> IpAddress | None:
    """The IP address that a host is; None for a name, `localhost` excepted."""
    if host.lower().rstrip(".") == "localhost":
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        return unmapped(ipaddress.ip_address(host))
    except ValueError:
        return None
