"""Whole nodes that speak under seal with their own kind."""

import asyncio
from typing import Any

import msgspec
import pytest

from p2ptui import Node
from p2ptui.errors import HandshakeError
from p2ptui.secure.identity import id_of
from p2ptui.secure.secret import Secret
from p2ptui.wire.address import format_address
from tests.town import Town
from tests.virtual_loop import run_virtual

SECRET = "nobody else reads this line"


def secured(town: Town, name: str, network_key: Secret | None = None, **options: Any) -> Node:
    """A node with keys of its own."""
    config = town.configured(name, **options)
    if network_key is not None:
        config = msgspec.structs.replace(config, network_key=network_key)
    return town.make_from(config, wall=asyncio.get_running_loop().time)


def capture(town: Town) -> list[bytes]:
    seen: list[bytes] = []
    send = town.network.send

    def note(data: bytes, *rest: Any, **how: Any) -> Any:
        seen.append(bytes(data))
        return send(data, *rest, **how)

    town.network.send = note  # type: ignore[method-assign]
    return seen


def test_two_nodes_are_secured_and_see_it():
    async def story():
        async with Town() as town:
            wire = capture(town)
            one, other = secured(town, "one"), secured(town, "other")
            await one.start()
            await other.start()
            peer = await one.connect(format_address(other.address))
            assert peer.secured
            assert peer.node_id == other.id
            keys = other.own_identity.identity
            assert keys is not None
            assert other.id == id_of(keys.x_public, keys.ed_public)
            await one.send(peer.node_id, SECRET)
            await asyncio.sleep(1)
            (seen,) = other.peers
            assert seen.secured
            assert wire
            assert not any(SECRET.encode() in data for data in wire)

    run_virtual(story())


def test_a_node_without_keys_is_served_and_shown_as_open():
    async def story():
        async with Town() as town:
            plain, other = await town.start("plain", secured=False), secured(town, "other")
            await other.start()
            peer = await plain.connect(format_address(other.address))
            assert not peer.secured
            await asyncio.sleep(1)
            (seen,) = other.peers
            assert not seen.secured

    run_virtual(story())


def test_require_turns_away_who_has_no_keys():
    async def story():
        async with Town() as town:
            plain = await town.start("plain", secured=False)
            strict = secured(town, "strict", security={"mode": "require"})
            await strict.start()
            with pytest.raises(HandshakeError, match="require"):
                await plain.connect(format_address(strict.address))

    run_virtual(story())


def test_a_network_key_is_wanted_of_everybody():
    async def story():
        async with Town() as town:
            key = Secret(b"k" * 32)
            server = secured(town, "server", key)
            friend, stranger = secured(town, "friend", key), secured(town, "stranger")
            for node in (server, friend, stranger):
                await node.start()
            assert (await friend.connect(format_address(server.address))).secured
            with pytest.raises(HandshakeError, match="network key"):
                await stranger.connect(format_address(server.address))

    run_virtual(story())
