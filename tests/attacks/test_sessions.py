"""Nothing is torn down, replaced or downgraded before the newcomer has shown that it is there."""

import gc
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from p2ptui.core.accounts import KEPT_FOR_PINGS
from p2ptui.core.events import ConnectResult
from p2ptui.errors import HandshakeError
from tests.attacks.attacker import Attacker
from tests.core.reference_server import ReferenceServer
from tests.simulation import Host, Puppet, World

FORGED = "I am here"
"""Data that anybody can send in a peer's name: it is taken for the peer's, and orders nothing."""

Forgery = Callable[[Puppet, Host, World], dict[str, Any]]


def owners_request(pen: Puppet, owner: Host, **changes: Any) -> dict[str, Any]:
    """A request that says of the owner all that it says itself."""
    info = owner.endpoint.identity
    keys = ("id", "name", "version", "listen_addr", "metadata", "network_id")
    payload = {key: getattr(info, key) for key in keys}
    payload |= {"node_id": info.id, "capabilities": list(info.capabilities)}
    payload |= {"padding": " " * 300} | changes
    return pen.spec_message("HandshakeRequest", payload, requires_ack=True, sequence_number=77)


FORGERIES: dict[str, Forgery] = {
    "another id": lambda pen, owner, world: owners_request(
        pen, owner, id=(evil := world.node_id()), node_id=evil, name="EVIL"
    ),
    "another id, as deployed programs write": lambda pen, _owner, world: pen.handshake_request(
        id=world.node_id(), name="EVIL"
    ),
    "the same": lambda pen, owner, _world: owners_request(pen, owner),
    "no capabilities": lambda pen, owner, _world: owners_request(pen, owner, capabilities=[]),
    "other capabilities": lambda pen, owner, _world: owners_request(
        pen, owner, capabilities=["handshake", "routing", "retransmit"]
    ),
    "the reference's dialect": lambda pen, owner, _world: pen.handshake_request(id=owner.id),
    "another network": lambda pen, owner, _world: owners_request(pen, owner, network_id="evil"),
    "another name": lambda pen, owner, _world: owners_request(pen, owner, name="EVIL"),
    "another listen_addr": lambda pen, owner, _world: owners_request(
        pen, owner, listen_addr="203.0.113.9:9"
    ),
}
RATES = {"once": (1, 1.0), "one a second": (20, 1.0), "fifty a second": (500, 0.02)}


def traits(host: Host, other: Host) -> tuple[Any, ...]:
    """What one side knows of a session, as far as that must not change."""
    peer = host.peer(other)
    assert peer is not None
    return (
        peer.node_id,
        peer.name,
        peer.capabilities,
        peer.dialect,
        peer.proved,
        peer.info,
        peer.session.joined_at,
    )


def pair(world: World) -> tuple[Host, Host]:
    server, client = world.host(), world.host()
    client.outcome(client.connect(server))
    world.run_for(2)
    return server, client


def restart(world: World, host: Host, node_id: str | None = None) -> Host:
    """Kill a node and start it again at its address: it knows nothing of what was."""
    world.remove(host)
    again = world.host(host.address, node_id=node_id or host.id)
    again.endpoint._state.rng.seed(f"{world.now}")  # or it would say what the first one said
    return again


def exchange(world: World, one: Host, two: Host, count: int = 40) -> Callable[[], None]:
    """Begin to send messages both ways, some in fragments; what is called checks that all came."""
    payloads = [f"{number} " + "x" * (3000 if number % 8 == 0 else 20) for number in range(count)]
    tokens = [(one, one.send(two, payload)) for payload in payloads]
    tokens += [(two, two.send(one, payload)) for payload in payloads]

    def check() -> None:
        for host, token in tokens:
            assert host.outcome(token).delivered
        world.run_for(1)
        for host in (one, two):
            received = [payload for payload in host.received() if payload != FORGED]
            assert sorted(received) == sorted(payloads)

    return check


@pytest.mark.parametrize("loss", [0.0, 0.05])
@pytest.mark.parametrize("at", ["server", "client"])
@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_request_costs_a_session_nothing(forgery: str, at: str, loss: float) -> None:
    world = World(seed=5, loss=loss)
    server, client = pair(world)
    victim, target = (client, server) if at == "server" else (server, client)
    before = traits(server, client), traits(client, server)
    pen = Attacker(world).in_the_name_of(victim.address)
    check = exchange(world, server, client)
    world.run_for(0.005)

    pen.send(FORGERIES[forgery](pen, victim, world), target)
    check()
    world.run_for(6)

    assert (traits(server, client), traits(client, server)) == before


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("forgery", FORGERIES)
def test_at_whatever_rate(forgery: str, rate: str) -> None:
    world = World(seed=6)
    server, client = pair(world)
    before = traits(server, client)
    attacker = Attacker(world)
    pen = attacker.in_the_name_of(client.address)
    check = exchange(world, server, client)
    count, pause = RATES[rate]
    for _ in range(count):
        pen.send(FORGERIES[forgery](pen, client, world), server)
        world.run_for(pause)

    check()
    assert traits(server, client) == before
    world.run_for(31)
    assert server.endpoint.sizes()["newcomers"] == 0


