"""STUN: what is written comes back, malformed bytes are refused, and nothing else happens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from p2ptui.wire.stun import (
    AttributeType,
    Change,
    MessageClass,
    StunError,
    StunMessage,
    decode,
    encode,
    is_stun,
)
from p2ptui.wire.stun_attributes import MAX_ATTRIBUTES, READERS, write_attribute
from p2ptui.wire.stun_integrity import verify_integrity, verify_integrity_sha256

COOKIE = b"\x21\x12\xa4\x42"
TRANSACTION_ID = bytes(range(12))
REQUEST = StunMessage(message_class=MessageClass.REQUEST, transaction_id=TRANSACTION_ID)
KEY = b"key"


def message_of(attributes: bytes) -> bytes:
    return b"\0\1" + len(attributes).to_bytes(2, "big") + COOKIE + TRANSACTION_ID + attributes


def texts(limit: int) -> st.SearchStrategy[str]:
    letters = st.characters(exclude_categories=["Cs"])
    return st.text(letters, max_size=40).filter(lambda text: len(text.encode()) <= limit)


types = st.integers(0, 0xFFFF)
named = {*READERS, AttributeType.MESSAGE_INTEGRITY, AttributeType.MESSAGE_INTEGRITY_SHA256}
named.add(AttributeType.FINGERPRINT)
hosts = st.ip_addresses().map(lambda ip: str(getattr(ip, "ipv4_mapped", None) or ip))
addresses = st.none() | st.tuples(hosts, st.integers(0, 0xFFFF))
messages = st.builds(
    StunMessage,
    message_class=st.sampled_from(MessageClass),
    transaction_id=st.binary(min_size=12, max_size=12)
    | st.binary(min_size=16, max_size=16).filter(lambda id_: id_[:4] != COOKIE),
    method=st.integers(0, 0xFFF),
    mapped=addresses,
    xor_mapped=addresses,
    response_origin=addresses,
    other_address=addresses,
    change_request=st.none() | st.sampled_from([Change.NOTHING, *Change, Change.BOTH]),
    response_port=st.none() | st.integers(0, 0xFFFF),
    padding=st.none() | st.integers(0, 1500),
    software=st.none() | texts(763),
    error=st.none()
    | st.tuples(st.integers(300, 699), texts(763).map(lambda text: text.rstrip(" "))),
    unknown=st.lists(types, max_size=5, unique=True).map(tuple),
    username=st.none() | texts(508),
    realm=st.none() | texts(763),
    nonce=st.none() | texts(763),
    others=st.dictionaries(
        types.filter(lambda kind: kind not in named), st.binary(max_size=9), max_size=4
    ).map(lambda others: tuple(others.items())),
    fingerprint=st.booleans(),
)
keys = st.none() | st.binary(max_size=20)


@given(messages, keys, keys)
def test_what_is_written_comes_back(
    message: StunMessage, integrity_key: bytes | None, sha256_key: bytes | None
) -> None:
    data = encode(message, integrity_key=integrity_key, sha256_key=sha256_key)
    assert decode(data) == message
    assert is_stun(data) is (not message.classic and message.method < 0x100)
    if integrity_key is not None:
        assert verify_integrity(data, integrity_key)
    if sha256_key is not None:
        assert verify_integrity_sha256(data, sha256_key)


@given(st.binary(max_size=200) | st.binary(max_size=180).map(message_of))
def test_arbitrary_bytes_do_no_harm(data: bytes) -> None:
    is_stun(data)
    try:
        message = decode(data)
    except StunError:
        return
    verify_integrity(data, KEY)
    verify_integrity_sha256(data, KEY)
    assert decode(encode(message)) == message


@given(messages, st.data())
def test_a_damaged_message_does_no_harm(message: StunMessage, draw: st.DataObject) -> None:
    data = bytearray(encode(message, integrity_key=KEY, sha256_key=KEY))
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        decode(bytes(data))
    except StunError:
        return


def test_the_type_holds_class_and_method() -> None:
    """RFC 8489, section 5, figure 3."""
    heads = [
        encode(replace(REQUEST, message_class=message_class))[:2].hex()
        for message_class in MessageClass
    ]
    assert heads == ["0001", "0011", "0101", "0111"]
    assert encode(replace(REQUEST, method=0xFFF))[:2].hex() == "3eef"


def test_a_request_without_attributes_has_twenty_bytes() -> None:
    assert encode(REQUEST) == bytes.fromhex("000100002112a442") + TRANSACTION_ID


def test_only_the_magic_cookie_makes_it_stun_at_a_glance() -> None:
    assert is_stun(encode(REQUEST))
    assert not is_stun(encode(replace(REQUEST, transaction_id=bytes(16))))
    assert not is_stun(b"{" + encode(REQUEST)[1:])
    assert not is_stun(encode(REQUEST)[:-1])
    assert not is_stun(b"\0\1\0\2" + encode(REQUEST)[4:])


def test_a_request_of_rfc_3489() -> None:
    data = bytes.fromhex("00010008" + "0123456789abcdef0123456789abcdef" + "0003000400000006")
    message = decode(data)
    assert message.classic
    assert message.transaction_id.hex() == "0123456789abcdef0123456789abcdef"
    assert message.change_request is Change.BOTH
    assert encode(message) == data


def test_a_response_of_rfc_3489_has_its_own_attributes() -> None:
    data = bytes.fromhex(
        "01010024"
        "0123456789abcdef0123456789abcdef"
        "000100080001d903c0000201"
        "0004000800010d96c6336401"
        "0005000800010d97c6336402"
    )
    message = decode(data)
    assert message.mapped == ("192.0.2.1", 55555)
    assert message.response_origin == ("198.51.100.1", 3478)
    assert message.other_address == ("198.51.100.2", 3479)
    assert encode(message) == data


def test_an_error_of_rfc_3489_is_filled_to_four_bytes() -> None:
    message = StunMessage(
        message_class=MessageClass.ERROR,
        transaction_id=bytes(16),
        error=(420, "Unknown"),
        unknown=(0x0002,),
    )
    data = encode(message)
    assert data[20:].hex() == "0009000c00000414" + b"Unknown ".hex() + "000a000400020002"
    assert decode(data) == message


def test_a_modern_error() -> None:
    message = StunMessage(
        message_class=MessageClass.ERROR,
        transaction_id=TRANSACTION_ID,
        error=(420, "Unknown"),
        unknown=(0x0002,),
    )
    data = encode(message)
    assert data[20:].hex() == "0009000b00000414" + b"Unknown".hex() + "00" + "000a000200020000"


def test_response_port_is_read_with_and_without_its_padding() -> None:
    long, short = bytes.fromhex("002700041f900000"), bytes.fromhex("002700021f900000")
    assert decode(message_of(long)).response_port == 8080
    assert decode(message_of(short)).response_port == 8080
    assert encode(replace(REQUEST, response_port=8080)) == message_of(long)


def test_the_attributes_of_rfc_5780_have_their_types() -> None:
    message = replace(
        REQUEST,
        response_origin=("192.0.2.1", 1),
        other_address=("192.0.2.2", 2),
        change_request=Change.PORT,
        padding=4,
    )
    assert encode(message)[20:].hex() == (
        "802b000800010001c0000201802c000800010002c0000202" + "0003000400000002" + "0026000400000000"
    )


def test_of_two_the_first_counts() -> None:
    ports = bytes.fromhex("0027000400010000" + "0027000400020000")
    others = bytes.fromhex("7000000101000000" + "7000000102000000")
    message = decode(message_of(ports + others))
    assert message.response_port == 1
    assert message.others == ((0x7000, b"\1"),)


def test_what_must_be_understood_is_named() -> None:
    message = decode(message_of(bytes.fromhex("7000000080ff0000" + "7fff0000ffff0000")))
    assert message.unknown_required == (0x7000, 0x7FFF)


def test_what_follows_the_integrity_is_passed_over() -> None:
    signed = encode(replace(REQUEST, software="a"), integrity_key=KEY)
    late = bytes.fromhex("0006000162000000" + "7000000000010000")
    data = signed[:2] + (len(signed) - 20 + len(late)).to_bytes(2, "big") + signed[4:] + late
    assert decode(data) == replace(REQUEST, software="a")
    assert verify_integrity(data, KEY)


def test_an_integrity_behind_the_sha256_one_does_not_count() -> None:
    signed = encode(REQUEST, sha256_key=KEY)
    both = encode(decode(signed), integrity_key=KEY)
    data = signed[:2] + (len(signed) - 20 + 24).to_bytes(2, "big") + signed[4:] + both[-24:]
    assert verify_integrity_sha256(data, KEY)
    assert not verify_integrity(data, KEY)


def test_an_unsigned_message_is_not_verified() -> None:
    assert not verify_integrity(encode(REQUEST), KEY)
    assert not verify_integrity_sha256(encode(REQUEST), KEY)


@pytest.mark.parametrize("data", [b"", encode(REQUEST) + b"\x80\x22", encode(REQUEST)[:-1]])
def test_what_is_no_message_has_no_integrity_to_verify(data: bytes) -> None:
    with pytest.raises(StunError):
        verify_integrity(data, KEY)
    with pytest.raises(StunError):
        verify_integrity_sha256(data, KEY)


def test_an_ipv4_mapped_address_is_the_ipv4_one() -> None:
    value = bytes.fromhex("00020050" + "00000000000000000000ffffc0000201")
    data = message_of(write_attribute(AttributeType.MAPPED_ADDRESS, value))
    assert decode(data).mapped == ("192.0.2.1", 80)
    mapped = replace(REQUEST, mapped=("::ffff:192.0.2.1", 80))
    assert encode(mapped) == encode(replace(REQUEST, mapped=("192.0.2.1", 80)))


def test_text_for_people_may_be_misspelt() -> None:
    """A server that writes Latin-1 is still heard."""
    assert decode(message_of(bytes.fromhex("80220001ff000000"))).software == "\ufffd"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(encode(REQUEST)[:-1], id="within the header"),
        pytest.param(b"\x40" + encode(REQUEST)[1:], id="first two bits"),
        pytest.param(encode(REQUEST) + b"\0\0\0\0", id="bytes behind it"),
        pytest.param(b"\0\1\0\4" + encode(REQUEST)[4:], id="length beyond the datagram"),
        pytest.param(message_of(b"\x80\x22"), id="half an attribute"),
        pytest.param(message_of(bytes.fromhex("80220005") + b"abcd"), id="attribute too long"),
        pytest.param(message_of(bytes.fromhex("0001000400010050")), id="address too short"),
        pytest.param(message_of(bytes.fromhex("00200000")), id="XOR address of no bytes"),
        pytest.param(message_of(bytes.fromhex("000100080002005001020304")), id="family and size"),
        pytest.param(message_of(bytes.fromhex("000100080003005001020304")), id="no family"),
        pytest.param(message_of(bytes.fromhex("0003000200060000")), id="CHANGE-REQUEST's size"),
        pytest.param(message_of(bytes.fromhex("0027000100060000")), id="RESPONSE-PORT's size"),
        pytest.param(message_of(bytes.fromhex("0009000400000200")), id="error class 2"),
        pytest.param(message_of(bytes.fromhex("0009000400000464")), id="error number 100"),
        pytest.param(message_of(bytes.fromhex("0009000200000000")), id="ERROR-CODE's size"),
        pytest.param(message_of(bytes.fromhex("000a000300010200")), id="odd list of types"),
        pytest.param(message_of(bytes.fromhex("00060001ff000000")), id="USERNAME not UTF-8"),
        pytest.param(message_of(write_attribute(0x0006, b"a" * 509)), id="USERNAME too long"),
        pytest.param(message_of(write_attribute(0x0014, b"a" * 764)), id="REALM too long"),
        pytest.param(message_of(write_attribute(0x8022, b"a" * 764)), id="SOFTWARE too long"),
        pytest.param(message_of(bytes.fromhex("8028000400000000")), id="wrong FINGERPRINT"),
        pytest.param(message_of(bytes.fromhex("80280000")), id="empty FINGERPRINT"),
        pytest.param(
            message_of(encode(replace(REQUEST, fingerprint=True))[20:] + bytes(4)),
            id="something behind FINGERPRINT",
        ),
        pytest.param(
            message_of(bytes.fromhex("ffff0000") * (MAX_ATTRIBUTES + 1)), id="too many attributes"
        ),
    ],
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(StunError):
        decode(data)


def test_as_many_attributes_as_are_allowed() -> None:
    decode(message_of(bytes.fromhex("ffff0000") * MAX_ATTRIBUTES))


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(replace(REQUEST, transaction_id=bytes(11)), id="transaction id"),
        pytest.param(
            replace(REQUEST, transaction_id=bytes.fromhex("2112a442") + bytes(12)),
            id="a classic id that begins with the cookie",
        ),
        pytest.param(replace(REQUEST, method=0x1000), id="method"),
        pytest.param(replace(REQUEST, mapped=("example.org", 80)), id="a name"),
        pytest.param(replace(REQUEST, xor_mapped=("192.0.2.1", 65536)), id="port"),
        pytest.param(replace(REQUEST, response_port=-1), id="response port"),
        pytest.param(replace(REQUEST, padding=-1), id="negative padding"),
        pytest.param(replace(REQUEST, padding=65_536), id="padding"),
        pytest.param(replace(REQUEST, padding=65_532), id="in all"),
        pytest.param(replace(REQUEST, padding=65_528, fingerprint=True), id="with fingerprint"),
        pytest.param(replace(REQUEST, error=(200, "OK")), id="error code"),
        pytest.param(replace(REQUEST, unknown=(65_536,)), id="types"),
        pytest.param(replace(REQUEST, others=((65_536, b""),)), id="type"),
        pytest.param(replace(REQUEST, username="a" * 509), id="username"),
        pytest.param(replace(REQUEST, software="a" * 764), id="software"),
        pytest.param(replace(REQUEST, realm="\ud800"), id="a lone surrogate"),
    ],
)
def test_what_has_no_form_on_the_wire_is_refused(message: StunMessage) -> None:
    with pytest.raises(StunError):
        encode(message)
