"""Two nodes with keys: secured without being asked, and what becomes of that."""

import json

import pytest

from p2ptui.core.events import ConnectResult, SendStatus
from p2ptui.core.peers import Peer
from p2ptui.core.sealing import Mode
from p2ptui.errors import HandshakeError
from p2ptui.secure.identity import id_of
from p2ptui.secure.secret import Secret
from p2ptui.wire.message import Capability
from tests.core.secure.wiretap import Wiretap, two_secured
from tests.simulation import Host, World

SECRET = "nobody else reads this line"


def peer_of(host: Host, other: Host) -> Peer:
    peer = host.endpoint.peers.with_id(other.id)
    assert peer is not None
    return peer


@pytest.fixture
def world() -> World:
    return World()


def test_two_fresh_nodes_are_secured_and_no_text_is_on_the_wire(world: World) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    for host, to in ((one, other), (other, one)):
        assert peer_of(host, to).is_secured
        assert peer_of(host, to).proved
        assert host.outcome(host.send(to, SECRET)).delivered
        assert host.outcome(host.ping(to)).rtt_s < 0.1
    assert one.received() == other.received() == [SECRET]
    assert not tap.has(SECRET)
    # The request names who asks, as it always did; who answers is inside.
    assert not tap.has(other.endpoint.identity.name)
    in_clear = [one for one in tap.seen if not one.is_sealed]
    assert [one.data[:1] for one in in_clear] == [b"{", b"{", b"\xe1"]
    assert not one.endpoint.counters.drops
    assert not other.endpoint.counters.drops


def test_the_id_is_that_of_the_keys(world: World) -> None:
    one, other = two_secured(world)
    seal = peer_of(one, other).seal
    assert seal is not None
    assert id_of(seal.keys.x_public, seal.keys.ed_public) == other.id


def test_a_sealed_datagram_is_29_bytes_longer_and_a_handshake_fits(world: World) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    request, response, last = (each.data for each in tap.seen[:3])
    assert len(response) <= 3 * len(request)
    assert max(map(len, (request, response, last))) <= 1200
    before = len(tap.seen)
    peer = peer_of(one, other)
    one.endpoint.send(peer, 1, world.now, reliable=False)
    one.settle()
    assert len(tap.seen) == before + 1
    sealed = tap.seen[-1].data
    open_world = World()
    open_tap = Wiretap(open_world)
    a, b = open_world.host(), open_world.host()
    a.outcome(a.connect(b))
    open_world.run_for(1)
    a.send(b, 1, reliable=False)
    assert len(sealed) == len(open_tap.seen[-1].data) + 29


def test_the_longest_node_info_fits_an_answer(world: World) -> None:
    tap = Wiretap(world)
    one = world.host(keys=world.keys())
    other = world.host(
        keys=world.keys(),
        name="n" * 64,
        stun_server={"enable": True},
        traffic_forwarding={"allow_symmetric_nat_relay": True},
    )
    one.outcome(one.connect(other))
    response = next(one.data for one in tap.seen if b'"HandshakeResponse"' in one.data)
    assert len(response) <= 1200
    assert peer_of(one, other).capabilities >= {Capability.RELAY, Capability.RELAY_SEALED}


def test_large_messages_travel_in_sealed_fragments(world: World) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    text = SECRET * 4000
    assert one.outcome(one.send(other, text)).delivered
    assert other.received() == [text]
    assert not tap.has(SECRET)


@pytest.mark.parametrize("loss", [0.05, 0.1])
def test_loss_and_disorder_cost_nothing_but_time(loss: float) -> None:
    for seed in range(8):
        world = World(seed, loss=loss, jitter_s=0.03)
        one, other = world.host(keys=world.keys()), world.host(keys=world.keys())
        assert isinstance(one.outcome(one.connect(other, timeout_s=20)), ConnectResult)
        tokens = [one.send(other, number) for number in range(30)]
        statuses = {one.outcome(token).status for token in tokens}
        assert statuses == {SendStatus.DELIVERED}
        assert sorted(other.received()) == list(range(30))
        assert peer_of(one, other).is_secured


