"""A server of several lists the servers, and says which of them holds whom, to who asks."""

from typing import Any

import pytest

from p2ptui.core.events import NodeList, ServerList
from p2ptui.wire.message import ListedNode
from tests.core.joined_servers import Two
from tests.core.relaying import node, puppet
from tests.simulation import Host, Puppet


def two_in_a_cluster(*, secured: bool = False, **options: Any) -> Two:
    """Two servers that announce that they are several."""
    two = Two(secured=secured, **options)
    for server in (two.one, two.other):
        server.endpoint.guests.open(lambda *_: True)
    return two


def pages(client: Puppet, server: Host, payload: object) -> list[dict[str, Any]]:
    """What a ListNodesRequest is answered with."""
    client.take()
    client.say("ListNodesRequest", payload, server)
    client.world.run_for(2)
    return [m["payload"] for m in client.take() if m["message_type"] == "ListNodesResponse"]


def servers_of(host: Host, server: Host) -> ServerList:
    peer = host.peer(server)
    assert peer is not None
    found = host.outcome(host.endpoint.list_servers(peer, host.world.now, 10))
    assert isinstance(found, ServerList)
    return found


@pytest.mark.parametrize("secured", [False, True])
def test_the_servers_are_listed_the_one_that_is_asked_first(secured: bool) -> None:
    two = two_in_a_cluster(secured=secured)
    found = servers_of(node(two.world, two.one), two.one)
    assert found.complete
    assert [one.id for one in found.servers] == [two.one.id, two.other.id]
    assert [one.name for one in found.servers] == ["server 0", "server 1"]


def test_one_that_serves_alone_is_not_asked() -> None:
    two = Two()
    a = node(two.world, two.one)
    before = two.one.endpoint.counters.messages_in
    assert servers_of(a, two.one) == ServerList((), complete=True)
    assert two.one.endpoint.counters.messages_in == before


@pytest.mark.parametrize("secured", [False, True])
def test_a_list_says_which_server_holds_whom(secured: bool) -> None:
    two = two_in_a_cluster(secured=secured)
    a, b = two.nodes()
    peer = a.peer(two.one)
    assert peer is not None
    found = a.outcome(a.endpoint.list_nodes(peer, two.world.now, 10))
    assert isinstance(found, NodeList)
    held = {one.id: one.server for one in found.nodes if isinstance(one, ListedNode)}
    assert held == {b.id: two.other.id}


def test_both_lists_may_be_awaited_at_once() -> None:
    two = two_in_a_cluster()
    a, b = two.nodes()
    peer = a.peer(two.one)
    assert peer is not None
    nodes = a.endpoint.list_nodes(peer, two.world.now, 10)
    servers = a.endpoint.list_servers(peer, two.world.now, 10)
    assert len(a.outcome(servers).servers) == 2
    assert {one.id for one in a.outcome(nodes).nodes} == {a.id, b.id}


def test_who_does_not_ask_is_told_what_it_always_was() -> None:
    two = two_in_a_cluster()
    a, b = two.puppets()
    (plain,) = pages(a, two.one, None)
    assert "servers" not in plain
    assert [entry["id"] for entry in plain["nodes"]] == [a.id, b.id]
    assert not any("server" in entry for entry in plain["nodes"])
    for odd in ({"holders": "yes", "servers": 1}, {"servers": None}, []):
        assert pages(a, two.one, odd) == [plain]
    (held,) = pages(a, two.one, {"holders": True})
    assert [entry.get("server") for entry in held["nodes"]] == [None, two.other.id]


def test_many_servers_leave_in_pages_within_the_budget() -> None:
    two = two_in_a_cluster()
    two.cluster.more = [f"{number:08x}-5e00-4000-8000-000000000000" for number in range(254)]
    a = puppet(two.world, two.one)
    told = pages(a, two.one, {"servers": True})
    assert len(told) > 10
    assert [page["nodes"] for page in told] == [[]] * len(told)
    ids = [one["id"] for page in told for one in page["servers"]]
    assert ids == [two.one.id, two.other.id, *two.cluster.more]
    budget = two.one.endpoint._state.config.server.datagram_budget
    assert max(map(len, a.inbox), default=0) <= budget


@pytest.mark.parametrize(
    "servers", ["5", '"x"', "[5]", '[{"id":5}]', '[{"id":"x","peers":-1}]', "{}", "null"]
)
def test_what_a_server_writes_wrongly_is_not_believed(
    servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = b'{"nodes":[],"servers":%s,"page":0,"more":false}' % servers.encode()
    monkeypatch.setattr("p2ptui.core.mesh.discovery.frame_servers", lambda *_: frame)
    two = two_in_a_cluster()
    a = node(two.world, two.one)
    assert servers_of(a, two.one) == ServerList((), complete=False)
    assert a.endpoint.counters.drops["servers_malformed"] >= 1


@pytest.mark.parametrize("server", ["5", '"x"', "null", "[1]"])
def test_an_entry_with_another_meaning_of_that_key_is_an_entry(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = two_in_a_cluster()
    entry = b'{"id":"b0b00003-0000-4000-8000-000000000003","name":"bob","server":%s}'
    frame = b'{"nodes":[%s],"page":0,"more":false}' % (entry % server.encode())
    monkeypatch.setattr("p2ptui.core.mesh.discovery.frame_nodes", lambda *_: frame)
    a = node(two.world, two.one)
    peer = a.peer(two.one)
    assert peer is not None
    (bob,) = a.outcome(a.endpoint.list_nodes(peer, two.world.now, 10)).nodes
    assert bob.name == "bob"
    assert not isinstance(bob, ListedNode)
