"""Whole nodes with several servers: which one is used, and what a user notices when it dies."""

import asyncio

import pytest

from p2ptui import Node
from p2ptui.core.events import Path, PathChanged
from p2ptui.node import way_words
from p2ptui.wire.address import format_address
from tests.town import Town, taken
from tests.virtual_loop import run_virtual


async def pair(town: Town, *servers: Node) -> tuple[Node, Node]:
    """Two nodes that have joined all servers, and look for no direct path."""
    join = tuple(format_address(server.address) for server in servers)
    options = {"join": join, "ice": {"enable": False}}
    alice, bob = await town.start("alice", **options), await town.start("bob", **options)
    await asyncio.sleep(2)
    return alice, bob


async def relaying(town: Town, name: str, *, same_as: Node | None = None, address=None) -> Node:
    options = {"allow_symmetric_nat_relay": True}
    return await town.start(name, address, same_as=same_as, **options)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_the_quickest_server_brings_them_together_and_is_shown():
    async def story():
        async with Town() as town:
            near, far = await relaying(town, "near"), await relaying(town, "far")
            alice, bob = await pair(town, far, near)
            for node in (alice, bob):
                for one, other in ((node, far), (far, node)):
                    town.network.set_link(one.address[0], other.address[0], latency_s=0.1)
            for _ in range(3):
                for server in (near, far):
                    await alice.ping(server.address)
            view = await alice.connect(bob.id)

            assert (view.path, view.address, view.via_name) == (Path.RELAY, near.address, "near")
            assert way_words(view) == "by way of near"

    run_virtual(story())


def test_when_it_dies_the_other_one_is_used_and_shown():
    async def story():
        async with Town() as town:
            servers = [await relaying(town, "one"), await relaying(town, "two")]
            alice, bob = await pair(town, *servers)
            view = await alice.connect(bob.id)
            assert (await alice.send("bob", "before")).delivered
            events = alice.events(data=False)
            (died,) = [server for server in servers if server.address == view.address]
            (other,) = [server for server in servers if server is not died]
            town.crash(died)
            began = now()
            result = await alice.send("bob", "after")

            assert result.delivered
            assert now() - began <= 3.0
            for node, peer in ((alice, "bob"), (bob, "alice")):
                view = node.peer(peer)
                assert (view.address, view.via_name) == (other.address, other.info.name)
                assert way_words(view) == f"by way of {other.info.name}"
            (event,) = taken(events, PathChanged)
            assert (event.path, event.address) == (Path.RELAY, other.address)
            assert format_address(died.address) in event.reason

    run_virtual(story())


def test_a_dead_server_holds_up_no_connect_for_long():
    async def story():
        async with Town() as town:
            servers = [await relaying(town, "one"), await relaying(town, "two")]
            for dead in (0, 1):
                alice, bob = await pair(town, *servers)
                await alice.ping(servers[dead].address)  # the one heard of last
                for node in (alice, bob):
                    town.partition(node, servers[dead])
                began = now()
                view = await alice.connect(bob.id)

                assert now() - began <= 3.0
                assert view.address == servers[1 - dead].address
                await alice.close()
                await bob.close()

    run_virtual(story())


@pytest.mark.parametrize(
    ("goodbye", "messages", "within_s"),
    [
        (True, 0, 3.0),
        (True, 5, 3.0),
        (False, 5, 3.0),
        # An idle receiver does not notice that its server forgot it before it pings it.
        (False, 0, 30.0 * 1.1 + 3.0),
    ],
)
def test_the_only_server_is_restarted(goodbye, messages, within_s):
    async def story():
        async with Town() as town:
            server = await relaying(town, "server")
            alice, bob = await pair(town, server)
            await alice.connect(bob.id)
            await asyncio.sleep(60)
            address = server.address
            for number in range(messages):
                await alice.send("bob", number)
            if not goodbye:
                server._started.socket.send = lambda *_: None
            await server.close()
            under_way = asyncio.create_task(alice.send("bob", "under way"))
            await asyncio.sleep(1.5)
            await relaying(town, "server", same_as=server, address=address)
            began = now()
            assert (await alice.send("bob", "after")).delivered
            assert (await under_way).delivered
            assert now() - began <= within_s

    run_virtual(story())


def test_routed_messages_go_by_another_server_as_well():
    async def story():
        async with Town() as town:
            servers = [await relaying(town, "one"), await relaying(town, "two")]
            alice, bob = await pair(town, *servers)
            await alice.discover()
            await asyncio.sleep(1)
            (hop,) = [route.next_hop for route in alice.routes if route.destination == bob.id]
            (died,) = [server for server in servers if server.id == hop]
            town.crash(died)
            for _ in range(10):
                began = now()
                assert (await alice.send_routed(bob.id, "x")).delivered
                assert now() - began <= 3.0

    run_virtual(story())
