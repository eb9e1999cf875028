"""What deployed clients do that our own nodes never would, and what they get all the same.

They answer no Ping, look only at the first datagram, acknowledge nothing, take the server's id for
their own, and sit idle for minutes. Whatever they get stays within three times their own bytes.
"""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.simulation import Host, Puppet, World

DATAGRAMS: Final = Path(__file__).parent.parent / "data" / "reference-datagrams.jsonl"

ENTRY_BYTES: Final = 112
"""What one entry of a list takes, with its comma, at most."""


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Host:
    return world.host(allow_symmetric_nat_relay=True)


def fill(world: World, server: Host, count: int) -> list[Host]:
    nodes = [world.host() for _ in range(count)]
    for node in nodes:
        node.connect(server)
    world.run_for(5)
    return nodes


def fresh(world: World, server: Host) -> Puppet:
    """A client that has shaken hands and answers no Ping."""
    client = world.puppet()
    client.answers_pings = False
    client.join(server)
    return client


def within_three_times(client: Puppet) -> bool:
    return client.bytes_received <= 3 * client.bytes_sent


def of_kind(messages: list[dict[str, Any]], kind: str) -> list[Any]:
    return [message["payload"] for message in messages if message["message_type"] == kind]


# Bytes are scarce before a proof: what they pay for, and in which order.


@pytest.mark.parametrize("requires_ack", [False, True])
def test_its_requests_are_answered_before_it_is_asked_for_a_proof(
    world: World, server: Host, requires_ack: bool
) -> None:
    fill(world, server, 8)
    client = fresh(world, server)
    questions = [
        ("ListNodesRequest", None, "ListNodesResponse"),
        ("DiscoveryRequest", None, "DiscoveryResponse"),
        ("Data", {"cmd": "get_routes"}, "Data"),
    ]
    pings = 0
    for kind, payload, answer_kind in questions:
        got = client.ask(kind, payload, server, requires_ack=requires_ack)
        assert within_three_times(client)
        answer = of_kind(got, answer_kind)[0]
        assert got[0]["message_type"] in (answer_kind, "Ack")
        entries = answer if isinstance(answer, list) else answer.get("nodes", answer.get("routes"))
        assert len(entries) > 0
        pings += len(of_kind(got, "Ping"))
    assert pings <= 1

    newcomers = []
    for _ in range(5):
        newcomers.append(world.host())
        newcomers[-1].connect(server)
        world.run_for(2)
    told = [entry["id"] for page in of_kind(client.take(), "DiscoveryResponse") for entry in page]
    if not requires_ack:
        assert told  # it is idle all the while
    # The others come, in the same order, as soon as it says anything.
    while len(told) < 5:
        pages = of_kind(client.ask("Ping", None, server), "DiscoveryResponse")
        assert pages
        told += [entry["id"] for page in pages for entry in page]
        assert within_three_times(client)
    assert told == [node.id for node in newcomers]


def test_a_list_is_cut_to_what_may_be_sent_and_can_be_asked_for_again(
    world: World, server: Host
) -> None:
    fill(world, server, 30)
    client = fresh(world, server)
    for _ in range(5):
        (page,) = of_kind(client.ask("DiscoveryRequest", None, server), "DiscoveryResponse")
        assert 0 < len(page) < 30
        assert within_three_times(client)

    client.answers_pings = True
    server.ping(client)
    world.run_for(1)
    client.take()
    pages = of_kind(client.ask("DiscoveryRequest", None, server), "DiscoveryResponse")
    assert len({entry["id"] for page in pages for entry in page}) == 30


def test_newcomers_that_left_again_are_not_told(world: World, server: Host) -> None:
    client = fresh(world, server)
    nodes = fill(world, server, 6)
    for node in nodes[:3]:
        server.endpoint.disconnect(server.peer(node), "go", world.now)
    world.run_for(2)
    client.take()
    told: list[str] = []
    for _ in range(6):
        pages = of_kind(client.ask("Ping", None, server), "DiscoveryResponse")
        told += [entry["id"] for page in pages for entry in page]

    assert set(told) <= {node.id for node in nodes[3:]}


def test_the_ack_goes_overboard_before_the_answer(world: World, server: Host) -> None:
    fill(world, server, 8)
    client = fresh(world, server)
    for number in range(20):
        kind = ("DiscoveryRequest", "ListNodesRequest")[number % 2]
        got = client.ask(kind, None, server, requires_ack=True)
        assert kind.replace("Request", "Response") in [m["message_type"] for m in got]
        assert within_three_times(client)


# Who is still there.