def test_with_the_message_id_of_the_owners_request() -> None:
    world = World()
    server, client = world.host(), world.host()
    seen: list[bytes] = []
    send = world.network.send

    def look(data: bytes, source: Any, to: Any, *more: Any, **rest: Any) -> Any:
        if b'"HandshakeRequest"' in data:
            seen.append(data)
        return send(data, source, to, *more, **rest)

    world.network.send = look  # type: ignore[method-assign]
    client.outcome(client.connect(server))
    world.run_for(1)
    before = traits(server, client)
    pen = Attacker(world).in_the_name_of(client.address)
    message = owners_request(pen, client, capabilities=[]) | {"id": json.loads(seen[0])["id"]}
    check = exchange(world, server, client)
    for _ in range(100):
        pen.send(message, server)
        world.run_for(0.02)

    check()
    assert traits(server, client) == before


@pytest.mark.parametrize("loss", [0.0, 0.05])
@pytest.mark.parametrize("forgery", ["another id", "the reference's dialect", "no capabilities"])
def test_an_owner_that_is_restarted_gets_in_meanwhile(forgery: str, loss: float) -> None:
    """A node of ours, within two seconds, while fifty requests a second are forged in its name."""
    for seed in range(3):
        world = World(seed=seed, loss=loss)
        server, client = pair(world)
        pen = Attacker(world).in_the_name_of(client.address)
        for _ in range(50):
            pen.send(FORGERIES[forgery](pen, client, world), server)
            world.run_for(0.02)
        again = restart(world, client)
        began, token = world.now, again.connect(server)
        joined_at = server.peer(client).session.joined_at
        while server.peer(again).session.joined_at == joined_at:
            pen.send(FORGERIES[forgery](pen, client, world), server)
            world.run_for(0.02)
            assert world.now < began + 2.0

        assert isinstance(again.outcome(token), ConnectResult)
        exchange(world, server, again)()


def test_a_restarted_node_with_another_id_gets_in() -> None:
    world = World()
    server, client = pair(world)
    again = restart(world, client, world.node_id())
    began = world.now

    again.outcome(again.connect(server))
    world.run_until(lambda: server.peer(again).node_id == again.id, 2.0)

    assert world.now < began + 0.5
    assert server.endpoint.peers.with_id(client.id) is None
    exchange(world, server, again)()


def test_a_deployed_client_that_is_restarted_is_answered_at_once() -> None:
    world = World()
    server, client = world.host(), world.puppet()
    other = world.puppet()
    other.join(server)
    client.join(server)
    for _ in range(4):
        world.run_for(6)
        client.take()  # the news of those that have proved themselves meanwhile
        kinds = [message["message_type"] for message in client.join(server)]
        assert kinds[0] == "HandshakeResponse"
        assert "Ack" in kinds
        assert "DiscoveryResponse" in kinds
    assert server.is_connected_to(client)


def test_a_deployed_client_with_another_id_gets_in_within_three_seconds() -> None:
    world = World()
    server, client = world.host(), world.puppet()
    client.join(server)
    new_id = world.node_id()
    began = world.now
    (response, *_) = client.join(server, id=new_id)
    assert response["payload"]["success"] is True
    while server.peer(client).node_id != new_id:
        client.say("ListNodesRequest", None, server)
        world.run_for(0.25)
        assert world.now <= began + 3.5

    client.say("Data", "hello", server)
    world.run_for(1)
    assert server.received() == ["hello"]


def test_the_word_that_shows_a_deployed_client_is_not_lost() -> None:
    world = World(seed=2)
    server, client = world.host(), world.puppet()
    client.join(server)
    client.id = world.node_id()
    client.send(client.handshake_request(), server)
    world.run_for(1)
    client.say("Data", "hello", server)
    world.run_for(4)

    assert server.peer(client).node_id == client.id
    assert server.received() == ["hello"]


REPEATS = {
    "asks once": lambda world, first: None,
    "the same message": lambda world, first: first,
    "another message": lambda world, first: first | {"id": world.message_id()},
}


