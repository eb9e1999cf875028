"""A STUN server's answers: RFC 8489, the behaviour discovery of RFC 5780, and RFC 3489."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.nat.stun_server import (
    AMPLIFICATION_LIMIT,
    FINGERPRINT_BYTES,
    MANDATORY_IPV4_BYTES,
    MANDATORY_IPV6_BYTES,
    MAX_UNKNOWN_LISTED,
    Abilities,
    Delegation,
    Place,
    Reply,
    StunServer,
    partner_reply,
)
from p2ptui.wire.address import Address
from p2ptui.wire.stun import (
    AttributeType,
    Change,
    MessageClass,
    StunError,
    StunMessage,
    decode,
    encode,
)
from p2ptui.wire.stun_integrity import verify_integrity

ID = bytes(range(12))
CLASSIC_ID = bytes(range(16))
CLIENT = ("192.0.2.7", 40_000)
CLIENT_V6 = ("2001:db8::7", 40_000)

FOUR: Mapping[Place, Address | None] = {
    Place.PRIMARY: ("198.51.100.1", 3478),
    Place.ALTERNATE_PORT: ("198.51.100.1", 3479),
    Place.ALTERNATE_ADDRESS: ("198.51.100.2", 3478),
    Place.ALTERNATE_BOTH: ("198.51.100.2", 3479),
}
FULL = Abilities(places=FOUR | {Place.OWN: ("198.51.100.1", 8080)}, software="p2ptui")
ONE_ADDRESS = Abilities(
    places={
        Place.OWN: None,
        Place.PRIMARY: ("198.51.100.1", 3478),
        Place.ALTERNATE_PORT: ("198.51.100.1", 3479),
    }
)
WITH_PARTNER = Abilities(
    places=ONE_ADDRESS.places,
    partner={
        Place.ALTERNATE_ADDRESS: ("203.0.113.9", 3478),
        Place.ALTERNATE_BOTH: ("203.0.113.9", 3479),
    },
    software="p2ptui",
)
ALONE = Abilities(places={Place.OWN: None})


def request(**fields: object) -> bytes:
    fields = {"message_class": MessageClass.REQUEST, "transaction_id": ID} | fields
    return encode(StunMessage(**fields))  # type: ignore[arg-type]


def answer(
    data: bytes,
    abilities: Abilities = FULL,
    place: Place = Place.PRIMARY,
    source: Address = CLIENT,
) -> tuple[Reply, StunMessage]:
    reply = StunServer(abilities).answer(data, source, place)
    assert isinstance(reply, Reply)
    return reply, decode(reply.data)


def refusal(data: bytes, abilities: Abilities = FULL, place: Place = Place.PRIMARY) -> StunMessage:
    reply, message = answer(data, abilities, place)
    assert message.message_class is MessageClass.ERROR
    assert (reply.to, reply.place) == (CLIENT, place)
    return message


def test_a_binding_request_is_answered_with_all_that_rfc_5780_demands() -> None:
    reply, message = answer(request())
    assert (reply.to, reply.place) == (CLIENT, Place.PRIMARY)
    assert message == StunMessage(
        message_class=MessageClass.SUCCESS,
        transaction_id=ID,
        mapped=CLIENT,
        xor_mapped=CLIENT,
        response_origin=("198.51.100.1", 3478),
        other_address=("198.51.100.2", 3479),
    )


@pytest.mark.parametrize("software", ["", "p2ptui", "a name of some length"])
@pytest.mark.parametrize("fingerprint", [False, True])
@pytest.mark.parametrize("source", [CLIENT, CLIENT_V6])
@pytest.mark.parametrize("place", [Place.PRIMARY, Place.ALTERNATE_BOTH])
def test_a_plain_request_is_answered_the_same_by_the_shorter_way(
    software: str, fingerprint: bool, source: Address, place: Place
) -> None:
    places = V6 if source == CLIENT_V6 else FOUR
    server = StunServer(Abilities(places=places, software=software))
    data = request(fingerprint=fingerprint)
    assert server.answer_in_full(data, source, place) == (
        server.answer_plainly(data, source, place),
        source,
        place,
    )


def test_ipv6() -> None:
    places: Mapping[Place, Address | None] = {Place.PRIMARY: ("2001:db8::1", 3478)}
    _, message = answer(request(), Abilities(places=places), source=CLIENT_V6)
    assert message.xor_mapped == message.mapped == CLIENT_V6
    assert message.response_origin == ("2001:db8::1", 3478)


def test_an_unknown_address_of_ones_own_is_not_told() -> None:
    _, message = answer(request(), ALONE, Place.OWN)
    assert message.xor_mapped == CLIENT
    assert message.response_origin is None
    assert message.other_address is None


def test_software_is_told_where_there_is_room() -> None:
    assert answer(request())[1].software is None
    assert answer(request(software="a client"))[1].software == "p2ptui"


def test_a_fingerprint_is_answered_with_one() -> None:
    assert answer(request(fingerprint=True))[1].fingerprint
    refused = refusal(request(fingerprint=True, response_port=0))
    assert refused.fingerprint


def test_credentials_are_of_no_interest() -> None:
    """RFC 8489, section 12: a basic server does not authenticate, and adds no integrity."""
    message = StunMessage(
        message_class=MessageClass.REQUEST, transaction_id=ID, username="u", realm="r", nonce="n"
    )
    reply, success = answer(encode(message, integrity_key=b"key"))
    assert success.xor_mapped == CLIENT
    assert not verify_integrity(reply.data, b"key")


@pytest.mark.parametrize(
    ("change", "place", "leaves_by"),
    [
        (None, Place.PRIMARY, Place.PRIMARY),
        (Change.NOTHING, Place.PRIMARY, Place.PRIMARY),
        (Change.PORT, Place.PRIMARY, Place.ALTERNATE_PORT),
        (Change.IP, Place.PRIMARY, Place.ALTERNATE_ADDRESS),
        (Change.BOTH, Place.PRIMARY, Place.ALTERNATE_BOTH),
        (Change.PORT, Place.ALTERNATE_PORT, Place.PRIMARY),
        (Change.IP, Place.ALTERNATE_PORT, Place.ALTERNATE_BOTH),
        (Change.BOTH, Place.ALTERNATE_PORT, Place.ALTERNATE_ADDRESS),
        (Change.PORT, Place.ALTERNATE_ADDRESS, Place.ALTERNATE_BOTH),
        (Change.IP, Place.ALTERNATE_ADDRESS, Place.PRIMARY),
        (Change.BOTH, Place.ALTERNATE_ADDRESS, Place.ALTERNATE_PORT),
        (Change.PORT, Place.ALTERNATE_BOTH, Place.ALTERNATE_ADDRESS),
        (Change.IP, Place.ALTERNATE_BOTH, Place.ALTERNATE_PORT),
        (Change.BOTH, Place.ALTERNATE_BOTH, Place.PRIMARY),
        (Change.NOTHING, Place.OWN, Place.OWN),
        (Change.PORT, Place.OWN, Place.PRIMARY),
        (Change.BOTH, Place.OWN, Place.ALTERNATE_BOTH),
    ],
)
def test_a_change_leaves_by_the_sibling(
    change: Change | None, place: Place, leaves_by: Place
) -> None:
    reply, message = answer(request(change_request=change), place=place)
    assert (reply.to, reply.place) == (CLIENT, leaves_by)
    assert message.mapped == message.xor_mapped == CLIENT
    assert message.response_origin == FULL.places[leaves_by]


@pytest.mark.parametrize("change", [None, *Change, Change.BOTH])
@pytest.mark.parametrize("place", FOUR)
def test_the_other_address_is_seen_from_where_the_request_came_in(
    place: Place, change: Change | None
) -> None:
    """RFC 5780, section 6.1, table 1: whatever change was asked for."""
    _, message = answer(request(change_request=change), place=place)
    reply, _ = answer(request(change_request=Change.BOTH), place=place)
    assert message.other_address == FOUR[reply.place]


def test_from_the_own_socket_either_separate_port_will_do() -> None:
    abilities = Abilities(places={Place.OWN: None, Place.ALTERNATE_PORT: None})
    reply, _ = answer(request(change_request=Change.PORT), abilities, Place.OWN)
    assert reply.place is Place.ALTERNATE_PORT


@pytest.mark.parametrize(
    ("abilities", "place", "change"),
    [
        (FULL, Place.OWN, Change.IP),
        (ONE_ADDRESS, Place.PRIMARY, Change.IP),
        (ONE_ADDRESS, Place.PRIMARY, Change.BOTH),
        (ONE_ADDRESS, Place.OWN, Change.BOTH),
        (ALONE, Place.OWN, Change.PORT),
        (ALONE, Place.OWN, Change.NOTHING),
    ],
)
def test_what_cannot_be_changed_is_refused(
    abilities: Abilities, place: Place, change: Change
) -> None:
    refused = refusal(request(change_request=change), abilities, place)
    assert refused.error == (420, "Unknown Attribute")
    assert refused.unknown == (AttributeType.CHANGE_REQUEST,)


def test_one_address_has_no_other_but_can_change_its_port() -> None:
    reply, message = answer(request(change_request=Change.PORT), ONE_ADDRESS)
    assert reply.place is Place.ALTERNATE_PORT
    assert message.other_address is None


def test_an_address_of_the_other_family_is_no_alternate() -> None:
    abilities = Abilities(places=FOUR | {Place.OWN: None})
    _, message = answer(request(), abilities, Place.OWN, CLIENT_V6)
    assert message.other_address is None
    reply, message = answer(
        request(change_request=Change.PORT), abilities, Place.OWN, source=CLIENT_V6
    )
    assert message.error == (420, "Unknown Attribute")
    assert reply.to == CLIENT_V6


def test_a_partner_sends_what_this_node_cannot() -> None:
    server = StunServer(WITH_PARTNER)

    delegation = server.answer(
        request(change_request=Change.BOTH, fingerprint=True), CLIENT, Place.PRIMARY
    )

    assert delegation == Delegation(
        transaction_id=ID,
        client=CLIENT,
        to=CLIENT,
        place=Place.ALTERNATE_BOTH,
        other_address=("203.0.113.9", 3479),
        fingerprint=True,
    )
    data = partner_reply(
        delegation.transaction_id,
        delegation.client,
        origin=("203.0.113.9", 3479),
        other_address=delegation.other_address,
        fingerprint=delegation.fingerprint,
    )
    assert len(data) == MANDATORY_IPV4_BYTES + FINGERPRINT_BYTES
    assert decode(data) == StunMessage(
        message_class=MessageClass.SUCCESS,
        transaction_id=ID,
        mapped=CLIENT,
        xor_mapped=CLIENT,
        response_origin=("203.0.113.9", 3479),
        other_address=("203.0.113.9", 3479),
        fingerprint=True,
    )


@pytest.mark.parametrize(
    ("place", "change", "leaves_by"),
    [
        (Place.PRIMARY, Change.IP, Place.ALTERNATE_ADDRESS),
        (Place.ALTERNATE_PORT, Change.IP, Place.ALTERNATE_BOTH),
        (Place.ALTERNATE_PORT, Change.BOTH, Place.ALTERNATE_ADDRESS),
        (Place.OWN, Change.BOTH, Place.ALTERNATE_BOTH),
    ],
)
def test_which_of_its_sockets_a_partner_takes(
    place: Place, change: Change, leaves_by: Place
) -> None:
    delegation = StunServer(WITH_PARTNER).answer(request(change_request=change), CLIENT, place)
    assert isinstance(delegation, Delegation)
    assert delegation.place is leaves_by


def test_a_partner_is_told_as_the_other_address() -> None:
    _, message = answer(request(), WITH_PARTNER)
    assert message.other_address == ("203.0.113.9", 3479)


def test_a_place_of_ones_own_goes_before_a_partners() -> None:
    abilities = Abilities(places=FOUR, partner=WITH_PARTNER.partner)
    reply, _ = answer(request(change_request=Change.BOTH), abilities)
    assert reply.place is Place.ALTERNATE_BOTH


def test_a_partner_of_the_other_family_is_none() -> None:
    v6: Mapping[Place, Address | None] = {Place.ALTERNATE_BOTH: ("2001:db8::9", 3479)}
    refused = refusal(
        request(change_request=Change.BOTH), Abilities(places=ONE_ADDRESS.places, partner=v6)
    )
    assert refused.unknown == (AttributeType.CHANGE_REQUEST,)
    data = partner_reply(
        ID, CLIENT, origin=("2001:db8::9", 1), other_address=("2001:db8::9", 1), fingerprint=False
    )
    assert decode(data).response_origin is None
    assert decode(data).other_address is None


def test_a_partner_does_not_pad() -> None:
    refused = refusal(request(change_request=Change.BOTH, padding=400), WITH_PARTNER)
    assert refused.unknown == (AttributeType.CHANGE_REQUEST,)


def test_a_partner_refuses_what_is_no_transaction() -> None:
    with pytest.raises(StunError):
        partner_reply(b"", CLIENT, origin=None, other_address=None, fingerprint=False)


def test_response_port_names_where_the_reply_goes() -> None:
    reply, message = answer(request(response_port=50_000))
    assert reply.to == (CLIENT[0], 50_000)
    assert message.xor_mapped == CLIENT

    both = request(response_port=50_000, change_request=Change.BOTH)
    delegation = StunServer(WITH_PARTNER).answer(both, CLIENT, Place.PRIMARY)
    assert isinstance(delegation, Delegation)
    assert (delegation.client, delegation.to) == (CLIENT, (CLIENT[0], 50_000))


def test_response_port_nought_or_with_padding_is_a_bad_request() -> None:
    assert refusal(request(response_port=0)).error == (400, "Bad Request")
    assert refusal(request(response_port=5, padding=8)).error == (400, "Bad Request")


@pytest.mark.parametrize(
    ("padding", "expected"), [(1400, 1352), (100, 52), (48, 0), (47, 0), (44, None), (0, None)]
)
def test_padding_fills_the_reply_to_no_more_than_the_request(
    padding: int, expected: int | None
) -> None:
    """The mandatory has 68 bytes and the head of PADDING 4; 24 of them the request has too."""
    data = request(padding=padding)
    reply, message = answer(data, Abilities(places=FOUR))
    assert message.padding == expected
    assert len(reply.data) <= max(len(data), MANDATORY_IPV4_BYTES)


def test_padding_is_not_more_than_was_asked_for() -> None:
    data = request(padding=8, software="a client that says much of itself" * 4)
    assert answer(data, Abilities(places=FOUR))[1].padding == 8


def test_what_is_not_understood_is_named() -> None:
    data = request(others=((0x7001, b""), (0xFFFF, b""), (0x0024, b"abcd")))
    refused = refusal(data)
    assert refused.error == (420, "Unknown Attribute")
    assert refused.unknown == (0x7001, 0x0024)


def test_not_all_of_very_many_are_named() -> None:
    data = request(others=tuple((0x7000 + kind, b"") for kind in range(MAX_UNKNOWN_LISTED + 1)))
    assert len(refusal(data).unknown) == MAX_UNKNOWN_LISTED


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(message_class=MessageClass.INDICATION), id="indication"),
        pytest.param(request(message_class=MessageClass.SUCCESS), id="success"),
        pytest.param(request(message_class=MessageClass.ERROR, error=(400, "")), id="error"),
        pytest.param(request(method=3), id="another method"),
        pytest.param(request()[:-1], id="malformed"),
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"id": "1"}', id="JSON"),
        pytest.param(request(fingerprint=True)[:-1] + b"\0", id="wrong fingerprint"),
    ],
)
@pytest.mark.parametrize("place", Place)
def test_what_is_passed_over(data: bytes, place: Place) -> None:
    assert StunServer(FULL).answer(data, CLIENT, place) is None


def test_rfc_3489() -> None:
    reply, message = answer(request(transaction_id=CLASSIC_ID, change_request=Change.PORT))
    assert reply.place is Place.ALTERNATE_PORT
    assert message == StunMessage(
        message_class=MessageClass.SUCCESS,
        transaction_id=CLASSIC_ID,
        mapped=CLIENT,
        response_origin=("198.51.100.1", 3479),
        other_address=("198.51.100.2", 3479),
    )
    kinds = [reply.data[at : at + 2].hex() for at in range(20, len(reply.data), 12)]
    assert kinds == ["0001", "0004", "0005"]


def test_rfc_3489_has_no_software_and_a_flagless_change_request() -> None:
    places: Mapping[Place, Address | None] = {Place.PRIMARY: None}
    data = request(
        transaction_id=CLASSIC_ID, change_request=Change.NOTHING, username="long enough for more"
    )
    _, message = answer(data, Abilities(places=places, software="p2ptui"))
    assert message == StunMessage(
        message_class=MessageClass.SUCCESS, transaction_id=CLASSIC_ID, mapped=CLIENT
    )


def test_rfc_3489_cannot_have_a_reply_sent_to_somebody_else() -> None:
    response_address = ((0x0002, bytes.fromhex("00010050c0000263")),)
    refused = refusal(request(transaction_id=CLASSIC_ID, others=response_address))
    assert refused.unknown == (0x0002,)


def test_rfc_3489_by_a_partner() -> None:
    data = request(transaction_id=CLASSIC_ID, change_request=Change.BOTH)
    delegation = StunServer(WITH_PARTNER).answer(data, CLIENT, Place.PRIMARY)
    assert isinstance(delegation, Delegation)
    assert delegation.transaction_id == CLASSIC_ID
    data = partner_reply(
        CLASSIC_ID, CLIENT, origin=("203.0.113.9", 1), other_address=None, fingerprint=False
    )
    message = decode(data)
    assert message.classic
    assert message.mapped == CLIENT
    assert message.xor_mapped is None


def test_rfc_3489_is_not_spoken_on_the_own_socket() -> None:
    data = request(transaction_id=CLASSIC_ID)
    assert StunServer(FULL).answer(data, CLIENT, Place.OWN) is None


V6: Mapping[Place, Address | None] = {
    place: (host.replace("198.51.100.", "2001:db8::"), port)
    for place, (host, port) in ((place, address) for place, address in FOUR.items() if address)
}
requests = st.builds(
    StunMessage,
    message_class=st.just(MessageClass.REQUEST),
    transaction_id=st.just(ID) | st.just(CLASSIC_ID),
    change_request=st.none() | st.sampled_from([Change.NOTHING, *Change, Change.BOTH]),
    response_port=st.none() | st.integers(0, 0xFFFF),
    padding=st.none() | st.integers(0, 1500),
    software=st.none() | st.text("a", max_size=100),
    others=st.lists(st.integers(0x7F00, 0x8010), unique=True, max_size=100).map(
        lambda kinds: tuple((kind, b"") for kind in kinds)
    ),
    fingerprint=st.booleans(),
)


@given(
    requests,
    st.sampled_from([CLIENT, CLIENT_V6]),
    st.sampled_from(list(FOUR)),
    st.integers(0, 127),
)
def test_no_reply_is_longer_than_promised(
    message: StunMessage, source: Address, place: Place, software: int
) -> None:
    v6 = source == CLIENT_V6
    data = encode(message)
    abilities = Abilities(places=V6 if v6 else FOUR, software="a" * software)

    reply = StunServer(abilities).answer(data, source, place)

    assert isinstance(reply, Reply)
    mandatory = MANDATORY_IPV6_BYTES if v6 else MANDATORY_IPV4_BYTES
    mandatory += FINGERPRINT_BYTES if message.fingerprint else 0
    assert len(reply.data) <= max(AMPLIFICATION_LIMIT * len(data), mandatory)
    if decode(reply.data).padding is not None:
        assert len(reply.data) <= len(data)


@pytest.mark.parametrize(
    ("places", "source", "size"),
    [(FOUR, CLIENT, MANDATORY_IPV4_BYTES), (V6, CLIENT_V6, MANDATORY_IPV6_BYTES)],
)
def test_the_shortest_request_gets_exactly_the_mandatory(
    places: Mapping[Place, Address | None], source: Address, size: int
) -> None:
    reply, _ = answer(request(), Abilities(places=places, software="p2ptui"), source=source)
    assert len(request()) == 20
    assert len(reply.data) == size


@given(st.binary(max_size=100), st.sampled_from(Place))
def test_arbitrary_bytes_do_no_harm(data: bytes, place: Place) -> None:
    StunServer(WITH_PARTNER).answer(data, CLIENT, Place.PRIMARY)
    StunServer(FULL).answer(data, CLIENT, place)
