"""A node at rest under seal: what answers one question is not asked again by another one."""

import re
from collections import Counter
from itertools import pairwise

import pytest

from p2ptui.core.events import PeerStatus
from p2ptui.core.sealing import Seals
from p2ptui.nat.mapping_life import USUAL_S
from p2ptui.wire.frames import KEEPALIVE, KEPT_ALIVE
from tests.core.sessions.test_keepalive import Home, Wire
from tests.simulation import World

HOUR_S = 3600.0


@pytest.fixture(autouse=True)
def under_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "secured", True)


def kind_of(data: bytes) -> str:
    if data[:1] in (bytes((KEEPALIVE,)), bytes((KEPT_ALIVE,))):
        return "keepalive" if data[0] == KEEPALIVE else "kept alive"
    found = re.search(rb'"message_type":"(\w+)"', data)
    return found[1].decode() if found else "other"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """What is sealed from now on: by which id, and of which kind."""
    counted = Counter[tuple[str, str]]()
    seal_for = Seals.seal_for

    def count(self, peer, data):
        counted[self.keys.identity.id, kind_of(data)] += 1
        return seal_for(self, peer, data)

    monkeypatch.setattr(Seals, "seal_for", count)
    return counted


def test_behind_a_nat_the_server_asks_and_keepalives_do_the_rest(said) -> None:
    home = Home(60)
    home.world.remove(home.b)
    home.world.run_for(300)
    wire = Wire(home.world, home.a)
    said.clear()
    home.world.run_for(HOUR_S)
    node, server = home.a.id, home.server.id
    # The server's heartbeat, and one keepalive in the middle between two of them.
    assert said[node, "Ping"] == 0
    assert 115 <= said[server, "Ping"] == said[node, "Pong"] <= 140
    assert 115 <= said[node, "keepalive"] == said[server, "kept alive"] <= 150
    assert said[node, "other"] + said[server, "other"] <= 20  # new keys, four times
    every = [when for when, _ in wire.datagrams]
    assert max(b - a for a, b in pairwise(every)) <= USUAL_S + 0.1


def test_without_a_nat_each_side_asks_as_before(said) -> None:
    # A guard: that it is asked does not show a node that it is heard.
    world = World()
    server = world.host()
    node = world.host()
    node.outcome(node.connect(server))
    world.run_for(60)
    said.clear()
    world.run_for(HOUR_S)
    for host in (server, node):
        assert 115 <= said[host.id, "Ping"] <= 140
        assert said[host.id, "keepalive"] == 0


def test_what_is_acknowledged_takes_the_place_of_heartbeats(said) -> None:
    world = World()
    server = world.host()
    node = world.host()
    node.outcome(node.connect(server))
    world.run_for(60)
    said.clear()
    for number in range(60):
        node.send(server, number)
        world.run_for(10)
    assert said[node.id, "Ping"] <= 2


@pytest.mark.parametrize("seed", range(5))
def test_a_server_that_dies_is_asked_within_a_quiet_interval(seed, said) -> None:
    home = Home(60, seed=seed)
    home.world.run_for(300 + 7 * seed)
    home.world.remove(home.server)
    died_at = home.world.now
    said.clear()
    home.world.run_until(lambda: said[home.a.id, "Ping"] > 0, 60)
    assert home.world.now - died_at <= USUAL_S + 1.0
    home.world.run_for(61)
    assert not home.a.is_connected_to(home.server)


def test_a_node_that_dies_is_dropped_as_soon_as_ever() -> None:
    home = Home(60)
    home.world.run_for(300)
    home.world.remove(home.a)
    timeout = home.server.endpoint.config.server.connection_timeout
    home.world.run_for(timeout + 1)
    peer = home.server.endpoint.peers.with_id(home.a.id)
    assert peer is None or peer.status is not PeerStatus.AUTHENTICATED


@pytest.mark.parametrize("loss", [0.02, 0.1])
def test_loss_ends_no_session_at_rest(loss) -> None:
    for seed in range(4):
        home = Home(60, seed=seed, loss=loss)
        home.world.run_for(HOUR_S / 2)
        assert home.a.is_connected_to(home.server)
