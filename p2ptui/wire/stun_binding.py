"""A fast path for the usual STUN exchange: a plain Binding request and its success response.

Nearly all clients send a server the same: a Binding request of RFC 8489 with no attributes but
SOFTWARE and FINGERPRINT. Its responses differ only in the transaction id, the client's address and
the FINGERPRINT, so the rest is written once, by `wire.stun.encode` itself. Everything else goes
through `wire.stun`, including requests that only look plain.
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
"""The attribute with its header."""

CLIENTS_REMEMBERED: Final = 1024
"""Clients whose encoded address is cached, the most recently used: they ask more than once, and
retransmit while they wait.
"""

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
    """Whether a plain Binding request has a FINGERPRINT; None for anything else.

    A plain request is one of RFC 8489 with no attributes but SOFTWARE and then FINGERPRINT, each
    optional. The FINGERPRINT must be correct, and SOFTWARE within its limit.
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
    """Both attributes that name a client, as they are in each response to it; None for IPv6, whose
    XOR-MAPPED-ADDRESS depends on the transaction id.
    """
    family, ip = packed_ip(host)
    if family != _IPV4:
        return None
    number = int.from_bytes(ip, "big")
    xored, plain = _IPV4_PLACES
    return _IPV4_CLIENT.pack(xored, port ^ _PORT_MASK, number ^ _COOKIE_NUMBER, plain, port, number)


class BindingResponse:
    """Success responses that say the same about the server.

    Args:
        software: The text of SOFTWARE; empty: none.
        response_origin: The address that they are sent from; None if it is not known.
        other_address: The server's other address and port, if it has any.

    Raises:
        StunError: One of them cannot be written.
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
            request: The request; the response has its transaction id.
            client: Where it came from: a literal IP address and a port.
            most: SOFTWARE is left out if the response would have more bytes than this with it.
            fingerprint: Whether it ends with a FINGERPRINT.

        Raises:
            ValueError: The client's host is not a literal IP address.
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
