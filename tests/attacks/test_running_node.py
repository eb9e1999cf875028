"""The program itself as a reflector: what it sends to addresses that never said that they listen.

Real sockets on distinct loopback addresses: each counts what arrives where it is, and nobody reads
what that says. So they send as blindly as whoever forges their address.
"""

import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from p2ptui.wire.message import OWN_CAPABILITIES
from tests.attacks.live import DEPLOYED, Somebody, Wire
from tests.installed import headless

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the whole of 127.0.0.0/8 is this machine's"
)

CROWD: Final = 40
"""Peers that make lists long, each in a network of its own."""

LASTS_S: Final = 2.0
"""An attack, with a step of each every `STEP_S`."""

STEP_S: Final = 0.1


@contextmanager
def attacked(directory: Path) -> Iterator[tuple[Wire, Somebody, Somebody]]:
    """A node with a crowd, an honest client and an attacker, both of which it knows to be there."""
    with ExitStack() as stack:
        node = stack.enter_context(headless(directory, "--relay"))
        host, _, port = node.address.rpartition(":")
        wire = Wire((host, int(port)))
        stack.callback(wire.close)
        crowd = [wire.at(f"127.66.{n}.2") for n in range(1, CROWD)]
        honest, attacker = wire.at("127.66.100.2"), wire.at("127.66.101.2")
        honest.answers = attacker.answers = True
        for somebody in (*crowd, honest, attacker):
            somebody.shake_hands(*OWN_CAPABILITIES)
            wire.wait_until(lambda who=somebody: "HandshakeResponse" in who.kinds)
        for somebody in (honest, attacker):
            somebody.say("ListNodesRequest")  # whoever asks for much is asked whether it is there
            wire.wait_until(lambda who=somebody: "ListNodesResponse" in who.kinds)
        yield wire, honest, attacker


def keep_on(wire: Wire, *steps: Callable[[], None]) -> None:
    """Take steps of attacks at once, while the honest client pings."""
    end = time.monotonic() + LASTS_S
    while (now := time.monotonic()) < end:
        for step in steps:
            step()
        while time.monotonic() < now + STEP_S:
            wire.turn(max(now + STEP_S - time.monotonic(), 0.0))


def all_handled(wire: Wire, honest: Somebody) -> None:
    """Wait until the node has come to the end of what it was sent."""
    honest.kinds.clear()
    honest.say("Ping", "the last")
    wire.wait_until(lambda: "Pong" in honest.kinds)
    wire.turn(0.0)


def lists_to(victim: Somebody, *questions: tuple[str, Any]) -> Callable[[], None]:
    """Ask for lists in its name, and answer blindly whatever it may have been asked."""

    def step() -> None:
        for kind, payload in questions:
            victim.say(kind, payload)
        victim.say("Pong")

    return step


def orders_of(attacker: Somebody, named: Somebody, routed: Somebody) -> Callable[[], None]:
    """Have a node that is known to be there name others, and send to them."""
    nobody = str(uuid.uuid4())

    def step() -> None:
        attacker.say("P2PConnect", {"peer_id": named.id, "nat_type": "x" * 32})
        attacker.say("RelayRequest", {"target_peer_id": named.id, "data": [1] * 200})
        attacker.route(routed.id, 700)
        attacker.route(nobody, 700)

    return step


VICTIMS: Final = ("lists", "routes", "shaken", "ours", "named", "routed", "flooded 1", "flooded 2")
"""By what is tried with them."""


@pytest.fixture(scope="module")
def victims(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Somebody]]:
    """All of them, after all attacks at once."""
    with attacked(tmp_path_factory.mktemp("node")) as (wire, honest, attacker):
        found = {name: wire.at(f"127.66.{200 + n}.1") for n, name in enumerate(VICTIMS)}
        for name in ("lists", "routes", "shaken"):
            found[name].shake_hands(*DEPLOYED)
        for name in ("ours", "named", "routed", "flooded 1", "flooded 2"):
            found[name].shake_hands(*OWN_CAPABILITIES)
        routes_wanted = ("Data", {"cmd": "get_routes"})
        keep_on(
            wire,
            lists_to(found["lists"], ("ListNodesRequest", None)),
            lists_to(found["routes"], routes_wanted),
            lambda: found["shaken"].shake_hands(*DEPLOYED),
            lists_to(found["ours"], ("DiscoveryRequest", None), routes_wanted),
            orders_of(attacker, found["named"], found["routed"]),
        )
        all_handled(wire, honest)
        yield found


@pytest.mark.parametrize("name", VICTIMS)
def test_who_never_said_that_it_listens_gets_what_was_paid_for(
    victims: dict[str, Somebody], name: str
) -> None:
    victim = victims[name]

    assert victim.came > 0, "nothing was tried"
    assert victim.factor <= 3.0, (round(victim.factor, 1), victim.kinds)
    assert victim.came <= 3 * victim.sent + 6 * victim.handshakes, (victim.sent, victim.kinds)
