"""Whom a person means by an id, the beginning of one, a name or an address."""

import pytest

from p2ptui.core.events import PeerStatus
from p2ptui.core.identity import own_node_info
from p2ptui.core.peers import Peer
from p2ptui.errors import UnknownPeerError
from p2ptui.node.lookup import find_named, find_node, find_peer, node_id_of
from p2ptui.node.others import find_others
from p2ptui.node.view import view
from p2ptui.wire.message import NodeInfo
from tests.simulation import Host, World

IDS = [f"{start}-0000-4000-8000-000000000000" for start in ("aaaa0001", "aaaa0002", "beef0003")]


def nodes(*names: str) -> list[NodeInfo]:
    return [
        own_node_info(node_id, name, "1.0", "10.0.0.1:80", "p2p_default")
        for node_id, name in zip(IDS, names, strict=False)
    ]


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("alice", 0),
        ("b", 2),
        ("beef", 2),
        ("BEEF0003", 2),
        ("aaaa0002", 1),
        (IDS[1], 1),
        ("aaaa", 1),  # a name that fits goes before the beginning of an id
    ],
)
def test_a_name_or_an_unambiguous_beginning_of_an_id(text, index):
    known = nodes("alice", "aaaa", "carol")
    assert find_named(text, known) is known[index]


@pytest.mark.parametrize("text", ["", "Alice", "ali", "aaaa0001x", "*", "0", "\x1b[31m"])
def test_what_fits_nobody(text):
    with pytest.raises(UnknownPeerError, match="no node is called") as caught:
        find_named(text, nodes("alice", "bob", "carol"))
    assert str(caught.value).isprintable()


def test_what_fits_several_names_them():
    with pytest.raises(UnknownPeerError) as caught:
        find_named("aaaa", nodes("alice", "bob", "carol"))
    assert str(caught.value) == (f"'aaaa' fits 2 nodes: {IDS[0]}, {IDS[1]}; give more of the id")
    with pytest.raises(UnknownPeerError, match="'twin' fits 3 nodes"):
        find_named("twin", nodes("twin", "twin", "twin"))


def test_the_id_that_the_screen_shows_is_not_taken_over_by_a_name():
    """Anybody may choose to be called like the beginning of another's id."""
    known = nodes("alice", "bob", "aaaa0001")
    with pytest.raises(UnknownPeerError, match="fits 2 nodes") as caught:
        find_named("aaaa0001", known)
    assert IDS[0] in str(caught.value)
    assert IDS[2] in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("127.0.0.1", "the port is missing; write HOST:PORT, here 127.0.0.1:PORT"),
        ("::1", "here [::1]:PORT"),
        ("example.org", "the port is missing: write example.org:PORT"),
        ("localhost", "the port is missing: write localhost:PORT"),
    ],
)
def test_a_host_without_a_port_is_told_that_it_is_missing(text, said):
    with pytest.raises(UnknownPeerError) as caught:
        find_named(text, nodes("alice"))
    assert said in str(caught.value)


def test_a_name_that_lists_cut_short_is_found_by_the_whole_of_it_too():
    whole = "n" * 100
    known = nodes("alice", whole[:64])
    assert find_named(whole, known) is find_named(whole[:64], known) is known[1]


def test_a_name_of_a_peer_and_of_a_node_behind_one_is_ambiguous():
    world = World()
    server, client = world.host(name="server"), world.host(name="client")
    twin, behind = world.host(name="twin"), world.host(name="twin")
    client.outcome(client.connect(server))
    behind.outcome(behind.connect(server))
    twin.outcome(twin.connect(client))
    world.run_for(3)
    for find in (find_node, find_peer):
        with pytest.raises(UnknownPeerError, match="'twin' fits 2 nodes") as caught:
            find(client.endpoint, "twin", world.now)
        assert twin.id in str(caught.value)
        assert behind.id in str(caught.value)
    assert find_node(client.endpoint, behind.id, world.now).node_id == behind.id
    with pytest.raises(UnknownPeerError, match=r"there is no session with twin .*; connect to it"):
        find_peer(client.endpoint, behind.id, world.now)


def test_of_very_many_only_some_are_named():
    many = [node for _ in range(20) for node in nodes("twin")]
    with pytest.raises(UnknownPeerError, match=r"fits 20 nodes: (\S+, ){4}\.\.\.; give more"):
        find_named("twin", many)


def test_a_peer_is_found_by_everything_that_a_person_may_hold():
    world = World()
    server, client = world.host(name="server"), world.host(name="client")
    client.outcome(client.connect(server))
    peer = client.peer(server)
    references = (
        server.id,
        server.id.upper(),
        server.id.replace("-", ""),
        server.id[:8],
        "server",
        server.address,
        "{}:{}".format(*server.address),
        view(peer, world.now),
    )
    for reference in references:
        assert find_peer(client.endpoint, reference) is peer


def test_a_view_of_a_peer_without_an_id_yet_means_its_address():
    world = World()
    client = world.host()
    client.connect(("10.9.9.9", 80))
    (peer,) = client.endpoint.peers
    seen = view(peer, world.now)
    assert (seen.node_id, seen.info, seen.version) == ("", None, "")
    assert node_id_of(seen) is None
    assert find_peer(client.endpoint, seen) is peer


@pytest.mark.parametrize(
    "reference", [IDS[0], "nobody", "10.9.9.9:80", "[::1]:80", ("10.9.9.9", 80), ""]
)
def test_an_unknown_peer_is_named(reference):
    with pytest.raises(UnknownPeerError):
        find_peer(World().host().endpoint, reference)


def introduced_and_met() -> tuple[World, Host, Host]:
    """Two clients of a server, with a session of their own: each was introduced to the other."""
    world = World()
    server, client, bob = (world.host(name=name) for name in ("server", "client", "bob"))
    client.outcome(client.connect(server))
    bob.outcome(bob.connect(server))
    world.run_for(1)
    client.outcome(client.endpoint.introduce(client.peer(server), bob.id, world.now, 5))
    world.run_for(1)
    assert client.peer(bob).is_authenticated
    return world, client, bob


@pytest.mark.parametrize("resumes", [True, False])
def test_a_node_whose_session_is_asked_for_anew_is_one_node(resumes):
    world, client, bob = introduced_and_met()
    peers, peer = client.endpoint.peers, client.peer(bob)
    peers.set_status(peer, PeerStatus.HANDSHAKING)
    peer.resumes = resumes
    assert bob.id in [other.node_id for other in find_others(client.endpoint, world.now)]
    for ref in ("bob", bob.id, bob.id[:8]):
        found = find_node(client.endpoint, ref, world.now)
        assert found.node_id == bob.id
        assert (found is peer) is resumes


def test_of_two_peers_with_one_id_the_one_with_a_session_is_meant():
    world, client, bob = introduced_and_met()
    peers, peer = client.endpoint.peers, client.peer(bob)
    anew = Peer(("10.9.9.9", 9), peer.channel, initiated=True, created_at=world.now)
    assert peer.info is not None
    peers.add(anew)
    peers.identify(anew, peer.info)
    for ref in ("bob", bob.id, bob.id[:8]):
        assert find_node(client.endpoint, ref, world.now) is peer
        assert find_peer(client.endpoint, ref) is peer
