"""A STUN server's answers (RFC 8489, 5780, 3489): from a request's bytes to the reply and its
source.

It answers Binding requests from anyone. Its owner has the sockets, limits the rate, and hands a
`Delegation` to the partner node that can send from elsewhere.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from p2ptui.bounded import BoundedTable
from p2ptui.wire.address import Address, AskedAddress, ip_version, like, own_host
from p2ptui.wire.stun import (
    BINDING,
    CLASSIC_ID_BYTES,
    AttributeType,
    Change,
    MessageClass,
    StunError,
    StunMessage,
    decode,
    encode,
)
from p2ptui.wire.stun_binding import BindingResponse, read_plain_binding

AMPLIFICATION_LIMIT: Final = 3
"""Whatever is optional or asked for (SOFTWARE, PADDING, an error) never makes a reply longer than
this many times its request, in bytes of UDP payload.
"""

MANDATORY_IPV4_BYTES: Final = 68
"""The one exception to `AMPLIFICATION_LIMIT`: RFC 5780, section 6.1, demands MAPPED-ADDRESS,
XOR-MAPPED-ADDRESS, RESPONSE-ORIGIN and OTHER-ADDRESS in every success response: a header of 20
bytes and four times 12. The shortest request has 20 bytes, so this is 3.4 times its payload, and
2.0 times if the 28 bytes of IP and UDP headers that both carry are counted.
"""

MANDATORY_IPV6_BYTES: Final = 116
"""The same for IPv6: 20 and four times 24; 5.8 times the payload, 2.4 times with 48 bytes of
headers.
"""

FINGERPRINT_BYTES: Final = 8
"""May be added to the mandatory bytes if the request has one too (and so 28 bytes or more)."""

MAX_UNKNOWN_LISTED: Final = 64
"""Types listed in UNKNOWN-ATTRIBUTES: 128 bytes, so that an error is never cut into IP
fragments."""

MAX_USUAL: Final = 64
"""Responses that are cached, all but the client's part: one for each socket and each address of
this machine that is asked; the oldest goes first.
"""

_ATTRIBUTE_HEAD_BYTES: Final = 4
_CHANGES: Final = (Change.PORT, Change.IP, Change.BOTH)
_BAD_REQUEST: Final = (400, "Bad Request")
_UNKNOWN_ATTRIBUTE: Final = (420, "Unknown Attribute")


class Place(enum.Enum):
    """A socket that requests come to and replies leave by (RFC 5780, section 3)."""

    OWN = enum.auto()
    """The node's own, which also carries its other traffic."""
    PRIMARY = enum.auto()
    ALTERNATE_PORT = enum.auto()
    """The primary address, another port."""
    ALTERNATE_ADDRESS = enum.auto()
    """Another address, the primary port."""
    ALTERNATE_BOTH = enum.auto()

    # Members are compared by identity; the hash of an Enum is that of the name, by a call each.
    __hash__ = object.__hash__


_CHANGED: Final[dict[tuple[Place, Change], tuple[Place, ...]]] = {
    # The places that differ as asked, best first; RFC 5780, section 6.1, table 1. Nobody can
    # promise that the node's own port is the same at another address: no change of IP alone.
    (Place.OWN, Change.PORT): (Place.PRIMARY, Place.ALTERNATE_PORT),
    (Place.OWN, Change.BOTH): (Place.ALTERNATE_BOTH, Place.ALTERNATE_ADDRESS),
    (Place.PRIMARY, Change.PORT): (Place.ALTERNATE_PORT,),
    (Place.PRIMARY, Change.IP): (Place.ALTERNATE_ADDRESS,),
    (Place.PRIMARY, Change.BOTH): (Place.ALTERNATE_BOTH,),
    (Place.ALTERNATE_PORT, Change.PORT): (Place.PRIMARY,),
    (Place.ALTERNATE_PORT, Change.IP): (Place.ALTERNATE_BOTH,),
    (Place.ALTERNATE_PORT, Change.BOTH): (Place.ALTERNATE_ADDRESS,),
    (Place.ALTERNATE_ADDRESS, Change.PORT): (Place.ALTERNATE_BOTH,),
    (Place.ALTERNATE_ADDRESS, Change.IP): (Place.PRIMARY,),
    (Place.ALTERNATE_ADDRESS, Change.BOTH): (Place.ALTERNATE_PORT,),
    (Place.ALTERNATE_BOTH, Change.PORT): (Place.ALTERNATE_ADDRESS,),
    (Place.ALTERNATE_BOTH, Change.IP): (Place.ALTERNATE_PORT,),
    (Place.ALTERNATE_BOTH, Change.BOTH): (Place.PRIMARY,),
}


