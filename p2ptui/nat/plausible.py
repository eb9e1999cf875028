"""Which addresses inside a STUN answer can be what they are said to be.

A server may be broken or malicious, and some tests of a diagnosis send to addresses that it names:
`is_sendable` alone decides whether they may.
"""

from ipaddress import ip_network
from typing import Final

from p2ptui.wire.address import LIMITED_BROADCAST, Address, IpAddress, bare_ip, format_address

_NOBODYS_OWN: Final = tuple(
    ip_network(network)
    for network in (
        "64:ff9b::/96",  # NAT64 (RFC 6052)
        "64:ff9b:1::/48",  # local NAT64 (RFC 8215)
        "::/96",  # IPv4-compatible (RFC 4291, 2.5.5.1)
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
        "2002::/16",  # 6to4 (RFC 3056, 7526)
        "fec0::/10",  # site-local (RFC 3879)
    )
)
"""IPv6 networks whose addresses stand for an IPv4 address, which may be a private one, or are
obsolete: a gateway would forward what is sent there, and no server sees a client there."""


_PRIVATE_NETWORKS: Final = tuple(
    ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
"""RFC 1918 and RFC 4193."""


def is_plausible_mapped(address: Address, server: Address) -> bool:
    """Whether an address can mean a single host and port, and the server can have seen it.

    Args:
        address: What the server says about the client.
        server: Where the answer came from.
    """
    ip, server_ip = _ip(address[0]), _ip(server[0])
    if ip is None or server_ip is None or address[1] == 0 or ip.version != server_ip.version:
        return False
    if ip.is_multicast or ip.is_unspecified or str(ip) == LIMITED_BROADCAST:
        return False
    return not ip.is_loopback or server_ip.is_loopback


def is_sendable(address: Address, server: Address) -> bool:
    """Whether one may send to an address because a server named it.

    It must not be nearer to this machine than the server is: no outside server points into a
    private network.

    Args:
        address: What the server says, about the client or itself.
        server: Where the answer came from.
    """
    ip, server_ip = _ip(address[0]), _ip(server[0])
    if ip is None or server_ip is None or not is_plausible_mapped(address, server):
        return False
    return _reach(ip) >= _reach(server_ip)


def why_not_sendable(address: Address, server: Address) -> str:
    """What is wrong with an address that `is_sendable` refuses, as words to follow the address.

    Args:
        address: What the server says.
        server: Where the answer came from.
    """
    ip, who = _ip(address[0]), format_address(server)
    if ip is not None and ip.is_loopback:
        return f"is on this machine, and {who} is not"
    if ip is None or not is_plausible_mapped(address, server):
        return f"is no address at which {who} can have seen this machine"
    if any(ip in network for network in _PRIVATE_NETWORKS if network.version == ip.version):
        return f"is in a private network, and {who} is not"
    if ip.is_link_local:
        return f"is a link-local address, and {who} is not"
    if _reach(ip) == _SHARED:
        return f"is in a provider's own network, and {who} is not"
    return "is an address for special use, which belongs to no single machine"


_LOOPBACK, _PRIVATE, _SHARED, _GLOBAL = range(4)


def _reach(ip: IpAddress) -> int:
    """How far away an address is: here, at this site, with this provider (RFC 6598), anywhere."""
    if ip.version == 6 and any(ip in network for network in _NOBODYS_OWN):
        return _LOOPBACK
    if ip.is_global:
        return _GLOBAL
    if ip.is_loopback:
        return _LOOPBACK
    return _PRIVATE if ip.is_private else _SHARED


def _ip(host: str) -> IpAddress | None:
    try:
        return bare_ip(host)
    except ValueError:
        return None
