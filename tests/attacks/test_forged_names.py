"""Whose name something bears is told by the session that it came in, never by a field.

The forger is a proved peer that announced `routing`, a neighbour that lists others, a joined server
that goes beyond its word, or somebody off the path who writes in a server's name.
"""

import ast
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

import p2ptui
from p2ptui.core.events import DataReceived, PeersDiscovered, RelayDataReceived, SendStatus
from p2ptui.errors import UnknownPeerError
from p2ptui.node.lookup import find_node
from p2ptui.node.others import find_others
from p2ptui.wire.address import format_address
from tests.attacks.attacker import Attacker
from tests.core.meeting import facts_of
from tests.core.mesh.test_naming import RustServer
from tests.core.relaying import ask, relaying, say
from tests.core.relaying import node as joined
from tests.simulation import UNIX_START, Host, Puppet, World

ELSEWHERE = "88888888-0000-4000-8000-000000000000"


@pytest.fixture
def world() -> World:
    return World()


def router(world: World, node: Host, **changes: Any) -> Puppet:
    """A proved peer that announced `routing`: it may bring messages of others."""
    puppet = world.puppet()
    puppet.names_pings = True
    payload = puppet.handshake_request(capabilities=["routing"], **changes)["payload"]
    puppet.send(puppet.spec_message("HandshakeRequest", payload), node)
    world.run_for(0.5)
    node.ping(puppet)
    world.run_for(1)
    puppet.take()
    peer = node.peer(puppet)
    assert peer is not None
    assert peer.proved
    return puppet


def deployed(world: World, node: Host, **changes: Any) -> Puppet:
    """A deployed client."""
    puppet = world.puppet()
    puppet.join(node, **changes)
    return puppet


def inner(kind: str, payload: Any = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": "9b1de544-81ca-43f3-a267-c407790db19b",
        "message_type": kind,
        "timestamp": UNIX_START,
        "payload": payload,
        "sequence_number": None,
        "requires_ack": False,
        "ack_for": None,
    } | fields


def routed(source: str, to: str, message: Any = None, **changes: Any) -> dict[str, Any]:
    return {
        "original_message": message or inner("Data", "forged"),
        "source_node": source,
        "destination_node": to,
        "hop_count": 1,
        "max_hops": 8,
        "route_id": "5e375b12-6c51-4b79-a831-a088df14eeaf",
    } | changes


def senders(host: Host) -> list[str]:
    return [event.node_id for event in host.told(DataReceived)]


def next_hop(host: Host, node_id: str) -> str | None:
    routes = {route.destination: route.next_hop for route in host.endpoint.routes(host.world.now)}
    return routes.get(node_id)


def names(host: Host) -> dict[str, str]:
    return {other.node_id: other.name for other in find_others(host.endpoint, host.world.now)}


# Routed messages in another's name.


@pytest.mark.parametrize("hops", [0, 1, 7])
@pytest.mark.parametrize("kind", ["ours", "deployed", "relayed"])
def test_nobody_speaks_in_the_name_of_a_direct_peer(world: World, kind: str, hops: int) -> None:
    """Whatever it is that it writes, and also where it is for another node."""
    if kind == "relayed":
        server = relaying(world)
        node, friend = joined(world, server), joined(world, server)
        node.outcome(ask(node, server, friend))
        bob: Host | Puppet = friend
    else:
        node = world.host()
        bob = deployed(world, node) if kind == "deployed" else joined(world, node)
    mallory, third = router(world, node), router(world, node)
    ping = inner("Ping", {"nonce": "0"})
    for number, message in enumerate((inner("Data", "forged"), ping)):
        for to in (node.id, third.id):
            route_id = f"{number} {to}"
            payload = routed(bob.id, to, message, hop_count=hops, route_id=route_id)
            mallory.say("Data", payload, node)
    world.run_for(0.5)

    assert bob.id not in senders(node)
    assert senders(node) == ([mallory.id] if hops == 0 else [])
    brought = [m["payload"] for m in third.take() if m["message_type"] == "Data"]
    assert {each["source_node"] for each in brought} <= {mallory.id}
    assert next_hop(node, bob.id) == bob.id


