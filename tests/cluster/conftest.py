"""Brokers of their own for tests, and buses that end with them."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import Broker
from members import Member

from p2ptui.config import ClusterOptions


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    brokers: list[Broker] = []

    def make(config: str = "", **options: Any) -> Broker:
        folder = tmp_path / f"broker{len(brokers)}"
        folder.mkdir()
        brokers.append(Broker(folder, config, **options))
        return brokers[-1]

    yield make
    for broker in brokers:
        broker.kill()


@pytest.fixture
def broker(make_broker: Callable[..., Broker]) -> Broker:
    return make_broker().start()


@pytest.fixture
async def join() -> AsyncIterator[Callable[..., Member]]:
    members: list[Member] = []

    def make(url: str, own_id: str = "a", network_id: str = "net", **options: Any) -> Member:
        chosen = ClusterOptions(servers=(url,), **{"max_nodes": 1000, **options})
        members.append(Member(chosen, network_id, own_id))
        return members[-1]

    yield make
    for member in members:
        await member.close()
