"""The servers of this node's cluster, as far as it matters which of them is used.

Others reach this node through its home, whichever server it asks: answers to what it asks another
server come back through the home. So the home is used wherever a server of the cluster is chosen.
"""

from p2ptui.core.peers.peer import Peer
from p2ptui.wire.message import Capability


class OwnCluster:
    """Which servers can stand in for each other; empty for a node that has joined no cluster."""

    def __init__(self) -> None:
        self.home: Peer | None = None
        """The server through which others reach this node."""
        self.ids: frozenset[str] = frozenset()
        """The other servers of the cluster, as named by a home."""

    def take_home(self, server: Peer) -> bool:
        """Others reach this node through a server from now on; returns whether that is a new
        one."""
        before, self.home = self.home, server
        if before is not None and before is not server:
            self.ids |= {before.node_id}  # until the new one names the others
        return before is not server

    def has(self, server: Peer) -> bool:
        """Whether a joined server is one of the cluster."""
        if server is self.home:
            return True
        is_named = server.is_joined_server and server.node_id in self.ids
        return is_named and server.seal is not None and Capability.CLUSTER in server.capabilities

    def are_one(self, one: Peer, other: Peer) -> bool:
        """Whether requests to one server may be answered through the other."""
        return self.has(one) and self.has(other)

    def instead_of(self, server: Peer, now: float) -> Peer:
        """The server to use in place of this one: the home if this one is in its cluster, unless
        the home is silent."""
        home = self.home
        if home is None or home.is_silent(now) or not self.has(server):
            return server
        return home

    def sorted(self, servers: list[Peer], now: float) -> list[Peer]:
        """The same servers, with the home in place of the first one of its cluster."""
        first = next((server for server in servers if self.has(server)), None)
        home = None if first is None else self.instead_of(first, now)
        if home is None or home is first or home not in servers:
            return servers
        others = [server for server in servers if server is not home]
        place = others.index(first) if first is not None else 0
        return [*others[:place], home, *others[place:]]
