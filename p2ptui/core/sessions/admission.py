"""What strangers may cost: rate limits for addresses that have not completed a handshake."""

from collections.abc import Hashable
from typing import Final

from p2ptui.bounded import BoundedTable, Shares, TokenBucket, owners_at
from p2ptui.config import SecurityOptions
from p2ptui.core.accounts import AMPLIFICATION_LIMIT
from p2ptui.core.tables import Tables
from p2ptui.wire.address import Address

MAX_TRACKED_HOSTS: Final = 2048
"""Hosts with a rate limit of their own; the one not heard of for longest makes room."""

MAX_TRACKED_ERRORS: Final = 1024
"""Addresses that were told to shake hands; likewise. More are not told in `ERROR_INTERVAL_S`."""

ERROR_INTERVAL_S: Final = 5.0
"""A stranger is told to shake hands this often."""

REFUSALS_PER_SECOND: Final = 200
"""Answers to all strangers together, so that no flood makes this node a source of one."""


class Admission:
    """Decides whether a stranger's datagram is looked at, and whether it is answered.

    The limits are by IP address, or /64 of IPv6, and touch unauthenticated traffic only: a peer
    behind the same address as a flood is not slowed.

    Args:
        options: `[security]` of the configuration.
        tables: Where the sizes of its memories are told, if anywhere.
    """

    def __init__(self, options: SecurityOptions, tables: Tables | None = None) -> None:
        self._options = options
        shares = Shares() if tables is None else tables.shares
        self._hosts: BoundedTable[Hashable, TokenBucket] = BoundedTable(
            MAX_TRACKED_HOSTS, shares=shares
        )
        self._told: BoundedTable[Address, float] = BoundedTable(MAX_TRACKED_ERRORS, shares=shares)
        if tables is not None:
            tables.add("tracked_strangers", self._hosts)
            tables.add("tracked_strangers", self._told)
        self._answers: TokenBucket | None = None

    def reload(self, options: SecurityOptions) -> None:
        """Other limits hold from now on, for everybody."""
        if options != self._options:
            self._options = options
            self._hosts.clear()

    def __len__(self) -> int:
        return len(self._hosts) + len(self._told)

    def admits(self, address: Address, now: float) -> bool:
        """Whether a datagram from a stranger at `address` is looked at."""
        if not self._options.enable_rate_limiting:
            return True
        host = owners_at(address[0])[0] or address[0]
        bucket = self._hosts.get(host)
        if bucket is None:
            bucket = TokenBucket(self._options.max_requests_per_ip, now)
            self._hosts.put(host, bucket, address=address)
        else:
            self._hosts.touch(host)
        return bucket.take(now)

    def may_answer(self, answer_bytes: int, request_bytes: int, now: float) -> bool:
        """Whether a stranger's datagram is answered: within three times its bytes, and in all."""
        if answer_bytes > AMPLIFICATION_LIMIT * request_bytes:
            return False
        if self._answers is None:
            self._answers = TokenBucket(REFUSALS_PER_SECOND, now)
        return self._answers.take(now)

    def was_told(self, address: Address, now: float) -> bool:
        """Whether this address was told a short time ago that it must shake hands."""
        last = self._told.get(address)
        return last is not None and now - last < ERROR_INTERVAL_S

    def may_tell(self, address: Address, now: float) -> bool:
        """Whether this address is told (again) that it must shake hands."""
        return not self.was_told(address, now) and self.note_told(address, now)

    def note_told(self, address: Address, now: float) -> bool:
        """This address is told; whether that is remembered."""
        return self._told.put(address, now, address=address)
