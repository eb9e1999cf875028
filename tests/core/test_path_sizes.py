"""Between whole nodes: what a path does not carry is found out, and everything arrives once."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from p2ptui.core.events import PathMtuChanged, SendStatus
from p2ptui.core.reliability.path_mtu import FLOOR_BYTES
from p2ptui.core.reliability.reassembly import _Partial
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.frames import PROBE, PROBE_ANSWER, RELAY_OVERHEAD, Unfragmented
from p2ptui.wire.message import OWN_CAPABILITIES, Capability
from tests.core.relaying import ask, relaying, say, seen
from tests.core.relaying import node as relay_node
from tests.simulation import Host, Puppet, World


def pair(seed: int = 0, **link: Any) -> tuple[World, Host, Host]:
    world = World(seed, **link)
    server, node = world.host(), world.host()
    node.outcome(node.connect(server))
    world.run_for(1)
    return world, server, node


def limit(world: World, source: Host, target: Host | Puppet, mtu: int | None, **link: Any) -> None:
    """From now on larger datagrams vanish on the way from `source` to `target`."""
    world.network.set_link(source.address, target.address, mtu=mtu, **link)


def path(host: Host, other: Host | Puppet) -> Any:
    peer = host.peer(other)
    assert peer is not None
    return peer.channel.sender.path


@pytest.mark.parametrize("mtu", [576, 972, 1072, 1100, 1140, 1168])
@pytest.mark.parametrize("back", [False, True])
def test_a_file_arrives_where_large_datagrams_vanish(mtu: int, back: bool) -> None:
    world, server, node = pair()
    limit(world, node, server, mtu)
    if back:
        limit(world, server, node, mtu)

    text = "x" * 700_000
    outcome = node.outcome(node.send(server, text))

    assert outcome.delivered
    assert server.received() == [text]
    world.run_for(10)
    assert path(node, server).size_bytes == mtu
    assert path(node, server).limit_bytes == mtu
    assert node.told(PathMtuChanged)[-1].size_bytes == mtu
    assert path(server, node).size_bytes == 1200  # nothing large went there


@pytest.mark.parametrize("mtu", [576, 1072, 1100])
def test_a_message_that_went_whole_goes_on_in_fragments_once(mtu: int) -> None:
    world, server, node = pair()
    limit(world, node, server, mtu)
    text = "x" * 950

    outcome = node.outcome(node.send(server, text))

    assert outcome.delivered
    assert server.received() == [text]
    world.run_for(60)
    assert server.received() == [text]
    # What follows leaves in fragments at once.
    began = world.now
    assert node.outcome(node.send(server, "y" * 950)).attempts == 1
    assert world.now - began < 0.1


@pytest.mark.parametrize("seed", range(4))
def test_what_is_under_way_when_the_path_shrinks_arrives_once(seed: int) -> None:
    """Fragments and whole messages were cut for the path of before."""
    world, server, node = pair(seed, latency_s=0.03)
    rng = random.Random(seed)
    texts = [f"{n} " + "x" * rng.choice((10, 700, 950, 3000, 90_000)) for n in range(60)]
    tokens = [node.send(server, text) for text in texts[:40]]
    world.run_for(rng.uniform(0.0, 0.4))

    limit(world, node, server, 1000)
    world.run_for(rng.uniform(0.0, 1.0))
    tokens += [node.send(server, text) for text in texts[40:]]
    outcomes = [node.outcome(token) for token in tokens]

    assert [outcome.status for outcome in outcomes] == [SendStatus.DELIVERED] * 60
    assert sorted(server.received()) == sorted(texts)
    world.run_for(60)
    assert len(server.received()) == 60
    assert path(node, server).size_bytes == 1000


@pytest.mark.parametrize("seed", range(12))
def test_messages_arrive_once_whatever_the_path_becomes(seed: int) -> None:
    """In both directions sizes change at any moment, and some of everything is lost."""
    world, server, node = pair(seed, latency_s=0.02, loss=0.02, duplication=0.02, reorder=0.05)
    rng = random.Random(seed)
    sent: dict[Host, list[tuple[int, str]]] = {server: [], node: []}
    for number in range(50):
        source, target = rng.choice(((server, node), (node, server)))
        text = f"{number} " + "x" * rng.choice((20, 600, 900, 1000, 5000, 60_000, 300_000))
        sent[source].append((source.send(target, text), text))
        if rng.random() < 0.4:
            ways = rng.choice((((source, target),), ((source, target), (target, source))))
            mtu = rng.choice((560, 800, 1000, 1180, 1200, 1472, 9000, None))
            for one, other in ways:
                limit(world, one, other, mtu, loss=0.02)
        world.run_for(rng.uniform(0.0, 3.0))

    for source, target in ((server, node), (node, server)):
        for token, _ in sent[source]:
            assert source.outcome(token, 300).delivered
        assert sorted(target.received()) == sorted(text for _, text in sent[source])
    world.run_for(60)
    assert len(server.received()) + len(node.received()) == 50


@pytest.mark.parametrize("seed", range(20))
def test_loss_by_chance_makes_no_path_smaller(seed: int) -> None:
    world, server, node = pair(seed, loss=0.1)
    for number in range(60):
        node.send(server, f"{number} " + "x" * 950)
        world.run_for(0.5)
    outcome = node.outcome(node.send(server, "x" * 400_000))
    world.run_for(10)

    assert outcome.delivered
    assert path(node, server).size_bytes >= 1200
    assert path(node, server).limit_bytes is None
    assert all(told.limit_bytes is None for told in node.told(PathMtuChanged))


def test_nothing_is_cut_while_nothing_passes_at_all() -> None:
    world, server, node = pair()
    node.send(server, "x" * 300_000)
    world.run_for(0.05)
    world.network.partition(node.address, server.address)
    world.run_for(8)
    world.network.heal(node.address, server.address)
    world.run_for(60)

    assert len(server.received()) == 1
    assert path(node, server).limit_bytes is None
    assert path(node, server).size_bytes >= 1200


@pytest.mark.parametrize(
    ("mtu", "size"), [(1200, 1200), (1300, 1252), (1412, 1412), (1472, 1472), (9000, 8972)]
)
def test_a_larger_path_is_found_and_used(mtu: int, size: int) -> None:
    world, server, node = pair(mtu=mtu)
    tokens = [node.send(server, "x" * 500_000) for _ in range(4)]

    assert all(node.outcome(token).delivered for token in tokens)
    world.run_for(2)
    assert path(node, server).size_bytes == size
    before = world.network.counters().sent
    assert node.outcome(node.send(server, "x" * 500_000)).delivered
    # A report for every second fragment.
    assert world.network.counters().sent - before < 1.6 * 500_000 / (size - 15)
    # There is no black hole: nothing that data needs is larger.
    assert path(node, server).limit_bytes is None


def test_little_to_send_is_no_reason_to_probe() -> None:
    _, server, node = pair(mtu=9000)
    for _ in range(50):
        assert node.outcome(node.send(server, "x" * 900)).delivered

    assert path(node, server).size_bytes == 1200


def test_a_ceiling_keeps_datagrams_small() -> None:
    world = World(mtu=1200)
    server, node = world.host(), world.host(datagram_ceiling=1200)
    node.outcome(node.connect(server))

    assert node.outcome(node.send(server, "x" * 900_000)).delivered
    assert world.network.counters().dropped_mtu == 0


def test_larger_sizes_are_tried_only_whole() -> None:
    """Routers that cut datagrams make no path larger."""
    world, server, node = pair(mtu=9000, uncut_mtu=1412)

    assert node.outcome(node.send(server, "x" * 900_000)).delivered
    world.run_for(2)
    assert path(node, server).size_bytes == 1412


def test_a_path_that_grew_and_shrinks_falls_back() -> None:
    world, server, node = pair(mtu=9000)
    assert node.outcome(node.send(server, "x" * 900_000)).delivered
    world.run_for(1)
    assert path(node, server).size_bytes == 8972
    limit(world, node, server, 1472)

    assert node.outcome(node.send(server, "x" * 900_000)).delivered
    world.run_for(5)
    assert path(node, server).size_bytes == 1472


def test_another_way_begins_anew() -> None:
    world, server, node = pair()
    limit(world, node, server, 900)
    assert node.outcome(node.send(server, "x" * 5000)).delivered
    world.run_for(10)
    assert path(node, server).size_bytes == 900

    peer = node.peer(server)
    assert peer is not None
    peer.channel.sender.expire(world.now)
    assert path(node, server).size_bytes == 1200
    assert path(node, server).limit_bytes is None


# Programs that take no fragments.


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Host]:
    """Make a host that announces some extensions less."""

    def make(world: World, *missing: str) -> Host:
        mine = [each for each in OWN_CAPABILITIES if each not in missing]
        with monkeypatch.context() as patch:
            patch.setattr("tests.simulation.own_capabilities", lambda _config: tuple(mine))
            return world.host()

    return make


def test_who_takes_only_whole_datagrams_gets_none_that_vanish_and_the_sender_is_told_the_size(
    without: Callable[..., Host],
) -> None:
    world = World()
    server = without(world, Capability.FRAGMENTS, Capability.PATH_PROBE, Capability.RETRANSMIT)
    node = world.host()
    node.outcome(node.connect(server))
    limit(world, node, server, 1072)

    assert node.outcome(node.send(server, "x" * 500)).delivered
    outcome = node.outcome(node.send(server, "x" * 5000))

    assert outcome.status is SendStatus.TIMED_OUT
    assert path(node, server).is_settled
    where = format_address(server.address)
    assert outcome.reason == (
        f"no acknowledgement after 6 tries: datagrams above 1072 bytes do not pass to {where}"
    )
    assert path(node, server).size_bytes == 1072
    assert node.told(PathMtuChanged)[-1].words.startswith("datagrams above 1072 bytes do not pass")
    assert node.outcome(node.send(server, "x" * 800)).delivered


def test_who_takes_only_whole_datagrams_still_gets_large_ones(without: Callable[..., Host]) -> None:
    world = World(loss=0.1)
    server = without(world, Capability.FRAGMENTS, Capability.PATH_PROBE, Capability.RETRANSMIT)
    node = world.host()
    node.outcome(node.connect(server))

    outcomes = [node.outcome(node.send(server, "x" * 60_000)) for _ in range(30)]

    assert all(outcome.delivered for outcome in outcomes)
    assert path(node, server).limit_bytes is None


def test_a_path_too_small_for_anything_is_named() -> None:
    world, server, node = pair()
    limit(world, node, server, 420)

    outcome = node.outcome(node.send(server, "x" * 5000), 600)

    assert outcome.status is SendStatus.TIMED_OUT
    assert outcome.reason.endswith(
        f"datagrams above 420 bytes do not pass to {format_address(server.address)}"
    )
    assert path(node, server).size_bytes == FLOOR_BYTES
    assert node.outcome(node.send(server, "small")).delivered


@pytest.mark.parametrize("seed", range(4))
def test_a_node_of_an_earlier_release_forgets_the_pieces_before_it_gets_others(
    without: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(_Partial, "is_recut_by", lambda *_: False)
    world = World(seed)
    server, node = without(world, Capability.PATH_PROBE), world.host()
    node.outcome(node.connect(server))
    texts = [f"{n} " + "x" * 100_000 for n in range(8)]
    tokens = [node.send(server, text) for text in texts]
    world.run_for(0.05)
    limit(world, node, server, 1000)

    assert all(node.outcome(token).delivered for token in tokens)
    assert sorted(server.received()) == texts
    world.run_for(60)
    assert len(server.received()) == 8


def test_of_who_never_acknowledges_the_size_that_passes_is_found_out_by_pings() -> None:
    world = World()
    node, puppet = world.host(), world.puppet()
    puppet.join(node)
    peer = node.peer(puppet)
    assert peer is not None
    peer.proved = True
    limit(world, node, puppet, 600)

    first = node.outcome(node.send(puppet, "x" * 1000))
    world.run_for(40)  # its round trip is not known
    later = node.outcome(node.send(puppet, "x" * 1000))

    assert first.status is later.status is SendStatus.UNCONFIRMED
    assert first.reason == "the peer never acknowledges"
    where = format_address(puppet.address)
    words = f"datagrams above 600 bytes do not pass to {where}"
    assert later.reason == f"the peer never acknowledges: {words}"
    assert [told.limit_bytes for told in node.told(PathMtuChanged)] == [600]
    assert path(node, puppet).is_settled


def test_who_never_acknowledges_is_asked_once_of_each_size() -> None:
    world = World()
    node, puppet = world.host(), world.puppet()
    puppet.join(node)
    peer = node.peer(puppet)
    assert peer is not None
    peer.proved = True
    bytes_before = puppet.bytes_received
    for _ in range(10):
        node.send(puppet, "x" * 30_000)
        world.run_for(1)

    assert puppet.bytes_received - bytes_before < 10 * 30_300 + 2048 + 400
    assert path(node, puppet).limit_bytes is None


# Probes on the wire.


def test_only_who_announced_it_gets_a_probe_frame_and_its_answer_is_short() -> None:
    world, server, node = pair()
    seen: list[bytes] = []
    send = world.network.send

    def spy(data: bytes, *arguments: Any, **options: Any) -> None:
        seen.append(data)
        send(data, *arguments, **options)

    world.network.send = spy  # type: ignore[method-assign]
    assert node.outcome(node.send(server, "x" * 900_000)).delivered

    probes = [data for data in seen if data[0] == PROBE]
    assert 1 <= len(probes) <= 6
    assert all(type(probe) is Unfragmented for probe in probes)
    assert {len(data) for data in seen if data[0] == PROBE_ANSWER} == {9}


def test_forged_answers_and_probes_change_nothing() -> None:
    world, server, node = pair(mtu=1200)
    node.send(server, "x" * 900_000)
    sent = world.network.counters().sent
    for number in range(200):
        world.network.send(
            bytes((PROBE_ANSWER,)) + bytes((number,)) * 8, server.address, node.address, world.now
        )
    world.run_for(5)

    assert path(node, server).size_bytes == 1200
    assert world.network.counters().sent - sent > 200
    assert len(server.received()) == 1


def test_who_has_not_proved_its_address_gets_no_answer_to_a_probe() -> None:
    world = World()
    server, puppet = world.host(), world.puppet()
    puppet.answers_pings = False
    payload = puppet.handshake_request(capabilities=list(OWN_CAPABILITIES))["payload"]
    request = puppet.spec_message("HandshakeRequest", payload, requires_ack=True)
    puppet.send(request | {"sequence_number": 100}, server)
    world.run_for(0.1)
    puppet.inbox.clear()

    puppet.send(bytes((PROBE,)) + bytes(1400), server)
    world.run_for(0.1)

    assert not [data for data in puppet.inbox if data[0] == PROBE_ANSWER]


def test_what_the_own_system_refuses_is_believed_at_once() -> None:
    world, server, node = pair()
    peer = node.peer(server)
    assert peer is not None
    node.send(server, "x" * 900_000)
    node.endpoint.path_probes.handle_refused(server.address, 1472, world.now)
    world.run_for(2)
    assert path(node, server).size_bytes == 1464

    node.endpoint.path_probes.handle_refused(server.address, 1100, world.now)
    assert path(node, server).size_bytes == 1099
    assert len(server.received()) == 1


# By way of a server.


@pytest.fixture
def relayed() -> tuple[World, Host, Host, Host]:
    """Two nodes that reach each other by a server only."""
    world = World()
    server = relaying(world, max_relay_rate_per_client=100_000_000, buffer_size=10_000_000)
    one, other = relay_node(world, server), relay_node(world, server)
    one.outcome(ask(one, server, other))
    return world, server, one, other


@pytest.mark.parametrize("leg", ["first", "second"])
def test_a_relayed_path_is_as_small_as_its_smaller_leg(
    relayed: tuple[World, Host, Host, Host], leg: str
) -> None:
    world, server, one, other = relayed
    source, target = (one, server) if leg == "first" else (server, other)
    limit(world, source, target, 1000)
    texts = ["x" * 950, "y" * 200_000]

    tokens = [say(one, other, text) for text in texts]

    assert all(one.outcome(token).delivered for token in tokens)
    assert sorted(other.received()) == texts
    world.run_for(10)
    assert seen(one, other).channel.sender.path.size_bytes == 1000 - RELAY_OVERHEAD
    # Its own messages to the server are small: nothing is known of that way.
    assert path(one, server).size_bytes == 1200


def test_a_relayed_path_grows_to_what_neither_leg_cuts(
    relayed: tuple[World, Host, Host, Host],
) -> None:
    world, server, one, other = relayed
    world.network.set_link(server.address, other.address, uncut_mtu=1472)
    world.network.set_link(one.address, server.address, uncut_mtu=9000)

    tokens = [say(one, other, "x" * 400_000) for _ in range(3)]

    assert all(one.outcome(token).delivered for token in tokens)
    world.run_for(3)
    assert seen(one, other).channel.sender.path.size_bytes == 1452


# Lists.


def test_lists_for_a_peer_fit_its_path() -> None:
    world, server, node = pair()
    for _ in range(20):
        world.puppet().join(server)
    limit(world, server, node, 700)
    server.outcome(server.send(node, "x" * 5000))
    world.run_for(10)
    sizes: list[int] = []
    send = world.network.send

    def spy(data: bytes, source: Address, *arguments: Any, **options: Any) -> None:
        if source == server.address:
            sizes.append(len(data))
        send(data, source, *arguments, **options)

    world.network.send = spy  # type: ignore[method-assign]
    peer = node.peer(server)
    assert peer is not None
    token = node.endpoint.list_nodes(peer, world.now, 10)
    node.settle()

    listed = node.outcome(token)
    assert listed.complete
    assert len(listed.nodes) >= 20
    assert max(sizes) <= 700


def test_an_offer_that_is_too_large_for_the_way_from_the_server_arrives() -> None:
    world = World()
    server = relaying(world)
    one, other = (relay_node(world, server, ice={"enable": True}) for _ in range(2))
    # As many addresses as a machine with container bridges has.
    one.endpoint.traversal.offers.hosts = tuple((f"10.200.{n}.77", 54321) for n in range(16))
    limit(world, server, other, 700)

    assert one.outcome(ask(one, server, other), 20).node_id == other.id
    world.run_for(20)
    assert path(server, other).size_bytes == 700
    assert seen(one, other).path is not None


@pytest.mark.parametrize("mtu", [900, 1472])
def test_a_message_under_way_goes_on_in_a_new_session(mtu: int) -> None:
    """The receiver still has pieces, of another size than a new path begins with."""
    world, server, node = pair(mtu=mtu, latency_s=0.05)
    assert node.outcome(node.send(server, "x" * 600_000)).delivered
    world.run_for(10)
    assert path(node, server).size_bytes == mtu
    token = node.send(server, "y" * 900_000)
    world.run_for(0.3)

    peer = node.peer(server)
    assert peer is not None
    node.endpoint._handshake.reconnect(peer, world.now, "it seemed to be gone")
    node.settle()

    assert node.outcome(token, 20).delivered
    assert [len(text) for text in server.received()] == [600_000, 900_000]
