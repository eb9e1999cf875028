"""A node knows what came to it although attempts to renew the session have failed in between."""

from p2ptui.core.events import PeerStatus, PeerStatusChanged
from p2ptui.errors import P2PError
from tests.simulation import Host, World


def statuses(host: Host, other: Host) -> list[PeerStatus]:
    return [e.status for e in host.told(PeerStatusChanged) if e.address == other.address]


def test_what_came_before_comes_not_again_once_renewing_has_failed() -> None:
    world = World(secured=False)
    server, client = world.host(), world.host(security={"auth_timeout": 2.0})
    client.outcome(client.connect(server))
    world.run_for(1)
    # It arrives, and its Ack does not.
    world.network.set_link(client.address[0], server.address[0], loss=1.0)
    token = server.send(client, "once")
    world.run_for(0.5)
    assert client.received() == ["once"]

    # Elsewhere it is told that its session is unknown. It is answered when it asks for another,
    # and what waits for it goes on there, but it hears no more.
    world.move(client)
    client.send(server, "who am I?")
    world.run_until(lambda: statuses(client, server)[-1] is PeerStatus.HANDSHAKING)
    world.network.set_link(server.address[0], client.address[0], loss=1.0)
    world.run_until(lambda: statuses(client, server)[-1] is PeerStatus.FAILED)
    # The next attempt fails as well.
    assert isinstance(client.outcome(client.connect(server, 0.5)), P2PError)
    world.network.set_link(server.address[0], client.address[0], latency_s=0.02)
    client.outcome(client.connect(server))

    assert server.outcome(token).delivered
    assert client.received() == ["once"]
