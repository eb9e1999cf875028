"""Network addresses as the wire and people write them: `host:port`, `[v6]:port`."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, TypeAlias

from p2ptui.interpreted import interpreted

Address: TypeAlias = tuple[str, int]
IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
"""A host (an IP address in text, or a name where one may be resolved) and a UDP port."""


@interpreted
class AskedAddress(tuple[str, int]):
    """A remote address that remembers which of this machine's addresses it wrote to.

    It equals and hashes as the plain address, so tables do not notice. What is sent to it leaves
    from `own_host`: others take an answer only from where they asked.

    Args:
        address: The host and the port.
        own_host: The address of this machine, without a scope; the port is the socket's.
    """

    own_host: str

    def __new__(cls, address: Iterable[str | int], own_host: str = "") -> "AskedAddress":
        """See the class."""
        made = tuple.__new__(cls, address)
        made.own_host = own_host
        return made


def own_host(address: Address) -> str | None:
    """Which address of this machine a remote address wrote to; None where that is not known."""
    return address.own_host or None if isinstance(address, AskedAddress) else None


def like(address: Address, host: str, port: int) -> Address:
    """Another remote address that is answered from where `address` is answered from."""
    own = own_host(address)
    return (host, port) if own is None else AskedAddress((host, port), own)


MAX_PORT = 65535
LIMITED_BROADCAST: Final = "255.255.255.255"

_PORT: Final = re.compile(r"[0-9]{1,5}")
_PORTLESS: Final = "the port is missing; write HOST:PORT, here"
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*).*", re.DOTALL)
"""A URL: what must be left out of it, and what is the address in it (RFC 3986, section 3)."""


def format_address(address: Address) -> str:
    """Write an address as the wire does: `192.0.2.1:80`, `[2001:db8::1]:80`."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def ip_version(host: str) -> int:
    """The version of a literal IP address: 4 or 6."""
    return 6 if ":" in host else 4


def bare_ip(host: str) -> IpAddress:
    """A literal IP address without its scope: `fe80::1%eth0` is fe80::1.

    Raises:
        ValueError: It is no literal.
    """
    return ipaddress.ip_address(host.partition("%")[0])


def unmapped(ip: IpAddress) -> IpAddress:
    """An IPv4-mapped address as the IPv4 address that it stands for (RFC 4291, section 2.5.5.2)."""
    return ip if ip.version == 4 else ip.ipv4_mapped or ip


def is_wildcard(host: str) -> bool:
    """Whether a literal IP address stands for every address of a machine: `0.0.0.0`, `::`.

    Raises:
        ValueError: It is no literal.
    """
    return bare_ip(host).is_unspecified


def is_loopback(host: str) -> bool:
    """Whether a literal IP address never leaves its machine, whatever its scope.

    Raises:
        ValueError: It is no literal.
    """
    return bare_ip(host).is_loopback


SOMEWHERE: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
"""For each version of IP an address far away, of nobody (RFC 5737, RFC 3849): it is looked up by
which way packets to it would leave, and nothing is sent there."""

_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_EMBEDDING: Final = tuple(map(ipaddress.IPv6Network, ("2001::/32", "2002::/16")))
"""Teredo and 6to4: an IPv4 address inside says where packets really go."""


def is_global_ipv6(host: str) -> bool:
    """Whether a literal IP address is a global IPv6 one (RFC 4291, section 2.5.4)."""
    if ":" not in host or "%" in host:
        return False
    ip = ipaddress.IPv6Address(host)
    return ip in _GLOBAL_UNICAST and not any(ip in network for network in _EMBEDDING)


