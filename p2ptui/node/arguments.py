"""Arguments of callers, checked before the core sees them, so that a mistake is named where it was
made.
"""

import math
from typing import Final

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
        words = f"must be above 0 and at most {seconds_words(LONGEST_TIMEOUT_S)}"
        raise LocalError(f"timeout_s = {shown(value)}: {words}")
    return value


def read_hops(value: int) -> int:
    """A limit of hops.

    Raises:
        LocalError: It is not a valid limit.
    """
    if type(value) is not int or not 1 <= value <= MAX_HOPS:
        raise LocalError(f"max_hops = {shown(value)}: must be a whole number, 1 to {MAX_HOPS}")
    return value


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
    is_pair = isinstance(address, tuple) and [type(each) for each in address] == [str, int]
    if not is_pair:
        raise LocalError(f"{shown(address)} is no address: give a host and a port, or HOST:PORT")
    return address


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
