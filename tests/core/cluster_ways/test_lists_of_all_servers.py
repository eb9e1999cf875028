"""Lists and news tell of the nodes of all servers, each once and where its server sees it."""

from collections import Counter
from typing import Any

import pytest

from p2ptui.core.events import NodeList, PeersDiscovered
from p2ptui.wire.address import format_address
from tests.core.joined_servers import Two
from tests.core.relaying import node, puppet
from tests.simulation import Host, Puppet


def listed(client: Puppet, server: Host) -> list[dict[str, Any]]:
    """What a deployed client gets that asks for the list."""
    client.take()
    client.say("DiscoveryRequest", None, server)
    client.world.run_for(2)
    pages = [m["payload"] for m in client.take() if m["message_type"] == "DiscoveryResponse"]
    return [entry for page in pages for entry in page]


def named(client: Puppet, server: Host) -> list[dict[str, Any]]:
    """The same of the list with names."""
    client.take()
    client.say("ListNodesRequest", None, server)
    client.world.run_for(2)
    pages = [m["payload"] for m in client.take() if m["message_type"] == "ListNodesResponse"]
    return [entry for page in pages for entry in page["nodes"]]


def news(host: Host) -> tuple[set[str], set[str]]:
    """Who came and who left, as a node was told since it was last asked."""
    told = host.told(PeersDiscovered)
    host.events.clear()
    joined = {entry.id for each in told for entry in each.joined}
    return joined, {node_id for each in told for node_id in each.left}


def test_a_list_holds_all_of_both_the_own_ones_first() -> None:
    two = Two()
    a, c, b, d = (puppet(two.world, server) for server in (two.one, two.one, two.other, two.other))

    entries = listed(a, two.one)

    assert [entry["id"] for entry in entries] == [c.id, d.id, b.id]
    assert [entry["addr"] for entry in entries] == [
        format_address(each.address) for each in (c, d, b)
    ]


@pytest.mark.parametrize("secured", [False, True])
def test_a_list_with_names_names_the_nodes_elsewhere(secured: bool) -> None:
    two = Two(secured=secured)
    a, b = node(two.world, two.one, name="Ada"), node(two.world, two.other, name="Bob")
    peer = a.peer(two.one)
    assert peer is not None

    found = a.outcome(a.endpoint.list_nodes(peer, two.world.now, 10))

    assert isinstance(found, NodeList)
    entries = {entry.id: entry for entry in found.nodes}
    assert entries.keys() == {a.id, b.id}
    assert entries[b.id].name == "Bob"
    assert entries[b.id].listen_addr == format_address(b.address)
    known = two.other.endpoint.peers.authenticated(b.id)
    assert known is not None
    assert known.info is not None
    assert entries[b.id].capabilities == known.info.capabilities


def test_deployed_clients_get_the_same_list() -> None:
    two = Two()
    a, b = two.puppets()

    entries = named(a, two.one)

    assert [entry["id"] for entry in entries] == [a.id, b.id]
    assert entries[1]["listen_addr"] == format_address(b.address)


def test_a_long_list_leaves_in_pages_within_the_budget() -> None:
    two = Two(max_connections=1000)
    a = puppet(two.world, two.one)
    others = [puppet(two.world, two.other) for _ in range(60)]
    a.say("DiscoveryRequest", None, two.one)
    two.world.run_for(2)

    budget = two.one.endpoint._state.config.server.datagram_budget
    assert max(map(len, a.inbox)) <= budget
    assert {entry["id"] for entry in listed(a, two.one)} == {other.id for other in others}


def test_a_newcomer_is_told_of_nodes_elsewhere_where_there_are_few_here() -> None:
    two = Two()
    b = puppet(two.world, two.other)
    newcomer = two.world.host()
    newcomer.outcome(newcomer.connect(two.one))
    two.world.run_for(0.05)

    assert news(newcomer)[0] == {b.id}


def test_and_of_those_here_first() -> None:
    two = Two()
    here = {puppet(two.world, two.one).id for _ in range(12)}
    puppet(two.world, two.other)
    newcomer = two.world.host()
    newcomer.outcome(newcomer.connect(two.one))
    two.world.run_for(0.05)

    told = news(newcomer)[0]
    assert told
    assert told <= here


