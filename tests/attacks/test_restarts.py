"""Whoever was told that it is in gets in: a node that restarts on its port is not locked out."""

import random
import sys
from itertools import pairwise
from typing import Any

import pytest

from p2ptui.core.events import DataReceived
from p2ptui.core.ids import id_of_ack
from p2ptui.core.mobility.confirming import MOST_REPEATED
from p2ptui.core.sessions.newcomers import MAX_NEWCOMERS_OF_ONE
from tests.attacks.attacker import Attacker
from tests.attacks.test_sessions import owners_request, pair, restart
from tests.simulation import Host, Puppet, World


def lose_all_but_requests(world: World, source: Host, until: float) -> None:
    """What a host sends is lost until then, but for its HandshakeRequests."""
    send = world.network.send

    def lossy(data: bytes, sender: Any, to: Any, *more: Any, **rest: Any) -> Any:
        is_lost = sender == source.address and world.now < until
        if is_lost and b'"HandshakeRequest"' not in data:
            return None
        return send(data, sender, to, *more, **rest)

    world.network.send = lossy  # type: ignore[method-assign]


def first_read_s(world: World, sender: Host, server: Host, most_s: float) -> float:
    """How long it takes until a message arrives, where one is sent each second."""
    began, last = world.now, -1.0
    while not server.received():
        if world.now - last >= 1 and sender.is_connected_to(server):
            sender.send(server, "back")
            last = world.now
        world.run_for(0.1)
        assert world.now < began + most_s, "locked out"
    return world.now - began


@pytest.mark.parametrize("is_same", [True, False])
@pytest.mark.parametrize("down_s", [11, 25, 60])
def test_a_restarted_node_gets_in_after_an_outage(down_s: int, is_same: bool) -> None:
    """The Ack of its answer, and all that it says next, is lost for longer than it is held."""
    world = World(latency_s=0.02)
    server, client = pair(world)
    again = restart(world, client, client.id if is_same else world.node_id())
    lose_all_but_requests(world, again, world.now + down_s)
    again.outcome(again.connect(server))

    assert first_read_s(world, again, server, down_s + 6) >= down_s
    assert server.peer(again).node_id == again.id  # type: ignore[union-attr]


def test_a_restarted_node_that_only_listens_is_in_after_an_outage() -> None:
    world = World(latency_s=0.02)
    server, client = pair(world)
    again = restart(world, client, world.node_id())
    lose_all_but_requests(world, again, world.now + 11)
    again.outcome(again.connect(server))
    world.run_for(17)

    assert server.peer(again).node_id == again.id  # type: ignore[union-attr]
    assert server.outcome(server.send(again, "hello")).delivered


def test_a_node_gets_in_where_the_same_request_has_another_answer() -> None:
    """As earlier versions of the server answer it once they have forgotten it."""
    world = World(latency_s=0.02)
    server, client = pair(world)
    rng = random.Random(1)

    def forgetful(*_what: object) -> tuple[int, str]:
        return rng.getrandbits(32), world.message_id()

    server.endpoint._sessions.newcomers._secrets.of = forgetful  # type: ignore[method-assign]
    again = restart(world, client)
    lose_all_but_requests(world, again, world.now + 11)
    again.outcome(again.connect(server))
    newcomers = server.endpoint._sessions.newcomers
    world.run_for(5)
    newcomers._forget_all(server.peer(client))  # type: ignore[arg-type]

    assert first_read_s(world, again, server, 14) >= 5


def test_a_session_that_is_known_is_not_asked_for_again() -> None:
    """Guards the honest: where nothing is lost the request is sent once."""
    world = World()
    server, client = world.host(), world.host()
    seen: list[bytes] = []
    send = world.network.send

    def look(data: bytes, *more: Any, **rest: Any) -> Any:
        seen.append(data)
        return send(data, *more, **rest)

    world.network.send = look  # type: ignore[method-assign]
    client.outcome(client.connect(server))
    world.run_for(30)

    assert sum(b'"HandshakeRequest"' in data for data in seen) == 1
    assert client.endpoint.sizes()["sessions_to_confirm"] == 0


BURSTS = {
    "requests and guesses": (150, 150, 0.7),
    "more of both": (1000, 1000, 0.7),
    "requests": (2600, 0, 0.7),
}


