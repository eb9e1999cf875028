"""Sessions with the program itself, while others write in the names of their ends.

Nodes hold sessions with it, and send their messages; raw sockets forge datagrams in the names of
either end. Where a deployed client or a lossy one is needed, it is a plain socket, and what is
forged in its name comes from there: it names nothing that was sent to it.
"""

import asyncio
import random
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from p2ptui import Config, Node
from p2ptui.core.events import PeerStatusChanged
from p2ptui.core.identity import short_id
from p2ptui.wire.address import Address
from tests.attacks.live import (
    DEPLOYED,
    OURS,
    Forger,
    Somebody,
    Wire,
    address_of,
    envelope,
    handshake,
    needs_raw_sockets,
)
from tests.installed import Headless, headless
from tests.patience import PATIENCE_S, SLOWER

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs all of 127.0.0.0/8"),
    needs_raw_sockets,
]

LASTS_S = 4.5
"""The attack: a newcomer without proof is believed after three seconds."""

STEP_S = 0.05
MESSAGES = 20
"""Of each node, in that time."""

GOODBYE_EVERY_S = 1.0
LOSS = 0.2
"""Of what a lossy client is sent, and of its answers."""

LOSSY = 10
"""Clients of each kind."""

ROAMED_S = 3.0
"""Until an owner is let in elsewhere, on a quiet machine."""

Forgery = Callable[[str], dict[str, Any]]


def asks(node_id: str | None, *capabilities: str, **more: Any) -> Forgery:
    """A request in the name of an address; with its owner's id, or another one."""
    fields: dict[str, Any] = {"sender_addr": None} if capabilities == DEPLOYED else {}
    fields |= {"requires_ack": True, "sequence_number": 77}
    more.setdefault("name", "EVIL")
    return lambda owner: envelope(
        "HandshakeRequest", handshake(node_id or owner, *capabilities, **more), **fields
    )


EVIL = "eeeeeeee-0000-4000-8000-00000000066"

FORGERIES: dict[str, Forgery] = {
    "another id": asks(f"{EVIL}1", *OURS),
    "another id, as deployed programs write": asks(f"{EVIL}2", *DEPLOYED),
    "no capabilities": asks(None),
    "other capabilities": asks(None, "handshake", "routing", "retransmit"),
    "the deployed dialect": asks(None, *DEPLOYED),
    "another network": asks(None, *OURS, network_id="evil"),
    "another name": asks(None, *OURS),
    "goodbye": lambda _: envelope("Disconnect", {"reason": "EVIL"}),
    "goodbye with a guess": lambda _: envelope(
        "Disconnect", {"reason": "EVIL", "handshake": str(uuid.uuid4())}
    ),
    "who are you?": lambda _: envelope("Error", {"error": "EVIL", "code": "unauthenticated"}),
}


def blind(number: int) -> dict[str, Any]:
    """What anybody can say for somebody who is there."""
    return (
        envelope("Pong", sender_addr=None),
        envelope("Pong", {"nonce": "0123456789abcdef"}),
        envelope("Data", "EVIL", requires_ack=True, sequence_number=number),
        envelope("Ping", {"nonce": "aa"}),
        envelope("Ack", ack_for=number),
    )[number % 5]


class Lossy:
    """A client that is there, and loses much; others say goodbye in its name."""

    def __init__(self, wire: Wire, host: str, capabilities: tuple[str, ...]) -> None:
        self.socket = wire.at(host)
        self.socket.join(*capabilities, name="lossy")
        self.null = self.socket.answers_null
        self.socket.answers = self.socket.answers_null = False
        self.socket.heard.clear()

    def step(self) -> None:
        for message in self.socket.heard:
            if message["message_type"] == "Ping" and random.random() > LOSS + (1 - LOSS) * LOSS:
                fields = {"sender_addr": None} if self.null else {}
                self.socket.say("Pong", None if self.null else message["payload"], **fields)
        self.socket.heard.clear()

    def say_goodbye(self) -> None:
        self.socket.say("Disconnect", {"reason": "EVIL"})


