"""Whom a person means by an id, the beginning of one, a name or an address."""

import pytest

from p2ptui.core.identity import own_node_info
from p2ptui.errors import UnknownPeerError
from p2ptui.node.lookup import find_named, find_peer, node_id_of
from p2ptui.node.view import view
from p2ptui.wire.message import NodeInfo
from tests.simulation import World

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
