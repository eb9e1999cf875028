"""Secured sessions between nodes behind NATs go on when either machine, or its NAT, changes."""

import pytest

from tests.core.meeting import Meeting
from tests.core.secure.test_own_moves import BACK_S, everywhere
from tests.simulated_nat import KINDS, Nat
from tests.simulation import Host

KIND_NAMES = [
    "open",
    "full-cone",
    "restricted-cone",
    "port-restricted-cone",
    "symmetric, random",
]
CAFE = "198.51.100.77"


def rebind(meeting: Meeting, host: Host) -> None:
    """Its NAT was restarted."""
    meeting._nat_of[host.address].forget()


def renumber(meeting: Meeting, host: Host) -> None:
    """Its NAT has another public address."""
    nat = meeting._nat_of[host.address]
    nat.outside = CAFE
    nat.forget()
    meeting.nats.add(nat)


def travel(meeting: Meeting, host: Host) -> None:
    """The machine is behind another NAT, and notices."""
    world, inside = meeting.world, ("192.168.7.7", 5000)
    meeting.nats.add(Nat(CAFE, {inside[0]}, KINDS["port-restricted-cone"]))
    world.network.detach(host.address)
    del world.hosts[host.address], world._nodes[host.address]
    host.address = world.network.attach(inside)
    world.hosts[inside] = world._nodes[inside] = host
    host.endpoint.traversal.offers.hosts = (inside,)
    host.facts = None
    host.endpoint.moving.move(everywhere, world.now)
    host.settle()


@pytest.mark.parametrize("is_direct", [True, False], ids=["direct", "relayed"])
@pytest.mark.parametrize("how", [rebind, renumber, travel])
@pytest.mark.parametrize("other_kind", KIND_NAMES)
@pytest.mark.parametrize("kind", ["port-restricted-cone", "symmetric, random"])
def test_both_hear_each_other_again_within_two_seconds(
    kind: str, other_kind: str, how, is_direct: bool
) -> None:
    meeting = Meeting(kind, other_kind, secured=True, options={"ice": {"enable": is_direct}})
    world, a, b = meeting.world, meeting.a, meeting.b
    meeting.connect()
    world.run_for(5)
    peers = {host: host.endpoint.peers.authenticated(to.id) for host, to in ((a, b), (b, a))}
    for host, peer in peers.items():
        assert peer is not None
        assert peer.is_secured, host
    how(meeting, a)
    began = world.now
    tokens = []
    for number in range(40):
        for host, peer in peers.items():
            tokens.append((host, host.endpoint.send(peer, number, world.now)))
            host.settle()
        if number == 0:
            for host, token in tokens:
                assert host.outcome(token, within=BACK_S).delivered
            assert world.now - began < BACK_S
        world.run_for(0.05)
    for host, token in tokens:
        assert host.outcome(token).delivered
    for host in (a, b):
        assert sorted(host.received()) == list(range(40))
    assert {
        host: host.endpoint.peers.authenticated(p.node_id) for host, p in peers.items()
    } == peers
