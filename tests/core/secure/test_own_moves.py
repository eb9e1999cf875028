"""A node's own machine moves: its secured peers are told under seal, and no session ends."""

import random
from collections.abc import Callable

import pytest

from p2ptui.core.events import PeerStatus, PeerStatusChanged
from p2ptui.core.secure.own_moves import FIRST_PAUSE_S, PAUSE_GROWTH, TOLD_AT_ONCE, TRIES
from p2ptui.wire.address import Address
from tests.core.relaying import ask, node, relaying, say, seen
from tests.core.secure.test_secured_nodes import peer_of
from tests.core.secure.wiretap import Seen, Wiretap, two_secured
from tests.simulation import Host, World

ROUND_TRIP_S = 0.02
BACK_S = 2.0


@pytest.fixture
def world() -> World:
    return World(secured=True)


def everywhere(_address: object) -> bool:
    return True


def notice(host: Host) -> int:
    """The watcher of the machine tells the node."""
    count = host.endpoint.moving.move(everywhere, host.world.now)
    host.settle()
    return count


def move(host: Host) -> int:
    """Another address, which the node notices."""
    host.world.move(host)
    return notice(host)


def move_to(host: Host, address: Address) -> None:
    """A certain address, which the node notices."""
    world = host.world
    world.network.detach(host.address)
    del world.hosts[host.address], world._nodes[host.address]
    host.address = world.network.attach(address)
    world.hosts[address] = world._nodes[address] = host
    notice(host)


def is_here(seen_by: Host, host: Host) -> bool:
    """Whether a node sends another one's datagrams to where that is."""
    peer = seen_by.endpoint.peers.with_id(host.id)
    return peer is not None and peer.is_authenticated and peer.sends_to == host.address


def tell_both(hosts: tuple[Host, Host], number: int) -> list[tuple[Host, int]]:
    """Each sends the other a message, wherever that is; the calls."""
    tokens = []
    for host, to in (hosts, hosts[::-1]):
        peer = peer_of(host, to)
        tokens.append((host, host.endpoint.send(peer, number, host.world.now)))
        host.settle()
    return tokens


def exchange(
    hosts: tuple[Host, Host], count: int, pause_s: float, meanwhile: Callable[[int], None]
) -> None:
    """Each sends the other so many messages; all come once."""
    tokens: list[tuple[Host, int]] = []
    for number in range(count):
        tokens += tell_both(hosts, number)
        hosts[0].world.run_for(pause_s)
        meanwhile(number)
    for host, token in tokens:
        assert host.outcome(token).delivered
    for host in hosts:
        assert sorted(host.received()) == list(range(count))


@pytest.mark.parametrize("who", [0, 1], ids=["who asked", "who answered"])
def test_a_peer_is_told_at_once_and_nothing_begins_anew(world: World, who: int) -> None:
    tap = Wiretap(world)
    hosts = two_secured(world)
    mover, other = hosts[who], hosts[1 - who]
    session = peer_of(mover, other).seal
    assert session is not None
    keys, began, told = session.session.current, len(tap.seen), len(mover.told(PeerStatusChanged))
    assert move(mover) == 1
    world.run_for(2 * ROUND_TRIP_S)
    assert is_here(other, mover), "nobody has said anything"
    assert all(seen.is_sealed for seen in tap.seen[began:]), "no handshake"
    assert session.session.current is keys
    (event,) = mover.told(PeerStatusChanged)[told:]
    assert event.status is PeerStatus.AUTHENTICATED
    assert "changed" in event.reason
    token = other.endpoint.send(peer_of(other, mover), "hello", world.now)
    other.settle()
    assert other.outcome(token, within=2 * ROUND_TRIP_S).delivered


def test_the_node_learns_where_it_is_seen_now(world: World) -> None:
    one, other = two_secured(world)
    assert peer_of(one, other).public_address == one.address
    move(one)
    world.run_for(2 * ROUND_TRIP_S)
    assert peer_of(one, other).public_address == one.address


@pytest.mark.parametrize("seed", range(5))
def test_it_learns_as_much_if_its_nat_alone_has_changed(seed: int) -> None:
    world = World(seed, secured=True, loss=0.05)
    hosts = two_secured(world)
    for _ in range(4):
        world.move(hosts[0])
        token = hosts[0].send(hosts[1], "here")
        assert hosts[0].outcome(token).delivered
        world.run_for(2)
        assert peer_of(*hosts).public_address == hosts[0].address