@pytest.mark.parametrize("answers_pings", [True, False])
@pytest.mark.parametrize("repeats", REPEATS)
def test_a_deployed_client_that_speaks_before_its_answer_gets_in(
    repeats: str, answers_pings: bool
) -> None:
    """What comes before the answer speaks for neither, and asking again loses no time."""
    world = World()
    server, client = world.host(), world.puppet()
    client.answers_pings = answers_pings
    client.join(server)
    client.say("Data", "of the old one", server)
    world.run_for(1)
    new_id, began = world.node_id(), world.now
    first = client.handshake_request(id=new_id)
    client.send(first, server)
    world.run_for(0.05)
    client.say("Data", "at once", server)
    words = 0
    while server.peer(client).node_id != new_id:
        world.run_for(0.5)
        request = REPEATS[repeats](world, first)
        if request is not None:
            client.send(request, server)
        world.run_for(0.5)
        words += 1
        client.say("Data", f"each second {words}", server)
        world.run_for(0.02)
        assert world.now < began + 3.6

    assert "HandshakeResponse" in client.take_types()
    client.say("Data", "in the new name", server)
    world.run_for(1)
    assert server.received()[-1] == "in the new name"
    assert server.endpoint.peers.with_id(client.id) is None
    assert server.peer(client).node_id == new_id


@pytest.mark.parametrize("answers_pings", [True, False])
@pytest.mark.parametrize("speaks_after_s", [0.05, 0.6, 1.5])
def test_a_deployed_client_that_restarts_after_a_goodbye_gets_in(
    speaks_after_s: float, answers_pings: bool
) -> None:
    """The session before ends while the newcomer is held: it was told that it is in."""
    world = World()
    server, client = world.host(), world.puppet()
    client.answers_pings = answers_pings
    client.join(server)
    client.say("Data", "hello", server)
    world.run_for(1)
    client.say("Disconnect", {"reason": "done"}, server)
    new_id, began = world.node_id(), world.now
    client.send(client.handshake_request(id=new_id), server)
    world.run_for(speaks_after_s)
    while (peer := server.peer(client)) is None or peer.node_id != new_id:
        client.say("Data", "again", server)
        world.run_for(1)
        assert world.now < began + 4

    assert "Error" not in client.take_types()


def test_a_deployed_client_that_asks_anew_with_its_id_keeps_its_place() -> None:
    world = World()
    server, client = world.host(), world.puppet()
    client.join(server)
    world.run_for(1)
    pen = Attacker(world).in_the_name_of(client.address)
    pen.send(pen.handshake_request(name="EVIL"), server)
    world.run_for(1)
    client.join(server)
    for number in range(6):
        client.say("Data", number, server)
        world.run_for(1)

    assert server.peer(client).node_id == client.id
    assert server.received() == list(range(6))


@pytest.mark.parametrize("period", [1.0, 0.1])
def test_a_deployed_client_that_speaks_keeps_its_place(period: float) -> None:
    """Each forged request waits for its answer, and the client's next word shows who is there."""
    world = World(seed=2)
    server, client = world.host(), world.puppet()
    client.join(server)
    pen = Attacker(world).in_the_name_of(client.address)
    for number in range(60):
        if number % max(int(1 / period / 2), 1) == 0:
            pen.send(pen.handshake_request(id=world.node_id(), name="EVIL"), server)
        world.run_for(0.1)
        client.say("Data", number, server)
        world.run_for(max(period - 0.1, 0.05) / 4)

    assert server.peer(client).node_id == client.id
    assert server.received() == list(range(60))


def test_a_client_that_speaks_keeps_its_place_from_words_in_another_dialect() -> None:
    """They are forged as well as the request; its own show that it is there."""
    world = World(seed=2)
    server, client = world.host(), world.puppet()
    client.join(server)
    pen = Attacker(world).in_the_name_of(client.address, client.id)
    request = pen.handshake_request(name="EVIL", capabilities=[])
    del request["sender_addr"]
    pen.send(request, server)
    for number in range(10):
        world.run_for(0.6)
        pen.send(pen.spec_message("Data", "EVIL"), server)
        world.run_for(0.4)
        client.say("Data", number, server)
    world.run_for(1)

    peer = server.peer(client)
    assert (peer.name, peer.dialect.value) == ("puppet", "reference")


@pytest.mark.parametrize("dialect", ["spec", "reference"])
def test_a_deployed_server_acknowledges_no_forgery_into_its_place(dialect: str) -> None:
    """It acknowledges whatever asks for that, also the answer to a request that it never made."""
    world = World()
    server, node = ReferenceServer(world), world.host()
    node.outcome(node.connect(server))
    world.run_for(2)
    before = traits(node, server)  # type: ignore[arg-type]
    pen = Attacker(world).in_the_name_of(server.address)
    for _ in range(10):
        evil = world.node_id()
        message = pen.handshake_request(id=evil, name="EVIL")
        if dialect == "spec":
            message = owners_request(pen, node, id=evil, node_id=evil, name="EVIL")
        pen.send(message, node)
        world.run_for(1)
    world.run_for(30)

    assert traits(node, server) == before  # type: ignore[arg-type]


