"""The diagnosis of a node that starts: whoever joins late learns of its NAT all the same."""

import asyncio

from p2ptui import Node
from p2ptui.errors import P2PError
from p2ptui.nat.behavior import Dependence
from p2ptui.node import diagnose_first
from tests.simulated_nat import KINDS
from tests.street import Street
from tests.virtual_loop import run_virtual

JOINS = {"join": ["203.0.113.1:8080"], "nat_detection": {"stun_servers": []}}


class Told:
    """Each report of a node that starts, and when it came."""

    def __init__(self, node: Node) -> None:
        self.mappings: list[Dependence | None] = []
        self.node = node
        self.task = asyncio.ensure_future(diagnose_first(node, self._diagnose))

    async def _diagnose(self) -> bool:
        try:
            report = await self.node.diagnose_nat()
        except P2PError:
            self.mappings.append(None)
            return False
        self.mappings.append(report.mapping)
        return report.udp is not None


def test_a_node_that_joins_late_is_diagnosed_then() -> None:
    async def story() -> None:
        async with Street(KINDS["full-cone"], latency_s=0.3) as street:
            told = Told(await street.client(**JOINS))
            await asyncio.sleep(5)
            assert told.mappings == [None]
            await street.serve()
            await told.task
            assert told.mappings == [None, Dependence.ENDPOINT_INDEPENDENT]

    run_virtual(story())


def test_a_node_that_joins_soon_is_diagnosed_once() -> None:
    async def story() -> None:
        async with Street(KINDS["full-cone"]) as street:
            await street.serve()
            told = Told(await street.client(**JOINS))
            await told.task
            assert told.mappings == [Dependence.ENDPOINT_INDEPENDENT]

    run_virtual(story())


def test_a_node_without_servers_to_join_does_not_wait_for_any() -> None:
    async def story() -> None:
        async with Street(KINDS["full-cone"]) as street:
            told = Told(await street.client(nat_detection={"stun_servers": []}))
            async with asyncio.timeout(10):
                await told.task
            assert told.mappings == [None]

    run_virtual(story())


def test_waiting_for_a_server_ends_in_time() -> None:
    async def story() -> None:
        async with Street(KINDS["full-cone"]) as street:
            client = await street.client(**JOINS)
            assert not await client.wait_joined(2.0)
            await street.serve()
            assert await client.wait_joined()
            assert await client.wait_joined()

    run_virtual(story())
