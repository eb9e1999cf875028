"""What a handshake refuses, that it goes on afterwards, and the edges of its keys."""

import pytest

from p2ptui.secure.errors import Reason, SecureError
from p2ptui.secure.noise import (
    MAX_MESSAGE_BYTES,
    TAG_BYTES,
    XX,
    CipherState,
    HandshakeState,
    KeyPair,
    SymmetricState,
    X,
    Xpsk1,
    XXpsk3,
)
from p2ptui.secure.noise.primitives import MAX_NONCE

PSK = b"k" * 32
INSIDE = [b"", b"inside 2", b"inside 3"]
LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]
"""The public keys of low order that RFC 7748 and its readers list."""


def two_sides(pattern=XX, psk=PSK, other_psk=PSK, prologue=b"p", other_prologue=b"p"):
    a, b = KeyPair.generate(), KeyPair.generate()
    psks, other_psks = ([psk], [other_psk]) if pattern.psks else ([], [])
    rs = b.public if pattern.is_static_known else None
    return (
        HandshakeState(pattern, initiator=True, prologue=prologue, s=a, rs=rs, psks=psks),
        HandshakeState(pattern, initiator=False, prologue=other_prologue, s=b, psks=other_psks),
    )


def before_message(number, pattern, **settings):
    """The sides where message `number` comes next, its reader second; and that message."""
    initiator, responder = two_sides(pattern, **settings)
    turns = [(initiator, responder), (responder, initiator)]
    for count in range(number):
        writer, reader = turns[count % 2]
        message = writer.write_message(INSIDE[count])
        if count == number - 1:
            return reader, message
        reader.read_message(message)
    raise AssertionError


EACH = [(pattern, number) for pattern in (XX, XXpsk3) for number in (1, 2, 3)]
EACH += [(pattern, 1) for pattern in (X, Xpsk1)]
EACH_IDS = [f"{pattern.name}-{number}" for pattern, number in EACH]


def refused(reader, message):
    with pytest.raises(SecureError) as caught:
        reader.read_message(message)
    return caught.value.reason


@pytest.mark.parametrize(("pattern", "number"), EACH, ids=EACH_IDS)
def test_each_cut_is_refused_and_the_whole_message_still_read(pattern, number):
    reader, message = before_message(number, pattern)
    for length in range(len(message)):
        if pattern is XX and number == 1 and length >= 32:
            continue  # its payload is in the clear, and only the next message shows a change
        assert refused(reader, message[:length]) in (Reason.MALFORMED, Reason.ALTERED)
    assert reader.read_message(message) == INSIDE[number - 1]


@pytest.mark.parametrize("bit", [0x01, 0x80])
@pytest.mark.parametrize(("pattern", "number"), EACH[1:], ids=EACH_IDS[1:])
def test_each_flipped_byte_is_refused_and_the_true_message_still_read(pattern, number, bit):
    """Of the first message of XX, which nothing protects, the test below."""
    reader, message = before_message(number, pattern)
    for place in range(len(message)):
        flipped = bytearray(message)
        flipped[place] ^= bit
        assert refused(reader, bytes(flipped)) in (Reason.ALTERED, Reason.BAD_KEY)
    assert refused(reader, message + b"\0") is Reason.ALTERED
    assert reader.read_message(message) == INSIDE[number - 1]


@pytest.mark.parametrize("bit", [0x01, 0x80])
@pytest.mark.parametrize("place", range(32))
def test_a_first_message_that_was_altered_has_no_second(place, bit):
    initiator, responder = two_sides()
    message = bytearray(initiator.write_message())
    message[place] ^= bit
    responder.read_message(bytes(message))
    answer = responder.write_message(b"inside")
    assert refused(initiator, answer) is Reason.ALTERED


@pytest.mark.parametrize(("pattern", "number"), EACH, ids=EACH_IDS)
def test_a_message_of_another_handshake_is_refused(pattern, number):
    reader, message = before_message(number, pattern)
    _, foreign = before_message(number, pattern)
    if (pattern, number) == (XX, 1) or (pattern, number) == (XXpsk3, 1):
        assert reader.read_message(foreign) == b""  # anybody may ask
        return
    assert refused(reader, foreign) is Reason.ALTERED
    assert reader.read_message(message) == INSIDE[number - 1]


