"""Probes of new flows: from a fresh socket and from one that stays, against a server in memory."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from p2ptui.errors import BindError
from p2ptui.io.memory import MemorySocket
from p2ptui.io.stun_client import StunClient
from p2ptui.node.flow_probes import MAX_PROBES, QUIET_S, FlowProbes
from p2ptui.wire.address import Address
from tests.town import Town
from tests.virtual_loop import run_virtual

SERVER: Address = ("198.51.100.9", 3478)


class Prober:
    """What a node gives to its probes, and what they report."""

    def __init__(self, town: Town) -> None:
        loop = asyncio.get_running_loop()
        self.reports: list[tuple[str, bool, bool]] = []
        self.opened: list[StunClient] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.fails = False
        self.looked_up = 0
        self._town = town

        def begin(work: Coroutine[Any, Any, None], _name: str) -> None:
            task = loop.create_task(work)
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

        def report(node_id: str, fresh: bool, old: bool) -> None:
            self.reports.append((node_id, fresh, old))

        self.probes = FlowProbes(self.find, self.open, loop.time, begin, report)

    async def find(self) -> Address | None:
        self.looked_up += 1
        return SERVER

    async def open(self) -> StunClient:
        if self.fails:
            raise BindError("no more sockets")
        sock = await MemorySocket.open(self._town.network, ("192.168.1.2", 0))
        client = StunClient(sock, random.Random(len(self.opened)))
        self.opened.append(client)
        return client


def story(tell: Callable[[Prober, Town], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with Town() as town:
            stun = {"enable": True, "address": "198.51.100.9:3478"}
            await town.start("server", ("198.51.100.9", 8080), stun_server=stun)
            prober = Prober(town)
            await tell(prober, town)
            for task in list(prober.tasks):
                task.cancel()
            await asyncio.gather(*prober.tasks, return_exceptions=True)

    run_virtual(run())


def test_the_first_probe_opens_the_old_flow_and_the_next_ones_are_told() -> None:
    async def tell(prober: Prober, _town: Town) -> None:
        for _ in range(3):
            prober.probes.start("bob", 0.2)
            await asyncio.sleep(0.3)
        assert prober.reports == [("bob", True, True)] * 2
        assert len(prober.opened) == 4, "one that stays, and one for each"

    story(tell)


def test_what_is_lost_is_told_as_lost() -> None:
    async def tell(prober: Prober, town: Town) -> None:
        prober.probes.start("bob", 0.2)
        await asyncio.sleep(0.3)
        town.network.partition("192.168.1.2", SERVER[0])
        prober.probes.start("bob", 0.2)
        await asyncio.sleep(0.3)
        assert prober.reports == [("bob", False, False)]

    story(tell)


def test_the_old_flow_is_given_up_after_a_while() -> None:
    async def tell(prober: Prober, _town: Town) -> None:
        prober.probes.start("bob", 0.2)
        await asyncio.sleep(2.5 * QUIET_S)
        assert not prober.tasks
        prober.probes.start("bob", 0.2)
        await asyncio.sleep(0.3)
        assert prober.reports == [], "it is a new one again"

    story(tell)


def test_not_too_many_run_at_once() -> None:
    async def tell(prober: Prober, _town: Town) -> None:
        begun = [prober.probes.start("bob", 0.2) for _ in range(MAX_PROBES + 5)]
        assert begun == [True] * MAX_PROBES + [False] * 5
        await asyncio.sleep(0.5)
        assert len(prober.opened) == 1 + MAX_PROBES
        assert prober.looked_up == 1

    story(tell)


def test_without_sockets_there_are_no_probes() -> None:
    async def tell(prober: Prober, _town: Town) -> None:
        prober.fails = True
        prober.probes.start("bob", 0.2)
        await asyncio.sleep(0.3)
        assert prober.reports == []
        prober.fails = False
        for _ in range(2):
            prober.probes.start("bob", 0.2)
            await asyncio.sleep(0.3)
        assert prober.reports == [("bob", True, True)]

    story(tell)
