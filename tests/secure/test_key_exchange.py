"""The key exchange in a request, a response and a frame: who is proved, and what is refused."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.secure import Initiator, Reason, Responder, SecureError, StaticKeys, prologue_of
from p2ptui.secure.exchange import (
    LABEL,
    MESSAGE_2_OVERHEAD,
    ephemeral_of,
    is_first_to_rekey,
)
from p2ptui.secure.frames import MIN_MESSAGE_3_BYTES
from p2ptui.secure.noise import KeyPair
from tests.secure.keyed import NETWORK_KEY, exchange, request_with, value_in

ALICE, BOB, MALLORY = (KeyPair.from_private(bytes([n]) * 32) for n in (1, 2, 3))
PSKS = pytest.mark.parametrize("psk", [None, NETWORK_KEY], ids=["XX", "XXpsk3"])


def asked(psk=None, number=7):
    initiator = Initiator(ALICE, number=number, psk=psk)
    return initiator, initiator.fill(request_with(initiator.placeholder))


def answered(psk=None):
    initiator, request = asked(psk)
    responder = Responder(request, value_in(request), BOB, psk=psk)
    return initiator, responder, responder.answer(b"about bob", number=9)


def refused(call, *arguments, **settings):
    with pytest.raises(SecureError) as caught:
        call(*arguments, **settings)
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value.reason


@PSKS
def test_both_know_each_other_and_what_was_inside(psk):
    done = exchange(psk)
    finished, completed = done.finished, done.completed
    assert (finished.remote_static, completed.remote_static) == (done.bob.public, done.alice.public)
    assert (finished.payload, completed.payload) == (b"about bob", b"about alice")
    assert finished.transport.keys.send == completed.transport.keys.receive
    assert finished.transport.keys.receive == completed.transport.keys.send
    assert finished.transport.local_number == completed.transport.remote_number == 0xA11CE
    assert finished.transport.remote_number == completed.transport.local_number == 0xB0B
    assert finished.transport.is_initiator
    assert not completed.transport.is_initiator
    for sender, receiver in (
        (finished.transport, completed.transport),
        (completed.transport, finished.transport),
    ):
        assert receiver.open(sender.seal(b"hello")) == b"hello"


@PSKS
def test_the_sizes_are_as_documented(psk):
    initiator, responder, text = answered(psk)
    assert len(base64.urlsafe_b64decode(text + "==")) == MESSAGE_2_OVERHEAD + len(b"about bob")
    initiator.read_answer(text)
    third = initiator.finish(b"about alice", 0.0).message_3
    assert len(third) == 68 + len(b"about alice")
    assert MIN_MESSAGE_3_BYTES <= 68
    assert responder.complete(third, 0.0).payload == b"about alice"


@PSKS
def test_the_pattern_is_named_and_a_request_stays_as_long(psk):
    initiator, request = asked(psk)
    pattern, _, text = value_in(request).partition(".")
    assert pattern == ("XX" if psk is None else "XXpsk3")
    assert len(request) == len(request_with(initiator.placeholder))
    assert len(text) == (43 if psk is None else 64)


@PSKS
def test_any_change_of_a_request_ends_in_a_refusal(psk):
    """Capabilities stripped, another name, one more key: whatever he does who carries it."""
    initiator, request = asked(psk)
    inside = json.loads(request)
    changes = [
        request.replace(b'["frames"]', b"[]"),
        request.replace(b"alice", b"alicf"),
        request.replace(b"{", b'{"extra": 1, ', 1),
        request + b" ",
        json.dumps(inside, separators=(",", ":")).encode(),
    ]
    for changed in changes:
        assert changed != request

        def through(changed=changed):
            responder = Responder(changed, value_in(changed), BOB, psk=psk)
            initiator.read_answer(responder.answer(b"", number=1))

        assert refused(through) is Reason.ALTERED
    responder = Responder(request, value_in(request), BOB, psk=psk)
    assert initiator.read_answer(responder.answer(b"about bob", number=9)).payload == b"about bob"


def test_a_value_stands_in_the_request_once_and_as_it_is():
    value = "XX." + "A" * 43
    good = request_with(value)
    assert prologue_of(good, value) == LABEL + good.replace(value.encode(), b"0" * len(value))
    bad = [
        b"",
        good[:-70],
        request_with(value[:-1]),
        request_with(value + "A"),
        request_with(value, again=value),
        good.replace(b"XX.", b"\\u0058X."),
        good.replace(value.encode(), value.encode() + b'","' + value.encode()),
    ]
    for datagram in bad:
        assert refused(prologue_of, datagram, value) is Reason.MALFORMED
    assert refused(prologue_of, b'""', "") is Reason.MALFORMED
    assert refused(prologue_of, b'"a"a"', "a") is Reason.MALFORMED


@given(st.binary(max_size=80), st.text(max_size=8))
def test_a_prologue_is_made_of_anything_or_refused(datagram, value):
    try:
        made = prologue_of(datagram, value)
    except SecureError:
        return
    assert len(made) == len(LABEL) + len(datagram)


def test_padding_of_zeros_is_no_placeholder():
    initiator = Initiator(ALICE, number=1)
    padded = request_with(initiator.placeholder, padding="0" * 300)
    request = initiator.fill(padded)
    Responder(request, value_in(request), BOB)
    twice = request_with(initiator.placeholder, padding=initiator.placeholder)
    assert refused(initiator.fill, twice) is Reason.MALFORMED
    assert refused(initiator.fill, b"{}") is Reason.MALFORMED


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", Reason.UNKNOWN_PATTERN),
        ("XX", Reason.MALFORMED),
        ("IK." + "A" * 43, Reason.UNKNOWN_PATTERN),
        ("X." + "A" * 43, Reason.UNKNOWN_PATTERN),
        ("xx." + "A" * 43, Reason.UNKNOWN_PATTERN),
        ("XX." + "A" * 42, Reason.MALFORMED),
        ("XX." + "A" * 44, Reason.MALFORMED),
        ("XX." + "A" * 64, Reason.MALFORMED),
        ("XX." + "A" * 42 + "B", Reason.MALFORMED),  # the same bytes, spelled otherwise
        ("XX." + "A" * 42 + "=", Reason.MALFORMED),
        ("XX." + "A" * 42 + "+", Reason.MALFORMED),
        ("XX." + "A" * 43 + "\n", Reason.MALFORMED),
        ("XX." + "A" * 42 + "Ä", Reason.MALFORMED),
        ("XXpsk3." + "A" * 43, Reason.MALFORMED),
        ("XXpsk3." + "A" * 64, Reason.ALTERED),
        ("XX." + "A" * 43, Reason.BAD_KEY),  # only zeros: refused when it is used
    ],
)
def test_a_value_that_is_none(value, reason):
    request = request_with(value)

    def through():
        psk = NETWORK_KEY if value.startswith("XXpsk3") else None
        Responder(request, value, BOB, psk=psk).answer(b"", number=1)

    assert refused(through) is reason


def test_who_has_no_network_key_is_told_so_on_both_sides():
    _, open_request = asked()
    value = value_in(open_request)
    reason = refused(Responder, open_request, value, BOB, psk=NETWORK_KEY)
    assert reason is Reason.NETWORK_KEY_WANTED
    _, keyed = asked(NETWORK_KEY)
    assert refused(Responder, keyed, value_in(keyed), BOB) is Reason.NETWORK_KEY_MISSING
    assert (
        refused(Responder, open_request, value, BOB, accepts={"XXpsk3"}) is Reason.UNKNOWN_PATTERN
    )


def test_an_id_may_be_let_in_without_the_network_key():
    initiator, request = asked()
    both = {"XX", "XXpsk3"}
    responder = Responder(request, value_in(request), BOB, psk=NETWORK_KEY, accepts=both)
    assert responder.pattern.name == "XX"
    initiator.read_answer(responder.answer(b"", number=9))
    assert responder.complete(initiator.finish(b"", 0.0).message_3, 0.0)


def test_another_network_key_is_refused_and_named():
    initiator, request = asked(NETWORK_KEY)
    responder = Responder(request, value_in(request), BOB, psk=b"o" * 32)
    initiator.read_answer(responder.answer(b"", number=9))
    third = initiator.finish(b"", 0.0).message_3
    assert refused(responder.complete, third, 0.0) is Reason.NETWORK_KEY_DIFFERS
    assert refused(responder.complete, bytes(len(third)), 0.0) is Reason.ALTERED


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_network_key_has_32_bytes(length):
    assert refused(Initiator, ALICE, number=1, psk=bytes(length)) is Reason.BAD_KEY
    _, request = asked()
    value = value_in(request)
    both = {"XX", "XXpsk3"}
    reason = refused(Responder, request, value, BOB, psk=bytes(length), accepts=both)
    assert reason is Reason.BAD_KEY


@PSKS
def test_each_cut_and_each_change_of_an_answer_is_refused_and_the_true_one_still_read(psk):
    initiator, _, text = answered(psk)
    for length in range(len(text)):
        assert refused(initiator.read_answer, text[:length]) in (Reason.MALFORMED, Reason.ALTERED)
    for place, letter in enumerate(text):
        changed = text[:place] + ("A" if letter != "A" else "B") + text[place + 1 :]
        assert refused(initiator.read_answer, changed) in (Reason.MALFORMED, Reason.ALTERED)
    for more in ("A", "=", "\n", " "):
        assert refused(initiator.read_answer, text + more) in (Reason.MALFORMED, Reason.ALTERED)
    assert initiator.read_answer(text).remote_static == BOB.public


@PSKS
def test_each_cut_and_each_change_of_the_third_message_is_refused(psk):
    initiator, responder, text = answered(psk)
    initiator.read_answer(text)
    third = initiator.finish(b"about alice", 0.0).message_3
    allowed = {Reason.MALFORMED, Reason.ALTERED, Reason.NETWORK_KEY_DIFFERS}
    for length in range(len(third)):
        assert refused(responder.complete, third[:length], 0.0) in allowed
    for place in range(len(third)):
        changed = bytearray(third)
        changed[place] ^= 0x40
        assert refused(responder.complete, bytes(changed), 0.0) in allowed
    assert responder.complete(third, 0.0).remote_static == ALICE.public


@PSKS
def test_messages_of_another_exchange_are_refused(psk):
    initiator, responder, text = answered(psk)
    other, other_responder, other_text = answered(psk)
    assert refused(initiator.read_answer, other_text) is Reason.ALTERED
    initiator.read_answer(text)
    other.read_answer(other_text)
    third = other.finish(b"", 0.0).message_3
    assert refused(responder.complete, third, 0.0) is Reason.ALTERED
    assert other_responder.complete(third, 0.0)
    assert responder.complete(initiator.finish(b"", 0.0).message_3, 0.0)


@PSKS
def test_an_exchange_is_finished_and_completed_once(psk):
    """So that no key ever seals from counter 0 twice, and no window begins anew."""
    initiator, responder, text = answered(psk)
    assert refused(initiator.finish, b"", 0.0) is Reason.OUT_OF_TURN
    initiator.read_answer(text)
    third = initiator.finish(b"", 0.0).message_3
    for call in (
        lambda: initiator.finish(b"", 0.0),
        lambda: initiator.read_answer(text),
        lambda: initiator.fill(request_with(initiator.placeholder)),
    ):
        assert refused(call) is Reason.OUT_OF_TURN
    responder.complete(third, 0.0)
    assert refused(responder.complete, third, 0.0) is Reason.OUT_OF_TURN
    assert refused(responder.answer, b"", number=9) is Reason.OUT_OF_TURN


def test_an_answer_in_another_name_keeps_out_nobody():
    """Who sees a request can answer it first, as himself; the one who was meant still can."""
    initiator, request = asked()
    mallory = Responder(request, value_in(request), MALLORY)
    bob = Responder(request, value_in(request), BOB)
    true, false = bob.answer(b"about bob", number=9), mallory.answer(b"about bob", number=9)
    assert initiator.read_answer(false).remote_static == MALLORY.public
    assert initiator.read_answer(true).remote_static == BOB.public
    third = initiator.finish(b"about alice", 0.0).message_3
    assert refused(mallory.complete, third, 0.0) is Reason.ALTERED
    assert bob.complete(third, 0.0).remote_static == ALICE.public


def test_a_request_that_comes_again_with_a_token_keeps_its_ephemeral_key():
    for psk in (None, NETWORK_KEY):
        initiator, first = asked(psk)
        old = Responder(first, value_in(first), BOB, psk=psk).answer(b"", number=8)
        again = initiator.fill(request_with(initiator.placeholder, retry_token="t"))
        assert ephemeral_of(value_in(first)) == ephemeral_of(value_in(again))
        assert refused(initiator.read_answer, old) is Reason.ALTERED
        responder = Responder(again, value_in(again), BOB, psk=psk)
        assert initiator.read_answer(responder.answer(b"x", number=9)).payload == b"x"
    assert refused(ephemeral_of, "XX.A") is Reason.MALFORMED


def test_no_two_exchanges_have_a_key_in_common():
    keys = set()
    for _ in range(20):
        done = exchange(alice=ALICE, bob=BOB)
        keys |= {done.finished.transport.keys.send, done.finished.transport.keys.receive}
    assert len(keys) == 40


def test_one_of_two_that_begin_at_once_goes_on():
    a, b = ALICE.public, BOB.public
    assert is_first_to_rekey(a, b) != is_first_to_rekey(b, a)


@pytest.mark.parametrize("number", [-1, 2**32])
def test_a_session_number_has_32_bits(number):
    initiator, request = asked()
    responder = Responder(request, value_in(request), BOB)
    assert refused(responder.answer, b"", number=number) is Reason.MALFORMED
    initiator.read_answer(responder.answer(b"", number=2**32 - 1))


def test_too_much_inside_is_refused_and_less_still_goes():
    initiator, request = asked()
    responder = Responder(request, value_in(request), BOB)
    assert refused(responder.answer, bytes(65_536), number=9) is Reason.TOO_LONG
    initiator.read_answer(responder.answer(b"", number=9))
    assert refused(initiator.finish, bytes(65_536), 0.0) is Reason.TOO_LONG
    assert responder.complete(initiator.finish(b"less", 0.0).message_3, 0.0).payload == b"less"


def test_no_repr_shows_a_secret():
    done = exchange(NETWORK_KEY)
    shown = repr((done.finished, done.completed, done.alice, done.finished.transport.keys))
    for secret in (
        NETWORK_KEY,
        done.alice.private,
        done.finished.transport.keys.send,
        done.finished.transport.keys.receive,
    ):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown


def test_keys_from_a_file_are_as_good():
    known = StaticKeys(ALICE.private, ALICE.public)
    assert exchange(alice=known, bob=known).completed.remote_static == ALICE.public
