"""Many pairs of nodes at different servers meet at the same time: all of them, at any seed.

`python -m tests.node.test_pairs_of_servers NODES PAIRS SEEDS` is the same in large.
"""

import asyncio
import random
import sys
import time

import pytest

from p2ptui import Node
from p2ptui.errors import P2PError
from p2ptui.wire.address import format_address
from tests.joined_town import TownBroker
from tests.town import Town
from tests.virtual_loop import run_virtual

WITHIN_S = 15.0


async def meet(nodes: int, pairs: int, seed: int, *, crossed: bool = False) -> list[str]:
    """Why pairs of different servers do not talk; each kind of node is there: some join one server,
    some two, some look for direct paths. When they are crossed both ask for each other, at about
    the same time."""
    rng = random.Random(f"pairs {seed}")
    async with Town(seed) as town:
        broker = TownBroker(town)
        room = {
            "max_connections": 2 * nodes,
            "traffic_forwarding": {"max_concurrent_relays": 4_000},
        }
        servers = [await broker.server(f"server{number}", **room) for number in range(3)]
        all_nodes: list[tuple[Node, set[int]]] = []

        async def start(number: int) -> None:
            kind, home = number // 3 % 3, number % 3
            joined = [home, (home + 1) % 3][: 1 + (kind == 2)]
            node = await town.start(
                f"node{number}",
                (f"10.1.{number // 250}.{1 + number % 250}", 8080),
                join=tuple(format_address(servers[at].address) for at in joined),
                ice={"enable": kind > 0},
            )
            all_nodes.append((node, set(joined)))

        await asyncio.gather(*(start(number) for number in range(nodes)))
        await asyncio.sleep(5)
        chosen: dict[tuple[str, str], tuple[Node, Node]] = {}
        while len(chosen) < pairs:
            (one, at), (other, there) = rng.sample(all_nodes, 2)
            if not at & there:
                chosen[one.id, other.id] = one, other
                if crossed:
                    chosen[other.id, one.id] = other, one

        async def talk(one: Node, other: Node) -> str:
            doing = "connect"
            await asyncio.sleep(rng.uniform(0, 0.2))
            try:
                async with asyncio.timeout(WITHIN_S):
                    await one.connect(other.id, WITHIN_S)
                    doing = "ping"
                    await one.ping(other.id, WITHIN_S)
                    doing = "send"
                    result = await one.send(other.id, "hello", timeout_s=WITHIN_S)
            except (P2PError, TimeoutError) as error:
                kinds = [f"{node.name} {node._config.ice.enable}" for node in (one, other)]
                return f"{kinds} {doing}: {type(error).__name__}: {error}"
            return "" if result.delivered else str(result.reason)

        told = await asyncio.gather(*(talk(*pair) for pair in chosen.values()))
        return [why for why in told if why]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("crossed", [False, True])
def test_all_pairs_talk(seed: int, crossed: bool) -> None:
    assert run_virtual(meet(24, 40, seed, crossed=crossed)) == []


if __name__ == "__main__":
    _nodes, _pairs, _seeds = map(int, sys.argv[1:])
    for _seed in range(_seeds):
        _began = time.process_time()
        _failed = run_virtual(meet(_nodes, _pairs, _seed, crossed=_seed % 2 > 0))
        _took = time.process_time() - _began
        print(f"seed {_seed}: {_pairs - len(_failed)} of {_pairs}, {_took:.0f} s", _failed[:5])
