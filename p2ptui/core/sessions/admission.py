"""Limits for strangers: rate limits for addresses that have not completed a handshake."""

import math
from collections.abc import Callable, Hashable
from typing import Final

from p2ptui.bounded import BoundedTable, Shares, TokenBucket, owners_at
from p2ptui.config import SecurityOptions
from p2ptui.core.accounts import AMPLIFICATION_LIMIT
from p2ptui.core.tables import Tables
from p2ptui.wire.address import Address

MAX_TRACKED_HOSTS: Final = 2048
"""Hosts with a rate limit of their own; the least recently heard one makes room."""

MAX_TRACKED_ERRORS: Final = 1024
"""Addresses that were told to shake hands, likewise. Further ones are not told within
`ERROR_INTERVAL_S`."""

ERROR_INTERVAL_S: Final = 5.0
"""How often a stranger is told to shake hands."""

BURST_S: Final = 1.0
"""How much of its rate a host may use at once. After being quiet for this long it has all of it
again, and need not be remembered."""

FORGET_EVERY_S: Final = 2.0
"""How often hosts that need not be remembered are forgotten, while there are any."""

REFUSALS_PER_SECOND: Final = 200
"""Answers to all strangers together, so that no flood makes this node the source of another."""

CLAIMS_AT_ONCE: Final = 16
CLAIMS_PER_SECOND: Final = 2.0
"""Newcomers that others are told about before they have proved their addresses."""


class Admission:
    """Decides whether a stranger's datagram is examined, and whether it is answered.

    The limits are by IP address, or /64 of IPv6, and apply to unauthenticated traffic only: a peer
    that shares its address with a flood is not slowed.

    Args:
        options: `[security]` of the configuration.
        tables: Where the sizes of its memories are reported, if anywhere.
        later: Schedules a function to be called at a given time, with that time; without it nothing
            is forgotten before it must make room.
    """

    def __init__(
        self,
        options: SecurityOptions,
        tables: Tables | None = None,
        later: Callable[[float, Callable[[float], None]], object] | None = None,
    ) -> None:
        self._options = options
        self._later = later
        self._is_looking = False
        shares = Shares() if tables is None else tables.shares
        # A token bucket for each, stored as one number: when it will be full again.
        self._hosts: BoundedTable[Hashable, float] = BoundedTable(
            MAX_TRACKED_HOSTS, shares=shares, lifetime_s=BURST_S
        )
        self._told: BoundedTable[Address, float] = BoundedTable(
            MAX_TRACKED_ERRORS, shares=shares, lifetime_s=ERROR_INTERVAL_S
        )
        if tables is not None:
            tables.add("tracked_strangers", self._hosts)
            tables.add("tracked_strangers", self._told)
        self._answers: TokenBucket | None = None
        self._news: TokenBucket | None = None

    def reload(self, options: SecurityOptions) -> None:
        """Apply other limits from now on, to everybody."""
        if options != self._options:
            self._options = options
            self._hosts.clear()

    def __len__(self) -> int:
        return len(self._hosts) + len(self._told)

    def admits(self, address: Address, now: float) -> bool:
        """Whether a datagram from a stranger at `address` is examined."""
        options, hosts = self._options, self._hosts
        if not options.enable_rate_limiting:
            return True
        host = owners_at(address[0])[0] or address[0]
        rate = options.max_requests_per_ip
        full_at = hosts.get(host)
        if full_at is None:
            self._look_later(now)
            hosts.put(host, now + 1 / rate if rate else now, now, address=address)
            return rate > 0
        hosts.renew(host, now)
        # What is used up including this one, in seconds of the rate; 1e-9 allows for rounding.
        full_at = (full_at if full_at > now else now) + (1 / rate if rate else math.inf)
        if full_at - now > BURST_S + 1e-9:
            return False
        hosts.replace(host, full_at)
        return True

    def _look_later(self, now: float) -> None:
        """A host is remembered: schedule the check for hosts that need not be."""
        if self._later is not None and not self._is_looking:
            self._is_looking = True
            self._later(now + FORGET_EVERY_S, self._forget)

    def _forget(self, now: float) -> None:
        self._is_looking = False
        self._hosts.expire(now)
        self._told.expire(now)
        if len(self):
            self._look_later(now)

    def may_answer(self, answer_bytes: int, request_bytes: int, now: float) -> bool:
        """Whether a stranger's datagram is answered: within three times its bytes, and within the
        total."""
        if answer_bytes > AMPLIFICATION_LIMIT * request_bytes:
            return False
        if self._answers is None:
            self._answers = TokenBucket(REFUSALS_PER_SECOND, now)
        return self._answers.take(now)

    def may_be_news(self, now: float) -> bool:
        """Whether others are told about a newcomer that has not proved its address."""
        if self._news is None:
            self._news = TokenBucket(CLAIMS_PER_SECOND, now, CLAIMS_AT_ONCE)
        return self._news.take(now)

    def was_told(self, address: Address, now: float) -> bool:
        """Whether this address was recently told that it must shake hands."""
        last = self._told.get(address)
        return last is not None and now - last < ERROR_INTERVAL_S

    def may_tell(self, address: Address, now: float) -> bool:
        """Whether this address is told (again) that it must shake hands."""
        return not self.was_told(address, now) and self.note_told(address, now)

    def note_told(self, address: Address, now: float) -> bool:
        """This address is told; returns whether that is remembered."""
        self._look_later(now)
        return self._told.put(address, now, now, address=address)
