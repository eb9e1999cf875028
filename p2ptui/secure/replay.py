"""Which counters of a session have come, so that each datagram is taken once (RFC 6479).

As a rule each comes right after the one before it. So those without a gap up to the highest are one
number, how many there are, and what is below them is one integer: bit k stands for the counter k
below the lowest of them.
"""

from typing import Final

WINDOW: Final = 2_048
"""How far a datagram may come behind the highest counter, and still be told from a copy."""

_MASK: Final = (1 << WINDOW) - 1


class ReplayWindow:
    """Asked before a datagram is decrypted, and told after: a forged counter moves nothing."""

    __slots__ = ("_run", "_seen", "highest")

    def __init__(self) -> None:
        self.highest: int = -1
        """The highest counter that was taken; -1 before the first."""
        self._run: int = 0
        """So many came without a gap, up to the highest."""
        self._seen: int = 0
        """Of those below."""

    def check(self, counter: int) -> bool:
        """Whether it is new. One that is too old to tell is not."""
        behind = self.highest - counter
        if behind < 0:
            return True
        if behind >= WINDOW or behind < self._run:
            return False
        return not self._seen >> (behind - self._run) & 1

    def update(self, counter: int) -> None:
        """Its datagram authenticates: it is not taken again."""
        ahead = counter - self.highest
        if ahead == 1:
            self._run += 1
            self.highest = counter
        elif ahead > 1:
            self._skip(ahead)
            self.highest = counter
        elif self._run <= -ahead < WINDOW:
            self._seen |= 1 << (-ahead - self._run)

    def _skip(self, ahead: int) -> None:
        """One comes after a gap: what came without one is below it from here on."""
        run, self._run = self._run, 1
        # A jump may be of any length: what falls out of the window is not shifted first.
        if ahead >= WINDOW:
            self._seen = 0
        elif run >= WINDOW:
            self._seen = _MASK << (ahead - 1) & _MASK
        else:
            self._seen = (self._seen << run | (1 << run) - 1) << (ahead - 1) & _MASK
