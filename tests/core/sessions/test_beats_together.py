"""Heartbeats of many peers leave together: the process wakes up for all of them at once."""

import math
from collections import Counter
from typing import Any

import pytest

from p2ptui.core.mobility.moving import MAX_FOLLOWED
from p2ptui.core.sessions.liveness import MANY_PEERS, TICKS_OF_CROWD, TICKS_PER_S
from p2ptui.core.timers import Timers
from p2ptui.wire.message import OWN_CAPABILITIES
from tests.simulation import Host, Puppet, World

INTERVAL_S = 30.0


def joined(world: World, server: Host, count: int) -> list[Puppet]:
    """Peers of our kind, which answer."""
    puppets = [world.puppet() for _ in range(count)]
    for puppet in puppets:
        puppet.names_pings = True
        payload = puppet.handshake_request(capabilities=list(OWN_CAPABILITIES))["payload"]
        puppet.send(puppet.spec_message("HandshakeRequest", payload), server)
    world.run_for(INTERVAL_S)
    assert len(server.endpoint.peers) == count
    return puppets


def moments(world: World, server: Host, for_s: float) -> list[float]:
    """When something leaves a server that is left alone."""
    sent: list[float] = []
    send = world.network.send

    def watch(data: bytes, source: Any, target: Any, now: float) -> None:
        if source == server.address and b'"Ping"' in data:
            sent.append(now)
        send(data, source, target, now)

    world.network.send = watch  # type: ignore[method-assign]
    world.run_for(for_s)
    return sent


def test_heartbeats_of_many_leave_together() -> None:
    world = World()
    server = world.host(heartbeat_interval=INTERVAL_S, max_connections=1000)
    puppets = joined(world, server, 8 * MANY_PEERS)
    sent = moments(world, server, 2 * INTERVAL_S)

    assert len(sent) >= len(puppets) * 1.5
    assert all(math.isclose(TICKS_PER_S * when, round(TICKS_PER_S * when)) for when in sent)
    assert len(set(sent)) <= 0.7 * len(sent)
    assert len(server.endpoint.peers) == len(puppets)


def test_those_of_few_leave_when_each_is_due() -> None:
    # A guard: so it was before, however many there were.
    world = World()
    server = world.host(heartbeat_interval=INTERVAL_S, max_connections=1000)
    joined(world, server, MANY_PEERS // 4)
    sent = moments(world, server, 2 * INTERVAL_S)
    assert len(set(sent)) == len(sent)


def test_a_beat_of_a_thousand_is_a_ping_and_one_action_for_each_and_few_wake_ups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    server = world.host(heartbeat_interval=INTERVAL_S, max_connections=2000)
    puppets = joined(world, server, 1000)
    world.run_for(INTERVAL_S)
    done = Counter[str]()
    timers, run = server.endpoint._state.timers, Timers.run
    beat = server.endpoint._liveness._heartbeat

    def watch(self: Timers, now: float, *most: int) -> None:
        if self is timers:
            done["wake-ups"] += 1
            due = [moment for when, moment in self._moments.items() if when <= now]
            done["beats"] += sum(timer.action == beat for moment in due for timer in moment.planned)
        run(self, now, *most)

    monkeypatch.setattr(Timers, "run", watch)
    sent = moments(world, server, INTERVAL_S)

    assert 0.9 * len(puppets) <= len(sent) <= 1.1 * len(puppets)
    assert done["beats"] <= len(sent) + 0.02 * len(puppets), "an answer wakes nobody up"
    assert done["wake-ups"] <= 1.1 * TICKS_OF_CROWD * INTERVAL_S
    # What is planned for all of them are a few times.
    assert len(timers._heap) <= 2 * TICKS_OF_CROWD * INTERVAL_S


def test_the_ways_of_the_same_few_clients_are_looked_up() -> None:
    world = World()
    server = world.host(heartbeat_interval=INTERVAL_S, max_connections=1000)
    puppets = joined(world, server, 4 * MAX_FOLLOWED)
    watched = set[Any]()
    for _ in range(60):
        world.run_for(1.0)
        watched.update(server.endpoint.moving.destinations(256))
    assert len(watched) == MAX_FOLLOWED

    # But who is there no more makes room.
    gone = next(puppet for puppet in puppets if puppet.address in watched)
    world.remove(gone)
    world.run_for(2 * INTERVAL_S)
    now = server.endpoint.moving.destinations(256)
    assert len(now) == MAX_FOLLOWED
    assert gone.address not in now


def test_those_that_cannot_pay_for_a_ping_are_looked_at_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    server = world.host(heartbeat_interval=INTERVAL_S, max_connections=1000)
    puppets = [world.puppet() for _ in range(4 * MANY_PEERS)]
    for puppet in puppets:
        puppet.answers_pings = False
        request = puppet.handshake_request()["payload"]
        puppet.send(puppet.spec_message("HandshakeRequest", request), server)
    world.run_for(15.0)
    for peer in server.endpoint.peers:
        peer.purse.credit = 0
    timers, run = server.endpoint._state.timers, Timers.run
    beat = server.endpoint._liveness._heartbeat
    looks = 0

    def watch(self: Timers, now: float, *most: int) -> None:
        nonlocal looks
        if self is timers:
            due = [moment for when, moment in self._moments.items() if when <= now]
            looks += sum(timer.action == beat for moment in due for timer in moment.planned)
        run(self, now, *most)

    monkeypatch.setattr(Timers, "run", watch)
    sent = moments(world, server, 30.0)
    assert sent == []
    assert len(server.endpoint.peers) == len(puppets)
    assert looks <= 3 * len(puppets)
