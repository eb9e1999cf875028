"""Who is let in and what it is told; who is asked, how often, and what counts as an answer."""

import json
from typing import Any

import pytest

from p2ptui.core.events import ConnectResult, PeerStatus, PeerStatusChanged, SendStatus
from p2ptui.core.peers import Dialect
from p2ptui.errors import HandshakeError, LocalError
from tests.simulation import Host, Puppet, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Host:
    return world.host()


@pytest.fixture
def client(world: World) -> Puppet:
    return world.puppet()


def types(messages: list[dict[str, Any]]) -> list[str]:
    return [message["message_type"] for message in messages]


def spec_request(client: Puppet, **fields: Any) -> dict[str, Any]:
    """The handshake of the specification, as its own example has it."""
    payload = {
        "node_id": client.id,
        "listen_addr": "10.0.0.9:9000",
        "capabilities": ["discovery", "data_transfer"],
        "metadata": {"os": "plan9"},
    }
    message = client.spec_message("HandshakeRequest", payload, requires_ack=True)
    return message | {"sequence_number": 41} | fields


# What is accepted.


def test_the_form_of_the_specification(server: Host, client: Puppet) -> None:
    client.names_pings = True  # as the specification has it
    client.send(spec_request(client), server)
    client.world.run_for(0.5)

    response, ack, peers = client.take()

    assert types([response, ack, peers]) == ["HandshakeResponse", "Ack", "DiscoveryResponse"]
    assert response["payload"]["success"] is True
    assert response["payload"]["node_info"]["node_id"] == server.id
    assert response["ack_for"] == ack["ack_for"] == 41  # the number, as the specification has it
    peer = server.peer(client)
    assert peer.info.name == client.id[:8]
    assert peer.info.version == "unknown"
    assert peer.info.network_id == "p2p_default"
    assert peer.info.metadata == {"os": "plan9"}
    assert peer.dialect is Dialect.SPEC


def test_the_form_of_the_reference(server: Host, client: Puppet) -> None:
    got = client.join(server, name="Zoë", metadata={"os": "plan9"})

    assert types(got) == ["HandshakeResponse", "Ack", "DiscoveryResponse"]
    assert isinstance(got[1]["ack_for"], str)
    peer = server.peer(client)
    assert (peer.name, peer.info.version, peer.dialect) == ("Zoë", "0.3.0", Dialect.REFERENCE)


def test_the_union_of_both_forms(server: Host, client: Puppet) -> None:
    got = client.join(server, node_id=client.id)

    assert got[0]["payload"]["success"] is True


def test_keys_that_nobody_knows_are_ignored(server: Host, client: Puppet) -> None:
    request = client.handshake_request(color="blue") | {"priority": 9}
    client.send(request, server)
    client.world.run_for(0.5)

    assert client.take()[0]["payload"]["success"] is True


def test_an_id_in_another_spelling_is_the_same_id(server: Host, client: Puppet) -> None:
    client.join(server, id=client.id.upper())

    assert server.peer(client).node_id == client.id


@pytest.mark.parametrize("key", ["name", "version", "network_id", "listen_addr", "metadata"])
def test_what_may_be_missing(server: Host, client: Puppet, key: str) -> None:
    got = client.join(server, **{key: None})

    assert got[0]["payload"]["success"] is True


def test_without_a_wish_for_an_ack_there_is_none(server: Host, client: Puppet) -> None:
    client.send(client.handshake_request() | {"requires_ack": False}, server)
    client.world.run_for(0.5)

    assert client.take_types() == ["HandshakeResponse", "DiscoveryResponse"]


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"sequence_number": 41}, 41),
        ({"sequence_number": 0}, 0),
        ({"sequence_number": None}, "id"),
        ({"sequence_number": 41, "sender_addr": None}, "id"),
        ({"sequence_number": 41, "sender_addr": "10.9.9.9:1"}, "id"),
    ],
)
def test_an_ack_speaks_the_dialect_of_what_it_acknowledges(
    server: Host, client: Puppet, fields: dict[str, Any], key: int | str
) -> None:
    request = spec_request(client, **fields)
    client.send(request, server)
    client.world.run_for(0.5)

    (ack,) = [message for message in client.take() if message["message_type"] == "Ack"]

    assert ack["ack_for"] == (request["id"] if key == "id" else key)


