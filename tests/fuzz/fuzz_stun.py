"""STUN: what is read, what a server answers, and what is written of values.

The first byte says which: a datagram as it is, one that is signed and sealed before it is read, or
a message that is built of attributes.
"""

import zlib
from typing import Any, Final

from p2ptui.core.traversal.checks import build_answer, read_check
from p2ptui.nat.stun_server import (
    AMPLIFICATION_LIMIT,
    FINGERPRINT_BYTES,
    MANDATORY_IPV4_BYTES,
    MANDATORY_IPV6_BYTES,
    Abilities,
    Delegation,
    Place,
    Reply,
    StunServer,
    partner_reply,
)
from p2ptui.wire.address import Address, ip_version
from p2ptui.wire.offer import TraversalOffer
from p2ptui.wire.stun import (
    CLASSIC_ID_BYTES,
    HEADER_BYTES,
    TRANSACTION_ID_BYTES,
    AttributeType,
    Change,
    MessageClass,
    StunError,
    StunMessage,
    decode,
    encode,
    is_stun,
)
from p2ptui.wire.stun_integrity import (
    verify_integrity,
    verify_integrity_sha256,
    with_fingerprint,
    with_integrity,
    with_integrity_sha256,
)
from tests.fuzz.choices import Choices

MAX_BYTES: Final = 1500
"""Of one case."""

KEY: Final = b"the key of both sides"
_ADDRESSES: Final[tuple[Address, ...]] = (
    ("192.0.2.1", 3478),
    ("192.0.2.1", 0),
    ("2001:db8::1", 65535),
    ("::ffff:192.0.2.1", 9),
    ("no host", 1),
    ("192.0.2.1", 65536),
)
_CLIENTS: Final[tuple[Address, ...]] = (("198.51.100.7", 40000), ("2001:db8::7", 40000))
_PLACES: Final[tuple[dict[Place, Address | None], ...]] = (
    {Place.OWN: ("192.0.2.1", 8080)},
    {Place.OWN: ("0.0.0.0", 8080), Place.PRIMARY: None, Place.ALTERNATE_PORT: None},
    {
        Place.OWN: ("192.0.2.1", 8080),
        Place.PRIMARY: ("192.0.2.1", 3478),
        Place.ALTERNATE_PORT: ("192.0.2.1", 3479),
        Place.ALTERNATE_ADDRESS: ("192.0.2.2", 3478),
        Place.ALTERNATE_BOTH: ("192.0.2.2", 3479),
    },
    {Place.OWN: ("2001:db8::1", 8080), Place.PRIMARY: ("2001:db8::1", 3478)},
)
_SERVERS: Final = tuple(
    StunServer(Abilities(places, partner, software))
    for places in _PLACES
    for partner, software in (
        ({}, "a server with a name"),
        ({Place.ALTERNATE_BOTH: ("192.0.2.2", 3479), Place.ALTERNATE_ADDRESS: None}, ""),
    )
)
_TYPES: Final = (*AttributeType, 0x0025, 0x8029, 0x0024, 0x7FFF, 0xFFFF)
_OFFER: Final = TraversalOffer("ufrag", "p" * 22)


def test_one(data: bytes) -> None:
    """One case."""
    choices = Choices(data)
    server, way = divmod(choices.byte(), 4)
    if way == 3:
        _write(choices)
        return
    if way == 0:
        message = choices.rest()
    elif way == 1:
        message = _sealed(_assembled(choices), choices.byte())
    else:
        message = _assembled(choices)
    client, server = divmod(server, len(_SERVERS))
    _take(message, _SERVERS[server], _CLIENTS[client % len(_CLIENTS)])


def _assembled(choices: Choices) -> bytes:
    """A message with a fitting length, of attributes of any type and value."""
    kind = choices.one((0x0001, 0x0101, 0x0111, 0x0011, 0x0003, 0x3FFF))
    cookie = b"" if choices.byte() & 7 == 0 else b"\x21\x12\xa4\x42"
    identity = choices.take(16 - len(cookie)).ljust(16 - len(cookie), b"\0")
    body = b""
    while choices and len(body) < 1400:
        attribute = choices.one(_TYPES)
        value = choices.take(choices.one((0, 4, 8, 20, 2, 1, 3, 16, 32, 64)))
        size = len(value) + (choices.byte() == 255)
        body += attribute.to_bytes(2, "big") + size.to_bytes(2, "big")
        body += value + bytes(-len(value) & 3)
    return kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + cookie + identity + body