def test_who_comes_and_goes_elsewhere_is_news() -> None:
    two = Two()
    a = node(two.world, two.one)
    a.events.clear()
    b = node(two.world, two.other)
    assert news(a) == ({b.id}, set())

    b.endpoint.disconnect(b.peer(two.other), "bye", two.world.now)
    two.world.run_for(2)
    assert news(a) == (set(), {b.id})


def test_deployed_clients_hear_of_who_comes_elsewhere() -> None:
    two = Two()
    a = puppet(two.world, two.one)
    a.take()
    b = puppet(two.world, two.other)

    told = [m for m in a.take() if m["message_type"] == "DiscoveryResponse"]
    assert [entry["id"] for m in told for entry in m["payload"]] == [b.id]


def test_a_crowd_that_comes_elsewhere_is_one_piece_of_news() -> None:
    two = Two(max_connections=1000)
    a = node(two.world, two.one)
    a.events.clear()
    for _ in range(40):
        client = two.world.puppet()
        client.names_pings = True
        client.send(client.handshake_request(), two.other)
    two.world.run_for(40)
    held = [held for held in two.cluster.book.values() if held.server_id == two.other.id]

    updates = len(a.told(PeersDiscovered))
    assert len(news(a)[0]) == len(held) == 40
    assert updates < 40


def test_who_changes_servers_has_left_for_nobody() -> None:
    """It comes to the one before it leaves the other."""
    two = Two(secured=True)
    a, c = node(two.world, two.one), node(two.world, two.other)
    b = node(two.world, two.one)
    for host in (a, c):
        host.events.clear()

    b.outcome(b.connect(two.other))
    two.world.run_for(1)
    b.endpoint.disconnect(b.peer(two.one), "moved", two.world.now)
    two.world.run_for(2)

    assert two.cluster.book[b.id].server_id == two.other.id
    assert news(a) == ({b.id}, set())
    assert news(c) == ({b.id}, set())
    assert Counter(entry["id"] for entry in named(puppet(two.world, two.one), two.one))[b.id] == 1


def test_a_server_that_dies_takes_its_nodes_from_the_lists() -> None:
    two = Two()
    a, b = two.nodes()
    a.events.clear()
    two.cluster.kill(two.other)
    two.world.run_for(2)

    assert news(a) == (set(), {b.id})
    entries = named(puppet(two.world, two.one), two.one)
    assert entries[0]["id"] == a.id


def test_each_node_is_listed_once_though_a_claim_has_its_id() -> None:
    two = Two()
    a, b = two.puppets()
    forger = two.world.puppet(node_id=b.id)
    forger.answers_pings = False
    forger.join(two.one)

    entries = listed(a, two.one)
    assert [(entry["id"], entry["addr"]) for entry in entries] == [
        (b.id, format_address(b.address))
    ]


def test_who_moves_to_this_server_while_a_list_is_sent_is_in_it() -> None:
    two = Two(max_connections=1000)
    a = puppet(two.world, two.one)
    others = [puppet(two.world, two.other) for _ in range(60)]
    a.take()
    a.say("ListNodesRequest", None, two.one)
    two.world.run_for(0.005)
    moved = two.world.puppet(node_id=others[0].id)
    moved.names_pings = True
    moved.join(two.one)
    del two.cluster.book[others[0].id]  # its own server lets it go
    two.world.run_for(2)
    pages = [m["payload"] for m in a.take() if m["message_type"] == "ListNodesResponse"]
    assert len(pages) > 5
    entries = [entry["id"] for page in pages for entry in page["nodes"]]
    assert Counter(entries) == Counter([a.id, *(other.id for other in others)])


def test_a_node_that_is_spoken_to_by_way_of_another_server_is_listed_where_that_sees_it() -> None:
    """A person at a server has met it: its session there is relayed, which is no address."""
    two = Two()
    a, b = two.puppets()
    state = two.one.endpoint._state
    relayed = ("10.0.0.9@10.0.0.1", 4000)
    peer = two.one.endpoint._lifecycle.open(relayed, two.world.now, initiated=False)
    known = two.other.endpoint.peers.authenticated(b.id)
    assert known is not None
    assert known.info is not None
    state.peers.identify(peer, known.info)
    two.one.endpoint._lifecycle.authenticate(peer, two.world.now)
    assert not peer.is_plain
    assert state.peers.authenticated(b.id) is peer
    assert [entry["id"] for entry in named(a, two.one)] == [a.id, b.id]
