"""Between whole nodes: acknowledged, sent again, delivered once; echoes; large messages."""

import json
import random
from collections import Counter
from typing import Any

import pytest

from p2ptui.core.delivery.outlet import challenge_interval_s
from p2ptui.core.events import DataReceived, ErrorReceived, SendStatus
from p2ptui.core.peers.peer import Held
from p2ptui.errors import LocalError, MessageTooLargeError, QueueFullError
from p2ptui.wire.message import OWN_CAPABILITIES
from tests.simulation import Host, Puppet, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Host:
    return world.host()


def connected(world: World, server: Host) -> Host:
    node = world.host()
    node.outcome(node.connect(server))
    world.run_for(1)
    return node


def capable(world: World, server: Host) -> Puppet:
    """A puppet of our own kind: it announced every extension, and acks the response."""
    puppet = world.puppet()
    puppet.answers_pings = False
    payload = puppet.handshake_request(capabilities=list(OWN_CAPABILITIES))["payload"]
    request = puppet.spec_message("HandshakeRequest", payload, requires_ack=True)
    puppet.send(request | {"sequence_number": 100}, server)
    for _ in range(50):
        world.run_for(0.02)
        for message in puppet.take():
            if message["requires_ack"]:
                puppet.send(puppet.spec_message("Ack", ack_for=message["sequence_number"]), server)
    assert server.peer(puppet).proved
    return puppet


def numbered(puppet: Puppet, number: int, payload: Any) -> dict[str, Any]:
    message = puppet.spec_message("Data", payload, requires_ack=True)
    return message | {"sequence_number": number}


def kinds(messages: list[dict[str, Any]]) -> Counter[str]:
    return Counter(message["message_type"] for message in messages)


# What is acknowledged, and how often it is delivered.


def test_a_message_is_delivered_and_its_sender_told(world: World, server: Host) -> None:
    node = connected(world, server)

    outcome = node.outcome(node.send(server, {"hello": "world"}))

    assert outcome.status is SendStatus.DELIVERED
    assert outcome.attempts == 1
    assert outcome.rtt_s == pytest.approx(0.02)
    assert server.received() == [{"hello": "world"}]


@pytest.mark.parametrize("payload", [None, 5, -1.5, "text", True, [], {}, [1, [2, {"a": None}]]])
def test_any_json_may_be_sent(world: World, server: Host, payload: Any) -> None:
    node = connected(world, server)

    assert node.outcome(node.send(server, payload)).delivered
    assert server.received() == [payload]


@pytest.mark.parametrize("payload", [float("nan"), float("inf"), object(), "\ud800"])
def test_what_is_no_json_is_refused(world: World, server: Host, payload: Any) -> None:
    node = connected(world, server)

    with pytest.raises(LocalError, match="cannot be sent"):
        node.send(server, payload)


def test_a_duplicate_is_acknowledged_again_and_delivered_once(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)
    message = client.message("Data", "once", requires_ack=True)

    for _ in range(3):
        client.send(message, server)
        world.run_for(0.5)

    got = client.take()
    assert kinds(got) == {"Ack": 3, "Data": 1}
    assert {message["ack_for"] for message in got if message["message_type"] == "Ack"} == {
        message["id"]
    }
    assert server.received() == ["once"]


def test_a_duplicate_that_wants_no_ack_is_dropped(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)
    message = client.message("Data", "once")
    for _ in range(3):
        client.send(message, server)
    world.run_for(0.5)

    assert server.received() == ["once"]
    assert server.endpoint.counters.duplicates == 2


def test_the_same_id_from_two_peers_are_two_messages(world: World, server: Host) -> None:
    one, other = world.puppet(), world.puppet()
    one.join(server)
    other.join(server)
    message = one.message("Data", "mine")

    one.send(message, server)
    other.send(message, server)
    world.run_for(0.5)

    assert server.received() == ["mine", "mine"]


def test_deployed_clients_number_everything_with_1(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)
    for n in range(5):
        client.say("Data", n, server, requires_ack=True)
    world.run_for(0.5)

    assert server.received() == [0, 1, 2, 3, 4]


