"""IPv6: where the server sees it, a direct path is found as over IPv4."""

from p2ptui.core.connection import Method
from p2ptui.core.events import ConnectResult
from tests.simulation import World

SERVER = ("2001:db8:9::1", 8080)
ALICE = ("2001:db8:1::2", 5000)
BOB = ("2001:db8:2::2", 5000)


def test_two_nodes_that_met_over_ipv6_talk_directly() -> None:
    world = World(seed=6, latency_s=0.02)
    server = world.host(SERVER, allow_symmetric_nat_relay=True)
    alice, bob = world.host(ALICE), world.host(BOB)
    for node in (alice, bob):
        node.endpoint.traversal.offers.hosts = (node.address,)
        node.outcome(node.connect(server))
    world.run_for(1)
    peer = alice.peer(server)
    assert peer is not None

    token = alice.endpoint.introduce(peer, bob.id, world.now, 10)
    assert isinstance(alice.outcome(token), ConnectResult)
    world.run_for(1)

    met = alice.endpoint.peers.with_id(bob.id)
    assert met is not None
    assert met.sends_to == BOB
    assert met.connection is not None
    assert met.connection.method is Method.PLAIN
