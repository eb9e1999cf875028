"""Peer lists: pushed, asked for, kept fresh; in pages, paced, and sampled when there are many."""

import json
from collections import Counter
from typing import Any

import pytest

from p2ptui.core.events import NodeList, PeersDiscovered
from p2ptui.core.mesh import queries
from p2ptui.core.mesh.discovery import MAX_CHANGES, MAX_RECIPIENTS
from p2ptui.core.mesh.pager import MAX_QUEUED_FOR_PAGES, PROOF_PATIENCE_S
from p2ptui.wire.message import OWN_CAPABILITIES
from tests.simulation import Host, Puppet, World, prove_all


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Host:
    return world.host(max_connections=20_000)


def join_many(world: World, server: Host, count: int) -> list[Puppet]:
    """Deployed clients that answer Pings; what they received so far is forgotten."""
    clients = [world.puppet() for _ in range(count)]
    for client in clients:
        client.send(client.handshake_request(), server)
    prove_all(world, server, clients)
    for client in clients:
        client.say("Ping", None, server)
    world.run_for(5)
    for client in clients:
        client.inbox.clear()
    return clients


def come(world: World, server: Host) -> Puppet:
    """A newcomer that proves its address: nobody is told unasked of who has proved nothing."""
    newcomer = world.puppet()
    newcomer.names_pings = True
    newcomer.send(newcomer.handshake_request(), server)
    world.run_for(0.04)
    server.ping(newcomer)
    return newcomer


def listed(messages: list[dict[str, Any]]) -> list[str]:
    return [
        entry["id"]
        for message in messages
        if message["message_type"] == "DiscoveryResponse"
        for entry in message["payload"]
    ]


def nodes_of(host: Host, server: Host) -> NodeList:
    peer = host.peer(server)
    token = host.endpoint.list_nodes(peer, host.world.now, 10)
    outcome = host.outcome(token)
    assert isinstance(outcome, NodeList)
    return outcome


# Pushed to a newcomer.


def test_the_first_list_may_be_empty(world: World, server: Host) -> None:
    got = world.puppet().join(server)

    assert [
        message["payload"] for message in got if message["message_type"] == "DiscoveryResponse"
    ] == [[]]


def test_the_newcomer_is_left_out(world: World, server: Host) -> None:
    first, second = world.puppet(), world.puppet()
    first.join(server)

    assert listed(second.join(server)) == [first.id]


def test_the_first_page_only_holds_those_heard_of_last(world: World, server: Host) -> None:
    clients = join_many(world, server, 40)
    for client in clients[10:13]:
        client.say("Ping", None, server)
        world.run_for(0.02)  # no heartbeat comes between

    newcomer = world.puppet()
    newcomer.send(newcomer.handshake_request(), server)
    world.run_for(0.25)  # before the news of it goes round

    ids = listed(newcomer.take())
    newest = [client.id for client in clients[12:9:-1]]
    assert ids
    assert ids == newest[: len(ids)]  # as many as may be sent to an address that proved nothing
    world.run_for(40)  # until it has proved its address: before, its Pongs pay for Pings
    ids += listed(newcomer.take())
    assert list(dict.fromkeys(ids))[:3] == newest
    assert len(set(ids)) < 10


def test_our_own_node_gets_the_first_page_as_well(world: World, server: Host) -> None:
    clients = join_many(world, server, 3)
    node = world.host()
    node.outcome(node.connect(server))
    world.run_for(1)

    told = node.told(PeersDiscovered)[0]
    assert {entry.id for entry in told.joined} == {client.id for client in clients}
    assert {entry.addr for entry in told.joined} == {
        f"{client.address[0]}:{client.address[1]}" for client in clients
    }


# Asked for.


@pytest.mark.parametrize("payload", [None, {}, {"network_id": "p2p_default"}, {"network_id": "x"}])
def test_a_request_is_answered_with_the_whole_list(
    world: World, server: Host, payload: Any
) -> None:
    clients = join_many(world, server, 60)

    got = clients[7].ask("DiscoveryRequest", payload, server)

    assert Counter(listed(got)) == Counter(
        {client.id: 1 for client in clients if client is not clients[7]}
    )


