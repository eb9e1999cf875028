"""What the operating system says about sockets, as advice: what happened, and what to do.

This is the only table of it: for an address that cannot be bound, a datagram that cannot be sent,
and a machine that refuses. The system's own words ("Invalid argument") tell a person nothing.
"""

import errno
import ipaddress
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from p2ptui.io.datagrams import DatagramTooLongError
from p2ptui.io.interfaces import local_addresses
from p2ptui.io.refusal import PORT, Kind, Refusal
from p2ptui.wire.address import (
    LIMITED_BROADCAST,
    Address,
    bare_ip,
    format_address,
    ip_version,
    is_loopback,
    is_wildcard,
    unmapped,
)


class Advice(NamedTuple):
    """One line in two halves."""

    said: str
    """What happened."""
    do: str
    """What to do about it; may be empty."""

    def __str__(self) -> str:
        return f"{self.said}; {self.do}" if self.do else self.said


NEEDED_BYTES: Final = 720
"""What is never cut: each message of a handshake has at most this many bytes, for a node with a
name of usual length. `datagram_budget` sets the size of larger datagrams."""

_CHECK_HOST: Final = "check the address, and that it is switched on"
_NETWORK_DOWN: Final = "check the network connection of this machine"
_TOO_MANY_FILES: Final = Advice(
    "too many files and sockets are open",
    "raise the limit (ulimit -n), or run fewer programs",
)
_NO_MEMORY: Final = Advice(
    "the system has no memory left for it", "try again when this machine is less busy"
)

_BIND: Final = {
    errno.EADDRINUSE: Advice(
        "address already in use",
        "choose another address with --address, or port 0 for a free one",
    ),
    errno.EACCES: Advice(
        "permission denied",
        "ports below 1024 may need an administrator: choose a higher port with --address",
    ),
    errno.EPERM: Advice(
        "not permitted", "a security policy of this machine forbids it: choose another --address"
    ),
    errno.EADDRNOTAVAIL: Advice(
        "no interface of this machine has this address",
        "choose one of its own with --address, or 0.0.0.0 for all of them",
    ),
    errno.EAFNOSUPPORT: Advice(
        "this machine has no such address family",
        "choose an IPv4 address with --address",
    ),
    errno.EINVAL: Advice(
        "a node cannot listen on this address",
        "choose one of this machine's own with --address; a link-local one with its interface,"
        " as in [fe80::1%eth0]:8080",
    ),
    errno.EMFILE: _TOO_MANY_FILES,
    errno.ENFILE: _TOO_MANY_FILES,
    errno.ENOBUFS: _NO_MEMORY,
    errno.ENOMEM: _NO_MEMORY,
}

_SEND: Final = {
    errno.ENETDOWN: Advice("the network interface that leads there is down", _NETWORK_DOWN),
    errno.EHOSTDOWN: Advice("that host is down", _CHECK_HOST),
    errno.EHOSTUNREACH: Advice("there is no way to that host", _CHECK_HOST),
    errno.EPERM: Advice("a firewall of this machine forbids it", "allow UDP to that address"),
    errno.EMSGSIZE: Advice(
        "the datagram is larger than the network allows", "lower server.datagram_budget"
    ),
    errno.ECONNREFUSED: Advice("nothing listens there", "is a node running there?"),
    errno.EMFILE: _TOO_MANY_FILES,
    errno.ENFILE: _TOO_MANY_FILES,
    errno.ENOBUFS: _NO_MEMORY,
    errno.ENOMEM: _NO_MEMORY,
}


def bind_advice(error: OSError, do: str = "") -> Advice:
    """Why an address cannot be bound.

    Args:
        error: What the system raised.
        do: What to do about an address that is not the node's own. No other one helps where this
            machine lacks something.
    """
    known = _BIND.get(error.errno or 0)
    said = (error.strerror or str(error)).lower()
    advice = known or Advice(said, "choose another address with --address")
    is_shortage = advice in (_TOO_MANY_FILES, _NO_MEMORY)
    return advice if is_shortage or not do else Advice(advice.said, do)


def read_advice(error: OSError, do: str) -> Advice:
    """Why a file cannot be read.

    Args:
        error: What the system raised.
        do: What to do about this file, unless it is this machine that lacks something.
    """
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return _TOO_MANY_FILES
    return Advice(error.strerror or str(error), do)


def send_advice(error: OSError, destination: Address, local: Address) -> Advice:
    """Why a datagram cannot be sent.

    Args:
        error: What the system, or `sockaddr_of`, raised.
        destination: Where it was sent, a literal IP and a port.
        local: Where the socket is bound.
    """
    blocked = barrier(destination, local)
    if blocked is not None:
        return blocked
    number = error.errno or 0
    if number == errno.EADDRNOTAVAIL:
        return _no_source(destination, local)
    special = _SPECIAL.get(number)
    if special is not None:
        return special(destination)
    if isinstance(error, DatagramTooLongError) and 0 < error.size_bytes <= NEEDED_BYTES:
        return Advice(
            f"the network takes no datagram of {error.size_bytes} bytes",
            f"nodes need {NEEDED_BYTES}: check the MTU of this machine's interfaces",
        )
    known = _SEND.get(number)
    # What our own code raises already has a clear text.
    return known or Advice(error.strerror or str(error), "")


