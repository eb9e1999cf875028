"""Sessions of nodes at different servers: relayed, direct, moved, and rescued, as at one."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from p2ptui.core.events import ConnectResult, PeerStatus, PeerStatusChanged
from p2ptui.core.peers import Handing
from p2ptui.wire.address import Address
from tests.core.joined_servers import Cluster, Two
from tests.core.meeting import Meeting
from tests.core.relaying import ask, node, relaying, say, seen
from tests.simulation import Host

OTHER_SERVER: Final[Address] = ("198.51.100.10", 8080)


class FarMeeting(Meeting):
    """As a `Meeting`, but `b` has joined another server."""

    other_server: Host
    cluster: Cluster

    def join(self) -> None:
        self.other_server = self.world.host(OTHER_SERVER, allow_symmetric_nat_relay=True)
        self.cluster = Cluster(self.world, self.server, self.other_server)
        self.a.outcome(self.a.connect(self.server))
        self.b.outcome(self.b.connect(self.other_server))


def ends(host: Host) -> list[PeerStatusChanged]:
    told: list[PeerStatusChanged] = host.told(PeerStatusChanged)
    return [e for e in told if e.status in (PeerStatus.DISCONNECTED, PeerStatus.FAILED)]


@pytest.mark.parametrize("secured", [False, True])
@pytest.mark.parametrize(
    ("kind_a", "kind_b"),
    [
        ("open", "open"),
        ("port-restricted-cone", "port-restricted-cone"),
        ("full-cone", "symmetric, random"),
        ("restricted-cone", "symmetric, step 1"),
        ("firewall", "port-restricted-cone"),
    ],
)
def test_a_direct_path_is_found_as_at_one_server(kind_a: str, kind_b: str, secured: bool) -> None:
    meeting = FarMeeting(kind_a, kind_b, seed=3)
    if secured:
        meeting = _secured(kind_a, kind_b)

    assert isinstance(meeting.connect(), ConnectResult)
    meeting.world.run_until(meeting.is_direct, 10)
    assert meeting.a.outcome(meeting.say("there")).delivered
    assert meeting.b.outcome(meeting.say("back", back=True)).delivered
    assert (meeting.heard(meeting.b), meeting.heard(meeting.a)) == (["there"], ["back"])
    assert set(meeting.cluster.kinds()) <= {Handing.INTRODUCTION, Handing.FRAME}


def _secured(kind_a: str, kind_b: str) -> FarMeeting:
    class Secured(FarMeeting):
        pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.simulation.World.secured", True)
        return Secured(kind_a, kind_b, seed=3)


def test_two_symmetric_nats_stay_with_the_relay() -> None:
    meeting = FarMeeting("symmetric, random", "symmetric, random")

    assert isinstance(meeting.connect(), ConnectResult)
    meeting.world.run_for(30)
    assert meeting.is_relayed()
    for number in range(20):
        assert meeting.a.outcome(meeting.say(number)).delivered
        assert meeting.b.outcome(meeting.say(number, back=True)).delivered
    assert meeting.heard(meeting.b) == meeting.heard(meeting.a) == list(range(20))
    assert ends(meeting.a) == ends(meeting.b) == []


def test_a_path_that_breaks_leads_back_to_the_relay() -> None:
    meeting = FarMeeting()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 10)
    meeting.cut()
    token = meeting.say("by relay")

    assert meeting.a.outcome(token, 10).delivered
    assert meeting.is_relayed() or not meeting.goes_direct(meeting.a)
    meeting.heal()
    meeting.world.run_until(meeting.is_direct, 90)
    assert ends(meeting.a) == ends(meeting.b) == []


# Several servers.


class Three:
    """Three servers that know of each other's nodes; each node has joined some of them."""

    def __init__(self, **options: Any) -> None:
        self.two = Two(**options)
        self.world, self.cluster = self.two.world, self.two.cluster
        third = relaying(self.world)
        self.cluster.join(third)
        self.servers = [self.two.one, self.two.other, third]

    def meet(self, of_a: list[int], of_b: list[int]) -> tuple[Host, Host]:
        """They meet by way of the servers that they have joined last, which hold them."""
        a, b = (
            node(self.world, *[self.servers[number] for number in joined])
            for joined in (of_a, of_b)
        )
        assert isinstance(a.outcome(ask(a, self.servers[of_a[-1]], b)), ConnectResult)
        self.world.run_for(3)
        return a, b


def both_ways(a: Host, b: Host, words: str) -> Iterator[bool]:
    for one, other in ((a, b), (b, a)):
        yield one.outcome(say(one, other, words), 30).delivered


@pytest.mark.parametrize("secured", [False, True])
def test_a_server_dies_and_the_other_one_of_its_node_brings_the_session_on(secured: bool) -> None:
    three = Three(secured=secured)
    a, b = three.meet([2, 0], [1])
    assert all(both_ways(a, b, "before"))
    dead, left = three.servers[0], three.servers[2]
    three.cluster.kill(dead)
    # Its node says that it is with the other one now.
    three.cluster.enter(left, seen(left, a), three.world.now)

    began = three.world.now
    assert all(both_ways(a, b, "after"))
    assert three.world.now < began + 5
    assert left.address[0] in seen(a, b).sends_to[0]
    assert b.received() == a.received() == ["before", "after"]
    assert not [e for e in ends(a) if e.node_id == b.id]
    assert not [e for e in ends(b) if e.node_id == a.id]


def test_a_node_moves_to_another_server_and_the_session_goes_on() -> None:
    """It has joined the next one before it leaves the first."""
    three = Three(secured=True)
    a, b = three.meet([0], [1])
    assert all(both_ways(a, b, "before"))

    b.outcome(b.connect(three.servers[2]))
    three.world.run_for(0.2)
    b.endpoint.disconnect(b.peer(three.servers[1]), "moved", three.world.now)
    b.settle()
    assert all(both_ways(a, b, "after"))
    assert b.received() == a.received() == ["before", "after"]
    assert not [e for e in ends(a) if e.node_id == b.id]
    assert three.servers[2].address[0] in seen(b, a).sends_to[0]


def test_a_server_that_dies_lets_its_node_come_back_by_another() -> None:
    three = Three(secured=True)
    a, b = three.meet([0], [1])
    three.cluster.kill(three.servers[1])
    token = say(a, b, "kept")
    three.world.run_for(1)
    b.outcome(b.connect(three.servers[2]))

    assert a.outcome(token, 30).delivered
    assert b.received() == ["kept"]


def test_a_node_is_asked_for_by_way_of_a_server_while_it_has_a_session_with_another() -> None:
    """It has joined two, and one of them holds it: the other brings it no less."""
    three = Three(secured=True)
    a, b = three.meet([0], [1, 2])

    assert all(both_ways(a, b, "hi"))
    assert ends(a) == []
