"""Messages for other nodes: forwarded, flooded, dropped; and delivered once from end to end."""

import itertools
import json
from typing import Any

import pytest

from p2ptui.core.events import DataReceived, Path, PingResult, SendStatus
from p2ptui.errors import LocalError, PeerTimeoutError
from tests.simulation import UNIX_START, Host, Puppet, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Host:
    return world.host(max_connections=1000)


def join(world: World, *nodes: Host, server: Host) -> None:
    for node in nodes:
        node.outcome(node.connect(server))
    world.run_for(2)


def router(world: World, server: Host) -> Puppet:
    """A puppet that announced `routing`."""
    puppet = world.puppet()
    payload = puppet.handshake_request(capabilities=["routing"])["payload"]
    puppet.send(puppet.spec_message("HandshakeRequest", payload), server)
    world.run_for(0.5)
    server.ping(puppet)
    world.run_for(1)
    puppet.take()
    return puppet


def client(world: World, server: Host) -> Puppet:
    """A deployed client."""
    puppet = world.puppet()
    puppet.join(server)
    server.ping(puppet)
    world.run_for(1)
    puppet.take()
    return puppet


def heard(puppet: Puppet) -> list[dict[str, Any]]:
    """What came, but for the news of who joined."""
    return [message for message in puppet.take() if message["message_type"] != "DiscoveryResponse"]


def routed(source: str, destination: str, **changes: Any) -> dict[str, Any]:
    inner = {
        "id": "9b1de544-81ca-43f3-a267-c407790db19b",
        "message_type": "Data",
        "timestamp": UNIX_START,
        "payload": {"text": "hi"},
        "sender_addr": None,
        "sequence_number": None,
        "requires_ack": False,
        "ack_for": None,
    }
    return {
        "original_message": inner,
        "source_node": source,
        "destination_node": destination,
        "hop_count": 0,
        "max_hops": 8,
        "route_id": "5e375b12-6c51-4b79-a831-a088df14eeaf",
    } | changes


NOBODY = "99999999-0000-4000-8000-000000000000"
ELSEWHERE = "88888888-0000-4000-8000-000000000000"


# Forwarding.


def test_a_message_is_forwarded_to_the_peer_that_it_is_for(world: World, server: Host) -> None:
    a, b = client(world, server), client(world, server)
    payload = routed(a.id, b.id)

    a.say("Data", payload, server)
    world.run_for(0.5)

    (message,) = heard(b)
    assert message["payload"] == payload | {"hop_count": 1}
    assert message["message_type"] == "Data"
    assert heard(a) == []
    assert server.received() == []
    assert server.endpoint.counters.forwarded == 1


def test_ids_in_another_spelling_find_their_way(world: World, server: Host) -> None:
    a, b = client(world, server), client(world, server)
    a.say("Data", routed(a.id.upper(), b.id.upper()), server)
    world.run_for(0.5)

    assert heard(b)[0]["payload"]["destination_node"] == b.id


def test_what_is_for_this_node_is_delivered(world: World, server: Host) -> None:
    a = client(world, server)
    a.say("Data", routed(a.id, server.id), server)
    world.run_for(0.5)

    (data,) = server.told(DataReceived)
    assert (data.node_id, data.payload, data.path) == (a.id, {"text": "hi"}, Path.DIRECT)
    assert not data.is_echo
    assert heard(a) == []  # a routed message is not echoed


def test_the_inner_message_is_forwarded_untouched(world: World, server: Host) -> None:
    a, b = client(world, server), client(world, server)
    text = json.dumps(a.message("Data", routed(a.id, b.id)))
    text = text.replace('{"text": "hi"}', '{ "big": 123456789012345678901234567890, "e":1.50 }')
    a.send(text, server)
    world.run_for(0.5)

    assert b'{ "big": 123456789012345678901234567890, "e":1.50 }' in b.inbox[-1]


@pytest.mark.parametrize(
    ("hop_count", "max_hops", "arrives"),
    [(0, 8, True), (7, 8, True), (8, 8, False), (9, 8, False), (0, 0, False), (0, 1, True)],
)
def test_the_hop_limit(
    world: World, server: Host, hop_count: int, max_hops: int, arrives: bool
) -> None:
    a, b = router(world, server), client(world, server)
    a.say("Data", routed(a.id, b.id, hop_count=hop_count, max_hops=max_hops), server)
    world.run_for(0.5)

    assert len(heard(b)) == arrives