def barrier(destination: Address, local: Address) -> Advice | None:
    """What keeps a socket from ever reaching an address, whatever the network does; None: nothing.

    A socket at a loopback address reaches this machine only (the kernel's word for it is "Invalid
    argument"; over IPv6 it sends, and the datagram is lost), and one of IPv4 only IPv4.

    Args:
        destination: A literal IP and a port.
        local: Where the socket is bound.
    """
    try:
        here = bare_ip(local[0])
        there = bare_ip(destination[0])
    except ValueError:
        return None  # not a literal: sending reports that
    there = unmapped(there)
    both = f"--address '{format_address(('::', local[1]))}'"
    is_for_all = isinstance(here, ipaddress.IPv6Address) and here.is_unspecified
    if here.version != there.version and not is_for_all:
        return Advice(
            f"an IPv{here.version} socket cannot send to {there}",
            f"start the node with {both} to reach both IPv4 and IPv6",
        )
    if here.is_loopback and not there.is_loopback and str(there) not in local_addresses():
        wildcard = "::" if here.version == 6 else "0.0.0.0"
        return Advice(
            f"this node listens on {format_address(local)}, which reaches this machine only",
            f"start the node with --address {_quoted((wildcard, local[1]))} to reach others",
        )
    return None


def _quoted(address: Address) -> str:
    text = format_address(address)
    return f"'{text}'" if text.startswith("[") else text


def _no_network(destination: Address) -> Advice:
    version = ip_version(destination[0])
    others = [host for host in local_addresses() if not is_loopback(host)]
    return Advice(
        f"this machine has no IPv{version} network that leads there", _without(version, others)
    )


def _without(version: int, others: Sequence[str]) -> str:
    """What to do if a version of IP leads nowhere.

    Args:
        version: The version, 4 or 6.
        others: This machine's addresses, except for loopback.
    """
    versions = {ip_version(host) for host in others if not bare_ip(host).is_link_local}
    if version == 4 and versions == {6}:
        # NAT64 leads to IPv4, and DNS64 tells the address to use (RFC 6146, 6147).
        return "this network has IPv6 only: write the server's name, not its IPv4 address"
    return _NETWORK_DOWN


def _no_source(destination: Address, local: Address) -> Advice:
    """The system finds no address of its own to send from: which one is missing."""
    version = ip_version(destination[0])
    own = local_addresses()
    others = [host for host in own if not is_loopback(host)]
    if all(ip_version(host) != version for host in others):
        said = f"this machine has no IPv{version} address"
    elif is_wildcard(local[0]) or local[0] in own:
        said = f"no IPv{version} address of this machine leads there"
    else:
        return Advice(
            "this machine no longer has the address that the node is bound to",
            "restart it, with --address 0.0.0.0:PORT for all addresses",
        )
    if version == 6:
        return Advice(said, "use an IPv4 address of that host")
    return Advice(said, _without(version, others))


def _denied(destination: Address) -> Advice:
    # Linux reports this for broadcast addresses, and for routes that are marked as prohibited.
    if destination[0] == LIMITED_BROADCAST or destination[0].endswith(".255"):
        return Advice("it is a broadcast address", "connect to the address of a single node")
    return Advice(
        "a rule of this machine forbids it", "check its firewall and routes (ip route get ADDRESS)"
    )


def _invalid(destination: Address) -> Advice:
    if not _is_sendable(destination):
        return Advice("that is no address to send to", "give an IP address and a port")
    return Advice(
        "this machine sends nothing to that address", "check it, and the routes of this machine"
    )


def _is_sendable(destination: Address) -> bool:
    try:
        return not is_wildcard(destination[0]) and 0 < destination[1] <= 65535
    except ValueError:
        return False


_SPECIAL: Final[dict[int, Callable[[Address], Advice]]] = {
    errno.ENETUNREACH: _no_network,
    errno.EACCES: _denied,
    errno.EINVAL: _invalid,
}


def refusal_words(address: Address, by: str) -> str:
    """One line: an address is refused, or not reached.

    Args:
        address: The address.
        by: The IP address that says so, preferably as a `Refusal`: the machine itself, or one on
            the path.
    """
    where = format_address(address)
    kind = by.kind if isinstance(by, Refusal) else PORT
    if not kind.is_port:
        hint = _CHECK_HOST if kind.is_passing else "allow UDP to that address there"
        return f"{where} is not reachable: {refusal_reason(by, kind)}; {hint}"
    if by == address[0]:
        advice = _SEND[errno.ECONNREFUSED]
        return f"{where} refused: {advice}"
    return f"{where} was refused by {by} on the way; a firewall there does not let UDP pass"


def refusal_reason(by: str, kind: Kind) -> str:
    """Which host says that no datagram gets there, and in which words of ICMP."""
    if not kind.is_passing:
        return f"a firewall at {by} refuses ({kind.words})"
    if by in local_addresses():
        # This machine says so to itself when nobody there answers to the address (ARP).
        return f"nobody on the network of this machine answers to it ({kind.words})"
    return f"a router at {by} says so ({kind.words})"


def program_advice(error: OSError) -> str:
    """One line for an unexpected error that ends the program."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return str(_TOO_MANY_FILES)
    return f"the system refused: {error}"
