"""A machine with sessions at other nodes' own addresses moves: they go on by way of a server, or
where they were, and each message arrives once or its sender is told."""

import json

import pytest

from p2ptui.core.events import SendResult
from tests.core.lan import Lan
from tests.core.meeting import facts_of
from tests.core.relay.test_rescue import GAP_S, Two, assert_they_went_on, ends, run_both
from tests.core.relaying import seen
from tests.simulated_nat import KINDS, Nat
from tests.simulation import Host


def everywhere(_address: object) -> bool:
    return True


def place(two: Two, host: Host, address: tuple[str, int]) -> None:
    """A machine is at another address from now on."""
    world = two.world
    world.network.detach(host.address)
    del world.hosts[host.address], world._nodes[host.address]
    host.address = world.network.attach(address)
    world.hosts[address] = world._nodes[address] = host
    host.endpoint.traversal.offers.hosts = (address,)


def notice(host: Host) -> None:
    host.endpoint.moving.move(everywhere, host.world.now)
    host.settle()


def move(two: Two, host: Host, number: int = 1, *, after_s: float = 0.0) -> None:
    """To a network of its own, from where nobody inside the last one is reached."""
    inside = (f"172.16.{number}.7", 8080)
    kind = "port-restricted-cone"
    two.lan.nats.add(Nat(f"198.51.100.{100 + number}", {inside[0]}, KINDS[kind], seed=number))
    host.facts = facts_of(kind)
    place(two, host, inside)
    two.world.run_for(after_s)
    notice(host)


def move_back(two: Two, host: Host, address: tuple[str, int]) -> None:
    place(two, host, address)
    notice(host)


def is_alone(two: Two) -> bool:
    """Whether each knows the other once."""
    return all(
        [peer.node_id for peer in one.endpoint.peers].count(other.id) == 1
        for one, other in ((two.a, two.b), (two.b, two.a))
    )


@pytest.mark.parametrize("by", ["address", "id"])
@pytest.mark.parametrize("who", ["a", "b"])
@pytest.mark.parametrize("seed", range(3))
def test_a_node_of_the_lan_moves_away(by: str, who: str, seed: int) -> None:
    two = Two(by, seed=seed)
    flows = two.flow(), two.flow(back=True)
    run_both(two, 1 + seed / 50, *flows)
    at = two.world.now
    move(two, getattr(two, who), after_s=0.2)
    run_both(two, 8, *flows)
    assert_they_went_on(flows, at)
    assert is_alone(two)
    assert ends(two.a) == ends(two.b) == []


@pytest.mark.parametrize("by", ["address", "id"])
@pytest.mark.parametrize("apart_s", [0.0, 0.3, 2.0])
def test_both_move_at_once(by: str, apart_s: float) -> None:
    for seed in range(3):
        two = Two(by, seed=seed)
        flows = two.flow(), two.flow(back=True)
        run_both(two, 1, *flows)
        move(two, two.a, 1)
        run_both(two, apart_s, *flows)
        at = two.world.now
        move(two, two.b, 2)
        run_both(two, 8, *flows)
        assert_they_went_on(flows, at)
        assert ends(two.a) == ends(two.b) == []


@pytest.mark.parametrize("by", ["address", "id"])
@pytest.mark.parametrize("who", ["a", "b"])
def test_it_moves_during_a_transfer(by: str, who: str) -> None:
    two = Two(by, options={"reliability": {"initial_rto_ms": 300}})
    payload = "x" * 400_000
    tokens = [
        (one, one.endpoint.send(seen(one, other), payload, two.world.now))
        for one, other in ((two.a, two.b), (two.b, two.a))
    ]
    two.a.settle()
    two.b.settle()
    two.world.run_for(0.004)
    assert not two.a.received()
    move(two, getattr(two, who))
    for host, token in tokens:
        assert host.outcome(token, 20).delivered
    assert two.a.received() == two.b.received() == [payload]


@pytest.mark.parametrize("by", ["address", "id"])
@pytest.mark.parametrize("away_s", [0.6, 3.0, 15.0, 70.0])
def test_it_moves_away_and_back(by: str, away_s: float) -> None:
    two = Two(by)
    home = two.a.address
    flows = two.flow(), two.flow(back=True)
    run_both(two, 1, *flows)
    at = two.world.now
    for number in (1, 2):
        move(two, two.a, number)
        run_both(two, away_s, *flows)
        move_back(two, two.a, home)
        run_both(two, 6, *flows)
    assert_they_went_on(flows, at)
    assert two.is_direct()
    assert is_alone(two)


