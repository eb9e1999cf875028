"""Names at the program itself: a proved peer that routes lies about others.

All addresses are plain sockets on the loopback network.
"""

import sys
import uuid
from collections.abc import Iterator

import pytest

from p2ptui.core.identity import short_id
from tests.attacks.live import (
    DEPLOYED,
    OURS,
    Somebody,
    Wire,
    address_of,
    routed,
)
from tests.installed import Headless, headless

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the whole of 127.0.0.0/8 is this machine's"
)

ELSEWHERE = "88888888-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Headless]:
    directory = tmp_path_factory.mktemp("node")
    with headless(directory, "--DEBUG", "--relay") as node:
        yield node


@pytest.fixture
def wire(node: Headless) -> Iterator[Wire]:
    wire = Wire(address_of(node.address))
    yield wire
    wire.close()


def told(node: Headless, word: str) -> list[str]:
    """Whom the program says that a word came from."""
    lines = [line for line in node.log().splitlines() if line.endswith(word)]
    return [line.split("data from ")[1].split()[0] for line in lines if "data from " in line]


def routes(of: Somebody) -> dict[str, str]:
    """By whom the node goes to whom, as it says itself."""
    found: dict[str, str] = {}
    for message in of.ask("Data", {"cmd": "get_routes"}, "Data"):
        if isinstance(message["payload"], dict):
            for route in message["payload"].get("routes", ()):
                found[route["destination"]] = route["next_hop"]
    return found


@pytest.mark.parametrize("kind", [OURS, DEPLOYED], ids=["ours", "deployed"])
def test_nobody_speaks_in_the_name_of_a_direct_peer(
    node: Headless, wire: Wire, kind: tuple[str, ...]
) -> None:
    bob, third, mallory = (wire.at(f"127.75.1.{n}") for n in (1, 2, 3))
    bob.join(*kind, name="bob")
    for each in (third, mallory):
        each.join(*OURS)
    words = {hops: f"forged {hops} {uuid.uuid4()}" for hops in (0, 1, 7)}
    entry = {"id": bob.id, "addr": "127.75.9.9:9", "last_seen": 1, "capabilities": [], "name": "x"}
    mallory.say("DiscoveryResponse", [entry])
    mallory.say("DiscoveryUpdate", {"joined": [entry], "left": [third.id]})
    for hops, word in words.items():
        mallory.say("Data", routed(bob.id, node.id, word, hops))
        mallory.say("Data", routed(bob.id, third.id, word, hops))
    last = f"the last {uuid.uuid4()}"
    mallory.say("Data", last)
    wire.wait_until(lambda: bool(told(node, last)))

    for hops, word in words.items():
        assert set(told(node, word)) <= ({short_id(mallory.id)} if hops == 0 else set())
    brought = [m["payload"] for m in third.heard if m["message_type"] == "Data"]
    assert {each["source_node"] for each in brought if "source_node" in each} <= {mallory.id}
    mallory.say("Data", routed(mallory.id, bob.id, word := f"to bob {uuid.uuid4()}"))
    if kind == OURS:
        wire.wait_until(lambda: any(word in str(message) for message in bob.heard))
    known = routes(third)
    assert known.get(bob.id, bob.id) == bob.id
    assert known.get(third.id, third.id) == third.id


def test_who_has_shown_nothing_brings_nothing_in_anothers_name(node: Headless, wire: Wire) -> None:
    pen, witness = wire.at("127.75.2.1"), wire.at("127.75.2.2")
    witness.join(*OURS)
    pen.shake_hands("handshake", "routing")
    word, last = f"forged {uuid.uuid4()}", f"the last {uuid.uuid4()}"
    entry = {"id": ELSEWHERE, "addr": "127.75.9.9:9", "last_seen": 1, "capabilities": []}
    pen.say("DiscoveryResponse", [entry])
    pen.say("Data", routed(ELSEWHERE, node.id, word, 1))
    witness.say("Data", last)
    wire.wait_until(lambda: bool(told(node, last)))

    assert not told(node, word)
    assert ELSEWHERE not in routes(witness)
