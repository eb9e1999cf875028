"""Orders to the program itself, forged in the name of a server that it joined.

The server is a plain socket. What is forged in its name comes from that socket as well, without
anything that was sent to it: on the wire that is the same.
"""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.live import OURS, Ears, Somebody, Wire, compact, envelope, needs_raw_sockets
from tests.installed import Headless, headless

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs all of 127.0.0.0/8"),
    needs_raw_sockets,
]

ORDERS = 10
"""Of each kind, one each `STEP_S`."""

STEP_S = 0.2
AFTERWARDS_S = 2.0

A_NODE = "77777777-0000-4000-8000-000000000000"


def named(victim: str, number: int, **more: Any) -> dict[str, Any]:
    """An introduction to a port of the victim."""
    return {
        "peer_id": A_NODE[:-2] + f"{number:02d}",
        "peer_addr": f"{victim}:{6000 + number}",
        "peer_capabilities": ["handshake", "routing", "relay_frames"],
    } | more


def offer(number: int, victim: str = "", **more: Any) -> dict[str, Any]:
    told = {"ufrag": f"ufrag{number}", "password": "p" * 20, "nat_type": "symmetric"}
    ports = range(7000, 7064) if victim else ()
    candidates = [["predicted", f"{victim}:{port}"] for port in ports]
    return told | {"allocation": "random", "candidates": candidates} | more


def listed(victim: str, number: int) -> dict[str, Any]:
    node_id = A_NODE[:-2] + f"{number:02d}"
    where = {"addr": f"{victim}:{6000 + number}", "last_seen": 1}
    return {"id": node_id, "capabilities": ["routing", "relay_frames"]} | where


Order = Callable[[str, int], tuple[str, Any]]


def with_offer(**sizes: Any) -> Order:
    return lambda victim, n: ("P2PConnect", named(victim, n, peer_offer=offer(n, victim, **sizes)))


KINDS: dict[str, Order] = {
    "first round": with_offer(),
    "second round": with_offer(round=1, sockets=256),
    "last round": with_offer(round=11, sockets=1024, flows=1_000_000),
    "answer": with_offer(answer=True, sockets=256),
    "introduction": lambda victim, n: (
        "P2PConnect",
        {"peer_id": named(victim, n)["peer_id"], "peer_addr": f"{victim}:{6000 + n}"},
    ),
    "many ports": lambda victim, n: (
        "P2PConnect",
        named(victim, n, peer_capabilities=[], peer_predicted_ports=list(range(20_000, 20_016))),
    ),
    "list": lambda victim, n: ("DiscoveryResponse", [listed(victim, n)]),
    "update": lambda victim, n: ("DiscoveryUpdate", {"joined": [listed(victim, n)], "left": []}),
    "probe": lambda victim, n: (
        "NatProbe",
        {"tag": f"{n:024x}", "address": f"{victim}:{6000 + n}"},
    ),
}


@contextmanager
def hosts(names: list[str]) -> Iterator[dict[str, Ears]]:
    """A host for each, where all that arrives is counted, and that is nobody else's."""
    first = random.randint(1, 240)
    with ExitStack() as stack:
        found = {}
        for number, name in enumerate(names):
            host = f"127.{140 + number}.{first}.{random.randint(1, 250)}"
            found[name] = Ears(host)
            stack.callback(found[name].close)
        yield found


@contextmanager
def joined(directory: Path, wire: Wire, *servers: Somebody) -> Iterator[Headless]:
    """A node that has joined servers of the attacker's."""
    joins = [word for each in servers for word in ("--join", "{}:{}".format(*each.address))]
    with headless(directory, "--DEBUG", *joins) as node:
        wire.wait_until(lambda: node.log().count("connected: ") == len(servers))
        yield node


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def test_what_is_ordered_in_a_servers_name_is_little(tmp_path: Path, wire: Wire) -> None:
    server = wire.at("127.71.1.1")
    server.serves, server.answers = OURS, True
    sizes = dict.fromkeys(KINDS, 0)
    with hosts([*KINDS]) as victims, joined(tmp_path, wire, server):
        for number in range(ORDERS):
            for name, order in KINDS.items():
                kind, payload = order(victims[name].host, number)
                data = compact(envelope(kind, payload))
                sizes[name] += len(data)
                server.put(data)
                victims[name].count()
            wire.run_for(STEP_S)
        wire.run_for(AFTERWARDS_S)

        for name, victim in victims.items():
            print(name, victim.count(), victim.came_bytes, sizes[name])
            assert victim.count() <= 3 * ORDERS, name
            assert victim.came_bytes <= 3 * sizes[name], name
    assert victims["second round"].came
    assert victims["introduction"].came
    assert not victims["list"].came
    assert not victims["update"].came
    assert "HandshakeRequest" in server.kinds
