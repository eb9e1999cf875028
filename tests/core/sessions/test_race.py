"""A node with several addresses: asked one after the other, and the first handshake wins."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from p2ptui.core.events import ConnectResult, PeerStatus, PeerStatusChanged, SendStatus
from p2ptui.core.sessions.other_ways import MAX_OTHER_WAYS, MAX_OTHER_WAYS_OF_ONE, UNDECIDED_S
from p2ptui.core.sessions.race import LATE_S, MAX_LOSERS, MAX_RACE_ADDRESSES
from p2ptui.errors import HandshakeError, LocalError
from p2ptui.wire.address import Address, format_address
from tests.simulation import Host, Puppet, World

SLOW_S = 0.2
"""One way: two requests have left before the first answer comes."""


class Wire:
    """Every datagram that leaves, as (time since the beginning, source, destination, message)."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.began = world.now
        self.sent: list[tuple[float, Address, Address, dict[str, Any]]] = []
        self.bytes: list[bytes] = []
        self.route: Callable[[Address, Address, dict[str, Any]], tuple[Address, Address] | None]
        self.route = lambda source, destination, _message: (source, destination)
        world.network.translate = self._translate

    def _translate(
        self, data: bytes, source: Address, destination: Address, now: float
    ) -> tuple[Address, Address] | None:
        message = json.loads(data) if data[:1] == b"{" else {"message_type": "frame", "id": ""}
        self.sent.append((round(now - self.began, 3), source, destination, message))
        self.bytes.append(data)
        return self.route(source, destination, message)

    def story(self, source: Address) -> list[tuple[float, str, Address]]:
        """What left an address: when, what and whereto."""
        return [
            (at, message["message_type"], to) for at, by, to, message in self.sent if by == source
        ]

    def of(self, kind: str, source: Address) -> list[tuple[float, Address, dict[str, Any]]]:
        return [
            (at, to, message)
            for at, by, to, message in self.sent
            if by == source and message["message_type"] == kind
        ]


def reference_server(world: World, address: Address | None = None) -> "ReferenceServer":
    server = ReferenceServer(world, world.network.attach(address or world.address()), "")
    world.hosts[server.address] = server
    return server


class ReferenceServer(Puppet):
    """Answers handshakes as a deployed server does, and remembers who asked."""

    def __init__(self, world: World, address: Address, node_id: str) -> None:
        super().__init__(world, address, node_id or world.node_id())
        self.heard: list[tuple[str, str]] = []

    def receive(self, data: bytes, source: Address) -> None:
        message = json.loads(data) if data[:1] == b"{" else {}
        self.heard.append((message.get("message_type", ""), message.get("id", "")))
        if message.get("message_type") == "HandshakeRequest":
            info = {
                "id": self.id,
                "name": "deployed",
                "version": "0.3.0",
                "listen_addr": "0.0.0.0:8080",
                "capabilities": ["handshake"],
                "metadata": {},
                "network_id": "p2p_default",
            }
            answer = {"node_info": info, "success": True, "error_message": None}
            ack = self.message("Ack", ack_for=message["id"])
            self._transmit(json.dumps(ack).encode(), source)
            response = self.message("HandshakeResponse", answer, sequence_number=None)
            self._transmit(json.dumps(response).encode(), source)
        else:
            super().receive(data, source)

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.heard]


def slow_world() -> World:
    return World(latency_s=SLOW_S)


def handshakes(wire: Wire, host: Host) -> list[tuple[float, Address, dict[str, Any]]]:
    return wire.of("HandshakeRequest", host.address)


# Who is asked, and when.


def test_the_addresses_are_asked_a_quarter_of_a_second_apart_with_the_same_bytes() -> None:
    world = World()
    client = world.host()
    dead = [world.puppet().address for _ in range(3)]
    wire = Wire(world)

    client.connect_any(*dead)
    world.run_for(0.52)

    asked = handshakes(wire, client)
    first = {to: at for at, to, _ in reversed(asked)}
    assert first == {dead[0]: 0.0, dead[1]: 0.25, dead[2]: 0.5}
    assert len({json.dumps(message) for _, _, message in asked}) == 1
    requests = [data for data in wire.bytes if b'"HandshakeRequest"' in data]
    assert len(set(requests)) == 1


