"""How often a predicted port is right: `python -m tests.bench.prediction` prints a table.

Simulated allocators; others open flows at random (Poisson). A flow of our own is seen every 5 to 20
ms, eight times, each from the same socket to another server; then, 50 to 200 ms later, the ninth is
to be predicted. The theory is the optimum for an observer who knows the allocator and the rate of
the others, and sees what we see.
"""

import argparse
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from p2ptui.nat.port_memory import Learnt, PortMemory
from p2ptui.nat.prediction import PortPredictor
from tests.bench.usual_guess import constant_step_guess

OBSERVATIONS: Final = 8
VISIT: Final = 80
"""Observations of an earlier visit to the same network, a minute ago, about one second long."""
RATES: Final = (0, 10, 35, 50)
LOW, HIGH = 1024, 65_535

Allocate = Callable[[int, str], int]
"""The next port, for a local port and a destination host."""

Maker = Callable[[random.Random], Allocate]


def stepping(step: int) -> Maker:
    """The next port is one step further, around the range."""

    def make(rng: random.Random) -> Allocate:
        size = HIGH - LOW + 1
        place = rng.randrange(size)

        def allocate(local_port: int, host: str) -> int:
            nonlocal place
            place = (place + step) % size
            return place + LOW

        return allocate

    return make