def test_more_hops_than_anybody_needs_are_not_believed(world: World, server: Host) -> None:
    a, b = router(world, server), client(world, server)
    a.say("Data", routed(a.id, b.id, hop_count=32, max_hops=200), server)
    world.run_for(0.5)

    assert heard(b) == []


def test_a_message_that_was_seen_is_not_forwarded_again_for_five_minutes(
    world: World, server: Host
) -> None:
    a, b = client(world, server), client(world, server)
    for _ in range(3):
        a.say("Data", routed(a.id, b.id), server)
        world.run_for(99)
    assert len(heard(b)) == 1
    assert server.endpoint.counters.drops["routed_seen"] == 2

    world.run_for(10)
    a.say("Data", routed(a.id, b.id), server)
    world.run_for(1)
    assert len(heard(b)) == 1


def test_the_memory_of_what_was_seen_is_bounded(world: World) -> None:
    server = world.host(max_seen=50)
    a, b = client(world, server), client(world, server)
    for n in range(200):
        a.say("Data", routed(a.id, b.id, route_id=f"route-{n}"), server)
    world.run_for(1)

    assert server.endpoint.sizes()["routes_seen"] == 50
    assert len(heard(b)) == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"destination_node": "nobody"},
        {"hop_count": 1, "source_node": "nobody"},
        {"hop_count": 1, "source_node": None},
        {"hop_count": 1, "source_node": NOBODY},
    ],
)
def test_a_false_source_is_not_forwarded(
    world: World, server: Host, changes: dict[str, Any]
) -> None:
    """A client forwards nothing, so that it can only bring its own messages."""
    a, b = client(world, server), client(world, server)
    a.say("Data", routed(a.id, b.id, **changes), server)
    world.run_for(0.5)

    assert heard(b) == []
    assert {route.destination for route in server.endpoint.routes(world.now)} == {a.id, b.id}


@pytest.mark.parametrize(
    "named", ["the server", "the server, in capitals", "another", "nobody", "", None, 7, ["x"]]
)
@pytest.mark.parametrize("counts_hops", [True, False])
def test_at_hop_0_the_session_says_who_the_source_is(
    world: World, server: Host, named: Any, counts_hops: bool
) -> None:
    """Deployed interactive clients write the server's id there."""
    a, b, c = (client(world, server) for _ in range(3))
    ids = {"the server": server.id, "the server, in capitals": server.id.upper(), "another": c.id}
    source = ids.get(named, named) if isinstance(named, str) else named
    for number, target in enumerate((b.id, server.id)):
        payload = routed(source, target, route_id=str(number))
        if not counts_hops:
            del payload["hop_count"]
        a.say("Data", payload, server)
        world.run_for(0.5)

    (forwarded,) = heard(b)
    assert forwarded["payload"] == routed(a.id, b.id, hop_count=1, route_id="0")
    (data,) = server.told(DataReceived)
    assert (data.node_id, data.payload) == (a.id, {"text": "hi"})
    assert heard(a) == heard(c) == []


def test_a_source_left_out_is_the_sender(world: World, server: Host) -> None:
    a, b = client(world, server), client(world, server)
    payload = routed(a.id, b.id)
    for key in ("source_node", "hop_count", "max_hops"):
        del payload[key]
    a.say("Data", payload, server)
    world.run_for(0.5)

    assert [message["payload"] for message in heard(b)] == [routed(a.id, b.id, hop_count=1)]


def test_two_that_name_the_server_do_not_share_their_route_ids(world: World, server: Host) -> None:
    a, b, c = (client(world, server) for _ in range(3))
    for sender in (a, c, a):  # the third is a copy
        sender.say("Data", routed(server.id, b.id), server)
        world.run_for(0.1)

    assert [message["payload"]["source_node"] for message in heard(b)] == [a.id, c.id]


