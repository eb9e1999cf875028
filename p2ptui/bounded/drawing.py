"""Eviction when no entry has proved anything: draws one of the oldest entries at random.

Always evicting the oldest would let anyone who can refill a table within a round trip lock
everybody else out. Evicting any entry at all would let even a slow flood cost legitimate entries
their place. So the newer entries are safe.
"""

import random
from collections.abc import Iterable
from itertools import islice
from typing import Final, TypeVar

K = TypeVar("K")

OLDEST_SHARE: Final = 4
"""One in this many entries counts as one of the oldest."""


def draw_oldest(keys: Iterable[K], count: int, rng: random.Random) -> K:
    """Draw one of the oldest keys at random.

    Args:
        keys: The keys, oldest first; at least one.
        count: How many there are, at least approximately.
        rng: The source of randomness.

    Returns:
        One of the oldest quarter, or of as many keys of that as there are.
    """
    return rng.choice(list(islice(keys, max(count // OLDEST_SHARE, 1))))