def test_a_very_short_request_gets_the_short_response_and_no_ack(
    server: Host, client: Puppet
) -> None:
    request = client.spec_message("HandshakeRequest", {"node_id": client.id}, requires_ack=True)
    size = client.send(request, server)
    client.world.run_for(0.5)

    assert types(client.take()) == ["HandshakeResponse"]
    assert client.bytes_received <= 3 * size
    assert server.is_connected_to(client)


def test_a_request_too_short_to_be_answered_makes_no_peer(server: Host, client: Puppet) -> None:
    payload = {"id": client.id}
    request = {"id": "1", "message_type": "HandshakeRequest", "timestamp": 1, "payload": payload}
    client.send(request, server)
    client.world.run_for(0.5)

    assert client.take() == []
    assert server.peer(client) is None


# What is refused, and how.

REFUSED = [
    ({"id": "no-uuid"}, "the node id must be a UUID"),
    ({"id": None}, "the node id must be a UUID"),
    ({"id": 5}, "malformed handshake"),
    ({"name": ""}, "the name must not be empty"),
    ({"version": ""}, "the version must not be empty"),
    ({"network_id": "other"}, "network mismatch: expected 'p2p_default', got 'other'"),
    ({"network_id": ""}, "network mismatch"),
    ({"capabilities": "all"}, "malformed handshake"),
    ({"metadata": {"depth": {"of": "nesting"}}}, "malformed handshake"),
    ({"metadata": {"text": "x" * 2000}}, "bytes, at most"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSED)
def test_a_refusal_says_why(
    server: Host, client: Puppet, changes: dict[str, Any], reason: str
) -> None:
    (response,) = client.join(server, **changes)

    assert response["message_type"] == "HandshakeResponse"
    assert response["payload"]["success"] is False
    assert reason in response["payload"]["error_message"]
    assert response["payload"]["node_info"]["id"] == server.id
    assert server.peer(client) is None


def test_a_payload_that_is_nothing_is_refused(server: Host, client: Puppet) -> None:
    (response,) = client.ask("HandshakeRequest", [1, 2, "x" * 100], server)

    assert "malformed handshake" in response["payload"]["error_message"]


def test_its_own_id_is_refused(server: Host, client: Puppet) -> None:
    (response,) = client.join(server, id=server.id)

    assert "own id" in response["payload"]["error_message"]


def test_a_full_server_refuses(world: World) -> None:
    server = world.host(max_connections=2)
    first, second, third = (world.puppet() for _ in range(3))
    first.join(server)
    second.join(server)

    (response,) = third.join(server)

    assert response["payload"]["success"] is False
    assert "the server is full: 2 peers (max_connections)" in response["payload"]["error_message"]


def test_whoever_never_proved_its_address_makes_room(world: World) -> None:
    server = world.host(max_connections=2)
    forged, honest, newcomer = (world.puppet() for _ in range(3))
    forged.answers_pings = False
    forged.join(server)
    honest.join(server)
    honest.ask("Ping", None, server)
    world.run_for(10)

    response = newcomer.join(server)[0]

    assert response["payload"]["success"] is True
    assert server.peer(forged) is None
    assert server.is_connected_to(honest)


def test_a_peer_may_begin_anew_although_the_server_is_full(world: World) -> None:
    server = world.host(max_connections=1)
    client = world.puppet()
    client.join(server)

    assert client.join(server)[0]["payload"]["success"] is True


def test_a_refused_handshake_leaves_the_session_as_it_was(server: Host, client: Puppet) -> None:
    client.join(server)

    (response,) = client.join(server, network_id="other")

    assert response["payload"]["success"] is False
    assert server.is_connected_to(client)
    assert client.ask("Ping", 5, server)[0]["payload"] == 5


def test_a_node_does_not_shake_hands_with_itself(server: Host) -> None:
    outcome = server.outcome(server.connect(server))

    assert isinstance(outcome, HandshakeError)
    assert "own id" in str(outcome)
    assert len(server.endpoint.peers) == 0


# Repeats and new sessions.


def test_a_repeated_request_is_answered_with_the_same_bytes(server: Host, client: Puppet) -> None:
    request = client.handshake_request()
    client.send(request, server)
    client.world.run_for(0.5)
    (first,) = [data for data in client.inbox if b"HandshakeResponse" in data]
    client.inbox.clear()

    client.send(request, server)
    client.world.run_for(0.5)

    assert client.inbox[0] == first
    assert client.take_types() == ["HandshakeResponse", "Ack"]
    assert server.endpoint.counters.handshakes_accepted == 1


def test_a_new_request_begins_a_new_session(server: Host, client: Puppet) -> None:
    client.join(server)
    data = client.message("Data", "once", requires_ack=True)
    for _ in range(2):
        client.send(data, server)
        client.world.run_for(0.5)
    assert server.received() == ["once"]

    client.join(server)
    client.send(data, server)
    client.world.run_for(0.5)

    assert server.received() == ["once"]  # anybody could have written the second request
    assert len(server.endpoint.peers) == 1


def test_a_new_session_fails_what_waited_in_the_old_one(server: Host, client: Puppet) -> None:
    client.send(spec_request(client), server)
    client.world.run_for(0.5)
    client.send(client.spec_message("Pong"), server)
    token = server.send(client, "hello")

    client.send(spec_request(client), server)
    for _ in range(4):  # it shows that it is there by going on
        client.world.run_for(1)
        client.send(client.spec_message("Ping"), server)
    client.world.run_for(0.5)

    assert server.outcomes[token].status is SendStatus.FAILED
    assert "new session" in server.outcomes[token].reason


def test_a_new_session_forgets_what_waited_for_a_proof_of_the_address(
    world: World, server: Host, client: Puppet
) -> None:
    others = [world.puppet() for _ in range(7)]
    for other in others:
        other.join(server)
    client.answers_pings = False
    client.join(server)
    got = client.join(server)
    peer = server.peer(client)
    assert not peer.deferred
    assert peer.untold  # the rest of the first page, of this session only

    client.answers_pings = True
    server.ping(client)
    world.run_for(0.1)

    pages = [m["payload"] for m in got + client.take() if m["message_type"] == "DiscoveryResponse"]
    listed = [entry["id"] for page in pages for entry in page]
    assert sorted(listed) == sorted(other.id for other in others)


def test_a_late_copy_of_an_old_request_is_ignored(server: Host, client: Puppet) -> None:
    old = client.handshake_request()
    client.send(old, server)
    client.world.run_for(0.5)
    client.join(server)

    client.send(old, server)
    client.world.run_for(0.5)

    assert client.take() == []
    assert server.endpoint.counters.handshakes_accepted == 2


def test_another_node_at_the_same_address_replaces_the_one_before(
    world: World, server: Host, client: Puppet
) -> None:
    old = client.handshake_request()
    client.send(old, server)
    world.run_for(0.5)
    new_id = world.node_id()

    client.join(server, id=new_id)
    for _ in range(3):
        client.say("Ping", None, server)
        world.run_for(1)

    assert server.peer(client).node_id == new_id
    assert server.endpoint.peers.with_id(client.id) is None
    assert len(server.endpoint.peers) == 1
    changes = [(event.node_id, event.status) for event in server.told(PeerStatusChanged)]
    assert changes[-2:] == [
        (client.id, PeerStatus.DISCONNECTED),
        (new_id, PeerStatus.AUTHENTICATED),
    ]

    client.send(old, server)  # delayed by the network
    world.run_for(0.5)
    assert server.peer(client).node_id == new_id


# The side that asks.


def test_two_nodes_shake_hands(world: World, server: Host) -> None:
    node = world.host()

    outcome = node.outcome(node.connect(server))

    assert outcome == ConnectResult(server.id, server.address, node.address)
    assert server.is_connected_to(node)
    assert node.peer(server).proved
    world.run_for(1)
    assert server.peer(node).proved
    assert [event.status for event in node.told(PeerStatusChanged)] == [
        PeerStatus.HANDSHAKING,
        PeerStatus.AUTHENTICATED,
    ]


def test_a_request_is_repeated_byte_for_byte_until_it_is_answered(world: World) -> None:
    node, silent = world.host(), world.puppet()
    node.connect(silent, timeout_s=10)
    world.run_for(4)

    assert len(silent.inbox) in (8, 9)
    assert len(set(silent.inbox)) == 1
    request = json.loads(silent.inbox[0])
    assert request["message_type"] == "HandshakeRequest"
    assert len(silent.inbox[0]) >= 512  # padded, so that the answer fits three times as much


def test_a_dead_target_is_given_up_in_time(world: World) -> None:
    node = world.host()
    token = node.connect(("10.9.9.9", 9), timeout_s=3)
    began = world.now

    outcome = node.outcome(token)

    assert isinstance(outcome, HandshakeError)
    assert "no answer from 10.9.9.9:9" in str(outcome)
    assert world.now - began == pytest.approx(3, abs=0.01)
    assert len(node.endpoint.peers) == 0
    assert node.told(PeerStatusChanged)[-1].status is PeerStatus.FAILED


def test_handshakes_survive_loss(server: Host) -> None:
    lossy = World(seed=3, loss=0.3)
    server = lossy.host()
    nodes = [lossy.host() for _ in range(20)]

    tokens = [node.connect(server) for node in nodes]

    for node, token in zip(nodes, tokens, strict=True):
        assert isinstance(node.outcome(token), ConnectResult)
        assert server.is_connected_to(node)


def test_calls_for_the_same_address_share_one_handshake(world: World, server: Host) -> None:
    node = world.host()

    first, second = node.connect(server), node.connect(server)

    assert node.outcome(first) == node.outcome(second)
    assert server.endpoint.counters.handshakes_accepted == 1
    assert node.outcome(node.connect(server)) == node.outcome(first)


def test_requests_that_cross_make_one_session(world: World, server: Host) -> None:
    node = world.host()

    tokens = [(node, node.connect(server)), (server, server.connect(node))]

    for host, token in tokens:
        assert isinstance(host.outcome(token), ConnectResult)
    world.run_for(2)
    sent = node.send(server, "a"), server.send(node, "b")
    assert node.outcome(sent[0]).delivered
    assert server.outcome(sent[1]).delivered
    # Each has seen the other's answer as well, and knows its own address from it.
    assert node.peer(server).public_address == node.address
    assert server.peer(node).public_address == server.address
    assert server.endpoint.counters.drops["unsolicited_handshake_response"] == 0


def test_no_room_for_a_peer_of_ones_own(world: World, server: Host) -> None:
    node = world.host(max_connections=1)
    node.outcome(node.connect(server))

    with pytest.raises(LocalError, match="max_connections"):
        node.connect(("10.9.9.9", 9))


def answer(client: Puppet, request: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """What the puppet would answer to a request, in the specification's dialect."""
    info = client.handshake_request()["payload"]
    payload = {"node_info": info, "success": True, "error_message": None, "public_addr": None}
    message = client.spec_message("HandshakeResponse", payload)
    return message | {"ack_for": request["sequence_number"]} | fields


def test_a_response_nobody_asked_for_authenticates_nobody(server: Host, client: Puppet) -> None:
    client.send(answer(client, {"sequence_number": 5}), server)
    client.world.run_for(0.5)

    assert server.peer(client) is None
    assert client.take() == []
    assert server.endpoint.counters.drops["unsolicited_handshake_response"] == 1


def test_a_response_to_another_request_is_ignored(server: Host, client: Puppet) -> None:
    token = server.connect(client)
    client.world.run_for(0.1)
    request = client.take()[0]
    client.send(answer(client, request, ack_for=request["sequence_number"] + 1), server)
    client.send(answer(client, request, ack_for="another"), server)
    client.world.run_for(0.1)
    assert token not in server.outcomes

    client.send(answer(client, request), server)
    client.world.run_for(0.1)

    assert isinstance(server.outcomes[token], ConnectResult)


def test_a_response_from_elsewhere_is_ignored(world: World, server: Host, client: Puppet) -> None:
    token = server.connect(client)
    world.run_for(0.1)
    thief = world.puppet()

    thief.send(answer(client, client.take()[0]), server)
    world.run_for(0.1)

    assert token not in server.outcomes
    assert server.peer(thief) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"network_id": "other"}, "network mismatch"),
        ({"id": "nobody"}, "must be a UUID"),
        ({"name": ""}, "name must not be empty"),
    ],
)
def test_an_answer_that_makes_no_sense_ends_the_attempt(
    server: Host, client: Puppet, changes: dict[str, Any], reason: str
) -> None:
    token = server.connect(client)
    client.world.run_for(0.1)
    response = answer(client, client.take()[0])
    response["payload"]["node_info"] |= changes
    client.send(response, server)
    client.world.run_for(0.1)

    assert isinstance(server.outcomes[token], HandshakeError)
    assert reason in str(server.outcomes[token])


