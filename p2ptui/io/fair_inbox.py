"""Datagrams that were read and wait for processing: each source gets a share of the time.

Deficit round robin (Shreedhar and Varghese, IEEE/ACM Transactions on Networking 4(3), 1996), with
the time that a datagram took instead of its bytes. Each peer that proved its address has a queue of
its own. So has each other session, and each of a few buckets into which strangers fall by their
network (stochastic fairness queueing: McKenney, INFOCOM 1990). These three kinds share the time in
fixed proportions, so that neither a crowd of strangers nor a crowd of forged sessions can crowd out
proved peers, and newcomers always get something. What one kind does not use is available to the
others.

A full queue drops one of its datagrams at random: if an attacker forges a peer's address, the
peer's own datagrams must not be the ones that always lose. If everything together is too much, a
queue that is at least half as long as the longest one drops some.
"""

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from enum import IntEnum
from typing import Final, TypeAlias

from p2ptui.bounded.shares import count_nothing, owners_at
from p2ptui.wire.address import Address

MAX_SOURCE_DATAGRAMS: Final = 1024
"""Waiting datagrams of one source."""
MAX_SOURCE_BYTES: Final = 1 << 20
"""Their bytes, each with `OVERHEAD_BYTES`."""
MAX_PROVED_BYTES: Final = 1 << 20
"""The same for all proved peers together."""
MAX_UNPROVED_BYTES: Final = 512 << 10
"""The same for all other sources together."""
OVERHEAD_BYTES: Final = 256
"""Approximate memory of a datagram beyond its bytes: its address, and objects."""
MAX_DEBTORS: Final = 4096
"""Sources that are tracked, most of which have nothing waiting but have used more than their share;
all debts are forgiven when there are more sources, and when nothing is waiting any more.
"""

QUANTUM_S: Final = 0.0002
"""Time that a source may use in each round: about ten datagrams of the usual cost."""
LEAST_COST_S: Final = 0.000_005
"""A datagram counts as at least this much, whatever the clock says."""
MOST_COST_S: Final = 0.02
"""And as at most this much: the clock goes on while other programs have the processor."""
STRANGER_BUCKETS: Final = 64
"""Strangers share this many queues."""


class Standing(IntEnum):
    """How well the identity of a source is known."""

    # Consistent with comparison. Enum's own hash is written in Python, and each datagram uses it.
    __hash__ = int.__hash__

    PROVED = 0
    """A peer that showed that it receives there."""
    SESSION = 1
    """It shook hands; the address may be forged."""
    STRANGER = 2


Owner: TypeAlias = tuple[Standing, Hashable]
"""The kind of the owner whose share a datagram uses up, and that owner."""

TURNS: Final = (
    Standing.PROVED,
    Standing.SESSION,
    Standing.PROVED,
    Standing.STRANGER,
)
"""The kinds in order of turns, over and over: half of the time is for proved peers."""

Datagram: TypeAlias = tuple[bytes, Address]


def as_stranger(_address: Address) -> Owner | None:
    """Treat every source as a stranger."""
    return None


class _Pool:
    """The bytes that several queues share."""

    __slots__ = ("by_size", "limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.by_size: list[OrderedDict[_Queue, None]] = [
            OrderedDict() for _ in range(MAX_SOURCE_BYTES.bit_length() + 1)
        ]
        """The queues that are not empty, by the bit length of their bytes."""

    def long_one(self) -> "_Queue":
        """A queue that is at least half as long as the longest; each such queue in turn."""
        group = next(filter(None, reversed(self.by_size)))
        queue = next(iter(group))
        group.move_to_end(queue)
        return queue


class _Queue:
    """What one source sent, and how much time it may use before the next source's turn."""

    __slots__ = ("credit_s", "is_waiting", "pool", "ring", "used_bytes", "waiting")

    def __init__(self, ring: "deque[_Queue]", pool: _Pool) -> None:
        self.pool = pool
        self.waiting: deque[Datagram] = deque()
        self.used_bytes = 0
        self.credit_s = QUANTUM_S
        self.ring = ring
        self.is_waiting = False

    def use(self, change: int) -> None:
        """It now takes this many bytes more, or less."""
        pool, used = self.pool, self.used_bytes + change
        before, after = self.used_bytes.bit_length(), used.bit_length()
        self.used_bytes = used
        pool.used_bytes += change
        if after != before:
            if before:
                del pool.by_size[before][self]
            if after:
                pool.by_size[after][self] = None


