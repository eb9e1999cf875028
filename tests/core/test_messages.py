"""The table of messages: it is whole, true, and the only way in."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from p2ptui.core import dispatch
from p2ptui.core.accounts import Purse
from p2ptui.core.data import DataService
from p2ptui.core.mesh import endtoend, rendezvous
from p2ptui.core.mesh.endtoend import EndToEnd
from p2ptui.core.mesh.neighbours import Neighbours
from p2ptui.core.mesh.rendezvous import Rendezvous
from p2ptui.core.messages import MEANINGS, ROWS, Cost, Refusal, Row, inbox, strangers
from p2ptui.core.mobility.resumption import Resumptions
from p2ptui.core.peers import Peer
from p2ptui.core.relay.requests import Relay
from p2ptui.core.relay.way_checks import WayChecks
from p2ptui.core.services import Services
from p2ptui.core.sessions.handshake_messages import HandshakeMessages
from p2ptui.core.sessions.responder import Responder
from p2ptui.core.trust import TRUSTS, Trust
from p2ptui.errors import LocalError
from p2ptui.wire.message import NULL, Envelope, MessageType
from tests.simulation import Host, Puppet, World

PROTOCOL = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")
CORE = Path(dispatch.__file__).parent
KINDS = [value for name, value in vars(MessageType).items() if name.isupper()]

NO_MESSAGES = {
    "DataService.handle_error",  # these two: their share of an Error, from SessionMessages
    "Rendezvous.handle_error",
    "Handshake.handle_crossing",  # from the responder
    "Handshake.handle_ack",  # the rest of an Ack, from the inbox
    "Handshake.ask_otherwise",  # what a refusal draws, of whom it comes from
    "Liveness.say_goodbye",  # these three: what this node says itself
    "Queries.ask_names",
    "Relay.carry",
    "Resumptions.take_answer",  # the answer that may begin another session, from the inbox
    "Relay.handle_not_handed",  # these two: what came back from another server
    "Rendezvous.handle_not_handed",
    "Liveness.handle_goodbye",  # its share of a Disconnect
    "PathProbes.handle",  # these two: a frame
    "Home.note_kept_alive",
}
"""Methods that are told of a peer, but not by the table."""


def documented() -> dict[str, list[str]]:
    table = PROTOCOL.split("| type | payload |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", table, re.MULTILINE)
    return {kind: [cell.strip() for cell in rest.split("|")] for kind, rest in rows}


def rows_of(kind: str) -> list[Row]:
    return [row for row in ROWS if row.kind == kind]


@pytest.mark.parametrize("kind", KINDS)
def test_each_type_has_a_row_and_the_documents_say_the_same(kind: str) -> None:
    rows = rows_of(kind)
    assert kind in documented(), f"docs/protocol.md has no row for {kind} in Types"
    payload, _, trust, cost = documented()[kind]

    assert {row.trust.value for row in rows} == set(trust.split(", "))
    assert {row.cost.value for row in rows} == set(cost.split(", "))
    assert all(bool(row.capability) is ("extension" in payload) for row in rows)


def test_nothing_else_is_documented_or_in_the_table() -> None:
    assert set(documented()) == {row.kind for row in ROWS} == set(KINDS)


def test_each_meaning_of_a_type_has_one_row() -> None:
    keys = [(row.kind, row.meaning) for row in ROWS]
    assert len(set(keys)) == len(keys)
    assert {kind for kind, meaning in keys if meaning is not None} == set(MEANINGS)


def test_every_trust_can_be_told() -> None:
    assert set(TRUSTS) == set(Trust)


def test_what_is_vouched_for_names_a_handshake() -> None:
    for row in ROWS:
        if row.trust is Trust.VOUCHED:
            content = list(inspect.signature(row.handler).parameters.values())[2]
            assert "handshake" in content.annotation.__struct_fields__


def test_what_finds_no_room_is_told_to_somebody_or_was_handed_on() -> None:
    for row in ROWS:
        is_kept = row.admits in (DataService.admits, Relay.admits_data)
        assert is_kept is (row.refuse is not None), row


def test_a_handler_without_a_row_is_found() -> None:
    """Whoever writes one and forgets its row would wonder why nothing comes."""
    forgotten = {name for part in Services.__annotations__.values() for name in without_a_row(part)}
    assert forgotten == NO_MESSAGES


def without_a_row(part: type) -> set[str]:
    """Methods that look like a handler, by their name or by what they take, and are in no row."""
    in_table = {method for row in ROWS for method in named_by(row)}
    return {
        f"{part.__name__}.{name}"
        for base in part.__mro__
        for name, method in vars(base).items()
        if inspect.isfunction(method) and not name.startswith("_") and method not in in_table
        if is_handler(name, inspect.signature(method))
    }


def named_by(row: Row) -> set[Callable[..., Any]]:
    """All methods of the parts that a row names."""
    return {cell for cell in row if inspect.isfunction(cell)} - {row.reads}


def is_handler(name: str, signature: inspect.Signature) -> bool:
    kinds = [parameter.annotation for parameter in signature.parameters.values()][1:]
    if name.startswith("handle") and Peer in kinds:
        return True
    takes_content = len(kinds) == 3 and kinds[0] is Peer and kinds[2] is float
    return takes_content and signature.return_annotation in (None, bool)


def test_a_planted_handler_is_found_whatever_it_is_called() -> None:
    class Careless:
        def take_hint(self, peer: Peer, content: object, now: float) -> None: ...
        def admits_hint(self, source: Peer, hint: dict[str, int], now: float) -> bool: ...
        def handle_hint(self, peer: Peer, now: float) -> None: ...
        def ask(self, peer: Peer, content: str, now: float) -> int: ...

    assert without_a_row(Careless) == {
        "Careless.take_hint",
        "Careless.admits_hint",
        "Careless.handle_hint",
    }


TAKERS = {
    taker
    for row in ROWS
    for taker in (row.anybody, row.stranger, row.introduced, row.handshaking, row.routed)
    if taker is not None
}


def test_who_takes_messages_outside_of_a_session_has_a_row() -> None:
    """One signature: source, message, what it earned, time; whether it was taken."""
    parts = (HandshakeMessages, EndToEnd, Neighbours, Rendezvous, Responder, WayChecks)
    written = {
        method
        for part in parts
        for base in part.__mro__
        for name, method in vars(base).items()
        if inspect.isfunction(method)
        if list(inspect.signature(method).parameters.values())[2:3]
        if list(inspect.signature(method).parameters.values())[2].annotation is Envelope
        if inspect.signature(method).return_annotation is bool
        if not name.startswith("_")
    }
    assert written == TAKERS
    for taker in TAKERS:
        _, _, message, earned, now = inspect.signature(taker).parameters.values()
        assert (message.annotation, earned.annotation, now.annotation) == (
            Envelope,
            Purse,
            float,
        )


@pytest.mark.parametrize(
    "module", [dispatch, inbox, strangers, endtoend, rendezvous], ids=lambda module: module.__name__
)
def test_no_type_is_told_apart_but_by_the_table(module: ModuleType) -> None:
    """But for an Ack and the answer to a request, which come before a message is judged."""
    compared = {
        ast.unparse(side).removeprefix("MessageType.")
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Compare)
        for side in (node.left, *node.comparators)
        if ast.unparse(side).startswith("MessageType.")
    }
    assert compared <= TOLD_APART.get(module, set())


TOLD_APART = {
    inbox: {
        "ACK",  # is no message of its own: neither counted as a duplicate nor acknowledged
        "ERROR",  # shows nothing of the session
        "PONG",  # may be the same each time; its Ping tells whether it counts
        "HANDSHAKE_RESPONSE",  # may begin another session, in which all after it is judged
        "HANDSHAKE_REQUEST",  # never needs fragments
    }
}


def test_handlers_do_not_ask_again_who_sent_it() -> None:
    """What the sender must have shown is said in the table only."""
    found = {
        method
        for row in ROWS
        for method in named_by(row) - {row.sender}
        if asks_who(inspect.getsource(method))
    }
    assert found == ASK_MORE


SHOWN = {
    "handshake_said",
    "initiated",
    "is_helper",
    "is_joined_server",
    "is_named",
    "is_server",
    "may_ask",
    "proved",
    "said",
    "vouches",
    "_is_partner",
}
"""What tells of what somebody has shown, or of who was asked."""


def asks_who(source: str) -> set[str]:
    """What a function asks of the sender of a message, however that one is called in it."""
    found = set[str]()
    function = ast.parse(textwrap.dedent(source)).body[0]
    assert isinstance(function, ast.FunctionDef)
    sender = function.args.args[1].arg
    for node in ast.walk(function):
        name = getattr(node, "attr", "") or getattr(node, "id", "")
        if name in SHOWN:
            found.add(name)
        if isinstance(node, ast.Compare):
            sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
            same = [ast.Is, ast.IsNot, ast.Eq, ast.NotEq, ast.In, ast.NotIn]
            if sender in sides and "None" not in sides and type(node.ops[0]) in same:
                found.add(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    "planted",
    [
        "if peer.proved: pass",
        "if not peer.purse.proved: return",
        "if peer.session.accepted and not peer.is_joined_server: return",
        "if content.handshake in peer.handshakes.said: pass",
        "if not vouches(peer, content.handshake): return",
        "if not self.is_named(peer): return",
        "calls = [call for call in self._calls if call.detail is peer]",
        "if peer not in self._asked: return",
    ],
)
def test_a_planted_look_at_the_sender_is_found(planted: str) -> None:
    for name in ("peer", "sender"):
        body = planted.replace("peer", name)
        source = f"    def take_hint(self, {name}: Peer, content, now) -> None:\n        {body}\n"
        assert asks_who(source)
    assert not asks_who("def handle(self, peer, content, now):\n    self._send(peer, now)\n")


ASK_MORE = {
    Rendezvous.handle_request,  # who asks is introduced; its offer goes along once both are proved
    Resumptions.handle_late_response,  # a copy of the answer is acknowledged, but is no news
    WayChecks.receive,  # its source is no peer's address yet: who vouches for it stands inside
}


def with_a_plain_client() -> tuple[World, Host, Puppet, Peer]:
    """A node, and a client that announced nothing and has proved its address."""
    world = World()
    node, client = world.host(), world.puppet()
    client.join(node)
    node.ping(client)
    world.run_for(1)
    client.take()
    peer = node.peer(client)
    assert peer is not None
    assert peer.proved
    return world, node, client, peer


EXTENSION_ROWS = [row for row in ROWS if row.capability]


@pytest.mark.parametrize("row", EXTENSION_ROWS, ids=lambda row: row.kind)
def test_an_extension_never_leaves_for_who_did_not_announce_it(row: Row) -> None:
    """Whoever sends it, and however: there is one way out for messages, which looks."""
    world, node, client, peer = with_a_plain_client()
    delivery = node.endpoint._delivery
    assert not delivery.send(peer, row.kind, NULL, world.now)
    for send in (delivery.send_once, delivery.send_reliable):
        with pytest.raises(LocalError, match=f"did not announce {row.capability}"):
            send(peer, row.kind, NULL, world.now)
    node.settle()
    world.run_for(1)

    assert row.kind not in client.take_types()
    assert node.endpoint.counters.drops["not_announced"] == 3


@pytest.mark.parametrize("row", [row for row in ROWS if row.follows], ids=lambda row: row.kind)
def test_what_follows_leaves_for_who_has_sent_one_of_that_extension(row: Row) -> None:
    """Which says as much as an announcement; one of another extension says nothing."""
    world, node, client, peer = with_a_plain_client()
    leading = {one.capability: one for one in ROWS if one.capability and not one.follows}
    assert row.capability in leading
    delivery = node.endpoint._delivery
    for capability in leading.keys() - {row.capability}:
        peer.facts.note_used(capability)
    assert not delivery.send(peer, row.kind, NULL, world.now)
    peer.facts.note_used(row.capability)
    assert delivery.send(peer, row.kind, NULL, world.now)
    assert not delivery.send(peer, leading[row.capability].kind, NULL, world.now)
    node.settle()
    world.run_for(1)

    assert client.take_types() == [row.kind]


def test_what_a_node_takes_is_noted_as_used_and_what_it_refuses_is_not() -> None:
    world, node, client, peer = with_a_plain_client()
    client.say(MessageType.STUN_DELEGATION, {"transaction_id": "00"}, node)
    client.say(MessageType.NAT_PROBE, {"tag": "00" * 12, "address": "10.9.9.9:1"}, node)
    client.say(MessageType.NAT_PROBE_REQUEST, {"tag": 5}, node)
    world.run_for(1)
    assert not peer.facts.used
    client.take()

    client.say(MessageType.NAT_PROBE_REQUEST, {"tag": "00" * 12}, node)
    world.run_for(1)

    assert peer.facts.used == {"nat_probe"}
    assert client.take_types() == [MessageType.NAT_PROBE_REPORT]


def test_few_put_an_extension_on_the_wire_by_themselves() -> None:
    """And each of them knows who announced it."""
    builders = {
        (path.name, kind)
        for path in CORE.rglob("*.py")
        for kind in re.findall(
            r"\.build\(\s*MessageType\.(\w+)", path.read_text("utf-8"), re.MULTILINE
        )
        if any(row.kind == getattr(MessageType, kind) for row in EXTENSION_ROWS)
    }
    assert builders == {
        ("way_checks.py", "RELAY_CHECK"),  # by way of a server, before it is known to lead there
        ("delivery.py", "SEQUENCE_SKIP"),  # numbers are only skipped where that was announced
        ("endtoend.py", "RECEIVE_WINDOW"),  # inside a routed message, to a node that is no peer
    }


def test_who_vouches_for_a_message_is_told_in_one_place() -> None:
    judged = {
        path.name
        for path in CORE.rglob("*.py")
        if re.search(r"in [\w.]*\bhandshake_said\b", path.read_text("utf-8"))
    }
    assert judged == {"trust.py"}


def test_what_is_doubted_asks_for_more_than_a_session() -> None:
    doubted = {row.kind for row in ROWS if row.doubted is not None}
    assert doubted == {
        MessageType.DISCONNECT,
        MessageType.STUN_PARTNER,
        MessageType.P2P_CONNECT,
    }
    assert all(row.trust not in (Trust.STRANGER, Trust.CLAIMED) for row in ROWS if row.doubted)


def least_payload(row: Row) -> Any:
    """What a row's handler takes, with as little in it as may be."""
    content = list(inspect.signature(row.handler).parameters.values())[2].annotation
    return least(msgspec.inspect.type_info(content))