def test_every_page_fits_the_budget_and_is_valid_by_itself(world: World, server: Host) -> None:
    clients = join_many(world, server, 100)
    for kind in ("DiscoveryRequest", "ListNodesRequest"):
        clients[0].say(kind, None, server)
    clients[0].say("Data", {"cmd": "get_routes"}, server)
    world.run_for(1)

    pages = list(clients[0].inbox)

    assert len(pages) > 30
    assert max(map(len, pages)) <= 1200
    kinds = Counter(json.loads(page)["message_type"] for page in pages)
    assert kinds.keys() == {"DiscoveryResponse", "ListNodesResponse", "Data"}


def test_pages_are_paced(world: World, server: Host) -> None:
    clients = join_many(world, server, 400)
    clients[0].say("DiscoveryRequest", None, server)
    world.run_for(0.02)
    early = len(clients[0].inbox)
    world.run_for(2)

    assert early <= 32
    assert len(clients[0].inbox) > early


def test_a_second_request_while_the_first_is_served_is_not_piled_up(
    world: World, server: Host
) -> None:
    clients = join_many(world, server, 400)
    for _ in range(20):
        clients[0].say("DiscoveryRequest", None, server)
    world.run_for(2)

    assert len(listed(clients[0].take())) <= 2 * 400
    assert server.endpoint.counters.drops["list_under_way"] >= 18
    assert server.endpoint.sizes()["lists"] == 0


def test_an_empty_list_is_a_list(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)

    (answer,) = client.ask("DiscoveryRequest", None, server)

    assert answer["payload"] == []


def test_node_lists_hold_the_observed_address(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server, listen_addr="0.0.0.0:1", metadata={"room": "4"})

    (answer,) = client.ask("ListNodesRequest", None, server)

    (node,) = answer["payload"]["nodes"]
    assert node["listen_addr"] == f"{client.address[0]}:{client.address[1]}"
    assert node["metadata"] == {"room": "4"}
    assert node["id"] == node["node_id"] == client.id


def test_a_long_node_list_is_gathered_from_its_pages(world: World, server: Host) -> None:
    clients = join_many(world, server, 300)
    node = world.host()
    node.outcome(node.connect(server))

    nodes = nodes_of(node, server)

    assert nodes.complete
    assert {entry.id for entry in nodes.nodes} == {client.id for client in clients} | {node.id}


def test_a_node_list_survives_loss() -> None:
    world = World(seed=2, loss=0.2, reorder=0.1)
    server = world.host(max_connections=500)
    nodes = [world.host() for _ in range(30)]
    for node in nodes:
        node.outcome(node.connect(server))

    got = nodes_of(nodes[0], server)

    assert got.complete
    assert {entry.id for entry in got.nodes} == {node.id for node in nodes}


def test_a_list_that_never_comes_is_incomplete(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)
    token = server.endpoint.list_nodes(server.peer(client), world.now, 3)

    assert server.outcome(token) == NodeList((), complete=False)
    assert client.take_types() == ["ListNodesRequest"] * 3
    assert server.endpoint.sizes()["queries"] == 0