def test_an_address_that_answers_in_time_is_the_only_one_asked() -> None:
    world = World()
    client, server, other = world.host(), world.host(), world.puppet()

    outcome = client.outcome(client.connect_any(server.address, other.address))

    assert outcome == ConnectResult(server.id, server.address, client.address)
    world.run_for(3)
    assert other.take() == []
    assert client.peer(other) is None


def test_where_the_first_address_is_dead_the_second_one_is_connected() -> None:
    world = World()
    client, dead, server = world.host(), world.puppet(), world.host()
    began = world.now

    outcome = client.outcome(client.connect_any(dead.address, server.address))

    assert outcome.address == server.address
    assert world.now - began == pytest.approx(0.25 + 0.02)
    world.run_for(12)
    assert set(dead.take_types()) == {"HandshakeRequest"}  # nothing is said to who never answered
    assert [peer.address for peer in client.endpoint.peers] == [server.address]
    assert client.endpoint.sizes()["addresses_that_lost"] == 0


def test_what_the_system_refuses_lets_the_next_one_begin_at_once() -> None:
    world = World()
    client, server = world.host(), world.host()
    unreachable = ("192.0.2.1", 8080)
    began = world.now
    token = client.connect_any(unreachable, server.address)

    client.endpoint.fail_datagram(unreachable, "no route", world.now)

    assert client.outcome(token).address == server.address
    assert world.now - began == pytest.approx(0.02)


def test_a_server_that_refuses_lets_the_next_one_begin_at_once() -> None:
    world = World()
    client, server = world.host(), world.host()
    stranger = world.host(network_id="elsewhere")
    began = world.now

    outcome = client.outcome(client.connect_any(stranger.address, server.address))

    assert outcome.address == server.address
    assert world.now - began == pytest.approx(0.04)


def test_where_all_are_dead_each_is_named_in_one_line_when_the_time_is_over() -> None:
    world = World()
    client = world.host()
    dead = [("10.0.0.100", 8080), ("10.0.0.101", 8080)]
    began = world.now

    error = client.outcome(client.connect_any(*dead, timeout_s=3.0))

    assert isinstance(error, HandshakeError)
    assert str(error) == (
        "no answer from 10.0.0.100:8080, no answer from 10.0.0.101:8080; is a node running there?"
    )
    assert world.now - began == pytest.approx(3.0)
    assert len(client.endpoint.peers) == 0


def test_where_they_failed_for_different_reasons_each_is_told_with_its_address() -> None:
    world = World()
    client, stranger = world.host(), world.host(("10.0.0.102", 8080), network_id="elsewhere")
    dead, unreachable = ("10.0.0.100", 8080), ("10.0.0.101", 8080)
    token = client.connect_any(dead, unreachable, stranger.address, timeout_s=3.0)
    world.run_for(0.3)

    client.endpoint.fail_datagram(unreachable, "no way there; check the address", world.now)

    assert str(client.outcome(token)) == (
        "no answer from 10.0.0.100:8080 (is a node running there?);"
        " cannot send to 10.0.0.101:8080: no way there (check the address);"
        " 10.0.0.102:8080 refused the handshake: network mismatch: expected 'elsewhere',"
        " got 'p2p_default'"
    )


def test_an_address_is_named_also_where_its_reason_names_another_one() -> None:
    """Two addresses of a node with which there is a session at a third one."""
    world = World()
    client, server = world.host(), world.host()
    wire = Wire(world)
    client.outcome(client.connect(server))
    other = ("10.0.0.150", 8080)
    wire.route = lambda source, to, message: (
        ((client.address[0], 9), server.address) if to == other else (source, to)
    )

    error = str(client.outcome(client.connect_any(other, ("10.0.0.151", 8080), timeout_s=2.0)))

    assert "10.0.0.150:8080" in error
    assert "10.0.0.151:8080" in error


def test_time_that_is_over_ends_it_though_not_all_were_asked() -> None:
    world = World()
    client = world.host()
    dead = [world.puppet() for _ in range(3)]

    error = client.outcome(client.connect_any(*(one.address for one in dead), timeout_s=0.4))

    assert isinstance(error, HandshakeError)
    world.run_for(1)
    assert dead[2].take() == []


def test_not_more_addresses_are_asked_than_a_name_may_have() -> None:
    world = World()
    client = world.host()
    dead = [world.puppet() for _ in range(MAX_RACE_ADDRESSES + 2)]

    client.connect_any(*(one.address for one in dead))
    world.run_for(5)

    assert [bool(one.take()) for one in dead] == [True] * MAX_RACE_ADDRESSES + [False] * 2


