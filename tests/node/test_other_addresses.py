"""One name that is several addresses, joined: the next one when the one in use falls silent."""

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest

from p2ptui.core.events import DataReceived, SendStatus
from p2ptui.node import Node
from p2ptui.node.subscription import Subscription
from tests.node.test_host_names import now, run_with_names
from tests.town import MET_S, Town

SERVER = {"allow_symmetric_nat_relay": True}
NAME = "server.example:8080"
FIRST, SECOND = ("10.1.0.1", 8080), ("10.1.0.2", 8080)
NAMES = {"server.example": [FIRST[0], SECOND[0]]}
DEAD_S = 3.0


class Scene:
    """Two servers of one name, and two nodes that joined it; one reads what the other says."""

    def __init__(self, town: Town, *, is_one_machine: bool = False) -> None:
        self.town = town
        self.is_one_machine = is_one_machine

    async def begin(self) -> None:
        town = self.town
        self.first = await town.start("first", FIRST, **SERVER)
        same_as = self.first if self.is_one_machine else None
        self.second = await town.start("second", SECOND, same_as=same_as, **SERVER)
        options = {"join": [NAME], "ice": {"enable": False, "stun_servers": []}}
        self.a, self.b = await town.start("a", **options), await town.start("b", **options)
        await asyncio.sleep(1)
        assert servers_of(self.a) == servers_of(self.b) == {FIRST}
        await self.a.connect(self.b.id)
        await asyncio.sleep(MET_S)
        self.arrived: list[tuple[float, object]] = []
        self._reading = asyncio.create_task(self._read(self.b.events()))

    async def _read(self, events: Subscription) -> None:
        async for event in events:
            if isinstance(event, DataReceived) and not event.is_echo:
                self.arrived.append((now(), event.payload))

    async def end(self) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])

    async def stream(self, seconds: float) -> list[asyncio.Task]:
        sent = []
        for _ in range(int(seconds * 20)):
            sent.append(asyncio.create_task(self.a.send(self.b.id, now(), timeout_s=30)))
            await asyncio.sleep(0.05)
        return sent

    def longest_gap_s(self, since: float) -> float:
        times = [since, *(at for at, _ in self.arrived if at >= since)]
        return max(later - earlier for earlier, later in pairwise(times))


def servers_of(node: Node) -> set:
    there = {peer.address for peer in node.peers if peer.status.value == "authenticated"}
    return there & {FIRST, SECOND}


def play(story: Callable, **options) -> None:
    async def whole():
        async with Town() as town:
            scene = Scene(town, **options)
            await scene.begin()
            await story(scene)
            await scene.end()

    run_with_names(whole(), NAMES)


@pytest.mark.parametrize("is_one_machine", [False, True])
def test_with_traffic_the_other_address_serves_within_three_seconds(is_one_machine: bool) -> None:
    async def story(scene: Scene):
        sent = await scene.stream(1)
        scene.town.crash(scene.first)
        died = now()
        sent += await scene.stream(6)
        results = await asyncio.gather(*sent)
        await asyncio.sleep(0.5)
        assert all(result.status is SendStatus.DELIVERED for result in results)
        assert len(scene.arrived) == len({payload for _, payload in scene.arrived}) == len(sent)
        assert scene.longest_gap_s(died) <= DEAD_S
        assert SECOND in servers_of(scene.a) & servers_of(scene.b)

    play(story, is_one_machine=is_one_machine)


def test_without_traffic_it_does_so_by_the_next_heartbeat() -> None:
    async def story(scene: Scene):
        scene.town.crash(scene.first)
        await asyncio.sleep(33 + 6.6 + DEAD_S)
        assert SECOND in servers_of(scene.a) & servers_of(scene.b)
        assert (await scene.a.send(scene.b.id, "hello")).status is SendStatus.DELIVERED

    play(story)


def test_the_other_address_is_left_when_it_dies_in_turn() -> None:
    async def story(scene: Scene):
        for dying, heir in ((scene.first, SECOND), (scene.second, FIRST)):
            sent = await scene.stream(1)
            scene.town.crash(dying)
            died = now()
            sent += await scene.stream(6)
            assert scene.longest_gap_s(died) <= DEAD_S
            assert heir in servers_of(scene.a) & servers_of(scene.b)
            await asyncio.gather(*sent)
            for other in (scene.first, scene.second, scene.a, scene.b):
                if other is not dying:
                    scene.town.network.heal(dying.address[0], other.address[0])
            await asyncio.sleep(2)

    play(story)


@pytest.mark.parametrize("relays", [False, True])
def test_a_server_that_does_not_relay_is_replaced_though_another_one_does(relays: bool) -> None:
    async def whole():
        async with Town() as town:
            options = {"allow_symmetric_nat_relay": relays}
            first = await town.start("first", FIRST, **options)
            await town.start("second", SECOND, **options)
            await town.start("third", ("10.1.0.3", 8080), **SERVER)
            a = await town.start("a", join=[NAME, "10.1.0.3:8080"])
            await asyncio.sleep(3)
            assert servers_of(a) == {FIRST}
            town.crash(first)
            sent = asyncio.create_task(a.send(first.id, "hello", timeout_s=10))
            await asyncio.sleep(DEAD_S)
            assert SECOND in servers_of(a)
            await asyncio.wait([sent])

    run_with_names(whole(), NAMES)


def test_one_that_falls_silent_for_a_moment_is_kept() -> None:
    async def story(scene: Scene):
        scene.town.crash(scene.first)
        sent = await scene.stream(0.4)
        for other in (scene.second, scene.a, scene.b):
            scene.town.network.heal(scene.first.address[0], other.address[0])
        sent += await scene.stream(3)
        await asyncio.gather(*sent)
        assert FIRST in servers_of(scene.a) & servers_of(scene.b)

    play(story)


def test_while_no_address_answers_they_are_tried_with_growing_pauses() -> None:
    asked = []

    async def story(scene: Scene):
        scene.town.crash(scene.first)
        scene.town.crash(scene.second)
        asked.clear()
        sent = await scene.stream(1)
        await asyncio.sleep(40)
        assert 2 <= len(asked) <= 20  # of two nodes
        await asyncio.gather(*sent, return_exceptions=True)

    def look_up() -> list[str]:
        asked.append(now())
        return [FIRST[0], SECOND[0]]

    async def whole():
        async with Town() as town:
            scene = Scene(town)
            await scene.begin()
            await story(scene)
            await scene.end()

    run_with_names(whole(), {"server.example": look_up})