def test_all_peers_are_told_whoever_asked_for_the_session(world: World) -> None:
    server = world.host(max_connections=200)
    clients = [world.host() for _ in range(TOLD_AT_ONCE + 40)]
    for client in clients:
        client.outcome(client.connect(server))
    world.run_for(1)
    assert all(is_here(server, client) and is_here(client, server) for client in clients)
    assert move(server) == len(clients)
    world.run_for(0.2)
    assert all(is_here(client, server) for client in clients)


def test_a_silent_peer_that_came_by_itself_is_not_told(world: World) -> None:
    tap = Wiretap(world)
    client, server = two_secured(world)
    tap.rules.append(lambda seen: None if seen.source == client.address else seen.data)
    for _ in range(4):
        server.endpoint.ping(peer_of(server, client), world.now, 1.0)
        server.settle()
        world.run_for(1)
    assert peer_of(server, client).is_silent(world.now)
    began = len(tap.seen)
    move(server)
    world.run_for(1)
    sealed = [one for one in tap.seen[began:] if one.to == client.address]
    assert len(sealed) <= TRIES


def test_what_is_told_is_bounded_and_then_a_new_session_is_asked_for(world: World) -> None:
    tap = Wiretap(world)
    one, other = two_secured(world)
    tap.rules.append(lambda seen: None if seen.is_sealed else seen.data)
    began = len(tap.seen)
    move(one)
    all_s = FIRST_PAUSE_S * (PAUSE_GROWTH**TRIES - 1) / (PAUSE_GROWTH - 1)
    assert all_s < BACK_S
    world.run_for(all_s - 0.01)
    told = [seen for seen in tap.seen[began:] if seen.source == one.address]
    assert len(told) == TRIES
    tap.rules.clear()
    world.run_for(1)
    assert is_here(other, one)
    assert peer_of(other, one).is_secured


def test_a_node_that_was_told_may_have_been_restarted(world: World) -> None:
    one, other = two_secured(world)
    world.remove(other)
    again = world.host(other.address, keys=other.endpoint._state.seals.keys)  # type: ignore[union-attr]
    move(one)
    token = one.send(again, "hello")
    assert one.outcome(token, within=3.0).delivered
    assert again.received() == ["hello"]


# Nothing is lost, and nothing comes twice.


@pytest.mark.parametrize("who", [0, 1], ids=["who asked", "who answered"])
def test_messages_under_way_over_moves(world: World, who: int) -> None:
    hosts = two_secured(world)

    def meanwhile(number: int) -> None:
        if number % 60 == 30:
            move(hosts[who])

    exchange(hosts, 300, 0.02, meanwhile)


@pytest.mark.parametrize("at", range(12))
@pytest.mark.parametrize("who", [0, 1], ids=["who sends", "who receives"])
def test_a_move_in_the_middle_of_a_large_message(at: int, who: int) -> None:
    world = World(secured=True, loss=0.02)
    hosts = two_secured(world)
    text = "x" * 60_000
    token = hosts[0].send(hosts[1], text)
    world.run_for(0.01 * at)
    move(hosts[who])
    assert hosts[0].outcome(token).delivered
    assert hosts[1].received() == [text]


@pytest.mark.parametrize("noticed", [True, False])
@pytest.mark.parametrize("begins", [0, 1])
@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("at", range(8))
def test_a_move_in_the_middle_of_new_keys(at: int, who: int, begins: int, noticed: bool) -> None:
    world = World(secured=True)
    hosts = two_secured(world)
    rules = hosts[begins].endpoint._mobility.clear
    assert rules is not None
    rules.opening._inside._rekeying.begin(peer_of(hosts[begins], hosts[1 - begins]), world.now)
    hosts[begins].settle()
    world.run_for(0.005 * at)
    world.move(hosts[who])
    if noticed:
        notice(hosts[who])
    moved = world.now
    tokens = tell_both(hosts, 1)
    for host, token in tokens:
        assert host.outcome(token, within=BACK_S).delivered
    assert world.now - moved < BACK_S
    world.run_for(15)
    seals = [peer_of(hosts[0], hosts[1]).seal, peer_of(hosts[1], hosts[0]).seal]
    keys = [seal.session.current.keys for seal in seals if seal is not None]
    assert keys[0].send == keys[1].receive
    for host, token in tell_both(hosts, 2):
        assert host.outcome(token, within=1.0).delivered
    assert hosts[0].received() == hosts[1].received() == [1, 2]


