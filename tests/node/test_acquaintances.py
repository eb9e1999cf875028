"""Whom a node's user knows: what is said of each peer, and who is refused."""

import asyncio
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from p2ptui import Node
from p2ptui.core.events import PeerStatus, PeerStatusChanged, TrustChanged
from p2ptui.errors import HandshakeError, LocalError, UnknownPeerError
from p2ptui.io.key_files import read_key_file
from p2ptui.io.memory import MemorySocket
from p2ptui.node.known_nodes_store import KnownNodesStore
from p2ptui.node.own_identity import OwnIdentity
from p2ptui.secure.identity import STATEMENT_LIFE_S, Identity, make_statement, read_short_statement
from p2ptui.secure.known_nodes import KnownNodes, Trust
from p2ptui.secure.secret import KeyKind, Secret
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
        beside: bool = False,
        secured: bool = True,
        **options: Any,
    ) -> Node:
        """A running node with a user's identity; or `beside` it, as commands are."""
        security = options.pop("security", {})
        key_file = self._folder / f"{user}.key"
        if secured and not beside:
            security = {"identity": str(key_file), **security}
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
        if beside:
            signer = Identity(read_key_file(key_file, KeyKind.SEED))
            node._choose_identity = lambda: stand_beside(signer, name)
        await node.start()
        return node


def stand_beside(signer: Identity, name: str) -> OwnIdentity:
    """Who a node is that runs beside that of its user."""
    identity = Identity(Secret(sha256(name.encode()).digest()))
    return OwnIdentity(identity, identity.id, is_ephemeral=True, signer_of=lambda: signer)


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
        begun = [one for one in events.take(100) if isinstance(one, PeerStatusChanged)]
        assert [(one.status.value, one.trust) for one in begun] == [
            ("handshaking", None),
            ("authenticated", "new"),
        ]
        await alice.disconnect(peer)
        peer = await alice.connect(where)
        assert peer.trust is Trust.KNOWN
        known = await alice.trust("bob")
        assert (known.id, known.verified) == (bob.id, True)
        assert alice.peer("bob").trust is Trust.VERIFIED
        (told,) = taken(events, TrustChanged)
        assert (told.node_id, told.trust, told.previous) == (bob.id, Trust.VERIFIED, Trust.KNOWN)
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


@pytest.mark.parametrize("secured", [True, False], ids=["keys", "open"])
def test_a_session_that_goes_on_is_told_with_what_is_known(tmp_path: Path, secured: bool) -> None:
    async def story(street: Street) -> None:
        alice = await street.start("alice", secured=secured)
        bob = await street.start("bob")
        await alice.connect(bob.address)
        await asyncio.sleep(1)
        events = alice.events()
        peer = alice.peer("bob")
        status = PeerStatus.AUTHENTICATED
        on = PeerStatusChanged(bob.id, peer.address, "bob", status, None, "it goes on")
        alice._runtime._handle_event(on)
        (told,) = taken(events, PeerStatusChanged)
        assert told.trust == ("new" if secured else "open")

    on_street(story, tmp_path)


