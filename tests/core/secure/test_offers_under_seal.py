"""Offers between two nodes with keys: the server brings them, and reads nothing of them."""

import json
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.core.mesh.rendezvous import Rendezvous
from p2ptui.core.sealing import Mode, OwnKeys
from p2ptui.core.traversal.sealed_offers import MAX_RUNS
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
    assert take(server, a.id, sealed, meeting.world.now) is not None

    newer, by = a.endpoint.traversal.offers, a.peer(meeting.server)
    assert by is not None
    text = newer.sealed._seal(by, b.identity.id, newer._new_names(), meeting.world.now)
    sealed.peer_sealed_offer = text
    assert take(server, a.id, sealed, meeting.world.now) is not None
    sealed.peer_sealed_offer = old
    assert take(server, a.id, sealed, meeting.world.now) is None
    assert drops(meeting, "offer_replayed") == 1


class Mailbox:
    """Two nodes that a server knows, and what it brings from the first to the second."""

    def __init__(self) -> None:
        self.world = World(secured=True)
        self.server, self.one, self.other = (self.world.host() for _ in range(3))
        for host in (self.one, self.other):
            self.join(host)

    def join(self, host: Host) -> None:
        host.outcome(host.connect(self.server))
        self.world.run_for(1)

    def names(self) -> P2PConnectPayload:
        """What the server tells the first of the second."""
        peer = self.server.peer(self.other)
        assert peer is not None
        assert peer.seal is not None
        seal = peer.seal
        return P2PConnectPayload(
            self.other.id, peer_keys=seal.keys.text, peer_boot=seal.claims.boot.hex()
        )

    def write(self, later_s: float = 0.0) -> str | None:
        offers, now = self.one.endpoint.traversal.offers, self.world.now + later_s
        server = self.one.peer(self.server)
        assert server is not None
        offers.sealed.take(server, self.other.id, self.names(), now)
        return offers.sealed._seal(server, self.other.id, offers._new_names(), now)

    def brings(self, text: str | None, later_s: float = 0.0, of: Host | None = None) -> bool:
        """Whether the second takes it."""
        assert text is not None
        one = self.one if of is None else of
        sealed = self.other.endpoint.traversal.offers.sealed
        server = self.other.peer(self.server)
        assert server is not None
        payload = P2PConnectPayload(one.id, peer_sealed_offer=text)
        now = self.world.now + later_s
        return sealed.take(server, one.id, payload, now) is not None


DAY_S = 86_400.0


@pytest.mark.parametrize("later_s", [61.0, 3_700.0, 2 * 3_700.0, 40 * DAY_S])
@pytest.mark.parametrize("with_newer", [False, True])
def test_a_server_that_keeps_an_offer_gains_nothing_by_it(later_s: float, with_newer: bool) -> None:
    box = Mailbox()
    text = box.write()
    assert box.brings(text)
    assert box.brings(text, 5.0), "as it comes by several ways"
    if with_newer:
        assert box.brings(box.write(20.0), 20.0)
    third = box.world.host()
    box.join(third)
    assert not box.brings(text, later_s)
    assert box.other.endpoint.counters.drops["offer_replayed"] == 1
    assert box.brings(box.write(later_s), later_s)


def restarted(box: Mailbox, number: int) -> None:
    """The first node runs anew; its session with the second is of the run before."""
    seals = box.one.endpoint._state.seals
    assert seals is not None
    seals.boot = bytes([number]) * 8


def test_a_clock_that_is_set_back_denies_no_offer() -> None:
    box = Mailbox()
    assert box.brings(box.write(DAY_S), 0.0)
    for later_s in (0.0, 66.0, 1_000.0):
        assert box.brings(box.write(later_s), later_s), "in the same run"
    restarted(box, 1)
    sealed = box.one.endpoint.traversal.offers.sealed
    sealed._written_at = 0
    assert box.brings(box.write(1_002.0), 1_002.0), "nor in the next one"
    assert box.brings(box.write(1_100.0), 1_100.0)


def test_what_came_in_an_earlier_run_with_another_clock_is_not_taken_again() -> None:
    box = Mailbox()
    sealed = box.one.endpoint.traversal.offers.sealed
    texts = []
    for number in range(MAX_RUNS):
        restarted(box, number)
        sealed._written_at = 0
        texts.append(box.write(DAY_S * (MAX_RUNS - number)))  # each with a clock further behind
        assert box.brings(texts[-1], 100.0 * number)
    for text in texts:
        assert not box.brings(text, 100.0 * MAX_RUNS)
    restarted(box, MAX_RUNS)
    sealed._written_at = 0
    assert not box.brings(box.write(), 1_000.0), "too many: nobody can tell it from an old one"
    text = box.write(DAY_S * (MAX_RUNS + 1))
    assert box.brings(text, 1_001.0), "but for one that is newer than all"
    for old in texts:
        assert not box.brings(old, 1_100.0)


