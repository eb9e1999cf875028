"""Nodes with sessions at several servers of one cluster: by whichever they act, it works."""

import asyncio
from typing import Any

import pytest

from p2ptui import Node
from p2ptui.core.events import DataReceived
from p2ptui.core.events import Path as Way
from p2ptui.wire.address import format_address
from tests.joined_town import TownBroker
from tests.town import Town, next_of
from tests.virtual_loop import run_virtual

RELAYED: dict[str, Any] = {"ice": {"enable": False}}


async def at(town: Town, name: str, *servers: Node, **options: Any) -> Node:
    """A node that joins servers in this order; the first is its home."""
    first, *others = [format_address(server.address) for server in servers]
    node = await town.start(name, join=(first,), **options)
    await asyncio.sleep(1)
    for other in others:
        await node.connect(other)
    await asyncio.sleep(2)
    home = node._runtime.endpoint.home.server
    assert home is not None
    assert home.node_id == servers[0].id
    return node


async def talk(alice: Node, bob: Node) -> None:
    """Each can send to the other, and ping it."""
    at_alice, at_bob = alice.events(), bob.events()
    assert (await alice.send(bob.id, "hi")).delivered
    assert (await next_of(at_bob, DataReceived)).payload == "hi"
    assert (await bob.send(alice.id, "back")).delivered
    assert (await next_of(at_alice, DataReceived)).payload == "back"
    assert (await alice.ping(bob.id)).rtt_s > 0
    assert (await bob.ping(alice.id)).rtt_s > 0


PLACES = {
    "both at both": ((0, 1), (1, 0)),
    "both at both, with one home": ((0, 1), (0, 1)),
    "one at both": ((0, 1), (1,)),
    "the other one at both": ((0,), (1, 0)),
    "with no server in common": ((0, 1), (2,)),
    "at all": ((0, 1, 2), (2, 1, 0)),
}


@pytest.mark.parametrize("options", [{}, RELAYED], ids=["direct", "relayed"])
@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
def test_they_meet_and_talk(
    places: tuple[tuple[int, ...], tuple[int, ...]], options: dict[str, Any]
) -> None:
    async def story() -> None:
        async with Town() as town:
            broker = TownBroker(town)
            servers = [await broker.server(name) for name in ("one", "other", "third")]
            alice = await at(town, "alice", *(servers[n] for n in places[0]), **options)
            bob = await at(town, "bob", *(servers[n] for n in places[1]), **options)

            await alice.connect(bob.id)
            await talk(alice, bob)
            assert (await alice.send_routed(bob.id, "hi")).delivered
            assert (await bob.ping_routed(alice.id)).rtt_s > 0
            await asyncio.sleep(40)
            await talk(alice, bob)
            way = Way.RELAY if options else Way.DIRECT
            assert alice.peer(bob.id).path is way
            assert bob.peer(alice.id).path is way

    run_virtual(story())


@pytest.mark.parametrize("number", [0, 1], ids=["the home", "another one"])
@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
def test_whichever_server_is_asked_it_works(
    places: tuple[tuple[int, ...], tuple[int, ...]], number: int
) -> None:
    async def story() -> None:
        async with Town() as town:
            broker = TownBroker(town)
            servers = [await broker.server(name) for name in ("one", "other", "third")]
            alice = await at(town, "alice", *(servers[n] for n in places[0]), **RELAYED)
            bob = await at(town, "bob", *(servers[n] for n in places[1]), **RELAYED)
            asked = servers[places[0][number % len(places[0])]]
            peers = alice._runtime.endpoint.peers
            peers.best_servers = lambda _: [  # type: ignore[method-assign]
                peer for peer in peers.joined_servers if peer.node_id == asked.id
            ]
            await alice.connect(bob.id)
            await talk(alice, bob)

    run_virtual(story())
