"""Who has connected is understood at once: a Ping that follows `connect` is answered, though nobody
repeats it. Nothing is lost here; the order changes, and paths are found meanwhile.

`python -m tests.node.test_first_ping SEEDS` is the same in large.
"""

import asyncio
import random
import sys
from typing import Any

import pytest

from p2ptui import Node
from p2ptui.errors import P2PError
from p2ptui.wire.address import format_address
from tests.joined_town import TownBroker
from tests.town import Town
from tests.virtual_loop import run_virtual

NODES = 6
PATIENCE_S = 3.0


async def lost(seed: int) -> tuple[int, list[str]]:
    """How many Pings were sent, and what became of those without an answer. Half of the nodes are
    at each of two servers; all pairs meet, often both asking at about the same time."""
    rng = random.Random(f"first ping {seed}")
    latency_s = rng.choice([0.0001, 0.0005, 0.002, 0.01, 0.03])
    link: dict[str, Any] = {"latency_s": latency_s}
    if rng.random() < 0.5:
        link |= {"jitter_s": rng.choice([latency_s, 0.01]), "reorder": rng.choice([0.0, 0.05])}
    is_crossed, searches = rng.random() < 0.6, rng.random() < 0.7
    spread_s = rng.choice([0.0, 3 * latency_s, 10 * latency_s, 0.1])
    async with Town(seed, **link) as town:
        broker = TownBroker(town, latency_s=rng.choice([0.0001, 0.001, 0.005, 0.03]))
        servers = [await broker.server(f"server{number}") for number in range(2)]
        nodes = [
            await town.start(
                f"node{number}",
                join=(format_address(servers[number % 2].address),),
                ice={"enable": searches},
            )
            for number in range(NODES)
        ]
        await asyncio.sleep(3)

        async def talk(one: Node, other: Node, later_s: float) -> str:
            await asyncio.sleep(later_s)
            try:
                await one.connect(other.id)
                await one.ping(other.id, PATIENCE_S)
            except P2PError as error:
                return f"seed {seed}: {type(error).__name__}: {error}"
            return ""

        talks = []
        for pair in ((a, b) for a in nodes[::2] for b in nodes[1::2]):
            one, other = rng.sample(pair, 2)
            talks.append(talk(one, other, rng.uniform(0, spread_s)))
            if is_crossed:
                talks.append(talk(other, one, rng.uniform(0, spread_s)))
        told = await asyncio.gather(*talks)
        return len(told), [why for why in told if why]


@pytest.mark.parametrize("seed", range(12))
def test_the_first_ping_is_answered(seed: int) -> None:
    assert run_virtual(lost(seed))[1] == []


if __name__ == "__main__":
    _sent = 0
    for _seed in range(int(sys.argv[1])):
        _count, _lost = run_virtual(lost(_seed))
        _sent += _count
        for _why in _lost:
            print(_why)
    print(f"{_sent} Pings")
