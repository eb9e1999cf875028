"""Routed messages to nodes that confirm nothing: how far they have come when the call ends."""

from typing import Any

import pytest

from p2ptui.core.delivery import delivery
from p2ptui.core.events import SendStatus
from p2ptui.errors import MessageTooLargeError, QueueFullError
from tests.simulation import Host, Puppet, World


class Drop:
    """Loses the first datagrams that hold a word, on their way to one address."""

    def __init__(self, world: World, to: Host, word: bytes, count: int) -> None:
        self.left, self._send = count, world.network.send
        self._to, self._word = to.address, word
        world.network.send = self  # type: ignore[method-assign]

    def __call__(self, data: bytes, source: Any, destination: Any, *args: Any, **kw: Any) -> Any:
        if self.left and destination == self._to and self._word in data:
            self.left -= 1
            return None
        return self._send(data, source, destination, *args, **kw)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Host:
    return world.host()


@pytest.fixture
def bob(world: World, server: Host) -> Puppet:
    """A deployed client that has sent enough to be sent much itself."""
    puppet = world.puppet()
    puppet.join(server)
    for _ in range(100):
        puppet.say("Data", {"x": "x" * 1100}, server)
    world.run_for(1)
    puppet.take()
    return puppet


@pytest.fixture
def a(world: World, server: Host, bob: Puppet) -> Host:
    node = world.host()
    node.outcome(node.connect(server))
    world.run_for(2)
    return node


def texts(puppet: Puppet) -> list[Any]:
    return [
        message["payload"]["original_message"]["payload"]
        for message in puppet.take()
        if message["message_type"] == "Data" and "original_message" in message["payload"]
    ]


@pytest.mark.parametrize("size", [10, 1_000, 1_400, 11_500, 12_000, 20_000, 60_000])
def test_a_program_may_end_with_the_call(
    world: World, server: Host, a: Host, bob: Puppet, size: int
) -> None:
    token = a.endpoint.send_routed(bob.id, "y" * size, 8, world.now, 30)
    outcome = a.outcome(token)
    world.remove(a)
    world.run_for(3)

    assert outcome.status is SendStatus.UNCONFIRMED
    assert outcome.reason == "the node never acknowledges routed messages"
    assert [len(text) for text in texts(bob)] == [size]


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_what_is_lost_on_the_first_hop_is_sent_again(
    world: World, server: Host, a: Host, bob: Puppet, lost: int
) -> None:
    drop = Drop(world, server, b"original_message", lost)
    token = a.endpoint.send_routed(bob.id, "lost?", 8, world.now, 30)

    outcome = a.outcome(token)
    world.run_for(3)

    assert drop.left == 0
    assert outcome.status is SendStatus.UNCONFIRMED
    assert texts(bob) == ["lost?"]


def test_a_lost_ack_of_the_hop_brings_nothing_twice(
    world: World, server: Host, a: Host, bob: Puppet
) -> None:
    Drop(world, a, b'"Ack"', 2)
    token = a.endpoint.send_routed(bob.id, "once", 8, world.now, 30)

    assert a.outcome(token).status is SendStatus.UNCONFIRMED
    world.run_for(3)
    assert texts(bob) == ["once"]


def test_a_server_that_is_gone_confirms_nothing(
    world: World, server: Host, a: Host, bob: Puppet
) -> None:
    world.remove(server)
    token = a.endpoint.send_routed(bob.id, "hi", 8, world.now, 10)

    outcome = a.outcome(token)
    assert outcome.status in (SendStatus.TIMED_OUT, SendStatus.FAILED)
    assert outcome.reason is not None
    assert a.endpoint.sizes()["routed_waiting"] == 0


def test_a_call_ends_in_its_time(world: World, server: Host, a: Host, bob: Puppet) -> None:
    world.remove(server)
    began = world.now
    token = a.endpoint.send_routed(bob.id, "hi", 8, world.now, 1.5)

    outcome = a.outcome(token)
    assert outcome.status is SendStatus.TIMED_OUT
    assert "no acknowledgement within 1.5 s" in outcome.reason
    assert world.now - began == pytest.approx(1.5)


def test_a_server_that_leaves_ends_the_call(
    world: World, server: Host, a: Host, bob: Puppet
) -> None:
    world.network.partition(a.address, server.address)
    token = a.endpoint.send_routed(bob.id, "hi", 8, world.now, 30)
    world.run_for(0.5)
    peer = a.peer(server)
    assert peer is not None
    a.endpoint.disconnect(peer, "enough", world.now)

    outcome = a.outcome(token, 1)
    assert outcome.status is SendStatus.FAILED
    assert "enough" in outcome.reason


# Refusals.


@pytest.mark.parametrize("size", [65_600, 80_000, 200_000])
def test_what_no_datagram_can_carry_is_refused_here(
    world: World, server: Host, a: Host, bob: Puppet, size: int
) -> None:
    with pytest.raises(MessageTooLargeError, match=r"message is \d{5,6} bytes .*65507"):
        a.endpoint.send_routed(bob.id, "y" * size, 8, world.now, 30)
    assert a.endpoint.sizes()["routed_waiting"] == 0


@pytest.mark.parametrize("size", [66_000, 200_000])
def test_where_the_kind_of_a_node_is_not_known_the_server_says_so(
    world: World, server: Host, a: Host, bob: Puppet, size: int
) -> None:
    routes = a.endpoint._routing.table
    routes.forget(bob.id, server.id)
    routes.learn(bob.id, server.id, 2, world.now)
    began = world.now

    outcome = a.outcome(a.endpoint.send_routed(bob.id, "y" * size, 8, world.now, 30))

    assert outcome.status is SendStatus.FAILED
    assert "65507" in outcome.reason
    assert "no route" not in outcome.reason
    assert world.now - began < 5
    assert texts(bob) == []


