"""Strangers with throw-away identities flood the known nodes, and then come in another's place.

The chain of an attack on a server: with no right at all make it forget whom it has met, then be
taken for one of those, or for it in the open.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from p2ptui import Node
from p2ptui.errors import HandshakeError
from p2ptui.node import peer_warnings
from p2ptui.node.known_nodes_store import KnownNodesStore
from p2ptui.secure.identity import PublicKeys
from p2ptui.secure.known_nodes import MAX_KNOWN_NODES, Met, Trust
from p2ptui.wire.address import format_address
from tests.node.test_acquaintances import Street, leave, on_street

ATTACKER: Final = "203.0.113.9"
VISITORS: Final = MAX_KNOWN_NODES + 102
"""As many as flushed everybody else when there were no shares."""


async def flood(server: Node, *, from_everywhere: bool) -> None:
    """Visitors come and go; as the server notes each when its session begins."""
    book = server._runtime.acquaintances.book
    for number in range(VISITORS):
        keys = PublicKeys(number.to_bytes(32, "big"), b"x" * 32)
        host = f"{20 + number // 250}.{number % 250}.0.1" if from_everywhere else ATTACKER
        book.note(Met(keys.id, keys, f"x{number}", came_from=host))
        if number % 200 == 0:
            await asyncio.sleep(1)  # they are written down


@pytest.mark.parametrize("from_everywhere", [False, True])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_flood_of_strangers_makes_a_server_forget_nobody_that_it_knows(
    tmp_path: Path, from_everywhere: bool, restarts: bool
) -> None:
    async def story(street: Street) -> None:
        alice = await street.start("alice")
        keys = alice.own_identity.identity.keys
        # The server has met alice a week ago.
        earlier = KnownNodesStore(lambda: 400_000.0, street.known_nodes("server"))
        earlier.note_all([Met(alice.id, keys, "alice", came_from="198.51.100.1")])
        server = await street.start("server")
        where = server.address
        await alice.connect(where)
        bob = await street.start("bob")
        await bob.connect(where)
        carol, dave = await street.start("carol"), await street.start("dave")
        for one in (carol, dave):
            await one.connect(where)
        await asyncio.sleep(1)
        await server.connect(carol.id)  # which has a session, and is named now
        ids = {one.own_identity.identity.id: one for one in (alice, bob, carol, dave)}
        book = server._runtime.acquaintances.book
        assert book.known._strangers.host_of(bob.id) == bob.address[0]
        assert [one.name for one in book.known if one.named] == ["carol"]
        alice_id, alice_at = alice.id, alice.address
        for one in (alice, carol, dave):
            await leave(one)
        await flood(server, from_everywhere=from_everywhere)
        await asyncio.sleep(10)
        if restarts:
            await leave(bob)
            await leave(server)
            server = await street.start("server", address=where)
            book = server._runtime.acquaintances.book
        left = {one.name for one in book.known if one.id in ids}
        assert left == {"alice", "bob", "carol", "dave"}
        assert len(book.known) == MAX_KNOWN_NODES
        # An impostor of alice is told from her.
        mallory = await street.start("mallory", name="alice")
        await mallory.connect(where)
        await asyncio.sleep(1)
        assert server.peer(mallory.id).trust is Trust.CHANGED
        await leave(mallory)
        # And nobody is taken for her in the open.
        plain = await street.start("plain", secured=False, address=alice_at, node_id=alice_id)
        with pytest.raises(HandshakeError, match="this node has met you with keys"):
            await plain.connect(where)
        again = await street.start("alice")
        await again.connect(where)
        await asyncio.sleep(1)
        assert server.peer(again.id).trust is Trust.KNOWN

    on_street(story, tmp_path)


def test_who_is_connected_counts_as_seen(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        server, alice = await street.start("server"), await street.start("alice")
        await alice.connect(server.address)
        await asyncio.sleep(10)
        path = street.known_nodes("server")
        written = path.read_bytes()
        store = KnownNodesStore(lambda: 0.0, path)
        (before,) = store.known
        await asyncio.sleep(3_500)
        assert path.read_bytes() == written
        await asyncio.sleep(800)
        (after,) = store.known
        assert (after.first_seen, after.last_seen) == (
            before.first_seen,
            pytest.approx(before.first_seen + 3_900, abs=310),
        )

    on_street(story, tmp_path)


def test_an_address_that_was_asked_once_stands_for_nobody_who_comes_from_there(
    tmp_path: Path, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_warnings, "LINES_PER_SECOND", 1 / 60)

    async def story(street: Street) -> None:
        victim, alice = await street.start("victim"), await street.start("alice")
        await alice.connect(victim.address)
        await asyncio.sleep(1)
        await victim.connect(alice.id)
        first = await street.start("mallory")
        first_id, where = first.id, first.address
        await victim.connect(where)
        await leave(first)
        for number in range(20):
            visitor = await street.start(f"m{number}", name="alice", address=where)
            await visitor.connect(victim.address)
            await asyncio.sleep(0.01)
            await leave(visitor)
        known = victim._runtime.acquaintances.book.known
        assert {one.id for one in known if one.named} == {alice.id, first_id}
        # None of them has a warning's place of its own.
        assert 0 < sum("is not the" in line for line in caplog.messages) <= 3
        # Nor has the user named whom this node asks by itself, as a server that others suggest.
        told = await street.start("suggested")
        await victim._runtime.connector.connect_any([told.address], 5.0)
        assert victim.peer(told.id).initiated
        assert {one.id for one in known if one.named} == {alice.id, first_id}
        # Whom the user asks for there again is named again.
        again = await street.start("carol", address=where)
        peer = await victim.connect(where)
        assert peer.trust is Trust.CHANGED
        assert {one.id for one in known if one.named} == {alice.id, first_id, again.id}

    on_street(story, tmp_path)


def test_a_joined_server_that_turns_bad_is_named_once(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        server = await street.start("server")
        server_id, where = server.id, server.address
        client = await street.start("client", join=[format_address(where)])
        await asyncio.sleep(3)
        for number in range(5):
            await leave(server)
            server = await street.start(f"x{number}", address=where)
            await asyncio.sleep(120)
            assert client.peer(server.id).initiated
        known = client._runtime.acquaintances.book.known
        assert len(known) == 6
        assert {one.id for one in known if one.named} == {server_id}

    on_street(story, tmp_path)


def test_impostors_do_not_drown_the_warning_about_a_changed_key(
    tmp_path: Path, caplog: Any
) -> None:
    async def story(street: Street) -> None:
        victim, alice = await street.start("victim"), await street.start("alice")
        server = await street.start("server")
        where, server_at = format_address(victim.address), server.address
        await victim.connect(server_at)
        await alice.connect(where)
        carol = await street.start("carol")
        await carol.connect(where)
        await asyncio.sleep(1)
        await victim.connect(carol.id)
        for one in (server, carol):
            await leave(one)
        impostors = [await street.start(f"m{number}", name="alice") for number in range(20)]
        await asyncio.gather(*(one.connect(where) for one in impostors))
        # The flood has used up what there is for strangers: two changes that matter are told.
        await street.start("eve", name="server", address=server_at)
        await victim.connect(server_at)
        other = await street.start("mallory", name="carol")
        await other.connect(where)
        await asyncio.sleep(0.1)
        lines = [line for line in caplog.messages if "not the" in line]
        assert sum("alice is not the alice" in line for line in lines) < 20
        assert sum("not the node of before" in line for line in lines) == 1
        assert sum("carol is not the carol of before" in line for line in lines) == 1
        await asyncio.sleep(15)
        told = sum("alice is not the alice" in line for line in caplog.messages)
        assert f"{20 - told} more warnings about peers were not logged" in caplog.messages

    on_street(story, tmp_path)