@pytest.mark.parametrize(("heartbeat", "timeout"), [(5, 18), (30, 60), (10, 25), (1, 4)])
@pytest.mark.parametrize("in_company", [False, True])
def test_a_client_that_misses_its_first_ping_is_asked_again(
    world: World, heartbeat: float, timeout: float, in_company: bool
) -> None:
    server = world.host(heartbeat_interval=heartbeat, connection_timeout=timeout)
    if in_company:
        fill(world, server, 8)
    client = world.puppet()
    client.answers_pings = False
    client.send(client.handshake_request(), server)
    world.run_until(lambda: any(b'"Ping"' in data for data in client.inbox), timeout)
    client.answers_pings = True

    world.run_for(600)

    assert server.is_connected_to(client)


@pytest.mark.parametrize("seed", range(20))
def test_silence_to_one_ping_removes_nobody(seed: int) -> None:
    """Wherever it falls between the last word of a client and the end of the timeout."""
    world = World(seed)
    server, client = world.host(), world.puppet()
    client.join(server)
    server.ping(client)
    world.run_for(1 + 3 * seed)
    for _ in range(5):
        client.say("Ping", None, server)
        world.run_for(0.5)
        client.take()
        client.answers_pings = False
        world.run_until(lambda: any(b'"Ping"' in data for data in client.inbox), 40)
        client.answers_pings = True
        world.run_for(70)
        assert server.is_connected_to(client)


@pytest.mark.parametrize("in_company", [False, True])
def test_silence_to_several_pings_removes_a_client(world: World, in_company: bool) -> None:
    server = world.host()
    if in_company:
        fill(world, server, 8)
    client = fresh(world, server)
    joined_at = world.now
    for _ in range(3):  # news must not take what the Pings need
        world.host().connect(server)
        world.run_for(2)

    world.run_until(lambda: server.peer(client) is None, 70)

    assert world.now - joined_at >= 58
    pings = sum(b'"message_type":"Ping"' in data for data in client.inbox)
    assert 2 <= pings <= 4
    assert within_three_times(client)


def test_a_client_that_speaks_within_the_timeout_is_kept(world: World, server: Host) -> None:
    fill(world, server, 4)
    client = fresh(world, server)
    for _ in range(30):
        world.run_for(50)
        client.say("Data", {"text": "still here"}, server)
        world.run_for(1)
        assert server.is_connected_to(client)
        assert "Data" in client.take_types()  # its echo
        assert within_three_times(client)


def test_a_client_that_sits_idle_for_three_minutes_is_told_to_shake_hands(
    world: World, server: Host
) -> None:
    client = fresh(world, server)
    world.run_for(180)
    client.take()

    (error,) = of_kind(client.ask("ListNodesRequest", None, server), "Error")

    assert error["code"] == "unauthenticated"
    assert client.join(server)[0]["payload"]["success"] is True


def test_a_client_that_only_answers_pings_may_be_idle_as_long_as_it_likes(
    world: World, server: Host
) -> None:
    fill(world, server, 4)
    client = world.puppet()
    client.join(server)
    world.run_for(180)

    assert server.is_connected_to(client)
    pages = of_kind(client.ask("ListNodesRequest", None, server), "ListNodesResponse")
    assert sum(len(page["nodes"]) for page in pages) == 5


@pytest.mark.parametrize(
    ("kind", "pause_s"),
    [("ListNodesRequest", 0.4), ("DiscoveryRequest", 0.4), ("ListNodesRequest", 12.0)],
)
def test_a_long_list_comes_in_parts_one_for_each_request(
    world: World, server: Host, kind: str, pause_s: float
) -> None:
    nodes = fill(world, server, 20)
    client = fresh(world, server)
    seen: list[str] = []
    asked = 0
    while set(seen) < {node.id for node in nodes} and asked < 40:
        asked += 1
        client.say(kind, None, server)
        world.run_for(pause_s)
        for payload in of_kind(client.take(), kind.replace("Request", "Response")):
            entries = payload if isinstance(payload, list) else payload["nodes"]
            seen += [entry["id"] for entry in entries]
        assert within_three_times(client)

    assert set(seen) - {client.id} == {node.id for node in nodes}
    assert len(seen) <= 22  # nobody twice before everybody once
    client.say(kind, None, server)
    world.run_for(1)
    assert of_kind(client.take(), kind.replace("Request", "Response"))  # and then from the start


# The list that follows a handshake.


def captured_handshake() -> str:
    """A HandshakeRequest as it came from a deployed client."""
    for line in DATAGRAMS.read_text().splitlines():
        datagram = json.loads(line)
        if datagram["case"] == "handshake" and datagram["to"] == "server":
            return str(datagram["datagram"])
    raise AssertionError("no handshake was captured")


