"""A process that stands still for a moment loses no way through a NAT that forgets soon."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.simulated_nat import KINDS, Nat, Nats
from tests.simulation import Host, World

SERVER = ("198.51.100.9", 8080)
INSIDE = ("192.168.1.2", 5000)
OUTSIDE = "198.51.100.1"
LEARNT_S = 61.0
WATCHED_S = 400.0
EVERY_S = 10.0


def stand_still(host: Host, seconds: float, seed: int) -> None:
    """From now on nothing that is due happens for so long, every ten seconds or so."""
    rng, now = random.Random(seed), host.world.now
    stalls: list[tuple[float, float]] = []
    while now < host.world.now + LEARNT_S + WATCHED_S:
        now += rng.uniform(0.3, 1.7) * EVERY_S
        stalls.append((now, now + seconds))
        now += seconds
    next_timeout = host.endpoint.next_timeout

    def late() -> float | None:
        due = next_timeout()
        if due is None:
            return None
        return next((end for began, end in stalls if began <= due < end), due)

    host.endpoint.next_timeout = late  # type: ignore[method-assign]


@pytest.mark.parametrize("loss", [0.0, 0.05])
@pytest.mark.parametrize("stall_s", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("lifetime_s", [8, 10, 20, 30, 60])
def test_an_idle_way_stays_open_though_timers_are_late(
    lifetime_s: float, stall_s: float, loss: float
) -> None:
    for seed in range(4):
        world = World(seed, latency_s=0.02, loss=loss)
        behaviour = replace(KINDS["port-restricted-cone"], lifetime_s=lifetime_s)
        world.network.translate = Nats(Nat(OUTSIDE, {INSIDE[0]}, behaviour, seed)).translate
        quiet = {"heartbeat_interval": 3600, "connection_timeout": 7200}
        server, node = world.host(SERVER, **quiet), world.host(INSIDE, **quiet)
        node.outcome(node.connect(server))
        if stall_s:
            stand_still(node, stall_s, seed)
        world.run_for(LEARNT_S)
        left: list[float] = []
        send = world.network.send

        def note(data, source, to, now, send=send, left=left, **how):
            if source == INSIDE:
                left.append(now)
            return send(data, source, to, now, **how)

        world.network.send = note  # type: ignore[method-assign]
        world.run_for(WATCHED_S)
        assert max(b - a for a, b in pairwise(left)) < lifetime_s
        assert len(left) < 2 * WATCHED_S / 5, "no more than needed"
