"""Servers of a cluster as their peers see them, without one: what they hear and what they say."""

from p2ptui.core.peers import Peer
from p2ptui.secure.presence import verify_presence
from p2ptui.wire.address import format_address
from p2ptui.wire.message import MAX_OTHER_SERVERS, OtherServer
from tests.simulation import Host, World


class ClusterServer:
    """A server that takes statements as a cluster does: the highest counter of each node counts."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.statements: list[tuple[str, int, float]] = []
        """Whose came, their counters, and when."""
        host.endpoint.guests.open(self._note)

    def _note(self, peer: Peer, counter: int, signature: bytes, now: float) -> bool:
        assert peer.seal is not None
        own = self.host.id
        if not verify_presence(
            peer.seal.keys,
            peer.node_id,
            own,
            counter,
            signature,
            self.host.endpoint.identity.network_id,
        ):
            return False
        self.statements.append((peer.node_id, counter, now))
        return True

    def tell(self, *others: OtherServer) -> None:
        """Tell all peers of other servers."""
        guests = self.host.endpoint.guests
        guests.others = others[:MAX_OTHER_SERVERS]
        guests._tell_all(self.host.world.now)
        self.host.settle()


def named(host: Host) -> OtherServer:
    """A server as others name it."""
    return OtherServer(host.id, format_address(host.address))


def cluster(world: World, count: int) -> list[ClusterServer]:
    """So many servers, each of which names all others to whoever is there."""
    servers = [ClusterServer(world.host()) for _ in range(count)]
    for server in servers:
        server.tell(*(named(one.host) for one in servers if one is not server))
    return servers


def join(world: World, host: Host, *servers: ClusterServer) -> None:
    """Have a node join servers, and look around for two seconds."""
    for server in servers:
        host.outcome(host.connect(server.host))
    world.run_for(2)


def home_of(host: Host) -> str:
    """The id of the server that a node is at; empty if at none."""
    server = host.endpoint.home.server
    return "" if server is None else server.node_id
