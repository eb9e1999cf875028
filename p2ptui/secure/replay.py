"""Which counters of a session have come, so that each datagram is taken once (RFC 6479).

It is kept as one integer: bit k stands for the counter k below the highest one that came.
"""

from typing import Final

WINDOW: Final = 2_048
"""How far a datagram may come behind the highest counter, and still be told from a copy."""

_MASK: Final = (1 << WINDOW) - 1


class ReplayWindow:
    """Asked before a datagram is decrypted, and told after: a forged counter moves nothing."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = -1
        self._seen = 0

    @property
    def highest(self) -> int:
        """The highest counter that was taken; -1 before the first."""
        return self._highest

    def check(self, counter: int) -> bool:
        """Whether it is new. One that is too old to tell is not."""
        behind = self._highest - counter
        return behind < 0 or (behind < WINDOW and not self._seen >> behind & 1)

    def update(self, counter: int) -> None:
        """Its datagram authenticates: it is not taken again."""
        ahead = counter - self._highest
        if ahead <= 0:
            if -ahead < WINDOW:
                self._seen |= 1 << -ahead
            return
        # A jump may be of any length: what falls out of the window is not shifted first.
        self._seen = (self._seen << ahead & _MASK | 1) if ahead < WINDOW else 1
        self._highest = counter
