"""Nodes of two servers are named to each other: with what each may be told, and no more."""

from dataclasses import replace
from typing import Any

import pytest

from p2ptui.core.accounts import AMPLIFICATION_LIMIT, DATAGRAMS_EACH
from p2ptui.core.events import ConnectResult
from p2ptui.core.mesh import rendezvous
from p2ptui.core.peers import Handing, NotHanded
from p2ptui.errors import NotKnownThereError
from p2ptui.io.nats_names import Names
from p2ptui.wire.address import format_address
from p2ptui.wire.cluster import HandOver, encode_message
from p2ptui.wire.codec import encode_payload
from tests.attacks.attacker import Ledger
from tests.core.joined_servers import Two
from tests.core.relaying import ask, node, puppet
from tests.simulation import Puppet

NOBODY = "99999999-0000-4000-8000-000000000000"
OFFER = {"ufrag": "abcdefgh", "password": "p" * 22, "candidates": [["host", "10.9.9.9:1"]]}


def named(client: Puppet) -> list[dict[str, Any]]:
    """The introductions that came."""
    return [m["payload"] for m in client.take() if m["message_type"] == "P2PConnect"]


def refusals(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [m for m in messages if m["message_type"] == "Error"]


def test_both_get_the_address_that_the_server_of_the_other_sees() -> None:
    two = Two()
    a, b = two.puppets()
    request = {
        "peer_id": b.id,
        "nat_type": "Symmetric",
        "predicted_ports": [40001, 40002],
        "public_addr": "198.51.100.7:40000",
    }

    a.say("P2PConnect", request, two.one)
    two.world.run_for(1)

    (to_a,), (to_b,) = named(a), named(b)
    assert to_a["peer_id"] == b.id
    assert to_a["peer_addr"] == format_address(b.address)
    assert to_b == {
        "peer_id": a.id,
        "peer_addr": format_address(a.address),
        "peer_nat_type": "Symmetric",
        "peer_predicted_ports": [40001, 40002],
        "peer_public_addr": "198.51.100.7:40000",
        "peer_name": "puppet",
        "peer_capabilities": ["handshake", "discovery", "data_transfer"],
    }


def test_our_own_node_gets_the_offer_and_its_server_vouches_for_it() -> None:
    two = Two()
    a = puppet(two.world, two.one)
    b = two.world.puppet()
    payload = b.handshake_request(capabilities=["relay_frames"])["payload"]
    request = b.spec_message("HandshakeRequest", payload)
    b.send(request, two.other)
    two.world.run_for(1)
    two.other.ping(b)
    two.world.run_for(1)
    b.take()

    a.say("P2PConnect", {"peer_id": b.id, "offer": OFFER}, two.one)
    two.world.run_for(1)

    (told,) = named(b)
    assert told["peer_offer"]["ufrag"] == OFFER["ufrag"]
    assert told["peer_offer"]["candidates"] == OFFER["candidates"]
    assert told["handshake"] == request["id"]


def test_a_deployed_client_gets_no_offer() -> None:
    two = Two()
    a, b = two.puppets()
    a.say("P2PConnect", {"peer_id": b.id, "offer": OFFER}, two.one)
    two.world.run_for(1)

    (told,) = named(b)
    assert told.keys() == {"peer_id", "peer_addr", "peer_name", "peer_capabilities"}
    body = said(peer_offer=OFFER)
    two.world.run_for(2)
    assert two.hand(NOBODY, b.id, body, Handing.INTRODUCTION) is None
    two.world.run_for(1)
    assert named(b) == [{"peer_id": NOBODY, "peer_addr": "198.51.100.1:9"}]


def test_who_has_proved_nothing_waits_for_its_proof() -> None:
    two = Two()
    b = puppet(two.world, two.other)
    a = two.world.puppet()
    a.join(two.one)
    a.say("P2PConnect", {"peer_id": b.id}, two.one)
    two.world.run_for(1)
    assert [told["peer_id"] for told in named(a)] == [b.id]
    assert named(b) == []

    two.one.ping(a)
    two.world.run_for(1)
    assert [told["peer_id"] for told in named(b)] == [a.id]


def test_a_node_that_cannot_search_is_told_a_few_times() -> None:
    two = Two()
    a, b = two.puppets()
    for _ in range(30):
        a.say("P2PConnect", {"peer_id": b.id}, two.one)
        two.world.run_for(0.5)

    assert 2 <= len(named(b)) <= 3
    assert len(named(a)) == 30


def test_a_node_that_nobody_holds_is_not_found() -> None:
    two = Two()
    a, _ = two.puppets()

    (error,) = refusals(a.ask("P2PConnect", {"peer_id": NOBODY}, two.one))

    assert error["payload"]["code"] == "peer_not_found"


def test_nobody_is_introduced_to_itself() -> None:
    """Its own session here may be a claim, and another server holds the id."""
    two = Two()
    _, b = two.puppets()
    forger = two.world.puppet(node_id=b.id)
    forger.answers_pings = False
    forger.join(two.one)

    (error,) = refusals(forger.ask("P2PConnect", {"peer_id": b.id}, two.one))
    assert error["payload"]["code"] == "peer_not_found"
    assert two.cluster.handed == []


@pytest.mark.parametrize("why", [NotHanded.UNKNOWN, NotHanded.SERVER_GONE])
def test_the_asker_hears_of_a_node_that_is_gone(why: NotHanded) -> None:
    two = Two()
    a, b = two.puppets()
    two.cluster.loses = lambda _: why
    a.take()

    answers = a.ask("P2PConnect", {"peer_id": b.id}, two.one)

    assert [m["message_type"] for m in answers] == ["P2PConnect", "Error"]
    assert answers[1]["payload"]["target"] == b.id


@pytest.mark.parametrize("why", [NotHanded.EXPIRED, NotHanded.UNSENDABLE])
def test_what_may_pass_in_a_moment_is_asked_for_again(why: NotHanded) -> None:
    two = Two()
    a, b = (
        node(two.world, two.one, ice={"enable": True}),
        node(two.world, two.other, ice={"enable": True}),
    )
    two.cluster.loses = lambda _: why
    token = ask(a, two.one, b)
    two.world.run_for(2)
    two.cluster.loses = lambda _: None

    assert isinstance(a.outcome(token), ConnectResult)


def test_a_call_for_a_node_that_has_just_gone_ends_at_once() -> None:
    two = Two()
    a, b = node(two.world, two.one, ice={"enable": True}), node(two.world, two.other)
    two.cluster.knows = False
    b.endpoint.disconnect(b.peer(two.other), "bye", two.world.now)
    two.world.run_for(1)
    began = two.world.now

    outcome = a.outcome(ask(a, two.one, b))

    assert isinstance(outcome, Exception)
    assert two.world.now < began + 1
    assert isinstance(outcome, NotKnownThereError) or "not relay" in str(outcome)


# What the other server says, and what its receiver is told of it.


def said(**changes: Any) -> bytes:
    payload = {"peer_id": NOBODY, "peer_addr": "198.51.100.1:9"} | changes
    return bytes(encode_payload(payload))


def test_what_another_server_names_is_told() -> None:
    two = Two()
    _, b = two.puppets()

    assert two.hand(NOBODY, b.id, said(), Handing.INTRODUCTION) is None
    two.world.run_for(1)
    assert named(b) == [{"peer_id": NOBODY, "peer_addr": "198.51.100.1:9"}]


def test_it_names_whoever_the_server_speaks_for_and_vouches_for_nothing() -> None:
    two = Two()
    _, b = two.puppets()
    body = said(
        peer_id=two.other.id,
        handshake="x",
        nat_type="x",
        predicted_ports=[1],
        offer=None,
        peer_keys="k",
        peer_boot="b",
    )

    assert two.hand(NOBODY, b.id, body, Handing.INTRODUCTION) is None
    two.world.run_for(1)
    assert named(b) == [{"peer_id": NOBODY, "peer_addr": "198.51.100.1:9"}]


@pytest.mark.parametrize("address", [None, "", "x", "example.org:1", "10.0.0.1:0", "10.0.0.1"])
def test_a_place_that_is_none_is_not_named(address: str | None) -> None:
    two = Two()
    _, b = two.puppets()

    body = said(peer_addr=address)
    assert two.hand(NOBODY, b.id, body, Handing.INTRODUCTION) is NotHanded.UNSENDABLE
    two.world.run_for(1)
    assert named(b) == []


def test_a_deployed_client_is_not_sent_to_many_places() -> None:
    """Each introduction has it send three Pings there."""
    two = Two()
    _, b = two.puppets()
    for number in range(100):
        body = said(peer_addr=f"198.51.100.{number + 1}:9")
        two.hand(NOBODY, b.id, body, Handing.INTRODUCTION)
    two.world.run_for(1)

    assert len(named(b)) == 1


def test_pairs_are_bounded_for_those_elsewhere_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "MAX_PAIRS", 2)
    two = Two()
    _, b = two.puppets()
    for number in range(5):
        two.hand(f"{number:08}-0000-4000-8000-000000000009", b.id, said(), Handing.INTRODUCTION)

    assert two.other.endpoint.sizes()["introduced_pairs"] == 2