# Answers to a node that is connecting.


def response(pen: Puppet, node_id: str, *, success: bool, ours: bool, **fields: Any) -> Any:
    info = pen.handshake_request(id=node_id, name="EVIL")["payload"]
    if ours:
        info["capabilities"] = ["handshake", "routing", "retransmit", "relay_frames"]
    words = None if success else "go away"
    payload = {"node_info": info, "success": success, "error_message": words, "public_addr": None}
    write = pen.spec_message if ours else pen.message
    return write("HandshakeResponse", payload, **fields)


EVIL_ID = "eeeeeeee-0000-4000-8000-000000000666"

ANSWERS: dict[str, Callable[[Puppet], dict[str, Any]]] = {
    "Error": lambda pen: pen.message("Error", {"error": "handshake failed"}),
    "Error with a code": lambda pen: pen.message(
        "Error", {"error": "no", "code": "unauthenticated"}
    ),
    "refusal": lambda pen: response(pen, EVIL_ID, success=False, ours=False),
    "refusal of our kind": lambda pen: response(pen, EVIL_ID, success=False, ours=True),
    "success": lambda pen: response(pen, EVIL_ID, success=True, ours=False),
    "success of our kind": lambda pen: response(pen, EVIL_ID, success=True, ours=True),
    "success with a wrong id": lambda pen: response(
        pen, EVIL_ID, success=True, ours=True, ack_for=4711
    ),
    "guessed Ack": lambda pen: pen.message("Ack", ack_for="guessed"),
    "request": lambda pen: pen.handshake_request(id=EVIL_ID, name="EVIL"),
}


def connect_among(
    world: World, node: Host, server: Host | ReferenceServer, forged: list[str], rate: float
) -> Any:
    """Connect while these are forged from the server's address; what becomes of it."""
    pen = Attacker(world).in_the_name_of(server.address)
    token = node.connect(server)
    number = 0
    world.run_for(0.003)
    while token not in node.outcomes:
        pen.send(ANSWERS[forged[number % len(forged)]](pen), node)
        number += 1
        world.run_for(1 / rate)
    return node.outcomes[token]


@pytest.mark.parametrize("forged", [*ANSWERS, "all"])
@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_a_node_of_ours_is_reached_among_forged_answers(forged: str, loss: float) -> None:
    for seed in range(3):
        world = World(seed=seed, loss=loss, latency_s=0.04)
        server, node = world.host(), world.host()
        kinds = list(ANSWERS) if forged == "all" else [forged]

        outcome = connect_among(world, node, server, kinds, rate=20)

        assert isinstance(outcome, ConnectResult), outcome
        assert outcome.node_id == server.id


@pytest.mark.parametrize("forged", [*ANSWERS, "all"])
def test_a_deployed_server_is_reached_among_forged_answers(forged: str) -> None:
    for seed in range(4):
        world = World(seed=seed, latency_s=0.04)
        server, node = ReferenceServer(world), world.host()
        kinds = list(ANSWERS) if forged == "all" else [forged]

        outcome = connect_among(world, node, server, kinds, rate=20)

        assert isinstance(outcome, ConnectResult), outcome
        assert outcome.node_id == server.id


@pytest.mark.parametrize("kind", ["Error", "refusal"])
def test_one_forged_refusal_ends_nothing(kind: str) -> None:
    world = World(latency_s=0.05)
    node = world.host()
    for server in (world.host(), ReferenceServer(world)):
        pen = Attacker(world).in_the_name_of(server.address)
        token = node.connect(server)
        pen.send(ANSWERS[kind](pen), node)
        assert isinstance(node.outcome(token), ConnectResult)


def test_a_real_refusal_is_told_soon() -> None:
    world = World()
    node, server = world.host(), world.puppet()
    for acknowledges, within in ((True, 0.2), (False, 1.2)):
        began, token = world.now, node.connect(server)
        world.run_for(0.05)
        request = next(m for m in server.take() if m["message_type"] == "HandshakeRequest")
        if acknowledges:
            server.say("Ack", None, node, ack_for=request["id"])
        server.say("Error", {"error": "network mismatch"}, node)
        error = node.outcome(token, 3)
        assert isinstance(error, HandshakeError)
        assert "network mismatch" in str(error)
        assert world.now - began <= within


# Goodbyes, and "who are you?", in a peer's name.