def meet_at_once(one: Host, other: Host) -> None:
    """Both ask at once, and there is one session, which is secured."""
    tokens = [(one, one.connect(other)), (other, other.connect(one))]
    for host, token in tokens:
        assert isinstance(host.outcome(token), ConnectResult)
    for host, to in ((one, other), (other, one)):
        assert host.outcome(host.send(to, "hello")).delivered
        assert peer_of(host, to).is_secured
    one.world.run_for(60)
    assert one.received() == other.received() == ["hello"]


def test_both_ask_at_once(world: World) -> None:
    one, other = world.host(keys=world.keys()), world.host(keys=world.keys())
    meet_at_once(one, other)


@pytest.mark.parametrize("asks", [0, 1])
def test_a_node_without_keys_is_served_in_the_open(world: World, asks: int) -> None:
    hosts = [world.host(), world.host(keys=world.keys())]
    one, other = hosts[asks], hosts[1 - asks]
    assert isinstance(one.outcome(one.connect(other)), ConnectResult)
    assert one.outcome(one.send(other, "hello")).delivered
    assert other.outcome(other.send(one, "hello")).delivered
    assert not peer_of(one, other).is_secured
    assert not peer_of(other, one).is_secured


def test_a_deployed_client_is_served_in_the_open(world: World) -> None:
    node, client = world.host(keys=world.keys()), world.puppet()
    answers = client.join(node)
    assert answers[0]["message_type"] == "HandshakeResponse"
    assert answers[0]["payload"]["success"]
    client.say("Data", "hello", node)
    world.run_for(1)
    assert node.received() == ["hello"]


def test_an_open_node_offers_nothing(world: World) -> None:
    tap = Wiretap(world)
    one, other = world.host(), world.host(keys=world.keys())
    one.outcome(one.connect(other))
    assert not any(b"exchange" in seen.data for seen in tap.seen)
    assert all(seen.data[:1] == b"{" for seen in tap.seen)


# The network key.

KEY = Secret(b"k" * 32)


def test_a_network_key_makes_a_session(world: World) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world, network_key=KEY)
    assert one.outcome(one.send(other, SECRET)).delivered
    assert not tap.has(SECRET)


@pytest.mark.parametrize("keys", [(KEY, None), (None, KEY), (KEY, Secret(b"x" * 32))])
def test_another_network_key_or_none_is_refused_in_one_clear_line(
    world: World, keys: tuple[Secret | None, Secret | None]
) -> None:
    one, other = (world.host(keys=world.keys(network_key=key)) for key in keys)
    outcome = one.outcome(one.connect(other))
    assert isinstance(outcome, HandshakeError)
    assert "network key" in str(outcome)
    world.run_for(10)
    assert not list(one.endpoint.peers)
    assert not list(other.endpoint.peers)
    assert not one.received()


def test_an_allowed_id_may_come_without_the_key(world: World) -> None:
    one = world.host(keys=world.keys())
    other = world.host(keys=world.keys(network_key=KEY, allowed_ids=frozenset({one.id})))
    assert isinstance(one.outcome(one.connect(other)), ConnectResult)
    assert one.outcome(one.send(other, "hello")).delivered
    third = world.host(keys=world.keys())
    third.connect(other)
    world.run_for(10)
    assert not [peer for peer in third.endpoint.peers if peer.is_authenticated]


def test_require_takes_nobody_in_the_open(world: World) -> None:
    strict = world.host(keys=world.keys(mode=Mode.REQUIRE))
    plain, client = world.host(), world.puppet()
    assert "security.mode" in str(plain.outcome(plain.connect(strict)))
    assert "security.mode" in str(strict.outcome(strict.connect(plain)))
    assert not client.join(strict)[0]["payload"]["success"]
    assert isinstance(strict.outcome(strict.connect(world.host(keys=world.keys()))), ConnectResult)


def test_who_is_judged_unfit_is_no_peer(world: World) -> None:
    one, other = world.host(keys=world.keys()), world.host(keys=world.keys())
    assert other.endpoint._state.seals is not None
    other.endpoint._state.seals.judge = lambda *_: "it is not the node of before"
    outcome = one.outcome(one.connect(other))
    world.run_for(5)
    assert isinstance(outcome, ConnectResult), "it learns of that after message 3"
    assert not list(one.endpoint.peers)
    assert not list(other.endpoint.peers)


def test_the_secret_of_a_network_is_in_no_repr(world: World) -> None:
    keys = world.keys(network_key=KEY)
    assert "kkkk" not in repr(keys)
    assert json.dumps(repr(keys))