@pytest.mark.parametrize(("pattern", "number"), EACH, ids=EACH_IDS)
def test_a_message_that_comes_again_is_refused(pattern, number):
    reader, message = before_message(number, pattern)
    reader.read_message(message)
    assert refused(reader, message) is Reason.OUT_OF_TURN


@pytest.mark.parametrize("pattern", [XX, XXpsk3], ids=["XX", "XXpsk3"])
def test_no_message_is_taken_for_another(pattern):
    initiator, responder = two_sides(pattern)
    first = initiator.write_message()
    assert refused(initiator, first) is not None  # its own, thrown back
    responder.read_message(first)
    second = responder.write_message(b"inside")
    assert refused(responder, second) is not None
    initiator.read_message(second)
    third = initiator.write_message(b"inside")
    assert refused(responder, first) is not None
    responder.read_message(third)


def test_another_network_key_is_told_from_noise_at_the_end():
    initiator, responder = two_sides(XXpsk3, other_psk=b"o" * 32)
    responder.read_message(initiator.write_message())
    initiator.read_message(responder.write_message(b"inside"))
    third = initiator.write_message(b"inside")
    assert refused(responder, bytes(len(third))) is Reason.ALTERED
    assert not responder.has_read_static
    assert refused(responder, third) is Reason.ALTERED
    assert responder.has_read_static


@pytest.mark.parametrize("psks", [{}, {"other_psk": b"o" * 32}])
@pytest.mark.parametrize("pattern", [X, Xpsk1], ids=["X", "Xpsk1"])
def test_one_message_for_one_key(pattern, psks):
    reader, message = before_message(1, pattern, **psks)
    if psks and pattern is Xpsk1:
        assert refused(reader, message) is Reason.ALTERED
    else:
        assert reader.read_message(message) == b""
    stranger = HandshakeState(
        pattern, initiator=False, prologue=b"p", s=KeyPair.generate(), psks=[PSK] * pattern.psks
    )
    assert refused(stranger, message) is Reason.ALTERED


@pytest.mark.parametrize("pattern", [XX, XXpsk3, X], ids=["XX", "XXpsk3", "X"])
def test_another_prologue_is_refused(pattern):
    initiator, responder = two_sides(pattern, other_prologue=b"q")
    first = initiator.write_message()
    if pattern is XX:
        responder.read_message(first)
        assert refused(initiator, responder.write_message()) is Reason.ALTERED
    else:
        assert refused(responder, first) is Reason.ALTERED


@pytest.mark.parametrize("key", LOW_ORDER)
def test_a_key_that_shares_no_secret_is_refused(key):
    public = bytes.fromhex(key)
    with pytest.raises(SecureError) as caught:
        KeyPair.generate().dh(public)
    assert caught.value.reason is Reason.BAD_KEY

    _, responder = two_sides()
    responder.read_message(public)
    with pytest.raises(SecureError) as caught:
        responder.write_message(b"inside")
    assert caught.value.reason is Reason.BAD_KEY

    initiator, _ = two_sides()
    initiator.write_message()
    assert refused(initiator, public + bytes(64)) is Reason.BAD_KEY


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_refused(length):
    for make in (
        lambda: KeyPair.from_private(bytes(length)),
        lambda: KeyPair(bytes(length), bytes(32)),
        lambda: KeyPair(bytes(32), bytes(length)),
        lambda: KeyPair.generate().dh(bytes(length)),
        lambda: CipherState(bytes(length)),
        lambda: two_sides(XXpsk3, psk=bytes(length)),
        lambda: HandshakeState(X, initiator=True, s=KeyPair.generate(), rs=bytes(length)),
    ):
        with pytest.raises(SecureError) as caught:
            make()
        assert caught.value.reason is Reason.BAD_KEY


def test_what_is_missing_is_said():
    with pytest.raises(SecureError, match="takes 1 pre-shared keys, not 0"):
        HandshakeState(XXpsk3, initiator=True)
    with pytest.raises(SecureError, match="takes 0 pre-shared keys, not 1"):
        HandshakeState(XX, initiator=True, psks=[PSK])
    with pytest.raises(SecureError, match="needs the other side's key"):
        HandshakeState(X, initiator=True, s=KeyPair.generate())
    with pytest.raises(SecureError, match="needs a static key pair"):
        HandshakeState(X, initiator=False)
    without = HandshakeState(XX, initiator=False)
    without.read_message(bytes([9]) + bytes(31))
    with pytest.raises(SecureError, match="needs a static key pair"):
        without.write_message()


