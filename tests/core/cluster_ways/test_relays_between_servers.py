"""What two servers relay between their peers: as one server would, and refused as there."""

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptui.core.events import ErrorReceived
from p2ptui.core.peers import Handed, Handing, NotHanded
from p2ptui.core.relay.frames import REFUSED_CODE
from p2ptui.wire.frames import (
    RELAY,
    RELAY_WHOLE,
    RELAYED,
    Unfragmented,
    encode_relay,
    node_id_bytes,
)
from tests.core.joined_servers import Cluster, Two
from tests.core.relaying import account, node, open_relays, puppet, relaying, say, seen
from tests.simulation import Host, Puppet, World

NOBODY = "99999999-0000-4000-8000-000000000000"


@pytest.fixture(params=[False, True], ids=["open", "secured"])
def two(request: pytest.FixtureRequest) -> Two:
    return Two(secured=request.param)


def request(client: Puppet, server: Host, target: str, data: list[int]) -> list[dict[str, Any]]:
    """What is answered."""
    answers = client.ask("RelayRequest", {"target_peer_id": target, "data": data}, server)
    return [m for m in answers if m["message_type"] in ("RelayResponse", "Error")]


def relayed(client: Puppet) -> list[dict[str, Any]]:
    return [m["payload"] for m in client.take() if m["message_type"] == "RelayData"]


def test_nodes_of_two_servers_talk_by_way_of_both(two: Two) -> None:
    a, b = two.met()

    assert seen(a, b).sends_to[0] == f"{b.id}@{two.one.address[0]}"
    assert seen(b, a).sends_to[0] == f"{a.id}@{two.other.address[0]}"
    for payload, (sender, receiver) in {"there": (a, b), "back": (b, a)}.items():
        assert sender.outcome(say(sender, receiver, payload)).delivered
        assert receiver.received() == [payload]
    assert open_relays(two.one) == open_relays(two.other) == 1
    assert two.cluster.kinds() == [Handing.FRAME]
    assert two.cluster.not_handed == []


def test_large_messages_pass_in_fragments(two: Two) -> None:
    a, b = two.met()

    assert a.outcome(say(a, b, "x" * 200_000)).delivered
    assert b.received() == ["x" * 200_000]


def test_what_must_not_be_cut_says_so_to_the_other_server_too() -> None:
    """Else a path that is too narrow would not show itself beyond the second server."""
    two = Two(secured=True)
    a, b = two.met()
    two.cluster.handed.clear()
    a.outcome(say(a, b, "x" * 200_000))

    whole = [handed for handed in two.cluster.handed if handed.body[0] == RELAY_WHOLE]
    assert 0 < len(whole) < len(two.cluster.handed)
    assert two.hand(NOBODY, b.id, whole[0].body, Handing.FRAME) is None
    ((data, _),) = two.other.endpoint.datagrams_to_send(two.world.now)
    assert type(data) is Unfragmented


def test_an_account_is_kept_where_a_datagram_enters(two: Two) -> None:
    a, b = two.met()
    before = account(two.one, a).datagrams
    a.outcome(say(a, b, 1))

    assert account(two.one, a).datagrams > before
    assert {client.node_id for client in two.other.endpoint.relays(9).clients} == {b.id}


def test_deployed_clients_of_two_servers_reach_each_other() -> None:
    two = Two()
    a, b = two.puppets()

    (answer,) = request(a, two.one, b.id, [0, 127, 255])

    assert answer["payload"] == {"success": True}
    assert relayed(b) == [{"from_peer_id": a.id, "data": [0, 127, 255]}]


def test_the_rules_of_the_entry_hold() -> None:
    world = World()
    one = relaying(world, max_relay_rate_per_client=1000, buffer_size=1024)
    other, closed = world.host(), world.host()
    Cluster(world, one, other, closed)
    a, b, c = puppet(world, one), puppet(world, other), puppet(world, closed)

    (answer,) = request(c, closed, b.id, [1])
    assert "disabled" in answer["payload"]["error_message"]
    for _ in range(4):
        a.say("RelayRequest", {"target_peer_id": b.id, "data": [200] * 200}, one)
    world.run_for(1)
    answers = [m["payload"]["success"] for m in a.take() if m["message_type"] == "RelayResponse"]
    assert False in answers
    assert account(one, a).refused["rate"]
    assert relayed(b)


def test_who_is_denied_stays_so_elsewhere() -> None:
    denied = "00000000-0000-4000-8000-00000000dead"
    two = Two(traffic_forwarding={"deny": [denied]})
    a, b = puppet(two.world, two.one), puppet(two.world, two.other, denied)

    (answer,) = request(a, two.one, b.id, [1])

    assert "does not relay for node" in answer["payload"]["error_message"]
    assert relayed(b) == []