@pytest.mark.parametrize("noticed", [True, False])
@pytest.mark.parametrize("at", range(10))
def test_a_move_in_the_middle_of_a_handshake(at: int, noticed: bool) -> None:
    world = World(secured=True)
    one, other = world.host(), world.host()
    call = one.connect(other)
    world.run_for(0.005 * at)
    world.move(one)
    if noticed:
        notice(one)
    moved = world.now
    world.run_until(lambda: call in one.outcomes and is_here(one, other), BACK_S)
    token = one.endpoint.send(peer_of(one, other), "hello", world.now)
    one.settle()
    assert one.outcome(token, within=BACK_S).delivered
    assert world.now - moved < 2 * BACK_S
    assert other.received() == ["hello"]
    world.run_for(1)
    assert is_here(other, one)


@pytest.mark.parametrize("noticed", [True, False])
def test_a_move_before_the_last_message_of_a_handshake(noticed: bool) -> None:
    world = World(secured=True)
    tap = Wiretap(world)
    one, other = world.host(), world.host()
    old = one.address
    # All that leaves there after the request is lost.
    tap.rules.append(
        lambda seen: None if seen.source == old and seen.data[0] != 0x7B else seen.data
    )
    call = one.connect(other)
    world.run_until(lambda: call in one.outcomes, 1.0)
    world.move(one)
    if noticed:
        notice(one)
    token = one.send(other, "hello")
    assert one.outcome(token, within=0.95).delivered
    assert is_here(other, one)


@pytest.mark.parametrize("seed", range(20))
def test_random_moves_with_loss(seed: int) -> None:
    world = World(seed, secured=True, loss=0.05, jitter_s=0.01)
    hosts = two_secured(world)
    rng = random.Random(seed)
    due = [rng.uniform(0.3, 3.0)]

    def meanwhile(_number: int) -> None:
        due[0] -= 0.05
        if due[0] > 0:
            return
        due[0] = rng.uniform(0.5, 3.0)
        mover = rng.choice(hosts)
        world.move(mover)
        # With the other side's address unchanged, whoever moved is back; noticed or not.
        if rng.random() < 0.6:
            notice(mover)

    exchange(hosts, 200, 0.05, meanwhile)
    world.run_for(3)
    assert is_here(hosts[0], hosts[1])
    assert is_here(hosts[1], hosts[0])


# By way of servers.


def test_a_relayed_session_goes_on_when_either_end_moves(world: World) -> None:
    server = relaying(world)
    one, other = node(world, server), node(world, server)
    one.outcome(ask(one, server, other))
    world.run_for(1)
    keys = seen(one, other).seal.session.current  # type: ignore[union-attr]
    for mover in (one, other):
        moved = world.now
        move(mover)
        for host, to in ((one, other), (other, one)):
            assert host.outcome(say(host, to, "hello"), within=1.0).delivered
        assert world.now - moved < 0.5
    assert seen(one, other).seal.session.current is keys  # type: ignore[union-attr]
    assert one.received() == other.received() == ["hello", "hello"]


def test_both_sides_move_at_once_and_a_server_brings_them_together(world: World) -> None:
    server = relaying(world)
    one, other = node(world, server), node(world, server)
    one.outcome(one.connect(other))
    world.run_for(1)
    for number in range(3):
        world.move(one)
        world.move(other)
        notice(one)
        notice(other)
        for host, token in tell_both((one, other), number):
            assert host.outcome(token, within=BACK_S).delivered
        world.run_for(5)
    assert sorted(one.received()) == sorted(other.received()) == [0, 1, 2]


# Who else there is.


def test_an_old_address_that_another_node_has_by_now(world: World) -> None:
    one, other = two_secured(world)
    old = one.address
    move(one)
    world.run_for(1)
    third = world.host(old)
    third.outcome(third.connect(other))
    world.run_for(1)
    for host in (one, third):
        token = host.send(other, host.id)
        assert host.outcome(token, within=1.0).delivered
        back = other.endpoint.send(peer_of(other, host), "back", world.now)
        other.settle()
        assert other.outcome(back, within=1.0).delivered
    assert other.received() == [one.id, third.id]
    assert one.received() == third.received() == ["back"]


def test_an_old_address_that_another_node_has_at_once(world: World) -> None:
    one, other = two_secured(world)
    old = one.address
    world.move(one)
    third = world.host(old)
    back = other.endpoint.send(peer_of(other, one), "for one", world.now)
    other.settle()
    world.run_for(0.5)
    notice(one)
    assert other.outcome(back, within=BACK_S).delivered
    assert one.received() == ["for one"]
    assert third.received() == []


def swap(one: Host, other: Host) -> None:
    """Each has the other's address by now."""
    world = one.world
    one.address, other.address = other.address, one.address
    for host in (one, other):
        world.hosts[host.address] = world._nodes[host.address] = host


