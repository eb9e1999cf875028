"""One forged datagram of every type, from every kind of sender: what it costs whom.

A node has joined a server, and has a session with a node of its own kind, with a deployed client
and with a bystander; and one that a forged handshake began. In each place one of these is forged.
"""

import functools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import pytest

from p2ptui.core.accounts import BOUNDS, Reason
from p2ptui.core.events import ConnectResult, DataReceived, PeerStatusChanged
from p2ptui.core.messages import MEANINGS, ROWS, Row
from p2ptui.core.peers import Peer
from p2ptui.nat.stun_server import Place
from p2ptui.wire.address import Address
from p2ptui.wire.codec import decode_payload
from p2ptui.wire.message import OWN_CAPABILITIES, Envelope
from p2ptui.wire.stun import MessageClass, StunMessage
from tests.attacks.attacker import Attacker, Ledger
from tests.attacks.hostile import (
    FRAME_KINDS,
    STUN_VALUES,
    Case,
    Words,
    classes_of,
    frame_cases,
    messages,
    struct_fields,
    stun_cases,
)
from tests.core.meeting import facts_of
from tests.simulation import Host, Puppet, World

THIRD: Final[Address] = ("203.0.113.99", 53)
"""Who has nothing to do with any of them."""

NOBODY: Final = "99999999-0000-4000-8000-000000000000"

PLACES: Final = (
    "stranger",
    "unproved",
    "own node",
    "deployed client",
    "joined server",
    "asked node",
)
"""In whose name a datagram is forged: of nobody that is known; of whom only a forged handshake was
heard; of a proved peer of either kind; of the server that the node joined; of a node that is about
to answer its request."""

TALKED_AFTER: Final = 8
"""Datagrams until everybody is spoken with: whether sessions are as before is looked at always."""

SPEAKS_AFTER_S: Final = 0.1
"""So soon a deployed client speaks that is forged."""

LOOKED_AT_S: Final = 1.5
"""After a datagram: a doubt that it raises is over by then."""

FEW: Final = 8
"""Datagrams that one forged by a joined server may send to whom it names: its word is no order."""

A_ROW: Final = 60
"""Datagrams after each other."""

SEVERAL: Final = 3
"""Sources of these, where they are nobody's."""

TO_OTHERS: Final = 6
"""Datagrams that one may make the node send to any one of its other peers, beside its own."""