def test_an_introduced_node_is_spoken_for_by_its_address_and_its_server_alone(
    world: World,
) -> None:
    node, server = world.host(), RustServer(world)
    server.admit(node)
    bob = world.puppet()
    where = format_address(bob.address)
    server.puppet.say("P2PConnect", {"peer_id": bob.id, "peer_addr": where}, node)
    mallory = router(world, node)
    mallory.say("Data", routed(bob.id, node.id), node)
    world.run_for(0.5)
    assert senders(node) == []
    assert next_hop(node, bob.id) is None

    bob.say("Data", routed(bob.id, node.id, hop_count=0, route_id="2"), node)
    other = inner("Data", "by the server", id="second")
    server.puppet.say("Data", routed(bob.id, node.id, other, route_id="3"), node)
    world.run_for(0.5)
    assert senders(node) == [bob.id, bob.id]


def test_an_introduced_address_does_not_speak_for_a_node_with_a_session(world: World) -> None:
    node, server = world.host(), RustServer(world)
    server.admit(node)
    bob, thief = world.host(), world.puppet()
    bob.outcome(bob.connect(node))
    world.run_for(1)
    where = format_address(thief.address)
    server.puppet.say("P2PConnect", {"peer_id": bob.id, "peer_addr": where}, node)
    world.run_for(0.5)
    for number, source in enumerate((bob.id, server.puppet.id)):
        payload = routed(source, node.id, hop_count=0, route_id=str(number))
        thief.say("Data", payload, node)
    world.run_for(0.5)
    assert senders(node) == []


def test_who_has_not_shown_that_it_is_there_brings_nothing_in_anothers_name(world: World) -> None:
    node = world.host()
    pen = Attacker(world).in_the_name_of(("203.0.113.7", 4000))
    payload = pen.handshake_request(capabilities=["routing"])["payload"]
    pen.send(pen.spec_message("HandshakeRequest", payload), node)
    world.run_for(0.5)
    entry = {"id": ELSEWHERE, "addr": "10.1.1.1:1", "last_seen": 1, "capabilities": []}
    pen.say("DiscoveryResponse", [entry], node)
    pen.say("Data", routed(ELSEWHERE, node.id), node)
    world.run_for(0.5)
    assert senders(node) == []
    assert next_hop(node, ELSEWHERE) is None


def test_a_forged_session_silences_nobody(world: World) -> None:
    """Whoever forges a handshake with a node's id has no say about what its server brings."""
    server, alice, bob = (world.host() for _ in range(3))
    for each in (alice, bob):
        each.outcome(each.connect(server))
    world.run_for(2)
    pen = Attacker(world).in_the_name_of(("203.0.113.7", 4000), bob.id)
    pen.send(pen.handshake_request(), alice)
    world.run_for(0.5)
    assert alice.endpoint.peers.authenticated(bob.id) is not None
    token = bob.endpoint.send_routed(alice.id, "real", 8, world.now, 10)
    back = alice.endpoint.send_routed(bob.id, "answer", 8, world.now, 10)
    assert bob.outcome(token).delivered
    assert alice.outcome(back).delivered
    assert bob.received() == ["answer"]


# Who brings what of a node that is not here, and where its route leads.


def behind_a_server(world: World) -> tuple[Host, Host, Host, Puppet]:
    """A server, two nodes that joined it, and a router that joined one of them."""
    server, alice, bob = world.host(name="server"), world.host(name="alice"), world.host(name="bob")
    for each in (alice, bob):
        each.outcome(each.connect(server))
    world.run_for(2)
    return server, alice, bob, router(world, alice)


