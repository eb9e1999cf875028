"""Servers of one network that know of each other's nodes by a dictionary, on virtual time.

cluster = Cluster(world, server_1, server_2)

What one hands to another arrives after a moment; nothing of a broker is here.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from p2ptui.core.events import ConnectResult
from p2ptui.core.peers import ALONE, Foreign, Handed, Handing, NotHanded, Peer
from p2ptui.wire.message import ListedServer
from tests.core.relaying import ask, node, puppet, relaying
from tests.simulation import Host, Puppet, World

LATENCY_S: Final = 0.002
"""From server to server."""


class Cluster:
    """Joins servers; each knows at once which nodes the others hold."""

    def __init__(self, world: World, *servers: Host) -> None:
        self.world = world
        self.servers: dict[str, Host] = {}
        self.book: dict[str, Foreign] = {}
        """Who holds whom, as far as all know."""
        self.handed: list[Handed] = []
        """All that was handed over, in that order."""
        self.not_handed: list[tuple[Handed, NotHanded]] = []
        self.admits: Callable[[Handed], bool] = lambda _: True
        """Whether there is room for something that is handed over."""
        self.loses: Callable[[Handed], NotHanded | None] = lambda _: None
        """Why something does not even arrive at the other server."""
        self.more: list[str] = []
        """The ids of further servers, which hold nobody."""
        self.knows = True
        """Whether the book follows what happens."""
        for server in servers:
            self.join(server)

    def join(self, server: Host) -> None:
        """One more server."""
        endpoint = server.endpoint
        self.servers[server.id] = server
        endpoint._state.elsewhere = Side(self, server)

        def enter(peer: Peer, now: float) -> None:
            if self.knows and peer.is_authenticated and peer.proved and peer.is_plain:
                self.enter(server, peer, now)

        def leave(peer: Peer, now: float) -> None:
            known = self.book.get(peer.node_id)
            if self.knows and known is not None and known.server_id == server.id:
                del self.book[peer.node_id]
                for other in self._others(server):
                    _tell_left(other, peer.node_id, now)

        # Before anybody else is told: what the others know has changed by then.
        endpoint._lifecycle.on_joined.insert(0, enter)
        endpoint._delivery.on_proved.insert(0, enter)
        endpoint._lifecycle.on_moved.insert(0, enter)
        endpoint._lifecycle.on_left.append(leave)

    def enter(self, server: Host, peer: Peer, now: float) -> None:
        """Let all know that a server holds a node."""
        assert peer.info is not None
        seal = peer.seal
        self.book[peer.node_id] = foreign = Foreign(
            peer.info,
            server.id,
            (peer.address[0], peer.address[1]),
            now,
            peer.proved,
            "" if seal is None else seal.keys.text,
            "" if seal is None else seal.claims.boot.hex(),
            seal is not None,
        )
        for other in self._others(server):
            other.endpoint._discovery.note_joined_elsewhere(foreign, now)

    def _others(self, server: Host) -> list[Host]:
        return [other for other in self.servers.values() if other is not server]

    def kill(self, server: Host) -> None:
        """A server is gone without a word, and all know that it is silent."""
        self.world.remove(server)
        del self.servers[server.id]
        gone = [node_id for node_id, held in self.book.items() if held.server_id == server.id]
        for node_id in gone:
            del self.book[node_id]
        for other in self.servers.values():
            for node_id in gone:
                _tell_left(other, node_id, self.world.now)
        server.endpoint._state.elsewhere = ALONE

    def take(self, server: Host, handed: Handed, now: float) -> NotHanded | None:
        """Let a server take something, whoever says that it was handed over."""
        target = server.endpoint.peers.authenticated(handed.target_id)
        if target is None or not target.is_plain:
            return NotHanded.UNKNOWN
        return server.endpoint._state.taker.take_handed(target, handed, now)

    def kinds(self) -> list[Handing]:
        """What was handed over, each kind once, in the order of the first."""
        return list(dict.fromkeys(handed.kind for handed in self.handed))


def _tell_left(server: Host, node_id: str, now: float) -> None:
    server.endpoint._relay_control.note_left_elsewhere(node_id, now)
    server.endpoint._discovery.note_left_elsewhere(node_id, now)


class Side:
    """What one server asks of the others."""

    def __init__(self, cluster: Cluster, server: Host) -> None:
        self._cluster = cluster
        self._server = server

    def servers_told(self, _now: float) -> list[ListedServer]:
        servers = sorted(self._cluster.servers, key=lambda one: one != self._server.id)
        return [
            ListedServer(id=one, name=f"server {number}", address="10.0.0.1:8080", peers=number)
            for number, one in enumerate([*servers, *self._cluster.more])
        ]

    def holder(self, node_id: str) -> Foreign | None:
        known = self._cluster.book.get(node_id)
        return None if known is None or known.server_id == self._server.id else known

    def nodes(self) -> Iterator[Foreign]:
        for node_id in reversed(list(self._cluster.book)):
            known = self.holder(node_id)
            if known is not None:
                yield known

    def hand(
        self, target: Foreign, source: Peer, kind: Handing, body: bytes, ref: str, now: float
    ) -> bool:
        handed = Handed(
            kind, self._server.id, source.node_id, target.node_id, bytes(memoryview(body)), ref
        )
        if not self._cluster.admits(handed):
            return False
        self._cluster.handed.append(handed)
        self._later(now, lambda at: self._bring(target.server_id, handed, at))
        return True

    def _later(self, now: float, action: Callable[[float], None]) -> None:
        self._server.endpoint._state.timers.schedule(now + LATENCY_S, action)

    def _bring(self, server_id: str, handed: Handed, now: float) -> None:
        server = self._cluster.servers.get(server_id)
        why = self._cluster.loses(handed)
        if server is None:
            why = NotHanded.SERVER_GONE
        elif why is None:
            why = self._cluster.take(server, handed, now)
        if why is not None:
            self._cluster.not_handed.append((handed, why))
            self._later(now, lambda at: self._tell(handed, why, at))

    def _tell(self, handed: Handed, why: NotHanded, now: float) -> None:
        endpoint = self._server.endpoint
        source = endpoint.peers.authenticated(handed.source_id)
        if source is not None:
            # What comes back names what it is about, and not its bytes.
            about = Handed(
                handed.kind, handed.server_id, handed.source_id, handed.target_id, b"", handed.ref
            )
            endpoint._state.taker.handle_not_handed(source, about, why, now)


class Two:
    """Two servers that know of each other's nodes."""

    def __init__(self, *, secured: bool = False, **options: Any) -> None:
        self.world = World(secured=secured)
        self.one, self.other = (relaying(self.world, **options) for _ in range(2))
        self.cluster = Cluster(self.world, self.one, self.other)

    def nodes(self, **options: Any) -> tuple[Host, Host]:
        """A node of each."""
        return node(self.world, self.one, **options), node(self.world, self.other, **options)

    def met(self) -> tuple[Host, Host]:
        """A node of each; they talk."""
        a, b = self.nodes()
        assert isinstance(a.outcome(ask(a, self.one, b)), ConnectResult)
        self.world.run_for(1)
        return a, b

    def puppets(self) -> tuple[Puppet, Puppet]:
        """A deployed client of each."""
        return puppet(self.world, self.one), puppet(self.world, self.other)

    def hand(self, source: str, target: str, body: bytes, kind: Handing) -> NotHanded | None:
        """What the other server makes of something that comes in the name of a node."""
        handed = Handed(kind, self.one.id, source, target, body, "")
        return self.cluster.take(self.other, handed, self.world.now)
