"""Keys from a seed, the id that they make, and statements that others can check."""

import base64
import hashlib
import subprocess
import sys
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.secure.identity import (
    SHORT_STATEMENT_BYTES,
    STATEMENT_LIFE_S,
    STATEMENT_SKEW_S,
    Identity,
    Statement,
    StatementError,
    id_of,
    make_statement,
    read_statement,
    verify,
)
from p2ptui.secure.secret import Secret

NOW = 1_795_000_000.0
MINE = Identity(Secret(bytes(range(32))))
OTHER = Identity(Secret(bytes(32)))


def test_the_same_seed_makes_the_same_node_on_every_machine():
    again = Identity(Secret(bytes(range(32))))
    assert again.id == MINE.id == "3abdbb42-4843-83b4-a0ab-24769169d402"
    assert again.keys == MINE.keys != OTHER.keys
    assert MINE.x_public != MINE.ed_public


def test_the_keys_are_those_of_hkdf():
    """RFC 5869 in a few lines, by another hand than that of the product."""
    import hmac

    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    extracted = hmac.digest(b"p2ptui identity 1\0", bytes(range(32)), "sha256")
    expanded = hmac.digest(extracted, b"x25519\1", "sha256")
    assert MINE.x_private_bytes.reveal() == expanded
    public = X25519PrivateKey.from_private_bytes(expanded).public_key().public_bytes_raw()
    assert public == MINE.x_public


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_an_id_is_a_uuid_of_version_8_that_depends_on_both_keys(x_public, ed_public):
    made = uuid.UUID(id_of(x_public, ed_public))
    assert made.version == 8
    assert made.variant == uuid.RFC_4122
    digest = hashlib.sha256(b"p2ptui node id 1\0" + x_public + ed_public).digest()
    assert made.bytes[:6] == digest[:6]
    assert made.bytes[9:] == digest[9:16]
    if x_public != ed_public:
        assert str(made) != id_of(ed_public, x_public)


@pytest.mark.parametrize("sizes", [(31, 32), (32, 33), (0, 64), (64, 0)])
def test_keys_of_another_size_make_no_id(sizes):
    with pytest.raises(ValueError, match="32 bytes"):
        id_of(bytes(sizes[0]), bytes(sizes[1]))


def test_a_short_seed_makes_no_identity():
    with pytest.raises(ValueError, match="32 bytes"):
        Identity(Secret(bytes(31)))


def test_no_key_is_shown():
    shown = f"{MINE!r} {MINE} {MINE.x_private_bytes!r}"
    assert MINE.x_private_bytes.reveal().hex() not in shown
    assert shown == f"Identity({MINE.id}) Identity({MINE.id}) Secret(hidden)"


def test_a_signature_is_that_of_one_key_over_one_text():
    signature = MINE.sign(b"text")
    assert verify(MINE.ed_public, signature, b"text")
    assert not verify(MINE.ed_public, signature, b"another")
    assert not verify(OTHER.ed_public, signature, b"text")
    assert not verify(b"short", signature, b"text")
    assert not verify(MINE.ed_public, signature[:-1], b"text")


def test_a_statement_says_whose_ephemeral_node_it_is():
    statement = make_statement(MINE, OTHER.id, NOW)
    read = read_statement(statement.to_text(), OTHER.id, NOW + 1)
    assert read == statement
    assert read.signer.id == MINE.id
    assert len(statement.to_text()) == 204


@pytest.mark.parametrize("now", [NOW + STATEMENT_LIFE_S, NOW, NOW - STATEMENT_SKEW_S])
def test_a_statement_is_valid_for_a_day_and_from_a_clock_that_is_hours_ahead(now):
    assert read_statement(make_statement(MINE, OTHER.id, NOW).to_text(), OTHER.id, now)


@pytest.mark.parametrize("now", [-1e9, -STATEMENT_LIFE_S - 0.5, -1.0])
def test_before_1970_a_statement_is_made_and_is_worth_nothing_later(now):
    statement = make_statement(MINE, OTHER.id, now)
    assert statement.expires_at == max(int(now + STATEMENT_LIFE_S), 0)
    assert len(statement.to_bytes()) == SHORT_STATEMENT_BYTES
    with pytest.raises(StatementError, match="expired"):
        read_statement(statement.to_text(), OTHER.id, NOW)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (NOW + STATEMENT_LIFE_S + 1, "expired"),
        (NOW - STATEMENT_SKEW_S - 1, "for too long"),
    ],
)
def test_a_statement_holds_for_a_time(now, said):
    text = make_statement(MINE, OTHER.id, NOW).to_text()
    with pytest.raises(StatementError, match=said):
        read_statement(text, OTHER.id, now)


def test_a_statement_about_another_node_is_refused():
    text = make_statement(MINE, OTHER.id, NOW).to_text()
    with pytest.raises(StatementError, match="another node"):
        read_statement(text, MINE.id, NOW)


def test_a_statement_in_the_name_of_another_is_refused():
    own = make_statement(OTHER, OTHER.id, NOW)
    forged = Statement(own.kind, MINE.keys, own.subject, own.expires_at, own.signature)
    with pytest.raises(StatementError, match="not signed"):
        read_statement(forged.to_text(), OTHER.id, NOW)


def test_no_bit_of_a_statement_can_be_changed():
    raw = base64.urlsafe_b64decode(make_statement(MINE, OTHER.id, NOW).to_text())
    for bit in range(0, 8 * len(raw), 5):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StatementError):
            read_statement(base64.urlsafe_b64encode(changed).decode(), OTHER.id, NOW)


@given(st.text(max_size=300) | st.text("abAB01-_=+/", min_size=204, max_size=204))
def test_what_is_no_statement_is_refused(text):
    with pytest.raises(StatementError):
        read_statement(text, OTHER.id, NOW)


def test_cryptography_is_loaded_when_it_is_needed():
    program = (
        "import sys, p2ptui.secure.identity, p2ptui.secure.known_nodes, p2ptui.cli;"
        "sys.exit('cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