def test_a_refusal_ends_the_attempt(world: World, server: Host) -> None:
    node = world.host(network_id="other")

    outcome = node.outcome(node.connect(server))

    assert isinstance(outcome, HandshakeError)
    assert "network mismatch" in str(outcome)
    assert len(node.endpoint.peers) == 0


@pytest.mark.parametrize("when", ["before", "after", "never"])
def test_the_ack_may_come_before_after_or_never(server: Host, client: Puppet, when: str) -> None:
    client.answers_pings = False
    token = server.connect(client)
    client.world.run_for(0.1)
    request = client.take()[0]
    ack = client.spec_message("Ack", None, ack_for=request["sequence_number"])
    response = answer(client, request, ack_for=None)
    order = {"before": [ack, response], "after": [response, ack], "never": [response]}[when]
    for message in order:
        client.send(message, server)
        client.world.run_for(0.05)
    if when != "before":
        client.world.run_for(1)  # a better answer might come

    assert isinstance(server.outcomes[token], ConnectResult)
    assert server.peer(client).proved is (when != "never")
    client.world.run_for(2)
    assert "HandshakeRequest" not in client.take_types()


def test_a_client_that_is_then_joined_counts_as_a_server(world: World, server: Host) -> None:
    node = world.host()
    node.outcome(node.connect(server))

    assert isinstance(server.outcome(server.connect(node)), ConnectResult)

    assert server.peer(node).initiated
    assert node.endpoint.counters.handshakes_accepted == 0


def test_nothing_is_sent_before_the_handshake_is_complete(server: Host, client: Puppet) -> None:
    server.connect(client)

    with pytest.raises(LocalError, match="handshake is not complete"):
        server.send(client, "hello")


def test_giving_up_a_handshake(server: Host, client: Puppet) -> None:
    token = server.connect(client)

    server.endpoint.disconnect(server.peer(client), "never mind", client.world.now)

    assert isinstance(server.outcome(token, 0.1), HandshakeError)
    assert "never mind" in str(server.outcomes[token])


def test_a_target_that_the_system_refuses_ends_the_handshake(server: Host, client: Puppet) -> None:
    token = server.connect(client)

    server.endpoint.fail_datagram(client.address, "host unreachable", client.world.now)

    assert "host unreachable" in str(server.outcome(token, 0.1))


def test_a_blamed_peer_is_not_lost_for_one_failed_datagram(server: Host, client: Puppet) -> None:
    client.join(server)

    server.endpoint.fail_datagram(client.address, "connection refused", client.world.now)

    assert server.is_connected_to(client)