def test_everything_arrives_once_over_a_bad_network() -> None:
    world = World(seed=5, loss=0.2, duplication=0.1, reorder=0.2, jitter_s=0.02)
    server, node = world.host(echo="all"), world.host()
    node.outcome(node.connect(server))

    tokens = [node.send(server, n) for n in range(100)]

    assert all(node.outcome(token).delivered for token in tokens)
    world.run_for(30)
    assert sorted(server.received()) == list(range(100))
    echoes = [event.payload["echo"] for event in node.told(DataReceived) if event.is_echo]
    assert sorted(echoes) == list(range(100))


def test_a_message_to_a_dead_peer_fails_with_it(world: World) -> None:
    server = world.host()
    node = world.host(connection_timeout=20, heartbeat_interval=5)
    node.outcome(node.connect(server))
    world.run_for(1)
    world.remove(server)

    outcome = node.outcome(node.send(server, "hello?"))

    assert outcome.status in (SendStatus.TIMED_OUT, SendStatus.FAILED)
    assert not outcome.delivered


def test_a_retransmission_is_byte_identical(world: World, server: Host) -> None:
    puppet = capable(world, server)
    server.send(puppet, "again and again")
    world.run_for(3)

    assert len(puppet.inbox) > 2
    assert len(set(puppet.inbox)) == 1


def test_an_ack_by_id_counts_as_well_as_one_by_number(world: World, server: Host) -> None:
    puppet = capable(world, server)
    for key in ("id", "sequence_number"):
        token = server.send(puppet, key)
        world.run_for(0.1)
        message = puppet.take()[0]
        puppet.send(puppet.spec_message("Ack", ack_for=message[key]), server)

        assert server.outcome(token, 0.1).delivered


def test_only_what_requires_an_ack_is_numbered_and_without_holes(
    world: World, server: Host
) -> None:
    puppet = capable(world, server)
    tokens = []
    for n in range(3):
        tokens.append(server.send(puppet, n))
        server.send(puppet, n, reliable=False)
    world.run_for(0.1)

    messages = {message["id"]: message for message in puppet.take()}.values()
    numbers = [message["sequence_number"] for message in messages if message["requires_ack"]]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    assert all(
        message["sequence_number"] is None for message in messages if not message["requires_ack"]
    )


# Retransmit.


def test_a_gap_is_asked_for_and_filled(world: World, server: Host) -> None:
    puppet = capable(world, server)
    puppet.send(numbered(puppet, 101, "first"), server)
    puppet.send(numbered(puppet, 103, "third"), server)
    world.run_for(0.1)

    (request,) = [m for m in puppet.take() if m["message_type"] == "Retransmit"]
    assert request["payload"]["sequence_number"] == 102

    puppet.send(numbered(puppet, 102, "second"), server)
    world.run_for(2)
    assert server.received() == ["first", "third", "second"]
    assert "Retransmit" not in puppet.take_types()


def test_reordering_is_no_gap(world: World, server: Host) -> None:
    puppet = capable(world, server)
    puppet.send(numbered(puppet, 102, "second"), server)
    world.run_for(0.012)  # less than `reorder_wait_ms` later
    puppet.send(numbered(puppet, 101, "first"), server)
    world.run_for(2)

    assert sorted(server.received()) == ["first", "second"]
    assert "Retransmit" not in puppet.take_types()


def test_a_gap_that_is_never_filled_is_given_up(world: World, server: Host) -> None:
    puppet = capable(world, server)
    puppet.send(numbered(puppet, 105, "fifth"), server)
    world.run_for(50)

    requests = [m["payload"] for m in puppet.take() if m["message_type"] == "Retransmit"]
    wanted = Counter(request["sequence_number"] for request in requests)
    assert wanted == {101: 3, 102: 3, 103: 3, 104: 3}


