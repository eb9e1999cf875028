"""The network interfaces of this machine: its addresses, its subnets, their broadcast addresses.

Nothing here raises: if a machine's interfaces cannot be listed, it still has its loopback.
"""

import ipaddress
import socket
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import ifaddr

from p2ptui.core.traversal.own_networks import Attached, Link
from p2ptui.wire.address import Address, bare_ip, is_wildcard

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_BRIDGE_NAMES: Final = (
    *("docker", "br-", "virbr", "veth", "vnet", "lxc", "lxd", "cni", "podman"),
    *("bridge", "vmnet", "vboxnet", "vEthernet", "Hyper-V"),
)
_TUNNEL_NAMES: Final = ("tun", "tap", "wg", "utun", "ppp", "tailscale", "zt", "ipsec", "gre")

_INTERFACES: Final = Path("/sys/class/net")
_IPV6_FLAGS: Final = Path("/proc/net/if_inet6")
_UNSETTLED: Final = 0x08 | 0x40
"""linux/if_addr.h: the address belongs to another machine, or that is still being checked."""
_DEPRECATED: Final = 0x20


class _Attachment(NamedTuple):
    """An address, the length of its subnet's prefix in bits, and the name of its interface."""

    host: str
    prefix: int
    name: str = "lo"


_LOOPBACK = (_Attachment("127.0.0.1", 8), _Attachment("::1", 128))


def local_addresses() -> list[str]:
    """Every address of this machine, loopback included; link-local IPv6 as `fe80::1%eth0`."""
    return list(dict.fromkeys(one.host for one in _attachments()))


def attached(facing: Collection[str] = ()) -> list[Attached]:
    """The addresses at which other machines may reach this one, the best first.

    Interfaces from which other nodes are reached come first, then other networks, then the bridges
    of this machine's containers and virtual machines, then tunnels. Loopback and link-local
    addresses are left out, and IPv6 addresses that the system does not use yet.

    Args:
        facing: Addresses of this machine from which other nodes are reached.
    """
    flags = _ipv6_flags()
    found = [
        one
        for one in _attachments()
        if _is_shared(one.host) and not flags.get(one.host, 0) & _UNSETTLED
    ]
    names = {one.name for one in found if one.host in facing}

    def link(one: _Attachment) -> Link:
        return Link.FACING if one.name in names else _link_of(one.name)

    def order(one: _Attachment) -> tuple[bool, bool, Link, bool]:
        is_detour = link(one) >= Link.BRIDGE
        is_old = bool(flags.get(one.host, 0) & _DEPRECATED)
        return is_detour, is_old, link(one), one.host not in facing

    return [
        Attached(
            one.host,
            ipaddress.ip_network(f"{one.host}/{one.prefix}", strict=False),
            link(one),
        )
        for one in sorted(found, key=order)
    ]


def _is_shared(host: str) -> bool:
    ip = bare_ip(host)
    return not (ip.is_loopback or ip.is_link_local)


def _link_of(name: str) -> Link:
    """The kind of an interface, as far as its name and the system tell."""
    if name.startswith(_TUNNEL_NAMES) or (_INTERFACES / name / "tun_flags").exists():
        return Link.TUNNEL
    if name.startswith(_BRIDGE_NAMES) or (_INTERFACES / name / "bridge").is_dir():
        return Link.BRIDGE
    return Link.PHYSICAL


def _ipv6_flags() -> dict[str, int]:
    """The flags of each IPv6 address, if the system tells (Linux)."""
    try:
        lines = _IPV6_FLAGS.read_text("ascii").splitlines()
        rows = [line.split() for line in lines]
        return {str(ipaddress.IPv6Address(bytes.fromhex(row[0]))): int(row[4], 16) for row in rows}
    except (OSError, ValueError, IndexError):
        return {}


def local_networks() -> list[Network]:
    """The subnets that this machine is attached to, loopback included, each once."""
    # A scope names the interface; a subnet has none.
    return list(
        dict.fromkeys(
            ipaddress.ip_network(f"{one.host.partition('%')[0]}/{one.prefix}", strict=False)
            for one in _attachments()
        )
    )


def broadcast_addresses() -> list[str]:
    """The IPv4 broadcast address of each attached subnet; loopback and /31, /32 have none."""
    return [
        str(network.broadcast_address)
        for network in local_networks()
        if network.version == 4 and network.prefixlen < 31 and not network.is_loopback
    ]


def source_host(destination: str, port: int) -> str | None:
    """The address of this machine from which it reaches a literal IP; None without a route.

    Nothing is sent: a connected UDP socket only looks up its route.
    """
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((destination, port))
            host: str = sock.getsockname()[0]
            return host
    except OSError:
        return None


def address_towards(local: Address, destination: Address) -> Address:
    """A bound socket's address as a destination sees it, apart from NAT.

    Args:
        local: Where it is bound.
        destination: A literal IP and a port. For a wildcard, the route there tells the address;
            without a route, the wildcard stays.
    """
    host, port = local
    return (source_host(*destination) or host, port) if is_wildcard(host) else local


def interface_name(index: int) -> str:
    """What this machine writes after `%` for an interface: its name, or its index as text."""
    if sys.platform == "win32":
        return str(index)
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)


def _attachments() -> list[_Attachment]:
    """Each address, with its subnet and its interface."""
    found: list[_Attachment] = []
    try:
        for adapter in ifaddr.get_adapters():
            for ip in adapter.ips:
                if isinstance(ip.ip, str):
                    host = ip.ip
                else:
                    host, _, scope_id = ip.ip
                    if scope_id:
                        host = f"{host}%{interface_name(scope_id)}"
                ipaddress.ip_interface(f"{host}/{ip.network_prefix}")
                found.append(_Attachment(host, ip.network_prefix, adapter.nice_name))
    except Exception:
        # ifaddr asks the system through ctypes: what can fail there is not documented.
        return list(_LOOPBACK)
    known = {one.host for one in found}
    return found + [loopback for loopback in _LOOPBACK if loopback.host not in known]
