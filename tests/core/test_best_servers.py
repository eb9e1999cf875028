"""Which of several joined servers is used: one order for all who choose."""

from p2ptui.core.peers import Peer
from p2ptui.core.traversal.server_choice import choose_server
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
