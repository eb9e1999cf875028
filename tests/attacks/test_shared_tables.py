"""Whoever fills tables: newcomers find room, a house has its share, nobody goes who is served."""

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from p2ptui.core.events import ConnectResult, PeerStatus, PeerStatusChanged, PingResult, SendResult
from p2ptui.wire.address import Address
from p2ptui.wire.frames import RELAYED, Fragment, encode_fragment, encode_relay
from p2ptui.wire.message import OWN_CAPABILITIES
from tests.attacks.attacker import Attacker, Ledger
from tests.core.relaying import ask, node, relaying, say
from tests.simulation import Host, Puppet, World

KEEPALIVE_S = 8.0


def spread(number: int) -> Address:
    """An address of the open internet, in a prefix of its own."""
    return (f"{20 + number // 60_000}.{number // 250 % 240}.{number % 250}.7", 4000)


def forged(world: World, addresses: Iterator[Address]) -> Iterator[Puppet]:
    """Pens that write in the names of addresses where nobody hears this node."""
    attacker = Attacker(world)
    return (attacker.in_the_name_of(address) for address in addresses)


def everywhere(first: int = 0) -> Iterator[Address]:
    while True:
        yield spread(first)
        first += 1


def keep(pens: list[Puppet], server: Host, seconds: float) -> None:
    """Keep forged sessions alive, as cheaply as it goes."""
    world = server.world
    until = world.now + seconds
    number = 0
    while world.now < until:
        for pen in pens:
            number += 1
            pen.send(f'{{"id":"{number}","message_type":"Ping","timestamp":1}}', server)
        world.run_for(min(KEEPALIVE_S, until - world.now))


def joined(puppet: Puppet, server: Host) -> bool:
    """Whether a deployed program is let in within a second."""
    answers = puppet.join(server)
    return any(
        answer["message_type"] == "HandshakeResponse" and answer["payload"]["success"]
        for answer in answers
    )


def real(world: World, address: Address, server: Host) -> Puppet:
    """A socket that somebody has, with a session and a proof of its address."""
    puppet = world.puppet(address)
    info = puppet.handshake_request(capabilities=list(OWN_CAPABILITIES))["payload"]
    request = puppet.spec_message("HandshakeRequest", info, sequence_number=1, requires_ack=True)
    puppet.names_pings = True
    puppet.send(request, server)
    world.run_for(0.05)
    for message in puppet.take():
        if message["message_type"] == "HandshakeResponse":
            key = message["sequence_number"]
            puppet.send(puppet.spec_message("Ack", None, ack_for=key), server)
    world.run_for(0.05)
    return puppet


def held(server: Host, hosts: Callable[[str], bool]) -> int:
    return sum(hosts(peer.address[0]) for peer in server.endpoint.peers)


# Forged sessions.


def test_forged_sessions_that_are_kept_alive_keep_nobody_out() -> None:
    world = World()
    server = world.host()
    pens = forged(world, everywhere())
    kept = [next(pens) for _ in range(100)]
    for pen in kept:
        pen.send(pen.handshake_request(), server)
    keep(kept, server, 60)
    assert len(server.endpoint.peers) == 100

    began = world.now
    own = world.host(("198.51.100.1", 5000))
    assert isinstance(own.outcome(own.connect(server), 1), ConnectResult)
    assert joined(world.puppet(("198.51.100.2", 5000)), server)
    assert world.now - began <= 2
    keep(kept, server, 30)
    assert server.is_connected_to(own)
    assert server.is_connected_to(world.hosts[("198.51.100.2", 5000)])  # type: ignore[arg-type]


def test_who_answered_for_its_seat_does_not_leave_it_to_the_next() -> None:
    """A client without proof answers a Ping, and gets the place of a forged session. The next that
    comes in haste takes another one of these, though they speak."""
    world = World()
    server = world.host()
    pens = forged(world, everywhere())
    kept = [next(pens) for _ in range(100)]
    for pen in kept:
        pen.send(pen.handshake_request(), server)
    keep(kept, server, 1)
    clients = [world.puppet(("198.51.100.1", 5000)), world.puppet(("198.51.103.1", 5000))]
    for number, client in enumerate(clients):
        request = client.handshake_request(
            network_id=None, metadata=None, version="1", capabilities=[]
        )
        del request["sequence_number"], request["ack_for"], request["requires_ack"]
        data = json.dumps(request, separators=(",", ":"))
        assert len(data) < 300, "it pays for one Ping and its answer, and no more"
        client.send(data, server)
        world.run_for(0.5)
        assert "HandshakeResponse" in client.take_types()
        keep(kept, server, 0.1)
        real(world, (f"198.51.{110 + number}.1", 5000), server)

    assert all(server.is_connected_to(client) for client in clients)


