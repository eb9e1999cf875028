"""The test vectors of RFC 5769: decoded, verified, and written again."""

import hashlib
import hmac

import pytest
from msgspec.structs import replace

from p2ptui.wire.stun import MessageClass, StunError, StunMessage, decode, encode, is_stun
from p2ptui.wire.stun_integrity import (
    long_term_key,
    short_term_key,
    verify_integrity,
    verify_integrity_sha256,
)

TRANSACTION_ID = bytes.fromhex("b7e7a701bc34d686fa87dfae")
PASSWORD = "VOkJxbRl1RmTxUk/WvJxBt"

REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff"
    "80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
IPV4_RESPONSE = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
IPV6_RESPONSE = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)
LONG_TERM_REQUEST = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e"
    "00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "0014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)
SHORT_TERM = pytest.mark.parametrize("vector", [REQUEST, IPV4_RESPONSE, IPV6_RESPONSE])

REQUEST_MESSAGE = StunMessage(
    message_class=MessageClass.REQUEST,
    transaction_id=TRANSACTION_ID,
    software="STUN test client",
    username="evtj:h6vY",
    others=((0x0024, bytes.fromhex("6e0001ff")), (0x8029, bytes.fromhex("932ff9b151263b36"))),
    fingerprint=True,
)
IPV4_MESSAGE = StunMessage(
    message_class=MessageClass.SUCCESS,
    transaction_id=TRANSACTION_ID,
    software="test vector",
    xor_mapped=("192.0.2.1", 32853),
    fingerprint=True,
)
IPV6_MESSAGE = replace(IPV4_MESSAGE, xor_mapped=("2001:db8:1234:5678:11:2233:4455:6677", 32853))
LONG_TERM_MESSAGE = StunMessage(
    message_class=MessageClass.REQUEST,
    transaction_id=bytes.fromhex("78ad3433c6ad72c029da412e"),
    username="マトリックス",
    nonce="f//499k954d6OL34oL9FSTvy64sA",
    realm="example.org",
)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (REQUEST, REQUEST_MESSAGE),
        (IPV4_RESPONSE, IPV4_MESSAGE),
        (IPV6_RESPONSE, IPV6_MESSAGE),
        (LONG_TERM_REQUEST, LONG_TERM_MESSAGE),
    ],
    ids=["2.1", "2.2", "2.3", "2.4"],
)
def test_a_vector_says_what_the_rfc_says(vector: bytes, message: StunMessage) -> None:
    assert is_stun(vector)
    assert decode(vector) == message


@SHORT_TERM
def test_short_term_integrity(vector: bytes) -> None:
    assert verify_integrity(vector, short_term_key(PASSWORD))
    assert not verify_integrity(vector, short_term_key(PASSWORD + "x"))
    assert not verify_integrity_sha256(vector, short_term_key(PASSWORD))


@SHORT_TERM
def test_a_vector_is_written_again_but_for_its_padding(vector: bytes) -> None:
    """The RFC pads with spaces, this codec with zeros; both HMAC and CRC cover the padding."""
    protected = len(vector) - 24 - 8
    written = encode(decode(vector), integrity_key=short_term_key(PASSWORD))

    assert len(written) == len(vector)
    differing = {i for i in range(protected) if written[i] != vector[i]}
    assert {(written[i], vector[i]) for i in differing} == ({(0, 0x20)} if differing else set())
    assert verify_integrity(written, short_term_key(PASSWORD))
    assert decode(written) == decode(vector)


def test_long_term_integrity_and_the_very_same_bytes() -> None:
    key = long_term_key("マトリックス", "example.org", "TheMatrIX")
    assert verify_integrity(LONG_TERM_REQUEST, key)
    assert encode(LONG_TERM_MESSAGE, integrity_key=key) == LONG_TERM_REQUEST


@SHORT_TERM
def test_any_changed_byte_is_seen_by_the_fingerprint(vector: bytes) -> None:
    for index in range(20, len(vector)):
        changed = bytearray(vector)
        changed[index] ^= 0x55
        try:
            message = decode(bytes(changed))
        except StunError:
            continue
        # Only the fingerprint itself may have become something else.
        assert not message.fingerprint


def test_sha256_covers_what_is_before_it_with_the_length_up_to_it() -> None:
    key = short_term_key(PASSWORD)
    message = replace(IPV4_MESSAGE, fingerprint=False)
    bare = encode(message)

    signed = encode(replace(message, fingerprint=True), integrity_key=key, sha256_key=key)

    before = signed[:-8][: len(bare) + 24]
    length = (len(before) - 20 + 36).to_bytes(2, "big")
    expected = hmac.new(key, before[:2] + length + before[4:], hashlib.sha256).digest()
    assert signed[len(before) : -8] == bytes.fromhex("001c0020") + expected
    assert verify_integrity(signed, key)
    assert verify_integrity_sha256(signed, key)
    assert not verify_integrity_sha256(signed, key + b"x")
    assert decode(signed) == replace(message, fingerprint=True)


@pytest.mark.parametrize(
    ("size", "verified"), [(12, False), (16, True), (18, False), (20, True), (28, True)]
)
def test_sha256_may_be_truncated_to_sixteen_bytes(size: int, verified: bool) -> None:
    key = short_term_key(PASSWORD)
    bare = encode(replace(IPV4_MESSAGE, fingerprint=False))
    padded = size + (-size & 3)
    head = bare[:2] + (len(bare) - 20 + 4 + padded).to_bytes(2, "big") + bare[4:]
    value = hmac.new(key, head, hashlib.sha256).digest()[:size]

    data = head + b"\0\x1c" + size.to_bytes(2, "big") + value + bytes(padded - size)

    assert verify_integrity_sha256(data, key) is verified


def test_passwords_are_prepared() -> None:
    """OpaqueString: spaces of any kind are one, and a composed letter equals its parts."""
    assert short_term_key("a\u3000e\u0301") == "a é".encode()
    assert long_term_key("u", "r", "e\u0301") == hashlib.md5("u:r:é".encode()).digest()
