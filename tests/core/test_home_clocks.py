"""A node whose clock was set back says to its server where it is, and is believed."""

import pytest

from p2ptui.core.peers import Peer
from p2ptui.secure.presence import MAX_COUNTER, sign_presence
from tests.core.cluster_servers import ClusterServer, home_of, join
from tests.simulation import Host, World

DAY_MS = 86_400_000


class Remembering(ClusterServer):
    """A server that refuses what is older than what a node has signed, and shows that."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.latest: tuple[int, bytes] = (0, b"")
        host.endpoint.guests.open(self._note_latest, lambda _: self.latest)

    def _note_latest(self, peer: Peer, counter: int, signature: bytes, now: float) -> bool:
        if counter <= self.latest[0] or not self._note(peer, counter, signature, now):
            return False
        self.latest = counter, signature
        return True


@pytest.fixture
def world() -> World:
    return World(secured=True)


def former(node: Host, server: Host, counter: int) -> tuple[int, bytes]:
    """What a node has signed in a former run."""
    seals, network = node.endpoint._state.seals, node.endpoint.identity.network_id
    assert seals is not None
    return counter, sign_presence(seals.keys.identity, server.id, counter, network)


@pytest.mark.parametrize("ahead_ms", [60_000, DAY_MS, 1000 * DAY_MS])
def test_it_goes_on_from_what_it_has_signed_in_a_former_run(world: World, ahead_ms: int) -> None:
    server, node = Remembering(world.host()), world.host()
    counter = node.endpoint._state.unix_ms(world.now) + ahead_ms
    server.latest = former(node, server.host, counter)
    join(world, node, server)
    assert home_of(node) == server.host.id
    assert [said[1] for said in server.statements] == [counter + 1]
    assert server.host.endpoint.counters.drops["presence_refused"] == 1
    world.run_for(300)
    assert len(server.statements) == 1, "it was answered"


@pytest.mark.parametrize("counter", [MAX_COUNTER, 2**62])
def test_a_server_cannot_raise_what_a_node_signs(world: World, counter: int) -> None:
    server, node, other = Remembering(world.host()), world.host(), world.host()
    for forged in (
        (counter, bytes(64)),
        former(other, server.host, counter),
        (counter, former(node, other, counter)[1]),
        (counter, former(node, server.host, counter - 1)[1]),
    ):
        server.latest = forged
        join(world, node, server)
        home = node.endpoint.home
        home._say(world.now, 1.0)
        node.settle()
        world.run_for(1)
        assert home._counter < 2**50
    assert server.statements == []
    assert node.endpoint.counters.drops["presence_not_own"] >= 4
