"""Ten thousand requests a second with a key exchange, from forged sources: none costs a key."""

from collections.abc import Iterator

import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.secure.exchange import Responder
from p2ptui.secure.noise import KeyPair
from p2ptui.secure.retry import ASK_ABOVE_PER_S
from p2ptui.wire.address import Address
from tests.core.secure.test_secured_nodes import peer_of
from tests.core.secure.wiretap import Wiretap
from tests.simulation import Host, World

PER_S = 10_000
SLICES_PER_S = 50


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each use of a private key, and each answer that was begun, by anybody in this world."""
    counted: list[str] = []
    for owner, name in ((KeyPair, "dh"), (Responder, "answer")):
        usual = getattr(owner, name)

        def counting(self, *args, _usual=usual, _name=name, **how):
            counted.append(_name)
            return _usual(self, *args, **how)

        monkeypatch.setattr(owner, name, counting)
    return counted


def forged(request: bytes) -> Iterator[tuple[bytes, Address]]:
    """Requests that differ in their id, each from another source."""
    start = request.index(b'"id":"') + 6
    number = 0
    while True:
        number += 1
        data = request[:start] + b"%08x" % number + request[start + 8 :]
        yield (
            data,
            (f"198.{18 + number % 2}.{number // 250 % 250}.{number % 250}", 1024 + number % 60000),
        )


def request_of(world: World, tap: Wiretap, server: Host) -> bytes:
    decoy = world.host()
    decoy.connect(server)
    world.run_for(1)
    return next(seen.data for seen in tap.seen if seen.to == server.address)


def flood(world: World, tap: Wiretap, server: Host, source: Iterator, seconds: float) -> None:
    for _ in range(round(seconds * SLICES_PER_S)):
        for _ in range(PER_S // SLICES_PER_S):
            data, address = next(source)
            tap.inject(data, address, server)
        world.run_for(1 / SLICES_PER_S)


@pytest.mark.parametrize("key", ["", "network key"])
def test_a_flood_uses_no_key_and_who_is_there_comes_in(used: list[str], key: str) -> None:
    world = World(secured=True)
    tap = Wiretap(world)
    server, client = world.host(), world.host()
    source = forged(request_of(world, tap, server))
    tap.seen.clear()
    drops = server.endpoint.counters.drops
    flood(world, tap, server, source, 0.2)  # what is answered at once, and no more
    assert used.count("answer") <= 2 * ASK_ABOVE_PER_S
    before = len(used)
    flood(world, tap, server, source, 0.6)
    assert len(used) == before
    token = client.connect(server)
    flood(world, tap, server, source, 0.4)
    assert isinstance(client.outcome(token, within=0.1), ConnectResult)
    assert used[before:].count("answer") == 1, "that of who is there"
    assert peer_of(server, client).is_secured
    assert drops["exchange_postponed"] >= PER_S - 2 * ASK_ABOVE_PER_S
    assert client.outcome(client.send(server, "hello")).delivered
    # Each forged source is sent less than it has sent, and nobody of them takes a place.
    assert [peer.node_id for peer in server.endpoint.peers if peer.is_secured] == [
        peer.node_id for peer in server.endpoint.peers if peer.is_authenticated
    ]
    for seen in tap.seen:
        if seen.source == server.address and seen.to[0].startswith("198."):
            assert len(seen.data) <= 3 * 1200


def test_a_second_after_the_flood_nobody_is_asked_for_a_token(used: list[str]) -> None:
    world = World(secured=True)
    tap = Wiretap(world)
    server, client = world.host(), world.host()
    source = forged(request_of(world, tap, server))
    flood(world, tap, server, source, 0.5)
    world.run_for(2)
    tap.seen.clear()
    assert isinstance(client.outcome(client.connect(server)), ConnectResult)
    assert not any(b'"retry"' in seen.data for seen in tap.seen)


def test_a_token_of_another_address_or_exchange_is_worth_nothing(used: list[str]) -> None:
    world = World(secured=True)
    tap = Wiretap(world)
    server, client, thief = world.host(), world.host(), world.host()
    source = forged(request_of(world, tap, server))
    flood(world, tap, server, source, 0.2)
    client.outcome(client.connect(server))
    (bought,) = {seen.data for seen in tap.between(client, server) if b'"retry"' in seen.data}
    before = used.count("answer")
    start = bought.index(b'"id":"') + 6
    for number in range(200):
        again = bought[:start] + b"%08x" % number + bought[start + 8 :]
        tap.inject(again, (thief.address[0], 3000 + number), server)
    world.run_for(0.01)
    assert used.count("answer") == before
