"""What is called delivered is with its reader, whoever forges what, and however slowly it reads."""

import gc
import json
from typing import Any

import pytest

from p2ptui.core.events import (
    DataDropped,
    DataReceived,
    EventsDropped,
    PeerStatus,
    PeerStatusChanged,
    RelayDataReceived,
    SendStatus,
)
from p2ptui.core.peers import Peer
from p2ptui.core.readers import EVENT_OVERHEAD_BYTES
from p2ptui.core.reliability.duplicates import RELIABLE_IDS, SEQUENCE_WINDOW
from p2ptui.wire.frames import Fragment, encode_fragment
from p2ptui.wire.message import OWN_CAPABILITIES, Capability, MessageType
from tests.attacks.attacker import Attacker
from tests.simulation import UNIX_START, Host, Puppet, World


@pytest.fixture
def world() -> World:
    return World()


def pair(world: World, **options: Any) -> tuple[Host, Host]:
    """A node, and one that has joined it."""
    server, client = world.host(**options), world.host()
    client.outcome(client.connect(server))
    world.run_for(1)
    return server, client


def forge(world: World, victim: Host, to: Host, number: int, text: str = "forged") -> None:
    """Somebody else sends Data in the name of a peer, with a number of its choice."""
    message = {
        "id": world.message_id(),
        "message_type": "Data",
        "timestamp": UNIX_START,
        "payload": text,
        "sequence_number": number % 2**32,
        "requires_ack": True,
    }
    world.network.send(json.dumps(message).encode(), victim.address, to.address, world.now)


def peer_of(host: Host, other: Host) -> Peer:
    peer = host.peer(other)
    assert peer is not None
    return peer


def next_number(sender: Host, receiver: Host) -> int:
    return peer_of(sender, receiver).channel.sender.numbering.next


def send_all(sender: Host, receiver: Host, payloads: list[Any]) -> list[SendStatus]:
    """Send them all; what became of each."""
    tokens = [sender.send(receiver, payload) for payload in payloads]
    return [sender.outcome(token).status for token in tokens]


DELIVERED = SendStatus.DELIVERED


# Numbers are not trusted.


@pytest.mark.parametrize("ahead", [1, 2, 200, SEQUENCE_WINDOW, SEQUENCE_WINDOW + 1, 60_000, 2**31])
def test_one_forged_number_makes_no_message_of_its_victim_a_duplicate(
    world: World, ahead: int
) -> None:
    server, client = pair(world)
    assert send_all(client, server, [*range(200)]) == [DELIVERED] * 200

    forge(world, client, server, next_number(client, server) - 1 + ahead)
    world.run_for(1)

    assert send_all(client, server, [*range(200, 400)]) == [DELIVERED] * 200
    assert [each for each in server.received() if each != "forged"] == [*range(400)]


def test_forged_numbers_over_the_whole_range_take_nothing_from_anybody(world: World) -> None:
    server, client = pair(world)
    send_all(client, server, [*range(20)])
    start = next_number(client, server)

    for step in range(0, 2**32, 65_000):
        forge(world, client, server, start - step)
    world.run_for(1)

    assert send_all(client, server, [*range(20, 40)]) == [DELIVERED] * 20
    assert [each for each in server.received() if each != "forged"] == [*range(40)]
    assert server.endpoint.counters.drops["unknown_number"] > 60_000


def test_a_session_whose_window_was_moved_by_somebody_else_is_brought_back(world: World) -> None:
    server, client = pair(world)
    send_all(client, server, [*range(20)])

    for step in range(1, 9):  # whoever sees the numbers can move the window step by step
        forge(world, client, server, next_number(client, server) + step * SEQUENCE_WINDOW)
        world.run_for(0.1)
    world.run_for(2)

    assert send_all(client, server, [*range(20, 40)]) == [DELIVERED] * 20
    assert [each for each in server.received() if each != "forged"] == [*range(40)]