def with_port(text: str) -> str | None:
    """How a literal IP address that stands without a port is written with one.

    Returns:
        `192.0.2.1:PORT` or `[2001:db8::1]:PORT`; None for what is no such literal.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        version = ipaddress.ip_address(bare).version
    except ValueError:
        return None
    return f"[{bare}]:PORT" if version == 6 else f"{bare}:PORT"


def parse_address(text: str) -> Address:
    """Read `host:port` or `[v6]:port`; the host may be a name.

    Args:
        text: What a person or a peer wrote.

    Raises:
        ValueError: The text is no address; the message says what would be right.
    """
    if "//" in text and (url := _SCHEME.fullmatch(text)) is not None:
        raise ValueError(
            f"{text!r} is not an address: leave out {url[1]}, and write {url[2] or 'HOST:PORT'}"
        )
    # With one colon it is no literal without a port: peers name addresses in every other message.
    portless = None if text.count(":") == 1 else with_port(text)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if portless is not None:
            raise ValueError(f"{text!r} is not an address: {_PORTLESS} {portless}")
        if not bracket or not rest.startswith(":"):
            raise ValueError(f"{text!r} is not an address: write [IPV6]:PORT")
        _require_ipv6(host, text)
        port_text = rest[1:]
    else:
        host, colon, port_text = text.rpartition(":")
        if portless is not None and with_port(host) is None:
            raise ValueError(f"{text!r} is not an address: {_PORTLESS} {portless}")
        if not colon or not host:
            raise ValueError(f"{text!r} is not an address: write HOST:PORT")
        if ":" in host:
            other = "" if portless is None else f", or with a port as {portless}"
            raise ValueError(
                f"{text!r} is not an address: write IPv6 as [{host}]:{port_text}{other}"
            )
    if not _PORT.fullmatch(port_text) or int(port_text) > MAX_PORT:
        raise ValueError(f"{text!r} is not an address: the port must be 0 to {MAX_PORT}")
    return host, int(port_text)


def parse_ip_address(text: str) -> Address | None:
    """Read an address that a peer wrote: a literal IP and a port above 0, or None.

    Names are refused: nothing that a peer says may cause a look-up. The host comes back as
    a datagram's source would have it: in canonical form (RFC 5952), an IPv4-mapped address
    as IPv4, and without a zone (`%eth0`), which means something on the peer's machine only.
    """
    try:
        host, port = parse_address(text)
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    bare = str(unmapped(ip)).partition("%")[0]
    return (bare, port) if port else None


class NoInterfaceError(ValueError):
    """A link-local address stands without the interface at which it means something."""


def parse_target(text: str) -> Address:
    """Read where a person wants to reach somebody: `host:port` or `[v6]:port`.

    Args:
        text: What the person wrote.

    Raises:
        NoInterfaceError: A link-local IPv6 address has no zone.
        ValueError: The text is no address; the message says what would be right.
    """
    address = parse_address(text)
    require_interface(address)
    return address


def require_interface(address: Address) -> None:
    """Refuse an address that does not tell where to send (RFC 4007, section 6).

    Each interface has a link of its own, and `fe80::1` may be somebody else on each.

    Args:
        address: A host, which may be a name, and a port.

    Raises:
        NoInterfaceError: It is a link-local IPv6 address without a zone.
    """
    host, port = address
    if ":" not in host or "%" in host:
        return
    try:
        ip = ipaddress.IPv6Address(host)
    except ValueError:
        return  # a name that cannot be: whoever looks it up says so
    if ip.is_link_local:
        right = format_address((f"{ip}%eth0", port))
        raise NoInterfaceError(
            f"{format_address(address)} is a link-local address, which needs its interface: write"
            f" {right} if it is eth0"
        )


def single_host(address: Address) -> Address:
    """An address of one host, written as answers from there are: peers are known by it.

    Args:
        address: A literal IP in any of its spellings, and a port.

    Raises:
        ValueError: It stands for several hosts, or for all; the message says what would be right.
    """
    host, port = address
    ip = unmapped(ipaddress.ip_address(host))
    address = str(ip), port
    if ip.is_unspecified:
        loopback = format_address(("127.0.0.1" if ip.version == 4 else "::1", port))
        raise ValueError(
            f"{format_address(address)} stands for every address of a machine;"
            f" connect to one of them, on this machine {loopback}"
        )
    if ip.is_multicast or address[0] == LIMITED_BROADCAST:
        raise ValueError(f"{format_address(address)} is a group; connect to a single node")
    return address


def _require_ipv6(host: str, text: str) -> None:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise ValueError(f"{text!r} is not an address: {host!r} is not IPv6") from None
