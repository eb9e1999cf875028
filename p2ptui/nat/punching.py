"""The search for a direct path between two nodes: which pairs to check, when, and what came of it.

The ideas of ICE (RFC 8445) without its weight: candidate pairs, paced checks that both sides
authenticate, answers that reveal new candidates, and the choice by one side. Nothing here knows
sockets or time: `now` is an argument, and the caller asks what to send.
"""

import math
import random
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.nat.allowances import MAX_LEARNT, TRIGGERED_CHECKS, Allowances
from p2ptui.nat.guessing import Guesses
from p2ptui.wire.address import Address
from p2ptui.wire.offer import MAX_CANDIDATES
from p2ptui.wire.stun import TRANSACTION_ID_BYTES

FIRST_PAUSE_S: Final = 0.05
SHORTEST_FIRST_PAUSE_S: Final = 0.02
LONGEST_FIRST_PAUSE_S: Final = 0.25
"""If the round trip is known, the first pause is as long, up to this: no answer can come sooner."""

LONGEST_PAUSE_S: Final = 1.0
"""Between two checks of one pair: doubled each time, as the two sides may not have begun together.
With many pairs it is longer, as in RFC 8445, section 14.3: new pairs go first, and retransmissions
must not take more of a line, or of a NAT that limits flows, than first tries do.
"""

PASSES: Final = 2
"""The first pause is at least this many times as long as the first tries of all pairs take."""

MAX_PAIRS: Final = MAX_CANDIDATES + 2
"""Pairs of the node's own socket: with every candidate of an offer, the address at which the server
sees the other side, and the latest path.
"""

CLAIMED_CHECKS: Final = 3
"""To an address that is only claimed by the other side's offer, for each offer, until it
answers.
"""

MAX_OUTSTANDING: Final = 4096
"""Checks whose answer is still recognised; all of a round if its budget is larger."""

EXTENSION_S: Final = 0.5
EXTENSIONS: Final = 2
"""A sign of the other side extends a round by `EXTENSION_S`, up to this many times its own length
in total: with loss, the two sides begin and end far apart.
"""

OPENER_TTL: Final = 2
"""Hops of the first datagram to each outside address: enough to open this node's NAT, too few to
reach the other NAT, which might change its mapping if it saw it too early.
"""


class Kind(IntEnum):
    """How a remote address became known; in order of preference."""

    GUESSED = 0
    """A random port of the other side's address."""
    PREDICTED = 1
    """Probably the next one that the other side's NAT uses."""
    REFLEXIVE = 2
    """Seen by a server, or learnt from a check that came from it."""
    CLAIMED = 3
    """The other machine's own global address, which only that machine vouches for."""
    HOST = 4
    """The other machine's own address: same network, or no NAT."""


@dataclass(slots=True)
class Pair:
    """A local socket and a remote address."""

    socket: int
    """0 is the node's own; the others are opened for many tries at once."""
    remote: Address
    kind: Kind
    due: float
    checks: int = 0
    valid: bool = False
    """A check was answered: both directions work."""
    rtt_s: float | None = None
    opened: bool = False
    nominated: bool = False
    triggered: bool = False
    """The other side's check came this way, and no check has been sent back yet."""
    opener_pause_s: float | None = None
    """Seconds from a first, short-lived datagram to the next one; None: the first one already has a
    full TTL.
    """
    bounded: bool = False
    """Until it answers, only as many checks go there as are allowed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check to send."""

    transaction_id: bytes
    socket: int
    remote: Address
    nominate: bool
    ttl: int | None = None
    """Its TTL in hops; None: the usual one."""


@dataclass(slots=True)
class Budget:
    """What an attempt may cost."""

    checks: int
    seconds: float
    pace_s: float
    """Least time between two checks."""


@dataclass(slots=True)
class _Sent:
    pair: Pair
    at: float


