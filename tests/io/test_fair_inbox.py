"""Each source has a share of the time, and loses its own datagrams when it is over that."""

import random
import sys
from collections import Counter

from p2ptui.io.fair_inbox import (
    MAX_PROVED_BYTES,
    MAX_SOURCE_BYTES,
    MAX_SOURCE_DATAGRAMS,
    MAX_UNPROVED_BYTES,
    MOST_COST_S,
    OVERHEAD_BYTES,
    QUANTUM_S,
    FairInbox,
    Standing,
)
from p2ptui.wire.address import Address

LOUD: Address = ("192.0.2.1", 1)
QUIET: Address = ("192.0.2.2", 2)


class Bench:
    """An inbox that knows some peers, and what it gave out and lost."""

    def __init__(self, peers: dict[Address, Standing]) -> None:
        self.drops: Counter[str] = Counter()
        self.inbox = FairInbox(
            lambda address: (peers[address], address) if address in peers else None,
            lambda cause: self.drops.update([cause]),
            random.Random(7),
        )

    def put(self, address: Address, count: int, size: int = 100) -> None:
        self.inbox.put([(b"%06d" % number + bytes(size - 6), address) for number in range(count)])

    def serve(self, cost_s: dict[Address, float], within_s: float) -> Counter[Address]:
        """Serve for a time; how many of each."""
        served: Counter[Address] = Counter()
        spent = 0.0
        while spent < within_s and (found := self.inbox.next()) is not None:
            cost = cost_s.get(found[1], QUANTUM_S / 10)
            self.inbox.spend(cost)
            spent += cost
            served[found[1]] += 1
        return served


def test_who_sends_little_waits_for_nobody():
    bench = Bench({LOUD: Standing.PROVED, QUIET: Standing.PROVED})
    bench.put(LOUD, 1000)
    bench.put(QUIET, 3)
    assert bench.serve({}, 2 * QUANTUM_S)[QUIET] == 3


def test_shares_are_of_time_and_not_of_datagrams():
    bench = Bench({LOUD: Standing.PROVED, QUIET: Standing.PROVED})
    bench.put(LOUD, 1000)
    bench.put(QUIET, 1000)
    served = bench.serve({LOUD: QUANTUM_S * 2, QUIET: QUANTUM_S / 4}, 400 * QUANTUM_S)
    assert 0.4 < served[LOUD] * 2 / 400 < 0.6
    assert 0.4 < served[QUIET] / 4 / 400 < 0.6


def test_what_is_not_used_is_the_others():
    bench = Bench({LOUD: Standing.PROVED})
    bench.put(LOUD, 1000)
    assert bench.serve({}, 1.0)[LOUD] == 1000


def test_those_who_proved_themselves_have_half_however_many_sessions_and_strangers_there_are():
    sessions: list[Address] = [("198.51.100.1", 1000 + number) for number in range(100)]
    strangers: list[Address] = [(f"203.0.{number}.1", 5) for number in range(200)]
    bench = Bench({QUIET: Standing.PROVED, **dict.fromkeys(sessions, Standing.SESSION)})
    bench.put(QUIET, 1000)
    for address in sessions + strangers:
        bench.put(address, 20)
    served = bench.serve({}, 100 * QUANTUM_S)
    assert served[QUIET] >= 480
    assert sum(served[address] for address in sessions) >= 200
    assert sum(served[address] for address in strangers) >= 200


def test_a_newcomer_of_another_network_is_not_behind_a_flood_of_strangers():
    bench = Bench({})
    for port in range(1000, 1100):
        bench.put(("203.0.113.7", port), 20)
    bench.put(QUIET, 1)
    assert bench.serve({}, 3 * QUANTUM_S)[QUIET] == 1


def test_a_source_loses_its_own_datagrams_and_nobody_elses():
    bench = Bench({LOUD: Standing.PROVED, QUIET: Standing.PROVED})
    bench.put(QUIET, 10)
    bench.put(LOUD, 3 * MAX_SOURCE_DATAGRAMS)
    assert bench.drops == {"over_share": 2 * MAX_SOURCE_DATAGRAMS}
    assert len(bench.inbox) == 10 + MAX_SOURCE_DATAGRAMS
    assert bench.serve({}, 1.0) == {QUIET: 10, LOUD: MAX_SOURCE_DATAGRAMS}


def test_of_a_full_queue_some_of_what_comes_late_gets_in():
    """Forged datagrams fill a peer's queue; its own ones must not be those that are always late."""
    bench = Bench({LOUD: Standing.PROVED})
    bench.put(LOUD, 2 * MAX_SOURCE_DATAGRAMS)
    bench.inbox.put([(b"own", LOUD)] * 50)
    kept = []
    while (found := bench.inbox.next()) is not None:
        kept.append(found[0])
    assert kept.count(b"own") >= 40


