"""Between secured nodes nothing of what somebody on the path sends is taken, and it is noticed."""

from collections.abc import Callable
from typing import Any

import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.core.secure.clear import Clear
from p2ptui.core.secure.opening import Opening
from p2ptui.secure.noise.primitives import nonce_of
from p2ptui.secure.replay import ReplayWindow
from p2ptui.secure.transport import Transport
from tests.attacks.middle_sealed import Siege
from tests.core.secure.test_secured_nodes import peer_of
from tests.core.secure.wiretap import Seen, Wiretap, two_secured
from tests.simulation import Host, World

SEEDS = range(8)
DATAGRAMS = 800


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_of_his_is_taken(seed: int) -> None:
    outcome = Siege(seed).run(DATAGRAMS)

    assert outcome.thrown.total() >= DATAGRAMS
    assert {"seal_replayed", "seal_altered", "unsealed"} <= outcome.drops.keys()


def test_he_does_all_that_he_can_while_they_do_all_that_they_do() -> None:
    outcomes = [Siege(seed).run(200) for seed in (1, 2)]
    thrown = outcomes[0].thrown + outcomes[1].thrown
    did = outcomes[0].did + outcomes[1].did

    assert {"again", "cut", "longer", "bits", "first byte", "number", "counter"} <= thrown.keys()
    assert {"tail", "turned", "unknown", "last", "handshake", "in clear"} <= thrown.keys()
    assert did.keys() == {"_talk_some", "_move", "_rekey", "_leave", "_restart"}


def test_a_story_is_always_the_same() -> None:
    assert [Siege(3).run(100) for _ in range(2)] in ([one, one] for one in [Siege(3).run(100)])


# Whoever takes what he must not is noticed.


@pytest.fixture
def replace(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    return lambda owner, name, value: monkeypatch.setattr(owner, name, value)


def besieged() -> str:
    try:
        for seed in (1, 2):
            Siege(seed).run(600)
    except AssertionError as error:
        return str(error)
    return ""


def test_a_window_that_forgets_is_noticed(replace: Callable[..., None]) -> None:
    replace(ReplayWindow, "check", lambda *_: True)

    assert "changed by" in besieged()


def test_a_node_that_opens_what_is_altered_is_noticed(replace: Callable[..., None]) -> None:
    def open_all(transport: Transport, frame: bytes) -> bytes:
        transport.opened += 1
        return nonce_of(0)

    replace(Transport, "open", open_all)

    assert besieged()


def test_a_node_that_listens_in_the_clear_is_noticed(replace: Callable[..., None]) -> None:
    takes = Clear.takes

    def takes_handshakes(clear: Clear, *args: Any, **how: Any) -> bool:
        is_handshake = args[2].message_type.startswith("Handshake")
        return is_handshake and takes(clear, *args, **how)

    replace(Clear, "takes", takes_handshakes)

    assert "changed by" in besieged()


def test_an_answer_to_what_is_no_frame_is_noticed(replace: Callable[..., None]) -> None:
    def tell_all(opening: Opening, data: bytes, number: int, address: object, now: float) -> None:
        gate = opening._state.gate
        gate.refuse(b"\xe2" + data[1:] + data, address, gate.earned_by(9999, address), now)

    replace(Opening, "_tell_unknown", tell_all)

    assert "an answer of" in besieged()


# Somebody on the path who has keys of his own.


def disguise(tap: Wiretap, mallory: Host, one: Host, other: Host) -> None:
    """From now on what mallory says to the other is said at one's address, and he reads what is
    sent there."""

    def rule(seen: Seen) -> bytes | None:
        if seen.source == mallory.address:
            tap.inject(seen.data, one.address, other)
            return None
        if (seen.source, seen.to) == (other.address, one.address):
            tap.inject(seen.data, other.address, mallory)
        return seen.data

    tap.rules.append(rule)


@pytest.mark.parametrize("who", [0, 1], ids=["who asked", "who answered"])
def test_another_one_at_a_peers_address_does_not_end_its_session(who: int) -> None:
    world = World()
    tap = Wiretap(world)
    hosts = two_secured(world)
    one, other = hosts[who], hosts[1 - who]
    mallory = world.host(keys=world.keys())
    peer = peer_of(other, one)
    disguise(tap, mallory, one, other)
    tokens = []
    for number in range(40):
        if number % 8 == 0:
            mallory.connect(other, timeout_s=3)
        tokens.append((one, one.send(other, number)))
        tokens.append((other, other.endpoint.send(peer, number, world.now)))
        other.settle()
        world.run_for(0.25)
    for host, token in tokens:
        assert host.outcome(token).delivered
    assert peer_of(other, one) is peer
    assert peer.is_authenticated
    assert one.received() == other.received() == list(range(40))


def test_who_comes_to_an_address_after_another_one_has_gone_is_let_in_at_once() -> None:
    """As a program with new keys each time that is run twice at the same port, and killed once."""
    world = World()
    one, other = two_secured(world)
    world.remove(one)
    world.seed += 1  # another process draws other random numbers
    again = world.host(one.address, keys=world.keys())
    began = world.now
    token = again.connect(other)
    assert isinstance(again.outcome(token), ConnectResult)
    assert again.outcome(again.send(other, "hello")).delivered
    assert world.now - began < 3.0
    assert other.received() == ["hello"]
