"""The published vectors of Noise, by cacophony and snow: each byte of each message."""

import json
import os
from pathlib import Path

import pytest

from p2ptui.secure.noise import PATTERNS, HandshakeState, KeyPair

BESIDE = Path(__file__).parents[3] / "shared" / "noise-vectors.json"
PATH = Path(os.environ.get("P2PTUI_NOISE_VECTORS", BESIDE))


def vectors():
    if not PATH.exists():
        reason = f"the published vectors are not at {PATH} (or P2PTUI_NOISE_VECTORS)"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason), id="none")]
    found = json.loads(PATH.read_text("utf-8"))["vectors"]
    return [pytest.param(one, id=f"{one['protocol_name']}-{one['source']}") for one in found]


def key(vector, name):
    return KeyPair.from_private(bytes.fromhex(vector[name])) if name in vector else None


def side(vector, pattern, who):
    ours = who == "init"
    known = vector.get("init_remote_static")
    needs_s = any("s" in tokens for tokens in pattern.messages) or not ours
    return HandshakeState(
        pattern,
        initiator=ours,
        prologue=bytes.fromhex(vector[f"{who}_prologue"]),
        s=key(vector, f"{who}_static") if needs_s else None,
        e=key(vector, f"{who}_ephemeral"),
        rs=bytes.fromhex(known) if ours and known else None,
        psks=[bytes.fromhex(psk) for psk in vector.get(f"{who}_psks", [])],
    )


@pytest.mark.parametrize("vector", vectors())
def test_a_published_vector(vector):
    pattern = PATTERNS[vector["protocol_name"].split("_")[1]]
    assert pattern.protocol_name.decode() == vector["protocol_name"]
    initiator, responder = side(vector, pattern, "init"), side(vector, pattern, "resp")
    count = len(pattern.messages)
    messages = [
        (bytes.fromhex(one["payload"]), bytes.fromhex(one["ciphertext"]))
        for one in vector["messages"]
    ]
    for number, (payload, ciphertext) in enumerate(messages[:count]):
        writer, reader = (initiator, responder) if number % 2 == 0 else (responder, initiator)
        assert writer.write_message(payload) == ciphertext
        assert reader.read_message(ciphertext) == payload

    named = initiator.get_handshake_hash()
    assert responder.get_handshake_hash() == named
    assert vector.get("handshake_hash", named.hex()) == named.hex()
    ours, theirs = initiator.split(), responder.split()
    for number, (payload, ciphertext) in enumerate(messages[count:], count):
        way = 0 if pattern.is_one_way else number % 2
        assert ours[way].copy().key == theirs[way].key
        writer, reader = (ours, theirs) if way == 0 else (theirs, ours)
        assert writer[way].encrypt_with_ad(b"", payload) == ciphertext
        assert reader[way].decrypt_with_ad(b"", ciphertext) == payload


def test_all_patterns_in_use_are_published_ones():
    if not PATH.exists():
        pytest.skip(f"the published vectors are not at {PATH}")
    found = json.loads(PATH.read_text("utf-8"))["vectors"]
    assert {one["protocol_name"].split("_")[1] for one in found} == PATTERNS.keys()