def test_a_forged_fragment_confirms_no_message_of_its_victim(world: World) -> None:
    server, client = pair(world)
    send_all(client, server, ["x"])
    number = next_number(client, server)
    for step in range(4):
        envelope = {
            "id": world.message_id(),
            "message_type": "Data",
            "timestamp": UNIX_START,
            "payload": "forged" + "." * 3000,
            "sequence_number": (number + step) % 2**32,
            "requires_ack": True,
        }
        data = json.dumps(envelope).encode()
        for index in range(-(-len(data) // 1185)):
            part = data[index * 1185 : (index + 1) * 1185]
            frame = encode_fragment(
                Fragment(envelope["sequence_number"], len(data), 1185, index, part)
            )
            world.network.send(frame, client.address, server.address, world.now)
    world.run_for(1)

    texts = [letter * 3000 for letter in "abcd"]
    assert send_all(client, server, texts) == [DELIVERED] * 4
    assert [each for each in server.received() if "forged" not in each] == ["x", *texts]


def test_what_is_no_message_is_not_confirmed(world: World) -> None:
    server, client = pair(world)
    number = next_number(client, server)
    world.network.send(
        encode_fragment(Fragment(number, 300, 300, 0, b"{" * 300)),
        client.address,
        server.address,
        world.now,
    )
    before = client.endpoint.counters.datagrams_in
    world.run_for(1)
    assert server.endpoint.counters.drops["malformed"] == 1
    assert client.endpoint.counters.datagrams_in == before


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize(
    "payload",
    [
        "1e400",
        '{"a": [1, -1e999]}',
        '{"original_message": {}, "source_node": 5}',
        '{"original_message": {}, "destination_node": "x", "route_id": null}',
    ],
)
def test_what_no_reader_can_be_given_is_told_and_not_acknowledged(
    world: World, payload: str, ours: bool
) -> None:
    server, puppet = world.host(), world.puppet()
    puppet.join(server, **({"capabilities": list(OWN_CAPABILITIES)} if ours else {}))
    server.ping(puppet)
    world.run_for(1)
    puppet.take()

    make = puppet.spec_message if ours else puppet.message
    text = json.dumps(make("Data", "here", requires_ack=True)).replace('"here"', payload)
    for _ in range(3):  # as one that was not acknowledged is sent again
        puppet.send(text, server)
        world.run_for(1)

    told = puppet.take()
    assert [message["message_type"] for message in told] == ["Error"] * 3
    assert {message["payload"]["code"] for message in told} == {"bad_payload"}
    assert server.told(DataReceived) == []


def test_relayed_bytes_that_find_no_room_are_not_acknowledged(world: World) -> None:
    server, client = world.puppet(), world.host()
    client.connect(server)
    world.run_for(0.1)
    (request,) = [m for m in server.take() if m["message_type"] == "HandshakeRequest"]
    info = {"id": server.id, "name": "server", "version": "0.3.0", "capabilities": []}
    info |= {"listen_addr": "10.0.0.2:8080", "metadata": {}, "network_id": "p2p_default"}
    answer = {"node_info": info, "success": True, "error_message": None, "public_addr": None}
    server.say("HandshakeResponse", answer, client)
    server.say("Ack", None, client, ack_for=request["id"])
    world.run_for(1)
    assert client.is_connected_to(server)
    room = client.endpoint.readers.open(3_000)
    server.take()

    for _ in range(8):
        relayed = {"from_peer_id": world.node_id(), "data": [7] * 900}
        server.say("RelayData", relayed, client, requires_ack=True)
    world.run_for(1)

    acks = server.take_types().count("Ack")
    assert 1 <= acks < 8
    assert acks == len(client.told(RelayDataReceived))
    assert 900 * acks <= room.used_bytes <= 3_000
    assert client.told(DataDropped) == []


@pytest.mark.parametrize("rate", [50, 500])
def test_a_blackout_with_cancelled_messages_ends_with_the_next_one(world: World, rate: int) -> None:
    server, client = pair(world)
    world.network.set_link(client.address[0], server.address[0], loss=1.0)
    world.network.set_link(server.address[0], client.address[0], loss=1.0)
    waiting: list[tuple[float, int]] = []
    for number in range(30 * rate):
        waiting.append((world.now + 1.0, client.send(server, number)))
        world.run_for(1 / rate)
        while waiting and waiting[0][0] <= world.now:
            _, token = waiting.pop(0)
            client.endpoint.cancel(peer_of(client, server), token, "too late", world.now)
            client.settle()
    world.network.set_link(client.address[0], server.address[0], loss=0.0)
    world.network.set_link(server.address[0], client.address[0], loss=0.0)
    began = world.now
    assert send_all(client, server, ["after"] * 50) == [DELIVERED] * 50
    assert world.now - began < 10
    assert server.received()[-50:] == ["after"] * 50


def test_a_skip_that_names_nothing_of_the_session_is_not_believed(world: World) -> None:
    server, client = pair(world)
    peer = peer_of(server, client)
    assert peer.channel.numbers is not None
    before = peer.channel.numbers.highest
    for handshake in ("", "guess", peer.handshake_heard):
        message = {
            "id": world.message_id(),
            "message_type": MessageType.SEQUENCE_SKIP,
            "timestamp": UNIX_START,
            "payload": {"handshake": handshake, "number": 1, "sequence_number": 5},
            "requires_ack": True,
        }
        world.network.send(json.dumps(message).encode(), client.address, server.address, world.now)
    world.run_for(1)
    assert peer.channel.numbers.highest == before
    assert server.endpoint.counters.drops["skip_without_proof"] == 3


def test_acks_of_numbers_that_were_never_used_draw_one_word_a_second_at_most(
    world: World,
) -> None:
    server, client = pair(world)
    before = client.endpoint.counters.datagrams_out
    for step in range(500):
        ack = {
            "id": world.message_id(),
            "message_type": "Ack",
            "timestamp": UNIX_START,
            "ack_for": (next_number(client, server) + 10 + step) % 2**32,
        }
        world.network.send(json.dumps(ack).encode(), server.address, client.address, world.now)
        world.run_for(0.01)
    assert client.endpoint.counters.datagrams_out - before < 20


# A slow reader.


def read_slowly(host: Host, tokens: list[int], sender: Host, pause_s: float = 0.05) -> None:
    """Let the program read one message at a time until the sender knows of all its messages."""
    for _ in range(20_000):
        if all(token in sender.outcomes for token in tokens):
            break
        host.world.run_for(pause_s)
        host.read(1)
    host.read(10**6)


@pytest.mark.parametrize("size", [10, 1000, 5000, 300_000])
def test_what_a_slow_reader_was_told_to_have_it_gets(world: World, size: int) -> None:
    server, client = pair(world)
    server.open_reader(1_000_000 if size > 5000 else 20_000)
    payloads = [f"{number}:{'x' * size}" for number in range(60 if size < 300_000 else 12)]

    tokens = [client.send(server, payload) for payload in payloads]
    read_slowly(server, tokens, client)

    assert {client.outcomes[token].status for token in tokens} == {DELIVERED}
    assert sorted(server.received()) == sorted(payloads)
    assert server.endpoint.readers.used_bytes == 0


def test_what_waits_for_a_reader_stays_within_its_room(world: World) -> None:
    server, client = pair(world)
    server.open_reader(100_000)
    tokens = [client.send(server, "x" * 1000) for _ in range(500)]
    world.run_for(60)
    assert 25_000 < server.endpoint.readers.used_bytes <= 100_000
    told = [client.outcomes[token] for token in tokens if token in client.outcomes]
    assert {result.status for result in told} == {DELIVERED}
    assert server.reader is not None
    assert len(told) == len(server.reader.take(1000))


def test_a_sender_that_waits_costs_next_to_nothing(world: World) -> None:
    server, client = pair(world)
    server.open_reader(20_000)
    for _ in range(100):
        client.send(server, "x" * 1000)
    world.run_for(30)
    before = client.endpoint.counters.datagrams_out
    world.run_for(60)
    assert client.endpoint.counters.datagrams_out - before < 60


@pytest.mark.parametrize("loss", [0.3, 0.6])
def test_word_of_room_that_is_lost_is_asked_for_again(loss: float) -> None:
    world = World(seed=5)
    server, client = pair(world)
    server.open_reader(20_000)
    tokens = [client.send(server, f"{number:04}" + "x" * 1000) for number in range(60)]
    world.run_for(5)
    world.network.set_link(server.address[0], client.address[0], loss=loss)
    read_slowly(server, tokens, client, 0.2)
    told = [client.outcomes[token].status for token in tokens]
    received = [each[:4] for each in server.received()]
    assert len(received) == len(set(received))
    assert {f"{n:04}" for n, status in enumerate(told) if status is DELIVERED} <= set(received)
    assert told.count(DELIVERED) >= 55


def test_a_receiver_that_falls_silent_ends_the_waiting(world: World) -> None:
    server, client = pair(world)
    server.open_reader(5_000)
    tokens = [client.send(server, "x" * 1000) for _ in range(30)]
    world.run_for(2)
    world.network.set_link(client.address[0], server.address[0], loss=1.0)
    results = [client.outcome(token, within=200) for token in tokens]
    assert {result.status for result in results} <= {
        DELIVERED,
        SendStatus.TIMED_OUT,
        SendStatus.FAILED,
    }


def test_a_slow_reader_slows_only_those_who_write_to_it(world: World) -> None:
    slow, client = pair(world)
    quick = world.host()
    client.outcome(client.connect(quick))
    slow.open_reader(20_000)
    for _ in range(100):
        client.send(slow, "x" * 1000)
    world.run_for(5)

    began = world.now
    assert send_all(client, quick, ["x" * 1000] * 50) == [DELIVERED] * 50
    assert world.now - began < 2
    assert client.outcome(client.ping(slow)).rtt_s < 0.1


def test_one_loud_sender_leaves_room_for_the_others(world: World) -> None:
    server, loud = pair(world)
    quiet = world.host()
    quiet.outcome(quiet.connect(server))
    world.run_for(1)
    server.open_reader(100_000)
    for _ in range(300):
        loud.send(server, "x" * 1000)
    world.run_for(10)
    assert send_all(quiet, server, ["hello"] * 10) == [DELIVERED] * 10


def test_of_many_senders_who_wait_each_gets_its_turn(world: World) -> None:
    server = world.host()
    clients = [world.host() for _ in range(6)]
    for client in clients:
        client.outcome(client.connect(server))
    server.open_reader(60_000)
    tokens = [
        (client, client.send(server, "x" * (40_000 if client is clients[0] else 4000)))
        for client in clients
        for _ in range(10)
    ]
    for _ in range(2000):
        world.run_for(0.1)
        server.read(1)
        if all(token in client.outcomes for client, token in tokens):
            break
    assert {client.outcomes[token].status for client, token in tokens} == {DELIVERED}


@pytest.mark.parametrize("how", ["closed", "collected"])
def test_a_reader_that_is_gone_holds_nobody(world: World, how: str) -> None:
    server, client = pair(world)
    server.open_reader(5_000)
    tokens = [client.send(server, "x" * 1000) for _ in range(30)]
    world.run_for(5)
    assert not all(token in client.outcomes for token in tokens)
    reader, server.reader = server.reader, None
    if how == "closed":
        assert reader is not None
        assert reader.room is not None
        server.endpoint.readers.close(reader.room)
    del reader
    gc.collect()
    server.endpoint.handle_read(world.now)
    server.settle()
    world.run_for(5)
    assert {client.outcomes[token].status for token in tokens} == {DELIVERED}


def test_data_without_a_wish_for_an_ack_that_finds_no_room_is_dropped_and_told(
    world: World,
) -> None:
    server, client = pair(world)
    server.open_reader(5_000)
    for number in range(20):
        client.send(server, f"{number}" + "x" * 900, reliable=False)
    world.run_for(1)
    server.read(100)
    dropped = sum(event.count for event in server.told(DataDropped))
    assert len(server.received()) + dropped == 20
    assert dropped == server.endpoint.counters.drops["reader_full"] > 0
    assert {event.node_id for event in server.told(DataDropped)} == {client.id}


def puppet_of_ours(world: World, server: Host, capabilities: list[str]) -> Puppet:
    """A puppet of our kind that has proved its address."""
    puppet = world.puppet()
    puppet.answers_pings = False
    payload = puppet.handshake_request(capabilities=capabilities)["payload"]
    request = puppet.spec_message("HandshakeRequest", payload, requires_ack=True)
    puppet.send(request | {"sequence_number": 100}, server)
    world.run_for(0.1)
    response = next(m for m in puppet.take() if m["message_type"] == "HandshakeResponse")
    ack = puppet.spec_message("Ack", None, sequence_number=None)
    puppet.send(ack | {"ack_for": response["sequence_number"]}, server)
    world.run_for(0.1)
    puppet.take()
    return puppet


def data(puppet: Puppet, number: int, size: int = 900) -> dict[str, Any]:
    message = puppet.spec_message("Data", "x" * size, requires_ack=True)
    return message | {"sequence_number": number}


def test_who_understands_no_window_gets_no_ack_and_nothing_else(world: World) -> None:
    server = world.host()
    server.open_reader(3_000)
    others = [each for each in OWN_CAPABILITIES if each != Capability.RECEIVE_WINDOW]
    puppet = puppet_of_ours(world, server, others)
    for number in range(101, 111):
        puppet.send(data(puppet, number), server)
    world.run_for(1)
    acks = [message["ack_for"] for message in puppet.take() if message["message_type"] == "Ack"]
    assert 1 <= len(acks) < 10
    assert server.reader is not None
    assert len(acks) == len(server.reader.take(100))


def test_who_understands_a_window_is_told_of_it_once_for_many(world: World) -> None:
    server = world.host()
    server.open_reader(3_000)
    puppet = puppet_of_ours(world, server, list(OWN_CAPABILITIES))
    for number in range(101, 141):
        puppet.send(data(puppet, number), server)
    world.run_for(0.05)
    windows = [m["payload"] for m in puppet.take() if m["message_type"] == "ReceiveWindow"]
    assert [window["room"] for window in windows] == [0]

    server.read(100)
    world.run_for(0.05)
    windows = [m["payload"] for m in puppet.take() if m["message_type"] == "ReceiveWindow"]
    assert [window["room"] > 1000 for window in windows] == [True]


def test_a_window_that_names_nothing_of_the_session_stops_nobody(world: World) -> None:
    server, client = pair(world)
    for number in range(1, 20):
        window = {
            "id": world.message_id(),
            "message_type": "ReceiveWindow",
            "timestamp": UNIX_START,
            "payload": {"handshake": "guess", "number": number, "room": 0},
        }
        world.network.send(json.dumps(window).encode(), server.address, client.address, world.now)
    world.run_for(0.5)
    assert client.endpoint.counters.drops["window_without_proof"] == 19
    began = world.now
    assert send_all(client, server, ["x"] * 5) == [DELIVERED] * 5
    assert world.now - began < 1


def test_a_routed_message_waits_for_its_reader_as_well(world: World) -> None:
    server, alice = pair(world)
    bob = world.host()
    bob.outcome(bob.connect(server))
    world.run_for(2)
    bob.open_reader(3_000)
    tokens = [
        alice.endpoint.send_routed(bob.id, f"{n}" + "x" * 900, 8, world.now, 300.0)
        for n in range(8)
    ]
    alice.settle()
    world.run_for(100)
    assert not all(token in alice.outcomes for token in tokens)
    read_slowly(bob, tokens, alice, 0.5)
    assert {alice.outcomes[token].status for token in tokens} == {DELIVERED}
    assert len(bob.received()) == 8


# Another address.


def test_a_new_outside_port_loses_nothing_and_doubles_nothing(world: World) -> None:
    server, client = pair(world)
    tokens = []
    back = []
    for number in range(300):
        tokens.append(client.send(server, number))
        if server.peer(client) is not None:
            back.append(server.send(client, -number))
        world.run_for(0.02)
        if number == 100:
            world.move(client)
    results = [client.outcome(token).status for token in tokens]

    assert results == [DELIVERED] * 300
    assert sorted(server.received()) == [*range(300)]
    answers = [server.outcome(token).status for token in back]
    assert set(answers) == {DELIVERED}
    assert len(client.received()) == len(set(client.received())) == len(answers)


@pytest.mark.parametrize("size", [10, 3_000])
def test_routed_messages_wait_while_the_session_with_their_server_is_taken_up_again(
    world: World, size: int
) -> None:
    server, alice = pair(world)
    bob = world.host()
    bob.outcome(bob.connect(server))
    world.run_for(1)
    tokens = []
    for number in range(150):
        text = f"{number}:" + "x" * size
        tokens.append(alice.endpoint.send_routed(bob.id, text, 8, world.now, 30.0))
        alice.settle()
        world.run_for(0.01)
        if number == 50:
            world.move(alice)

    assert {alice.outcome(token).status for token in tokens} == {DELIVERED}
    received = [int(each.partition(":")[0]) for each in bob.received()]
    assert sorted(received) == [*range(150)]


@pytest.mark.parametrize("size", [10, 5_000, 200_000])
def test_messages_under_way_in_fragments_go_on_at_the_new_address(world: World, size: int) -> None:
    server, client = pair(world)
    payloads = [f"{number}:{'x' * size}" for number in range(10)]
    tokens = [client.send(server, payload) for payload in payloads]
    world.run_for(0.03)
    world.move(client)
    assert {client.outcome(token).status for token in tokens} == {DELIVERED}
    assert sorted(server.received()) == sorted(payloads)


def test_the_servers_queue_goes_to_the_new_address_too(world: World) -> None:
    server, client = pair(world)
    tokens = [server.send(client, number) for number in range(20)]
    world.move(client)
    client.send(server, "here I am")
    assert {server.outcome(token).status for token in tokens} == {DELIVERED}
    assert sorted(client.received()) == [*range(20)]


def test_a_call_that_gives_up_does_so_wherever_its_message_has_gone(world: World) -> None:
    server, client = pair(world)
    peer = peer_of(server, client)
    world.network.set_link(server.address[0], client.address[0], loss=1.0)
    token = server.send(client, "never")
    world.move(client)
    client.send(server, "here I am")
    world.run_until(lambda: server.peer(client) is not None)
    world.network.set_link(server.address[0], client.address[0], loss=1.0)
    server.endpoint.cancel(peer, token, "too late", world.now)
    server.settle()
    assert server.outcomes[token].reason == "too late"


def test_nothing_that_somebody_waits_for_is_left_out_however_much_there_is_to_tell(
    world: World,
) -> None:
    server, client = pair(world)
    state = server.endpoint._state
    for _ in range(60_000):
        state.emit(DataDropped("x", 1))
    token = server.send(client, "x")  # settles
    for _ in range(60_000):
        state.emit(DataDropped("x", 1))
    server.endpoint.disconnect(peer_of(server, client), "bye", world.now)
    server.settle()
    assert server.outcomes[token].status is SendStatus.FAILED
    assert server.told(PeerStatusChanged)[-1].status is PeerStatus.DISCONNECTED
    assert sum(event.count for event in server.told(EventsDropped)) >= 2 * 10_000


@pytest.mark.parametrize("reliable_before", [False, True])
def test_a_text_for_a_node_never_goes_to_another_that_is_at_its_address_now(
    world: World, reliable_before: bool
) -> None:
    carl, me = world.host(), world.host()
    me.outcome(me.connect(carl))
    world.run_for(1)
    if reliable_before:
        send_all(me, carl, ["hello"])
    address = carl.address
    world.remove(carl)
    mallory = world.host(address)
    tokens = [me.send(mallory, f"secret {number}") for number in range(3)]  # by that address
    large = me.send(mallory, "secret" * 2000)

    results = [me.outcome(token) for token in [*tokens, large]]
    world.run_for(60)

    assert not any(result.delivered for result in results)
    assert mallory.received() == []
    assert "another node" in (results[0].reason or "")


def test_a_stranger_with_another_id_inherits_nothing(world: World) -> None:
    server, client = pair(world)
    world.network.set_link(server.address[0], client.address[0], loss=1.0)
    token = server.send(client, "for the owner only")
    thief = world.host()
    thief.outcome(thief.connect(server))
    world.run_for(30)
    assert server.outcomes[token].status is SendStatus.TIMED_OUT
    assert thief.received() == []
    assert thief.told(DataReceived) == []


# Messages that are given up.


@pytest.mark.parametrize("size", [5_000, 700_000])
def test_messages_that_were_given_up_hold_no_memory_at_the_other_end(
    world: World, size: int
) -> None:
    server, client = pair(world)
    peer = peer_of(client, server)
    for _ in range(8 if size > 100_000 else 150):
        token = client.send(server, "x" * size)
        world.run_for(0.005)
        client.endpoint.cancel(peer, token, "too slow", world.now)
        client.settle()
    began = world.now
    assert send_all(client, server, ["y" * size] * 3) == [DELIVERED] * 3
    assert world.now - began < 8
    assert server.received()[-3:] == ["y" * size] * 3


@pytest.mark.parametrize("asleep_s", [20.0, 60.0, 120.0])
def test_a_reader_that_sleeps_long_gets_all_that_waits(world: World, asleep_s: float) -> None:
    server, client = pair(world)
    server.open_reader(400_000)
    payloads = [f"{number}:" + "x" * (80_000 if number % 2 else 500) for number in range(24)]
    tokens = [client.send(server, payload) for payload in payloads]
    world.run_for(asleep_s)
    read_slowly(server, tokens, client)
    assert {client.outcomes[token].status for token in tokens} == {DELIVERED}
    assert sorted(server.received()) == sorted(payloads)


def test_a_program_may_ask_its_peer_while_its_queue_is_full(world: World) -> None:
    server, client = pair(world)
    client.open_reader(5_000)
    for _ in range(30):
        server.send(client, "x" * 1000)
    world.run_for(3)
    began = world.now
    peer = peer_of(client, server)
    token = client.endpoint.list_nodes(peer, world.now, 10.0)
    client.settle()
    assert client.outcome(token).complete
    assert world.now - began < 1


def test_a_node_hands_on_large_messages_while_its_own_reader_is_full(world: World) -> None:
    hub, alice = pair(world)
    bob = world.host()
    bob.outcome(bob.connect(hub))
    world.run_for(2)
    hub.open_reader(5_000)
    for _ in range(30):
        alice.send(hub, "x" * 1000)
    world.run_for(3)
    token = alice.endpoint.send_routed(bob.id, "y" * 5000, 8, world.now, 10.0)
    alice.settle()
    assert alice.outcome(token).status is DELIVERED


# What somebody on the path may do.


def test_a_forged_message_in_the_other_dialect_moves_no_window(world: World) -> None:
    server, client = pair(world)
    send_all(client, server, [*range(10)])
    for step in range(1, 6):
        message = {
            "id": world.message_id(),
            "message_type": "Data",
            "timestamp": UNIX_START,
            "payload": "forged",
            "sequence_number": (next_number(client, server) + 1023 * step) % 2**32,
            "requires_ack": True,
            "sender_addr": None,
        }
        world.network.send(json.dumps(message).encode(), client.address, server.address, world.now)
        world.run_for(0.1)
    assert send_all(client, server, [*range(10, 30)]) == [DELIVERED] * 20
    assert [each for each in server.received() if each != "forged"] == [*range(30)]


@pytest.mark.parametrize("handshakes", [1, 4, 12])
def test_forged_handshakes_do_not_silence_the_owner(world: World, handshakes: int) -> None:
    server, client = pair(world)
    send_all(client, server, [*range(10)])
    info = client.endpoint.identity
    for number in range(handshakes):
        request = {
            "id": world.message_id(),
            "message_type": "HandshakeRequest",
            "timestamp": UNIX_START,
            "payload": {
                "id": info.id,
                "name": info.name,
                "version": info.version,
                "listen_addr": info.listen_addr,
                "capabilities": list(info.capabilities),
                "metadata": {},
                "network_id": info.network_id,
                "padding": " " * 200,
            },
            "sequence_number": (number * 77_777_777) % 2**32,
            "requires_ack": True,
        }
        world.network.send(json.dumps(request).encode(), client.address, server.address, world.now)
        world.run_for(0.1)
    assert send_all(client, server, [*range(10, 30)]) == [DELIVERED] * 20
    assert server.received() == [*range(30)]


def test_a_skip_that_is_sent_again_moves_nothing(world: World) -> None:
    server, client = pair(world)
    recorded: list[bytes] = []
    send = world.network.send

    def record(data: bytes, source: Any, to: Any, now: float, **options: Any) -> None:
        if b"SequenceSkip" in data:
            recorded.append(data)
        send(data, source, to, now, **options)

    world.network.send = record  # type: ignore[method-assign]
    ack = {
        "id": world.message_id(),
        "message_type": "Ack",
        "timestamp": UNIX_START,
        "ack_for": (next_number(client, server) + 500) % 2**32,
    }
    send(json.dumps(ack).encode(), server.address, client.address, world.now)
    world.run_for(2)
    assert recorded
    send_all(client, server, [*range(2200)])
    replayed = json.loads(recorded[0]) | {"id": world.message_id()}
    for data in (recorded[0], json.dumps(replayed).encode()):
        send(data, client.address, server.address, world.now)
    world.run_for(1)
    assert send_all(client, server, ["after"] * 20) == [DELIVERED] * 20
    assert server.received() == [*range(2200)] + ["after"] * 20


def test_one_forged_number_draws_few_requests(world: World) -> None:
    server, client = pair(world)
    send_all(client, server, [*range(10)])
    before = server.endpoint.counters.bytes_out
    forge(world, client, server, next_number(client, server) + 1000)
    world.network.set_link(client.address[0], server.address[0], loss=1.0)
    world.run_for(10)
    assert server.endpoint.counters.bytes_out - before < 20_000


def test_invented_senders_share_the_room_of_who_brings_them(world: World) -> None:
    server, attacker = pair(world)
    quiet = world.host()
    quiet.outcome(quiet.connect(server))
    world.run_for(1)
    server.open_reader(100_000)
    for number in range(400):
        routed = {
            "original_message": {
                "id": world.message_id(),
                "message_type": "Data",
                "timestamp": UNIX_START,
                "payload": "x" * 500,
                "requires_ack": True,
            },
            "source_node": f"{number:08x}-aaaa-4000-8000-000000000000",
            "destination_node": server.id,
            "hop_count": 1,
            "max_hops": 8,
            "route_id": f"route-{number}",
        }
        message = {
            "id": world.message_id(),
            "message_type": "Data",
            "timestamp": UNIX_START,
            "payload": routed,
        }
        world.network.send(
            json.dumps(message).encode(), attacker.address, server.address, world.now
        )
    world.run_for(5)
    assert 0 < server.endpoint.readers.used_bytes <= 55_000
    began = world.now
    assert send_all(quiet, server, ["hello"] * 10) == [DELIVERED] * 10
    assert world.now - began < 1


@pytest.mark.parametrize("reliable", [False, True])
def test_relayed_bytes_from_no_node_take_no_room(reliable: bool) -> None:
    """Their source is forged: whoever reads would never see them, nor give their room back."""
    world = World()
    server, node = world.host(), world.host()
    node.outcome(node.connect(server))
    node.open_reader(1_000_000)
    forger = world.puppet()
    for _ in range(60):
        payload = {"from_peer_id": "nobody", "data": [0] * 9_000}
        message = forger.message("RelayData", payload, requires_ack=reliable)
        data = json.dumps(message, separators=(",", ":")).encode()
        node.endpoint.receive_datagram(data, server.address, world.now)
        node.settle()

    assert node.endpoint.readers.used_bytes == 0
    assert node.endpoint.counters.drops["malformed"] == 60
    token = server.send(node, "x" * 400_000)
    world.run_for(5)
    node.read(10)
    assert server.outcome(token).status is SendStatus.DELIVERED


@pytest.mark.parametrize("habit", ["spec", "reference"])
def test_forged_messages_without_a_number_push_no_id_out(world: World, habit: str) -> None:
    """So many of them came before the copy of one whose Ack was lost that this counted as new."""
    server, client = pair(world)
    network = world.network
    pen = Attacker(world).in_the_name_of(client.address, client.id)
    network.set_link(server.address[0], client.address[0], loss=1.0)
    token = client.send(server, "once")
    world.run_for(0.05)
    for number in range(RELIABLE_IDS + 100):
        write = pen.message if habit == "reference" else pen.spec_message
        forged = write("Data", "forged", sequence_number=None, requires_ack=True)
        pen.send(forged, server)
        if number % 50 == 0:
            world.run_for(0.003)
    network.set_link(server.address[0], client.address[0])
    result = client.outcome(token)
    world.run_for(2)

    assert result.delivered
    assert server.received().count("once") == 1
    assert server.endpoint.counters.duplicates


# Where nobody reads.


def test_data_is_told_to_nobody_where_those_with_a_room_are_all_who_read(world: World) -> None:
    server, client = pair(world)
    readers = server.endpoint.readers
    readers.are_all()
    assert send_all(client, server, ["unread"]) == [DELIVERED]
    assert server.told(DataReceived) == []
    assert server.endpoint.counters.delivered == 1

    room = readers.open(100_000)
    assert send_all(client, server, ["read"]) == [DELIVERED]
    assert [event.payload for event in server.told(DataReceived)] == ["read"]
    assert room.used_bytes > 0

    del room
    gc.collect()
    assert send_all(client, server, ["unread again"]) == [DELIVERED]
    assert len(server.told(DataReceived)) == 1


def test_whoever_drives_a_core_is_told_all_data_unless_it_says_otherwise(world: World) -> None:
    server, client = pair(world)
    readers = server.endpoint.readers
    readers.open(100_000).close()
    assert send_all(client, server, ["told"]) == [DELIVERED]
    assert [event.payload for event in server.told(DataReceived)] == ["told"]


def test_of_readers_of_a_key_each_message_takes_room_with_those_that_read_it(world: World) -> None:
    server, client = pair(world)
    readers = server.endpoint.readers
    readers.are_all()
    files, everything = readers.open(2_000, "file"), readers.open(100_000)
    fill = {"file": "x" * 900}
    assert send_all(client, server, [{"other": "y" * 900}] * 20) == [DELIVERED] * 20
    assert (files.used_bytes, everything.used_bytes) == (0, 20 * (912 + EVENT_OVERHEAD_BYTES))
    assert send_all(client, server, [fill]) == [DELIVERED]
    assert files.used_bytes == 911 + EVENT_OVERHEAD_BYTES
    waiting = client.send(server, fill)
    world.run_for(1)
    assert waiting not in client.outcomes, "one reader of it has no room"
    another = world.host()
    another.outcome(another.connect(server))
    assert send_all(another, server, [{"other": 1}] * 5) == [DELIVERED] * 5


def test_who_goes_on_to_what_nobody_reads_is_in_nobodys_way(world: World) -> None:
    server = world.host()
    readers = server.endpoint.readers
    readers.are_all()
    room = readers.open(4_000, "file")
    state = server.endpoint._state
    wanted, other = b'{"file":"%s"}' % (b"x" * 900), b'{"other":1}'
    assert state.admits_data("alice", wanted, 0.0)
    assert not state.admits_data("bob", b'{"file":"%s"}' % (b"x" * 2500), 0.0)
    assert readers.wait("bob", 2500)
    assert not state.admits_data("carol", wanted, 0.0), "what is left is kept for bob"
    assert state.admits_data("bob", other, 0.0)
    assert readers.waiting == 0
    assert state.admits_data("carol", wanted, 0.0)
    assert room.used_bytes == 2 * (len(wanted) + EVENT_OVERHEAD_BYTES)


def test_routed_data_without_a_key_that_is_read_takes_no_room(world: World) -> None:
    server, alice = pair(world)
    bob = world.host()
    bob.outcome(bob.connect(server))
    world.run_for(2)
    bob.endpoint.readers.are_all()
    room = bob.endpoint.readers.open(10_000, "file")
    for number in range(20):
        payload = {"file": number} if number == 7 else {"other": "x" * 900}
        token = alice.endpoint.send_routed(bob.id, payload, 8, world.now, 30.0)
        assert alice.outcome(token).status is DELIVERED
    assert [event.payload for event in bob.told(DataReceived)] == [{"file": 7}]
    assert room.used_bytes == len(b'{"file":7}') + EVENT_OVERHEAD_BYTES
    assert bob.endpoint.counters.delivered == 20


def test_relayed_bytes_without_a_key_that_is_read_take_no_room(world: World) -> None:
    server, client = pair(world)
    readers = client.endpoint.readers
    readers.are_all()
    room = readers.open(10_000, "file")
    source = world.node_id()
    texts = [b"x" * 900, b'{"other":1}', b'{"file":1}']
    for text in texts * 8:
        payload = {"from_peer_id": source, "data": [*text]}
        pen = Attacker(world).in_the_name_of(server.address, server.id)
        pen.send(pen.message("RelayData", payload, requires_ack=True), client)
    world.run_for(1)
    assert [event.data for event in client.told(RelayDataReceived)] == [texts[2]] * 8
    assert room.used_bytes == 8 * (len(texts[2]) + EVENT_OVERHEAD_BYTES)
