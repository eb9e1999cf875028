"""Nodes that are restarted are back within three seconds; nobody else can say that they were."""

import pytest

from tests.core.relaying import ask, relaying
from tests.core.secure.test_secured_moves import restart
from tests.core.secure.test_secured_nodes import peer_of
from tests.core.secure.wiretap import Wiretap, two_secured
from tests.simulation import Host, World

BACK_S = 3.0


def is_back(one: Host, other: Host) -> bool:
    """Whether each has the other as a secured peer, under keys that both have."""
    both = [host.endpoint.peers.authenticated(to.id) for host, to in ((one, other), (other, one))]
    seals = [peer.seal for peer in both if peer is not None and peer.seal is not None]
    if len(seals) < 2:
        return False
    mine, its = (seal.session.current.keys for seal in seals)
    return mine.send == its.receive and mine.receive == its.send


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_all_clients_of_a_restarted_server_are_back(loss: float) -> None:
    """They find out by themselves, when they say something."""
    world = World(1, latency_s=0.02)
    server = world.host(keys=world.keys(), max_connections=400)
    clients = [world.host(keys=world.keys()) for _ in range(60)]
    for client in clients:
        client.connect(server)
    world.run_for(5)
    world.seed += 1
    for client in clients:
        world.network.set_link(client.address[0], server.address[0], loss=loss)
        world.network.set_link(server.address[0], client.address[0], loss=loss)
    server = restart(world, server)
    began = world.now
    tokens = [client.send(server, number) for number, client in enumerate(clients)]
    world.run_for(BACK_S if not loss else 2 * BACK_S)
    late = [client for client in clients if not is_back(client, server)]
    assert not late, f"{len(late)} of {len(clients)} after {world.now - began:.1f} s"
    world.run_for(20)
    assert all(c.outcomes[t].delivered for c, t in zip(clients, tokens, strict=True))
    assert sorted(server.received()) == list(range(len(clients)))


@pytest.mark.parametrize("who", [0, 1, 2], ids=["who asked", "who was asked", "the server"])
def test_a_relayed_session_outlasts_a_restart(who: int) -> None:
    world = World(secured=True)
    hosts = [world.host(ice={"enable": False}), world.host(ice={"enable": False}), relaying(world)]
    for host in hosts[:2]:
        host.outcome(host.connect(hosts[2]))
    world.run_for(1)
    hosts[0].outcome(ask(hosts[0], hosts[2], hosts[1]))
    world.run_for(1)
    world.seed += 1
    old = hosts[who]
    seals = old.endpoint._state.seals
    assert seals is not None
    world.remove(old)
    options = {"allow_symmetric_nat_relay": True} if who == 2 else {"ice": {"enable": False}}
    hosts[who] = world.host(old.address, keys=seals.keys, **options)
    one, other, server = hosts
    for host in (one, other):
        if host.peer(server) is None:
            host.outcome(host.connect(server))
        elif who == 2:
            host.ping(server)
    stays = other if who == 0 else one
    to = one if who == 0 else other
    peer = stays.endpoint.peers.authenticated(to.id)
    assert peer is not None
    token = stays.endpoint.send(peer, "are you there?", world.now)
    stays.settle()
    assert stays.outcome(token, within=2 * BACK_S).delivered
    assert to.received() == ["are you there?"]
    world.run_for(1)
    assert is_back(one, other)


def test_both_are_restarted_at_once() -> None:
    world = World()
    one, other = two_secured(world)
    world.seed += 1
    one, other = restart(world, one), restart(world, other)
    one.outcome(one.connect(other), within=BACK_S)
    assert one.outcome(one.send(other, "hello")).delivered
    assert is_back(one, other)


def test_ten_restarts_in_a_row_lose_and_double_nothing() -> None:
    world = World()
    one, other = two_secured(world)
    read: list[object] = []
    for number in range(10):
        world.seed += 1
        read += other.received()
        other = restart(world, other)
        assert one.outcome(one.send(other, number), within=BACK_S).delivered
    read += other.received()
    world.run_for(30)
    assert read == list(range(10))
    assert is_back(one, other)


@pytest.mark.parametrize("pause_s", [0.01, 0.1, 1.0])
def test_who_has_seen_each_frame_ends_nothing_by_calling_it_unknown(pause_s: float) -> None:
    world = World()
    tap = Wiretap(world)
    one, other = two_secured(world)
    before = peer_of(one, other), peer_of(other, one)
    tokens = []
    for number in range(100):
        tokens.append((one, one.send(other, number)))
        tokens.append((other, other.send(one, number)))
        world.run_for(pause_s)
        for host, to in ((one, other), (other, one)):
            frame = [seen.data for seen in tap.between(host, to) if seen.is_sealed][-1]
            for source in (to.address, ("10.9.9.9", 9)):
                tap.inject(b"\xe2" + frame[1:13], source, host)
    for host, token in tokens:
        assert host.outcome(token).delivered
    assert (peer_of(one, other), peer_of(other, one)) == before
    assert one.received() == other.received() == list(range(100))


def test_while_nothing_comes_through_a_false_unknown_session_ends_nothing() -> None:
    """He drops all that the other end says, and says that it knows nothing: a request leaves beside
    the session, which goes on when he stops."""
    world = World()
    tap = Wiretap(world)
    one, other = two_secured(world)
    peer, seal = peer_of(one, other), peer_of(one, other).seal
    assert seal is not None
    keys = seal.session.current
    tap.rules.append(lambda seen: None if seen.source == other.address else seen.data)
    for _ in range(8):
        one.send(other, "x")
        world.run_for(0.5)
        frame = [seen.data for seen in tap.between(one, other) if seen.is_sealed][-1]
        tap.inject(b"\xe2" + frame[1:13], other.address, one)
    assert any(b'"HandshakeRequest"' in seen.data for seen in tap.between(one, other))
    tap.rules.clear()
    world.run_for(15)
    assert peer_of(one, other) is peer
    assert peer.is_authenticated
    assert seal.session.current is keys or is_back(one, other)
    assert one.outcome(one.send(other, "hello")).delivered
    assert other.received() == ["x"] * 8 + ["hello"]


def test_answers_to_frames_of_no_session_are_short_and_few() -> None:
    world = World()
    node = world.host(keys=world.keys())
    tap = Wiretap(world)
    strangers = [world.puppet() for _ in range(20)]
    for number in range(200):
        for stranger in strangers:
            stranger.send(b"\xe0" + number.to_bytes(4, "big") + bytes(8) + bytes(16), node)
        world.run_for(0.005)
    told = [seen.data for seen in tap.seen if seen.source == node.address]
    asked = [seen.data for seen in tap.seen if seen.to == node.address]
    assert told
    assert {len(data) for data in told} == {13}
    assert {len(data) for data in asked} == {29}, "the shortest that is answered at all"
    assert len(told) <= 450, "200 a second for all strangers together"
