"""The servers of the network as a node at one of them knows them, and the way to another one."""

import asyncio

import pytest

from p2ptui.errors import UnknownPeerError
from p2ptui.node import Node
from p2ptui.node.lookup import OtherServerError
from tests.broker_in_town import BrokerInTown
from tests.town import Town
from tests.virtual_loop import run_virtual

CAROL_ID = "ca201004-0000-4000-8000-000000000004"


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> BrokerInTown:
    broker = BrokerInTown()
    monkeypatch.setattr("p2ptui.node.cluster.NatsBus", broker.bus)
    return broker


async def two_servers(town: Town, broker: BrokerInTown) -> tuple[Node, Node, Node]:
    """North and south share a network, and alice is at north."""
    north = await town.start("one", **broker.options(name="north"))
    south = await town.start("two", **broker.options(name="south"))
    alice = await town.start("alice")
    await alice.connect(north.address)
    await asyncio.sleep(3)
    return north, south, alice


def names(node: Node) -> list[str]:
    return [server.name for server in node.network_servers()]


def test_names_are_known_once_they_were_asked_for(broker: BrokerInTown) -> None:
    async def story() -> None:
        async with Town() as town:
            north, south, alice = await two_servers(town, broker)
            assert names(alice) == ["one", ""]
            await alice.learn_network_servers()
            assert names(alice) == ["north", "south"]
            first, second = alice.network_servers()
            assert (first.linked, second.peers) == (True, 0)
            await asyncio.sleep(20)
            first, second = alice.network_servers()
            assert (first.linked, first.name) == (None, "north"), "what passes is shown while new"
            assert (second.peers, second.name) == (None, "south")
            assert names(north) == ["north", "south"]
            await south.close()
            await asyncio.sleep(5)
            await alice.learn_network_servers()
            assert names(alice) == ["north"]

    run_virtual(story())


@pytest.mark.parametrize("by", ["name", "id", "prefix"])
def test_another_server_is_connected_to_directly(broker: BrokerInTown, by: str) -> None:
    async def story() -> None:
        async with Town() as town:
            _, south, alice = await two_servers(town, broker)
            ref = {"name": "south", "id": south.id, "prefix": south.id[:9]}[by]
            with pytest.raises(OtherServerError, match="connect to it first, at"):
                await alice.find(ref)
            peer = await alice.connect(ref)
            assert (peer.node_id, peer.address) == (south.id, south.address)
            assert (await alice.ping(south.id)).rtt_s > 0

    run_virtual(story())


def test_a_server_that_is_cut_off_is_no_proof_that_nobody_is_there(broker: BrokerInTown) -> None:
    async def story() -> None:
        async with Town() as town:
            north, _, alice = await two_servers(town, broker)
            for ref in ("carol", CAROL_ID):
                with pytest.raises(UnknownPeerError) as refused:
                    await alice.connect(ref)
                assert "has no link" not in str(refused.value)
            broker.kill()
            await asyncio.sleep(7)
            for ref in ("carol", CAROL_ID):
                with pytest.raises(UnknownPeerError, match="the server currently has no link"):
                    await alice.connect(ref)
            with pytest.raises(UnknownPeerError, match="this server currently has no link"):
                await north.find("carol")

    run_virtual(story())


def test_whoever_is_at_no_cluster_asks_nobody(broker: BrokerInTown) -> None:
    async def story() -> None:
        async with Town() as town:
            server = await town.start("server")
            alice = await town.start("alice")
            await alice.connect(server.address)
            await alice.learn_network_servers()
            assert alice.network_servers() == []

    run_virtual(story())