@pytest.mark.parametrize("how", ["a list", "an update", "a message"])
def test_a_neighbour_does_not_divert_what_a_joined_server_lists(world: World, how: str) -> None:
    server, alice, bob, mallory = behind_a_server(world)
    entry = {"id": bob.id, "addr": "10.1.1.1:1", "last_seen": 1, "capabilities": [], "name": "x"}
    for number in range(3):
        match how:
            case "a list":
                mallory.say("DiscoveryResponse", [entry], alice)
            case "an update":
                mallory.say("DiscoveryUpdate", {"joined": [entry], "left": []}, alice)
            case _:
                mallory.say("Data", routed(bob.id, alice.id, route_id=str(number)), alice)
        world.run_for(0.2)
    assert senders(alice) == []
    assert next_hop(alice, bob.id) == server.id
    assert names(alice)[bob.id] == "bob"
    token = alice.endpoint.send_routed(bob.id, "secret", 8, world.now, 10)
    assert alice.outcome(token).delivered
    assert bob.received() == ["secret"]
    assert "Data" not in mallory.take_types()


def test_a_liars_route_is_replaced_by_the_way_that_answers(world: World) -> None:
    """Where nobody has listed the node, a neighbour is believed until it brings no answer."""
    alice, middle, bob = (world.host() for _ in range(3))
    middle.outcome(middle.connect(alice))
    bob.outcome(bob.connect(middle))
    world.run_for(1)
    alice.endpoint._routing.table.forget(bob.id, middle.id)
    mallory = router(world, alice)
    mallory.say("Data", routed(bob.id, alice.id), alice)
    world.run_for(0.2)
    assert next_hop(alice, bob.id) == mallory.id

    token = alice.endpoint.send_routed(bob.id, "hello", 8, world.now, 20)
    assert alice.outcome(token).delivered
    assert next_hop(alice, bob.id) == middle.id
    for number in range(5):
        mallory.say("Data", routed(bob.id, alice.id, route_id=str(number)), alice)
        world.run_for(0.1)
    assert next_hop(alice, bob.id) == middle.id
    began = world.now
    token = alice.endpoint.send_routed(bob.id, "again", 8, world.now, 20)
    assert alice.outcome(token).attempts == 1
    assert world.now - began < 1


def test_who_arrives_itself_ends_what_others_made_of_it(world: World) -> None:
    alice = world.host()
    mallory = router(world, alice)
    bob = world.host()
    mallory.say("Data", routed(bob.id, alice.id), alice)
    world.run_for(0.2)
    assert next_hop(alice, bob.id) == mallory.id
    bob.outcome(bob.connect(alice))
    world.run_for(1)
    assert next_hop(alice, bob.id) == bob.id
    peer = bob.peer(alice)
    assert peer is not None
    bob.endpoint.disconnect(peer, "bye", world.now)
    world.run_for(2)
    assert next_hop(alice, bob.id) is None


def test_one_of_several_that_refuses_does_not_end_a_message(world: World) -> None:
    """A message without a route goes to a few: what one says of it holds for its own way."""
    alice, middle, bob = (world.host() for _ in range(3))
    middle.outcome(middle.connect(alice))
    bob.outcome(bob.connect(middle))
    mallory = router(world, alice)
    alice.endpoint._routing.table.forget(bob.id, middle.id)
    token = alice.endpoint.send_routed(bob.id, "hello", 8, world.now, 20)
    alice.settle()
    world.run_for(0.011)
    (message,) = (m for m in mallory.take() if m["message_type"] == "Data")
    error = {"error": "no", "code": "too_large", "route_id": message["payload"]["route_id"]}
    mallory.say("Error", error, alice)
    outcome = alice.outcome(token)
    assert outcome.status is SendStatus.DELIVERED


# Names, and what lists may say.


