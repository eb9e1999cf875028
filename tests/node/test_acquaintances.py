"""Whom a node's user knows: what is said of each peer, and who is refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from p2ptui import Node
from p2ptui.core.events import TrustChanged
from p2ptui.io.memory import MemorySocket
from p2ptui.secure.known_nodes import Trust
from p2ptui.wire.address import Address, format_address
from tests.town import Town, taken
from tests.virtual_loop import run_virtual


class Street:
    """Lasting nodes of several users in one town, and the files that they keep.

    Args:
        town: Where they are.
        folder: Of the files.
    """

    def __init__(self, town: Town, folder: Path) -> None:
        self.town = town
        self._folder = folder

    def known_nodes(self, user: str) -> Path:
        """The file of the known nodes of a user."""
        return self._folder / f"{user}-known.json"

    async def start(
        self,
        user: str,
        name: str = "",
        address: Address | None = None,
        *,
        identity: str | None = None,
        secured: bool = True,
        **options: Any,
    ) -> Node:
        """A running node of a user, with the identity of a name; that of its user without one."""
        security = options.pop("security", {})
        if secured and "node_id" not in options:
            security = {"identity": str(self._folder / f"{identity or user}.key"), **security}
        made = self.town.make(name or user, address, security=security, **options)
        node = Node(
            made._config,
            open_socket=lambda at: MemorySocket.open(self.town.network, at),
            clock=asyncio.get_running_loop().time,
            rng=made._rng,
            wall=lambda: 1_000_000.0 + asyncio.get_running_loop().time(),
            secured=secured,
            known_nodes=self.known_nodes(user),
        )
        self.town._nodes[-1] = node
        await node.start()
        return node


def on_street(story: Any, folder: Path) -> None:
    """Run a story on virtual time."""

    async def run() -> None:
        async with Town() as town:
            await story(Street(town, folder))

    run_virtual(run())


def test_a_node_is_new_then_known_then_verified(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        alice, bob = await street.start("alice"), await street.start("bob")
        where = format_address(bob.address)
        events = alice.events()
        peer = await alice.connect(where)
        assert (peer.trust, peer.advice) == (Trust.NEW, "")
        (told,) = taken(events, TrustChanged)
        assert (told.node_id, told.trust, told.previous) == (bob.id, Trust.NEW, None)
        await alice.disconnect(peer)
        peer = await alice.connect(where)
        assert peer.trust is Trust.KNOWN
        known = await alice.trust("bob")
        assert (known.id, known.verified) == (bob.id, True)
        assert alice.peer("bob").trust is Trust.VERIFIED
        assert [(one.trust, one.previous) for one in taken(events, TrustChanged)] == [
            (Trust.KNOWN, None),
            (Trust.VERIFIED, Trust.KNOWN),
        ]
        await alice.forget(where)
        assert alice.peer("bob").trust is Trust.NEW

    on_street(story, tmp_path)
