"""Which Ping a Pong answers, and who is told."""

from collections import Counter

import pytest
from msgspec import Raw

from p2ptui.core.events import Path, PingResult
from p2ptui.core.pings import MAX_WAITING_PINGS, OUTSTANDING_S, Pings
from p2ptui.errors import LocalError, PeerGoneError

ADDRESS = ("192.0.2.1", 1)


def ignore(_cause: str) -> None:
    """Count nothing."""


NULL = Raw(b"null")


def named(nonce: str) -> Raw:
    return Raw(b'{"nonce":"%s"}' % nonce.encode())


def test_a_nonce_names_its_ping() -> None:
    pings = Pings()
    for n in range(3):
        pings.add(f"n{n}", float(n), ignore)

    assert pings.receive_pong(named("n1"), ADDRESS, 5.0) == (4.0, True)
    assert pings.receive_pong(named("n1"), ADDRESS, 5.0) is None
    assert pings.receive_pong(named("n9"), ADDRESS, 5.0) is None


def test_null_means_the_last_one() -> None:
    pings = Pings()
    pings.add("a", 0.0, ignore)
    pings.add("b", 4.0, ignore)

    assert pings.receive_pong(NULL, ADDRESS, 4.5) == (0.5, False)
    assert pings.receive_pong(NULL, ADDRESS, 5.0) == (5.0, True)
    assert pings.receive_pong(NULL, ADDRESS, 5.0) is None


@pytest.mark.parametrize("payload", [b"5", b'"x"', b"{}", b"[]", b'{"nonce":5}'])
def test_anything_else_answers_nothing(payload: bytes) -> None:
    pings = Pings()
    pings.add("a", 0.0, ignore)

    assert pings.receive_pong(Raw(payload), ADDRESS, 1.0) is None
    assert len(pings) == 1


def test_an_old_ping_is_no_longer_outstanding_unless_a_call_waits() -> None:
    pings = Pings()
    pings.add("a", 0.0, ignore)
    waiting = pings.add("b", 0.0, ignore)
    ends: list[object] = []
    waiting.on_end = ends.append

    assert pings.receive_pong(named("a"), ADDRESS, OUTSTANDING_S + 1) is None
    assert pings.receive_pong(named("b"), ADDRESS, OUTSTANDING_S + 1) == (OUTSTANDING_S + 1, True)
    assert ends == [PingResult(OUTSTANDING_S + 1, Path.DIRECT, ADDRESS)]


def test_a_call_is_told_once() -> None:
    pings = Pings()
    ping = pings.add("a", 0.0, ignore)
    ends: list[object] = []
    ping.on_end = ends.append
    error = PeerGoneError("gone")

    ping.end(error)
    pings.receive_pong(named("a"), ADDRESS, 1.0)
    pings.end_all(error)

    assert ends == [error]


def test_the_oldest_make_room_and_are_counted() -> None:
    pings, drops = Pings(8), Counter[str]()
    for n in range(20):
        pings.add(f"n{n}", 5.0 + n / 100, lambda cause: drops.update([cause]))

    assert len(pings) == 8
    assert drops == {"ping_forgotten": 12}
    assert pings.receive_pong(named("n11"), ADDRESS, 6.0) is None
    assert pings.receive_pong(named("n12"), ADDRESS, 6.0) is not None


def test_what_is_old_anyway_is_not_counted() -> None:
    pings, drops = Pings(8), Counter[str]()
    for n in range(20):
        pings.add(f"n{n}", 30.0 * n, lambda cause: drops.update([cause]))

    assert len(pings) == 1
    assert not drops


def test_a_call_that_waits_is_never_forgotten() -> None:
    pings, ends = Pings(8), list[object]()
    pings.add("call", 0.0, ignore).on_end = ends.append
    for n in range(40):
        pings.add(f"n{n}", 0.1, ignore)

    assert len(pings) == 9
    assert pings.receive_pong(named("call"), ADDRESS, 1.0) == (1.0, True)
    assert len(ends) == 1


def test_one_call_too_many_is_refused_in_words() -> None:
    pings = Pings(8)
    for n in range(MAX_WAITING_PINGS):
        pings.require_room()
        pings.add(f"n{n}", 0.0, ignore).on_end = lambda _: None

    with pytest.raises(LocalError, match=f"{MAX_WAITING_PINGS} Pings to this node already wait"):
        pings.require_room()


def test_all_end_with_their_peer() -> None:
    pings = Pings()
    ends: list[object] = []
    for n in range(3):
        pings.add(f"n{n}", 0.0, ignore).on_end = ends.append
    error = PeerGoneError("gone")

    pings.end_all(error)

    assert ends == [error] * 3
    assert len(pings) == 0