class Scene:
    """The node under attack and everybody around it.

    Args:
        place: In whose name is forged.
        seed: Of all that is random.
    """

    def __init__(self, place: str, seed: str) -> None:
        self.place = place
        self.world = world = World()
        self.attacker = Attacker(world)
        options = {"allow_symmetric_nat_relay": True, "stun_server": {"enable": True}}
        self.server = world.host(**options)
        self.node = node = world.host(**options)
        node.endpoint.stun.open({Place.OWN: node.address}, None)
        node.facts = facts_of("port-restricted-cone")
        self.own, self.bystander, self.asked = world.host(), world.host(), world.host()
        self.deployed, self.unproved = world.puppet(), world.puppet()
        self.unproved.answers_pings = False
        node.outcome(node.connect(self.server))
        for host in (self.own, self.bystander):
            host.outcome(host.connect(node))
        self.deployed.join(node)
        world.run_until(lambda: self.peer(self.deployed).proved, 1200)
        self.ledger = Ledger(node)
        self._kept_until = 0.0
        self._keep_unproved()
        rng = random.Random(seed)
        self._sources: list[Address] = []
        around: list[Host | Puppet] = [self.bystander, self.unproved, self.own, self.deployed]
        ids = [who.id for who in (*around, self.server, node)]
        ids += [self.asked.id] if place == "asked node" else []
        addresses = [THIRD, *(who.address for who in around), self.server.address, node.address]
        self.words = Words([NOBODY, *ids], addresses, rng)
        self.forged_id = {
            "unproved": self.unproved.id,
            "own node": self.own.id,
            "deployed client": self.deployed.id,
            "joined server": self.server.id,
            "asked node": self.asked.id,
        }.get(place)
        if self.forged_id is not None:
            self.words.ids.remove(self.forged_id)
            self.words.ids.insert(0, self.forged_id)
        self.shaken: set[str] = set()
        """Who strangers may have become."""
        self._said = 0
        self._heard = 0
        self.told_before = len(node.events)

    def source(self) -> Address:
        """Where the next datagram seems to come from."""
        match self.place:
            case "stranger":
                number = len(self._sources)
                self._sources.append((f"198.51.{number // 250}.{number % 250}", 4000))
                return self._sources[-1]
            case "unproved":
                return self.unproved.address
            case "own node":
                return self.own.address
            case "deployed client":
                return self.deployed.address
            case "asked node":
                return self.asked.address
        return self.server.address

    def peer(self, of: Host | Puppet) -> Peer:
        peer = self.node.peer(of)
        assert peer is not None
        return peer

    @property
    def kept(self) -> list[Host | Puppet]:
        """Whose session must go on: whoever has one and is not made up."""
        return [self.server, self.own, self.bystander, self.deployed]

    def forge(self, source: Address, case: Case) -> None:
        self.attacker.forge(source, self.node, case.data)
        if self.place == "deployed client":
            self.world.run_for(SPEAKS_AFTER_S)
            self.deployed.say("Data", "I am here", self.node)
            if b'"HandshakeRequest"' in case.data:
                # What it says may be a newcomer's, for it acknowledges nothing: but its id is its.
                self.deployed.send(self.deployed.handshake_request(), self.node)

    def sessions(self) -> dict[str, Any]:
        """What the node holds of each of these, as far as it is a matter between the two."""
        seen: dict[str, Any] = {}
        for who in self.kept:
            peer = self.node.peer(who)
            seen[who.id] = peer and (
                id(peer),
                peer.status,
                peer.capabilities,
                peer.name,
                peer.node_id,
                peer.dialect,
                peer.sends_to,
                peer.proved,
                peer.initiated,
                peer.handshake_said,
            )
        return seen

    # What one datagram did.

    def try_one(self, case: Case) -> None:
        source = self.source()
        self._keep_unproved()
        before = self.sessions()
        told = len(self.node.events)
        to_others = self._sent_to_others(source)
        token = self.node.connect(self.asked) if self.place == "asked node" else None
        self.forge(source, case)
        self.world.run_for(LOOKED_AT_S)
        if token is not None:
            self.check_answered(self.node.outcome(token))
        self.check_accounts(is_stun=case.data[:1] < b"\x04")
        after = self._sent_to_others(source)
        assert self.sessions() == before
        self.check_events(self.node.events[told:])
        for host, datagrams in after.items():
            most = FEW if host == THIRD[0] else TO_OTHERS
            assert datagrams - to_others.get(host, 0) <= most, host

    def _keep_unproved(self) -> None:
        """Have the made up session last, as whoever forged its handshake could."""
        if self.world.now < self._kept_until:
            return
        self._kept_until = self.world.now + 15
        message = {"id": "1", "message_type": "Ack", "timestamp": 1, "ack_for": "1"}
        if not self.node.is_connected_to(self.unproved):
            message = self.unproved.handshake_request(capabilities=list(OWN_CAPABILITIES))
            del message["sender_addr"]
        self.attacker.forge(self.unproved.address, self.node, message)
        self.world.run_for(2)

    def _sent_to_others(self, source: Address) -> dict[str, int]:
        others = {THIRD, *(who.address for who in self.kept)} - {source, self.asked.address}
        return {host: self.ledger.of(host).went.datagrams for host, _ in others}

    def check_accounts(self, *, is_stun: bool) -> None:
        """No address that has proved nothing got more than it paid for."""
        for account in map(self.ledger.of, (self.unproved, *self._sources)):
            # STUN has a bound of its own: one answer, as long as its standard demands.
            own = BOUNDS[Reason.STUN_ANSWER].size if is_stun else 0
            answers = account.came.kinds["0x00"] if is_stun else 0
            assert account.went.size <= 3 * account.came.size + own * answers
            assert account.datagrams_over <= 0
        if self.place != "joined server":
            assert self.ledger.of(THIRD).went.datagrams == 0

    def check_answered(self, outcome: Any) -> None:
        """The node that was asked is the one that answered; both are told that it was all."""
        assert isinstance(outcome, ConnectResult), outcome
        assert outcome.node_id == self.asked.id
        assert self.node.peer(self.asked).node_id == self.asked.id
        self.node.endpoint.disconnect(self.peer(self.asked), "", self.world.now)
        self.world.run_for(1)

    def check_events(self, events: list[Any]) -> None:
        """Nobody's name but the sender's was used, and nobody's session changed."""
        kept = {who.id for who in self.kept}
        for event in events:
            if isinstance(event, PeerStatusChanged):
                assert event.node_id not in kept, event
            elif isinstance(event, DataReceived):
                assert self.place != "stranger" or event.node_id in self.shaken, event
                assert event.node_id == self.forged_id or event.node_id not in kept, event
        for route in self.node.endpoint.routes(self.world.now):
            if route.destination in kept:
                assert route.next_hop == route.destination

    # And afterwards.

    def check_sessions_go_on(self) -> None:
        """A message each way, with everybody, arrives once."""
        for who in self.kept:
            self._said += 1
            there, back = f"there {self._said}", f"back {self._said}"
            if isinstance(who, Host):
                assert who.outcome(who.send(self.node, there), within=15).delivered
                assert self.node.outcome(self.node.send(who, back), within=15).delivered
                assert who.received().count(back) == 1
            else:
                who.inbox.clear()
                who.say("Data", there, self.node, requires_ack=True)
                self.node.send(who, back)
                self.world.run_for(1)
                came = [m["payload"] for m in who.take() if m["message_type"] == "Data"]
                assert came.count(back) == 1
            told, self._heard = self.node.events[self._heard :], len(self.node.events)
            heard = [e for e in told if isinstance(e, DataReceived) and e.payload == there]
            assert [e.node_id for e in heard] == [who.id]