def test_an_idle_pair_goes_on_by_itself() -> None:
    two = Two()
    move(two, two.a)
    two.world.run_for(GAP_S)
    token = two.b.endpoint.send(seen(two.b, two.a), "still there?", two.world.now)
    two.b.settle()
    two.world.run_for(1)
    assert two.b.outcomes[token].delivered
    assert ends(two.a) == ends(two.b) == []


def test_where_a_tenth_is_lost_each_message_arrives_once() -> None:
    for seed in range(6):
        two = Two(seed=seed, loss=0.05, options={"reliability": {"max_tries": 12}})
        flows = two.flow(), two.flow(back=True)
        run_both(two, 1, *flows)
        at = two.world.now
        move(two, two.a if seed % 2 else two.b)
        run_both(two, 6, *flows)
        assert_they_went_on(flows, at)


@pytest.mark.parametrize("by", ["address", "id"])
@pytest.mark.parametrize("slept_s", [5.0, 30.0])
def test_it_slept_meanwhile(by: str, slept_s: float) -> None:
    """Closed in one network, opened in another."""
    two = Two(by)
    flow = two.flow(back=True)
    flow.run(1)
    world, address = two.world, two.a.address
    world.network.detach(address)
    del world.hosts[address], world._nodes[address]
    flow.run(slept_s)
    world.hosts[address] = world._nodes[address] = two.a
    world.network.attach(address)
    at = world.now
    move(two, two.a)
    two.a.endpoint.moving.wake(slept_s, everywhere, world.now)
    two.a.settle()
    flow.run(8)
    flow.settle()
    assert flow.longest_gap_s(at) <= GAP_S
    ends_ = [two.b.outcomes[token] for token in flow.tokens]
    assert all(isinstance(end, SendResult) for end in ends_)
    arrived = [number for _, number in flow.arrived]
    assert len(set(arrived)) == len(arrived)
    delivered = {number for number, end in enumerate(ends_) if end.delivered}
    assert delivered <= set(arrived)
    assert delivered >= set(range(len(ends_) - 8 * 20, len(ends_)))  # all since it woke up


def close_lid(two: Two, seconds: float) -> None:
    """The first one's machine sleeps, and gives up earlier than the other one."""
    state = two.a.endpoint._state
    state.config = state.config.with_options(connection_timeout=25, heartbeat_interval=8)
    world, address = two.world, two.a.address
    world.network.detach(address)
    del world.hosts[address], world._nodes[address]
    world.run_for(seconds)
    world.hosts[address] = world._nodes[address] = two.a
    world.network.attach(address)


@pytest.mark.parametrize("by", ["address", "id"])
@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("times", [1, 2])
def test_what_a_move_takes_up_is_left_alone_by_the_end_of_a_sleep(
    by: str, moves: bool, times: int
) -> None:
    """It slept for longer than it is patient; first the move is noticed, and then the sleep."""
    two = Two(by)
    close_lid(two, 30)
    two.a.endpoint.moving.excuse(30, two.world.now)
    flow = two.flow(back=True)
    if moves:
        move(two, two.a)
    for _ in range(times):
        two.a.endpoint.moving.wake(30, everywhere, two.world.now)
        two.a.settle()
    flow.run(8)
    flow.settle()

    flow.assert_each_once()
    assert two.is_direct()
    assert ends(two.a) == ends(two.b) == []


def test_the_end_of_a_sleep_is_noticed_before_the_move() -> None:
    two = Two()
    close_lid(two, 30)
    two.a.endpoint.moving.wake(30, everywhere, two.world.now)
    two.a.settle()
    two.world.run_for(0.3)
    move(two, two.a)
    flow = two.flow(back=True)
    flow.run(8)
    flow.settle()

    flow.assert_each_once()
    assert ends(two.a) == ends(two.b) == []


@pytest.mark.parametrize("reachable", [True, False])
def test_another_node_has_its_address_in_the_new_network(reachable: bool) -> None:
    """As private addresses often are the same everywhere."""
    two = Two()
    flows = two.flow(), two.flow(back=True)
    run_both(two, 1, *flows)
    stranger_at = two.b.address
    move(two, two.b, 2)
    stranger = two.world.host(stranger_at) if reachable else two.world.puppet(stranger_at)
    at = two.world.now
    notice(two.a)
    run_both(two, 8, *flows)
    assert_they_went_on(flows, at)
    if isinstance(stranger, Host):
        assert not stranger.endpoint.peers.authenticated(two.a.id)
        assert stranger.received() == []


