"""Two nodes ask each other at once, the one by way of the server and the other directly: they make
one session of it, whichever datagram is lost."""

from dataclasses import dataclass

import pytest

from p2ptui.core.events import ConnectResult, DataReceived
from p2ptui.wire.address import Address
from tests.core.lan import SERVER, Lan
from tests.simulation import Host, World

RELAYS = {"traffic_forwarding": {"allow_symmetric_nat_relay": True, "max_concurrent_relays": 50}}
DATAGRAMS = 44
"""More than leave until both have their session."""


@dataclass
class Losses:
    """Drops the datagrams of these numbers, counted from now on."""

    lan: Lan
    numbers: tuple[int, ...]
    directly: bool = True
    """Whether those count that go between the nodes, or those to the server and from it."""
    count: int = -1

    def __post_init__(self) -> None:
        self._translate = self.lan.world.network.translate
        self.lan.world.network.translate = self

    def __call__(
        self, data: bytes, source: Address, destination: Address, now: float
    ) -> tuple[Address, Address] | None:
        if (SERVER not in (source, destination)) == self.directly:
            self.count += 1
            if self.count in self.numbers:
                return None
        assert self._translate is not None
        return self._translate(data, source, destination, now)


def ask(one: Host, other: Host, lan: Lan, *, is_listed: bool) -> int:
    """Connect by id: directly first, or at once by way of the server as well."""
    if not is_listed:
        one.endpoint.traversal.head_start.listed_address = lambda *_: None
    server = one.peer(lan.server)
    assert server is not None
    return one.endpoint.introduce(server, other.id, lan.world.now, 10)


def check_is_one_session(lan: Lan, tokens: list[tuple[Host, int]]) -> None:
    """Both calls have succeeded, and each node has one session with the other, which works."""
    losses = lan.world.network.translate
    assert isinstance(losses, Losses)
    losses.numbers = ()
    for node, token in tokens:
        assert isinstance(node.outcomes.get(token), ConnectResult), node.outcomes.get(token)
    check_session(lan.world, *lan.nodes)


def check_session(world: World, one: Host, other: Host) -> None:
    """Each has one session with the other, and it works."""
    for node, peer_node in ((one, other), (other, one)):
        sessions = [peer for peer in node.endpoint.peers if peer.node_id == peer_node.id]
        assert len(sessions) == 1
        assert sessions[0].is_authenticated
        assert all(peer.is_authenticated for peer in node.endpoint.peers)
    began = world.now
    said = [
        (node, node.endpoint.send(node.endpoint.peers.with_id(to.id), "hello", began))
        for node, to in ((one, other), (other, one))
    ]
    for node, token in said:
        assert node.outcome(token).delivered
    assert world.now - began < 0.5
    for node in (one, other):
        assert [event.payload for event in node.told(DataReceived)] == ["hello"]


@pytest.mark.parametrize("directly", [True, False], ids=["direct", "by way of the server"])
@pytest.mark.parametrize("first", [0, 1], ids=["smaller asks directly", "larger asks directly"])
@pytest.mark.parametrize("lost", range(DATAGRAMS))
def test_one_asks_directly_and_the_other_by_relay(lost: int, first: int, directly: bool) -> None:
    lan = Lan(2, server=RELAYS)
    one, other = (lan.nodes[first], lan.nodes[1 - first])
    Losses(lan, (lost,), directly)

    tokens = [
        (one, ask(one, other, lan, is_listed=True)),
        (other, ask(other, one, lan, is_listed=False)),
    ]
    lan.world.run_for(3.5)

    check_is_one_session(lan, tokens)
    assert lan.direct_pairs() == 1


@pytest.mark.parametrize("later_s", [0.0, 0.02, 0.04, 0.06, 0.3])
@pytest.mark.parametrize("lost", range(0, DATAGRAMS, 2))
def test_two_datagrams_in_a_row_are_lost(lost: int, later_s: float) -> None:
    lan = Lan(2, server=RELAYS)
    one, other = lan.nodes
    Losses(lan, (lost, lost + 1))

    tokens = [(one, ask(one, other, lan, is_listed=True))]
    lan.world.run_for(later_s)
    tokens.append((other, ask(other, one, lan, is_listed=False)))
    lan.world.run_for(5)

    check_is_one_session(lan, tokens)
    assert lan.direct_pairs() == 1


class Triangle:
    """Two nodes without NATs, and two servers that both have joined."""

    def __init__(self) -> None:
        self.world = world = World()
        self.servers = [world.host(allow_symmetric_nat_relay=True) for _ in range(2)]
        options = {"ice": {"enable": False}}
        self.nodes = [world.host(**options) for _ in range(2)]
        for node in self.nodes:
            for server in self.servers:
                node.outcome(node.connect(server))
        world.run_for(1)
        self.count = -1
        self.lost: int | None = None
        world.network.translate = self._translate

    def _translate(
        self, _data: bytes, source: Address, destination: Address, _now: float
    ) -> tuple[Address, Address] | None:
        self.count += 1
        return None if self.count == self.lost else (source, destination)

    def ask(self, one: Host, other: Host, server: Host) -> int:
        peer = one.peer(server)
        assert peer is not None
        return one.endpoint.introduce(peer, other.id, self.world.now, 10)


@pytest.mark.parametrize("lost", [None, *range(24)])
@pytest.mark.parametrize("turned", [False, True], ids=["straight", "turned"])
def test_each_asks_by_way_of_another_server(lost: int | None, turned: bool) -> None:
    triangle = Triangle()
    one, other = triangle.nodes
    servers = triangle.servers[::-1] if turned else triangle.servers
    triangle.lost = lost

    tokens = [
        (one, triangle.ask(one, other, servers[0])),
        (other, triangle.ask(other, one, servers[1])),
    ]
    triangle.world.run_for(5)

    triangle.lost = None
    for node, token in tokens:
        assert isinstance(node.outcomes.get(token), ConnectResult), node.outcomes.get(token)
    check_session(triangle.world, one, other)


@pytest.mark.parametrize("lost", [None, *range(24)])
@pytest.mark.parametrize("turned", [False, True], ids=["smaller types", "larger types"])
@pytest.mark.parametrize("near", [False, True], ids=["far", "near"])
def test_one_types_the_address_and_the_other_asks_the_server(
    lost: int | None, turned: bool, near: bool
) -> None:
    """Nobody vouches for who is at an address that was typed: there the call may end, saying that
    there is a session already, if it is so."""
    triangle = Triangle()
    one, other = triangle.nodes[::-1] if turned else triangle.nodes
    if near:
        for a, b in ((one, other), (other, one)):
            triangle.world.network.set_link(a.address[0], b.address[0], latency_s=0.001)
    triangle.lost = lost

    typed = one.connect(other)
    asked = triangle.ask(other, one, triangle.servers[0])
    triangle.world.run_for(8)

    triangle.lost = None
    assert isinstance(other.outcomes.get(asked), ConnectResult), other.outcomes.get(asked)
    outcome = one.outcomes[typed]
    assert isinstance(outcome, ConnectResult) or "is already connected" in str(outcome)
    check_session(triangle.world, one, other)


def test_whoever_says_to_be_the_node_that_is_asked_for_does_not_get_the_call() -> None:
    triangle = Triangle()
    one, other = triangle.nodes
    stranger = triangle.world.puppet(node_id=other.id)

    token = triangle.ask(one, other, triangle.servers[0])
    stranger.send(stranger.handshake_request(), one)
    triangle.world.run_for(3)

    result = one.outcomes[token]
    assert isinstance(result, ConnectResult)
    assert result.address != stranger.address
    check_session(triangle.world, one, other)