def test_a_node_that_has_left_meanwhile_ends_the_call(
    world: World, server: Host, a: Host, bob: Puppet
) -> None:
    peer = server.peer(bob)
    assert peer is not None
    Drop(world, a, b'"DiscoveryUpdate"', 100)
    server.endpoint.disconnect(peer, "bye", world.now)
    began = world.now

    outcome = a.outcome(a.endpoint.send_routed(bob.id, "hi", 8, world.now, 30))

    assert outcome.status is SendStatus.FAILED
    assert outcome.reason == f"no route to node {bob.id}"
    assert world.now - began < 1


def test_only_who_knows_the_message_refuses_it(
    world: World, server: Host, a: Host, bob: Puppet
) -> None:
    Drop(world, server, b"original_message", 1)
    token = a.endpoint.send_routed(bob.id, "small", 8, world.now, 30)
    liar = world.puppet()
    liar.join(a)
    route_id = "00000000-0000-4000-8000-000000000001"
    error = {"error": "no", "code": "too_large", "target": bob.id, "route_id": route_id}
    liar.say("Error", error, a)

    assert a.outcome(token).status is SendStatus.UNCONFIRMED


def test_a_deployed_sender_gets_no_ack_for_what_has_no_way(
    world: World, server: Host, bob: Puppet
) -> None:
    inner = bob.message("Data", "hi")
    nobody = "99999999-0000-4000-8000-000000000000"
    routed = {
        "original_message": inner,
        "source_node": bob.id,
        "destination_node": nobody,
        "hop_count": 0,
        "max_hops": 8,
        "route_id": "5e375b12-6c51-4b79-a831-a088df14eeaf",
    }
    first = bob.ask("Data", routed, server, requires_ack=True)
    assert [message["message_type"] for message in first] == ["Error"]
    assert first[0]["payload"]["code"] == "no_route"

    late = world.host(node_id=nobody)
    late.outcome(late.connect(server))
    world.run_for(1)
    bob.take()
    again = bob.ask("Data", routed, server, requires_ack=True)
    assert [message["message_type"] for message in again] == ["Ack"]
    assert late.received() == ["hi"]


# For a node that has not shown that it is there.


def routed_to(sender: Puppet, node_id: str, number: int) -> dict[str, Any]:
    return {
        "original_message": sender.message("Data", number),
        "source_node": sender.id,
        "destination_node": node_id,
        "hop_count": 0,
        "max_hops": 8,
        "route_id": f"5e375b12-6c51-4b79-a831-{number:012d}",
    }


@pytest.fixture
def silent(world: World, server: Host, bob: Puppet) -> Puppet:
    puppet = world.puppet()
    puppet.answers_pings = False
    puppet.join(server)
    bob.take()
    return puppet


def errors(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message["payload"] for message in messages if message["message_type"] == "Error"]


def test_what_finds_no_room_is_not_acknowledged(
    monkeypatch: pytest.MonkeyPatch, world: World, server: Host, bob: Puppet, silent: Puppet
) -> None:
    monkeypatch.setattr(delivery, "MAX_DEFERRED", 16)
    heard = []
    for number in range(20):
        data = routed_to(bob, silent.id, number)
        heard += bob.ask("Data", data, server, requires_ack=True)
    peer = server.peer(silent)
    assert peer is not None

    acks = [message for message in heard if message["message_type"] == "Ack"]
    refusals = errors(heard)
    assert len(acks) == len(peer.deferred) + len(texts(silent))
    assert len(acks) + len(refusals) == 20
    assert refusals
    for refusal in refusals:
        assert refusal["code"] == "no_room"
        assert refusal["target"] == silent.id
        assert "no route" not in refusal["error"]


def test_when_held_messages_die_their_writer_is_told(
    world: World, server: Host, bob: Puppet, silent: Puppet
) -> None:
    for number in range(5):
        bob.say("Data", routed_to(bob, silent.id, number), server, requires_ack=True)
    world.run_for(1)
    bob.take()
    peer = server.peer(silent)
    assert peer is not None
    held = len(peer.deferred)
    assert held
    heard: list[dict[str, Any]] = []
    for _ in range(80):
        heard += bob.ask("Ping", None, server)
    assert server.peer(silent) is None

    lost = errors(heard)
    assert len(lost) == held
    assert {error["target"] for error in lost} == {silent.id}
    assert len({error["route_id"] for error in lost}) == held
    assert all("was not sent: " in error["error"] for error in lost)


def test_a_new_session_of_a_node_loses_nothing_in_silence(
    world: World, server: Host, bob: Puppet, silent: Puppet
) -> None:
    for number in range(5):
        bob.say("Data", routed_to(bob, silent.id, number), server, requires_ack=True)
    world.run_for(1)
    bob.take()
    peer = server.peer(silent)
    assert peer is not None
    held = len(peer.deferred)
    assert held
    silent.take()
    silent.send(silent.handshake_request(), server)
    world.run_for(1)

    # It keeps nothing of a session, so that its request ends none: all that waits goes on waiting.
    left = silent.take_types().count("Data")
    assert len(errors(bob.take())) == 0
    assert len(peer.deferred) + left == held


def test_what_does_not_leave_for_the_next_node_is_no_message_under_way(
    world: World, server: Host, bob: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.endpoint._state.gate, "send_to", lambda *_: False)
    with pytest.raises(QueueFullError, match="was not sent"):
        server.endpoint.send_routed(bob.id, "lost", 8, world.now, 30)
    assert server.endpoint.sizes()["routed_waiting"] == 0
    assert not server.endpoint._state._watched, "what never began has no end to wait for"