def test_bytes_are_bounded_for_each_source_and_for_all():
    peers: list[Address] = [("192.0.2.9", port) for port in range(1, 20)]
    bench = Bench(dict.fromkeys(peers, Standing.PROVED))
    bench.put(QUIET, 100)
    for address in peers:
        bench.put(address, 100, size=60_000)
    strangers = 100 * (100 + OVERHEAD_BYTES)
    assert 0 <= MAX_PROVED_BYTES + strangers - bench.inbox.used_bytes < 3 * 60_000
    bench.put(("203.0.113.7", 1), 100, size=60_000)
    assert bench.inbox.used_bytes <= MAX_PROVED_BYTES + MAX_UNPROVED_BYTES
    served = bench.serve({}, 100.0)
    assert served[QUIET] == 100
    assert max(served.values()) * 60_000 <= MAX_SOURCE_BYTES + 100 * 60_000
    assert bench.inbox.used_bytes == 0 == len(bench.inbox)


def test_a_debt_is_paid_while_others_wait_and_forgiven_when_nobody_does():
    bench = Bench({LOUD: Standing.PROVED, QUIET: Standing.PROVED})
    bench.put(LOUD, 2)
    bench.put(QUIET, 1000)
    served = bench.serve({LOUD: 10 * QUANTUM_S}, 30 * QUANTUM_S)
    assert served[LOUD] == 2  # and the second one came ten turns of the other later
    assert served[QUIET] >= 90
    bench.serve({}, 1.0)
    bench.put(LOUD, 1)
    bench.put(QUIET, 10)
    assert bench.serve({}, QUANTUM_S)[LOUD] == 1


def test_nobody_owes_more_than_a_clock_that_jumps_can_say():
    bench = Bench({LOUD: Standing.PROVED, QUIET: Standing.PROVED})
    bench.put(LOUD, 2)
    bench.put(QUIET, MAX_SOURCE_DATAGRAMS)
    served = bench.serve({LOUD: 3600.0, QUIET: QUANTUM_S}, 7200.0 + 2 * MOST_COST_S)
    assert served[LOUD] == 2


def test_order_is_kept_within_a_source():
    bench = Bench({LOUD: Standing.PROVED, QUIET: Standing.SESSION})
    bench.put(LOUD, 300)
    bench.put(QUIET, 300)
    order: dict[Address, list[bytes]] = {LOUD: [], QUIET: []}
    while (found := bench.inbox.next()) is not None:
        bench.inbox.spend(QUANTUM_S / 7)
        order[found[1]].append(found[0][:6])
    assert all(numbers == sorted(numbers) and len(numbers) == 300 for numbers in order.values())


def test_no_pool_is_overrun_by_large_datagrams_in_the_place_of_small_ones():
    bench = Bench({LOUD: Standing.SESSION})
    bench.put(LOUD, MAX_SOURCE_DATAGRAMS, size=6)
    for _ in range(20):
        bench.put(LOUD, 100, size=4000)
        assert bench.inbox.used_bytes <= MAX_UNPROVED_BYTES
    assert bench.serve({}, 1.0)[LOUD] + bench.drops["over_share"] == MAX_SOURCE_DATAGRAMS + 2000
    assert bench.inbox.used_bytes == 0 == len(bench.inbox)


def test_who_sends_little_loses_nothing_to_an_overrun_pool():
    quiet: list[Address] = [(f"198.51.{number}.1", 9) for number in range(200)]
    bench = Bench(dict.fromkeys([*quiet, LOUD], Standing.SESSION))
    for address in quiet:
        bench.put(address, 1)
    for _ in range(3):
        bench.put(LOUD, 400, size=3000)
    served = bench.serve({}, 100.0)
    assert all(served[address] == 1 for address in quiet)


def test_making_room_does_not_look_at_every_source():
    """What it costs, in lines of Python, does not grow with the sources that wait."""

    def lines_with(count: int) -> int:
        sources: list[Address] = [
            (f"198.{number >> 8}.{number & 255}.1", 9) for number in range(count)
        ]
        bench = Bench(dict.fromkeys(sources, Standing.SESSION))
        for address in sources:
            bench.put(address, 1, size=MAX_UNPROVED_BYTES // count - OVERHEAD_BYTES)
        lines = 0

        def trace(*_):
            nonlocal lines
            lines += 1
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            bench.put(sources[0], 20, size=MAX_UNPROVED_BYTES // count)
        finally:
            sys.settrace(before)
        assert bench.drops["over_share"]
        return lines

    assert lines_with(1000) < 2 * lines_with(50)


def test_strangers_of_one_network_share_a_queue_however_they_are_written():
    bench = Bench({})
    for host in ("203.0.113.7", "203.0.113.8", "::ffff:203.0.113.9", "64:ff9b::203.0.113.10"):
        bench.put((host, 1), 1)
    assert len(bench.inbox._queues) == 1
    for host in ("2001:db8:0:1::1", "2001:db8::1", "2001:db8:0:ffff::1"):
        bench.put((host, 1), 1)
    assert len(bench.inbox._queues) == 2
