"""Ids and nonces: well formed, never the same, and reproducible from a seed."""

import random
import uuid

from p2ptui.core.ids import IdSource, Secrets, id_of_ack
from p2ptui.wire.message import MAX_ID_LENGTH

MANY = 2000  # several batches


def test_every_id_is_a_random_uuid_in_canonical_text() -> None:
    source = IdSource(random.Random(1))
    for _ in range(MANY):
        text = source.uuid()
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)
        assert len(text) <= MAX_ID_LENGTH


def test_a_nonce_is_sixteen_hexadecimal_digits() -> None:
    nonce = IdSource(random.Random(1)).nonce()
    assert len(nonce) == 16
    assert int(nonce, 16) >= 0


def test_nothing_comes_twice() -> None:
    source = IdSource(random.Random(1))
    drawn = [draw() for _ in range(MANY) for draw in (source.uuid, source.nonce)]
    assert len(set(drawn)) == len(drawn)


def test_the_same_seed_gives_the_same_ids_and_another_seed_gives_others() -> None:
    first, same, other = (
        [IdSource(random.Random(seed)).uuid() for _ in range(3)] for seed in (1, 1, 2)
    )
    assert first == same
    assert first != other


def test_all_other_bits_are_random() -> None:
    source = IdSource(random.Random(1))
    ones = [0] * 128
    for _ in range(MANY):
        bits = uuid.UUID(source.uuid()).int
        for position in range(128):
            ones[position] += bits >> position & 1
    fixed = {62, 63, *range(76, 80)}  # variant and version
    free = [count for position, count in enumerate(ones) if position not in fixed]
    assert all(MANY * 0.4 < count < MANY * 0.6 for count in free)


def test_a_secret_is_the_same_for_the_same_and_for_nothing_else() -> None:
    secrets, others = Secrets(random.Random(1)), Secrets(random.Random(2))
    number, text = secrets.of(("10.0.0.1", 9000), "a request")

    assert secrets.of(("10.0.0.1", 9000), "a request") == (number, text)
    assert 0 <= number < 2**32
    assert str(uuid.UUID(text)) == text
    for other in (
        secrets.of(("10.0.0.1", 9001), "a request"),
        secrets.of(("10.0.0.1", 9000), "another request"),
        others.of(("10.0.0.1", 9000), "a request"),
    ):
        assert number not in other
        assert text not in other


def test_the_id_of_an_ack_follows_from_the_answer() -> None:
    """Both sides must agree on it, whatever version they have."""
    text = id_of_ack("00000000-0000-4000-8000-000000000000")
    assert text == id_of_ack("00000000-0000-4000-8000-000000000000")
    assert text != id_of_ack("00000000-0000-4000-8000-000000000001")
    assert text == "18c6bf38-03f3-4cca-8d60-c0a3141302b9"
