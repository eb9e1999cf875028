"""Two hours of the deployed-client day, and the proof that it would notice what it looks for."""

from typing import Any

import pytest

from p2ptui.core.mesh import routing
from p2ptui.core.peers import Peer
from p2ptui.core.relay.requests import Relay
from p2ptui.core.sessions import greetings, liveness
from tests.deployed_day import BrokenError, Day

CLIENTS = 20
NODES = 5


@pytest.mark.parametrize("seed", [1, 2])
def test_two_hours_of_deployed_clients(seed: int) -> None:
    day = Day(seed, CLIENTS, NODES)
    day.run(hours=2)

    account = day.account
    assert len(account.told_delivered) > 300
    assert len(account.told_relayed) > 30
    assert account.echoes > 200
    assert len(account.routed) > 100
    assert day.expired["mute and idle"] > 3
    assert 1 < day.server.worst_ratio <= 3


def believed_source(_origin: Any, routed: Any) -> str | None:
    return routing.canonical_id(routed.source_node)


def is_always_relayed(*_: Any) -> bool:
    return True


def has_always_room(_peer: Peer, _size: int) -> bool:
    return True


@pytest.mark.parametrize(
    ("target", "name", "value", "hours", "complaint"),
    [
        (Peer, "has_room", has_always_room, 0.5, "too much before a proof"),
        (Relay, "carry", is_always_relayed, 0.5, "told relayed and not left"),
        (greetings, "_NETWORK_KEY", "network", 0.1, "clients of version 0.2.0 gave up"),
        (routing, "_source", believed_source, 0.5, "routed messages arrived"),
    ],
    ids=["amplification", "relay", "network id", "source"],
)
def test_the_day_notices(
    monkeypatch: pytest.MonkeyPatch,
    target: Any,
    name: str,
    value: Any,
    hours: float,
    complaint: str,
) -> None:
    monkeypatch.setattr(target, name, value)
    with pytest.raises(BrokenError, match=complaint):
        Day(3, CLIENTS, NODES).run(hours)


def test_the_day_notices_who_is_dropped_after_few_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "UNANSWERED_SHARE", 1.2)
    monkeypatch.setattr(liveness, "LAST_CHANCE_PINGS", 0.5)
    with pytest.raises(BrokenError, match="dropped: "):
        Day(3, CLIENTS, NODES).run(1)