def entries(bob: Host, evil: str) -> list[dict[str, Any]]:
    """A list in which a name has moved to another node, and everybody to another address."""
    return [
        {"id": node_id, "addr": "203.0.113.9:9", "last_seen": 1, "capabilities": [], "name": name}
        for node_id, name in ((bob.id, "somebody"), (evil, "bob"))
    ]


def forged_lists(bob: Host, evil: str) -> dict[str, Any]:
    told = entries(bob, evil)
    nodes = [{**entry, "listen_addr": entry["addr"], "version": "1"} for entry in told]
    return {
        "DiscoveryUpdate": {"joined": told, "left": []},
        "DiscoveryResponse": told,
        "ListNodesResponse": {"nodes": nodes},
    }


@pytest.mark.parametrize("kind", ["DiscoveryUpdate", "DiscoveryResponse", "ListNodesResponse"])
def test_a_list_forged_in_a_servers_name_moves_no_name(world: World, kind: str) -> None:
    server, alice, bob, _ = behind_a_server(world)
    naming = alice.endpoint.naming
    listed = alice.endpoint._routing.listed_address(bob.id, world.now)
    forger = Attacker(world).in_the_name_of(server.address, server.id)
    for _ in range(3):
        peer = alice.peer(server)
        assert peer is not None
        naming.ask(peer, world.now)  # an answer is awaited, so that one may be forged
        forger.say(kind, forged_lists(bob, ELSEWHERE)[kind], alice)
        forger.say("DiscoveryUpdate", {"joined": [], "left": [bob.id]}, alice)
        world.run_for(1)
    assert find_node(alice.endpoint, "bob", world.now).node_id == bob.id
    assert names(alice)[bob.id] == "bob"
    assert alice.endpoint._routing.listed_address(bob.id, world.now) == listed
    assert next_hop(alice, bob.id) == server.id
    token = alice.endpoint.send_routed(bob.id, "secret", 8, world.now, 10)
    assert alice.outcome(token).delivered


def test_a_list_of_the_server_itself_moves_names(world: World) -> None:
    """It held before: whoever restarts under another name is called so."""
    server, alice, bob, _ = behind_a_server(world)
    peer = bob.peer(server)
    assert peer is not None
    bob.endpoint.disconnect(peer, "bye", world.now)
    world.run_for(2)
    assert bob.id not in names(alice)
    again = world.host(node_id=bob.id, name="robert")
    again.outcome(again.connect(server))
    world.run_for(3)
    assert names(alice)[bob.id] == "robert"
    assert find_node(alice.endpoint, "robert", world.now).node_id == bob.id


@pytest.mark.parametrize("kind", ["DiscoveryUpdate", "DiscoveryResponse"])
def test_where_nobody_vouches_for_lists_a_name_that_moves_fits_both(
    world: World, kind: str
) -> None:
    """An older server of ours names no handshake: what it tells may be forged."""
    alice, bob = world.host(), world.host()
    server = world.puppet()
    token = alice.connect(server)
    world.run_for(0.1)
    (request,) = (m for m in server.take() if m["message_type"] == "HandshakeRequest")
    info = server.handshake_request(capabilities=["routing", "peer_updates"])["payload"]
    payload = {"node_info": info, "success": True, "error_message": None, "public_addr": None}
    number = request["sequence_number"]
    answer = server.spec_message("HandshakeResponse", payload, ack_for=number)
    server.send(answer, alice)
    alice.outcome(token)
    true = [{**entry, "name": "bob"} for entry in entries(bob, ELSEWHERE)[:1]]
    server.say("DiscoveryUpdate", {"joined": true, "left": []}, alice)
    world.run_for(0.1)
    assert find_node(alice.endpoint, "bob", world.now).node_id == bob.id
    Attacker(world).in_the_name_of(server.address, server.id).say(
        kind, forged_lists(bob, ELSEWHERE)[kind], alice
    )
    world.run_for(0.1)
    with pytest.raises(UnknownPeerError, match="'bob' fits 2 nodes"):
        find_node(alice.endpoint, "bob", world.now)