def least(kind: msgspec.inspect.Type) -> Any:
    match kind:
        case msgspec.inspect.StructType(fields=fields):
            return {field.encode_name: least(field.type) for field in fields if field.required}
        case msgspec.inspect.IntType(ge=lowest) | msgspec.inspect.FloatType(ge=lowest):
            return lowest or 0
        case msgspec.inspect.StrType(min_length=length):
            return "0" * (length or 0)
        case msgspec.inspect.BoolType():
            return False
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType():
            return []
        case msgspec.inspect.DictType():
            return {}
    return None


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.trust is Trust.JOINED_SERVER], ids=lambda row: row.kind
)
def test_what_only_a_joined_server_may_say_is_dropped_from_others(row: Row) -> None:
    world = World()
    node = world.host()
    client = world.puppet()
    client.join(node)
    client.take()
    payloads = {
        MessageType.P2P_CONNECT: {"peer_id": world.node_id(), "peer_addr": "10.9.9.9:1"},
        MessageType.RELAY_DATA: {"from_peer_id": world.node_id(), "data": [1]},
        MessageType.NAT_PROBE: {"tag": "00" * 12, "address": "10.9.9.9:1"},
    }
    payload = payloads.get(row.kind) or least_payload(row)
    client.say(row.kind, payload, node)
    client.say(row.kind, payload, node, requires_ack=True)
    world.run_for(1)

    assert node.endpoint.counters.drops[row.distrusted] == 2
    assert "Ack" not in client.take_types()


def test_lists_and_searches_are_known_as_dear() -> None:
    dear = {row.kind for row in ROWS if row.cost is not Cost.CONSTANT}
    assert dear == {
        MessageType.DATA,
        MessageType.DISCOVERY_REQUEST,
        MessageType.LIST_NODES_REQUEST,
        MessageType.P2P_CONNECT,
        MessageType.RELAY_REQUEST,
        MessageType.STUN_DELEGATION,
        MessageType.NAT_PROBE_REQUEST,
        MessageType.NAT_PROBE,
    }


def test_an_answer_is_never_answered_with_a_refusal_of_its_sender() -> None:
    for kind in (MessageType.ACK, MessageType.ERROR, MessageType.HANDSHAKE_RESPONSE):
        assert all(row.refusal is Refusal.NEVER for row in rows_of(kind))
