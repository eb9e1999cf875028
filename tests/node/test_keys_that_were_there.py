"""Where keys were shown once, nobody answers without, also where the keys last no longer than the
node: a joined address, and a client."""

import asyncio
from pathlib import Path

import pytest

from p2ptui.errors import HandshakeError
from p2ptui.secure.identity import PublicKeys
from p2ptui.secure.known_nodes import MAX_KNOWN_ADDRESSES, KnownNodes, Met, Trust
from p2ptui.wire.address import format_address
from tests.node.test_acquaintances import Street, known_to, leave, on_street


def test_a_joined_address_that_had_passing_keys_is_not_joined_in_the_open(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        await street.start("bob")
        server = await street.start("bob", name="server", beside=True)
        where, server_id = server.address, server.id
        alice = await street.start("alice", join=[format_address(where)])
        await asyncio.sleep(2)
        assert alice.peer(where).ephemeral
        await leave(server)
        plain = await street.start("plain", address=where, secured=False)
        await asyncio.sleep(300)
        assert not any(peer.node_id == plain.id for peer in alice.peers)
        with pytest.raises(HandshakeError) as refused:
            await alice.connect(format_address(where))
        words = str(refused.value)
        assert "answers without a key, and had one before" in words
        assert f"p2ptui forget {format_address(where)}" in words
        forgotten = await alice.forget(format_address(where))
        assert (forgotten.id, forgotten.name) == (server_id, format_address(where))
        assert (await alice.connect(format_address(where))).trust is Trust.OPEN

    on_street(story, tmp_path)


def test_another_node_with_keys_may_take_the_place_of_a_passing_one(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        await street.start("bob")
        server = await street.start("bob", name="server", beside=True)
        where = server.address
        alice = await street.start("alice")
        assert (await alice.connect(format_address(where))).trust is Trust.NEW
        await leave(server)
        other = await street.start("bob", name="second", address=where, beside=True)
        assert (await alice.connect(format_address(where))).advice == ""
        await leave(other)
        lasting = await street.start("carol", address=where)
        peer = await alice.connect(format_address(where))
        assert (peer.trust, peer.advice) == (Trust.NEW, "")
        await asyncio.sleep(10)
        assert known_to(street, "alice").at(format_address(where)) == lasting.id
        await leave(lasting)
        await street.start("mallory", address=where)
        assert (await alice.connect(format_address(where))).trust is Trust.CHANGED

    on_street(story, tmp_path)


def test_an_address_of_passing_keys_is_in_the_file(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        await street.start("bob")
        server = await street.start("bob", name="server", beside=True)
        where = server.address
        alice = await street.start("alice")
        await alice.connect(format_address(where))
        await leave(alice)
        await leave(server)
        await street.start("plain", address=where, secured=False)
        alice = await street.start("alice")
        with pytest.raises(HandshakeError, match="answers without a key, and had one before"):
            await alice.connect(format_address(where))

    on_street(story, tmp_path)


def test_an_ephemeral_client_that_was_secured_is_not_let_in_without_keys(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        server = await street.start("server")
        await street.start("bob")
        client = await street.start("bob", name="client", beside=True)
        client_id = client.id
        await client.connect(server.address)
        await leave(client)
        thief = await street.start("client", secured=False, node_id=client_id)
        with pytest.raises(HandshakeError, match="has met you with keys"):
            await thief.connect(server.address)
        assert not any(peer.node_id == client_id for peer in server.peers)

    on_street(story, tmp_path)


def test_addresses_of_passing_keys_are_written_and_give_way_to_those_that_last() -> None:
    def met(number: int, *, ephemeral: bool) -> Met:
        keys = PublicKeys(bytes([number]) * 32, bytes([number]) * 32)
        return Met(keys.id, keys, f"n{number}", f"host{number}:1", ephemeral=ephemeral)

    known = KnownNodes()
    assert known.note(met(1, ephemeral=True), 0.0)
    assert not known.note(met(1, ephemeral=True), 0.0)
    assert len(known) == 0
    again = KnownNodes.from_dict(known.to_dict())
    assert again.to_dict() == known.to_dict()
    assert again.judge(Met("", None, "n1", "host1:1")).trust is Trust.CHANGED
    for number in range(MAX_KNOWN_ADDRESSES - 1):
        known.note(Met(*_of(2), "n2", f"other{number}:1"), 0.0)
    assert known.at("host1:1") is not None
    known.note(Met(*_of(2), "n2", "one-more:1"), 0.0)
    assert known.at("host1:1") is None
    assert known.at("one-more:1") == _of(2)[0]
    assert not known.note(met(3, ephemeral=True), 0.0)


def _of(number: int) -> tuple[str, PublicKeys]:
    keys = PublicKeys(bytes([number]) * 32, bytes([number]) * 32)
    return keys.id, keys