def test_without_an_address_there_is_nothing_to_ask() -> None:
    with pytest.raises(LocalError):
        World().host().connect_any()


def test_a_full_table_is_told_at_once() -> None:
    world = World()
    client = world.host(max_connections=1)
    client.outcome(client.connect(world.host()))

    with pytest.raises(LocalError, match="max_connections"):
        client.connect_any(("10.0.0.100", 1), ("10.0.0.101", 1))


def test_a_table_with_one_place_left_is_used_for_the_first_address() -> None:
    world = World()
    client, server = world.host(max_connections=1), world.host()

    late = client.connect_any(("10.0.0.100", 1), ("10.0.0.101", 1), timeout_s=1)
    assert isinstance(client.outcome(late), HandshakeError)

    assert client.outcome(client.connect_any(server.address, ("10.0.0.101", 1))).node_id


def test_a_session_with_one_of_the_addresses_is_the_answer() -> None:
    world = World()
    client, server, other = world.host(), world.host(), world.puppet()
    client.outcome(client.connect(server))

    outcome = client.outcome(client.connect_any(other.address, server.address), 0.001)

    assert outcome.address == server.address
    assert other.take() == []


def test_a_node_that_comes_by_itself_meanwhile_is_the_answer() -> None:
    world = slow_world()
    client, dead, server = world.host(), world.puppet(), world.host()
    began = world.now
    token = client.connect_any(dead.address, server.address)
    server.connect(client)

    assert client.outcome(token).address == server.address
    assert world.now - began < 0.45
    assert len(client.endpoint.peers) == 1


def test_two_calls_for_the_same_addresses_share_one_race() -> None:
    world = slow_world()
    client, first, second = world.host(), world.host(), world.host()
    tokens = [client.connect_any(first.address, second.address) for _ in range(2)]

    outcomes = [client.outcome(token) for token in tokens]

    assert [one.address for one in outcomes] == [first.address] * 2
    world.run_for(3)
    assert not second.is_connected_to(client)


def test_an_address_that_somebody_else_asks_for_goes_on_when_the_race_is_lost() -> None:
    world = slow_world()
    client, first, second = world.host(), world.host(), world.host()
    race = client.connect_any(first.address, second.address)
    single = client.connect(second)

    assert client.outcome(race).address == first.address
    assert client.outcome(single).address == second.address
    world.run_for(3)
    assert first.is_connected_to(client)
    assert second.is_connected_to(client)


# The goodbye of the loser.


def test_another_node_that_answers_too_late_is_told_goodbye() -> None:
    world = slow_world()
    client, first, second = world.host(), world.host(), world.host()
    wire = Wire(world)

    assert client.outcome(client.connect_any(first.address, second.address)).node_id == first.id
    world.run_until(lambda: second.is_connected_to(client))
    world.run_until(lambda: not second.is_connected_to(client), within=0.41)

    ((at, to, goodbye),) = wire.of("Disconnect", client.address)
    assert (at, to) == (0.65, second.address)
    ((_, _, response),) = wire.of("HandshakeResponse", second.address)
    assert goodbye["payload"]["handshake"] == response["id"]
    assert client.peer(second) is None
    (failed,) = [
        event
        for event in client.told(PeerStatusChanged)
        if event.address == second.address and event.status is PeerStatus.FAILED
    ]
    assert "reached at" in failed.reason
    assert first.is_connected_to(client)


def test_a_lost_goodbye_is_said_again_when_the_answer_comes_again() -> None:
    world = slow_world()
    client, first, second = world.host(), world.host(), world.host()
    wire = Wire(world)
    wire.route = lambda source, to, message: (
        None if message["message_type"] == "Disconnect" and world.now < 1001 else (source, to)
    )

    client.outcome(client.connect_any(first.address, second.address))
    world.run_for(1)
    assert second.is_connected_to(client)
    data = next(data for data in wire.bytes if b'"HandshakeRequest"' in data)
    world.network.send(data, client.address, second.address, world.now)
    world.run_for(1)

    assert not second.is_connected_to(client)


