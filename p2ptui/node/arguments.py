"""Arguments of callers, checked before the core sees them, so that a mistake is named where it was
made.
"""

import math
from typing import Any, Final

from p2ptui.core.identity import canonical_id
from p2ptui.errors import LocalError
from p2ptui.text import printable, seconds_words, shown
from p2ptui.wire.address import Address, format_address, require_interface
from p2ptui.wire.address import single_host as address_of_one
from p2ptui.wire.joined import parse_joined

MAX_HOPS: Final = 255
LONGEST_TIMEOUT_S: Final = 1e7
"""Some event loops cannot schedule further ahead."""


def read_seconds(value: float) -> float:
    """A time to wait.

    Raises:
        LocalError: It is not a time that can be waited for.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # In this order: an int may be too large for a float.
    if not is_number or not 0 < value <= LONGEST_TIMEOUT_S or not math.isfinite(value):
        words = f"above 0 and at most {seconds_words(LONGEST_TIMEOUT_S)}"
        raise LocalError(
            f"timeout_s = {shown(value)}: must be a number of seconds, int or float, {words}"
        )
    return value


def read_hops(value: int) -> int:
    """A limit of hops.

    Raises:
        LocalError: It is not a valid limit.
    """
    if not _is_whole(value) or not 1 <= value <= MAX_HOPS:
        raise LocalError(f"max_hops = {shown(value)}: must be a whole number, 1 to {MAX_HOPS}")
    return int(value)


def _is_whole(value: object) -> bool:
    """Whether it is an int, perhaps one with a name, as of an IntEnum."""
    return isinstance(value, int) and not isinstance(value, bool)


def read_node_id(text: str) -> str:
    """A node id in its canonical form.

    Raises:
        LocalError: It is not a UUID.
    """
    node_id = canonical_id(text)
    if node_id is None:
        raise LocalError(f"{shown(text)} is not a node id: a UUID is needed here")
    return node_id


def read_bytes(data: bytes) -> bytes:
    """Bytes to relay; other iterables would arrive as different bytes, or none.

    Raises:
        LocalError: It is something else.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise LocalError(f"data is of type {type(data).__name__}: send bytes, a text's encode()")
    return bytes(data)


def require_pair(address: Address) -> Address:
    """An address that is not text: a host and a port.

    Raises:
        LocalError: It is something else.
    """
    given: Any = address
    is_pair = isinstance(given, tuple) and len(given) == 2
    if not is_pair or not isinstance(given[0], str) or not _is_whole(given[1]):
        raise LocalError(f"{shown(given)} is no address: {_instead_of(given)}")
    if type(given[0]) is str and type(given[1]) is int:
        return address  # it may say which node is meant
    # A member of an enumeration may be written in another way than its value.
    return str.__str__(given[0]), int(given[1])


def _instead_of(given: Any) -> str:
    """What to give in place of something that is no address."""
    match given:
        case (str(host), int(port), int(), int(scope)):  # as a socket of IPv6 names one
            pair = f"{host}%{scope}" if scope and "%" not in host else host, port
            return f"give its host and its port only, {shown(pair)}"
    return "give a host and a port, or HOST:PORT"


def read_address(target: str | Address) -> Address:
    """Where to connect: `host:port`, `host:port#id`, or an address.

    Raises:
        LocalError: It is none of these.
    """
    try:
        address = parse_joined(target) if isinstance(target, str) else require_pair(target)
        require_interface(address)
    except ValueError as error:
        raise LocalError(printable(str(error))) from None
    if not 0 < address[1] <= 65535:
        raise LocalError(f"{format_address(address)}: {address[1]} is no port to connect to")
    return address


def single_host(address: Address) -> Address:
    """An address of one host, in the form in which its answers arrive: peers are identified by it.

    Args:
        address: A literal IP in any of its spellings, and a port.

    Raises:
        LocalError: It stands for several hosts, or for all, or its interface is missing.
    """
    try:
        require_interface(address)
        return address_of_one(address)
    except ValueError as error:
        raise LocalError(printable(str(error))) from None
