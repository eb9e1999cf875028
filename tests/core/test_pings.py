"""Which Ping a Pong answers, and who is told."""

import pytest
from msgspec import Raw

from p2ptui.core.events import Path, PingResult
from p2ptui.core.pings import OUTSTANDING_S, Pings
from p2ptui.errors import PeerGoneError

ADDRESS = ("192.0.2.1", 1)
NULL = Raw(b"null")


def named(nonce: str) -> Raw:
    return Raw(b'{"nonce":"%s"}' % nonce.encode())


def test_a_nonce_names_its_ping() -> None:
    pings = Pings()
    for n in range(3):
        pings.add(f"n{n}", 8, float(n))

    assert pings.receive_pong(named("n1"), ADDRESS, 5.0) == (4.0, True)
    assert pings.receive_pong(named("n1"), ADDRESS, 5.0) is None
    assert pings.receive_pong(named("n9"), ADDRESS, 5.0) is None


def test_null_means_the_last_one() -> None:
    pings = Pings()
    pings.add("a", 8, 0.0)
    pings.add("b", 8, 4.0)

    assert pings.receive_pong(NULL, ADDRESS, 4.5) == (0.5, False)
    assert pings.receive_pong(NULL, ADDRESS, 5.0) == (5.0, True)
    assert pings.receive_pong(NULL, ADDRESS, 5.0) is None


@pytest.mark.parametrize("payload", [b"5", b'"x"', b"{}", b"[]", b'{"nonce":5}'])
def test_anything_else_answers_nothing(payload: bytes) -> None:
    pings = Pings()
    pings.add("a", 8, 0.0)

    assert pings.receive_pong(Raw(payload), ADDRESS, 1.0) is None
    assert len(pings) == 1


def test_an_old_ping_is_no_longer_outstanding_unless_a_call_waits() -> None:
    pings = Pings()
    pings.add("a", 8, 0.0)
    waiting = pings.add("b", 8, 0.0)
    ends: list[object] = []
    waiting.on_end = ends.append

    assert pings.receive_pong(named("a"), ADDRESS, OUTSTANDING_S + 1) is None
    assert pings.receive_pong(named("b"), ADDRESS, OUTSTANDING_S + 1) == (OUTSTANDING_S + 1, True)
    assert ends == [PingResult(OUTSTANDING_S + 1, Path.DIRECT, ADDRESS)]


def test_a_call_is_told_once() -> None:
    pings = Pings()
    ping = pings.add("a", 8, 0.0)
    ends: list[object] = []
    ping.on_end = ends.append
    error = PeerGoneError("gone")

    ping.end(error)
    pings.receive_pong(named("a"), ADDRESS, 1.0)
    pings.end_all(error)

    assert ends == [error]


def test_the_oldest_make_room() -> None:
    pings = Pings()
    for n in range(20):
        pings.add(f"n{n}", 8, float(n))

    assert len(pings) == 8
    assert pings.receive_pong(named("n11"), ADDRESS, 20.0) is None
    assert pings.receive_pong(named("n12"), ADDRESS, 20.0) == (8.0, True)


def test_all_end_with_their_peer() -> None:
    pings = Pings()
    ends: list[object] = []
    for n in range(3):
        pings.add(f"n{n}", 8, 0.0).on_end = ends.append
    error = PeerGoneError("gone")

    pings.end_all(error)

    assert ends == [error] * 3
    assert len(pings) == 0
