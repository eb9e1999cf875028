"""Actions repeated because somebody asks again: a limited number of times, and not at once.

A node that asks for another one repeats its request until something comes of it. A node that cannot
search can do no more about the fourth introduction, or the tenth Ping, than about the first.
"""

import math
from dataclasses import dataclass
from typing import Final

INTRODUCTION_REPEATS: Final = 3
REPEAT_INTERVAL_S: Final = 1.0
REPEATS_HOLD_S: Final = 30.0
"""The limit applies to half a minute, and there is at most one a second."""


@dataclass(slots=True)
class Repeats:
    """How often an action was done for somebody."""

    began: float = -math.inf
    last: float = -math.inf
    count: int = 0

    def take(self, now: float) -> bool:
        """Whether it may be done once more; if so it is counted."""
        if not self.holds(now):
            self.began, self.count = now, 0
        elif self.count >= INTRODUCTION_REPEATS or now - self.last < REPEAT_INTERVAL_S:
            return False
        self.count += 1
        self.last = now
        return True

    def holds(self, now: float) -> bool:
        """Whether what was done still counts."""
        return now - self.began < REPEATS_HOLD_S
