"""Rooms of a cluster on one broker in memory, with peers that are entries of their tables.

No datagram is sent but Pings, which a peer answers as long as it is there. Time moves from one due
thing to the next.
"""

import random
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from msgspec.structs import replace

from p2ptui.config import Config
from p2ptui.core.cluster.others import Trouble
from p2ptui.core.cluster.room import Cluster
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import PeerStatus
from p2ptui.core.identity import own_node_info
from p2ptui.core.messages import EXTENSIONS, FOLLOWING
from p2ptui.core.peers import Foreign, Handed, NotHanded, Peer
from p2ptui.core.peers.seal import Seal
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.io.memory_bus import MemoryBroker
from p2ptui.secure import SecureSession, SessionKeys, Transport
from p2ptui.secure.identity import Identity
from p2ptui.secure.presence import sign_presence
from p2ptui.secure.secret import Secret
from p2ptui.wire.cluster import Beacon, encode_message, signed_part
from p2ptui.wire.frames import node_id_bytes
from p2ptui.wire.message import NodeInfo

UNIX = 1_795_000_000


def node_id_of(number: int) -> str:
    """The id of a node without keys."""
    return f"{number:08x}-0000-4000-8000-000000000000"


def server_keys(number: int) -> Identity:
    """Those of a server."""
    return Identity(Secret(f"server {number}".encode().ljust(32, b".")))


def signed(identity: Identity, beacon: Beacon, now: float) -> bytes:
    """A beacon with the id of whose keys sign it, as it travels."""
    keys = identity.x_public + identity.ed_public
    server, counter = node_id_bytes(identity.id), int((now + UNIX) * 1000)
    beacon = replace(beacon, server=server, keys=keys, counter=counter)
    return encode_message(replace(beacon, signature=identity.sign(signed_part(beacon))))


def unused_keys(now: float) -> Transport:
    """What seals nothing here."""
    keys = SessionKeys(bytes(32), bytes(32))
    return Transport(keys, local_number=1, remote_number=1, is_initiator=False, began_at=now)


@dataclass
class FakeNode:
    """A node that has sessions, and moves between servers."""

    node_id: str
    name: str
    identity: Identity | None = None
    counter: int = 0
    answers: set[str] = field(default_factory=set)
    """Servers whose Pings it answers."""


class TakerStub:
    """Notes what is handed over, and what comes back."""

    def __init__(self) -> None:
        self.taken: list[Handed] = []
        self.failed: list[tuple[str, Handed, NotHanded, float]] = []
        self.answer: NotHanded | None = None

    def take_handed(self, _target: Peer, handed: Handed, _now: float) -> NotHanded | None:
        if self.answer is None:
            self.taken.append(handed)
        return self.answer

    def handle_not_handed(self, source: Peer, handed: Handed, why: NotHanded, now: float) -> None:
        self.failed.append((source.node_id, handed, why, now))


