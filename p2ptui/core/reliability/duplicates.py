"""What a peer has already sent: duplicates by id or sequence number, and the gaps between."""

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final

from p2ptui.wire.message import MAX_SEQUENCE_NUMBER

RELIABLE_IDS: Final = 1024
"""Ids remembered of messages that asked for an Ack; these are what is sent again."""

UNRELIABLE_IDS: Final = 256
"""Ids remembered of other messages: only the network doubles those, and soon."""

MAX_MISSING: Final = 1024
"""Sequence numbers remembered as not yet arrived, the latest ones. A sender of ours goes no
further than this beyond the oldest number that it still tries to deliver, so none of those
is ever forgotten, however long it takes."""

MAX_JUMP: Final = 2**16
"""A number further than this from the latest is of another session: one that a sender of ours
gave up before it was ever heard is nearer, and numbers start at random, so that a late message
of an earlier session is so near once in 32,768 times."""

REQUESTS_AT_ONCE: Final = 64
REQUESTS_PAUSE_S: Final = 0.02
"""3,200 requests a second: after a blackout not everything is asked for in one burst."""

_MODULUS: Final = MAX_SEQUENCE_NUMBER + 1
_HALF: Final = _MODULUS // 2


def sequence_distance(later: int, earlier: int) -> int:
    """How far `later` is after `earlier` (RFC 1982, serial numbers); may be negative."""
    return (later - earlier + _HALF) % _MODULUS - _HALF


class RecentIds:
    """The last ids seen, in bounded memory."""

    __slots__ = ("_limit", "_order", "_seen")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._order: deque[int] = deque()
        self._seen: set[int] = set()

    def add(self, key: str) -> bool:
        """Remember `key`; whether it is new."""
        # The hash alone is kept, a fifth of the memory of the text; it is salted for
        # each process, so nobody can build two ids that collide.
        mark = hash(key)
        if mark in self._seen:
            return False
        self._seen.add(mark)
        self._order.append(mark)
        if len(self._order) > self._limit:
            self._seen.discard(self._order.popleft())
        return True

    def __len__(self) -> int:
        return len(self._order)


@dataclass(slots=True)
class _Gap:
    ask_at: float
    asked: int = 0


class ReceivedSequences:
    """Exact memory of a peer's sequence numbers, for peers that count without holes.

    A number is new if it is above all others or known to be missing, so that
    nothing is delivered twice however late it comes.

    Args:
        reorder_wait_s: How long a gap may be mere reordering, seconds.
        requests: How often a missing number is asked for.
    """

    __slots__ = ("_ask_at", "_highest", "_missing", "_reorder_wait_s", "_requests")

    def __init__(self, reorder_wait_s: float, requests: int) -> None:
        self._reorder_wait_s = reorder_wait_s
        self._requests = requests
        self._highest: int | None = None
        self._missing: dict[int, _Gap] = {}
        # Nothing is to be asked for before this time. It may be too early, when what was
        # missing has come: to look at all numbers for each datagram would cost more.
        self._ask_at: float | None = None

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers that have not arrived, oldest first."""
        return tuple(self._missing)

    def start(self, sequence: int) -> None:
        """The session begins with `sequence`, unless it has begun already."""
        if self._highest is None:
            self._highest = sequence

    def covers(self, sequence: int) -> bool:
        """Whether `sequence` can be of this session: it has begun, and its numbers are near."""
        if self._highest is None:
            return False
        return abs(sequence_distance(sequence, self._highest)) <= MAX_JUMP

    def add(self, sequence: int, now: float) -> bool:
        """Remember `sequence`; whether it is new."""
        if self._highest is None:
            self._highest = sequence
            return True
        ahead = sequence_distance(sequence, self._highest)
        if ahead <= 0:
            return self._missing.pop(sequence, None) is not None
        if ahead > 1:
            self._open_gap(self._highest, ahead, now)
        self._highest = sequence
        return True

    def _open_gap(self, highest: int, ahead: int, now: float) -> None:
        first = max(1, ahead - MAX_MISSING)
        excess = len(self._missing) + ahead - first - MAX_MISSING
        if excess > 0:
            for sequence in list(islice(self._missing, excess)):
                del self._missing[sequence]
        ask_at = now + self._reorder_wait_s
        for step in range(first, ahead):
            self._missing[(highest + step) % _MODULUS] = _Gap(ask_at)
        self._ask_at = ask_at if self._ask_at is None else min(self._ask_at, ask_at)

    def give_up(self, sequence: int) -> None:
        """The peer no longer has `sequence`: it is not asked for again."""
        gap = self._missing.get(sequence)
        if gap is not None:
            gap.asked = self._requests

    def postpone(self, sequence: int, until: float) -> None:
        """The message `sequence` is arriving in fragments: it is not lost before `until`."""
        gap = self._missing.get(sequence)
        if gap is not None:
            gap.ask_at = max(gap.ask_at, until)

    def to_request(self, now: float, backoff_s: float) -> list[int]:
        """The missing numbers to ask for now; each again after `backoff_s`, doubled each time."""
        wanted: list[int] = []
        later: list[float] = []
        for sequence, gap in self._missing.items():
            if gap.asked >= self._requests:
                continue
            if gap.ask_at > now:
                later.append(gap.ask_at)
            elif len(wanted) == REQUESTS_AT_ONCE:
                later.append(now + REQUESTS_PAUSE_S)
            else:
                wanted.append(sequence)
                gap.ask_at = now + backoff_s * 2**gap.asked
                gap.asked += 1
                if gap.asked < self._requests:
                    later.append(gap.ask_at)
        self._ask_at = min(later, default=None)
        return wanted

    def next_timeout(self) -> float | None:
        """When `to_request` is to be called next, or None."""
        return self._ask_at if self._missing and self._requests else None
