"""Whole nodes at different servers of a cluster: found, connected, spoken to, sent files."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from p2ptui import Node
from p2ptui.core.events import DataReceived, FileReceived
from p2ptui.core.events import Path as Way
from p2ptui.wire.address import format_address
from p2ptui.wire.files import file_payload
from tests.joined_town import TownBroker
from tests.town import Town, next_of, taken
from tests.virtual_loop import run_virtual


async def pair(town: Town, broker: TownBroker, **options: Any) -> tuple[Node, Node]:
    """Alice at one server, and Bob at another."""
    one, other = await broker.server("one"), await broker.server("other")
    alice = await town.start("alice", join=(format_address(one.address),), **options)
    bob = await town.start("bob", join=(format_address(other.address),), **options)
    await asyncio.sleep(3)
    return alice, bob


@pytest.mark.parametrize("secured", [False, True])
def test_they_meet_talk_and_find_a_direct_path(secured: bool) -> None:
    async def story() -> None:
        async with Town() as town:
            alice, bob = await pair(town, TownBroker(town), secured=secured)
            at_bob = bob.events()

            view = await alice.connect(bob.id)
            assert view.node_id == bob.id
            assert (await alice.ping(bob.id)).rtt_s > 0
            assert (await alice.send("bob", {"text": "hi"})).delivered
            assert (await next_of(at_bob, DataReceived)).payload == {"text": "hi"}
            await asyncio.sleep(5)
            assert alice.peer(bob.id).path is Way.DIRECT
            assert bob.peer(alice.id).path is Way.DIRECT
            assert (await bob.send(alice.id, "back")).delivered

    run_virtual(story())


@pytest.mark.parametrize("secured", [False, True])
def test_the_servers_relay_what_has_no_direct_path(secured: bool) -> None:
    async def story() -> None:
        async with Town() as town:
            options: dict[str, Any] = {"ice": {"enable": False}, "secured": secured}
            alice, bob = await pair(town, TownBroker(town), **options)
            at_bob = bob.events()

            view = await alice.connect("bob")
            assert view.path is Way.RELAY
            results = await asyncio.gather(*(alice.send(bob.id, n) for n in range(50)))
            assert all(result.delivered for result in results)
            came = [event.payload for event in taken(at_bob, DataReceived)]
            assert sorted(came) == list(range(50))
            assert (await alice.send(bob.id, "x" * 300_000)).delivered

    run_virtual(story())


def test_a_node_elsewhere_is_found_by_name_prefix_and_id() -> None:
    async def story() -> None:
        async with Town() as town:
            alice, bob = await pair(town, TownBroker(town))
            for ref in ("bob", bob.id[:8], bob.id):
                assert (await alice.find(ref)).node_id == bob.id

    run_virtual(story())


def test_a_file_is_kept_by_a_node_of_another_server(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            broker = TownBroker(town)
            alice, bob = await pair(town, broker, files={"receive_into": str(tmp_path)})
            at_bob = bob.events()
            await alice.connect(bob.id)
            assert (await alice.send(bob.id, file_payload("notes.txt", b"hello\n"))).delivered
            event = await next_of(at_bob, FileReceived)
            assert (event.node_id, event.name) == (alice.id, "notes.txt")
            assert (tmp_path / "notes.txt").read_bytes() == b"hello\n"

    run_virtual(story())


def test_routed_messages_pass_without_a_session() -> None:
    async def story() -> None:
        async with Town() as town:
            alice, bob = await pair(town, TownBroker(town))
            at_bob = bob.events()
            assert (await alice.send_routed(bob.id, "hi")).delivered
            assert (await next_of(at_bob, DataReceived)).payload == "hi"
            assert (await alice.ping_routed(bob.id)).rtt_s > 0

    run_virtual(story())


def test_what_waits_for_the_broker_arrives_when_it_is_back_in_time() -> None:
    async def story() -> None:
        async with Town() as town:
            broker = TownBroker(town)
            alice, bob = await pair(town, broker, ice={"enable": False})
            await alice.connect(bob.id)
            broker.act(broker.broker.kill)
            sending = asyncio.ensure_future(alice.send(bob.id, "kept"))
            await asyncio.sleep(2)
            assert not sending.done()
            broker.act(broker.broker.start)
            assert (await sending).delivered

    run_virtual(story())
