"""Two nodes without an IP version in common: it is said at once, and nothing is tried in vain."""

from typing import Any

import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.errors import RemoteError
from p2ptui.wire.address import Address, ip_version
from tests.simulation import Host, World

SERVER: Address = ("198.51.100.9", 8080)
SERVER6: Address = ("2001:db8:9::1", 8080)
FOUR: Address = ("198.51.100.1", 5000)
SIX: Address = ("2001:db8:2::2", 5000)
OTHER_SIX: Address = ("2001:db8:3::2", 5000)


def carry(
    _data: bytes, source: Address, destination: Address, _now: float
) -> tuple[Address, Address] | None:
    """The server has both versions, and its two addresses are one host's."""
    if destination == SERVER6:
        return source, SERVER
    if source == SERVER and ip_version(destination[0]) == 6:
        return SERVER6, destination
    return (source, destination) if ip_version(source[0]) == ip_version(destination[0]) else None


class Apart:
    """A node with IPv4 only, one with IPv6 only, and a server that both have joined.

    Args:
        relays: Whether the server relays.
        sockets: The IP versions that the nodes' sockets would reach, if the machines had them.
    """

    def __init__(self, *, relays: bool = True, sockets: dict[Address, tuple[int, ...]]) -> None:
        self.world = world = World(seed=3, latency_s=0.02)
        world.network.translate = carry
        self.server = world.host(SERVER, allow_symmetric_nat_relay=relays)
        self.four, self.six = (self._node(at, sockets.get(at)) for at in (FOUR, SIX))
        self.four.outcome(self.four.connect(SERVER))
        self.six.outcome(self.six.connect(SERVER6))
        world.run_for(1)

    def _node(self, address: Address, versions: tuple[int, ...] | None) -> Host:
        node = self.world.host(address)
        offers = node.endpoint.traversal.offers
        offers.hosts = (address,)
        if versions is not None:
            node.endpoint.traversal.standing.reach(*versions)
        return node

    def ask(self, one: Host, other: Host) -> Any:
        """One connects to the other by its id; the outcome."""
        server = one.endpoint.peers.at(SERVER if one is self.four else SERVER6)
        assert server is not None
        token = one.endpoint.introduce(server, other.id, self.world.now, 10)
        one.settle()
        return one.outcome(token)


BOTH = {FOUR: (4,), SIX: (6,)}
WILD: dict[Address, tuple[int, ...]] = {}
"""Sockets at `::`, which would take both."""


@pytest.mark.parametrize("sockets", [BOTH, WILD], ids=["one version each", "wildcard"])
@pytest.mark.parametrize("turned", [False, True])
def test_they_are_relayed_and_the_reason_is_said_at_once(
    sockets: dict[Address, tuple[int, ...]], turned: bool
) -> None:
    apart = Apart(sockets=sockets)
    one, other = (apart.six, apart.four) if turned else (apart.four, apart.six)

    assert isinstance(apart.ask(one, other), ConnectResult)
    apart.world.run_for(0.1)

    for node, there, words in (
        (apart.four, apart.six, "here IPv4 only, there IPv6 only"),
        (apart.six, apart.four, "here IPv6 only, there IPv4 only"),
    ):
        peer = node.endpoint.peers.authenticated(there.id)
        assert peer is not None
        assert peer.connection is not None
        assert "no IP version in common" in (peer.connection.reason or "")
        assert words in (peer.connection.reason or "")
    apart.world.run_for(30)
    for node, there in ((apart.four, apart.six), (apart.six, apart.four)):
        peer = node.endpoint.peers.authenticated(there.id)
        assert peer is not None
        assert peer.connection is not None
        assert peer.connection.checks == 0, "no check can go anywhere"
        assert "no IP version in common" in (peer.connection.reason or "")


def test_where_nothing_relays_the_call_ends_at_once() -> None:
    apart = Apart(relays=False, sockets=BOTH)
    began = apart.world.now

    error = apart.ask(apart.four, apart.six)

    assert isinstance(error, RemoteError)
    assert "no IP version in common" in str(error)
    assert apart.world.now - began < 0.2


def test_two_with_ipv6_only_meet_though_their_sockets_take_ipv4_too() -> None:
    apart = Apart(sockets=WILD)
    other = apart._node(OTHER_SIX, None)
    other.outcome(other.connect(SERVER6))
    apart.world.run_for(1)

    assert isinstance(apart.ask(apart.six, other), ConnectResult)
    apart.world.run_for(1)

    peer = apart.six.endpoint.peers.authenticated(other.id)
    assert peer is not None
    assert peer.sends_to == OTHER_SIX
