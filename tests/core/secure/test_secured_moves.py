"""Secured sessions go on: at other addresses, after a restart, and with new keys."""

import math

import pytest

from p2ptui.core.events import SendStatus
from p2ptui.core.secure.roaming import AGAIN_S
from p2ptui.secure.transport import REKEY_AFTER_S
from tests.core.secure.test_secured_nodes import peer_of
from tests.core.secure.wiretap import Seen, Wiretap, agree_on_new_keys, two_secured
from tests.simulation import Host, World


@pytest.fixture
def world() -> World:
    return World()


def restart(world: World, host: Host) -> Host:
    """The same node at the same address, which remembers nothing."""
    keys = host.endpoint._state.seals
    assert keys is not None
    world.remove(host)
    return world.host(host.address, keys=keys.keys, name=host.endpoint.config.server.name)


# Roaming.


@pytest.mark.parametrize("who", [0, 1], ids=["who asked", "who answered"])
def test_a_session_follows_its_other_end(world: World, who: int) -> None:
    hosts = two_secured(world)
    one, other = hosts[who], hosts[1 - who]
    peer = peer_of(other, one)
    world.move(one)
    token = one.send(other, "here")
    assert one.outcome(token, within=2.0).delivered
    began = world.now
    assert other.endpoint.peers.with_id(one.id) is peer
    back = other.endpoint.send(peer, "hello", world.now)
    other.settle()
    assert other.outcome(back, within=2.0).delivered
    assert world.now - began < 2.0
    assert peer.sends_to == one.address
    assert (one.received(), other.received()) == (["hello"], ["here"])


def test_300_messages_each_way_come_once_over_three_moves(world: World) -> None:
    one, other = two_secured(world)
    tokens: list[tuple[Host, int]] = []
    for number in range(300):
        for host, to in ((one, other), (other, one)):
            peer = peer_of(host, to)
            tokens.append((host, host.endpoint.send(peer, number, world.now)))
            host.settle()
        world.run_for(0.05)
        if number in (70, 150, 230):
            world.move(one)
    for host, token in tokens:
        assert host.outcome(token).status is SendStatus.DELIVERED
    assert sorted(one.received()) == sorted(other.received()) == list(range(300))
    assert peer_of(other, one).address == one.address


def test_the_new_address_is_sent_no_more_than_it_pays_for_before_it_answers(world: World) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    peer, victim = peer_of(other, one), ("10.9.9.9", 99)
    began = len(tap.seen)
    held: list[Seen] = []

    def hold(seen: Seen) -> bytes | None:
        if seen.source != one.address or not seen.is_sealed:
            return seen.data
        held.append(seen)
        return None

    tap.rules.append(hold)
    for number in range(20):
        one.endpoint.send(peer_of(one, other), number, world.now, reliable=False)
        one.settle()
    came = 0
    for seen in held:
        tap.inject(seen.data, victim, other)
        came += len(seen.data)
        world.run_for(AGAIN_S / 3)
    world.run_for(1)
    went = [seen.data for seen in tap.seen[began:] if seen.to == victim]
    assert went
    assert sum(map(len, went)) <= 3 * came
    assert peer.sends_to == one.address, "nobody at the new address has answered"
    assert sorted(other.received()) == list(range(20)), "they are its own"


def test_the_others_are_told_where_it_is_now(world: World) -> None:
    one, server = two_secured(world)
    third = world.host(keys=world.keys())
    third.outcome(third.connect(server))
    world.run_for(1)
    world.move(one)
    one.outcome(one.ping(server))
    world.run_for(3)
    assert peer_of(server, one).address == one.address
    known = third.endpoint.naming, third.events
    text = repr(known[1])
    assert f"{one.address[0]}:{one.address[1]}" in text


# Restarts.


@pytest.mark.parametrize("who", [0, 1], ids=["who asked", "who answered"])
def test_a_restarted_node_is_back_within_three_seconds(world: World, who: int) -> None:
    hosts = list(two_secured(world))
    hosts[who] = restart(world, hosts[who])
    stays, again = hosts[1 - who], hosts[who]
    began = world.now
    token = stays.send(again, "are you there?")
    assert stays.outcome(token, within=3.0).delivered
    assert world.now - began < 3.0
    assert again.received() == ["are you there?"]
    assert again.outcome(again.send(stays, "yes")).delivered
    assert peer_of(stays, again).is_secured