def test_who_no_longer_has_a_message_is_not_asked_again(world: World, server: Host) -> None:
    puppet = capable(world, server)
    puppet.send(numbered(puppet, 102, "second"), server)
    world.run_for(0.1)
    gone = {"error": "gone", "code": "gone", "sequence_number": 101}
    puppet.send(puppet.spec_message("Error", gone), server)
    puppet.take()
    world.run_for(30)

    assert "Retransmit" not in puppet.take_types()
    assert server.told(ErrorReceived) == []


def test_a_request_to_send_again_is_served(world: World, server: Host) -> None:
    puppet = capable(world, server)
    token = server.send(puppet, "lost?")
    world.run_for(0.015)
    (data,) = puppet.inbox
    number = json.loads(data)["sequence_number"]

    puppet.inbox.clear()
    puppet.send(puppet.spec_message("Retransmit", {"sequence_number": number}), server)
    world.run_for(0.03)
    assert puppet.inbox[0] == data  # while it waits for its Ack

    puppet.send(puppet.spec_message("Ack", ack_for=number), server)
    assert server.outcome(token, 0.1).delivered
    puppet.inbox.clear()
    puppet.send(puppet.spec_message("Retransmit", {"sequence_number": number}), server)
    world.run_for(0.1)
    assert puppet.inbox[0] == data  # and for a while after it


def test_a_message_that_is_no_longer_held_is_gone(world: World, server: Host) -> None:
    puppet = capable(world, server)
    puppet.send(puppet.spec_message("Retransmit", {"sequence_number": 5}), server)
    world.run_for(0.1)

    (error,) = puppet.take()
    assert error["message_type"] == "Error"
    assert error["payload"]["code"] == "gone"
    assert error["payload"]["sequence_number"] == 5


@pytest.mark.parametrize("payload", [None, {}, {"sequence_number": -1}, {"sequence_number": "x"}])
def test_a_senseless_request_to_send_again(world: World, server: Host, payload: Any) -> None:
    puppet = capable(world, server)
    puppet.send(puppet.spec_message("Retransmit", payload), server)
    world.run_for(0.1)

    assert puppet.take()[0]["payload"]["code"] == "bad_payload"


def test_gaps_of_deployed_clients_mean_nothing(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)
    for number in (9, 5, 70, None, 3):
        client.say("Data", number, server, sequence_number=number, requires_ack=True)
    world.run_for(20)

    assert server.received() == [9, 5, 70, None, 3]
    assert "Retransmit" not in client.take_types()


def test_a_peer_of_the_reference_is_never_asked_to_send_again(world: World, server: Host) -> None:
    """It claims our extensions, but its dialect shows that it cannot mean them."""
    client = world.puppet()
    client.join(server, capabilities=list(OWN_CAPABILITIES))
    for number in (5, 9, 12):
        client.say("Data", number, server, sequence_number=number, requires_ack=True)
    world.run_for(20)

    assert server.received() == [5, 9, 12]
    assert set(client.take_types()) <= {"Ack", "Data", "DiscoveryResponse"}


def test_messages_of_an_earlier_session_are_not_delivered_twice(world: World, server: Host) -> None:
    puppet = capable(world, server)
    old = numbered(puppet, 101, "old")
    puppet.send(old, server)
    world.run_for(0.1)
    payload = puppet.handshake_request(capabilities=list(OWN_CAPABILITIES))["payload"]
    again = puppet.spec_message("HandshakeRequest", payload, requires_ack=True)
    puppet.send(again | {"sequence_number": 2**31}, server)
    world.run_for(0.1)

    puppet.send(old, server)  # doubled and delayed by the network
    world.run_for(0.5)

    assert server.received() == ["old"]


# Peers that never ack.


def test_a_peer_that_never_acked_gets_it_once_and_unconfirmed(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)

    token = server.send(client, "hello")
    world.run_for(30)

    assert server.outcomes[token].status is SendStatus.UNCONFIRMED
    assert server.outcomes[token].attempts == 1
    assert client.take_types() == ["Data"]


