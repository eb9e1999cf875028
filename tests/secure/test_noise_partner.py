"""Handshakes with a Noise that others wrote, in both roles: what they write is read, and back."""

import random

import pytest
from noise.connection import Keypair, NoiseConnection

from p2ptui.secure.noise import PATTERNS, HandshakeState, KeyPair

PATTERN_NAMES = sorted(PATTERNS)


class Partner:
    """The other implementation, with the calls of ours."""

    def __init__(self, pattern, *, initiator, prologue, s, rs, psks):
        self.connection = NoiseConnection.from_name(pattern.protocol_name)
        if initiator:
            self.connection.set_as_initiator()
        else:
            self.connection.set_as_responder()
        self.connection.set_prologue(prologue)
        self.connection.set_keypair_from_private_bytes(Keypair.STATIC, s.private)
        if rs is not None:
            self.connection.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, rs)
        if psks:
            self.connection.set_psks(psks=psks)
        self.connection.start_handshake()

    def write_message(self, payload):
        return bytes(self.connection.write_message(payload))

    def read_message(self, message):
        return bytes(self.connection.read_message(message))

    def get_handshake_hash(self):
        return bytes(self.connection.get_handshake_hash())


def handshake(name, is_initiator, chance):
    """Ours and theirs after a handshake with random payloads."""
    pattern = PATTERNS[name]
    prologue = chance.randbytes(chance.choice([0, 1, 40, 1_000]))
    ours, theirs = KeyPair.generate(), KeyPair.generate()
    psks = [chance.randbytes(32) for _ in range(pattern.psks)]
    common = {"prologue": prologue, "psks": psks}
    our_rs = theirs.public if pattern.is_static_known and is_initiator else None
    their_rs = ours.public if pattern.is_static_known and not is_initiator else None
    us = HandshakeState(pattern, initiator=is_initiator, s=ours, rs=our_rs, **common)
    them = Partner(pattern, initiator=not is_initiator, s=theirs, rs=their_rs, **common)
    turns = [(us, them), (them, us)] if is_initiator else [(them, us), (us, them)]
    for number in range(len(pattern.messages)):
        writer, reader = turns[number % 2]
        payload = chance.randbytes(chance.choice([0, 1, 100, 1_200, 30_000]))
        assert reader.read_message(writer.write_message(payload)) == payload
    assert us.get_handshake_hash() == them.get_handshake_hash()
    if not (pattern.is_one_way and is_initiator):
        assert us.remote_static == theirs.public
    return us, them


@pytest.mark.parametrize("is_initiator", [True, False], ids=["initiator", "responder"])
@pytest.mark.parametrize("name", PATTERN_NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_a_handshake_and_messages_after_it(name, is_initiator, seed):
    chance = random.Random(f"{name} {is_initiator} {seed}")
    us, them = handshake(name, is_initiator, chance)
    first, second = us.split()
    sending, receiving = (first, second) if is_initiator else (second, first)
    is_one_way = PATTERNS[name].is_one_way
    for _ in range(20):
        text = chance.randbytes(chance.choice([0, 1, 100, 1_200, 65_519]))
        if is_initiator or not is_one_way:
            assert them.connection.decrypt(sending.encrypt_with_ad(b"", text)) == text
        if not is_initiator or not is_one_way:
            assert receiving.decrypt_with_ad(b"", them.connection.encrypt(text)) == text


@pytest.mark.parametrize("is_initiator", [True, False], ids=["initiator", "responder"])
def test_both_take_the_same_next_key(is_initiator):
    us, them = handshake("XX", is_initiator, random.Random(1))
    first, second = us.split()
    sending, receiving = (first, second) if is_initiator else (second, first)
    sending.rekey()
    them.connection.rekey_inbound_cipher()
    assert them.connection.decrypt(sending.encrypt_with_ad(b"", b"one")) == b"one"
    receiving.rekey()
    them.connection.rekey_outbound_cipher()
    assert receiving.decrypt_with_ad(b"", them.connection.encrypt(b"two")) == b"two"