def test_who_has_its_address_in_the_new_network_cannot_say_to_be_it() -> None:
    """Node ids are no secret: the server lists them to everybody."""
    two = Two()
    flows = two.flow(), two.flow(back=True)
    run_both(two, 1, *flows)
    place_of_b = two.b.address
    move(two, two.b, 2)
    thief = two.world.puppet(place_of_b, node_id=two.b.id)
    notice(two.a)
    for _ in range(40):
        run_both(two, 0.1, *flows)
        for request in thief.take():
            if request["message_type"] == "HandshakeRequest":
                info = thief.handshake_request()["payload"]
                answer = {"node_info": info, "success": True, "error_message": None}
                number = request["sequence_number"]
                message = thief.spec_message(
                    "HandshakeResponse", answer | {"public_addr": None}, ack_for=number
                )
                thief.send(message, two.a)
    flows[0].settle(10, flows[1])
    for flow in flows:
        flow.assert_each_once()
    assert not any(b"Data" in data for data in thief.inbox)


@pytest.mark.parametrize("kind", ["not joined", "only one joined", "no relay"])
def test_without_a_server_in_common_it_is_told(kind: str) -> None:
    server = {"allow_symmetric_nat_relay": False} if kind == "no relay" else None
    two = Two(joined=kind != "not joined", server=server)
    if kind == "only one joined":
        at = two.b.peer(two.lan.server)
        assert at is not None
        two.b.endpoint.disconnect(at, "enough", two.world.now)
        two.b.settle()
    two.world.run_for(1)
    move(two, two.a)
    tokens = [
        (one, one.endpoint.send(peer, "lost", two.world.now))
        for one, other in ((two.a, two.b), (two.b, two.a))
        if (peer := one.endpoint.peers.with_id(other.id)) is not None
    ]
    two.a.settle()
    two.b.settle()
    two.world.run_for(70)
    for host, token in tokens:
        end = host.outcomes[token]
        assert not end.delivered
        assert end.reason
    for one, other in ((two.a, two.b), (two.b, two.a)):
        assert one.endpoint.peers.authenticated(other.id) is None
        assert next(e for e in ends(one) if e.node_id == other.id).reason


@pytest.mark.parametrize("seed", range(3))
def test_one_who_answers_at_its_address_is_asked_there(seed: int) -> None:
    """Its address is reached from everywhere: no server is needed."""
    two = Two(seed=seed)
    two.lan.nats._of_host.pop(two.b.address[0])
    flows = two.flow(), two.flow(back=True)
    run_both(two, 1, *flows)
    at = two.world.now
    move(two, two.a)
    run_both(two, 6, *flows)
    assert_they_went_on(flows, at)
    assert two.is_direct()


# Whom to believe.


def test_forged_answers_begin_nothing() -> None:
    two = Two()
    two.lan.nats._of_host.clear()
    move(two, two.a)
    liar = two.world.puppet()
    info = liar.handshake_request(id=two.b.id)["payload"]
    payload = {"node_info": info, "success": True, "error_message": None, "public_addr": None}
    before = seen(two.a, two.b).handshake_heard
    for ack_for in (None, 1, before, two.a.id):
        answer = liar.spec_message("HandshakeResponse", payload, ack_for=ack_for)
        two.a.endpoint.receive_datagram(json.dumps(answer).encode(), two.b.address, two.world.now)
        two.a.settle()
        assert seen(two.a, two.b).handshake_heard == before


def test_nothing_is_left_of_it() -> None:
    two = Two()
    move(two, two.a)
    two.world.run_for(15)
    two.a.endpoint.disconnect(seen(two.a, two.b), "enough", two.world.now)
    two.a.settle()
    two.world.run_for(90)
    for host in (two.a, two.b):
        sizes = host.endpoint.sizes()
        assert sizes["resumptions"] == sizes["relayed_sessions"] == sizes["relayed_nodes"] == 0


# A path over IPv6, from a socket beside the node's own.


def over_ipv6() -> Two:
    two = Two.__new__(Two)
    two.lan = Lan(2)
    two.world, (two.a, two.b) = two.lan.world, two.lan.nodes
    two.cut()  # by IPv4 they do not reach each other
    for host, address in ((two.a, "fd00::2"), (two.b, "fd00::3")):
        host.stand_beside((address, 8080))
    two.lan.connect_all()
    two.world.run_for(4)
    assert two.is_direct()
    assert all("#1" in peer.sends_to[0] for peer in two.peers)
    return two


@pytest.mark.parametrize("is_noticed", [True, False])
@pytest.mark.parametrize("who", ["a", "b"])
def test_a_path_over_ipv6_is_left_as_any_other(who: str, is_noticed: bool) -> None:
    two = over_ipv6()
    flows = two.flow(), two.flow(back=True)
    run_both(two, 1, *flows)
    at = two.world.now
    two.world.network.partition("fd00::2", "fd00::3")
    if is_noticed:
        move(two, getattr(two, who))
    run_both(two, 8, *flows)
    assert_they_went_on(flows, at)
    assert ends(two.a) == ends(two.b) == []
