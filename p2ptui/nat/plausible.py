"""Which addresses inside a STUN answer can be what they are said to be.

A server may be broken, or mean harm: what it says is sent to by the tests of a diagnosis.
"""

from p2ptui.wire.address import LIMITED_BROADCAST, Address, IpAddress, bare_ip


def is_plausible_mapped(address: Address, server: Address) -> bool:
    """Whether one host with one port can be meant, and the server can have seen it.

    Args:
        address: What the server says of the client.
        server: Whence the answer came.
    """
    ip, server_ip = _ip(address[0]), _ip(server[0])
    if ip is None or server_ip is None or address[1] == 0 or ip.version != server_ip.version:
        return False
    if ip.is_multicast or ip.is_unspecified or str(ip) == LIMITED_BROADCAST:
        return False
    return not ip.is_loopback or server_ip.is_loopback


def is_plausible_other(address: Address, server: Address) -> bool:
    """Whether a server can have an OTHER-ADDRESS: only a private one has another private one.

    Args:
        address: What the server says of itself.
        server: Where it was asked.
    """
    ip, server_ip = _ip(address[0]), _ip(server[0])
    if ip is None or server_ip is None or not is_plausible_mapped(address, server):
        return False
    return not ip.is_private or server_ip.is_private


def _ip(host: str) -> IpAddress | None:
    try:
        return bare_ip(host)
    except ValueError:
        return None
