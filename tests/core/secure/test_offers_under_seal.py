"""Offers between two nodes with keys: the server brings them, and reads nothing of them."""

import json
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.core.mesh.rendezvous import Rendezvous
from p2ptui.core.sealing import Mode, OwnKeys
from p2ptui.secure.identity import Identity
from p2ptui.secure.secret import Secret
from p2ptui.wire.message import P2PConnectPayload
from tests.core.meeting import Meeting
from tests.simulation import Host, World


@pytest.fixture(autouse=True)
def all_have_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "secured", True)
    take = Rendezvous.handle_request

    def note(rendezvous: Rendezvous, peer: Any, payload: P2PConnectPayload, now: float) -> None:
        ASKED.setdefault(rendezvous, []).append(msgspec.structs.replace(payload))
        take(rendezvous, peer, payload, now)

    monkeypatch.setattr(Rendezvous, "handle_request", note)


ASKED: WeakKeyDictionary[Rendezvous, list[P2PConnectPayload]] = WeakKeyDictionary()
"""What each server was asked."""


class Hands:
    """What goes through the hands of the server: what it was sent, and what it sends."""

    def __init__(self, server: Host) -> None:
        self.said: list[P2PConnectPayload] = []
        self.change: Any = lambda payload: payload
        self._rendezvous = rendezvous = server.endpoint._rendezvous
        send = rendezvous._delivery.send

        def tell(peer: Any, kind: Any, raw: Any, *rest: Any, **more: Any) -> bool:
            if kind == "P2PConnect":
                payload = msgspec.json.decode(raw, type=P2PConnectPayload)
                self.said.append(payload)
                raw = msgspec.Raw(msgspec.json.encode(self.change(payload)))
            return send(peer, kind, raw, *rest, **more)

        rendezvous._delivery.send = tell  # type: ignore[method-assign]

    @property
    def asked(self) -> list[P2PConnectPayload]:
        return ASKED.setdefault(self._rendezvous, [])

    @property
    def text(self) -> str:
        return json.dumps([msgspec.to_builtins(each) for each in (*self.asked, *self.said)])


def meet(**options: Any) -> tuple[Meeting, Hands]:
    meeting = Meeting(**options)
    return meeting, Hands(meeting.server)


def drops(meeting: Meeting, cause: str) -> int:
    return sum(host.endpoint.counters.drops[cause] for host in (meeting.a, meeting.b))


@pytest.mark.parametrize("back", [False, True], ids=["straight", "turned"])
def test_the_server_reads_neither_candidates_nor_the_password(back: bool) -> None:
    meeting, hands = meet()
    for host in (meeting.a, meeting.b):
        host.endpoint.traversal.offers.hosts = (("10.77.77.77", 7777), host.address)
    one, other = (meeting.b, meeting.a) if back else (meeting.a, meeting.b)
    token = one.endpoint.introduce(one.peer(meeting.server), other.id, meeting.world.now, 10)
    assert isinstance(one.outcome(token), ConnectResult)
    meeting.world.run_for(1)

    assert meeting.is_direct()
    assert any(payload.sealed_offer for payload in hands.asked)
    assert not any(payload.offer for payload in hands.asked)
    assert not any(payload.peer_offer for payload in hands.said)
    for host in (meeting.a, meeting.b):
        offer = meeting.attempt(host).offer
        assert offer.password not in hands.text
        assert offer.ufrag not in hands.text
    assert "10.77.77.77" not in hands.text


def test_the_keys_cost_one_round_trip_to_the_server_the_first_time_only() -> None:
    meeting, hands = meet()
    meeting.connect()
    first = [bool(payload.sealed_offer) for payload in hands.asked]
    assert first[0] is False
    assert all(first[1:])


def test_the_checks_are_signed_by_the_password_in_the_sealed_offer() -> None:
    meeting, _ = meet()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 1)
    a, b = meeting.attempt(meeting.a), meeting.attempt(meeting.b)
    assert a.remote is not None
    assert b.remote is not None
    assert (a.remote.password, b.remote.password) == (b.offer.password, a.offer.password)


def stripped(payload: P2PConnectPayload) -> P2PConnectPayload:
    payload.peer_keys = None
    return payload


@pytest.mark.parametrize("relays", [True, False])
def test_a_server_that_keeps_the_keys_back_is_given_nothing_in_the_open(relays: bool) -> None:
    """Where it relays, the two tell each other their keys in the session that they have by way of
    it. Else they do not meet."""
    meeting, hands = meet(server={"allow_symmetric_nat_relay": relays})
    hands.change = stripped
    outcome = meeting.a.outcome(meeting.ask())
    meeting.world.run_for(5)

    assert isinstance(outcome, ConnectResult) is relays
    assert meeting.is_direct() is relays
    assert not any(payload.offer for payload in hands.asked)
    assert any(payload.sealed_offer for payload in hands.asked) is relays
    assert drops(meeting, "offer_without_keys")


def test_keys_of_the_servers_own_are_not_those_of_the_id() -> None:
    meeting, hands = meet()
    false = Identity(Secret(b"f" * 32)).keys.text

    def change(payload: P2PConnectPayload) -> P2PConnectPayload:
        payload.peer_keys = false if payload.peer_keys else None
        return payload

    hands.change = change
    meeting.connect()
    assert drops(meeting, "keys_of_another_id")
    assert not any(payload.offer for payload in hands.asked)