class Server:
    """One server of the cluster, without a socket."""

    def __init__(
        self,
        rooms: "Rooms",
        number: int,
        *,
        name: str = "",
        like: "Server | None" = None,
        apart_s: float = 0.0,
        **room: Any,
    ) -> None:
        self.rooms = rooms
        self.identity = like.identity if like else server_keys(number)
        self.id = self.identity.id
        config = Config().with_options(max_connections=20_000)
        info = own_node_info(self.id, "server", "1", "", rooms.network)
        self.state = NodeState(
            config, info, random.Random(f"{rooms.seed} {number}"), UNIX + apart_s
        )
        self.delivery = Delivery(self.state, EXTENSIONS, FOLLOWING)
        self.lifecycle = Lifecycle(self.state, self.delivery)
        self.taker = TakerStub()
        name = name or f"server-{number}"
        self.cluster = Cluster(
            self.state,
            self.delivery,
            self.lifecycle,
            self.taker,
            name,
            f"10.9.0.{number}:8080",
            self.identity,
            **room,
        )
        self.troubles: list[tuple[Trouble, str]] = []
        self.joined: list[Foreign] = []
        self.left: list[str] = []
        self.cluster.on_trouble = lambda kind, words: self.troubles.append((kind, words))
        self.cluster.on_joined_elsewhere.append(lambda foreign, _: self.joined.append(foreign))
        self.cluster.on_left_elsewhere.append(lambda node_id, _: self.left.append(node_id))
        self.nodes: dict[str, FakeNode] = {}
        self.at: dict[tuple[str, int], FakeNode] = {}
        self.cluster.open(rooms.now)
        self.bus = rooms.broker.attach(self.id, self.cluster, rooms.now)
        self.settle()

    # Its peers.

    def join(self, node: FakeNode, *, says_so: bool = True, proved: bool = True) -> Peer:
        """A node begins a session here; with keys it says so, if it is one that does."""
        number = next(self.rooms.numbers)
        address = (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 4000)
        now = self.rooms.now
        peer = self.lifecycle.open(address, now, initiated=False, is_proved=proved)
        info = NodeInfo(
            id=node.node_id,
            node_id=node.node_id,
            name=node.name,
            version="1.0",
            listen_addr="",
            capabilities=("handshake", "discovery", "data_transfer", "routing", "x_later"),
        )
        self.state.peers.identify(peer, info)
        if node.identity is not None:
            peer.session.take_seal(Seal(SecureSession(unused_keys(now)), node.identity.keys))
        self.lifecycle.authenticate(peer, now)
        self.at[address] = node
        self.nodes[node.node_id] = node
        node.answers.add(self.id)
        if node.identity is not None and says_so:
            self.say(node)
        return peer

    def say(self, node: FakeNode) -> bool:
        """A node signs that this server holds it."""
        assert node.identity is not None
        node.counter += 1
        signature = sign_presence(node.identity, self.id, node.counter, self.rooms.network)
        peer = self.peer(node)
        return self.cluster.note_statement(peer, node.counter, signature, self.rooms.now)

    def peer(self, node: FakeNode) -> Peer:
        peer = self.state.peers.authenticated(node.node_id)
        assert peer is not None
        return peer

    def leave(self, node: FakeNode) -> None:
        """Its session ends."""
        self.forget(node)
        self.lifecycle.remove(self.peer(node), PeerStatus.DISCONNECTED, self.rooms.now, "left")

    def forget(self, node: FakeNode) -> None:
        """The node is silent here from now on."""
        node.answers.discard(self.id)

    # What it knows.

    def holder(self, node: FakeNode) -> str | None:
        """Which other server holds a node, as this one knows."""
        foreign = self.cluster.holder(node.node_id)
        return None if foreign is None else foreign.server_id

    def known(self) -> dict[str, str]:
        """All nodes, and which server holds each."""
        known = {foreign.node_id: foreign.server_id for foreign in self.cluster.nodes()}
        for peer in self.state.peers:
            if peer.is_authenticated and peer.proved:
                foreign = self.cluster.holder(peer.node_id)
                known[peer.node_id] = self.id if foreign is None else foreign.server_id
        return known

    @property
    def drops(self) -> dict[str, int]:
        return dict(self.state.counters.drops)

    # Time.

    def settle(self) -> None:
        for order in self.cluster.orders():
            self.bus.do(order)
        for _, address in self.state.take_datagrams():
            node = self.at.get(address)
            peer = self.state.peers.at(address)
            if node is not None and peer is not None and self.id in node.answers:
                self.state.timers.schedule(
                    self.rooms.now + 0.02, lambda at, peer=peer: self._answered(peer, at)
                )
        while self.state.next_event() is not None:
            pass

    def _answered(self, peer: Peer, now: float) -> None:
        peer.liveness.hear(now)
        peer.liveness.note_answer(now)

    def kill(self) -> None:
        """Its process is gone, without a word."""
        self.rooms.broker.detach(self.bus)
        self.rooms.servers.remove(self)


class Rooms:
    """Servers, their broker, and time."""

    def __init__(self, servers: int = 3, *, seed: int = 0, **broker: Any) -> None:
        self.now = 1000.0
        self.seed = seed
        self.numbers = count(1)
        """Of the addresses of nodes: the same seed gives the same ones."""
        self.network = "p2p_default"
        self.broker = MemoryBroker(seed=seed, **broker)
        self.servers: list[Server] = []
        self._nodes = 0
        self._started = 0
        for _ in range(servers):
            self.server()
        self.run_for(1.5)

    def server(self, **options: Any) -> Server:
        self._started += 1
        server = Server(self, self._started, **options)
        self.servers.append(server)
        return server

    def node(self, *, keys: bool = False) -> FakeNode:
        self._nodes += 1
        number = self._nodes
        if not keys:
            return FakeNode(node_id_of(number), f"node-{number}")
        identity = Identity(Secret(f"{self.seed}-{number}".encode().ljust(32, b".")))
        return FakeNode(identity.id, f"node-{number}", identity)

    def move(self, node: FakeNode, former: Server, to: Server) -> None:
        """A node goes to another server, and says nothing to the one that it leaves."""
        former.forget(node)
        to.join(node)

    def run_for(self, seconds: float) -> None:
        end = self.now + seconds
        while self._step(end):
            pass

    def _step(self, end: float) -> bool:
        for server in self.servers:
            server.settle()
        due = end
        for server in self.servers:
            when = server.state.timers.next_timeout()
            due = due if when is None else min(due, when)
        when = self.broker.next_timeout()
        due = due if when is None else min(due, when)
        if due >= end:
            self.now = end
            return False
        self.now = max(self.now, due)
        self.broker.run(self.now)
        for server in list(self.servers):
            when = server.state.timers.next_timeout()
            if when is not None and when <= self.now:
                server.state.gate.now = self.now
                server.state.timers.run(self.now)
        return True

    def agree(self) -> bool:
        """Whether all servers know the same of all nodes."""
        known = [server.known() for server in self.servers]
        return all(one == known[0] for one in known)
