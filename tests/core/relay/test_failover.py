"""Several servers in common: the quickest brings a pair together, and the next when it fails."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from p2ptui.core.events import (
    ConnectResult,
    DataReceived,
    Path,
    PathChanged,
    PeerStatus,
    PeerStatusChanged,
    SendResult,
)
from p2ptui.core.peers import Peer
from p2ptui.core.relay.failover import PATIENCE_S
from p2ptui.wire.message import Capability
from tests.core.meeting import Meeting
from tests.core.relaying import ask, node, relaying, seen
from tests.simulation import Host, World

DEAD_S = 3.0
"""So long, at most, nothing arrives when a server dies, or once it is back."""


class Flow:
    """Messages from one node to another at a steady pace, and what became of them."""

    def __init__(self, one: Host, other: Host, per_second: float = 100.0) -> None:
        self.one, self.other, self.pause_s = one, other, 1 / per_second
        self.tokens: list[int] = []
        self.arrived: list[tuple[float, Any]] = []
        self.world = one.world
        self._read = len(other.events)

    def send(self) -> None:
        number = len(self.tokens)
        peer = seen(self.one, self.other)
        self.tokens.append(self.one.endpoint.send(peer, number, self.world.now))
        self.one.settle()

    def look(self) -> None:
        for event in self.other.events[self._read :]:
            if isinstance(event, DataReceived) and event.node_id == self.one.id:
                self.arrived.append((self.world.now, event.payload))
        self._read = len(self.other.events)

    def run(self, seconds: float) -> None:
        end = self.world.now + seconds
        while self.world.now < end:
            self.send()
            self.world.run_for(self.pause_s)
            self.look()

    def settle(self, seconds: float = 10.0, *others: "Flow") -> None:
        for _ in range(int(seconds / self.pause_s)):
            self.world.run_for(self.pause_s)
            for flow in (self, *others):
                flow.look()

    def longest_gap_s(self, since: float) -> float:
        """The longest time in which nothing came, seconds."""
        times = [since, *(at for at, _ in self.arrived if at >= since)]
        return max(b - a for a, b in pairwise(times))

    def assert_each_once(self) -> None:
        counts = Counter(number for _, number in self.arrived)
        assert counts == Counter(range(len(self.tokens)))
        outcomes = [self.one.outcomes[token] for token in self.tokens]
        assert all(isinstance(end, SendResult) and end.delivered for end in outcomes)


class Pair:
    """Two nodes, and the servers that both have joined; `bind` is how each server is reached."""

    def __init__(self, servers: int = 2, seed: int = 0, max_tries: int = 6, **link: Any) -> None:
        self.world = World(seed, **link)
        self.servers = [relaying(self.world) for _ in range(servers)]
        options = {"reliability": {"max_tries": max_tries}}
        self.a, self.b = [node(self.world, *self.servers, **options) for _ in range(2)]
        outcome = self.a.outcome(ask(self.a, self.servers[0], self.b))
        assert isinstance(outcome, ConnectResult)
        self.world.run_for(3)

    def flow(self, *, back: bool = False) -> Flow:
        return Flow(self.b, self.a) if back else Flow(self.a, self.b)

    def in_use(self, host: Host | None = None) -> Host:
        """The server by way of which a node sends to the other."""
        host = host or self.a
        peer = seen(host, self.b if host is self.a else self.a)
        where = (peer.sends_to[0].partition("@")[2], peer.sends_to[1])
        (found,) = [server for server in self.servers if server.address == where]
        return found

    def slow(self, server: Host, latency_s: float) -> None:
        for host in (self.a, self.b):
            for one, other in ((host, server), (server, host)):
                self.world.network.set_link(one.address[0], other.address[0], latency_s=latency_s)

    def restart(self, server: Host) -> Host:
        """The same server as a new process: it knows nobody."""
        heir = relaying_at(self.world, server)
        self.servers[self.servers.index(server)] = heir
        return heir


def relaying_at(world: World, server: Host, **options: Any) -> Host:
    heir = world.host(server.address, server.id, allow_symmetric_nat_relay=True, **options)
    heir.endpoint._state.rng.seed(str(world.now))  # no process has the ids of the one before
    return heir


def ends(host: Host) -> list[PeerStatusChanged]:
    told: list[PeerStatusChanged] = host.told(PeerStatusChanged)
    return [e for e in told if e.status in (PeerStatus.DISCONNECTED, PeerStatus.FAILED)]


def drops(host: Host, cause: str) -> int:
    return host.endpoint.counters.drops[cause]


# A server dies.


@pytest.mark.parametrize("seed", range(20))
def test_when_the_server_in_use_dies_the_other_brings_each_message_once(seed: int) -> None:
    pair = Pair(seed=seed)
    flow = pair.flow(back=bool(seed % 2))
    flow.run(1 + seed / 40)
    died, at = pair.in_use(), pair.world.now
    pair.world.remove(died)
    flow.run(5)
    flow.settle()

    assert flow.longest_gap_s(at) <= 1.0
    flow.assert_each_once()
    assert pair.in_use(pair.a) is pair.in_use(pair.b) is not died


def test_it_is_as_quick_where_a_tenth_is_lost() -> None:
    gaps = []
    for seed in range(20):
        pair = Pair(seed=seed, loss=0.05, max_tries=12)  # that loses nothing by itself
        flow = pair.flow()
        flow.run(1)
        died, at = pair.in_use(), pair.world.now
        pair.world.remove(died)
        flow.run(5)
        flow.settle()
        flow.assert_each_once()
        gaps.append(flow.longest_gap_s(at))

    assert max(gaps) <= DEAD_S


def test_a_server_that_dies_while_nobody_sends_delays_the_next_message_only() -> None:
    for idle_s in (0.0, 2.0, 20.0, 50.0):
        pair = Pair()
        pair.world.remove(pair.in_use())
        pair.world.run_for(idle_s)
        flow = pair.flow()
        began = pair.world.now
        flow.send()
        flow.settle(5)

        flow.assert_each_once()
        assert flow.arrived[0][0] - began <= 1.5


def test_an_idle_pair_moves_by_itself() -> None:
    pair = Pair()
    died = pair.in_use()
    pair.world.remove(died)
    pair.world.run_for(70)

    assert pair.in_use(pair.a) is pair.in_use(pair.b) is not died
    assert [event for event in ends(pair.a) if event.node_id == pair.b.id] == []


def test_both_ends_send_while_it_dies() -> None:
    pair = Pair()
    there, back = pair.flow(), pair.flow(back=True)
    at = pair.world.now
    for number in range(600):
        if number == 100:
            at = pair.world.now
            pair.world.remove(pair.in_use())
        there.send()
        back.send()
        pair.world.run_for(0.01)
        there.look()
        back.look()
    there.settle(5, back)

    for flow in (there, back):
        flow.assert_each_once()
        assert flow.longest_gap_s(at) <= 1.0
    assert pair.in_use(pair.a) is pair.in_use(pair.b)


def test_a_large_message_goes_on_by_the_other_server() -> None:
    pair = Pair()
    payload = "x" * 900_000
    token = pair.a.endpoint.send(seen(pair.a, pair.b), payload, pair.world.now)
    pair.a.settle()
    pair.world.run_for(0.1)
    assert pair.b.received() == []
    pair.world.remove(pair.in_use())

    assert pair.a.outcome(token, 30).delivered
    assert pair.b.received() == [payload]


def test_one_end_only_loses_the_server() -> None:
    for far in (False, True):
        pair = Pair()
        flow = pair.flow()
        flow.run(1)
        cut = pair.b if far else pair.a
        at = pair.world.now
        pair.world.network.partition(cut.address[0], pair.in_use().address[0])
        flow.run(5)
        flow.settle()

        flow.assert_each_once()
        assert flow.longest_gap_s(at) <= 1.5


# A server is restarted.


@pytest.mark.parametrize("seed", range(20))
def test_the_only_server_is_restarted(seed: int) -> None:
    pair = Pair(servers=1, seed=seed)
    flow = pair.flow(back=bool(seed % 2))
    flow.run(1 + seed / 40)
    server = pair.in_use()
    pair.world.remove(server)
    flow.run(0.05 + seed / 5)
    pair.restart(server)
    back = pair.world.now
    flow.run(5)
    flow.settle()

    assert flow.longest_gap_s(back) <= DEAD_S
    flow.assert_each_once()
    assert [event for event in ends(pair.a) if event.node_id == pair.b.id] == []


@pytest.mark.parametrize("seed", range(5))
def test_it_is_restarted_while_they_are_silent_for_a_moment(seed: int) -> None:
    pair = Pair(servers=1, seed=seed)
    flow = pair.flow(back=bool(seed % 2))
    flow.send()
    flow.settle(5 + seed)
    server = pair.in_use()
    pair.world.remove(server)
    flow.settle(0.5)
    pair.restart(server)
    back = pair.world.now
    flow.send()
    flow.settle(5)

    assert flow.arrived[-1][0] - back <= DEAD_S
    flow.assert_each_once()


def test_a_pair_at_rest_costs_nothing_but_heartbeats() -> None:
    pair = Pair()
    flow = pair.flow()
    flow.run(1)
    flow.settle(40)
    before = sent(pair.a)
    pair.world.run_for(3600)

    # A Ping and a Pong to and from three peers each 30 s.
    assert sent(pair.a) - before <= 3 * 2 * 120 * 1.15


def test_the_only_server_is_restarted_in_peace() -> None:
    """With a goodbye to everybody."""
    pair = Pair(servers=1)
    flow = pair.flow()
    flow.run(1)
    server = pair.in_use()
    server.endpoint.close("restarting", pair.world.now)
    server.settle()
    pair.world.remove(server)
    flow.run(1)
    heir = pair.restart(server)
    back = pair.world.now
    for host in (pair.a, pair.b):
        host.connect(heir)
    flow.run(3)
    flow.settle()

    assert flow.longest_gap_s(back) <= 1.0
    flow.assert_each_once()


def test_a_restarted_server_is_of_use_again_for_the_next_failure() -> None:
    pair = Pair()
    flow = pair.flow()
    for _ in range(6):
        server, at = pair.in_use(), pair.world.now
        pair.world.remove(server)
        flow.run(1)
        pair.restart(server)
        flow.run(4)
        assert flow.longest_gap_s(at) <= 1.0
    flow.settle()
    flow.assert_each_once()


def test_a_server_that_does_not_know_the_other_end_yet_ends_no_message() -> None:
    pair = Pair(servers=1)
    (server,) = pair.servers
    flow = pair.flow()
    flow.run(0.5)
    server.endpoint.disconnect(server.peer(pair.b), "not you", pair.world.now)
    server.settle()
    flow.run(5)
    pair.b.outcome(pair.b.connect(server))
    back = pair.world.now
    flow.run(2)
    flow.settle()

    assert flow.longest_gap_s(back) <= 1.5
    flow.assert_each_once()
    assert drops(server, "relay_refused") <= 150


def test_many_clients_of_a_restarted_server_are_back_at_once_and_do_not_storm() -> None:
    world = World()
    options = {"max_connections": 500, "max_concurrent_relays": 200}
    server = relaying(world, **options)
    clients = [node(world, server) for _ in range(60)]
    pairs = list(zip(clients[::2], clients[1::2], strict=True))
    for one, other in pairs:
        one.outcome(ask(one, server, other))
    flows = [Flow(one, other, per_second=5) for one, other in pairs]

    def run(seconds: float) -> None:
        for _ in range(int(seconds * 5)):
            for flow in flows:
                flow.send()
            world.run_for(0.2)
            for flow in flows:
                flow.look()

    run(1)
    world.remove(server)
    run(1)
    heir = relaying_at(world, server, **options)
    back = world.now
    run(6)
    for flow in flows:
        flow.settle(1)
        flow.assert_each_once()
        assert flow.longest_gap_s(back) <= DEAD_S
    assert heir.endpoint.counters.handshakes_accepted <= 65


# The quickest.


def test_the_pair_goes_by_the_quickest_server_end_to_end() -> None:
    pair = Pair(servers=3)
    quick = pair.servers[2]
    for server, latency_s in zip(pair.servers, (0.05, 0.08, 0.01), strict=True):
        pair.slow(server, latency_s)
    flow = pair.flow()
    flow.run(40)
    flow.settle(2)

    assert pair.in_use(pair.a) is pair.in_use(pair.b) is quick
    flow.assert_each_once()


def test_one_that_gets_ten_times_slower_is_left_without_flapping() -> None:
    pair = Pair(servers=3)
    for server, latency_s in zip(pair.servers, (0.01, 0.015, 0.03), strict=True):
        pair.slow(server, latency_s)
    flow = pair.flow()
    flow.run(3)
    assert pair.in_use() is pair.servers[0]
    changes = len(pair.a.told(PathChanged))

    at = pair.world.now
    pair.slow(pair.servers[0], 0.1)
    flow.run(6)
    assert pair.in_use(pair.a) is pair.in_use(pair.b) is pair.servers[1]
    assert flow.longest_gap_s(at) <= 1.0
    # It comes and goes: that is not followed to and fro.
    for turn in range(12):
        pair.slow(pair.servers[0], 0.01 if turn % 2 else 0.1)
        flow.run(5)
    flow.settle(2)

    flow.assert_each_once()
    assert len(pair.a.told(PathChanged)) - changes <= 4


def test_nearly_as_quick_is_no_reason_to_change() -> None:
    pair = Pair(servers=2)
    pair.slow(pair.servers[1], 0.009)
    before, told = pair.in_use(), len(pair.a.told(PathChanged))
    flow = pair.flow()
    flow.run(70)

    assert pair.in_use() is before
    assert len(pair.a.told(PathChanged)) == told


def test_the_change_is_told() -> None:
    pair = Pair()
    flow = pair.flow()
    died = pair.in_use()
    pair.world.remove(died)
    flow.run(2)

    for host in (pair.a, pair.b):
        event = host.told(PathChanged)[-1]
        assert event.path is Path.RELAY
        assert event.address == pair.in_use().address
        assert event.reason


def test_a_direct_path_finds_another_server_when_its_own_is_gone() -> None:
    """So that there is a way when it dies in its turn."""
    meeting = Meeting("full-cone", "full-cone")
    world, a, b = meeting.world, meeting.a, meeting.b
    meeting.connect()
    world.run_until(meeting.is_direct, 10)
    other = world.host(("198.51.100.10", 8080), allow_symmetric_nat_relay=True)
    for host in (a, b):
        host.outcome(host.connect(other))
        host.endpoint.disconnect(host.peer(meeting.server), "moving on", world.now)
    world.run_for(5)
    assert meeting.is_direct()
    meeting.cut()
    began = world.now
    assert a.outcome(meeting.say("by the other")).delivered
    assert world.now - began <= DEAD_S
    world.run_until(meeting.is_relayed, 3)
    meeting.heal()
    world.run_until(meeting.is_direct, 10)


# Whom to believe.


def forge(pair: Pair, kind: str, payload: Any, **fields: Any) -> None:
    """A message to `a` that seems to come from the server in use."""
    puppet = pair.world.puppet()
    message = puppet.spec_message(kind, payload, **fields)
    import json

    pair.a.endpoint.receive_datagram(
        json.dumps(message).encode(), pair.in_use().address, pair.world.now
    )
    pair.a.settle()
    pair.world.remove(puppet)


def sent(host: Host) -> int:
    return host.endpoint.counters.datagrams_out


def test_forged_errors_cost_a_ping_a_second_and_no_session() -> None:
    pair = Pair()
    flow = pair.flow()
    flow.run(1)
    server = pair.in_use()
    accepted, before = server.endpoint.counters.handshakes_accepted, sent(pair.a)
    for _ in range(1000):
        forge(pair, "Error", {"error": "who are you?", "code": "unauthenticated"})
        pair.world.run_for(0.01)

    assert server.endpoint.counters.handshakes_accepted == accepted
    assert sent(pair.a) - before <= 10 * 1.5 + 10
    assert ends(pair.a) == []
    assert pair.in_use() is server
    flow.run(1)
    flow.settle(1)
    flow.assert_each_once()


def test_forged_refusals_cost_a_few_checks_and_no_message() -> None:
    pair = Pair()
    flow = pair.flow()
    flow.run(1)
    server, before = pair.in_use(), sent(pair.a)
    for _ in range(1000):
        refusal = {
            "success": False,
            "error_message": "node not found",
            "target_id": pair.b.id,
            "code": "unknown",
        }
        forge(pair, "RelayResponse", refusal)
        pair.world.run_for(0.01)

    assert sent(pair.a) - before <= 10 * 10
    assert pair.in_use() is server
    flow.run(2)
    flow.settle(1)
    flow.assert_each_once()


def test_a_server_that_only_one_end_has_joined_speaks_for_nobody() -> None:
    """It knows the id of the other end, and answers what it is asked."""
    pair = Pair(servers=1)
    liar = pair.world.puppet()
    peer = seen(pair.a, pair.b)
    foreign = relaying(pair.world)
    pair.a.outcome(pair.a.connect(foreign))
    pair.world.run_for(1)
    import json
    import uuid

    from p2ptui.wire.frames import RELAYED, encode_relay

    for handshake in (peer.handshake_heard, "guessed", peer.handshake_keys[0][::-1]):
        for answer in (False, True):
            check = {"nonce": "n", "handshake": handshake, "answer": answer, "use": True}
            inside = json.dumps(liar.spec_message("RelayCheck", check)).encode()
            frame = encode_relay(RELAYED, uuid.UUID(pair.b.id).bytes, inside)
            pair.a.endpoint.receive_datagram(frame, foreign.address, pair.world.now)
            pair.a.settle()
    pair.world.run_for(1)

    assert peer.sends_to == peer.address
    assert pair.in_use() is pair.servers[0]
    assert drops(pair.a, "relay_check_refused") == 6


def test_who_did_not_announce_it_is_never_sent_a_check() -> None:
    pair = Pair()
    peer: Peer = seen(pair.a, pair.b)
    peer.capabilities -= {Capability.RELAY_CHECK}
    pair.a.endpoint._failover._checks.sessions.clear()
    pair.a.endpoint._lifecycle.restart(peer, pair.world.now, "as an older node would be")
    pair.a.endpoint._lifecycle.authenticate(peer, pair.world.now)
    checks = drops(pair.b, "relay_check_refused")
    pair.world.remove(pair.in_use())
    flow = pair.flow()
    flow.run(1)

    assert drops(pair.b, "relay_check_refused") == checks
    assert pair.a.endpoint.sizes()["relayed_sessions"] == 0


# Sizes.


def test_nothing_is_left_of_it() -> None:
    pair = Pair(servers=3)
    flow = pair.flow()
    flow.run(2)
    pair.world.remove(pair.in_use())
    flow.run(2)
    flow.settle(2)
    pair.a.endpoint.disconnect(seen(pair.a, pair.b), "enough", pair.world.now)
    pair.world.run_for(90)

    for host in (pair.a, pair.b):
        sizes = host.endpoint.sizes()
        assert sizes["relayed_sessions"] == sizes["relayed_nodes"] == sizes["servers_doubted"] == 0
        assert host.endpoint._state.detours == {}
        assert len(host.endpoint.peers.relayed) == 0


def test_the_patience_of_an_earlier_loss_does_not_end_a_later_one() -> None:
    pair = Pair(servers=1)
    (server,) = pair.servers
    world = pair.world

    def lose() -> float:
        for host in (pair.a, pair.b):
            peer = server.endpoint.peers.with_id(host.id)
            assert peer is not None
            server.endpoint.disconnect(peer, "restart", world.now)
        server.settle()
        return world.now

    def is_alive() -> bool:
        return pair.a.endpoint.peers.authenticated(pair.b.id) is not None

    first = lose()
    world.run_for(1)
    for host in (pair.a, pair.b):
        host.outcome(host.connect(server))
    world.run_for(7)
    assert is_alive()
    second = lose()
    assert second < first + PATIENCE_S
    world.run_until(lambda: not is_alive(), 60)
    assert world.now - second == pytest.approx(PATIENCE_S, abs=0.1)
