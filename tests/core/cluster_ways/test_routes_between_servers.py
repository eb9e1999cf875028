"""Routed messages between nodes of two servers: one hop more than none, and no circles."""

from typing import Any

import pytest

from p2ptui.core.events import DataReceived, PingResult, SendStatus
from p2ptui.core.peers import Handed, Handing, NotHanded
from p2ptui.wire.codec import encode_payload
from tests.core.joined_servers import Two
from tests.core.relaying import node, puppet
from tests.simulation import Host, Puppet

NOBODY = "99999999-0000-4000-8000-000000000000"
ELSEWHERE = "88888888-0000-4000-8000-000000000000"


def routed(two: Two, source: str, destination: str, **changes: Any) -> dict[str, Any]:
    return {
        "original_message": two.world.puppet().message("Data", {"text": "hi"}),
        "source_node": source,
        "destination_node": destination,
        "hop_count": 0,
        "max_hops": 8,
        "route_id": "5e375b12-6c51-4b79-a831-a088df14eeaf",
    } | changes


def heard(client: Puppet) -> list[dict[str, Any]]:
    return [m for m in client.take() if m["message_type"] in ("Data", "Error")]


def send(sender: Host, receiver: Host | str, payload: Any) -> int:
    node_id = receiver if isinstance(receiver, str) else receiver.id
    token = sender.endpoint.send_routed(node_id, payload, 8, sender.world.now, 20)
    sender.settle()
    return token


@pytest.fixture(params=[False, True], ids=["open", "secured"])
def two(request: pytest.FixtureRequest) -> Two:
    return Two(secured=request.param)


def test_a_message_passes_and_is_acknowledged_from_end_to_end(two: Two) -> None:
    a, b = two.nodes()

    outcome = a.outcome(send(a, b, {"text": "hi"}))

    assert outcome.status is SendStatus.DELIVERED
    (data,) = b.told(DataReceived)
    assert (data.node_id, data.payload, data.carrier_id) == (a.id, {"text": "hi"}, two.other.id)
    assert two.cluster.kinds() == [Handing.ROUTED]


def test_a_ping_is_answered(two: Two) -> None:
    a, b = two.nodes()
    token = a.endpoint.ping_routed(b.id, two.world.now, 5)
    a.settle()

    assert isinstance(a.outcome(token), PingResult)


def test_a_large_message_passes(two: Two) -> None:
    a, b = two.nodes()

    assert a.outcome(send(a, b, "x" * 100_000)).delivered
    assert b.received() == ["x" * 100_000]


def test_deployed_clients_see_one_hop_as_on_one_server() -> None:
    two = Two()
    a, b = two.puppets()
    payload = routed(two, a.id, b.id)

    a.say("Data", payload, two.one)
    two.world.run_for(0.5)

    (message,) = heard(b)
    assert message["payload"] == payload | {"hop_count": 1}
    assert heard(a) == []
    b.say("Data", routed(two, b.id, a.id, route_id="back"), two.other)
    two.world.run_for(0.5)
    (message,) = heard(a)
    assert message["payload"]["source_node"] == b.id


def test_the_same_message_passes_once() -> None:
    two = Two()
    a, b = two.puppets()
    for _ in range(3):
        a.say("Data", routed(two, a.id, b.id), two.one)
        two.world.run_for(0.5)
    again = two.cluster.handed[0]
    assert two.cluster.take(two.other, again, two.world.now) is None
    two.world.run_for(0.5)

    assert len(heard(b)) == 1
    assert two.one.endpoint.counters.drops["routed_seen"] == 2
    assert two.other.endpoint.counters.drops["routed_seen"] == 1


def test_no_server_hands_on_what_was_handed_to_it() -> None:
    """Each believes that the other holds the node: nothing goes to and fro."""
    two = Two()
    a, b = two.puppets()
    two.cluster.knows = False
    two.other.endpoint.disconnect(two.other.peer(b), "gone", two.world.now)
    b.take()
    two.world.run_for(1)
    a.say("Data", routed(two, a.id, b.id), two.one)
    two.world.run_for(0.5)

    assert len(two.cluster.handed) == 1
    (error,) = heard(a)
    assert error["payload"]["code"] == "no_route"
    assert error["payload"]["route_id"] == "5e375b12-6c51-4b79-a831-a088df14eeaf"
    assert error["payload"]["target"] == b.id


