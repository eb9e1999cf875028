"""An address as a person gives it: HOST:PORT, and after a # the id that must be there."""

import uuid
from collections.abc import Iterable
from typing import Final

from p2ptui.interpreted import interpreted
from p2ptui.wire.address import Address, format_address, parse_address, require_interface

ID_MARK: Final = "#"


@interpreted
class JoinedAddress(tuple[str, int]):
    """An address that remembers how a person gave it.

    It equals and hashes as the plain address, so tables do not notice.

    Args:
        address: The host, and the port.
        given: As it was given, without the id: the host may have been a name.
        pin: The id of the node that must be there; empty for whoever is.
    """

    given: str
    pin: str

    def __new__(
        cls, address: Iterable[str | int], given: str = "", pin: str = ""
    ) -> "JoinedAddress":
        """See the class."""
        made = tuple.__new__(cls, address)
        host, port = made
        made.given = given or format_address((host, port))
        made.pin = pin
        return made

    @property
    def plain(self) -> Address:
        """The address alone."""
        host, port = self
        return host, port


def parse_joined(text: str) -> JoinedAddress:
    """Read `HOST:PORT`, or `HOST:PORT#ID`.

    Args:
        text: What a person wrote.

    Raises:
        ValueError: It is none; the message says what would be right.
    """
    where, mark, wanted = text.partition(ID_MARK)
    address = parse_address(where)
    if not mark:
        return JoinedAddress(address)
    try:
        pin = str(uuid.UUID(wanted))
    except ValueError:
        raise ValueError(
            f"{text!r}: write the whole id after the #; p2ptui key show prints it on that machine"
        ) from None
    return JoinedAddress(address, pin=pin)


def parse_joined_target(text: str) -> JoinedAddress:
    """As `parse_joined`, of an address that can be reached.

    Raises:
        NoInterfaceError: A link-local IPv6 address has no zone.
        ValueError: The text is no address; the message says what would be right.
    """
    address = parse_joined(text)
    require_interface(address)
    return address


def as_joined(address: Address) -> JoinedAddress:
    """An address with how it was given; as it stands, where it does not remember that."""
    return address if isinstance(address, JoinedAddress) else JoinedAddress(address)


def found_for(told: Address, found: Address) -> JoinedAddress:
    """An address that was found for one that was given.

    Args:
        told: As it was given.
        found: What its host was looked up to.
    """
    given = as_joined(told)
    return JoinedAddress(found, given.given, given.pin)


def joined_text(address: Address) -> str:
    """How a person would write it, with the id."""
    given = as_joined(address)
    return given.given + (ID_MARK + given.pin if given.pin else "")