def test_an_answer_of_a_deployed_server_moves_no_name_silently(world: World) -> None:
    alice, bob = world.host(), world.host()
    server = RustServer(world, **{bob.id: "bob"})
    server.admit(alice)
    server.list_ids(alice)
    peer = alice.peer(server.puppet)
    assert peer is not None
    alice.endpoint.naming.ask(peer, world.now)
    server.serve(alice, 2)
    assert find_node(alice.endpoint, "bob", world.now).node_id == bob.id

    alice.endpoint.naming.ask(peer, world.now)
    forger = Attacker(world).in_the_name_of(server.puppet.address, server.puppet.id)
    forger.say("ListNodesResponse", forged_lists(bob, ELSEWHERE)["ListNodesResponse"], alice)
    world.run_for(0.5)
    with pytest.raises(UnknownPeerError, match="'bob' fits 2 nodes"):
        find_node(alice.endpoint, "bob", world.now)


def test_a_deployed_server_tells_no_names_in_a_list(world: World) -> None:
    alice, bob = world.host(), world.host()
    server = RustServer(world, **{bob.id: "bob"})
    server.admit(alice)
    server.puppet.say("DiscoveryResponse", entries(bob, ELSEWHERE), alice)
    world.run_for(0.1)
    assert names(alice) == {bob.id: "", ELSEWHERE: ""}


def test_a_name_from_a_session_outlasts_it(world: World) -> None:
    alice, bob = world.host(), world.host(name="bob")
    server = RustServer(world, **{bob.id: "somebody", ELSEWHERE: "bob"})
    server.admit(alice)
    alice.outcome(alice.connect(bob))
    world.run_for(1)
    with_bob, with_server = alice.peer(bob), alice.peer(server.puppet)
    assert with_bob is not None
    assert with_server is not None
    alice.endpoint.disconnect(with_bob, "bye", world.now)
    alice.endpoint.naming.ask(with_server, world.now)
    server.serve(alice, 2)
    assert names(alice)[bob.id] == "bob"
    with pytest.raises(UnknownPeerError, match="'bob' fits 2 nodes"):
        find_node(alice.endpoint, "bob", world.now)


def test_a_forged_newcomer_does_not_take_a_name_out_of_use(world: World) -> None:
    alice, bob = world.host(), world.host(name="bob")
    bob.outcome(bob.connect(alice))
    world.run_for(1)
    forger = Attacker(world).in_the_name_of(("203.0.113.7", 4000))
    forger.send(forger.handshake_request(name="bob"), alice)
    world.run_for(0.5)
    assert find_node(alice.endpoint, "bob", world.now).node_id == bob.id

    twin = world.host(name="bob")
    twin.outcome(twin.connect(alice))
    world.run_for(1)
    with pytest.raises(UnknownPeerError, match="'bob' fits 2 nodes"):
        find_node(alice.endpoint, "bob", world.now)


@pytest.mark.parametrize(
    "name", ["the id", "the short id", "the address", "BOB", "b\u200bob", "b\u043eb"]
)
def test_no_name_stands_in_for_another_node(world: World, name: str) -> None:
    """It held before: an id or an address means what it says, and names are compared exactly."""
    alice, bob = (
        world.host(),
        world.host(name="bob", node_id="b0b0b0b0-0000-4000-8000-00000000000b"),
    )
    bob.outcome(bob.connect(alice))
    world.run_for(1)
    texts = {
        "the id": bob.id,
        "the short id": bob.id[:8],
        "the address": "{}:{}".format(*bob.address),
    }
    mallory = world.host(name=texts.get(name, name))
    mallory.outcome(mallory.connect(alice))
    world.run_for(1)
    if name == "the short id":
        with pytest.raises(UnknownPeerError, match="fits 2 nodes"):
            find_node(alice.endpoint, texts[name], world.now)
        return
    for words in (bob.id, texts["the address"], "bob"):
        assert find_node(alice.endpoint, words, world.now).node_id == bob.id