@dataclass
class Owner:
    """Somebody who went elsewhere: its old address is spoken for by others."""

    old: Somebody
    again: Somebody
    capabilities: tuple[str, ...]
    asked_at: float = -1.0
    began_at: float = 0.0
    in_after_s: float | None = None

    def step(self, number: int) -> None:
        now = time.monotonic()
        if self.in_after_s is not None:
            return
        self.began_at = self.began_at or now
        for message in self.again.heard:
            if message["message_type"] == "HandshakeResponse" and message["payload"]["success"]:
                self.in_after_s = now - self.began_at
        refused = any(each["message_type"] == "HandshakeResponse" for each in self.again.heard)
        if refused or now > self.asked_at + 0.5:
            self.asked_at = now
            self.again.heard.clear()
            self.again.shake_hands(*self.capabilities, name="owner")
        # A deployed client answers with `null`: so does whoever speaks for it.
        word = blind(number) if self.capabilities == OURS else blind(2 * number % 4)
        self.old.say(word.pop("message_type"), word.pop("payload"), **word)


@dataclass
class Results:
    """What became of everybody."""

    delivered: dict[str, int] = field(default_factory=dict)
    ends: dict[str, list[str]] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)
    lossy: list[Somebody] = field(default_factory=list)
    owners: dict[str, Owner] = field(default_factory=dict)
    thieves: list[Somebody] = field(default_factory=list)
    robbed: list[Somebody] = field(default_factory=list)
    listed: dict[str, str] = field(default_factory=dict)
    log: str = ""


class Victim:
    """A node with a session, in whose name others write, as they do in its server's."""

    def __init__(self, node: Node, name: str) -> None:
        self.node, self.name = node, name
        self.ends: list[str] = []
        self.words = [f"{name}: {number}" for number in range(MESSAGES)]
        self.delivered = 0

    async def watch(self) -> None:
        async for event in self.node.events():
            if isinstance(event, PeerStatusChanged):
                self.ends.append(event.status.value)

    async def send(self, server: str) -> None:
        async def one(word: str) -> None:
            self.delivered += (await self.node.send(server, word, timeout_s=PATIENCE_S)).delivered

        sending = []
        for word in self.words:
            sending.append(asyncio.ensure_future(one(word)))
            await asyncio.sleep(LASTS_S / MESSAGES)
        await asyncio.gather(*sending)


async def attack(server: Headless, wire: Wire, results: Results) -> None:
    """All at once, for a time."""
    config = Config().with_options(address="127.0.0.1:0", enable_discovery=False)
    nodes = {name: Node(config) for name in FORGERIES}
    victims = []
    for name, node in nodes.items():
        await node.start()
        await node.connect(server.address, timeout_s=PATIENCE_S)
        await node.send(server.address, "hello", timeout_s=PATIENCE_S)
        victims.append(Victim(node, name))
    watching = [asyncio.ensure_future(victim.watch()) for victim in victims]
    sending = [asyncio.ensure_future(victim.send(server.address)) for victim in victims]
    await be_attacked(server, wire, victims, results)
    await asyncio.gather(*sending)
    for victim in victims:
        results.delivered[victim.name] = victim.delivered
        results.ends[victim.name] = list(victim.ends)
        results.ids[victim.name] = victim.node.info.id
        results.words[victim.name] = victim.words
    list_of_all = await victims[0].node.list_nodes(server.address, timeout_s=PATIENCE_S)
    results.listed = {each.id: each.name for each in list_of_all.nodes}
    results.listed[victims[0].node.info.id] = victims[0].node.info.name
    results.log = server.log()
    for task in watching:
        task.cancel()
    for node in nodes.values():
        await node.close()


