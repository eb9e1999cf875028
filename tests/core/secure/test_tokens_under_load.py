"""Only a token is repeated to who asks for one, and one token pays for few exchanges."""

import json

import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.secure.exchange import Responder
from p2ptui.secure.retry import ASK_ABOVE_PER_S, EACH_PER_S
from tests.core.secure.test_flood_of_requests import flood, forged, request_of
from tests.core.secure.wiretap import Seen, Wiretap
from tests.simulation import Host, World

TOKENS = {
    "short": "A" * 21,
    "long": "A" * 23,
    "huge": "A" * 30_000,
    "empty": "",
    "no base64url": "A" * 21 + "=",
    "not ASCII": "\u00e4" * 22,
    "with a line": "A" * 21 + "\n",
}


def retries(text: str, ask_for: str) -> str:
    return json.dumps(
        {
            "id": "11111111-1111-4111-8111-111111111111",
            "message_type": "HandshakeResponse",
            "timestamp": 1,
            "payload": {"success": False, "error_message": "x", "retry": text},
            "sequence_number": None,
            "requires_ack": False,
            "ack_for": ask_for,
        }
    )


def inject_retries(world: World, tap: Wiretap, one: Host, other: Host, text: str) -> None:
    def answer(seen: Seen) -> bytes:
        if b'"HandshakeRequest"' in seen.data:
            ask_for = json.loads(seen.data)["id"]
            tap.inject(retries(text, ask_for).encode(), other.address, one)
        return seen.data

    tap.rules.append(answer)


@pytest.mark.parametrize("text", TOKENS.values(), ids=TOKENS)
def test_what_is_no_token_is_dropped_and_not_repeated(text: str) -> None:
    world = World(secured=True)
    tap = Wiretap(world)
    one, other = world.host(), world.host()
    inject_retries(world, tap, one, other, text)
    assert isinstance(one.outcome(one.connect(other)), ConnectResult)
    sent = [seen.data for seen in tap.between(one, other)]
    assert not any(b'"retry"' in data for data in sent)
    assert max(map(len, sent)) < 1200
    assert one.endpoint.counters.drops["malformed"]


def test_what_looks_like_a_token_is_repeated() -> None:
    """Guards what held before: whose token it is only its maker knows."""
    world = World(secured=True)
    tap = Wiretap(world)
    one, other = world.host(), world.host()
    inject_retries(world, tap, one, other, "A" * 22)
    assert isinstance(one.outcome(one.connect(other)), ConnectResult)
    assert any(b'"retry":"' + b"A" * 22 in seen.data for seen in tap.between(one, other))


def test_one_token_pays_for_few_exchanges(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = 0
    usual = Responder.answer

    def counting(self: Responder, *args: object, **how: object) -> str:
        nonlocal begun
        begun += 1
        return usual(self, *args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Responder, "answer", counting)
    world = World(secured=True)
    tap = Wiretap(world)
    server, client, honest = world.host(), world.host(), world.host()
    source = forged(request_of(world, tap, server))
    flood(world, tap, server, source, 0.2)
    with_token: list[bytes] = []

    def hold(seen: Seen) -> bytes | None:
        if seen.source == client.address and b'"retry"' in seen.data:
            with_token.append(seen.data)
            return None
        return seen.data

    tap.rules.append(hold)
    client.connect(server)
    flood(world, tap, server, source, 0.2)
    request = with_token[0]
    start = request.index(b'"id":"') + 6
    before, seconds = begun, 2
    for number in range(50 * seconds):
        for each in range(7):
            name = b"%08x" % (7 * number + each)
            tap.inject(request[:start] + name + request[start + 8 :], client.address, server)
        flood(world, tap, server, source, 0.02)
    drops = server.endpoint.counters.drops
    assert begun - before <= EACH_PER_S * (seconds + 1)
    assert drops["exchange_rate"] >= 50 * seconds * 7 - EACH_PER_S * (seconds + 2)
    assert drops["exchange_postponed"] > ASK_ABOVE_PER_S
    # Somebody else has a share of its own.
    token = honest.connect(server)
    flood(world, tap, server, source, 0.3)
    assert isinstance(honest.outcome(token, within=0.5), ConnectResult)