@pytest.mark.parametrize(
    ("why", "code"),
    [
        (NotHanded.UNKNOWN, "no_route"),
        (NotHanded.SERVER_GONE, "no_route"),
        (NotHanded.EXPIRED, "no_room"),
        (NotHanded.UNSENDABLE, "no_room"),
        (NotHanded.TOO_LARGE, "too_large"),
    ],
)
def test_the_writer_is_told_why_and_may_try_again(why: NotHanded, code: str) -> None:
    two = Two()
    a, b = two.puppets()
    two.cluster.loses = lambda _: why
    a.say("Data", routed(two, a.id, b.id), two.one)
    two.world.run_for(0.5)
    assert [m["payload"]["code"] for m in heard(a)] == [code]
    two.cluster.loses = lambda _: None

    a.say("Data", routed(two, a.id, b.id), two.one)
    two.world.run_for(0.5)
    assert len(heard(b)) == 1


def test_a_full_link_is_told_at_once() -> None:
    two = Two()
    a, b = two.puppets()
    two.cluster.admits = lambda _: False
    a.say("Data", routed(two, a.id, b.id), two.one)
    two.world.run_for(0.5)

    assert [m["payload"]["code"] for m in heard(a)] == ["no_room"]


def test_a_message_that_waits_for_a_broker_arrives_when_it_is_back(two: Two) -> None:
    a, b = two.nodes()
    two.cluster.loses = lambda _: NotHanded.EXPIRED
    token = send(a, b, "kept")
    two.world.run_for(3)
    two.cluster.loses = lambda _: None

    assert a.outcome(token).delivered
    assert b.received() == ["kept"]


def test_a_node_that_nobody_holds() -> None:
    two = Two()
    a, _ = two.puppets()
    a.say("Data", routed(two, a.id, NOBODY), two.one)
    two.world.run_for(0.5)

    assert [m["payload"]["code"] for m in heard(a)] == ["no_route"]


def test_the_hop_between_the_servers_counts() -> None:
    two = Two()
    a, b = two.puppets()
    a.say("Data", routed(two, a.id, b.id, max_hops=0), two.one)
    two.world.run_for(0.5)

    assert two.cluster.handed == []
    assert heard(b) == []


def test_a_message_for_a_claim_goes_to_the_node_itself() -> None:
    two = Two()
    a, b = two.puppets()
    forger = two.world.puppet(node_id=b.id)
    forger.answers_pings = False
    forger.join(two.one)

    a.say("Data", routed(two, a.id, b.id), two.one)
    two.world.run_for(0.5)

    assert len(heard(b)) == 1
    assert heard(forger) == []


def test_a_node_behind_one_elsewhere_is_answered(two: Two) -> None:
    """It has joined a node that has joined a server."""
    a, b = two.nodes()
    behind = two.world.host(ice={"enable": False})
    behind.outcome(behind.connect(b))
    two.world.run_for(1)

    token = send(behind, a, "from behind")
    assert behind.outcome(token).delivered
    assert a.received() == ["from behind"]
    assert a.outcome(send(a, behind, "back")).delivered
    assert behind.received() == ["back"]


def test_nobody_here_speaks_for_a_node_elsewhere() -> None:
    two = Two()
    a, b = two.puppets()
    c = two.world.puppet()
    payload = c.handshake_request(capabilities=["routing"])["payload"]
    c.send(c.spec_message("HandshakeRequest", payload), two.one)
    two.world.run_for(0.5)
    two.one.ping(c)
    two.world.run_for(1)
    a.take()

    c.say("Data", routed(two, b.id, a.id, hop_count=1), two.one)
    two.world.run_for(0.5)
    assert heard(a) == []
    assert two.one.endpoint.counters.drops["routed_false_source"] == 1
    c.say("Data", routed(two, NOBODY, a.id, hop_count=1), two.one)
    two.world.run_for(0.5)
    assert len(heard(a)) == 1