@pytest.mark.parametrize("burst", BURSTS)
def test_a_burst_of_forged_requests_locks_no_restarted_node_out(burst: str) -> None:
    """It is over when the node goes on: within a second or two the node is in."""
    requests, guesses, lasts_s = BURSTS[burst]
    world, rng = World(latency_s=0.05), random.Random(1)
    server, client = pair(world)
    pen = Attacker(world).in_the_name_of(client.address)
    step_s = 0.02

    def forge() -> None:
        for _ in range(round(requests * step_s)):
            evil = world.node_id()
            pen.send(owners_request(pen, client, id=evil, node_id=evil), server)
        for _ in range(round(guesses * step_s)):
            pen.send(pen.spec_message("Ack", None, ack_for=rng.getrandbits(32)), server)
        world.run_for(step_s)

    for _ in range(15):
        forge()
    again = restart(world, client)
    token, began = again.connect(server), world.now
    while world.now < began + lasts_s:
        forge()
    again.outcome(token)

    assert first_read_s(world, again, server, 4.0) < 4.0


def test_a_restarted_node_gets_in_while_numbers_are_guessed() -> None:
    """Its Ack says by its id that it has the answer, however many numbers are guessed meanwhile."""
    world, rng = World(latency_s=0.05), random.Random(1)
    server, client = pair(world)
    pen = Attacker(world).in_the_name_of(client.address)

    def forge() -> None:
        evil = world.node_id()
        pen.send(owners_request(pen, client, id=evil, node_id=evil), server)
        for _ in range(20):
            pen.send(pen.spec_message("Ack", None, ack_for=rng.getrandbits(32)), server)
        world.run_for(0.004)

    for _ in range(50):
        forge()
    joined_at = server.peer(client).session.joined_at  # type: ignore[union-attr]
    again = restart(world, client)
    began, _ = world.now, again.connect(server)
    while server.peer(again).session.joined_at == joined_at:  # type: ignore[union-attr]
        forge()
        assert world.now < began + 1.0


def test_the_answer_to_one_that_was_doubted_is_the_one_that_it_had() -> None:
    """Byte for byte: it was written again with the time and the allowance of its Ack."""
    world = World(latency_s=0.1)
    server, client = pair(world)
    pen = Attacker(world).in_the_name_of(client.address)
    pen.send(owners_request(pen, client, id=(evil := world.node_id()), node_id=evil), server)
    world.run_for(0.15)
    newcomers = server.endpoint._sessions.newcomers
    ((key, newcomer),) = newcomers._held.items()
    response = newcomer.told.response
    newcomers._forget(key)
    newcomers._doubted.put(key[0], newcomer, world.now)
    assert newcomer.told.response == b""
    world.run_for(1.5)

    found = newcomers._doubted.at(key[0], id_of_ack(newcomer.told.response_id))
    assert found is newcomer
    assert found.told.response == response


def test_a_request_is_not_repeated_for_ever_where_no_ack_comes() -> None:
    """Seldom after a minute, and not at all after some more: 152 times in ten minutes before."""
    world = World()
    server, client = world.host(), world.host()
    asked: list[float] = []
    send = world.network.send

    def lossy(data: bytes, *more: Any, **rest: Any) -> Any:
        if b'"HandshakeRequest"' in data:
            asked.append(world.now)
        if b'"message_type":"Ack"' in data or b'"Data"' in data:
            return None
        return send(data, *more, **rest)

    world.network.send = lossy  # type: ignore[method-assign]
    client.outcome(client.connect(server))
    world.run_for(600)

    assert client.is_connected_to(server)
    assert 10 < len(asked) <= 1 + MOST_REPEATED
    pauses = [after - before for before, after in pairwise(asked)]
    assert max(pauses) <= client.endpoint._state.config.server.heartbeat_interval + 1
    assert asked[-1] < asked[0] + 300


def test_a_request_costs_the_same_however_many_are_held() -> None:
    world = World(latency_s=0.001)
    server, client = pair(world)
    pen = Attacker(world).in_the_name_of(client.address)

    def calls() -> int:
        count = 0

        def note(_frame: Any, event: str, _arg: Any) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        evil = world.node_id()
        pen.send(owners_request(pen, client, id=evil, node_id=evil), server)
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            world.run_for(0.003)
        finally:
            sys.setprofile(before)
        return count

    calls()
    few = min(calls() for _ in range(5))
    for _ in range(2 * MAX_NEWCOMERS_OF_ONE):
        evil = world.node_id()
        pen.send(owners_request(pen, client, id=evil, node_id=evil), server)
        world.run_for(0.001)

    assert server.endpoint.sizes()["newcomers"] == MAX_NEWCOMERS_OF_ONE
    assert min(calls() for _ in range(5)) < 1.5 * few + 50