def test_a_list_that_never_ends_is_cut(
    world: World, server: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MAX_NODES", 2000)
    client = world.puppet()
    client.join(server)
    token = server.endpoint.list_nodes(server.peer(client), world.now, 3)
    nodes = [{"id": world.node_id()} for _ in range(500)]
    for page in range(6):
        client.say("ListNodesResponse", {"nodes": nodes, "page": page, "more": True}, server)
    client.say("ListNodesResponse", {"nodes": nodes, "page": -1, "more": False}, server)

    outcome = server.outcome(token)

    assert len(outcome.nodes) == 2000
    assert not outcome.complete


def test_the_largest_node_still_fits_a_page(world: World, server: Host) -> None:
    client = world.puppet()
    metadata = {"text": "x" * 400}
    while client.join(server, metadata=metadata)[0]["payload"]["success"]:
        metadata["text"] += "x" * 10
    metadata["text"] = metadata["text"][:-10]
    client.join(server, metadata=metadata)
    for _ in range(4):  # it has other metadata than before, and shows that it is there by going on
        client.say("Ping", None, server)
        world.run_for(1)
    client.take()

    client.say("ListNodesRequest", None, server)
    world.run_for(1)

    assert 1000 < len(client.inbox[0]) <= 1200


# Kept fresh.


def test_others_hear_of_a_newcomer_after_the_debounce(world: World, server: Host) -> None:
    (old,) = join_many(world, server, 1)
    newcomer = come(world, server)

    world.run_for(0.29)
    assert old.take() == []
    world.run_for(0.1)
    assert listed(old.take()) == [newcomer.id]
    assert newcomer.id not in listed(newcomer.take())


def test_newcomers_are_coalesced(world: World, server: Host) -> None:
    (old,) = join_many(world, server, 1)
    newcomers = []
    for _ in range(5):
        newcomers.append(come(world, server))
        world.run_for(0.06)
    world.run_for(1)

    got = old.take()
    assert len(got) == 1
    assert set(listed(got)) == {newcomer.id for newcomer in newcomers}


def test_an_endless_stream_of_newcomers_holds_nothing_up(world: World, server: Host) -> None:
    (old,) = join_many(world, server, 1)
    began = world.now
    while not old.inbox:
        come(world, server)
        world.run_for(0.16)
        assert world.now - began < 3

    assert world.now - began == pytest.approx(1.6, abs=0.21)  # the maximum wait is 1.5 s


def test_our_own_nodes_get_joins_and_leaves_as_updates(world: World, server: Host) -> None:
    witness, other = world.host(), world.host()
    witness.outcome(witness.connect(server))
    other.outcome(other.connect(server))
    world.run_for(2)
    assert [entry.id for entry in witness.told(PeersDiscovered)[-1].joined] == [other.id]
    assert other.id in {route.destination for route in witness.endpoint.routes(world.now)}

    other.endpoint.disconnect(other.peer(server), "bye", world.now)
    world.run_for(3)

    assert witness.told(PeersDiscovered)[-1].left == (other.id,)
    assert other.id not in {route.destination for route in witness.endpoint.routes(world.now)}


def test_a_short_visit_is_told_as_a_leave(world: World, server: Host) -> None:
    witness, other = world.host(), world.host()
    witness.outcome(witness.connect(server))
    other.outcome(other.connect(server))
    world.run_for(2)
    other.endpoint.disconnect(other.peer(server), "bye", world.now)
    world.run_for(0.85)
    other.connect(server)
    world.run_for(0.04)
    server.endpoint.disconnect(server.peer(other), "no", world.now)
    world.run_for(3)

    assert other.id in witness.told(PeersDiscovered)[-1].left
    assert other.id not in {route.destination for route in witness.endpoint.routes(world.now)}


def test_leaves_are_no_business_of_deployed_clients(world: World, server: Host) -> None:
    old, leaving = join_many(world, server, 2)
    leaving.answers_pings = False
    leaving.say("Disconnect", {"reason": "done"}, server)
    world.run_for(5)

    assert server.peer(leaving) is None
    assert old.take() == []  # a list without somebody would mean nothing to it


def test_an_update_reaches_our_nodes_in_spite_of_loss() -> None:
    world = World(seed=4, loss=0.2)
    server = world.host(max_connections=100)
    nodes = [world.host() for _ in range(20)]
    for node in nodes:
        node.outcome(node.connect(server))
    world.run_for(20)

    for position, node in enumerate(nodes):
        known = {route.destination for route in node.endpoint.routes(world.now)}
        assert {later.id for later in nodes[position + 1 :]} <= known


def test_a_join_among_many_costs_a_sample(world: World, server: Host) -> None:
    clients = join_many(world, server, 600)
    before = server.endpoint.counters.datagrams_out
    ours = world.host()
    ours.outcome(ours.connect(server))
    at_once = server.endpoint.counters.datagrams_out - before
    world.run_for(2)

    assert at_once <= 6  # response, Ack, first page, and perhaps a heartbeat
    told = [client for client in clients if ours.id in listed(client.take())]
    assert len(told) in (MAX_RECIPIENTS - 1, MAX_RECIPIENTS)  # the newcomer may be among them


def test_a_crowd_of_newcomers_is_told_of_at_a_bounded_pace(world: World, server: Host) -> None:
    clients = [world.puppet() for _ in range(300)]
    for client in clients:
        client.send(client.handshake_request(), server)
    world.run_for(0.25)
    for client in clients:
        server.ping(client)  # their addresses are proved in time
    world.run_for(0.05)
    before = server.endpoint.counters.datagrams_out

    world.run_for(1)

    assert server.endpoint.counters.datagrams_out - before <= 3300
    world.run_for(10)
    told = [len(set(listed(client.take()))) for client in clients]
    assert sum(1 for count in told if count == 299) >= 200


def test_an_update_is_paced(world: World, server: Host) -> None:
    join_many(world, server, 200)
    sent: list[float] = []
    send = world.network.send

    def watch(data: bytes, source: Any, target: Any, now: float) -> None:
        if source == server.address and b"DiscoveryResponse" in data:
            sent.append(now)
        send(data, source, target, now)

    world.network.send = watch  # type: ignore[method-assign]
    come(world, server)
    world.run_for(1)

    assert len(sent) >= 200
    assert max(Counter(sent).values()) <= 32


# What others tell.


def test_what_a_peer_lists_is_checked(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)
    good = world.node_id()
    entry = {"addr": "10.1.1.1:5", "last_seen": 1, "capabilities": []}
    entries = [
        entry | {"id": good.upper()},
        entry | {"id": "no-uuid"},
        entry | {"id": server.id},
        entry | {"id": world.node_id(), "addr": "example.org:80"},
        entry | {"id": world.node_id(), "addr": "10.1.1.1:0"},
        entry | {"id": world.node_id(), "addr": "nonsense"},
    ]
    client.say("DiscoveryResponse", entries, server)
    world.run_for(0.1)

    (told,) = server.told(PeersDiscovered)
    assert [(entry.id, entry.addr) for entry in told.joined] == [(good, "10.1.1.1:5")]
    assert server.endpoint.routes(world.now)[1:] == []  # a client forwards nothing


def test_a_list_of_millions_is_looked_at_in_part(world: World, server: Host) -> None:
    node = world.host()
    node.outcome(node.connect(server))
    liar = world.puppet((server.address[0], 9))
    payload = liar.handshake_request(capabilities=list(OWN_CAPABILITIES))["payload"]
    liar.send(liar.spec_message("HandshakeRequest", payload), node)
    entry = {"addr": "10.1.1.1:5", "last_seen": 1, "capabilities": []}
    for _ in range(30):
        entries = [entry | {"id": world.node_id()} for _ in range(400)]
        liar.send(liar.spec_message("DiscoveryResponse", entries), node)
    world.run_for(1)

    assert node.endpoint.sizes()["routes"] <= node.endpoint.config.routing.max_routes


def test_a_list_that_finds_no_room_is_given_up_and_counted(world: World) -> None:
    server = world.host()
    client = world.host()
    client.outcome(client.connect(server))
    peer = server.peer(client)
    world.network.set_link(server.address[0], client.address[0], loss=1.0)
    server.endpoint.send(peer, "x" * (MAX_QUEUED_FOR_PAGES + 1000), world.now)
    server.endpoint._discovery.handle_request(peer, None, world.now)
    world.run_for(PROOF_PATIENCE_S + 1)

    assert server.endpoint.counters.drops["list_given_up"] == 1
    assert server.endpoint.sizes()["lists"] == 0


def test_news_of_a_crowd_are_kept_for_as_many_as_may_join(world: World) -> None:
    few, many = world.host(), world.host(max_connections=3000)
    for host in (few, many):
        for number in range(2000):
            host.endpoint._discovery._left.put(f"{number:08x}-0000-4000-8000-000000000000", None)
            host.endpoint._discovery._note_change(world.now)

    assert len(many.endpoint._discovery._left) == 2000
    assert not many.endpoint.counters.drops["news_full"]
    assert len(few.endpoint._discovery._left) == MAX_CHANGES
    assert few.endpoint.counters.drops["news_full"] == 2000 - MAX_CHANGES
