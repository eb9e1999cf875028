"""Key exchanges and secured datagrams: what was altered is refused and changes nothing.

The first byte says which: one datagram for all readers, a text for the parts of a key exchange, an
exchange with a man in the middle, or a session with one.
"""

from collections import Counter
from contextlib import suppress
from typing import Final

from p2ptui.secure import (
    Initiator,
    Responder,
    SecureError,
    SecureSession,
    SessionKeys,
    Transport,
    prologue_of,
)
from p2ptui.secure.exchange import LABEL, ephemeral_of
from p2ptui.secure.frames import (
    HEADER_BYTES,
    UNKNOWN_SESSION,
    decode_message_3,
    decode_unknown_session,
    encode_message_3,
    encode_unknown_session,
    read_secured,
    secured_header,
)
from p2ptui.secure.noise import KeyPair
from p2ptui.secure.retry import RetryTokens
from tests.fuzz.choices import Choices

MAX_BYTES: Final = 300
"""Of one case."""

MAX_STEPS: Final = 40

FED: Final[Counter[str]] = Counter()
"""What all cases of this process have fed: datagrams."""

ALICE, BOB, CAROL, DAVE = (KeyPair.from_private(bytes((n,)) * 32) for n in range(1, 5))
PSK: Final = b"n" * 32
_PATTERNS: Final = ("XX.", "XXpsk3.", "", "X.", "XX")


def test_one(data: bytes) -> None:
    """One case."""
    choices = Choices(data)
    (_read, _read_text, _exchange, _talk)[choices.byte() % 4](choices)


# One datagram.


def _read(choices: Choices) -> None:
    data = choices.rest()
    FED["datagrams"] += 1
    header, answer = read_secured(data), encode_unknown_session(data)
    assert (header is None) == (answer is None)
    if header is not None and answer is not None:
        assert data.startswith(secured_header(*header))
        assert len(answer) < len(data)
        unknown = decode_unknown_session(answer)
        assert unknown is not None
        assert (unknown.session, unknown.counter) == header
    third = decode_message_3(data)
    if third is not None:
        assert encode_message_3(third) == data
    unknown = decode_unknown_session(data)
    if unknown is not None:
        assert data[0] == UNKNOWN_SESSION
        assert len(data) == HEADER_BYTES
    for receiver in _sessions():
        assert _opened(receiver, data, 0.0) is None


# A text.


def _read_text(choices: Choices) -> None:
    psk, name = choices.one((None, PSK)), choices.one(_PATTERNS)
    value = name + choices.rest().decode("latin-1")
    request = b'{"a":"' + value.encode() + b'"}'
    initiator = Initiator(ALICE, number=1, psk=psk, ephemeral=CAROL)
    initiator.fill(b'{"a":"' + initiator.placeholder.encode() + b'"}')
    assert not RetryTokens(b"s").is_good(value, "a", b"e", 0.0)
    for step in (
        lambda: prologue_of(request, value).startswith(LABEL),
        lambda: ephemeral_of(value),
        lambda: Responder(request, value, BOB, psk=psk, ephemeral=DAVE).answer(b"", number=1),
    ):
        with suppress(SecureError):
            assert step()
    try:
        initiator.read_answer(value)
    except SecureError:
        return
    raise AssertionError("an answer was taken from nobody")


# An exchange.


def _exchange(choices: Choices) -> None:
    psk = choices.one((None, PSK))
    initiator = Initiator(ALICE, number=1, psk=psk, ephemeral=CAROL)
    placeholder = initiator.placeholder.encode()
    request = initiator.fill(b'{"k":"' + placeholder + b'","c":[1,2]}')
    value = request[6 : 6 + len(placeholder)].decode()
    FED["datagrams"] += 3

    altered = _altered(choices, request)
    try:
        changed = altered[6 : 6 + len(placeholder)].decode("latin-1")
        other = Responder(altered, changed, BOB, psk=psk, ephemeral=DAVE)
        text = other.answer(b"inside", number=2)
        initiator.read_answer(text)
    except SecureError:
        assert altered != request
    else:
        assert altered == request

    responder = Responder(request, value, BOB, psk=psk, ephemeral=DAVE)
    text = responder.answer(b"inside", number=2)
    try:
        changed = _altered(choices, text.encode()).decode("latin-1")
        assert initiator.read_answer(changed).payload == b"inside"
        assert changed == text
    except SecureError:
        assert changed != text
    initiator.read_answer(text)
    finished = initiator.finish(b"inside", 0.0)
    changed_third = _altered(choices, finished.message_3)
    try:
        completed = responder.complete(changed_third, 0.0)
    except SecureError:
        assert changed_third != finished.message_3
        completed = responder.complete(finished.message_3, 0.0)
    else:
        assert changed_third == finished.message_3
    assert completed.remote_static == ALICE.public
    assert completed.transport.open(finished.transport.seal(b"text")) == b"text"


def _altered(choices: Choices, data: bytes) -> bytes:
    """The data, with what a man in the middle does to it; that may be nothing."""
    what = choices.byte() % 6
    place = choices.below(len(data)) if data else 0
    if what == 1:
        return data[:place]
    if what == 2:
        return data[:place] + bytes((choices.byte(),)) + data[place + 1 :]
    if what == 3:
        return data + choices.take(1 + choices.below(8))
    if what == 4:
        return data[:place] + choices.take(1 + choices.below(8)) + data[place:]
    if what == 5:
        return choices.take(choices.byte())
    return data


# A session.


def _pair(number: int, now: float) -> tuple[Transport, Transport]:
    one, other = (bytes((number, side)) * 16 for side in (1, 2))
    a, b = 2 * number, 2 * number + 1
    return (
        Transport(
            SessionKeys(one, other),
            local_number=a,
            remote_number=b,
            is_initiator=True,
            began_at=now,
        ),
        Transport(
            SessionKeys(other, one),
            local_number=b,
            remote_number=a,
            is_initiator=False,
            began_at=now,
        ),
    )


def _sessions() -> tuple[SecureSession, SecureSession]:
    a, b = _pair(1, 0.0)
    return SecureSession(a), SecureSession(b)


def _opened(session: SecureSession, frame: bytes, now: float) -> bytes | None:
    FED["datagrams"] += 1
    try:
        return session.open(frame, now)
    except SecureError:
        return None


def _talk(choices: Choices) -> None:
    both = _sessions()
    frames: list[tuple[int, bytes, bytes]] = []
    got: set[bytes] = set()
    now, keys = 0.0, 1
    for step in range(MAX_STEPS):
        if not choices:
            break
        now += choices.one((0.0, 0.1, 5.0, 11.0, 61.0))
        what = choices.byte()
        side = what & 1
        if what < 100:
            text = str(step).encode()
            frames.append((side, both[side].seal(text), text))
        elif what < 200 and frames:
            sender, frame, text = choices.one(frames)
            altered = _altered(choices, frame)
            receiver = both[side]
            before = tuple(receiver.numbers())
            opened = _opened(receiver, altered, now)
            if opened is not None:
                assert (opened, altered, sender) == (text, frame, 1 - side)
                assert text not in got
                got.add(text)
            else:
                receiver.expire(now)
                assert set(receiver.numbers()) <= set(before)
        elif what < 220:
            keys += 1
            a, b = _pair(keys, now)
            both[side].prepare(a if side == 0 else b)
            both[1 - side].adopt(b if side == 0 else a, now)
        elif what < 240:
            both[side].rest()
        else:
            both[side].expire(now)
            assert both[side]._before is None or both[side]._before_until > now
        assert len(set(both[side].numbers())) <= 3
