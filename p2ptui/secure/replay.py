"""Which counters of a session have come, so that each datagram is taken once (RFC 6479).

Usually each counter directly follows the previous one. So the run without gaps up to the highest is
stored as its length, and what is below the run as one integer: bit k stands for the counter k below
the lowest of the run.
"""

from typing import Final

WINDOW: Final = 2_048
"""How far a datagram may lag behind the highest counter, and still be told from a copy."""

_MASK: Final = (1 << WINDOW) - 1


class ReplayWindow:
    """Checked before a datagram is decrypted, and updated after: a forged counter changes
    nothing.
    """

    __slots__ = ("_run", "_seen", "highest")

    def __init__(self) -> None:
        self.highest: int = -1
        """The highest counter that was taken; -1 before the first."""
        self._run: int = 0
        """Length of the run without gaps up to the highest."""
        self._seen: int = 0
        """Bits for the counters below the run."""

    def check(self, counter: int) -> bool:
        """Whether the counter is new. One too old to tell counts as not new."""
        behind = self.highest - counter
        if behind < 0:
            return True
        if behind >= WINDOW or behind < self._run:
            return False
        return not self._seen >> (behind - self._run) & 1

    def update(self, counter: int) -> None:
        """Record that its datagram authenticated, so that it is not accepted again."""
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
        """A counter comes after a gap: the current run becomes bits below it."""
        run, self._run = self._run, 1
        # A jump may have any length: avoid shifting what falls out of the window.
        if ahead >= WINDOW:
            self._seen = 0
        elif run >= WINDOW:
            self._seen = _MASK << (ahead - 1) & _MASK
        else:
            self._seen = (self._seen << run | (1 << run) - 1) << (ahead - 1) & _MASK
