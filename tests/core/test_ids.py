"""Ids and nonces: well formed, never the same, and reproducible from a seed."""

import random
import uuid

from p2ptui.core.ids import IdSource
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
