"""Whom a running node's user means by a name or an id: of whom files are taken, who is trusted."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from p2ptui import Node
from p2ptui.core.events import FileReceived
from p2ptui.errors import ConfigError, UnknownPeerError
from p2ptui.node import files
from p2ptui.secure.known_nodes import Trust
from p2ptui.wire.files import file_payload
from tests.node.test_acquaintances import Street, leave, on_street
from tests.town import taken

OF_KEYS = "0badc0de-1abd-8738-b545-74297a8e3db5"
V4 = "-0000-4000-8000-000000000001"


async def sent_by(sender: Node, keeper: Node) -> FileReceived:
    """What a node that keeps files tells of one."""
    events = keeper.events()
    peer = await sender.connect(keeper.address)
    await sender.send(peer.node_id, file_payload("notes.txt", b"x"))
    told: list[FileReceived] = []
    while not told:
        await sender.ping(peer.node_id)
        told = taken(events, FileReceived)
    return told[0]


@pytest.mark.parametrize("ref", [OF_KEYS, OF_KEYS[:8]])
def test_no_file_is_taken_of_an_id_of_keys_without_them(tmp_path: Path, ref: str) -> None:
    async def story(street: Street) -> None:
        into = {"receive_into": str(tmp_path), "receive_from": ref}
        keeper = await street.start("keeper", files=into)
        other = await street.start("bob", secured=False, node_id=OF_KEYS)
        told = await sent_by(other, keeper)
        assert told.path is None
        assert "claims an id that is made from keys, and has not shown them" in told.reason

    on_street(story, tmp_path)


@pytest.mark.parametrize("impostor", ["open", "ephemeral", "lasting"])
def test_files_are_taken_of_the_node_that_is_known_by_a_name(tmp_path: Path, impostor: str) -> None:
    async def story(street: Street) -> None:
        into = {"receive_into": str(tmp_path), "receive_from": "bob"}
        keeper = await street.start("keeper", files=into, security={"mode": "open"})
        bob = await street.start("bob")
        bob_id = bob.id
        assert (await sent_by(bob, keeper)).path is not None
        await leave(bob)
        how: dict[str, Any] = {
            "open": {"secured": False},
            "ephemeral": {"security": {"identity": "", "ephemeral": True}},
            "lasting": {},
        }[impostor]
        other = await street.start("mallory", name="bob", **how)
        told = await sent_by(other, keeper)
        assert (told.sender, told.path) == ("bob", None)
        assert bob_id in told.reason
        # Who is beside him by his own word is him.
        beside = await street.start("bob", name="bob", beside=True)
        assert (await sent_by(beside, keeper)).path is not None

    on_street(story, tmp_path)


@pytest.mark.parametrize("by", ["itself", "its command", "a node of its name beside it"])
@pytest.mark.parametrize("is_verified", [True, False])
def test_who_came_once_under_a_known_name_gives_no_files_in_it(
    tmp_path: Path, by: str, is_verified: bool
) -> None:
    async def story(street: Street) -> None:
        into = {"receive_into": str(tmp_path), "receive_from": "bob"}
        keeper = await street.start("keeper", files=into)
        bob = await street.start("bob")
        assert (await sent_by(bob, keeper)).path is not None
        if is_verified:
            await keeper.trust(bob.id)
        mallory = sender = await street.start("mallory", name="bob")
        await mallory.connect(keeper.address)
        await asyncio.sleep(1)
        name = "p2ptui-1" if by == "its command" else "bob"
        if by != "itself":
            sender = await street.start("mallory", name=name, beside=True)
        told = await sent_by(sender, keeper)
        assert told.path is None
        assert keeper.peer(sender.id).trust is Trust.CHANGED
        assert f"p2ptui trust {mallory.id}" in keeper.peer(sender.id).advice
        assert told.signer_name == ""
        assert files.sender_words(told) == f"{name} ({sender.id[:8]})"
        assert keeper.against("bob", sender.id, name)
        assert not keeper.against("bob", bob.id, "bob")
        # The user may say that they are right.
        await keeper.trust(mallory.id)
        told = await sent_by(sender, keeper)
        assert told.path is not None
        assert told.signer_name == ("" if by == "itself" else "bob")

    on_street(story, tmp_path)


@pytest.mark.parametrize("ref", ["id", "prefix", "name"])
@pytest.mark.parametrize("is_met", [True, False])
def test_the_files_of_a_users_commands_are_the_users(
    tmp_path: Path, ref: str, is_met: bool
) -> None:
    """A command beside a running node has an id and a name of its own, and shows whose it is."""

    async def story(street: Street) -> None:
        alice = await street.start("alice")
        wanted = {"id": alice.id, "prefix": alice.id[:8], "name": "alice"}[ref]
        into = {"receive_into": str(tmp_path), "receive_from": wanted}
        keeper = await street.start("keeper", files=into)
        if is_met:
            await keeper.connect(alice.address)
        command = await street.start("alice", name="p2ptui-1", beside=True)
        told = await sent_by(command, keeper)
        is_told = is_met or ref != "name"  # a name that was never met is nobody's
        assert (told.path is not None, told.signer_id) == (is_told, alice.id)
        assert told.signer_name == ("alice" if is_met else "")
        words = f"alice ({alice.id[:8]}), by its command {command.id[:8]}"
        assert files.sender_words(told) == (words if is_met else f"p2ptui-1 ({command.id[:8]})")
        stranger = await street.start("mallory", name="alice")
        assert (await sent_by(stranger, keeper)).path is None or (ref == "name" and not is_met)

    on_street(story, tmp_path)


@pytest.mark.parametrize("verb", ["trust", "forget"])
@pytest.mark.parametrize("by", ["name", "prefix"])
def test_what_fits_a_known_node_and_another_that_is_here_is_told_by_the_id(
    tmp_path: Path, verb: str, by: str
) -> None:
    async def story(street: Street) -> None:
        alice, bob = await street.start("alice"), await street.start("bob")
        bob_id = bob.id
        await alice.connect(bob.address)
        await leave(bob)
        if by == "name":
            other, ref = await street.start("mallory", name="bob"), "bob"
            other_id = other.id
        else:
            other_id, ref = bob_id[:8] + V4, bob_id[:8]
            other = await street.start("mallory", secured=False, node_id=other_id)
        await alice.connect(other.address)
        say = getattr(alice, verb)
        with pytest.raises(UnknownPeerError) as refused:
            await say(ref)
        assert bob_id in str(refused.value)
        assert other_id in str(refused.value)
        assert alice.peer(other_id).trust is not Trust.VERIFIED
        assert alice.known_node(bob_id) is not None
        assert (await say(bob_id)).id == bob_id
        if by == "name" and verb == "trust":
            assert (await say(other_id)).id == other_id
            assert alice.peer(other_id).trust is Trust.VERIFIED

    on_street(story, tmp_path)


def test_an_id_of_keys_cannot_be_configured(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        with pytest.raises(ConfigError) as refused:
            await street.town.start("alice", node_id=OF_KEYS.upper())
        assert str(refused.value).count("\n") == 0
        assert "version 8" in str(refused.value)
        await street.town.start("alice", node_id="c0ffee00" + V4)

    on_street(story, tmp_path)