def test_an_offer_of_the_servers_own_is_not_taken() -> None:
    """Neither in the open, nor sealed by other keys than those of the id."""
    meeting, hands = meet()
    forged = meeting.a.endpoint.traversal.offers._new_names()

    def in_the_open(payload: P2PConnectPayload) -> P2PConnectPayload:
        if payload.peer_sealed_offer:
            payload.peer_sealed_offer, payload.peer_offer = None, forged
        return payload

    hands.change = in_the_open
    meeting.connect()
    assert drops(meeting, "offer_stripped")
    assert not meeting.is_direct()


def test_an_altered_offer_is_not_taken_and_the_next_one_is() -> None:
    meeting, hands = meet()
    count = 0

    def change(payload: P2PConnectPayload) -> P2PConnectPayload:
        nonlocal count
        text = payload.peer_sealed_offer
        if text and count < 4:
            count += 1
            payload.peer_sealed_offer = text[:-6] + ("A" if text[-6] != "A" else "B") + text[-5:]
        return payload

    hands.change = change
    assert isinstance(meeting.connect(), ConnectResult)
    meeting.world.run_until(meeting.is_direct, 10)
    assert drops(meeting, "offer_altered") == 4


def test_an_offer_of_an_earlier_search_is_not_taken_again() -> None:
    meeting, hands = meet()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 5)
    sealed = next(said for said in hands.said if said.peer_sealed_offer)
    b, a = meeting.b.endpoint, meeting.a
    if sealed.peer_id == b.identity.id:
        b, a = a.endpoint, meeting.b
    meeting.world.run_for(30)
    old = sealed.peer_sealed_offer
    server = b.peers.with_id(meeting.server.id)
    assert server is not None
    take = b.traversal.offers.sealed.take
    assert take(server, a.id, sealed, a.address, meeting.world.now) is not None

    newer = a.endpoint.traversal.offers
    text = newer.sealed._seal(b.identity.id, newer._new_names(), meeting.world.now)
    sealed.peer_sealed_offer = text
    assert take(server, a.id, sealed, a.address, meeting.world.now) is not None
    sealed.peer_sealed_offer = old
    assert take(server, a.id, sealed, a.address, meeting.world.now) is None
    assert drops(meeting, "offer_replayed") == 1


def test_by_way_of_an_open_server_offers_are_in_the_open_as_before() -> None:
    world = World(secured=True)
    server = world.host(node_id=world.node_id(), allow_symmetric_nat_relay=False)
    hands = Hands(server)
    one, other = world.host(), world.host()
    for host in (one, other):
        host.outcome(host.connect(server))
    world.run_for(1)
    token = one.endpoint.introduce(one.peer(server), other.id, world.now, 10)
    assert isinstance(one.outcome(token), ConnectResult)
    world.run_for(1)
    assert any(payload.offer for payload in hands.asked)
    assert not any(payload.sealed_offer for payload in hands.asked)
    assert one.endpoint.peers.authenticated(other.id).is_secured


def test_a_node_without_keys_is_met_as_before() -> None:
    world = World(secured=True)
    server = world.host(allow_symmetric_nat_relay=True)
    hands = Hands(server)
    one, other = world.host(), world.host(node_id=world.node_id())
    for host in (one, other):
        host.outcome(host.connect(server))
    world.run_for(1)
    for asker, asked in ((one, other), (other, one)):
        hands.asked.clear()
        token = asker.endpoint.introduce(asker.peer(server), asked.id, world.now, 10)
        assert isinstance(asker.outcome(token), ConnectResult)
        assert any(payload.offer for payload in hands.asked)
        world.run_for(1)
        break


NETWORK = Secret(b"n" * 32)


@pytest.mark.parametrize(("one_allows", "other_has"), [(False, True), (True, False), (True, True)])
def test_offers_with_a_network_key(one_allows: bool, other_has: bool) -> None:
    """Who comes without it is on the list of those who may."""
    world = World(secured=True)
    plain = world.keys()
    allowed = frozenset({plain.identity.id}) if one_allows else frozenset()
    keys = world.keys(network_key=NETWORK, allowed_ids=allowed, mode=Mode.REQUIRE)
    both = OwnKeys(plain.identity, network_key=NETWORK if other_has else None)
    server_keys = world.keys(
        network_key=NETWORK, allowed_ids=frozenset({plain.identity.id}), mode=Mode.REQUIRE
    )
    server = world.host(keys=server_keys, allow_symmetric_nat_relay=True)
    hands = Hands(server)
    one, other = world.host(keys=keys), world.host(keys=both)
    for host in (one, other):
        assert isinstance(host.outcome(host.connect(server)), ConnectResult)
    world.run_for(1)
    sealed = other.endpoint.traversal.offers.sealed
    taken = []
    take = sealed._open
    sealed._open = lambda *arguments: taken.append(take(*arguments)) or taken[-1]
    one.endpoint.introduce(one.peer(server), other.id, world.now, 10)
    world.run_for(3)
    assert any(payload.sealed_offer for payload in hands.asked)
    assert any(offer is not None for offer in taken)