def _sealed(data: bytes, how: int) -> bytes:
    if how & 1:
        data = with_integrity(data, KEY)
    if how & 2:
        data = with_integrity_sha256(data, KEY)
    data = with_fingerprint(data)
    assert data[-4:] == (zlib.crc32(data[:-8]) ^ 0x5354554E).to_bytes(4, "big")
    return data


def _take(data: bytes, server: StunServer, client: Address) -> None:
    is_stun(data)
    _verify(data)
    for place in server.abilities.places:
        answer = server.answer_in_full(data, client, place)
        _check_answer(answer, data, client)
        plain = server.answer_plainly(data, client, place)
        assert plain is None or answer == (plain, client, place)
    try:
        message = decode(data)
    except StunError:
        return
    assert len(data) >= HEADER_BYTES
    _write_again(message)
    check = read_check(data)
    if check is not None:
        check.is_authentic("p" * 22)
        answer = build_answer(check, client, _OFFER)
        assert decode(answer).transaction_id == message.transaction_id


def _write_again(message: StunMessage) -> None:
    try:
        written = encode(message)
    except StunError:
        return  # a text whose wrong bytes became longer
    assert decode(written) == message, (message, decode(written))


def _verify(data: bytes) -> None:
    for verify in (verify_integrity, verify_integrity_sha256):
        try:
            verify(data, KEY)
        except StunError:
            continue


def _check_answer(answer: Reply | Delegation | None, data: bytes, client: Address) -> None:
    if answer is None:
        return
    request = decode(data)
    assert request.message_class is MessageClass.REQUEST
    assert answer.to[0] == client[0]
    most = MANDATORY_IPV4_BYTES if ip_version(client[0]) == 4 else MANDATORY_IPV6_BYTES
    most += FINGERPRINT_BYTES * request.fingerprint
    if isinstance(answer, Delegation):
        reply = partner_reply(
            answer.transaction_id,
            answer.client,
            origin=None,
            other_address=answer.other_address,
            fingerprint=answer.fingerprint,
        )
        assert len(reply) <= max(most, AMPLIFICATION_LIMIT * len(data))
    else:
        assert len(answer.data) <= max(most, AMPLIFICATION_LIMIT * len(data))
        read = decode(answer.data)
        assert read.transaction_id == request.transaction_id
        assert read.message_class in (MessageClass.SUCCESS, MessageClass.ERROR)


def _write(choices: Choices) -> None:
    """Values that a program may give: written and read back, or refused."""
    classic = choices.byte() & 1
    size = CLASSIC_ID_BYTES if classic else TRANSACTION_ID_BYTES
    fields: dict[str, Any] = {
        "message_class": choices.one(tuple(MessageClass)),
        "transaction_id": choices.take(size).ljust(size - (choices.byte() == 255), b"\1"),
        "method": choices.one((1, 0, 0xFFF, 0x1000)),
        "fingerprint": bool(choices.byte() & 1),
    }
    for _ in range(choices.below(8)):
        name = choices.one(_FIELDS)
        fields[name] = _value(name, choices)
    try:
        data = encode(StunMessage(**fields))
    except StunError:
        return
    decode(data)


_FIELDS: Final = (
    *("mapped", "xor_mapped", "response_origin", "other_address", "change_request"),
    *("response_port", "padding", "software", "error", "unknown", "username", "realm", "nonce"),
    "others",
)


def _value(name: str, choices: Choices) -> Any:
    if name in ("mapped", "xor_mapped", "response_origin", "other_address"):
        return choices.one(_ADDRESSES)
    if name == "change_request":
        return choices.one(tuple(Change))
    if name in ("response_port", "padding"):
        return choices.one((0, 1, 3478, 65535, 65536, -1))
    if name == "error":
        return choices.one((300, 699, 299, 700)), _text(choices)
    if name == "unknown":
        return tuple(choices.bits(16) for _ in range(choices.below(70)))
    if name == "others":
        return ((choices.bits(16), choices.take(choices.byte())),)
    return _text(choices)


def _text(choices: Choices) -> str:
    return choices.take(choices.byte()).decode(errors="replace") * choices.one((1, 1, 8))