def test_a_peer_that_has_acked_is_held_to_it(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)
    server.ping(client)
    server.send(client, "first")
    world.run_for(0.1)
    (first,) = client.take()
    client.say("Ack", None, server, ack_for=first["id"])
    client.say("Ack", None, server, ack_for=server.peer(client).handshake_keys[0])
    world.run_for(0.1)

    token = server.send(client, "second")
    world.run_for(2)
    assert client.take_types().count("Data") > 1

    server.send(client, "third")
    world.run_for(0.02)
    copy = next(message for message in client.take() if message["payload"] == "third")
    assert server.outcome(token).status in (SendStatus.TIMED_OUT, SendStatus.FAILED)
    assert copy["requires_ack"]


def test_acks_that_name_nothing_are_counted(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)
    for key in (0, 7, 2**32, "nothing", "", None):
        client.say("Ack", None, server, ack_for=key)
    world.run_for(1)

    assert client.take() == []
    assert server.endpoint.counters.acks_without_message == 6
    assert not server.peer(client).proved


# Sizes.


def test_a_megabyte_arrives_whole(world: World, server: Host) -> None:
    node = connected(world, server)
    text = random.Random(1).randbytes(500_000).hex()

    outcome = node.outcome(node.send(server, {"text": text}))

    assert outcome.delivered
    assert server.received() == [{"text": text}]
    assert server.endpoint.sizes()["reassembly_bytes"] == 0


def test_a_megabyte_arrives_whole_over_a_bad_network() -> None:
    world = World(seed=8, loss=0.1, reorder=0.1, duplication=0.05, latency_s=0.03)
    server, node = world.host(), world.host()
    node.outcome(node.connect(server))
    text = "0123456789abcdef" * 65_000

    outcome = node.outcome(node.send(server, text), 300)

    assert outcome.delivered
    assert server.received() == [text]


def test_no_datagram_between_our_nodes_exceeds_the_budget() -> None:
    world = World(mtu=1200)
    server, node = world.host(echo="all"), world.host()
    node.outcome(node.connect(server))

    outcome = node.outcome(node.send(server, "x" * 100_000))
    world.run_for(10)

    assert outcome.delivered
    assert world.network.counters().dropped_mtu == 0
    assert any(event.is_echo for event in node.told(DataReceived))


def test_small_messages_overtake_a_large_one(world: World, server: Host) -> None:
    node = connected(world, server)
    large = node.send(server, "x" * 1_000_000)
    world.run_for(0.05)
    small = node.send(server, "quick")

    assert node.outcome(small, 1).delivered
    assert large not in node.outcomes
    assert node.outcome(large).delivered


@pytest.mark.parametrize("size", [65_507, 65_508])
def test_one_datagram_to_a_peer_that_takes_no_fragments(
    world: World, server: Host, size: int
) -> None:
    client = world.puppet()
    client.join(server)
    server.send(client, "")
    world.run_for(0.1)
    overhead = len(client.inbox.pop())
    payload = "x" * (size - overhead)

    if size > 65_507:
        with pytest.raises(MessageTooLargeError, match=r"65508 bytes.*65507"):
            server.send(client, payload)
        world.run_for(1)
        assert client.take() == []
        return
    server.send(client, payload)
    world.run_for(1)
    assert len(client.inbox[0]) == size


def test_the_same_limit_without_wish_for_an_ack(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)

    with pytest.raises(MessageTooLargeError, match="65507"):
        server.send(client, "x" * 70_000, reliable=False)
    token = server.send(client, "x" * 60_000, reliable=False)
    world.run_for(1)

    assert server.outcomes[token].status is SendStatus.SENT
    assert len(client.inbox) == 1


def test_a_message_beyond_the_limit_is_a_local_error(world: World, server: Host) -> None:
    node = connected(world, server)
    sent = node.endpoint.counters.datagrams_out

    for reliable in (True, False):
        with pytest.raises(MessageTooLargeError, match="max_message_size"):
            node.send(server, "x" * 1_048_576, reliable=reliable)

    assert node.endpoint.counters.datagrams_out == sent
    assert node.outcome(node.send(server, "next")).attempts == 1  # no hole in the numbers
    world.run_for(1)
    assert server.endpoint.counters.drops["bad_frame"] == 0


