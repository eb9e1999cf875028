"""A deployed client that answers no Ping, at one of two servers: found and written to from both."""

import asyncio
import json
from typing import Any

from p2ptui import Node
from p2ptui.core.events import ErrorReceived
from p2ptui.wire.address import format_address
from tests.joined_town import TownBroker
from tests.reference_client import NODE_ID, ReferenceClient
from tests.town import Town, taken
from tests.virtual_loop import run_virtual


async def beat(client: ReferenceClient, seconds: float) -> None:
    """It says that it is there, and answers nothing."""
    for _ in range(round(seconds / 0.5)):
        client.send("Ping", None)
        await asyncio.sleep(0.5)


def told(client: ReferenceClient, kind: str) -> list[Any]:
    messages = [json.loads(data) for data, _ in client._socket.drain(100)]
    return [m["payload"] for m in messages if m["message_type"] == kind]


async def _scene(town: Town) -> tuple[Node, Node, Node, ReferenceClient]:
    broker = TownBroker(town)
    one, other = await broker.server("one"), await broker.server("other")
    client = await ReferenceClient.connect(town, other)
    alice = await town.start("alice", join=(format_address(one.address),))
    await beat(client, 6)
    return one, other, alice, client


def test_it_is_listed_and_written_to() -> None:
    async def run() -> None:
        async with Town() as town:
            one, other, alice, client = await _scene(town)
            assert not next(peer for peer in other.peers if peer.node_id == NODE_ID).proved
            listed = await alice.list_nodes(one.id)
            assert NODE_ID in [node.id for node in listed.nodes]
            await alice.send_routed(NODE_ID, {"text": "hi"})
            await beat(client, 4)
            routed = told(client, "Data")
            assert [each["original_message"]["payload"] for each in routed] == [{"text": "hi"}]

    run_virtual(run())


def test_who_wrote_to_it_hears_what_it_left_without() -> None:
    async def run() -> None:
        async with Town() as town:
            _, other, alice, client = await _scene(town)
            events = alice.events()
            for _ in range(8):
                await alice.send_routed(NODE_ID, {"text": "x" * 900})
            await asyncio.sleep(2)
            arrived = len(told(client, "Data"))
            assert 0 < arrived < 8  # as many as its own bytes have paid for
            client.close()
            await asyncio.sleep(100)
            assert not other.peers
            errors = [event.text for event in taken(events, ErrorReceived)]
            assert errors == [f"no route to node {NODE_ID}"] * (8 - arrived)

    run_virtual(run())