def test_beyond_hop_0_a_client_speaks_in_nobody_elses_name(world: World, server: Host) -> None:
    a, b, c = (client(world, server) for _ in range(3))
    for number, source in enumerate((b.id, c.id, server.id, server.id.upper())):
        a.say("Data", routed(source, b.id, hop_count=1, route_id=str(number)), server)
    a.say("Data", routed(a.id.upper(), b.id, hop_count=1, route_id="own"), server)
    world.run_for(0.5)

    assert [message["payload"]["source_node"] for message in heard(b)] == [a.id]
    assert server.endpoint.counters.drops["routed_false_source"] == 4


def test_an_answer_reaches_a_client_that_took_the_servers_id(world: World, server: Host) -> None:
    a, node = client(world, server), world.host()
    node.outcome(node.connect(server))
    world.run_for(1)
    payload = routed(server.id, node.id)
    payload["original_message"]["requires_ack"] = True
    a.say("Data", payload, server)
    world.run_for(1)

    (data,) = node.told(DataReceived)
    assert data.node_id == a.id
    (ack,) = heard(a)
    assert ack["payload"]["original_message"]["message_type"] == "Ack"
    assert ack["payload"]["original_message"]["ack_for"] == payload["original_message"]["id"]


def test_a_false_source_does_not_use_up_the_route_id(world: World, server: Host) -> None:
    a, b, thief = (client(world, server) for _ in range(3))
    thief.say("Data", routed(a.id, b.id), server)
    world.run_for(0.1)
    a.say("Data", routed(a.id, b.id), server)
    world.run_for(0.1)

    assert [message["payload"]["source_node"] for message in heard(b)] == [thief.id, a.id]


def test_nobody_speaks_in_this_nodes_name(world: World, server: Host) -> None:
    a, b = router(world, server), client(world, server)
    a.say("Data", routed(server.id, b.id, hop_count=1), server)
    world.run_for(0.5)

    assert heard(b) == []


def test_a_malformed_inner_message_harms_nobody(world: World, server: Host) -> None:
    a = client(world, server)
    for n, inner in enumerate([5, "x", {}, {"id": 1}, {"payload": None}, []]):
        a.say("Data", routed(a.id, server.id, original_message=inner, route_id=str(n)), server)
    world.run_for(0.5)

    assert server.received() == []
    assert server.endpoint.counters.drops["routed_malformed"] == 6
    assert server.is_connected_to(a)


def test_without_a_route_the_sender_is_told(world: World, server: Host) -> None:
    a = client(world, server)
    (error,) = a.ask("Data", routed(a.id, NOBODY), server)

    assert error["payload"]["code"] == "no_route"
    assert error["payload"]["target"] == NOBODY


# Without a route.


def test_a_message_without_a_route_goes_to_at_most_eight(world: World, server: Host) -> None:
    routers = [router(world, server) for _ in range(20)]
    deployed = [client(world, server) for _ in range(5)]
    a = client(world, server)

    a.say("Data", routed(a.id, NOBODY), server)
    world.run_for(0.5)

    assert sum(len(heard(puppet)) for puppet in routers) == 8
    assert all(heard(puppet) == [] for puppet in deployed)  # they would show it to their users
    assert heard(a) == []


def test_it_never_goes_back_to_where_it_came_from(world: World, server: Host) -> None:
    a, source, other = (router(world, server) for _ in range(3))
    a.say("Data", routed(ELSEWHERE, NOBODY, hop_count=1), server)
    source.say("Data", routed(source.id, NOBODY, hop_count=1, route_id="own"), server)
    world.run_for(0.5)

    assert [message["payload"]["source_node"] for message in heard(a)] == [source.id]
    assert [message["payload"]["source_node"] for message in heard(source)] == [ELSEWHERE]
    assert len(heard(other)) == 2


def test_flooding_is_limited(world: World) -> None:
    server = world.host(flood_rate=10)
    target = router(world, server)
    a = client(world, server)
    for n in range(100):
        a.say("Data", routed(a.id, NOBODY, route_id=str(n)), server)
    world.run_for(0.5)

    assert 10 <= len(heard(target)) <= 16
    assert server.endpoint.counters.drops["flood_limited"] >= 84


