"""When a node without a server asks those that it was told of, and what it keeps of them."""

import asyncio
import random
from types import SimpleNamespace
from typing import Any

from p2ptui.core.mobility.told_servers import ToldServer
from p2ptui.errors import PeerTimeoutError
from p2ptui.node.refuge import AGAIN_AFTER_S, TRIES_OF_HOST, Refuge
from tests.virtual_loop import run_virtual


class Asker:
    """A refuge by itself, with a home that is wanted, and nobody who answers."""

    def __init__(self, *servers: ToldServer) -> None:
        self.home: Any = SimpleNamespace(
            is_wanted=True, told=servers, server=None, has_session_at=lambda _: False
        )
        self.answers = False
        self.asked: list[float] = []
        self.drops: list[str] = []
        self._loop = loop = asyncio.get_running_loop()
        self._began = loop.time()
        self.refuge = Refuge(
            self.home,
            self._connect,
            lambda _: None,
            lambda _: False,
            loop.time,
            random.Random(1),
            lambda work, _: loop.create_task(work),
            self.drops.append,
        )

    async def _connect(self, _addresses: Any, within_s: float) -> Any:
        self.asked.append(self._loop.time() - self._began)
        if not self.answers:
            await asyncio.sleep(within_s)
            raise PeerTimeoutError("nobody answers")
        self.home.is_wanted = False

    async def serve(self, seconds: float) -> None:
        """One that answers is the home for so long, and dies."""
        self.home.is_wanted = True
        self.home.on_wanted()
        await asyncio.sleep(seconds)

    async def want(self, seconds: float) -> None:
        """Say twice a second that one is wanted, as a home does while silent servers are left."""
        end = self._loop.time() + seconds
        while self._loop.time() < end:
            self.home.is_wanted = True
            self.home.on_wanted()
            await asyncio.sleep(0.5)

    async def close(self) -> None:
        assert self.refuge._task is not None
        self.refuge._task.cancel()
        await asyncio.gather(self.refuge._task, return_exceptions=True)


def server(number: int) -> ToldServer:
    return ToldServer(f"{number:08x}-0000-8000-8000-000000000000", (f"10.9.0.{number}", 80))


def test_the_tries_are_spread_over_their_time_however_often_one_is_wanted():
    async def story():
        asker = Asker(server(1))
        await asker.want(599)
        first, second, third, fourth = asker.asked
        assert first == 0
        assert 3 <= second <= 10
        assert 30 <= third <= 75
        assert 200 <= fourth <= 275
        await asker.want(80)
        assert len(asker.asked) == 5
        await asker.close()

    run_virtual(story())


def test_another_one_is_asked_as_soon_as_it_is_named():
    async def story():
        asker = Asker(server(1))
        await asker.want(300)
        asker.home.told = server(1), server(2)
        await asker.want(1)
        assert 299 <= asker.asked[-1] <= 301
        await asker.close()

    run_virtual(story())


def test_servers_of_one_machine_are_asked_at_once_and_a_host_not_without_end():
    async def story():
        three = [ToldServer(server(n).node_id, ("10.9.0.1", 80 + n)) for n in (1, 2, 3)]
        asker = Asker(*three)
        await asker.want(5)
        assert len(asker.asked) == 3
        asker.home.told = tuple(
            ToldServer(server(n).node_id, ("10.9.0.1", 100 + n)) for n in range(16)
        )
        await asker.want(590)
        assert len(asker.asked) == TRIES_OF_HOST
        await asker.close()

    run_virtual(story())


def test_those_that_were_joined_and_died_leave_room_for_others():
    async def story():
        asker = Asker()
        asker.answers = True
        for number in range(1, 41):
            asker.home.told = (server(number),)
            await asker.want(10)
        assert len(asker.asked) >= 40
        assert asker.drops == []
        await asker.close()

    run_virtual(story())


def test_one_that_served_is_asked_again_however_often_it_is_needed():
    async def story():
        asker = Asker(server(1))
        asker.answers = True
        for _ in range(20):
            await asker.serve(2)
            await asyncio.sleep(8)  # at the server that it was told to join
        assert len(asker.asked) == 20
        await asker.close()

    run_virtual(story())


def test_one_that_serves_for_a_second_each_time_is_not_asked_without_end():
    async def story():
        asker = Asker(server(1))
        asker.answers = True
        for _ in range(500):
            await asker.serve(1.1)
        assert len(asker.asked) <= 2 * 550 / AGAIN_AFTER_S
        await asker.close()

    run_virtual(story())


def test_one_that_leaves_at_once_is_asked_as_often_as_one_that_does_not_answer():
    async def story():
        asker = Asker(server(1))
        asker.answers = True
        for _ in range(100):
            await asker.serve(0.5)
        assert len(asker.asked) <= 4
        await asker.close()

    run_virtual(story())
