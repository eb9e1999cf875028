"""Which servers are called silent, and when: another address of their name is joined then."""

import pytest

from p2ptui.core.peers import Peer
from p2ptui.wire.frames import FragmentAck, TransferStatus, encode_fragment_ack
from tests.core.relay.test_failover import Pair
from tests.core.relay.test_one_way import chatter, cut_one_way
from tests.core.relaying import node, relaying
from tests.simulation import Host, World

LOSS = 0.1


class Told:
    """When a node called which server silent, from now on."""

    def __init__(self, host: Host) -> None:
        self.servers: list[tuple[str, float]] = []
        self._began = host.world.now
        host.endpoint.server_watch.on_silent.append(self._note)

    def _note(self, server: Peer, now: float) -> None:
        self.servers.append((server.node_id, now - self._began))


def lossy(one: Host, other: Host) -> None:
    for a, b in ((one, other), (other, one)):
        one.world.network.set_link(a.address[0], b.address[0], loss=LOSS)


@pytest.mark.parametrize("has_another", [False, True])
@pytest.mark.parametrize("relays", [False, True])
@pytest.mark.parametrize("talks", [False, True])
def test_one_that_is_gone(has_another: bool, relays: bool, talks: bool) -> None:
    world = World()
    gone = world.host(allow_symmetric_nat_relay=relays)
    servers = [gone, relaying(world)] if has_another else [gone]
    client = node(world, *servers)
    world.run_for(5)
    told = Told(client)
    world.remove(gone)
    if talks:
        client.send(gone, "hello")
    world.run_for(50)
    assert [who for who, _ in told.servers] == [gone.id]
    assert told.servers[0][1] <= (1.0 if talks else 33 + 6.6 + 1.0)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("back", [False, True])
def test_one_whose_data_flows_is_not_where_one_datagram_in_ten_is_lost(
    seed: int, back: bool
) -> None:
    world = World(seed)
    server = relaying(world)
    client = node(world, server)
    lossy(client, server)
    told = Told(client)
    sender, receiver = (server, client) if back else (client, server)
    for _ in range(900):
        sender.send(receiver, "x")
        world.run_for(0.5)
    assert told.servers == []


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("back", [False, True])
def test_one_that_relays_a_flow_is_not_either(seed: int, back: bool) -> None:
    pair = Pair(servers=1, seed=seed, max_tries=14)
    (server,) = pair.servers
    for host in (pair.a, pair.b):
        lossy(host, server)
    told = Told(pair.a)
    flow = pair.flow(back=back)
    flow.pause_s = 0.1
    flow.run(120)
    assert told.servers == []


def test_one_that_hears_nothing_is_in_the_end_though_it_is_heard() -> None:
    world = World()
    server = relaying(world)
    client = node(world, server)
    told = Told(client)
    cut_one_way(client, server)
    client.send(server, "hello")
    for _ in range(40):
        chatter(server, client)
        world.run_for(0.1)
    assert [who for who, _ in told.servers] == [server.id]
    assert told.servers[0][1] <= 3.0


def test_a_report_on_a_message_that_is_not_under_way_hides_nothing() -> None:
    """Anybody can write one in the name of the server, which is gone."""

    world = World()
    server = relaying(world)
    client = node(world, server)
    told = Told(client)
    peer = client.peer(server)
    assert peer is not None
    world.remove(server)
    client.send(server, "hello")
    heard_at = peer.answered_at
    for number in range(40):
        report = encode_fragment_ack(FragmentAck(number, TransferStatus.PROGRESS, 0, b"\0"))
        client.endpoint.receive_datagram(report, server.address, world.now)
        client.settle()
        world.run_for(0.1)
    assert peer.answered_at == heard_at
    assert [who for who, _ in told.servers] == [server.id]


def test_an_answer_by_the_way_in_use_shows_that_the_other_end_and_the_server_hear() -> None:
    pair = Pair(servers=1)
    (server,) = pair.servers
    by = pair.a.peer(server)
    peer = pair.a.endpoint.peers.authenticated(pair.b.id)
    assert by is not None
    assert peer is not None
    pair.world.run_for(5)
    checks = pair.a.endpoint._failover._checks
    session = checks.sessions[peer]
    asked_at = pair.world.now
    checks.check(session, checks.way(session, by), asked_at)
    pair.a.settle()
    pair.world.run_for(0.5)
    assert peer.answered_at > asked_at
    assert by.answered_at > asked_at
