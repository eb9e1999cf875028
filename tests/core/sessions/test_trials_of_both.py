"""Trials of how long a way may be idle, on both ends of one: they take turns, and end."""

from itertools import pairwise

import pytest

from p2ptui.nat.mapping_life import USUAL_S, MappingLife
from p2ptui.wire.frames import KEEPALIVE
from tests.simulation import Host, World

QUARTER_S = 900.0


def servers_of_each_other(world: World, count: int) -> list[Host]:
    """Nodes that have all asked each other for their sessions, each behind a NAT."""
    hosts = [world.host() for _ in range(count)]
    for one, other in pairwise([*hosts, hosts[0]]):
        tokens = [(one, one.connect(other)), (other, other.connect(one))]
        for host, token in tokens:
            host.outcome(token)
    world.run_for(1)
    for host in hosts:
        for peer in host.endpoint.peers:
            # As if seen by way of a NAT: at no address of the machine.
            peer.public_address = ("203.0.113.7", 4000)
        host.endpoint.keepalives.forget_idle()
    return hosts


def keepalives_in(world: World, seconds: float) -> int:
    """How many leave in that time."""
    count = 0
    send = world.network.send

    def count_and_send(data: bytes, *args: object, **options: object) -> object:
        nonlocal count
        count += data[:1] == bytes((KEEPALIVE,))
        return send(data, *args, **options)

    world.network.send = count_and_send  # type: ignore[method-assign,assignment]
    world.run_for(seconds)
    world.network.send = send  # type: ignore[method-assign]
    return count


@pytest.mark.parametrize("seed", range(5))
def test_two_that_keep_the_way_open_to_each_other_take_turns(seed: int) -> None:
    world = World(seed, secured=True)
    hosts = servers_of_each_other(world, 2)
    world.run_for(QUARTER_S)
    assert all(_life(host).is_seen for host in hosts)
    assert keepalives_in(world, QUARTER_S) <= len(hosts) * QUARTER_S / USUAL_S


def _life(host: Host) -> MappingLife:
    (peer,) = host.endpoint.peers
    return host.endpoint.keepalives._life(peer)


def test_among_five_none_is_shortened_for_good() -> None:
    world = World(4)
    hosts = servers_of_each_other(world, 5)
    world.run_for(QUARTER_S)
    ways = 2 * len(hosts)
    assert keepalives_in(world, QUARTER_S) <= 1.25 * ways * QUARTER_S / USUAL_S