def test_a_full_queue_is_a_local_error(world: World, server: Host) -> None:
    node = connected(world, server)
    for _ in range(4):
        node.send(server, "x" * 1_000_000)

    with pytest.raises(QueueFullError, match="max_queued_bytes"):
        node.send(server, "x" * 1_000_000)


def test_a_message_larger_than_the_receiver_takes_fails_clearly(world: World) -> None:
    server, node = world.host(max_message_size=10_000), world.host()
    node.outcome(node.connect(server))
    world.run_for(1)

    outcome = node.outcome(node.send(server, "x" * 50_000))

    assert outcome.status is SendStatus.FAILED
    assert "larger than the peer accepts" in outcome.reason


def test_cancelling_a_message(world: World, server: Host) -> None:
    node = connected(world, server)
    peer = node.peer(server)
    world.remove(server)
    token = node.endpoint.send(peer, "never mind", world.now)
    node.endpoint.cancel(peer, token, "not needed any more", world.now)

    outcome = node.outcome(token, 0.1)

    assert outcome.status is SendStatus.TIMED_OUT
    assert outcome.reason == "not needed any more"


def test_fragments_of_a_peer_that_proved_nothing_are_dropped(world: World, server: Host) -> None:
    """A forged handshake and one small fragment must not draw a long report, nor take memory."""
    forged = world.puppet()
    forged.answers_pings = False
    payload = forged.handshake_request(capabilities=list(OWN_CAPABILITIES))["payload"]
    forged.send(forged.spec_message("HandshakeRequest", payload), server)
    world.run_for(0.1)
    forged.send(bytes.fromhex("c0 00000001 000f4201 0100 00000f42") + b"x", server)
    world.run_for(1)

    assert server.endpoint.sizes()["reassembly_bytes"] == 0
    assert server.endpoint.counters.drops["unproved_frame"] == 1
    assert all(data[:1] == b"{" for data in forged.inbox)


def test_fragments_of_a_peer_without_that_extension_are_dropped(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)
    client.send(bytes.fromhex("c0 00000001 00000001 0100 00000000") + b"x", server)
    client.send(b"\xff", server)
    world.run_for(1)

    assert server.endpoint.counters.drops["bad_frame"] == 2
    assert client.take() == []


# Echoes.


@pytest.mark.parametrize(
    ("option", "other", "echoes"),
    [
        ("deployed", "deployed", 0),
        ("deployed", "all", 1),
        ("all", "deployed", 1),
        ("all", "none", 1),
        ("none", "all", 0),
    ],
)
def test_our_own_nodes_echo_where_it_was_asked_for(
    world: World, option: str, other: str, echoes: int
) -> None:
    server, node = world.host(echo=option), world.host(echo=other)
    node.outcome(node.connect(server))
    node.send(server, {"n": 1})
    server.send(node, {"n": 2})
    world.run_for(1)

    echoed = [event for event in node.told(DataReceived) if event.is_echo]
    assert [event.payload["echo"] for event in echoed] == [{"n": 1}] * echoes
    # The side that asked for the session never echoes.
    assert not [event for event in server.told(DataReceived) if event.is_echo]


def test_the_round_trip_of_a_message_comes_from_its_ack(world: World, server: Host) -> None:
    node = connected(world, server)
    before = world.network.counters().sent
    result = node.outcome(node.send(server, {"n": 1}))
    world.run_for(5)

    assert result.rtt_s == pytest.approx(0.02)
    assert world.network.counters().sent - before == 2


@pytest.mark.parametrize(("option", "is_echoed"), [("deployed", 1), ("all", 1), ("none", 0)])
@pytest.mark.parametrize("dialect", ["spec", "reference"])
def test_clients_of_other_kinds_get_their_echo(
    world: World, option: str, is_echoed: int, dialect: str
) -> None:
    server, client = world.host(echo=option), world.puppet()
    write = client.message if dialect == "reference" else client.spec_message
    client.join(server) if dialect == "reference" else client.send(
        client.spec_message("HandshakeRequest", client.handshake_request()["payload"]), server
    )
    world.run_for(1)
    client.take()
    client.send(write("Data", {"n": 1}), server)
    world.run_for(1)

    assert server.received() == [{"n": 1}]
    assert client.take_types() == ["Data"] * is_echoed