class FairInbox:
    """Bounded queues of datagrams, one for each source, served in fair turns.

    Args:
        owner_of: Returns the owner of an address; None for a stranger.
        count: Called with the cause for each datagram that is dropped.
        rng: Chooses what is dropped, and which strangers share a queue.
    """

    def __init__(
        self,
        owner_of: Callable[[Address], Owner | None] = as_stranger,
        count: Callable[[str], None] = count_nothing,
        rng: random.Random | None = None,
    ) -> None:
        self._owner_of = owner_of
        self._count = count
        self._rng = random.SystemRandom() if rng is None else rng
        self._random = random.Random(self._rng.getrandbits(64)).random
        self._salt = self._rng.getrandbits(64)
        self._queues: dict[Owner, _Queue] = {}
        self._rings: dict[Standing, deque[_Queue]] = {standing: deque() for standing in Standing}
        self._turn = 0
        self._served: _Queue | None = None
        self.waiting = 0
        """Datagrams that are waiting."""
        self._proved = _Pool(MAX_PROVED_BYTES)
        self._others = _Pool(MAX_UNPROVED_BYTES)

    def __len__(self) -> int:
        return self.waiting

    @property
    def used_bytes(self) -> int:
        """Bytes of everything waiting, with the overhead of each datagram."""
        return self._proved.used_bytes + self._others.used_bytes

    def put(self, datagrams: Sequence[Datagram]) -> None:
        """Add what was read; what finds no room is dropped, at its own source's expense."""
        known: dict[Address, _Queue] = {}
        for datagram in datagrams:
            data, address = datagram
            queue = known.get(address)
            if queue is None:
                queue = known[address] = self._queue_of(address)
            size = len(data) + OVERHEAD_BYTES
            if (
                len(queue.waiting) >= MAX_SOURCE_DATAGRAMS
                or queue.used_bytes + size > MAX_SOURCE_BYTES
            ):
                self._drop_one(queue, datagram, size)
            else:
                self._append(queue, datagram, size)
            pool = queue.pool
            while pool.used_bytes > pool.limit_bytes:
                self._drop_of_long_one(pool)

    def next(self) -> Datagram | None:
        """The oldest datagram of the source whose turn it is. Report with `spend` how long it
        took.
        """
        if not self.waiting:
            return None
        queue = self._served
        if queue is None or queue.credit_s <= 0 or not queue.waiting:
            queue = self._served = self._choose()
        datagram = queue.waiting.popleft()
        queue.use(-len(datagram[0]) - OVERHEAD_BYTES)
        self.waiting -= 1
        return datagram

    def spend(self, cost_s: float) -> None:
        """Report how long the datagram that `next` returned last has taken, seconds."""
        queue = self._served
        if queue is not None:
            if cost_s < LEAST_COST_S:
                cost_s = LEAST_COST_S
            elif cost_s > MOST_COST_S:
                cost_s = MOST_COST_S
            queue.credit_s -= cost_s
        if not self.waiting:
            self._forgive()

    def _choose(self) -> _Queue:
        """The next queue in turn that is not empty, and may use time."""
        while True:
            ring = self._rings[TURNS[self._turn]]
            self._turn = (self._turn + 1) % len(TURNS)
            # A queue that owes time is skipped, and pays with its turn.
            for _ in range(len(ring)):
                queue = ring.popleft()
                if not queue.waiting:
                    queue.is_waiting = False
                    continue
                ring.append(queue)
                # Unused time is not saved up.
                queue.credit_s = min(queue.credit_s + QUANTUM_S, QUANTUM_S)
                if queue.credit_s > 0:
                    return queue

    def _queue_of(self, address: Address) -> _Queue:
        owner = self._owner_of(address)
        if owner is None:
            host, prefix = owners_at(address[0])
            network = prefix or host or address[0]
            owner = (Standing.STRANGER, hash((self._salt, network)) % STRANGER_BUCKETS)
        queue = self._queues.get(owner)
        if queue is None:
            if len(self._queues) >= MAX_DEBTORS:
                self._queues = {
                    each: queue for each, queue in self._queues.items() if queue.is_waiting
                }
            queue = self._queues[owner] = _Queue(
                self._rings[owner[0]],
                self._proved if owner[0] is Standing.PROVED else self._others,
            )
        return queue

    def _append(self, queue: _Queue, datagram: Datagram, size: int) -> None:
        queue.waiting.append(_own(datagram))
        queue.use(size)
        self.waiting += 1
        if not queue.is_waiting:
            queue.is_waiting = True
            queue.ring.append(queue)

    def _drop_one(self, queue: _Queue, datagram: Datagram, size: int) -> None:
        """Drop one of a full queue's datagrams, or the new one."""
        self._count("over_share")
        waiting = queue.waiting
        place = int(self._random() * (len(waiting) + 1))
        if place >= len(waiting):
            return
        more = size - len(waiting[place][0]) - OVERHEAD_BYTES
        if queue.used_bytes + more <= MAX_SOURCE_BYTES:
            waiting[place] = _own(datagram)
            queue.use(more)

    def _drop_of_long_one(self, pool: _Pool) -> None:
        """A pool is too full: a source that holds much loses an eighth, at random."""
        longest = pool.long_one()
        for _ in range(len(longest.waiting) // 8 + 1):
            place = int(self._random() * len(longest.waiting))
            longest.waiting.rotate(-place)
            size = len(longest.waiting.popleft()[0]) + OVERHEAD_BYTES
            longest.waiting.rotate(place)
            longest.use(-size)
            self.waiting -= 1
            self._count("over_share")

    def _forgive(self) -> None:
        """Nothing is waiting: the time that was used kept nobody waiting."""
        self._queues.clear()
        self._served = None
        for ring in self._rings.values():
            ring.clear()


def _own(datagram: Datagram) -> Datagram:
    """Copy it: it was read into a buffer for the largest datagram, whose rest would stay unused."""
    return bytes(memoryview(datagram[0])), datagram[1]
