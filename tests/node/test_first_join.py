"""A call that needs a server waits for the first of those that are being joined; and oneself."""

import asyncio

import pytest

from p2ptui import Node
from p2ptui.core.events import Path
from p2ptui.errors import LocalError, P2PError, UnknownPeerError
from p2ptui.wire.address import format_address
from tests.town import Town
from tests.virtual_loop import run_virtual


def now() -> float:
    return asyncio.get_running_loop().time()


class Meeting:
    """A server with bob, and a client that is to join it."""

    def __init__(self, town: Town) -> None:
        self.town = town

    async def begin(self, *, late_s: float = 0.0, **options) -> Node:
        """The client, started just now; the server comes so much later."""
        where = self.town.free_address()
        self.client = self.town.make("client", join=[format_address(where)], **options)
        self.bob = self.town.make("bob", join=[format_address(where)])
        await self.bob.start()
        if late_s:
            await self.client.start()
            self.coming = asyncio.create_task(self._come(where, late_s))
            return self.client
        self.server = await self.town.start("server", where)
        await asyncio.sleep(3)
        await self.client.start()
        return self.client

    async def _come(self, where, late_s: float) -> None:
        await asyncio.sleep(late_s)
        self.server = await self.town.start("server", where)


async def connect(client: Node, ref: str):
    return await client.connect(ref, timeout_s=8)


async def find(client: Node, ref: str):
    return await client.find(ref, timeout_s=8)


async def ping(client: Node, ref: str):
    return await client.ping(ref, timeout_s=8)


async def send(client: Node, ref: str):
    return await client.send(ref, "hello", timeout_s=8)


async def ping_routed(client: Node, ref: str):
    return await client.ping_routed(ref, timeout_s=8)


async def send_routed(client: Node, ref: str):
    return await client.send_routed(ref, "hello", timeout_s=8)


ANY_REF = [connect, find, ping]


@pytest.mark.parametrize("call", ANY_REF)
@pytest.mark.parametrize("by", ["name", "id", "prefix"])
def test_whom_only_a_server_knows(call, by):
    async def story():
        async with Town() as town:
            meeting = Meeting(town)
            client = await meeting.begin()
            ref = {"name": "bob", "id": meeting.bob.id, "prefix": meeting.bob.id[:13]}[by]
            began = now()
            assert await call(client, ref)
            assert now() - began < 1

    run_virtual(story())


@pytest.mark.parametrize("call", [ping_routed, send_routed])
def test_a_way_that_only_a_server_is(call):
    async def story():
        async with Town() as town:
            meeting = Meeting(town)
            client = await meeting.begin()
            result = await call(client, meeting.bob.id)
            assert getattr(result, "delivered", True)
            assert getattr(result, "path", Path.RELAY) is Path.RELAY

    run_virtual(story())


@pytest.mark.parametrize("by", ["name", "id", "prefix"])
def test_a_message_to_the_server_itself(by):
    async def story():
        async with Town() as town:
            meeting = Meeting(town)
            client = await meeting.begin()
            server = meeting.server
            ref = {"name": "server", "id": server.id, "prefix": server.id[:13]}[by]
            assert (await send(client, ref)).delivered

    run_virtual(story())


@pytest.mark.parametrize("call", [find, ping])
def test_a_server_that_comes_late(call):
    async def story():
        async with Town() as town:
            meeting = Meeting(town)
            began = now()
            client = await meeting.begin(late_s=4)
            assert await call(client, "server")
            assert 4 < now() - began < 8

    run_virtual(story())


@pytest.mark.parametrize("call", [*ANY_REF, send, ping_routed, send_routed])
@pytest.mark.parametrize("by", ["name", "id"])
def test_a_server_that_does_not_come(call, by):
    async def story():
        async with Town() as town:
            client = await town.start("client", join=["10.9.9.9:8080"])
            name = "bob" if by == "name" else "00000000-0000-4000-8000-000000000009"
            if by == "name" and call in (ping_routed, send_routed):
                return
            began = now()
            with pytest.raises(LocalError, match="no server is joined yet"):
                await call(client, name)
            assert now() - began == pytest.approx(8, abs=0.1)

    run_virtual(story())


@pytest.mark.parametrize("call", [*ANY_REF, send])
def test_nobody_waits_where_nothing_is_joined_or_where_all_were_left(call):
    async def story():
        async with Town() as town:
            loner = await town.start("loner")
            began = now()
            with pytest.raises(P2PError):
                await call(loner, "bob")
            assert now() == began
            meeting = Meeting(town)
            client = await meeting.begin()
            await client.find("server")
            began = now()
            with pytest.raises(UnknownPeerError, match="no node is called 'nobody'"):
                await call(client, "nobody")
            await client.disconnect("server")
            with pytest.raises(P2PError):
                await call(client, "nobody")
            assert now() - began < 0.1

    run_virtual(story())


def test_a_node_that_is_closed_meanwhile():
    async def story():
        async with Town() as town:
            client = await town.start("client", join=["10.9.9.9:8080"])
            waiting = asyncio.create_task(client.connect("bob"))
            await asyncio.sleep(1)
            began = now()
            await client.close()
            with pytest.raises(LocalError):
                await waiting
            assert now() - began < 1

    run_virtual(story())


@pytest.mark.parametrize("call", [connect, ping, send, find, ping_routed, send_routed])
@pytest.mark.parametrize("by", ["id", "upper", "name", "prefix"])
def test_a_node_that_is_asked_for_itself_says_so_at_once(call, by):
    async def story():
        async with Town() as town:
            server = await town.start("server")
            node = await town.start("alice", join=[format_address(server.address)])
            await asyncio.sleep(1)
            ref = {"id": node.id, "upper": node.id.upper(), "name": "alice"}.get(by, node.id[:13])
            if by in ("name", "prefix") and call in (ping_routed, send_routed):
                return
            began = now()
            with pytest.raises(LocalError, match=r"^that is this node itself$"):
                await call(node, ref)
            assert now() - began < (0.1 if by in ("name", "prefix") else 0.001)

    run_virtual(story())
