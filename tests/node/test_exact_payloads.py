"""Through each door of a node: what is accepted arrives as it is, all else is named at home."""

import asyncio
import datetime
from typing import Any

import pytest

from p2ptui.core.events import DataReceived
from p2ptui.errors import LocalError
from p2ptui.wire.exact import GREATEST_INTEGER, LEAST_INTEGER
from tests.town import Town, next_of
from tests.virtual_loop import run_virtual

FAULTS: list[tuple[Any, str]] = [
    (b"x", r"payload is a bytes; JSON has no such type: send its base64 text"),
    ({1: 2}, r"payload has the key 1, an int; keys of JSON are str"),
    ({"a": {1}}, r'payload\["a"\] is a set'),
    (
        {"a": [0, 1, 2, datetime.datetime(2026, 1, 1)]},
        r'payload\["a"\]\[3\] is a datetime; JSON has no such type: send its isoformat\(\)',
    ),
    ((1, 2), "payload is a tuple; JSON has no such type: send it as list"),
    ([2**64], r"payload\[0\] is an integer beyond 64 bits"),
    ({"a": float("inf")}, r'payload\["a"\] is a float: inf has no JSON form'),
    ({"original_message": "hello"}, 'payload has the key "original_message"'),
]

EXACT: list[Any] = [
    None,
    True,
    0,
    LEAST_INTEGER,
    GREATEST_INTEGER,
    -0.0,
    1.0,
    5e-324,
    "null",
    "",
    [],
    {},
    {"": [{"a": None, "b": [False, 1, 1.0, "1"]}]},
    {"original": {"original_message": "within something else it means nothing"}},
]


@pytest.mark.parametrize(("payload", "says"), FAULTS, ids=lambda value: repr(value)[:30])
def test_a_payload_that_would_arrive_as_something_else_does_not_leave(
    payload: Any, says: str
) -> None:
    async def story() -> None:
        async with Town() as town:
            server, alice, bob = await town.trio()
            await asyncio.sleep(5)
            before = town.network.counters().sent
            with pytest.raises(LocalError, match=says):
                await alice.send(server.id, payload)
            with pytest.raises(LocalError, match=says):
                await alice.send(server.id, payload, reliable=False)
            with pytest.raises(LocalError, match=says):
                await alice.send_routed(bob.id, payload)
            assert town.network.counters().sent == before

    run_virtual(story())


def test_what_json_carries_arrives_equal_and_of_equal_types() -> None:
    async def story() -> None:
        async with Town() as town:
            server, alice, bob = await town.trio()
            at_server, at_bob = server.events(), bob.events()
            for payload in EXACT:
                assert (await alice.send(server.id, payload)).delivered
                assert (await alice.send_routed(bob.id, payload)).delivered
                for events in (at_server, at_bob):
                    arrived = (await next_of(events, DataReceived)).payload
                    assert (repr(arrived), arrived) == (repr(payload), payload)

    run_virtual(story())


@pytest.mark.parametrize("data", ["text", [1, 2], None, 5], ids=repr)
def test_only_bytes_are_relayed(data: Any) -> None:
    async def story() -> None:
        async with Town() as town:
            server, alice, bob = await town.trio(allow_symmetric_nat_relay=True)
            with pytest.raises(LocalError, match="send bytes"):
                await alice.relay(server.id, bob.id, data)

    run_virtual(story())