_CHANGED_AT_ALTERNATE: Final[dict[Change, tuple[Place, ...]]] = {
    Change.PORT: (Place.ALTERNATE_ADDRESS, Place.ALTERNATE_BOTH),
    Change.BOTH: (Place.ALTERNATE_PORT, Place.PRIMARY),
}


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server can do, at the moment."""

    places: Mapping[Place, Address | None]
    """The sockets that exist, each with the address at which clients reach it: a wildcard if it has
    all addresses of the machine, None if the address is unknown.
    """
    partner: Mapping[Place, Address | None] = field(default_factory=dict)
    """The places that exist at a partner node, likewise; the node's own places are preferred."""
    software: str = ""
    """Sent as SOFTWARE where it fits `AMPLIFICATION_LIMIT`; empty: none."""


class Reply(NamedTuple):
    """A datagram to send."""

    data: bytes
    to: Address
    place: Place
    """The socket that sends it."""


@dataclass(frozen=True, slots=True)
class Delegation:
    """A reply that only the partner can send: the arguments of its `partner_reply`."""

    transaction_id: bytes
    """12 bytes, or 16 for a request of RFC 3489."""
    client: Address
    """Where the request came from."""
    to: Address
    """Where the reply goes: the client's IP, and its port unless RESPONSE-PORT names another."""
    place: Place
    """The partner's socket that sends it."""
    other_address: Address | None
    """The other address that the reply names, as seen from where the request came in."""
    fingerprint: bool


def told_address(place: Address | None, client: Address) -> Address | None:
    """The address of a place as a client knows it; None if that is unknown.

    Args:
        place: Where its socket is bound, which may be a wildcard.
        client: The client being answered: an `AskedAddress` says which address of this machine it
            asked.
    """
    if place is None or place[0] not in ("0.0.0.0", "::"):
        return place
    own = own_host(client)
    return None if own is None else (own, place[1])


_Seen: TypeAlias = tuple[Place, bool, str]
"""What a response depends on, as far as it describes the server: the socket that was asked, whether
over IPv6, and which address of this machine (empty if that is unknown).
"""