def test_a_session_proves_the_run_of_an_offer() -> None:
    box = Mailbox()
    sealed = box.one.endpoint.traversal.offers.sealed
    for number in range(MAX_RUNS):
        restarted(box, number)
        sealed._written_at = 0
        assert box.brings(box.write(DAY_S * (MAX_RUNS - number)), 100.0 * number)
    restarted(box, 99)
    sealed._written_at = 0
    box.one.outcome(box.one.connect(box.other))
    box.world.run_for(1)
    assert box.brings(box.write(), 1.0)


def test_an_offer_for_an_earlier_run_is_not_taken_and_one_for_the_new_run_is() -> None:
    box = Mailbox()
    text = box.write()
    assert box.brings(text)
    box.world.remove(box.other)
    seals = box.other.endpoint._state.seals
    assert seals is not None
    box.other = box.world.host(box.other.address, keys=seals.keys)
    box.join(box.other)
    assert not box.brings(text)
    assert box.other.endpoint.counters.drops["offer_of_another_run"] == 1
    assert box.brings(box.write())


def test_one_with_a_false_clock_shuts_out_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many it invents, and whoever is forgotten for them."""
    box = Mailbox()
    sealed = box.other.endpoint.traversal.offers.sealed
    monkeypatch.setattr(sealed._writers, "_fixed_limit", 4)
    for _ in range(10):
        stranger = box.world.host()
        box.join(stranger)
        offers, by = stranger.endpoint.traversal.offers, stranger.peer(box.server)
        assert by is not None
        offers.sealed._written_at = 2**61
        offers.sealed.take(by, box.other.id, box.names(), box.world.now)
        text = offers.sealed._seal(by, box.other.id, offers._new_names(), box.world.now)
        assert box.brings(text, of=stranger)
    assert len(sealed._writers) <= 4
    assert box.brings(box.write())
    assert box.other.endpoint.counters.drops["offer_replayed"] == 0


def test_what_one_server_says_of_a_run_holds_for_offers_through_itself_only() -> None:
    box = Mailbox()
    liar = box.world.host()
    box.one.outcome(box.one.connect(liar))
    box.world.run_for(1)
    sealed, by = box.one.endpoint.traversal.offers.sealed, box.one.peer(liar)
    assert by is not None
    text = box.write()
    false = msgspec.structs.replace(box.names(), peer_boot="00" * 8)
    sealed.take(by, box.other.id, false, box.world.now)
    server = box.one.peer(box.server)
    assert server is not None
    offer = box.one.endpoint.traversal.offers._new_names()
    again = sealed._seal(server, box.other.id, offer, box.world.now)
    assert box.brings(text)
    assert box.brings(again)
    assert not box.brings(sealed._seal(by, box.other.id, offer, box.world.now))
    assert box.other.endpoint.counters.drops["offer_of_another_run"] == 1


def test_an_offer_that_was_held_back_turns_no_answer_aside() -> None:
    """It may count, as a late one does; but what is sent is for the run that the server names, or
    for that of the newest offer."""
    box = Mailbox()
    held = box.write()
    restarted(box, 7)
    assert box.brings(box.write(100.0), 100.0)
    box.brings(held, 40 * DAY_S)
    sealed, server = box.other.endpoint.traversal.offers.sealed, box.other.peer(box.server)
    assert server is not None
    reader = sealed._reader(server, box.one.id)
    assert reader is not None
    assert reader.boot == bytes([7]) * 8


def test_a_node_that_was_restarted_is_met_again_at_once() -> None:
    """The one that asks knows it by its former run."""
    meeting, _ = meet()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 5)
    sealed = meeting.a.endpoint.traversal.offers.sealed
    meeting.world.run_for(1)
    former = b"former.."
    for key, reader in list(sealed._readers.items()):
        sealed._readers.replace(key, replace(reader, boot=former))
    for writer in sealed._writers.values():
        writer.reader = replace(writer.reader, boot=former)
    for host, to in ((meeting.a, meeting.b), (meeting.b, meeting.a)):
        peer = host.endpoint.peers.authenticated(to.id)
        assert peer is not None
        host.endpoint.disconnect(peer, "anew", meeting.world.now)
        host.settle()
    meeting.world.run_for(3)
    assert isinstance(meeting.connect(), ConnectResult)
    meeting.world.run_until(meeting.is_direct, 3)


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