@pytest.mark.parametrize("others", [1, 2, 8, 30])
@pytest.mark.parametrize("padding", [0, 40, 120, 400, 2000])
def test_a_silent_client_is_listed_as_many_nodes_as_fit(
    world: World, server: Host, others: int, padding: int
) -> None:
    fill(world, server, others)
    heard_of_last = [peer.node_id for peer in server.endpoint.peers.recent()]
    client = world.puppet()
    client.answers_pings = False
    client.send(captured_handshake() + " " * padding, server)
    world.run_for(1)

    got = client.take()
    kinds = [message["message_type"] for message in got]
    assert kinds[0] == "HandshakeResponse"
    assert kinds[1 + (kinds[1] == "Ack")] == "DiscoveryResponse"
    pages = of_kind(got, "DiscoveryResponse")
    told = [entry["id"] for page in pages for entry in page]
    assert told == heard_of_last[: len(told)]
    assert len(told) >= 1
    unspent = 3 * client.bytes_sent - client.bytes_received
    if len(told) < min(others, 8):
        # Neither the Ack nor a Ping has cost an entry, and two Pings may still follow.
        assert "Ack" not in kinds
        assert "Ping" not in kinds
        assert 2 * 164 <= unspent < 2 * 168 + ENTRY_BYTES
    elif "Ack" not in kinds:
        assert unspent < 2 * 168 + 200
    world.run_until(lambda: server.peer(client.address) is None, 70)
    assert of_kind(client.take(), "Ping")
    assert within_three_times(client)


def test_the_ack_that_made_room_for_a_list_leaves_with_the_next_bytes(
    world: World, server: Host
) -> None:
    fill(world, server, 1)
    client = world.puppet()
    client.answers_pings = False
    request = captured_handshake()
    client.send(request, server)
    world.run_for(1)
    assert "Ack" not in client.take_types()

    got = client.ask("Ping", None, server)

    assert [message["message_type"] for message in got] == ["Pong", "Ack"]
    assert got[1]["ack_for"] == json.loads(request)["id"]
    assert within_three_times(client)


def test_a_client_that_answers_pings_has_the_whole_first_page_soon(
    world: World, server: Host
) -> None:
    nodes = fill(world, server, 8)
    client = world.puppet()
    client.send(captured_handshake(), server)
    world.run_for(70)

    pages = of_kind(client.take(), "DiscoveryResponse")

    assert {entry["id"] for page in pages for entry in page} == {node.id for node in nodes}


# What this node's own user sends takes nothing of what the client itself has paid for.


def test_lines_of_the_user_take_no_answer_from_a_silent_client(world: World, server: Host) -> None:
    client = fresh(world, server)
    kinds: list[str] = []
    for number in range(20):
        got = client.ask("Data", {"message": "x" * 800}, server, requires_ack=True)
        kinds += [message["message_type"] for message in got]
        for line in range(3):
            server.send(client, {"line": [number, line]})
        world.run_for(1)
        kinds += client.take_types()
    assert kinds.count("Ack") == 20
    assert kinds.count("Data") == 20 * (1 + 3), "an echo each, and the lines"
    assert "Pong" in [m["message_type"] for m in client.ask("Ping", None, server)]


def test_a_client_that_missed_a_ping_is_asked_again_whatever_the_user_sends(world: World) -> None:
    server = world.host(heartbeat_interval=1.0, connection_timeout=4.0)
    client = fresh(world, server)
    client.ask("Data", {"message": "x" * 1500}, server, requires_ack=True)
    for line in range(6):
        server.send(client, {"line": line})
    client.answers_pings = True
    world.run_for(20)
    peer = server.peer(client)
    assert peer is not None
    assert peer.is_authenticated
    assert world.now - peer.answered_at < 4


def test_a_silent_client_that_spoke_long_learns_of_many(world: World, server: Host) -> None:
    fill(world, server, 40)
    client = fresh(world, server)
    client.ask("Data", {"message": "x" * 8000}, server)
    answers = of_kind(client.ask("ListNodesRequest", None, server), "ListNodesResponse")
    assert sum(len(answer["nodes"]) for answer in answers) >= 16, "all datagrams that it has earned"
    assert within_three_times(client)


# What others send to one that only listens.


def routed(source: Puppet, target: Puppet, text: str, world: World) -> dict[str, Any]:
    original = {
        "id": world.message_id(),
        "message_type": "Data",
        "timestamp": 1,
        "payload": {"text": text},
        "sender_addr": None,
        "sequence_number": None,
        "requires_ack": False,
        "ack_for": None,
    }
    return {
        "original_message": original,
        "source_node": source.id,
        "destination_node": target.id,
        "hop_count": 0,
        "max_hops": 8,
        "route_id": world.message_id(),
    }


def texts(messages: list[dict[str, Any]]) -> list[str]:
    return [
        payload["original_message"]["payload"]["text"]
        for payload in of_kind(messages, "Data")
        if "original_message" in payload
    ]