def test_the_table_of_routes_holds_the_nodes_elsewhere() -> None:
    two = Two()
    a, b = two.puppets()
    a.say("Data", {"cmd": "get_routes"}, two.one)
    two.world.run_for(1)

    (answer,) = [m["payload"] for m in heard(a) if "routes" in m["payload"]]
    routes = {entry["destination"]: entry for entry in answer["routes"]}
    assert routes.keys() == {a.id, b.id}
    assert routes[b.id]["next_hop"] == two.other.id


# What another server says.


def onward(two: Two, target: str, **changes: Any) -> bytes:
    payload = routed(two, ELSEWHERE, target, hop_count=1) | changes
    return bytes(encode_payload(payload))


def test_what_another_server_hands_over_is_delivered() -> None:
    two = Two()
    b = node(two.world, two.other)

    assert two.hand(ELSEWHERE, b.id, onward(two, b.id), Handing.ROUTED) is None
    two.world.run_for(1)
    (data,) = b.told(DataReceived)
    assert data.node_id == ELSEWHERE


@pytest.mark.parametrize(
    "changes",
    [
        {"hop_count": 0},
        {"hop_count": 33, "max_hops": 200},
        {"hop_count": 9},
        {"source_node": None},
        {"source_node": "x"},
        {"destination_node": "x"},
        {"destination_node": 7},
        {"route_id": ""},
        {"route_id": "x" * 10_000},
    ],
)
def test_what_makes_no_sense_is_not(changes: dict[str, Any]) -> None:
    two = Two()
    b = node(two.world, two.other)

    body = onward(two, b.id, **changes)
    assert two.hand(ELSEWHERE, b.id, body, Handing.ROUTED) is NotHanded.UNSENDABLE
    assert two.other.endpoint.counters.drops["handed_malformed"] == 1
    two.world.run_for(1)
    assert b.received() == []


def test_nobody_elsewhere_has_something_behind_it_that_is_here() -> None:
    two = Two()
    b, c = node(two.world, two.other), node(two.world, two.other)
    for name in (c.id, two.other.id):
        body = onward(two, b.id, source_node=name)
        assert two.hand(ELSEWHERE, b.id, body, Handing.ROUTED) is NotHanded.UNKNOWN
    assert two.other.endpoint.counters.drops["routed_false_source"] == 2

    body = onward(two, b.id, source_node=NOBODY)
    assert two.hand(ELSEWHERE, b.id, body, Handing.ROUTED) is None


def test_what_is_for_a_third_node_goes_to_who_may_lead_there_alone() -> None:
    two = Two()
    b, c = node(two.world, two.other), node(two.world, two.other)
    deployed = puppet(two.world, two.other)
    for target, name in ((b, c.id), (b, two.other.id), (deployed, NOBODY)):
        body = onward(two, name)
        assert two.hand(ELSEWHERE, target.id, body, Handing.ROUTED) is NotHanded.UNKNOWN

    assert two.hand(ELSEWHERE, b.id, onward(two, NOBODY), Handing.ROUTED) is None


def test_a_server_refuses_nothing_for_another_one() -> None:
    two = Two()
    a, b = two.puppets()
    peer = two.one.peer(a)
    assert peer is not None
    for server_id, told in ((ELSEWHERE, 0), (two.other.id, 1), (two.one.id, 1)):
        about = Handed(Handing.ROUTED, server_id, a.id, b.id, b"", "route")
        two.one.endpoint._state.taker.handle_not_handed(
            peer, about, NotHanded.UNKNOWN, two.world.now
        )
        two.world.run_for(0.5)
        assert len(heard(a)) == told
    assert two.one.endpoint.counters.drops["handed_false_refusal"] == 1


def test_a_refusal_of_what_was_never_sent_harms_nobody() -> None:
    two = Two()
    a, b = two.puppets()
    peer = two.one.peer(a)
    assert peer is not None
    for kind in Handing:
        about = Handed(kind, two.one.id, a.id, b.id, b"", "")
        for why in NotHanded:
            two.one.endpoint._state.taker.handle_not_handed(peer, about, why, two.world.now)
    two.world.run_for(1)

    a.say("Data", routed(two, a.id, b.id), two.one)
    two.world.run_for(0.5)
    assert len(heard(b)) == 1