def test_who_was_never_met_cannot_be_trusted_and_that_is_said(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        alice, server = await street.start("alice"), await street.start("server")
        await alice.connect(server.address)
        await asyncio.sleep(1)
        own = await street.start("alice", name="second", beside=True)
        await own.connect(alice.address)
        await asyncio.sleep(1)
        assert alice.peer("second").trust is Trust.VERIFIED
        carol = await street.start("carol")
        await carol.connect(server.address)
        await carol.find("alice")
        with pytest.raises(UnknownPeerError, match=rf"^alice \({alice.id}\) was never met"):
            await carol.trust("alice")
        with pytest.raises(UnknownPeerError, match=r"^no known node is called 'nobody'"):
            await carol.trust("nobody")
        trusted = await alice.trust("second")
        assert (trusted.id, trusted.verified) == (alice.id, True), "its user is meant"

    on_street(story, tmp_path)


def test_a_command_beside_a_node_is_its_user(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        alice, server = await street.start("alice"), await street.start("server")
        await alice.connect(server.address)
        await asyncio.sleep(1)
        shot = await street.start("alice", name="p2ptui-send", beside=True)
        assert shot.identity.ephemeral
        assert shot.identity.signer_id == alice.id
        assert shot.id != alice.id
        peer = await shot.connect(server.address)
        assert not peer.ephemeral
        await asyncio.sleep(1)
        seen = server.peer(shot.id)
        assert (seen.ephemeral, seen.signer_id, seen.trust) == (True, alice.id, Trust.KNOWN)
        await server.trust("alice")
        assert server.peer(shot.id).trust is Trust.VERIFIED
        # To trust it is to trust its user; it is not remembered itself.
        await server.forget(shot.id)
        assert server.peer(shot.id).trust is Trust.NEW
        await server.trust(alice.id)
        assert server.peer(shot.id).trust is Trust.VERIFIED
        await leave(server)
        assert {one.id for one in known_to(street, "server")} == {alice.id}

    on_street(story, tmp_path)


def test_nodes_of_one_user_know_each_other(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        alice = await street.start("alice")
        second = await street.start("alice", name="second", beside=True)
        third = await street.start("alice", name="third", beside=True)
        for one, to in ((second, alice), (alice, third), (third, second)):
            assert (await one.connect(to.address)).trust is Trust.VERIFIED
            await asyncio.sleep(1)
            assert to.peer(one.id).trust is Trust.VERIFIED
        # But not where somebody else was.
        bob, where = await street.start("bob"), street.town.free_address()
        first = await street.start("mallory", address=where)
        await bob.connect(where)
        await leave(first)
        await street.start("bob", name="fourth", address=where, beside=True)
        assert (await bob.connect(where)).trust is Trust.CHANGED

    on_street(story, tmp_path)


def test_a_user_is_trusted_by_a_command_alone(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        alice, server = await street.start("alice"), await street.start("server")
        shot = await street.start("alice", name="shot", beside=True)
        await shot.connect(server.address)
        await asyncio.sleep(1)
        assert server.peer(shot.id).trust is Trust.NEW
        assert (await server.trust("shot")).id == alice.id
        assert server.peer(shot.id).trust is Trust.VERIFIED
        await alice.connect(server.address)
        await asyncio.sleep(1)
        assert server.peer(alice.id).trust is Trust.VERIFIED

    on_street(story, tmp_path)


def test_an_ephemeral_node_that_answers_says_whose_it_is(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        alice, bob = await street.start("alice"), await street.start("bob")
        await bob.connect(alice.address)
        second = await street.start("alice", name="alice", beside=True)
        peer = await bob.connect(second.address)
        assert (peer.ephemeral, peer.signer_id, peer.trust) == (True, alice.id, Trust.KNOWN)
        assert peer.advice == ""

    on_street(story, tmp_path)


def test_an_ephemeral_node_without_a_statement_is_neither_kept_nor_compared_by_name(
    tmp_path: Path,
) -> None:
    async def story(street: Street) -> None:
        alice, server = await street.start("alice"), await street.start("server")
        await alice.connect(server.address)
        await asyncio.sleep(1)
        stranger = await street.town.start("alice")  # as nodes of a simulation are
        await stranger.connect(server.address)
        await asyncio.sleep(1)
        peer = server.peer(stranger.id)
        assert (peer.ephemeral, peer.signer_id) == (True, "")
        assert (peer.trust, peer.advice) == (Trust.NEW, "")
        with pytest.raises(UnknownPeerError, match="last no longer than it runs"):
            await server.trust(stranger.id)
        await leave(server)
        assert {one.id for one in known_to(street, "server")} == {alice.id}

    on_street(story, tmp_path)


@pytest.mark.parametrize("flaw", ["altered", "of another", "expired"])
def test_a_statement_that_proves_nothing_names_nobody(
    tmp_path: Path, caplog: Any, flaw: str
) -> None:
    caplog.set_level("INFO", "p2ptui.node")

    async def story(street: Street) -> None:
        alice, server = await street.start("alice"), await street.start("server")
        await alice.connect(server.address)
        await asyncio.sleep(1)
        shot = await street.start("alice", beside=True)
        keys = shot._endpoint.seals.keys
        now = 1_000_000.0 - (2 * STATEMENT_LIFE_S if flaw == "expired" else 0)
        signer = alice.own_identity.identity
        subject = alice.id if flaw == "of another" else shot.id
        data = bytearray(make_statement(signer, subject, now).to_bytes())
        data[-1] ^= flaw == "altered"
        shot._endpoint.seals.keys = replace(keys, statement=lambda _: bytes(data))
        await shot.connect(server.address)
        await asyncio.sleep(1)
        seen = server.peer(shot.id)
        assert (seen.ephemeral, seen.signer_id, seen.trust) == (True, "", Trust.NEW)
        assert len([line for line in caplog.messages if "its user is not known" in line]) == 1

    on_street(story, tmp_path)


def test_a_statement_is_signed_anew_in_time(tmp_path: Path) -> None:
    async def story(street: Street) -> None:
        alice = await street.start("alice")
        shot = await street.start("alice", beside=True)
        own = shot.own_identity
        first = own.statement_bytes(1_000_000.0)
        assert own.statement_bytes(1_000_000.0 + STATEMENT_LIFE_S / 3) == first
        later = 1_000_000.0 + 0.9 * STATEMENT_LIFE_S
        again = own.statement_bytes(later)
        assert again != first
        assert read_short_statement(again, shot.id, later).signer.id == alice.id
        assert alice.own_identity.statement_bytes(later) == b""

    on_street(story, tmp_path)


async def leave(node: Node) -> None:
    """End a node, once all others know that it is there, and have it known."""
    await asyncio.sleep(1)
    await node.close()
    await asyncio.sleep(1)


def known_to(street: Street, user: str) -> KnownNodes:
    """What the file of a user says."""
    return KnownNodesStore(lambda: 1_000_000.0, street.known_nodes(user)).known


def test_what_is_told_of_trust_changes_nothing_else():
    change = PeerStatusChanged(
        "id", ("10.0.0.1", 80), "name", PeerStatus.AUTHENTICATED, PeerStatus.CONNECTING, "why"
    )
    judged = change.judged("new")
    assert asdict(judged) == asdict(change) | {"trust": "new"}