def test_a_client_that_wants_no_echo_gets_none(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server, capabilities=["handshake", "no_echo"])

    assert client.ask("Data", {"n": 1}, server) == []
    assert server.received() == [{"n": 1}]


@pytest.mark.parametrize(
    "payload",
    [
        {"echo": 1, "timestamp": 2},
        {"echo": None},
        {"echo": {"echo": "x"}},
        {"routes": []},
        {"routes": [{"destination": "a", "next_hop": "b", "distance": 1}]},
        {"cmd": "get_routes"},
    ],
)
def test_what_is_never_echoed(world: World, server: Host, payload: Any) -> None:
    client = world.puppet()
    client.join(server)

    answers = client.ask("Data", payload, server)

    assert all("echo" not in answer["payload"] for answer in answers)


@pytest.mark.parametrize("payload", ["echo", ["echo"], {"cmd": "get"}, {"Echo": 1}, 0, None, {}])
def test_all_else_is_echoed_as_it_is(world: World, server: Host, payload: Any) -> None:
    client = world.puppet()
    client.join(server)

    (echo,) = client.ask("Data", payload, server)

    assert echo["payload"]["echo"] == payload


def test_an_echo_keeps_the_very_bytes(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)
    text = json.dumps(client.message("Data", "PAYLOAD")).replace(
        '"PAYLOAD"', '{"big":123456789012345678901234567890,"e":1.50,"u":"\\u00e9"}'
    )
    client.send(text, server)
    world.run_for(1)

    assert b'{"big":123456789012345678901234567890,"e":1.50,"u":"\\u00e9"}' in client.inbox[0]


def test_a_naive_client_of_the_specification_gets_its_echo(world: World, server: Host) -> None:
    """It answers no Ping and acknowledges nothing."""
    client = world.puppet()
    client.answers_pings = False
    payload = {"node_id": client.id, "listen_addr": "x", "capabilities": [], "metadata": {}}
    client.send(client.spec_message("HandshakeRequest", payload, requires_ack=True), server)
    world.run_for(0.5)
    client.take()
    client.send(client.spec_message("Data", "hello", requires_ack=True), server)
    world.run_for(0.5)

    messages = [message for message in client.take() if message["message_type"] == "Data"]
    assert messages[0]["payload"]["echo"] == "hello"


# Messages that make no sense.


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("P2PConnect", {"peer_id": 5}),
        ("P2PConnect", None),
        ("RelayRequest", {"target_peer_id": "x", "data": [256]}),
        ("RelayRequest", {"target_peer_id": "x", "data": "text"}),
        ("DiscoveryRequest", [1]),
    ],
)
def test_a_bad_payload_is_told_and_acknowledged(
    world: World, server: Host, kind: str, payload: Any
) -> None:
    client = world.puppet()
    client.join(server)

    answers = client.ask(kind, payload, server, requires_ack=True)

    # In whichever order: before a proof the answer is paid for first.
    assert sorted(answer["message_type"] for answer in answers) == ["Ack", "Error"]
    (error,) = [answer for answer in answers if answer["message_type"] == "Error"]
    assert error["payload"]["code"] == "bad_payload"
    assert kind in error["payload"]["error"]


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("Pong", "x"),
        ("DiscoveryResponse", {"no": "list"}),
        ("ListNodesResponse", []),
        ("RelayResponse", {}),
        ("RelayData", {"from_peer_id": 1}),
        ("Error", []),
        ("Disconnect", 5),
        ("HandshakeResponse", 5),
        ("Ack", {"what": "ever"}),
    ],
)
def test_a_bad_answer_gets_no_answer(world: World, server: Host, kind: str, payload: Any) -> None:
    client = world.puppet()
    client.join(server)

    assert client.ask(kind, payload, server) == []
    assert server.is_connected_to(client)