def test_the_end_comes_at_the_end():
    initiator, responder = two_sides()
    for call in (initiator.split, initiator.get_handshake_hash, responder.write_message):
        with pytest.raises(SecureError) as caught:
            call()
        assert caught.value.reason is Reason.OUT_OF_TURN
    assert not initiator.is_over


@pytest.mark.parametrize("pattern", [XX, XXpsk3], ids=["XX", "XXpsk3"])
def test_the_longest_message_and_one_byte_more(pattern):
    initiator, responder = two_sides(pattern)
    first = MAX_MESSAGE_BYTES - 32 - (TAG_BYTES if pattern is XXpsk3 else 0)
    with pytest.raises(SecureError) as caught:
        initiator.write_message(bytes(first + 1))
    assert caught.value.reason is Reason.TOO_LONG
    message = initiator.write_message(bytes(first))  # the refused one has changed nothing
    assert len(message) == MAX_MESSAGE_BYTES
    assert responder.read_message(message) == bytes(first)
    assert refused(initiator, bytes(MAX_MESSAGE_BYTES + 1)) is Reason.TOO_LONG


def test_a_cipher_stops_before_its_counter_wraps():
    cipher, other = CipherState(PSK), CipherState(PSK)
    for one in (cipher, other):
        one.set_nonce(MAX_NONCE - 1)
    sealed = cipher.encrypt_with_ad(b"", b"last")
    assert other.decrypt_with_ad(b"", sealed) == b"last"
    for call in (cipher.encrypt_with_ad, other.decrypt_with_ad):
        with pytest.raises(SecureError) as caught:
            call(b"", sealed)
        assert caught.value.reason is Reason.EXHAUSTED
    for nonce in (-1, MAX_NONCE + 1):
        with pytest.raises(SecureError):
            cipher.set_nonce(nonce)


def test_a_cipher_keeps_its_nonce_where_something_does_not_authenticate():
    cipher, other = CipherState(PSK), CipherState(PSK)
    sealed = cipher.encrypt_with_ad(b"ad", b"text")
    for ad, data in ((b"da", sealed), (b"ad", sealed[:-1]), (b"ad", b""), (b"ad", sealed[::-1])):
        with pytest.raises(SecureError) as caught:
            other.decrypt_with_ad(ad, data)
        assert caught.value.reason is Reason.ALTERED
    assert other.decrypt_with_ad(b"ad", sealed) == b"text"
    with pytest.raises(SecureError) as caught:
        cipher.encrypt_with_ad(b"", bytes(MAX_MESSAGE_BYTES - TAG_BYTES + 1))
    assert caught.value.reason is Reason.TOO_LONG
    with pytest.raises(SecureError) as caught:
        cipher.decrypt_with_ad(b"", bytes(MAX_MESSAGE_BYTES + 1))
    assert caught.value.reason is Reason.TOO_LONG


def test_a_cipher_without_a_key_passes_data_on():
    cipher = CipherState()
    assert not cipher.has_key()
    assert cipher.encrypt_with_ad(b"", b"text") == cipher.decrypt_with_ad(b"", b"text") == b"text"
    for call in (cipher.rekey, lambda: cipher.key):
        with pytest.raises(SecureError):
            call()


def test_a_short_name_is_filled_up_and_a_long_one_hashed():
    assert SymmetricState(b"short").get_handshake_hash() == b"short".ljust(32, b"\0")
    assert SymmetricState(b"l" * 32).get_handshake_hash() == b"l" * 32
    assert len(SymmetricState(b"l" * 33).get_handshake_hash()) == 32


def test_no_repr_shows_a_private_key():
    pair = KeyPair.generate()
    assert repr(pair.private) not in repr(pair)
    assert pair.private.hex() not in repr(pair)
    assert KeyPair.from_private(pair.private) == pair == KeyPair(pair.private, pair.public)
