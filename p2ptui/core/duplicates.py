"""What a peer has already sent: duplicates by id or sequence number, and the gaps between."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from p2ptui.wire.message import MAX_SEQUENCE_NUMBER

RELIABLE_IDS: Final = 1024
"""Ids remembered of messages that asked for an Ack; these are what is sent again."""

UNRELIABLE_IDS: Final = 256
"""Ids remembered of other messages: only the network doubles those, and soon."""

MAX_MISSING: Final = 1024
"""Sequence numbers remembered as not yet arrived; twice what a sender of ours keeps under way."""

MISSING_LIFETIME_S: Final = 120.0
"""Longer than any sender of ours keeps trying: 6 tries of at most 8 s each, and transfers."""

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
    since: float
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

    __slots__ = ("_highest", "_missing", "_reorder_wait_s", "_requests")

    def __init__(self, reorder_wait_s: float, requests: int) -> None:
        self._reorder_wait_s = reorder_wait_s
        self._requests = requests
        self._highest: int | None = None
        self._missing: dict[int, _Gap] = {}

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers that have not arrived, oldest first."""
        return tuple(self._missing)

    def start(self, sequence: int) -> None:
        """The session begins with `sequence`, unless it has begun already."""
        if self._highest is None:
            self._highest = sequence

    def add(self, sequence: int, now: float) -> bool:
        """Remember `sequence`; whether it is new."""
        if self._highest is None:
            self._highest = sequence
            return True
        ahead = sequence_distance(sequence, self._highest)
        if ahead <= 0:
            return self._missing.pop(sequence, None) is not None
        first = max(1, ahead - MAX_MISSING)
        for step in range(first, ahead):
            gap = _Gap(now, now + self._reorder_wait_s)
            self._missing[(self._highest + step) % _MODULUS] = gap
        self._highest = sequence
        while len(self._missing) > MAX_MISSING:
            del self._missing[next(iter(self._missing))]
        return True

    def is_new(self, sequence: int) -> bool:
        """Whether `sequence` has not arrived before; nothing is remembered."""
        if self._highest is None:
            return True
        return sequence_distance(sequence, self._highest) > 0 or sequence in self._missing

    def give_up(self, sequence: int) -> None:
        """The peer no longer has `sequence`: it is not asked for again."""
        gap = self._missing.get(sequence)
        if gap is not None:
            gap.asked = self._requests

    def postpone(self, sequence: int, until: float) -> None:
        """The message `sequence` is arriving in fragments: it is not lost before `until`."""
        gap = self._missing.get(sequence)
        if gap is not None:
            gap.since = max(gap.since, until)
            gap.ask_at = max(gap.ask_at, until)

    def to_request(self, now: float, backoff_s: float) -> list[int]:
        """The missing numbers to ask for now; each again after `backoff_s`, doubled each time."""
        wanted: list[int] = []
        expired: list[int] = []
        for sequence, gap in self._missing.items():
            if now - gap.since > MISSING_LIFETIME_S:
                expired.append(sequence)
            elif gap.asked < self._requests and gap.ask_at <= now:
                gap.ask_at = now + backoff_s * 2**gap.asked
                gap.asked += 1
                wanted.append(sequence)
        for sequence in expired:
            del self._missing[sequence]
        return wanted

    def next_timeout(self) -> float | None:
        """When `to_request` has something to say next, or None."""
        return min(
            (gap.ask_at for gap in self._missing.values() if gap.asked < self._requests),
            default=None,
        )