def test_a_circle_of_nodes_does_not_hand_a_message_round(world: World) -> None:
    ring = [world.host() for _ in range(5)]
    for node, following in zip(ring, [*ring[1:], ring[0]], strict=True):
        node.outcome(node.connect(following))
    world.run_for(5)
    quiet = sum(node.endpoint.counters.datagrams_out for node in ring)
    token = ring[0].endpoint.send_routed(NOBODY, "anybody?", 8, world.now, 0.5)
    world.run_for(0.4)

    sent = sum(node.endpoint.counters.datagrams_out for node in ring) - quiet
    assert sent <= 2 * len(ring) + 2
    assert ring[0].outcome(token).status is SendStatus.TIMED_OUT


# Routes.


def test_lists_of_a_joined_server_make_routes(world: World, server: Host) -> None:
    a, b = world.host(), world.host()
    join(world, a, b, server=server)

    assert {(r.destination, r.next_hop, r.distance) for r in a.endpoint.routes(world.now)} == {
        (server.id, server.id, 1),
        (b.id, server.id, 2),
    }


def test_lists_of_a_client_make_none(world: World, server: Host) -> None:
    a = client(world, server)
    entry = {"id": ELSEWHERE, "addr": "10.1.1.1:1", "last_seen": 1, "capabilities": []}
    a.say("DiscoveryResponse", [entry], server)
    world.run_for(0.1)

    assert [route.destination for route in server.endpoint.routes(world.now)] == [a.id]


def test_a_list_does_not_divert_what_goes_to_a_peer(world: World, server: Host) -> None:
    liar, victim = router(world, server), client(world, server)
    entry = {"id": victim.id, "addr": "10.1.1.1:1", "last_seen": 1, "capabilities": []}
    liar.say("DiscoveryResponse", [entry], server)
    liar.say("Data", routed(victim.id, server.id, hop_count=1), server)
    world.run_for(0.5)
    server.endpoint.send_routed(victim.id, "for you", 8, world.now, 5)
    world.run_for(0.1)

    assert len(heard(victim)) == 1
    assert heard(liar) == []


def test_traffic_makes_a_route_back(world: World, server: Host) -> None:
    hop = router(world, server)
    hop.say("Data", routed(ELSEWHERE, server.id, hop_count=2), server)
    world.run_for(0.1)

    assert (ELSEWHERE, hop.id, 3) in [
        (route.destination, route.next_hop, route.distance)
        for route in server.endpoint.routes(world.now)
    ]
    server.endpoint.send_routed(ELSEWHERE, "back", 8, world.now, 5)
    world.run_for(0.1)
    assert heard(hop)[0]["payload"]["destination_node"] == ELSEWHERE


def test_a_route_of_equal_length_replaces_the_older(world: World, server: Host) -> None:
    first, second = router(world, server), router(world, server)
    for hop in (first, second):
        hop.say("Data", routed(ELSEWHERE, server.id, hop_count=2, route_id=hop.id), server)
        world.run_for(0.1)

    routes = {r.destination: r.next_hop for r in server.endpoint.routes(world.now)}
    assert routes[ELSEWHERE] == second.id


def test_a_reaped_peer_takes_its_routes_along(world: World) -> None:
    server = world.host(connection_timeout=10, heartbeat_interval=3)
    hop = router(world, server)
    hop.say("Data", routed(ELSEWHERE, server.id, hop_count=2), server)
    world.run_for(0.1)
    assert ELSEWHERE in {route.destination for route in server.endpoint.routes(world.now)}
    world.remove(hop)

    world.run_for(12)

    assert server.endpoint.routes(world.now) == []
    assert server.endpoint.sizes()["routes"] == 0


def test_a_route_expires(world: World, server: Host) -> None:
    hop = router(world, server)
    hop.say("Data", routed(ELSEWHERE, server.id, hop_count=2), server)
    world.run_for(299)
    assert ELSEWHERE in {route.destination for route in server.endpoint.routes(world.now)}

    world.run_for(2)
    assert ELSEWHERE not in {route.destination for route in server.endpoint.routes(world.now)}