def test_a_node_that_understands_no_frames_is_refused_at_the_entry() -> None:
    two = Two()
    a, b = node(two.world, two.one), puppet(two.world, two.other)
    a.endpoint._relay_frames.open(a.peer(two.one), b.id)
    a.endpoint._relay_frames.send(a.peer(two.one), b.id, b'{"id":"1"}')
    a.settle()
    two.world.run_for(1)

    assert account(two.one, a).refused == {"incapable": 1}
    assert two.cluster.handed == []


def test_nobody_anywhere_holds_it() -> None:
    two = Two()
    a, _ = two.puppets()

    (answer,) = request(a, two.one, NOBODY, [1])

    assert answer["payload"] == {"success": False, "error_message": f"node not found: {NOBODY}"}


def test_a_full_link_refuses_as_a_full_target_does() -> None:
    two = Two()
    a, b = two.puppets()
    two.cluster.admits = lambda _: False

    (answer,) = request(a, two.one, b.id, [1])

    assert "cannot be sent to at present" in answer["payload"]["error_message"]
    assert account(two.one, a).refused == {"unsendable": 1}


@pytest.mark.parametrize(
    ("why", "kind"),
    [
        (NotHanded.UNKNOWN, "unknown"),
        (NotHanded.SERVER_GONE, "unknown"),
        (NotHanded.EXPIRED, "unsendable"),
        (NotHanded.UNSENDABLE, "unsendable"),
    ],
)
def test_of_what_was_handed_and_did_not_arrive_the_sender_is_told(
    why: NotHanded, kind: str
) -> None:
    two = Two()
    a, b = two.met()
    two.cluster.loses = lambda _: why
    a.events.clear()
    say(a, b, "lost", reliable=False)
    two.world.run_for(0.5)

    assert account(two.one, a).refused[kind]
    (told,) = a.told(ErrorReceived)
    assert told.code == REFUSED_CODE
    assert told.node_id == two.one.id


def test_a_deployed_client_hears_of_it_after_the_answer() -> None:
    two = Two()
    a, b = two.puppets()
    two.cluster.knows = False
    two.world.remove(b)
    two.other.endpoint.disconnect(two.other.peer(b), "gone", two.world.now)

    answer, late = request(a, two.one, b.id, [1])

    assert answer["payload"] == {"success": True}
    assert late["message_type"] == "Error"
    assert late["payload"]["code"] == "peer_not_found"
    assert late["payload"]["target"] == b.id


def test_a_session_goes_on_when_what_was_lost_comes_again() -> None:
    two = Two()
    a, b = two.met()
    two.cluster.loses = lambda _: NotHanded.EXPIRED
    token = say(a, b, "kept")
    two.world.run_for(2)
    assert token not in a.outcomes
    two.cluster.loses = lambda _: None

    assert a.outcome(token).delivered
    assert b.received() == ["kept"]


# What another server says is not believed further than that of one that was joined.


def frame(kind: int, source: str, data: bytes = b'{"id":"1"}') -> bytes:
    return encode_relay(kind, node_id_bytes(source), data)


@pytest.mark.parametrize("kind", list(Handing))
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"\xc3",
        b"null",
        b"{}",
        b"[1]",
        b"\xff" * 100,
        b'{"a":1}, "more":1',
        b"[" * 5000 + b"]" * 5000,
        b'{"from_peer_id":1,"data":[256]}',
        b'{"peer_id":"x"}',
        b'{"original_message":{},"destination_node":"x","route_id":"1","hop_count":1}',
        frame(RELAYED, NOBODY, b"\xc3again"),
        frame(RELAYED, NOBODY, b"\0\1stun"),
    ],
)
def test_bytes_of_any_kind_reach_nobody(kind: Handing, body: bytes) -> None:
    two = Two()
    _, b = two.nodes()
    sent = two.other.endpoint.counters.messages_out

    assert two.hand(NOBODY, b.id, body, kind) is not None

    assert two.other.endpoint.counters.messages_out == sent
    assert two.other.endpoint.datagrams_to_send(two.world.now) == []
    assert two.other.endpoint.counters.drops["handed_malformed"] == 1


@cache
def shared() -> tuple[Two, Host]:
    """Two servers for all examples, and a node of the second."""
    two = Two()
    return two, two.nodes()[1]


