"""Whole nodes at the servers of a cluster: where they go when theirs dies, and come back from."""

import asyncio
from collections.abc import Iterable

import pytest

from p2ptui import Node
from p2ptui.core.peers import Peer
from p2ptui.secure.presence import verify_presence
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.message import OtherServer
from tests.town import Town
from tests.virtual_loop import run_virtual


def in_cluster(node: Node, others: Iterable[Node | OtherServer] = ()) -> list[tuple[str, float]]:
    """Let a node be a server of a cluster; who says that it is there, and when."""
    came: list[tuple[str, float]] = []
    guests, own = node._endpoint.guests, node.id

    def note(peer: Peer, counter: int, signature: bytes, now: float) -> bool:
        assert peer.seal is not None
        if not verify_presence(
            peer.seal.keys,
            peer.node_id,
            own,
            counter,
            signature,
            guests._state.identity.network_id,
        ):
            return False
        came.append((peer.node_id, now))
        return True

    guests.open(note)
    guests.others = [one if isinstance(one, OtherServer) else named(one) for one in others]
    return came


def named(node: Node, at: Address | None = None) -> OtherServer:
    return OtherServer(node.id, format_address(at or node.address))


def home_of(node: Node) -> str:
    server = node._endpoint.home.server
    return "" if server is None else server.node_id


def now() -> float:
    return asyncio.get_running_loop().time()


async def until(condition, within_s: float = 120.0) -> float:
    """Wait until something is so; how long that took."""
    began = now()
    while not condition():
        assert now() - began < within_s
        await asyncio.sleep(0.01)
    return now() - began


async def joined(town: Town, name: str, *servers: Node, **options) -> Node:
    node = await town.start(name, join=tuple(format_address(s.address) for s in servers), **options)
    await asyncio.sleep(2)
    return node


@pytest.mark.parametrize("offset_s", [0.0, 0.7, 1.4])
def test_a_killed_server_is_left_within_five_seconds_for_one_that_is_joined(offset_s):
    async def story():
        async with Town() as town:
            one, two = await town.start("one"), await town.start("two")
            at_one, at_two = in_cluster(one), in_cluster(two)
            node = await joined(town, "node", one, two)
            assert home_of(node) in {one.id, two.id}
            dying, other = (one, two) if home_of(node) == one.id else (two, one)
            await asyncio.sleep(60 + offset_s)
            town.crash(dying)
            assert await until(lambda: home_of(node) == other.id) <= 3.7
            await asyncio.sleep(0.1)
            assert len(at_one) == len(at_two) == 1

    run_virtual(story())


@pytest.mark.parametrize("offset_s", [0.0, 0.7, 1.4])
def test_a_killed_server_is_left_within_five_seconds_for_one_that_it_told_of(offset_s):
    async def story():
        async with Town() as town:
            one, two = await town.start("one"), await town.start("two")
            at_two = in_cluster(two)
            in_cluster(one, [two])
            node = await joined(town, "node", one)
            assert home_of(node) == one.id
            await asyncio.sleep(60 + offset_s)
            assert node._endpoint.peers.with_id(two.id) is None
            town.crash(one)
            assert await until(lambda: bool(at_two)) <= 4.0
            assert home_of(node) == two.id

    run_virtual(story())


def test_it_comes_back_to_the_server_that_it_is_to_join_and_leaves_the_other():
    async def story():
        async with Town() as town:
            one, two = await town.start("one"), await town.start("two")
            in_cluster(two)
            in_cluster(one, [two])
            node = await joined(town, "node", one)
            address = one.address
            one._started.socket.send = lambda *_: None
            await one.close()
            await until(lambda: home_of(node) == two.id, 5)
            await asyncio.sleep(30)
            again = await town.start("one", address, same_as=one)
            in_cluster(again, [two])
            await until(lambda: home_of(node) == again.id)
            await asyncio.sleep(1)
            assert node._endpoint.peers.with_id(two.id) is None
            assert two._endpoint.peers.with_id(node.id) is None

    run_virtual(story())


def test_a_server_that_goes_down_sends_its_nodes_on_within_two_seconds():
    async def story():
        async with Town() as town:
            one, two = await town.start("one"), await town.start("two")
            at_two = in_cluster(two)
            in_cluster(one, [two])
            nodes = [await joined(town, f"node-{n}", one) for n in range(8)]
            began = now()
            await one.close()
            await until(lambda: {home_of(node) for node in nodes} == {two.id}, 2.2)
            await asyncio.sleep(0.1)
            times = sorted(when - began for _, when in at_two)
            assert len(times) == 8
            assert times[1] <= 1.0 <= times[-2]

    run_virtual(story())


def test_a_message_that_waits_for_its_ack_survives_a_server_that_goes_down():
    async def story():
        async with Town() as town:
            relaying = {"allow_symmetric_nat_relay": True}
            one, two = await town.start("one", **relaying), await town.start("two", **relaying)
            in_cluster(two)
            in_cluster(one, [two])
            options = {"ice": {"enable": False}}
            alice = await joined(town, "alice", one, **options)
            bob = await joined(town, "bob", one, **options)
            events = bob.events()
            await alice.connect(bob.id)
            await asyncio.sleep(1)
            results = [asyncio.create_task(alice.send("bob", number)) for number in range(20)]
            to_server = asyncio.create_task(alice.send(one.id, "x" * 100_000))
            await asyncio.sleep(0.005)
            await one.close()
            assert all([(await result).delivered for result in results])
            outcome = await asyncio.gather(to_server, return_exceptions=True)
            assert not getattr(outcome[0], "delivered", False)
            got = [event.payload for event in events.take(100) if hasattr(event, "payload")]
            assert sorted(got) == list(range(20))
            assert home_of(alice) == home_of(bob) == two.id
            assert (await alice.send("bob", "after")).delivered

    run_virtual(story())


def test_it_waits_longer_and_longer_while_nobody_is_up_and_comes_back():
    async def story():
        async with Town() as town:
            one, two = await town.start("one"), await town.start("two")
            in_cluster(two)
            in_cluster(one, [two])
            node = await joined(town, "node", one)
            town.crash(two)
            address = one.address
            one._started.socket.send = lambda *_: None
            await one.close()
            await asyncio.sleep(300)
            assert home_of(node) == ""
            again = await town.start("one", address, same_as=one)
            in_cluster(again)
            assert await until(lambda: home_of(node) == again.id, 90) <= 80

    run_virtual(story())


def test_a_server_that_is_another_than_was_told_is_not_joined():
    async def story():
        async with Town() as town:
            one, two, three = [await town.start(name) for name in ("one", "two", "three")]
            at_three = in_cluster(three)
            in_cluster(one, [named(two, three.address)])
            node = await joined(town, "node", one)
            town.crash(one)
            await asyncio.sleep(30)
            assert home_of(node) == ""
            assert at_three == []
            assert not any(peer.is_authenticated for peer in three._endpoint.peers)

    run_virtual(story())