@pytest.mark.parametrize("speaks", ["one", "both", "server"])
@pytest.mark.parametrize("noticed", [True, False])
def test_two_nodes_that_have_each_others_addresses(noticed: bool, speaks: str) -> None:
    """A router was restarted, and gives each the port of the other."""
    world = World(secured=True)
    server = world.host()
    nodes = world.host(), world.host()
    for node_ in nodes:
        node_.outcome(node_.connect(server))
    world.run_for(1)
    keys = [peer_of(server, each).seal.session.current for each in nodes]  # type: ignore[union-attr]
    swap(*nodes)
    swapped = world.now
    if noticed:
        for each in nodes:
            notice(each)
    tokens = []
    if speaks == "server":
        world.run_for(0.1)
        for each in nodes:
            tokens.append((server, server.endpoint.send(peer_of(server, each), each.id, world.now)))
        server.settle()
    for each in nodes[: 1 + (speaks == "both")]:
        tokens.append((each, each.send(server, each.id)))
    for host, token in tokens:
        assert host.outcome(token, within=BACK_S).delivered
    assert world.now - swapped < BACK_S
    for each in nodes:
        assert is_here(server, each)
        assert peer_of(server, each).seal.session.current in keys  # type: ignore[union-attr]
    if speaks == "server":
        assert [each.received() for each in nodes] == [[each.id] for each in nodes]


class Copier:
    """Somebody on the path: he passes copies on from an address of his own, sooner than the true
    ones come, and carries back what is sent there for as long as he likes."""

    def __init__(self, tap: Wiretap, victim: Host, other: Host) -> None:
        self.address = ("10.9.9.9", 9)
        self.carries_back = True
        self._tap, self._victim, self._other = tap, victim, other
        self.is_here = True
        tap.rules.append(self._see)

    def _see(self, seen: Seen) -> bytes | None:
        is_sealed = seen.is_sealed and self.is_here
        if is_sealed and (seen.source, seen.to) == (self._victim.address, self._other.address):
            self._tap.inject(seen.data, self.address, self._other)
        elif is_sealed and seen.to == self.address and self.carries_back:
            self._tap.inject(seen.data, self._other.address, self._victim)
        return seen.data


@pytest.mark.parametrize("who", [0, 1], ids=["who asked", "who answered"])
def test_who_copies_frames_does_not_take_a_session_whose_path_works(who: int) -> None:
    world = World(secured=True)
    tap = Wiretap(world)
    hosts = two_secured(world)
    victim, other = hosts[who], hosts[1 - who]
    copier = Copier(tap, victim, other)

    def meanwhile(_number: int) -> None:
        assert peer_of(other, victim).sends_to == victim.address

    exchange((victim, other), 100, 0.1, meanwhile)
    went = sum(seen.to == copier.address for seen in tap.seen)
    assert went <= 60, "he is asked now and then, and no more"


@pytest.mark.parametrize("who", [0, 1], ids=["who asked", "who answered"])
def test_who_took_a_session_while_its_path_failed_gives_it_back(who: int) -> None:
    """RFC 9000, section 9.3."""
    world = World(secured=True)
    tap = Wiretap(world)
    hosts = two_secured(world)
    victim, other = hosts[who], hosts[1 - who]
    copier = Copier(tap, victim, other)
    tap.rules.append(
        lambda seen: (
            None
            if copier.is_here and (seen.source, seen.to) == (other.address, victim.address)
            else seen.data
        )
    )
    exchange((victim, other), 40, 0.05, lambda _: None)
    assert peer_of(other, victim).sends_to == copier.address, "it was the only way"
    copier.is_here = False
    ended = world.now
    for host, token in tell_both((victim, other), 1):
        assert host.outcome(token, within=BACK_S).delivered
    assert world.now - ended < BACK_S
    assert peer_of(other, victim).sends_to == victim.address


@pytest.mark.parametrize("who", [0, 1], ids=["who asked", "who answered"])
def test_back_to_an_address_of_before(who: int) -> None:
    """Home, the café, the train, and home again."""
    world = World(secured=True)
    hosts = two_secured(world)
    mover, other = hosts[who], hosts[1 - who]
    home, cafe = mover.address, ("10.7.7.7", 7)
    for place in (cafe, home, cafe, ("10.8.8.8", 8), home):
        move_to(mover, place)
        world.run_for(0.2)
        assert is_here(other, mover)
        for host, token in tell_both((mover, other), 1):
            assert host.outcome(token, within=0.5).delivered
