"""Rates: how much of something may pass in a second, and at once."""


class TokenBucket:
    """A rate with a burst of one second's worth, or of another size.

    Args:
        rate: A second.
        now: The time, seconds.
        burst: At once; None: one second's worth.
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
        """Seconds until `amount` may pass; what is larger than a burst passes after one."""
        tokens = self._tokens + (now - self._updated) * self._rate
        if tokens > self._burst:
            tokens = self._burst
        self._tokens = tokens
        self._updated = now
        missing = (amount if amount < self._burst else self._burst) - tokens
        return missing / self._rate if missing > 1e-6 else 0.0

    def use(self, amount: float) -> None:
        """It passes, whatever is left: see `wait_s`."""
        self._tokens -= amount

    def set_rate(self, rate: float) -> None:
        """Another rate holds from now on, with a burst of one second's worth."""
        self._rate = self._burst = rate