# Deployed clients.


def named(server: Host) -> list[str | None]:
    """Under which ids Data has come."""
    return [event.node_id for event in server.events if isinstance(event, DataReceived)]


@pytest.mark.parametrize("answers_pings", [True, False])
@pytest.mark.parametrize(("idle_s", "period_s"), [(3, 1), (5, 1), (8, 1), (5, 5), (20, 5)])
def test_a_deployed_client_that_is_idle_after_its_restart_gets_its_name(
    idle_s: float, period_s: float, answers_pings: bool
) -> None:
    world = World(seed=2)
    server, client = world.host(), world.puppet()
    client.answers_pings = answers_pings
    client.join(server)
    client.say("Data", "of the old one", server)
    world.run_for(20)
    client.id = world.node_id()
    client.send(client.handshake_request(), server)
    world.run_for(idle_s)
    for number in range(max(3, round(7 / period_s))):
        client.say("Data", number, server)
        world.run_for(period_s)
    client.say("Data", "in the new name", server)
    world.run_for(1)

    assert named(server)[-1] == client.id


def a_client_in_whose_name_somebody_asks() -> tuple[World, Host, Puppet]:
    """A deployed client that was there for a while, and one forged request."""
    world = World(seed=3)
    server, client = world.host(), world.puppet()
    client.join(server)
    world.run_for(5)
    pen = Attacker(world).in_the_name_of(client.address)
    pen.send(pen.handshake_request(id=world.node_id(), name="EVIL"), server)
    return world, server, client


def reacting(client: Puppet, server: Host) -> None:
    """A client that shakes hands when it is told that it is not known."""
    if "Error" in client.take_types():
        client.send(client.handshake_request(), server)


def test_a_deployed_client_that_speaks_late_says_that_it_is_there_if_it_is_asked() -> None:
    """One forged request, and it speaks for a long time after that: it keeps its place."""
    world, server, client = a_client_in_whose_name_somebody_asks()
    world.run_for(5)
    client.take()
    for number in range(20):
        client.say("Data", number, server)
        world.run_for(1)
        reacting(client, server)

    assert set(named(server)) == {client.id}
    assert server.endpoint.sizes()["newcomers"] == 0


def test_a_restarted_deployed_client_that_is_asked_is_in_at_its_next_word() -> None:
    world = World(seed=3)
    server, client = world.host(), world.puppet()
    client.join(server)
    world.run_for(5)
    client.id = world.node_id()
    client.send(client.handshake_request(), server)
    world.run_for(6)
    client.take()
    for number in range(3):
        client.say("Data", number, server)
        world.run_for(1)
        reacting(client, server)

    assert named(server)[-1] == client.id


def test_whoever_is_there_is_asked_a_few_times_at_most() -> None:
    world, server, client = a_client_in_whose_name_somebody_asks()
    world.run_for(4)
    client.take()
    for _ in range(80):
        client.say("Ping", None, server)
        world.run_for(0.05)

    assert 1 <= client.take_types().count("Error") <= 4


def test_a_restarted_deployed_client_keeps_its_turn_in_a_flood_of_other_requests() -> None:
    world, rng = World(seed=3), random.Random(1)
    server, client = world.host(), world.puppet()
    client.join(server)
    world.run_for(5)
    client.id = world.node_id()
    client.send(client.handshake_request(), server)
    pen = Attacker(world).in_the_name_of(client.address)
    for number in range(250):
        for _ in range(4):
            evil = world.node_id()
            payload = pen.handshake_request(id=evil, capabilities=["retransmit"])["payload"]
            pen.send(pen.spec_message("HandshakeRequest", payload, requires_ack=True), server)
            pen.send(pen.spec_message("Ack", None, ack_for=rng.getrandbits(32)), server)
        if number % 25 == 0:
            client.say("Data", number, server)
        world.run_for(0.02)
    client.say("Data", "in the new name", server)
    world.run_for(1)

    assert named(server)[-1] == client.id
