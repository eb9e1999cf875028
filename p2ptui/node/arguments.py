"""Arguments of callers, checked before the core sees them, so that a mistake is named where it was
made.
"""

import math
from typing import Final

from p2ptui.core.identity import canonical_id
from p2ptui.errors import LocalError
from p2ptui.text import printable, seconds_words
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
    if not (math.isfinite(value) and 0 < value <= LONGEST_TIMEOUT_S):
        raise LocalError(
            f"timeout_s = {value!r}: must be above 0 and at most {seconds_words(LONGEST_TIMEOUT_S)}"
        )
    return value


def read_hops(value: int) -> int:
    """A limit of hops.

    Raises:
        LocalError: It is not a valid limit.
    """
    if not 1 <= value <= MAX_HOPS:
        raise LocalError(f"max_hops = {value!r}: must be 1 to {MAX_HOPS}")
    return value


def read_node_id(text: str) -> str:
    """A node id in its canonical form.

    Raises:
        LocalError: It is not a UUID.
    """
    node_id = canonical_id(text)
    if node_id is None:
        raise LocalError(f"{printable(text, 80)!r} is not a node id: a UUID is needed here")
    return node_id


def read_bytes(data: bytes) -> bytes:
    """Bytes to relay; other iterables would arrive as different bytes, or none.

    Raises:
        LocalError: It is something else.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise LocalError(f"data is of type {type(data).__name__}: send bytes, a text's encode()")
    return bytes(data)


def read_address(target: str | Address) -> Address:
    """Where to connect: `host:port`, `host:port#id`, or an address.

    Raises:
        LocalError: It is none of these.
    """
    try:
        address = parse_joined(target) if isinstance(target, str) else target
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
        raise LocalError(str(error)) from None
