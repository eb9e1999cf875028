"""Sockets that no driver pumps send what a gate grants, and no more."""

import asyncio
import random
from typing import Any

import pytest

from p2ptui.core.accounts import BOUNDS, Reason
from p2ptui.core.counters import Counters
from p2ptui.io.exits import Exit, ask_connected, carry_out, new_gate
from p2ptui.io.memory import MemoryNetwork, MemorySocket
from p2ptui.io.stun_client import Schedule, StunClient
from p2ptui.wire.address import Address
from p2ptui.wire.frames import Unfragmented
from tests.virtual_loop import run_virtual

HERE, THERE, ELSEWHERE = ("10.0.0.1", 1000), ("10.0.0.2", 2000), ("10.0.0.3", 3000)
BOUND = BOUNDS[Reason.DIAGNOSIS]


class Wire:
    """A socket that notes what it is to send."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, data: bytes, *to: Address, **how: Any) -> None:
        self.sent.append((data, *to, how) if how else (data, *to))


@pytest.fixture
def counters() -> Counters:
    return Counters()


def test_questions_are_granted_up_to_a_bound_for_each_address(counters: Counters) -> None:
    async def story() -> None:
        wire, gate = Wire(), new_gate(counters)
        for _ in range(BOUND.datagrams + 5):
            Exit(wire, gate).ask(b"?", THERE)  # whatever socket it leaves by
        Exit(wire, gate).ask(b"?", ELSEWHERE)
        assert wire.sent == [(b"?", THERE)] * BOUND.datagrams + [(b"?", ELSEWHERE)]
        await asyncio.sleep(BOUND.lifetime_s + 1)
        Exit(wire, gate).ask(b"!", THERE)
        assert wire.sent[-1] == (b"!", THERE)

    run_virtual(story())
    use = counters.grants["diagnosis"]
    assert (use.granted, use.datagrams, use.refused) == (3, BOUND.datagrams + 2, 5)


def test_a_connected_socket_asks_within_the_same_bound(counters: Counters) -> None:
    async def story() -> None:
        wire, gate = Wire(), new_gate(counters)
        for _ in range(BOUND.datagrams + 5):
            ask_connected(wire, THERE, gate)
        assert len(wire.sent) == BOUND.datagrams

    run_virtual(story())


def test_who_asks_hears_that_it_was_not_granted(counters: Counters) -> None:
    async def story() -> None:
        wire, gate = Wire(), new_gate(counters)
        answers = [Exit(wire, gate).ask(b"?", THERE) for _ in range(BOUND.datagrams + 1)]
        assert answers == [True] * BOUND.datagrams + [False]
        assert not ask_connected(wire, THERE, gate)
        assert ask_connected(wire, ELSEWHERE, gate)
        sock = await MemorySocket.open(MemoryNetwork(), HERE)
        client = StunClient(sock, random.Random(1), gate)
        assert not client.indicate(THERE)
        asked = client.start(THERE, Schedule((0.0, 0.1), 5.0))
        assert asked.done.is_set(), "nobody waits for the answer to what did not leave"
        assert (asked.sent, asked.answer) == (0, None)
        assert "too many questions" in str(asked.error)
        await client.close()

    run_virtual(story())


def test_each_transmission_of_a_client_is_counted(counters: Counters) -> None:
    async def story() -> None:
        sock = await MemorySocket.open(MemoryNetwork(), HERE)
        client = StunClient(sock, random.Random(1), new_gate(counters))
        asked = client.start(THERE, Schedule((0.0, 0.1, 0.2), 0.5))
        client.indicate(ELSEWHERE)
        assert await asked.wait() is None
        await client.close()

    run_virtual(story())
    assert counters.grants["diagnosis"].datagrams == 4


def test_what_an_endpoint_let_out_is_sent_as_it_is() -> None:
    wire = Wire()
    carry_out(wire, b"check", THERE, 2)
    carry_out(wire, Unfragmented(b"probe"), THERE)
    assert wire.sent == [
        (b"check", THERE, {"ttl": 2, "unfragmented": False}),
        (b"probe", THERE, {"ttl": None, "unfragmented": True}),
    ]