class StunServer:
    """Decides what to answer a datagram with; keeps no state about clients."""

    __slots__ = ("_abilities", "_usual")

    def __init__(self, abilities: Abilities) -> None:
        self._abilities = abilities
        self._usual: BoundedTable[_Seen, BindingResponse] = BoundedTable(MAX_USUAL)

    @property
    def abilities(self) -> Abilities:
        """What it can do; may be replaced at any time, as a partner comes or goes."""
        return self._abilities

    @abilities.setter
    def abilities(self, abilities: Abilities) -> None:
        """Replace it: cached answers to plain requests are made anew."""
        self._abilities = abilities
        self._usual.clear()

    def answer(self, data: bytes, source: Address, place: Place) -> Reply | Delegation | None:
        """Decide what to answer a datagram with.

        Only Binding requests are answered: malformed bytes, another method, an indication and a
        response are ignored (RFC 8489, section 6.3), and so is a request of RFC 3489 on the node's
        own socket, where anything without a magic cookie may be something else.

        A reply has at most `AMPLIFICATION_LIMIT` times the bytes of the request, or where that is
        more `MANDATORY_IPV4_BYTES` (`MANDATORY_IPV6_BYTES`), and `FINGERPRINT_BYTES` if the request
        has a fingerprint; a padded one has at most the request's own bytes. This also holds for
        what a partner sends.

        Args:
            data: The datagram.
            source: Where it came from: an IP address as text, and a port.
            place: The socket that it came to, one of `Abilities.places`.

        Returns:
            What to send, what to have sent by the partner, or None.
        """
        plain = self.answer_plainly(data, source, place)
        if plain is not None:
            return Reply(plain, source, place)
        return self.answer_in_full(data, source, place)

    def answer_in_full(
        self, data: bytes, source: Address, place: Place
    ) -> Reply | Delegation | None:
        """The same as `answer`, for a request that `answer_plainly` has not answered."""
        try:
            request = decode(data)
        except StunError:
            return None
        if (request.message_class, request.method) != (MessageClass.REQUEST, BINDING):
            return None
        if request.classic and place is Place.OWN:
            return None
        if request.unknown_required:
            return _refusal(request, source, place, request.unknown_required)
        port = request.response_port
        # RFC 5780, section 6.1: the two together would send large replies to a third party.
        if port == 0 or (port is not None and request.padding is not None):
            return _refusal(request, source, place)
        target = self._target(request, source, place)
        if target is None and request.classic:
            # Clients of RFC 3489 would take an error for the reply that they asked for from
            # elsewhere, and conclude that there is no NAT; silence they understand.
            return None
        if target is None:
            return _refusal(request, source, place, (AttributeType.CHANGE_REQUEST,))
        to = source if port is None else like(source, source[0], port)
        other_address = self._other_address(source, place)
        if target is not place and target not in self.abilities.places:
            return Delegation(
                transaction_id=request.transaction_id,
                client=source,
                to=to,
                place=target,
                other_address=other_address,
                fingerprint=request.fingerprint,
            )
        response = _success(
            request.transaction_id,
            source,
            origin=_same_family(told_address(self.abilities.places[target], source), source),
            other_address=other_address,
            fingerprint=request.fingerprint,
        )
        return Reply(self._complete(response, request, len(data)), to, target)

    def answer_plainly(self, data: bytes, source: Address, place: Place) -> bytes | None:
        """The response to a request that only wants an answer from where it was asked: the same as
        that of `answer`, but faster; None for all others.
        """
        fingerprint = read_plain_binding(data)
        if fingerprint is None:
            return None
        own = source.own_host if isinstance(source, AskedAddress) else ""
        seen = place, ":" in source[0], own
        response = self._usual.get(seen)
        if response is None:
            origin = _same_family(told_address(self._abilities.places[place], source), source)
            other = self._other_address(source, place)
            response = BindingResponse(self._abilities.software, origin, other)
            self._usual.put(seen, response)
        most = AMPLIFICATION_LIMIT * len(data)
        return response.fill(data, source, most, fingerprint=fingerprint)

    def _target(self, request: StunMessage, source: Address, place: Place) -> Place | None:
        """The place that sends a reply, or None if nothing can change what is asked."""
        change = request.change_request
        if change is None:
            return place
        if change is Change.NOTHING:
            # RFC 5780, section 6.1: without an alternate the attribute itself is refused. RFC
            # 3489, section 8.1, answers; its clients send the flags in every request.
            alternate = any(self._changed(place, other, source) for other in _CHANGES)
            return place if request.classic or alternate else None
        target = self._changed(place, change, source)
        if target in self.abilities.places or request.padding is None:
            return target
        return None  # a partner has not seen the request and would not know what it may send

    def _changed(self, place: Place, change: Change, source: Address) -> Place | None:
        asked = told_address(self.abilities.places[place], source)
        targets = _CHANGED.get((place, change), ())
        if asked is not None and place is Place.OWN:
            # If bound to all addresses of the machine, it may have been asked at the alternate one.
            targets += _CHANGED_AT_ALTERNATE.get(change, ())
        for known in (self.abilities.places, self.abilities.partner):
            for target in targets:
                if target in known:
                    address = told_address(known[target], source)
                    if _can_reach(address, source) and _differs(asked, address, change):
                        return target
        return None

    def _other_address(self, source: Address, place: Place) -> Address | None:
        target = self._changed(place, Change.BOTH, source)
        if target is None:
            return None
        places, partner = self.abilities.places, self.abilities.partner
        return told_address(places[target] if target in places else partner[target], source)

    def _complete(self, response: StunMessage, request: StunMessage, request_bytes: int) -> bytes:
        """The bytes of a success response, with optional parts if there is room for them."""
        data = encode(response)
        software = self.abilities.software
        size = _ATTRIBUTE_HEAD_BYTES + (len(software.encode()) + 3 & ~3)
        fits = len(data) + size <= AMPLIFICATION_LIMIT * request_bytes
        # RFC 3489 knows no value whose size is not a multiple of four.
        if software and fits and not response.classic:
            response = replace(response, software=software)
            data = encode(response)
        if request.padding is not None:
            room = (request_bytes - len(data) - _ATTRIBUTE_HEAD_BYTES) & ~3
            if room >= 0:
                data = encode(replace(response, padding=min(request.padding, room)))
        return data


