"""Nodes behind NATs with sessions at two servers each: paths as at one server."""

from typing import Any

import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.core.peers import Peer
from p2ptui.io.memory_bus import MemoryBroker
from tests.core.cluster_servers import home_of
from tests.core.meeting import Meeting
from tests.simulation import Host, World

THIRD = ("198.51.100.10", 8080)
OTHER = ("198.51.100.11", 8080)
SYMMETRIC = "symmetric, random"
PLACES = [((0, 1), (1, 0)), ((0, 1), (2, 1)), ((0, 1), (2,)), ((0, 1), (1,)), ((1,), (2, 1))]


class ClusterMeeting(Meeting):
    """As a `Meeting`, with three servers of one cluster, of which each node joins some."""

    def __init__(self, kinds: str, places: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        self.places = places
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(World, "secured", True)
            super().__init__(kinds, kinds, seed=3)

    def join(self) -> None:
        world = self.world
        others = [world.host(at, allow_symmetric_nat_relay=True) for at in (OTHER, THIRD)]
        self.servers = [self.server, *others]
        self.broker = MemoryBroker()
        self.rooms = []
        for server in self.servers:
            name = server.id[:8]
            room = server.endpoint.open_cluster(name, f"{server.address[0]}:8080", world.now)
            self.rooms.append((room, self.broker.attach(server.id, room, world.now)))
        self.run(2)
        for host, places in zip((self.a, self.b), self.places, strict=True):
            for place in places:
                host.connect(self.servers[place])
                self.run(0.5)
            assert home_of(host) == self.servers[places[0]].id
        self.run(2)

    def run(self, seconds: float) -> None:
        """Let it all go on, the broker too."""
        end = self.world.now + seconds
        while self.world.now < end:
            self.world.run_for(0.005)
            self.broker.run(self.world.now)
            for room, bus in self.rooms:
                for order in room.orders():
                    bus.do(order)
            for server in self.servers:
                server.settle()

    def ask_at(self, asked: Host) -> Any:
        """What comes of `a` asking a server for `b`."""
        server = self.a.peer(asked)
        assert server is not None
        token = self.a.endpoint.introduce(server, self.b.id, self.world.now, 10)
        self.a.settle()
        self.run(3)
        return self.a.outcomes[token]

    def session(self, one: Host, other: Host) -> Peer:
        peer = one.endpoint.peers.authenticated(other.id)
        assert peer is not None
        return peer


@pytest.mark.parametrize("number", [0, 1], ids=["the home is asked", "another one is asked"])
@pytest.mark.parametrize("kinds", ["port-restricted-cone", SYMMETRIC])
@pytest.mark.parametrize("places", PLACES)
def test_they_find_what_path_there_is(
    places: tuple[tuple[int, ...], tuple[int, ...]], kinds: str, number: int
) -> None:
    meeting = ClusterMeeting(kinds, places)
    a, b = meeting.a, meeting.b
    asked = meeting.servers[places[0][number % len(places[0])]]
    assert isinstance(meeting.ask_at(asked), ConnectResult)
    meeting.run(20)
    is_direct = kinds != SYMMETRIC
    assert (meeting.session(a, b).path is not None) is is_direct
    assert (meeting.session(b, a).path is not None) is is_direct
    for back in (False, True):
        token = meeting.say("word", back=back)
        meeting.run(2)
        assert (b if back else a).outcomes[token].delivered
