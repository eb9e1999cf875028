"""What a handshake costs in the core alone, step by step: `python -m tests.bench.shaking`.

Newcomers ask one after the other, are answered, and answer what requires it: bytes in, bytes out,
without a socket or an event loop, in batches as the pump hands them over. Each figure is that of
the quickest of many batches, since other load on the machine only adds to it; those of the growth
are sums of all, including garbage collection. `--profile` shows where the time goes.
"""

import argparse
import cProfile
import json
import pstats
import random
import time
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

from p2ptui.config import Config
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.identity import own_node_info
from p2ptui.io.loop import _garbage_collected_seldom
from p2ptui.wire.address import Address
from tests.bench.crowd import OWN, PLAIN, handshake_request, host_of, uuid_of
from tests.bench.load import message

BATCH: Final = 32
"""Handshakes in flight, as in the whole program's row."""

PEERS: Final = 10_000
PROFILED: Final = 120
"""Functions that a profile shows."""

STEP_BATCHES: Final = 200
"""Batches of which the quickest counts."""

PACE_S: Final = 0.003
"""The time between two batches, by the clock of the core."""

LATER_MS: Final = 3_600_000
"""When news of newcomers is sent."""

KINDS: Final = {"plain": PLAIN, "own": OWN}

STEPS: Final = "request", "answers", "due"
"""The request comes in; messages that require an answer get one; due timers run."""


class Shaking:
    """A core that newcomers join.

    Args:
        kind: What they are, as in `crowded`.
    """

    def __init__(self, kind: str) -> None:
        self._capabilities = KINDS[kind]
        config = Config().with_options(
            max_connections=PEERS + 100,
            enable_discovery=False,
            peerlist_broadcast_debounce_ms=LATER_MS,
            peerlist_broadcast_max_wait_ms=LATER_MS,
            unvouched_bytes_per_minute=10**9,
        )
        own = own_node_info(uuid_of(0xC, 1), "bench", "0", "10.0.0.1:8080", "p2p_default")
        self.endpoint = Endpoint(config, own, random.Random(1))
        self.now = 1000.0
        self._numbers = count()
        self._ids = count(1)
        self.left: dict[str, int] = {}
        """The number of datagrams sent, by type."""

    def requests(self) -> list[tuple[bytes, Address]]:
        """The requests of the next batch."""
        numbers = [next(self._numbers) for _ in range(BATCH)]
        return [(handshake_request(n, self._capabilities), (host_of(n), 40_000)) for n in numbers]

    def answers(self, datagrams: list[tuple[bytes, Address]]) -> Iterator[tuple[bytes, Address]]:
        """What well-behaved peers return."""
        for data, address in datagrams:
            said = json.loads(data)
            kind = said["message_type"]
            self.left[kind] = self.left.get(kind, 0) + 1
            if kind == "HandshakeResponse":
                assert said["payload"]["success"]
            if kind == "Ping":
                yield self._message("Pong", said["payload"]), address
            elif said["requires_ack"]:
                yield self._message("Ack", None, ack_for=said["sequence_number"]), address

    def _message(self, kind: str, payload: Any, **fields: Any) -> bytes:
        return message(kind, payload, uuid_of(0xD, next(self._ids)), **fields).encode()

    def take(self, datagrams: list[tuple[bytes, Address]]) -> list[tuple[bytes, Address]]:
        """Hand datagrams over; returns what is sent in response."""
        endpoint, now = self.endpoint, self.now
        for data, address in datagrams:
            endpoint.receive_datagram(data, address, now)
        out = endpoint.datagrams_to_send(now)
        while endpoint.next_event() is not None:
            pass
        return out

    def batch(self) -> dict[str, float]:
        """One batch from its requests to the last answer: microseconds per newcomer, by step."""
        took = dict.fromkeys(STEPS, 0.0)
        came, step = self.requests(), "request"
        while came:
            began = time.process_time()
            out = self.take(came)
            took[step] += time.process_time() - began
            came, step = list(self.answers(out)), "answers"
        self.now += PACE_S
        began = time.process_time()
        due = self.endpoint.next_timeout()
        if due is not None and due <= self.now:
            self.endpoint.handle_timeout(self.now)
        out = self.take([])
        took["due"] += time.process_time() - began
        came = list(self.answers(out))
        began = time.process_time()
        out = self.take(came)
        took["due"] += time.process_time() - began
        return {step: each / BATCH * 1e6 for step, each in took.items()}