def attack(place: str, name: str, cases: Callable[[Words], Iterator[Case]]) -> None:
    scene = Scene(place, f"{place} {name}")
    sent: list[str] = []
    for case in list(cases(scene.words)):
        sent.append(case.label)
        try:
            scene.try_one(case)
            if len(sent) % TALKED_AFTER == 0:
                scene.check_sessions_go_on()
        except AssertionError as error:
            last = "\n".join(sent[-TALKED_AFTER:])
            raise AssertionError(f"{place}, the last of:\n{last}\n{error}") from error
    scene.world.run_for(70)
    scene.check_accounts(is_stun=name in STUN_NAMES)
    scene.check_sessions_go_on()


def attack_at_random(place: str, seed: int) -> None:
    """Forge datagrams of all types after each other, as somebody would who knows none of this."""
    scene = Scene(place, f"{place} {seed}")
    rng = random.Random(f"{seed} {place}")
    scene.shaken.add(NOBODY)
    sources = [scene.source() for _ in range(SEVERAL)]
    before = scene.sessions()
    sent = []
    for theme in rng.choices(THEMES, k=A_ROW):
        case = rng.choice(list(theme.cases(scene.words)))
        sent.append(case.label)
        scene.forge(rng.choice(sources), case)
        scene.world.run_for(rng.choice((0.0, 0.0, 0.05, 0.3, 1.0)))
    try:
        scene.world.run_for(5)
        scene.check_accounts(is_stun=True)
        assert scene.sessions() == before
        scene.check_events(scene.node.events[scene.told_before :])
        assert scene.ledger.of(THIRD).went.datagrams <= FEW * A_ROW
        scene.check_sessions_go_on()
        scene.world.run_for(70)
        scene.check_accounts(is_stun=True)
        scene.check_sessions_go_on()
    except AssertionError as error:
        raise AssertionError("\n".join((f"{place}, seed {seed}:", *sent, str(error)))) from error


@dataclass(frozen=True)
class Theme:
    """One type of datagram."""

    name: str
    cases: Callable[[Words], Iterator[Case]]


def _name(row: Row) -> str:
    if row.meaning is None:
        return row.kind
    return f"{row.kind}-{getattr(row.meaning, 'value', row.meaning)}".replace(" ", "-")


STUN_NAMES: Final = {f"STUN-{kind.name}" for kind in MessageClass}
THEMES: Final = [
    *(Theme(_name(row), functools.partial(messages, row)) for row in ROWS),
    *(Theme(name, functools.partial(frame_cases, kind)) for kind, name in FRAME_KINDS.items()),
    Theme("unknown-frame", functools.partial(frame_cases, 0xFF)),
    *(Theme(f"STUN-{kind.name}", functools.partial(stun_cases, kind)) for kind in MessageClass),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("theme", THEMES, ids=[theme.name for theme in THEMES])
def test_one_forged_datagram_hurts_nobody(theme: Theme, place: str) -> None:
    attack(place, theme.name, theme.cases)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("place", PLACES[:-1])
def test_many_forged_datagrams_after_each_other_hurt_nobody(place: str, seed: int) -> None:
    attack_at_random(place, seed)


# The walk is whole.


def test_every_type_is_tried_with_what_it_may_hold() -> None:
    bare = {row.kind for row in ROWS if not classes_of(row)}
    assert bare == {"Ack", "ListNodesRequest"}, "these have no payload"
    assert {row.kind for row in ROWS if row.meaning is not None} == set(MEANINGS)


def test_a_new_type_is_tried_by_itself() -> None:
    class Planted(msgspec.Struct):
        client: str
        hops: Annotated[int, msgspec.Meta(ge=0, le=9)]

    planted = ROWS[-1]._replace(kind="Planted", reads=_reader_of(Planted))
    words = Words([NOBODY], [THIRD], random.Random(1))
    tried = [json.loads(case.data)["payload"] for case in messages(planted, words)]

    assert tried[0] == {"client": "203.0.113.99:53", "hops": 1}
    assert {"client": "203.0.113.99:53", "hops": 10} in tried


def _reader_of(kind: type) -> Callable[[Envelope], Any]:
    return lambda message: decode_payload(message.payload, kind)


def test_every_field_of_stun_is_tried() -> None:
    assert struct_fields(StunMessage) - set(STUN_VALUES) == {"message_class", "transaction_id"}