VICTIM = "198.51.100.1"


def on_the_bus(source: str, target: str, body: bytes) -> int:
    """Bytes that whoever writes to the broker spends on handing that over."""
    node_id, run = bytes(16), bytes(8)
    over = HandOver("p2p_default", node_id, run, Handing.INTRODUCTION, node_id, node_id, "", body)
    data = encode_message(over)
    names = Names.of("p2p_default")
    return len(f"PUB {names.subject(target)} {len(data)}\r\n") + len(data) + len("\r\n")


@pytest.mark.parametrize("has_ice", [True, False])
@pytest.mark.parametrize("offers", [False, True])
@pytest.mark.parametrize("capabilities", [None, ["handshake", "routing", "relay_frames"]])
@pytest.mark.parametrize("source", ["nobody", "elsewhere", "passing"])
def test_a_forged_introduction_pays_for_what_it_has_sent(
    has_ice: bool, offers: bool, capabilities: list[str] | None, source: str
) -> None:
    """It was seven datagrams, and four times the bytes."""
    two = Two()
    a = node(two.world, two.one)
    b = node(two.world, two.other, ice={"enable": has_ice})
    two.world.run_for(2)
    who = NOBODY if source == "nobody" else a.id
    if source == "passing":
        known = two.cluster.book[who]
        two.cluster.book[who] = replace(known, address=(VICTIM, 9), stands=False)
    went = Ledger(b)
    body = said(
        peer_id=who,
        peer_addr=f"{VICTIM}:9",
        peer_predicted_ports=list(range(1024, 1088)),
        **({"peer_offer": OFFER} if offers else {}),
        **({"peer_capabilities": capabilities} if capabilities else {}),
    )

    two.hand(who, b.id, body, Handing.INTRODUCTION)
    two.world.run_for(60)

    account = went._accounts.get(VICTIM)
    if account is not None:
        assert account.went.datagrams <= DATAGRAMS_EACH
        assert account.went.size <= AMPLIFICATION_LIMIT * on_the_bus(who, b.id, body)


def test_the_place_of_a_node_that_is_known_is_vouched_for() -> None:
    two = Two()
    a, b = puppet(two.world, two.one), two.world.puppet()
    payload = b.handshake_request(capabilities=["relay_frames"])["payload"]
    b.send(b.spec_message("HandshakeRequest", payload), two.other)
    two.world.run_for(1)
    two.other.ping(b)
    two.world.run_for(1)
    b.take()

    body = said(peer_id=a.id, peer_addr=format_address(a.address))
    two.hand(a.id, b.id, body, Handing.INTRODUCTION)
    two.world.run_for(1)
    elsewhere = said(peer_id=a.id)
    two.hand(a.id, b.id, elsewhere, Handing.INTRODUCTION)
    two.world.run_for(1)

    right, wrong = named(b)
    assert "handshake" in right
    assert "handshake" not in wrong