KEYS = st.sampled_from(
    [
        *("peer_id", "peer_addr", "peer_offer", "peer_sealed_offer", "peer_keys", "peer_boot"),
        *("original_message", "source_node", "destination_node", "hop_count", "max_hops"),
        *("route_id", "from_peer_id", "data", "peer_name", "peer_capabilities", "handshake"),
    ]
)
IDS = st.sampled_from([NOBODY, NOBODY.upper(), "", "x"]) | st.uuids().map(str)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(Handing),
    IDS,
    st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(NotHanded),
    st.text(max_size=8),
)
def test_whatever_comes_is_taken_or_refused(
    kind: Handing, source: str, body: bytes, why: NotHanded, ref: str
) -> None:
    two, b = shared()
    target = two.other.peer(b)
    assert target is not None
    handed = Handed(kind, two.one.id, source, target.node_id, body, ref)
    taker = two.other.endpoint._state.taker

    assert taker.take_handed(target, handed, two.world.now) in (None, *NotHanded)
    taker.handle_not_handed(target, handed, why, two.world.now)
    two.world.run_for(0.1)
    assert target.is_authenticated


@pytest.mark.parametrize("kind", list(Handing))
def test_what_is_larger_than_a_message_reaches_nobody(kind: Handing) -> None:
    two = Two()
    _, b = two.nodes()
    limit = two.other.endpoint._state.config.server.max_message_size
    body = frame(RELAYED, NOBODY, b"{" * limit)

    assert two.hand(NOBODY, b.id, body, kind) is NotHanded.UNSENDABLE
    assert two.other.endpoint.counters.drops["handed_too_large"] == 1


def test_no_server_speaks_in_the_name_of_a_node_that_is_here() -> None:
    two = Two()
    _, b = two.nodes()
    c = node(two.world, two.other)
    names = [c.id, two.other.id, b.id, "no-id", "", c.id.upper() + " "]

    for name in names:
        body = frame(RELAYED, NOBODY)
        assert two.hand(name, b.id, body, Handing.FRAME) is NotHanded.UNKNOWN
    assert two.other.endpoint.counters.drops["handed_false_source"] == len(names)
    assert two.other.endpoint.datagrams_to_send(two.world.now) == []


def test_a_node_with_two_sessions_speaks_by_the_server_that_it_has_signed_for() -> None:
    two = Two(secured=True)
    a, b = node(two.world, two.one, two.other), node(two.world, two.other)
    body = frame(RELAYED, NOBODY)
    two.cluster.enter(two.other, seen(two.other, a), two.world.now)
    assert two.hand(a.id, b.id, body, Handing.FRAME) is NotHanded.UNKNOWN

    two.cluster.enter(two.one, seen(two.one, a), two.world.now)
    assert two.hand(a.id, b.id, body, Handing.FRAME) is None


def test_the_head_of_a_frame_is_written_by_who_gives_it_to_its_node() -> None:
    two = Two()
    _, b = two.nodes()
    for kind in (RELAY, RELAYED):
        assert two.hand(NOBODY, b.id, frame(kind, two.other.id), Handing.FRAME) is None
        ((data, to),) = two.other.endpoint.datagrams_to_send(two.world.now)
        assert (data, to) == (frame(RELAYED, NOBODY), b.address)


def test_relayed_bytes_are_written_anew() -> None:
    two = Two()
    _, b = two.puppets()
    body = json.dumps({"from_peer_id": two.other.id, "data": [1], "other": 2}).encode()

    assert two.hand(NOBODY, b.id, body, Handing.RELAY_DATA) is None
    two.world.run_for(1)
    assert relayed(b) == [{"from_peer_id": NOBODY, "data": [1]}]


def test_who_has_proved_nothing_is_given_nothing() -> None:
    two = Two()
    b = two.world.puppet()
    b.answers_pings = False
    b.join(two.other)

    assert two.hand(NOBODY, b.id, frame(RELAYED, NOBODY), Handing.FRAME) is NotHanded.UNSENDABLE
    assert two.other.endpoint.counters.drops["handed_unproved"] == 1


def test_a_mere_claim_takes_nothing_from_a_node_elsewhere() -> None:
    """A forged handshake in its name is a session that proves nothing."""
    two = Two()
    a, b = two.puppets()
    forger = two.world.puppet(node_id=b.id)
    forger.answers_pings = False
    forger.join(two.one)
    assert two.one.endpoint.peers.authenticated(b.id) is not None

    assert request(a, two.one, b.id, [7])[0]["payload"]["success"]
    assert relayed(b) == [{"from_peer_id": a.id, "data": [7]}]
    assert relayed(forger) == []