def test_a_false_unknown_session_ends_nothing(world: World) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    one.outcome(one.ping(other))
    peer, session = peer_of(one, other), peer_of(one, other).seal
    began, keys = len(tap.seen), session.session.current if session else None
    for _ in range(50):
        frame = [seen for seen in tap.between(one, other) if seen.is_sealed][-1].data
        tap.inject(b"\xe2" + frame[1:13], other.address, one)
        world.run_for(0.1)
    world.run_for(5)
    assert peer_of(one, other) is peer
    assert peer.seal is not None
    assert peer.seal.session.current is keys
    assert not any(seen.data[:1] == b"{" for seen in tap.seen[began:]), "it was asked under seal"
    assert one.outcome(one.send(other, "hello")).delivered


def test_unknown_sessions_are_told_within_what_pays_for_it(world: World) -> None:
    tap = Wiretap(world)
    node = world.host(keys=world.keys())
    stranger = world.puppet()
    for number in range(200):
        stranger.send(b"\xe0" + number.to_bytes(4, "big") + bytes(60), node)
    world.run_for(1)
    told = [seen.data for seen in tap.seen if seen.to == stranger.address]
    assert told
    assert {len(data) for data in told} == {13}
    assert sum(map(len, told)) < stranger.bytes_sent


# New keys.


def test_new_keys_in_time_and_nothing_lost_or_doubled(world: World) -> None:
    one, other = two_secured(world)
    seals = [peer_of(one, other).seal, peer_of(other, one).seal]
    before = [seal.session.current for seal in seals if seal is not None]
    tokens = []
    for number in range(math.ceil(REKEY_AFTER_S / 10) + 10):
        tokens.append(one.send(other, number))
        tokens.append(other.send(one, number))
        world.run_for(10)
    after = [seal.session.current for seal in seals if seal is not None]
    assert all(new is not old for new, old in zip(after, before, strict=True))
    assert after[0].keys.send == after[1].keys.receive
    assert after[0].began_at - before[0].began_at < 900
    count = len(tokens) // 2
    for token in tokens[::2]:
        assert one.outcome(token).delivered
    for token in tokens[1::2]:
        assert other.outcome(token).delivered
    assert one.received() == other.received() == list(range(count))
    assert one.endpoint.counters.handshakes_accepted == 0, "all within the session"


@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_new_keys_over_a_bad_path(seed: int, crossed: bool) -> None:
    world = World(seed, loss=0.15, jitter_s=0.05)
    one, other = two_secured(world)
    seals = [peer_of(one, other).seal, peer_of(other, one).seal]
    before = [seal.session.current for seal in seals if seal is not None]
    for host, to in ((one, other), (other, one))[: 1 + crossed]:
        agree_on_new_keys(host, to)
    tokens = [one.send(other, number) for number in range(50)]
    world.run_for(30)
    assert sum(one.outcome(token).delivered for token in tokens) >= 49
    assert len(other.received()) == len(set(other.received()))
    after = [seal.session.current for seal in seals if seal is not None]
    assert all(new is not old for new, old in zip(after, before, strict=True))
    assert after[0].keys.send == after[1].keys.receive


@pytest.mark.parametrize("later_s", [0.0, 1.0, 20.0])
def test_a_goodbye_that_was_lost_leaves_no_keys_behind(world: World, later_s: float) -> None:
    """Who has said goodbye opens nothing more, and says so: the other side comes back."""
    tap = Wiretap(world)
    one, other = two_secured(world)
    other.outcome(other.ping(one))
    tap.rules.append(lambda seen: None if seen.source == other.address else seen.data)
    other.endpoint.disconnect(peer_of(other, one), "leaving", world.now)
    other.settle()
    world.run_for(later_s)
    tap.rules.clear()
    token = one.send(other, "are you there?")
    assert one.outcome(token, within=3.0).delivered
    assert peer_of(other, one).is_secured