@pytest.mark.parametrize("one_site", [False, True])
@pytest.mark.parametrize("rate", [100, 1000])
def test_a_flood_of_forged_handshakes_hurts_nobody(rate: int, one_site: bool) -> None:
    """Own nodes and deployed clients keep their sessions, and newcomers are served in a second."""
    world = World()
    server = world.host()
    own = [world.host((f"198.51.100.{n}", 5000)) for n in range(1, 11)]
    deployed = [world.puppet((f"192.0.2.{n}", 5000)) for n in range(1, 11)]
    for host in own:
        host.connect(server)
    for puppet in deployed:
        assert joined(puppet, server)
    sites = ((f"203.0.113.{n % 250 + 1}", 1024 + n // 250) for n in range(100_000))
    pens = forged(world, sites if one_site else everywhere())

    def flood(seconds: float) -> None:
        for _ in range(int(seconds * 100)):
            for _ in range(rate // 100):
                pen = next(pens)
                pen.send(pen.handshake_request(), server)
            world.run_for(0.01)

    flood(1)
    late = world.host(("198.51.100.99", 5000))
    token = late.connect(server)
    newcomer = world.puppet(("192.0.2.99", 5000))
    newcomer.send(newcomer.handshake_request(), server)
    flood(1)
    assert isinstance(late.outcomes.get(token), ConnectResult)
    assert "HandshakeResponse" in newcomer.take_types()
    flood(1)

    assert sum(server.is_connected_to(each) for each in own) == 10
    assert sum(server.is_connected_to(each) for each in deployed) >= 9
    assert server.is_connected_to(late)
    assert server.is_connected_to(newcomer)
    assert isinstance(late.outcome(late.ping(server)), PingResult)
    assert isinstance(own[0].outcome(own[0].send(server, "still here")), SendResult)
    assert len(server.endpoint.peers) <= 100
    assert server.endpoint.sizes()["timers"] < 1000
    assert len(server.endpoint._state.timers._heap) < 2000, "memory is given back"


@pytest.mark.parametrize("ours", [True, False])
def test_a_flood_that_guesses_what_comes_next_pushes_nobody_out(ours: bool) -> None:
    """A Ping behind each forged handshake, where answers take a fifth of a second."""
    world = World(latency_s=0.1)
    server = world.host()
    deployed = [world.puppet((f"192.0.2.{n}", 5000)) for n in range(1, 11)]
    assert all(joined(puppet, server) for puppet in deployed)
    pens, begun = forged(world, everywhere()), list[Puppet]()

    def flood(seconds: float) -> None:
        for _ in range(int(seconds * 100)):
            guessed, begun[:] = begun[:], []
            for pen in guessed:
                pen.send((pen.spec_message if ours else pen.message)("Ping", None), server)
            for _ in range(10):
                begun.append(pen := next(pens))
                request = pen.handshake_request()
                if ours:
                    info = request["payload"] | {"capabilities": list(OWN_CAPABILITIES)}
                    request = pen.spec_message(
                        "HandshakeRequest", info, sequence_number=1, requires_ack=True
                    )
                pen.send(request, server)
            world.run_for(0.01)

    flood(1.5)
    late = world.host(("198.51.100.99", 5000))
    late.connect(server)
    newcomers = [world.puppet((f"192.0.2.{n}", 5000)) for n in range(100, 106)]
    for newcomer in newcomers:
        newcomer.send(newcomer.handshake_request(), server)
        flood(0.2)
    flood(2)

    assert all(server.is_connected_to(puppet) for puppet in deployed)
    assert late.is_connected_to(server)
    assert server.is_connected_to(late)
    if ours:
        assert all(server.is_connected_to(newcomer) for newcomer in newcomers)


def test_in_a_full_house_of_deployed_clients_nobody_goes_who_answers() -> None:
    world = World()
    server = world.host(max_connections=20)
    clients = [world.puppet(spread(n)) for n in range(20)]
    assert all(joined(client, server) for client in clients)

    answers = world.puppet(spread(99)).join(server)

    assert [answer["payload"]["success"] for answer in answers] == [False]
    assert "max_connections" in answers[0]["payload"]["error_message"]
    assert all(server.is_connected_to(client) for client in clients)


def speak(clients: list[Puppet], server: Host, seconds: float) -> None:
    """All say something every two seconds."""
    for _ in range(int(seconds / 2)):
        for client in clients:
            client.say("Data", {"text": "w"}, server)
        server.world.run_for(2)


def silent(world: World, number: int) -> Puppet:
    """A deployed program that answers no Ping."""
    client = world.puppet(spread(number))
    client.answers_pings = False
    return client


def is_served(client: Puppet, server: Host) -> bool:
    client.take()
    return any(answer["message_type"] == "Data" for answer in client.ask("Data", "end", server))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("pause_s", [0, 2])
def test_who_speaks_keeps_its_place_from_who_shows_no_more(seed: int, pause_s: int) -> None:
    world = World(seed)
    server = world.host(max_connections=10)
    clients = [silent(world, n) for n in range(10)]
    assert all(joined(client, server) for client in clients)
    speak(clients, server, 16)

    late = [silent(world, 20 + n) for n in range(6)]
    for client in late:
        client.send(client.handshake_request(), server)
        speak([*clients, *late], server, pause_s)
    speak([*clients, *late], server, 4)

    for client in late:
        answers = [m["payload"] for m in client.take() if m["message_type"] == "HandshakeResponse"]
        assert [answer["success"] for answer in answers] == [False]
        assert "max_connections" in answers[0]["error_message"]
    assert all(is_served(client, server) for client in clients)


@pytest.mark.parametrize("seed", range(5))
def test_who_shows_more_takes_the_place_of_one_that_answers_nothing(seed: int) -> None:
    world = World(seed)
    server = world.host(max_connections=10)
    clients = [silent(world, n) for n in range(10)]
    assert all(joined(client, server) for client in clients)
    speak(clients, server, 16)

    own = world.host(("198.51.100.1", 5000))
    assert isinstance(own.outcome(own.connect(server), 1), ConnectResult)
    newcomer = world.puppet(("198.51.100.2", 5000))
    assert joined(newcomer, server)
    assert is_served(newcomer, server)
    assert server.is_connected_to(own)
    assert sum(is_served(client, server) for client in clients) == 8


def test_pongs_sent_blindly_take_no_place() -> None:
    world = World()
    server = world.host(max_connections=10)
    clients = [silent(world, n) for n in range(10)]
    assert all(joined(client, server) for client in clients)
    speak(clients, server, 16)

    pen = silent(world, 99)
    pen.send(pen.handshake_request(), server)
    for _ in range(50):
        pen.say("Pong", None, server)
        world.run_for(0.02)

    assert not server.is_connected_to(pen)
    assert all(is_served(client, server) for client in clients)


# One house.


def test_a_hundred_real_sockets_of_one_host_leave_half() -> None:
    world = World()
    server = world.host()
    for n in range(100):
        real(world, ("203.0.113.7", 5000 + n), server)
    assert held(server, "203.0.113.7".__eq__) == 50
    assert all(peer.proved for peer in server.endpoint.peers)

    response = world.puppet(("203.0.113.7", 9999)).join(server)[0]["payload"]
    assert "max_share_per_address" in response["error_message"]
    for n in range(25):
        real(world, (f"203.0.113.{n + 100}", 5000), server)
    assert held(server, lambda host: host.startswith("203.0.113.")) == 75
    response = world.puppet(("203.0.113.8", 9999)).join(server)[0]["payload"]
    assert "max_share_per_prefix" in response["error_message"]
    for n in range(25):
        real(world, spread(n), server)
    assert len(server.endpoint.peers) == 100
    response = world.puppet(spread(99)).join(server)[0]["payload"]
    assert "max_connections" in response["error_message"]
    assert held(server, "203.0.113.7".__eq__) == 50, "a proved peer is never evicted"


def test_one_machine_has_a_whole_network_of_ipv6() -> None:
    world = World()
    server = world.host(("2001:db8:ffff::1", 8080))
    for n in range(60):
        real(world, (f"2001:db8:1:1::{n + 1:x}", 5000), server)
    for n in range(60):
        real(world, (f"2001:db8:1:{n + 2:x}::1", 5000), server)

    assert held(server, lambda host: host.startswith("2001:db8:1:1:")) == 50
    assert held(server, lambda host: host.startswith("2001:db8:1:")) == 75


def test_forged_sessions_in_the_name_of_an_office_keep_nobody_of_it_out() -> None:
    world = World()
    server = world.host()
    pens = list(forged(world, (("203.0.113.7", 1024 + n) for n in range(300))))
    for pen in pens:
        pen.send(pen.handshake_request(), server)
    keep(pens, server, 10)
    assert held(server, "203.0.113.7".__eq__) == 50

    own = world.host(("203.0.113.7", 60_000))
    assert isinstance(own.outcome(own.connect(server), 1), ConnectResult)
    assert joined(world.puppet(("203.0.113.7", 60_001)), server)


@pytest.mark.parametrize("kind", ["own", "deployed", "both"])
def test_an_office_of_two_hundred_gets_in_where_there_is_room_for_four_hundred(kind: str) -> None:
    world = World()
    server = world.host(("192.0.2.1", 8080), max_connections=800 if kind == "both" else 400)
    office = ("203.0.113.7", 10_000)
    puppets = list[Puppet]()
    if kind != "own":
        for n in range(200):
            puppets.append(world.puppet((office[0], 20_000 + n)))
            puppets[-1].send(puppets[-1].handshake_request(), server)
    hosts = list[Host]()
    if kind != "deployed":
        hosts = [world.host((office[0], 10_000 + n)) for n in range(200)]
        tokens = [host.connect(server) for host in hosts]
        world.run_for(0.3)
        assert all(
            isinstance(h.outcomes[t], ConnectResult) for h, t in zip(hosts, tokens, strict=True)
        )
    world.run_for(0.3)

    assert all(server.is_connected_to(each) for each in (*puppets, *hosts))
    assert joined(world.puppet(("198.51.100.1", 5000)), server)


@pytest.mark.parametrize(("kind", "lived_s"), [("own", 60), ("deployed", 10), ("deployed", 60)])
@pytest.mark.parametrize("count", [1, 20, 50])
def test_an_office_that_is_restarted_is_in_again_at_once(
    kind: str, lived_s: float, count: int
) -> None:
    """Its share is used up by sessions that nobody is behind any more; it was refused for 41 to
    61 s. Deployed clients still are, once those have proved their address: they show nothing that
    could not be forged."""
    world = World()
    server = world.host(("192.0.2.1", 8080), max_connections=100)
    office = "203.0.113.7"

    def come(first: int, number: int) -> list[Host | Puppet]:
        come: list[Host | Puppet] = []
        for n in range(first, first + number):
            if kind == "own":
                come.append(world.host((office, n)))
                come[-1].connect(server)
            else:
                client = world.puppet((office, n))
                client.send(client.handshake_request(), server)
                come.append(client)
            world.run_for(0.02)
        return come

    before = come(10_000, 50)
    world.run_for(lived_s)
    assert all(server.is_connected_to(each) for each in before)
    for each in before[:count]:
        world.remove(each)
    world.run_for(1)
    must_wait = all(peer.proved for peer in server.endpoint.peers) and kind == "deployed"
    after = come(20_000, count)
    world.run_for(2)
    if must_wait:
        world.run_for(server.endpoint.config.server.connection_timeout)
    in_time = sum(server.is_connected_to(each) for each in after)
    for each in after:
        if not server.is_connected_to(each):  # it tries again, as everybody does
            if isinstance(each, Host):
                each.connect(server)
            else:
                each.send(each.handshake_request(), server)
    world.run_for(3)

    assert must_wait or in_time >= 0.8 * count
    assert all(server.is_connected_to(each) for each in (*before[count:], *after))


OFFICE = "203.0.113.7"


def an_office() -> tuple[World, Host, list[Host]]:
    """A server, and fifty nodes behind one address that have been there for a minute."""
    world = World(3)
    server = world.host(("192.0.2.1", 8080), max_connections=100)
    nodes = [world.host((OFFICE, 10_000 + n)) for n in range(50)]
    for each in nodes:
        each.connect(server)
    world.run_for(60)
    return world, server, nodes


def ask_in_its_name(attacker: Attacker, server: Host, number: int) -> None:
    """One more request of nobody, from the address of the office."""
    pen = attacker.in_the_name_of((OFFICE, 20_000 + number))
    pen.send(pen.handshake_request(), server)


def test_a_living_office_loses_nobody_to_requests_in_its_name() -> None:
    """Each is asked, within the budget for what anybody may have asked in its name."""
    world, server, nodes = an_office()
    ledger, attacker = Ledger(server), Attacker(world)
    quiet_s = 60.0
    for n in range(600):
        ask_in_its_name(attacker, server, n)
        world.run_for(quiet_s / 600)

    assert all(server.is_connected_to(each) for each in nodes)
    account = ledger.of(OFFICE)
    own = 50 * quiet_s / 5 * 150  # what goes to living nodes by itself
    assert account.went.size <= 3 * account.came.size + own


def cut_off(world: World, host: str, loss: float, down_s: tuple[float, float]) -> None:
    """What comes from a host or goes there is lost for a while, and some of it otherwise; but not
    what others write in its name."""
    send, rng, began = world.network.send, random.Random(5), world.now

    def lossy(*sent: Any, **rest: Any) -> None:
        _, sender, to, *_ = sent
        is_forged = sender[0] == host and sender[1] >= 20_000
        if not is_forged and host in (sender[0], to[0]):
            is_down = down_s[0] <= world.now - began < down_s[1]
            if is_down or rng.random() < loss:
                return
        send(*sent, **rest)

    world.network.send = lossy  # type: ignore[method-assign]


def ended(server: Host, nodes: list[Host]) -> int:
    """How many sessions of these nodes have ended."""
    ids = {node.id for node in nodes}
    changes = (event for event in server.events if isinstance(event, PeerStatusChanged))
    return sum(e.node_id in ids and e.status is PeerStatus.DISCONNECTED for e in changes)


@pytest.mark.parametrize(
    ("down_s", "rate", "loss", "lasts_s"),
    [(1.3, 20, 0.0, 20), (3.0, 50, 0.0, 20), (0.0, 2, 0.2, 120)],
)
def test_who_is_not_heard_for_a_moment_loses_nothing_to_requests_in_its_name(
    down_s: float, rate: int, loss: float, lasts_s: float
) -> None:
    """Whoever forges them shows nothing: 30 of 50 sessions had ended after 1.3 s, and 3 by loss."""
    world, server, nodes = an_office()
    assert all(server.is_connected_to(each) for each in nodes)
    server.events.clear()
    cut_off(world, OFFICE, loss, (2.0, 2.0 + down_s))
    attacker = Attacker(world)
    for n in range(int(rate * lasts_s)):
        ask_in_its_name(attacker, server, n)
        world.run_for(1 / rate)

    assert ended(server, nodes) == 0
    assert all(server.is_connected_to(each) for each in nodes)


def test_messages_of_who_is_not_heard_for_a_moment_arrive_all_the_same() -> None:
    """Requests are forged in its name meanwhile: half of them had failed."""
    world, server, nodes = an_office()
    server.events.clear()
    cut_off(world, OFFICE, 0.0, (1.0, 4.0))
    attacker, tokens = Attacker(world), list[tuple[Host, int]]()
    for n in range(1500):
        if n % 50 == 0 and n < 1100:
            tokens += [(each, each.send(server, "up")) for each in nodes]
            tokens += [(server, server.send(each, "down")) for each in nodes]
        ask_in_its_name(attacker, server, n)
        world.run_for(0.02)

    assert ended(server, nodes) == 0
    assert all(isinstance(host.outcomes.get(token), SendResult) for host, token in tokens)


@pytest.mark.parametrize("pause_s", [1.0, 2.0, 4.0, 8.0])
@pytest.mark.parametrize("kind", ["own", "deployed"])
def test_answers_sent_blindly_buy_no_patience(kind: str, pause_s: float) -> None:
    """Each forged session sends one from time to time: it was given 3 s for the next, and a
    newcomer in two found nobody silent."""
    world = World(1)
    server = world.host()
    pens = [pen for pen, _ in zip(forged(world, everywhere()), range(130), strict=False)]
    for pen in pens:
        pen.send(pen.handshake_request(), server)
        world.run_for(0.01)
    numbers = itertools.count()

    def go_on(seconds: float) -> None:
        until = world.now + seconds
        while world.now < until:
            number = next(numbers)
            pong = f'{{"id":"{number}","message_type":"Pong","timestamp":1,"payload":null}}'
            pens[number % len(pens)].send(pong, server)
            world.run_for(pause_s / len(pens))

    go_on(30)
    come = 0
    for number in range(15):
        address = (f"198.51.{number}.1", 5000)
        newcomer = world.host(address) if kind == "own" else world.puppet(address)
        if isinstance(newcomer, Host):
            newcomer.connect(server, timeout_s=2.0)
        else:
            newcomer.send(newcomer.handshake_request(), server)
        go_on(2)
        come += server.is_connected_to(newcomer)
    assert come >= 13


# What peers fill.


def begin_message(peer: Puppet, server: Host, number: int, total: int) -> None:
    piece = Fragment(number, total, 1000, 0, bytes(1000))
    peer.send(encode_fragment(piece), server)


def test_one_host_takes_no_more_than_half_of_the_memory_for_messages() -> None:
    world = World()
    server = world.host()
    whole = server.endpoint.config.reliability.reassembly_bytes_total
    size = server.endpoint.config.server.max_message_size
    for n in range(33):
        peer = real(world, ("203.0.113.7", 5000 + n), server)
        for number in range(2, 68):
            begin_message(peer, server, number, size)
    world.run_for(0.1)
    assert 0.4 * whole < server.endpoint.sizes()["reassembly_bytes"] <= whole / 2

    own = world.host(("198.51.100.1", 5000))
    own.outcome(own.connect(server))
    assert own.outcome(own.send(server, "x" * 500_000)).delivered


def test_one_host_holds_no_more_than_half_of_the_relays() -> None:
    world = World()
    server = world.host(allow_symmetric_nat_relay=True)
    mine = [real(world, ("203.0.113.7", 5000 + n), server) for n in range(11)]
    for n, one in enumerate(mine):
        for other in mine[n + 1 :]:
            request = {"target_peer_id": other.id, "data": [1]}
            one.send(one.spec_message("RelayRequest", request), server)
    world.run_for(0.5)
    assert server.endpoint.sizes()["relays"] == 25

    one, other = (real(world, (f"198.51.100.{n}", 5000), server) for n in (1, 2))
    request = {"target_peer_id": other.id, "data": [1]}
    one.send(one.spec_message("RelayRequest", request), server)
    world.run_for(0.1)
    assert server.endpoint.sizes()["relays"] == 26
    answers = [m["payload"] for m in mine[-2].take() if m["message_type"] == "RelayResponse"]
    assert any("max_share_per_address" in (a.get("error_message") or "") for a in answers)


def test_claims_from_one_host_leave_room_for_others() -> None:
    world = World()
    server = world.host(max_connections=400)
    owners = [world.puppet(spread(n)) for n in range(120)]
    for owner in owners:
        owner.send(owner.handshake_request(), server)
    world.run_for(1)
    for n, owner in enumerate(owners):
        owner.answers_pings = False
        pen = Attacker(world).in_the_name_of(("203.0.113.7", 1024 + n), owner.id)
        pen.send(pen.handshake_request(), server)
    world.run_for(0.1)

    assert server.endpoint.sizes()["id_disputes"] == 50


def test_routes_of_one_host_leave_room_for_others() -> None:
    world = World()
    server = world.host(max_routes=100)
    liar, honest = (real(world, (f"198.51.{n}.1", 5000), server) for n in (1, 2))

    def tell(peer: Puppet, first: int, count: int) -> None:
        for n in range(first, first + count):
            entry: dict[str, Any] = {"id": f"{n:08x}-aaaa-4000-8000-000000000000"}
            entry |= {"addr": "192.0.2.1:1", "last_seen": 1, "capabilities": []}
            peer.send(peer.spec_message("DiscoveryResponse", [entry]), server)

    tell(honest, 0, 40)
    world.run_for(0.1)
    known = server.endpoint.sizes()["routes"]
    tell(liar, 1000, 300)
    world.run_for(0.1)
    hops = Counter(
        route.next_hop for route in server.endpoint.routes(world.now) if route.distance > 1
    )

    assert hops[liar.id] <= 60
    assert hops[honest.id] == known
    tell(honest, 40, 5)
    world.run_for(0.1)
    hops = Counter(
        route.next_hop for route in server.endpoint.routes(world.now) if route.distance > 1
    )
    assert hops[honest.id] == known + 5, "who holds more than half makes room"


def test_all_addresses_of_one_machine_have_one_rate() -> None:
    world = World()
    server = world.host(("2001:db8:ffff::1", 8080), max_requests_per_ip=10)
    ping = json.dumps(world.puppet(("2001:db8:5::1", 1)).message("Ping"))
    attacker = Attacker(world)
    for n in range(200):
        source = (f"2001:db8:1:1::{n + 1:x}", 5000)
        attacker.forge(source, server, ping.encode())
    world.run_for(0.05)

    assert server.endpoint.counters.drops["rate_limited"] >= 185


# What a server brings.


@pytest.mark.parametrize("count", [60, 300])
@pytest.mark.parametrize("is_kept", [False, True], ids=["left alone", "kept alive"])
def test_forged_nodes_of_a_server_keep_nobody_out_who_comes_by_it(
    count: int, is_kept: bool
) -> None:
    """Handshakes that its server seems to bring made peers, which stayed for ever."""
    world = World(latency_s=0.02)
    server = relaying(world)
    one, friend, late = (node(world, server) for _ in range(3))
    assert isinstance(one.outcome(ask(one, server, friend)), ConnectResult)
    world.run_for(1)
    attacker = Attacker(world)

    def bring(node_id: str, kind: str, payload: Any = None) -> None:
        data = json.dumps(attacker.in_the_name_of(server.address, node_id).message(kind, payload))
        frame = encode_relay(RELAYED, bytes.fromhex(node_id.replace("-", "")), data.encode())
        attacker.forge(server.address, one, frame)

    ids = [world.node_id() for _ in range(count)]
    for node_id in ids:
        pen = attacker.in_the_name_of(server.address, node_id)
        info = pen.handshake_request(capabilities=list(OWN_CAPABILITIES))["payload"]
        bring(node_id, "HandshakeRequest", info)
        world.run_for(0.01)
    if is_kept:
        for _ in range(8):
            for node_id in ids:
                bring(node_id, "Ping")
            world.run_for(KEEPALIVE_S)

    began = world.now
    assert isinstance(late.outcome(ask(late, server, one)), ConnectResult)
    assert world.now - began <= 0.5
    assert one.endpoint.sizes()["relayed_nodes"] <= one.endpoint.config.server.max_connections / 2
    for other in (friend, late):
        assert one.endpoint.peers.authenticated(other.id) is not None
        assert one.outcome(say(one, other, "still here")).delivered


def test_a_relayed_peer_that_proved_itself_goes_for_nobody() -> None:
    """Guards what held: a crowd of real ones is served in its order, and forged ones change
    nothing for them."""
    world = World(latency_s=0.02)
    server = relaying(world)
    one = node(world, server, max_connections=10)
    friends = [node(world, server) for _ in range(5)]
    for friend in friends:
        assert isinstance(friend.outcome(ask(friend, server, one)), ConnectResult)
    world.run_for(1)
    attacker = Attacker(world)
    for _ in range(100):
        pen = attacker.in_the_name_of(server.address)
        request = json.dumps(pen.handshake_request(capabilities=list(OWN_CAPABILITIES)))
        head = bytes.fromhex(pen.id.replace("-", ""))
        attacker.forge(server.address, one, encode_relay(RELAYED, head, request.encode()))
        world.run_for(0.01)

    for friend in friends:
        assert one.outcome(say(one, friend, "still here")).delivered
    assert one.endpoint.counters.drops["relayed_nodes_full"] >= 95
