"""Bytes relayed by a server: for its peers only, when it is enabled, within a rate."""

import json
from typing import Any

import pytest

from p2ptui.core.events import RelayDataReceived, SendStatus
from p2ptui.errors import LocalError, MessageTooLargeError, PeerGoneError, PeerTimeoutError
from tests.simulation import Host, Puppet, World

NOBODY = "99999999-0000-4000-8000-000000000000"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Host:
    return world.host(allow_symmetric_nat_relay=True, max_relay_rate_per_client=10_000)


def joined(world: World, server: Host) -> Puppet:
    client = world.puppet()
    client.join(server)
    server.ping(client)
    world.run_for(1)
    client.take()
    return client


def ask(client: Puppet, server: Host, target: str, data: list[int]) -> dict[str, Any]:
    answers = client.ask("RelayRequest", {"target_peer_id": target, "data": data}, server)
    (response,) = [a for a in answers if a["message_type"] == "RelayResponse"]
    payload: dict[str, Any] = response["payload"]
    return payload


def relayed(client: Puppet) -> list[dict[str, Any]]:
    return [m["payload"] for m in client.take() if m["message_type"] == "RelayData"]


def test_bytes_reach_the_other_peer(world: World, server: Host) -> None:
    a, b = joined(world, server), joined(world, server)

    assert ask(a, server, b.id, [0, 127, 255]) == {"success": True}

    assert relayed(b) == [{"from_peer_id": a.id, "data": [0, 127, 255]}]
    assert server.endpoint.counters.relayed == 1


def test_nothing_is_relayed_unless_it_is_enabled(world: World) -> None:
    server = world.host()
    a, b = joined(world, server), joined(world, server)

    response = ask(a, server, b.id, [1])

    assert response["success"] is False
    assert "disabled" in response["error_message"]
    assert relayed(b) == []


@pytest.mark.parametrize("target", [NOBODY, "no-uuid", ""])
def test_the_target_must_be_a_peer(world: World, server: Host, target: str) -> None:
    a = joined(world, server)

    assert "node not found" in ask(a, server, target, [1])["error_message"]
    assert "node not found" in ask(a, server, a.id, [1])["error_message"]


def test_a_refusal_has_a_code_for_those_who_know_codes(world: World, server: Host) -> None:
    deployed, ours = joined(world, server), joined(world, server)
    response = ask(deployed, server, NOBODY, [1])
    assert response.keys() == {"success", "error_message"}

    spec = ours.spec_message("HandshakeRequest", ours.handshake_request()["payload"])
    ours.send(spec, server)
    for _ in range(4):  # it shows that it is there by going on
        world.run_for(1)
        ours.send(ours.spec_message("Ping"), server)
    ours.take()
    assert ask(ours, server, NOBODY, [1])["code"] == "unknown"


def test_the_user_of_a_node_relays(world: World, server: Host) -> None:
    node, other = world.host(), world.host()
    for host in (node, other):
        host.outcome(host.connect(server))
    world.run_for(1)

    token = node.endpoint.relay(node.peer(server), other.id, b"\x00\xff", world.now, 5)

    assert node.outcome(token).status is SendStatus.SENT
    world.run_for(1)
    assert other.told(RelayDataReceived) == [RelayDataReceived(node.id, server.id, b"\x00\xff")]


def test_a_refusal_is_told(world: World, server: Host) -> None:
    node = world.host()
    node.outcome(node.connect(server))

    outcome = node.outcome(node.endpoint.relay(node.peer(server), NOBODY, b"x", world.now, 5))

    assert outcome.status is SendStatus.FAILED
    assert "node not found" in outcome.reason


def test_a_server_that_says_nothing(world: World, server: Host) -> None:
    client = joined(world, server)
    token = server.endpoint.relay(server.peer(client), NOBODY, b"x", world.now, 3)

    assert isinstance(server.outcome(token, 4), PeerTimeoutError)
    assert client.take_types() == ["RelayRequest"]


def test_a_server_that_leaves(world: World, server: Host) -> None:
    client = joined(world, server)
    token = server.endpoint.relay(server.peer(client), NOBODY, b"x", world.now, 30)
    server.endpoint.disconnect(server.peer(client), "bye", world.now)

    assert isinstance(server.outcome(token, 1), PeerGoneError)


def test_requests_under_way_are_bounded(world: World, server: Host) -> None:
    client = joined(world, server)
    peer = server.peer(client)
    for _ in range(64):
        server.endpoint.relay(peer, NOBODY, b"x", world.now, 3)

    with pytest.raises(LocalError, match="try again later"):
        server.endpoint.relay(peer, NOBODY, b"x", world.now, 3)


def test_too_much_for_a_datagram_is_a_local_error(world: World, server: Host) -> None:
    client = joined(world, server)

    with pytest.raises(MessageTooLargeError, match="send them in parts"):
        server.endpoint.relay(server.peer(client), NOBODY, b"\xff" * 20_000, world.now, 3)


def test_relayed_bytes_that_nobody_expects_are_not_believed(world: World, server: Host) -> None:
    """Only a server that this node joined relays."""
    client = joined(world, server)
    client.say("RelayData", {"from_peer_id": NOBODY, "data": [1]}, server)
    client.say("RelayResponse", {"success": True}, server)
    world.run_for(1)

    assert server.told(RelayDataReceived) == []
    assert server.endpoint.counters.drops["relay_data_unasked"] == 1
    assert server.endpoint.counters.drops["relay_response_unasked"] == 1


def test_the_array_costs_what_it_costs(world: World, server: Host) -> None:
    """1,000 bytes become 3.8 kB in this form: that is why our own nodes do not use it."""
    a, b = joined(world, server), joined(world, server)
    ask(a, server, b.id, [200] * 1000)

    (data,) = [data for data in b.inbox if b"RelayData" in data]
    assert len(data) > 3800
    assert json.loads(data)["payload"]["data"] == [200] * 1000


def test_a_lost_response_is_not_made_up_for_by_the_next(world: World, server: Host) -> None:
    """Our own servers name the request that they answer."""
    node, other = world.host(), world.host()
    for host in (node, other):
        host.outcome(host.connect(server))
    peer = node.peer(server)
    world.network.set_link(server.address[0], node.address[0], loss=1.0)
    lost = node.endpoint.relay(peer, other.id, b"a", world.now, 5)
    node.settle()
    world.run_for(1)
    world.network.set_link(server.address[0], node.address[0], latency_s=0.01)
    refused = node.endpoint.relay(peer, NOBODY, b"b", world.now, 5)

    assert node.outcome(refused).status is SendStatus.FAILED
    assert isinstance(node.outcome(lost), PeerTimeoutError)


def test_a_server_that_stays_silent_is_told_with_a_time_that_can_be_read(world: World) -> None:
    client, server = world.host(), world.host()
    client.outcome(client.connect(server))
    world.remove(server)
    peer = client.peer(server)
    assert peer is not None

    for timeout_s, words in ((0.1 + 0.2, "0.3 s"), (1e-05, "less than 1 ms")):
        token = client.endpoint.relay(peer, NOBODY, b"x", world.now, timeout_s)
        error = client.outcome(token)
        assert isinstance(error, PeerTimeoutError)
        assert str(error).endswith(f"did not answer within {words}")
