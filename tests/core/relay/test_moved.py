"""A machine with sessions at other nodes' own addresses moves: they go on by way of a server, or
where they were, and each message arrives once or its sender is told."""

from typing import Any

import pytest

from p2ptui.core.events import SendResult
from tests.core.meeting import facts_of
from tests.core.relay.test_rescue import Flow, Two, ends, run_both
from tests.core.relaying import seen
from tests.simulated_nat import KINDS, Nat
from tests.simulation import Host

BACK_S = 3.0
"""So long after a move nothing arrives, at most."""


def everywhere(_address: object) -> bool:
    return True


def place(two: Two, host: Host, address: tuple[str, int]) -> None:
    """A machine is at another address from now on."""
    world = two.world
    world.network.detach(host.address)
    del world.hosts[host.address], world._nodes[host.address]
    host.address = world.network.attach(address)
    world.hosts[address] = world._nodes[address] = host
    host.endpoint.traversal.offers.hosts = (address,)


def notice(host: Host) -> None:
    host.endpoint.moving.move(everywhere, host.world.now)
    host.settle()


def move(two: Two, host: Host, number: int = 1, *, after_s: float = 0.0) -> None:
    """To a network of its own, from where nobody inside the last one is reached."""
    inside = (f"172.16.{number}.7", 8080)
    kind = "port-restricted-cone"
    two.lan.nats.add(Nat(f"198.51.100.{100 + number}", {inside[0]}, KINDS[kind], seed=number))
    host.facts = facts_of(kind)
    place(two, host, inside)
    two.world.run_for(after_s)
    notice(host)


def move_back(two: Two, host: Host, address: tuple[str, int]) -> None:
    place(two, host, address)
    notice(host)


def is_alone(two: Two) -> bool:
    """Whether each knows the other once."""
    return all(
        [peer.node_id for peer in one.endpoint.peers].count(other.id) == 1
        for one, other in ((two.a, two.b), (two.b, two.a))
    )


@pytest.mark.parametrize("by", ["address", "id"])
@pytest.mark.parametrize("who", ["a", "b"])
@pytest.mark.parametrize("seed", range(3))
def test_a_node_of_the_lan_moves_away(by: str, who: str, seed: int) -> None:
    two = Two(by, seed=seed)
    flows = two.flow(), two.flow(back=True)
    run_both(two, 1 + seed / 50, *flows)
    at = two.world.now
    move(two, getattr(two, who), after_s=0.2)
    run_both(two, 8, *flows)
    flows[0].settle(10, flows[1])

    for flow in flows:
        assert flow.longest_gap_s(at) <= BACK_S
        flow.assert_each_once()
    assert is_alone(two)
    assert ends(two.a) == ends(two.b) == []
