"""Tables of the program itself, filled by who forges, and by crowds of one house.

In a network namespace where all addresses of 198.18.0.0/15 (RFC 2544) are this machine's: shares
are for addresses elsewhere, and loopback addresses have none.
"""

import subprocess
import time
import uuid
from collections.abc import Iterator
from secrets import token_hex
from typing import Any

import pytest

from p2ptui.wire.frames import Fragment, encode_fragment
from tests.attacks.live import (
    DEPLOYED,
    OURS,
    Forger,
    Somebody,
    Wire,
    address_of,
    compact,
    envelope,
    handshake,
)
from tests.installed import headless
from tests.natlab.namespaces import Namespace, missing, remove
from tests.patience import SLOWER

PLACES = 40
"""For peers."""


@pytest.fixture(scope="module")
def network() -> Iterator[Namespace]:
    """Where everybody lives."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    namespace = Namespace(f"natlab-{token_hex(4)}-tables")
    try:
        subprocess.run(["ip", "netns", "add", namespace.name], check=True)
        for words in ("link set lo up", "addr add 198.18.0.1/15 dev lo"):
            subprocess.run(["ip", "-n", namespace.name, *words.split()], check=True)
        yield namespace
    finally:
        remove([namespace])


@pytest.fixture
def wire(network: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A node of its own, and the network around it."""
    with network.entered():
        options = "--DEBUG", "--address", "198.18.0.1:0", "--max-connections", f"{PLACES}"
        with headless(tmp_path_factory.mktemp("node"), *options) as node:
            wire = Wire(address_of(node.address))
            yield wire
            wire.close()


def tries_to_join(somebody: Somebody, *capabilities: str) -> bool:
    """Whether somebody gets in, having shown that it is there."""
    somebody.answers, somebody.answers_null = capabilities != DEPLOYED, capabilities == DEPLOYED
    somebody.shake_hands(*capabilities)
    somebody.wire.wait_until(lambda: "HandshakeResponse" in somebody.kinds)
    (answer, *_) = (m for m in somebody.heard if m["message_type"] == "HandshakeResponse")
    if answer["payload"]["success"] and answer.get("requires_ack"):
        somebody.say("Ack", ack_for=answer["sequence_number"])
    return bool(answer["payload"]["success"])


def is_served(somebody: Somebody) -> bool:
    return bool(somebody.ask("Ping", str(uuid.uuid4()), "Pong"))


def test_forged_handshakes_from_everywhere_keep_nobody_out(wire: Wire) -> None:
    target, forger = wire.node, Forger()
    honest = [wire.at(f"198.18.{n}.1") for n in range(1, 6)]
    assert all(tries_to_join(each, *OURS) for each in honest)
    sources = [(f"198.19.{n}.9", 4000) for n in range(PLACES)]

    def flood(word: str) -> None:
        for source in sources:
            payload = (
                handshake(str(uuid.uuid4()), *DEPLOYED) if word == "HandshakeRequest" else None
            )
            forger.send(envelope(word, payload, sender_addr=None), source, target)
        wire.run_for(0.1)

    flood("HandshakeRequest")
    flood("Ping")
    began = time.monotonic()
    late = [wire.at(f"198.18.{n + 20}.1") for n in range(1, 7)]
    for number, each in enumerate(late):
        assert tries_to_join(each, *(OURS if number % 2 else DEPLOYED))
        flood("Ping")
    took_s = time.monotonic() - began
    forger.close()

    assert took_s < 2 * SLOWER
    assert all(is_served(each) for each in (*honest, *late))


def test_one_house_holds_half_of_the_places_and_its_neighbours_three_quarters(wire: Wire) -> None:
    house = [wire.at("198.18.100.1") for _ in range(PLACES)]
    inside = [each for each in house if tries_to_join(each, *OURS)]
    neighbours = [wire.at(f"198.18.100.{n}") for n in range(2, PLACES // 2)]
    near = [each for each in neighbours if tries_to_join(each, *OURS)]
    elsewhere = [wire.at(f"198.18.{n + 200}.1") for n in range(1, 6)]

    assert len(inside) <= PLACES // 2
    assert len(inside) + len(near) <= PLACES * 3 // 4
    assert all(tries_to_join(each, *OURS) for each in elsewhere)
    assert all(is_served(each) for each in (inside[0], *elsewhere))


def test_messages_that_one_host_begins_leave_room_for_others(wire: Wire) -> None:
    crowd = [wire.at("198.18.101.1") for _ in range(10)]
    for each in crowd:
        assert tries_to_join(each, *OURS)
        for number in range(2, 68):
            each.put(encode_fragment(Fragment(number, 1 << 20, 1000, 0, bytes(1000))))
        wire.turn(0.0)
    honest = wire.at("198.18.102.1")
    honest.join(*OURS)
    word = "w" * 3000 + str(uuid.uuid4())
    (response,) = (m for m in honest.heard if m["message_type"] == "HandshakeResponse")
    assert response["payload"]["success"]
    data: Any = compact(envelope("Data", word, sequence_number=1, requires_ack=True))
    for index in range(0, len(data), 1000):
        piece = Fragment(1, len(data), 1000, index // 1000, data[index : index + 1000])
        honest.put(encode_fragment(piece))
    wire.wait_until(lambda: "Ack" in honest.kinds)

    assert is_served(honest)
