"""Rates: how much may pass in a second and at once, in total and for each source."""

from collections.abc import Hashable
from typing import Final

from p2ptui.bounded.table import BoundedTable

MAX_SOURCES: Final = 1_024
"""Sources with a rate of their own; the least recently used one is forgotten, and begins anew."""

ONE_OF_ALL: Final = 0.1
"""The part of the total rate that one source has in the long run."""

SITE_OF_ALL: Final = 0.25
"""The part that all sources of one site have together."""


class TokenBucket:
    """A rate with a burst of one second's worth, or of another size.

    Args:
        rate: Amount per second.
        now: The time, seconds.
        burst: Most at once; None: one second's worth.
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, now: float, burst: float | None = None) -> None:
        self._rate = rate
        self._burst = rate if burst is None else burst
        self._tokens = self._burst
        self._updated = now

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Whether `amount` may pass now; if so it is used up."""
        tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        if tokens < amount:
            self._tokens = tokens
            return False
        self._tokens = tokens - amount
        return True

    def wait_s(self, now: float, amount: float) -> float:
        """Seconds until `amount` may pass; more than a burst may pass once a full burst has
        gathered."""
        tokens = self._tokens + (now - self._updated) * self._rate
        if tokens > self._burst:
            tokens = self._burst
        self._tokens = tokens
        self._updated = now
        missing = (amount if amount < self._burst else self._burst) - tokens
        return missing / self._rate if missing > 1e-6 else 0.0

    def use(self, amount: float) -> None:
        """Use up `amount`, whatever is left; see `wait_s`."""
        self._tokens -= amount

    def set_rate(self, rate: float) -> None:
        """Change the rate; the burst is one second's worth of it."""
        self._rate = self._burst = rate


class FairBucket:
    """A total rate, of which one source or one site may use only a part in the long run.

    A source that was silent may use a whole second's worth at once; a persistent one leaves the
    rest to others. What has no known source, since its address may be forged, has a rate of the
    same size for itself and takes nothing from anyone.

    Args:
        rate: Per second, in total; also the burst.
        now: The time, seconds.
    """

    __slots__ = ("_all", "_each", "_rate", "_unshown")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._all, self._unshown = TokenBucket(rate, now), TokenBucket(rate, now)
        self._each: BoundedTable[Hashable, TokenBucket] = BoundedTable(MAX_SOURCES)

    def take(self, source: Hashable | None, site: Hashable | None, now: float) -> bool:
        """Whether one more may pass now; if so it is used up.

        Args:
            source: Who caused it; None if its address may be forged.
            site: The site, where many sources may have one owner; None if it is unknown or does not
                matter.
            now: The time, seconds.
        """
        if source is None:
            return self._unshown.take(now)
        asked = [self._all, self._bucket_of(("source", source), ONE_OF_ALL, now)]
        if site is not None:
            asked.append(self._bucket_of(("site", site), SITE_OF_ALL, now))
        for bucket in asked:
            if bucket.wait_s(now, 1.0):
                return False  # nothing is used up
        for bucket in asked:
            bucket.use(1.0)
        return True

    def _bucket_of(self, owner: Hashable, part: float, now: float) -> TokenBucket:
        bucket = self._each.get(owner)
        if bucket is None:
            bucket = TokenBucket(part * self._rate, now, self._rate)
            self._each.put(owner, bucket)
        else:
            self._each.touch(owner)
        return bucket
