"""The end of a node with many peers: the event loop has its turn between the goodbyes."""

import asyncio
import itertools
import logging

import pytest

from p2ptui import Node
from p2ptui.core.events import PeerStatus, PeerStatusChanged
from p2ptui.node import runtime
from p2ptui.wire.address import format_address
from tests.town import Town
from tests.virtual_loop import run_virtual

PEERS = 10


async def crowd(town: Town) -> tuple[Node, list[Node]]:
    server = await town.start("server")
    clients = [await town.start(f"client-{number}") for number in range(PEERS)]
    for client in clients:
        await client.connect(server.address)
    await asyncio.sleep(5.0)
    return server, clients


def test_the_loop_has_its_turn_between_the_goodbyes_and_all_are_told(monkeypatch):
    monkeypatch.setattr(runtime, "GOODBYES_AT_ONCE", 3)

    async def story():
        async with Town() as town:
            server, clients = await crowd(town)
            address = server.address
            told = [client.events(data=False) for client in clients]
            peers, left = server._endpoint.peers, []

            async def look():
                while True:
                    left.append(len(peers))
                    await asyncio.sleep(0)

            looking = asyncio.ensure_future(look())
            await server.close("enough")
            looking.cancel()
            assert {*range(PEERS - 3, 0, -3)} <= {*left}
            assert all(before - after <= 3 for before, after in itertools.pairwise(left))
            await asyncio.sleep(1.0)
            for events in told:
                ends = [
                    event
                    for event in events.take(100)
                    if isinstance(event, PeerStatusChanged)
                    and event.status is PeerStatus.DISCONNECTED
                    and event.address == address
                ]
                assert len(ends) == 1
                assert "enough" in (ends[0].reason or "")

    run_virtual(story())


def test_what_takes_too_long_ends_at_once(monkeypatch):
    monkeypatch.setattr(runtime, "GOODBYES_AT_ONCE", 1)
    monkeypatch.setattr(runtime, "GOODBYES_S", 0.0)

    async def story():
        async with Town() as town:
            server, clients = await crowd(town)
            address = server.address
            await server.close("enough")
            await asyncio.sleep(1.0)
            assert not any(client._endpoint.peers.at(address) for client in clients)

    run_virtual(story())


def test_who_gives_up_the_end_has_told_all(monkeypatch):
    monkeypatch.setattr(runtime, "GOODBYES_AT_ONCE", 1)

    async def story():
        async with Town() as town:
            server, clients = await crowd(town)
            address = server.address
            ending = asyncio.ensure_future(server.close("enough"))
            await asyncio.sleep(0)
            ending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await ending
            await asyncio.sleep(1.0)
            assert not any(client._endpoint.peers.at(address) for client in clients)

    run_virtual(story())


def test_the_servers_of_a_node_that_ends_are_not_lost_nor_joined_again(monkeypatch, caplog):
    monkeypatch.setattr(runtime, "GOODBYES_AT_ONCE", 1)

    async def story():
        async with Town() as town:
            servers = [await town.start(f"server-{number}") for number in range(3)]
            where = [format_address(server.address) for server in servers]
            node = await town.start("node", join=where)
            await asyncio.sleep(5.0)
            with caplog.at_level(logging.INFO):
                caplog.clear()
                await node.close("enough")
            assert [r.message for r in caplog.records if r.name == "p2ptui.join"] == []

    run_virtual(story())
