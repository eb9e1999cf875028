"""Which of several joined servers is used: one order for all who choose."""

from p2ptui.core.peers import Peer
from p2ptui.core.traversal.server_choice import choose_server, may_speak
from p2ptui.wire.message import Capability
from tests.core.meeting import Meeting
from tests.simulation import Host

OTHERS = (("198.51.100.10", 8080), ("198.51.100.11", 8080))


def measured(peer: Peer, rtt_s: float | None) -> None:
    """From now on so much is known of the way to a server."""
    peer.channel.rtt.srtt = rtt_s


class Choice(Meeting):
    """Two nodes with three servers in common."""

    def __init__(self) -> None:
        super().__init__()
        self.connect()
        self.servers: list[Host] = [self.server]
        for address in OTHERS:
            server = self.world.host(address, allow_symmetric_nat_relay=True)
            self.servers.append(server)
            for node in (self.a, self.b):
                node.outcome(node.connect(server))
        self.world.run_for(2)

    def known(self, server: Host) -> Peer:
        peer = self.a.peer(server)
        assert peer is not None
        return peer

    def silence(self, server: Host) -> None:
        """The server answers no more, and `a` has noticed."""
        self.world.remove(server)
        peer = self.known(server)
        for _ in range(3):
            self.a.endpoint._delivery.ping(peer, self.world.now)
            self.a.settle()
            self.world.run_for(1)
        assert peer.is_silent(self.world.now)

    def best(self) -> list[Peer]:
        return self.a.endpoint.peers.best_servers(self.world.now)


def test_one_that_was_never_measured_is_no_quick_one() -> None:
    choice = Choice()
    own, slow, unknown = map(choice.known, choice.servers)
    measured(own, 0.1)
    measured(slow, 0.3)
    measured(unknown, None)
    assert choice.best() == [own, slow, unknown]

    attempt = choice.attempt(choice.a)
    assert attempt is not None
    attempt.unknown_at.add(own)
    assert choose_server(choice.a.endpoint._state, attempt, choice.world.now)
    assert attempt.server is slow
    attempt.unknown_at |= {slow}
    assert choose_server(choice.a.endpoint._state, attempt, choice.world.now)
    assert attempt.server is unknown


def test_a_silent_one_comes_last_and_one_that_does_not_relay_behind_those_that_do() -> None:
    choice = Choice()
    own, quick, slow = map(choice.known, choice.servers)
    choice.silence(choice.server)
    measured(own, 0.01)
    measured(quick, 0.02)
    measured(slow, 0.3)
    quick.capabilities -= {Capability.RELAY}
    assert choice.best() == [slow, quick, own]


def test_no_silent_server_introduces_a_node_while_there_is_another() -> None:
    choice = Choice()
    own, *others = map(choice.known, choice.servers)
    routing, b = choice.a.endpoint._routing, choice.b.id
    routing.table.learn(b, own.node_id, 2, choice.world.now, (), "")
    assert routing.introducer_of(b, choice.world.now) is own

    choice.silence(choice.server)
    assert routing.introducer_of(b, choice.world.now) in others
    for server in choice.servers[1:]:
        choice.silence(server)
    assert routing.introducer_of(b, choice.world.now) is not None


def test_of_a_cluster_the_home_is_used_wherever_one_of_it_is_chosen() -> None:
    choice = Choice()
    alone, other, home = map(choice.known, choice.servers)
    cluster, now = choice.a.endpoint.peers.cluster, choice.world.now
    for peer, rtt_s in ((alone, 0.1), (other, 0.2), (home, 0.3)):
        measured(peer, rtt_s)
    cluster.has = lambda peer: peer in (other, home)  # type: ignore[method-assign]
    assert choice.best() == [alone, other, home]
    cluster.home = home
    assert choice.best() == [alone, home, other]
    assert cluster.instead_of(other, now) is home
    assert cluster.instead_of(alone, now) is alone
    assert cluster.are_one(home, other)
    assert not cluster.are_one(alone, other)

    routing, b = choice.a.endpoint._routing, choice.b.id
    for peer in (alone, home):
        routing.table.forget(b, peer.node_id)
    routing.table.learn(b, other.node_id, 2, now, (), "")
    assert routing.introducer_of(b, now) is home
    attempt = choice.attempt(choice.a)
    assert attempt is not None
    attempt.use(other)
    assert may_speak(choice.a.endpoint._state, attempt, home, now)
    assert choose_server(choice.a.endpoint._state, attempt, now)
    assert attempt.server is home

    choice.silence(choice.servers[2])
    assert choice.best() == [alone, other, home]
    assert routing.introducer_of(b, choice.world.now) is other


def test_who_only_says_that_it_is_of_the_cluster_is_not() -> None:
    choice = Choice()
    one, other, _ = map(choice.known, choice.servers)
    cluster = choice.a.endpoint.peers.cluster
    cluster.take_home(one)
    other.capabilities |= {Capability.CLUSTER}
    assert not cluster.has(other), "the home has not named it"
    cluster.ids = frozenset([other.node_id])
    assert not cluster.has(other), "whoever has its address may say so: it has shown no keys"
