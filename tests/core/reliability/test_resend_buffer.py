"""What is kept to be sent again: the newest of it, within a limit."""

from p2ptui.core.reliability.outbox import PARTS_KEPT, ResendBuffer


def test_the_oldest_make_room_one_by_one_where_there_are_few() -> None:
    kept = ResendBuffer(1000)
    for number in range(20):
        kept.add(number, bytes(100), 0.0)
    assert [number for number in range(20) if kept.get(number)] == list(range(10, 20))


def test_of_many_some_are_forgotten_together() -> None:
    kept = ResendBuffer(1000)
    for number in range(5000):
        kept.add(number, b"x", 0.0)
        least = min(number + 1, 1000 - 1000 // PARTS_KEPT)
        assert least <= len(kept._messages) <= 1000
        assert kept.get(number) == b"x"