class Punching:
    """One attempt to find a direct path.

    Args:
        controlling: Whether this side chooses the path.
        rng: Where transaction ids come from.
        budget: What it may cost.
        now: The time, seconds.
        opener_pause_s: The value for pairs to an outside address; see `Pair`.
        opener_ttl: Hops of that datagram.
        first_pause_s: Seconds between the first two checks of one pair.
        learnt: What may be sent to addresses that checks came from, in earlier rounds too; modified
            here.
        count: Called with a cause when there is no room for a pair.
    """

    def __init__(
        self,
        *,
        controlling: bool,
        rng: random.Random,
        budget: Budget,
        now: float,
        opener_pause_s: float | None = None,
        opener_ttl: int = OPENER_TTL,
        first_pause_s: float = FIRST_PAUSE_S,
        learnt: Allowances | None = None,
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._controlling = controlling
        self._rng = rng
        self.budget = budget
        self.began = now
        self._end = now + budget.seconds
        self._opener_pause_s = opener_pause_s
        self._opener_ttl = opener_ttl
        self._pairs: OrderedDict[tuple[int, Address], Pair] = OrderedDict()
        self._sent: BoundedTable[bytes, _Sent] = BoundedTable(
            lambda: max(MAX_OUTSTANDING, self.budget.checks)
        )
        self.guesses: Guesses | None = None
        """Ports that are tried in addition to the pairs."""
        self._next_check = now
        self._first_pause_s = first_pause_s
        self._learnt = Allowances() if learnt is None else learnt
        # To make room for a pair chosen by the other side, the oldest that never answered goes.
        self._learnt_pairs: BoundedTable[tuple[int, Address], Pair] = BoundedTable(
            MAX_LEARNT,
            full="pairs_full",
            in_use=lambda pair: pair.valid or pair.nominated,
            on_evicted=lambda key, _: self._forget(key),
            count=count,
        )
        self._count = count
        self._hosts: set[str] = set()
        self._held_to: tuple[Address, int] | None = None
        self.checks_sent = 0
        self.selected: Pair | None = None

    # Adding pairs to try.

    def add(
        self,
        kind: Kind,
        remotes: Iterable[Address],
        now: float,
        *,
        socket: int = 0,
        opener_pause_s: float | None = None,
        claimed_checks: int = CLAIMED_CHECKS,
    ) -> None:
        """Try these addresses, in this order.

        Args:
            kind: How they became known.
            remotes: The addresses.
            now: The time, seconds.
            socket: The number of the socket that sends.
            opener_pause_s: See `Pair`; if missing, outside addresses get the attempt's own.
            claimed_checks: Checks that each CLAIMED address is newly allowed.
        """
        if opener_pause_s is None and kind is Kind.REFLEXIVE:
            opener_pause_s = self._opener_pause_s
        for remote in remotes:
            if kind is Kind.CLAIMED:
                self._learnt.allow((socket, remote), claimed_checks)
            else:
                self._hosts.add(remote[0])
            known = self._pairs.get((socket, remote))
            if known is not None:
                known.due = min(known.due, now)
            elif len(self._pairs) < MAX_PAIRS or socket:
                pair = Pair(socket, remote, kind, now, opener_pause_s=opener_pause_s)
                pair.bounded = kind is Kind.CLAIMED
                self._pairs[socket, remote] = pair
            else:
                self._count("pairs_full")

    # Holding back.

    def hold(self, remote: Address, checks: int) -> None:
        """Until released, send no more than this many checks, all to this address."""
        self._held_to = remote, checks

    def release(self, now: float) -> None:
        """Everything may be tried now; the round begins with that."""
        if self._held_to is not None:
            self._held_to = None
            self.began, self._end = now, max(self._end, now + self.budget.seconds)

    @property
    def is_held(self) -> bool:
        """Whether only few checks may be sent."""
        return self._held_to is not None

    def guess(self, guesses: Guesses) -> None:
        """Also try ports of a host, one after the other."""
        self._hosts.add(guesses.host)
        if self.guesses is None:
            self.guesses = guesses

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs being tried."""
        return tuple(self._pairs.values())

    @property
    def valid(self) -> list[Pair]:
        """The pairs that work, the best first."""
        found = [pair for pair in self._pairs.values() if pair.valid]
        return sorted(found, key=lambda pair: (-pair.kind, pair.rtt_s or 0.0))

    def extend(self, now: float) -> None:
        """There is a sign of the other side: do not give up now."""
        latest = self.began + EXTENSIONS * self.budget.seconds
        self._end = max(self._end, min(now + EXTENSION_S, latest))

    def shorten(self, end: float) -> None:
        """End at that time, if not earlier."""
        self._end = min(self._end, end)

    def is_over(self, now: float) -> bool:
        """Whether nothing more will be sent."""
        spent = self.checks_sent >= self.budget.checks
        return self.selected is not None or spent or now >= self._end

    # Time.

    def next_timeout(self) -> float | None:
        """When there is something to send, or to decide."""
        if self.selected is not None:
            return None
        dues = [p.due for p in self._pairs.values() if not p.valid and self._may_send(p)]
        if not self.is_held and self.guesses is not None and self.guesses.due is not None:
            dues.append(self.guesses.due)
        return min(max(min(dues), self._next_check), self._end) if dues else self._end

    def to_send(self, now: float) -> list[Check]:
        """The checks that are due, as many as the pace allows."""
        checks: list[Check] = []
        if self.is_over(now):
            return checks
        for pair in self._due_pairs(now):
            if self._next_check > now or self.checks_sent >= self.budget.checks:
                break
            checks.append(self._check(pair, now))
            # Makes up, a little, for a late timer.
            self._next_check = max(self._next_check, now - self.budget.pace_s) + self.budget.pace_s
        guesses = None if self.is_held else self.guesses
        while guesses is not None and self.checks_sent < self.budget.checks:
            remote = guesses.take_due(now)
            if remote is None:
                break
            if (0, remote) not in self._pairs:
                checks.append(self._check(Pair(0, remote, Kind.GUESSED, now, opened=True), now))
        return checks

    def note_unsent(self) -> None:
        """One of the due checks was not sent."""
        self.checks_sent -= 1

    def _due_pairs(self, now: float) -> list[Pair]:
        due = [
            pair
            for pair in self._pairs.values()
            if not pair.valid and pair.due <= now and self._may_send(pair)
        ]
        # First what the other side tries (RFC 8445, section 6.1.4.2), then the least tried, in the
        # order in which they were added: predicted ports rely on it.
        return sorted(due, key=lambda pair: (not pair.triggered, pair.checks))

    def _may_send(self, pair: Pair) -> bool:
        if self._held_to is not None:
            remote, checks = self._held_to
            return pair.remote == remote and self.checks_sent < checks
        return not pair.bounded or self._learnt.left((pair.socket, pair.remote)) > 0

    def _check(self, pair: Pair, now: float, *, nominate: bool = False) -> Check:
        transaction_id = self._rng.randbytes(TRANSACTION_ID_BYTES)
        self._sent.put(transaction_id, _Sent(pair, now))
        self.checks_sent += 1
        pair.triggered = False
        ttl = None
        if pair.opener_pause_s is not None and not pair.opened:
            ttl = self._opener_ttl
            pair.due = now + pair.opener_pause_s
        else:
            first = max(self._first_pause_s, PASSES * self.budget.pace_s * len(self._pairs))
            longest = max(LONGEST_PAUSE_S, 8 * first)
            pair.due = now + min(first * 2 ** min(pair.checks, 8), longest)
            pair.checks += 1
        if pair.bounded and self._learnt.take((pair.socket, pair.remote)):
            pair.due = math.inf
        pair.opened = True
        return Check(transaction_id, pair.socket, pair.remote, nominate, ttl)

    # Receiving.

    def receive_request(
        self,
        remote: Address,
        socket: int,
        now: float,
        *,
        nominated: bool,
        allowed: int = TRIGGERED_CHECKS,
    ) -> None:
        """An authentic check of the other side came: check the same path back at once.

        Args:
            remote: Where it came from.
            socket: The number of the socket that it came to.
            now: The time, seconds.
            nominated: Whether it nominates this pair.
            allowed: Checks that may be sent back for it, if it came from an unknown host.
        """
        key = socket, remote
        pair = self._pairs.get(key)
        if pair is None:
            pair = Pair(socket, remote, Kind.REFLEXIVE, now, opened=True)
            if not (nominated or self._learnt_pairs.has_room):
                self._count("pairs_full")
                return
            if not self._learnt_pairs.put(key, pair):
                return
            self._pairs[key] = pair
        elif nominated or not pair.valid:
            pair.remote = remote  # equal, but also knows which address of this machine it came to
        # A check that claims to come from a host that is tried anyway adds nothing to it.
        if remote[0] not in self._hosts:
            pair.bounded = True
            self._learnt.earn(key, allowed)
        pair.opened = True
        pair.triggered = True
        # This path is not a wrong guess: whatever stays unanswered from here on was lost.
        pair.checks = 0
        pair.due = min(pair.due, now)
        self._next_check = min(self._next_check, now)
        self.extend(now)
        pair.nominated = pair.nominated or nominated
        self._choose()

    def _forget(self, key: tuple[int, Address]) -> None:
        self._pairs.pop(key, None)

    def receive_response(
        self, transaction_id: bytes, remote: Address, socket: int, now: float
    ) -> Pair | None:
        """An authentic answer came; return the pair that works now, or None if it answers
        nothing.
        """
        sent = self._sent.pop(transaction_id, None)
        # RFC 8445, section 7.2.5.2.1: the answer must come from where the check went.
        if sent is None or (sent.pair.socket, sent.pair.remote) != (socket, remote):
            return None
        pair = sent.pair
        pair.remote = remote  # likewise
        pair.rtt_s = now - sent.at
        pair.valid = True
        self._learnt.prove((socket, remote))
        self._pairs.setdefault((socket, remote), pair)
        self._choose()
        return pair

    def _choose(self) -> None:
        """The controlling side takes the first pair that works, the other side the pair that was
        nominated.
        """
        if self.selected is None:
            for pair in self.valid:
                if self._controlling or pair.nominated:
                    self.selected = pair
                    return

    def confirm(self, pair: Pair, now: float) -> Check:
        """A check of a chosen pair; from the controlling side it nominates the pair (8.1.1)."""
        return self._check(pair, now, nominate=self._controlling)
