"""The network interfaces of this machine: its addresses, its subnets, their broadcast addresses.

Nothing here raises: a machine whose interfaces cannot be listed has its loopback.
"""

import ipaddress
import socket
import sys
from typing import TypeAlias

import ifaddr

from p2ptui.wire.address import Address, is_wildcard

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_LOOPBACK = (("127.0.0.1", 8), ("::1", 128))


def local_addresses() -> list[str]:
    """Every address of this machine, loopback included; link-local IPv6 as `fe80::1%eth0`."""
    return list(dict.fromkeys(host for host, _ in _attachments()))


def local_networks() -> list[Network]:
    """The subnets that this machine is attached to, loopback included, each once."""
    # A scope names the interface; a subnet has none.
    return list(
        dict.fromkeys(
            ipaddress.ip_network(f"{host.partition('%')[0]}/{prefix}", strict=False)
            for host, prefix in _attachments()
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
    """The address of this machine from which it reaches a literal IP; None without a way there.

    Nothing is sent: a connected UDP socket only looks its route up.
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
    """What a destination sees of a bound socket, but for a NAT.

    Args:
        local: Where it is bound.
        destination: A literal IP and a port. Of a wildcard, the way there tells the address; with
            no way there, it stays.
    """
    host, port = local
    return (source_host(*destination) or host, port) if is_wildcard(host) else local


def interface_name(index: int) -> str:
    """What this machine writes after `%` for an interface: its name, or its index in text."""
    if sys.platform == "win32":
        return str(index)
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)


def _attachments() -> list[tuple[str, int]]:
    """Each address with the length of its subnet's prefix in bits."""
    found: list[tuple[str, int]] = []
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
                found.append((host, ip.network_prefix))
    except Exception:
        # ifaddr asks the system through ctypes: what fails there, and how, is not documented.
        return list(_LOOPBACK)
    known = {host for host, _ in found}
    return found + [loopback for loopback in _LOOPBACK if loopback[0] not in known]
