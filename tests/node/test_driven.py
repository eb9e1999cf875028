"""An endpoint at work: calls end once, and never wait for ever."""

import asyncio
from types import SimpleNamespace

import pytest

from p2ptui.core.events import CallFinished
from p2ptui.errors import LocalError, P2PError
from p2ptui.io.memory import MemoryNetwork, MemorySocket
from p2ptui.node.driven import Driven
from tests.virtual_loop import run_virtual

HERE = ("10.0.0.1", 80)


class Endpoint:
    """A core to which nothing happens but what a test says."""

    def __init__(self) -> None:
        self.events = []
        self.due = []
        self.turns = []
        self.moving = SimpleNamespace(excuse=lambda *_: None)

    def next_event(self):
        return self.events.pop(0) if self.events else None

    def datagrams_to_send(self, _now):
        return []

    def next_timeout(self):
        return self.due[0] if self.due else None

    def handle_timeout(self, now, clock=None):
        self.turns.append((now, clock))
        self.due.pop(0)

    def set_unix_offset(self, _offset):
        pass


class Bench:
    """A driven endpoint, what it told, and what broke."""

    def __init__(self, sock) -> None:
        loop = asyncio.get_running_loop()
        self.told = []
        self.broken = []
        self.endpoint = Endpoint()
        self.driven = Driven(
            self.endpoint,
            sock,
            self.told.append,
            loop.time,
            loop.time,
            self.broken.append,
        )

    @classmethod
    async def set_up(cls):
        return cls(await MemorySocket.open(MemoryNetwork(), HERE))

    def finish(self, token, outcome):
        self.endpoint.events.append(CallFinished(token, outcome))
        self.driven.flush()


def test_a_call_ends_with_what_ended_it_and_is_told_to_nobody_else():
    async def story():
        bench = await Bench.set_up()
        fine, refused = bench.driven.call(1), bench.driven.call(2)
        bench.finish(1, "done")
        bench.finish(2, P2PError("refused"))
        bench.finish(3, "nobody waits for this one")
        assert await fine == "done"
        with pytest.raises(P2PError, match="refused"):
            await refused
        assert bench.told == []

    run_virtual(story())


def test_no_call_waits_for_an_endpoint_that_has_ended():
    async def story():
        bench = await Bench.set_up()
        calls = [bench.driven.call(token) for token in range(3)]
        bench.driven.end_calls("closed")
        for call in calls:
            with pytest.raises(LocalError, match="closed"):
                await call

    run_virtual(story())


def test_what_breaks_later_is_told():
    async def story():
        bench = await Bench.set_up()
        at = []
        bench.driven.later(1.0, at.append)
        bench.driven.later(2.0, lambda _now: 1 / 0)
        began = bench.driven.clock()
        await asyncio.sleep(3)
        assert at == [began + 1.0]
        assert [type(error) for error in bench.broken] == [ZeroDivisionError]

    run_virtual(story())


def test_what_is_due_is_done_by_the_clock_and_what_is_left_of_it_at_once():
    async def story():
        bench = await Bench.set_up()
        clock = bench.driven.clock
        began = clock()
        bench.endpoint.due = [began + 1.0] * 3
        bench.driven.flush()
        await asyncio.sleep(1.5)
        assert bench.endpoint.turns == [(began + 1.0, clock)] * 3

    run_virtual(story())
