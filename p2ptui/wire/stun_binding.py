"""The usual STUN exchange without its values: a plain Binding request, and its success response.

A server is asked the same by nearly all: a Binding request of RFC 8489 with no attributes but
SOFTWARE and FINGERPRINT. Of the response only the transaction id, the client's address and the
FINGERPRINT differ then, so the rest is written once, by `wire.stun.encode` itself. Everything else
goes by `wire.stun`, and so does what only looks like this.
"""

import struct
from functools import lru_cache
from typing import Final

from p2ptui.wire.address import Address
from p2ptui.wire.stun import BINDING, MessageClass, StunMessage, encode
from p2ptui.wire.stun_attributes import (
    HEADER_BYTES,
    MAX_TEXT_BYTES,
    AttributeType,
    packed_ip,
    write_attribute,
    write_text,
)
from p2ptui.wire.stun_integrity import fingerprint_of

FINGERPRINT_BYTES: Final = 8
"""The attribute with its head."""

CLIENTS_REMEMBERED: Final = 1024
"""Clients whose address is kept as a response has it, the latest used: they ask more than once,
and again while they wait."""

_REQUEST: Final = b"\x00\x01"
_COOKIE: Final = b"\x21\x12\xa4\x42"
_COOKIE_NUMBER: Final = 0x2112A442
_PORT_MASK: Final = 0x2112
_SUCCESS: Final = 0x0101
_SOFTWARE: Final = AttributeType.SOFTWARE.to_bytes(2, "big")
_FINGERPRINT: Final = AttributeType.FINGERPRINT.to_bytes(2, "big") + b"\x00\x04"

_IPV4: Final = 1
_HEAD: Final = struct.Struct("!HH")
_IPV4_CLIENT: Final = struct.Struct("!6sHI6sHI")
_IPV6_CLIENT: Final = struct.Struct("!6sH16s6sH16s")
_IPV4_PLACES: Final = b"\x00\x20\x00\x08\x00\x01", b"\x00\x01\x00\x08\x00\x01"
"""How XOR-MAPPED-ADDRESS and MAPPED-ADDRESS begin: type, length, and family."""
_IPV6_PLACES: Final = b"\x00\x20\x00\x14\x00\x02", b"\x00\x01\x00\x14\x00\x02"


def read_plain_binding(data: bytes) -> bool | None:
    """Whether a plain Binding request has a FINGERPRINT; None of anything else.

    Plain is a request of RFC 8489 with no attributes but a SOFTWARE and then a FINGERPRINT, each of
    which may be missing. The FINGERPRINT is right, and the SOFTWARE no longer than it may be.
    """
    size = len(data)
    if size < HEADER_BYTES or data[:2] != _REQUEST or data[4:8] != _COOKIE:
        return None
    length = data[2] << 8 | data[3]
    if length != size - HEADER_BYTES or length & 3:
        return None
    if not length:
        return False
    offset = HEADER_BYTES
    if data[offset : offset + 2] == _SOFTWARE:
        text_bytes = data[offset + 2] << 8 | data[offset + 3]
        if text_bytes > MAX_TEXT_BYTES:
            return None
        offset += 4 + text_bytes + (-text_bytes & 3)
        if offset == size:
            return False
    if offset + FINGERPRINT_BYTES != size or data[offset : offset + 4] != _FINGERPRINT:
        return None
    return True if data[offset + 4 :] == fingerprint_of(data[:offset]) else None


@lru_cache(CLIENTS_REMEMBERED)
def _ipv4_places(host: str, port: int) -> bytes | None:
    """Both attributes that name a client, as they are in each response to it; None where they are
    not, since an address of IPv6 is hidden by the transaction id too."""
    family, ip = packed_ip(host)
    if family != _IPV4:
        return None
    number = int.from_bytes(ip, "big")
    xored, plain = _IPV4_PLACES
    return _IPV4_CLIENT.pack(xored, port ^ _PORT_MASK, number ^ _COOKIE_NUMBER, plain, port, number)


class BindingResponse:
    """Success responses that say the same of the server.

    Args:
        software: The text of SOFTWARE; empty: none.
        response_origin: Whence they leave; None where that is not known.
        other_address: The server's other address and port, if it has any.

    Raises:
        StunError: One of them has no form on the wire.
    """

    __slots__ = ("_rest", "_software")

    def __init__(
        self, software: str, response_origin: Address | None, other_address: Address | None
    ) -> None:
        rest = StunMessage(
            message_class=MessageClass.SUCCESS,
            method=BINDING,
            transaction_id=bytes(12),
            response_origin=response_origin,
            other_address=other_address,
        )
        self._rest: bytes = encode(rest)[HEADER_BYTES:]
        self._software: bytes = (
            write_attribute(AttributeType.SOFTWARE, write_text(software)) if software else b""
        )

    def fill(self, request: bytes, client: Address, most: int, *, fingerprint: bool) -> bytes:
        """The response to one request.

        Args:
            request: Which; its transaction id is the response's.
            client: Whence it came: a literal IP address and a port.
            most: SOFTWARE is left out where with it the response had more bytes than this.
            fingerprint: Whether a FINGERPRINT is at its end.

        Raises:
            ValueError: The client's host is no literal IP address.
        """
        places = _ipv4_places(client[0], client[1])
        if places is None:
            ip, port = packed_ip(client[0])[1], client[1]
            key = int.from_bytes(request[4:HEADER_BYTES], "big")
            hidden = (int.from_bytes(ip, "big") ^ key).to_bytes(16, "big")
            xored, plain = _IPV6_PLACES
            places = _IPV6_CLIENT.pack(xored, port ^ _PORT_MASK, hidden, plain, port, ip)
        software, rest = self._software, self._rest
        length = len(places) + len(rest)
        if fingerprint:
            length += FINGERPRINT_BYTES
        if software and HEADER_BYTES + length + len(software) <= most:
            length += len(software)
            places = software + places
        data = _HEAD.pack(_SUCCESS, length) + request[4:HEADER_BYTES] + places + rest
        return data + _FINGERPRINT + fingerprint_of(data) if fingerprint else data
