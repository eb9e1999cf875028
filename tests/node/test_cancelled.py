"""What goes on after a call was cancelled, and what does not: as docs/library.md says."""

import asyncio
from contextlib import suppress

import pytest

from p2ptui.core.events import DataReceived
from tests.town import Town, taken
from tests.virtual_loop import run_virtual


async def cancelled(work, after_s: float) -> None:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(after_s)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_a_connect_that_is_cancelled_may_still_make_a_session():
    async def story():
        async with Town() as town:
            client = await town.start("client")
            where = town.free_address()
            await cancelled(client.connect(where, timeout_s=10), after_s=0.1)
            await asyncio.sleep(1)
            await town.start("server", where)
            await asyncio.sleep(5)
            assert [peer.name for peer in client.peers] == ["server"]
            await client.disconnect("server")
            await asyncio.sleep(1)
            assert client.peers == []

    run_virtual(story())


def test_a_connect_that_is_cancelled_ends_with_its_time():
    async def story():
        async with Town() as town:
            client = await town.start("client")
            where = town.free_address()
            await cancelled(client.connect(where, timeout_s=3), after_s=0.1)
            await asyncio.sleep(3)
            await town.start("server", where)
            await asyncio.sleep(20)
            assert client.peers == []

    run_virtual(story())


@pytest.mark.parametrize("timeout_s", [None, 0.5])
def test_a_send_that_is_cancelled_still_arrives(timeout_s):
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            peer = await client.connect(server.address)
            events = server.events()
            town.partition(server, client)
            await cancelled(client.send(peer, "hello", timeout_s=timeout_s), after_s=0.1)
            await asyncio.sleep(1)
            town.network.heal(server.address[0], client.address[0])
            await asyncio.sleep(20)
            assert [event.payload for event in taken(events, DataReceived)] == ["hello"]

    run_virtual(story())
