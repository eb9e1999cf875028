"""Nodes with sessions at several servers of one cluster: by whichever they act, it works."""

import asyncio
import json
from typing import Any

import pytest

from p2ptui import Node
from p2ptui.core.addresses import visible_address
from p2ptui.core.events import DataReceived, PeerStatusChanged
from p2ptui.core.events import Path as Way
from p2ptui.core.peers import Handing
from p2ptui.wire.address import format_address
from p2ptui.wire.cluster import HandOver
from p2ptui.wire.frames import RELAYED as RELAYED_FRAME
from p2ptui.wire.frames import encode_relay, node_id_bytes
from tests.joined_town import TownBroker
from tests.simulation import World
from tests.town import Town, next_of, taken
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
    assert home_of(node) == (servers[0].id if options.get("secured", True) else "")
    return node


async def three_servers(town: Town) -> tuple[TownBroker, list[Node]]:
    """A broker, and the servers of its cluster."""
    broker = TownBroker(town)
    return broker, [await broker.server(name) for name in ("one", "other", "third")]


async def at_places(
    town: Town, name: str, servers: list[Node], numbers: tuple[int, ...], **options: Any
) -> Node:
    """A node at those of some servers that have these numbers, the first one of them its home."""
    return await at(town, name, *(servers[number] for number in numbers), **options)


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
            _, servers = await three_servers(town)
            alice = await at_places(town, "alice", servers, places[0], **options)
            bob = await at_places(town, "bob", servers, places[1], **options)

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
            _, servers = await three_servers(town)
            alice = await at_places(town, "alice", servers, places[0], **RELAYED)
            bob = await at_places(town, "bob", servers, places[1], **RELAYED)
            asked = servers[places[0][number % len(places[0])]]
            peers = alice._runtime.endpoint.peers
            peers.best_servers = lambda _: [  # type: ignore[method-assign]
                peer for peer in peers.joined_servers if peer.node_id == asked.id
            ]
            await alice.connect(bob.id)
            await talk(alice, bob)

    run_virtual(story())


def home_of(node: Node) -> str:
    """The id of the server by which others reach a node."""
    server = node._runtime.endpoint.home.server
    return "" if server is None else server.node_id


def take_home(node: Node, server: Node) -> None:
    """The node finds another server better, as it does when that is quicker."""
    peer = node._runtime.endpoint.peers.authenticated(server.id)
    assert peer is not None
    node._runtime.endpoint.home._take(peer, asyncio.get_running_loop().time())
    node._runtime.flush()


def brought_by(node: Node, other: Node) -> tuple[str, int]:
    """By way of which server a session goes."""
    peer = node._runtime.endpoint.peers.authenticated(other.id)
    assert peer is not None
    return visible_address(peer.home)


async def sent(one: Node, other: Node, numbers: range) -> list[bool]:
    """Whether each of some messages was delivered, ten a second."""
    sending = []
    for number in numbers:
        sending.append(asyncio.ensure_future(one.send(other.id, number)))
        await asyncio.sleep(0.1)
    return [result.delivered for result in await asyncio.gather(*sending)]


@pytest.mark.parametrize("secured", [True, False])
@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
def test_a_home_moves_and_the_session_goes_on(
    places: tuple[tuple[int, ...], tuple[int, ...]], secured: bool
) -> None:
    async def story() -> None:
        async with Town() as town:
            _, servers = await three_servers(town)
            alice = await at_places(town, "alice", servers, places[0], **RELAYED)
            options = RELAYED | {"secured": secured}
            bob = await at_places(town, "bob", servers, places[1], **options)
            await alice.connect(bob.id)
            await talk(alice, bob)
            at_alice = alice.events()
            for number in (*reversed(places[0]), *places[0]):
                take_home(alice, servers[number])
                assert all(await sent(alice, bob, range(20)))
                assert all(await sent(bob, alice, range(20)))
                assert home_of(alice) == servers[number].id
                await asyncio.sleep(5)
                if not set(places[0]) & set(places[1]):
                    assert brought_by(alice, bob) == servers[number].address
                await talk(alice, bob)
            assert not [
                event for event in taken(at_alice, PeerStatusChanged) if event.node_id == bob.id
            ]

    run_virtual(story())


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("places", [p for p in PLACES.values() if len(p[0]) > 1])
def test_a_server_dies_and_the_session_goes_on(
    places: tuple[tuple[int, ...], tuple[int, ...]], number: int
) -> None:
    async def story() -> None:
        async with Town() as town:
            broker, servers = await three_servers(town)
            alice = await at_places(town, "alice", servers, places[0], **RELAYED)
            bob = await at_places(town, "bob", servers, places[1], **RELAYED)
            await alice.connect(bob.id)
            await talk(alice, bob)
            if places[1] == (places[0][number],):
                return  # nobody brings bob any more
            dead = servers[places[0][number]]
            broker.kill(dead)
            began = asyncio.get_running_loop().time()
            assert (await alice.send(bob.id, "after")).delivered
            assert (await bob.send(alice.id, "after")).delivered
            assert asyncio.get_running_loop().time() - began < 6
            await asyncio.sleep(5)
            assert home_of(alice) != dead.id
            await asyncio.sleep(5)
            await talk(alice, bob)

    run_virtual(story())


def test_a_server_that_speaks_for_whom_it_does_not_hold_takes_nothing_and_hears_nothing() -> None:
    async def story() -> None:
        async with Town() as town:
            broker, servers = await three_servers(town)
            alice = await at(town, "alice", servers[0], **RELAYED)
            bob = await at(town, "bob", servers[1], **RELAYED)
            await alice.connect(bob.id)
            await talk(alice, bob)
            at_bob = bob.events()
            session = bob._runtime.endpoint.peers.authenticated(alice.id)
            taken_before = broker.rooms[servers[0].id][0].status(0).taken

            hostile, _ = broker.rooms[servers[2].id]
            forger = World().puppet(node_id=alice.id)
            request = forger.spec_message("HandshakeRequest", forger.handshake_request()["payload"])
            goodbye = forger.spec_message("Disconnect", {"reason": "forged"})
            own = hostile._own
            for forged in (request, goodbye):
                datagram = json.dumps(forged).encode()
                over = HandOver(
                    own.network,
                    own.server,
                    own.instance,
                    Handing.FRAME,
                    node_id_bytes(alice.id),
                    node_id_bytes(bob.id),
                    "",
                    encode_relay(RELAYED_FRAME, node_id_bytes(alice.id), datagram),
                )
                hostile._send_message(servers[1].id, over)
            broker.run()
            await asyncio.sleep(10)

            assert broker.rooms[servers[1].id][0].status(0).taken > 2, "they came to bob"
            assert bob._runtime.endpoint.peers.authenticated(alice.id) is session
            assert taken(at_bob, PeerStatusChanged) == []
            await talk(alice, bob)
            assert broker.rooms[servers[0].id][0].status(0).taken > taken_before
            assert hostile.status(0).taken == 0, "all that is answered goes to the server of alice"

    run_virtual(story())