def test_nobody_lists_this_node_elsewhere(world: World) -> None:
    """It held before."""
    server, alice, _, mallory = behind_a_server(world)
    entry = {"id": alice.id, "addr": "203.0.113.9:9", "last_seen": 1, "capabilities": []}
    for pen in (mallory, Attacker(world).in_the_name_of(server.address, server.id)):
        pen.say("DiscoveryUpdate", {"joined": [entry], "left": [alice.id]}, alice)
        pen.say("Data", routed(alice.id, alice.id, route_id=pen.id), alice)
    world.run_for(0.5)
    assert alice.id not in names(alice)
    assert next_hop(alice, alice.id) is None
    assert senders(alice) == []


# What a server brings and says of a node that is here.


def test_a_servers_word_does_not_move_a_direct_peer(world: World) -> None:
    """Whoever joins a server under a peer's id is introduced as that, and answers all checks."""
    server, alice, bob = world.host(name="server"), world.host(), world.host(name="bob")
    alice.outcome(alice.connect(server))
    alice.outcome(alice.connect(bob))
    world.run_for(1)
    thief = world.host(node_id=bob.id)
    thief.facts = alice.facts = facts_of("open")
    thief.outcome(thief.connect(server))
    world.run_for(3)
    with_server = thief.peer(server)
    assert with_server is not None
    thief.endpoint.introduce(with_server, alice.id, world.now, 10)
    for number in range(30):
        alice.send(bob, number)
        world.run_for(0.5)
    assert bob.received() == list(range(30))
    assert thief.received() == []
    peer = alice.peer(bob)
    assert peer is not None
    assert peer.path is None
    assert [entry.address for entry in alice.endpoint.introductions] == []


def test_another_server_does_not_turn_a_relayed_session_aside(world: World) -> None:
    server, other = relaying(world), world.host()
    bob = joined(world, server)
    alice = joined(world, server, other, ice={"enable": True})
    bob.outcome(ask(bob, server, alice))
    thief = world.host(node_id=bob.id)
    thief.facts = alice.facts = facts_of("open")
    thief.outcome(thief.connect(other))
    world.run_for(3)
    ask(thief, other, alice)
    for number in range(30):
        say(alice, bob, number)
        world.run_for(0.5)
    assert bob.received() == list(range(30))
    assert thief.received() == []


def test_a_peer_that_went_elsewhere_is_found_there(world: World) -> None:
    """It held before: what a server says of a peer that does not answer any more counts."""
    server = world.host(name="server")
    alice, bob = world.host(), world.host(name="bob")
    alice.outcome(alice.connect(server))
    alice.outcome(alice.connect(bob))
    world.run_for(1)
    world.remove(bob)
    again = world.host(node_id=bob.id, name="bob")
    again.facts = alice.facts = facts_of("open")
    again.outcome(again.connect(server))
    with_server = again.peer(server)
    assert with_server is not None
    token = again.endpoint.introduce(with_server, alice.id, world.now, 10)
    outcome = again.outcome(token)
    assert not isinstance(outcome, Exception), outcome


@pytest.mark.parametrize("whose", ["a direct peer's", "this node's", "the server's"])
def test_a_server_relays_in_nobodys_name_who_is_here(world: World, whose: str) -> None:
    alice, bob, server = world.host(), world.host(), RustServer(world)
    server.admit(alice)
    alice.outcome(alice.connect(bob))
    world.run_for(1)
    ids = {"a direct peer's": bob.id, "this node's": alice.id, "the server's": server.puppet.id}
    payload = {"from_peer_id": ids[whose], "data": [1, 2]}
    server.puppet.say("RelayData", payload, alice)
    world.run_for(0.1)
    assert alice.told(RelayDataReceived) == []
    assert senders(alice) == []

    server.puppet.say("RelayData", {"from_peer_id": ELSEWHERE, "data": [3]}, alice)
    world.run_for(0.1)
    assert [event.data for event in alice.told(RelayDataReceived)] == [b"\x03"]