def partner_reply(
    transaction_id: bytes,
    client: Address,
    *,
    origin: Address | None,
    other_address: Address | None,
    fingerprint: bool,
) -> bytes:
    """The response that a partner sends for the node that got the request.

    Args:
        transaction_id: 12 bytes, or 16 for a request of RFC 3489.
        client: Where the request came from.
        origin: The partner's address that the response is sent from; None if it is unknown.
        other_address: As the `Delegation` has it.
        fingerprint: Likewise.

    Returns:
        At most `MANDATORY_IPV4_BYTES` or `MANDATORY_IPV6_BYTES`, and `FINGERPRINT_BYTES`.

    Raises:
        StunError: The transaction id or an address is invalid; they come from another node.
    """
    response = _success(
        transaction_id,
        client,
        origin=_same_family(origin, client),
        other_address=_same_family(other_address, client),
        fingerprint=fingerprint,
    )
    return encode(response)


def _success(
    transaction_id: bytes,
    client: Address,
    *,
    origin: Address | None,
    other_address: Address | None,
    fingerprint: bool,
) -> StunMessage:
    return StunMessage(
        message_class=MessageClass.SUCCESS,
        transaction_id=transaction_id,
        mapped=client,
        xor_mapped=None if len(transaction_id) == CLASSIC_ID_BYTES else client,
        response_origin=origin,
        other_address=other_address,
        fingerprint=fingerprint,
    )


def _refusal(
    request: StunMessage, source: Address, place: Place, unknown: tuple[int, ...] = ()
) -> Reply:
    response = StunMessage(
        message_class=MessageClass.ERROR,
        transaction_id=request.transaction_id,
        error=_UNKNOWN_ATTRIBUTE if unknown else _BAD_REQUEST,
        unknown=unknown[:MAX_UNKNOWN_LISTED],
        fingerprint=request.fingerprint,
    )
    return Reply(encode(response), source, place)


def _differs(asked: Address | None, other: Address | None, change: Change) -> bool:
    """Whether two places differ in their IP address exactly if that is to be changed."""
    if asked is None or other is None:
        return True
    return (asked[0] != other[0]) is (change is not Change.PORT)


def _can_reach(place: Address | None, client: Address) -> bool:
    return place is None or ip_version(place[0]) == ip_version(client[0])


def _same_family(address: Address | None, client: Address) -> Address | None:
    return address if address and ip_version(address[0]) == ip_version(client[0]) else None
