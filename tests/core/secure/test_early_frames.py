"""Sealed frames that arrive before the last message of their key exchange are taken after it."""

from typing import Final

import pytest

from p2ptui.core.events import ConnectResult, PingResult
from p2ptui.core.secure.early import LONGEST_EARLY, MAX_EARLY, MAX_EARLY_OF_ONE
from p2ptui.secure.frames import MESSAGE_3, SECURED
from tests.core.secure.test_policy import KEY, OTHER
from tests.core.secure.wiretap import Seen, Wiretap
from tests.simulation import Host, World

PATIENCE_S: Final = 1.0
"""No Ping is sent again."""

OVERTAKEN_S: Final = 0.1
"""By so much the last message of an exchange is late."""


class Late:
    """A node asks another one, and its last message is late, or lost so often."""

    def __init__(self, lost: int = 0, **options: object) -> None:
        self.world = World(secured=True)
        self.one, self.other = self.world.host(), self.world.host(**options)
        self.tap = Wiretap(self.world)
        self.left, self.is_late = lost, not lost
        self.tap.rules.append(self._lose)

    def _lose(self, seen: Seen) -> bytes | None:
        if seen.data[:1] != bytes((MESSAGE_3,)) or not (self.left or self.is_late):
            return seen.data
        if self.is_late:
            self.is_late = False
            self.tap.inject(seen.data, seen.source, self.other, OVERTAKEN_S)
        else:
            self.left -= 1
        return None

    def connect(self) -> None:
        assert isinstance(self.one.outcome(self.one.connect(self.other)), ConnectResult)

    def waiting(self) -> int:
        """For how many exchanges frames wait."""
        return self.other.endpoint.sizes()["frames_early"]

    def number(self) -> int:
        """The session number by which the one that was asked is spoken to."""
        seal = self.one.endpoint.peers.with_id(self.other.id).seal
        return int(seal.session.current.remote_number)


def unknown(host: Host) -> int:
    return host.endpoint.counters.drops["seal_unknown_session"]


def test_a_ping_that_overtakes_the_last_message_is_answered() -> None:
    late = Late()
    late.connect()

    result = late.one.outcome(late.one.ping(late.other, PATIENCE_S))

    assert isinstance(result, PingResult)
    assert late.left == 0
    assert unknown(late.other) == late.waiting() == 0


def test_each_is_taken_once_and_in_order() -> None:
    late = Late()
    late.connect()
    sent = [late.one.send(late.other, number) for number in range(MAX_EARLY_OF_ONE)]

    assert all(late.one.outcome(token).delivered for token in sent)
    assert late.other.received() == list(range(MAX_EARLY_OF_ONE))


def test_nothing_is_taken_before_the_session_begins() -> None:
    late = Late(lost=100)
    late.connect()
    before = late.other.endpoint.counters.datagrams_out
    late.one.send(late.other, "hello")
    late.world.run_for(0.1)

    assert late.waiting() == 1
    assert late.other.received() == []
    assert late.other.endpoint.counters.datagrams_out == before
    assert not late.other.is_connected_to(late.one)


def test_it_is_forgotten_with_the_exchange() -> None:
    late = Late(lost=100)
    late.connect()
    late.one.send(late.other, "hello")
    late.world.run_for(60)
    late.tap.rules.clear()
    third = late.world.host()
    third.outcome(third.connect(late.other))  # who comes sweeps out what is over

    assert late.waiting() == 0
    assert late.other.received() == []


@pytest.mark.parametrize("size", [60, LONGEST_EARLY + 1])
def test_forged_ones_take_no_more_than_their_room_and_end_nothing(size: int) -> None:
    late = Late()
    late.connect()
    forged = bytes((SECURED,)) + late.number().to_bytes(4, "big") + bytes(size - 5)
    for _ in range(50):
        late.tap.inject(forged, late.one.address, late.other)
    late.world.run_for(0.1)

    assert unknown(late.other) >= 50 - MAX_EARLY_OF_ONE
    late.world.run_until(lambda: late.other.is_connected_to(late.one), 1.0)
    late.world.run_for(1.0)
    assert late.one.outcome(late.one.send(late.other, "hello")).delivered
    assert late.other.received() == ["hello"]


def test_frames_of_no_exchange_wait_for_nothing() -> None:
    late = Late()
    late.connect()
    other_number = (late.number() ^ 1).to_bytes(4, "big")
    for _ in range(MAX_EARLY):
        late.tap.inject(bytes((SECURED,)) + other_number + bytes(60), ("10.9.9.9", 9), late.other)
    late.world.run_for(0.1)

    assert unknown(late.other) == MAX_EARLY


def test_who_is_refused_is_not_heard() -> None:
    """By another network key no last message opens, and so no frame does."""
    world = World()
    one = world.host(keys=world.keys(network_key=KEY))
    other = world.host(keys=world.keys(network_key=OTHER))
    tap = Wiretap(world)

    def inject(seen: Seen) -> bytes:
        if seen.data[:1] == bytes((MESSAGE_3,)):
            tap.inject(bytes((SECURED,)) + seen.data[1:5] + bytes(60), seen.source, other)
        return seen.data

    tap.rules.append(inject)
    one.outcome(one.connect(other))
    world.run_for(30)

    assert other.endpoint.sizes()["frames_early"] == 1
    assert not other.is_connected_to(one)
    third = world.host(keys=world.keys(network_key=OTHER))
    assert isinstance(third.outcome(third.connect(other)), ConnectResult)
    assert other.endpoint.sizes()["frames_early"] == 0
