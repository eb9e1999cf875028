"""The size of datagrams that a path carries: found by probes, upwards and downwards (RFC 8899).

Data begins at the base size. While much is queued, larger probes look for a larger size. When large
datagrams are lost again and again, pairs of probes tell random loss from a black hole: one probe of
each pair is as large as the lost datagrams, the other one small. Only if the small ones pass and
the large ones never do are datagrams made smaller, and further probes find out how small.

Only three things are believed here: this node's own probes that came back, datagrams that were
acknowledged, and what the local system refuses to send. Neither a forged datagram nor a peer that
says nothing can make a path smaller than the floor.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from p2ptui.bounded import BoundedTable
from p2ptui.core.reliability.rtt import RttEstimator

FLOOR_BYTES: Final = 531
"""Datagrams are never made smaller: a packet of 576 bytes, which any IPv4 host accepts (RFC 791),
less the headers of IP and UDP (28) and of a relayed datagram (17)."""

SMALL_BYTES: Final = 256
"""A datagram this small passes wherever anything does: its loss says nothing about sizes."""

MAX_PROBES: Final = 3
"""Probes of one size without an answer until it counts as too large (RFC 8899, section 5.1.2)."""

RAISE_INTERVAL_S: Final = 600.0
"""How long no larger size is tried after a search (RFC 8899, section 5.1.1)."""

SUSPICIOUS_LOSSES: Final = 2
"""Large datagrams lost since one that large was last known to pass: then their size is probed."""

STRIKES: Final = 5
"""Pairs of which the small probe passed and the large one did not, without any whose large one
passed. With 10 % loss each way a good path fails like this once in 4,000 doubts; RFC 8899,
section 5.1.2, has 3, for probes 15 s apart."""

MAX_BLANKS: Final = 6
"""Pairs of which nothing came back; then size is not the cause."""

ANSWERS_REMEMBERED: Final = 16
"""Probes whose late answers are still recognised."""

CHECKED_BYTES: Final = 2048
"""If a datagram of this size passes, normally in IP fragments, any size does."""

_ETHERNET_BYTES: Final = 1472
"""A packet of 1,500 bytes over IPv4: what most paths carry."""

_RUNGS: Final = (972, 1172, 1232, 1252, 1372, 1392, 1412, 1432, 1452, 1464, 1472, 4324, 8972)
"""Common path sizes, tried upwards: packets of 1,000, 1,200, 1,280 (over IPv4 and less 20 for
IPv6), 1,400 to 1,460 (tunnels), 1,480, 1,492 (PPPoE), 1,500, 4,352 and 9,000 bytes, less 28."""


class Probe(NamedTuple):
    """A datagram that is sent to see whether it passes."""

    key: str
    """What its answer will name: 16 hexadecimal digits that nobody can guess."""
    size_bytes: int
    unfragmented: bool
    """Whether it must not be fragmented on its way: larger than any datagram of data so far."""


@dataclass(slots=True)
class _Doubt:
    """Whether a size still passes."""

    size: int
    began: float
    strikes: int = 0
    blanks: int = 0


@dataclass(slots=True)
class _Search:
    """The search for the largest size that passes, between one that does and one that does not."""

    low: int
    high: int
    upward: bool
    sealed: int = 0
    """Bytes that the seal adds to each datagram on the wire."""
    failures: int = 0
    """Consecutive failed probes of `candidate`."""

    def candidate(self, base: int) -> int | None:
        """The size tried next; None when the result is known."""
        ethernet = _ETHERNET_BYTES - self.sealed
        if self.upward:
            usual_sizes = {*(rung - self.sealed for rung in _RUNGS), base}
            rungs = [rung for rung in sorted(usual_sizes) if self.low < rung <= self.high]
            if ethernet in rungs:
                return ethernet
            return rungs[len(rungs) // 2] if rungs else None
        if self.low >= self.high or self.low >= ethernet:
            return None
        for usual in (base, ethernet):
            if self.low < usual <= self.high:
                return usual
        return (self.low + self.high + 1) // 2


@dataclass(slots=True)
class _Round:
    """Probes that left together."""

    began: float
    deadline: float
    small_passed: bool = False


class PathMtu:
    """The size of datagrams on one path to a peer.

    `take` returns what is to be sent, `handle_answer` takes the answers, `handle_timeout` the
    missing ones. The sender reports which of its data was lost and which passed.

    Args:
        base_bytes: The initial size.
        ceiling_bytes: The largest size tried; never less than the base.
        rtt: The path's round-trip estimator.
    """

    __slots__ = (
        "_base",
        "_ceiling",
        "_checked_bytes",
        "_doubt",
        "_highest",
        "_losses",
        "_lost_bytes",
        "_lost_since",
        "_passed_at",
        "_raise_at",
        "_round",
        "_rtt",
        "_search",
        "_sent",
        "_told",
        "_vanishing",
        "_wanted",
        "floor_bytes",
        "grows",
        "limit_bytes",
        "passed_bytes",
        "sealed_bytes",
        "size_bytes",
    )

    def __init__(self, base_bytes: int, ceiling_bytes: int, rtt: RttEstimator) -> None:
        self._base = base_bytes
        self._highest = max(ceiling_bytes, base_bytes)
        self._rtt = rtt
        self.floor_bytes = FLOOR_BYTES
        """Datagrams are never made smaller than this."""
        self.sealed_bytes = 0
        """How much longer each datagram is on the wire than counted here."""
        self.grows = False
        """Whether the peer answers probes, and accepts messages that are cut anew."""
        self.reset()

    def reset(self) -> None:
        """The path is another one: start from the beginning."""
        self.size_bytes = self._base
        """The current size of datagrams."""
        self.limit_bytes: int | None = None
        """The largest size that passed, once larger datagrams are known to vanish."""
        self._told: tuple[int, int | None] = (self._base, None)
        self._ceiling = self._highest
        self._vanishing = 0
        self._doubt: _Doubt | None = None
        self._search: _Search | None = None
        self._round: _Round | None = None
        self._wanted: tuple[int, ...] = ()
        # Made for the first probe: most peers are sent none.
        self._sent: BoundedTable[str, tuple[int, float]] | None = None
        self._raise_at = -math.inf
        self._checked_bytes = 0
        self._forget_losses()
        self.passed_bytes, self._passed_at = 0, -math.inf
        """The largest datagram that has arrived, and when it left."""

    def resume(self, sealed_bytes: int, passed_bytes: int, *, grows: bool) -> None:
        """Continue where another one for the same path left off: see `is_as_new`."""
        self.seal(sealed_bytes)
        self.grows = grows
        self.passed_bytes = max(self.passed_bytes, passed_bytes)

    @property
    def is_as_new(self) -> bool:
        """Whether another one that `resume`s with this one's values would behave the same, while
        nothing is in flight."""
        return (
            self.is_settled
            and self.size_bytes == self._base == self._told[0]
            and self.limit_bytes is None
            and self._told[1] is None
            and self._ceiling == self._highest
            and self._raise_at == -math.inf
            and not (self._vanishing or self._checked_bytes or self._losses)
        )

    def within(self, budget_bytes: int) -> int:
        """How large a datagram may be that takes no more than a budget on the wire."""
        return min(budget_bytes - self.sealed_bytes, self.size_bytes)

    @property
    def on_wire(self) -> tuple[int, int | None]:
        """Size and limit of datagrams on the wire, which is what people are shown."""
        limit = self.limit_bytes
        longer = self.sealed_bytes
        return self.size_bytes + longer, None if limit is None else limit + longer

    def seal(self, overhead_bytes: int) -> None:
        """From now on each datagram is this much longer on the wire, where its limits stay the
        same."""
        longer = overhead_bytes - self.sealed_bytes
        if longer:
            self.sealed_bytes = overhead_bytes
            self._base -= longer
            self._highest -= longer
            self.floor_bytes -= longer
            self.reset()

    def _forget_losses(self) -> None:
        self._losses = 0
        self._lost_bytes = 0
        self._lost_since = -math.inf

    @property
    def is_settled(self) -> bool:
        """Whether no search or doubt is in progress."""
        return self._doubt is None and self._search is None

    def vanishes(self, size_bytes: int) -> bool:
        """Whether datagrams of this size are known not to pass."""
        return self.limit_bytes is not None and size_bytes > self.limit_bytes

    def why(self, size_bytes: int, where: str) -> str:
        """What to add to a reason if datagrams of this size do not pass to there."""
        if not self.vanishes(size_bytes):
            return ""
        return f": datagrams above {self.on_wire[1]} bytes do not pass to {where}"

    def has_passed(self, size_bytes: int) -> bool:
        """Whether a datagram of this size has arrived."""
        return size_bytes <= self.passed_bytes

    def take_news(self) -> bool:
        """Whether a search has ended with another result than the last one queried."""
        found = self.size_bytes, self.limit_bytes
        if found == self._told or not self.is_settled:
            return False
        self._told = found
        return True

    # The fate of data.

    def note_lost(self, size_bytes: int, sent_at: float, now: float) -> None:
        """A datagram that was sent at `sent_at` seems to be lost."""
        if size_bytes <= SMALL_BYTES or self.vanishes(size_bytes):
            return
        if size_bytes <= self.passed_bytes and sent_at <= self._passed_at:
            return  # one as large passed later
        self._lost_since = min(self._lost_since, sent_at) if self._losses else sent_at
        self._losses += 1
        self._lost_bytes = max(self._lost_bytes, size_bytes)
        searches_down = self._search is not None and not self._search.upward
        if self._losses >= SUSPICIOUS_LOSSES and self._doubt is None and not searches_down:
            self._search = None
            self._doubt = _Doubt(self._lost_bytes, now)
            self._want(self._lost_bytes)

    def note_passed(self, size_bytes: int, sent_at: float) -> None:
        """A datagram that was sent at `sent_at` or later has arrived."""
        if size_bytes >= self.passed_bytes:
            self.passed_bytes, self._passed_at = size_bytes, sent_at
        if self._losses and size_bytes >= self._lost_bytes and sent_at >= self._lost_since:
            self._forget_losses()
        if self._vanishing and size_bytes >= self._vanishing:
            self._vanishing, self.limit_bytes = 0, None
        if self._round is not None and sent_at >= self._round.began:
            self._round.small_passed = True
        doubt = self._doubt
        if doubt is not None and size_bytes >= doubt.size and sent_at >= doubt.began:
            self._end_doubt()

    def note_unconfirmed(self, size_bytes: int, now: float) -> None:
        """A datagram was sent to a peer that will not confirm its arrival."""
        size = min(size_bytes, CHECKED_BYTES)
        if self.is_settled and size > max(self.floor_bytes, self.passed_bytes, self._checked_bytes):
            self._checked_bytes = size
            self._doubt = _Doubt(size, now)
            self._want(size)

    def note_demand(self, now: float) -> None:
        """Much is queued: a larger size would pay off."""
        if self.grows and self.is_settled and now >= self._raise_at and not self._losses:
            self._search = _Search(
                self.size_bytes, self._ceiling, upward=True, sealed=self.sealed_bytes
            )
            self._go_on(now)

    def note_refused(self, size_bytes: int, now: float) -> None:
        """The local system does not send datagrams of this size: believed at once."""
        size_bytes -= self.sealed_bytes
        self._ceiling = max(min(self._ceiling, size_bytes - 1), self.floor_bytes)
        if self.size_bytes > self._ceiling:
            self.size_bytes = self._ceiling
        if self._doubt is not None and self._doubt.size > self._ceiling:
            self._end_doubt()
        search = self._search
        if search is not None and search.high > self._ceiling:
            search.high = self._ceiling
            search.failures = 0
            self._go_on(now)

    # Probes.

    def take(self, new_key: Callable[[], str], now: float) -> list[Probe]:
        """The probes to send now; each counts as sent.

        Args:
            new_key: Makes what an answer names.
            now: The time, seconds.
        """
        wanted, self._wanted = self._wanted, ()
        if not wanted:
            return []
        self._round = _Round(now, now + self._rtt.rto())
        probes = []
        for size in wanted:
            probes.append(Probe(new_key(), size, self._is_unfragmented(size)))
            if self._sent is None:
                self._sent = BoundedTable(ANSWERS_REMEMBERED)
            self._sent.put(probes[-1].key, (size, now))
        return probes

    def _is_unfragmented(self, size: int) -> bool:
        return self._search is not None and self._search.upward and size > self._base

    def _want(self, size: int) -> None:
        # The large one first: an answer that does not name its probe counts for the smaller.
        self._round = None
        self._wanted = (size, 0) if self._doubt is not None else (size,)

    def handle_answer(self, key: str, now: float) -> None:
        """A probe has come back."""
        found = None if self._sent is None else self._sent.pop(key)
        if found is None:
            return
        size, sent_at = found
        self.note_passed(size, sent_at)
        if size > self._ceiling:
            return
        search = self._search
        if search is None:
            if self.grows and size > self.size_bytes and not self._losses:
                self.size_bytes = size  # its answer was slow
            return
        if size > search.low:
            search.low = size
            search.high = max(search.high, size)
            search.failures = 0
            self._take_up(size)
            self._go_on(now)

    def _take_up(self, size: int) -> None:
        if size > self.size_bytes:
            self.size_bytes = size if self.grows else min(size, self._base)
        if self._vanishing:
            self.limit_bytes = max(self.limit_bytes or 0, size)

    def handle_timeout(self, now: float) -> None:
        """Judge the probes that have timed out."""
        if self._round is None or now < self._round.deadline:
            return
        small_passed = self._round.small_passed
        self._round = None
        if self._doubt is not None:
            self._judge(self._doubt, small_passed, now)
        elif self._search is not None:
            self._miss(self._search, now)

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is to be called next, or None."""
        return None if self._round is None else self._round.deadline

    def _judge(self, doubt: _Doubt, small_passed: bool, now: float) -> None:
        doubt.strikes += small_passed
        doubt.blanks += not small_passed
        if doubt.strikes >= STRIKES:
            self._shrink(doubt.size, now)
        elif doubt.blanks >= MAX_BLANKS:
            self._end_doubt()
        else:
            self._want(doubt.size)

    def _end_doubt(self) -> None:
        self._doubt = None
        self._round = None
        self._wanted = ()
        self._forget_losses()

    def _shrink(self, vanishing: int, now: float) -> None:
        """Datagrams of this size no longer pass."""
        self._end_doubt()
        self._sent = None
        self.passed_bytes, self._passed_at = 0, -math.inf
        self._raise_at = now + RAISE_INTERVAL_S
        self._vanishing = vanishing
        if self.size_bytes >= vanishing:
            # The size that worked before larger ones were found most likely still does.
            self.size_bytes = self._base if vanishing > self._base else self.floor_bytes
        low = self.floor_bytes if vanishing > self.floor_bytes else SMALL_BYTES
        self.limit_bytes = low
        self._search = _Search(low, vanishing - 1, upward=False, sealed=self.sealed_bytes)
        self._go_on(now)

    def _miss(self, search: _Search, now: float) -> None:
        """A probe of a search has not come back."""
        search.failures += 1
        candidate = search.candidate(self._base)
        if search.failures >= MAX_PROBES and candidate is not None:
            search.failures = 0
            search.high = candidate - 1
            if not search.upward and self.size_bytes > search.high:
                self.size_bytes = max(search.low, self.floor_bytes)
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        search = self._search
        assert search is not None
        candidate = search.candidate(self._base)
        if candidate is not None:
            self._want(candidate)
            return
        self._search = None
        self._round = None
        self._wanted = ()
        self._raise_at = now + RAISE_INTERVAL_S
        self._forget_losses()