def test_an_unknown_type_is_told(world: World, server: Host) -> None:
    client = world.puppet()
    client.join(server)

    (error,) = client.ask("Teleport", {"to": "mars"}, server)

    assert error["payload"]["code"] == "unknown_type"
    assert "Teleport" in error["payload"]["error"]


def in_fragments(client: Puppet, message: dict[str, Any], server: Host, chunk: int = 256) -> None:
    """Send a message as our own nodes do that does not fit a datagram."""
    data = json.dumps(message).encode()
    for index in range(-(-len(data) // chunk)):
        head = [message["sequence_number"].to_bytes(4), len(data).to_bytes(4), chunk.to_bytes(2)]
        part = data[index * chunk : (index + 1) * chunk]
        client.send(b"\xc0" + b"".join(head) + index.to_bytes(4) + part, server)


def proved_client(world: World, server: Host, *capabilities: str) -> tuple[Puppet, str]:
    """A client that sends fragments, and the id of the answer to its handshake."""
    client = world.puppet()
    payload = client.handshake_request(capabilities=list(capabilities))["payload"]
    client.send(client.spec_message("HandshakeRequest", payload), server)
    world.run_for(1)
    answer = next(m for m in client.take() if m["message_type"] == "HandshakeResponse")
    if answer["requires_ack"]:
        client.say("Ack", None, server, ack_for=answer["sequence_number"])
    server.ping(client)
    world.run_for(1)
    peer = server.peer(client)
    assert peer is not None
    assert peer.proved
    return client, answer["id"]


@pytest.mark.parametrize("kind", ["Disconnect", "Error"])
def test_a_message_in_fragments_may_end_what_it_came_in(
    world: World, server: Host, kind: str
) -> None:
    client, answer_id = proved_client(world, server, *OWN_CAPABILITIES)
    message = client.spec_message(kind, {})
    message["requires_ack"] = True
    number = message["sequence_number"]
    message["payload"] = (
        {"reason": "x" * 400, "handshake": answer_id}
        if kind == "Disconnect"
        else {"error": "x" * 400, "code": "gone", "sequence_number": number}
    )
    in_fragments(client, message, server)
    world.run_for(5)
    assert server.endpoint.sizes()["reassembly_bytes"] == 0
    assert (server.peer(client) is None) is (kind == "Disconnect")


def test_a_session_that_begins_anew_gives_back_what_its_fragments_held(
    world: World, server: Host
) -> None:
    client, _ = proved_client(world, server, "fragments")
    client.send(bytes.fromhex("c0 00000009 000f4201 0100 00000f42") + b"x", server)
    world.run_for(0.1)
    assert server.endpoint.sizes()["reassembly_bytes"] > 0
    payload = client.handshake_request(capabilities=["fragments"])["payload"]
    client.send(client.spec_message("HandshakeRequest", payload), server)
    for _ in range(4):  # it shows that it is there by going on
        world.run_for(1)
        client.send(client.spec_message("Ping"), server)
    assert server.endpoint.sizes()["reassembly_bytes"] == 0


def test_one_is_asked_for_its_proof_by_one_chain_of_challenges(
    world: World, server: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that empties and fills again within a pause began another one beside the first."""
    client = world.puppet()
    client.answers_pings = False
    client.join(server)
    world.run_for(1)
    peer, delivery = server.peer(client), server.endpoint._delivery
    assert peer is not None
    insist, steps = delivery._insist, []

    def count(peer: Any, end: float, now: float) -> None:
        steps.append(now)
        insist(peer, end, now)

    monkeypatch.setattr(delivery, "_insist", count)
    for _ in range(5):
        delivery.take_deferred(peer)
        assert delivery.defer(peer, Held(b"x" * 100, None), world.now)
        assert delivery.defer(peer, Held(b"x" * 100, None), world.now)
        world.run_for(0.01)
    began = world.now
    steps.clear()
    world.run_for(4)

    later = [step for step in steps if step > began + 2]
    assert len(later) <= 2 / challenge_interval_s(peer) + 1