# The structure that keeps it so.

CLAIMS = {
    "source_node": {"core/mesh/routing.py"},
    "from_peer_id": {"core/relay/requests.py"},
    "sender_addr": {"core/identity.py", "core/messages/early.py"},
}
"""Fields in which somebody says who it is, or where, and where the core reads them; of the last one
only whether it is there."""


def test_fields_that_claim_an_identity_are_read_in_one_place() -> None:
    root = Path(p2ptui.__file__).parent
    core = sorted((root / "core").rglob("*.py"))
    found: dict[str, set[str]] = {claim: set() for claim in CLAIMS}
    for path in core:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in found:
                found[node.attr].add(path.relative_to(root).as_posix())
    assert found == CLAIMS


def test_only_one_place_says_who_wrote_a_routed_message() -> None:
    root = Path(p2ptui.__file__).parent
    makers = {
        path.relative_to(root).as_posix()
        for path in sorted(root.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Writer"
    }
    assert makers == {"core/mesh/sources.py"}


def _forged(world: World, server: Host, name: str, node_id: str | None = None) -> str:
    forger = Attacker(world).in_the_name_of(("203.0.113.7", 4000))
    request = forger.handshake_request(name=name)
    if node_id is not None:
        request["payload"] |= {"id": node_id, "node_id": node_id}
    forger.send(request, server)
    return str(request["payload"]["id"])


@pytest.mark.parametrize("what", ["name", "server", "id", "id as name"])
def test_a_forged_newcomer_takes_no_name_out_of_use_in_what_a_server_tells(
    world: World, what: str
) -> None:
    server, bob, carol = world.host(name="hub"), world.host(name="bob"), world.host(name="carol")
    for node in (bob, carol):
        node.outcome(node.connect(server))
    world.run_for(1)
    name = {"name": "bob", "server": "hub", "id as name": bob.id[:8]}.get(what, "dave")
    begun = bob.id[:8] + "-0000-4000-8000-00000000000b" if what == "id" else None
    forged = _forged(world, server, name, begun)
    world.run_for(2)
    assert server.endpoint.peers.authenticated(forged) is not None

    peer = carol.peer(server)
    assert peer is not None
    found = carol.outcome(carol.endpoint.list_nodes(peer, world.now, 10))

    names = {node.id: node.name for node in found.nodes}
    assert names.get(forged) == (None if what == "id" else forged[:8])  # of one without
    assert names[bob.id] == "bob"
    told = [entry for each in carol.told(PeersDiscovered) for entry in each.joined]
    assert all(entry.name is UNSET for entry in told if entry.id == forged)
    if what == "id":
        assert forged not in {entry.id for entry in told}
    assert find_node(carol.endpoint, "bob", world.now).node_id == bob.id


def test_a_claim_to_a_free_name_is_told_of(world: World) -> None:
    """A deployed client may not prove its address for a while: it is told of all the same."""
    server, carol = world.host(name="hub"), world.host(name="carol")
    carol.outcome(carol.connect(server))
    world.run_for(1)
    claim = _forged(world, server, "dave")
    world.run_for(1)
    peer = carol.peer(server)
    assert peer is not None
    found = carol.outcome(carol.endpoint.list_nodes(peer, world.now, 10))
    assert claim in {node.id for node in found.nodes}


def test_a_second_of_a_name_is_told_of_when_it_is_proved(world: World) -> None:
    server, bob, carol = world.host(name="hub"), world.host(name="bob"), world.host(name="carol")
    twin = world.host(name="bob")
    for node in (bob, carol, twin):
        node.outcome(node.connect(server))
    world.run_for(2)
    with pytest.raises(UnknownPeerError, match="'bob' fits 2 nodes"):
        find_node(carol.endpoint, "bob", world.now)