def test_routes_are_bounded(world: World) -> None:
    server = world.host(max_routes=50)
    hop = router(world, server)
    for n in range(200):
        source = f"{n:08x}-aaaa-4000-8000-000000000000"
        hop.say("Data", routed(source, server.id, hop_count=2, route_id=str(n)), server)
    world.run_for(1)

    assert server.endpoint.sizes()["routes"] == 50


def test_the_route_table_is_told_in_pages(world: World, server: Host) -> None:
    puppets = [client(world, server) for _ in range(30)]
    puppets[0].say("Data", {"cmd": "get_routes"}, server)
    world.run_for(1)

    sizes = [len(data) for data in puppets[0].inbox]
    pages = [message["payload"] for message in heard(puppets[0])]
    assert len(pages) > 3
    assert max(sizes) <= 1200
    destinations = [route["destination"] for page in pages for route in page["routes"]]
    assert sorted(destinations) == sorted(puppet.id for puppet in puppets)


# From end to end.


def test_a_routed_message_is_confirmed_by_its_receiver(world: World, server: Host) -> None:
    a, b = world.host(), world.host()
    join(world, a, b, server=server)

    token = a.endpoint.send_routed(b.id, {"n": 1}, 8, world.now, 30)

    outcome = a.outcome(token)
    assert outcome.status is SendStatus.DELIVERED
    (data,) = b.told(DataReceived)
    assert (data.node_id, data.address, data.payload) == (a.id, server.address, {"n": 1})
    assert data.path is Path.RELAY
    assert server.received() == []


def test_over_a_lossy_chain_everything_arrives_once() -> None:
    world = World(seed=6, loss=0.15, duplication=0.1)
    chain = [world.host() for _ in range(4)]
    for left, right in itertools.pairwise(chain):
        left.outcome(left.connect(right))
    world.run_for(10)

    tokens = [chain[0].endpoint.send_routed(chain[-1].id, n, 8, world.now, 60) for n in range(20)]

    outcomes = [chain[0].outcome(token) for token in tokens]
    received = chain[-1].received()
    assert len(received) == len(set(received))
    for n, outcome in enumerate(outcomes):
        if outcome.delivered:
            assert n in received
    assert len(received) >= 18


def test_what_is_sent_again_has_a_new_route_id_and_the_same_inner_message(
    world: World, server: Host
) -> None:
    hop = router(world, server)
    hop.say("Data", routed(ELSEWHERE, server.id, hop_count=2), server)
    world.run_for(0.1)
    heard(hop)
    token = server.endpoint.send_routed(ELSEWHERE, "x", 8, world.now, 10)
    world.run_for(8)

    payloads = [message["payload"] for message in heard(hop)]
    assert len(payloads) >= 3
    assert len({payload["route_id"] for payload in payloads}) == len(payloads)
    assert len({json.dumps(payload["original_message"]) for payload in payloads}) == 1
    assert server.outcome(token).status is SendStatus.TIMED_OUT


def test_a_repeated_inner_message_is_acknowledged_again_and_delivered_once(
    world: World, server: Host
) -> None:
    a = router(world, server)
    payload = routed(a.id, server.id)
    payload["original_message"]["requires_ack"] = True
    for n in range(3):
        a.say("Data", payload | {"route_id": str(n)}, server)
    world.run_for(0.5)

    acks = [message["payload"]["original_message"] for message in heard(a)]
    assert [ack["message_type"] for ack in acks] == ["Ack"] * 3
    assert {ack["ack_for"] for ack in acks} == {payload["original_message"]["id"]}
    assert server.received() == [{"text": "hi"}]


def test_a_ping_by_way_of_others(world: World, server: Host) -> None:
    a, b = world.host(), world.host()
    join(world, a, b, server=server)

    token = a.endpoint.ping_routed(b.id, world.now, 5)

    result = a.outcome(token)
    assert result == PingResult(pytest.approx(0.04), Path.RELAY, server.address)


def test_a_ping_to_nowhere_ends_in_time(world: World, server: Host) -> None:
    router(world, server)
    began = world.now
    token = server.endpoint.ping_routed(NOBODY, world.now, 3)

    assert isinstance(server.outcome(token), PeerTimeoutError)
    assert world.now - began == pytest.approx(3)


