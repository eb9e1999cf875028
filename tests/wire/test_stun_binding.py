"""The plain STUN exchange: written from a template, and byte for byte what the encoder writes."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.nat.stun_server import (
    AMPLIFICATION_LIMIT,
    MAX_USUAL,
    Abilities,
    Place,
    Reply,
    StunServer,
)
from p2ptui.wire.address import Address, AskedAddress
from p2ptui.wire.stun import (
    Change,
    MessageClass,
    StunError,
    StunMessage,
    decode,
    encode,
)
from p2ptui.wire.stun_attributes import packed_ip, write_attribute
from p2ptui.wire.stun_binding import BindingResponse, read_plain_binding

IDS = st.binary(min_size=12, max_size=12)
PORTS = st.integers(0, 0xFFFF)
HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.sampled_from(("::ffff:192.0.2.1", "fe80::1%eth0", "::1", "0.0.0.0")),
)
ADDRESSES = st.tuples(HOSTS, PORTS)
SOFTWARE = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)


def request(**fields: Any) -> bytes:
    fields = {"message_class": MessageClass.REQUEST, "transaction_id": bytes(12)} | fields
    return encode(StunMessage(**fields))


@given(
    IDS,
    SOFTWARE,
    st.none() | ADDRESSES,
    st.none() | ADDRESSES,
    ADDRESSES,
    st.booleans(),
    st.integers(0, 600),
)
def test_a_response_is_what_the_encoder_writes(
    transaction_id: bytes,
    software: str,
    origin: Address | None,
    other: Address | None,
    client: Address,
    fingerprint: bool,
    most: int,
) -> None:
    made = BindingResponse(software, origin, other).fill(
        request(transaction_id=transaction_id), client, most, fingerprint=fingerprint
    )
    expected = StunMessage(
        message_class=MessageClass.SUCCESS,
        transaction_id=transaction_id,
        mapped=client,
        xor_mapped=client,
        response_origin=origin,
        other_address=other,
        fingerprint=fingerprint,
    )
    whole = encode(StunMessage(**{**_fields(expected), "software": software or None}))
    assert made == (whole if software and len(whole) <= most else encode(expected))


def _fields(message: StunMessage) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__struct_fields__}


@given(IDS, st.none() | SOFTWARE, st.booleans())
def test_plain_requests_are_known(
    transaction_id: bytes, software: str | None, fingerprint: bool
) -> None:
    data = request(transaction_id=transaction_id, software=software, fingerprint=fingerprint)
    assert read_plain_binding(data) is fingerprint


@pytest.mark.parametrize(
    "fields",
    [
        {"change_request": Change.NOTHING},
        {"response_port": 1},
        {"padding": 8},
        {"username": "somebody"},
        {"others": ((0x8023, b"1234"),)},
        {"others": ((0x0024, b"1234"),)},
        {"message_class": MessageClass.INDICATION},
        {"message_class": MessageClass.SUCCESS},
        {"method": 3},
        {"transaction_id": bytes(16)},
    ],
)
def test_what_wants_more_is_not_plain(fields: dict[str, Any]) -> None:
    assert read_plain_binding(request(**fields)) is None


def test_what_shows_who_sends_it_is_not_plain() -> None:
    message = StunMessage(message_class=MessageClass.REQUEST, transaction_id=bytes(12))
    assert read_plain_binding(encode(message, integrity_key=b"key")) is None
    assert read_plain_binding(encode(message, sha256_key=b"key")) is None


@given(st.binary(max_size=60), st.integers(0, 40), st.integers(0, 255))
def test_whatever_is_taken_for_plain_is_read_so_by_the_decoder(
    tail: bytes, place: int, value: int
) -> None:
    whole = bytearray(request(software="a client", fingerprint=True))
    whole[min(place, len(whole) - 1)] = value
    for data in (bytes(whole), bytes(whole) + tail, request()[:20] + tail, tail):
        fingerprint = read_plain_binding(data)
        if fingerprint is not None:
            read = decode(data)
            assert read.fingerprint is fingerprint
            plain = request(
                transaction_id=read.transaction_id, software=read.software, fingerprint=fingerprint
            )
            assert decode(plain) == read


def test_a_false_fingerprint_is_not_plain() -> None:
    data = bytearray(request(fingerprint=True))
    data[-1] ^= 1
    assert read_plain_binding(bytes(data)) is None
    with pytest.raises(StunError):
        decode(bytes(data))


def test_an_endless_software_is_not_plain() -> None:
    attribute = write_attribute(0x8022, b"x" * 764)
    head = request()[:2] + len(attribute).to_bytes(2, "big") + request()[4:20]
    assert read_plain_binding(head + attribute) is None


# --- by the server


PLACES: dict[Place, Address | None] = {
    Place.OWN: ("0.0.0.0", 8080),
    Place.PRIMARY: ("198.51.100.1", 3478),
    Place.ALTERNATE_PORT: ("198.51.100.1", 3479),
}
SIX: dict[Place, Address | None] = {
    Place.OWN: ("::", 8080),
    Place.PRIMARY: ("2001:db8::1", 3478),
    Place.ALTERNATE_PORT: ("2001:db8::1", 3479),
}


def general(server: StunServer, data: bytes, source: Address, place: Place) -> bytes:
    """The same request with an attribute that means nothing here, and so not by the template.

    The reply has the same values; what is said of its length is not asked of it.
    """
    longer = encode(
        StunMessage(**{**_fields(decode(data)), "others": ((0xFFFE, b""),), "software": None})
    )
    reply = server.answer(longer, source, place)
    assert isinstance(reply, Reply)
    return reply.data


@pytest.mark.parametrize("places", [PLACES, SIX, {Place.OWN: None}])
@pytest.mark.parametrize("fingerprint", [False, True])
@pytest.mark.parametrize(
    "source",
    [
        ("192.0.2.7", 40_000),
        AskedAddress(("192.0.2.7", 40_000), "198.51.100.9"),
        ("2001:db8::7", 40_000),
        AskedAddress(("2001:db8::7", 40_000), "2001:db8::9"),
        ("::ffff:192.0.2.7", 40_000),
    ],
)
def test_a_plain_request_is_answered_as_any_other(
    places: dict[Place, Address | None], fingerprint: bool, source: Address
) -> None:
    # Guards what held before: for each socket the template says what the whole way says.
    partner: dict[Place, Address | None] = {Place.ALTERNATE_BOTH: ("203.0.113.9", 3479)}
    for server in (StunServer(Abilities(places)), StunServer(Abilities(places, partner))):
        for place in places:
            data = request(transaction_id=bytes(range(12)), fingerprint=fingerprint)
            reply = server.answer(data, source, place)
            assert reply == Reply(general(server, data, source, place), source, place)


def test_software_is_sent_where_it_fits() -> None:
    server = StunServer(Abilities(PLACES, software="p2ptui"))
    for size in range(0, 60, 4):
        data = request(software="x" * size) if size else request()
        reply = server.answer(data, ("192.0.2.7", 1), Place.PRIMARY)
        assert isinstance(reply, Reply)
        answer = decode(reply.data)
        without = len(encode(StunMessage(**{**_fields(answer), "software": None})))
        assert (answer.software is not None) is (without + 12 <= AMPLIFICATION_LIMIT * len(data))


def test_the_template_goes_by_what_the_server_can_do_now() -> None:
    server = StunServer(Abilities(PLACES))
    source = ("192.0.2.7", 40_000)

    def other_address() -> Address | None:
        reply = server.answer(request(), source, Place.PRIMARY)
        assert isinstance(reply, Reply)
        return decode(reply.data).other_address

    assert other_address() is None
    partner: dict[Place, Address | None] = {Place.ALTERNATE_BOTH: ("203.0.113.9", 3479)}
    server.abilities = Abilities(PLACES, partner)
    assert other_address() == ("203.0.113.9", 3479)
    server.abilities = Abilities(PLACES)
    assert other_address() is None


def test_templates_are_few_however_many_addresses_are_asked() -> None:
    server = StunServer(Abilities(PLACES))
    for number in range(4 * MAX_USUAL):
        own = f"10.0.{number // 250}.{number % 250}"
        reply = server.answer(request(), AskedAddress(("192.0.2.7", 1), own), Place.OWN)
        assert isinstance(reply, Reply)
        assert decode(reply.data).response_origin == (own, 8080)
    assert len(server._usual) == MAX_USUAL


@given(st.ip_addresses(v=4))
def test_a_host_of_ipv4_is_read_as_the_standard_library_reads_it(ip: ipaddress.IPv4Address) -> None:
    assert packed_ip(str(ip)) == (1, ip.packed)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "1.2.3",
        "1.2.3.4.5",
        "256.2.3.4",
        "01.2.3.4",
        " 1.2.3.4",
        "+1.2.3.4",
        "1_0.2.3.4",
        "-1.2.3.4",
        "1.2.3.x",
        "node@server",
        "\u0661.2.3.4",
    ],
)
def test_what_is_no_literal_of_ipv4_is_none(host: str) -> None:
    with pytest.raises(ValueError, match=r"literal|range"):
        packed_ip(host)
