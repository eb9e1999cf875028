"""Heartbeats of many peers leave together: the process wakes up for all of them at once."""

import math
from typing import Any

from p2ptui.core.sessions.liveness import MANY_PEERS, TICKS_PER_S
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
