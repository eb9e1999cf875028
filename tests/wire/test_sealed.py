"""A sealed message in its parts: all of them, in their order, or nothing."""

import itertools

import pytest

from p2ptui.wire.codec import MalformedError, decode_payload, encode_payload
from p2ptui.wire.message import NULL, Envelope
from p2ptui.wire.sealed import (
    ENVELOPE_BYTES,
    PART_BYTES,
    Sealed,
    describe_sealed,
    is_sealed,
    open_parts,
    seal_parts,
    sealed_size,
    to_bytes,
    to_text,
)

HEADER = b"\xe0\0\0\0\1"


def frames(message: bytes, first: int = 7) -> list[bytes]:
    """The message in frames that hide nothing, their counters from `first` on."""
    counters = itertools.count(first)
    texts = seal_parts(message, lambda part: HEADER + next(counters).to_bytes(8, "big") + part)
    return [to_bytes(text) for text in texts]


def unseal(frame: bytes) -> bytes:
    return frame[13:]


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 5 * PART_BYTES])
def test_what_was_cut_is_put_together(size: int) -> None:
    message = bytes(number % 251 for number in range(size))
    cut = frames(message)
    assert len(cut) == max(1, -(-size // PART_BYTES))
    assert open_parts(cut, unseal) == message
    written = sum(len(to_text(frame + bytes(16))) + 3 for frame in cut)
    assert written <= sealed_size(size) - ENVELOPE_BYTES < written + 8 * len(cut) + 8


@pytest.mark.parametrize("change", ["first", "last", "order", "twice", "other"])
def test_a_part_that_is_missing_or_moved_is_found(change: str) -> None:
    message = bytes(3 * PART_BYTES)
    one, two, three = frames(message)
    changed = {
        "first": [two, three],
        "last": [one, two],
        "order": [one, three, two],
        "twice": [one, two, three, three],
        "other": [one, two, frames(message, 100)[2]],
    }
    with pytest.raises(MalformedError):
        open_parts(changed[change], unseal)


@pytest.mark.parametrize("text", ["a", "a=", "ab==", "a b", "ä", "a+b/"])
def test_only_one_way_to_write_bytes_is_read(text: str) -> None:
    with pytest.raises(MalformedError):
        to_bytes(text)


def test_it_is_known_by_what_no_other_data_has() -> None:
    payload = encode_payload(Sealed(exchange="x"))
    assert decode_payload(payload, Sealed) == Sealed(exchange="x")
    assert is_sealed(Envelope("1", "Data", 1, payload, ack_for="sealed"))
    assert not is_sealed(Envelope("1", "Data", 1, payload))
    assert not is_sealed(Envelope("1", "Ack", 1, NULL, ack_for="sealed"))


@pytest.mark.parametrize(
    ("sealed", "words"),
    [
        (Sealed(exchange="x"), "keys asked for"),
        (Sealed(refused="no"), "refused: no"),
        (Sealed(frames=["x"]), "sealed from end to end"),
        (Sealed(), "malformed"),
    ],
)
def test_it_is_described_for_people(sealed: Sealed, words: str) -> None:
    assert describe_sealed(Envelope("1", "Data", 1, encode_payload(sealed))) == words
    assert describe_sealed(Envelope("1", "Data", 1, NULL)) == "malformed"