def measure(kind: str) -> tuple[dict[str, float], list[float], dict[str, float]]:
    """Ten thousand handshakes of one kind.

    Returns:
        Microseconds of each step, in the quickest batch; of all steps, on average over each tenth;
        and how many datagrams of each type were sent per newcomer.
    """
    shaking = Shaking(kind)
    rounds = PEERS // BATCH
    with _garbage_collected_seldom():  # as in the program
        batches = [shaking.batch() for _ in range(rounds)]
    assert len(shaking.endpoint.peers) == rounds * BATCH
    least = {step: min(each[step] for each in batches) for step in STEPS}
    least["due"] = sum(each["due"] for each in batches) / rounds
    least["all"] = min(each["request"] + each["answers"] for each in batches)
    wholes = [sum(each.values()) for each in batches]
    size = rounds // 10
    tenths = [sum(wholes[at : at + size]) / size for at in range(0, size * 10, size)]
    left = {name: number / (rounds * BATCH) for name, number in shaking.left.items()}
    return least, tenths, left


class Stopwatch:
    """Times of parts that call each other: for each its own, without the parts that it calls."""

    def __init__(self) -> None:
        self.took: dict[str, float] = {}
        self._began: list[float] = []
        self._at = ""

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Count a method of an object as a part from now on."""
        call = getattr(owner, name)

        def timed(*args: Any, **named: Any) -> Any:
            before = self._switch(part)
            try:
                return call(*args, **named)
            finally:
                self._switch(before)

        setattr(owner, name, timed)

    def _switch(self, part: str) -> str:
        now = time.perf_counter()
        before, self._at = self._at, part
        if self._began:
            self.took[before] = self.took.get(before, 0.0) + now - self._began.pop()
        self._began.append(time.perf_counter())
        return before


def steps(kind: str) -> dict[str, float]:
    """Microseconds of each part of a handshake, in the quickest batch, including reading the clock
    before and after each."""
    shaking = Shaking(kind)
    endpoint: Any = shaking.endpoint
    watch = Stopwatch()
    responder, lifecycle = endpoint._responder, endpoint._lifecycle
    delivery, arrivals = endpoint._delivery, endpoint._dispatch._arrivals
    for owner, name, part in (
        (shaking, "take", "the rest: calls, checks, counters"),
        (arrivals._admission, "admits", "the host's limits"),
        (responder._requests, "read", "sender and room"),
        (lifecycle, "open", "creating the peer"),
        (lifecycle, "describe", "noting its capabilities"),
        (responder._answers, "accept", "writing the answer"),
        (responder, "_transmit_response", "paying for and sending it"),
        (delivery, "acknowledge", "the Ack of the request"),
        (lifecycle, "authenticate", "telling other parts and peers"),
        (lifecycle, "set_status", "the event"),
        (endpoint._discovery, "push", "the first page of the list"),
        (endpoint._discovery, "_note_joined", "noted as news"),
        (endpoint._liveness, "_spread", "planning its first heartbeat"),
        (arrivals._inbox, "receive", "handling its Acks"),
    ):
        watch.watch(owner, name, part)
    least: dict[str, float] = {}
    for _ in range(STEP_BATCHES):
        watch.took.clear()
        shaking.batch()
        for part, took in watch.took.items():
            if part:
                least[part] = min(least.get(part, took), took)
    return {part: took / BATCH * 1e6 for part, took in least.items()}


def profile(kind: str, rounds: int = 100) -> None:
    """Show where the time goes: the share of each function including callees, its own share, and
    its calls per newcomer."""
    shaking = Shaking(kind)
    for _ in range(10):
        shaking.batch()
    profiler = cProfile.Profile()
    with _garbage_collected_seldom():
        for _ in range(rounds):
            came = shaking.requests()
            while came:
                profiler.enable()
                out = shaking.take(came)
                profiler.disable()
                came = list(shaking.answers(out))
            shaking.now += PACE_S
    stats: Any = pstats.Stats(profiler)
    newcomers, whole = rounds * BATCH, stats.total_tt
    print(f"{kind}: {stats.total_calls / newcomers:.0f} calls for each newcomer")
    rows = [
        (each[3] / whole, each[2] / whole, each[1] / newcomers, where)
        for where, each in stats.stats.items()
    ]
    for all_of_it, own, calls, (file, line, name) in sorted(rows, reverse=True)[:PROFILED]:
        place = f"{file.rpartition('p2ptui/')[2]}:{line}"
        print(f"{all_of_it:6.1%} {own:6.1%} {calls:6.1f}  {place} {name}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.shaking", description=__doc__)
    parser.add_argument("--only", choices=KINDS, help="newcomers of one kind")
    parser.add_argument("--profile", action="store_true", help="where the time goes")
    parser.add_argument("--steps", action="store_true", help="what each part takes")
    options = parser.parse_args()
    for kind in KINDS if options.only is None else (options.only,):
        if options.profile:
            profile(kind)
            continue
        if options.steps:
            for part, each in steps(kind).items():
                print(f"| {part} | {each:.1f} |")
            continue
        least, tenths, left = measure(kind)
        print(f"{kind}: " + ", ".join(f"{step} {took:.1f} us" for step, took in least.items()))
        print("  tenths, with all: " + " ".join(f"{each:.1f}" for each in tenths))
        print("  left: " + ", ".join(f"{name} {number:.2f}" for name, number in left.items()))


if __name__ == "__main__":
    main()
