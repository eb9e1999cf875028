"""Who makes room where nobody has shown anything: one of the oldest, and never one of the newer."""

import random

from p2ptui.bounded import draw_oldest


def test_one_of_the_oldest_quarter_is_drawn() -> None:
    rng = random.Random(1)
    drawn = {draw_oldest(range(40), 40, rng) for _ in range(500)}
    assert drawn == set(range(10))


def test_of_few_the_oldest_is_drawn() -> None:
    assert {draw_oldest("abc", 3, random.Random(seed)) for seed in range(20)} == {"a"}