async def be_attacked(
    server: Headless, wire: Wire, victims: list[Victim], results: Results
) -> None:
    target, forger = address_of(server.address), Forger()
    lossy = [
        Lossy(wire, f"127.73.{kind}.{number}", capabilities)
        for kind, capabilities in ((1, OURS), (2, DEPLOYED))
        for number in range(1, LOSSY + 1)
    ]
    results.lossy = [each.socket for each in lossy]
    owners = {name: owner(wire, number, name) for number, name in enumerate(OWNERS, 1)}
    results.owners = owners
    robbed = [wire.at(f"127.73.5.{number}") for number in (1, 2)]
    thieves = [wire.at(f"127.73.6.{number}") for number in (1, 2)]
    for one, thief, capabilities in zip(robbed, thieves, (OURS, DEPLOYED), strict=True):
        one.join(*capabilities, name=f"robbed at {one.address[0]}")
        thief.id = one.id
        thief.shake_hands(*capabilities, name="EVIL")
    results.robbed, results.thieves = robbed, thieves
    number, goodbye_at = 0, 0.0
    end = time.monotonic() + LASTS_S
    while time.monotonic() < end or any(each.in_after_s is None for each in owners.values()):
        assert time.monotonic() < end + PATIENCE_S
        for victim in victims:
            own = victim.node.address
            forge_both_ways(forger, FORGERIES[victim.name], victim, own, server, target)
        if time.monotonic() > goodbye_at:
            goodbye_at = time.monotonic() + GOODBYE_EVERY_S
            for each in lossy:
                each.say_goodbye()
        for each in lossy:
            each.step()
        for one in owners.values():
            one.step(number)
        number += 1
        await asyncio.sleep(STEP_S)
        wire.turn(0.0)
    for each in lossy:
        each.socket.answers, each.socket.answers_null = not each.null, each.null
    forger.close()


def forge_both_ways(
    forger: Forger,
    forgery: Forgery,
    victim: Victim,
    own: Address,
    server: Headless,
    target: Address,
) -> None:
    forger.send(forgery(victim.node.info.id), own, target)
    forger.send(forgery(server.id), target, own)


OWNERS = {"ours": OURS, "deployed": DEPLOYED}


def owner(wire: Wire, number: int, name: str) -> Owner:
    """Somebody who has been served, and is elsewhere now."""
    old, again = wire.at(f"127.73.3.{number}"), wire.at(f"127.73.4.{number}")
    old.join(*OWNERS[name], name="owner")
    old.answers = old.answers_null = False
    again.answers, again.answers_null = name == "ours", name == "deployed"
    again.id = old.id
    return Owner(old, again, OWNERS[name])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    results = Results()
    with headless(tmp_path_factory.mktemp("server"), "--DEBUG") as server:
        wire = Wire(address_of(server.address))
        try:
            asyncio.run(attack(server, wire, results))
        finally:
            wire.close()
        yield results


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_session_loses_nothing_by_what_is_forged_in_its_name(
    results: Results, forgery: str
) -> None:
    assert results.delivered[forgery] == MESSAGES
    assert results.ends[forgery] == []
    assert results.listed[results.ids[forgery]] != "EVIL"
    who = f"({short_id(results.ids[forgery])})"
    told = [line for line in results.log.splitlines() if who in line and "onnected: " in line]
    assert len(told) == 1, told
    for word in results.words[forgery]:
        lines = [line for line in results.log.splitlines() if line.endswith(word)]
        assert len(lines) == 1, lines
        assert f"data from {short_id(results.ids[forgery])}" in lines[0]


def test_nobody_is_known_by_a_name_that_was_forged(results: Results) -> None:
    assert "EVIL" not in results.listed.values()
    assert not {node_id for node_id in results.listed if node_id.startswith(EVIL)}


def test_forged_goodbyes_end_no_session_where_much_is_lost(results: Results) -> None:
    """Of those that proved themselves; the others are asked as often as their bytes pay for."""
    proved, others = results.lossy[:LOSSY], results.lossy[LOSSY:]

    assert len(others) == LOSSY
    assert not [each.address for each in proved if each.id not in results.listed]
    assert sum(each.id not in results.listed for each in others) <= LOSSY // 2


@pytest.mark.parametrize("kind", OWNERS)
def test_an_owner_gets_in_elsewhere_while_its_old_address_is_forged(
    results: Results, kind: str
) -> None:
    took_s = results.owners[kind].in_after_s

    assert took_s is not None
    assert took_s < ROAMED_S * SLOWER


def test_a_thief_of_an_id_is_refused(results: Results) -> None:
    for one, thief in zip(results.robbed, results.thieves, strict=True):
        answers = [m["payload"] for m in thief.heard if m["message_type"] == "HandshakeResponse"]
        assert answers
        assert not any(answer["success"] for answer in answers)
        assert results.listed[one.id] == f"robbed at {one.address[0]}"