def in_block(block: int) -> Maker:
    """Any free port of a block that begins at a multiple of its size."""

    def make(rng: random.Random) -> Allocate:
        low = rng.randrange(LOW // block + 1, HIGH // block) * block
        free = list(range(low, low + block))
        rng.shuffle(free)
        return lambda local_port, host: free.pop()

    return make


def preserved(rng: random.Random) -> Allocate:
    """The local port."""
    return lambda local_port, host: local_port


def parity(rng: random.Random) -> Allocate:
    """The next port of the local port's parity."""
    place = rng.randrange(LOW, HIGH - 5000)

    def allocate(local_port: int, host: str) -> int:
        nonlocal place
        place += 1
        place += (place - local_port) % 2
        return place

    return allocate


def random_parity(rng: random.Random) -> Allocate:
    """Any port of the local port's parity."""
    return lambda local_port, host: rng.randrange(LOW + local_port % 2, HIGH + 1, 2)


def hashed(rng: random.Random) -> Allocate:
    """One of 512 ports, computed from the local port and the host."""
    low, salt = rng.randrange(LOW, HIGH - 512), rng.random()

    def allocate(local_port: int, host: str) -> int:
        return low + random.Random(f"{local_port} {host} {salt}").randrange(512)

    return allocate


def anything(rng: random.Random) -> Allocate:
    """Any port."""
    return lambda local_port, host: rng.randrange(LOW, HIGH + 1)


ALLOCATORS: Final[dict[str, Maker]] = {
    "preserved": preserved,
    "step 1": stepping(1),
    "step 1, remembered": stepping(1),
    "step 2": stepping(2),
    "step 256": stepping(256),
    "step 7": stepping(7),
    "parity, step 1": parity,
    "parity, random": random_parity,
    "block 64, random inside": in_block(64),
    "block 512, random inside": in_block(512),
    "hashed, known address": hashed,
    "hashed, new address": hashed,
    "random": anything,
}


@dataclass
class Case:
    """What came before a flow, and what it got."""

    predictor: PortPredictor
    ports: list[int]
    now: float
    use_at: float
    local_port: int
    host: str
    port: int

    def hit(self, k: int) -> tuple[bool, float]:
        """Whether one of k predicted ports is right, and its predicted probability."""
        destination = (self.host, 3478)
        prediction = self.predictor.predict(self.now, self.use_at, self.local_port, destination, k)
        return self.port in prediction.ports, prediction.chance

    def constant_step_hit(self, k: int) -> bool:
        """The same for the usual method."""
        return self.port in constant_step_guess(self.ports, k, LOW, HIGH)


def cases(name: str, rate: float, seed: int) -> Iterator[Case]:
    """An endless series of flows to predict.

    Args:
        name: One of `ALLOCATORS`.
        rate: New flows of others a second.
        seed: The seed of all randomness.
    """
    rng = random.Random(f"{name} {rate} {seed}")
    remembered = None
    if name.endswith("remembered"):
        before = _Side(name, rate, rng, None)
        for number in range(VISIT):
            before.observe(number)
        memory = PortMemory()
        memory.remember("here", before.predictor.learnt(0.0))
        remembered = memory.recall("here", 60.0)
    while True:
        side = _Side(name, rate, rng, remembered)
        for number in range(OBSERVATIONS):
            side.observe(number)
        yield side.case()


class _Side:
    """One side behind a NAT that others use too."""

    def __init__(
        self, name: str, rate: float, rng: random.Random, remembered: Learnt | None
    ) -> None:
        self.predictor = PortPredictor(remembered=remembered)
        self._rng = rng
        self._rate = rate
        self._name = name
        self._allocate = ALLOCATORS[name](rng)
        self._now = 0.0
        self._next_foreign = rng.expovariate(rate) if rate else math.inf
        self._ports: list[int] = []
        self._socket = rng.randrange(32_768, 61_000)

    def observe(self, number: int) -> None:
        """One more flow of ours is seen."""
        self._wait(0.005, 0.020)
        # Hashing NATs see few hosts, so that a new flow can go to a known one.
        host = f"192.0.2.{number % 4 if self._name.startswith('hashed') else number}"
        port = self._allocate(self._socket, host)
        self.predictor.observe(self._now, self._socket, (host, 3478 + number), port)
        self._ports.append(port)

    def case(self) -> Case:
        """The flow that is to be predicted."""
        seen_at = self._now
        self._wait(0.050, 0.200)
        host = "192.0.2.1" if self._name == "hashed, known address" else "203.0.113.1"
        port = self._allocate(self._socket, host)
        return Case(self.predictor, self._ports, seen_at, self._now, self._socket, host, port)

    def _wait(self, least_s: float, most_s: float) -> None:
        rng = self._rng
        self._now += rng.uniform(least_s, most_s)
        while self._next_foreign < self._now:
            self._allocate(rng.randrange(32_768, 61_000), "198.51.100.1")
            self._next_foreign += rng.expovariate(self._rate)
        # If the port depends on the local one, sockets differ; otherwise there is one.
        if self._name == "preserved" or self._name.startswith("parity"):
            self._socket = rng.randrange(32_768, 61_000)


def optimum(name: str, rate: float, k: int) -> float:
    """The hit rate of an observer who knows the allocator and the rate."""
    match name.split(","):
        case ["preserved"] | ["hashed", " known address"]:
            return 1.0
        case ["random"] | ["parity", " random"]:
            return k / (HIGH - LOW + 1) * (2 if "parity" in name else 1)
        case ["hashed", _]:
            return k / 512
        case [block, " random inside"]:
            return k / (int(block.split()[1]) - OBSERVATIONS)
        case ["parity", _]:
            return _over_time(lambda mean: _best_parity(mean, k), rate)
        case _:
            return _over_time(lambda mean: sum(_best(_poisson(mean), k)), rate)


def _over_time(hits: Callable[[float], float], rate: float) -> float:
    steps = 60
    return sum(hits(rate * (0.05 + 0.15 * (i + 0.5) / steps)) for i in range(steps)) / steps


def _poisson(mean: float) -> list[float]:
    return [
        math.exp(-mean + n * math.log(mean) - math.lgamma(n + 1)) if mean else float(n == 0)
        for n in range(80)
    ]


def _best(chances: list[float], k: int) -> list[float]:
    return sorted(chances, reverse=True)[:k]


def _best_parity(mean: float, k: int) -> float:
    """Each of the others' flows takes one port or two, and so does ours."""
    total = 0.0
    # Half of our sockets differ in parity from the last one; how far the pointer went still does
    # not show the number of others.
    ports = [0.0] * 200
    for others, chance in enumerate(_poisson(mean)):
        spread = [1.0]
        for _ in range(others):
            spread = [
                (spread[i - 1] if 0 < i <= len(spread) else 0.0) / 2
                + (spread[i - 2] if 1 < i <= len(spread) + 1 else 0.0) / 2
                for i in range(len(spread) + 2)
            ]
        for ahead, part in enumerate(spread[:200]):
            ports[ahead] += chance * part
    for odd in (0, 1):
        ending = [0.0] * 202
        for ahead, chance in enumerate(ports):
            ending[ahead + 1 + (ahead + 1 + odd) % 2] += chance
        total += sum(_best(ending, k)) / 2
    return total


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.prediction", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="of each cell (1000)")
    parser.add_argument("--seed", type=int, default=1, help="of all randomness (1)")
    options = parser.parse_args()
    print(f"Hits in % of {options.runs} runs: predicted / constant step / theory.\n")
    tables = {k: [[name] for name in ALLOCATORS] for k in (1, 10)}
    for row, name in enumerate(ALLOCATORS):
        for rate in RATES:
            cells = _cells(name, rate, options.runs, options.seed)
            for k, table in tables.items():
                table[row].append(cells[k])
    for k, table in tables.items():
        titles = [f"k = {k}, {rate}/s" for rate in RATES]
        print(f"| allocator | {' | '.join(titles)} |\n| --- |{' ---: |' * len(titles)}")
        for cells_of_row in table:
            print(f"| {' | '.join(cells_of_row)} |")
        print()
    _print_calibration(options.runs, options.seed)
    _print_speed(options.seed)


def _cells(name: str, rate: float, runs: int, seed: int) -> dict[int, str]:
    hits = {1: [0, 0], 10: [0, 0]}
    for _, case in zip(range(runs), cases(name, rate, seed), strict=False):
        for k in hits:
            hits[k][0] += case.hit(k)[0]
            hits[k][1] += case.constant_step_hit(k)
    return {
        k: " / ".join(
            f"{100 * figure:.1f}" for figure in (ours / runs, usual / runs, optimum(name, rate, k))
        )
        for k, (ours, usual) in hits.items()
    }


def _print_calibration(runs: int, seed: int) -> None:
    bins: list[list[tuple[bool, float]]] = [[] for _ in range(10)]
    for name in ALLOCATORS:
        for rate in RATES:
            for _, case in zip(range(runs // 4), cases(name, rate, seed + 1), strict=False):
                for k in (1, 3, 10):
                    hit, chance = case.hit(k)
                    bins[min(9, int(chance * 10))].append((hit, chance))
    print("| said | hit | predictions |\n| ---: | ---: | ---: |")
    for entries in filter(None, bins):
        said = 100 * sum(chance for _, chance in entries) / len(entries)
        right = 100 * sum(hit for hit, _ in entries) / len(entries)
        print(f"| {said:.1f} % | {right:.1f} % | {len(entries):,} |")
    print()


def _print_speed(seed: int) -> None:
    print("| one observation and one prediction | ms |\n| --- | ---: |")
    for name in ("step 1", "block 512, random inside", "random"):
        case = next(cases(name, 35, seed))
        rng = random.Random(seed)
        allocate, at, rounds = ALLOCATORS[name](rng), case.use_at, 200
        began = time.process_time()
        for number in range(rounds):
            at += 0.01
            port = allocate(case.local_port, "")
            case.predictor.observe(at, case.local_port, ("192.0.2.9", number), port)
            case.predictor.predict(at, at + 0.1, case.local_port, ("203.0.113.1", 1))
        print(f"| {name} | {1000 * (time.process_time() - began) / rounds:.2f} |")


if __name__ == "__main__":
    main()
