"""The key exchange is taken out on the way: refused by who knew the other, else shown as open."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.core.sealing import Mode
from p2ptui.errors import HandshakeError
from p2ptui.secure.identity import PublicKeys
from p2ptui.wire.address import Address
from tests.core.secure.wiretap import Seen, Wiretap
from tests.simulation import Host, World

WORDS = "it has shown keys before, and shows none now"

Rule = Callable[[Seen], bytes | None]


def without(kind: str) -> Rule:
    """Takes the key exchange out of messages of a type, as if their sender had none."""

    def strip(seen: Seen) -> bytes:
        if seen.data[:1] != b"{":
            return seen.data
        message = json.loads(seen.data)
        if message["message_type"] == kind:
            message["payload"].pop("exchange", None)
        return json.dumps(message).encode()

    return strip


def in_its_words(answerer: Host) -> Rule:
    """Makes an open answer of a sealed one, with all that the answerer says of itself elsewhere."""

    def forge(seen: Seen) -> bytes:
        data = without("HandshakeResponse")(seen)
        if data[:1] != b"{":
            return data
        message = json.loads(data)
        if message["message_type"] == "HandshakeResponse":
            info = answerer.endpoint.identity
            names = ("id", "name", "version", "listen_addr", "network_id", "metadata")
            node: dict[str, Any] = {name: getattr(info, name) for name in names}
            message["payload"]["node_info"] = node | {"capabilities": list(info.capabilities)}
        return json.dumps(message).encode()

    return forge


def no_message_3(seen: Seen) -> bytes | None:
    return None if seen.data[:1] == b"\xe1" else seen.data


STRIPPED: dict[str, Callable[[Host], Rule]] = {
    "request": lambda _: without("HandshakeRequest"),
    "answer": lambda _: without("HandshakeResponse"),
    "answer, in its words": in_its_words,
}


def knows(host: Host, other: Host) -> None:
    """A node remembers another one, and where it was joined."""

    def judge(address: Address, node_id: str, keys: PublicKeys | None) -> str:
        is_its = node_id == other.id or address == other.address
        return WORDS if is_its and (keys is None or keys.id != other.id) else ""

    seals = host.endpoint._state.seals
    assert seals is not None
    seals.judge = judge


def hosts_of(world: World, mode: Mode = Mode.PREFER) -> tuple[Host, Host]:
    return world.host(keys=world.keys(mode=mode)), world.host(keys=world.keys(mode=mode))


@pytest.mark.parametrize("what", STRIPPED)
def test_it_is_refused_by_who_asks_and_knew_the_other(what: str) -> None:
    world = World()
    one, other = hosts_of(world)
    knows(one, other)
    Wiretap(world).rules.append(STRIPPED[what](other))
    outcome = one.outcome(one.connect(other, timeout_s=3))
    world.run_for(5)
    assert isinstance(outcome, HandshakeError)
    assert "\n" not in str(outcome)
    if what != "answer":
        assert WORDS in str(outcome)
    assert not [peer for peer in one.endpoint.peers if peer.is_authenticated]


def test_who_is_refused_after_it_has_let_this_node_in_is_told_goodbye() -> None:
    """Else it would list a node that has gone until that is silent for too long."""
    world = World()
    one, other = hosts_of(world)
    knows(one, other)
    Wiretap(world).rules.append(without("HandshakeRequest"))
    outcome = one.outcome(one.connect(other, timeout_s=3))
    world.run_for(1)
    assert isinstance(outcome, HandshakeError)
    assert not list(other.endpoint.peers)


def test_another_network_is_told_goodbye_too() -> None:
    world = World()
    one, other = world.host(), world.host(network_id="another")
    outcome = one.outcome(one.connect(other, timeout_s=3))
    world.run_for(1)
    assert isinstance(outcome, HandshakeError)
    assert not list(other.endpoint.peers)


def test_it_is_refused_by_who_is_asked_and_knew_the_other() -> None:
    world = World()
    one, other = hosts_of(world)
    knows(other, one)
    Wiretap(world).rules.append(without("HandshakeRequest"))
    outcome = one.outcome(one.connect(other, timeout_s=3))
    assert isinstance(outcome, HandshakeError)
    assert WORDS in str(outcome)
    assert not list(other.endpoint.peers)


@pytest.mark.parametrize("what", STRIPPED)
def test_nobody_is_called_secured_who_is_not(what: str) -> None:
    """Who knew nobody speaks in the open, and sees that it does."""
    world = World()
    one, other = hosts_of(world)
    Wiretap(world).rules.append(STRIPPED[what](other))
    outcome = one.outcome(one.connect(other, timeout_s=3))
    world.run_for(5)
    assert not any(peer.is_secured for host in (one, other) for peer in host.endpoint.peers)
    if what == "request":
        assert isinstance(outcome, ConnectResult)
        assert one.outcome(one.send(other, "hello")).delivered


@pytest.mark.parametrize("what", STRIPPED)
def test_it_is_refused_where_the_mode_requires_keys(what: str) -> None:
    world = World()
    one, other = hosts_of(world, Mode.REQUIRE)
    Wiretap(world).rules.append(STRIPPED[what](other))
    outcome = one.outcome(one.connect(other, timeout_s=3))
    world.run_for(5)
    assert isinstance(outcome, HandshakeError)
    assert not [peer for host in (one, other) for peer in host.endpoint.peers]


def said_without_message_3(world: World) -> tuple[Wiretap, Host, Host, int]:
    """One node has asked another, and says something; its last message does not come through."""
    tap = Wiretap(world)
    one, other = hosts_of(world)
    tap.rules.append(no_message_3)
    one.outcome(one.connect(other))
    return tap, one, other, one.send(other, "not in the clear")


def test_without_message_3_nobody_speaks_in_the_open() -> None:
    """What was said meanwhile arrives when it comes through."""
    world = World()
    tap, one, other, token = said_without_message_3(world)
    world.run_for(1)
    assert not tap.has("not in the clear")
    assert not list(other.endpoint.peers)
    assert not other.received()
    tap.rules.clear()
    assert one.outcome(token, within=8).delivered
    assert other.received() == ["not in the clear"]
    assert not tap.has("not in the clear")


def test_without_message_3_ever_nothing_is_open_either() -> None:
    world = World()
    tap, one, other, token = said_without_message_3(world)
    world.run_for(200)
    assert not one.outcomes[token].delivered
    assert not tap.has("not in the clear")
    assert not [peer for peer in one.endpoint.peers if peer.is_authenticated]
    assert not list(other.endpoint.peers)