def test_who_lost_is_left_unanswered_and_soon_forgotten() -> None:
    world = slow_world()
    client, first, second = world.host(), world.host(), world.puppet()
    client.outcome(client.connect_any(first.address, second.address))
    world.run_for(0.3)
    second.take()

    second.say("Ping", None, client)
    second.say("HandshakeResponse", {"success": False}, client)
    second.say("HandshakeResponse", 7, client)
    second.say("HandshakeResponse", {"success": True}, client, ack_for=12345)
    world.run_for(1)
    assert second.take() == []

    world.run_for(LATE_S)
    second.say("Ping", None, client)
    world.run_for(2)
    assert second.take_types() == ["Error"]


def test_who_lost_can_be_asked_for_itself() -> None:
    world = slow_world()
    client, first, second = world.host(), world.host(), world.host()
    client.outcome(client.connect_any(first.address, second.address))

    assert client.outcome(client.connect(second)).address == second.address
    world.run_for(20)
    assert second.is_connected_to(client)


def test_what_is_remembered_of_losers_is_bounded() -> None:
    world = World(latency_s=0.13)
    client = world.host(max_connections=1000)
    for _ in range(MAX_LOSERS // 2 + 20):
        server = world.host()
        client.outcome(client.connect_any(("10.9.0.1", 1000 + len(world.hosts)), server.address))

    assert client.endpoint.sizes()["addresses_that_lost"] <= MAX_LOSERS


# One server by two ways.


class TwoWays:
    """A client that has two addresses, and a server that has two: each way is a pair of them."""

    def __init__(self, latency_s: float = SLOW_S) -> None:
        self.world = World(latency_s=latency_s)
        self.client, self.server = self.world.host(), self.world.host()
        self.wire = Wire(self.world)
        self.wire.route = self._route
        self.client2 = ("10.200.0.1", 5000)
        self.server2 = ("10.200.0.2", 8080)
        self.lost: Callable[[str, int, str], bool] = lambda _kind, _way, _by: False

    def _route(
        self, source: Address, to: Address, message: dict[str, Any]
    ) -> tuple[Address, Address] | None:
        way = 2 if self.server2 in (source, to) or self.client2 in (source, to) else 1
        by = "client" if source == self.client.address else "server"
        if self.lost(message["message_type"], way, by):
            return None
        if to == self.server2:
            return self.client2, self.server.address
        if to == self.client2:
            return self.server2, self.client.address
        return source, to

    def connect(self) -> ConnectResult:
        token = self.client.connect_any(self.server.address, self.server2)
        outcome = self.client.outcome(token)
        assert isinstance(outcome, ConnectResult), outcome
        return outcome

    def require_one_session(self, at: Address) -> None:
        assert [peer.address for peer in self.server.endpoint.peers] == [at]
        assert [peer.node_id for peer in self.client.endpoint.peers] == [self.server.id]
        token = self.client.send_to_server("hello")
        assert self.client.outcome(token).status is SendStatus.DELIVERED
        peer = self.server.endpoint.peers.with_id(self.client.id)
        token = self.server.endpoint.send(peer, "hello too", self.world.now)
        self.server.settle()
        assert self.server.outcome(token).status is SendStatus.DELIVERED


@pytest.fixture
def ways() -> TwoWays:
    two = TwoWays()

    def send_to_server(payload: Any) -> int:
        peer = two.client.endpoint.peers.with_id(two.server.id)
        token = two.client.endpoint.send(peer, payload, two.world.now)
        two.client.settle()
        return token

    two.client.send_to_server = send_to_server  # type: ignore[attr-defined]
    return two


def test_the_first_way_has_the_session_and_the_second_is_no_claim(ways: TwoWays) -> None:
    assert ways.connect().address == ways.server.address
    ways.world.run_for(8)

    ways.require_one_session(ways.client.address)
    assert ways.server.endpoint.counters.handshakes_accepted == 1
    assert ways.server.endpoint.counters.handshakes_refused == 0
    assert ways.server.endpoint.sizes()["other_ways"] == 0
    # Its answer came all the same, names where it went, and was told goodbye.
    first, second = [m for _, _, m in ways.wire.of("HandshakeResponse", ways.server.address)]
    assert first["payload"]["public_addr"] == format_address(ways.client.address)
    assert second["payload"]["public_addr"] == format_address(ways.client2)
    ((_, to, goodbye),) = ways.wire.of("Disconnect", ways.client.address)
    assert (to, goodbye["payload"]["handshake"]) == (ways.server2, second["id"])


def test_the_session_moves_to_the_way_whose_answer_was_taken(ways: TwoWays) -> None:
    ways.lost = lambda kind, way, by: (
        kind == "HandshakeResponse" and way == 1 and ways.world.now < 1000.9
    )

    assert ways.connect().address == ways.server2
    ways.world.run_for(8)

    ways.require_one_session(ways.client2)
    left = [e for e in ways.server.told(PeerStatusChanged) if e.status is PeerStatus.DISCONNECTED]
    assert [event.reason for event in left] == ["it goes on at 10.200.0.1:5000"]
    assert ways.server.endpoint.counters.handshakes_refused == 0


def test_a_goodbye_to_the_first_way_moves_it_as_well(ways: TwoWays) -> None:
    answers: list[int] = []

    def lost(kind: str, way: int, by: str) -> bool:
        if kind == "HandshakeResponse" and way == 1:
            answers.append(way)
            return len(answers) < 2
        return kind == "Ack" and way == 2 and by == "client"

    ways.lost = lost
    assert ways.connect().address == ways.server2
    ways.world.run_for(8)

    ways.lost = lambda *_: False
    ways.require_one_session(ways.client2)


def test_it_heals_where_both_the_ack_and_the_goodbye_are_lost(ways: TwoWays) -> None:
    def lost(kind: str, way: int, by: str) -> bool:
        is_said = kind in ("Ack", "Disconnect") and by == "client"
        return (way == 1 and by == "server") or (is_said and ways.world.now < 1002)

    ways.lost = lost
    assert ways.connect().address == ways.server2
    ways.world.run_for(15)

    ways.require_one_session(ways.client2)


def test_one_client_address_is_one_session_whatever_address_of_the_server_it_asks() -> None:
    world = slow_world()
    client, server = world.host(), world.host()
    wire = Wire(world)
    second = ("10.200.0.2", 8080)
    answers: list[str] = []

    def route(source: Address, to: Address, message: dict[str, Any]) -> tuple[Address, Address]:
        if to == second:
            return source, server.address
        if source == server.address and message["message_type"] == "HandshakeResponse":
            answers.append(message["id"])
            return (second if len(answers) > 1 else source), to
        return source, to

    wire.route = route
    assert client.outcome(client.connect_any(server.address, second)).address == server.address
    world.run_for(8)

    assert len(answers) == 2
    assert len(set(answers)) == 1
    assert wire.of("Disconnect", client.address) == []
    assert server.is_connected_to(client)
    assert server.endpoint.counters.handshakes_accepted == 1


def test_a_move_to_two_new_addresses_of_a_client_that_fell_silent(ways: TwoWays) -> None:
    """The old session is asked first, as ever; then both ways are the same attempt."""
    old = ways.world.host(node_id=ways.client.id)
    old.outcome(old.connect(ways.server))
    ways.world.run_for(1)
    ways.world.remove(old)

    began = ways.world.now
    assert ways.connect().address == ways.server.address
    assert ways.world.now - began < 2.0
    ways.world.run_for(8)

    ways.require_one_session(ways.client.address)
    assert ways.server.endpoint.counters.handshakes_refused == 0


@pytest.mark.parametrize("late_s", [0.3, 3.0, 8.0, 60.0])
def test_a_late_copy_of_a_raced_request_is_no_dispute_about_the_id(late_s: float) -> None:
    """The datagram of the loser was seconds on its way, and another way at that."""
    two = TwoWays(latency_s=0.02)
    assert two.connect().address == two.server.address
    two.world.run_for(late_s)
    request = next(data for data in two.wire.bytes if b'"HandshakeRequest"' in data)
    before = len(two.wire.of("Ping", two.server.address))

    two.world.network.send(request, two.client.address, two.server2, two.world.now)
    two.world.run_for(0.25)

    counters, sizes = two.server.endpoint.counters, two.server.endpoint.sizes()
    assert counters.drops["late_handshake"] == 1
    assert sizes["id_disputes"] == 0
    assert len(two.wire.of("Ping", two.server.address)) - before <= 1, "a heartbeat, and no more"
    assert two.server.is_connected_to(two.client)
    assert two.client.is_connected_to(two.server)


def test_after_a_late_copy_the_client_can_move_as_before(ways: TwoWays) -> None:
    ways.connect()
    ways.world.run_for(3)
    request = next(data for data in ways.wire.bytes if b'"HandshakeRequest"' in data)
    ways.world.network.send(request, ways.client.address, ways.server2, ways.world.now)
    ways.world.run_for(1)

    moved = ways.world.host(node_id=ways.client.id)
    ways.world.remove(ways.client)
    began = ways.world.now
    outcome = moved.outcome(moved.connect(ways.server))

    assert isinstance(outcome, ConnectResult)
    assert ways.world.now - began < 2.5, "nobody counts as having proved itself a moment ago"

    ways.world.run_for(3)
    ways.world.network.send(request, ("10.200.0.3", 7), ways.server.address, ways.world.now)
    ways.world.run_for(0.3)
    assert ways.server.endpoint.sizes()["id_disputes"] == 0, "nor do copies of before the move"
    assert ways.server.endpoint.counters.drops["late_handshake"] == 2
    assert ways.server.is_connected_to(moved)


# What somebody else can do with all this.


def request_of(wire: Wire) -> dict[str, Any]:
    return next(m for _, _, _, m in wire.sent if m["message_type"] == "HandshakeRequest")


def test_the_id_of_a_request_is_of_no_use_once_its_answer_was_acknowledged() -> None:
    world = World()
    client, server, thief = world.host(), world.host(), world.puppet()
    wire = Wire(world)
    client.outcome(client.connect(server))
    world.run_for(0.1)

    thief.send(request_of(wire), server)
    world.run_for(2)

    (refusal,) = thief.take()
    assert refusal["payload"]["success"] is False
    assert server.is_connected_to(client)


def test_a_way_to_an_address_that_has_become_another_peer_s_takes_nobody_s_place() -> None:
    """A request is repeated in the name of an address where somebody joins a moment later."""
    world = slow_world()
    attacker, victim, server = world.host(), world.host(), world.host()
    wire = Wire(world)
    attacker.connect(server)
    world.run_for(0.25)
    request = json.dumps(request_of(wire)).encode()
    world.network.send(request, victim.address, server.address, world.now)
    world.run_for(0.5)
    victim.outcome(victim.connect(server))

    attacker.endpoint.disconnect(attacker.peer(server), "", world.now)
    attacker.settle()
    world.run_for(3)

    assert server.is_connected_to(victim)
    assert server.peer(victim).node_id == victim.id


def test_an_ack_of_an_answer_that_was_not_seen_takes_nothing() -> None:
    """The number of a first answer is known to nobody else; blind Acks name others."""
    world = slow_world()
    client, server, thief = world.host(), world.host(), world.puppet()
    wire = Wire(world)
    client.connect(server)
    world.run_for(0.25)
    thief.send(request_of(wire), server)
    for number in range(50):
        thief.say("Ack", None, server, ack_for=number)
    world.run_for(3)

    assert server.is_connected_to(client)
    assert not server.is_connected_to(thief)


def test_a_second_way_is_answered_within_three_times_its_bytes_and_kept_briefly() -> None:
    world = World(latency_s=0.01)
    client, server = world.puppet(), world.host()
    client.answers_pings = False
    request = client.spec_message(
        "HandshakeRequest",
        {"node_id": client.id, "listen_addr": "", "capabilities": ["retransmit"]},
        requires_ack=True,
    ) | {"sequence_number": 41}
    client.send(request, server)
    world.run_for(0.05)
    others = [world.puppet() for _ in range(MAX_OTHER_WAYS_OF_ONE + 30)]
    for other in others:
        other.send(request, server)
    world.run_for(0.5)

    assert server.endpoint.sizes()["other_ways"] == MAX_OTHER_WAYS_OF_ONE
    assert all(other.bytes_received <= 3 * other.bytes_sent for other in others)
    assert len(server.endpoint.peers) == 1
    world.run_for(UNDECIDED_S)
    assert server.endpoint.sizes()["other_ways"] == 0
    assert server.endpoint.sizes()["timers"] < 10


def test_many_askers_together_have_room_for_so_many_other_ways() -> None:
    world = World()
    server = world.host(max_connections=1000, max_requests_per_ip=10_000)
    askers = [world.puppet() for _ in range(MAX_OTHER_WAYS + 40)]
    for asker in askers:
        asker.answers_pings = False
        request = asker.handshake_request()
        asker.send(request, server)
        world.run_for(0.012)
        world.puppet().send(request, server)
        world.run_for(0.001)

    assert server.endpoint.sizes()["other_ways"] == MAX_OTHER_WAYS
    assert server.endpoint.counters.drops["other_ways_full"] > 0


def test_an_asker_that_acknowledges_nothing_moves_by_any_message() -> None:
    """A deployed client whose NAT gave it another port between two tries."""
    world = World()
    server, client = world.host(), world.puppet()
    moved = world.puppet(node_id=client.id)
    request = client.handshake_request()
    client.send(request, server)
    world.run_for(0.1)
    world.remove(client)
    moved.send(request, server)
    world.run_for(0.1)
    (response,) = moved.take()
    assert response["payload"]["success"] is True
    assert not server.is_connected_to(moved)

    moved.say("Data", "hello", server, requires_ack=True)
    world.run_for(1)

    assert server.received() == ["hello"]
    assert [peer.address for peer in server.endpoint.peers] == [moved.address]
    assert "Ack" in moved.take_types()


def test_another_id_from_elsewhere_is_a_claim_as_ever() -> None:
    world = World()
    client, server = world.host(), world.host()
    client.outcome(client.connect(server))
    thief = world.puppet(node_id=client.id)

    (refusal,) = [m for m in thief.join(server) if m["message_type"] == "HandshakeResponse"]

    assert "already exists" in refusal["payload"]["error_message"]


# Deployed servers.


def test_a_deployed_server_is_asked_once_more_when_the_other_way_was_closed() -> None:
    world = slow_world()
    client = world.host()
    winner = reference_server(world)
    loser = reference_server(world)
    wire = Wire(world)

    outcome = client.outcome(client.connect_any(winner.address, loser.address))

    assert outcome.address == winner.address
    world.run_for(0.3)
    story = [(kind, to) for _, kind, to in wire.story(client.address) if kind != "Ping"]
    assert story[:4] == [
        ("HandshakeRequest", winner.address),
        ("HandshakeRequest", loser.address),
        ("Disconnect", loser.address),
        ("HandshakeRequest", winner.address),
    ]
    asked = [identity for kind, identity in winner.heard if kind == "HandshakeRequest"]
    assert len(set(asked)) == 2
    assert len({identity for kind, identity in loser.heard if kind == "HandshakeRequest"}) == 1
    assert client.endpoint.counters.drops.get("unsolicited_handshake_response", 0) == 0


def test_a_dead_way_beside_a_deployed_server_is_told_nothing() -> None:
    world = World()
    client, dead, server = world.host(), world.puppet(), reference_server(world)

    began = world.now
    assert client.outcome(client.connect_any(dead.address, server.address)).address
    assert world.now - began == pytest.approx(0.25 + 2 * 0.02)  # twice, and no wait between

    world.run_for(1)
    assert set(dead.take_types()) == {"HandshakeRequest"}
    assert server.kinds().count("HandshakeRequest") == 2


def test_a_deployed_server_that_answered_at_once_is_asked_once() -> None:
    world = World()
    client, server, other = world.host(), reference_server(world), world.puppet()

    client.outcome(client.connect_any(server.address, other.address))
    world.run_for(1)

    assert server.kinds().count("HandshakeRequest") == 1
    assert other.take() == []


def test_an_answer_that_comes_still_later_costs_one_more_handshake() -> None:
    """It may have taken the id over there."""
    world = World()
    client = world.host()
    quick, late = reference_server(world), reference_server(world)
    late.id = quick.id
    world.network.set_link(late.address[0], client.address[0], latency_s=1.0)

    token = client.connect_any(late.address, quick.address)
    assert client.outcome(token).address == quick.address
    before = quick.kinds().count("HandshakeRequest")
    world.run_for(2)

    assert "Disconnect" in late.kinds()
    assert quick.kinds().count("HandshakeRequest") == before + 1
    assert client.is_connected_to(quick)


def test_a_deployed_server_that_falls_silent_when_asked_again_is_told_as_such() -> None:
    world = World()
    client, dead, server = world.host(), world.puppet(), reference_server(world)
    wire = Wire(world)
    ids: list[str] = []

    def route(source: Address, to: Address, message: dict[str, Any]) -> Any:
        if to == server.address and message["id"] not in ids:
            ids.append(message["id"])
        return None if to == server.address and message["id"] in ids[1:] else (source, to)

    wire.route = route
    error = client.outcome(client.connect_any(dead.address, server.address, timeout_s=2))

    assert isinstance(error, HandshakeError)
    assert len(client.endpoint.peers) == 0