@pytest.mark.parametrize("seed", range(10))
def test_one_that_only_listens_loses_nothing_in_its_first_minute(seed: int) -> None:
    world = World(seed)
    server = world.host()
    sender, *listeners = (world.puppet() for _ in range(4))
    for client in (sender, *listeners):
        client.join(server)
    for number in range(130):
        for listener in listeners:
            sender.say("Data", routed(sender, listener, str(number), world), server)
        world.run_for(0.5)
    world.run_for(3)

    assert "Error" not in sender.take_types()
    for listener in listeners:
        assert sorted(map(int, texts(listener.take()))) == list(range(130))


@pytest.mark.parametrize("seed", range(10))
def test_a_burst_for_one_that_has_just_come_follows_its_proof(seed: int) -> None:
    world = World(seed)
    server = world.host()
    sender, listener = world.puppet(), world.puppet()
    sender.join(server)
    listener.send(listener.handshake_request(), server)
    world.run_for(0.1)
    for number in range(50):
        sender.say("Data", routed(sender, listener, str(number), world), server)
    world.run_until(lambda: server.peer(listener).proved, 40)  # type: ignore[union-attr]
    assert within_three_times(listener)
    world.run_for(1)

    assert sorted(map(int, texts(listener.take()))) == list(range(50))
    assert "Error" not in sender.take_types()


# It believes only the first datagram that comes after its request.


def restarted(world: World, server: Host, *, was_ours: bool) -> Puppet:
    """A client at the address of a session that the server believes in, with another id."""
    if was_ours:
        node = world.host()
        node.connect(server)
        world.run_for(4)
        world.remove(node)
        client = world.puppet(node.address)
        client.answers_pings = False
        return client
    client = world.puppet()
    client.answers_pings = False
    client.join(server)
    world.run_for(30)
    client.id = world.node_id()
    client.take()
    return client


@pytest.mark.parametrize("was_ours", [False, True])
@pytest.mark.parametrize("meanwhile", ["nothing", "news", "routed"])
def test_the_answer_is_the_first_that_comes_after_a_restart(meanwhile: str, was_ours: bool) -> None:
    """The server has something for the session before; it came first, and the client gave up."""
    for seed in range(5):
        world = World(seed)
        server, friend = world.host(), world.host()
        friend.connect(server)
        world.run_for(1)
        client = restarted(world, server, was_ours=was_ours)
        before = server.peer(client)
        assert before is not None

        client.send(client.handshake_request(name="reborn"), server)
        if meanwhile == "news":
            world.host().connect(server)
        elif meanwhile == "routed":
            friend.endpoint.send_routed(before.node_id, {"n": 1}, 8, world.now, 5.0)
        world.run_for(0.6)

        first = client.take()[0]
        assert first["message_type"] == "HandshakeResponse"
        assert first["payload"]["success"] is True
        client.say("Data", {"text": "on"}, server)
        world.run_for(3)
        peer = server.peer(client)
        assert peer is not None
        assert peer.node_id == client.id


def test_the_refusal_of_a_full_server_is_the_first_that_comes() -> None:
    """Those who are there answer, so that nothing which the newcomer could show helps it."""
    for seed in range(5):
        world = World(seed)
        server = world.host(max_connections=4)
        others = [world.puppet() for _ in range(4)]
        for other in others:
            other.join(server)
            other.say("Data", {"text": "w"}, server)
        world.run_for(5)
        newcomer = world.puppet()
        newcomer.send(newcomer.handshake_request(), server)
        world.run_for(0.1)
        newcomer.say("Data", {"text": "too early"}, server)
        world.run_for(2)

        assert [m["message_type"] for m in newcomer.take()] == ["HandshakeResponse"]
        assert all(server.is_connected_to(other) for other in others)


def test_what_waited_goes_on_where_its_nat_has_given_it_another_port(
    world: World, server: Host
) -> None:
    """It was lost with the old address, though the same client is at the new one."""
    friend = world.host()
    friend.connect(server)
    client = world.puppet(("10.7.7.7", 2000))
    client.join(server)
    world.run_for(5)
    for number in range(20):
        friend.endpoint.send_routed(client.id, {"n": number}, 8, world.now, 5.0)
        world.run_for(0.05)
    peer = server.peer(client)
    assert peer is not None
    assert peer.deferred
    arrived = of_kind(client.take(), "Data")
    world.remove(client)

    moved = world.puppet(("10.7.7.7", 2001), node_id=client.id)
    moved.send(moved.handshake_request(), server)
    world.run_for(3)
    for _ in range(40):  # it earns by what it says
        moved.say("Data", {"text": "still here"}, server)
        world.run_for(0.5)

    arrived += of_kind(moved.take(), "Data")
    numbers = [d["original_message"]["payload"]["n"] for d in arrived if "original_message" in d]
    assert numbers == list(range(20))