LIES: dict[str, Callable[[Puppet], dict[str, Any]]] = {
    "Disconnect": lambda pen: pen.message("Disconnect", {"reason": "bye"}),
    "Disconnect that names nothing": lambda pen: pen.spec_message(
        "Disconnect", {"reason": "bye", "handshake": "guessed"}
    ),
    "unauthenticated": lambda pen: pen.message(
        "Error", {"error": "who are you?", "code": "unauthenticated"}
    ),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("ours", [True, False])
def test_lies_about_a_peer_end_no_session_where_much_is_lost(lie: str, ours: bool) -> None:
    """Once a second for six seconds, where each fifth datagram is lost: none of twenty."""
    for seed in range(20):
        world = World(seed=seed, latency_s=0.03)
        server = world.host()
        client: Host | Puppet = world.host() if ours else world.puppet()
        if isinstance(client, Host):
            client.outcome(client.connect(server))
        else:
            client.join(server)
        world.run_for(2)
        server.outcome(server.ping(client))
        joined_at = server.peer(client).session.joined_at  # type: ignore[union-attr]
        world.network.set_link(server.address[0], client.address[0], loss=0.2, latency_s=0.03)
        world.network.set_link(client.address[0], server.address[0], loss=0.2, latency_s=0.03)
        pen = Attacker(world).in_the_name_of(client.address)
        for _ in range(6):
            pen.send(LIES[lie](pen), server)
            world.run_for(1)
        world.run_for(4)

        assert server.is_connected_to(client), seed
        assert server.peer(client).session.joined_at == joined_at  # type: ignore[union-attr]


def test_a_doubt_waits_for_its_pings() -> None:
    """A short goodbye in the name of a client that has proved nothing pays for one Ping: where that
    was lost, the session was over, nine of forty."""
    ended = 0
    for seed in range(40):
        world = World(seed=seed, latency_s=0.03)
        server, client = world.host(), world.puppet()
        payload = client.handshake_request()["payload"]
        request = {"id": "h", "message_type": "HandshakeRequest", "timestamp": 1}
        client.send(json.dumps(request | {"payload": payload, "sender_addr": None}), server)
        world.run_for(1)
        for one, two in ((server, client), (client, server)):
            world.network.set_link(one.address[0], two.address[0], loss=0.2, latency_s=0.03)
        pen = Attacker(world).in_the_name_of(client.address)
        goodbye = {"message_type": "Disconnect", "timestamp": 1, "payload": {"reason": ""}}
        for number in range(6):
            pen.send(json.dumps({"id": f"{number}"} | goodbye, separators=(",", ":")), server)
            world.run_for(1)
        world.run_for(4)
        ended += not server.is_connected_to(client)

    assert ended <= 6


@pytest.mark.parametrize("others", [2, 10, 40])
@pytest.mark.parametrize(("words", "quiet_s"), [(0, 1), (0, 8), (1, 1), (3, 20)])
def test_an_honest_goodbye_pays_for_the_doubt_before_news(
    words: int, quiet_s: float, others: int
) -> None:
    """Guards with it that a forged one is waited for no longer than it pays."""
    for answers_pings in (False, True):
        world = World(1)
        server = world.host()
        for client in [world.puppet() for _ in range(others)]:
            client.join(server)
        client = world.puppet()
        client.answers_pings = answers_pings
        client.join(server)
        for _ in range(words):
            client.say("Data", "hi", server)
            world.run_for(0.5)
        world.run_for(quiet_s)
        assert server.peer(client) is not None
        client.say("Disconnect", {"reason": "bye"}, server)
        world.hosts.pop(client.address)
        world.run_for(1.1)

        assert server.peer(client) is None


def test_a_doubt_ends_though_its_pings_were_never_paid() -> None:
    world = World(1)
    server, client = world.host(), world.puppet()
    for other in [world.puppet() for _ in range(10)]:
        other.join(server)
    client.answers_pings = False
    client.join(server)
    world.run_for(8)
    short = {"id": "1", "message_type": "Disconnect", "timestamp": 1, "payload": {"reason": ""}}
    client.send(json.dumps(short, separators=(",", ":")), server)
    world.hosts.pop(client.address)
    world.run_for(1.5)
    assert server.peer(client) is not None
    world.run_for(1.7)
    assert server.peer(client) is None


def test_what_was_kept_for_a_doubt_is_free_when_it_was_wrong() -> None:
    world = World(1)
    server, client = world.host(), world.puppet()
    client.answers_pings = False
    client.join(server)
    world.run_for(1)
    Attacker(world).in_the_name_of(client.address).say("Disconnect", {"reason": ""}, server)
    peer = server.peer(client)
    assert peer is not None
    world.run_for(0.05)
    assert peer.purse.kept > KEPT_FOR_PINGS
    world.run_for(0.25)
    client.say("Data", "here", server)
    world.run_for(3)

    assert server.is_connected_to(client)
    assert peer.purse.kept <= KEPT_FOR_PINGS


def test_any_word_after_a_goodbye_keeps_a_session() -> None:
    world = World()
    server, client = world.host(), world.puppet()
    client.join(server)
    client.answers_pings = False
    pen = Attacker(world).in_the_name_of(client.address)
    pen.send(LIES["Disconnect"](pen), server)
    world.run_for(0.5)
    client.say("Data", "here", server)
    world.run_for(3)

    assert server.is_connected_to(client)


def test_a_goodbye_inside_a_routed_message_ends_nothing() -> None:
    world = World()
    server, one, two = world.host(), world.host(), world.host()
    for node in (one, two):
        node.outcome(node.connect(server))
    world.run_for(2)
    pen = world.puppet(node_id=two.id)
    for source in (two.id, server.id):
        inner = pen.spec_message("Disconnect", {"reason": "bye"})
        payload = {
            "original_message": inner,
            "source_node": source,
            "destination_node": one.id,
            "hop_count": 0,
            "max_hops": 8,
            "route_id": world.message_id(),
        }
        Attacker(world).forge(two.address, server, pen.spec_message("Data", payload))
        Attacker(world).forge(server.address, one, pen.spec_message("Data", payload))
    world.run_for(6)

    assert one.is_connected_to(server)
    assert server.is_connected_to(two)


# The same id from another address.


def elsewhere(world: World, host: Host) -> Host:
    """Kill a node and start it again behind another address, with nothing of what was."""
    world.remove(host)
    again = world.host(node_id=host.id)
    again.endpoint._state.rng.seed(f"again {world.now}")
    return again


def blind(pen: Puppet, number: int) -> dict[str, Any]:
    """What anybody can send in a peer's name."""
    return (
        pen.message("Pong"),
        pen.spec_message("Pong", {"nonce": "0123456789abcdef"}),
        pen.message("Data", FORGED),
        pen.spec_message("Data", FORGED, requires_ack=True, sequence_number=number),
        pen.spec_message("Ping", {"nonce": "aa"}),
        pen.spec_message("Ack", None, ack_for=number),
    )[number % 6]


def until_in(
    world: World, server: Host, owner: Host, token: int, act: Callable[[int], None]
) -> float:
    """Go on with an attack until the owner of an id has its session; how long that takes."""
    began, number = world.now, 0
    while not server.is_connected_to(owner) or not owner.is_connected_to(server):
        act(number)
        number += 1
        world.run_for(0.01)
        assert world.now < began + 6, owner.outcomes.get(token)
    return world.now - began


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_an_owner_gets_in_while_its_old_address_is_forged(loss: float, seed: int) -> None:
    world = World(seed=seed, loss=loss, latency_s=0.03)
    server, client = pair(world)
    pen = Attacker(world).in_the_name_of(client.address)
    again = elsewhere(world, client)
    token = again.connect(server)

    took = until_in(world, server, again, token, lambda n: pen.send(blind(pen, n), server))

    assert took < 3.0
    exchange(world, server, again)()


def test_an_owner_that_roams_with_its_session_gets_in_at_once() -> None:
    world = World(latency_s=0.03)
    server, client = pair(world)
    pen = Attacker(world).in_the_name_of(client.address)
    world.move(client)
    token = client.ping(server)

    took = until_in(world, server, client, token, lambda n: pen.send(blind(pen, n), server))

    assert took < 3.0


@pytest.mark.parametrize("rate", [1, 100])
@pytest.mark.parametrize("ours", [True, False])
def test_claims_from_many_addresses_do_not_keep_an_owner_out(ours: bool, rate: int) -> None:
    """While it is alive, and when it comes back from elsewhere."""
    world = World(seed=3, latency_s=0.03)
    server, client = pair(world)
    attacker = Attacker(world)

    def claim(number: int) -> None:
        if number % (100 // rate) == 0:
            host = f"203.0.{number // 200}.{number % 200 + 1}"
            pen = attacker.in_the_name_of((host, 4000), client.id)
            forged = owners_request(pen, client) if ours else pen.handshake_request()
            pen.send(forged, server)

    for number in range(300):
        claim(number)
        world.run_for(0.01)
    assert server.is_connected_to(client)
    assert server.peer(client).node_id == client.id

    again = elsewhere(world, client)
    token = again.connect(server)
    took = until_in(world, server, again, token, lambda number: claim(1000 + number))

    assert took < 3.0
    exchange(world, server, again, 8)()


def test_a_thief_is_refused_and_does_not_block_the_owners_return() -> None:
    world = World(latency_s=0.03)
    server, client = pair(world)
    thief = world.host(node_id=client.id)
    stolen = thief.outcome(thief.connect(server))
    assert isinstance(stolen, HandshakeError)
    assert "already exists" in str(stolen)
    again = elsewhere(world, client)

    token = again.connect(server)

    assert until_in(world, server, again, token, lambda _: None) < 3.0


def test_a_forged_claim_moves_no_session_though_the_owner_hears_nothing() -> None:
    world = World(latency_s=0.03)
    server, client = pair(world)
    pen = Attacker(world).in_the_name_of(("203.0.113.5", 4000), client.id)
    world.network.set_link(server.address[0], client.address[0], loss=1.0)
    pen.send(owners_request(pen, client), server)
    world.run_for(3)
    world.network.set_link(server.address[0], client.address[0], loss=0.0, latency_s=0.03)
    world.run_for(1)

    assert server.is_connected_to(client)
    assert server.peer(client).node_id == client.id
    exchange(world, server, client, 8)()


def test_a_deployed_owner_gets_in_though_its_old_address_is_forged() -> None:
    """It asks again, as it is refused once: by then what anybody can write counts no more."""
    world = World(latency_s=0.03)
    server, old = world.host(), world.puppet()
    old.join(server)
    world.run_for(1)
    server.outcome(server.ping(old))
    world.remove(old)
    pen = Attacker(world).in_the_name_of(old.address)
    again = world.puppet(node_id=old.id)
    began = world.now
    while not server.is_connected_to(again):
        answers = [m for m in again.take() if m["message_type"] == "HandshakeResponse"]
        if answers or world.now == began:
            again.send(again.handshake_request(), server)
        pen.send(blind(pen, 0 if int(world.now * 100) % 2 else 2), server)
        world.run_for(0.02)
        assert world.now < began + 3.0


@pytest.mark.parametrize("has_answered", [True, False])
@pytest.mark.parametrize("pause_s", [1.0, 0.4, 0.25, 0.1])
def test_pongs_in_its_name_keep_no_deployed_owner_out(pause_s: float, has_answered: bool) -> None:
    """At whatever pace: nobody else knows when the owner's old address is asked."""
    late = []
    for seed in range(8):
        world = World(seed=seed, latency_s=0.03)
        server, old = world.host(), world.puppet()
        old.answers_pings = has_answered
        old.join(server)
        if has_answered:
            server.outcome(server.ping(old))
        world.remove(old)
        pen = Attacker(world).in_the_name_of(old.address)
        again = world.puppet(node_id=old.id)
        began, asked_at = world.now, -1.0
        while not server.is_connected_to(again) and world.now < began + 30:
            if world.now >= asked_at + 2.5:
                again.send(again.handshake_request(), server)
                asked_at = world.now
            pen.say("Pong", None, server)
            world.run_for(pause_s)
        late.append(world.now - began)

    assert sorted(late)[5] <= 5.5
    assert max(late) <= 20


def test_a_deployed_owner_that_answers_keeps_its_id_however_often_it_is_claimed() -> None:
    for seed in range(5):
        world = World(seed=seed, latency_s=0.1)
        server, owner = world.host(), world.puppet()
        owner.join(server)
        for _ in range(10):
            thief = world.puppet(node_id=owner.id)
            thief.join(server)
            world.run_for(1.5)
            assert not server.is_connected_to(thief)

        assert server.is_connected_to(owner)


# What newcomers leave behind.


@pytest.mark.parametrize("ours", [True, False])
def test_newcomers_leave_neither_timers_nor_bytes_behind(ours: bool) -> None:
    """Each forged request takes the place of one before it, with all that was planned for that."""
    world = World()
    server, client = pair(world)
    before = server.endpoint.sizes()["timers"]
    pen = Attacker(world).in_the_name_of(client.address)
    for _ in range(800):
        evil = world.node_id()
        forged = pen.handshake_request(id=evil, padding="x" * 1200)
        if ours:
            forged = owners_request(pen, client, id=evil, node_id=evil, padding="x" * 1200)
        pen.send(forged, server)
        world.run_for(0.005)

    held = server.endpoint.sizes()["newcomers"]
    assert held <= (256 if ours else 1)
    assert server.endpoint.sizes()["timers"] <= before + 2 * held + 20
    world.run_for(31)
    assert server.endpoint.sizes()["newcomers"] == 0
    assert server.endpoint.sizes()["timers"] <= before + 5


def test_guessed_acks_leave_few_numbers_to_hit() -> None:
    """And the restarted owner gets in among them."""
    world = World(latency_s=0.03)
    server, client = pair(world)
    pen = Attacker(world).in_the_name_of(client.address)

    def forge(number: int) -> None:
        evil = world.node_id()
        pen.send(owners_request(pen, client, id=evil, node_id=evil), server)
        for guess in range(3):
            pen.send(pen.spec_message("Ack", None, ack_for=number * 3 + guess), server)

    for number in range(150):
        forge(number)
        world.run_for(0.02)
    assert server.endpoint.sizes()["newcomers"] <= 20

    joined_at = server.peer(client).session.joined_at  # type: ignore[union-attr]
    again = restart(world, client)
    began, _ = world.now, again.connect(server)
    while server.peer(again).session.joined_at == joined_at:  # type: ignore[union-attr]
        forge(int(world.now * 1000))
        world.run_for(0.02)
        assert world.now < began + 2.0


def test_a_deployed_client_that_is_quiet_for_seconds_keeps_its_place() -> None:
    """What it says later than a newcomer would is its own."""
    for seed in range(5):
        world = World(seed=seed)
        server, client = world.host(), world.puppet()
        client.join(server)
        pen = Attacker(world).in_the_name_of(client.address)
        for _ in range(3):
            world.run_for(5)
            pen.send(pen.handshake_request(id=world.node_id(), name="EVIL"), server)
            world.run_for(5)
            client.say("Ping", None, server)
            client.say("Data", "mine", server)
            world.run_for(1)

        assert server.peer(client).node_id == client.id  # type: ignore[union-attr]


def test_claims_that_wait_keep_no_datagrams() -> None:
    """A request is kept without its padding, and without the rest of what came with it."""
    world = World(latency_s=0.03)
    server, client = pair(world)
    requests = []
    for number in range(200):
        pen = Attacker(world).in_the_name_of((f"203.0.{number}.1", 4000), client.id)
        message = owners_request(pen, client, padding="x" * 3000) | {"more": "y" * 40_000}
        requests.append((json.dumps(message).encode(), pen.address))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for request, address in requests:
            server.receive(bytes(bytearray(request)), address)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert kept < 200 * 8000


def strangers(world: World, server: Host, number: int, count: int) -> None:
    """Pings from so many addresses of which nothing is known: each might be told to shake hands."""
    attacker = Attacker(world)
    for each in range(number * count, (number + 1) * count):
        pen = attacker.in_the_name_of((f"198.18.{each // 200 % 250}.{each % 200 + 1}", 4000))
        attacker.forge(pen.address, server, pen.spec_message("Ping", {"nonce": "aa" * 30}))


@pytest.mark.parametrize("seed", range(3))
def test_an_owner_gets_in_from_elsewhere_through_a_flood_of_strangers(seed: int) -> None:
    """A thousand Pings a second draw all the answers that strangers get; its own is not of them."""
    world = World(seed=seed, latency_s=0.03)
    server, client = pair(world)
    for number in range(100):
        strangers(world, server, number, 10)
        world.run_for(0.01)
    again = elsewhere(world, client)
    token = again.connect(server)

    took = until_in(
        world, server, again, token, lambda number: strangers(world, server, 100 + number, 10)
    )

    assert took < 3.0
    exchange(world, server, again, 8)()


@pytest.mark.parametrize("seed", range(3))
def test_a_restarted_node_gets_in_through_a_flood_of_strangers(seed: int) -> None:
    """At its own address, with another id."""
    world = World(seed=seed, latency_s=0.03)
    server, client = pair(world)
    again = restart(world, client, world.node_id())
    for number in range(100):
        strangers(world, server, number, 10)
        world.run_for(0.01)
    token = again.connect(server)

    took = until_in(
        world, server, again, token, lambda number: strangers(world, server, 100 + number, 10)
    )

    assert took < 3.0


def test_a_first_answer_that_did_not_leave_is_sent_later(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(latency_s=0.03)
    server, client = pair(world)
    again = restart(world, client, world.node_id())
    gate = server.endpoint._state.gate
    refuse, kept_back = gate.refuse, 0

    def keep_back(*parts: Any, **rest: Any) -> bool:
        nonlocal kept_back
        kept_back += 1
        return kept_back > 2 and refuse(*parts, **rest)

    monkeypatch.setattr(gate, "refuse", keep_back)
    token = again.connect(server)

    assert until_in(world, server, again, token, lambda _: None) < 1.0


@pytest.mark.parametrize("period_s", [None, 5.0, 1.0])
def test_forged_claims_from_its_next_address_do_not_keep_an_owner_out(
    period_s: float | None,
) -> None:
    """One was refused there, as its owner was alive: the next one may be the owner."""
    world = World(latency_s=0.02)
    server, client = pair(world)
    address = world.address()
    pen = Attacker(world).in_the_name_of(address, client.id)
    pen.send(owners_request(pen, client), server)
    world.run_for(1.5)
    assert server.peer(client).address == client.address
    world.remove(client)
    again = world.host(address, node_id=client.id)
    again.endpoint._state.rng.seed("again")
    token = again.connect(server)

    def claim(number: int) -> None:
        if period_s is not None and number % int(period_s * 100) == 0:
            pen.send(owners_request(pen, client), server)

    assert until_in(world, server, again, token, claim) < 3.0
    exchange(world, server, again, 8)()
