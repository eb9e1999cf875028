"""A relaying server that speaks under seal takes the key exchange out of what it carries."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from p2ptui.core import sealing
from p2ptui.core.events import ConnectResult
from p2ptui.core.traversal import sealed_offers
from p2ptui.errors import HandshakeError
from p2ptui.wire.frames import RELAY_OVERHEAD
from tests.core.relaying import ask, node, relaying, say, seen
from tests.simulation import Host, World

WORDS = "is made from keys that"
HINT = "the server between may have taken the key exchange out"

Change = Callable[[dict[str, Any]], None]


class Carrier:
    """Has the say over the messages of handshakes that a server carries, and reads all of it."""

    def __init__(self, server: Host, change: Change) -> None:
        self.read: list[bytes] = []
        self._forward = server.endpoint._relay_frames.forward
        self._change = change
        server.endpoint._relay_frames.forward = self._carry  # type: ignore[method-assign]

    def _carry(self, peer: Any, data: bytes, now: float) -> None:
        head, inner = bytes(data[:RELAY_OVERHEAD]), bytes(data[RELAY_OVERHEAD:])
        if inner[:1] == b"{":
            message = json.loads(inner)
            self._change(message)
            if message != json.loads(inner):
                inner = json.dumps(message).encode()
        self.read.append(inner)
        self._forward(peer, head + inner, now)


def strip(kind: str) -> Change:
    def change(message: dict[str, Any]) -> None:
        if message["message_type"] == kind:
            message["payload"].pop("exchange", None)

    return change


def other_pattern(message: dict[str, Any]) -> None:
    """Names a key exchange that nobody knows, as one that is to come."""
    if message["message_type"] == "HandshakeRequest" and "exchange" in message["payload"]:
        value = message["payload"]["exchange"]
        message["payload"]["exchange"] = "YY" + value[2:]


def in_its_words(other: list[Host]) -> Change:
    """Makes an open answer of a sealed one, with all that its sender says of itself elsewhere."""

    def change(message: dict[str, Any]) -> None:
        strip("HandshakeResponse")(message)
        if message["message_type"] == "HandshakeResponse" and message["payload"]["success"]:
            info = other[0].endpoint.identity
            names = ("id", "name", "version", "listen_addr", "network_id", "metadata")
            known: dict[str, Any] = {name: getattr(info, name) for name in names}
            message["payload"]["node_info"] = known | {"capabilities": list(info.capabilities)}

    return change


def meet(change: Callable[[list[Host]], Change]) -> tuple[World, Host, Host, object, Carrier]:
    world, others = World(secured=True), list[Host]()
    server = relaying(world)
    carrier = Carrier(server, change(others))
    one, other = node(world, server), node(world, server)
    others.append(other)
    return world, one, other, one.outcome(ask(one, server, other), 20.0), carrier


@pytest.mark.parametrize(
    "change",
    [lambda _: strip("HandshakeRequest"), lambda _: other_pattern],
    ids=["taken out", "of another kind"],
)
def test_a_request_without_its_exchange_is_refused(
    change: Callable[[list[Host]], Change],
) -> None:
    world, one, other, outcome, _ = meet(change)
    assert isinstance(outcome, HandshakeError)
    assert WORDS in str(outcome)
    assert HINT in str(outcome)
    assert other.endpoint.counters.drops["stripped_exchange"]
    for here, there in ((one, other), (other, one)):
        assert here.endpoint.peers.with_id(there.id) is None
    world.run_for(30)
    assert other.endpoint.peers.with_id(one.id) is None


@pytest.mark.parametrize("change", [lambda _: strip("HandshakeResponse"), in_its_words])
def test_an_answer_without_its_exchange_is_ignored(
    change: Callable[[list[Host]], Change],
) -> None:
    _, one, other, outcome, carrier = meet(change)
    assert isinstance(outcome, HandshakeError)
    for here, there in ((one, other), (other, one)):
        peer = here.endpoint.peers.with_id(there.id)
        assert peer is None or not peer.is_authenticated
    if change is in_its_words:
        assert one.endpoint.counters.drops["stripped_exchange"]
        assert WORDS in str(outcome)
        assert HINT in str(outcome)
        assert len(str(outcome).splitlines()) == 1
    assert carrier.read


def test_what_it_carries_as_it_is_makes_a_secured_session() -> None:
    """Guards what held before."""
    _, one, other, outcome, carrier = meet(lambda _: lambda message: None)
    assert isinstance(outcome, ConnectResult)
    assert seen(one, other).is_secured
    assert one.outcome(say(one, other, "TOP SECRET")).delivered
    assert not any(b"TOP SECRET" in data for data in carrier.read)


def test_a_node_whose_id_is_not_made_of_keys_is_still_met_in_the_open() -> None:
    """Guards what held before."""
    world = World(secured=True)
    server = relaying(world)
    one = node(world, server)
    plain = world.host(node_id=world.node_id(), ice={"enable": False})
    plain.outcome(plain.connect(server))
    world.run_for(1)
    assert isinstance(plain.outcome(ask(plain, server, one)), ConnectResult)
    assert not seen(one, plain).is_secured


def test_offers_and_handshakes_go_by_one_rule() -> None:
    assert sealed_offers.must_show_keys is sealing.must_show_keys  # type: ignore[attr-defined]
