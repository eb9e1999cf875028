"""Whom a node's user knows: what is said of each peer, and who is refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from p2ptui import Node
from p2ptui.core.events import PeerStatusChanged, TrustChanged
from p2ptui.errors import HandshakeError, LocalError, UnknownPeerError
from p2ptui.io.memory import MemorySocket
from p2ptui.node.known_nodes_store import KnownNodesStore
from p2ptui.secure.known_nodes import KnownNodes, Trust
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


def test_an_address_is_known_as_it_was_typed(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        alice, bob = await street.start("alice"), await street.start("bob")
        where = bob.address
        await alice.connect(format_address(where))
        await leave(bob)
        other = await street.start("eve", address=where)
        peer = await alice.connect(format_address(where))
        assert peer.trust is Trust.CHANGED
        assert bob_id(street) in peer.advice
        assert other.id in peer.advice
        assert f"p2ptui trust {other.id}" in peer.advice
        await alice.trust(other.id)
        assert alice.peer(other.id).trust is Trust.VERIFIED
        assert alice.peer(other.id).advice == ""

    def bob_id(street: Street) -> str:
        (known,) = [one for one in known_to(street, "alice") if one.name == "bob"]
        return known.id

    on_street(story, tmp_path)


def test_a_name_that_comes_with_another_id_is_said_to_be_changed(tmp_path: Path, caplog: Any):
    async def story(street: Street) -> None:
        server = await street.start("server")
        alice = await street.start("alice")
        await alice.connect(server.address)
        other = await street.start("mallory", name="alice")
        await asyncio.sleep(1)
        events = server.events()
        await other.connect(server.address)
        await asyncio.sleep(1)
        peer = server.peer(other.id)
        assert peer.trust is Trust.CHANGED
        assert "alice is not the alice of before" in peer.advice
        (told,) = taken(events, TrustChanged)
        assert (told.trust, told.advice) == (Trust.CHANGED, peer.advice)
        for _ in range(3):
            await other.disconnect(server.id)
            await other.connect(server.address)
            await asyncio.sleep(1)
        warned = [line for line in caplog.messages if "is not the alice of before" in line]
        assert len(warned) == 1
        await server.forget(alice.id)
        assert server.peer(other.id).trust is Trust.KNOWN

    on_street(story, tmp_path)


@pytest.mark.parametrize("asks", ["known", "knower"])
def test_who_was_secured_once_is_not_spoken_to_in_the_open(
    tmp_path: Path, caplog: Any, asks: str
) -> None:
    async def story(street: Street) -> None:
        alice, bob = await street.start("alice"), await street.start("bob")
        where, bob_id = bob.address, bob.id
        await alice.connect(where)
        await leave(bob)
        bob = await street.start("bob", address=where, secured=False, node_id=bob_id)
        events = alice.events()
        first, second = (bob, alice) if asks == "known" else (alice, bob)
        for _ in range(3):
            with pytest.raises(HandshakeError) as refused:
                await first.connect(second.address)
        if asks == "known":
            assert "has met you with keys" in str(refused.value)
        else:
            assert f"p2ptui forget {bob_id}" in str(refused.value)
        assert not any(peer.node_id == bob_id for peer in alice.peers)
        (told,) = taken(events, TrustChanged)
        assert (told.node_id, told.trust, told.is_refused) == (bob_id, Trust.CHANGED, True)
        assert f"p2ptui forget {bob_id}" in told.advice
        assert len([line for line in caplog.messages if "is refused" in line]) == 1
        await alice.forget("bob")
        await first.connect(second.address)
        await asyncio.sleep(1)
        assert alice.peer(bob_id).trust is Trust.OPEN

    on_street(story, tmp_path)


def test_an_address_that_had_a_key_is_not_spoken_to_without_one(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        alice, bob = await street.start("alice"), await street.start("bob")
        where = bob.address
        await alice.connect(where)
        await leave(bob)
        plain = await street.start("plain", address=where, secured=False)
        with pytest.raises(HandshakeError, match="has met you with keys"):
            await plain.connect(alice.address)
        with pytest.raises(HandshakeError, match="answers without a key, and had one before"):
            await alice.connect(where)
        await alice.forget(format_address(where))
        assert (await alice.connect(where)).trust is Trust.OPEN

    on_street(story, tmp_path)


def test_an_open_node_lets_anyone_in_and_says_who_has_changed(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        alice = await street.start("alice", security={"mode": "open"})
        bob = await street.start("bob")
        where, bob_id = bob.address, bob.id
        await alice.connect(where)
        await leave(bob)
        await street.start("bob", address=where, secured=False, node_id=bob_id)
        peer = await alice.connect(where)
        assert not peer.secured
        assert peer.trust is Trust.CHANGED
        assert f"p2ptui forget {bob_id}" in peer.advice

    on_street(story, tmp_path)


@pytest.mark.parametrize("secured", [True, False])
def test_a_pinned_id_is_no_other(tmp_path: Path, secured: bool) -> None:
    async def story(street: Street) -> None:
        alice, bob = await street.start("alice"), await street.start("bob", secured=secured)
        where, wanted = format_address(bob.address), alice.id
        with pytest.raises(HandshakeError) as refused:
            await alice.connect(f"{where}#{wanted[:-1]}0")
        assert bob.id in str(refused.value)
        assert f"{wanted[:-1]}0" in str(refused.value)
        assert not alice.peers
        if secured:
            peer = await alice.connect(f"{where}#{bob.id}")
            assert peer.trust is Trust.NEW
            # What is there already is not taken for another one either.
            with pytest.raises(HandshakeError, match="must be node"):
                await alice.connect(f"{where}#{wanted}")
        else:
            with pytest.raises(HandshakeError, match="cannot show that it is node"):
                await alice.connect(f"{where}#{bob.id}")

    on_street(story, tmp_path)


def test_a_pinned_server_is_joined_and_another_one_is_not(tmp_path: Path, caplog: Any) -> None:
    async def story(street: Street) -> None:
        server = await street.start("server")
        where = format_address(server.address)
        alice = await street.start("alice", join=[f"{where}#{server.id}"])
        await asyncio.sleep(2)
        assert alice.peer(server.id).trust is Trust.NEW
        bob = await street.start("bob", join=[f"{where}#{alice.id}"])
        await asyncio.sleep(2)
        assert not bob.peers
        (line,) = {line for line in caplog.messages if line.startswith("cannot join")}
        assert server.id in line
        assert alice.id in line
        # Nor does it come in when it asks itself.
        events = server.events()
        await server.connect(bob.address)
        await asyncio.sleep(1)
        assert not bob.peers
        assert not any(peer.node_id == bob.id for peer in server.peers)
        ends = taken(events, PeerStatusChanged)
        assert "another node is expected at this address" in (ends[-1].reason or "")

    on_street(story, tmp_path)


def test_a_node_without_keys_can_check_no_id(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        bob, plain = await street.start("bob"), await street.start("plain", secured=False)
        with pytest.raises(LocalError, match="has no keys"):
            await plain.connect(f"{format_address(bob.address)}#{bob.id}")
        peer = await plain.connect(bob.address)
        assert (peer.trust, peer.advice) == (Trust.OPEN, "")
        with pytest.raises(UnknownPeerError, match="has no keys"):
            await bob.trust(plain.id)

    on_street(story, tmp_path)


def test_what_others_change_in_the_file_is_seen(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        alice, bob = await street.start("alice"), await street.start("bob")
        await alice.connect(bob.address)
        await asyncio.sleep(10)
        events = alice.events()
        store = KnownNodesStore(lambda: 1_000_000.0, street.known_nodes("alice"))
        store.trust("bob")
        await asyncio.sleep(2)
        assert alice.peer("bob").trust is Trust.VERIFIED
        (told,) = taken(events, TrustChanged)
        assert (told.trust, told.previous) == (Trust.VERIFIED, Trust.NEW)
        store.forget("bob")
        await asyncio.sleep(2)
        assert alice.peer("bob").trust is Trust.NEW

    on_street(story, tmp_path)


def test_whom_a_node_met_is_written_when_it_ends(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        alice, bob = await street.start("alice"), await street.start("bob")
        await alice.connect(bob.address)
        await alice.close()
        (known,) = known_to(street, "alice")
        assert (known.id, known.name) == (bob.id, "bob")
        again = await street.start("alice")
        assert (await again.connect(bob.address)).trust is Trust.KNOWN

    on_street(story, tmp_path)


@pytest.mark.parametrize("content", ["{", '{"form": 2}', ""])
def test_a_damaged_file_is_said_in_a_line_and_kept(
    tmp_path: Path, caplog: Any, content: str
) -> None:
    async def story(street: Street) -> None:
        path = street.known_nodes("alice")
        path.write_text(content)
        alice, bob = await street.start("alice"), await street.start("bob")
        peer = await alice.connect(bob.address)
        assert peer.trust is Trust.NEW
        assert "may have been met before" in peer.advice
        await alice.close()
        assert len([line for line in caplog.messages if "it is kept as" in line]) == 1

    on_street(story, tmp_path)
    (kept,) = tmp_path.glob("alice-known.damaged-*")
    assert kept.read_text() == content


async def leave(node: Node) -> None:
    """End a node, once all others know that it is there, and have it known."""
    await asyncio.sleep(1)
    await node.close()
    await asyncio.sleep(1)


def known_to(street: Street, user: str) -> KnownNodes:
    """What the file of a user says."""
    return KnownNodesStore(lambda: 1_000_000.0, street.known_nodes(user)).known