def test_a_forged_answer_of_another_node_confirms_nothing(world: World, server: Host) -> None:
    a, liar = world.host(), world.host()
    join(world, a, liar, server=server)
    hop = router(world, server)
    token = a.endpoint.send_routed(hop.id, "x", 8, world.now, 3)
    world.run_for(0.5)
    inner = heard(hop)[0]["payload"]["original_message"]
    ack = hop.spec_message("Ack", None, ack_for=inner["id"])
    forged = routed(liar.id, a.id, original_message=ack, hop_count=1)
    hop.say("Data", forged, server)
    world.run_for(0.5)
    assert token not in a.outcomes

    hop.say("Data", routed(hop.id, a.id, original_message=ack, route_id="2"), server)
    assert a.outcome(token, 1).delivered


def test_a_deployed_client_gets_a_routed_message_once(world: World, server: Host) -> None:
    a, b = world.host(), client(world, server)
    join(world, a, server=server)
    heard(b)

    token = a.endpoint.send_routed(b.id, "hi", 8, world.now, 30)
    world.run_for(30)

    assert a.outcomes[token].status is SendStatus.UNCONFIRMED
    assert [message["payload"]["original_message"]["payload"] for message in heard(b)] == ["hi"]


def test_a_deployed_peer_that_announces_nothing_gets_it_once_as_well(
    world: World, server: Host
) -> None:
    b = world.puppet()
    b.join(server, capabilities=[])
    token = server.endpoint.send_routed(b.id, "hi", 8, world.now, 30)
    world.run_for(30)

    assert server.outcomes[token].status is SendStatus.UNCONFIRMED
    assert b.take_types() == ["Data"]


def test_without_any_way_it_is_a_local_error(world: World, server: Host) -> None:
    with pytest.raises(LocalError, match="no route to node"):
        server.endpoint.send_routed(NOBODY, "x", 8, world.now, 5)
    with pytest.raises(LocalError, match="no route to node"):
        server.endpoint.ping_routed(NOBODY, world.now, 5)
    assert server.endpoint.sizes()["routed_waiting"] == 0


def test_a_large_routed_message_travels_in_fragments(world: World, server: Host) -> None:
    a, b = world.host(), world.host()
    join(world, a, b, server=server)
    text = "x" * 300_000

    assert a.outcome(a.endpoint.send_routed(b.id, text, 8, world.now, 30)).delivered
    assert b.received() == [text]


def test_a_routed_message_beyond_the_limit_is_a_local_error(world: World, server: Host) -> None:
    a, b = world.host(), world.host()
    join(world, a, b, server=server)

    with pytest.raises(LocalError, match="send it in parts"):
        a.endpoint.send_routed(b.id, "x" * 1_048_000, 8, world.now, 30)


@pytest.mark.parametrize(
    "changes",
    [
        {"destination_node": "nobody"},
        {"hop_count": 9},
        {"original_message": None},
        {"original_message": {"id": "", "message_type": "Data", "timestamp": 1}},
        {"original_message": {"id": "a", "message_type": "ListNodesRequest", "timestamp": 1}},
        {"hop_count": 1, "source_node": "99999999-0000-4000-8000-000000000009"},
    ],
    ids=str,
)
def test_a_routed_message_that_nobody_gets_is_not_acknowledged(
    world: World, server: Host, changes: dict[str, Any]
) -> None:
    client = world.puppet()
    client.join(server)
    client.take()
    inner = client.message("Data", "text")
    routed = {
        "original_message": inner,
        "source_node": client.id,
        "destination_node": server.id,
        "hop_count": 0,
        "max_hops": 8,
        "route_id": "r1",
    }
    message = client.message("Data", routed | changes, requires_ack=True)
    for _ in range(2):  # its repetition is no other message
        client.send(message, server)
        world.run_for(0.5)

    answers = client.take()
    assert "Ack" not in [answer["message_type"] for answer in answers]
    errors = [a["payload"] for a in answers if a["message_type"] == "Error"]
    if "hop_count" not in changes:  # else somebody else wrote it
        assert [error["code"] for error in errors][:1] == ["bad_payload"]
    assert server.received() == []
