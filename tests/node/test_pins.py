"""An id that has to be at an address: it holds for what it was named for, and no longer."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from p2ptui import Node
from p2ptui.core.events import TrustChanged
from p2ptui.errors import HandshakeError
from p2ptui.secure.known_nodes import Trust
from p2ptui.wire.address import format_address
from tests.node.test_acquaintances import Street, leave, on_street
from tests.town import taken


def joins(node: Node, *servers: str) -> None:
    """Have a node keep these joined, from now on."""
    node.reload(node._config.with_options(join=list(servers)))


@pytest.mark.parametrize("first", ["the user connects", "the other comes"])
def test_an_id_that_was_mistyped_is_taken_back(tmp_path: Path, first: str) -> None:
    async def story(street: Street) -> None:
        alice, bob = await street.start("alice"), await street.start("bob")
        where = format_address(bob.address)
        with pytest.raises(HandshakeError, match="must be node"):
            await alice.connect(f"{where}#{alice.id}")
        if first == "the user connects":
            assert (await alice.connect(where)).node_id == bob.id
        else:
            assert (await bob.connect(alice.address)).node_id == alice.id
        await asyncio.sleep(1)
        assert alice.peer(bob.id).trust is Trust.NEW

    on_street(story, tmp_path)


def test_an_id_that_was_mistyped_for_a_node_with_a_session_does_not_stay(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        alice, bob = await street.start("alice"), await street.start("bob")
        await bob.connect(alice.address)
        await asyncio.sleep(1)
        where = format_address(bob.address)
        with pytest.raises(HandshakeError, match="must be node"):
            await alice.connect(f"{where}#{alice.id}")
        assert (await alice.connect(where)).node_id == bob.id
        await bob.disconnect(alice.id)
        await bob.connect(alice.address)

    on_street(story, tmp_path)


def test_a_mistyped_id_of_a_join_holds_the_join_and_not_the_user(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        bob, alice = await street.start("bob"), await street.start("alice")
        where = format_address(bob.address)
        joins(alice, f"{where}#{alice.id}")
        await asyncio.sleep(5)
        assert not alice.peers
        await bob.connect(alice.address)
        await asyncio.sleep(1)
        assert not alice.peers
        assert (await alice.connect(where)).node_id == bob.id
        # And once it is out of the configuration, nothing is left of it.
        joins(alice)
        await alice.disconnect(bob.id)
        await asyncio.sleep(1)
        assert (await bob.connect(alice.address)).node_id == alice.id

    on_street(story, tmp_path)


def test_who_connects_to_a_server_that_was_left_joins_it_again_by_its_id(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        server, alice = await street.start("server"), await street.start("alice")
        address, where, old = server.address, format_address(server.address), server.id
        joins(alice, f"{where}#{old}")
        await asyncio.sleep(2)
        assert alice.peer(old).trust is Trust.NEW
        assert await alice.disconnect(old)
        await leave(server)
        other = await street.start("mallory", address=address)
        with pytest.raises(HandshakeError, match=f"must be node {old}"):
            await alice.connect(where)
        # Without the id in the configuration it is let in, and said to be another one.
        joins(alice, where)
        await asyncio.sleep(5)
        assert alice.peer(other.id).trust is Trust.CHANGED

    on_street(story, tmp_path)


def test_a_server_that_comes_back_has_to_have_its_id_still(tmp_path: Path, caplog: Any) -> None:
    """Guards what held before."""

    async def story(street: Street) -> None:
        server, alice = await street.start("server"), await street.start("alice")
        address, old = server.address, server.id
        joins(alice, f"{format_address(address)}#{old}")
        await asyncio.sleep(2)
        await leave(server)
        other = await street.start("mallory", address=address)
        await asyncio.sleep(10)
        assert not alice.peers
        assert any(f"must be node {old}" in line for line in caplog.messages)
        await leave(other)
        await street.start("server", address=address)
        await asyncio.sleep(60)
        assert alice.peer(old).trust is Trust.KNOWN

    on_street(story, tmp_path)


# Who asks from where another must be is told as such, and not without end.


def test_who_asks_from_a_pinned_address_is_told_as_who_asks(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        bob, alice = await street.start("bob"), await street.start("alice")
        joins(alice, f"{format_address(bob.address)}#{alice.id}")
        await asyncio.sleep(5)
        events = alice.events()
        await bob.connect(alice.address)
        await asyncio.sleep(1)
        assert not alice.peers
        (told,) = taken(events, TrustChanged)
        assert told.is_refused
        assert told.advice.startswith(f"it asks as node {bob.id}, and you have said that node")
        assert "answers" not in told.advice
        assert "#" not in told.advice

    on_street(story, tmp_path)


@pytest.mark.parametrize("what", ["a pinned address", "an address that had keys", "a known id"])
def test_a_flood_of_requests_that_are_refused_is_no_flood_of_events(
    tmp_path: Path, caplog: Any, what: str
) -> None:
    async def story(street: Street) -> None:
        alice, bob = await street.start("alice"), await street.start("bob")
        await alice.connect(bob.address)
        where, known = bob.address, bob.id
        await leave(bob)
        if what == "a pinned address":
            joins(alice, f"{format_address(where)}#{known}")
        events = alice.events()
        await asyncio.sleep(5)
        judge, fresh = alice._endpoint.seals.judge_request, f"{0:08x}-0000-4000-8000-{{:012x}}"
        refused = 0
        for number in range(1_000):
            source = ("10.9.0.1", 1 + number) if what == "a known id" else where
            node_id = known if what == "a known id" else fresh.format(number)
            refused += bool(judge(source, node_id, None))
        assert refused == 1_000
        told = [event for event in taken(events, TrustChanged) if event.is_refused]
        warned = [line for line in caplog.messages if "is refused: " in line]
        assert len(told) == len(warned) == (5 if what == "a known id" else 1)
        assert all(" asks " in event.advice for event in told)
        dropped = alice._endpoint.counters.drops.get("refusal_untold", 0)
        assert dropped == (995 if what == "a known id" else 0)
        # A while later another one is told again.
        await asyncio.sleep(10)
        assert judge(("10.9.0.2", 1), known, None)
        assert len(taken(events, TrustChanged)) == 1

    on_street(story, tmp_path)
